"""What all programs use alike, such as the innermost loops of products: compiled once in a process.

LLVM works in a thread of its own meanwhile, beside the Python that still writes the rest of the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import RLock, Thread
from typing import Any

from llvmlite import ir

from .code import Code, Value
from .machine import Compiled, publish

HANDOVER = 0.0002
"""Seconds until the writing thread lets the compiling one go on, which wants the interpreter between LLVM's passes."""

_lock = RLock()
_known: set[str] = set()
_pending: dict[tuple[str, int], Code] = {}
_last: _Task | None = None
_writers: list[float] = []
_kept: list[Compiled] = []


class _Task:
    """Something that is done in a thread, after the task before it."""

    def __init__(self, work: Callable[[], None], before: _Task | None) -> None:
        self.work, self.before = work, before
        self.done = False
        self.thread = Thread(target=self._begin, name="unroll compiler")
        self.thread.start()

    def _begin(self) -> None:
        with suppress(Exception):  # `wait` meets it again, where it can be raised
            self._finish()

    def _finish(self) -> None:
        if self.before is not None:
            self.before.wait()
            self.before = None
        self.work()
        self.done = True

    def wait(self) -> None:
        """Come back when it is done."""
        self.thread.join()
        if not self.done:  # after a fork in the middle of it, which no thread survives, too
            self._finish()


def begin(work: Callable[[], None]) -> None:
    """Do something beside what follows, until `ready`."""
    global _last
    with _lock:
        _last = _Task(work, None if _last is None or _last.done else _last)


def function(c: Code, name: str, kinds: Sequence[Any], write: Callable[[Code, Sequence[Value]], None]) -> Value:
    """A function of the library, as the module of `c` sees it; `write` writes it where nobody has asked for it yet."""
    full = f"unroll_{name}_{c.dtype}_{c.vector_bytes}"
    with _lock:
        if full not in _known:
            _known.add(full)
            other = _pending.setdefault((c.dtype, c.vector_bytes), Code(c.dtype, c.vector_bytes))
            with other.function_named(full, kinds, "external") as made:
                write(other, made.args)
    found = c.module.globals.get(full)
    return found or ir.Function(c.module, ir.FunctionType(ir.VoidType(), kinds), full)


def flush() -> None:
    """Begin to compile what has been written."""
    with _lock:
        for code in _pending.values():
            compile_beside(code.module, _kept)
        _pending.clear()


def compile_beside(module: ir.Module, kept: list[Compiled]) -> None:
    """Begin to compile a module whose functions others call; it lives as long as `kept` does."""
    text = str(module)
    names = [f.name for f in module.functions if not f.is_declaration and f.linkage == "external"]

    def work() -> None:
        made = Compiled(text)
        kept.append(made)
        publish({name: made.address(name) for name in names})

    begin(work)


def ready() -> None:
    """Wait until every function that was asked for can be called."""
    flush()
    if _last is not None:
        _last.wait()


@contextmanager
def writing() -> Iterator[None]:
    """While a program is written the compiling thread gets its turns quickly."""
    with _lock:
        _writers.append(sys.getswitchinterval())
        sys.setswitchinterval(HANDOVER)
    try:
        yield
    finally:
        with _lock:
            first = _writers.pop(0)
            if _writers:
                _writers[0] = first
            else:
                sys.setswitchinterval(first)
