"""The runtime library: what all programs use alike, such as GEMM micro-kernels, compiled once in a process.

LLVM works in a thread of its own meanwhile, beside the Python that still writes the rest of the program.

Whatever is compiled so is a `Unit`, which calls others by name. It is not done, or it is done: who waits for one that a
thread left undone, because it failed, was interrupted or did not survive a fork, does it himself. So a unit that fails,
fails those that call it, and nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import RLock, Thread
from typing import Any
from weakref import WeakValueDictionary

import llvmlite.binding as llvm

from ...errors import BackendError
from ..common.forks import across_forks, after_fork
from . import tuning
from .ir_builder import Code
from .jit import CompiledModule, publish
from .llvm_ir import VOID, Module, Type, Value

CALLED = re.compile(r'^declare [^\n]*@"(unroll_[^"]+)"', re.MULTILINE)

_lock = across_forks(RLock())
across_forks(llvm.ffi.lib._lock)  # held for each call into LLVM, by whomever: no fork falls into one
_texts: dict[str, str] = {}
"""The functions of the library, each a module of its own: one is written to its end, or it is not here."""
_units: WeakValueDictionary[str, Unit] = WeakValueDictionary()
"""By the names of the functions that a unit gives; whoever calls these keeps it."""
_kept: list[Unit] = []


class Unit:
    """Functions by name, and the work that makes them callable, which is done once.

    names  of the functions
    work   makes an object that lives as long as they are to be called, and their addresses
    """

    def __init__(self, names: Sequence[str], work: Callable[[], tuple[object, dict[str, int]]]) -> None:
        self.names, self.work = names, work
        self.lock = RLock()
        self.made: object = None

    def finish(self) -> None:
        """Come back when it is done. Raises what the work raises, and then may be asked again."""
        if self.made is not None:
            return
        with self.lock:
            if self.made is None:
                made, addresses = self.work()
                publish(addresses)
                self.made = made


def _compiling(names: Sequence[str], text: str) -> Unit:
    """A unit that compiles a text."""

    def work() -> tuple[object, dict[str, int]]:
        ready(text)
        made = CompiledModule(text)
        return made, {name: made.address(name) for name in names}

    return Unit(names, work)


def _begin(units: Sequence[Unit], kept: list[Any]) -> None:
    """Let a thread do units, which whoever needs them does where it does not."""
    if not units:
        return
    kept.extend(units)
    with _lock:
        _units.update({name: unit for unit in units for name in unit.names})

    def work() -> None:
        with _pace:
            for unit in units:
                with suppress(Exception):  # who calls it meets it again
                    unit.finish()

    with suppress(RuntimeError):  # no thread can be had
        Thread(target=work, name="unroll compiler").start()


def provide(names: Sequence[str], work: Callable[[], tuple[object, dict[str, int]]]) -> None:
    """Begin with a unit that is no text, unless somebody has."""
    with _lock:
        if any(name not in _units for name in names):
            _begin([Unit(names, work)], _kept)


def forget(names: Iterable[str]) -> None:
    """Have the functions of these names provided again for programs that are compiled from now on."""
    with _lock:
        for name in names:
            _units.pop(name, None)


def function(c: Code, name: str, kinds: Sequence[Type], write: Callable[[Code, Sequence[Value]], None]) -> Value:
    """A function of the library, as the module of `c` sees it; `write` writes it at the first request."""
    full = f"unroll_{name}_{c.dtype}_{c.vector_bytes}"
    with _lock:
        if full not in _texts:
            other = Code(c.dtype, c.vector_bytes)
            with other.function_named(full, kinds, "external") as made:
                write(other, made.args)
            _texts[full] = str(other.module)
    return c.module.declared(full, VOID, kinds)


def flush() -> None:
    """Begin to compile what has been written."""
    with _lock:
        _begin([_compiling((name,), text) for name, text in _texts.items() if name not in _units], _kept)


def compile_beside(module: Module, kept: list[Any]) -> None:
    """Begin to compile a module whose functions others call; it lives as long as `kept` does."""
    names = [f.name for f in module.functions if f.blocks and f.linkage == "external"]
    _begin([_compiling(names, str(module))], kept)


def ready(text: str) -> None:
    """Wait until every function that a text calls can be called. Raises BackendError where one is missing."""
    flush()
    for name in CALLED.findall(text):
        unit = _units.get(name)
        if unit is None:
            raise BackendError(f"native: nothing gives the function {name}; it is a fault of unroll, to be reported")
        unit.finish()


class _Pace:
    """How quickly threads take turns: quickly while one compiles, which wants the interpreter between LLVM's passes.

    Only the threads that compile change it, which Ctrl-C does not reach.
    """

    def __init__(self) -> None:
        self.threads, self.usual = 0, sys.getswitchinterval()

    def __enter__(self) -> None:
        with _lock:
            if not self.threads:
                self.usual = sys.getswitchinterval()
                sys.setswitchinterval(tuning.SWITCH_INTERVAL)
            self.threads += 1

    def __exit__(self, *raised: object) -> None:
        with _lock:
            self.threads -= 1
            if not self.threads:
                sys.setswitchinterval(self.usual)


_pace = _Pace()


@after_fork
def _alone() -> None:
    """Of the threads that compiled or wrote none is here: what they left is done by whoever needs it."""
    for unit in list(_units.values()):
        unit.lock = RLock()
    if _pace.threads:
        _pace.threads = 0
        sys.setswitchinterval(_pace.usual)
