"""A sampler that may be told a past: the system in which random variables are told where they are seen, else drawn.

Drawing each variable given its parents gives what is not seen its distribution given what is, if and only if nothing
that is seen depends on something random that is not: else its parents would have to be drawn given a child. So beside
each variable the system computes whether it depends on anything unseen, by the same recurrences: a mark, 0 or 1, of an
equation's left side is the largest of those on its right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from .. import ops
from ..ir.axes import Index, running, whole
from ..ir.details import Kind
from ..ir.generated_inputs import Noise
from ..ir.names import is_hidden
from ..ir.system import Decl, Equation, Ref, System
from ..language.builder import Builder
from ..language.validate import check
from ..ops.core import Symbolic
from .distributions import FAMILIES
from .draws import whole_ref
from .spec import Distribution, ModelSpec


@dataclass(frozen=True, slots=True)
class Told:
    """The inputs that tell a random variable, by name.

    value  its values, and
    seen   where these hold, element by element
    some   1.0 at the steps at which an element is seen, else 0.0, and
    all    where all of them are
    """

    value: str
    seen: str
    some: str
    all: str


@dataclass(frozen=True, slots=True)
class ConditionedSampler:
    """The system, what tells each variable, and the output that is above 0 for an example that cannot be sampled so.

    own  the generated numbers that are read by the draws of random variables
    """

    system: System
    told: dict[str, Told]
    fault: str
    own: frozenset[str]


def conditioned(model: ModelSpec, keys: Iterable[str]) -> ConditionedSampler:
    """The sampler of a model in which the random variables `keys` may be told."""
    made = _Conditioning(model, tuple(keys))
    return ConditionedSampler(made.finished(), made.told, made.fault, made.own)


class _Conditioning:
    def __init__(self, model: ModelSpec, keys: Sequence[str]) -> None:
        self.model, self.system = model, model.sampler
        self.builder = builder = Builder.extend(self.system)
        self.laws = {law.out: key for key, law in model.random.items()}
        self.draws = self._draws()
        self.own = frozenset(e.args[-1].name for e in self.draws if isinstance(e.args[-1], Ref))
        self.told = {key: self._tell(key, model.random[key]) for key in keys}
        self.mark: dict[str, str] = {}
        for name in dict.fromkeys(e.out.name for e in self.system.equations):
            self._declare_mark(self.system.decls[name])
        self.faults: list[Any] = []
        for equation in self.system.equations:
            self._mark(equation)
        for key in keys:
            self._replace(key)
        with builder.within((), None):
            self.fault = builder.declare(Decl(builder.unused("fault"), "variable", ())).name
            worst = reduce(ops.maximum, self.faults)
            builder.add(Ref(self.fault), worst, (), True, None)
        builder.outputs[self.fault] = Ref(self.fault)

    def finished(self) -> System:
        """The system, checked."""
        return check(self.builder.freeze())

    def _draws(self) -> list[Equation]:
        """The equations that draw random variables: into these, or into what they are a copy of."""
        found = []
        for e in self.system.equations:
            if e.out not in self.laws:
                continue
            (operand, *_) = e.args
            if e.op == "copy" and isinstance(operand, Ref) and is_hidden(operand.name):
                (e,) = self.system.writers[operand.name]
            if e.op in FAMILIES:
                found.append(e)
        return found

    def _tell(self, key: str, law: Distribution) -> Told:
        """Declare what tells a variable."""
        decl, axes = self.system.decls[law.out.name], law.out.running
        names = [self.builder.unused(f"{key} {what}") for what in ("told", "seen", "some", "all")]
        kinds = ((decl.shape, decl.dtype), (decl.shape, "bool"), ((), "float"), ((), "float"))
        for name, (shape, dtype) in zip(names, kinds, strict=True):
            made = Decl(name, "input", shape, dtype, axes, batched=True, source=decl.source)  # type: ignore[arg-type]
            self.builder.declare(made)
        return Told(*names)

    def _declare_mark(self, decl: Decl) -> None:
        """A mark for each instance of a name; what the user gives has none, where it is not computed at a boundary."""
        hidden = is_hidden(decl.name)
        name = self.builder.fresh() if hidden else self.builder.unused(f"{decl.name} depends")
        kind: Kind = "temporary" if hidden else "variable"
        self.builder.decls[name] = Decl(name, kind, (), "float", decl.axes, source=decl.source)
        self.mark[decl.name] = name
        if decl.given:
            with self.builder.within((), decl.source):
                zero, domain = self.builder.constant(0.0), tuple(map(whole, decl.axes))
                self.builder.add(Ref(name, whole_ref(decl).index), zero, domain, False, decl.source)

    def _mark(self, e: Equation) -> None:
        """The equation of a mark beside that of what it marks."""
        builder = self.builder
        with builder.within(e.domain, e.source):
            value = self._largest(e)
            if e.out in self.laws:
                key = self.laws[e.out]
                if key in self.told:
                    told = self.told[key]
                    here = tuple(map(running, e.out.running))
                    some, every = (builder.read(Ref(n, here)) for n in (told.some, told.all))
                    fault = some * value
                    self.faults.append(ops.max(fault, over=here) if here else fault)
                    value = 1.0 - every
                else:
                    value = builder.constant(1.0)
            value = builder.operand(value)
            domain = tuple(r for r in e.domain if r.axis in e.out.running or r.axis in value.axes)
            combine = "max" if len(domain) > len(e.out.running) else "sum"
            out = Ref(self.mark[e.out.name], e.out.index)
            builder.equations.append(Equation(out, "copy", (value.operand,), (), domain, False, combine, e.source))

    def _largest(self, e: Equation) -> Symbolic:
        """The largest mark of what an equation reads."""
        draws = any(e is draw for draw in self.draws)
        marks: list[Any] = []
        for ref in dict.fromkeys(e.refs):
            if ref.name in self.mark:
                marks.append(self.builder.read(Ref(self.mark[ref.name], ref.index)))
            elif isinstance(self.system.decls[ref.name].detail, Noise) and not (draws and ref == e.args[-1]):
                marks.append(self.builder.constant(1.0))
        return reduce(ops.maximum, marks) if marks else self.builder.constant(0.0)

    def _replace(self, key: str) -> None:
        """Where it is seen a variable is what it is told to be, and is drawn elsewhere."""
        builder, law, told = self.builder, self.model.random[key], self.told[key]
        at = tuple(map(running, law.out.running))
        for e in [e for e in builder.equations if e.out == law.out]:
            builder.equations = [other for other in builder.equations if other is not e]
            with builder.within(e.domain, e.source):
                (operand, *_) = e.args
                copied = e.op == "copy" and isinstance(operand, Ref)
                drawn = builder.read(operand if copied and isinstance(operand, Ref) else self._apart(e, at))
                value, seen = builder.read(Ref(told.value, at)), builder.read(Ref(told.seen, at))
                either = (seen & value) | (~seen & drawn) if drawn.dtype == "bool" else ops.where(seen, value, drawn)
                builder.add(e.out, either, e.domain, True, e.source)

    def _apart(self, e: Equation, at: tuple[Index, ...]) -> Ref:
        """A name of its own for what an equation draws."""
        decl, name = self.builder.decls[e.out.name], self.builder.fresh()
        axes = e.out.running
        self.builder.decls[name] = replace(decl, name=name, kind="temporary", axes=axes, of=None, detail=None)
        self.builder.equations.append(replace(e, out=Ref(name, at)))
        return Ref(name, at)
