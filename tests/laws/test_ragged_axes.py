"""Lengths of examples on some of several axes, the others full for all: what is right is counted in plain loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t

from .test_by_hand import every_backend

s, S = axis("s")
u, U = axis("u")
EXACT = {"rtol": 1e-12, "atol": 1e-13}
PAIRS = [
    {"T": [4, 2], "S": [3, 2]},
    {"T": [4, 4], "S": [3, 1]},
    {"T": [4, 2], "S": [3, 3]},
    {"S": [3, 1]},
    {"T": [4, 0]},
    {"T": [4, 0], "S": [0, 2]},
]


def steps(lengths: dict[str, Any], full: dict[str, int]) -> list[tuple[int, ...]]:
    """For each example its numbers of steps along all axes."""
    return [tuple(lengths.get(end, (n, n))[b] for end, n in full.items()) for b in range(2)]


@every_backend
@pytest.mark.parametrize("lengths", PAIRS, ids=str)
def test_a_term_without_axes_counts_at_every_step(lengths: dict[str, Any], backend: str) -> None:
    g = Template()
    x, b, c = g.input("x", over=(t, s)), g.param("b"), g.param("c", 2)
    g.loss = ops.sum(x[t, s] ** 2 + b + ops.sum(c), over=(t, s))
    g.output("number", ops.sum(1 + 0 * x[t, s], over=(t, s)))
    g.output("most", ops.max(b + 0 * x[t, s], over=(t, s)))
    net, x = g.compile(backend, dtype="float64"), np.random.default_rng(0).normal(size=(4, 3, 2))
    params = {"b": np.array(1.0), "c": np.array([2.0, -1.0])}
    loss, grads = net.value_and_grad(params, x=x, lengths=lengths)
    every = steps(lengths, {"T": 4, "S": 3})
    counts = [n * m for n, m in every]
    squares = [(x[:n, :m, k] ** 2).sum() for k, (n, m) in enumerate(every)]
    np.testing.assert_allclose(loss, np.mean(np.add(squares, np.multiply(counts, 2.0))), **EXACT)
    assert grads["b"] == np.mean(counts)
    np.testing.assert_array_equal(grads["c"], [np.mean(counts)] * 2)
    found = net.run(params, x=x, lengths=lengths)
    np.testing.assert_array_equal(found["number"], counts)
    np.testing.assert_array_equal(found["most"], [1.0 if n else -np.inf for n in counts])


@every_backend
@pytest.mark.parametrize("lengths", PAIRS, ids=str)
def test_boundaries_along_both_axes_count_as_often_as_they_are_read(lengths: dict[str, Any], backend: str) -> None:
    g = Template()
    x, b, v = g.input("x", over=(t, s)), g.param("b"), g.variable("v", ())
    v[0, s], v[t, 0], v[0, 0] = b, 2 * b, 0
    v[t, s] = x[t, s] + b
    g.loss = ops.sum(v[t - 1, s] + v[t, s - 1], over=(t, s))
    x = np.random.default_rng(1).normal(size=(4, 3, 2))
    loss, by_b, by_x = 0.0, 0.0, np.zeros_like(x)
    for k, (n, m) in enumerate(steps(lengths, {"T": 4, "S": 3})):
        for i, j in product(range(n), range(m)):
            for a, c in ((i - 1, j), (i, j - 1)):
                factor = 1 if a < 0 else 2 if c < 0 else 1
                inside = a >= 0 and c >= 0
                loss += factor * 0.7 + (x[a, c, k] if inside else 0)
                by_b += factor
                by_x[a, c, k] += inside
    value, grads = g.compile(backend, dtype="float64").value_and_grad({"b": 0.7}, ["b", "x"], x=x, lengths=lengths)
    np.testing.assert_allclose(value, loss / 2, **EXACT)
    assert grads["b"] == by_b / 2
    np.testing.assert_array_equal(grads["x"], by_x / 2)


@every_backend
@pytest.mark.parametrize(
    "lengths",
    [{"U": [2, 1]}, {"T": [3, 1], "S": [2, 2]}, {"U": [1, 2], "S": [1, 0]}, {"U": [2, 2], "T": [2, 3]}],
    ids=str,
)
def test_terms_of_one_axis_under_a_sum_over_three(lengths: dict[str, Any], backend: str) -> None:
    g = Template()
    x, y, p, q = g.input("x", over=(u, t, s)), g.input("y", 2), g.param("p", 2), g.param("q")
    g.loss = ops.sum(x[u, t, s] * q + ops.sum(p) + ops.sum(y[t] * p), over=(u, t, s)) + ops.sum(q * y[t][0], over=t)
    rng = np.random.default_rng(2)
    x, y, p, q = rng.normal(size=(2, 3, 2, 2)), rng.normal(size=(3, 2, 2)), np.array([1.0, 2.0]), 0.5
    loss, by_p, by_q, by_x, by_y = 0.0, np.zeros(2), 0.0, np.zeros_like(x), np.zeros_like(y)
    for k, (nu, nt, ns) in enumerate(steps(lengths, {"U": 2, "T": 3, "S": 2})):
        for i in range(nt):
            loss, by_q = loss + q * y[i, k, 0], by_q + y[i, k, 0]
            by_y[i, k, 0] += q
        for a, i, c in product(range(nu), range(nt), range(ns)):
            loss += q * x[a, i, c, k] + p.sum() + y[i, k] @ p
            by_p, by_q = by_p + 1 + y[i, k], by_q + x[a, i, c, k]
            by_x[a, i, c, k] += q
            by_y[i, k] += p
    net = g.compile(backend, dtype="float64")
    value, grads = net.value_and_grad({"p": p, "q": q}, ["p", "q", "x", "y"], x=x, y=y, lengths=lengths)
    np.testing.assert_allclose(value, loss / 2, **EXACT)
    for name, want in {"p": by_p, "q": by_q, "x": by_x, "y": by_y}.items():
        np.testing.assert_allclose(grads[name], want / 2, err_msg=name, **EXACT)


@every_backend
@pytest.mark.parametrize("lengths", [{"U": [2, 1], "T": [1, 2]}, {"U": [1, 2], "T": [2, 2], "S": [2, 1]}], ids=str)
@pytest.mark.parametrize("along", ["u", "t", "s"])
def test_a_boundary_after_the_end_along_each_of_three_axes(along: str, lengths: dict[str, Any], backend: str) -> None:
    place = "uts".index(along)
    g = Template()
    x, v, p = g.input("x", over=(u, t, s)), g.variable("v", ()), g.param("p")
    x[((U + 1, t, s), (u, T + 1, s), (u, t, S + 1))[place]] = p
    v[u, t, s] = x[((u + 1, t, s), (u, t + 1, s), (u, t, s + 1))[place]]
    g.loss = ops.sum(v[u, t, s] ** 2, over=(u, t, s))
    x, want, by_p = np.random.default_rng(3).normal(size=(2, 2, 2, 2)), np.zeros((2, 2, 2, 2)), 0.0
    for k, ends in enumerate(steps(lengths, {"U": 2, "T": 2, "S": 2})):
        for at in product(*map(range, ends)):
            later = tuple(i + (n == place) for n, i in enumerate(at))
            after = later[place] == ends[place]
            want[(*at, k)] = 0.3 if after else x[(*later, k)]
            by_p += 0.3 * after
    net = g.compile(backend, dtype="float64")
    np.testing.assert_array_equal(net.run({"p": 0.3}, "v", x=x, lengths=lengths), want)
    loss, grads = net.value_and_grad({"p": 0.3}, x=x, lengths=lengths)
    np.testing.assert_allclose(loss, (want**2).sum() / 2, **EXACT)
    np.testing.assert_allclose(grads["p"], by_p, **EXACT)
