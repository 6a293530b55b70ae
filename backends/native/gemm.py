"""Matrix products by BLAS: which of its functions, and how to lay its arguments out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .code import I1, I8, I32, POINTER, Code, Value
from .sharing import ENOUGH, Job, Sharing
from .sizes import ONE, ZERO, Size


@dataclass(frozen=True)
class Group:
    """Dimensions of a product seen as one: its size, and the step of each operand along it."""

    extent: Size
    left: Size
    right: Size
    out: Size

    def turned(self) -> Group:
        """With its operands exchanged."""
        return Group(self.extent, self.right, self.left, self.out)


BLOCK = 16
"""Rows of a share are a multiple of this."""
NOTHING = Group(ONE, ZERO, ZERO, ZERO)


class Blas:
    """Calls of BLAS, which takes everything by address and counts columns first."""

    def __init__(self, code: Code, sharing: Sharing) -> None:
        self.c, self.sharing = code, sharing
        self.letter = "s" if isinstance(code.float, ir.FloatType) else "d"
        self.used: set[str] = set()
        self._constants: dict[tuple[str, Any], Value] = {}

    def product(self, rows: Group, columns: Group, deep: Group, x: Value, y: Value, z: Value, adds: bool) -> None:
        """``z (+)= x @ y``; zeros where nothing is summed. BLAS is never called with a size of 0."""
        c = self.c
        sizes = [g.extent for g in (rows, columns, deep) if not g.extent.known]
        if not adds and not deep.extent.known:
            with c.when(c.b.icmp_signed("==", c.size(deep.extent), c.i64(0))):
                self._zero(rows, columns, z)
        there = ir.Constant(I1, 1)
        for size in sizes:
            there = c.b.and_(there, c.b.icmp_signed(">", c.size(size), c.i64(0)))
        with c.when(there):
            self._product(rows, columns, deep, x, y, z, adds)

    def _zero(self, rows: Group, columns: Group, z: Value) -> None:
        c = self.c
        with c.loop(c.i64(0), c.size(rows.extent)) as i, c.loop(c.i64(0), c.size(columns.extent)) as j:
            at = c.b.add(c.b.mul(i, c.size(rows.out)), c.b.mul(j, c.size(columns.out)))
            c.store(c.constant("float", 0), c.moved(z, "float", at), "float")

    def _product(self, rows: Group, columns: Group, deep: Group, x: Value, y: Value, z: Value, adds: bool) -> None:
        c = self.c
        if columns is NOTHING:
            self._vector(rows.extent, rows.left, rows.out, deep.extent, deep.left, deep.right, x, y, z, adds)
            return
        if rows is NOTHING:
            self._vector(columns.extent, columns.right, columns.out, deep.extent, deep.right, deep.left, y, x, z, adds)
            return
        if columns.out != ONE:
            self._product(columns.turned(), rows.turned(), deep.turned(), y, x, z, adds)
            return
        if rows.extent.known:
            self._matrix(rows, columns, deep, x, y, z, adds)
            return
        single = c.b.icmp_signed("==", c.size(rows.extent), c.i64(1))
        with c.b.if_else(single) as (one, many):
            with one:
                self._vector(
                    columns.extent, columns.right, columns.out, deep.extent, deep.right, deep.left, y, x, z, adds
                )
            with many:
                self._matrix(rows, columns, deep, x, y, z, adds)

    def _matrix(self, rows: Group, columns: Group, deep: Group, x: Value, y: Value, z: Value, adds: bool) -> None:
        """Row by row in memory is column by column of the transposes: z' = y' x'."""
        y_plain, x_plain = columns.right == ONE, deep.left == ONE
        c = self.c
        total = c.b.mul(c.size(rows.extent), c.b.mul(c.size(columns.extent), c.size(deep.extent)))
        large = c.b.icmp_signed(">=", total, c.i64(ENOUGH))
        threads = self.sharing.helpers + 1
        sizes = (
            rows.extent, columns.extent, deep.extent, deep.right if y_plain else columns.right,
            rows.left if x_plain else deep.left, rows.out, rows.left,
        )  # fmt: skip

        def write(job: Job) -> None:
            left, right, out = job.pointers
            m, n, k, along_y, along_x, along_z, step = job.sizes
            each = c.b.udiv(c.b.add(m, c.i64(threads * BLOCK - 1)), c.i64(threads * BLOCK))
            start = c.b.mul(job.share, c.b.mul(each, c.i64(BLOCK)))
            rest = c.b.sub(m, start)
            whole = c.b.icmp_signed("<", rest, c.b.mul(each, c.i64(BLOCK)))
            count = c.b.select(whole, rest, c.b.mul(each, c.i64(BLOCK)))
            with c.when(c.b.icmp_signed(">", count, c.i64(0))):
                self.call(
                    "gemm",
                    self.letter_of("N" if y_plain else "T"), self.letter_of("N" if x_plain else "T"),
                    self.small(n), self.small(count), self.small(k), self.real(1.0), right, self.small(along_y),
                    c.moved(left, "float", c.b.mul(start, step)), self.small(along_x),
                    self.real(1.0 if adds else 0.0), c.moved(out, "float", c.b.mul(start, along_z)),
                    self.small(along_z),
                )  # fmt: skip

        self.sharing.run((x, y, z), sizes, c.i64(threads), large, write)

    def small(self, value: Value) -> Value:
        """The address of a size, in the job at hand."""
        slot = self.c.slot(I32)
        self.c.b.store(self.c.b.trunc(value, I32), slot)
        return slot

    def _vector(
        self,
        n: Size,
        across: Size,
        out: Size,
        k: Size,
        along: Size,
        step: Size,
        a: Value,
        v: Value,
        z: Value,
        adds: bool,
    ) -> None:
        """``z[n] (+)= sum over k of a[n, k] v[k]``, from the steps of each."""
        turned = along == ONE
        first, second = (k, n) if turned else (n, k)
        self.call(
            "gemv", self.letter_of("T" if turned else "N"), self.number(first), self.number(second), self.real(1.0),
            a, self.number(across if turned else along), v, self.number(step),
            self.real(1.0 if adds else 0.0), z, self.number(out),
        )  # fmt: skip

    def call(self, name: str, *args: Value) -> None:
        """A BLAS subroutine."""
        symbol = f"{self.letter}{name}"
        function = self.c.module.globals.get(f"unroll_{symbol}")
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [POINTER] * len(args))
            function = ir.Function(self.c.module, kind, f"unroll_{symbol}")
            self.used.add(symbol)
        self.c.b.call(function, args)

    def number(self, size: Size) -> Value:
        """The address of a size."""
        if size.known:
            return self._constant(I32, max(size.factor, 1) if size.factor else 1)
        c = self.c
        slot = self._constants.get(("size", size))
        if slot is None:
            slot = c.slot(I32)
            c.entry.store(c.entry.trunc(c.size(size), I32), slot)
            self._constants["size", size] = slot
        return slot

    def real(self, value: float) -> Value:
        """The address of a number."""
        return self._constant(self.c.float, value)

    def letter_of(self, letter: str) -> Value:
        """The address of an option."""
        return self._constant(I8, ord(letter))

    def _constant(self, kind: Any, value: Any) -> Value:
        known = self._constants.get((str(kind), value))
        if known is None:
            known = ir.GlobalVariable(self.c.module, kind, f"constant_{len(self._constants)}")
            known.initializer = ir.Constant(kind, value)
            known.global_constant = True
            known.linkage = "internal"
            self._constants[str(kind), value] = known
        return known
