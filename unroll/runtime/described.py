"""What a net says of itself."""

from __future__ import annotations

from typing import Protocol

from ..backends.base import AbstractBackend, Options
from ..ir.system import System, visible
from ..printing.summary import arguments


class Printer(Protocol):
    """IPython's printer, as far as it is used."""

    def text(self, text: str) -> object: ...


class Described:
    """A net in one line, ``repr``; with what it takes and returns, ``str`` and in a notebook."""

    backend: AbstractBackend
    system: System
    batch_first: bool
    _options: Options

    def __repr__(self) -> str:
        return f"<Net {visible(self.system.name)}: {self.backend.name}, {self._options}>"

    def __str__(self) -> str:
        return "\n".join([repr(self), *arguments(self.system, self.batch_first)])

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(str(self))
