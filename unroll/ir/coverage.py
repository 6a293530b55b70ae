"""Coverage: whether what one equation reads lies among what another writes, compared for every length."""

from __future__ import annotations

from collections.abc import Iterator

from .axes import Axis, Index
from .system import Equation, Ref, System


def covers(system: System, reader: Equation, ref: Ref, writer: Equation) -> bool:
    """True if every step that `reader` reads of `ref` is one that `writer` writes, whatever the length."""
    return all(_inside(system, reader, ref, writer))


def within(system: System, reader: Equation, ref: Ref, writer: Equation) -> bool:
    """True if all that `reader` reads of `ref` is written by `writer`, for every length.

    A step counted from the end counts as written by 1..T, since a template without a boundary there refuses lengths at
    which it is not; but a cotangent that is never written is zero.
    """
    inside = _inside(system, reader, ref, writer)
    if system.decls[ref.name].kind == "cotangent":
        return all(inside)
    return all(held or (_at_end(i) and i.shift <= 0) for held, i in zip(inside, ref.index, strict=True))


def _inside(system: System, reader: Equation, ref: Ref, writer: Equation) -> Iterator[bool]:
    """For each bracket, whether the steps read are among those written, whatever the length."""
    for position, (lo, hi) in enumerate(system.reads(reader, ref)):
        first, final = writer.written(position)
        yield first.never_after(lo) and hi.never_after(final)


def _at_end(index: Index) -> bool:
    return index.axis is not None and not index.runs


def steps_of(out: Ref, ref: Ref) -> dict[Axis, Index]:
    """How the running steps of `out` read, seen from `ref`."""
    return {wrote.axis: wanted for wrote, wanted in zip(out.index, ref.index, strict=True) if wrote.axis is not None}
