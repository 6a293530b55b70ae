"""Reductions and data movement: sums, rearrangements, lookups by index, and the stable exponentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...compiler.program import Access, Compute, View
from ...ops.shapes import negative_axes
from ..common.stable_rows import element
from ..common.symbolic_size import ONE, ZERO, Key, Size, in_order
from .ir_builder import Code, Dims, Point, Strided, can_be_wide
from .llvm_ir import I64, Value
from .loop_nest import Combine, Operand, Partial, Statements, Where, features, keys
from .pointwise import Typed, convert, larger, pointwise, width_of

METHODS = {
    "sum": "reduction", "max": "reduction", "sum_to": "copy", "broadcast_to": "copy", "transpose": "rearranged",
    "slice": "rearranged", "reshape": "reshape", "concat": "joined", "stack": "joined", "unslice": "unslice",
    "take": "take", "pick": "take", "scatter": "scatter", "one_hot": "one_hot", "argmax": "argmax", "softmax": "rows",
    "logsumexp": "rows", "cross_entropy": "rows",
}  # fmt: skip
"""Operations, and the method that writes each."""


def _within(c: Code, number: Value, size: int) -> Value:
    """An index, held inside its table: given ones are checked before, a computed one may lie anywhere."""
    number = c.b.select(c.b.icmp_signed("<", number, c.i64(0)), c.i64(0), number)
    return c.b.select(c.b.icmp_signed(">=", number, c.i64(size)), c.i64(size - 1), number)


class Operations:
    """Writes what `Statements` has no pointwise form for."""

    def __init__(self, statements: Statements) -> None:
        self.s, self.m, self.c = statements, statements.m, statements.c

    def write(self, step: Compute, where: Where) -> None:
        """One statement, by its operation."""
        getattr(self, METHODS[step.equation.op])(step, where)

    def source(self, step: Compute, n: int, where: Where) -> Operand:
        """An operand as memory; a number is put into memory first."""
        arg = step.args[n]
        if isinstance(arg, Access):
            return self.m.operand(arg, where)
        value, kind = self.s.number(arg, 1)
        slot = self.c.slot(self.c.memory(kind))
        self.c.store(value, slot, kind)
        return Operand(slot, kind, {}, (), ())

    # -- rearrangements ------------------------------------------------------------------------------------------

    def copy(self, step: Compute, where: Where) -> None:
        """Stretched, or summed to a smaller shape."""
        source = self.source(step, 0, where)
        target, adds = self.target(step, where, shrinks=step.equation.op == "sum_to")
        self.s.moved(step, source, target, where.dims, adds)

    def target(self, step: Compute, where: Where, shrinks: bool) -> tuple[Operand, bool]:
        """The left-hand side, cleared where several values meet in it."""
        target, adds = self.s.target(step, where)
        if shrinks and not adds:
            self.s.fill(target, where, 0)
        return target, adds or shrinks

    def reduction(self, step: Compute, where: Where) -> None:
        """A sum or a maximum over per-example axes: a copy whose target has step 0 along them."""
        e = step.equation
        attrs = dict(e.attrs)
        source = self.source(step, 0, where)
        rank = len(source.shape)
        gone = {a + rank for a in negative_axes(attrs["axis"], rank)}
        if e.op == "max":
            self.rows(step, where)
            return
        target, _ = self.target(step, where, shrinks=True)
        kept = iter(target.steps)
        steps = []
        for i in range(rank):
            if i in gone:
                steps.append(ZERO)
                if attrs["keepdims"]:
                    next(kept)
            else:
                steps.append(next(kept))
        wide = replace(target, shape=source.shape, steps=tuple(steps))
        self.s.moved(step, source, wide, where.dims, True)

    def rearranged(self, step: Compute, where: Where) -> None:
        """A transpose or a slice that could not be read in place."""
        view = View(step.equation.op, step.equation.attrs)
        source = self.m.viewed(self.source(step, 0, where), view)
        target, adds = self.s.target(step, where)
        self.s.moved(step, source, target, where.dims, adds)

    def reshape(self, step: Compute, where: Where) -> None:
        """The same elements in another shape; element by element where they do not lie in order."""
        source = self.source(step, 0, where)
        target, adds = self.s.target(step, where)
        plain = zip(source.steps, in_order(source.shape), source.shape, strict=True)
        if all(step == wanted or n == 1 for step, wanted, n in plain):
            source = replace(source, shape=target.shape, steps=in_order(target.shape))
            self.s.moved(step, source, target, where.dims, adds)
            return
        names = features(target.shape)
        read = Strided(source.pointer, source.lead, source.kind, fresh=True)

        def value(point: Point, operands: Sequence[Strided]) -> Typed:
            flat = self.c.i64(0)
            for key, extent in names:
                flat = self.c.b.add(self.c.b.mul(flat, self.c.size(extent)), point.index.get(key, self.c.i64(0)))
            pointer = point.pointers[0]
            for n, stride in zip(source.shape[::-1], source.steps[::-1], strict=True):
                at = self.c.b.mul(self.c.b.urem(flat, self.c.i64(n)), self.c.size(stride))
                pointer = self.c.moved(pointer, source.kind, at)
                flat = self.c.b.udiv(flat, self.c.i64(n))
            return self.c.load(pointer, source.kind), source.kind

        self.pointed(step, where, names, [read], target, value, adds)

    def pointed(
        self,
        step: Compute,
        where: Where,
        names: Dims,
        reads: Sequence[Strided],
        target: Operand,
        value: Callable[[Point, Sequence[Strided]], Typed],
        adds: bool,
    ) -> None:
        """One value at a time, computed from the numbers of its place."""
        c = self.c
        combine = self.s.combine(step)
        write = target.placed(keys(names), target.shape, fresh=True)
        operands = [*(replace(r, fresh=True) for r in reads), write]

        def at(point: Point) -> None:
            result = convert(c, value(point, operands), target.kind)
            if adds:
                result = combine.join(c.load(point.pointers[-1], target.kind), result)
            c.store(result, point.pointers[-1], target.kind)

        c.nest(where.dims + names, operands, at, False)

    def joined(self, step: Compute, where: Where) -> None:
        """Concatenation and stacking: each operand into its part."""
        target, adds = self.s.target(step, where)
        rank = len(target.shape)
        (axis,) = negative_axes(dict(step.equation.attrs)["axis"], rank)
        at = 0
        for n in range(len(step.args)):
            source = self.source(step, n, where)
            part: tuple[object, ...]
            if step.equation.op == "stack":
                part = (*([(None, None, None)] * (rank + axis)), n)
            else:
                size = source.shape[axis]
                part = (*([(None, None, None)] * (rank + axis)), (at, at + size, None))
                at += size
            self.s.moved(step, source, self.m.part(target, part), where.dims, adds)

    def unslice(self, step: Compute, where: Where) -> None:
        """A slice put back into zeros."""
        target, adds = self.s.target(step, where)
        if not adds:
            self.s.fill(target, where, 0)
        part = self.m.part(target, dict(step.equation.attrs)["parts"])
        self.s.moved(step, self.source(step, 0, where), part, where.dims, adds)

    # -- lookups ---------------------------------------------------------------------------------------------------

    def take(self, step: Compute, where: Where) -> None:
        """Rows of a table (or one element a row) by integer index."""
        c = self.c
        table, index = self.source(step, 0, where), self.source(step, 1, where)
        target, adds = self.s.target(step, where)
        rows: Dims = [(f"r{i}", Size(n)) for i, n in enumerate(index.shape)]
        if step.equation.op == "take":
            axis = 0
            rest: Dims = [(f"e{i}", Size(n)) for i, n in enumerate(table.shape[1:])]
            spread = dict(table.lead) | dict(zip(keys(rest), table.steps[1:], strict=True))
        else:
            axis = len(table.shape) - 1
            rest = []
            spread = dict(table.lead) | dict(zip(keys(rows), table.steps[:-1], strict=True))
        names = rows + rest
        found = Strided(table.pointer, spread, table.kind, fresh=True)
        which = Strided(
            index.pointer, dict(index.lead) | dict(zip(keys(rows), index.steps, strict=True)), "int", fresh=True
        )
        write = Strided(
            target.pointer, dict(target.lead) | dict(zip(keys(names), target.steps, strict=True)), target.kind, True
        )
        dims = [d for d in where.dims + names if d[1] != ONE]
        operands = [found, which, write]
        wide = bool(dims) and which.along(dims[-1][0]) == ZERO and can_be_wide(dims, operands)
        combine = self.s.combine(step)
        adds_inside = bool(dims) and adds and write.along(dims[-1][0]) == ZERO

        def at(point: Point) -> None:
            number = _within(c, c.load(point.pointers[1], "int"), table.shape[axis])
            row = c.moved(point.pointers[0], table.kind, c.b.mul(number, c.size(table.steps[axis])))
            alone = point.width > 1 and not point.inner[0]
            value = c.splat(c.load(row, table.kind), point.width) if alone else c.load(row, table.kind, point.width)
            result = convert(c, (value, table.kind), target.kind)
            if adds:
                result = combine.join(c.load(point.pointers[2], target.kind, point.width), result)
            c.store(result, point.pointers[2], target.kind, point.width)

        c.nest(dims, operands, at, wide and not adds_inside)

    def scatter(self, step: Compute, where: Where) -> None:
        """Values added into the rows that an index names."""
        c = self.c
        values, index = self.source(step, 0, where), self.source(step, 1, where)
        target, adds = self.s.target(step, where)
        if not adds:
            self.s.fill(target, where, 0)
        rows: Dims = [(f"r{i}", Size(n)) for i, n in enumerate(index.shape)]
        rest: Dims = [(f"e{i}", Size(n)) for i, n in enumerate(target.shape[1:])]
        read = Strided(
            values.pointer,
            dict(values.lead) | dict(zip(keys(rows + rest), values.steps, strict=True)),
            values.kind,
            True,
        )
        which = Strided(index.pointer, dict(index.lead) | dict(zip(keys(rows), index.steps, strict=True)), "int", True)
        write = Strided(
            target.pointer, dict(target.lead) | dict(zip(keys(rest), target.steps[1:], strict=True)), target.kind, True
        )
        dims = [d for d in where.dims + rows + rest if d[1] != ONE]
        operands = [read, which, write]
        wide = bool(dims) and which.along(dims[-1][0]) == ZERO and write.along(dims[-1][0]) == ONE
        wide = wide and can_be_wide(dims, operands)
        combine = self.s.combine(step)

        def at(point: Point) -> None:
            number = _within(c, c.load(point.pointers[1], "int"), target.shape[0])
            row = c.moved(point.pointers[2], target.kind, c.b.mul(number, c.size(target.steps[0])))
            value = convert(c, (c.value(operands, point, 0), values.kind), target.kind)
            value = combine.join(c.load(row, target.kind, point.width), value)
            c.store(value, row, target.kind, point.width)

        c.nest(dims, operands, at, wide)

    def one_hot(self, step: Compute, where: Where) -> None:
        """Unit vectors."""
        c = self.c
        index = self.source(step, 0, where)
        target, adds = self.s.target(step, where)
        names = features(target.shape)
        which = Strided(
            index.pointer, dict(index.lead) | dict(zip(keys(names)[:-1], index.steps, strict=True)), "int", False
        )
        write = target.placed(keys(names), target.shape)
        last: Key = keys(names)[-1]

        def value(point: Point, operands: Sequence[Strided]) -> Typed:
            place = c.numbers(point.index[last], point.width)
            chosen = c.b.icmp_signed("==", place, c.value(operands, point, 0))
            return convert(c, (chosen, "bool"), "float"), "float"

        combine = self.s.combine(step) if adds else None
        self.s.map(where.dims + names, [which], write, value, combine, frozenset[Key]({last}))

    # -- whole rows ------------------------------------------------------------------------------------------------

    def rows(self, step: Compute, where: Where) -> None:
        """Operations that see a row before they give their first value: max, logsumexp, softmax, cross_entropy."""
        c, e = self.c, step.equation
        attrs = dict(e.attrs)
        source = self.source(step, 0, where)
        rank = len(source.shape)
        gone = [a + rank for a in negative_axes(attrs.get("axis", (-1,)), rank)]
        target, adds = self.s.target(step, where)
        combine = self.s.combine(step)
        inner: Dims = [(f"g{i}", Size(source.shape[i])) for i in gone]
        outer: Dims = [(f"o{i}", Size(source.shape[i])) for i in range(rank) if i not in gone]
        names: dict[int, Key] = {i: (f"g{i}" if i in gone else f"o{i}") for i in range(rank)}
        strides = dict(source.lead) | {names[i]: source.steps[i] for i in range(rank)}
        read = Strided(source.pointer, strides, source.kind, True)
        if e.op == "softmax":
            spread: dict[Key, Size] = {names[i]: target.steps[i] for i in range(rank)}
        elif attrs.get("keepdims"):
            spread = {names[i]: target.steps[i] for i in range(rank) if i not in gone}
        else:
            spread = dict(zip(keys(outer), target.steps, strict=True))
        write = Strided(target.pointer, dict(target.lead) | spread, target.kind, True)
        operands = [read, write]
        if e.op == "cross_entropy":
            index = self.source(step, 1, where)
            picked = dict(index.lead) | dict(zip(keys(outer), index.steps, strict=True))
            operands.append(Strided(index.pointer, picked, "int", True))
        deep = [d for d in inner if d[1] != ONE]

        def store(pointer: Value, value: Typed, width: int) -> None:
            made = convert(c, value, target.kind)
            if adds:
                made = combine.join(c.load(pointer, target.kind, width), made)
            c.store(made, pointer, target.kind, width)

        def at(point: Point) -> None:
            here = replace(read, pointer=point.pointers[0], fresh=True)

            def label() -> Value:
                number = _within(c, c.load(point.pointers[2], "int"), source.shape[-1])
                place = c.moved(point.pointers[0], source.kind, c.b.mul(number, c.size(source.steps[-1])))
                return c.load(place, source.kind)

            value = element(e.op, _Row(c, here, deep, label))
            if e.op != "softmax":
                store(point.pointers[1], value((c.constant("float", 0), "float")), 1)
                return
            rows = [here, replace(write, pointer=point.pointers[1], fresh=True)]
            wide = bool(deep) and all(o.along(deep[-1][0]) == ONE for o in rows)

            def along(place: Point) -> None:
                x = c.load(place.pointers[0], "float", place.width), "float"
                store(place.pointers[1], value(x), place.width)

            c.nest(deep, rows, along, wide)

        c.nest(where.dims + outer, operands, at, False)

    def argmax(self, step: Compute, where: Where) -> None:
        """The place of the first largest element of each row; a nan counts as the largest."""
        c = self.c
        source = self.source(step, 0, where)
        target, adds = self.s.target(step, where)
        names = features(target.shape)
        *lead, last = source.steps
        read = Strided(
            source.pointer, dict(source.lead) | dict(zip(keys(names), lead, strict=True)), source.kind, fresh=True
        )

        def value(point: Point, operands: Sequence[Strided]) -> Typed:
            best, place = c.slot(c.type("float")), c.slot(I64)
            c.b.store(c.load(point.pointers[0], source.kind), best)
            c.b.store(c.i64(0), place)
            with c.loop(c.i64(1), c.i64(source.shape[-1])) as i:
                x = c.load(c.moved(point.pointers[0], source.kind, c.b.mul(i, c.size(last))), source.kind)
                top = c.b.load(best, c.type("float"))
                is_nan, was_nan = c.b.fcmp_unordered("uno", x, x), c.b.fcmp_unordered("uno", top, top)
                wins = c.b.and_(c.b.not_(was_nan), c.b.or_(c.b.fcmp_ordered(">", x, top), is_nan))
                with c.when(wins):
                    c.b.store(x, best)
                    c.b.store(i, place)
            return c.b.load(place, I64), "int"

        self.pointed(step, where, names, [read], target, value, adds)


class _Row:
    """A row as loops over vectors of its elements, see `stable_rows`."""

    def __init__(self, code: Code, read: Strided, deep: Dims, label: Callable[[], Value]) -> None:
        self.c, self.read, self.deep, self.label = code, read, deep, label

    def reduced(self, op: str, change: Callable[[Typed], Typed]) -> Typed:
        c, deep = self.c, self.deep
        largest, sum_ = Combine(lambda x, y: larger(c, x, y), float("-inf")), Combine(lambda x, y: c.b.fadd(x, y), 0)
        wide = bool(deep) and can_be_wide(deep, [self.read]) and self.read.along(deep[-1][0]) == ONE
        widths = c.lanes(deep[-1][1], wide) if deep else [1]
        partial = Partial(c, "float", widths, largest if op == "max" else sum_)

        def at(point: Point) -> None:
            x = c.load(point.pointers[0], "float", point.width), "float"
            partial.join(change(x)[0], point.width)

        c.nest(deep, [self.read], at, wide)
        return partial.total(), "float"

    def apply(self, op: str, *args: Typed | float) -> Typed:
        typed = [a if isinstance(a, tuple) else (self.c.constant("float", a), "float") for a in args]
        width = max(width_of(value) for value, _ in typed)
        wide = [(v if width_of(v) == width else self.c.splat(v, width), kind) for v, kind in typed]
        return pointwise(self.c, op, wide, "float")

    def named(self, value: Typed) -> Typed:
        return value

    def chosen(self) -> Typed:
        return self.label(), "float"
