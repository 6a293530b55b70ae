"""Jobs: parts of the program as functions of their own, so that several threads can each do a share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .code import I64, POINTER, Code, Value
from .sizes import Size

ENOUGH = 2**17
"""Multiplications worth sharing with another thread: some microseconds."""


class Job:
    """The inside of a function ``(arguments, number of the share)``."""

    def __init__(self, code: Code, function: Value, sizes: Sequence[Size | Value], pointers: int) -> None:
        self.c = code
        self.table, self.share = function.args
        self.pointers = [self.argument(n, POINTER) for n in range(pointers)]
        self.sizes = [_constant(s) or self.argument(pointers + n, I64) for n, s in enumerate(sizes)]

    def argument(self, n: int, kind: Any) -> Value:
        """What stands at a place among the arguments: the pointers, then the sizes."""
        at = self.c.entry.gep(self.table, [self.c.i64(n)], source_etype=I64)
        return self.c.entry.load(at, typ=kind)


def _constant(size: Size | Value) -> Value:
    if isinstance(size, Size):
        return ir.Constant(I64, size.factor) if size.known else None
    return size if isinstance(size, ir.Constant) else None


class Sharing:
    """Writes jobs and the calls of them.

    helpers  threads beside the one that runs the program
    state    of the function being written: where it stands whether they came (0 nobody was asked, 1 they came, -1
             nobody will), into how many shares a job is cut that may be cut anywhere, of which share of a loop this is
    """

    def __init__(self, code: Code, helpers: int) -> None:
        self.c = code
        self.helpers = helpers
        self._count = 0
        self.state: tuple[Value, Value, Value] = (None, code.i64(helpers + 1), code.i64(0))
        if helpers:
            self.state = (code.slot(I64), *self.state[1:])
            code.entry.store(code.i64(0), self.helped)

    @property
    def helped(self) -> Value:
        return self.state[0]

    @property
    def parts(self) -> Value:
        return self.state[1]

    @property
    def outer(self) -> Value:
        return self.state[2]

    def nobody(self) -> Value:
        """Where it stands that nobody will help."""
        found = self.c.module.globals.get("nobody")
        if found is None:
            found = ir.GlobalVariable(self.c.module, I64, "nobody")
            found.initializer = ir.Constant(I64, -1)
            found.linkage = "internal"
        return self.c.b.bitcast(found, POINTER)

    def run(
        self,
        pointers: Sequence[Value],
        sizes: Sequence[Size | Value],
        shares: Value,
        large: Value,
        write: Callable[[Job], None],
    ) -> None:
        """Do a job of so many shares; with helpers where it is large."""
        c = self.c
        self._count += 1
        with c.aside(f"job_{self._count}") as function:
            write(Job(c, function, sizes, len(pointers)))
        table = c.entry.alloca(I64, size=len(pointers) + len(sizes))
        numbers = (c.size(s) if isinstance(s, Size) else s for s in sizes)
        for n, value in enumerate((*(c.b.ptrtoint(p, I64) for p in pointers), *numbers)):
            c.b.store(value, c.b.gep(table, [c.i64(n)], source_etype=I64))
        if not self.helpers:
            self._alone(function, table, shares)
            return
        with c.when(c.b.and_(large, self._is(0))):
            came = c.b.call(self._pooled("begin", [I64], I64), [c.i64(self.helpers)])
            c.b.store(c.b.select(c.b.icmp_signed("==", came, c.i64(0)), c.i64(-1), came), self.helped)
        with c.b.if_else(c.b.and_(large, self._is(1))) as (many, one):
            with many:
                c.b.call(self._pooled("share", [POINTER, POINTER, I64]), [function, table, shares])
            with one:
                self._alone(function, table, shares)

    def end(self) -> None:
        """At the end of the program: helpers that came may sleep."""
        if self.helpers and self._count:
            with self.c.when(self._is(1)):
                self.c.b.call(self._pooled("end", []), [])

    def _is(self, state: int) -> Value:
        return self.c.b.icmp_signed("==", self.c.b.load(self.helped, typ=I64), self.c.i64(state))

    def _alone(self, function: Value, table: Value, shares: Value) -> None:
        with self.c.loop(self.c.i64(0), shares) as n:
            self.c.b.call(function, [table, n])

    def _pooled(self, name: str, kinds: list[Any], result: Any = None) -> Value:
        found = self.c.module.globals.get(f"unroll_pool_{name}")
        if found is None:
            kind = ir.FunctionType(result or ir.VoidType(), kinds)
            found = ir.Function(self.c.module, kind, f"unroll_pool_{name}")
        return found
