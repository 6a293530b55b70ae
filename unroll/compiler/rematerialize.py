"""Rematerialize: a cheap pointwise statement that one loop alone reads is computed again in that loop.

There it becomes a part of a kernel and its values need no memory: the derivative ``1 - y[t]**2`` is computed again from
``y[t]`` where the backward loop needs it, rather than for all steps beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir.axes import Axis
from ..ir.system import Ref
from ..ops.shapes import elementwise
from .program import Program
from .statements import Access, Compute, Repeat, Step

CHEAP = frozenset({
    "add", "sub", "mul", "neg", "abs", "sign", "relu", "maximum", "minimum", "where", "greater", "greater_equal",
    "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "pow", "copy", "cast",
})  # fmt: skip
"""Operations that cost less than reading their result back from memory."""
POWERS = (2, 3, 1, 0.5)


def rematerialize(program: Program) -> Program:
    """The program with cheap pointwise statements inside the loops that need them."""
    steps = list(program.steps)
    readers, writers = _used(steps)
    buffers = program.buffers.values()
    needed = {r.name for r in program.system.outputs.values()}
    needed |= {name for b in buffers if b.inside for name in (b.name, b.inside[0])}
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if not isinstance(step, Compute) or not _movable(program, step):
            continue
        name = step.equation.out.name
        by = readers.get(name, [])
        if name in needed or len(writers[name]) != 1 or not by or not all(direct for _, _, direct in by):
            continue
        goal, *others = {n for n, _, _ in by}
        loop = steps[goal]
        if others or not isinstance(loop, Repeat):
            continue
        offset = _offset(step.equation.out, [s for _, s, _ in by], loop.axis)
        args = [a.ref.name for a in step.args if isinstance(a, Access)]
        if offset is None or any(number < w <= goal for a in args for w in writers.get(a, ())):
            continue
        moved = replace(step, offsets=((loop.axis, offset),))
        steps[goal] = replace(loop, body=(moved, *loop.body))
        steps[number] = moved  # its place is taken out below
        for a in args:
            readers[a] = [(n, s, d) if s is not step else (goal, moved, True) for n, s, d in readers[a]]
        writers[name] = [goal]
    kept = tuple(s for s in steps if not (isinstance(s, Compute) and s.offsets))
    return replace(program, steps=kept)


def _used(steps: Sequence[Step]) -> tuple[dict[str, list[tuple[int, Compute, bool]]], dict[str, list[int]]]:
    """By name, which top-level steps read it, by which statement, and whether that stands right in it; which write."""
    readers: dict[str, list[tuple[int, Compute, bool]]] = {}
    writers: dict[str, list[int]] = {}
    for number, step in enumerate(steps):
        for depth, inner in _statements(step):
            for arg in inner.args:
                if isinstance(arg, Access):
                    readers.setdefault(arg.ref.name, []).append((number, inner, depth == 1))
            writers.setdefault(inner.equation.out.name, []).append(number)
    return readers, writers


def _statements(step: Step) -> list[tuple[int, Compute]]:
    found: list[tuple[int, Compute]] = []
    pending = [(0, step)]
    while pending:
        depth, inner = pending.pop()
        if isinstance(inner, Compute):
            found.append((depth, inner))
        else:
            pending.extend((depth + 1, s) for s in inner.body)
    return found


def _movable(program: Program, step: Compute) -> bool:
    """A cheap operation, evaluated once a point, that is the only one to write there."""
    e = step.equation
    if e.operation.family is not elementwise or e.op not in CHEAP or e.combine != "sum" or step.mode != "set":
        return False
    if e.op == "pow" and getattr(step.args[1], "value", None) not in POWERS:
        return False
    if e.summed or e.batched != program.system.decls[e.out.name].batched:
        return False
    buffer = program.buffers.get(e.out.name)
    return buffer is not None and buffer.clear is None and bool(e.domain)


def _offset(out: Ref, readers: Sequence[Compute], axis: Axis) -> int | None:
    """The step of the loop, as ``i + k``, at which every reader wants it; None where they differ."""
    found: set[int] = set()
    wrote = out.shift(axis)
    if wrote is None:
        return None
    for reader in readers:
        offsets = dict(reader.offsets)
        for arg in reader.args:
            if isinstance(arg, Access) and arg.ref.name == out.name:
                read = arg.ref.shift(axis)
                if read is None or axis not in offsets:
                    return None
                found.add(offsets[axis] + read - wrote)
    return found.pop() if len(found) == 1 else None
