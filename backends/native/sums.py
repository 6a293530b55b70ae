"""Long sums in blocks: no more than some hundred numbers are added up one by one, so that rounding stays small.

A sum over a million steps in float32, one after another, loses the third digit, and stops growing at 2**24. So steps
are added up in blocks, blocks in blocks of blocks, and these to the result, in an order that sizes alone fix (Higham
1993).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...ir.axes import running
from ...ir.system import Decl, Ref, System
from ...language.builder import Builder
from ..common.symbolic_size import ONE, ZERO, Dims, Key, Size, product
from . import tuning
from .ir_builder import Code, Point, Strided, can_be_wide
from .llvm_ir import Value

Nest = Callable[[Dims, Sequence[Strided]], None]
"""Writes a nest whose last operand is added to."""


ROWS = frozenset({"cross_entropy", "logsumexp", "softmax", "max", "pick", "put_along", "take", "take_along"})
"""Operations on rows, or by them, whose results are few beside what they read."""


def apart(system: System) -> System:
    """The system with such results in memory where they are added up over steps or examples: so they meet in blocks."""
    builder = Builder.extend(system)
    builder.equations = []
    for e in system.equations:
        decl = system.decls[e.out.name]
        if e.op not in ROWS or e.combine != "sum" or not (e.summed or (e.batched and not decl.batched)):
            builder.equations.append(e)
            continue
        shapes = [system.decls[a.name].shape if isinstance(a, Ref) else () for a in e.args]
        shape = tuple(e.operation.family.shape(shapes, dict(e.attrs)))
        out = Ref(builder.fresh(), tuple(running(a) for a in e.axes))
        builder.decls[out.name] = Decl(out.name, "temporary", shape, "float", e.axes, e.batched)
        builder.equations += [
            replace(e, out=out, label=None),
            replace(e, op="copy", args=(out,), attrs=(), label=None),
        ]
    return replace(system, decls=builder.decls, equations=tuple(builder.equations))


def reduced(dims: Dims, target: Strided) -> list[Key]:
    """The dimensions along which values meet in one element of the target."""
    return [key for key, _ in dims if target.along(key) == ZERO]


def long(dims: Dims, target: Strided) -> bool:
    """True where more numbers may meet in one element than are added up one by one."""
    meet = product(tuple(n for key, n in dims if target.along(key) == ZERO))
    return target.kind == "float" and not (meet.known and meet.factor <= tuning.MAX_RUNNING_SUM)


def region(dims: Dims, target: Strided) -> Size | None:
    """The elements of a target that `dims` go through, where these lie in one piece; else None."""
    kept = [(key, n) for key, n in dims if target.along(key) != ZERO]
    total = ONE
    for key, n in sorted(kept, key=lambda d: (len(target.along(d[0]).symbols), target.along(d[0]).factor)):
        if target.along(key) != total:
            return None
        total = total * n
    return total


class Blocks:
    """Writes a sum over an outer dimension in blocks.

    room  gives memory for so many elements, of each thread's own, during a step of the program
    """

    def __init__(self, code: Code, room: Callable[[Size], Value]) -> None:
        self.c, self.room = code, room

    def write(self, outer: Dims, dims: Dims, operands: Sequence[Strided], nest: Nest, elements: Size) -> None:
        """At each point of `outer`, `nest` over all of `dims`, in blocks of the first, which the last operand lacks.

        The first block is added to the target itself, the others to memory of their own, and that to the target.
        """

        def at(point: Point) -> None:
            here = [replace(o, pointer=p) for o, p in zip(operands, point.pointers, strict=True)]
            self._sum(dims, here, nest, elements)

        self.c.nest(outer, operands, at, False)

    def _sum(self, dims: Dims, operands: Sequence[Strided], nest: Nest, elements: Size) -> None:
        c = self.c
        (key, extent), *inner = dims
        target, steps = operands[-1], c.size(extent)
        outside, c.bounded = c.bounded, True
        memory = self.room(elements * Size(2))
        one, two = memory, c.moved(memory, "float", c.size(elements))
        self._set(two, elements)
        with c.loop(c.i64(0), steps, tuning.SUM_BLOCK) as start:
            first = c.b.icmp_signed("==", start, c.i64(0))
            with c.unless(first):
                self._set(one, elements)
            into = c.b.select(first, target.pointer, one)
            stop = c.least(c.b.add(start, c.i64(tuning.SUM_BLOCK)), steps)
            with c.loop(start, stop, long=True) as n:
                here = [replace(o, pointer=c.moved(o.pointer, o.kind, c.times(n, o.along(key)))) for o in operands[:-1]]
                nest(inner, [*here, replace(target, pointer=into)])
            with c.unless(first):
                self._add(one, two, elements)
            whole = c.b.srem(stop, c.i64(tuning.SUM_BLOCK * tuning.SUM_BLOCKS))
            with c.when(c.b.icmp_signed("==", whole, c.i64(0))):
                self._add(two, target.pointer, elements)
                self._set(two, elements)
        with c.when(c.b.icmp_signed(">", steps, c.i64(tuning.SUM_BLOCK))):
            self._add(two, target.pointer, elements)
        c.bounded = outside

    def _set(self, address: Value, elements: Size) -> None:
        """Zeros."""
        c = self.c
        dims: Dims = [("element", elements)]
        there = Strided(address, {"element": ONE}, "float", fresh=True)

        def at(point: Point) -> None:
            c.store(c.constant("float", 0, point.width), point.pointers[0], "float", point.width)

        c.nest(dims, [there], at, can_be_wide(dims, [there]))

    def _add(self, source: Value, address: Value, elements: Size) -> None:
        """What lies in one address, added to another."""
        c = self.c
        dims: Dims = [("element", elements)]
        operands = [Strided(p, {"element": ONE}, "float", fresh=True) for p in (source, address)]

        def at(point: Point) -> None:
            values = [c.load(p, "float", point.width) for p in point.pointers]
            c.store(c.b.fadd(values[1], values[0]), point.pointers[1], "float", point.width)

        c.nest(dims, operands, at, can_be_wide(dims, operands))
