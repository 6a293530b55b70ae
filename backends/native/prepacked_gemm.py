"""Prepacked GEMM: a loop-invariant matrix is packed once before the loop, in shares that stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.gemm_grouping import Group
from ..common.memory_layout import ALIGNED
from ..common.symbolic_size import Size
from . import runtime_library, tuning
from .ir_builder import Code
from .llvm_ir import FALSE, I64, POINTER, TRUE, Value
from .packing import multiply, occurring, pack, parted, table
from .tasks import Task, TaskBuilder


@dataclass(frozen=True)
class Panels:
    """A packed matrix: the name of its memory, its inner size and its columns."""

    host: str
    deep: int
    columns: int


class Packer:
    """Packs matrices and multiplies by them: each share has the same panels at every step, close to its core."""

    def __init__(self, code: Code, sharing: TaskBuilder) -> None:
        self.c, self.sharing = code, sharing
        self.shares = sharing.helpers + 1

    def elements(self, deep: int, columns: int) -> int:
        """Memory that a packed matrix needs: the panels, and a line for each share."""
        panels = -(-columns // self.c.width) * self.c.width * deep
        return panels + self.shares * ALIGNED // self.c.bytes["float"]

    def pack(self, host: str, into: Value, matrix: Value, deep: Group, columns: Group) -> Panels:
        """Copy a matrix into panels."""
        c, panels = self.c, Panels(host, deep.extent.factor, columns.extent.factor)
        sizes: tuple[Size | Value, ...] = (columns.right, deep.right, columns.extent, deep.extent, c.i64(self.shares))
        large = TRUE if panels.deep * panels.columns >= tuning.MIN_ELEMENTS_PARALLEL_PACKING else FALSE
        self.sharing.call(share_of_packing(c), (into, matrix), sizes, c.i64(self.shares), large)
        return panels

    def product(self, panels: Panels, pointer: Value, rows: Group, deep: Group, x: Value, z: Value, adds: bool) -> None:
        """``z (+)= x @ matrix``."""
        c = self.c
        elements = panels.deep * panels.columns
        least = self.sharing.worth(-(-tuning.MIN_FLOPS_PER_TASK // elements))
        far = elements * c.bytes["float"] > tuning.MIN_BYTES_ALONE
        large = TRUE if far else c.b.icmp_signed(">=", c.size(rows.extent), least)
        total = -(-panels.columns // c.width)
        strips = table(c, occurring(panels.columns, c.width, parted(total, self.shares)))
        numbers = (panels.columns, panels.deep, self.shares, int(adds))
        sizes: list[Size | Value] = [rows.left, deep.left, rows.out, rows.extent, *(c.i64(n) for n in numbers)]
        self.sharing.call(share_of_packed(c), (strips, pointer, x, z), sizes, c.i64(self.shares), large)


def share_of_packing(c: Code) -> Value:
    """A share of the packing of any matrix, as a function."""
    return runtime_library.function(c, "share_of_packing", [POINTER, I64], _pack)


def share_of_packed(c: Code) -> Value:
    """A share of a product with any packed matrix, as a function."""
    return runtime_library.function(c, "share_of_packed", [POINTER, I64], _multiply)


def _part(task: Task, columns: Value, shares: Value) -> tuple[Value, Value]:
    """The vectors of a share: the first, and past the last."""
    c = task.c
    total = c.b.sdiv(c.b.add(columns, c.i64(c.width - 1)), c.i64(c.width))
    each = c.b.sdiv(c.b.add(total, c.b.sub(shares, c.i64(1))), shares)
    first = c.least(c.b.mul(task.share, each), total)
    return first, c.least(c.b.add(first, each), total)


def _pack(c: Code, args: Sequence[Value]) -> None:
    task = Task(c, args, 2, [None] * 5)
    into, matrix = task.pointers
    step, along, columns, deep, shares = task.sizes
    first, past = _part(task, columns, shares)
    address = c.moved(into, "float", c.b.mul(c.b.mul(first, c.i64(c.width)), deep))
    pack(c, [address, matrix, step, along, columns, deep, first, past])
    _turn(task, into, columns, deep, c.i64(0))


def _turn(task: Task, panels: Value, columns: Value, deep: Value, value: Value | None = None) -> Value:
    """Where a share has noted, behind the panels, which way it goes; with a value, note that.

    Threads that work on examples of their own use the same shares, and any of them may go either way.
    """
    c = task.c
    lanes = c.i64(c.width)
    size = c.b.mul(c.b.mul(c.b.sdiv(c.b.add(columns, c.i64(c.width - 1)), lanes), lanes), deep)
    line = c.b.mul(task.share, c.i64(ALIGNED // c.bytes["float"]))
    address = c.moved(panels, "float", c.b.add(size, line))
    if value is not None:
        c.b.put(f"store atomic {value}, ptr {address.text} monotonic, align 8")
        return value
    return c.b.made(I64, f"load atomic i64, ptr {address.text} monotonic, align 8")


def _multiply(c: Code, args: Sequence[Value]) -> None:
    task = Task(c, args, 4, [None] * 8)
    strips, packed, x, z = task.pointers
    across, along, down, rows, columns, deep, shares, adds = task.sizes
    first, past = _part(task, columns, shares)
    step = c.b.mul(c.i64(c.width), deep)
    panels = [c.moved(packed, "float", c.b.mul(first, step)), step, c.i64(0)]
    added = c.b.icmp_signed("!=", adds, c.i64(0))
    large = c.b.icmp_signed(">", c.b.mul(columns, deep), c.i64(tuning.MIN_BYTES_BACKWARDS // c.bytes["float"]))
    way = c.slot(I64)
    c.b.store(c.i64(0), way)
    with c.when(c.b.and_(large, c.b.icmp_signed("<=", rows, c.i64(tuning.MAX_M_UNPACKED)))):
        # What is read last is still in the cache: a matrix that does not fit is read from both ends by turns.
        c.b.store(_turn(task, packed, columns, deep), way)
        _turn(task, packed, columns, deep, c.b.xor(c.b.load(way, I64), c.i64(1)))
    backwards = c.b.icmp_signed("!=", c.b.load(way, I64), c.i64(0))
    multiply(c, [strips, *panels, x, across, along, z, down, rows, columns, deep, first, past, added, backwards])
