"""GEMM packing: a matrix as panels of neighbouring columns, and a product with all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from . import runtime_library, tuning
from .ir_builder import Code
from .llvm_ir import FALSE, I1, I64, POINTER, VOID, Signature, Value, array
from .microkernel import KINDS, strip

Kind = tuple[int, bool]
"""Vectors of a panel, and whether the last of them is cut."""


def multiply(c: Code, args: Sequence[Value]) -> None:
    """Rows by panels ``first .. past - 1``, counted in vectors.

    args: the table of strips; the panels, elements from one vector to the next and from one row to the next (0 where
    they are packed); x and its steps from row to row and along the inner dimension; z and its step from row to row;
    rows, columns and inner size of the whole; first, past; whether z is added to; whether the last panel comes first
    """
    assert c.stop is not None, "a task knows where to look"
    kinds = [POINTER, POINTER, I64, I64, POINTER, I64, I64, POINTER, I64, I64, I64, I64, I64, I64, I1, I1, POINTER]
    c.b.call(runtime_library.function(c, "multiply", kinds, _multiply), [*args, c.stop])


def _multiply(c: Code, args: Sequence[Value]) -> None:
    *args, c.stop = args
    table, base, step, apart, x, across, along, z, down, rows, columns, deep, first, past, adds, backwards = args
    lanes, packed = c.i64(c.width), c.b.icmp_signed("==", apart, c.i64(0))
    left = c.b.add(c.b.srem(c.b.sub(columns, c.i64(1)), lanes), c.i64(1))
    written = Signature(VOID, KINDS)

    def panel(v: Value, vectors: int, cut: Value) -> None:
        address = c.b.add(c.i64(2 * (vectors - 1)), c.b.zext(cut, I64))
        function = c.b.load(c.b.gep(table, address, POINTER), POINTER)
        line = c.b.select(packed, c.i64(vectors * c.width), apart)
        start = c.moved(base, "float", c.b.mul(c.b.sub(v, first), step))
        out = c.moved(z, "float", c.b.mul(v, lanes))
        values = [start, line, x, across, along, out, down, rows, deep, left, adds]
        c.b.call(function, values, written)

    _over(c, columns, first, past, panel, backwards)


def pack(c: Code, args: Sequence[Value]) -> None:
    """Copy the columns of panels ``first .. past - 1``, counted in vectors.

    args: where to; the matrix, its steps from column to column and along the inner dimension; columns of the whole,
    inner size; first, past
    """
    kinds = [POINTER, POINTER, I64, I64, I64, I64, I64, I64]
    c.b.call(runtime_library.function(c, "pack", kinds, _pack), args)


def _pack(c: Code, args: Sequence[Value]) -> None:
    into, matrix, step, along, columns, deep, first, past = args

    def panel(v: Value, vectors: int, cut: Value) -> None:
        lane, column = c.i64(vectors * c.width), c.b.mul(v, c.i64(c.width))
        width = c.least(c.b.sub(columns, column), lane)
        address = c.moved(into, "float", c.b.mul(c.b.mul(c.b.sub(v, first), c.i64(c.width)), deep))
        copy(c, [address, lane, c.moved(matrix, "float", c.b.mul(column, step)), width, step, deep, along])

    _over(c, columns, first, past, panel)


def copy(c: Code, args: Sequence[Value]) -> None:
    """Copy columns so that those of one row lie side by side.

    args: where to, and from one row to the next there; the matrix; columns, and the step from one to the next; inner
    size, and the step along it
    """
    c.b.call(runtime_library.function(c, "copy", [POINTER, I64, POINTER, I64, I64, I64, I64], _copy), args)


def _copy(c: Code, args: Sequence[Value]) -> None:
    into, lane, matrix, columns, step, deep, along = args
    with c.b.if_else(c.b.icmp_signed("==", step, c.i64(1))) as (beside, apart):
        with beside:
            whole = c.b.and_(columns, c.i64(-c.width))
            with c.loop(c.i64(0), deep) as k:
                source = c.moved(matrix, "float", c.b.mul(k, along))
                target = c.moved(into, "float", c.b.mul(k, lane))
                for start, stop, width in ((c.i64(0), whole, c.width), (whole, columns, 1)):
                    with c.loop(start, stop, width) as j:
                        value = c.load(c.moved(source, "float", j), "float", width)
                        c.store(value, c.moved(target, "float", j), "float", width)
        with (  # a few neighbours of a column at a time: what is read and written both stay in the nearest cache
            apart,
            c.loop(c.i64(0), deep, tuning.COPY_K) as begin,
            c.loop(c.i64(0), columns) as j,
            c.loop(begin, c.least(c.b.add(begin, c.i64(tuning.COPY_K)), deep)) as k,
        ):
            source = c.moved(matrix, "float", c.b.add(c.b.mul(j, step), c.b.mul(k, along)))
            target = c.moved(into, "float", c.b.add(c.b.mul(k, lane), j))
            c.store(c.load(source, "float"), target, "float")


def _over(
    c: Code,
    columns: Value,
    first: Value,
    past: Value,
    write: Callable[[Value, int, Value], None],
    backwards: Value = FALSE,
) -> None:
    """``write(first vector, vectors, cut)`` for panels of three vectors, or two where one would be left, or one."""
    vectors = c.b.sub(past, first)
    single = c.b.icmp_signed("==", c.b.srem(vectors, c.i64(tuning.PANEL_VECTORS)), c.i64(1))
    several = c.b.icmp_signed(">", vectors, c.i64(1))
    fewer = c.b.zext(c.b.and_(single, several), I64)
    threes = c.b.mul(c.b.sub(c.b.sdiv(vectors, c.i64(tuning.PANEL_VECTORS)), fewer), c.i64(tuning.PANEL_VECTORS))
    twos = c.b.add(threes, c.b.and_(c.b.sub(vectors, threes), c.i64(-2)))
    ends = [first, c.b.add(first, threes), c.b.add(first, twos), past]
    for count, start, stop in zip((3, 2, 1), ends, ends[1:], strict=False):
        with c.loop(start, stop, count, long=True) as k:
            v = c.b.select(backwards, c.b.sub(c.b.add(start, c.b.sub(stop, c.i64(count))), k), k)
            end = c.b.mul(c.b.add(v, c.i64(count)), c.i64(c.width))
            write(v, count, c.b.icmp_signed(">", end, columns))


def table(c: Code, kinds: Iterable[Kind]) -> Value:
    """The strips for panels of these kinds, as `multiply` wants them."""
    wanted = sorted(kinds)
    name = "strips" + "".join(f"_{n}{'_cut' if cut else ''}" for n, cut in wanted)
    places = [(n, cut) for n in range(1, tuning.PANEL_VECTORS + 1) for cut in (False, True)]
    values = ", ".join(f"ptr {strip(c, *kind).text if kind in wanted else 'null'}" for kind in places)
    return c.module.variable(name, array(POINTER, len(places)), f"[{values}]", constant=True)


def parted(vectors: int, shares: int) -> list[tuple[int, int]]:
    """The first and the past-the-last vector of each of so many shares."""
    each = -(-vectors // shares)
    return [(min(n * each, vectors), min((n + 1) * each, vectors)) for n in range(shares)]


def occurring(columns: int, width: int, ranges: Iterable[tuple[int, int]]) -> set[Kind]:
    """The kinds of panels that ranges of the vectors of so many columns are made of."""
    total, widest = -(-columns // width), tuning.PANEL_VECTORS
    found = set()
    for start, past in ranges:
        while start < past:
            left = past - start
            n = widest if left >= widest and left != widest + 1 else min(left, 2)
            start += n
            found.add((n, start == total and columns % width != 0))
    return found


def every() -> set[Kind]:
    """All kinds of panels, for columns whose number is not known."""
    return {(n, cut) for n in range(1, tuning.PANEL_VECTORS + 1) for cut in (False, True)}
