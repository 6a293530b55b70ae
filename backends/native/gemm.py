"""Products of matrices of any size: in blocks that fit the caches, both operands packed block by block.

The order of the loops is Goto and van de Geijn's (2008), but for where the blocks lie: those of the right operand in
the second-level cache, since rows are few as often as many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .code import I1, Code, Value
from .group import Group
from .sharing import ENOUGH, Job, Sharing
from .sizes import ONE, Size
from .tiles import Tiles, every, occurring, parted

DEEP = 1024
"""Bytes of a block along the inner dimension."""
VECTORS = 36
"""Vectors of columns in a block: whole panels of three, of two, and both."""
ROWS = 64
"""Rows in a block."""
Write = Callable[[Value, int, bool], None]
FEW = 8
"""Rows for which packing the other operand is not worth while."""


class Gemm:
    """Writes products; a share has rows of its own, or columns where rows are few."""

    def __init__(self, code: Code, tiles: Tiles, sharing: Sharing) -> None:
        self.c, self.tiles, self.sharing = code, tiles, sharing
        self.deep = DEEP // code.bytes["float"]

    def room(self, rows: Group, columns: Group, deep: Group) -> int:
        """Elements of memory that a product needs for its blocks."""
        if _direct(rows, columns):
            return 0
        k = _most(deep.extent, self.deep)
        n = -(-_most(columns.extent, VECTORS * self.c.width) // self.c.width) * self.c.width
        return (k * n + k * ROWS) * (self.sharing.helpers + 1)

    def product(
        self, rows: Group, columns: Group, deep: Group, x: Value, y: Value, z: Value, room: Value, adds: bool
    ) -> None:
        """``z (+)= x @ y``, columns of z side by side; zeros where nothing is summed."""
        c = self.c
        total = c.b.mul(c.size(rows.extent), c.b.mul(c.size(columns.extent), c.size(deep.extent)))
        large = c.b.icmp_signed(">=", total, c.i64(ENOUGH))
        shape = _Shape(rows, columns, deep)

        def write(job: Job) -> None:
            _Share(self, shape, job, adds).write()

        sizes = (
            rows.extent, columns.extent, deep.extent, rows.left, deep.left, columns.right, deep.right, rows.out,
            self.sharing.parts, self.sharing.outer,
        )  # fmt: skip
        pointers = (x, y, z) if room is None else (x, y, z, room)
        self.sharing.run(pointers, sizes, self.sharing.parts, large, write)


def _direct(rows: Group, columns: Group) -> bool:
    return columns.right == ONE and rows.extent.known and rows.extent.factor <= FEW


def _most(size: Size, limit: int) -> int:
    return min(max(size.factor, 1), limit) if size.known else limit


@dataclass(frozen=True)
class _Shape:
    rows: Group
    columns: Group
    deep: Group


class _Share:
    """The code of one share of a product."""

    def __init__(self, gemm: Gemm, shape: _Shape, job: Job, adds: bool) -> None:
        self.gemm, self.c, self.tiles, self.shape, self.adds = gemm, gemm.c, gemm.tiles, shape, adds
        self.x, self.y, self.z, *rooms = job.pointers
        self.m, self.n, self.k, self.across, self.along, self.step, self.apart, self.down, parts, outer = job.sizes
        c = self.c
        lanes = c.i64(c.width)
        self.vectors = c.b.sdiv(c.b.add(self.n, c.i64(c.width - 1)), lanes)
        self.final = c.b.sub(self.vectors, c.i64(1))
        self.left = c.b.sub(self.n, c.b.mul(self.final, lanes))
        zero, shares = c.i64(0), gemm.sharing.helpers + 1
        by_rows = not shape.rows.extent.known or shape.rows.extent.factor >= FEW * shares
        if by_rows:
            self.rows, self.columns = self._part(job, parts, self.m, FEW), (zero, self.vectors)
        else:
            self.rows, self.columns = (zero, self.m), self._part(job, parts, self.vectors, 1)
        total = -(-shape.columns.extent.factor // c.width)
        self.ranges = [(0, total)] if by_rows else [r for s in range(1, shares + 1) for r in parted(total, s)]
        if rooms:
            self.block = _most(shape.deep.extent, gemm.deep)
            most = -(-_most(shape.columns.extent, VECTORS * c.width) // c.width) * c.width
            own = c.moved(rooms[0], "float", c.b.mul(c.b.add(outer, job.share), c.i64(self.block * (most + ROWS))))
            self.panels, self.lines = own, c.moved(own, "float", c.i64(self.block * most))

    def _part(self, job: Job, parts: Value, total: Value, unit: int) -> tuple[Value, Value]:
        """Where the share starts and ends."""
        c = self.c
        units = c.b.mul(parts, c.i64(unit))
        each = c.b.mul(c.b.sdiv(c.b.add(total, c.b.sub(units, c.i64(1))), units), c.i64(unit))
        start = c.least(c.b.mul(job.share, each), total)
        return start, c.least(c.b.add(start, each), total)

    def write(self) -> None:
        """All blocks of the share."""
        c, shape = self.c, self.shape
        if _direct(shape.rows, shape.columns):
            first, past = self.columns
            self._strips(first, past, self.rows, c.i64(0), self.k, None, self.ranges)
            return
        first, past = self.columns
        blocks = [(a, min(a + VECTORS, stop)) for start, stop in self.ranges for a in range(start, stop, VECTORS)]
        some = c.b.select(c.b.icmp_signed(">", self.k, c.i64(0)), self.k, c.i64(1))  # zeros are written too
        with c.loop(first, past, VECTORS) as j, c.loop(c.i64(0), some, self.block) as k:
            end = c.least(c.b.add(j, c.i64(VECTORS)), past)
            count = c.least(c.i64(self.block), c.b.sub(self.k, k))
            self._pack(j, end, k, count, blocks)
            with c.loop(*self.rows, ROWS) as i:
                stop = c.least(c.b.add(i, c.i64(ROWS)), self.rows[1])
                self._strips(j, end, (i, stop), k, count, self.panels, blocks)

    def _pack(self, first: Value, past: Value, k: Value, count: Value, blocks: list[tuple[int, int]]) -> None:
        """A block of the right operand into panels."""
        c = self.c

        def copy(v: Value, vectors: int, cut: bool) -> None:
            lane = c.i64(vectors * c.width)
            column = c.b.mul(c.b.add(first, v), c.i64(c.width))
            width = c.b.sub(self.n, column) if cut else lane
            place = c.moved(self.panels, "float", c.b.mul(c.b.mul(v, c.i64(c.width)), count))
            source = c.b.add(c.b.mul(column, self.step), c.b.mul(k, self.apart))
            source = c.moved(self.y, "float", source)
            beside = self.shape.columns.right == ONE
            self.tiles.pack(place, lane, source, width, self.step, count, self.apart, beside)

        self._panels(first, past, blocks, copy)

    def _strips(
        self,
        first: Value,
        past: Value,
        rows: tuple[Value, Value],
        k: Value,
        count: Value,
        panels: Value,
        blocks: list[tuple[int, int]],
    ) -> None:
        """Rows by the panels of a block, packed or, where `panels` is None, as they lie."""
        c = self.c
        start, stop = rows
        across, along = self.across, self.along
        number = c.b.sub(stop, start)
        x = c.moved(self.x, "float", c.b.add(c.b.mul(start, across), c.b.mul(k, along)))
        if panels is not None and self.shape.rows.left == ONE and self.shape.deep.left != ONE:
            lane = c.i64(ROWS)
            self.tiles.pack(self.lines, lane, x, number, c.i64(1), count, along, True)
            x, across, along = self.lines, c.i64(1), lane
        adds = I1(1) if self.adds else c.b.icmp_signed(">", k, c.i64(0))

        def multiply(v: Value, vectors: int, cut: bool) -> None:
            column = c.b.mul(c.b.add(first, v), c.i64(c.width))
            if panels is None:
                base, apart = c.moved(self.y, "float", column), self.apart
            else:
                base, apart = c.moved(panels, "float", c.b.mul(c.b.mul(v, c.i64(c.width)), count)), None
            apart = c.i64(vectors * c.width) if apart is None else apart
            place = c.moved(self.z, "float", c.b.add(c.b.mul(start, self.down), column))
            args = [base, apart, x, across, along, place, self.down, number, count, self.left, adds]
            c.b.call(self.tiles.strip(vectors, cut), args)

        self._panels(first, past, blocks, multiply)

    def _panels(self, first: Value, past: Value, blocks: list[tuple[int, int]], write: Write) -> None:
        c = self.c
        extent = self.shape.columns.extent
        known = occurring(extent.factor, c.width, blocks) if extent.known else every()
        self.tiles.panels(c.b.sub(past, first), c.b.sub(self.final, first), write, known)
