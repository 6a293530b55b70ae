"""Examples of different lengths in one padded batch, as a transform from system to system.

On a ragged axis the last step is each example's own: n of them, where the arrays have T >= n. An equation for
t = lo..T+k then holds where t <= n+k, and adds nothing elsewhere; what is written or read at T+k is written or read at
n+k, and the number of steps is n. What an example does not have is left out by selecting, never by multiplying with
zero, and only where it could reach something: see `padding`.

Law: a padded batch equals its examples, run one by one. It holds for derivatives because it holds for every system: an
adjoint is transformed like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .automatic import Chunk, Within
from .builder import Builder, renamed
from .ends import Ends
from .expr import Expr
from .ir import Const, Domain, Equation, Extent, Operand, Ref, Shape, System
from .ops.pointwise import logical_and, where
from .ops.shapes import size
from .padding import FIRST, PRODUCTS, Padding, nothing
from .simplify import reduced
from .timeindex import Axis, whole


def ragged(system: System, axes: Sequence[Axis]) -> System:
    """The system for batches in which examples have lengths of their own along `axes`."""
    system = replace(lifted(system, axes), loss=None)
    for axis in axes:
        system = _Along(reduced(system, [r.name for r in system.outputs.values()]), axis).result()
    return system


def lifted(system: System, along: Sequence[Axis]) -> System:
    """The system with a value per example for whatever depends on an example's length."""
    decls, axes = dict(system.decls), set(along)
    found: set[str] = set()

    def lift(name: str) -> None:
        found.add(name)
        decls[name] = replace(decls[name], batched=True)

    for name, decl in system.decls.items():
        chunk = isinstance(decl.detail, Chunk) and decl.detail.towards_end
        if axes & set(decl.axes) and (chunk or not decl.given):
            lift(name)
    count = -1
    while count != len(found):
        count = len(found)
        for decl in system.decls.values():
            if decl.of in found and decl.kind in ("cotangent", "input", "param"):
                lift(decl.name)
        for e in system.equations:
            kind = decls[e.out.name].kind
            if kind in ("variable", "temporary") and (found & {r.name for r in e.refs} or _mentions(e, axes)):
                lift(e.out.name)
    batched = {n for n, d in decls.items() if d.batched}
    equations = [
        e if e.batched or not batched & {e.out.name, *(r.name for r in e.refs)} else replace(e, batched=True)
        for e in system.equations
    ]
    return replace(system, decls=decls, equations=tuple(equations))


def _mentions(e: Equation, axes: set[Axis]) -> bool:
    places = {i.axis for r in (e.out, *e.refs) for i in r.index}
    return bool(axes & {*e.axes, *places, *(a.axis for a in e.args if isinstance(a, Extent))})


