"""Loop nests: a statement as loops over numbers, ``out[i] = sum(j: A[i, j] * x[j])``, between the program and text.

The loops of a nest run over per-example axes. Those over steps and examples are the statement's own, and go around it.
An index is a sum of loop variables, a digit of one, or a number that was computed; addresses are a code generator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..ir.system import Const
from .statements import Argument


@dataclass(frozen=True, slots=True)
class LoopVariable:
    """A loop variable, which goes through 0, ..., size - 1."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class AffineIndex:
    """``start + factor * loop + ...``, as an index or as an integer."""

    terms: tuple[tuple[LoopVariable, int], ...] = ()
    start: int = 0

    def scaled(self, factor: int, start: int) -> AffineIndex:
        """``start + factor * self``."""
        return AffineIndex(tuple((loop, k * factor) for loop, k in self.terms), start + factor * self.start)


ZERO = AffineIndex()


def at(loop: LoopVariable) -> AffineIndex:
    """A loop variable as an index."""
    return AffineIndex(((loop, 1),)) if loop.size != 1 else ZERO


@dataclass(frozen=True, slots=True)
class Digit:
    """``number // unit % size``: one axis of an element that is counted through all axes."""

    number: AffineIndex
    unit: int
    size: int

    @property
    def whole(self) -> bool:
        """True where it is the number itself."""
        largest = self.number.start + sum(k * (loop.size - 1) for loop, k in self.number.terms)
        return self.unit == 1 and largest < self.size


@dataclass(frozen=True, slots=True)
class Clamp:
    """A computed index, held inside 0, ..., size - 1: given ones are checked before, others may be anything."""

    number: Scalar
    size: int


Coordinate = AffineIndex | Digit | Clamp


@dataclass(frozen=True, slots=True)
class Load:
    """One element of what a statement reads, or a number."""

    arg: Argument
    index: tuple[Coordinate, ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """A pointwise operation on scalars, its result of a kind unless it compares."""

    op: str
    args: tuple[Scalar, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Reduce:
    """The "sum" or "max" of a value over loops of its own, or its "argmax" over one: the first largest; a nan wins."""

    op: str
    loops: tuple[LoopVariable, ...]
    value: Scalar


Scalar = Load | AffineIndex | Apply | Reduce


def children(x: Scalar | Coordinate) -> tuple[Scalar | Coordinate, ...]:
    """What a scalar or an index is computed from."""
    if isinstance(x, Load):
        return x.index
    if isinstance(x, Apply):
        return x.args
    if isinstance(x, Reduce):
        return (x.value,)
    return (x.number,) if isinstance(x, (Clamp, Digit)) else ()


def parts(*roots: Scalar | Coordinate, known: Iterable[Scalar] = ()) -> Iterator[Scalar | Coordinate]:
    """Everything that something is computed from, each once, before what needs it; not what is known already."""
    seen: set[Scalar | Coordinate] = set(known)
    stack = [(x, False) for x in reversed(roots)]
    while stack:
        x, ready = stack.pop()
        if ready:
            yield x
        elif x not in seen:
            seen.add(x)
            stack.append((x, True))
            stack.extend((child, False) for child in reversed(children(x)))


def free(x: Scalar | Coordinate) -> set[LoopVariable]:
    """The loops around something that it depends on."""
    found: dict[Scalar | Coordinate, set[LoopVariable]] = {}
    for part in parts(x):
        mine = {loop for loop, _ in part.terms} if isinstance(part, AffineIndex) else set()
        mine = mine.union(*(found[child] for child in children(part)))
        found[part] = mine - set(part.loops) if isinstance(part, Reduce) else mine
    return found[x]


@dataclass(frozen=True, slots=True)
class Nest:
    """``out[index] = value`` at every point of `loops`.

    meets  whether several points may store to one element, where they add up
    """

    loops: tuple[LoopVariable, ...]
    index: tuple[Coordinate, ...]
    value: Scalar
    meets: bool = False

    def rows(self) -> tuple[tuple[LoopVariable, ...], tuple[LoopVariable, ...]]:
        """The loops around what is reduced, and those that its result is the same for: a softmax passes a row again."""
        needed = set().union(*(free(x) for x in parts(self.value) if isinstance(x, Reduce)))
        along = tuple(x for x in self.loops if x not in needed and x.size != 1)
        return tuple(x for x in self.loops if x in needed), along

    def invariant(self) -> list[Scalar]:
        """Loop-invariant code: what is computed from reductions, and is the same along the second of `rows`."""
        around = set(self.rows()[0])
        return [
            x
            for x in parts(self.value)
            if isinstance(x, (Apply, Reduce)) and free(x) <= around and any(isinstance(y, Reduce) for y in parts(x))
        ]


def zeros(nest: Nest) -> bool:
    """True for a nest that stores nothing but zeros, as what stands around a slice that is put back."""
    value = nest.value
    return isinstance(value, Load) and isinstance(value.arg, Const) and not value.arg.value
