"""GEMM micro-kernels: a block of rows by a panel of columns with all sums in registers.

A panel is up to three vectors of neighbouring columns, one row of the inner dimension after another (Goto and van de
Geijn 2008). Every size and step is an argument, so that one function of each kind serves all programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import runtime_library, tuning
from .ir_builder import Code
from .llvm_ir import I1, I32, I64, POINTER, VOID, Type, Value, constant, lanes, vector, zero

KINDS = (POINTER, I64, POINTER, I64, I64, POINTER, I64, I64, I64, I64, I1)


def strip(c: Code, vectors: int, cut: bool) -> Value:
    """All rows by one panel; `cut` where the last vector holds fewer columns than it has lanes.

    Its arguments: the panel and the step along it; x, its steps from row to row and along the inner dimension;
    z and its step from row to row; rows, inner size, columns in the last vector, whether z is added to.
    """
    name = f"strip_{vectors}{'_cut' if cut else ''}"
    return runtime_library.function(c, name, KINDS, lambda c, args: _Strip(c, vectors, cut).write(*args))


class _Strip:
    def __init__(self, code: Code, vectors: int, cut: bool) -> None:
        self.c, self.vectors, self.cut = code, vectors, cut

    def write(
        self,
        panel: Value,
        apart: Value,
        x: Value,
        across: Value,
        along: Value,
        z: Value,
        down: Value,
        rows: Value,
        deep: Value,
        left: Value,
        adds: Value,
    ) -> None:
        """The whole function."""
        c = self.c
        mask = self._mask(left) if self.cut else None
        start = c.i64(0)
        for block in (8, 4, 1) if c.vector_bytes == 64 else (4, 1):  # as many sums as there are registers for
            stop = rows if block == 1 else c.b.sub(rows, c.b.srem(c.b.sub(rows, start), c.i64(block)))
            with c.loop(start, stop, block) as i:
                each = [c.b.add(i, c.i64(r)) for r in range(block)]
                lines = [c.moved(x, "float", c.b.mul(r, across)) for r in each]
                addresses = [c.moved(z, "float", c.b.mul(r, down)) for r in each]
                self._tile(mask, panel, apart, lines, along, deep, addresses, adds)
            start = stop

    def _mask(self, left: Value) -> Value:
        c = self.c
        return c.b.icmp_signed("<", lanes(vector(I64, c.width), range(c.width)), c.splat(left, c.width))

    def _tile(
        self,
        mask: Value | None,
        panel: Value,
        apart: Value,
        lines: list[Value],
        along: Value,
        deep: Value,
        addresses: list[Value],
        adds: Value,
    ) -> None:
        """A block of rows by a panel."""
        c, vectors = self.c, self.vectors
        unrolled = tuning.UNROLL_K if len(lines) == 1 else 1
        each = len(lines) * vectors
        cuts = [None] * (vectors - 1) + [mask]

        def multiply(k: Value, sums: Sequence[Value]) -> list[Value]:
            line = c.moved(panel, "float", c.b.mul(k, apart))
            columns = [self._load(line, v, cut) for v, cut in enumerate(cuts)]
            offset, made = c.b.mul(k, along), []
            for r, pointer in enumerate(lines):
                spread = c.splat(c.load(c.moved(pointer, "float", offset), "float"), c.width)
                made += [c.b.intrinsic("llvm.fma", spread, columns[v], sums[r * vectors + v]) for v in range(vectors)]
            return made

        def several(k: Value, sums: Sequence[Value]) -> list[Value]:
            parts = (sums[part * each : (part + 1) * each] for part in range(unrolled))
            return [v for part, old in enumerate(parts) for v in multiply(c.b.add(k, c.i64(part)), old)]

        zeros = [c.constant("float", 0, c.width)] * (each * unrolled)
        whole = deep if unrolled == 1 else c.b.sub(deep, c.b.srem(deep, c.i64(unrolled)))
        sums: Sequence[Value] = self._carried(c.i64(0), whole, unrolled, zeros, several)
        if unrolled > 1:
            while len(sums) > each:
                half = len(sums) // 2
                sums = [c.b.fadd(a, b) for a, b in zip(sums[:half], sums[half:], strict=True)]
            sums = self._carried(whole, deep, 1, sums, multiply)
        ends = [(address, v) for address in addresses for v in range(vectors)]
        alone = c.b.block
        with c.when(adds):
            added = [
                c.b.fadd(self._load(address, v, cuts[v]), value) for (address, v), value in zip(ends, sums, strict=True)
            ]
            there = c.b.block
        totals = [c.b.phi(value.type) for value in sums]
        for total, value, more in zip(totals, sums, added, strict=True):
            total.add(value, alone)
            total.add(more, there)
        for total, (address, v) in zip(totals, ends, strict=True):
            self._store(total, address, v, cuts[v])

    def _carried(
        self,
        start: Value,
        stop: Value,
        step: int,
        values: Sequence[Value],
        write: Callable[[Value, Sequence[Value]], list[Value]],
    ) -> Sequence[Value]:
        """A loop that carries values from one turn to the next, in registers."""
        c = self.c
        before = c.b.block
        test, body, end = (c.function.block() for _ in range(3))
        c.b.branch(test)
        c.b.position_at_end(test)
        k, *carried = (c.b.phi(v.type) for v in (start, *values))
        c.b.cbranch(c.b.icmp_signed("<", k, stop), body, end)
        c.b.position_at_end(body)
        made = [c.b.add(k, c.i64(step)), *write(k, carried)]
        for phi, first, later in zip((k, *carried), (start, *values), made, strict=True):
            phi.add(first, before)
            phi.add(later, c.b.block)
        c.b.branch(test)
        c.b.position_at_end(end)
        return carried

    def _load(self, pointer: Value, v: int, mask: Value | None) -> Value:
        c = self.c
        at = c.moved(pointer, "float", c.i64(v * c.width))
        if mask is None:
            return c.load(at, "float", c.width)
        kind = c.type("float", c.width)
        args = [at, constant(I32, c.bytes["float"]), mask, zero(kind)]
        return c.b.call(self._intrinsic("load", kind, [a.type for a in args], kind), args)

    def _store(self, value: Value, pointer: Value, v: int, mask: Value | None) -> None:
        c = self.c
        at = c.moved(pointer, "float", c.i64(v * c.width))
        if mask is None:
            c.store(value, at, "float", c.width)
            return
        args = [value, at, constant(I32, c.bytes["float"]), mask]
        c.b.call(self._intrinsic("store", value.type, [a.type for a in args], VOID), args)

    def _intrinsic(self, name: str, kind: Type, kinds: list[Type], result: Type) -> Value:
        return self.c.module.declared(f"llvm.masked.{name}.{kind.symbol}.p0", result, kinds)