class _Along:
    """The transform along one axis."""

    def __init__(self, system: System, axis: Axis) -> None:
        self.axis, self.outputs = axis, system.outputs
        self.b = Builder.extend(system)
        self.b.equations = []
        self.ends = Ends(self.b, system, axis)
        self.todo = [self.ends.read(e) for e in self.ends.split().equations]
        exact = frozenset(map(id, self.b.equations))
        draft = replace(self.b.draft(), equations=(*self.todo, *self.b.equations))
        self.facts = Padding(draft, axis, exact)
        self.cleaned: dict[object, Ref] = {}

    def result(self) -> System:
        """The transformed system."""
        for e in self.todo:
            self._equation(e)
        outputs = {name: self._output(ref) for name, ref in self.outputs.items()}
        self.ends.finish()
        for name in self.facts.free:
            if not self.facts.settled(name):
                self._unchecked(name)
        return renamed(replace(self.b.draft(), outputs=outputs))

    def _equation(self, e: Equation) -> None:
        anchor = self.ends.anchor(e.out)
        if anchor is not None and not nothing(e):
            self.ends.scatter(e, self._once(e))
        elif anchor is not None or self.axis not in e.axes or not e.range(self.axis).hi.anchor:
            self.b.equations.append(e)
        elif self.axis in e.summed and e.combine == "max":
            self._select(e, float("-inf"))
        elif self.facts.zero(e) or e.out.name in self.facts.free:
            self.b.equations.append(e)
        elif self.axis in e.summed and (cleaned := self._cleaned(e)) is not None:
            self.b.equations.append(cleaned)
        else:
            self._select(e, 0)

    def _select(self, e: Equation, other: float) -> None:
        """The equation with what it adds chosen: where an example has the step its value, elsewhere `other`."""
        dtype = self.b.decls[e.out.name].dtype
        kept = tuple(r for r in e.domain if r.axis in e.out.running or r.axis == self.axis)
        value = self._value(e, kept)
        with self.b.within(kept, e.source):
            mask = self.ends.has(e.range(self.axis))
            if dtype == "bool":
                chosen = logical_and(mask, value)
            else:
                chosen = where(mask, value, int(other) if dtype == "int" else float(other))
        if other and isinstance(chosen.operand, Ref):
            self._unchecked(chosen.operand.name)
        self.ends.add(e.out, chosen, kept, e.combine if self.axis in e.summed else "sum")

    def _unchecked(self, name: str) -> None:
        """What a name holds beyond the end may be infinite, and is no finding of `debug_nans`."""
        self.b.decls[name] = replace(self.b.decls[name], detail=Within())

    def _value(self, e: Equation, kept: Domain) -> Expr:
        """What an equation computes, summed over the axes that are not to be kept, as an expression."""
        dtype = self.b.decls[e.out.name].dtype
        if e.op == "copy" and len(kept) == len(e.domain):
            return self._expression(e.args[0], dtype)
        batched = any(isinstance(a, Ref) and self.b.decls[a.name].batched for a in e.args)
        shape = e.operation.family.shape([self._shape(a) for a in e.args], dict(e.attrs))
        out = self.ends.declare(shape, dtype, [r.axis for r in kept], batched)
        self._unchecked(out.name)
        self.b.equations.append(replace(e, out=out, batched=batched))
        return self.b.read(out)

    def _once(self, e: Equation) -> Expr:
        """What an equation writes at a step counted from the end, without that step."""
        decl = self.b.decls[e.out.name]
        if e.op == "copy" and set(e.axes) <= set(e.out.running):
            return self._expression(e.args[0], decl.dtype)
        out = self.ends.declare(decl.shape, decl.dtype, e.out.running)
        self._equation(replace(e, out=out))
        return self.b.read(out)

    def _cleaned(self, e: Equation) -> Equation | None:
        """A product with operands made zero beyond the end rather than its result, which is larger; None if it must."""
        if e.op == "mul" or e.op not in PRODUCTS | FIRST:
            return None
        k = self.facts.end(e)
        able = [p for p, a in enumerate(e.args) if isinstance(a, Ref) and self.axis in a.running]
        wanted = {p for p, a in enumerate(e.args) if e.op in PRODUCTS and not self.facts.finite_at(a, k)}
        able = able if e.op in PRODUCTS else [p for p in able if p == 0]
        if not wanted and not any(self.facts.zero_at(a, k) for a in e.args):
            wanted = set(sorted(able, key=lambda p: size(self._shape(e.args[p])))[:1])
        if not wanted or not wanted <= set(able):
            return None
        return replace(e, args=tuple(self._clean(a, e) if p in wanted else a for p, a in enumerate(e.args)))

    def _clean(self, operand: Operand, e: Equation) -> Operand:
        assert isinstance(operand, Ref)
        domain = tuple(r for r in e.domain if r.axis in operand.running)
        if (operand, domain) not in self.cleaned:
            with self.b.within(domain, e.source):
                mask = self.ends.has(e.range(self.axis))
                clean = where(mask, self.b.read(operand), 0.0).operand
            self.cleaned[operand, domain] = clean
        return self.cleaned[operand, domain]

    def _output(self, ref: Ref) -> Ref:
        """The name of an output's values, which are 0 at the steps that an example does not have."""
        domain = self.ends.sorted(map(whole, ref.running))
        ref = self.ends.at_end(ref, domain)
        if self.axis not in ref.running or self.facts.until[ref.name] <= 0:
            return ref
        decl = self.b.decls[ref.name]
        out = self.ends.declare(decl.shape, decl.dtype, ref.running)
        self._select(Equation(out, "copy", (ref,), (), domain, True), 0)
        return out

    def _shape(self, operand: Operand) -> Shape:
        return self.b.decls[operand.name].shape if isinstance(operand, Ref) else ()

    def _expression(self, operand: Operand, dtype: str) -> Expr:
        """An operand as an expression; a number takes the kind of what it is written to."""
        if isinstance(operand, Const):
            return self.b.constant({"float": float, "int": int, "bool": bool}[dtype](operand.value))
        assert isinstance(operand, Ref)
        return self.b.read(operand)
