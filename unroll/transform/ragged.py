"""Examples of different lengths in one padded batch, as a transform from system to system.

On a ragged axis the last step is each example's own: n of them, where the arrays have T >= n. What an equation computes
at steps that an example does not have is left as it comes, for no step that it has reads it. It is left out, by
selecting and never by multiplying with zero, where it would count: in a sum or a maximum over steps, in a sum over
examples, where several equations add to one name and end at different steps, where zero is read after the last step,
and in what is returned. What is written or read at T+k is written or read at n+k (see `ragged_ends`), and the number of
steps is n. All ragged axes are seen at once.

Law: a padded batch equals its examples, run one by one. It holds for derivatives because it holds for every system: an
adjoint is transformed like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..ir.axes import Axis, Range, running, whole
from ..ir.details import Pooled
from ..ir.generated_inputs import Crossing, Every, Within
from ..ir.names import is_hidden, renamed
from ..ir.system import Const, Domain, Equation, Extent, Operand, Ref, System
from ..language.builder import Builder
from ..ops.contract import PRODUCTS
from ..ops.core import Symbolic
from ..ops.pointwise import logical_and
from .label_checks import OPERAND
from .ragged_ends import Reads, choose, ref_of
from .simplify import reduced
from .verify import check_pass


def ragged(system: System, axes: Sequence[Axis], everywhere: bool = False) -> System:
    """The system for batches in which examples have lengths of their own along `axes`.

    everywhere  True to have zero at every step that an example lacks of what has a name of its own, so that whatever
                is not finite there can be told from what is the example's
    """
    lengthened = replace(lifted(system, axes), loss=None)
    before = reduced(lengthened, [r.name for r in lengthened.outputs.values()])
    after = _Ragged(before, axes, everywhere).result()
    check_pass("ragged", before, after, order=False)
    return after


def lifted(system: System, along: Sequence[Axis]) -> System:
    """The system with a value per example for whatever depends on an example's length."""
    decls, axes = dict(system.decls), set(along)
    found: set[str] = set()
    pooled: set[str] = set()  # sums over examples, and their cotangents
    for name, decl in decls.items():
        if isinstance(decl.detail, Pooled) or (decl.kind == "cotangent" and decl.of in pooled):
            pooled.add(name)

    def lift(name: str) -> None:
        found.add(name)
        decl = decls[name]  # a cotangent that is passed is a param only where one serves all examples
        decls[name] = replace(decl, batched=True, kind="input" if decl.kind == "param" else decl.kind)

    for name, decl in system.decls.items():
        by_length = isinstance(decl.detail, Crossing | Every) and decl.detail.by_length
        if axes & set(decl.axes) and (by_length or not decl.given) and name not in pooled:
            lift(name)
    count = -1
    while count != len(found):
        count = len(found)
        for decl in system.decls.values():
            if decl.of in found and decl.name not in pooled and decl.kind in ("cotangent", "input", "param"):
                lift(decl.name)
        for e in system.equations:
            kind = decls[e.out.name].kind
            free = kind in ("variable", "temporary") and e.out.name not in pooled
            if free and (found & {r.name for r in e.refs} or _mentions(e, axes)):
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


