"""SLP: vectorize pointwise equations of one form over adjacent vectors, so that they become one equation.

The gates of a cell are slices of one stacked product (see `merge_products`); their additions become one, those of one
kind share their nonlinearity, and backwards the cotangents that are concatenated are computed as one. It is Larsen and
Amarasinghe's superword-level parallelism (2000) with whole vectors for lanes: from the slices it goes on to what reads
them, from the concatenated vectors back to what makes them. Every element is computed as before, to the last bit.

No cycle comes of it: see `Bodies`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from ..ir.coverage import covers, within
from ..ir.system import Equation, Ref, System
from ..ops.kinds import Dtype
from ..ops.shapes import elementwise
from .loop_bodies import Bodies
from .lower import VIEWS
from .split_products import Draft, between, bounds

MOST = 32
"""Equations in one pack."""
PRODUCTS = ("matmul", "dot", "outer", "einsum")
"""What reads a vector faster where it lies by itself."""


def vectorize(system: System) -> System:
    """The system with its pointwise equations packed."""
    if not any(e.op in ("slice", "concat") and len(system.decls[e.out.name].shape) == 1 for e in system.equations):
        return system
    return _Packer(system).run()


@dataclass(frozen=True)
class Column:
    """One operand of a pack: a part of a vector, or names to be joined; `invariant` where none of them ever changes."""

    names: tuple[str, ...]
    part: tuple[str, int, int] | None = None
    invariant: bool = False


class _Packer:
    """What is known of a system while it is packed.

    parts  for a name, in which vector it lies and where
    inside the reverse: for a vector its parts
    joined by the names of its operands, the concatenation of them
    hosts  the reverse
    home   for an operand of a concatenation, in which it is to be written and where
    made   new equations by their names, with the number of the old one before which they stand
    """

    def __init__(self, system: System) -> None:
        self.system, self.draft, self.equations = system, Draft(system), system.equations
        self.number = {e.out.name: n for n, e in enumerate(self.equations) if system.sole(e.out.name) is e}
        self.makers: dict[str, list[int]] = {}
        self.readers: dict[str, list[int]] = {}
        for n, e in enumerate(self.equations):
            self.makers.setdefault(e.out.name, []).append(n)
            for name in dict.fromkeys(r.name for r in e.refs):
                self.readers.setdefault(name, []).append(n)
        self.kept = {r.name for r in system.outputs.values()} | ({system.loss} if system.loss else set())
        self.parts: dict[str, tuple[str, int, int]] = {}
        self.inside: dict[str, list[tuple[int, int, str]]] = {}
        self.joined: dict[tuple[str, ...], str] = {}
        self.home: dict[str, tuple[str, int]] = {}
        self.made: dict[str, tuple[int, Equation]] = {}
        self.cuts: dict[Any, Ref] = {}
        self.forms: dict[int, Any] = {}
        self.done: set[int] = set()
        self.packs: set[str] = set()
        self.hosts: dict[str, list[str]] = {}
        self.waiting: deque[str] = deque()
        self.values: deque[str] = deque()
        self.late = False

    @cached_property
    def bodies(self) -> Bodies:
        """Built where the first equations of one form are found."""
        return Bodies(self.system)

    def run(self) -> System:
        """The system packed, from the joined vectors backwards first."""
        for name, n in self.number.items():
            e = self.equations[n]
            if len(self.draft.decls[name].shape) != 1 or any(r.index != e.out.index for r in e.refs):
                continue
            if e.op == "concat" and self._joins(e):
                self._host(name, [r.name for r in e.refs])
            elif e.op == "slice" and self._cut(n, e):
                lo, hi = bounds(self.system, e) or (0, 0)
                self._inside(e.refs[0].name, name, lo, hi)
        self._all()
        self.late = True
        self.values.extend(self.inside)
        self._all()
        for name in self.hosts:
            self._rejoin(name)
        for n, e in self.made.values():
            self.draft.before(n, e)
        return self.draft.result()

    def _all(self) -> None:
        while self.values or self.waiting:
            if self.values:
                self._forwards(self.values.popleft())
            else:
                self._backwards(self.waiting.popleft())

    # -- what there is ---------------------------------------------------------------------------------------------

    def _joins(self, e: Equation) -> bool:
        names = [r.name for r in e.refs]
        decls = [self.draft.decls[n] for n in names]
        return len(set(names)) == len(e.args) and all(
            d.batched == e.batched and d.axes == self.draft.decls[e.out.name].axes for d in decls
        )

    def _cut(self, n: int, e: Equation) -> bool:
        """True for a slice of a vector that may be read in its place."""
        source = self.draft.decls[e.refs[0].name]
        alike = len(source.shape) == 1 and source.batched == e.batched
        return alike and bounds(self.system, e) is not None and self._sound(n)

    def _host(self, name: str, parts: Sequence[str]) -> None:
        self.joined.setdefault(tuple(parts), name)
        self.hosts[name] = list(parts)
        self.waiting.append(name)
        for units in (parts, self._units(parts) or ()):
            for unit, lo in zip(units, self._ends(units), strict=False):
                self.home.setdefault(unit, (name, lo))

    def _inside(self, whole: str, part: str, lo: int, hi: int) -> None:
        if whole not in self.inside:
            self.values.append(whole)
        self.inside.setdefault(whole, []).append((lo, hi, part))
        self.parts[part] = (whole, lo, hi)

    def _ends(self, names: Iterable[str]) -> list[int]:
        return list(accumulate((self.draft.decls[n].shape[0] for n in names), initial=0))

    def _sound(self, n: int) -> bool:
        """True if all that is read of a name is what its equation makes, and no product reads it."""
        e = self.equations[n]
        name = e.out.name
        if name in self.kept:
            return False
        for r in self.readers.get(name, ()):
            reader = self.equations[r]
            if reader.op in PRODUCTS or (reader.op == "mul" and reader.summed):
                return False
            if not all(within(self.system, reader, ref, e) for ref in reader.refs if ref.name == name):
                return False
        return True

    def form(self, n: int) -> Any:
        """What equations have in common that may be packed together; None for one that cannot be."""
        if n not in self.forms:
            self.forms[n] = self._form(n)
        return self.forms[n]

    def _form(self, n: int) -> Any:
        e = self.equations[n]
        decl = self.draft.decls[e.out.name]
        if e.operation.family is not elementwise or e.operation.compute is not None:
            return None
        if self.number.get(e.out.name) != n or e.batched != decl.batched or decl.given or len(decl.shape) != 1:
            return None
        if decl.shape == (1,) or decl.axes != tuple(a for a in self.system.axes if a in e.axes) or not self._sound(n):
            return None
        lanes: list[Any] = []
        for a in e.args:
            given = self.draft.decls[a.name] if isinstance(a, Ref) else None
            if given is not None and isinstance(a, Ref) and given.shape == decl.shape:
                lanes.append((a.index, given.batched, given.dtype))
            elif given is None or given.shape in ((), (1,)):
                lanes.append(a)
            else:
                return None
        return e.op, e.attributes, e.domain, e.batched, decl.dtype, self.bodies.position[n], tuple(lanes)

    # -- what fits together ----------------------------------------------------------------------------------------

    def _free(self, n: int) -> Any:
        """The form of an equation that is not packed yet."""
        return None if n in self.done else self.form(n)

    def columns(self, numbers: Sequence[int]) -> list[Column | None] | None:
        """The operands of equations of one form, put side by side; None for one that all share."""
        first = self.equations[numbers[0]]
        found: list[Column | None] = []
        for position, lane in enumerate(self.form(numbers[0])[-1]):
            if not isinstance(lane, tuple):
                found.append(None)
                continue
            refs = [self.equations[n].args[position] for n in numbers]
            column = self._column([r for r in refs if isinstance(r, Ref)], first)
            if column is None:
                return None
            found.append(column)
        return found

    def _column(self, refs: Sequence[Ref], e: Equation) -> Column | None:
        names = tuple(r.name for r in refs)
        if len(set(names)) < len(names):
            return None
        places = [self.parts.get(n) for n in names]
        if all(places):
            found = [p for p in places if p is not None]
            whole, lo, hi = found[0][0], found[0][1], found[-1][2]
            if all(p[0] == whole for p in found) and all(p[2] == q[1] for p, q in pairwise(found)):
                return Column(names, (whole, lo, hi))
        if self.draft.decls[names[0]].dtype == "bool":
            return None  # a concatenation is of numbers
        if all(n in self.draft.invariant for n in names):
            return Column(names, invariant=True)
        joined = names in self.joined and covers(self.system, e, refs[0], self._equation(self.joined[names]))
        return Column(names) if joined or (names not in self.joined and self._gathers(refs, e)) else None

    def _gathers(self, refs: Sequence[Ref], e: Equation) -> bool:
        """True if values made at the very same points can be written side by side; packs only as a whole."""
        units = self._units([r.name for r in refs])
        makers = [n for r in refs for n in self.makers.get(r.name, ())]
        if units is None or len({n for n in makers if self._sound(n)}) < max(len(makers), len(refs)):
            return False
        for r in refs:
            decl = self.draft.decls[r.name]
            if decl.given or decl.axes != tuple(a for a in self.system.axes if a in e.axes) or not self.makers[r.name]:
                return False
            for maker in (self.equations[n] for n in self.makers[r.name]):
                if r.index != maker.out.index or maker.domain != e.domain or maker.batched != decl.batched:
                    return False
                if maker.op in VIEWS or maker.combine != "sum" or maker.summed:
                    return False
        if len({self.bodies.position[n] for n in makers}) > 1:
            return False
        return self._neighbours(units)

    def _settled(self, run: Sequence[int]) -> bool:
        """True if the results may lie side by side: none of them is to be written elsewhere."""
        return self._neighbours([self.equations[n].out.name for n in run])

    def _neighbours(self, names: Sequence[str]) -> bool:
        """True for neighbours in one joined vector, or names that are in none."""
        homes = [self.home.get(name) for name in names]
        first = homes[0]
        if first is None:
            return not any(homes)
        return all(h == (first[0], first[1] + k) for h, k in zip(homes, self._ends(names), strict=False))

    def _units(self, names: Sequence[str]) -> list[str] | None:
        """What is to be joined so that these names lie side by side; None where only a part of a pack would."""
        units: list[str] = []
        rest = list(names)
        while rest:
            whole = self.parts.get(rest[0], ("", 0, 0))[0]
            tiles = [part for _, _, part in self.inside[whole]] if whole in self.packs else rest[:1]
            if rest[: len(tiles)] != tiles or (whole and whole not in self.packs):
                return None
            units.append(whole or rest[0])
            del rest[: len(tiles)]
        return units

    # -- packing ---------------------------------------------------------------------------------------------------

    def _backwards(self, host: str) -> None:
        """From a joined vector to the equations that make its parts."""
        names = self.hosts[host]
        self._runs([self.number.get(name, -1) for name in names], host)

    def _forwards(self, value: str) -> None:
        """From the parts of a vector to the equations that read them."""
        groups: dict[Any, dict[int, list[int]]] = {}
        for lo, _, name in self.inside[value]:
            for n in self.readers.get(name, ()):
                form, args = self._free(n), self.equations[n].args
                if form is not None and (self.late or self.equations[n].out.name not in self.home):
                    position = next(p for p, a in enumerate(args) if isinstance(a, Ref) and a.name == name)
                    groups.setdefault((form, position), {}).setdefault(lo, []).append(n)
        for group in groups.values():
            run: list[int] = []
            end = 0
            for lo in sorted(group):
                if run and lo != end:
                    run.append(-1)
                fit = (n for n in group[lo] if run and run[-1] >= 0 and self.columns([run[-1], n]) is not None)
                run.append(next(fit, group[lo][0]))
                end = lo + self.draft.decls[self.equations[run[-1]].out.name].shape[0]
            self._runs(run)

    def _runs(self, numbers: Sequence[int], host: str | None = None) -> None:
        """Pack neighbours among these equations, as many at a time as can be; -1 stands for what is none."""
        start = 0
        while start < len(numbers):
            form = self._free(numbers[start]) if numbers[start] >= 0 else None
            stop = start + 1
            while form and stop < min(len(numbers), start + MOST) and numbers[stop] >= 0:
                if self._free(numbers[stop]) != form:
                    break
                stop += 1
            while stop > start + 1:
                run = numbers[start:stop]
                columns = self.columns(run) if self._settled(run) else None
                if columns is not None and self.bodies.together(run):
                    self._commit(run, columns, host if len(run) == len(numbers) else None)
                    break
                stop -= 1
            start = stop

    def _commit(self, run: Sequence[int], columns: Sequence[Column | None], host: str | None) -> None:
        """One equation for a run of them, which writes `host` where it makes all of that."""
        first = self.equations[run[0]]
        decl = self.draft.decls[first.out.name]
        at = min(run)
        names = [self.equations[n].out.name for n in run]
        ends = self._ends(names)
        args = tuple(
            a if c is None else self._operand(at, first, a, c) for a, c in zip(first.args, columns, strict=True)
        )
        out = self._equation(host).out if host else self._declare(first, "v", ends[-1], decl.dtype)
        whole = replace(first, out=out, args=args, label=None)
        if host is None or host in self.made:
            self.made[out.name] = (at, whole)
            self.bodies.join(run)
        else:
            self.draft.replace(self.number[host], whole)
            self.bodies.join([*run, self.number[host]])
        self.done.update(run)
        self.packs.add(out.name)
        for n, (lo, hi) in zip(run, pairwise(ends), strict=True):
            e = self.equations[n]
            part = (("parts", between(lo, hi, 0)),)
            self.draft.replace(n, replace(e, op="slice", args=(Ref(out.name, e.out.index),), attrs=part, label=None))
            self._inside(out.name, e.out.name, lo, hi)

    def _operand(self, at: int, e: Equation, a: Any, column: Column) -> Ref:
        """A column as one value, read where `e` reads `a`."""
        if column.invariant:
            return Ref(self.draft.once(at, "concat", column.names, (("axis", -1),)))
        if column.part is None:
            return Ref(self.joined.get(column.names) or self._join(at, column.names), a.index)
        name, lo, hi = column.part
        decl = self.draft.decls[name]
        if (lo, hi) == (0, decl.shape[0]):
            return Ref(name, a.index)
        key = (name, lo, hi, a.index, e.domain)
        if key not in self.cuts:
            domain = tuple(r for r in e.domain if r.axis in a.running)
            part = (("parts", between(lo, hi, 0)),)
            cut = replace(e, domain=domain, batched=decl.batched)
            out = self.cuts[key] = self._declare(cut, "k", hi - lo, decl.dtype)
            self.made[out.name] = (at, replace(cut, out=out, op="slice", args=(Ref(name, a.index),), attrs=part))
        return self.cuts[key]

    def _join(self, at: int, names: tuple[str, ...]) -> str:
        """A new vector, in the memory of which the names are written."""
        first = self.equations[self.makers[names[0]][0]]
        out = self._declare(first, "v", self._ends(names)[-1], self.draft.decls[names[0]].dtype)
        args = tuple(Ref(n, first.out.index) for n in names)
        self.made[out.name] = (at, replace(first, out=out, op="concat", args=args, attrs=(("axis", -1),), label=None))
        self._host(out.name, names)
        return out.name

    def _declare(self, e: Equation, mark: str, size: int, dtype: Dtype) -> Ref:
        out = self.draft.declare(e.out.name, mark, (size,), e.domain, e.batched)
        self.draft.decls[out.name] = replace(self.draft.decls[out.name], dtype=dtype)
        return out

    def _equation(self, name: str) -> Equation:
        """How a joined vector is made now."""
        return self.made[name][1] if name in self.made else self.equations[self.number[name]]

    def _rejoin(self, name: str) -> None:
        """A concatenation, the operands of which were packed: of the packs."""
        if name in self.packs:
            return
        e = self._equation(name)
        units = self._units(self.hosts[name])
        if units is not None and len(units) < len(e.args):
            e = replace(e, args=tuple(replace(e.refs[0], name=unit) for unit in units))
            if name in self.made:
                self.made[name] = (self.made[name][0], e)
            else:
                self.draft.replace(self.number[name], e)
