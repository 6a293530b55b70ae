"""What all programs use alike, such as the innermost loops of products: compiled once in a process.

LLVM works in a thread of its own meanwhile, beside the Python that still writes the rest of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock, Thread
from typing import Any

from llvmlite import ir

from .code import Code, Value
from .machine import Compiled, publish

_lock = RLock()
_parts: dict[str, _Part] = {}


class _Part:
    """One function, being compiled or ready.

    before  the part that was begun before this one: all that this one calls is ready when that is
    """

    def __init__(self, name: str, text: str, before: _Part | None) -> None:
        self.name, self.text, self.before = name, text, before
        self.compiled: Compiled | None = None
        self.thread = Thread(target=self._begin, name="unroll compiler")
        self.thread.start()

    def _begin(self) -> None:
        with suppress(Exception):  # `ready` meets it again, where it can be raised
            self._compile()

    def _compile(self) -> None:
        if self.before is not None:
            self.before.ready()
            self.before = None
        compiled = Compiled(self.text)
        publish({self.name: compiled.address(self.name)})
        self.compiled = compiled

    def ready(self) -> None:
        """Wait until the function can be called."""
        self.thread.join()
        if self.compiled is None:  # after a fork in the middle of it, which no thread survives, too
            self._compile()


def function(c: Code, name: str, kinds: Sequence[Any], write: Callable[[Code, Sequence[Value]], None]) -> Value:
    """A function of the library, as the module of `c` sees it; `write` writes it where nobody has asked for it yet."""
    full = f"unroll_{name}_{c.dtype}_{c.vector_bytes}"
    with _lock:
        if full not in _parts:
            other = Code(c.dtype, c.vector_bytes)
            with other.function_named(full, kinds, "external") as made:
                write(other, made.args)
            _parts[full] = _Part(full, other.text(), next(reversed(_parts.values()), None))
    found = c.module.globals.get(full)
    return found or ir.Function(c.module, ir.FunctionType(ir.VoidType(), kinds), full)


def ready() -> None:
    """Wait until every function that was asked for can be called."""
    with _lock:
        last = next(reversed(_parts.values()), None)
    if last is not None:
        last.ready()
