"""What is said of calls that take long: on a terminal and in a notebook, unasked; nothing into a pipe."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from unroll import Template, patience, t
from unroll.patience import Patience


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


class Notebook(io.StringIO):
    """What a kernel of Jupyter has in place of stderr."""

    __module__ = "ipykernel.iostream"


kinds = pytest.mark.parametrize("kind", [Terminal, Notebook, io.StringIO], ids=["terminal", "notebook", "pipe"])


def shown(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where stderr goes from here on; in the test itself, since pytest sets it anew before."""
    made = kind()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def leak() -> Template:
    g = Template("leak")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + x[t]
    return g


@kinds
def test_a_page_that_takes_long(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = shown(kind, monkeypatch)
    monkeypatch.setattr(patience, "SECONDS", 0)
    say, told = Patience.say, threading.Event()
    start = Patience._start

    def started(self: Patience) -> None:
        start(self)
        told.set()

    def waited(self: Patience, doing: str) -> None:
        if type(stream) is not io.StringIO:
            assert told.wait(60)
        say(self, doing)

    monkeypatch.setattr(Patience, "_start", started)
    monkeypatch.setattr(Patience, "say", waited)
    leak().explore()
    if type(stream) is io.StringIO:
        assert stream.getvalue() == ""
        return
    pieces = stream.getvalue().split("\r\x1b[K")
    assert pieces[1:] == ["unroll: drawing ...", *(f"unroll: drawing picture {n} of 8 ..." for n in range(1, 9)), ""]


@kinds
def test_a_page_that_does_not(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = shown(kind, monkeypatch)
    leak().explore()
    assert stream.getvalue() == ""


@kinds
def test_a_function_of_ones_own_is_told_in_its_place(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = shown(kind, monkeypatch)
    monkeypatch.setattr(patience, "SECONDS", 0)
    seen: list[tuple[int, int]] = []
    leak().explore(progress=lambda done, of: seen.append((done, of)))
    assert seen == [(n, 8) for n in range(8)]
    assert stream.getvalue() == ""
