"""Special functions against 40-digit arithmetic: their accuracy on every backend, and their values at the edges."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager, pullback

from unroll import Template, ops, t

mp = pytest.importorskip("mpmath")
Array = np.ndarray[Any, Any]
BACKENDS = ["numpy", *(["native"] if importlib.util.find_spec("llvmlite") else [])]
POINTS = 50
INF, NAN = math.inf, math.nan
ROOT = 1.4616321449683622

# Ours, the exact one, the limit in ULP from 0 up and below 0, and there the size that the second limit is of.
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], float, float, Callable[..., Any]]] = {
    "erf": (ops.erf, mp.erf, 4, 4, mp.erf),
    "lgamma": (ops.lgamma, lambda x: mp.re(mp.loggamma(x)), 4, 8, lambda x: mp.loggamma(1 - x)),
    "digamma": (ops.digamma, mp.digamma, 4, 8, lambda x: max(mp.pi, mp.digamma(1 - x))),
    "polygamma1": (lambda x: ops.polygamma(1, x), lambda x: mp.polygamma(1, x), 4, 12, lambda x: mp.pi**2),
    "polygamma2": (lambda x: ops.polygamma(2, x), lambda x: mp.polygamma(2, x), 4, 12, lambda x: 2 * mp.pi**3),
    "polygamma3": (lambda x: ops.polygamma(3, x), lambda x: mp.polygamma(3, x), 8, 16, lambda x: 6 * mp.pi**4),
}


def everywhere(f: Callable[..., Any], at: Array, backend: str) -> Array:
    """A function of one number, on a backend, at many."""
    g = Template()
    x = g.input("x")
    g.output("y", f(x[t]))
    found = g.compile(backend, dtype=at.dtype.name).run({}, x=at[:, None])
    return np.asarray(found["y"][:, 0])


def points(dtype: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """Numbers above 0, dense where functions have zeros and the formulas change, and below."""
    sign = rng.choice([-1, 1], POINTS)
    about = [zero + sign * 2.0 ** rng.uniform(-50, -2, POINTS) for zero in (1, 2, ROOT)]
    wide = [rng.uniform(0, 3, POINTS), rng.uniform(2, 20, POINTS), 2.0 ** rng.uniform(-60, 60, POINTS)]
    ends = [0.5, 1, 1.5, 2, 2.5, 3.5, 7.5, 8, 10, 12, 14, 6, 1e300 if dtype == np.float64 else 1e36]
    above = np.concatenate([*about, *wide, ends]).astype(dtype)
    below = np.concatenate([-rng.uniform(0, 12, POINTS), -(2.0 ** rng.uniform(-50, 8, POINTS))]).astype(dtype)
    return above, below[below != np.round(below)]


def within(got: Array, exact: list[Any], sizes: list[Any], limit: float) -> None:
    """Distances in units in the last place of the larger of the exact value and a size; subnormal results aside."""
    off = []
    for y, want, size in zip(got, exact, sizes, strict=True):
        scale = float(max(abs(want), size))
        if float(np.finfo(got.dtype).tiny) <= scale <= float(np.finfo(got.dtype).max):
            off.append(float(abs(mp.mpf(float(y)) - want)) / float(np.spacing(got.dtype.type(scale))))
    assert len(off) > len(got) / 2
    assert max(off) <= limit, got[np.argmax(off)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(name: str, dtype: Any, rng: np.random.Generator) -> None:
    f, exact, limit, below_limit, size = FUNCTIONS[name]
    above, below = points(dtype, rng)
    with mp.workdps(40):
        high, low = ([exact(mp.mpf(float(x))) for x in at] for at in (above, below))
        sizes = [size(mp.mpf(float(x))) for x in below]
        for backend in BACKENDS:
            slack = 1 if backend == "numpy" and dtype == np.float32 else 0  # its logarithm is good to 2 ULP or more
            within(everywhere(f, above, backend), high, [0] * len(high), limit + slack)
            within(everywhere(f, below, backend), low, sizes, below_limit)


EDGES: dict[str, tuple[Callable[..., Any], list[tuple[float, float]]]] = {
    "erf": (ops.erf, [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (7.0, 1.0), (NAN, NAN)]),
    "lgamma": (
        ops.lgamma,
        [
            (0.0, INF),
            (-0.0, INF),
            (1.0, 0.0),
            (2.0, 0.0),
            (-1.0, INF),
            (-7.0, INF),
            (INF, INF),
            (-INF, INF),
            (NAN, NAN),
        ],
    ),
    "digamma": (ops.digamma, [(0.0, -INF), (-0.0, INF), (-1.0, NAN), (INF, INF), (-INF, NAN), (NAN, NAN)]),
    "polygamma": (lambda x: ops.polygamma(1, x), [(0.0, INF), (-0.0, INF), (-1.0, INF), (INF, 0.0), (NAN, NAN)]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str, dtype: Any) -> None:
    f, pairs = EDGES[name]
    at, want = np.array(pairs, dtype).T.copy()
    for backend in BACKENDS:
        got = everywhere(f, at, backend)
        np.testing.assert_array_equal(got, want, backend)
        if name == "erf":
            np.testing.assert_array_equal(np.signbit(got[:-1]), np.signbit(want[:-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["erf", "lgamma", "digamma"])
def test_no_floating_point_error_where_the_result_is_finite(name: str, dtype: Any) -> None:
    """Neither in what is chosen nor in what is not, in the value nor in the derivative."""
    info = np.finfo(dtype)
    largest = info.max if name == "erf" else info.max / 1000
    x = Eager(
        np.array([1e-8, 0.5, 1, 2, 2.5, 7.9, 8, 100, 1e30, largest, *([] if name != "erf" else [-largest])], dtype)
    )
    with np.errstate(all="raise", under="ignore"):
        y = getattr(ops, name)(x)
        (slope,) = pullback(y, np.ones(x.shape, dtype), [x])
    assert np.isfinite(y.value).all()
    assert np.isfinite(slope.value).all()
    assert y.value.dtype == slope.value.dtype == dtype


def test_the_smallest_numbers() -> None:
    for x in (5e-324, -5e-324, -3e-310, 1e-300):
        np.testing.assert_allclose(ops.lgamma(Eager(np.array([x]))).value, -math.log(abs(x)), rtol=1e-15)
    for x in (5e-324, -3e-310, 1e-300):
        np.testing.assert_allclose(ops.erf(Eager(np.array([x]))).value, math.erf(x), rtol=1e-15, atol=5e-324)


def test_polygamma_begins_with_digamma() -> None:
    x = Eager(np.array([0.3, 4.0]))
    np.testing.assert_array_equal(ops.polygamma(0, x).value, ops.digamma(x).value)
    for order in (-1, 1.5, True, "1"):
        with pytest.raises(ops.DTypeError, match="whole number from 0 up"):
            ops.polygamma(order, x)  # type: ignore[arg-type]


def test_derivatives_go_on() -> None:
    """The fourth derivative of lgamma is polygamma(3)."""
    x = Eager(np.array([0.3, 1.5, 9.0]))
    y = ops.lgamma(x)
    for _ in range(4):
        (y,) = pullback(y, np.ones(3), [x])
    np.testing.assert_allclose(y.value, ops.polygamma(3, x).value, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("degrees", [0.5, 3.0, 19.5, 20.0, 20.5, 1e4, 1e8])
def test_student_of_many_degrees_loses_no_digits(degrees: float, dtype: Any) -> None:
    """Also where the two gamma functions are large and nearly cancel; the derivative by the degrees too."""
    at = np.array([0.0, 0.5, -2.0], dtype)
    x, nu = Eager(at), Eager(np.full(3, degrees, dtype))
    y = ops.student_log_prob(x, nu, *(Eager(np.array(v, dtype)) for v in (0, 1)))
    (slope,) = pullback(y, np.ones(3, dtype), [nu])
    with mp.workdps(40):
        n = mp.mpf(degrees)
        exact = lambda v, n: (  # noqa: E731
            mp.loggamma((n + 1) / 2) - mp.loggamma(n / 2) - mp.log(n * mp.pi) / 2 - (n + 1) / 2 * mp.log(1 + v * v / n)
        )
        want = [float(exact(mp.mpf(float(v)), n)) for v in at]
        slopes = [float(mp.diff(lambda m, v=v: exact(mp.mpf(float(v)), m), n)) for v in at]
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y.value, want, rtol=40 * eps)
    np.testing.assert_allclose(slope.value, slopes, rtol=200 * eps, atol=20 * eps / degrees)


def test_a_count_of_none_at_a_rate_of_none() -> None:
    n, o = Eager(np.array([0, 0, 2])), Eager(np.array([-INF, 0.5, 0.5]))
    y = ops.poisson_log_prob(n, o)
    (slope,) = pullback(y, np.ones(3), [o])
    np.testing.assert_allclose(y.value, [0, -math.exp(0.5), 1 - math.exp(0.5) - math.log(2)], rtol=1e-15)
    np.testing.assert_allclose(slope.value, [0, -math.exp(0.5), 2 - math.exp(0.5)], rtol=1e-15)
