"""The innermost loops of products: a block of rows by a panel of columns with all sums in registers, and packing.

A panel is up to three vectors of neighbouring columns, one row of the inner dimension after another (Goto and van de
Geijn 2008). Each function is written once in a module, with every size and step an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from .code import I1, I64, POINTER, Code, Value

WIDEST = 3
"""Vectors in a panel: with eight rows as many sums as keep both units busy, and few enough for the registers."""
UNROLLED = 4
"""Steps of the inner dimension at once where a single row leaves registers free."""
COPIED = 16
"""Elements along the inner dimension that are copied before the next column where a matrix lies the other way."""


class Tiles:
    """Writes the functions and calls of them."""

    def __init__(self, code: Code, registers: int) -> None:
        self.c = code
        self.blocks = (8, 4, 1) if registers >= 32 else (4, 1)
        self._made: dict[str, Any] = {}

    @contextmanager
    def _function(self, name: str, kinds: list[Any]) -> Iterator[Any]:
        with self.c.aside(name, kinds) as function:
            self._made[name] = function
            yield function

    def strip(self, vectors: int, cut: bool) -> Any:
        """All rows by one panel; `cut` where the last vector holds fewer columns than it has lanes.

        Its arguments: the panel and the step along it; x, its steps from row to row and along the inner dimension;
        z and its step from row to row; rows, inner size, columns in the last vector, whether z is added to.
        """
        name = f"strip_{vectors}{'_cut' if cut else ''}"
        if name not in self._made:
            c = self.c
            kinds = [POINTER, I64, POINTER, I64, I64, POINTER, I64, I64, I64, I64, I1]
            with self._function(name, kinds) as function:
                panel, apart, x, across, along, z, down, rows, deep, left, adds = function.args
                mask = self._mask(left) if cut else None
                start = c.i64(0)
                for block in self.blocks:
                    stop = rows if block == 1 else c.b.sub(rows, c.b.srem(c.b.sub(rows, start), c.i64(block)))
                    with c.loop(start, stop, block) as i:
                        each = [c.b.add(i, c.i64(r)) for r in range(block)]
                        lines = [c.moved(x, "float", c.b.mul(r, across)) for r in each]
                        places = [c.moved(z, "float", c.b.mul(r, down)) for r in each]
                        self._tile(vectors, mask, panel, apart, lines, along, deep, places, adds)
                    start = stop
        return self._made[name]

    def _mask(self, left: Value) -> Value:
        c = self.c
        lanes = ir.Constant(ir.VectorType(I64, c.width), list(range(c.width)))
        return c.b.icmp_signed("<", lanes, c.splat(left, c.width))

    def _tile(
        self,
        vectors: int,
        mask: Value,
        panel: Value,
        apart: Value,
        lines: list[Value],
        along: Value,
        deep: Value,
        places: list[Value],
        adds: Value,
    ) -> None:
        """A block of rows by a panel."""
        c = self.c
        unrolled = UNROLLED if len(lines) == 1 else 1
        each = len(lines) * vectors
        cuts = [None] * (vectors - 1) + [mask]

        def multiply(k: Value, sums: list[Value]) -> list[Value]:
            line = c.moved(panel, "float", c.b.mul(k, apart))
            columns = [self._load(line, v, cut) for v, cut in enumerate(cuts)]
            offset, made = c.b.mul(k, along), []
            for r, pointer in enumerate(lines):
                spread = c.splat(c.load(c.moved(pointer, "float", offset), "float"), c.width)
                made += [fma(c, spread, columns[v], sums[r * vectors + v]) for v in range(vectors)]
            return made

        def several(k: Value, sums: list[Value]) -> list[Value]:
            parts = (sums[part * each : (part + 1) * each] for part in range(unrolled))
            return [v for part, old in enumerate(parts) for v in multiply(c.b.add(k, c.i64(part)), old)]

        zeros = [c.constant("float", 0, c.width)] * (each * unrolled)
        whole = deep if unrolled == 1 else c.b.sub(deep, c.b.srem(deep, c.i64(unrolled)))
        sums = self._carried(c.i64(0), whole, unrolled, zeros, several)
        if unrolled > 1:
            while len(sums) > each:
                half = len(sums) // 2
                sums = [c.b.fadd(a, b) for a, b in zip(sums[:half], sums[half:], strict=True)]
            sums = self._carried(whole, deep, 1, sums, multiply)
        ends = [(place, v) for place in places for v in range(vectors)]
        alone = c.b.block
        with c.when(adds):
            added = [
                c.b.fadd(self._load(place, v, cuts[v]), value) for (place, v), value in zip(ends, sums, strict=True)
            ]
            there = c.b.block
        totals = [c.b.phi(value.type) for value in sums]
        for total, value, more in zip(totals, sums, added, strict=True):
            total.add_incoming(value, alone)
            total.add_incoming(more, there)
        for total, (place, v) in zip(totals, ends, strict=True):
            self._store(total, place, v, cuts[v])

    def _carried(
        self,
        start: Value,
        stop: Value,
        step: int,
        values: list[Value],
        write: Callable[[Value, list[Value]], list[Value]],
    ) -> list[Value]:
        """A loop that carries values from one turn to the next, in registers."""
        c = self.c
        before = c.b.block
        test, body, end = (c.function.append_basic_block() for _ in range(3))
        c.b.branch(test)
        c.b.position_at_end(test)
        k, *carried = (c.b.phi(v.type) for v in (start, *values))
        c.b.cbranch(c.b.icmp_signed("<", k, stop), body, end)
        c.b.position_at_end(body)
        made = [c.b.add(k, c.i64(step)), *write(k, carried)]
        for phi, first, later in zip((k, *carried), (start, *values), made, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, c.b.block)
        c.b.branch(test)
        c.b.position_at_end(end)
        return carried

    def _load(self, pointer: Value, v: int, mask: Value) -> Value:
        c = self.c
        at = c.moved(pointer, "float", c.i64(v * c.width))
        if mask is None:
            return c.load(at, "float", c.width)
        kind = c.type("float", c.width)
        args = [at, ir.Constant(ir.IntType(32), c.bytes["float"]), mask, ir.Constant(kind, None)]
        return c.b.call(self._intrinsic("load", kind, [POINTER, ir.IntType(32), mask.type, kind], kind), args)

    def _store(self, value: Value, pointer: Value, v: int, mask: Value) -> None:
        c = self.c
        at = c.moved(pointer, "float", c.i64(v * c.width))
        if mask is None:
            c.store(value, at, "float", c.width)
            return
        kinds = [value.type, POINTER, ir.IntType(32), mask.type]
        args = [value, at, ir.Constant(ir.IntType(32), c.bytes["float"]), mask]
        c.b.call(self._intrinsic("store", value.type, kinds, ir.VoidType()), args)

    def _intrinsic(self, name: str, kind: Any, kinds: list[Any], result: Any) -> Any:
        full = f"llvm.masked.{name}.v{kind.count}{kind.element.intrinsic_name}.p0"
        found = self.c.module.globals.get(full)
        return found or ir.Function(self.c.module, ir.FunctionType(result, kinds), full)

    # -- packing -------------------------------------------------------------------------------------------------

    def pack(self, into: Value, lane: Value, matrix: Value, columns: Value, step: Value, deep: Value, along: Value,
             side_by_side: bool) -> None:  # fmt: skip
        """Copy so many columns into one panel, its rows `lane` apart.

        step          elements of the matrix from column to column; 1 where they lie `side_by_side`
        deep, along   inner size, and the step along it
        """
        name = "pack_rows" if side_by_side else "pack_columns"
        if name not in self._made:
            with self._function(name, [POINTER, I64, POINTER, I64, I64, I64, I64]) as function:
                (self._rows if side_by_side else self._columns)(*function.args)
        self.c.b.call(self._made[name], [into, lane, matrix, columns, step, deep, along])

    def _rows(
        self, into: Value, lane: Value, matrix: Value, columns: Value, _: Value, deep: Value, along: Value
    ) -> None:
        c = self.c
        whole = c.b.and_(columns, c.i64(-c.width))
        with c.loop(c.i64(0), deep) as k:
            source = c.moved(matrix, "float", c.b.mul(k, along))
            target = c.moved(into, "float", c.b.mul(k, lane))
            for start, stop, width in ((c.i64(0), whole, c.width), (whole, columns, 1)):
                with c.loop(start, stop, width) as j:
                    value = c.load(c.moved(source, "float", j), "float", width)
                    c.store(value, c.moved(target, "float", j), "float", width)

    def _columns(
        self, into: Value, lane: Value, matrix: Value, columns: Value, step: Value, deep: Value, along: Value
    ) -> None:
        """A few neighbours of a column at a time: what is read and what is written both stay in the nearest cache."""
        c = self.c
        with (
            c.loop(c.i64(0), deep, COPIED) as first,
            c.loop(c.i64(0), columns) as j,
            c.loop(first, c.least(c.b.add(first, c.i64(COPIED)), deep)) as k,
        ):
            source = c.moved(matrix, "float", c.b.add(c.b.mul(j, step), c.b.mul(k, along)))
            target = c.moved(into, "float", c.b.add(c.b.mul(k, lane), j))
            c.store(c.load(source, "float"), target, "float")

    # -- panels --------------------------------------------------------------------------------------------------

    def panels(
        self, vectors: Value, last: Value, write: Callable[[Value, int, bool], None], known: set[tuple[int, bool]]
    ) -> None:
        """Call `write(first vector, vectors, cut)` for panels that cover so many vectors: threes, twos where a single
        one would be left, and one alone.

        last   the last vector of all, which may be cut
        known  the panels that can occur
        """
        c = self.c
        single = c.b.icmp_signed("==", c.b.srem(vectors, c.i64(WIDEST)), c.i64(1))
        several = c.b.icmp_signed(">", vectors, c.i64(1))
        fewer = c.b.zext(c.b.and_(single, several), I64)
        threes = c.b.mul(c.b.sub(c.b.sdiv(vectors, c.i64(WIDEST)), fewer), c.i64(WIDEST))
        twos = c.b.add(threes, c.b.and_(c.b.sub(vectors, threes), c.i64(-2)))
        for count, start, stop in ((3, c.i64(0), threes), (2, threes, twos), (1, twos, vectors)):
            kinds = sorted(cut for n, cut in known if n == count)
            if not kinds:
                continue
            with c.loop(start, stop, count) as v:
                if len(kinds) == 1:
                    write(v, count, kinds[0])
                    continue
                with c.b.if_else(c.b.icmp_signed("==", c.b.add(v, c.i64(count - 1)), last)) as (cut, full):
                    with cut:
                        write(v, count, True)
                    with full:
                        write(v, count, False)


def parted(vectors: int, shares: int) -> list[tuple[int, int]]:
    """The first and the past-the-last vector of each of so many shares."""
    each = -(-vectors // shares)
    return [(min(n * each, vectors), min((n + 1) * each, vectors)) for n in range(shares)]


def occurring(columns: int, width: int, ranges: list[tuple[int, int]]) -> set[tuple[int, bool]]:
    """The panels, as (vectors, cut), that ranges of the vectors of so many columns are made of."""
    total = -(-columns // width)
    found = set()
    for start, past in ranges:
        while start < past:
            left = past - start
            n = WIDEST if left >= WIDEST and left != WIDEST + 1 else min(left, 2)
            start += n
            found.add((n, start == total and columns % width != 0))
    return found


def every() -> set[tuple[int, bool]]:
    """All panels, for columns whose number is not known."""
    return {(n, cut) for n in range(1, WIDEST + 1) for cut in (False, True)}


def fma(c: Code, x: Value, y: Value, z: Value) -> Any:
    """``x * y + z``, rounded once."""
    kind = x.type
    name = f"llvm.fma.v{kind.count}{kind.element.intrinsic_name}"
    function = c.module.globals.get(name)
    if function is None:
        function = ir.Function(c.module, ir.FunctionType(kind, [kind] * 3), name)
    return c.b.call(function, [x, y, z])
