"""Ctrl-C, and what else a handler of a signal raises, ends a call of compiled code; the next computes as before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from unroll.backends.native import interruptible_call, tuning

pytest.importorskip("llvmlite")
signals = pytest.mark.skipif(sys.platform == "win32", reason="no such signals here")

HEAD = """
import os, signal, threading
import numpy as np
from unroll import T, Template, cells, ops, t

g = Template("minutes")                      # of work, in little memory
W, h = g.param("W", (2048, 2048)), g.variable("h", 2048)
h[0] = 1
h[t] = ops.tanh(W @ h[t-1])
g.output("o", h[T])
net = g.compile("native")
params = net.init(seed=0)
few = lambda: net.run(params, "o", T=3)
before = few()

def soon(number=signal.SIGINT, *, seconds=0.3):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.start()
    return timer

def raises(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError("nothing was raised")

def long():
    net.run(params, "o", T=50_000)
"""

CTRL_C = """
for seconds in (0.3, 0.5):
    soon(seconds=seconds)
    raises(KeyboardInterrupt, long)
    assert (few() == before).all()
"""

TWICE = """
came, armed, ended = [], True, False
def count(*_):
    came.append(1)
    if armed:
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, count)
timers = [soon(seconds=0.3), soon(seconds=0.301), soon(seconds=0.302)]
try:
    try:
        long()
    finally:
        armed = False
except KeyboardInterrupt:
    ended = True
for timer in timers:
    timer.join()
assert ended and came and (few() == before).all()
signal.signal(signal.SIGINT, signal.default_int_handler)
"""

ANOTHER = """
class Late(Exception):
    pass
def late(*_):
    raise Late
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.3)
raises(Late, long)
assert (few() == before).all()
"""

NESTED = """
found = []
def compute(*_):
    found.append(few())
    if len(found) == 3:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, compute)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
raises(KeyboardInterrupt, long)
signal.setitimer(signal.ITIMER_REAL, 0)
assert all((f == before).all() for f in found) and len(found) >= 3
"""

BESIDE = """
found = []
thread = threading.Thread(target=lambda: found.extend(few() for _ in range(10)))
soon()
thread.start()
raises(KeyboardInterrupt, long)
thread.join()
assert len(found) == 10 and all((f == before).all() for f in found)
"""

BATCHES = """
g = Template("lstm")
x = g.input("x", 96)
h, _ = cells.layer(g, cells.lstm, x[t], 96)
g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
net = g.compile("native")
params, x = net.init(seed=0), np.random.default_rng(0).normal(size=(200, 256, 96))
want = net.value_and_grad(params, "bf_h", x=x)
ended = 0
for n in range(5):
    timer = soon(seconds=0.005 + 0.06 * n)
    try:
        net.value_and_grad(params, "bf_h", x=x)
        timer.join()
        threading.Event().wait(1)
    except KeyboardInterrupt:
        ended += 1
    found = net.value_and_grad(params, "bf_h", x=x)
    assert found[0] == want[0] and (found[1]["bf_h"] == want[1]["bf_h"]).all(), n
assert ended == 5
"""

SCRIPTS = {"1": (CTRL_C, TWICE, NESTED), "3": (CTRL_C, ANOTHER, BESIDE, BATCHES)}
"""By the number of threads, one after another in one process, since to begin takes longer than each."""


@signals
@pytest.mark.parametrize("threads", SCRIPTS)
def test_a_call_ends_and_the_net_goes_on(threads: str) -> None:
    """The whole call would take minutes."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", HEAD + "".join(SCRIPTS[threads])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "UNROLL_NUM_THREADS": threads, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", list(ZOO)[::12])
def test_in_the_other_thread_every_bit_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = ZOO[name]()
    rng = np.random.default_rng(0)
    params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, 5), 3, rng)
    net = g.compile("native", dtype="float64")
    want, want_grads = net.value_and_grad(params, **arrays)
    seen, run = [], interruptible_call.Job.do
    monkeypatch.setattr(tuning, "LONG", 0)
    monkeypatch.setattr(
        interruptible_call.Job, "do", lambda job: (seen.append(threading.current_thread().name), run(job))
    )
    for _ in range(3):
        value, grads = net.value_and_grad(params, **arrays)
        assert (value == want).all()
        assert all((grads[n] == want_grads[n]).all() for n in grads)
    assert set(seen) == {"unroll caller"}


@pytest.mark.parametrize("name", list(ZOO)[1::12])
def test_a_run_that_is_stopped_at_any_moment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves out what it will, and neither reads nor writes beyond its memory; the next run knows nothing of it."""
    g = ZOO[name]()
    rng = np.random.default_rng(0)
    params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, 40), 20, rng)
    net = g.compile("native", dtype="float64")
    want, want_grads = net.value_and_grad(params, **arrays)
    do = interruptible_call.Job.do

    def stopped(job: interruptible_call.Job) -> None:
        timer = threading.Timer(rng.random() * 0.001, job.stop)
        timer.start()
        do(job)
        timer.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "LONG", 0)
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(interruptible_call._place, "run", stopped)
            with pytest.raises(KeyboardInterrupt):
                net.value_and_grad(params, **arrays)
        value, grads = net.value_and_grad(params, **arrays)
        assert (value == want).all()
        assert all((grads[n] == want_grads[n]).all() for n in grads)


def test_only_long_calls_leave_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is measured; a size at which it would take long is, too."""
    calls: list[int] = []
    call = interruptible_call.InterruptibleCall(lambda *_: None)
    monkeypatch.setattr(interruptible_call._place, "run", lambda job: calls.append(1) or 0.001)
    nothing = (None, None, None)
    for work in (10, 10, 400, 600, 600):
        call(nothing, work, None)  # type: ignore[arg-type]
    assert len(calls) == 2  # 0.1 ms a unit: the first, and 60 ms, which took one
