"""Products with a matrix that does not change in a loop: packed once before it, multiplied in blocks of registers.

The matrix lies in panels of two vectors' width, every panel one row of the inner dimension after another; a block of
rows of the other operand meets a panel with all its sums in registers (Goto and van de Geijn 2008, with the packing
taken out of the loop).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .code import I64, POINTER, Code, Value
from .gemm import Group
from .sizes import Size

VECTORS = 2
"""Vectors side by side in a panel."""
ENOUGH = 2**17
"""Multiplications worth sharing with another thread: some microseconds."""
CHUNKS = 65535
"""Panels that can be shared at once."""
UNROLLED = 4
"""Steps of the inner dimension at once where a single row leaves registers free."""


@dataclass(frozen=True)
class Panels:
    """A packed matrix: where it lies, its inner size and its columns."""

    pointer: Value
    deep: int
    columns: int


@dataclass(frozen=True)
class _Place:
    """One panel and what it is multiplied with: pointers, and elements from row to row and from step to step."""

    base: Value
    column: Value
    x: Value
    z: Value
    left: Value
    out: Value
    step: Value
    deep: int
    adds: bool


class Packer:
    """Packs matrices and multiplies by them."""

    def __init__(self, code: Code, registers: int, helpers: int) -> None:
        self.c = code
        self.helpers = helpers
        self.helped: Value = None  # in a loop: the variable that says whether helpers came
        self._count = 0
        self.lane = code.width * VECTORS
        self.blocks = (8, 4, 1) if registers >= 32 else (4, 1)

    def elements(self, deep: int, columns: int) -> int:
        """Memory that a packed matrix needs."""
        return -(-columns // self.lane) * self.lane * deep

    def pack(self, into: Value, matrix: Value, deep: Group, columns: Group) -> Panels:
        """Copy a matrix into panels; zeros fill the last one."""
        c = self.c
        n, k = columns.extent.factor, deep.extent.factor
        full = n // self.lane

        def panel(p: Value, width: int) -> None:
            start = c.b.mul(p, c.i64(self.lane))
            base = c.moved(into, "float", c.b.mul(p, c.i64(self.lane * k)))
            with c.loop(c.i64(0), c.i64(k)) as i:
                row = c.moved(base, "float", c.b.mul(i, c.i64(self.lane)))
                source = c.moved(matrix, "float", c.b.mul(i, c.size(deep.right)))
                with c.loop(c.i64(0), c.i64(width)) as j:
                    at = c.b.mul(c.b.add(start, j), c.size(columns.right))
                    c.store(c.load(c.moved(source, "float", at), "float"), c.moved(row, "float", j), "float")
                if width < self.lane:
                    with c.loop(c.i64(width), c.i64(self.lane)) as j:
                        c.store(c.constant("float", 0), c.moved(row, "float", j), "float")

        if full:
            with c.loop(c.i64(0), c.i64(full)) as p:
                panel(p, self.lane)
        if n % self.lane:
            panel(c.i64(full), n % self.lane)
        return Panels(into, k, n)

    def product(self, panels: Panels, rows: Group, columns: Group, deep: Group, x: Value, z: Value, adds: bool) -> None:
        """``z (+)= x @ matrix``, panel by panel; by several threads where the loop has helpers and there is enough."""
        c = self.c
        sizes = (rows.extent, rows.left, rows.out, deep.left)
        function = self._function(panels, sizes, adds)
        arguments = c.entry.alloca(I64, size=3 + len(sizes))
        numbers = (c.b.ptrtoint(p, I64) for p in (panels.pointer, x, z))
        for n, value in enumerate((*numbers, *(c.size(s) for s in sizes))):
            c.b.store(value, c.b.gep(arguments, [c.i64(n)], source_etype=I64))
        total = c.i64(-(-panels.columns // self.lane))
        if self.helped is None:
            self._alone(function, arguments, total)
            return
        helped = c.b.icmp_signed("!=", c.b.load(self.helped, typ=I64), c.i64(0))
        with c.b.if_else(c.b.and_(helped, self.large(panels, rows))) as (many, one):
            with many:
                c.b.call(self._pooled("share", [POINTER, POINTER, I64]), [function, arguments, total])
            with one:
                self._alone(function, arguments, total)

    def _alone(self, function: Value, arguments: Value, total: Value) -> None:
        with self.c.loop(self.c.i64(0), total) as p:
            self.c.b.call(function, [arguments, p])

    def large(self, panels: Panels, rows: Group) -> Value:
        """Whether a product is worth sharing."""
        c = self.c
        least = -(-ENOUGH // (panels.deep * panels.columns))
        shared = ir.Constant(ir.IntType(1), int(panels.columns // self.lane < CHUNKS))
        return c.b.and_(shared, c.b.icmp_signed(">=", c.size(rows.extent), c.i64(least)))

    def wake(self, wanted: Value) -> None:
        """Ask for helpers before a loop, where one of its products is large."""
        c = self.c
        if self.helpers:
            self.helped = c.slot(I64)
            c.b.store(c.i64(0), self.helped)
            with c.when(wanted):
                c.b.store(c.b.call(self._pooled("begin", [I64], I64), [c.i64(self.helpers)]), self.helped)

    def rest(self) -> None:
        """Let them sleep after it."""
        c = self.c
        if self.helped is not None:
            with c.when(c.b.icmp_signed("!=", c.b.load(self.helped, typ=I64), c.i64(0))):
                c.b.call(self._pooled("end", []), [])
            self.helped = None

    def _pooled(self, name: str, kinds: list[Any], result: Any = None) -> Value:
        found = self.c.module.globals.get(f"unroll_pool_{name}")
        if found is None:
            kind = ir.FunctionType(result or ir.VoidType(), kinds)
            found = ir.Function(self.c.module, kind, f"unroll_pool_{name}")
        return found

    def _function(self, panels: Panels, sizes: tuple[Size, ...], adds: bool) -> Value:
        """The function that multiplies all rows by one panel, row blocks of each size in turn."""
        c = self.c
        full, rest = divmod(panels.columns, self.lane)
        self._count += 1
        with c.aside(f"product_{self._count}") as function:
            table, p = function.args

            def argument(n: int, kind: Any) -> Value:
                return c.b.load(c.b.gep(table, [c.i64(n)], source_etype=I64), typ=kind)

            base, x, z = (argument(n, POINTER) for n in range(3))
            total, left, out, step = (c.i64(s.factor) if s.known else argument(3 + n, I64) for n, s in enumerate(sizes))
            place = _Place(
                c.moved(base, "float", c.b.mul(p, c.i64(self.lane * panels.deep))),
                c.b.mul(p, c.i64(self.lane)), x, z, left, out, step, panels.deep, adds,
            )  # fmt: skip
            if full and rest:
                with c.b.if_else(c.b.icmp_signed("<", p, c.i64(full))) as (whole, part):
                    with whole:
                        self._panel(place, total, self.lane)
                    with part:
                        self._panel(place, total, rest)
            else:
                self._panel(place, total, rest or self.lane)
        return function

    def _panel(self, place: _Place, total: Value, width: int) -> None:
        c = self.c
        start = c.i64(0)
        for block in self.blocks:
            stop = total if block == 1 else c.b.sub(total, c.b.srem(c.b.sub(total, start), c.i64(block)))
            with c.loop(start, stop, block) as i:
                left = [c.moved(place.x, "float", c.b.mul(c.b.add(i, c.i64(r)), place.left)) for r in range(block)]
                sums = self._sums(block, place.base, left, place.deep, place.step)
                for r in range(block):
                    at = c.b.add(c.b.mul(c.b.add(i, c.i64(r)), place.out), place.column)
                    self._put(sums[r], c.moved(place.z, "float", at), width, place.adds)
            start = stop

    def _sums(self, block: int, base: Value, left: list[Value], deep: int, step: Value) -> list[list[Value]]:
        """The products of a block of rows with a panel, one vector of sums each."""
        c = self.c
        kind = c.type("float", c.width)
        unrolled = UNROLLED if block == 1 else 1
        slots = [
            [[c.slot(kind) for _ in range(VECTORS)] for _ in range(block)] for _ in range(unrolled)
        ]  # fmt: skip
        for row in (s for part in slots for s in part):
            for slot in row:
                c.b.store(c.constant("float", 0, c.width), slot)

        def multiply(k: Value, part: int) -> None:
            line = c.moved(base, "float", c.b.mul(k, c.i64(self.lane)))
            panel = [c.load(c.moved(line, "float", c.i64(v * c.width)), "float", c.width) for v in range(VECTORS)]
            for r in range(block):
                one = c.load(c.moved(left[r], "float", c.b.mul(k, step)), "float")
                spread = c.splat(one, c.width)
                for v in range(VECTORS):
                    slot = slots[part][r][v]
                    c.b.store(fma(c, spread, panel[v], c.b.load(slot, typ=kind)), slot)

        whole = deep - deep % unrolled
        with c.loop(c.i64(0), c.i64(whole), unrolled) as k:
            for part in range(unrolled):
                multiply(c.b.add(k, c.i64(part)), part)
        for k in range(whole, deep):
            multiply(c.i64(k), 0)
        result = []
        for r in range(block):
            row = []
            for v in range(VECTORS):
                values = [c.b.load(slots[part][r][v], typ=kind) for part in range(unrolled)]
                while len(values) > 1:
                    values = [c.b.fadd(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
                row.append(values[0])
            result.append(row)
        return result

    def _put(self, sums: list[Value], pointer: Value, width: int, adds: bool) -> None:
        """A row of sums into memory; of a narrow panel, element by element."""
        c = self.c
        for v, value in enumerate(sums):
            left = width - v * c.width
            at = c.moved(pointer, "float", c.i64(v * c.width))
            if left >= c.width:
                if adds:
                    value = c.b.fadd(c.load(at, "float", c.width), value)
                c.store(value, at, "float", c.width)
                continue
            for lane in range(max(left, 0)):
                one = c.b.extract_element(value, ir.Constant(ir.IntType(32), lane))
                there = c.moved(at, "float", c.i64(lane))
                if adds:
                    one = c.b.fadd(c.load(there, "float"), one)
                c.store(one, there, "float")


def fma(c: Code, x: Value, y: Value, z: Value) -> Any:
    """``x * y + z``, rounded once."""
    kind = x.type
    name = f"llvm.fma.v{kind.count}{kind.element.intrinsic_name}"
    function = c.module.globals.get(name)
    if function is None:
        function = ir.Function(c.module, ir.FunctionType(kind, [kind] * 3), name)
    return c.b.call(function, [x, y, z])
