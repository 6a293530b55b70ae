"""Specialisation to axes without steps: what is zero there, and what is multiplied by it, is not computed.

A value that no step changes is computed once, whatever the number of steps, and its product with a cotangent that is a
sum over all steps too. At no steps the sum is zero, and the value may depend on a step that does not exist: the loss
does not need it then, and no more does the gradient.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ..ir.system import Const, Equation, Operand, Ref, System
from ..ops.contract import PRODUCTS

BILINEAR = PRODUCTS | {"mul"}
"""Zero where either operand is."""
LINEAR = frozenset({
    "div", "neg", "copy", "cast", "stop_gradient", "sum", "sum_to", "broadcast_to", "transpose", "slice", "unslice",
    "reshape", "take", "pick", "scatter", "take_along", "put_along",
})  # fmt: skip
"""Zero where the first operand is."""
JOINED = frozenset({"add", "sub", "concat", "stack"})
"""Zero where all operands are."""


def without_steps(system: System, lengths: Mapping[str, int]) -> System:
    """The system at lengths at which some axes have no steps: no value that is asked for changes.

    Cotangents that are sums over no steps are zero, and so are equations linear in them: both are left out.
    """
    none = {end: n for end, n in lengths.items() if n == 0}
    equations = [e for e in system.equations if system.decls[e.out.name].kind != "cotangent" or _runs(e, none)]
    decls = dict(system.decls)
    left: int | None = None
    while left != len(equations):
        left = len(equations)
        written = {e.out.name for e in equations}
        zero = {n for n, d in decls.items() if d.kind == "cotangent" and n not in written}
        dropped = [e for e in equations if _adds(system, e) and _zero(e, zero)]
        gone = {id(e) for e in dropped}
        equations = [e for e in equations if id(e) not in gone]
        kept = {e.out.name for e in equations}
        for name in {e.out.name for e in dropped} - kept:
            decls[name] = replace(decls[name], kind="cotangent")  # zero wherever it is read
    return replace(system, decls=decls, equations=tuple(equations))


def _adds(system: System, e: Equation) -> bool:
    """True where zero may be left out: of a cotangent, and of what nothing else writes."""
    name = e.out.name
    return system.decls[name].kind == "cotangent" or (
        system.decls[name].kind == "temporary" and len(system.writers[name]) == 1
    )


def _runs(e: Equation, none: Mapping[str, int]) -> bool:
    """False where an equation has no point because an axis has no steps."""
    return all(r.steps(none) for r in e.domain if r.axis.end in none)


def _zero(e: Equation, zero: Collection[str]) -> bool:
    """True where an equation gives zero because operands in which it is linear are."""

    def is_zero(a: Operand) -> bool:
        return a.name in zero if isinstance(a, Ref) else isinstance(a, Const) and a.value == 0

    if e.combine != "sum" or not any(isinstance(a, Ref) and a.name in zero for a in e.args):
        return False
    if e.op in BILINEAR:
        return any(isinstance(a, Ref) and a.name in zero for a in e.args)
    if e.op in LINEAR:
        return is_zero(e.args[0])
    if e.op in JOINED:
        return all(map(is_zero, e.args))
    return e.op == "where" and all(map(is_zero, e.args[1:]))
