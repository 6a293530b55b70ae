"""Addressing: the index of a loop nest as elements from the first, along each loop variable and by computed numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ...compiler.nests import ZERO, AffineIndex, Coordinate, Digit
from .symbolic_size import Key, Size

Computed = list[tuple[Coordinate, Size]]


def addressed(index: Sequence[Coordinate], steps: Sequence[Size]) -> tuple[int, dict[Key, Size], Computed]:
    """Elements before the first, elements from one step of each loop to the next, and of each number that is computed.

    steps  elements from one to the next along each per-example axis: plain numbers
    """
    start, computed = 0, Computed()
    strides: dict[Key, Size] = {}
    for x, step in _merged(index, steps):
        if not isinstance(x, AffineIndex):
            computed.append((x, step))
            continue
        start += x.start * step.factor
        for loop, k in x.terms:
            assert loop.name not in strides, "no operation reads a diagonal"
            strides[loop.name] = Size(k) * step
    return start, strides, computed


def _merged(index: Sequence[Coordinate], steps: Sequence[Size]) -> Computed:
    """Digits of one number whose axes lie end to end, as the number itself."""
    found = Computed()
    for x, step in zip(reversed(index), reversed(steps), strict=True):
        both = _both(x, step, *found[-1]) if found else None
        if both is not None:
            found[-1] = both, found[-1][1]
        elif x != ZERO:
            found.append((x, step))
    return [(x.number, step) if isinstance(x, Digit) and x.whole else (x, step) for x, step in found]


def _both(high: Coordinate, step: Size, low: Coordinate, unit: Size) -> Digit | None:
    """Two digits of a number as one, where an element of the higher lies behind all those of the lower."""
    if not (isinstance(high, Digit) and isinstance(low, Digit) and high.number == low.number):
        return None
    if high.unit != low.unit * low.size or step != unit * Size(low.size):
        return None
    return Digit(low.number, low.unit, low.size * high.size)
