"""Memory: what a run takes is what was predicted, and a run that cannot fit is refused before it allocates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.backends import memory
from unroll.errors import MemoryLimitError

pytest.importorskip("llvmlite")

INPUTS, HIDDEN = 5, 8


def lstm() -> Template:
    g = Template("lstm")
    x, h, c = g.input("x", INPUTS), g.variable("h", HIDDEN), g.variable("c", HIDDEN)
    h[0], c[0] = 0, 0
    i, f, o, z = (
        g.param(f"W{k}", (HIDDEN, HIDDEN)) @ h[t - 1] + g.param(f"U{k}", (HIDDEN, INPUTS)) @ x[t] for k in "ifoz"
    )
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(z)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


def test_the_peak_is_as_predicted() -> None:
    net = lstm().compile("native")
    params = net.init()
    steps, batch = 400, 200
    x = np.ones((steps, batch, INPUTS), np.float32)
    net.value_and_grad(params, x=x[:1])
    predicted = net.explain(T=steps, batch=batch).memory
    tracemalloc.start()
    net.value_and_grad(params, x=x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert predicted is not None
    assert abs(peak - predicted) <= 0.1 * peak, f"predicted {predicted}, measured {peak}"


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_run_that_does_not_fit_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lstm().compile(backend)
    params = net.init()
    net.value_and_grad(params, x=np.ones((1, 1, INPUTS), np.float32))
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    monkeypatch.setattr(memory, "SMALL", 0)
    x = np.ones((500, 300, INPUTS), np.float32)
    tracemalloc.start()
    with pytest.raises(MemoryLimitError, match=r"T = 500 this run wants .* MiB, and 1.0 MiB of memory can be had"):
        net.value_and_grad(params, x=x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    value, _ = net.value_and_grad(params, x=x[:2, :2])  # and a smaller one still runs
    assert np.isfinite(value)


def test_a_computed_label_out_of_range_reads_no_foreign_memory() -> None:
    g = Template("labels")
    x, E = g.input("x", 5), g.param("E", (3, 2))
    g.output("y", E[ops.argmax(x[t])])
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = g.compile("native").run({"E": rows}, "y", x=np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(found, rows[[0, 1, 2, 2, 2]])


@pytest.mark.slow
def test_a_buffer_of_more_elements_than_32_bits_count() -> None:
    steps, batch, width = 2**15 + 1, 2**8, 2**8
    left = memory.available()
    if left is None or left < 1.25 * 4 * steps * batch * width:
        pytest.skip(f"needs 10 GiB of memory, and {left} bytes can be had")
    g = Template("wide")
    v, h = g.input("v", width, over=None), g.variable("h", width)
    h[0] = 0
    h[t] = v - h[t - 1]  # v at odd steps, 0 at even ones
    g.output("last", h[T])
    g.output("most", ops.max(h[t], over=t))
    g.output("total", ops.sum(h[t], over=t))
    value = (np.arange(batch * width) % 1000).reshape(batch, width).astype(np.float32)
    for backend in ("native", "numpy"):  # one after the other: both together would need twice as much
        found = g.compile(backend).run({}, v=value, T=steps)
        np.testing.assert_array_equal(found["last"], value)
        np.testing.assert_array_equal(found["most"], value)
        np.testing.assert_array_equal(found["total"], value * (steps // 2 + 1))


def test_results_are_arrays_of_their_own() -> None:
    """Of one number too, which a view into the arena must not be mistaken for."""
    g = Template("leak")
    x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    g.output("last", h[T])
    g.loss = ops.sum(h[t], over=t)
    net = g.compile("native")
    x1, x2 = np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)
    for call in (lambda a, x: net.value_and_grad({"a": a}, x=x)[1], lambda a, x: net.run({"a": a}, x=x)):
        first = call(np.float32(0.5), x1)
        kept = {name: np.array(value) for name, value in first.items()}
        second = call(np.float32(0.25), x2)
        assert first == kept
        assert first != second
