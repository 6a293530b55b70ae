"""What an emitter asks of a statement: what it spans, when it runs, and which names need no memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...compiler.program import Program
from ...compiler.statements import Compute, Fuse, Guard, Repeat, by_points, guard, row, walk
from ...ir.axes import Axis, Range
from ...ir.system import Equation, System


def unsupported(system: System, known: Collection[str]) -> str:
    """The first operation that is none of those known, as one that is a Python function alone; "" if none."""
    return next((e.op for e in system.equations if e.operation.compute is not None or e.op not in known), "")


def spans(system: System, e: Equation, loops: Collection[Axis]) -> tuple[Range, ...]:
    """The ranges of a domain along which no loop runs, in the order of the system's axes."""
    return tuple([e.ranges[a] for a in system.axes if a in e.ranges and a not in loops])


def conditional(body: Sequence[Compute], loops: Sequence[Repeat]) -> tuple[Guard, list[Compute]]:
    """What must hold of the loops around for all statements of a kernel to run, and those that run in any case."""
    guards = [guard(s, loops) for s in body]
    wanted = list(dict.fromkeys(g for g in guards if g))
    if not wanted:
        return (), list(body)
    (inside,) = wanted
    return inside, [s for s, g in zip(body, guards, strict=True) if not g]


def of_nothing(step: Compute) -> float:
    """What a left-hand side holds to which nothing was joined yet."""
    return float("-inf") if step.equation.combine == "max" else 0.0


def local_names(program: Program, rows: bool) -> set[str]:
    """Names within kernels that need no memory: in kernels of points, and, with `rows`, in those of rows too."""
    found: set[str] = set()
    for _, step in walk(program.steps):
        if isinstance(step, Fuse) and (rows or _of_points(program, step)):
            found.update(step.inner)
    return found


def _of_points(program: Program, kernel: Fuse) -> bool:
    return by_points([r for s in kernel.body if (r := row(program.system, s)) is not None])
