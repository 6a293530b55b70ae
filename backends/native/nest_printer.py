"""Prints loop nests as LLVM IR: sums in registers, lookups by address, rows passed again behind their reductions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial, reduce

from ...compiler.nests import (
    AffineIndex,
    Apply,
    Clamp,
    Coordinate,
    Digit,
    Load,
    LoopVariable,
    Nest,
    Reduce,
    Scalar,
    children,
    parts,
    zeros,
)
from ...compiler.statements import Access, Compute
from ..common.addressing import addressed
from ..common.symbolic_size import ONE, ZERO, Dims, Key, Size
from .ir_builder import Point, Strided, can_be_wide
from .llvm_ir import I64, Value
from .loop_nest import Operand, Partial, Statements, Where, combining
from .pointwise import Typed, convert, evaluated


class Nests:
    """Writes statements as the nests that they are decomposed into."""

    def __init__(self, statements: Statements) -> None:
        self.s, self.m = statements, statements.m

    def write(self, step: Compute, where: Where) -> None:
        """One statement."""
        e = step.equation
        target, adds = self.s.target(step, where)
        for nest in self.s.decomposed(step):
            if zeros(nest) and e.combine == "sum":
                if not adds:
                    self.s.fill(target, where, 0)
                continue
            _Nest(self.s, step, nest, where, target, adds).write()


def _dims(loops: Sequence[LoopVariable]) -> Dims:
    return [(loop.name, Size(loop.size)) for loop in loops]


class _Nest:
    """One nest being written.

    loads     where each element that it reads is among `operands`, of which the left-hand side is the last
    computed  indices that are no sum of loop variables, and the elements from one to the next, by operand
    known     numbers of the row at hand
    """

    def __init__(self, s: Statements, step: Compute, nest: Nest, where: Where, target: Operand, adds: bool) -> None:
        self.s, self.c, self.where, self.nest, self.adds = s, s.c, where, nest, adds or nest.meets
        self.combine, self.kind = s.combine(step), target.kind
        self.loops, self.value = nest.loops, nest.value
        if isinstance(nest.value, Reduce) and nest.value.op == "sum" and step.equation.combine == "sum":
            self.loops, self.value = (*nest.loops, *nest.value.loops), nest.value.value
            if not adds:
                s.fill(target, where, 0)
            self.adds = True
        self.known: dict[Scalar, Typed] = {}
        self.loads: dict[Load, int] = {}
        self.operands: list[Strided] = []
        self.computed: list[list[tuple[Coordinate, Size]]] = []
        for x in parts(self.value, *nest.index):
            if isinstance(x, Load) and isinstance(x.arg, Access):
                self.loads[x] = self._operand(s.m.operand(x.arg, where), x.index)
        self._operand(target, nest.index)

    def _operand(self, x: Operand, index: Sequence[Coordinate]) -> int:
        """Enter memory with the strides that an index of it has along each loop."""
        start, strides, computed = addressed(index, x.steps)
        pointer = self.c.moved(x.pointer, x.kind, self.c.i64(start)) if start else x.pointer
        lead: dict[Key, Size] = {**x.lead, **strides}
        self.operands.append(Strided(pointer, lead, x.kind, fresh=bool(computed)))
        self.computed.append(computed)
        return len(self.operands) - 1

    def write(self) -> None:
        """The nest, in the form that it asks for."""
        *reads, target = self.operands
        dims = self.where.dims + _dims(self.loops)
        if any(isinstance(x, Reduce) for x in parts(self.value)):
            self._rows()
        elif self.nest.meets:
            dims = [d for d in dims if d[1] != ONE]
            wide = bool(dims) and target.along(dims[-1][0]) == ONE and self._wide(dims, self.operands)
            self.c.nest(dims, self.operands, self._scattered, wide)
        else:
            value = partial(self.scalar, self.value)
            self.s.map(dims, reads, target, value, self.combine if self.adds else None, self._kept(), self._wide)

    def _kept(self) -> frozenset[Key]:
        """Loops whose variable is a number that something is computed from."""
        plain = [x for x in parts(self.value) if isinstance(x, Apply)]
        return frozenset(loop.name for x in _numbers([*plain, *self._looked_up()]) for loop, _ in x.terms)

    def _looked_up(self) -> list[Coordinate]:
        """The indices that are computed."""
        return [x for some in self.computed for x, _ in some]

    def _wide(self, dims: Dims, operands: Sequence[Strided]) -> bool:
        """Whether vectors run along the last dimension: everything lies side by side or stays, all lookups stay."""
        if not can_be_wide(dims, operands):
            return False
        last, found = dims[-1][0], self._looked_up()
        moves = any(operands[self.loads[x]].along(last) != ZERO for x in parts(*found) if x in self.loads)
        return not moves and all(last not in dict(_named(x)) for x in _numbers(found))

    # -- values ----------------------------------------------------------------------------------------------------

    def scalar(self, x: Scalar, point: Point, operands: Sequence[Strided]) -> Typed:
        """A scalar at a point, or at the neighbours that the point stands for."""
        return evaluated(self.c, x, lambda part: self.given(part, point, operands))

    def given(self, x: Scalar, point: Point, operands: Sequence[Strided]) -> Typed | None:
        """A scalar that is known, is an index, or lies in memory; None for what is computed from others."""
        c = self.c
        if x in self.known:
            value, kind = self.known[x]
            return c.splat(value, point.width), kind
        if isinstance(x, AffineIndex):
            return self.integer(x, point, operands), "int"
        if not isinstance(x, Load):
            return None
        if x not in self.loads:
            return self.s.number(x.arg, point.width)
        n = self.loads[x]
        if not self.computed[n]:
            return c.value(operands, point, n), operands[n].kind
        address = self.moved(n, point, operands)
        if point.inner[n]:
            return c.load(address, operands[n].kind, point.width), operands[n].kind
        return c.splat(c.load(address, operands[n].kind), point.width), operands[n].kind

    def moved(self, n: int, point: Point, operands: Sequence[Strided]) -> Value:
        """Where an element lies whose index is computed."""
        c, pointer, one = self.c, point.pointers[n], replace(point, width=1)
        for x, step in self.computed[n]:
            pointer = c.moved(pointer, operands[n].kind, c.b.mul(self.integer(x, one, operands), c.size(step)))
        return pointer

    def integer(self, x: Coordinate, point: Point, operands: Sequence[Strided]) -> Value:
        """An index as a number."""
        c = self.c
        if isinstance(x, Clamp):
            number = convert(c, self.scalar(x.number, point, operands), "int")
            number = c.b.select(c.b.icmp_signed("<", number, c.i64(0)), c.i64(0), number)
            return c.b.select(c.b.icmp_signed(">=", number, c.i64(x.size)), c.i64(x.size - 1), number)
        if isinstance(x, Digit):
            number = c.b.udiv(self.integer(x.number, point, operands), c.i64(x.unit))
            return c.b.urem(number, c.i64(x.size))
        *_, last = (None, *point.index)
        terms = [c.constant("int", x.start, point.width)] if x.start or not x.terms else []
        for key, k in _named(x):
            i = point.index[key]
            lanes = c.numbers(i, point.width) if key == last else c.splat(i, point.width)
            terms.append(lanes if k == 1 else c.b.mul(lanes, c.constant("int", k, point.width)))
        return reduce(c.b.add, terms)

    # -- where several values meet -----------------------------------------------------------------------------------

    def _scattered(self, point: Point) -> None:
        """One value, added to an element whose index is computed."""
        self._store(self.scalar(self.value, point, self.operands), self.moved(-1, point, self.operands), point.width)

    def _store(self, value: Typed, address: Value, width: int) -> None:
        result = convert(self.c, value, self.kind)
        if self.adds:
            result = self.combine.join(self.c.load(address, self.kind, width), result)
        self.c.store(result, address, self.kind, width)

    # -- rows --------------------------------------------------------------------------------------------------------

    def _rows(self) -> None:
        """What is reduced first, row by row; then, where its result is the same along loops, those."""
        around, along = self.nest.rows()
        invariant, deep = self.nest.invariant(), _dims(along)
        used = [self.loads[x] for x in parts(self.value, known=invariant) if x in self.loads]

        def at(point: Point) -> None:
            here = [replace(o, pointer=p, fresh=True) for o, p in zip(self.operands, point.pointers, strict=True)]
            self.known = {}
            for x in invariant:
                found = self._reduced(x, point, here) if isinstance(x, Reduce) else self.scalar(x, point, here)
                self.known[x] = found
            wide = _side_by_side(deep, [*(here[n] for n in used), here[-1]])

            def store(inner: Point) -> None:
                whole = replace(inner, index={**point.index, **inner.index})
                self._store(self.scalar(self.value, whole, here), inner.pointers[-1], inner.width)

            self.c.nest(deep, here, store, wide)

        self.c.nest(self.where.dims + _dims(around), [replace(o, fresh=True) for o in self.operands], at, False)

    def _reduced(self, x: Reduce, point: Point, here: Sequence[Strided]) -> Typed:
        """A reduction, in registers."""
        c = self.c
        if x.op == "argmax":
            return self._first_largest(x, point, here), "int"
        deep = [d for d in _dims(x.loops) if d[1] != ONE]
        wide = _side_by_side(deep, [here[self.loads[y]] for y in parts(x.value, known=self.known) if y in self.loads])
        widths = c.lanes(deep[-1][1], wide) if deep else [1]
        partial = Partial(c, "float", widths, combining(c, x.op))

        def at(inner: Point) -> None:
            whole = replace(inner, index={**point.index, **inner.index})
            partial.join(convert(c, self.scalar(x.value, whole, here), "float"), inner.width)

        c.nest(deep, here, at, wide)
        return partial.total(), "float"

    def _first_largest(self, x: Reduce, point: Point, here: Sequence[Strided]) -> Value:
        """Where the first largest element is; a nan counts as the largest."""
        c = self.c
        ((key, extent),) = _dims(x.loops)

        def element(i: Value) -> Value:
            pointers = tuple(c.moved(o.pointer, o.kind, c.times(i, o.along(key))) for o in here)
            whole = replace(point, pointers=pointers, ahead={}, index={**point.index, key: i})
            return convert(c, self.scalar(x.value, whole, here), "float")

        best, found = c.slot(c.type("float")), c.slot(I64)
        c.b.store(element(c.i64(0)), best)
        c.b.store(c.i64(0), found)
        with c.loop(c.i64(1), c.size(extent)) as i:
            value, top = element(i), c.b.load(best, c.type("float"))
            is_nan, was_nan = c.b.fcmp_unordered("uno", value, value), c.b.fcmp_unordered("uno", top, top)
            wins = c.b.and_(c.b.not_(was_nan), c.b.or_(c.b.fcmp_ordered(">", value, top), is_nan))
            with c.when(wins):
                c.b.store(value, best)
                c.b.store(i, found)
        return c.b.load(found, I64)


def _named(x: AffineIndex) -> list[tuple[Key, int]]:
    return [(loop.name, k) for loop, k in x.terms]


def _numbers(roots: Sequence[Scalar | Coordinate]) -> list[AffineIndex]:
    """Loop variables as numbers: not those that an element is addressed by."""
    used = [child for x in parts(*roots) if not isinstance(x, Load) for child in children(x)]
    return [x for x in used if isinstance(x, AffineIndex)]


def _side_by_side(dims: Dims, operands: Iterable[Strided]) -> bool:
    """Whether all of them lie side by side along the last dimension."""
    return bool(dims) and all(o.along(dims[-1][0]) == ONE for o in operands)
