"""Gates of joined states, read at steps of their own: each step computed by NumPy from the steps before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t

from .test_by_hand import every_backend

RNG = np.random.default_rng(0)
W, V = 0.3 * RNG.normal(size=(6, 9)), RNG.normal(size=(2, 6))
PARAMS = {"W": W, "V": V}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def joined(gates: Any, seen: Any, back: int = -1, before: bool = False) -> Template:
    """Two states with gates of both; `gates` and `seen` say which of their steps are joined for gates and output."""
    g = Template()
    x, w, v = g.input("x", 3), g.param("W", (6, 9)), g.param("V", (2, 6))
    h, k, o = g.variable("h", 3), g.variable("k", 3), g.variable("o", 2)
    h[0 if back < 0 else T + 1], k[0 if back < 0 else T + 1] = 1, -1
    if before:
        h[-1] = 2
    z = ops.sigmoid(w @ ops.concat([*gates(h, k, t), x[t]]))
    h[t] = z[:3] * h[t + back] + x[t]
    k[t] = z[3:] * k[t + back] - x[t]
    o[t] = v @ ops.concat(seen(h, k, t))
    g.loss = ops.sum(ops.sum(o[t] ** 2), over=t)
    return g


def stepwise(x: np.ndarray, gates: Any, seen: Any, back: int = -1) -> np.ndarray:
    """The outputs, one step after the other."""
    steps, ones = len(x), np.ones_like(x[0])
    h: dict[int, Any] = {-1: 2 * ones, (0 if back < 0 else steps + 1): ones}
    k: dict[int, Any] = {(0 if back < 0 else steps + 1): -ones}
    order = range(1, steps + 1) if back < 0 else range(steps, 0, -1)
    found = {}
    for n in order:
        z = sigmoid(np.concatenate([*gates(h, k, n), x[n - 1]], axis=-1) @ W.T)
        h[n], k[n] = z[..., :3] * h[n + back] + x[n - 1], z[..., 3:] * k[n + back] - x[n - 1]
        found[n] = np.concatenate(seen(h, k, n), axis=-1) @ V.T
    return np.array([found[n] for n in range(1, steps + 1)])


FORMS: dict[str, tuple[Any, ...]] = {
    "as written": (lambda h, k, n: [h[n - 1], k[n - 1]], lambda h, k, n: [h[n], k[n]]),
    "exchanged": (lambda h, k, n: [k[n - 1], h[n - 1]], lambda h, k, n: [h[n], k[n]]),
    "one late": (lambda h, k, n: [h[n - 1], k[n - 1]], lambda h, k, n: [h[n - 1], k[n]]),
    "both late": (lambda h, k, n: [h[n - 1], k[n - 1]], lambda h, k, n: [h[n - 1], k[n - 1]]),
    "two delays": (lambda h, k, n: [h[n - 2], k[n - 1]], lambda h, k, n: [h[n - 1], k[n - 1]]),
    "leftwards": (lambda h, k, n: [h[n + 1], k[n + 1]], lambda h, k, n: [h[n], k[n]], 1),
    "leftwards, late": (lambda h, k, n: [h[n + 1], k[n + 1]], lambda h, k, n: [k[n + 1], h[n]], 1),
}


@every_backend
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients(form: str, backend: str) -> None:
    """The second call with a shape is held to the same, since memory then holds what the first one left."""
    net = joined(*FORMS[form], before=form == "two delays").compile(backend, dtype="float64")
    for steps in (1, 2, 3, 7):
        rng = np.random.default_rng(steps)
        for _ in range(2):
            x = rng.normal(size=(steps, 2, 3))
            np.testing.assert_allclose(net.run(PARAMS, "o", x=x), stepwise(x, *FORMS[form]), rtol=1e-11, atol=1e-12)
        loss, grads = net.value_and_grad(PARAMS, ["W", "x"], x=x)
        np.testing.assert_allclose(loss, (stepwise(x, *FORMS[form]) ** 2).sum() / 2, rtol=1e-11)
        at, direction = 1e-6, rng.normal(size=x.shape)
        ends = [(stepwise(x + e * direction, *FORMS[form]) ** 2).sum() / 2 for e in (at, -at)]
        np.testing.assert_allclose((grads["x"] * direction).sum(), (ends[0] - ends[1]) / (2 * at), rtol=1e-6)


@every_backend
def test_zeros_of_both_signs_in_gates_side_by_side(backend: str) -> None:
    g = Template()
    x, A, B = g.input("x", 3), g.param("A", (3, 3)), g.param("B", (3, 3))
    h, k = g.variable("h", 3), g.variable("k", 3)
    h[0], k[0] = 1, 1
    h[t] = ops.tanh(A @ x[t] + h[t - 1] * 0.0) * 0.0
    k[t] = ops.tanh(B @ x[t] + h[t - 1] * -0.0) * -0.0
    g.output("by h", 1 / h[t])
    g.output("by k", 1 / k[t])
    eye = np.eye(3)
    found = g.compile(backend, dtype="float64").run({"A": eye, "B": eye}, ["by h", "by k"], x=np.ones((4, 2, 3)))
    np.testing.assert_array_equal(found["by h"], np.full((4, 2, 3), np.inf))
    np.testing.assert_array_equal(found["by k"], np.full((4, 2, 3), -np.inf))
