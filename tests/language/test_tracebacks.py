"""Where a traceback ends: in the user's code, without frames of this package's, unless it is a fault of ours."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import ArrayError, CausalityError, UndefinedError
from unroll.runtime.programs import Programs


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNROLL_TRACEBACK")


def raised(kind: type[BaseException], call: Callable[[], object]) -> tuple[BaseException, list[str]]:
    """The error, and the file and function of each frame below this one."""
    try:
        call()
    except kind as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        return error, [f"{frame.filename.rpartition('/')[2]}: {frame.name}" for frame in frames]
    raise AssertionError("nothing was raised")


def leak(init: Any = None) -> Template:
    g = Template("leak")
    x, a, h = g.input("x", 2), g.param("a", (), init), g.variable("h", 2)
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    return g


HERE = "test_tracebacks.py: <lambda>"


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_errors_end_in_the_users_line(backend: str) -> None:
    net = leak().compile(backend)
    P, x = net.init(), np.ones((3, 2))
    error, frames = raised(ArrayError, lambda: net.run(P, "h", x=x[:, :1]))
    assert frames == [HERE]
    assert "lambda: net.run(P" in str(error)
    assert raised(UndefinedError, lambda: net.run(P, "q", x=x))[1] == [HERE]
    stream = net.stream(P, "h")
    assert raised(ArrayError, lambda: stream(x=x[:, :1]))[1] == [HERE]
    assert raised(ArrayError, lambda: net.stream(P, "h")(x=x[:, :1]))[1] == [HERE]
    g = Template("late")
    y, z = g.variable("y", ()), g.input("z")
    y[t] = ops.mean(z[t], over=t) + z[t]
    assert raised(CausalityError, lambda: g.compile(backend).stream({}, "y"))[1] == [HERE]


def test_frames_of_the_users_own_functions_stay() -> None:
    def start(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return 1 / int(np.prod(shape) - 1)

    error, frames = raised(ZeroDivisionError, lambda: leak(start).compile("numpy").init())
    assert frames == [HERE, "test_tracebacks.py: start"]
    assert error.__cause__ is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_what_comes_from_outside(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise kind

    net = leak().compile("numpy")
    monkeypatch.setattr(Programs, "forward", fails)
    assert raised(kind, lambda: net.run({"a": 1.0}, "h", x=np.ones((3, 2))))[1] == [HERE, "test_tracebacks.py: fails"]


def test_a_fault_of_ours_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    net = leak().compile("numpy")
    monkeypatch.setattr(net, "_names", None)
    _, frames = raised(AttributeError, lambda: net.run({"a": 1.0}, "h", x=np.ones((3, 2))))
    assert frames[0] == HERE
    assert frames[-1] == "net.py: run_on"


def test_all_is_there_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_TRACEBACK", "full")
    net = leak().compile("numpy")
    _, frames = raised(UndefinedError, lambda: net.run({"a": 1.0}, "q", x=np.ones((3, 2))))
    assert frames[0] == HERE
    assert "net.py: run_on" in frames
    assert len(frames) > 3
