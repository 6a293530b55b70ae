"""The pipeline: the compiler's passes from a system to a program, as one list that can be read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from ..ir.names import renamed
from ..ir.system import Const, Equation, Label, Operand, Ref, System
from ..language.builder import Builder
from ..language.expression import Expr
from ..ops.core import acting_for
from ..printing.plain import EquationWriter
from ..transform.verify import check_pass
from .fuse import fuse
from .lower import lower
from .merge_products import merge
from .program import Program
from .reassociate import reassociate
from .rematerialize import rematerialize
from .vectorize import vectorize
from .verify import check_program

PASSES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    # System -> System
    ("merge", merge),  # products that share an operand, or that add up, are one product
    ("reassociate", reassociate),  # addends that do not recur are summed outside the loop
    ("vectorize", vectorize),  # SLP: equations of one form over adjacent vectors are one
    # System -> Program
    ("lower", lower),  # loops as `dependence.loop_order` has them (loop-invariant code motion), buffers
    # Program -> Program
    ("rematerialize", rematerialize),  # cheap values are computed again in the one loop that reads them
    ("fuse", fuse),  # pointwise statements over the same points are one kernel
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
        if name in without or (name == "rematerialize" and not loops):
            continue
        if name == "lower":
            stage = lower(stage, HOIST not in without)
        else:
            stage = run(stage) if name != "fuse" else fuse(stage, loops)
        if isinstance(stage, System):
            check_pass(name, system, stage)
        else:
            check_program(name, stage)
        if on_pass is not None:
            on_pass(name, stage)
    program: Program = stage
    return program


def expand(system: System) -> System:
    """Operations that are defined from other operations, written out."""
    while any(_opens(e) for e in system.equations):
        builder = Builder.extend(system)
        builder.equations = []
        writer = EquationWriter(system, inline=False)
        for equation in system.equations:
            builder.equations += _opened(builder, equation, writer) if _opens(equation) else [equation]
        opened = renamed(builder.draft())
        check_pass("expand", system, opened)
        system = opened
    return system


def _opened(builder: Builder, e: Equation, writer: EquationWriter) -> list[Equation]:
    """An equation whose operation is written out, under its name; what that takes besides is added to the builder."""
    assert e.operation.body is not None
    label = e.label or Label(e.op, e.args, tuple(writer.attributes(e)))
    shape = builder.decls[e.out.name].shape
    with builder.within(e.domain, e.source):
        args = [_expression(builder, a) for a in e.args]
        with acting_for(args[0]):
            value = builder.operand(e.operation.body(*args, **dict(e.attrs)))
    made = builder.equations[-1] if builder.equations else None
    alike = (value.shape, e.domain, e.batched)
    if made is not None and made.out == value.operand and (shape, made.domain, made.batched) == alike:
        builder.equations.pop()  # the last step of the body makes the result itself
        return [replace(e, op=made.op, args=made.args, attrs=made.attrs, label=label)]
    return [replace(e, op="copy", args=(value.operand,), attrs=(), label=label)]


def _expression(builder: Builder, operand: Operand) -> Expr:
    if isinstance(operand, Const):
        return builder.constant(operand.value)
    return builder.read(operand) if isinstance(operand, Ref) else Expr(builder, operand, (), "float", frozenset())


def _opens(equation: Equation) -> bool:
    op = equation.operation
    return op.body is not None and op.compute is None
