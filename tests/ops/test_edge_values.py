"""Values and derivative rules at the edges of the floats: exact in decimal arithmetic, and free of warnings."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from helpers import exact
from helpers.eager import Eager, pullback

from unroll import ops
from unroll.ops.core import OPS

QUIET = {"all": "raise", "under": "ignore"}  # what underflows to 0 or a subnormal is right
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

FUNCTIONS: dict[str, Any] = {
    **{name: OPS[name] for name in exact.UNARY if name in OPS},
    "leaky_relu": ops.leaky_relu,
    "elu": ops.elu,
    "gelu": ops.gelu,
    "ceil": ops.ceil,
    "silu": ops.silu,
    "logsigmoid": ops.logsigmoid,
    "clip": lambda x: ops.clip(x, -1.0, 1.0),
}
ULPS = {
    "sin": 2,
    "cos": 2,
    "copy": 0,
    "cast": 0,
    "neg": 0,
    "abs": 0,
    "sign": 0,
    "relu": 0,
    "floor": 0,
    "ceil": 0,
    "round": 0,
    "stop_gradient": 0,
    "sqrt": 0.5,
}
ULPS |= {"leaky_relu": 1.5, "clip": 0, "gelu": 800, "silu": 800}
"""Largest distance from the exact value, in units in the last place; 4 where nothing is said.

What silu multiplies by x is at last a subnormal number.

