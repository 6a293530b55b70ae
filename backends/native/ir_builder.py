"""Code: loops over vectors of several widths, and the pointers that advance with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from math import gcd

from ...records import record
from ..common.symbolic_size import ONE, ZERO, Dims, Key, Size
from . import tuning
from .llvm_builder import InstructionBuilder
from .llvm_ir import (
    DOUBLE,
    FALSE,
    FLOAT,
    I1,
    I8,
    I32,
    I64,
    POINTER,
    TRUE,
    VOID,
    Function,
    Module,
    Type,
    Value,
    constant,
    lanes,
    number,
    undefined,
    vector,
)


@record
class Strided:
    """Elements in memory along named dimensions; a dimension it lacks has stride 0.

    fresh  True where it is only written, or must be read again each time: never loaded ahead of a loop
    each   elements that every thread has of it for itself
    """

    pointer: Value
    strides: Mapping[Key, Size]
    kind: str
    fresh: bool = False
    each: int = 0

    def along(self, key: Key) -> Size:
        """Elements from one step of a dimension to the next."""
        return self.strides.get(key, ZERO)


@record
class Point:
    """Where a loop nest stands: one point, or `width` neighbours along the innermost dimension.

    pointers  one an operand
    inner     whether each operand moves along the innermost dimension
    ahead     values loaded before the innermost loop, for operands that do not
    index     the number of each dimension's step; along the innermost that of the first neighbour
    """

    width: int
    pointers: tuple[Value, ...]
    inner: tuple[bool, ...]
    ahead: Mapping[int, Value]
    index: Mapping[Key, Value]


class Code:
    """A module under construction, and the function of it that is being written.

    stop     where it stands that the run is to end early; None in a function that takes little time
    bounded  whether what is being written takes little time, for it is one step of many
    """

    def __init__(self, dtype: str, vector_bytes: int) -> None:
        self.dtype, self.vector_bytes = dtype, vector_bytes
        self.float = FLOAT if dtype == "float32" else DOUBLE
        self.bytes = {"float": 4 if dtype == "float32" else 8, "int": 8, "bool": 1}
        self.width = vector_bytes // self.bytes["float"]
        self.module, self._side = Module(), Module()
        self.function = Function(Module(), "nothing is written yet", VOID, ())
        self.entry = self.b = InstructionBuilder(self.function.block())
        self._symbols: dict[tuple[str, int], Value] = {}
        self._sizes: dict[Size, Value] = {}
        self.inputs: dict[str, Value] = {}
        self.stop: Value | None = None
        self.bounded = False

    def text(self) -> str:
        """The text of the module."""
        return str(self.module)

    @contextmanager
    def function_named(
        self, name: str, kinds: Sequence[Type] = (POINTER, I64), linkage: str = "internal"
    ) -> Iterator[Function]:
        """Write a function of the module, then go on with the one that was being written."""
        saved = self.function, self.entry, self.b, self._symbols, self._sizes, self.inputs, self.stop
        function = Function(self.module, name, VOID, kinds)
        function.linkage = linkage
        self.function, self._symbols, self._sizes, self.stop = function, {}, {}, None
        self.entry, self.b = InstructionBuilder(function.block()), InstructionBuilder(function.block())
        yield function
        self.b.ret_void()
        self.entry.branch(function.blocks[1])
        self.function, self.entry, self.b, self._symbols, self._sizes, self.inputs, self.stop = saved

    @contextmanager
    def task(self, name: str) -> Iterator[Function]:
        """Write a function ``(arguments, number of the share)`` into the module of tasks, which `tasks` returns."""
        before = self.module
        self.module = self._side
        with self.function_named(name, (POINTER, I64), "internal" if before is self._side else "external") as function:
            yield function
        self.module = before

    def tasks(self) -> Module | None:
        """The tasks written since it was last asked, as a module of their own; None where there are none."""
        side, self._side = self._side, Module()
        return side if side.functions else None

    # -- types and numbers -----------------------------------------------------------------------------------------

    def memory(self, kind: str) -> Type:
        """The type of an element in memory."""
        return {"float": self.float, "int": I64, "bool": I8}[kind]

    def type(self, kind: str, width: int = 1) -> Type:
        """The type of a value in registers."""
        return vector(self.float if kind == "float" else I64 if kind == "int" else I1, width)

    def i64(self, value: int) -> Value:
        return constant(I64, value)

    def constant(self, kind: str, value: float, width: int = 1) -> Value:
        """A number, in every lane."""
        return constant(self.type(kind, width), float(value) if kind == "float" else int(value))

    def splat(self, value: Value, width: int) -> Value:
        """A scalar in every lane."""
        if width == 1:
            return value
        nothing = undefined(vector(value.type, width))
        first = self.b.insert_element(nothing, value, constant(I32, 0))
        return self.b.shuffle_vector(first, nothing, constant(vector(I32, width), 0))

    # -- sizes -----------------------------------------------------------------------------------------------------

    def size(self, size: Size) -> Value:
        """A size as a number; computed once, at the entry."""
        if size.known:
            return self.i64(size.factor)
        if size not in self._sizes:
            value: Value | None = None
            for end, k in size.symbols:
                if (end, k) not in self._symbols:
                    moved = self.entry.add(self.inputs[end], self.i64(k))
                    positive = self.entry.icmp_signed(">", moved, self.i64(0))
                    self._symbols[end, k] = self.entry.select(positive, moved, self.i64(0))
                symbol = self._symbols[end, k]
                value = symbol if value is None else self.entry.mul(value, symbol)
            assert value is not None, "a size that is not known has symbols"
            self._sizes[size] = self.entry.mul(value, self.i64(size.factor))
        return self._sizes[size]

    def least(self, x: Value, y: Value, builder: InstructionBuilder | None = None) -> Value:
        """The smaller of two numbers."""
        b = builder or self.b
        return b.select(b.icmp_signed("<", x, y), x, y)

    # -- memory ----------------------------------------------------------------------------------------------------

    def slot(self, kind: Type) -> Value:
        """A variable of the function, which becomes a register."""
        return self.entry.alloca(kind)

    def moved(self, pointer: Value, kind: str, steps: Value) -> Value:
        """The pointer so many elements on."""
        return self.b.gep(pointer, steps, self.memory(kind))

    def load(self, pointer: Value, kind: str, width: int = 1) -> Value:
        """One element, or neighbours."""
        wide = vector(self.memory(kind), width)
        value = self.b.load(pointer, wide, self.bytes[kind])
        return self.b.icmp_unsigned("!=", value, constant(wide, 0)) if kind == "bool" else value

    def store(self, value: Value, pointer: Value, kind: str, width: int = 1) -> None:
        """Write one element, or neighbours."""
        if kind == "bool":
            value = self.b.zext(value, vector(I8, width))
        self.b.store(value, pointer, self.bytes[kind])

    # -- control ---------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1, long: bool = False) -> Iterator[Value]:
        """``for i in range(start, stop, step)``; a long one stops where the run is to end early."""
        first, past = number(start), number(stop)
        if first is not None and past is not None and len(range(first, past, step)) == 1:
            yield start
            return
        counter = self.slot(I64)
        self.b.store(start, counter)
        test, body, end = (self.function.block() for _ in range(3))
        self.b.branch(test)
        self.b.position_at_end(test)
        i = self.b.load(counter, I64)
        more = self.b.icmp_signed("<" if step > 0 else ">", i, stop)
        if long and self.stop is not None:
            more = self.b.and_(more, self.b.unset(self.stop))
        self.b.cbranch(more, body, end)
        self.b.position_at_end(body)
        yield i
        self.b.store(self.b.add(i, self.i64(step)), counter)
        self.b.branch(test)
        self.b.position_at_end(end)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """``if condition``."""
        if number(condition):
            yield
            return
        with self.b.if_then(condition):
            yield

    @contextmanager
    def unless(self, condition: Value) -> Iterator[None]:
        """``if not condition``."""
        with self.when(self.b.select(condition, FALSE, TRUE)):
            yield

    @contextmanager
    def going(self) -> Iterator[None]:
        """Unless the run is to end early: what is left out then is never read by anybody."""
        if self.stop is None:
            yield
            return
        with self.when(self.b.unset(self.stop)):
            yield

    def nest(
        self,
        dims: Dims,
        operands: Sequence[Strided],
        body: Callable[[Point], None],
        wide: bool = True,
        part: tuple[Value, Value] | None = None,
    ) -> None:
        """Run `body` at every point of `dims`, the last innermost; wide, where the operands allow, along the last.

        part  of a nest of one dimension, the first step and past the last: the first a multiple of the widest vector
        """
        pointers = tuple(o.pointer for o in operands)
        if self.stop is None or self.bounded or part or not dims or dims[0][1].known:
            self._level(dims, pointers, operands, body, wide, {}, part)
            return
        stop, chunk = self.size(dims[0][1]), self.i64(_chunk(dims, wide))
        with self.loop(self.i64(0), stop, _chunk(dims, wide), long=True) as first:
            past = self.least(self.b.add(first, chunk), stop)
            self._level(dims, pointers, operands, body, wide, {}, (first, past))

    def lanes(self, extent: Size, wide: bool) -> list[int]:
        """The widths of vectors that cover a dimension: as many of the first as fit, then of the last what is left.

        Of a known size that is one narrower vector; of any other, vectors as wide as divide it for all lengths.
        """
        if not wide:
            return [1]
        whole, rest = divmod(extent.factor, self.width)
        if extent.known:
            return [self.width] * (whole > 0) + [rest] * (rest > 0) or [1]
        return [self.width] + [gcd(rest, self.width)] * (rest > 0)

    def _level(
        self,
        dims: Dims,
        pointers: tuple[Value, ...],
        operands: Sequence[Strided],
        body: Callable[[Point], None],
        wide: bool,
        index: Mapping[Key, Value],
        part: tuple[Value, Value] | None = None,
    ) -> None:
        """One loop of a nest and those inside it: no deeper than a value has axes."""
        if not dims:
            body(Point(1, pointers, (False,) * len(operands), {}, index))
            return
        (key, extent), *rest = dims
        first, stop = part or (self.i64(0), self.size(extent))
        if rest:
            with self.loop(first, stop) as i:
                moved = self._at(pointers, operands, key, i)
                self._level(rest, moved, operands, body, wide, {**index, key: i})
            return
        inner = tuple(o.along(key) != ZERO for o in operands)
        with self.when(self.b.icmp_signed(">", stop, first)):
            ahead = {
                n: self.load(pointers[n], o.kind)
                for n, o in enumerate(operands)
                if not inner[n] and not o.fresh
            }  # fmt: skip
            start = first
            widths = self.lanes(extent, wide)
            for lanes in widths:
                past = stop if lanes == widths[-1] else self.b.and_(stop, self.i64(-lanes))
                with self.loop(start, past, lanes) as i:
                    body(Point(lanes, self._at(pointers, operands, key, i), inner, ahead, {**index, key: i}))
                start = past

    def numbers(self, i: Value, width: int) -> Value:
        """``i, i + 1, ...`` in so many lanes."""
        if width == 1:
            return i
        return self.b.add(self.splat(i, width), lanes(vector(I64, width), range(width)))

    def _at(self, pointers: Sequence[Value], operands: Sequence[Strided], key: Key, i: Value) -> tuple[Value, ...]:
        return tuple(
            p if o.along(key) == ZERO else self.moved(p, o.kind, self.times(i, o.along(key)))
            for p, o in zip(pointers, operands, strict=True)
        )

    def times(self, i: Value, size: Size) -> Value:
        """A number times a size."""
        return i if size == ONE else self.b.mul(i, self.size(size))

    def value(self, operands: Sequence[Strided], point: Point, n: int) -> Value:
        """What operand `n` holds at a point."""
        if n in point.ahead:
            return self.splat(point.ahead[n], point.width)
        if point.inner[n]:
            return self.load(point.pointers[n], operands[n].kind, point.width)
        return self.splat(self.load(point.pointers[n], operands[n].kind), point.width)

    def total(self, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined, pairwise."""
        width = value.type.count
        odd: list[Value] = []
        while width > 1:
            if width % 2:
                odd.append(self.b.extract_element(value, constant(I32, width - 1)))
            width //= 2
            value = combine(self._part(value, 0, width), self._part(value, width, width))
        return reduce(combine, odd, value)

    def _part(self, value: Value, first: int, width: int) -> Value:
        """So many lanes."""
        if width == 1:
            return self.b.extract_element(value, constant(I32, first))
        return self.b.shuffle_vector(value, value, lanes(vector(I32, width), range(first, first + width)))


