"""Products block by block, and loops whose examples are divided between threads, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.backends.native.packing import occurring, parted

pytest.importorskip("llvmlite")

CLOSE = {"float32": 1e-4, "float64": 1e-11}


def close(found: Any, wanted: Any, dtype: str) -> None:
    """Equal to rounding, relative to the largest element."""
    assert np.shape(found) == np.shape(wanted)
    assert np.abs(found - wanted).max() <= CLOSE[dtype] * max(np.abs(wanted).max(), 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (7, 257), (17, 300), (601, 3), (300, 131)])
def test_sizes_around_the_blocks_of_a_product_over_all_steps(sizes: tuple[int, int], dtype: str) -> None:
    outputs, inputs = sizes
    g = Template("affine")
    x, W, y = g.input("x", inputs), g.param("W", (outputs, inputs)), g.variable("y", outputs)
    y[t] = W @ x[t]
    g.loss = ops.sum(ops.sum(y[t] * y[t]), over=t)
    net = g.compile("native", dtype=dtype)
    rng = np.random.default_rng(inputs)
    weights = (rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(dtype)
    for steps, batch in ((0, 2), (1, 1), (29, 11), (131, 2)):
        data = rng.normal(size=(steps, batch, inputs)).astype(dtype)
        value, grads = net.value_and_grad({"W": weights}, x=data)
        made = data.astype("float64") @ weights.T.astype("float64")
        close(value, (made * made).sum() / batch, dtype)
        close(grads["W"], 2 / batch * np.einsum("tbo,tbi->oi", made, data.astype("float64")), dtype)


@pytest.mark.parametrize(("hidden", "batch"), [(33, 8), (40, 13), (17, 30)])
def test_loops_divided_between_threads(hidden: int, batch: int) -> None:
    g = Template("divided")
    x, W, U = g.input("x", 3), g.param("W", (hidden, hidden)), g.param("U", (hidden, 3))
    h = g.variable("h", hidden)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    rng = np.random.default_rng(hidden)
    params = {"W": rng.normal(size=(hidden, hidden)) / hidden, "U": rng.normal(size=(hidden, 3))}
    data = rng.normal(size=(512, batch, 3))
    want, want_grads = g.compile("numpy", dtype="float64").value_and_grad(params, x=data)
    net = g.compile("native", dtype="float64")
    value, grads = net.value_and_grad(params, x=data)
    close(value, want, "float64")
    for name, wanted in want_grads.items():
        close(grads[name], wanted, "float64")
    for _ in range(10):
        again, again_grads = net.value_and_grad(params, x=data)
        assert again == value
        assert all(np.array_equal(again_grads[name], grads[name]) for name in grads)


@pytest.mark.parametrize("shares", [1, 2, 3, 8])
@pytest.mark.parametrize("columns", [1, 16, 17, 64, 100, 1024])
def test_panels_cover_all_columns(columns: int, shares: int) -> None:
    vectors = -(-columns // 16)
    ranges = parted(vectors, shares)
    assert [v for start, past in ranges for v in range(start, past)] == list(range(vectors))
    kinds = occurring(columns, 16, ranges)
    assert any(cut for _, cut in kinds) == bool(columns % 16)
    assert all(1 <= n <= 3 for n, _ in kinds)
