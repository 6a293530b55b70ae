"""The passes from a system to a program, as one list that can be read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .builder import Builder
from .expr import Expr
from .ir import Const, Equation, Ref, System
from .program import Program
from .schedule.fuse import fuse
from .schedule.lower import lower
from .schedule.merge import merge
from .schedule.pack import pack
from .schedule.regroup import regroup
from .schedule.sink import sink

PASSES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("merge", merge),  # System -> System: products that share an operand, or that add up, are one product
    ("regroup", regroup),  # System -> System: sums split into what recurs and what does not
    ("pack", pack),  # System -> System: pointwise equations of one form over neighbouring vectors are one equation
    ("lower", lower),  # System -> Program: loops, views, buffers
    ("sink", sink),  # Program -> Program: what is cheap is computed anew in the loop that needs it
    ("fuse", fuse),  # Program -> Program: pointwise statements over the same points are one kernel
)
HOIST = "hoist"
OPTIONAL = (*(name for name, _ in PASSES if name != "lower"), HOIST)
"""The passes that may be left out, and what `lower` takes out of loops: no value changes beyond rounding."""


def compile_system(
    system: System,
    on_pass: Callable[[str, Any], None] | None = None,
    without: Collection[str] = (),
    loops: bool = True,
) -> Program:
    """The program of a simplified system; `on_pass` sees the result of every pass by name.

    without  names out of `OPTIONAL`, to leave out
    loops    False where every statement in a loop is a call, which no kernel saves: what is inside loops stays as it is
    """
    stage: Any = system
    for name, run in PASSES:
        if name in without or (name == "sink" and not loops):
            continue
        if name == "lower":
            stage = lower(stage, HOIST not in without)
        else:
            stage = run(stage) if name != "fuse" else fuse(stage, loops)
        if on_pass is not None:
            on_pass(name, stage)
    program: Program = stage
    return program


def expand(system: System) -> System:
    """Operations that a user defined from other operations, written out."""
    if not any(_opens(e) for e in system.equations):
        return system
    builder = Builder.extend(system)
    builder.equations = []
    for equation in system.equations:
        body = equation.operation.body
        if body is None or not _opens(equation):
            builder.equations.append(equation)
            continue
        with builder.within(equation.domain, equation.source):
            args = [a.value if isinstance(a, Const) else _expression(builder, a) for a in equation.args]
            value = builder.operand(body(*args, **dict(equation.attrs)))
        builder.equations.append(
            Equation(
                equation.out,
                "copy",
                (value.operand,),
                (),
                equation.domain,
                equation.batched,
                equation.combine,
                equation.source,
            )
        )
    return expand(builder.draft())


def _expression(builder: Builder, operand: Any) -> Expr:
    return builder.read(operand) if isinstance(operand, Ref) else Expr(builder, operand, (), "float", frozenset())


def _opens(equation: Equation) -> bool:
    op = equation.operation
    return op.body is not None and op.compute is None
