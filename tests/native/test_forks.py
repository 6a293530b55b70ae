"""Processes that fork while something is compiled or run: the child computes, and nobody waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from unroll import Template, cells, ops, t
from unroll.backends.common import forks, memory_budget

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")

HEAD = """
import multiprocessing, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # which is right, and what is tested here
import numpy as np
from unroll import Template, cells, ops, t

def lstm(size):
    g = Template("lstm")
    x = g.input("x", 3)
    h, _ = cells.layer(g, cells.lstm, x[t], size)
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g

X = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("f4")

def right(net, params):
    found, grads = net.value_and_grad(params, x=X)
    want, others = WANT[len(params["b_f_h"]) if "b_f_h" in params else 0]
    assert abs(found - want) < 1e-4 * abs(want), (found, want)
    for name, value in grads.items():
        np.testing.assert_allclose(value, others[name], atol=1e-4)

def child(work):
    "Fork, and have the child work; its exit status within a minute."
    process = os.fork()
    if not process:
        try:
            work()
        except BaseException as error:
            print("child:", type(error).__name__, error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "hangs"

def reference(size):
    net = lstm(size).compile("numpy")
    return net.value_and_grad(net.init(seed=0), x=X)

WANT = {}
def prepare(*sizes):
    for size in sizes:
        WANT[size] = WANT[0] = reference(size)
"""

BETWEEN = """
prepare(8)
g = lstm(8)
params = g.compile("numpy").init(seed=0)
net = g.compile("native")  # whose kernels are being compiled when it comes back
assert child(lambda: right(net, params)) == 0
right(net, params)
assert child(lambda: right(net, params)) == 0
"""

POOLED = """
prepare(8)
net = lstm(8).compile("native")
params = net.init(seed=0)
def work(number):
    right(net, params)
    return number
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(work, range(4)).get(timeout=60) == [0, 1, 2, 3]
"""

WHILE = """
prepare(*range(4, 12))
ready = lstm(4).compile("native")
params = ready.init(seed=0)
WANT[0] = WANT[4]
nets = {}
def compile_all():
    for size in range(5, 12):
        net = lstm(size).compile("native", without=("fuse",) if size % 2 else ())
        net.value_and_grad(net.init(seed=0), x=X)
        nets[size] = net
thread = threading.Thread(target=compile_all)
thread.start()
forks = 0
while thread.is_alive() and forks < 25:
    assert child(lambda: right(ready, params)) == 0, forks
    forks += 1
    def fresh():
        net = lstm(7).compile("native")
        WANT[0] = WANT[7]
        right(net, net.init(seed=0))
    assert child(fresh) == 0, forks
    forks += 1
thread.join()
for size, net in nets.items():
    WANT[0] = WANT[size]
    right(net, net.init(seed=0))
"""

RUNNING = """
prepare(8)
net, plain = lstm(8).compile("native"), lstm(8).compile("numpy")
params = net.init(seed=0)
right(net, params); right(plain, params)
stop = threading.Event()
def run(net):
    while not stop.is_set():
        right(net, params)
threads = [threading.Thread(target=run, args=(n,)) for n in (net, plain)]
for thread in threads:
    thread.start()
try:
    for number in range(20):
        assert child(lambda: (right(net, params), right(plain, params))) == 0, number
finally:
    stop.set()
    for thread in threads:
        thread.join()
"""

LARGE = """
prepare(8)
big = Template("big")
W, x, h = big.param("W", (256, 256)), big.input("x", 256), big.variable("h", 256)
h[0] = 0
h[t] = ops.tanh(W @ h[t - 1] + x[t])
net, plain = big.compile("native"), big.compile("numpy")
params = net.init(seed=0)
data = np.random.default_rng(0).normal(size=(4, 64, 256)).astype("f4")
want = plain.run(params, "h", x=data)
def work():
    np.testing.assert_allclose(net.run(params, "h", x=data), want, atol=1e-4)
work()
for number in range(3):
    assert child(lambda: (work(), work())) == 0
    def another():
        other = big.compile("native", dtype="float64")
        found = other.run({"W": params["W"].astype("f8")}, "h", x=data.astype("f8"))
        np.testing.assert_allclose(found, want, atol=1e-4)
        assert child(work) == 0  # and a child of the child
    assert child(another) == 0
work()
"""

SCRIPTS = {"between": BETWEEN, "pooled": POOLED, "while": WHILE, "running": RUNNING, "large": LARGE}


def succeeds(script: str, threads: str) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=root,
        env={**os.environ, "UNROLL_NUM_THREADS": threads, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("script", ["between", "pooled", "running"])
def test_a_fork(script: str, threads: str) -> None:
    succeeds(SCRIPTS[script], threads)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("script", [*SCRIPTS, *["between"] * 8, *["while"] * 4])
def test_many_forks(script: str, threads: str) -> None:
    succeeds(SCRIPTS[script], threads)


def test_a_fork_waits_for_whoever_holds_a_lock() -> None:
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with memory_budget.LOCK:
            held.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    order: list[str] = []
    forking = threading.Thread(target=lambda: (forks._before(), order.append("forked"), forks._release()))
    forking.start()
    order.append("held")
    go.set()
    forking.join(10)
    thread.join(10)
    assert order == ["held", "forked"]


def test_what_is_inherited_still_runs() -> None:
    g = Template("m")
    x = g.input("x", 3)
    h, _ = cells.layer(g, cells.lstm, x[t], 5)
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    net = g.compile("native")
    params, data = net.init(), np.ones((4, 2, 3), np.float32)
    before = net.loss(params, x=data)
    for thread in threading.enumerate():
        if thread.name == "unroll compiler":
            thread.join()
    forks._before()
    forks._in_child()  # as it would be in a child, but that nothing was lost
    assert net.loss(params, x=data) == before
    other = g.compile("native", dtype="float64")
    assert other.loss({n: v.astype(float) for n, v in params.items()}, x=data.astype(float)) == pytest.approx(
        before, rel=1e-4
    )
