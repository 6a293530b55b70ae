"""Numbers near the ends of what floating point holds, worked out by hand or in longer arithmetic, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import DifferentiationError

from .test_by_hand import every_backend

LOGITS = np.array([[1e4, 1e4, 1e4 - 1], [-3e4, -3e4 + 2, -3e4], [5.0, 0, -5], [3e38, 3e38, 0]])


def exact(x: np.ndarray) -> np.ndarray:
    """log(softmax(x)) along the last axis, in long double."""
    x = x.astype(np.longdouble)
    x = x - x.max(axis=-1, keepdims=True)
    return (x - np.log(np.exp(x).sum(axis=-1, keepdims=True))).astype(np.float64)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "log_softmax": lambda x, k: ops.pick(ops.log_softmax(x), k),
    "nll": lambda x, k: -ops.nll(ops.log_softmax(x), k),
    "cross_entropy": lambda x, k: -ops.cross_entropy(x, k),
    "probabilities": lambda x, k: -ops.cross_entropy(x, ops.one_hot(k, 3)),
}


@every_backend
@pytest.mark.parametrize("way", WAYS)
def test_an_offset_that_logits_share_is_lost(way: str, backend: str) -> None:
    g = Template()
    x, k = g.input("x", 3), g.input("k", dtype="int")
    g.output("y", WAYS[way](x[t], k[t]))
    net = g.compile(backend)
    logits = LOGITS.astype(np.float32)
    for label in range(3):
        want = exact(logits)[:, label]
        got = net.run({}, "y", x=logits, k=np.full(4, label))
        np.testing.assert_allclose(got, want, rtol=3e-7, atol=3e-7)


@every_backend
def test_an_offset_that_steps_share_is_lost(backend: str) -> None:
    g = Template()
    x = g.input("x")
    g.output("y", ops.log_softmax(x[t], over=t))
    for row in LOGITS.astype(np.float32)[:3]:
        got = g.compile(backend).run({}, "y", x=row)
        np.testing.assert_allclose(got, exact(row), rtol=3e-7, atol=3e-7)


@every_backend
def test_the_gradient_of_log_softmax_is_one_less_the_probabilities(backend: str) -> None:
    g = Template()
    x = g.input("x", 3)
    g.loss = ops.sum(ops.log_softmax(x[t])[0], over=t)
    grads = g.compile(backend, dtype="float64").value_and_grad({}, "x", x=LOGITS[:3])[1]
    np.testing.assert_allclose(grads["x"], np.array([1.0, 0, 0]) - np.exp(exact(LOGITS[:3])), atol=1e-14)


@every_backend
@pytest.mark.parametrize("shared", [0.0, 1e4, -1e6])
def test_gradients_of_cross_entropies_whatever_logits_share(shared: float, backend: str) -> None:
    """By logits and by probabilities, which are a param here; p - q and -log p, worked out in float64."""
    g = Template()
    x, p, k = g.input("x", 3), g.param("p", 3), g.input("k", dtype="int")
    g.loss = ops.sum(ops.cross_entropy(x[t], p) + ops.nll(ops.log_softmax(x[t]), k[t]), over=t)
    logits, given = np.float32(shared) + np.array([[0, 1, 2], [2, 2, 0]], np.float32), np.array([0.25, 0.25, 0.5])
    loss, grads = g.compile(backend).value_and_grad({"p": given.astype(np.float32)}, ["x", "p"], x=logits, k=[0, 1])
    logs = exact(logits)
    np.testing.assert_allclose(loss, -(logs @ given).sum() - logs[0, 0] - logs[1, 1], rtol=1e-6)
    np.testing.assert_allclose(grads["p"], -logs.sum(0), rtol=1e-6)
    want = 2 * np.exp(logs) - given - np.eye(3)[[0, 1]]
    np.testing.assert_allclose(grads["x"], want, rtol=1e-5, atol=1e-6)


@every_backend
@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_logits_that_are_infinite(infinite: float, backend: str) -> None:
    """A class that is impossible has log-probability -inf; of one whose logit is infinite no number can be told."""
    g = Template()
    x = g.input("x", 2)
    g.output("y", ops.log_softmax(x[t]))
    got = g.compile(backend, dtype="float64").run({}, "y", x=np.array([[infinite, 0.0]]))[0]
    np.testing.assert_array_equal(got, [-np.inf, 0] if infinite < 0 else [np.nan, -np.inf])


@every_backend
@pytest.mark.parametrize("along", ["elements", "steps"])
def test_nan_through_a_maximum_is_everybodys(along: str, backend: str) -> None:
    g = Template()
    x = g.input("x", 3)
    highest = ops.max(x[t]) if along == "elements" else ops.max(ops.sum(x[t]), over=t)
    g.output("y", highest)
    g.loss = ops.sum(highest, over=t) if along == "elements" else highest
    net = g.compile(backend, dtype="float64")
    x = np.array([[1.0, np.nan, 2], [1, 2, 3], [0, 0, 0]])
    np.testing.assert_array_equal(net.run({}, "y", x=x), [np.nan, 3, 0] if along == "elements" else np.nan)
    found = net.value_and_grad({}, "x", x=x)[1]["x"]
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(
        found[1:], [[0, 0, 1], [1 / 3] * 3] if along == "elements" else np.full((2, 3), np.nan)
    )


@every_backend
def test_a_loss_that_hangs_on_a_choice_alone(backend: str) -> None:
    g = Template()
    x, E = g.input("x", 3), g.param("E", 3)
    g.loss = ops.sum(E[ops.argmax(x[t])], over=t)
    net = g.compile(backend, dtype="float64")
    x = np.array([[0.0, 1, 0], [0, 0, 2], [0, 3, 0]])
    np.testing.assert_array_equal(net.value_and_grad({"E": np.ones(3)}, x=x)[1]["E"], [0, 2, 1])
    with pytest.raises(DifferentiationError, match="depends on x only through argmax"):
        net.value_and_grad({"E": np.ones(3)}, "x", x=x)


@every_backend
def test_what_is_added_up_of_nothing(backend: str) -> None:
    g = Template()
    x = g.input("x", 3)
    none = x[t][1:1]
    g.output("logsumexp", ops.logsumexp(none))
    g.output("softmax", ops.softmax(none))
    g.output("log_softmax", ops.log_softmax(none))
    g.output("sum", ops.sum(none))
    g.loss = ops.sum(ops.exp(ops.logsumexp(none)) + ops.sum(ops.softmax(none)) + ops.sum(x[t]), over=t)
    net = g.compile(backend, dtype="float64")
    found = net.run({}, x=np.ones((2, 3)))
    np.testing.assert_array_equal(found["logsumexp"], [-np.inf, -np.inf])
    np.testing.assert_array_equal(found["sum"], [0, 0])
    assert found["softmax"].shape == found["log_softmax"].shape == (2, 0)
    loss, grads = net.value_and_grad({}, "x", x=np.ones((2, 3)))
    assert loss == 6
    np.testing.assert_array_equal(grads["x"], np.ones((2, 3)))


@every_backend
def test_the_sign_of_a_zero_is_no_sign(backend: str) -> None:
    g = Template()
    x = g.input("x")
    g.output("y", 1 / ops.sign(x[t]))
    found = g.compile(backend).run({}, "y", x=np.array([-0.0, 0.0, -2.0], np.float32))
    np.testing.assert_array_equal(found, [np.inf, np.inf, -1])


@every_backend
def test_whole_numbers_that_equations_hold_wrap_around(backend: str) -> None:
    g = Template()
    x, p = g.input("x"), g.variable("p", dtype="int")
    p[t] = 2**62
    g.output("test", (p[t] + p[t]) > 0)
    g.output("choice", ops.where(p[t] * 2 > 0, x[t], -x[t]))
    g.output("difference", p[t] + p[t] - 1)
    found = g.compile(backend, dtype="float64").run({}, x=np.ones(1))
    assert (found["test"], found["choice"], found["difference"]) == (False, -1, 2**63 - 1)


@every_backend
def test_a_factor_outside_of_a_sum_that_would_overflow(backend: str) -> None:
    g = Template()
    x, y, w, W = g.input("x"), g.input("y", 3), g.param("w"), g.param("W", (2, 3))
    g.output("sum", ops.sum(w * x[t], over=t))
    g.output("mean", ops.mean(w * x[t], over=t))
    g.output("product", ops.sum(W @ y[t], over=t))
    net, x, y = g.compile(backend), np.full((10, 2), 1e38, np.float32), np.full((10, 2, 3), 1e38, np.float32)
    for small in (1e-3, 0.0):
        found = net.run({"w": np.float32(small), "W": np.full((2, 3), small, np.float32)}, x=x, y=y)
        np.testing.assert_allclose(found["sum"], np.full(2, small * 1e39), rtol=1e-5)
        np.testing.assert_allclose(found["mean"], np.full(2, small * 1e38), rtol=1e-5)
        np.testing.assert_allclose(found["product"], np.full((2, 2), small * 3e39), rtol=1e-5)


@every_backend
@pytest.mark.parametrize("batch", [1, 2])
def test_a_factor_of_each_example_outside_of_a_sum(backend: str, batch: int) -> None:
    g = Template()
    x, m = g.input("x"), g.input("m", over=None)
    g.output("y", ops.sum(m * x[t], over=t))
    net = g.compile(backend)
    x, m = np.full((2, batch), 3e38, np.float32), np.full(batch, 1e-3, np.float32)
    np.testing.assert_allclose(net.run({}, "y", x=x, m=m), np.full(batch, 6e35), rtol=1e-5)
    x[0], x[1], m[:] = 2, -1, np.inf
    assert np.isnan(net.run({}, "y", x=x, m=m)).all()  # 2 inf - inf


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_long_sums_of_float32(backend: str, batch: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """0.1 added up 300,000 times, one number after another, is some hundredths off."""
    g = Template()
    x, b = g.input("x", shape), g.param("b", shape)
    g.output("sum", ops.sum(x[t], over=t))
    g.output("mean", ops.mean(x[t], over=t))
    g.loss = ops.sum(ops.sum((x[t] + b) ** 2), over=t)
    net, x = g.compile(backend), np.full((300_000, *batch, *shape), 0.1, np.float32)
    found = net.run({"b": np.zeros(shape, np.float32)}, x=x)
    np.testing.assert_allclose(found["sum"], np.full(batch + shape, 30_000.0), rtol=2e-5)
    np.testing.assert_allclose(found["mean"], np.full(batch + shape, 0.1), rtol=2e-5)
    _, grads = net.value_and_grad({"b": np.zeros(shape, np.float32)}, x=x)
    np.testing.assert_allclose(grads["b"], np.full(shape, 60_000.0), rtol=2e-5)


@every_backend
def test_an_empty_slice_of_a_table_has_a_gradient(backend: str) -> None:
    g = Template()
    E, y = g.param("E", (4, 3)), g.input("y", dtype="int")
    g.loss = ops.sum(ops.sum(E[:, 1:1][y[t]]) + ops.sum(E[y[t]]), over=t)
    loss, grads = g.compile(backend, dtype="float64").value_and_grad({"E": np.ones((4, 3))}, y=np.ones((2, 3), int))
    assert loss == 6
    np.testing.assert_array_equal(grads["E"], [[0] * 3, [2] * 3, [0] * 3, [0] * 3])


@every_backend
def test_nothing_in_brackets_is_all(backend: str) -> None:
    g = Template()
    x = g.input("x", 3)
    g.output("y", x[t][()])
    np.testing.assert_array_equal(g.compile(backend, dtype="float64").run({}, "y", x=LOGITS), LOGITS)
