"""Products: which are products of matrices, packed before a loop or block by block, and loop nests for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...compiler.program import Access, Compute
from ..common.gemm_grouping import NOTHING, grouped
from ..common.symbolic_size import ONE, ZERO, Size
from ..numpy.kernels import letters
from . import tuning
from .gemm import Gemm, share_of_product
from .ir_builder import Code, Dims, Point, Strided
from .loop_nest import Statements, Where, keys
from .microkernel import strip
from .pointwise import Typed
from .prepacked_gemm import Packer, Panels, share_of_packed, share_of_packing
from .sums import long, reduced, region
from .tasks import TaskBuilder


class Products:
    """Writes contractions of two operands.

    room  gives memory for so many elements during a step of the program, by the name of its host
    """

    def __init__(self, statements: Statements, sharing: TaskBuilder, room: Callable[[int], str]) -> None:
        self.s, self.m, self.c, self.room = statements, statements.m, statements.c, room
        self.gemm = Gemm(self.c, sharing)
        self.packer = Packer(self.c, sharing)
        self.packed: dict[int, tuple[Panels, bool]] = {}

    def prepare(self, step: Compute, where: Where, steady: Sequence[bool]) -> None:
        """Pack what stays the same in the loops around a product, `steady` of its operands."""
        left, right, out, dims = self.operands(step, where)
        plan = grouped(dims, left.along, right.along, out.along)
        if plan is None or step.equation.combine == "max":
            return
        _, rows, columns, deep = plan
        turned = not steady[1]
        if turned:
            rows, columns, deep = columns.turned(), rows.turned(), deep.turned()
        if not steady[0 if turned else 1] or not columns.extent.known or not deep.extent.known:
            return
        if columns is NOTHING or columns.out != ONE:
            return
        if deep.extent.factor * columns.extent.factor < tuning.MIN_ELEMENTS_PACKING:
            return
        matrix = left.pointer if turned else right.pointer
        host = self.room(self.packer.elements(deep.extent.factor, columns.extent.factor))
        panels = self.packer.pack(host, self.m.pointers[host], matrix, deep, columns)
        self.packed[id(step)] = panels, turned

    def operands(self, step: Compute, where: Where) -> tuple[Strided, Strided, Strided, Dims]:
        """Both operands and the left-hand side along the letters of a product, and its dimensions."""
        e = step.equation
        a, b = (self.m.operand(x, where) for x in step.args if isinstance(x, Access))
        target = self.s.left(step, where)
        named = letters(e.op, [len(a.shape), len(b.shape)], dict(e.attrs))
        la, lb, lo = ([f"*{x}" for x in part] for part in named)
        sizes = dict(zip((*la, *lb), (*a.shape, *b.shape), strict=True))
        left = Strided(a.pointer, {**a.lead, **dict(zip(la, a.steps, strict=True))}, a.kind)
        right = Strided(b.pointer, {**b.lead, **dict(zip(lb, b.steps, strict=True))}, b.kind)
        out = Strided(target.pointer, {**target.lead, **dict(zip(lo, target.steps, strict=True))}, target.kind)
        inner = [x for x in la if x not in lo]  # every letter stands in two places
        dims = [*where.dims, *((x, Size(sizes[x])) for x in (*lo, *inner))]
        return left, right, out, [(key, n) for key, n in dims if n != ONE]

    def write(self, step: Compute, where: Where) -> None:
        """``out (+)= sum of a * b``."""
        e = step.equation
        adds = step.mode == "add"
        left, right, out, dims = self.operands(step, where)
        inner = [key for key, _ in dims if isinstance(key, str) and key.startswith("*") and out.along(key) == ZERO]
        plan = grouped(dims, left.along, right.along, out.along)
        if plan is None or e.combine == "max":
            target, adds = self.s.target(step, where)
            if inner and not adds:
                self.s.fill(target, where, 0)

            def value(point: Point, operands: Sequence[Strided]) -> Typed:
                x, y = (self.c.value(operands, point, n) for n in (0, 1))
                return self.c.b.fmul(x, y), "float"

            self.s.map(dims, [left, right], out, value, self.s.combine(step) if adds or inner else None)
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
            rows, columns, deep = columns.turned(), rows.turned(), deep.turned()
        packed = 0 if panels else self.gemm.room(rows, columns, deep)
        room = self.m.pointers[self.room(packed)] if packed else None

        def at(point: Point) -> None:
            x, y, z = point.pointers
            if turn:
                x, y = y, x
            if panels:
                self.packer.product(panels, self.m.pointers[panels.host], rows, deep, x, z, adds or again)
            else:
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
