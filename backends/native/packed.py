"""Products with a matrix that does not change in a loop: packed once before it, multiplied in blocks of registers.

The matrix lies in panels of two vectors' width, every panel one row of the inner dimension after another; a block of
rows of the other operand meets a panel with all its sums in registers (Goto and van de Geijn 2008, with the packing
taken out of the loop).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .code import Code, Value
from .gemm import Group
from .sharing import ENOUGH, Job, Sharing

VECTORS = 2
"""Vectors side by side in a panel."""
UNROLLED = 4
"""Steps of the inner dimension at once where a single row leaves registers free."""


@dataclass(frozen=True)
class Panels:
    """A packed matrix: where it lies, its inner size and its columns."""

    pointer: Value
    deep: int
    columns: int


class Packer:
    """Packs matrices and multiplies by them."""

    def __init__(self, code: Code, registers: int, sharing: Sharing) -> None:
        self.c, self.sharing = code, sharing
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
        """``z (+)= x @ matrix``; each share the same panels at every step, so that they stay in its core's cache."""
        c = self.c
        full, rest = divmod(panels.columns, self.lane)
        least = -(-ENOUGH // (panels.deep * panels.columns))
        large = c.b.icmp_signed(">=", c.size(rows.extent), c.i64(least))

        panels_each = -(-(full + bool(rest)) // (self.sharing.helpers + 1))

        def write(job: Job) -> None:
            first = c.b.mul(job.share, c.i64(panels_each))
            past = c.b.add(first, c.i64(panels_each))
            whole = c.b.select(c.b.icmp_signed("<", past, c.i64(full)), past, c.i64(full))
            if full:
                with c.loop(first, whole) as p:
                    self._panel(panels, job, p, self.lane, adds)
            if rest:
                here = c.b.and_(c.b.icmp_signed("<=", first, c.i64(full)), c.b.icmp_signed(">", past, c.i64(full)))
                with c.when(here):
                    self._panel(panels, job, c.i64(full), rest, adds)

        sizes = (rows.extent, rows.left, rows.out, deep.left)
        shares = c.i64(self.sharing.helpers + 1)
        self.sharing.run((panels.pointer, x, z), sizes, shares, large, write)

    def _panel(self, panels: Panels, job: Job, p: Value, width: int, adds: bool) -> None:
        """All rows by one panel, in blocks of each size in turn."""
        c = self.c
        base, x, z = job.pointers
        total, across, down, along = job.sizes
        base = c.moved(base, "float", c.b.mul(p, c.i64(self.lane * panels.deep)))
        column = c.b.mul(p, c.i64(self.lane))
        start = c.i64(0)
        for block in self.blocks:
            stop = total if block == 1 else c.b.sub(total, c.b.srem(c.b.sub(total, start), c.i64(block)))
            with c.loop(start, stop, block) as i:
                left = [c.moved(x, "float", c.b.mul(c.b.add(i, c.i64(r)), across)) for r in range(block)]
                sums = self._sums(block, base, left, panels.deep, along)
                for r in range(block):
                    at = c.b.add(c.b.mul(c.b.add(i, c.i64(r)), down), column)
                    self._put(sums[r], c.moved(z, "float", at), width, adds)
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
