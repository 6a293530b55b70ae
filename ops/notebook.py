"""Which run of which cell of a notebook is going on, so that a cell that is run again may write again what it wrote."""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Protocol


class Shell(Protocol):
    """What is used of IPython's shell; that of a kernel has the request it answers too, as `parent_header`."""

    execution_count: int
    user_ns: dict[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one cell.

    cell   what the cell has for itself among all of a notebook: the id that JupyterLab, Notebook and VS Code send with
           the request, or, where nothing is sent, the text of the cell
    which  what the run has for itself among those of the cell
    """

    cell: str
    which: str

    def repeats(self, earlier: Run | None) -> bool:
        """True for a later run of the same cell."""
        return earlier is not None and earlier.cell == self.cell and earlier.which != self.which


def shell() -> Shell | None:
    """IPython's shell, where the program runs in one; IPython is not imported for it."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    found: Shell | None = ask() if ask is not None else None
    return found


def run_of_cell() -> Run | None:
    """The run that is going on; None outside notebooks and IPython, and in what no cell runs, such as a callback."""
    found = shell()
    if found is None:
        return None
    parent = _mapping(getattr(found, "parent_header", None))
    request = _mapping(parent.get("header")).get("msg_id", "")
    cell = _mapping(parent.get("metadata")).get("cellId") or _by_text(found)
    return Run(str(cell), f"{request} {found.execution_count}") if cell else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _by_text(found: Shell) -> str:
    """What tells the text of the cell that calls from that of others; "" where no cell does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        cell = frame.f_globals is found.user_ns and frame.f_code.co_name.startswith(("<module>", "<cell"))
        if cell and (told := _digest(frame.f_code.co_filename)):  # what a magic runs has no text of its own
            return told
        frame = frame.f_back
    return ""


@lru_cache(maxsize=256)
def _digest(file: str) -> str:
    """That of the text of a cell, whose file no other text has; its number in IPython is no part of the text."""
    text = "".join(linecache.getlines(file))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if text else ""


def cell_name(file: str) -> str:
    """``In[5]`` for the file under which a cell was compiled; "" for any other."""
    named = getattr(getattr(shell(), "compile", None), "format_code_name", None)
    return (named(file) or ("", ""))[1] if named is not None else ""
