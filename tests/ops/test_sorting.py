"""Sorting: ties, nan and infinities, gradients to where values came from, labels out of range, padded batches."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager, pullback

from unroll import Template, ops, t
from unroll.errors import LabelError

BACKENDS = ["numpy", "reference", *(["native"] if importlib.util.find_spec("llvmlite") else [])]
everywhere = pytest.mark.parametrize("backend", BACKENDS)
INF, NAN = math.inf, math.nan


@everywhere
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(backend: str, dtype: str, rng: np.random.Generator) -> None:
    g = Template()
    x = g.input("x", 6)
    g.output("up", ops.sort(x[t]))
    g.output("down", ops.sort(x[t], descending=True))
    g.output("top", ops.top_k(x[t], 2))
    g.output("none", ops.top_k(x[t], 0))
    at = rng.choice([NAN, INF, -INF, 0.0, -0.0, 1.0, -2.5], (7, 5, 6)).astype(dtype)
    found = g.compile(backend, dtype=dtype).run({}, x=at)
    want = np.sort(at, -1)
    np.testing.assert_array_equal(found["up"], want)
    np.testing.assert_array_equal(found["down"], want[..., ::-1])
    np.testing.assert_array_equal(found["top"], want[..., ::-1][..., :2])
    assert found["none"].shape == (7, 5, 0)


def test_equal_values_keep_their_order() -> None:
    """Each has the cotangent of its own place: seen in the gradient, since their values are the same."""
    x = Eager(np.array([1.0, 0.0, 1.0, 0.0]))
    for f, want in (
        (ops.sort, [3.0, 1.0, 4.0, 2.0]),
        (lambda x: ops.sort(x, descending=True), [1.0, 3.0, 2.0, 4.0]),
        (lambda x: ops.concat([ops.top_k(x, 3), Eager(np.zeros(1))]), [1.0, 3.0, 2.0, 0.0]),
    ):
        (slope,) = pullback(f(x), np.array([1.0, 2.0, 3.0, 4.0]), [x])
        assert slope.value.tolist() == want


@everywhere
def test_through_time(backend: str, rng: np.random.Generator) -> None:
    """A filter by the median of three: its gradient goes to the middle value, in a padded batch to no padding."""
    g = Template()
    x, h, a = g.input("x", 2), g.variable("h", ()), g.param("a", (), init=0.5)
    h[0] = 0
    h[t] = ops.sort(ops.concat([x[t], ops.reshape(a * h[t - 1], 1)]))[1]
    g.loss = ops.sum(h[t], over=t)
    net = g.compile(backend, dtype="float64")
    at, lengths = rng.standard_normal((6, 3, 2)), np.array([6, 1, 4])
    loss, grads = net.value_and_grad(net.init(), wrt=["a", "x"], x=at, lengths=lengths)
    total, slope_a, slope = 0.0, 0.0, np.zeros_like(at)
    for b, n in enumerate(lengths):
        value, moved, came = 0.0, 0.0, np.zeros((6, 2))  # h, its derivative by a and by x
        for k in range(n):
            three = [*at[k, b], 0.5 * value]
            middle = int(np.argsort(three, kind="stable")[1])
            moved = value + 0.5 * moved if middle == 2 else 0.0
            came = 0.5 * came if middle == 2 else np.zeros((6, 2))
            if middle < 2:
                came[k, middle] = 1
            value = three[middle]
            total, slope_a, slope[:, b] = total + value / 3, slope_a + moved / 3, slope[:, b] + came / 3
    np.testing.assert_allclose(loss, total, rtol=1e-14)
    np.testing.assert_allclose(grads["a"], slope_a, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(grads["x"], slope, rtol=1e-13, atol=1e-14)


@everywhere
def test_take_along_a_param(backend: str, rng: np.random.Generator) -> None:
    """The gradient of a table that every example reads elements of is summed over steps and examples."""
    g = Template()
    W, i = g.param("W", (2, 4)), g.input("i", (2, 3), dtype="int")
    g.loss = ops.sum(ops.sum(ops.take_along(W, i[t]) ** 2), over=t)
    net = g.compile(backend, dtype="float64")
    table, at = rng.standard_normal((2, 4)), rng.integers(0, 4, (5, 3, 2, 3))
    loss, grads = net.value_and_grad({"W": table}, i=at)
    rows = np.arange(2)[:, None]
    np.testing.assert_allclose(loss, np.sum(table[rows, at] ** 2) / 3)
    want = np.zeros((2, 4))
    np.add.at(want, (np.broadcast_to(rows, at.shape), at), 2 * table[rows, at] / 3)
    np.testing.assert_allclose(grads["W"], want, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_outside(backend: str) -> None:
    g = Template()
    x, i = g.input("x", 3), g.input("i", 1, dtype="int")
    g.output("y", ops.take_along(x[t], i[t] + 1))
    net = g.compile(backend)
    with pytest.raises(LabelError, match="labels run from 0 to 2"):
        net.run({}, x=np.zeros((1, 1, 3), "float32"), i=np.array([[[2]]]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ranks_need_no_check(backend: str) -> None:
    """No output counts labels out of range where the ranks of a row are its labels."""
    g = Template()
    x = g.input("x", 3)
    g.output("y", ops.sort(x[t]))
    assert "labels" not in str(g.compile(backend).program())


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: ops.sort(x[0, 0]), "axis -1 is out of range"),
        (lambda x: ops.sort(x, 2), "axis 2 is out of range"),
        (lambda x: ops.top_k(x, 4), "from 0 to the 3 values along axis -1; got 4"),
        (lambda x: ops.top_k(x, -1), "got -1"),
        (lambda x: ops.top_k(x, 1.5), "got 1.5"),
        (lambda x: ops.take_along(x, Eager(np.array([0]))), r"values \(2, 3\), indices \(1,\)"),
    ],
)
def test_refused(f: Any, said: str) -> None:
    with pytest.raises(ops.ShapeError, match=said):
        f(Eager(np.zeros((2, 3))))
