"""Time axes, steps along them (`t-1`, `T`, 3) and ranges of steps: a small algebra with its own type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from ..errors import DTypeError, here, message
from ..ops.integers import integer
from ..records import record

Lengths = Mapping[str, int]
"""The number of steps of every axis, by the name of its end: ``{"T": 5}``."""


class Axis(NamedTuple):
    """A time axis: its running step `name` ("t") runs from 1 to `end` ("T")."""

    name: str
    end: str


@dataclass(frozen=True, slots=True)
class Index:
    """A step along a time axis: ``t+shift``, ``T+shift`` or the fixed step ``shift``.

    anchor  the name of the running step ("t"), of the end ("T"), or "" for a fixed step
    axis    None for a fixed step: its axis follows from its place in the brackets

    >>> from unroll import t, T
    >>> t - 1, T, (T + 1) - 1
    (t-1, T, T)
    """

    axis: Axis | None
    anchor: str
    shift: int = 0

    @property
    def runs(self) -> bool:
        """True for ``t+k``: a step that runs along its axis."""
        return self.axis is not None and self.anchor == self.axis.name

    def __add__(self, k: object) -> Index:
        steps = k if type(k) is int else integer(k)
        if steps == 0:
            return self
        return self._other(k, f"{self} + {k}") if steps is None else Index(self.axis, self.anchor, self.shift + steps)

    __radd__ = __add__

    def __sub__(self, k: object) -> Index:
        steps = k if type(k) is int else integer(k)
        if steps == 0:
            return self
        return self._other(k, f"{self} - {k}") if steps is None else Index(self.axis, self.anchor, self.shift - steps)

    def __rsub__(self, k: object) -> Index:
        return self._other(k, f"{k} - {self}")

    def _other(self, k: object, text: str) -> Index:
        """An expression says itself that a step is no value; anything else makes no step."""
        if hasattr(k, "__op__"):
            return NotImplemented  # type: ignore[no-any-return]
        raise self._refusal(f"{text}: a step is {self.anchor}+k, {self.anchor}-k or a fixed number")

    def _refusal(self, text: str) -> Exception:
        return DTypeError(message(text, here()))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Index):
            same = self.shift == other.shift and self.anchor == other.anchor
            return same and (self.axis is other.axis or self.axis == other.axis)
        return bool(self._compared(other)) if isinstance(other, (int, float)) else NotImplemented

    def _compared(self, k: object) -> Any:
        raise self._refusal(
            f"{self} is not a number to compare: it stands for every step. "
            "A first step of its own is a boundary, h[0] = ..., or an input that tells it apart"
        )

    __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __str__(self) -> str:
        if not self.anchor:
            return str(self.shift)
        return f"{self.anchor}{self.shift:+d}" if self.shift else self.anchor

    __repr__ = __str__

    def __mul__(self, k: object) -> Any:
        raise self._refusal(
            f"a step is {self.anchor}+k, {self.anchor}-k or a fixed number; it cannot be multiplied or divided"
        )

    __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __mul__

    def __index__(self) -> int:
        raise self._refusal(
            f"{self} is a step of every length, and no number: an equation holds at every step, h[t] = ..., so that no "
            "loop is written; the number of steps is given when it runs"
        )

    def __neg__(self) -> Any:
        raise self._refusal(f"a step is {self.anchor}+k, {self.anchor}-k or a fixed number; it cannot be negative")

    def __iter__(self) -> Any:
        raise self._refusal(
            f"{self} is one step; it cannot be iterated over. over={self} names a time axis, "
            "and axis= counts the axes of one step's value"
        )

    def at(self, steps: Mapping[Axis, int], lengths: Lengths) -> int:
        """The number of this step, given the running step of each axis and the lengths."""
        if self.axis is None:
            return self.shift
        return (steps[self.axis] if self.runs else lengths[self.axis.end]) + self.shift

    def never_after(self, other: Index, least: int = 0, gap: int = 0) -> bool:
        """True if this step is at most ``other - gap`` for every length from `least` up; False if that depends too.

        Both are fixed steps or ``T+k`` of one axis.
        """
        if self.anchor == other.anchor:
            return self.shift + gap <= other.shift
        return not self.anchor and self.shift + gap <= least + other.shift

    def substitute(self, steps: Mapping[Axis, Index]) -> Index:
        """This step with running axes replaced."""
        if self.axis is not None and self.runs and self.axis in steps:
            return steps[self.axis] + self.shift
        return self


def bracket(key: object) -> str:
    """What stood in brackets, as it was written: ``1:3``, ``t-1, 0``."""
    if isinstance(key, tuple):
        return ", ".join(map(bracket, key))
    if isinstance(key, slice):
        shown = ["" if k is None else str(k) for k in (key.start, key.stop, key.step)]
        return ":".join(shown if key.step is not None else shown[:2])
    return "..." if key is ... else repr(key)


Maker = TypeVar("Maker", bound=Callable[..., Any])


def _once(make: Maker) -> Maker:
    """Have a step or a range made once, as far as they are few: a compilation asks for the same again and again."""
    return lru_cache(256, typed=True)(make)  # type: ignore[return-value]


@_once
def fixed(step: int) -> Index:
    """The step of that number."""
    return Index(None, "", step)


@_once
def running(axis: Axis, shift: int = 0) -> Index:
    """``t+shift`` of an axis."""
    return Index(axis, axis.name, shift)


@_once
def last(axis: Axis, shift: int = 0) -> Index:
    """``T+shift`` of an axis."""
    return Index(axis, axis.end, shift)


@record
class Range:
    """The steps ``lo..hi`` of an axis, both ends included; each end is a fixed step or ``T+k``. May be empty."""

    axis: Axis
    lo: Index
    hi: Index

    def __str__(self) -> str:
        return f"{self.axis.name} = {self.lo}..{self.hi}"

    def shifted(self, k: int) -> Range:
        """The range ``lo+k..hi+k``."""
        return Range(self.axis, self.lo + k, self.hi + k) if k else self

    def ends(self, shift: int) -> tuple[Index, Index]:
        """The first and the last step of ``t+shift`` over the range."""
        return (self.lo + shift, self.hi + shift) if shift else (self.lo, self.hi)

    def steps(self, lengths: Lengths) -> range:
        """The steps as a Python range."""
        return range(self.lo.at({}, lengths), self.hi.at({}, lengths) + 1)

    def covers(self, other: Range) -> bool:
        """True if `other` lies inside for every length; False if it does not, or if that depends on the length."""
        return self.lo.never_after(other.lo) and other.hi.never_after(self.hi)


def apart(a: tuple[Index, Index], b: tuple[Index, Index], least: int = 0) -> bool:
    """True if two ranges, first and last step of each, share no step at any length from `least` up."""
    return a[1].never_after(b[0], least, 1) or b[1].never_after(a[0], least, 1)


@_once
def whole(axis: Axis) -> Range:
    """Every step of an axis, 1..T."""
    return Range(axis, fixed(1), last(axis))


def axis(name: str) -> tuple[Index, Index]:
    """A new time axis: its running step and its last step, as in ``s, S = unroll.axis("s")``.

    The name is one or more lower-case letters; the end is the same in upper case, and is the keyword that gives the
    length where no array does. Raises ValueError.
    """
    if not (hasattr(name, "isascii") and name.isascii() and name.isidentifier() and name.islower()):
        raise ValueError(f'an axis is named in lower-case letters, as in axis("s"); got {name!r}')
    made = Axis(name, name.upper())
    return running(made), last(made)


t, T = axis("t")
TIME = Axis("t", "T")
