"""Every error this package raises, and how a message is put together: what, where, what it got, how to mend it."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

from .ops.errors import DifferentiationError, DTypeError, ShapeError, UnrollError
from .ops.notebook import Run, cell_name, run_of_cell

_PACKAGE = str(Path(__file__).resolve().parent)
_INSIDE = tuple(
    str(folder) for base in (Path(_PACKAGE), Path(_PACKAGE).parent) for folder in (base / "ops", base / "backends")
)
GENERATED = "<unroll "
"""How the name of a file begins that there is none of: source which was generated."""
_ARRAYS = ("numpy", "torch", "scipy", "jax", "jaxlib", "cupy", "pandas")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the user wrote something, and in which run of which cell of a notebook."""

    file: str
    line: int
    run: Run | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{cell_name(self.file) or self.file}:{self.line}"


class TemplateError(UnrollError):
    """A template that is not well formed."""


class UnknownAttributeError(TemplateError, AttributeError):
    """An attribute that a template does not have, or that cannot be set."""


class AxisError(TemplateError, IndexError):
    """An index on an axis that the name does not have, or an expression that runs along an axis too many."""


class UndefinedError(TemplateError, LookupError):
    """A name that is read, and that no equation defines."""


class DoubleDefinitionError(TemplateError):
    """A step of a variable that two equations define."""


class BoundaryError(TemplateError):
    """A step that is read, outside the steps that are defined."""


class CausalityError(TemplateError):
    """A cycle of equations that no order of steps can compute, or a later step that is needed step by step."""


class ArrayError(UnrollError, ValueError):
    """An array that is missing, unknown, or not of the shape, dtype or range that was declared."""


class MissingError(ArrayError, TypeError):
    """Arrays that a call cannot do without, and that were not given at all."""


class LabelError(ArrayError, IndexError):
    """A label that a template computes lies outside the table that is looked up in; `found` tells which, and where."""

    found: Any = None


class LengthError(UnrollError, ValueError):
    """A length that is missing, contradicts another, or leaves a step that is read outside."""


class BackendError(UnrollError, RuntimeError):
    """A backend that is unknown, not installed, or cannot run a template."""


class NonFiniteError(UnrollError, FloatingPointError):
    """A nan or an infinity met while running with ``debug_nans=True``."""


class MemoryLimitError(UnrollError, MemoryError):
    """A run that wants more memory than can be had; nothing was allocated."""


class RenderError(UnrollError, RuntimeError):
    """A picture that no engine at hand can draw."""


__all__ = [
    "GENERATED",
    "ArrayError",
    "AxisError",
    "BackendError",
    "BoundaryError",
    "CausalityError",
    "DTypeError",
    "DifferentiationError",
    "DoubleDefinitionError",
    "LabelError",
    "LengthError",
    "MemoryLimitError",
    "MissingError",
    "NonFiniteError",
    "RenderError",
    "ShapeError",
    "TemplateError",
    "UndefinedError",
    "UnknownAttributeError",
    "UnrollError",
    "code",
    "from_call",
    "here",
    "location",
    "message",
    "placed",
    "told",
]


def here() -> Source | None:
    """The innermost line on the stack that is not this package's own, nor of a library of arrays that called it."""
    frame = sys._getframe(1)
    while frame is not None:
        if not _own(frame) and not _of_arrays(frame):
            return Source(frame.f_code.co_filename, frame.f_lineno, run_of_cell())
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _own(frame: FrameType) -> bool:
    """Whether a frame is this package's, or that of source which it generated."""
    return frame.f_code.co_filename.startswith((_PACKAGE, *_INSIDE, GENERATED))


def _of_arrays(frame: FrameType) -> bool:
    """Whether a frame is that of a library of arrays."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in _ARRAYS


def location(source: Source | None) -> str:
    """``model.py:8``: the file by its name alone, as messages show it; ``In[5]:2`` in a notebook."""
    return f"{cell_name(source.file) or Path(source.file).name}:{source.line}" if source else ""


def placed(kind: type[Exception], text: str) -> Exception:
    """An error whose text shows its place, so that nothing else is added to it."""
    error = kind(text)
    error.placed = True  # type: ignore[attr-defined]
    return error


Called = TypeVar("Called", bound=Callable[..., Any])


def from_call(function: Called) -> Called:
    """Have what `function` raises say where the user's own code calls it: see `told`."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except BaseException as error:
            told(error)
            raise

    return call  # type: ignore[return-value]


def told(error: BaseException) -> None:
    """Make an error what a user is to see; a bare ``raise`` follows, which adds no frame to a traceback.

    One of this package's gains the user's own line, if it does not show it yet. The traceback loses the frames of this
    package and of generated source, and so ends in the user's code: in what called us, or in a function of theirs that
    we called. What is a fault of ours keeps all of it, and so does everything with ``UNROLL_TRACEBACK=full`` in the
    environment.
    """
    if isinstance(error, UnrollError):
        source, (what, *rest) = here(), str(error).split("\n")
        if source is not None and f"{location(source)}\n" not in f"{error}\n":
            error.args = ("\n".join([what, f"    {quoted(source)}", *rest]),)
            error.__suppress_context__ = True
    if os.environ.get("UNROLL_TRACEBACK") == "full":
        return
    entries, entry = [], error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    users = [e for e in entries if not _own(e.tb_frame)]
    expected = isinstance(error, (UnrollError, KeyboardInterrupt, MemoryError))
    if expected or not all(_of_arrays(e.tb_frame) for e in users):
        error.__traceback__ = None
        for e in reversed(users):
            error.__traceback__ = TracebackType(error.__traceback__, e.tb_frame, e.tb_lasti, e.tb_lineno)


def code(source: Source | None) -> str:
    """The user's own line of code, or nothing where the file cannot be read."""
    return linecache.getline(source.file, source.line).strip() if source else ""


def quoted(source: Source | None) -> str:
    """The user's own line of code with its place, or nothing where the file cannot be read."""
    if source is None:
        return ""
    line = code(source)
    return f"{line}        {source}" if line else str(source)


def message(what: str, *evidence: tuple[str, Source | None] | Source | None, fix: str = "") -> str:
    """One error text: what happened; the equations or code lines, each with its place; how to mend it."""
    lines = [what]
    rows = [e for e in evidence if isinstance(e, tuple)]
    width = max((len(text) for text, _ in rows), default=0)
    for entry in evidence:
        if isinstance(entry, tuple):
            lines.append(f"    {entry[0]:<{width}}        {location(entry[1])}".rstrip())
        elif entry is not None:
            lines.append(f"    {quoted(entry)}")
    if fix:
        lines.append(fix)
    return "\n".join(lines)
