"""Labels that a template computes: each lookup counts those that lie outside its table, and one count tells of any.

A label that the user hands over is checked when it comes. One that equations make is known only in the run, so the
system has one more output, how many such labels there were; where there is one, the run is looked at again for the
first of them. What is proved to lie inside (`ops.argmax` of as many numbers, a draw) is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .builder import Builder
from .errors import ArrayError, LabelError, message
from .explain import Costs
from .ir import Const, Decl, Domain, Equation, Operand, Ref, System
from .ops.pointwise import cast, greater_equal, less, logical_or
from .ops.reduce import sum as total
from .program import Program
from .text import Writer
from .timeindex import Axis, running

COUNT = "labels~"
"""The output that holds the count; no name of a user's has a tilde."""
OPERAND = {"take": 1, "pick": 1, "cross_entropy": 1, "scatter": 1, "one_hot": 0}
"""Operations that look something up, and the operand that says where."""


@dataclass(frozen=True)
class Lookup:
    """Labels of a lookup, as they are read at the points of a domain, and how many there are to choose from."""

    label: Ref
    domain: Domain
    limit: int
    equation: Equation


@dataclass(frozen=True)
class Outside:
    """A label that lies outside its table: its value, at which step along each axis, and of which example."""

    system: System
    lookup: Lookup
    value: int | None = None
    steps: Mapping[Axis, int] = field(default_factory=dict)
    example: int | None = None

    def error(self) -> LabelError:
        """What to raise."""
        at = [f"{a.name} = {k}" for a, k in self.steps.items()]
        at += [] if self.example is None else [f"example {self.example}"]
        what = f"is {self.value}" + (f" at {', '.join(at)}" if at else "")
        label, e = Writer(self.system).expression(self.lookup.label), self.lookup.equation
        what = "lies outside" if self.value is None else what
        error = LabelError(outside_of(self.system, label, what, self.lookup.limit, e))
        error.found = self
        return error

    def moved(self, axis: Axis, before: int, rows: Sequence[int] | None) -> Outside:
        """The same where `before` steps came first, and the place of each example computes the one in `rows`."""
        steps = {a: k + before * (a == axis) for a, k in self.steps.items()}
        example = self.example if rows is None or self.example is None else rows[self.example]
        return replace(self, steps=steps, example=example)


class Executable(Protocol):
    """What a backend makes of a system: see `unroll.backends.base`."""

    program: Program | None

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[Any, Any]: ...

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs | None: ...


def limit(system: System, e: Equation) -> int:
    """How many labels an equation knows that looks something up."""
    if e.op in ("scatter", "one_hot"):
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
                    if e.op in ("argmax", "categorical") and self._width(e) <= most:
                        continue
                    if e.op not in ("copy", "slice", "reshape", "transpose", "broadcast_to"):
                        return False
                    pending.append(e.args[0])
        return True

    def _given(self, decl: Decl, most: int, directly: bool) -> bool:
        if decl.kind == "constant":
            return not decl.detail.size or bool(decl.detail.min() >= 0 and decl.detail.max() < most)
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


class Checked:
    """An executable whose system has a count of labels that lie outside. Raises ArrayError where there is one.

    again  compiles a system once more, for results that are NumPy arrays
    """

    def __init__(
        self,
        run: Executable,
        system: System,
        found: list[Lookup],
        held: list[str],
        again: Callable[[System], Executable],
    ) -> None:
        self.run, self.system, self.found, self.held, self.again = run, system, found, held, again

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The results, without the count."""
        results = self.run(values, lengths, batch)
        if results.pop(COUNT) != 0:
            raise self._first(values, lengths, batch).error()
        return results

    def _first(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> Outside:
        """The first label that lies outside."""
        outputs = {n: Ref(n, tuple(running(a) for a in self.system.decls[n].axes)) for n in self.held}
        arrays = self.again(replace(self.system, outputs=outputs, loss=None, stop=None))(values, lengths, batch)
        for lookup, name in zip(self.found, self.held, strict=True):
            array, axes = arrays[name], self.system.decls[name].axes
            outside = (array < 0) | (array >= lookup.limit)
            for n, axis in enumerate(axes):  # steps that the lookup does not have are 0 here
                steps = lookup.domain[n].steps(lengths)
                lacking = [k for k in range(lengths[axis.end]) if k + 1 not in steps]
                outside[(*[slice(None)] * n, lacking)] = False
            if outside.any():
                where = [int(k[0]) for k in outside.nonzero()] if array.ndim else []
                at = {a: k + 1 for a, k in zip(axes, where, strict=False)}
                example = where[len(axes)] if batch > 1 and self.system.decls[name].batched else None
                return Outside(self.system, lookup, int(array[tuple(where)]), at, example)
        return Outside(self.system, self.found[0])


def outside_of(system: System, label: str, what: str, most: int, e: Equation) -> str:
    """The message for a label that lies outside its table."""
    return message(
        f"the label {label} {what}, and labels run from 0 to {most - 1}",
        (Writer(system).equation(e), e.source),
        fix="Hold it inside, as ops.maximum(k, 0) and ops.minimum(k, n - 1) do, or make the table larger.",
    )
