"""The end of each example: which steps it has, and what stands at steps counted from its own last one.

What is written at ``T+k`` lies at a step of its own for every example, so it is kept in a name without that axis, a
`corner`: ``r[T+1]`` becomes ``r@``. A read gathers what it asks for: at a step counted from the end, the corner of that
step and what else reaches it; at a running step, the name itself and the corners that it may meet, each chosen by a
mask. Nothing but a mask decides which, and all axes are seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..ir.axes import Axis, Index, Range, apart, fixed, last, running, whole
from ..ir.boxes import Ends
from ..ir.generated_inputs import Within
from ..ir.system import Const, Decl, Domain, Equation, Ref, System
from ..language.builder import Builder
from ..ops.core import Symbolic
from ..ops.pointwise import equal, greater_equal, logical_and, logical_not, where

Pattern = tuple[int | None, ...]
"""For each bracket the k of a step ``T+k`` on an axis of examples' own lengths, or None for any other step."""
Box = tuple[Ends, ...]
FOREVER = 2**40
"""Further than any step counted from an end."""


class Masks:
    """Which steps examples have on one axis; `finish` completes it."""

    def __init__(self, builder: Builder, axis: Axis, reach: int) -> None:
        self.b, self.axis, self._reach = builder, axis, reach
        self._names: tuple[str, str, str] | None = None
        self._lowest, self._highest = 0, 1

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of: whether an example has step t, whether t is its last (from 0 on), and its number of steps."""
        if self._names is None:
            b, a = self.b, self.axis
            within = b.declare(Decl(f"{a.end}.within", "input", (), "bool", (a,), True, detail=Within())).name
            with b.within((Range(a, fixed(0), last(a)),), None):
                now, later = b.read(Ref(within, (running(a),))), b.read(Ref(within, (running(a, 1),)))
                end = ref_of(logical_and(now, logical_not(later))).name
            b.decls[end] = replace(b.decls[end], kind="cotangent")  # false at any other step
            with b.within((whole(a),), None):
                count = ref_of(b.over("sum", b.read(Ref(within, (running(a),))), running(a))).name
            self._names = within, end, count
        return self._names

    def has(self, k: int, step: Index | Range) -> Symbolic:
        """Whether step t, which runs over a range, or a fixed step, is at most n+k."""
        if isinstance(step, Index):
            return greater_equal(self.b.read(self.count()), step.shift - k)
        self._lowest = min(self._lowest, step.lo.shift - k)
        self._highest = max(self._highest, _furthest(step.hi, self._reach) - k)
        return self.b.read(Ref(self.names[0], (running(self.axis, -k),)))

    def ends(self, k: int, step: Index | Range) -> Symbolic:
        """Whether step t, or a fixed step, is n+k."""
        if isinstance(step, Index):
            return equal(self.b.read(self.count()), step.shift - k)
        return self.b.read(Ref(self.names[1], (running(self.axis, -k),)))

    def count(self) -> Ref:
        """The number of steps."""
        return Ref(self.names[2])

    def finish(self) -> None:
        """Before its first step an example has all steps, after T it has none."""
        if self._names is not None:
            ends = [(fixed(k), True) for k in range(self._lowest, 1)]
            ends += [(last(self.axis, k), False) for k in range(1, self._highest + 1)]
            for step, value in ends:
                self.b.equations.append(Equation(Ref(self.names[0], (step,)), "copy", (Const(value),), (), (), True))


@dataclass
class _Written:
    """The equations of one name that have one pattern, as boxes; `zero` where all of them write the number 0."""

    boxes: list[Box]
    zero: bool


class Reads:
    """Names of the padded batch, and what a read of the system without lengths is in it.

    zero   names that are zero where an example has no such step, whatever reads them there
    reach  for these, by bracket, the largest k of a step ``n+k`` at which anything is written or read
    """

    def __init__(self, builder: Builder, system: System, axes: Sequence[Axis]) -> None:
        self.b, self.system, self.axes = builder, system, frozenset(axes)
        self._reach = _reach(system)
        self.masks = {a: Masks(builder, a, self._reach[a]) for a in axes}
        self._stores: dict[tuple[str, Pattern], str] = {}
        self._views: dict[object, str] = {}
        self._written: dict[str, dict[Pattern, _Written]] = {name: {} for name in system.decls}
        for name, decl in system.decls.items():
            if decl.given:
                everything = tuple((fixed(1), last(a)) for a in decl.axes)
                self._written[name][(None,) * len(decl.axes)] = _Written([everything], False)
        for e in system.equations:
            box = tuple(map(e.written, range(len(e.out.index))))
            found = self._written[e.out.name].setdefault(self.pattern(e.out), _Written([], True))
            found.boxes.append(box)
            found.zero &= nothing(e)
        self.zero = {n for n, d in system.decls.items() if d.kind == "cotangent" or self._ends_in_zero(n)}
        self.reach = {n: [-FOREVER] * len(system.decls[n].axes) for n in self.zero}
        for e in system.equations:
            self._reaches(e.out, map(e.written, range(len(e.out.index))))
            for ref in e.refs:
                self._reaches(ref, system.reads(e, ref))
        for ref in system.outputs.values():
            self._reaches(ref, self.asked(ref))

    def pattern(self, ref: Ref) -> Pattern:
        """Which brackets of a ref are counted from the end of an example."""
        return tuple(i.shift if i.axis in self.axes and not i.runs else None for i in ref.index)

    def _ends_in_zero(self, name: str) -> bool:
        """True for a variable that is the number 0 after the last step, and nothing else."""
        written = self._written[name]
        corners = [w for pattern, w in written.items() if any(k is not None for k in pattern)]
        return not self.system.decls[name].given and bool(corners) and all(w.zero for w in corners)

    def _reaches(self, ref: Ref, ends: Iterable[Ends]) -> None:
        if ref.name in self.zero:
            reach = self.reach[ref.name]
            for p, (axis, (_, hi)) in enumerate(zip(self.system.decls[ref.name].axes, ends, strict=True)):
                reach[p] = max(reach[p], _furthest(hi, self._reach[axis]))

    def asked(self, ref: Ref) -> tuple[Ends, ...]:
        """First and last step of an output along each bracket."""
        axes = self.system.decls[ref.name].axes
        return tuple((fixed(1), last(a)) if i.runs else (i, i) for i, a in zip(ref.index, axes, strict=True))

    # -- names -------------------------------------------------------------------------------------------------------

    def store(self, name: str, pattern: Pattern) -> str:
        """The name that holds what is written with a pattern: the name itself, or a corner of it."""
        if not any(k is not None for k in pattern):
            if name in self.zero and self.b.decls[name].kind != "cotangent":
                self.b.decls[name] = replace(self.b.decls[name], kind="cotangent")
            return name
        if (name, pattern) not in self._stores:
            decl, corner = self.system.decls[name], self.b.fresh()
            axes = tuple(a for a, k in zip(decl.axes, pattern, strict=True) if k is None)
            written = self._written[name].get(pattern)
            zero = name in self.zero or written is None or written.zero
            self.b.decls[corner] = Decl(
                corner, "cotangent" if zero else "temporary", decl.shape, decl.dtype, axes, True
            )
            self._stores[name, pattern] = corner
        return self._stores[name, pattern]

    def absent(self, ref: Ref) -> bool:
        """True for a left-hand side counted from an end, which is zero wherever it is written."""
        pattern = self.pattern(ref)
        return any(k is not None for k in pattern) and self._written[ref.name][pattern].zero

    def left(self, ref: Ref) -> Ref:
        """A left-hand side in the padded batch."""
        pattern = self.pattern(ref)
        return Ref(self.store(ref.name, pattern), _without(ref.index, pattern))

    def read(self, ref: Ref, ends: Sequence[Ends], limits: Sequence[int | None] | None = None) -> Ref:
        """What a read of `ref`, from first to last step along each bracket, is in the padded batch.

        limits  by bracket, k to have zero at steps after n+k, exactly; None to have no care
        """
        pattern = self.pattern(ref)
        met = [w for w in self._written[ref.name] if self._meets(ref.name, w, pattern, ends)]
        solid = [w for w in met if w == pattern or not self._written[ref.name][w].zero or ref.name not in self.zero]
        limits = tuple(limits or (None,) * len(pattern))
        if set(solid) <= {pattern} and not any(k is not None for k in limits):
            return self.left(ref)
        key = ref.name, pattern, tuple(solid), limits
        if key not in self._views:
            self._views[key] = self._view(ref.name, pattern, solid, limits)
        return Ref(self._views[key], _without(ref.index, pattern))

    def _meets(self, name: str, written: Pattern, pattern: Pattern, ends: Sequence[Ends]) -> bool:
        """False only if nothing written with a pattern is ever read."""
        return any(
            all(map(self._meet, self.system.decls[name].axes, written, pattern, box, ends))
            for box in self._written[name][written].boxes
        )

    def _meet(self, axis: Axis, written: int | None, read: int | None, box: Ends, ends: Ends) -> bool:
        if axis not in self.axes or (written is None and read is None):
            return not apart(box, ends)
        if written is not None and read is not None:
            return written == read
        k, span = (read, box) if read is not None else (written, ends)
        assert k is not None
        return _possible(k, *span)

    # -- views -------------------------------------------------------------------------------------------------------

    def _view(self, name: str, pattern: Pattern, met: Sequence[Pattern], limits: Sequence[int | None]) -> str:
        """A name for what a read finds: the sum of what was written with each pattern, where a mask says that it is."""
        decl, view = self.system.decls[name], self.b.fresh()
        axes = tuple(a for a, k in zip(decl.axes, pattern, strict=True) if k is None)
        self.b.decls[view] = Decl(view, "cotangent", decl.shape, decl.dtype, axes, True)
        for written in met:
            found = self._written[name][written]
            if any(k is not None for k in written) and found.zero:
                continue
            for box in self._boxes(name, written):
                self._part(view, name, pattern, written, box, limits)
        return view

    def _boxes(self, name: str, written: Pattern) -> list[Box]:
        """Where a name has values; of one that adds up, a box around all of them, where the others are zero."""
        boxes = list(dict.fromkeys(self._written[name][written].boxes))
        if name not in self.zero or len(boxes) < 2:
            return boxes
        axes = self.system.decls[name].axes
        return [tuple(_around(ends, a, self._reach[a]) for a, *ends in zip(axes, *boxes, strict=True))]

    def _part(
        self, view: str, name: str, pattern: Pattern, written: Pattern, box: Box, limits: Sequence[int | None]
    ) -> None:
        """One box of what was written, added to a view."""
        decl = self.system.decls[name]
        source: list[Index] = []
        out: list[Index] = []
        ranges: list[Range] = []
        masks: list[tuple[Callable[[int, Index | Range], Symbolic], int, Index | Range]] = []
        for axis, read, wrote, (lo, hi), limit in zip(decl.axes, pattern, written, box, limits, strict=True):
            if wrote is not None:
                if read is None:
                    ranges.append(Range(axis, fixed(wrote), last(axis, wrote)))
                    out.append(running(axis))
                    masks.append((self.masks[axis].ends, wrote, ranges[-1]))
                continue
            single = lo == hi and (lo.axis is None or lo.axis not in self.axes)
            source.append(lo if single else running(axis))
            step = lo if single else Range(axis, lo, hi)
            ranges += [step] if isinstance(step, Range) else []
            if read is not None:
                masks.append((self.masks[axis].ends, read, step))
                continue
            out.append(source[-1])
            k = min(hi.shift if hi.anchor else FOREVER, FOREVER if limit is None else limit)
            if axis in self.axes and k < FOREVER:
                masks.append((self.masks[axis].has, k, step))
        domain = self.sorted(ranges)
        ref = Ref(self.store(name, written), tuple(source))
        source_of = next((e.source for e in self.system.writers[name]), None)
        with self.b.within(domain, source_of):
            value: Symbolic = self.b.read(ref)
            for mask, k, step in masks:
                value = choose(mask(k, step), value, self.b)
        self.add(Ref(view, tuple(out)), value, domain)

    # -- making ------------------------------------------------------------------------------------------------------

    def add(self, out: Ref, value: Symbolic, domain: Domain, combine: str = "sum") -> None:
        """Add ``out += value``, for every example."""
        source = self.b.equations[-1].source if self.b.equations else None
        self.b.equations.append(Equation(out, "copy", (value.operand,), (), domain, True, combine, source))

    def sorted(self, ranges: Iterable[Range]) -> Domain:
        """A domain, in the order of the builder's axes."""
        found = {r.axis: r for r in ranges}
        return tuple(found[a] for a in self.b.axes.values() if a in found)

    def finish(self) -> None:
        """Add what the masks need."""
        for masks in self.masks.values():
            masks.finish()


