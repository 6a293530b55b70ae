"""Kernels outside loops, computed in blocks of steps: how many at a time, and what needs memory for one block alone."""

from __future__ import annotations

import math

from ...compiler.statements import Access, Fuse, access_shape
from ...ir.axes import Range
from . import tuning
from .source_writer import COUNT, SourceWriter, count


def blocks(writer: SourceWriter, step: Fuse) -> tuple[Range, str] | None:
    """What is cut into blocks, and the steps of a block as source; None where a kernel is computed in one piece."""
    e = step.body[0].equation
    spans = [r for a in writer.system.axes for r in e.domain if r.axis == a]
    if not spans or spans[0].lo.anchor or not all(s.mode == "set" for s in step.body):
        return None
    accesses = [a for s in step.body for a in (Access(s.equation.out), *s.args) if isinstance(a, Access)]
    if not all(_follows(writer, a, spans[0]) for a in accesses):
        return None
    widest = max(math.prod(access_shape(writer.system, a)) for a in accesses)
    others = [count(r) for r in spans[1:]] + [COUNT] * e.batched
    each = f" // max(1, {' * '.join(others)})" if others else ""
    return spans[0], f"max(1, {max(1, tuning.BLOCK_ELEMENTS // max(1, widest))}{each})"


def local(writer: SourceWriter, step: Fuse) -> dict[str, str]:
    """The names that hold one block alone, and the steps of a block, as source."""
    found = blocks(writer, step)
    if found is None:
        return {}
    whole, steps = found
    return {n: steps for n in step.inner if writer.buffers[n].axes and writer.buffers[n].axes[0].axis == whole.axis}


def _follows(writer: SourceWriter, access: Access, span: Range) -> bool:
    """True if a step of the span stands at a known position, counted from the beginning of the buffer."""
    for n, held in writer.stored(access.ref.name).steps:
        index, first = access.ref.index[n], held.lo
        moves = index.runs and held.axis == span.axis
        if moves and (first.anchor or span.lo.shift + index.shift < first.shift):
            return False
    return True
