"""Bounds checks of labels that a template computes: one more output counts those that lie outside their table.

A label that is an input is checked when it is passed. One that equations make is known only in the run, so the system
counts them. What is proved to lie inside (`ops.argmax` of as many numbers, a rank, a draw) is not counted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..errors import ArrayError, message
from ..ir.axes import running
from ..ir.system import Const, Decl, Domain, Equation, Operand, Ref, System
from ..language.builder import Builder
from ..ops.pointwise import cast, greater_equal, less, logical_or
from ..ops.reduce import sum as total
from ..printing.plain import EquationWriter

COUNT = "labels~"
"""The output that holds the count; no name of a user's has a tilde."""
OPERAND = {
    "take": 1, "pick": 1, "cross_entropy": 1, "scatter": 1, "one_hot": 0, "take_along": 1, "put_along": 1,
}  # fmt: skip
"""Operations that look something up, and the operand that says where."""


@dataclass(frozen=True)
class Lookup:
    """Labels of a lookup, as they are read at the points of a domain, and how many there are to choose from."""

    label: Ref
    domain: Domain
    limit: int
    equation: Equation


def limit(system: System, e: Equation) -> int:
    """How many labels an equation knows that looks something up."""
    if e.op in ("scatter", "one_hot", "put_along"):
        return int(dict(e.attrs)["size"])
    table = e.args[0]
    shape = system.decls[table.name].shape if isinstance(table, Ref) else (1,)
    return shape[0] if e.op == "take" else shape[-1]


def lookups(system: System, checked: Collection[str]) -> list[Lookup]:
    """Lookups by labels that may lie outside, each once. Raises ArrayError for a number that does.

    checked  names of inputs whose labels are checked when they come
    """
    found: dict[object, Lookup] = {}
    inside = _Inside(system, checked)
    for e in system.equations:
        if e.op not in OPERAND:
            continue
        label, most = e.args[OPERAND[e.op]], limit(system, e)
        if inside.holds(label, most, e):
            continue
        if isinstance(label, Const):
            raise ArrayError(outside_of(system, str(label), "is a number", most, e))
        assert isinstance(label, Ref)
        domain = tuple(r for r in e.domain if r.axis in label.running)
        found.setdefault((label, domain, most), Lookup(label, domain, most, e))
    return list(found.values())


class _Inside:
    """Which labels are proved to lie inside a table."""

    def __init__(self, system: System, checked: Collection[str]) -> None:
        self.system, self.checked = system, checked

    def holds(self, label: Operand, most: int, reader: Equation) -> bool:
        """True if no label that is read lies outside 0..most-1."""
        pending: list[Operand] = [label]
        seen: set[str] = set()
        while pending:
            operand = pending.pop()
            if isinstance(operand, Const):
                if not 0 <= operand.value < most:
                    return False
            elif not isinstance(operand, Ref):
                return False
            elif operand.name not in seen:
                seen.add(operand.name)
                decl = self.system.decls[operand.name]
                if decl.given and not self._given(decl, most, operand is label):
                    return False
                for e in self.system.writers[operand.name]:
                    if e.op in ("argmax", "categorical", "rank") and self._width(e) <= most:
                        continue
                    if e.op not in ("copy", "slice", "reshape", "transpose", "broadcast_to"):
                        return False
                    pending.append(e.args[0])
        return True

    def _given(self, decl: Decl, most: int, directly: bool) -> bool:
        if decl.kind == "constant":
            return not decl.array.size or bool(decl.array.min() >= 0 and decl.array.max() < most)
        return directly and decl.name in self.checked

    def _width(self, e: Equation) -> int:
        return max((self.system.decls[r.name].shape[-1:] or (1,) for r in e.refs), default=(1,))[0]


def counted(system: System, found: list[Lookup]) -> tuple[System, list[str]]:
    """The system with one more output, how many labels lie outside their tables, and names for those of each lookup."""
    builder = Builder.extend(system)
    builder.declare(Decl(COUNT, "cotangent", (), "float"))
    held: list[str] = []
    for lookup in found:
        decl, source = system.decls[lookup.label.name], lookup.equation.source
        axes = tuple(r.axis for r in lookup.domain)
        held.append(builder.fresh())
        out = Ref(held[-1], tuple(map(running, axes)))
        builder.decls[out.name] = Decl(out.name, "temporary", decl.shape, "int", axes, decl.batched)
        builder.equations.append(Equation(out, "copy", (lookup.label,), (), lookup.domain, decl.batched, "sum", source))
        with builder.within(lookup.domain, source):
            label = builder.read(out)
            outside = total(cast(logical_or(less(label, 0), greater_equal(label, lookup.limit))))
        operand = outside.operand
        builder.equations.append(
            Equation(Ref(COUNT), "copy", (operand,), (), lookup.domain, decl.batched, "sum", source)
        )
    return replace(builder.draft(), outputs={**system.outputs, COUNT: Ref(COUNT)}), held


def outside_of(system: System, label: str, what: str, most: int, e: Equation) -> str:
    """The message for a label that lies outside its table."""
    return message(
        f"the label {label} {what}, and labels run from 0 to {most - 1}",
        (EquationWriter(system).equation(e), e.source),
        fix="Hold it inside, as ops.maximum(k, 0) and ops.minimum(k, n - 1) do, or make the table larger.",
    )
