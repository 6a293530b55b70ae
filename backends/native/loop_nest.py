"""Loop nests: a statement as loops over its points, every operand read and written at its strides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from ...compiler.decompose import decomposed
from ...compiler.nests import Nest
from ...compiler.statements import Access, Argument, Compute
from ...ir.axes import Axis, Index, Range
from ...ir.system import Const
from ...records import record
from ..common.addressing import located
from ..common.memory_layout import Layout
from ..common.statement_queries import of_nothing
from ..common.symbolic_size import BATCH, EXAMPLES, ZERO, Dims, Key, Size, count, features
from . import tuning
from .ir_builder import Code, Point, Strided, can_be_wide, collapsed
from .llvm_ir import Value
from .pointwise import Typed, convert, larger, pointwise
from .sums import Blocks, long, reduced, region

Wide = Callable[[Dims, Sequence[Strided]], bool]


@record
class Combine:
    """How several values of one left-hand side join, and the number that changes nothing."""

    join: Callable[[Value, Value], Value]
    identity: float


def combining(c: Code, op: str, kind: str = "float") -> Combine:
    """How the "max" of several values is taken, or how they are added up."""
    if op == "max":
        return Combine(lambda x, y: larger(c, x, y), float("-inf"))
    return Combine(lambda x, y: pointwise(c, "add", [(x, kind), (y, kind)], kind)[0], 0)


class Partial:
    """The partial results of a reduction, one for each width of the vectors that cover what it runs along."""

    def __init__(self, code: Code, kind: str, widths: Sequence[int], combine: Combine) -> None:
        self.c, self.kind, self.combine = code, kind, combine
        self.slots = {width: code.slot(code.type(kind, width)) for width in widths}
        for width, slot in self.slots.items():
            code.b.store(code.constant(kind, combine.identity, width), slot)

    def join(self, value: Value, width: int) -> None:
        """One more value, or vector of values."""
        before = self.c.b.load(self.slots[width], self.c.type(self.kind, width))
        self.c.b.store(self.combine.join(before, value), self.slots[width])

    def take(self, other: Partial) -> None:
        """All that another has, which is left with nothing."""
        for width, slot in other.slots.items():
            self.join(self.c.b.load(slot, self.c.type(self.kind, width)), width)
            self.c.b.store(self.c.constant(self.kind, self.combine.identity, width), slot)

    def total(self) -> Value:
        """All together."""
        join, kinds = self.combine.join, {w: self.c.type(self.kind, w) for w in self.slots}
        return reduce(join, (self.c.total(self.c.b.load(s, kinds[w]), join) for w, s in self.slots.items()))


@record
class Operand:
    """A view of a name's memory where a statement reads it: strides by dimension, per-example axes in order."""

    pointer: Value
    kind: str
    lead: Mapping[Key, Size]
    shape: tuple[int, ...]
    steps: tuple[Size, ...]

    def strided(self, names: Sequence[Key], full: Sequence[int], fresh: bool = False) -> Strided:
        """Its strides along the lead and along `names`, which stand for the last per-example axes; size 1 stretches."""
        strides = dict(self.lead)
        for name, n, size, step in zip(
            names[::-1], tuple(full)[::-1], self.shape[::-1], self.steps[::-1], strict=False
        ):
            strides[name] = ZERO if size == 1 and n != 1 else step
        return Strided(self.pointer, strides, self.kind, fresh)


@record
class Where:
    """The loops around a statement (axis -> its running step here), the ranges that it spans at once, the examples."""

    loops: dict[Axis, Value]
    spans: tuple[Range, ...]
    batched: bool
    examples: Size = BATCH

    @property
    def dims(self) -> Dims:
        """What it spans, as dimensions."""
        return [*((r.axis, count(r)) for r in self.spans), *([(EXAMPLES, self.examples)] if self.batched else [])]


def keys(dims: Dims) -> list[Key]:
    """The names of dimensions."""
    return [key for key, _ in dims]


class Memory:
    """Names of the program as operands."""

    def __init__(self, code: Code, layouts: dict[str, Layout], pointers: dict[str, Value]) -> None:
        self.c, self.layouts, self.pointers = code, layouts, pointers

    def step(self, index: Index, where: Where) -> Value:
        """A step as a number."""
        if index.runs and index.axis is not None:
            base = where.loops[index.axis]
        elif index.anchor:
            base = self.c.inputs[index.anchor]
        else:
            return self.c.i64(index.shift)
        return self.c.b.add(base, self.c.i64(index.shift)) if index.shift else base

    def operand(self, access: Access, where: Where) -> Operand:
        """What an access reads, such as ``h[t-1]``, as an address and strides."""
        layout = self.layouts[access.ref.name]
        x = located(layout, access, where.spans)
        at = self.c.i64(x.offset)
        for start, first, stride in x.moves:
            steps = self.c.b.sub(self.step(start, where), self.step(first, where))
            at = self.c.b.add(at, self.c.b.mul(steps, self.c.size(stride)))
        pointer = self.c.moved(self.pointers[layout.host], layout.kind, at)
        return Operand(pointer, layout.kind, x.lead, x.shape, x.steps)


