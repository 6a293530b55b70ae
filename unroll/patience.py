"""`Patience`: says on stderr what takes longer than a second."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

SECONDS = 1.0
"""After which something is said."""


class Patience:
    """Says on stderr what takes longer than a second; on a terminal and in a notebook on one line, which then goes.

    watched  whether nothing is said elsewhere, where nobody watches: into a pipe or a file
    """

    def __init__(self, doing: str, watched: bool = False) -> None:
        self._doing = doing
        self._late = False
        self._one_line = _terminal() or _notebook()
        self._lock = threading.Lock()
        self._timer = threading.Timer(SECONDS, self._start) if self._one_line or not watched else None

    def say(self, doing: str) -> None:
        """What is being done now."""
        with self._lock:
            self._doing = doing
            if self._late and self._one_line:
                self._print()

    def _start(self) -> None:
        with self._lock:
            self._late = True
            self._print()

    def _print(self) -> None:
        start, end = ("\r\x1b[K", "") if self._one_line else ("", "\n")
        print(f"{start}unroll: {self._doing} ...", end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> Patience:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            if self._late and self._one_line:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._late = False


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _notebook() -> bool:
    """Whether stderr is what a kernel of Jupyter shows below a cell."""
    return type(sys.stderr).__module__.startswith("ipykernel.")
