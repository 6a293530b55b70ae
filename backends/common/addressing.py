"""Addressing: where ``h[t-1]`` lies in memory, and the index of a loop nest as elements from its first.

Of each access the elements before the first, those from one step to the next, and those along each loop variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...compiler.nests import ZERO, AffineIndex, Coordinate, Digit
from ...compiler.statements import Access, View
from ...ir.axes import Index, Range
from ...ops.shapes import as_slice
from ...records import record
from .memory_layout import Layout
from .symbolic_size import EXAMPLES, Key, Size

Move = tuple[Index, Index, Size]
"""A step, the one that the memory begins with, and the elements from one to the next."""


@record
class Located:
    """What an access reads in memory, seen through its views: where it begins, and the strides from there.

    offset, moves  elements into the host: a number, and as many as lie between steps
    lead           elements from one to the next along the dimensions that the statement spans
    shape, steps   the per-example axes, and elements from one to the next along each
    """

    offset: int
    moves: tuple[Move, ...]
    lead: Mapping[Key, Size]
    shape: tuple[int, ...]
    steps: tuple[Size, ...]


def located(layout: Layout, access: Access, spans: Sequence[Range]) -> Located:
    """The address of instances such as ``h[t-1][:3]`` in a statement over `spans`."""
    kept, spanned = {r.axis: r for r in layout.axes}, {r.axis: r for r in spans}
    lead: dict[Key, Size] = {}
    moves: list[Move] = []
    for index, axis in zip(access.ref.index, layout.brackets, strict=True):
        if axis not in kept:
            continue
        start, stride = index, layout.strides[axis]
        if index.runs and index.axis in spanned:
            start = spanned[index.axis].lo + index.shift
            lead[index.axis] = stride
        moves.append((start, kept[axis].lo, stride))
    if layout.batched:
        lead[EXAMPLES] = layout.strides[EXAMPLES]
    found = Located(layout.offset, tuple(moves), lead, layout.shape, layout.steps)
    for view in access.views:
        found = _viewed(found, view)
    return found


def _viewed(x: Located, view: View) -> Located:
    """The same through a transpose or a slice."""
    attrs = dict(view.attrs)
    if view.op == "transpose":
        axes = attrs.get("axes")
        order = list(range(len(x.shape)))[::-1] if axes is None else [a + len(x.shape) for a in axes]
        return replace(x, shape=tuple(x.shape[i] for i in order), steps=tuple(x.steps[i] for i in order))
    parts = attrs["parts"]
    sizes, strides, offset = [], [], x.offset
    for part, n, step in zip(parts, x.shape, x.steps, strict=False):
        chosen = as_slice(part)
        if isinstance(chosen, int):
            offset += chosen % n * step.factor
            continue
        taken = range(*chosen.indices(n))
        offset += taken.start * step.factor if taken else 0
        sizes.append(len(taken))
        strides.append(Size(taken.step) * step)
    rest = len(parts)
    return replace(x, offset=offset, shape=(*sizes, *x.shape[rest:]), steps=(*strides, *x.steps[rest:]))


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
