"""Reads of few steps, of fixed ones and beyond the last: values and gradients, at lengths around what is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.errors import LengthError

from .test_by_hand import every_backend, gradients

s, S = axis("s")


@every_backend
@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_two_steps_ahead(steps: int, backend: str) -> None:
    g = Template()
    p, v, x = g.param("p"), g.variable("v", ()), g.input("x")
    v[t] = p * x[t]
    v[T + 1], v[T + 2] = 2 * p, 3 * p
    g.loss = ops.sum(v[t + 2], over=t)
    x = np.arange(1.0, steps + 1)
    loss, grads = g.compile(backend, dtype="float64").value_and_grad({"p": 2.0}, ["p", "x", "v"], x=x)
    read = [*x, 2, 3][2:]
    assert (loss, grads["p"]) == (2 * sum(read), sum(read))
    later = np.arange(steps) >= 2
    np.testing.assert_array_equal(grads["x"], 2.0 * later)
    np.testing.assert_array_equal(grads["v"], 1.0 * later)


@every_backend
@pytest.mark.parametrize("lengths", [[3, 0], [1, 2], [4, 4]], ids=str)
def test_two_steps_back_and_the_last_of_each_example(lengths: list[int], backend: str) -> None:
    g = Template()
    p, v, x = g.param("p"), g.variable("v", ()), g.input("x")
    v[0], v[-1] = p, 2 * p
    v[t] = x[t]
    g.loss = ops.sum(v[t - 2], over=t) + v[T]
    by_p, by_x = 0, np.zeros((4, 2))
    for b, n in enumerate(lengths):
        by_p += 2 * (n >= 1) + (n >= 2) + (n == 0)
        for k in range(n):
            by_x[k, b] = (k + 2 < n) + (k == n - 1)
    x = np.arange(8.0).reshape(4, 2)
    grads = gradients(g, backend, {"p": 2.0}, ["p", "x"], x=x, lengths=lengths)
    assert grads["p"] == by_p / 2
    np.testing.assert_array_equal(grads["x"], by_x / 2)


@every_backend
def test_a_step_that_a_boundary_defines(backend: str) -> None:
    """H[3] is a boundary at T = 2, a step of the recurrence from T = 3 on, and nothing below."""
    g = Template()
    h, x, p = g.variable("h", ()), g.input("x"), g.param("p")
    h[T + 1] = p
    h[t] = h[t + 1] * x[t]
    g.loss = h[3] * 1.0
    net = g.compile(backend, dtype="float64")
    for steps in (2, 3, 4):
        x = np.arange(2.0, 2 + steps)
        loss, grads = net.value_and_grad({"p": 0.5}, ["p", "x"], x=x)
        assert (loss, grads["p"]) == (0.5 * np.prod(x[2:]), np.prod(x[2:]))
        want = [0, 0, *(0.5 * np.prod(np.delete(x[2:], k)) for k in range(steps - 2))]
        np.testing.assert_array_equal(grads["x"], want)
    for steps in (0, 1):
        with pytest.raises(LengthError, match=r"h\[3\]"):
            net.value_and_grad({"p": 0.5}, x=np.ones(steps))


@every_backend
def test_a_number_as_that_boundary(backend: str) -> None:
    g = Template()
    h, x = g.variable("h", ()), g.input("x")
    h[T + 1] = 0.5
    h[t] = h[t + 1] + x[t]
    g.loss = h[3]
    loss, grads = g.compile(backend, dtype="float64").value_and_grad({}, "x", x=np.ones(2))
    assert loss == 0.5
    np.testing.assert_array_equal(grads["x"], [0, 0])


FEW: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "stack": (
        lambda x: ops.sum(ops.stack([x[1], x[T]]) * np.array([[1.0], [2.0]])),
        lambda x: np.stack([np.ones_like(x[0]), 0 * x[1], 2 + 0 * x[2]]),
    ),
    "concat": (lambda x: ops.sum(ops.concat([x[2], x[T]]) ** 2), lambda x: np.stack([0 * x[0], 2 * x[1], 2 * x[2]])),
    "the same twice": (
        lambda x: ops.sum(ops.concat([x[T], x[T - 1], x[3]])),
        lambda x: np.stack([0 * x[0], 1 + 0 * x[1], 2 + 0 * x[2]]),
    ),
    "outer": (
        lambda x: ops.sum(ops.transpose(ops.outer(x[2], x[2]))) + ops.sum(x[T][:1]),
        lambda x: np.stack([0 * x[0], 2 * x[1].sum(-1, keepdims=True) + 0 * x[1], [[1, 0]] * len(x[2])]),
    ),
}


@every_backend
@pytest.mark.parametrize("form", FEW)
def test_what_is_read_at_a_few_steps(form: str, backend: str) -> None:
    g = Template()
    symbolic, derivative = FEW[form]
    g.loss = symbolic(g.input("x", 2))
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    np.testing.assert_allclose(gradients(g, backend, {}, "x", x=x)["x"], derivative(x) / 4, rtol=1e-13, atol=1e-15)


@every_backend
def test_the_last_step_of_one_axis_joined_with_the_other(backend: str) -> None:
    g = Template()
    x, c = g.input("x", 2, over=(t, s)), g.input("c", 3, over=s)
    g.loss = ops.sum(ops.sum(ops.concat([x[T, s], c[s]])), over=s)
    grads = gradients(g, backend, {}, ["x", "c"], x=np.ones((3, 2, 2)), c=np.ones((2, 3)))
    np.testing.assert_array_equal(grads["x"], np.array([0.0, 0, 1])[:, None, None] * np.ones((2, 2)))
    np.testing.assert_array_equal(grads["c"], np.ones((2, 3)))


@every_backend
@pytest.mark.parametrize(("steps", "others"), [(3, 2), (1, 4), (130, 3)])
def test_a_lattice_of_params_alone(steps: int, others: int, backend: str) -> None:
    """Numbers and their derivatives by a, in plain loops."""
    g = Template()
    a, v = g.param("a"), g.variable("v", ())
    v[0, s], v[t, 0], v[0, 0] = 1, a, 1
    v[t, s] = a * v[t - 1, s] + 0.5 * v[t, s - 1]
    g.loss = v[T, S]
    value, slope = np.ones((steps + 1, others + 1)), np.zeros((steps + 1, others + 1))
    value[1:, 0], slope[1:, 0] = 0.25, 1
    for i in range(1, steps + 1):
        for j in range(1, others + 1):
            value[i, j] = 0.25 * value[i - 1, j] + 0.5 * value[i, j - 1]
            slope[i, j] = value[i - 1, j] + 0.25 * slope[i - 1, j] + 0.5 * slope[i, j - 1]
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"a": 0.25}, T=steps, S=others)
    np.testing.assert_allclose(loss, value[-1, -1], rtol=1e-13)
    np.testing.assert_allclose(grads["a"], slope[-1, -1], rtol=1e-13)
    np.testing.assert_allclose(net.run({"a": 0.25}, "v", T=steps, S=others), value[1:, 1:], rtol=1e-13)


@every_backend
def test_a_truth_that_several_equations_write(backend: str) -> None:
    g = Template()
    x, m, n = g.input("x"), g.variable("m", (), dtype="bool"), g.variable("n", 2, dtype="bool")
    m[0], m[T + 1] = True, False
    m[t] = ops.where(m[t - 1], 1.0, 0.0) + x[t] > 0.5
    n[0], n[-1] = np.array([True, False]), np.array([False, True])
    n[t] = ~n[t - 2]
    g.output("around", ops.where(m[t + 1], 1.0, 0.0) + ops.where(m[t - 1], 10.0, 0.0))
    net, x = g.compile(backend, dtype="float64"), np.array([-1.0, 1, 0, -1])
    found = net.run({}, ["m", "n", "around", ("m", 0), ("n", -1)], x=x)
    assert found["m"].dtype == found["n"].dtype == found["m", 0].dtype == bool
    assert found["m"].tolist() == [False, True, True, False]
    assert found["n"].tolist() == [[True, False], [False, True], [False, True], [True, False]]
    assert found["around"].tolist() == [11, 1, 10, 10]
    both = net.run({}, "m", x=np.stack([x, -x], 1), lengths=[4, 2])
    assert both.T.tolist() == [[False, True, True, False], [True, False, False, False]]


@every_backend
@pytest.mark.parametrize("size", [6, 300])
def test_weights_at_a_step_that_few_lengths_have(size: int, backend: str) -> None:
    """A loop of no steps reads nothing; one that runs needs the fourth step."""
    g = Template()
    W, A, x, h = g.param("W", (size, size)), g.variable("A", (size, size)), g.input("x", size, over=s), g.variable("h")
    A[0] = W
    A[t] = 0.5 * A[t - 1]
    h[0] = np.zeros(size)
    h[s] = ops.tanh(A[4] @ h[s - 1] + x[s])
    g.output("last", h[S])
    net, params = g.compile(backend, dtype="float64"), {"W": np.eye(size)}
    np.testing.assert_array_equal(net.run(params, "last", x=np.ones((0, size)), T=0), np.zeros(size))
    with pytest.raises(LengthError, match=r"A\[4\]"):
        net.run(params, "last", x=np.ones((2, size)), T=3)
    found = net.run(params, "last", x=np.ones((2, size)), T=4)
    np.testing.assert_allclose(found, np.full(size, np.tanh(np.tanh(1) / 16 + 1)), rtol=1e-14)
