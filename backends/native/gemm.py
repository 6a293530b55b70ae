"""Blocked GEMM: blocks that fit the caches, both operands packed block by block.

The order of the loops is Goto and van de Geijn's (2008), but for where the blocks lie: those of the right operand in
the second-level cache, since rows are few as often as many.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..common.gemm_grouping import Group
from ..common.symbolic_size import ONE, Size
from . import runtime_library, tuning
from .ir_builder import Code
from .llvm_ir import FALSE, I64, POINTER, Value
from .packing import copy, every, multiply, occurring, pack, parted, table
from .tasks import Task, TaskBuilder


class Gemm:
    """Writes products; a share has rows of its own, or columns where rows are few."""

    def __init__(self, code: Code, sharing: TaskBuilder) -> None:
        self.c, self.sharing = code, sharing

    def room(self, rows: Group, columns: Group, deep: Group) -> int:
        """Elements of memory that a product needs for its blocks."""
        if columns.right == ONE and rows.extent.known and rows.extent.factor <= tuning.MAX_M_UNPACKED:
            return 0
        k = _most(deep.extent, tuning.BLOCK_K_BYTES // self.c.bytes["float"])
        n = -(-_most(columns.extent, tuning.BLOCK_N_VECTORS * self.c.width) // self.c.width) * self.c.width
        return (k * n + k * tuning.BLOCK_M_ROWS) * (self.sharing.helpers + 1)

    def product(
        self, rows: Group, columns: Group, deep: Group, x: Value, y: Value, z: Value, room: Value | None, adds: bool
    ) -> None:
        """``z (+)= x @ y``, columns of z side by side; zeros where nothing is summed."""
        c, parts = self.c, self.sharing.parts
        total = c.b.mul(c.size(rows.extent), c.b.mul(c.size(columns.extent), c.size(deep.extent)))
        large = c.b.icmp_signed(">=", total, self.sharing.worth(tuning.MIN_FLOPS_PER_TASK))
        sizes = (
            rows.extent, columns.extent, deep.extent, rows.left, deep.left, columns.right, deep.right, rows.out,
            parts, self.sharing.outer, c.i64(int(adds)),
        )  # fmt: skip
        strips = table(c, self._kinds(columns.extent))
        self.sharing.call(share_of_product(c), (x, y, z, z if room is None else room, strips), sizes, parts, large)

    def _kinds(self, columns: Size) -> set[tuple[int, bool]]:
        """The panels that can occur, in one share or several."""
        if not columns.known:
            return every()
        total = -(-columns.factor // self.c.width)
        shares = [r for n in range(1, self.sharing.helpers + 2) for r in parted(total, n)]
        blocks = [
            (a, min(a + tuning.BLOCK_N_VECTORS, past))
            for start, past in shares
            for a in range(start, past, tuning.BLOCK_N_VECTORS)
        ]
        return occurring(columns.factor, self.c.width, [*shares, *blocks])


def share_of_product(c: Code) -> Value:
    """A share of a product of any size, as a function."""
    return runtime_library.function(c, "share_of_product", [POINTER, I64], lambda c, args: _Share(c, args).write())


def _most(size: Size, limit: int) -> int:
    return min(max(size.factor, 1), limit) if size.known else limit


Ends = tuple[Value, Value]
Panels = tuple[Value, Value, Value]
"""Where they lie, and the elements from one vector and from one row to the next."""


class _Share:
    """The code of one share of a product of any size."""

    def __init__(self, code: Code, args: Sequence[Value]) -> None:
        self.c = c = code
        task = Task(c, args, 5, [None] * 11)
        self.x, self.y, self.z, room, self.strips = task.pointers
        self.m, self.n, self.k, self.across, self.along, self.step, self.apart, self.down = task.sizes[:8]
        parts, outer, adds = task.sizes[8:]
        self.adds = c.b.icmp_signed("!=", adds, c.i64(0))
        zero, lanes = c.i64(0), c.i64(c.width)
        self.vectors = c.b.sdiv(c.b.add(self.n, c.i64(c.width - 1)), lanes)
        by_rows = c.b.icmp_signed(">=", self.m, c.b.mul(parts, c.i64(tuning.MAX_M_UNPACKED)))
        rows, columns = self._part(task, parts, self.m, tuning.MAX_M_UNPACKED), self._part(task, parts, self.vectors, 1)
        self.rows = c.b.select(by_rows, rows[0], zero), c.b.select(by_rows, rows[1], self.m)
        self.columns = c.b.select(by_rows, zero, columns[0]), c.b.select(by_rows, self.vectors, columns[1])
        self.block = tuning.BLOCK_K_BYTES // c.bytes["float"]
        depth = c.least(self.k, c.i64(self.block))
        widest = c.b.mul(c.least(self.vectors, c.i64(tuning.BLOCK_N_VECTORS)), lanes)
        size = c.b.mul(depth, c.b.add(widest, c.i64(tuning.BLOCK_M_ROWS)))
        self.panels = c.moved(room, "float", c.b.mul(c.b.add(outer, task.share), size))
        self.lines = c.moved(self.panels, "float", c.b.mul(depth, widest))

    def _part(self, task: Task, parts: Value, total: Value, unit: int) -> tuple[Value, Value]:
        """Where the share starts and ends."""
        c = self.c
        units = c.b.mul(parts, c.i64(unit))
        each = c.b.mul(c.b.sdiv(c.b.add(total, c.b.sub(units, c.i64(1))), units), c.i64(unit))
        start = c.least(c.b.mul(task.share, each), total)
        return start, c.least(c.b.add(start, each), total)

    def write(self) -> None:
        """All blocks of the share."""
        c = self.c
        few = c.b.icmp_signed("<=", self.m, c.i64(tuning.MAX_M_UNPACKED))
        beside = c.b.icmp_signed("==", self.step, c.i64(1))
        first, past = self.columns
        with c.b.if_else(c.b.and_(few, beside)) as (direct, packed):
            with direct:
                panels = c.moved(self.y, "float", c.b.mul(first, c.i64(c.width)))
                some = c.b.select(c.b.icmp_signed(">", self.k, c.i64(0)), self.k, c.i64(1))  # zeros are written too
                with c.loop(c.i64(0), some, tuning.MAX_K_UNPACKED, long=True) as k:
                    address = c.moved(panels, "float", c.b.mul(k, self.apart))
                    count = c.least(c.i64(tuning.MAX_K_UNPACKED), c.b.sub(self.k, k))
                    self._rows((address, c.i64(c.width), self.apart), (first, past), self.rows, k, count)
            with packed:
                some = c.b.select(c.b.icmp_signed(">", self.k, c.i64(0)), self.k, c.i64(1))  # zeros are written too
                with (
                    c.loop(first, past, tuning.BLOCK_N_VECTORS) as j,
                    c.loop(c.i64(0), some, self.block, long=True) as k,
                ):
                    end = c.least(c.b.add(j, c.i64(tuning.BLOCK_N_VECTORS)), past)
                    count = c.least(c.i64(self.block), c.b.sub(self.k, k))
                    source = c.moved(self.y, "float", c.b.mul(k, self.apart))
                    pack(c, [self.panels, source, self.step, self.apart, self.n, count, j, end])
                    packs = self.panels, c.b.mul(c.i64(c.width), count), c.i64(0)
                    with c.loop(*self.rows, tuning.BLOCK_M_ROWS, long=True) as i:
                        stop = c.least(c.b.add(i, c.i64(tuning.BLOCK_M_ROWS)), self.rows[1])
                        self._turned(packs, (j, end), (i, stop), k, count)

    def _turned(self, panels: Panels, columns: Ends, rows: Ends, k: Value, count: Value) -> None:
        """A block of rows; copied first where they lie the other way, so that what is read next would lie far away."""
        c = self.c
        beside, whole = c.b.icmp_signed("==", self.across, c.i64(1)), c.b.icmp_signed("!=", self.along, c.i64(1))
        with c.b.if_else(c.b.and_(beside, whole)) as (turned, plain):
            with turned:
                start, stop = rows
                x = c.moved(self.x, "float", c.b.add(start, c.b.mul(k, self.along)))
                copy(c, [self.lines, c.i64(tuning.BLOCK_M_ROWS), x, c.b.sub(stop, start), c.i64(1), count, self.along])
                self._rows(panels, columns, rows, k, count, self.lines)
            with plain:
                self._rows(panels, columns, rows, k, count)

    def _rows(
        self, panels: Panels, columns: Ends, rows: Ends, k: Value, count: Value, lines: Value | None = None
    ) -> None:
        """Rows by panels, or, where they were copied, `lines`."""
        c = self.c
        start, stop = rows
        if lines is None:
            x = c.moved(self.x, "float", c.b.add(c.b.mul(start, self.across), c.b.mul(k, self.along)))
            across, along = self.across, self.along
        else:
            x, across, along = lines, c.i64(1), c.i64(tuning.BLOCK_M_ROWS)
        z = c.moved(self.z, "float", c.b.mul(start, self.down))
        adds = c.b.or_(self.adds, c.b.icmp_signed(">", k, c.i64(0)))
        left = [x, across, along, z, self.down, c.b.sub(stop, start), self.n, count]
        multiply(c, [self.strips, *panels, *left, *columns, adds, FALSE])
