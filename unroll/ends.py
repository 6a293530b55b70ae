"""The end of each example on one axis: which steps it has, and what is read and written counted from its last one.

A name that has values after the last step keeps them apart, in ``h.afterT``, and ``h`` ends with the example; what
reads across the end at a running step reads ``h.fullT``, which joins the two: no value after the end waits for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .automatic import Within
from .builder import Builder
from .expr import Expr
from .ir import Const, Decl, Domain, Equation, Extent, Operand, Ref, System
from .ops.pointwise import cast, greater, logical_and, logical_not, logical_or, where
from .padding import nothing
from .timeindex import Axis, Index, Range, fixed, last, running, whole

Place = tuple[tuple[Index, ...], Domain]
"""Where an equation writes, seen without the axis: the other brackets, and their ranges."""


class Ends:
    """Adds to a builder what the ends of examples need; `finish` completes it.

    after  names with values after the last step -> the name that holds those
    """

    def __init__(self, builder: Builder, system: System, axis: Axis) -> None:
        self.b, self.axis, self.system = builder, axis, system
        self.after: dict[str, str] = {}
        self._full: dict[str, str] = {}
        self._masks: tuple[str, str, str] | None = None
        self._lowest = 0
        self._gathered: dict[object, Ref] = {}

    # -- which steps an example has ------------------------------------------------------------------------------------

    @property
    def masks(self) -> tuple[str, str, str]:
        """The names of: whether an example has step t, whether t = n (for t = 0..T), and n."""
        if self._masks is None:
            b, a = self.b, self.axis
            valid = b.declare(Decl(f"{a.end}.within", "input", (), "bool", (a,), True, detail=Within())).name
            with b.within((Range(a, fixed(0), last(a)),), None):
                now, later = b.read(Ref(valid, (running(a),))), b.read(Ref(valid, (running(a, 1),)))
                end = _name(logical_and(now, logical_not(later)))
            with b.within((whole(a),), None):
                n = _name(b.over("sum", b.read(Ref(valid, (running(a),))), running(a)))
            self._masks = valid, end, n
        return self._masks

    def has(self, r: Range) -> Expr:
        """Whether a step of a range that ends at T+k is one of the first n+k."""
        shift = -r.hi.shift
        self._lowest = min(self._lowest, r.lo.shift + shift)
        return self.b.read(Ref(self.masks[0], (running(self.axis, shift),)))

    def is_last(self, k: int) -> Expr:
        """Whether step t is n+k."""
        return self.b.read(Ref(self.masks[1], (running(self.axis, -k),)))

    def anchor(self, ref: Ref) -> Index | None:
        """The place counted from the end of the axis, if the ref has one."""
        return next((i for i in ref.index if i.axis == self.axis and not i.runs), None)

    # -- reads ---------------------------------------------------------------------------------------------------------

    def read(self, e: Equation) -> Equation:
        """The equation with what it reads at T+k, and the number of steps, in names of their own."""
        args: list[Operand] = []
        for a in e.args:
            if isinstance(a, Extent) and a.axis == self.axis:
                a = Ref(self.masks[2])
            elif isinstance(a, Ref):
                a = self.at_end(a, tuple(r for r in e.domain if r.axis in a.running))
            args.append(a)
        batched = e.batched or any(isinstance(a, Ref) and self.b.decls[a.name].batched for a in args)
        return replace(e, args=tuple(args), batched=batched, label=None)

    def at_end(self, ref: Ref, domain: Domain) -> Ref:
        """A name that holds what `ref` is, if that is counted from the end."""
        anchor = self.anchor(ref)
        if anchor is None:
            return ref
        after = self.after.get(ref.name) if anchor.shift > 0 else None
        if after is None:
            return self._gather(ref, domain)
        kept = self._gather(Ref(after, ref.index), domain)
        if not self._reaches(ref.name, anchor.shift):
            return kept
        with self.b.within(domain, None):
            return _ref(self.b.read(kept) + self.b.read(self._gather(ref, domain)))

    def _gather(self, ref: Ref, domain: Domain) -> Ref:
        """What a name holds at step n+k: the sum over t of it where t is n+k, and of 0 elsewhere."""
        if (ref, domain) not in self._gathered:
            b, anchor = self.b, self.anchor(ref)
            assert anchor is not None
            k, decl = anchor.shift, b.decls[ref.name]
            moved = Ref(ref.name, tuple(running(self.axis, k) if i == anchor else i for i in ref.index))
            bracket = decl.axes.index(self.axis)
            first = min([*(e.written(bracket)[0].shift for e in self.system.writers.get(ref.name, ())), 1])
            inside = self.sorted((*domain, Range(self.axis, fixed(max(0, first - k)), last(self.axis))))
            with b.within(inside, None):
                value = self._number(b.read(moved))
                value = where(self.is_last(0), value, 0 if value.dtype == "int" else 0.0)
            found = self.declare(decl.shape, value.dtype, ref.running)
            self.add(found, value, inside)
            if self._is_bool(ref.name):
                with b.within(domain, None):
                    found = _ref(greater(b.read(found), 0.5))
            self._gathered[ref, domain] = found
        return self._gathered[ref, domain]

    def _is_bool(self, name: str) -> bool:
        own = name.removesuffix(f".after{self.axis.end}")
        return self.b.decls[own if self.after.get(own) == name else name].dtype == "bool"

    # -- writes --------------------------------------------------------------------------------------------------------

    def scatter(self, e: Equation, value: Expr) -> None:
        """``out[T+k] += value`` as ``out[t] += value where t is n+k, else 0``."""
        b, axis, anchor = self.b, self.axis, self.anchor(e.out)
        assert anchor is not None
        k = anchor.shift
        b.decls[e.out.name] = replace(b.decls[e.out.name], kind="cotangent")  # it adds up, and is 0 elsewhere
        out = Ref(e.out.name, tuple(running(axis) if i == anchor else i for i in e.out.index))
        ranges = [r for r in e.domain if r.axis in e.out.running and r.axis != axis]
        domain = self.sorted((*ranges, Range(axis, fixed(k), last(axis, k))))
        with b.within(domain, e.source):
            value = self._number(value)
            value = where(self.is_last(k), value, 0 if value.dtype == "int" else 0.0)
        self.add(out, value, domain)

    def _number(self, value: Expr) -> Expr:
        if isinstance(value.operand, Const) and value.dtype == "bool":
            return self.b.constant(float(value.operand.value))
        return cast(value) if value.dtype == "bool" else value

    # -- values after the last step ------------------------------------------------------------------------------------

    def split(self) -> System:
        """The system with values after the last step in names of their own."""
        for name, decl in self.system.decls.items():
            if self.axis in decl.axes and self._apart(decl):
                self.after[name] = f"{name}.after{self.axis.end}"
                dtype = "float" if decl.dtype == "bool" else decl.dtype
                self.b.declare(
                    replace(
                        decl, name=self.after[name], kind="cotangent", dtype=dtype, of=None, detail=None, batched=True
                    )
                )
        equations = []
        for e in self.system.equations:
            out = Ref(self.after[e.out.name], e.out.index) if self._writes_after(e) else e.out
            args = tuple(self._across(e, a) if isinstance(a, Ref) else a for a in e.args)
            equations.append(replace(e, out=out, args=args, label=None))
        return replace(self.system, equations=tuple(equations), decls=dict(self.b.decls))

    def _apart(self, decl: Decl) -> bool:
        """True if the values of a name after the last step are to be kept apart."""
        anchors = [self.anchor(e.out) for e in self.system.writers[decl.name] if not nothing(e)]
        written = any(i is not None and i.shift > 0 for i in anchors)
        reads = [(e, r) for e in self.system.equations for r in e.refs if r.name == decl.name]
        if decl.kind in ("cotangent", "temporary"):  # added up from several places
            return written and not any(self._crosses(e, r) for e, r in reads)
        return written or any((i := self.anchor(r)) is not None and i.shift > 0 for _, r in reads)

    def _writes_after(self, e: Equation) -> bool:
        anchor = self.anchor(e.out) if e.out.name in self.after else None
        return anchor is not None and anchor.shift > 0

    def _crosses(self, e: Equation, ref: Ref) -> bool:
        """True if an equation reads, at a running or a fixed step, what may lie after the last one."""
        for index, axis in zip(ref.index, self.system.decls[ref.name].axes, strict=True):
            if axis == self.axis and index.runs:
                hi = e.range(axis).hi
                return bool(hi.anchor) and hi.shift + index.shift > 0
            if axis == self.axis:
                return index.axis is None and index.shift > 0
        return False

    def _across(self, e: Equation, ref: Ref) -> Ref:
        if ref.name not in self.after or not self._crosses(e, ref):
            return ref
        if ref.name not in self._full:
            self._full[ref.name] = f"{ref.name}.full{self.axis.end}"
            decl = self.system.decls[ref.name]
            self.b.declare(
                replace(decl, name=self._full[ref.name], kind="temporary", of=None, detail=None, batched=True)
            )
            self._join(ref.name)
        return Ref(self._full[ref.name], ref.index)

    def _join(self, name: str) -> None:
        """Equations for ``h.fullT``: at the steps an example has those of h, then those after."""
        decl, axis, full = self.system.decls[name], self.axis, self._full[name]
        steps: dict[Place, int] = {}
        runs: dict[Place, Range] = {}
        if decl.given:
            free = [a for a in decl.axes if a != axis]
            runs[tuple(map(running, free)), self.sorted(map(whole, free))] = whole(axis)
        for e in self.system.writers[name]:
            index = e.out.index[decl.axes.index(axis)]
            if index.runs:
                runs[self._place(e)] = e.range(axis).shifted(index.shift)
            elif index.anchor:
                steps[self._place(e)] = max(steps.get(self._place(e), 0), index.shift)
            else:
                domain = tuple(r for r in e.domain if r.axis in e.out.running)
                self.add(Ref(full, e.out.index), self.b.read(Ref(name, e.out.index)), domain)
        for place in dict.fromkeys((*runs, *steps)):
            others, ranges = place
            r = runs.get(place, whole(axis))
            for at, domain in [
                (running(axis), self.sorted((*ranges, r))),
                *((last(axis, k), ranges) for k in range(1, steps.get(place, 0) + 1)),
            ]:
                rest = iter(others)
                out = tuple(at if a == axis else next(rest) for a in decl.axes)
                with self.b.within(domain, None):
                    value = self.b.read(Ref(self.after[name], out))
                    value = greater(value, 0.5) if decl.dtype == "bool" else value
                    if at.runs and place in runs:
                        own, mask = self.b.read(Ref(name, out)), self.has(r)
                        both = decl.dtype == "bool"
                        value = logical_or(logical_and(mask, own), value) if both else where(mask, own, value)
                self.add(Ref(full, out), value, domain)

    def _place(self, e: Equation) -> Place:
        axes = self.system.decls[e.out.name].axes
        index = tuple(i for i, a in zip(e.out.index, axes, strict=True) if a != self.axis)
        return index, tuple(r for r in e.domain if r.axis != self.axis and r.axis in e.out.running)

    def _reaches(self, name: str, k: int) -> bool:
        """True if a name itself, without what is kept apart, may be written at n+k, k > 0."""
        decl = self.system.decls[name]
        for e in self.system.writers[name]:
            index = e.out.index[decl.axes.index(self.axis)]
            if index.runs:
                hi = e.range(self.axis).hi
                if hi.anchor and hi.shift + index.shift >= k:
                    return True
            elif not index.anchor and index.shift > 0:
                return True
        return False

    # -- making --------------------------------------------------------------------------------------------------------

    def add(self, out: Ref, value: Expr, domain: Domain, combine: str = "sum") -> None:
        """Add ``out += value``, for every example."""
        source = self.b.equations[-1].source if self.b.equations else None
        self.b.equations.append(Equation(out, "copy", (value.operand,), (), domain, True, combine, source))

    def declare(self, shape: tuple[int, ...], dtype: str, axes: Iterable[Axis], batched: bool = True) -> Ref:
        """A new temporary, running along the axes."""
        name, axes = self.b.fresh(), tuple(axes)
        self.b.decls[name] = Decl(name, "temporary", shape, dtype, axes, batched)
        return Ref(name, tuple(map(running, axes)))

    def sorted(self, ranges: Iterable[Range]) -> Domain:
        """A domain, in the order of the builder's axes."""
        found = {r.axis: r for r in ranges}
        return tuple(found[a] for a in self.b.axes.values() if a in found)

    def finish(self) -> None:
        """Before its first step an example has all steps, after T it has none."""
        if self._masks is not None:
            ends = [(fixed(k), True) for k in range(self._lowest, 1)] + [(last(self.axis, 1), False)]
            for step, value in ends:
                self.b.equations.append(Equation(Ref(self._masks[0], (step,)), "copy", (Const(value),), (), (), True))


def _ref(expr: Expr) -> Ref:
    assert isinstance(expr.operand, Ref)
    return expr.operand


def _name(expr: Expr) -> str:
    return _ref(expr).name
