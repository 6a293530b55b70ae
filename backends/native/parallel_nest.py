"""Parallel loops: each thread takes a part of a kernel's outermost dimension, so that its rows stay in its cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import gcd

from ..common.symbolic_size import Dims, Size, product
from . import tuning
from .ir_builder import Code, Strided
from .llvm_ir import Value
from .tasks import Task, TaskBuilder

PIECE = "part of a dimension"
"""The size of a thread's part, among the ends of axes, none of which has a space."""


class Spread:
    """Writes loop nests whose outermost dimension the helpers share."""

    def __init__(self, code: Code, sharing: TaskBuilder) -> None:
        self.c, self.sharing = code, sharing

    def run(
        self,
        dims: Dims,
        operands: list[Strided],
        cost: int,
        nest: Callable[[Dims, list[Strided]], None],
        again: bool = False,
    ) -> None:
        """`nest` over all of `dims`; every point costs so many cycles of one lane.

        again  whether `nest` can be written a second time: then what is light stands where it is too, for few points
        """
        c = self.c
        least = -(-tuning.MIN_CYCLES_PER_TASK * c.width // max(cost, 1))
        total = product(tuple(n for _, n in dims))
        fewest = least if self.sharing.repeated else least * tuning.WAKE_UP_FACTOR
        if not self.sharing.helpers or not dims or (total.known and total.factor < fewest):
            self.alone(dims, operands, nest)
            return
        large = c.b.icmp_signed(">=", c.size(total), self.sharing.worth(least))
        if again and self.sharing.repeated and cost * total.factor < tuning.MAX_CYCLES_INLINE:
            with c.b.if_else(large) as (many, few):
                with many:
                    self._shared(dims, operands, large, nest)
                with few:
                    self.alone(dims, operands, nest)
            return
        self._shared(dims, operands, large, nest)

    def alone(self, dims: Dims, operands: list[Strided], nest: Callable[[Dims, list[Strided]], None]) -> None:
        """`nest` in the thread at hand."""
        nest(dims, self._own(operands, self.sharing.outer))

    def _own(self, operands: list[Strided], thread: Value) -> list[Strided]:
        """Operands with what a thread has of them for itself."""
        c = self.c
        return [
            replace(o, pointer=c.moved(o.pointer, o.kind, c.b.mul(thread, c.i64(o.each)))) if o.each else o
            for o in operands
        ]

    def _shared(
        self, dims: Dims, operands: list[Strided], large: Value, nest: Callable[[Dims, list[Strided]], None]
    ) -> None:
        """The nest as a task."""
        c = self.c
        (key, extent), *rest = dims
        unit = c.width if not rest else 1  # so that all parts begin at a whole vector
        grain = gcd(extent.factor, unit)  # of which all parts are a multiple, and what is left for the last too
        shares = c.b.select(large, self.sharing.parts, c.i64(1))
        ends = list(c.inputs)

        def write(task: Task) -> None:
            e = c.entry
            *numbers, parts, outer = task.sizes
            c.inputs = dict(zip(ends, numbers, strict=True))
            size = c.size(extent)
            units = e.sdiv(e.add(size, c.i64(unit - 1)), c.i64(unit))
            each = e.sdiv(e.add(units, e.sub(parts, c.i64(1))), parts)
            start, each = e.mul(e.mul(task.share, each), c.i64(unit)), e.mul(each, c.i64(unit // grain))
            left = e.sdiv(e.sub(size, start), c.i64(grain))
            c.inputs[PIECE] = e.select(e.icmp_signed("<", left, each), left, each)
            moved = [
                p if not o.along(key).factor else c.moved(p, o.kind, c.b.mul(start, c.size(o.along(key))))
                for o, p in zip(operands, task.pointers, strict=True)
            ]
            part = [(key, Size(grain, ((PIECE, 0),))), *rest]
            mine = [replace(o, pointer=p) for o, p in zip(operands, moved, strict=True)]
            nest(part, self._own(mine, c.b.add(outer, task.share)))

        sizes = [*(c.inputs[end] for end in ends), shares, self.sharing.outer]
        self.sharing.run([o.pointer for o in operands], sizes, shares, large, write)
