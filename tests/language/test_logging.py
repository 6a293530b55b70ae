"""The logger "unroll": silent unless it is asked, and then of what was compiled, for what, and what runs elsewhere."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from unroll import Template, backends, ops, t


def leak() -> Template:
    g = Template("leak")
    x, a, h = g.input("x", 2), g.param("a"), g.variable("h", 2)
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "unroll"]
    caplog.clear()
    return found


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_what_was_compiled_and_how_long_it_took(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unroll")
    net, x = leak().compile(backend), np.ones((3, 2))
    P = net.init()
    for _ in range(2):
        net.run(P, "h", x=x)
    (line,) = said(caplog)
    assert line.startswith(f"template 'leak': compiled h for {backend}, float32, from ")
    assert line.endswith(" s")
    net.value_and_grad(P, x=x)
    (line,) = said(caplog)
    assert line.startswith(f"template 'leak': compiled loss and 1 gradient for {backend}, float32, from ")


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_for_which_lengths(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    net = leak().compile(backend)
    P = net.init()
    net.run(P, "h", x=np.ones((3, 4, 2)))
    caplog.set_level(logging.DEBUG, "unroll")
    for steps in (3, 5, 5):
        net.run(P, "h", x=np.ones((steps, 4, 2)))
    (line,) = said(caplog)
    assert line.startswith("memory for runs at batch size 4, T = 5: ")


def test_what_runs_elsewhere_and_why(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "unroll")
    net = leak().compile("native", debug_nans=True)
    net.run(net.init(), "h", x=np.ones((3, 2)))
    assert said(caplog)[0] == "template 'leak': runs on numpy instead of native, which has no form for debug_nans=True"
    net = leak().compile("native", dtype="complex128")
    net.run(net.init(), "h", x=np.ones((3, 2)))
    assert said(caplog)[0] == "template 'leak': runs on numpy instead of native, which has no form for complex128"
    monkeypatch.setitem(backends.NEEDS, "native", ("a_package_of_nobodys",))
    assert leak().compile().backend.name == "numpy"
    assert said(caplog) == ["backend auto is numpy: native needs a_package_of_nobodys"]


def test_nothing_is_said_unasked() -> None:
    script = (
        "from unroll import Template, t; g = Template(); x, y = g.input('x'), g.variable('y'); y[t] = 2 * x[t]; "
        "g.compile('numpy').run({}, 'y', x=[1.0]); import logging; print(logging.getLogger('unroll').handlers)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "NullHandler" in done.stdout
