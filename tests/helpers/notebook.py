"""A notebook without IPython: cells are run as a kernel runs them, so that the package sees what it would see there."""

from __future__ import annotations

import linecache
import sys
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest


class Notebook:
    """Runs cells; those with an id are known by it, as in JupyterLab, the others by their text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.user_ns: dict[str, Any] = {"__name__": "__main__"}
        self.execution_count = 0
        self.parent_header: dict[str, Any] = {}
        self.compile = SimpleNamespace(format_code_name=self.named)
        self.files: dict[str, int] = {}
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: self))

    def named(self, file: str) -> tuple[str, str] | None:
        """What IPython calls the file of a cell."""
        return ("Cell", f"In[{self.files[file]}]") if file in self.files else None

    def run(self, text: str, cell: str | None = None) -> dict[str, Any]:
        """Run a cell; the names there are after it."""
        self.execution_count += 1
        metadata = {} if cell is None else {"cellId": cell}
        self.parent_header = {"header": {"msg_id": f"request {self.execution_count}"}, "metadata": metadata}
        file = f"/tmp/ipykernel_1/{crc32(text.encode())}.py"  # by the text, as ipykernel has it
        self.files[file] = self.execution_count
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec"), self.user_ns)
        return self.user_ns


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """An empty notebook."""
    return Notebook(monkeypatch)
