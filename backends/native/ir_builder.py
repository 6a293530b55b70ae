"""LLVM IR by hand: types, loops over vectors of several widths, and the pointers that advance with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from math import gcd
from typing import Any

from llvmlite import ir

from ..common.symbolic_size import ONE, ZERO, Key, Size
from .constant_folding import Builder, number

I64, I32, I8, I1 = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.IntType(1)
POINTER = ir.PointerType()
Value = Any


@dataclass(frozen=True)
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


Dims = list[tuple[Key, Size]]


@dataclass(frozen=True)
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
    """A module under construction, and the function of it that is being written."""

    def __init__(self, dtype: str, vector_bytes: int) -> None:
        self.dtype, self.vector_bytes = dtype, vector_bytes
        self.float: Any = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.bytes = {"float": 4 if dtype == "float32" else 8, "int": 8, "bool": 1}
        self.width = vector_bytes // self.bytes["float"]
        self.module = ir.Module("unroll")
        self._side = ir.Module("unroll")
        self.function: Any = None
        self.entry: Any = None
        self.b: Any = None
        self._symbols: dict[tuple[str, int], Value] = {}
        self._sizes: dict[Size, Value] = {}
        self.inputs: dict[str, Value] = {}

    def text(self) -> str:
        """The text of the module."""
        return str(self.module)

    @contextmanager
    def function_named(
        self, name: str, kinds: Sequence[Any] = (POINTER, I64), linkage: str = "internal"
    ) -> Iterator[Any]:
        """Write a function of the module, then go on with the one that was being written."""
        saved = self.function, self.entry, self.b, self._symbols, self._sizes, self.inputs
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = linkage
        self.function, self._symbols, self._sizes = function, {}, {}
        self.entry = Builder(function.append_basic_block("entry"))
        self.b = Builder(function.append_basic_block("body"))
        yield function
        self.b.ret_void()
        self.entry.branch(function.basic_blocks[1])
        self.function, self.entry, self.b, self._symbols, self._sizes, self.inputs = saved

    @contextmanager
    def job(self, name: str) -> Iterator[Any]:
        """Write a function ``(arguments, number of the share)`` into the module of jobs, which `jobs` hands out."""
        before = self.module
        self.module = self._side
        with self.function_named(name, (POINTER, I64), "internal" if before is self._side else "external") as function:
            yield function
        self.module = before

    def jobs(self) -> ir.Module | None:
        """The jobs written since it was last asked, as a module of their own; None where there are none."""
        side, self._side = self._side, ir.Module("unroll")
        return side if side.functions else None

    # -- types and numbers -----------------------------------------------------------------------------------------

    def memory(self, kind: str) -> Any:
        """The type of an element in memory."""
        return {"float": self.float, "int": I64, "bool": I8}[kind]

    def type(self, kind: str, width: int = 1) -> Any:
        """The type of a value in registers."""
        one = {"float": self.float, "int": I64, "bool": I1}[kind]
        return one if width == 1 else ir.VectorType(one, width)

    def i64(self, value: int) -> Value:
        return ir.Constant(I64, value)

    def constant(self, kind: str, value: Any, width: int = 1) -> Value:
        """A number, in every lane."""
        one = ir.Constant(self.type(kind), float(value) if kind == "float" else int(value))
        return one if width == 1 else ir.Constant(self.type(kind, width), [one] * width)

    def splat(self, value: Value, width: int) -> Value:
        """A scalar in every lane."""
        if width == 1:
            return value
        kind = ir.VectorType(value.type, width)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, width), [0] * width)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    # -- sizes -----------------------------------------------------------------------------------------------------

    def size(self, size: Size) -> Value:
        """A size as a number; computed once, at the entry."""
        if size.known:
            return self.i64(size.factor)
        if size not in self._sizes:
            value: Value = None
            for end, k in size.symbols:
                if (end, k) not in self._symbols:
                    moved = self.entry.add(self.inputs[end], self.i64(k))
                    positive = self.entry.icmp_signed(">", moved, self.i64(0))
                    self._symbols[end, k] = self.entry.select(positive, moved, self.i64(0))
                symbol = self._symbols[end, k]
                value = symbol if value is None else self.entry.mul(value, symbol)
            self._sizes[size] = value if size.factor == 1 else self.entry.mul(value, self.i64(size.factor))
        return self._sizes[size]

    def least(self, x: Value, y: Value, builder: Any = None) -> Value:
        """The smaller of two numbers."""
        b = builder or self.b
        return b.select(b.icmp_signed("<", x, y), x, y)

    # -- memory ----------------------------------------------------------------------------------------------------

    def slot(self, kind: Any, name: str = "") -> Value:
        """A variable of the function, which becomes a register."""
        return self.entry.alloca(kind, name=name)

    def moved(self, pointer: Value, kind: str, steps: Value) -> Value:
        """The pointer so many elements on."""
        return self.b.gep(pointer, [steps], source_etype=self.memory(kind))

    def load(self, pointer: Value, kind: str, width: int = 1) -> Value:
        """One element, or neighbours."""
        one = self.memory(kind)
        wide = one if width == 1 else ir.VectorType(one, width)
        value = self.b.load(pointer, typ=wide, align=self.bytes[kind])
        if kind == "bool":
            none = ir.Constant(I8, 0) if width == 1 else ir.Constant(wide, [0] * width)
            return self.b.icmp_unsigned("!=", value, none)
        return value

    def store(self, value: Value, pointer: Value, kind: str, width: int = 1) -> None:
        """Write one element, or neighbours."""
        if kind == "bool":
            value = self.b.zext(value, I8 if width == 1 else ir.VectorType(I8, width))
        self.b.store(value, pointer, align=self.bytes[kind])

    # -- control ---------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1) -> Iterator[Value]:
        """``for i in range(start, stop, step)``."""
        first, past = number(start), number(stop)
        if first is not None and past is not None and len(range(first, past, step)) == 1:
            yield start
            return
        counter = self.slot(I64)
        self.b.store(start, counter)
        test, body, end = (self.function.append_basic_block() for _ in range(3))
        self.b.branch(test)
        self.b.position_at_end(test)
        i = self.b.load(counter, typ=I64)
        self.b.cbranch(self.b.icmp_signed("<" if step > 0 else ">", i, stop), body, end)
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
        with self.when(self.b.select(condition, I1(0), I1(1))):
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
        self._level(dims, tuple(o.pointer for o in operands), operands, body, wide, {}, part)

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
            with self.loop(self.i64(0), stop) as i:
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
        lanes = ir.Constant(ir.VectorType(I64, width), list(range(width)))
        return self.b.add(self.splat(i, width), lanes)

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

    def total(self, vector: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined, pairwise."""
        width = vector.type.count if isinstance(vector.type, ir.VectorType) else 1
        odd: list[Value] = []
        while width > 1:
            if width % 2:
                odd.append(self.b.extract_element(vector, ir.Constant(I32, width - 1)))
            width //= 2
            mask = ir.VectorType(I32, width)
            low = self.b.shuffle_vector(vector, vector, ir.Constant(mask, list(range(width))))
            high = self.b.shuffle_vector(vector, vector, ir.Constant(mask, list(range(width, 2 * width))))
            vector = combine(low, high)
        if isinstance(vector.type, ir.VectorType):
            vector = self.b.extract_element(vector, ir.Constant(I32, 0))
        return reduce(combine, odd, vector)


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
