"""Symbolic sizes: products of lengths and the batch size, ``64 * B * (T+1)``, compared without being known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...ir.axes import Axis, Range
from ...records import record

Symbol = tuple[str, int]
"""An end and what is added to it, ``("T", 1)``, never below 0; or ``(BATCH_END, 0)``, the batch size."""


@record
class Size:
    """``factor`` times a product of symbols, in sorted order."""

    factor: int
    symbols: tuple[Symbol, ...] = ()

    def __mul__(self, other: Size) -> Size:
        if not self.factor * other.factor:
            return Size(0)  # equal to any other zero
        return Size(self.factor * other.factor, tuple(sorted((*self.symbols, *other.symbols))))

    @property
    def known(self) -> bool:
        """True for a plain number."""
        return not self.symbols

    def at(self, lengths: Mapping[str, int]) -> int:
        """Its value; `lengths` holds the batch size under `BATCH_END`."""
        value = self.factor
        for end, k in self.symbols:
            value *= max(lengths[end] + k, 0)
        return value


ZERO, ONE = Size(0), Size(1)
BATCH_END, PART = "batch size", "part of the batch"
"""Among the ends of axes, the number of examples: of all, and of one share where the shares of a loop have each their
own. No axis is called so, since an end is an identifier and these have spaces."""
BATCH = Size(1, ((BATCH_END, 0),))

Key = Axis | str
"""A dimension: a time axis of the user's, or a string for one of ours. So no name of a user's means anything here."""
EXAMPLES: Key = "examples"
"""The dimension of the batch."""


Dims = list[tuple[Key, Size]]
"""Dimensions with their sizes, outermost first."""


def features(shape: Sequence[int]) -> Dims:
    """Per-example axes as dimensions, counted from the last."""
    return [(f".{i - len(shape)}", Size(n)) for i, n in enumerate(shape)]


def points_in(dims: Dims) -> Size:
    """How many points there are."""
    return product(tuple(size for _, size in dims))


def count(r: Range) -> Size:
    """The number of steps of a range."""
    if r.hi.anchor == r.lo.anchor:
        return Size(max(r.hi.shift - r.lo.shift + 1, 0))
    return Size(1, ((r.hi.anchor, r.hi.shift - r.lo.shift + 1),))


def product(sizes: tuple[Size, ...]) -> Size:
    """All of them multiplied."""
    result = ONE
    for size in sizes:
        result = result * size
    return result


def in_order(shape: Sequence[int]) -> tuple[Size, ...]:
    """Steps along each axis of an array in one piece."""
    return tuple(Size(math.prod(shape[i + 1 :])) for i in range(len(shape)))
