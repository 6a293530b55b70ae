"""Products: which are products of matrices, packed before a loop or block by block, and loop nests for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...compiler.statements import Access, Compute
from ..common.contraction import Contraction, contraction
from ..common.gemm_grouping import NOTHING, transposed
from ..common.symbolic_size import ONE
from . import tuning
from .gemm import Gemm, share_of_product
from .ir_builder import Code, Point, Strided
from .loop_nest import Statements, Where, keys
from .microkernel import strip
from .nest_printer import Nests
from .prepacked_gemm import Packer, Panels, share_of_packed, share_of_packing
from .sums import long, reduced, region
from .tasks import TaskBuilder


class Products:
    """Writes contractions of two operands.

    room  gives memory for so many elements during a step of the program, by the name of its host
    """

    def __init__(self, statements: Statements, nests: Nests, sharing: TaskBuilder, room: Callable[[int], str]) -> None:
        self.nests, self.s, self.m, self.c, self.room = nests, statements, statements.m, statements.c, room
        self.gemm = Gemm(self.c, sharing)
        self.packer = Packer(self.c, sharing)
        self.packed: dict[int, tuple[Panels, bool]] = {}

    def prepare(self, step: Compute, where: Where, invariant: Sequence[bool]) -> None:
        """Pack what stays the same in the loops around a product, `invariant` of its operands."""
        product, left, right, _ = self.operands(step, where)
        plan = product.matrices()
        if plan is None or step.equation.combine == "max":
            return
        _, rows, columns, deep = plan
        exchanged = not invariant[1]
        if exchanged:
            rows, columns, deep = transposed(rows, columns, deep)
        if not invariant[0 if exchanged else 1] or not columns.extent.known or not deep.extent.known:
            return
        if columns is NOTHING or columns.out != ONE:
            return
        if deep.extent.factor * columns.extent.factor < tuning.MIN_ELEMENTS_PACKING:
            return
        matrix = left.pointer if exchanged else right.pointer
        host = self.room(self.packer.elements(deep.extent.factor, columns.extent.factor))
        panels = self.packer.pack(host, self.m.pointers[host], matrix, deep, columns)
        self.packed[id(step)] = panels, exchanged

    def is_packed(self, step: Compute) -> bool:
        """Whether what stays the same in a product is packed."""
        return id(step) in self.packed

    def operands(self, step: Compute, where: Where) -> tuple[Contraction, Strided, Strided, Strided]:
        """A product, and both operands and the left-hand side along its dimensions."""
        a, b = (self.m.operand(x, where) for x in step.args if isinstance(x, Access))
        target = self.s.left(step, where)
        found = contraction(step, where.dims, a, b, target)
        left, right = Strided(a.pointer, found.left, a.kind), Strided(b.pointer, found.right, b.kind)
        return found, left, right, Strided(target.pointer, found.out, target.kind)

    def write(self, step: Compute, where: Where) -> None:
        """``out (+)= sum of a * b``."""
        e = step.equation
        adds = step.mode == "add"
        found, left, right, out = self.operands(step, where)
        dims = found.dims
        plan = found.matrices()
        if plan is None or e.combine == "max":
            self.nests.write(step, where)
            return
        loops, rows, columns, deep = plan
        met = reduced(loops, out)
        again = bool(met)
        if again and not adds:
            self.s.fill(self.s.left(step, where), where, 0)

        turn = columns.out != ONE
        panels = None
        if id(step) in self.packed:
            panels, turn = self.packed[id(step)]
        if turn:
            rows, columns, deep = transposed(rows, columns, deep)
        blocks = panels is None or not where.loops
        packed = self.gemm.room(rows, columns, deep) if blocks else 0
        room = self.m.pointers[self.room(packed)] if packed else None

        def at(point: Point) -> None:
            x, y, z = point.pointers
            if turn:
                x, y = y, x
            if panels is None:
                self.gemm.product(rows, columns, deep, x, y, z, room, adds or again)
                return
            by_panels = partial(
                self.packer.product, panels, self.m.pointers[panels.host], rows, deep, x, z, adds or again
            )
            if where.loops:
                by_panels()
                return
            few = self.c.b.icmp_signed("<=", self.c.size(rows.extent), self.c.i64(tuning.BLOCK_M_ROWS))
            with self.c.b.if_else(few) as (one_block, more):  # all steps at once: rows may be any number
                with one_block:
                    by_panels()
                with more:
                    self.gemm.product(rows, columns, deep, x, y, z, room, adds or again)

        operands, before = [left, right, out], keys(loops).index(met[0]) if met else len(loops)
        outer, several = loops[:before], loops[before:]
        elements = region([d for d in dims if d not in outer], out) if long(several, out) else None
        if elements is None:
            self.c.nest(loops, operands, at, False)
            return
        self.s.blocks.write(outer, several, operands, lambda dims, some: self.c.nest(dims, some, at, False), elements)


def anticipate(c: Code) -> None:
    """Write what nearly all programs with products want, into the library."""
    for share in (share_of_product, share_of_packing, share_of_packed):
        share(c)
    for vectors in (3, 2):
        strip(c, vectors, False)
