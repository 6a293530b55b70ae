"""Truncated back-propagation through time (Williams and Peng 1990), as equations for the adjoint.

A template only says that it is truncated; its values, its names and every transform mean what they did, in any order.
The adjoint differentiates what `as_equations` makes of it, in which some reads have derivative zero:

    chunks   a read of a step in another chunk than the reader's own. What stands before step 1 belongs to the first
             chunk, what stands after the last step to the last; so h[0], read at every step, is a number but for the
             first chunk
    windows  a read through delays of more steps in all than the window has, on the way back from a loss. A variable
             has a copy for each number of steps that are left, a delayed read takes the copy with fewer left, and so
             the copies do not recur. What is read at a fixed step is no delay

What is given, an input or a param, is never cut, and what has no steps of its own (a context, a sum over t) lies in no
chunk: cotangents pass.

Law: the gradient is the sum of those of the chunks, each computed from the numbers that the others pass on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir.axes import Axis, Index, fixed, last, whole
from ..ir.generated_inputs import Crossing
from ..ir.names import is_hidden
from ..ir.system import Domain, Equation, Operand, Ref, System, Truncation
from ..language.builder import Builder
from ..ops.core import Symbolic
from ..ops.pointwise import stop_gradient, where

Copies = Mapping[str, tuple[str, ...]]
"""The names whose derivatives add up to that by a name; the last of them is what losses and other names read."""


def as_equations(system: System) -> tuple[System, Copies]:
    """The system with its truncations written out, and the copies that windows make."""
    copies: dict[str, tuple[str, ...]] = {}
    for t in sorted(system.truncations, key=lambda t: t.sliding):
        if not t.sliding:
            system = _Chunks(system, t).result()
            continue
        system, made = _Windows(system, t).result()
        known = {name: tuple(c for of in parts for c in made.get(of, (of,))) for name, parts in copies.items()}
        copies = {**made, **known}
    return replace(system, truncations=()), copies


class _Chunks:
    """Cuts the reads that leave a chunk, each as seen from the step at which the equation that reads it stands."""

    def __init__(self, system: System, truncation: Truncation) -> None:
        self.system, self.axis, self.period = system, truncation.axis, truncation.steps
        self.builder = Builder.extend(system)
        self.builder.equations = []
        self._masks: dict[Index, str] = {}
        self._made: dict[tuple[Ref, Index, Domain], Operand] = {}
        self._once = _once(system, self.axis)
        self._parts: dict[tuple[str, Index], str] = {}
        self._pending: list[tuple[str, Index]] = []

    def result(self) -> System:
        """The system with these reads cut."""
        for e in self.system.equations:
            step = self.system.step_of(e, self.axis)
            made = e if step is None else self.cut(e, step)
            self.builder.equations.append(made)
        while self._pending:
            self.write(*self._pending.pop())
        return self.builder.draft()

    def cut(self, e: Equation, step: Index) -> Equation:
        """An equation that stands at a step, with derivative zero for what it reads of another chunk."""
        args = tuple(self.operand(e, a, step) if isinstance(a, Ref) else a for a in e.args)
        return e if args == e.args else replace(e, args=args, label=None)

    def operand(self, e: Equation, ref: Ref, step: Index) -> Operand:
        """What is read in place of a ref."""
        decl = self.system.decls[ref.name]
        if self.axis not in decl.axes:
            return self.part(ref, step) if ref.name in self._once else ref
        index = ref.index[decl.axes.index(self.axis)]
        if decl.given or decl.dtype != "float" or index == step or self.together(index, step):
            return ref
        key = ref, step, e.domain
        if key not in self._made:
            with self.builder.within(e.domain, e.source):
                value = self.builder.read(ref)
                made = where(self.mask(index, step), stop_gradient(value), value)
                self.builder.label(made, "truncated", [value], {})
            self._made[key] = made.operand
        return self._made[key]

    def together(self, a: Index, b: Index) -> bool:
        """True for two fixed steps of one chunk."""
        first, second = ((max(i.shift, 1) - 1) // self.period for i in (a, b))
        return a.axis is None and b.axis is None and first == second

    def mask(self, index: Index, step: Index) -> Symbolic:
        """Whether a step lies in another chunk than the one from which it is read."""
        if index not in self._masks:
            detail = Crossing(self.period, index)
            self._masks[index] = self.builder.supplied("step", detail, (), (self.axis,), "bool", False).name
        name = self._masks[index]
        if step.runs:
            return self.builder.read(Ref(name, (step,)))
        for edge in (fixed(0), last(self.axis, 1)):  # where there are no steps there is one chunk
            ref = Ref(name, (edge,))
            if ref not in self.builder.defined:
                self.builder.add(ref, self.builder.constant(False), (), False, None)
        return self.builder.read(Ref(name, (last(self.axis) if step.axis is not None else fixed(max(step.shift, 1)),)))

    def part(self, ref: Ref, step: Index) -> Ref:
        """Such a part as it stands at a step, or at each of them: what it reads is cut at some and not at others."""
        along = (step,) if step.runs else ()
        if (ref.name, step) not in self._parts:
            decl, name = self.system.decls[ref.name], self.builder.fresh()
            axes = (*decl.axes, self.axis) if along else decl.axes
            self.builder.decls[name] = replace(decl, name=name, axes=axes, of=None)
            self._parts[ref.name, step] = name
            self._pending.append((ref.name, step))
        return Ref(self._parts[ref.name, step], (*ref.index, *along))

    def write(self, name: str, step: Index) -> None:
        """The equations of such a part."""
        along = (step,) if step.runs else ()
        for w in self.system.writers[name]:
            ranges = {r.axis: r for r in (*w.domain, *([whole(self.axis)] if along else []))}
            domain = tuple(ranges[a] for a in self.system.axes if a in ranges)
            made = self.cut(replace(w, domain=domain), step)
            out = Ref(self._parts[name, step], (*w.out.index, *along))
            self.builder.equations.append(replace(made, out=out))


def _once(system: System, axis: Axis) -> set[str]:
    """The parts of expressions that are computed once, and read a step of what runs along the axis."""
    decls = system.decls
    able = {
        n
        for n, d in decls.items()
        if is_hidden(n) and d.kind == "temporary" and d.dtype == "float" and axis not in d.axes
        if not any(axis in w.axes for w in system.writers[n])
    }
    readers: dict[str, list[str]] = {}
    for e in system.equations:
        for ref in e.refs if e.out.name in able else ():
            readers.setdefault(ref.name, []).append(e.out.name)
    pending = [n for n in readers if axis in decls[n].axes and decls[n].dtype == "float" and not decls[n].given]
    found: set[str] = set()
    while pending:
        new = [n for n in readers.get(pending.pop(), ()) if n not in found]
        found.update(new)
        pending += new
    return found


class _Windows:
    """Reads through delays of `steps` in all, by copies for the steps that are left."""

    def __init__(self, system: System, truncation: Truncation) -> None:
        self.system, self.axis, self.steps = system, truncation.axis, truncation.steps
        self.builder = Builder.extend(system)
        self.builder.equations = []
        self.delayed = self._through_delays()
        self.lefts = self._needed()
        self.copies = {name: self._declared(name) for name in self._kept()}

    def result(self) -> tuple[System, Copies]:
        """The system with copies; the others read those with all steps left."""
        for e in self.system.equations:
            decl = self.system.decls[e.out.name]
            if decl.dtype != "float" or decl.name in self.copies:
                self.builder.equations.append(e)  # the values themselves, and what has no derivative
            for left in sorted(self.lefts.get(decl.name, {self.steps} if decl.dtype == "float" else ())):
                name = self._copy(decl.name, left)
                args = tuple(self._operand(e, a, left) if isinstance(a, Ref) else a for a in e.args)
                self.builder.equations.append(replace(e, out=Ref(name, e.out.index), args=args, label=None))
        return self.builder.draft(), {name: tuple(made.values()) for name, made in self.copies.items()}

    def _through_delays(self) -> set[str]:
        """The names that are computed through a delay along the axis."""
        decls = self.system.decls
        floats = [
            e for e in self.system.equations if decls[e.out.name].dtype == "float" and not decls[e.out.name].given
        ]
        found = {e.out.name for e in floats if any(self._delay(e, r) for r in e.refs)}
        count = -1
        while count != len(found):
            count = len(found)
            found |= {e.out.name for e in floats if any(r.name in found for r in e.refs)}
        return found

    def _needed(self) -> dict[str, set[int]]:
        """For each of these names the numbers of steps left with which it is read, all of them among these."""
        lefts = {n: {self.steps} for n in self.system.decls if n in self.delayed}
        pending = [(n, self.steps) for n in lefts]
        while pending:
            name, left = pending.pop()
            for e in self.system.writers[name]:
                for ref in e.refs:
                    rest = left - self._delay(e, ref)
                    if ref.name in lefts and rest >= 0 and rest not in lefts[ref.name]:
                        lefts[ref.name].add(rest)
                        pending.append((ref.name, rest))
        return lefts

    def _kept(self) -> list[str]:
        """The names whose own values are needed besides copies: in the recurrence, and for what is no float."""
        names = [n for n in self.system.decls if self.lefts.get(n) != {self.steps}]
        seen = set(names)
        while names:
            for ref in (r for e in self.system.writers[names.pop()] for r in e.refs):
                if ref.name not in seen:
                    seen.add(ref.name)
                    names.append(ref.name)
        return [n for n in self.lefts if n in seen]

    def _declared(self, name: str) -> dict[int, str]:
        """The names of the copies of a name, by the steps that are left."""
        made = {}
        for left in sorted(self.lefts[name]):
            made[left] = self.builder.fresh() if is_hidden(name) else self.builder.unused(f"{name}^{left}")
            self.builder.decls[made[left]] = replace(self.system.decls[name], name=made[left], of=None)
        return made

    def _copy(self, name: str, left: int) -> str:
        return self.copies[name][left] if name in self.copies else name

    def _delay(self, e: Equation, ref: Ref) -> int:
        """The steps between an equation and what it reads."""
        index = self.system.elsewhere(e, ref, self.axis)
        return abs(index.shift) if index is not None and index.runs else 0

    def _operand(self, e: Equation, ref: Ref, left: int) -> Operand:
        """What an equation with so many steps left reads in place of a ref."""
        rest = left - self._delay(e, ref)
        if rest < 0:
            with self.builder.within(e.domain, e.source):
                return stop_gradient(self.builder.read(ref)).operand  # type: ignore[no-any-return]
        return Ref(self._copy(ref.name, rest), ref.index) if ref.name in self.delayed else ref