def _chunk(dims: Dims, wide: bool) -> int:
    """Steps of the outermost dimension that take some milliseconds at most, a multiple of the widest vector."""
    if len(dims) == 1:
        return tuning.CHUNK if wide else tuning.CHUNK_ROWS
    return tuning.CHUNK_ROWS if all(extent.known for _, extent in dims[1:]) else 1


def collapsed(
    dims: Dims, operands: Sequence[Strided], kept: frozenset[Key] = frozenset()
) -> tuple[Dims, list[Strided]]:
    """The same points with fewer dimensions: of size 1 left out, neighbours that lie end to end made one."""
    merged: Dims = []
    strides = [dict(o.strides) for o in operands]
    for key, extent in dims:
        if extent == ONE and key not in kept:
            continue
        if merged and key not in kept and merged[-1][0] not in kept:
            before, outer = merged[-1]
            if all(s.get(before, ZERO) == s.get(key, ZERO) * extent for s in strides) or all(
                s.get(before, ZERO).factor == 0 and s.get(key, ZERO).factor == 0 for s in strides
            ):
                merged[-1] = (key, outer * extent)
                continue
        merged.append((key, extent))
    return merged, [replace(o, strides=s) for o, s in zip(operands, strides, strict=True)]


def can_be_wide(dims: Dims, operands: Sequence[Strided]) -> bool:
    """True if along the last dimension every operand lies side by side or stays where it is."""
    return bool(dims) and all(o.along(dims[-1][0]) in (ZERO, ONE) for o in operands)