class _Ragged:
    """The transform."""

    def __init__(self, system: System, axes: Sequence[Axis], everywhere: bool) -> None:
        self.system, self.axes, self.everywhere = system, frozenset(axes), everywhere
        self.b = Builder.extend(system)
        self.b.equations, self.b.outputs = [], {}
        self.reads = Reads(self.b, system, axes)
        self.made: dict[Any, Symbolic] = {}

    def result(self) -> System:
        """The transformed system."""
        for e in self.system.equations:
            if not self.reads.absent(e.out):
                self._equation(e)
        outputs = {name: self._output(ref) for name, ref in self.system.outputs.items()}
        self.reads.finish()
        for name, decl in self.b.decls.items():
            beyond = self.axes & set(decl.axes) and decl.kind in ("temporary", "cotangent")
            if beyond and (is_hidden(name) or not self.everywhere):
                self.b.decls[name] = replace(decl, detail=Within())  # what it holds beyond the end is no finding
        return renamed(replace(self.b.draft(), outputs=outputs))

    def _equation(self, e: Equation) -> None:
        """An equation in the padded batch, masked where it would add what an example has not."""
        gone = [a for a in e.summed if self._ends(e, a)]
        met = e.batched and not self.system.decls[e.out.name].batched  # examples that lack the step do not count
        kept = [a for a in e.axes if a not in e.summed and self._ends(e, a) and (met or self._shows(e, a))]
        if e.op in PRODUCTS and e.combine == "sum" and (gone or kept) and self._covered(e, [*gone, *kept]):
            args = tuple(self._operand(e, a, [*gone, *kept]) for a in e.args)
            self._add(e, args)
            return
        if e.op == "scatter" and gone and isinstance(e.args[0], Ref):
            args = (self._operand(e, e.args[0], [*gone, *kept]), self._label(e, e.args[1]))
            if set(gone) <= set(e.args[0].running):
                self._add(e, args)
                return
        args = tuple(self._label(e, a) if OPERAND.get(e.op) == n else self._operand(e, a) for n, a in enumerate(e.args))
        if not gone and not kept:
            self._add(e, args)
            return
        shown = tuple(r for r in e.domain if r.axis in e.out.running or r.axis in gone)
        value = self._value(e, args, shown)
        ranges = {r.axis: r for r in shown}
        with self.b.within(shown, e.source):
            mask = self._mask([ranges[a] for a in (*gone, *kept)])
            value = choose(mask, value, self.b, float("-inf") if e.combine == "max" and gone else 0)
        self.reads.add(self.reads.left(e.out), value, shown, e.combine if gone else "sum")

    def _add(self, e: Equation, args: tuple[Operand, ...]) -> None:
        batched = e.batched or any(isinstance(a, Ref) and self.b.decls[a.name].batched for a in args)
        self.b.equations.append(replace(e, out=self.reads.left(e.out), args=args, batched=batched, label=None))

    def _ends(self, e: Equation, axis: Axis) -> bool:
        """True if the domain ends with the example."""
        return axis in self.axes and bool(e.range(axis).hi.anchor)

    def _shows(self, e: Equation, axis: Axis) -> bool:
        """True if what an equation writes after its own last step would be taken for something."""
        name = e.out.name
        if self.everywhere and not is_hidden(name):
            return True
        if name not in self.reads.zero:
            return False
        p = next(n for n, i in enumerate(e.out.index) if i.axis == axis)
        return e.written(p)[1].shift < self.reads.reach[name][p]

    def _covered(self, e: Equation, axes: Sequence[Axis]) -> bool:
        """True if a product is zero where its operands are, whichever of the axes ends."""
        return set(axes) <= {a for r in e.refs for a in r.running} and len(e.refs) == len(e.args)

    def _operand(self, e: Equation, operand: Operand, axes: Sequence[Axis] = ()) -> Operand:
        """An operand in the padded batch; zero after the end of the equation on some axes."""
        if isinstance(operand, Extent) and operand.axis in self.axes:
            return self.reads.masks[operand.axis].count()
        if not isinstance(operand, Ref):
            return operand
        limits = [
            e.range(i.axis).hi.shift + i.shift if i.axis is not None and i.axis in axes and i.runs else None
            for i in operand.index
        ]
        decl = self.system.decls[operand.name]
        own = decl.kind == "input" and decl.batched and not decl.automatic  # zeros follow its array
        runs = any(i.runs and i.axis in axes for w in self.system.writers[operand.name] for i in w.out.index)
        if own and not runs and all(k is None or k >= 0 for k in limits):
            limits = [None] * len(limits)
        return self.reads.read(operand, self.system.reads(e, operand), limits)

    def _label(self, e: Equation, operand: Operand) -> Operand:
        """What something is looked up with: 0, which is a label, after the end."""
        if not isinstance(operand, Ref) or self.system.decls[operand.name].given:
            return self._operand(e, operand)
        return self._operand(e, operand, [a for a in operand.running if self._ends(e, a)])

    def _mask(self, ranges: Sequence[Range]) -> Symbolic:
        """Whether an example has the steps of all of some ranges that end at T+k."""
        key = tuple(ranges)
        if key not in self.made:
            first, *rest = (self.reads.masks[r.axis].has(r.hi.shift, r) for r in ranges)
            for other in rest:
                first = logical_and(first, other)
            self.made[key] = first
        return self.made[key]

    def _value(self, e: Equation, args: tuple[Operand, ...], shown: Domain) -> Symbolic:
        """What an equation computes, summed over the axes that are not shown, as an expression."""
        decl = self.b.decls[e.out.name]
        if e.op == "copy" and len(shown) == len(e.domain):
            if isinstance(args[0], Ref):
                return self.b.read(args[0])
            if isinstance(args[0], Const):
                number = {"float": float, "int": int, "bool": bool}[decl.dtype](args[0].value)
                return self.b.constant(number)
        out = Ref(self.b.fresh(), tuple(running(r.axis) for r in shown))
        shapes = [self.b.decls[a.name].shape if isinstance(a, Ref) else () for a in args]
        shape = e.operation.family.shape(shapes, dict(e.attrs))
        batched = any(isinstance(a, Ref) and self.b.decls[a.name].batched for a in args)
        axes = tuple(r.axis for r in shown)
        self.b.decls[out.name] = replace(
            decl, name=out.name, kind="temporary", shape=shape, axes=axes, batched=batched, of=None, detail=None
        )
        self.b.equations.append(replace(e, out=out, args=args, batched=batched, label=None))
        return self.b.read(out)

    def _output(self, ref: Ref) -> Ref:
        """The name of an output's values, which are 0 at the steps that an example does not have."""
        found = self.reads.read(ref, self.reads.asked(ref))
        ends = [a for a in ref.running if a in self.axes]
        if not ends or self.system.decls[ref.name].given:
            return found
        domain = self.reads.sorted(whole(a) for a in ref.running)
        with self.b.within(domain, None):
            value = choose(self._mask([whole(a) for a in ends]), self.b.read(found), self.b)
        decl, axes = self.system.decls[ref.name], found.running
        out = Ref(self.b.fresh(), tuple(map(running, axes)))
        self.b.decls[out.name] = replace(
            decl, name=out.name, kind="temporary", axes=axes, batched=True, of=None, detail=None
        )
        self.b.equations.append(Equation(out, "copy", (ref_of(value),), (), domain, True))
        return out
