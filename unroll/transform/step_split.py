"""A system cut between two steps of a time axis: what is computed once, and what any number of steps computes.

    context  what no step changes, and the initial state, which is read off the boundaries
    step     steps 1..T of a chunk: its boundaries are the state before it, and it returns the state after it

Both are ordinary systems. Law: chunks one after another, each from the state that the one before it returned, give what
one run over all their steps gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import CausalityError, message
from ..ir.axes import TIME, Axis, Index, fixed, last, running, whole
from ..ir.names import is_hidden, unused
from ..ir.system import Decl, Equation, Extent, Operand, Ref, System
from ..printing.plain import EquationWriter


@dataclass(frozen=True)
class Cut:
    """A system cut between two steps.

    context  its outputs are all that `step` is given besides what runs along the axis
    given    those of its outputs that are the user's own arrays
    step     takes the state by its names, and returns the next one by the same names
    states   by the boundary that a part of the state stands for, written ``h[0]`` or ``h[-1]``, its name in both
    """

    context: System
    given: tuple[str, ...]
    step: System
    states: Mapping[str, str]


def cut(system: System, axis: Axis = TIME) -> Cut:
    """Cut a system between two steps. Raises CausalityError where an output needs a later step, or all of them."""
    needs = _Needs(system, axis)
    needs.follow()
    once = [needs.freed(e) for e in needs.chosen(needs.once)]
    steps = [needs.freed(e) for e in needs.chosen(needs.steps)]
    states = needs.states()
    free = {n: d for n, d in system.decls.items() if axis not in d.axes} | needs.firsts
    outputs = {key: needs.freed_ref(ref) for key, ref in system.outputs.items()}
    asked = [r.name for r in outputs.values()]
    read = [n for n in dict.fromkeys((*asked, *(r.name for e in steps for r in e.refs))) if n in free]
    given = {n: whole_of(free[n]) for n in read if free[n].kind in ("input", "param")}
    written = [e.out for n in read for e in once if e.out.name == n]
    passed = {needs.name(out) if out != whole_of(free[out.name]) else out.name: out for out in written}
    first = {needs.name(ref): needs.freed_ref(ref) for ref in states}
    context = replace(
        system, decls=free, equations=tuple(once), outputs={**first, **passed, **given}, loss=None, stop=None
    )
    decls = {n: d for n, d in system.decls.items() if axis in d.axes or d.given}
    decls.update({n: free[n] if n in given or n in decls else replace(free[n], kind="variable") for n in read})
    for key, ref in (*passed.items(), *((needs.name(ref), ref) for ref in states)):
        decl = free.get(ref.name) or system.decls[ref.name]
        decls[key] = as_input(replace(decl, name=key, axes=ref.running))
        if key != ref.name:
            steps.append(boundary(ref, decls[key]))
    after = {needs.name(ref): needs.at_the_end(ref) for ref in states}
    step = replace(system, decls=decls, equations=tuple(steps), outputs={**outputs, **after}, loss=None, stop=None)
    return Cut(context, tuple(given), step, {str(ref): needs.name(ref) for ref in states})


def whole_of(decl: Decl) -> Ref:
    """All steps 1..T of a name."""
    return Ref(decl.name, tuple(map(running, decl.axes)))


def as_input(decl: Decl) -> Decl:
    """The declaration of what is passed to the steps; one value for all examples and steps is as good as a param."""
    alone = not decl.batched and not decl.axes and decl.dtype == "float"
    return replace(decl, kind="param" if alone else "input", of=None, detail=None)


def boundary(ref: Ref, given: Decl) -> Equation:
    """`ref`, which stands outside the steps 1..T of some axis, takes the value of an input."""
    domain = tuple(map(whole, given.axes))
    return Equation(ref, "copy", (whole_of(given),), (), domain, given.batched, "sum", given.source)


class _Needs:
    """The equations that the outputs need, and how many steps back they read.

    steps   the places of those that are computed at every step
    once    the places of those that are computed once
    depth   by name, the longest delay with which a step reads it
    firsts  the names that boundaries get in the context, which has no such axis
    """

    def __init__(self, system: System, axis: Axis) -> None:
        self.system, self.axis = system, axis
        self.steps: set[int] = set()
        self.once: set[int] = set()
        self.depth: dict[str, int] = {}
        self.firsts: dict[str, Decl] = {}
        self._names: dict[tuple[Ref, str], str] = {}
        self._taken = {*system.decls, *system.outputs}
        self._places = {id(e): n for n, e in enumerate(system.equations)}
        self._pending: deque[tuple[Ref, Equation | None]] = deque()
        self._seen: set[tuple[str, Index | None]] = set()

    def name(self, ref: Ref, wish: str = "{}") -> str:
        """A name of its own for an instance, the same at each call; `wish` holds the ref as it is printed."""
        if (ref, wish) not in self._names:
            self._names[ref, wish] = unused(wish.format(ref), self._taken)
            self._taken.add(self._names[ref, wish])
        return self._names[ref, wish]

    def chosen(self, places: set[int]) -> list[Equation]:
        """Equations in the order of the system."""
        return [self.system.equations[n] for n in sorted(places)]

    def bracket(self, ref: Ref) -> Index | None:
        """The step of a ref along the axis."""
        axes = self.system.decls[ref.name].axes
        return ref.index[axes.index(self.axis)] if self.axis in axes else None

    def _with(self, ref: Ref, index: Index) -> Ref:
        position = self.system.decls[ref.name].axes.index(self.axis)
        return Ref(ref.name, (*ref.index[:position], index, *ref.index[position + 1 :]))

    def follow(self) -> None:
        """Find what the outputs need."""
        for ref in self.system.outputs.values():
            self._need(ref, None)
        while self._pending:
            ref, named = self._pending.popleft()
            wanted = self.bracket(ref)
            for e in self.system.writers[ref.name]:
                written = self.bracket(e.out)
                if wanted is not None and written is not None and wanted != written:
                    continue
                reader = named if is_hidden(e.out.name) and named is not None else e
                each = wanted is not None and wanted.runs
                self._computable(e, reader)
                (self.steps if each else self.once).add(self._places[id(e)])
                for other in e.refs:
                    self._need(other, reader)

    def _need(self, ref: Ref, named: Equation | None) -> None:
        index = self.bracket(ref)
        if index is not None and index.runs and index.shift > 0:
            raise self._refusal(named, ref, f"reads {ref}, a later step")
        if index is not None and not index.runs and index.axis is not None:
            raise self._refusal(named, ref, f"reads {ref}, a step counted from the end")
        if index is not None and not index.runs and index.shift > 0:
            raise self._refusal(named, ref, f"reads {ref}, one step of those that run")
        wanted = [ref]
        if index is not None and index.runs:
            known = self.depth.get(ref.name, 0)
            self.depth[ref.name] = max(known, -index.shift)
            wanted = [self._with(ref, running(self.axis))]
            wanted += [self._with(ref, fixed(-d)) for d in range(known, -index.shift)]
        for r in wanted:
            at = self.bracket(r)
            if at is not None and not at.runs:
                self._first(r)
            if (r.name, at) not in self._seen:
                self._seen.add((r.name, at))
                self._pending.append((r, named))

    def _computable(self, e: Equation, named: Equation) -> None:
        """Raises CausalityError for an equation that needs all steps."""
        if any(isinstance(a, Extent) and a.axis == self.axis for a in e.args):
            raise self._refusal(named, None, f"needs {self.axis.end}, the number of steps")
        if self.axis in e.summed:
            how = "sums over" if e.combine == "sum" else "takes the maximum over"
            raise self._refusal(named, None, f"{how} {self.axis.name}, which needs every step")
        for r in e.domain:
            if r != whole(r.axis):
                raise self._refusal(named, None, f"is defined for {r}, and not for every step")

    def _refusal(self, named: Equation | None, ref: Ref | None, what: str) -> CausalityError:
        fix = "Run whole sequences, net.run(...), or ask for names that do not depend on it."
        if named is None:
            name = ref.name if ref is not None else ""
            return CausalityError(f"{ref} is one step of those that run, and steps are run in pieces: ask for {name}")
        row = EquationWriter(self.system).equation(named), named.source
        return CausalityError(message(f"{named.out} cannot be computed step by step: it {what}", row, fix=fix))

    # -- the same in names without the axis --------------------------------------------------------------------------

    def _first(self, ref: Ref) -> str:
        """The name of a boundary where there is no such axis."""
        decl, at = self.system.decls[ref.name], self.bracket(ref)
        name = self.name(Ref(ref.name, (at,) if at is not None else ()), "first {}")
        axes = tuple(a for a in decl.axes if a != self.axis)
        self.firsts[name] = replace(decl, name=name, kind="variable", axes=axes, detail=None)
        return name

    def freed_ref(self, ref: Ref) -> Ref:
        """A ref to a boundary by that name; any other as it is."""
        index = self.bracket(ref) if ref.name in self.system.decls else None
        if index is None or index.runs or index.axis is not None:
            return ref
        position = self.system.decls[ref.name].axes.index(self.axis)
        return Ref(self._first(ref), (*ref.index[:position], *ref.index[position + 1 :]))

    def freed(self, e: Equation) -> Equation:
        """An equation in these names."""
        args: tuple[Operand, ...] = tuple(self.freed_ref(a) if isinstance(a, Ref) else a for a in e.args)
        return replace(e, out=self.freed_ref(e.out), args=args, label=e.label and e.label.map(self.freed_ref))

    # -- the state ---------------------------------------------------------------------------------------------------

    def states(self) -> list[Ref]:
        """What the next step reads of the steps before it, as boundaries."""
        known = {e.out for e in self.chosen(self.once)}
        found: dict[Ref, None] = {}
        for name, depth in self.depth.items():
            decl = self.system.decls[name]
            parts = [Ref(name, tuple(map(running, decl.axes)))] if decl.given else []
            parts += [e.out for e in self.system.writers[name] if self.axis in e.out.running]
            for part in dict.fromkeys(parts):
                at = [self._with(part, fixed(-d)) for d in range(depth)]
                found.update({ref: None for ref in at if ref in known})  # the others are never read
        return list(found)

    def at_the_end(self, ref: Ref) -> Ref:
        """The same, seen from the step after the last: ``h[0]`` is ``h[T]``."""
        index = self.bracket(ref)
        return self._with(ref, last(self.axis, index.shift if index is not None else 0))