class Statements:
    """Writes statements as loop nests."""

    def __init__(self, memory: Memory, room: Callable[[Size], Value]) -> None:
        self.m, self.c = memory, memory.c
        self.blocks = Blocks(memory.c, room)

    # -- numbers -------------------------------------------------------------------------------------------------

    def number(self, arg: Argument, width: int) -> Typed:
        """A number written in an equation, or the length of an axis."""
        if isinstance(arg, Const):
            kind = "bool" if isinstance(arg.value, bool) else "int" if isinstance(arg.value, int) else "float"
            return self.c.constant(kind, arg.value, width), kind
        assert not isinstance(arg, Access)
        return self.c.splat(self.c.inputs[arg.axis.end], width), "int"

    def decomposed(self, step: Compute) -> tuple[Nest, ...]:
        """The nests of a statement."""
        layouts = self.m.layouts
        return decomposed(step, lambda name: layouts[name].shape, layouts[step.equation.out.name].kind)

    # -- one statement -------------------------------------------------------------------------------------------

    def combine(self, step: Compute) -> Combine:
        """How several values of one left-hand side join."""
        return combining(self.c, step.equation.combine, self.m.layouts[step.equation.out.name].kind)

    def left(self, step: Compute, where: Where) -> Operand:
        """The left-hand side."""
        out = step.equation.out
        return self.m.operand(Access(out), replace(where, batched=self.m.layouts[out.name].batched))

    def target(self, step: Compute, where: Where) -> tuple[Operand, bool]:
        """The left-hand side, and whether values are added to it; cleared where several are, and it held nothing."""
        e = step.equation
        target = self.left(step, where)
        adds = step.mode == "add" or e.combine == "max"
        summed = any(key not in target.lead for key, _ in where.dims)
        if summed and step.mode == "set":
            self.fill(target, where, of_nothing(step))
        return target, adds or summed

    def fill(self, target: Operand, where: Where, number: float) -> None:
        """One number everywhere a left-hand side goes."""
        names = features(target.shape)
        dims = [(key, n) for key, n in where.dims if key in target.lead] + names
        given = target.strided(keys(names), target.shape, fresh=True)
        dims, (given,) = collapsed(dims, [given])

        def at(point: Point) -> None:
            self.c.store(self.c.constant(target.kind, number, point.width), point.pointers[0], target.kind, point.width)

        self.c.nest(dims, [given], at, can_be_wide(dims, [given]))

    def map(
        self,
        dims: Dims,
        reads: Sequence[Strided],
        target: Strided,
        value: Callable[[Point, Sequence[Strided]], Typed],
        combine: Combine | None,
        kept: frozenset[Key] = frozenset(),
        wide: Wide = can_be_wide,
    ) -> None:
        """``target = value`` at every point, or, with `combine`, joined with what it holds.

        kept  dimensions whose steps `value` asks for
        wide  whether vectors may run along the last dimension
        """
        operands: list[Strided] = [*reads, replace(target, fresh=True)]
        dims, operands = collapsed(dims, operands, kept)
        met = reduced(dims, operands[-1]) if combine is not None and combine.identity == 0 else []
        first = [key for key, _ in dims].index(met[0]) if met else len(dims)
        elements = region(dims[first:], operands[-1]) if met else None
        if first == len(dims) - 1 or elements is None or not long(dims[first:], operands[-1]):
            self._mapped(dims, operands, value, combine, wide)
            return

        nest = lambda dims, operands: self._mapped(dims, list(operands), value, combine, wide)  # noqa: E731
        self.blocks.write(dims[:first], dims[first:], operands, nest, elements)

    def _mapped(
        self, dims: Dims, operands: list[Strided], value: Callable[..., Typed], combine: Combine | None, can: Wide
    ) -> None:
        """`map`, whatever the number of values that meet in one element."""
        target, wide = operands[-1], can(dims, operands)
        last = len(operands) - 1
        if combine is not None and dims and operands[last].along(dims[-1][0]) == ZERO:
            self._accumulated(dims, operands, value, combine, wide)
            return

        def at(point: Point) -> None:
            result = convert(self.c, value(point, operands), target.kind)
            if combine is not None:
                result = combine.join(self.c.load(point.pointers[last], target.kind, point.width), result)
            self.c.store(result, point.pointers[last], target.kind, point.width)

        self.c.nest(dims, operands, at, wide)

    def _accumulated(
        self, dims: Dims, operands: list[Strided], value: Callable[..., Typed], combine: Combine, wide: bool
    ) -> None:
        """Along the last dimension in registers, then once into memory."""
        *outer, last = dims
        target = operands[-1]
        c = self.c

        def row(point: Point) -> None:
            inner = [replace(o, pointer=p) for o, p in zip(operands, point.pointers, strict=True)]
            widths = c.lanes(last[1], wide)
            partial = Partial(c, target.kind, widths, combine)

            def at(deep: Point) -> None:
                whole = replace(deep, index={**point.index, **deep.index})
                partial.join(convert(c, value(whole, inner), target.kind), deep.width)

            if combine.identity == 0 and long([last], target):
                sums = Partial(c, target.kind, widths, combine)
                block, size = tuning.SUM_BLOCK * widths[0], c.size(last[1])
                with c.loop(c.i64(0), size, block) as start:
                    c.nest([last], inner, at, wide, (start, c.least(c.b.add(start, c.i64(block)), size)))
                    sums.take(partial)
                partial = sums
            else:
                c.nest([last], inner, at, wide)
            before = c.load(point.pointers[-1], target.kind)
            c.store(combine.join(before, partial.total()), point.pointers[-1], target.kind)

        c.nest(outer, operands, row, False)
