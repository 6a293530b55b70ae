"""Sums over steps and examples: a block for 32 of them, or 32 blocks whose sums are added up after; the order is fixed.

Which of the two follows from the sizes alone, so that every device gives the same bits. No float atomics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from ...compiler.statements import Access, Compute
from ..common.symbolic_size import EXAMPLES, Dims, Key, Size, features, points_in
from . import tuning
from .cuda_source import TYPES, operand, times
from .kernels import KernelWriter
from .plan import Launch, Need, Scratch
from .scalar_expressions import convert


@dataclass(frozen=True)
class Shape:
    """What a statement sums over, and what for.

    kept, gone  dimensions of steps and examples
    dims        those of the sums: `kept`, then per-example axes
    """

    kept: Dims
    gone: Dims
    dims: Dims

    @property
    def points(self) -> Size:
        """How many sums there are."""
        return points_in(self.dims)

    @property
    def lanes(self) -> int | None:
        """Sums of a block; None where their number is not known."""
        points = self.points
        return min(tuning.SUMS_PER_BLOCK, 1 << max(points.factor - 1, 0).bit_length()) if points.known else None


def shape_of(w: KernelWriter, step: Compute) -> Shape:
    """What is summed."""
    e = step.equation
    out = w.layouts[e.out.name]
    running = set(e.out.running)
    gone = [(k, n) for k, n in w.spans(e.batched) if k not in running and (k != EXAMPLES or not out.batched)]
    kept = [(k, n) for k, n in w.spans(out.batched) if (k, n) not in gone]
    if e.op == "scatter":
        gone += [(f"|{i}", Size(n)) for i, n in enumerate(w.values.shape(step.args[1]))]
    return Shape(kept, gone, [*kept, *features(out.shape)])


def shared(w: KernelWriter, step: Compute) -> Scratch | None:
    """Where the sums of pieces go, and at which sizes there are any; None where blocks never share these sums."""
    s = shape_of(w, step)
    if s.points.known and s.points.factor > tuning.MAX_SHARED_SUMS:
        return None
    slices = 1 if step.equation.op == "scatter" else tuning.THREADS_PER_BLOCK // (s.lanes or tuning.SUMS_PER_BLOCK)
    needs = Need(points_in(s.gone), tuning.MIN_TERMS_LONG_SUM * slices), Need(s.points, upto=tuning.MAX_SHARED_SUMS)
    return Scratch(Size(tuning.BLOCKS_PER_SUM) * s.points, _kind(w, step), needs)


def _kind(w: KernelWriter, step: Compute) -> str:
    return "int" if w.layouts[step.equation.out.name].kind == "int" else "float"


def added(w: KernelWriter, step: Compute, scratch: str) -> Launch:
    """The sums: each by one block or, with the name of a scratch host, by as many as the launch says."""
    return _rows_of_a_table(w, step, scratch) if step.equation.op == "scatter" else _side_by_side(w, step, scratch)


def times_over(launch: Launch, pieces: int) -> Launch:
    """A launch in which so many blocks share each sum."""
    given = tuple((kind, pieces if kind == "count" else which) for kind, which in launch.arguments)
    return replace(launch, arguments=given, copies=pieces)


def _part(w: KernelWriter, gone: Dims, scratch: str) -> tuple[str, str, str]:
    """The number of a block among those that do the same, and the first and the last but one of what it adds up."""
    k, size = w.k, w.k.size(points_in(gone))
    if not scratch:
        return "block", "0", size
    pieces = k.given("count", "", "pieces")
    k.line(f"index_t piece = block % {pieces}, share = ({size} + {pieces} - 1) / {pieces};")
    k.line(f"index_t stop = (piece + 1) * share < {size} ? (piece + 1) * share : {size};")
    return f"(block / {pieces})", "piece * share", "stop"


def _side_by_side(w: KernelWriter, step: Compute, scratch: str) -> Launch:
    k, e = w.k, step.equation
    s, kind = shape_of(w, step), _kind(w, step)
    points = k.size(s.points)
    k.shares(TYPES[kind], "part", tuning.THREADS_PER_BLOCK)
    k.line(f"int lanes = {s.lanes or f'fitting({points})'}, slices = {tuning.THREADS_PER_BLOCK} / lanes;")
    k.line("int lane = threadIdx.x % lanes, slice = threadIdx.x / lanes;")
    block, first, stop = _part(w, s.gone, scratch)
    k.line(f"index_t point = {block} * lanes + lane;")
    k.line(f"bool inside = point < {points};")
    which = k.new("index", "point", "which") if scratch else ""
    found = k.coordinates("point", s.dims)
    index = [found[key] for key, _ in s.dims if isinstance(key, str) and key.startswith(".")]
    meets = k.new(kind, "0" if e.combine == "sum" else "-ENDLESS", "sum")
    k.line("#pragma unroll 4")  # four loads on their way at once
    with k.block(f"for (index_t next = {first} + slice; inside && next < {stop}; next += slices)"):
        deep = k.coordinates(k.new("index", "next", "at"), s.gone)
        value = convert(w.values.value(step, {**found, **deep}, index), kind)
        k.line(f"{meets} = {w.joined(step, meets, value)};")
    k.line(f"part[threadIdx.x] = {meets};")
    with k.block("for (int half = slices / 2; half; half /= 2)"):
        k.line("__syncthreads();")
        other = w.joined(step, "part[threadIdx.x]", "part[threadIdx.x + half * lanes]")
        k.line(f"if (slice < half) part[threadIdx.x] = {other};")
    with k.block("if (inside && slice == 0)"):
        _store(w, step, found, index, "part[lane]", which, scratch)
    return w.launch(s.points, s.lanes or tuning.SUMS_PER_BLOCK, tuning.THREADS_PER_BLOCK)


def _rows_of_a_table(w: KernelWriter, step: Compute, scratch: str) -> Launch:
    """A block for a row of a table and 256 of its elements: it looks for its row's entries, and adds up those."""
    k = w.k
    values, which = step.args
    s = shape_of(w, step)
    rows, *rest = w.layouts[step.equation.out.name].shape
    width = math.prod(rest)
    blocks = [*s.kept, ("row", Size(rows)), ("chunk", Size(-(-width // tuning.THREADS_PER_BLOCK)))]
    k.shares("unsigned", "hits", tuning.TABLE_TILE // 32)
    block, first, stop = _part(w, s.gone, scratch)
    k.line(f"index_t point = {block};")
    found = k.coordinates("point", blocks)
    column = k.new("index", f"{found['chunk']} * {tuning.THREADS_PER_BLOCK} + threadIdx.x", "column")
    k.line(f"bool inside = {column} < {width};")
    across = k.coordinates(k.new("index", column, "at"), features(rest))
    index = [across[key] for key, _ in features(rest)]
    total = k.new("float", "0", "sum")

    def entry(number: str) -> tuple[Mapping[Key, str], list[str]]:
        deep = k.coordinates(k.new("index", number, "entry"), s.gone)
        return {**found, **deep}, [deep[key] for key, _ in s.gone if isinstance(key, str) and key.startswith("|")]

    with k.block(f"for (index_t tile = {first}; tile < {stop}; tile += {tuning.TABLE_TILE})"):
        k.line(f"if (threadIdx.x < {tuning.TABLE_TILE // 32}) hits[threadIdx.x] = 0;")
        k.line("__syncthreads();")
        inside = f"spot < {tuning.TABLE_TILE} && tile + spot < {stop}"
        with k.block(f"for (int spot = threadIdx.x; {inside}; spot += {tuning.THREADS_PER_BLOCK})"):
            lead, inner = entry("tile + spot")
            row = w.values.within(w.values.read(which, lead, inner), rows)
            k.line(f"if ({row} == {found['row']}) atomicOr(&hits[spot / 32], 1u << spot % 32);")
        k.line("__syncthreads();")
        with (
            k.block(f"for (int word = 0; word < {tuning.TABLE_TILE // 32}; word++)"),
            k.block("for (unsigned left = inside ? hits[word] : 0; left; left &= left - 1)"),
        ):
            lead, inner = entry("tile + word * 32 + __ffs(left) - 1")
            k.line(f"{total} += {convert(w.values.read(values, lead, [*inner, *index]), 'float')};")
        k.line("__syncthreads();")
    with k.block("if (inside)"):
        flat = ""
        if scratch:
            before = "0"
            for key, size in [*s.kept, ("row", Size(rows))]:
                before = f"({before} * {k.size(size)} + {found[key]})"
            flat = f"({before} * {width} + {column})"
        _store(w, step, found, [found["row"], *index], total, flat, scratch)
    return w.launch(points_in(blocks), 1, tuning.THREADS_PER_BLOCK)


def _store(
    w: KernelWriter, step: Compute, lead: Mapping[Key, str], index: list[str], value: str, which: str, scratch: str
) -> None:
    """Store a sum; in the row of its piece, where there are several."""
    k, kind = w.k, _kind(w, step)
    if scratch:
        host = k.scratch(scratch, kind, written=True)
        at = times("piece", k.size(shape_of(w, step).points))
        k.line(f"if ({k.given('count', '', 'pieces')} > 1) {host}[{at} + {which}] = {value};")
    value = convert((value, kind), w.layouts[step.equation.out.name].kind)
    with k.block("else") if scratch else nullcontext():
        if step.mode == "add":
            value = w.joined(step, w.before(step, lead, index), value)
        k.store(operand(w.layouts, Access(step.equation.out), w.where), lead, index, value)


def joined(w: KernelWriter, step: Compute, scratch: str) -> Launch:
    """The sums of pieces added up, in their order."""
    k, kind, s = w.k, _kind(w, step), shape_of(w, step)
    points = k.size(s.points)
    k.each = tuning.THREADS_PER_BLOCK
    k.line(f"if (point >= {points}) return;")
    host = k.scratch(scratch, kind)
    meets = k.new(kind, f"{host}[point]", "sum")
    k.line("#pragma unroll")
    with k.block(f"for (int piece = 1; piece < {tuning.BLOCKS_PER_SUM}; piece++)"):
        part = f"{host}[{times('piece', points)} + point]"
        k.line(f"{meets} = {w.joined(step, meets, part)};")
    found = k.coordinates("point", s.dims)
    index = [found[key] for key, _ in s.dims if isinstance(key, str) and key.startswith(".")]
    _store(w, step, found, index, meets, "", "")
    return w.launch(s.points, tuning.THREADS_PER_BLOCK, tuning.THREADS_PER_BLOCK)
