"""Statements of a program: equations to compute, kernels of several, loops over steps, and what each reads in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..ir.axes import Axis, Index
from ..ir.system import Const, Equation, Extent, Operand, Ref, System
from ..ops.core import OPS
from ..ops.shapes import elementwise, negative_axes
from ..printing.plain import view_text
from ..records import record


@record
class View:
    """A rearrangement read in place, without computing: "transpose" or "slice" with its attributes."""

    op: str
    attrs: tuple[tuple[str, Any], ...]


@record
class Access:
    """A ref as a statement reads it: the instance in memory, then views of it."""

    ref: Ref
    views: tuple[View, ...] = ()


Argument = Access | Const | Extent


Guard = tuple[tuple[Axis | Index, str, Index], ...]
"""What must hold of the loop variables around a statement, or of the lengths: (axis or step, ">=" or "<=", step)."""


@record
class Compute:
    """One equation, over every axis of its domain that no loop around it fixes.

    mode     "set" writes the left-hand side, "add" adds to what is there
    offsets  for each loop around it, k: at the loop's step i the statement computes its own step ``i + k``
    exists   what must hold of the lengths for the fixed steps, and those counted from an end, that it touches to exist;
             where it does not, nothing that is asked for needs the statement, and it does not run
    """

    equation: Equation
    args: tuple[Argument, ...]
    mode: str
    offsets: tuple[tuple[Axis, int], ...] = ()
    exists: Guard = ()

    def offset(self, axis: Axis) -> int:
        """The k of the loop along an axis."""
        return next(k for a, k in self.offsets if a == axis)


@record
class Fuse:
    """A kernel: statements over the same points, all of them computed at one point before the next.

    Where some reduce the last axis or have no such axis, the points are its rows, and every row goes through all
    statements before the next.

    inner  the names that only the kernel reads, which need no memory
    """

    body: tuple[Compute, ...]
    inner: tuple[str, ...] = ()


@record
class Repeat:
    """`body` once per step of `axis` in `steps`, upwards or downwards.

    through  how one step needs another, for the report
    """

    axis: Axis
    direction: int
    steps: tuple[Index, Index]
    body: tuple[Step, ...]
    through: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Its first line."""
        lo, hi = self.steps if self.direction > 0 else self.steps[::-1]
        return f"for {self.axis.name} = {lo}, ..., {hi}:"


Step = Compute | Fuse | Repeat


def shown(step: Compute) -> Equation:
    """The equation of a step with what it reads in place written out: ``V.T``, ``h[t][0:3]``."""
    args: list[Operand] = []
    for arg in step.args:
        if isinstance(arg, Access):
            text = str(arg.ref)
            for view in arg.views:
                text += view_text(view.op, dict(view.attrs))
            args.append(Ref(text) if arg.views else arg.ref)
        else:
            args.append(arg)
    return replace(step.equation, args=tuple(args))


def guard(step: Compute, loops: Sequence[Repeat]) -> Guard:
    """What must hold for a statement to run: `exists`, and that loops stand at steps of the statement's own domain."""
    found = [] if zero_unless(step) else list(step.exists)
    for loop in loops:
        r = step.equation.range(loop.axis).shifted(-step.offset(loop.axis))
        found += [(loop.axis, ">=", r.lo)] if r.lo != loop.steps[0] else []
        found += [(loop.axis, "<=", r.hi)] if r.hi != loop.steps[1] else []
    return tuple(found)


def zero_unless(step: Compute) -> Guard:
    """Of a sum that writes its left-hand side: what must hold of the lengths, or else it is a sum over no steps."""
    return step.exists if step.equation.summed and step.mode == "set" else ()


def access_shape(system: System, access: Access) -> tuple[int, ...]:
    """Per-example shape of what an access reads, its views applied."""
    return viewed_shape(access, system.decls[access.ref.name].shape)


def viewed_shape(access: Access, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a name as an access reads it, its views applied."""
    for view in access.views:
        shape = OPS[view.op].family.shape([shape], dict(view.attrs))
    return shape


REDUCTIONS = ("sum", "max", "sum_to")


@record
class Row:
    """A statement as a part of a kernel: the per-example axes before the last, elements of it read and written.

    A pointwise one writes as many as it reads, 1 where it has no last axis; a reduction writes 1.
    """

    lead: tuple[int, ...]
    reads: int
    writes: int


def row(system: System, step: Compute) -> Row | None:
    """What a statement does along the last axis; None where it is not pointwise, nor reduces that axis alone."""
    e, shape = step.equation, system.decls[step.equation.out.name].shape
    if e.combine != "sum" or e.operation.compute is not None or e.summed:
        return None
    if e.batched != system.decls[e.out.name].batched:
        return None
    read = [access_shape(system, a) for a in step.args if isinstance(a, Access)]
    if any(len(r) > len(shape) for r in read) and e.op not in REDUCTIONS:
        return None
    width = shape[-1] if shape else 1
    if e.operation.family is elementwise or (e.op == "broadcast_to" and read):
        return Row(shape[:-1], width, width)
    if e.op not in REDUCTIONS or not read or not read[0]:
        return None
    *lead, width = read[0]
    last = e.op == "sum_to" or negative_axes(dict(e.attrs)["axis"], len(read[0])) == (-1,)
    return Row(tuple(lead), width, 1) if last and (shape == (*lead, 1) or not (lead or shape)) else None


def by_points(rows: Sequence[Row]) -> bool:
    """True for a kernel in which every statement writes all the points that it reads, and all have the same points.

    Any other is a kernel of rows: it needs a loop along each row, and what is reduced is known behind that loop.
    """
    return len({(r.reads, r.writes) for r in rows}) == 1 and rows[0].reads == rows[0].writes


def walk(steps: tuple[Step, ...]) -> Iterator[tuple[int, Step]]:
    """Every step with its depth, in order."""
    stack = [(0, step) for step in reversed(steps)]
    while stack:
        depth, step = stack.pop()
        yield depth, step
        if not isinstance(step, Compute):
            stack.extend((depth + 1, inner) for inner in reversed(step.body))
