"""Tasks: parts of the program as functions of their own, of which several threads each do a share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from ..common.symbolic_size import Size
from . import tuning
from .ir_builder import Code
from .llvm_ir import I1, I64, POINTER, VOID, Function, Type, Value, constant, number, zero

_SERIAL = count(1)


class Task:
    """The inside of a function ``(arguments, number of the share)``; the first argument says where to look for a stop.

    sizes  what they are to the caller: what is known is not among the arguments
    """

    def __init__(self, code: Code, args: Sequence[Value], pointers: int, sizes: Sequence[Size | Value | None]) -> None:
        self.c = code
        self.table, self.share = args
        code.stop = self.argument(0, POINTER)
        self.pointers = [self.argument(n, POINTER) for n in range(1, pointers + 1)]
        places = count(pointers + 1)
        self.sizes = [_constant(s) or self.argument(next(places), I64) for s in sizes]

    def argument(self, n: int, kind: Type) -> Value:
        """What stands at an index among the arguments: the word of the stop, the pointers, the sizes."""
        return self.c.entry.load(self.c.entry.gep(self.table, self.c.i64(n), I64), kind)


def _constant(size: Size | Value | None) -> Value | None:
    if isinstance(size, Size):
        return constant(I64, size.factor) if size.known else None
    return size if isinstance(size, Value) and number(size) is not None else None


class TaskBuilder:
    """Writes tasks and the calls of them.

    helpers  threads beside the one that runs the program
    state    of the function being written: where it stands whether they came (0 none was asked, 1 they came, -1
             none will), into how many shares a task is cut that may be cut anywhere, of which share of a loop this is
    repeated whether what is being written runs in a loop, `turns` times; it is worth sharing where it is `scarce`
             times as much work as in a long loop
    """

    def __init__(self, code: Code, helpers: int) -> None:
        self.c = code
        self.helpers = helpers
        self.state: tuple[Value, Value, Value] = (zero(POINTER), code.i64(helpers + 1), code.i64(0))
        self.repeated = False
        self.turns, self.scarce = code.i64(1), code.i64(tuning.WAKE_UP_FACTOR)
        self._tables: dict[tuple[Function, int], Value] = {}

    @contextmanager
    def loop(self, steps: Value) -> Iterator[None]:
        """What is written inside runs so many times: where these are few, they share the cost of waking a thread."""
        b, saved = self.c.b, (self.repeated, self.turns, self.scarce)
        self.repeated, self.turns = True, b.mul(self.turns, steps)
        some = b.select(b.icmp_signed(">", self.turns, self.c.i64(1)), self.turns, self.c.i64(1))
        few = b.icmp_signed("<", some, self.c.i64(tuning.WAKE_UP_FACTOR))
        self.scarce = b.select(few, b.sdiv(self.c.i64(tuning.WAKE_UP_FACTOR), some), self.c.i64(1))
        yield
        self.repeated, self.turns, self.scarce = saved

    def worth(self, enough: int) -> Value:
        """How much work is worth sharing, here, if so much is at every step of a long loop."""
        return self.c.b.mul(self.c.i64(enough), self.scarce)

    def begin(self) -> None:
        """At the entry of the program: none was asked."""
        if self.helpers:
            self.state = (self.c.slot(I64), *self.state[1:])
            self.c.entry.store(self.c.i64(0), self.helped)

    @property
    def helped(self) -> Value:
        return self.state[0]

    @property
    def parts(self) -> Value:
        return self.state[1]

    @property
    def outer(self) -> Value:
        return self.state[2]

    def no_helpers(self) -> Value:
        """Where it stands that no thread will help."""
        return self.c.module.variable("nobody", I64, "-1")

    def run(
        self,
        pointers: Sequence[Value],
        sizes: Sequence[Size | Value],
        shares: Value,
        large: Value,
        write: Callable[[Task], None],
    ) -> None:
        """Do a task of so many shares; with helpers where it is large."""
        c = self.c
        name = f"unroll_task_{next(_SERIAL)}"
        with c.task(name) as function:
            write(Task(c, function.args, len(pointers), sizes))
        function = c.module.declared(name, VOID, function.signature.kinds)
        self.call(function, pointers, [s for s in sizes if _constant(s) is None], shares, large)

    def call(
        self, function: Value, pointers: Sequence[Value], sizes: Sequence[Size | Value], shares: Value, large: Value
    ) -> None:
        """Call ``function(arguments, number of the share)`` once for each share."""
        c = self.c
        assert c.stop is not None, "a program knows where to look"
        pointers = (c.stop, *pointers)
        table = self.table(len(pointers) + len(sizes))
        numbers = (c.size(s) if isinstance(s, Size) else s for s in sizes)
        for n, value in enumerate((*(c.b.ptrtoint(p, I64) for p in pointers), *numbers)):
            c.b.store(value, c.b.gep(table, c.i64(n), I64))
        if self.helpers and number(large) != 0:
            kinds = [POINTER, POINTER, I64, I1, POINTER, I64]
            c.b.call(self._pooled("run", kinds), [function, table, shares, large, self.helped, c.i64(self.helpers)])
            return
        with c.loop(c.i64(0), shares) as share:
            c.b.call(function, [table, share])

    def table(self, size: int) -> Value:
        """Memory of the function for the arguments of a call, which every call in it uses again."""
        room = 1 << (size - 1).bit_length()
        key = self.c.function, room
        if key not in self._tables:
            self._tables[key] = self.c.entry.alloca(I64, room)
        return self._tables[key]

    def end(self) -> None:
        """At the end of the program: helpers that came may sleep."""
        if self.helpers:
            came = self.c.b.icmp_signed("==", self.c.b.load(self.helped, I64), self.c.i64(1))
            with self.c.when(came):
                self.c.b.call(self._pooled("end", []), [])

    def _pooled(self, name: str, kinds: Sequence[Type]) -> Value:
        return self.c.module.declared(f"unroll_pool_{name}", VOID, kinds)
