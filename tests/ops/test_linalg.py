"""Small systems of equations: conditioning, matrices without an inverse, what ``debug_nans`` says, a Kalman filter."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager

from unroll import Template, ops, t
from unroll.errors import NonFiniteError

BACKENDS = ["numpy", "reference", *(["native"] if importlib.util.find_spec("llvmlite") else [])]
everywhere = pytest.mark.parametrize("backend", BACKENDS)


@everywhere
@pytest.mark.parametrize("n", [1, 2, 7])
def test_as_numpy(backend: str, n: int, rng: np.random.Generator) -> None:
    g = Template()
    A, S, b = g.input("A", (n, n)), g.input("S", (n, n)), g.input("b", n)
    g.output("x", ops.solve(A[t], b[t]))
    g.output("L", ops.cholesky(S[t]))
    a = rng.standard_normal((4, 3, n, n))
    arrays = {"A": a, "S": a @ np.swapaxes(a, -1, -2) + np.eye(n), "b": rng.standard_normal((4, 3, n))}
    found = g.compile(backend, dtype="float64").run({}, **arrays)
    np.testing.assert_allclose(found["L"], np.linalg.cholesky(arrays["S"]), rtol=1e-12, atol=1e-13)
    left = (arrays["A"] @ found["x"][..., None])[..., 0] - arrays["b"]  # backward stable, however ill-conditioned
    size = np.abs(arrays["A"]).sum((-2, -1)) * np.abs(found["x"]).sum(-1)
    assert np.all(np.abs(left) <= 1e-14 * size[..., None])


def test_pivots_are_the_largest() -> None:
    """Without them a small pivot ruins the solution (Golub and Van Loan 2013, section 3.4.1)."""
    a, b = np.array([[1e-20, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0])
    np.testing.assert_allclose(ops.solve(Eager(a), Eager(b)).value, [1.0, 1.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("f", "a"),
    [
        (lambda a: ops.solve(a, np.ones(2)), [[1.0, 2.0], [2.0, 4.0]]),
        (lambda a: ops.solve(a, np.ones(2)), [[0.0, 0.0], [0.0, 0.0]]),
        (ops.cholesky, [[1.0, 2.0], [2.0, 1.0]]),
        (ops.cholesky, [[-1.0, 0.0], [0.0, 1.0]]),
        (lambda a: ops.solve_triangular(a, np.ones(2)), [[1.0, 2.0], [0.0, 0.0]]),
    ],
)
def test_without_an_inverse(f: Any, a: list[list[float]]) -> None:
    with np.errstate(all="ignore"):
        assert not np.isfinite(f(Eager(np.array(a))).value).all()


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_debug_nans_names_the_operation(backend: str) -> None:
    g = Template("m")
    A, x, h = g.input("A", (2, 2)), g.input("x", 2), g.variable("h", 2)
    w = g.param("w", 2, init=1.0)
    h[0] = 0
    h[t] = ops.solve_triangular(ops.cholesky(A[t]), w * x[t] + h[t - 1], lower=True)
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    net = g.compile(backend, debug_nans=True)
    at = np.stack([np.eye(2), np.array([[1.0, 2.0], [2.0, 1.0]])])[:, None].astype("float32")
    with pytest.raises(NonFiniteError) as error:
        net.value_and_grad(net.init(), A=at, x=np.ones((2, 1, 2), "float32"))
    text = str(error.value)
    assert text.startswith("nan in h[2] (forward)")
    assert "h[t] = solve_triangular(cholesky(A[t]), w * x[t] + h[t-1], lower=True)" in text
    assert "test_linalg.py:" in text


def test_debug_nans_finds_nothing_in_what_is_well(rng: np.random.Generator) -> None:
    """What a function computes and does not choose is finite too."""
    g = Template("m")
    x, a = g.input("x", 5), g.param("a", 5, init=1.0)
    z = a * x[t]
    special = ops.erf(z) + ops.lgamma(z) + ops.digamma(z) + ops.polygamma(2, z) + ops.student_log_prob(z, abs(z))
    more = ops.logaddexp(z, 1.0) + ops.cumprod(z) + ops.sort(z) + ops.std(z - z) + ops.norm(z * 0)
    g.loss = ops.sum(ops.sum(special + more), over=t)
    net = g.compile("numpy", dtype="float64", debug_nans=True)
    values = np.array([[-2.5, -0.5, 0.3, 1.0, 2.0], [5.0, 9.0, 1e5, 1.5, -30.25]])
    loss, grads = net.value_and_grad(net.init(), x=values[:, None])
    assert np.isfinite(loss)
    assert np.isfinite(grads["a"]).all()


@everywhere
def test_kalman_filter(backend: str, rng: np.random.Generator) -> None:
    """A filter of two hidden numbers seen through one, with its gradient, against a loop over NumPy arrays."""
    g = Template("kalman")
    y, F = g.input("y", 1), g.param("F", (2, 2))
    H, Q, R = np.array([[1.0, 0.5]]), 0.1 * np.eye(2), np.array([[0.2]])
    m, P = g.variable("m", 2), g.variable("P", (2, 2))
    m[0], P[0] = 0, np.eye(2)
    ahead = F @ P[t - 1] @ F.T + Q
    S = H @ ahead @ H.T + R
    gain = ops.solve(S, H @ ahead).T
    residual = y[t] - H @ (F @ m[t - 1])
    m[t] = F @ m[t - 1] + gain @ residual
    P[t] = ahead - gain @ H @ ahead
    L = ops.cholesky(S)
    white = ops.solve_triangular(L, residual, lower=True)
    g.loss = ops.sum(ops.sum(white * white) / 2 + ops.log(L[0, 0]), over=t)

    def loss(F_: np.ndarray, at: np.ndarray) -> Any:
        mean, cov, total = np.zeros(2), np.eye(2), 0.0
        for k in range(len(at)):
            cov = F_ @ cov @ F_.T + Q
            s = H @ cov @ H.T + R
            rest = at[k] - H @ F_ @ mean
            gain_ = cov @ H.T / s
            mean, cov = F_ @ mean + gain_ @ rest, cov - gain_ @ H @ cov
            total = total + rest[0] ** 2 / s[0, 0] / 2 + np.log(s[0, 0]) / 2
        return total

    net = g.compile(backend, dtype="float64")
    at, F_ = rng.standard_normal((6, 1, 1)), np.array([[0.9, 0.2], [-0.1, 0.7]])
    value, grads = net.value_and_grad({"F": F_}, y=at)
    np.testing.assert_allclose(value, loss(F_, at[:, 0]), rtol=1e-12)
    step = 1e-20j
    want = [np.imag(loss(F_ + step * np.eye(4)[k].reshape(2, 2), at[:, 0])) / 1e-20 for k in range(4)]
    np.testing.assert_allclose(grads["F"].ravel(), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (
            lambda: ops.cholesky(Eager(np.zeros((2, 3)))),
            r"square matrix of one row or more is needed, got the shape \(2, 3\)",
        ),
        (lambda: ops.solve(Eager(np.zeros((2, 2))), np.zeros(3)), r"2 equations has a right side .*, got \(3,\)"),
        (lambda: ops.solve_triangular(Eager(np.zeros(2)), np.zeros(2)), "square matrix"),
    ],
)
def test_refused(f: Any, said: str) -> None:
    with pytest.raises(ops.ShapeError, match=said):
        f()
