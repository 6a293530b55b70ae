"""Linear recurrences of every form where something is not finite: what a plain loop drops and keeps, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t

from .test_by_hand import every_backend

STEPS = 300
"""A linear recurrence of so many runs as a blocked scan on some backend."""
FORMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "replaced": (lambda m, x, h: ops.where(m, x, h), lambda m, x, h: np.where(m, x, h)),
    "either": (lambda m, x, h: ops.where(m, 0.5 * h, x + h), lambda m, x, h: np.where(m, 0.5 * h, x + h)),
    "times a mask": (
        lambda m, x, h: ops.where(m, 1.0, 0.0) * h + x,
        lambda m, x, h: np.where(m, 1.0, 0.0) * h + x,
    ),
    "nested": (
        lambda m, x, h: x + ops.where(m, 2.0, ops.where(x > 0, h, -h)),
        lambda m, x, h: x + np.where(m, 2.0, np.where(x > 0, h, -h)),
    ),
    "decay": (lambda m, x, h: 0.9 * h + ops.where(m, x, 0.0), lambda m, x, h: 0.9 * h + np.where(m, x, 0.0)),
    "times zero": (lambda m, x, h: 0.0 * h + x, lambda m, x, h: 0.0 * h + x),
    "counted": (
        lambda m, x, h: ops.where(m, ops.where(x > 0.5, 0.0, h + 1), 0.25 * h),
        lambda m, x, h: np.where(m, np.where(x > 0.5, 0.0, h + 1), 0.25 * h),
    ),
}


def given() -> tuple[np.ndarray, np.ndarray]:
    """Marks, and numbers of which a few are not finite, for two examples."""
    rng = np.random.default_rng(1)
    m, x = rng.random((STEPS, 2)) < 0.05, rng.normal(size=(STEPS, 2))
    x[17, 0], x[40, 1], x[60] = np.inf, np.nan, -np.inf
    return m, x


def step_by_step(form: Callable[..., Any], m: np.ndarray, x: np.ndarray, start: float) -> np.ndarray:
    found, h = [], np.full(2, start)
    with np.errstate(all="ignore"):
        for mark, value in zip(m, x, strict=True):
            h = form(mark, value, h)
            found.append(h)
    return np.array(found)


@every_backend
@pytest.mark.parametrize("start", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("form", FORMS)
def test_in_both_directions(form: str, start: float, backend: str) -> None:
    symbolic, plain = FORMS[form]
    g = Template()
    m, x, h, r = g.input("m", dtype="bool"), g.input("x"), g.variable("h", ()), g.variable("r", ())
    h[0] = start
    h[t] = symbolic(m[t], x[t], h[t - 1])
    r[T + 1] = start
    r[t] = symbolic(m[t], x[t], r[t + 1])
    marks, values = given()
    net = g.compile(backend, dtype="float64")
    found = net.run({}, ["h", "r"], m=marks, x=values)
    np.testing.assert_allclose(found["h"], step_by_step(plain, marks, values, start), rtol=1e-11, atol=1e-12)
    back = step_by_step(plain, marks[::-1], values[::-1], start)[::-1]
    np.testing.assert_allclose(found["r"], back, rtol=1e-11, atol=1e-12)


@every_backend
@pytest.mark.parametrize("steps", [1, 127, 128, 129, 1000])
def test_a_counter_at_lengths_around_a_block(steps: int, backend: str) -> None:
    g = Template()
    m, gap = g.input("m", dtype="bool"), g.variable("gap", ())
    gap[0] = float("inf")
    gap[t] = ops.where(m[t], 0.0, gap[t - 1] + 1)
    marks, want, state = np.zeros((steps, 2), bool), [], np.full(2, np.inf)
    marks[steps // 2, 0] = marks[-1, 1] = True
    for mark in marks:
        state = np.where(mark, 0, state + 1)
        want.append(state)
    net = g.compile(backend, dtype="float64")
    np.testing.assert_array_equal(net.run({}, "gap", m=marks), want)
    stream, cut = net.stream({}, "gap", batch=2), 2 * steps // 3
    np.testing.assert_array_equal(np.concatenate([stream(m=marks[:cut]), stream(m=marks[cut:])]), want)
    short = net.run({}, "gap", m=marks, lengths=[steps, cut])
    np.testing.assert_array_equal(short[:, 0], np.array(want)[:, 0])
    np.testing.assert_array_equal(short[:cut, 1], np.array(want)[:cut, 1])


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_coefficients_vanish(dtype: Any, backend: str) -> None:
    """Their products underflow long before the end; an infinity stays in its own element and example."""
    g = Template()
    x, a, h, r = g.input("x", 2), g.param("a", 2), g.variable("h", 2), g.variable("r", 2)
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    r[T + 1] = 0
    r[t] = 0.01 * r[t + 1] + x[t]
    x = np.zeros((2000, 2, 2), dtype)
    x[700, 0, 1], x[1500, 1, 0] = np.inf, -np.inf
    net = g.compile(backend, dtype=dtype)
    found = net.run({"a": np.array([0.01, 0.02], dtype)}, ["h", "r"], x=x)
    steps = np.arange(2000)
    want = np.zeros_like(x), np.zeros_like(x)
    want[0][steps >= 700, 0, 1], want[0][steps >= 1500, 1, 0] = np.inf, -np.inf
    want[1][steps <= 700, 0, 1], want[1][steps <= 1500, 1, 0] = np.inf, -np.inf
    np.testing.assert_array_equal(found["h"], want[0])
    np.testing.assert_array_equal(found["r"], want[1])


@every_backend
@pytest.mark.parametrize("a", [0.5, -3.0, 1e12])
def test_gradients_where_states_overflow_before_they_are_reset(a: float, backend: str) -> None:
    torch = pytest.importorskip("torch")
    g = Template()
    m, x, w, h = g.input("m", dtype="bool"), g.input("x"), g.param("a"), g.variable("h", ())
    h[0] = 1.0
    h[t] = ops.where(m[t], x[t], w * h[t - 1] + x[t])
    g.loss = ops.sum(ops.where(m[t], h[t], ops.tanh(h[t])), over=t)
    marks, values = np.arange(STEPS) % 37 == 5, np.random.default_rng(2).normal(size=STEPS)
    xs, ws = torch.tensor(values, requires_grad=True), torch.tensor(a, dtype=torch.float64, requires_grad=True)
    state, total = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    for k, mark in enumerate(marks):
        state = xs[k] if mark else ws * state + xs[k]
        total = total + (state if mark else torch.tanh(state))
    total.backward()
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"a": np.array(a)}, ["a", "x"], m=marks, x=values)
    np.testing.assert_allclose(loss, total.item(), rtol=1e-11)
    np.testing.assert_allclose(grads["x"], xs.grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(grads["a"], ws.grad.item(), rtol=1e-10, atol=1e-12)
