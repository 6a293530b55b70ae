"""Kernels: pointwise statements over the same points in one loop nest, and whole rows with reductions between.

In a kernel of rows every row runs through stages: numbers of the row, then a loop along the row, then the numbers that
its reductions gave, and so on. What one loop leaves for another lies in a buffer of one row, in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...compiler.nests import Load, Reduce, Scalar
from ...compiler.row_stages import Stages, staged
from ...compiler.statements import REDUCTIONS, Access, Argument, Compute, Row, by_points, row
from ...ir.system import System
from ..common.memory_layout import ALIGNED
from ..common.symbolic_size import ONE, Dims, features
from .ir_builder import Point, Strided, can_be_wide, collapsed
from .llvm_ir import Value
from .loop_nest import Partial, Statements, Where, combining, keys
from .parallel_nest import Spread
from .pointwise import Typed, convert, evaluated, pointwise

LAST = ".-1"
"""The dimension of a row."""
COSTS = {"div": 10, "sqrt": 12, "tanh": 25, "sigmoid": 25, "exp": 20, "log": 25, "pow": 50}
"""Cycles that a vector takes, where that is not about 2."""


class Kernels:
    """Writes kernels."""

    def __init__(self, system: System, statements: Statements, spread: Spread, scratch: Callable[[int], Value]) -> None:
        self.system, self.s, self.spread, self.scratch = system, statements, spread, scratch

    def write(self, body: Sequence[Compute], inner: Sequence[str], where: Where) -> None:
        """One kernel; `inner` are the names that need no memory."""
        rows = [r for r in (row(self.system, step) for step in body) if r is not None]
        plan = [tuple(body)] if by_points(rows) else staged(body, rows)
        kernel = _Kernel(self.s, plan, rows, inner, where)
        if kernel.bytes:
            kernel.operands.append(Strided(self.scratch(kernel.bytes), {}, "bool", fresh=True, each=kernel.bytes))
        cost = sum(COSTS.get(step.equation.op, 2) * r.reads for step, r in zip(body, rows, strict=True))
        if len(plan) == 1:
            dims, operands = collapsed(kernel.dims, kernel.operands)
            cost, nest = cost // max(rows[0].reads, 1), kernel.points
        else:
            dims, operands = collapsed(kernel.dims, kernel.operands, frozenset([LAST]))
            kernel.operands = operands
            dims, nest = dims[:-1], kernel.rows
        if where.loops or where.spans:
            self.spread.run(dims, operands, cost, nest, again=len(plan) == 1)
        else:
            self.spread.alone(dims, operands, nest)  # a boundary: one step


class _Kernel:
    """One kernel being written.

    values  numbers of the row at hand
    homes   where elements of the row lie that an earlier stage computed
    rows_   for what never reaches memory, but is read in a later stage than it is computed in: where it lies among
            buffers of one row, in bytes, of which there are `bytes` in all
    """

    def __init__(self, s: Statements, plan: Stages, rows: Sequence[Row], inner: Sequence[str], where: Where) -> None:
        self.s, self.m, self.c = s, s.m, s.c
        self.plan, self.where = plan, where
        self.values: dict[Access, Typed] = {}
        self.homes: dict[Access, int] = {}
        widest = max(rows, key=lambda r: r.reads)
        shapes = [self.m.layouts[step.equation.out.name].shape for stage in plan for step in stage]
        self.shape = max(shapes, key=len) if len(plan) == 1 else (*widest.lead, widest.reads)
        self.dims = where.dims + features(self.shape)
        self.operands: list[Strided] = []
        self.reads: dict[Access, int] = {}
        known: dict[str, Access] = {}
        for step in (s for stage in plan for s in stage):
            target = Access(step.equation.out)
            for arg in self._read(step):
                if known.get(arg.ref.name) != arg and arg not in self.reads:
                    self.reads[arg] = self._operand(arg, False)
            known[target.ref.name] = target
        self.writes = {a: self._operand(a, True) for name, a in known.items() if name not in inner}
        self.rows_, self.bytes = self._buffers() if len(plan) > 1 else ({}, 0)

    def _operand(self, access: Access, fresh: bool) -> int:
        found = self.m.operand(access, self.where).strided(keys(features(self.shape)), self.shape, fresh)
        self.operands.append(found)
        return len(self.operands) - 1

    def _read(self, step: Compute) -> list[Access]:
        """What a statement reads, its own left-hand side included where it adds to it."""
        found = [a for a in step.args if isinstance(a, Access)]
        return [*found, Access(step.equation.out)] if step.mode == "add" else found

    def _computed(self, step: Compute, value: Callable[[Argument], Typed], made: Typed | None = None) -> Typed:
        """The new value of a left-hand side; `made` is that of the operation, where it is known."""
        kind = self.m.layouts[step.equation.out.name].kind
        if made is None:
            (nest,) = self.s.decomposed(step)
            made = evaluated(self.c, nest.value, lambda x: _element(x, value))
        result = convert(self.c, made, kind), kind
        return (
            pointwise(self.c, "add", [value(Access(step.equation.out)), result], kind) if step.mode == "add" else result
        )

    def points(self, dims: Dims, operands: list[Strided]) -> None:
        """All statements at every point."""
        at = self._at(self.plan[0], operands, {n: n for n in range(len(operands))}, self.writes, {})
        self.c.nest(dims, operands, at, can_be_wide(dims, operands))

    def rows(self, dims: Dims, operands: list[Strided]) -> None:
        """All stages in every row."""
        self.c.nest(dims, operands, self._row, False)

    def _row(self, point: Point) -> None:
        self.operands = [replace(o, pointer=p) for o, p in zip(self.operands, point.pointers, strict=True)]
        buffers: dict[Access, int] = {}
        for access, start in self.rows_.items():
            address = self.c.moved(point.pointers[-1], "bool", self.c.i64(start))
            buffers[access] = len(self.operands)
            self.operands.append(Strided(address, {LAST: ONE}, self.m.layouts[access.ref.name].kind, fresh=True))
        for number, stage in enumerate(self.plan):
            if number % 2:
                self._along(stage, buffers)
                continue
            for step in stage:
                self._number(step, self._computed(step, self._scalar))

    def _buffers(self) -> tuple[dict[Access, int], int]:
        """Where each row lies that a later stage reads and memory never has, and the bytes of them all."""
        first: dict[Access, int] = {}
        final: dict[Access, int] = {}
        for number, stage in enumerate(self.plan):
            for step in stage:
                for arg in self._read(step):
                    final[arg] = number
                if number % 2 and step.equation.op not in REDUCTIONS:
                    first.setdefault(Access(step.equation.out), number)
        free: list[tuple[int, int, int]] = []
        found: dict[Access, int] = {}
        total = 0
        for access, number in sorted(first.items(), key=lambda item: item[1]):
            if access in self.writes or final.get(access, 0) <= number:
                continue
            size = -(-self.shape[-1] * self.c.bytes[self.m.layouts[access.ref.name].kind] // ALIGNED) * ALIGNED
            block = next((f for f in free if f[0] < number and f[2] >= size), None)
            if block is None:
                start, total = total, total + size
            else:
                free.remove(block)
                _, start, size = block
            free.append((final[access], start, size))
            found[access] = start
        return found, total

    def _scalar(self, arg: Argument) -> Typed:
        """An operand of a number of the row."""
        if not isinstance(arg, Access):
            return self.s.number(arg, 1)
        if arg not in self.values:
            operand = self.operands[self.reads[arg]]
            self.values[arg] = self.c.load(operand.pointer, operand.kind), operand.kind
        return self.values[arg]

    def _number(self, step: Compute, result: Typed) -> None:
        """A number of the row is known from here on."""
        target = Access(step.equation.out)
        self.values[target] = result
        if target in self.writes:
            operand = self.operands[self.writes[target]]
            self.c.store(result[0], operand.pointer, operand.kind)

    def _along(self, stage: Sequence[Compute], buffers: Mapping[Access, int]) -> None:
        """One loop along the row."""
        c = self.c
        reductions = [s for s in stage if s.equation.op in REDUCTIONS]
        used: dict[int, None] = {}
        local: set[Access] = set()
        for step in stage:
            for arg in self._read(step) if step not in reductions else step.args:
                if isinstance(arg, Access) and arg not in local and arg not in self.values:
                    used[self.homes[arg] if arg in self.homes else self.reads[arg]] = None
            if step not in reductions:
                local.add(Access(step.equation.out))
        homes = {a: n for n, a in ((self.writes.get(a, buffers.get(a)), a) for a in local) if n is not None}
        used.update(dict.fromkeys(homes.values()))
        places = {n: k for k, n in enumerate(used)}
        operands = [self.operands[n] for n in used]
        last: Dims = [(LAST, self.dims[-1][1])]
        wide = can_be_wide(last, operands)
        widths = c.lanes(last[0][1], wide)
        sums = {id(s): Partial(c, "float", widths, combining(c, s.equation.op)) for s in reductions}
        c.nest(last, operands, self._at(stage, operands, places, homes, sums), wide)
        self.homes.update(homes)
        for step in reductions:
            self._number(step, self._computed(step, self._scalar, (sums[id(step)].total(), "float")))

    def _at(
        self,
        stage: Sequence[Compute],
        operands: Sequence[Strided],
        places: Mapping[int, int],
        stores: Mapping[Access, int],
        sums: Mapping[int, Partial],
    ) -> Callable[[Point], None]:
        """What happens at one point of a loop; `places` tells which of `operands` stands for which of the kernel."""
        c = self.c

        def at(point: Point) -> None:
            here: dict[Access, Typed] = {}

            def value(arg: Argument) -> Typed:
                if not isinstance(arg, Access):
                    return self.s.number(arg, point.width)
                if arg not in here and arg in self.values:
                    number, kind = self.values[arg]
                    here[arg] = c.splat(number, point.width), kind
                if arg not in here:
                    n = places[self.homes[arg] if arg in self.homes else self.reads[arg]]
                    here[arg] = c.value(operands, point, n), operands[n].kind
                return here[arg]

            for step in stage:
                if id(step) in sums:
                    (arg,) = step.args
                    sums[id(step)].join(convert(c, value(arg), "float"), point.width)
                else:
                    here[Access(step.equation.out)] = self._computed(step, value)
            for access, n in stores.items():
                c.store(here[access][0], point.pointers[places[n]], operands[places[n]].kind, point.width)

        return at


def _element(x: Scalar, value: Callable[[Argument], Typed]) -> Typed | None:
    """What a statement reads at the point at hand; a reduction over a row of one element is that element."""
    while isinstance(x, Reduce):
        x = x.value
    return value(x.arg) if isinstance(x, Load) else None
