"""Index ranges as boxes, one range for each bracket: intersection and difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .axes import Index, Lengths

Box = tuple[range, ...]
Ends = tuple[Index, Index]
"""First and last step, both included."""


def numbers(ends: Ends, lengths: Lengths) -> range:
    """The steps between two ends, at given lengths."""
    lo, hi = ends
    start = lo.shift + (lengths[lo.anchor] if lo.anchor else 0)
    return range(start, hi.shift + (lengths[hi.anchor] if hi.anchor else 0) + 1)


def meet(a: Sequence[range], b: Sequence[range]) -> bool:
    """True if the two have a point in common."""
    return all(max(r.start, q.start) < min(r.stop, q.stop) for r, q in zip(a, b, strict=True))


def without(box: Box, other: Sequence[range]) -> Iterator[Box]:
    """What is left of a box without another, in boxes."""
    inner = list(box)
    for position, (r, q) in enumerate(zip(box, other, strict=True)):
        for piece in (range(r.start, min(r.stop, q.start)), range(max(r.start, q.stop), r.stop)):
            if piece:
                yield (*inner[:position], piece, *inner[position + 1 :])
        inner[position] = range(max(r.start, q.start), min(r.stop, q.stop))
        if not inner[position]:
            return


def uncovered(box: Box, by: Iterable[Sequence[range]]) -> Box | None:
    """A part of a box that none of the others holds; None where they hold all of it."""
    left = [box]
    for other in by:
        left = [piece for part in left for piece in without(part, other)]
    return left[0] if left else None