def choose(mask: Symbolic, value: Symbolic, builder: Builder, other: float = 0) -> Symbolic:
    """A value where a mask is true, else a number of its kind."""
    if value.dtype == "bool":
        return logical_and(mask, value)
    number = builder.constant(int(other) if value.dtype == "int" else float(other))
    return where(mask, value, number)


def nothing(e: Equation) -> bool:
    """True for an equation that writes the number 0 (of floats 0.0, and not -0.0)."""
    return e.op == "copy" and isinstance(e.args[0], Const) and e.args[0] in (Const(0), Const(0.0), Const(False))


def ref_of(expr: Symbolic) -> Ref:
    """The instances that an expression is."""
    assert isinstance(expr.operand, Ref)
    return expr.operand


def _without(index: Sequence[Index], pattern: Pattern) -> tuple[Index, ...]:
    return tuple(i for i, k in zip(index, pattern, strict=True) if k is None)


def _possible(k: int, lo: Index, hi: Index) -> bool:
    """True if some n from 0 up has ``lo <= n+k <= hi``, where a step counted from the end counts from n."""
    if lo.anchor and lo.shift > k:
        return False
    least = 0 if lo.anchor else max(0, lo.shift - k)
    return hi.shift >= k if hi.anchor else hi.shift - k >= least


def _reach(system: System) -> dict[Axis, int]:
    """By axis, the largest k for which anything has, or is asked for, a step n+k."""
    found = {a: max(system.reach.get(a, 0), 0) for a in system.axes}
    for e in system.equations:
        for ref in e.refs:
            for axis, (_, hi) in zip(system.decls[ref.name].axes, system.reads(e, ref), strict=True):
                found[axis] = max(found[axis], hi.shift if hi.anchor else 0)
    return found


def _furthest(step: Index, reach: int) -> int:
    """The largest k for which a step is n+k at any n from 0 up, where no step that exists lies after n+reach."""
    return step.shift if step.anchor else min(step.shift, reach)


def _around(ends: Sequence[Ends], axis: Axis, reach: int) -> Ends:
    """From the first of several steps to the last, whatever n is."""
    lows, highs = [lo for lo, _ in ends], [hi for _, hi in ends]
    lo = min(lows, key=lambda i: i.shift)  # n+k is at least k
    lo = lo if all(i.anchor for i in lows) else fixed(lo.shift)
    if any(hi.anchor for hi in highs):
        return lo, last(axis, max(_furthest(hi, reach) for hi in highs))
    return lo, max(highs, key=lambda i: i.shift)
