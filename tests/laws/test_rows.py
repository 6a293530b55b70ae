"""Reductions of rows side by side and nothing else, of one size and of several, hold what NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t

from .test_by_hand import every_backend, gradients

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
ROWS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "sum": (ops.sum, lambda x: x.sum(-1)),
    "max": (ops.max, lambda x: x.max(-1)),
    "min": (ops.min, lambda x: x.min(-1)),
    "mean": (ops.mean, lambda x: x.mean(-1)),
    "logsumexp": (ops.logsumexp, lambda x: np.log(np.exp(x).sum(-1))),
    "argmax": (ops.argmax, lambda x: x.argmax(-1)),
    "kept": (lambda x: ops.sum(x, keepdims=True), lambda x: x.sum(-1, keepdims=True)),
    "squares": (lambda x: ops.sum(x * x), lambda x: (x * x).sum(-1)),
    "softmax": (ops.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
}


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_sums_of_ones(dtype: Any, backend: str) -> None:
    g = Template()
    x, y = g.input("x", 8), g.input("y", 8)
    g.output("a", ops.sum(x[t]))
    g.output("b", ops.sum(y[t]))
    found = g.compile(backend, dtype=dtype).run({}, x=np.ones((3, 2, 8), dtype), y=np.ones((3, 2, 8), dtype))
    np.testing.assert_array_equal(found["a"], np.full((3, 2), 8))
    np.testing.assert_array_equal(found["b"], np.full((3, 2), 8))


@every_backend
@pytest.mark.parametrize("width", [1, 8, 100, 8192])
def test_reductions_of_every_kind_in_pairs(width: int, backend: str) -> None:
    g, rng = Template(), np.random.default_rng(width)
    x, y = g.input("x", width), g.input("y", width)
    for n, (name, (form, _)) in enumerate(ROWS.items()):
        g.output(name, form((x, y)[n % 2][t]))
    net, arrays = g.compile(backend, dtype="float64"), {n: rng.normal(size=(2, 3, width)) for n in "xy"}
    for names in (list(ROWS), *map(list, pairwise([*ROWS, "sum"]))):
        found = net.run({}, names, **arrays)
        for name in names:
            want = ROWS[name][1](arrays["xy"[list(ROWS).index(name) % 2]])
            np.testing.assert_allclose(found[name], want, err_msg=f"{name} among {names}", **CLOSE)


@every_backend
@pytest.mark.parametrize("shape", [(8, 8), (3, 17), (300, 8)], ids=str)
def test_rows_and_columns_beside_a_vector(shape: tuple[int, int], backend: str) -> None:
    g, rng = Template(), np.random.default_rng(0)
    x, y = g.input("x", shape), g.input("y", shape[1])
    g.output("rows", ops.sum(x[t], axis=1))
    g.output("columns", ops.sum(x[t], axis=0))
    g.output("highest", ops.max(x[t], axis=1))
    g.output("of columns", ops.max(x[t], axis=0))
    g.output("sum", ops.sum(y[t]))
    g.output("most", ops.max(y[t]))
    net, x, y = g.compile(backend, dtype="float64"), rng.normal(size=(2, 2, *shape)), rng.normal(size=(2, 2, shape[1]))
    want = {
        "rows": x.sum(-1), "columns": x.sum(-2), "highest": x.max(-1), "of columns": x.max(-2),
        "sum": y.sum(-1), "most": y.max(-1),
    }  # fmt: skip
    for names in (list(want), *map(list, pairwise([*want, "rows"]))):
        found = net.run({}, names, x=x, y=y)
        for name in names:
            np.testing.assert_allclose(found[name], want[name], err_msg=f"{name} among {names}", **CLOSE)


@every_backend
@pytest.mark.parametrize("width", [8, 300, 8192])
def test_gradients_through_reductions_side_by_side(width: int, backend: str) -> None:
    g, rng = Template(), np.random.default_rng(width)
    x, y = g.input("x", width), g.input("y", width)
    g.loss = ops.sum(ops.sum(x[t]) * ops.sum(y[t]) + ops.max(x[t]) * ops.sum(y[t] * y[t]), over=t)
    x, y = rng.normal(size=(2, 2, width)), rng.normal(size=(2, 2, width))
    grads = gradients(g, backend, {}, ["x", "y"], x=x, y=y)
    top = x.max(-1, keepdims=True)
    by_x = y.sum(-1, keepdims=True) + (x == top) * (y * y).sum(-1, keepdims=True)
    np.testing.assert_allclose(grads["x"], by_x / 2, **CLOSE)
    np.testing.assert_allclose(grads["y"], (x.sum(-1, keepdims=True) + 2 * y * top) / 2, **CLOSE)


@every_backend
def test_the_same_operation_told_otherwise(backend: str) -> None:
    """What differs in an attribute or in the shape of the result alone is not one."""
    g = Template()
    x = g.input("x", 6)
    for n in (2, 3):
        table = ops.reshape(x[t], (n, 6 // n))
        g.output(f"down {n}", ops.sum(table, axis=0))
        g.output(f"across {n}", ops.sum(table, axis=1))
        g.output(f"turned {n}", ops.transpose(table))
        g.output(f"wide {n}", ops.broadcast_to(x[t], (n, 6)))
        g.output(f"hot {n}", ops.one_hot(ops.argmax(x[t]), 6 + n))
        g.output(f"leaky {n}", ops.leaky_relu(x[t], slope=0.1 * n))
        g.output(f"norm {n}", ops.layer_norm(x[t], eps=0.5 * n))
        g.output(f"power {n}", x[t] ** n)
        g.output(f"part {n}", ops.sum(x[t][n:]))
    x = np.random.default_rng(0).normal(size=(4, 6))
    found = g.compile(backend, dtype="float64").run({}, x=x)
    for n in (2, 3):
        table = x.reshape(4, n, 6 // n)
        centred = x - x.mean(-1, keepdims=True)
        want = {
            "down": table.sum(1), "across": table.sum(2), "turned": table.transpose(0, 2, 1),
            "wide": np.broadcast_to(x[:, None], (4, n, 6)), "hot": np.eye(6 + n)[x.argmax(-1)],
            "leaky": np.where(x > 0, x, 0.1 * n * x), "power": x**n, "part": x[:, n:].sum(-1),
            "norm": centred / np.sqrt(x.var(-1, keepdims=True) + 0.5 * n),
        }  # fmt: skip
        for name, value in want.items():
            np.testing.assert_allclose(found[f"{name} {n}"], value, err_msg=f"{name} {n}", rtol=1e-12, atol=1e-14)


@every_backend
def test_cotangents_of_every_size_from_one_loss(backend: str) -> None:
    g = Template()
    x, W, V = g.input("x", 6), g.param("W", (2, 6)), g.param("V", (3, 6))
    p, q, r = g.param("p", 1), g.param("q", (1, 1)), g.param("r")
    sums = ops.sum(W @ x[t]) + ops.sum(V @ x[t]) + ops.sum(p) + ops.sum(q) + r
    means = ops.mean(W @ x[t]) + ops.mean(V @ x[t]) + ops.mean(p) + ops.max(p) + ops.max(q)
    g.loss = ops.sum(sums + means, over=t)
    x = np.arange(18.0).reshape(3, 6)
    params = {"W": np.ones((2, 6)), "V": np.ones((3, 6)), "p": [1.0], "q": [[1.0]], "r": 1.0}
    grads, total = gradients(g, backend, params, x=x), x.sum(0)
    np.testing.assert_allclose(grads["W"], np.tile(1.5 * total, (2, 1)), rtol=1e-14)
    np.testing.assert_allclose(grads["V"], np.tile(total * 4 / 3, (3, 1)), rtol=1e-14)
    assert (grads["p"].tolist(), grads["q"].tolist(), float(grads["r"])) == ([9], [[6]], 3)