gelu's argument is a product of four, and its tail magnifies the rounding by the exponent: 700 at the end.
"""
ARITHMETIC = {"add": 0.5, "sub": 0.5, "mul": 0.5, "div": 0.5, "pow": 4, "maximum": 0, "minimum": 0}
ARITHMETIC |= {"floor_divide": 0.5, "remainder": 0.5, "fmod": 0}
ROUNDING = 1e-9  # of the exact value itself
COMPARISONS = {
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
}
LOGIC = {"logical_and", "logical_or", "logical_not", "isfinite", "where"}
DRAWS = {"uniform", "normal", "bernoulli"}
"""Written from others; what they are at the edges stands in test_draws.py."""
ELSEWHERE = {"logaddexp", "erf", "lgamma", "digamma", "polygamma"}
"""In test_more_operations.py and test_special.py."""


def test_every_elementwise_operation_stands_in_a_table() -> None:
    known = {*exact.UNARY, *ARITHMETIC, *COMPARISONS, *LOGIC, *DRAWS, *ELSEWHERE}
    assert {op.name for op in OPS.values() if op.family.name == "elementwise"} <= known


def at(values: list[float], dtype: Any) -> Eager:
    return Eager(np.array(values, dtype))


@both_precisions
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value(name: str, dtype: Any) -> None:
    """At finite operands with a finite result: exact to rounding, with no floating-point error flagged."""
    points = [x for x in exact.special_values(dtype) if math.isfinite(x)]
    points = [x for x in points if not exact.overflows(exact.unary(name, x), dtype)]
    with np.errstate(**QUIET):
        got = FUNCTIONS[name](at(points, dtype)).value
    assert got.dtype == dtype
    errors = [exact.ulps(y, exact.unary(name, x)) for x, y in zip(points, got, strict=True)]
    wrong = {x: e for x, e in zip(points, errors, strict=True) if e > ULPS.get(name, 4) + ROUNDING}
    assert not wrong, f"distance in units in the last place: {wrong}"


@both_precisions
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_beyond_the_floats(name: str, dtype: Any) -> None:
    """At infinities, nan and wherever the result overflows: the limit, or nan."""
    points = [x for x in exact.special_values(dtype) if exact.overflows(exact.unary(name, x), dtype)]
    points += [x for x in (math.inf, -math.inf) if x not in points]
    want = [float(exact.unary(name, x)) for x in points]
    with np.errstate(all="ignore"):
        got = FUNCTIONS[name](at(points, dtype)).value
        np.testing.assert_array_equal(got, np.array(want).astype(dtype), err_msg=str(points))


@both_precisions
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivative(name: str, dtype: Any) -> None:
    """Within 8 eps of max(1, |exact|), and no floating-point error flagged, wherever the exact slope is finite."""
    points = [x for x in exact.special_values(dtype) if math.isfinite(x)]
    points = [x for x in points if not exact.overflows(exact.unary(name, x), dtype)]
    points = [x for x in points if not exact.overflows(exact.slope(name, x), dtype)]
    with np.errstate(**QUIET):
        x = at(points, dtype)
        (got,) = pullback(FUNCTIONS[name](x), np.ones(len(points), dtype), [x])
    assert got.value.dtype == dtype
    want = [float(exact.slope(name, x)) for x in points]
    np.testing.assert_allclose(got.value, want, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["sin", "tanh", "expm1", "log1p", "sqrt", "neg", "copy", "abs"])
def test_sign_of_zero(name: str) -> None:
    got = OPS[name](Eager(np.array([0.0, -0.0]))).value
    odd = {"neg": [True, False], "abs": [False, False]}.get(name, [False, True])
    assert np.signbit(got).tolist() == odd


@both_precisions
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str, dtype: Any) -> None:
    values = exact.special_values(dtype)
    rows = [(a, b, exact.binary(name, a, b)) for a in values for b in values]
    finite = [r for r in rows if np.isfinite(r[:2]).all() and not exact.overflows(r[2], dtype)]
    with np.errstate(**QUIET):
        got = OPS[name](*(at([r[side] for r in finite], dtype) for side in (0, 1))).value
    assert got.dtype == dtype
    errors = [exact.ulps(y, r[2]) for r, y in zip(finite, got, strict=True)]
    wrong = {r[:2]: e for r, e in zip(finite, errors, strict=True) if e > ARITHMETIC[name] + ROUNDING}
    assert not wrong, f"distance in units in the last place: {wrong}"
    with np.errstate(all="ignore"):
        got = OPS[name](*(at([r[side] for r in rows], dtype) for side in (0, 1))).value
        want = np.array([float(r[2]) for r in rows]).astype(dtype)
    beyond = ~np.isfinite(want)
    np.testing.assert_array_equal(got[beyond], want[beyond])


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison(name: str) -> None:
    values = exact.special_values(np.float64)
    pairs = [(a, b) for a in values for b in values]
    with np.errstate(all="raise"):
        got = OPS[name](*(at(list(side), np.float64) for side in zip(*pairs, strict=True)))
    assert got.dtype == "bool"
    assert got.value.tolist() == [COMPARISONS[name](a, b) for a, b in pairs]


def test_logic() -> None:
    a, b = Eager(np.array([True, True, False, False])), Eager(np.array([True, False, True, False]))
    assert (a & b).value.tolist() == [True, False, False, False]
    assert (a | b).value.tolist() == [True, True, True, False]
    assert (~a).value.tolist() == [False, False, True, True]
    assert ops.where(a, 1.0, Eager(np.full(4, np.nan))).value.tolist()[:2] == [1.0, 1.0]
    assert ops.isfinite(at([0.0, math.inf, -math.inf, math.nan, 1e308], np.float64)).value.tolist() == [
        True, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("base", [0.0, -2.0, 2.0, 1e-8])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, -1.0])
@pytest.mark.parametrize("constant", [True, False], ids=["number", "array"])
def test_derivative_of_power_by_its_base(base: float, exponent: float, constant: bool) -> None:
    if base == 0 and exponent == -1:
        return  # no finite derivative
    x = at([base], np.float64)
    with np.errstate(**QUIET):
        (got,) = pullback(x ** (exponent if constant else np.array([exponent])), np.ones(1), [x])
    want = 0.0 if exponent == 0 else exponent * base ** (exponent - 1)
    np.testing.assert_allclose(got.value, [want], rtol=1e-15)


@pytest.mark.parametrize(("base", "want"), [(0.0, 0.0), (2.0, 8 * math.log(2)), (1.0, 0.0), (math.e, math.e**3)])
def test_derivative_of_power_by_its_exponent(base: float, want: float) -> None:
    for a in (base, np.array([base])):
        b = at([3.0], np.float64)
        with np.errstate(**QUIET):
            (got,) = pullback(a**b if isinstance(a, float) else OPS["pow"](a, b), np.ones(1), [b])
        np.testing.assert_allclose(got.value, [want], rtol=1e-15)


def test_softplus_has_no_threshold() -> None:
    got = ops.softplus(at([20.0, -20.0], np.float64)).value
    np.testing.assert_allclose(got, [20 + math.log1p(math.exp(-20)), math.log1p(math.exp(-20))], rtol=1e-15)
    assert got[0] != 20


def vectors(dtype: Any) -> list[np.ndarray]:
    """Pairs of finite numbers, one a row, as far apart as they can be without the difference overflowing."""
    half = float(np.finfo(dtype).max) / 2
    values = [x for x in exact.special_values(dtype) if abs(x) < half] + [half, -half]
    return [np.array([a, b], dtype) for a in values for b in values]


def _log_sum(row: np.ndarray) -> Decimal:
    a, b = sorted(map(Decimal, row.tolist()))
    return b + exact.softplus(a - b)


def _minus_log_softmax(row: np.ndarray) -> Decimal:
    return _log_sum(row) - Decimal(float(row[0]))


NORMALISED = {
    "softmax": (ops.softmax, lambda row: exact.sigmoid(Decimal(float(row[0])) - Decimal(float(row[1])))),
    "logsumexp": (ops.logsumexp, _log_sum),
    "log_softmax": (ops.log_softmax, lambda row: -_minus_log_softmax(row)),
    "cross_entropy": (
        lambda x: ops.cross_entropy(x, Eager(np.zeros(len(x.value), int), floats=x.floats)),
        _minus_log_softmax,
    ),
    "cross_entropy-probabilities": (
        lambda x: ops.cross_entropy(x, Eager(np.array([1, 0], x.floats) + 0 * x.value)),
        _minus_log_softmax,
    ),
}


@both_precisions
@pytest.mark.parametrize("name", NORMALISED)
def test_normalised_exponentials(name: str, dtype: Any) -> None:
    """Values to 8 eps of max(1, |exact|, |operands|); values and derivatives free of overflow and nan."""
    f, oracle = NORMALISED[name]
    rows = vectors(dtype)
    with exact.precision():
        want = [float(oracle(row)) for row in rows]
    with np.errstate(**QUIET):
        x = Eager(np.stack(rows))
        y = f(x)
        (slope,) = pullback(y, np.ones(y.shape, dtype), [x])
    assert y.value.dtype == slope.value.dtype == dtype
    got = y.value if y.shape == (len(rows),) else y.value[:, 0]
    scale = np.maximum(1, np.max(np.abs(np.stack(rows)), axis=1))
    assert np.all(np.abs(got - want) / scale <= 8 * np.finfo(dtype).eps)
    assert np.all(np.isfinite(slope.value))


@both_precisions
def test_logsumexp_of_the_two_farthest_numbers(dtype: Any) -> None:
    high = float(np.finfo(dtype).max)
    with np.errstate(**QUIET):
        x = at([high, -high], dtype)
        y = ops.logsumexp(x)
        (slope,) = pullback(y, np.ones((), dtype), [x])
    assert y.value == high
    assert slope.value.tolist() == [1, 0]


@both_precisions
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_bce_with_logits(target: float, dtype: Any) -> None:
    """To 8 eps of the loss itself, also where the logit is right and the loss tiny."""
    points = [x for x in exact.special_values(dtype) if math.isfinite(x)]
    p = Decimal(target)
    with exact.precision():
        true = [p * exact.softplus(-Decimal(x)) + (1 - p) * exact.softplus(Decimal(x)) for x in points]
    with np.errstate(**QUIET):
        x = at(points, dtype)
        y = ops.bce_with_logits(x, target)
        (slope,) = pullback(y, np.ones(len(points), dtype), [x])
    eps = float(np.finfo(dtype).eps)
    assert y.value.dtype == slope.value.dtype == dtype
    np.testing.assert_allclose(slope.value, [float(exact.sigmoid(Decimal(v))) - target for v in points], atol=8 * eps)
    np.testing.assert_allclose(y.value, [float(t) for t in true], rtol=8 * eps, atol=float(np.finfo(dtype).tiny))


@pytest.mark.parametrize(
    ("x", "want", "slope"),
    [
        ([math.inf, 0.0], math.inf, None),
        ([-math.inf, -math.inf], -math.inf, [0.0, 0.0]),
        ([0.0, -math.inf], 0.0, [1.0, 0.0]),
        ([-math.inf, 3.0, 3.0], 3 + math.log(2), [0.0, 0.5, 0.5]),
        ([math.nan, 0.0], math.nan, None),
    ],
    ids=str,
)
def test_logsumexp_of_infinities(x: list[float], want: float, slope: list[float] | None) -> None:
    symbol = at(x, np.float64)
    with np.errstate(**QUIET):
        y = ops.logsumexp(symbol)
        np.testing.assert_allclose(y.value, want, rtol=1e-15)
        if slope is not None:
            (got,) = pullback(y, np.ones(()), [symbol])
            np.testing.assert_allclose(got.value, slope, rtol=1e-15)


def test_softmax_of_a_masked_row() -> None:
    x = at([-math.inf, -math.inf], np.float64)
    with np.errstate(**QUIET):
        y = ops.softmax(x)
        (slope,) = pullback(y, np.ones(2), [x])
    assert y.value.tolist() == slope.value.tolist() == [0, 0]


@pytest.mark.parametrize(
    "f",
    [ops.softmax, ops.log_softmax, ops.logsumexp, ops.mean, ops.max, ops.min, ops.layer_norm, lambda x: x[::-1]],
    ids=["softmax", "log_softmax", "logsumexp", "mean", "max", "min", "layer_norm", "getitem"],
)
def test_single_precision_stays(f: Any, rng: np.random.Generator) -> None:
    x = Eager(rng.standard_normal((2, 3)).astype(np.float32))
    y = f(x)
    (slope,) = pullback(y, np.ones(y.shape, np.float32), [x])
    assert y.value.dtype == slope.value.dtype == np.float32
