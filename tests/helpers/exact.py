"""Exact values of the elementwise functions, in decimal arithmetic with more digits than any float has.

Only Python's own `decimal` and `math` are used, so that nothing is compared with itself. Infinities and nan follow
IEEE 754 and the limits of each function.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

import numpy as np

EXACT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
WIDE = Context(prec=420, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])  # for angles up to 1e308
NAN, INF, ZERO, ONE = Decimal("nan"), Decimal("inf"), Decimal(0), Decimal(1)
TINY = Decimal("1e-25")

add, sub, mul, div = EXACT.add, EXACT.subtract, EXACT.multiply, EXACT.divide


def special_values(dtype: Any) -> list[float]:
    """What every elementwise operation is tried at: zeros, the smallest and largest, thresholds of exp, non-finite."""
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.smallest_normal, 1e-30, 1e-8, 0.5, 1, 2, 20, 37, 88.7, 104, 709.7]
    positive += [745.2, 1e4, 1e30, info.max, np.inf]
    values = np.array([sign * float(v) for v in positive for sign in (1, -1)] + [np.nan]).astype(dtype)
    return [float(v) for v in values]


def _exp(x: Decimal) -> Decimal:
    return x.exp(EXACT)


def _expm1(x: Decimal) -> Decimal:
    if abs(x) < TINY:
        return add(x, div(mul(x, x), Decimal(2)))
    return sub(_exp(x) if abs(x) > 1 else x.exp(Context(prec=100)), ONE)


def _log(x: Decimal) -> Decimal:
    return NAN if x < 0 else -INF if x == 0 else x.ln(EXACT)


def _log1p(x: Decimal) -> Decimal:
    if abs(x) < TINY:
        return sub(x, div(mul(x, x), Decimal(2)))
    return _log(WIDE.add(ONE, x))


def _tanh(x: Decimal) -> Decimal:
    if abs(x) > 1000:
        return ONE.copy_sign(x)
    e = _expm1(mul(x, Decimal(2)))
    return div(e, add(e, Decimal(2)))


def sigmoid(x: Decimal) -> Decimal:
    """1 / (1 + exp(-x))."""
    return div(ONE, add(ONE, _exp(-x)))


def softplus(x: Decimal) -> Decimal:
    """log(1 + exp(x))."""
    return add(x, _log1p(_exp(-x))) if x > 0 else _log1p(_exp(x))


def _arctan_inverse(n: int) -> Decimal:
    total, power, k = WIDE.divide(ONE, Decimal(n)), WIDE.divide(ONE, Decimal(n)), 1
    while abs(power) > Decimal(10) ** -425:
        power, k = WIDE.divide(-power, Decimal(n * n)), k + 2
        total = WIDE.add(total, WIDE.divide(power, Decimal(k)))
    return total


def _turned(x: Decimal) -> Decimal:
    """x modulo a full turn."""
    pi = WIDE.subtract(WIDE.multiply(Decimal(16), _arctan_inverse(5)), WIDE.multiply(Decimal(4), _arctan_inverse(239)))
    return WIDE.remainder_near(x, WIDE.multiply(Decimal(2), pi))


def _series(x: Decimal, term: Decimal, k: int) -> Decimal:
    total, square = term, mul(x, x)
    while abs(term) > abs(total) * TINY * TINY:
        term = div(mul(-term, square), Decimal((k + 1) * (k + 2)))
        total, k = add(total, term), k + 2
    return total


def _sin(x: Decimal) -> Decimal:
    x = x if abs(x) < 1 else _turned(x)
    return x if x == 0 else _series(x, x, 1)


def _cos(x: Decimal) -> Decimal:
    return _series(_turned(x) if abs(x) > 1 else x, ONE, 0)


def _gelu(x: Decimal) -> Decimal:
    inner = mul(mul(Decimal("1.5957691216057307117597842397375"), x), add(ONE, mul(Decimal("0.044715"), mul(x, x))))
    return mul(x, sigmoid(inner))


def _gelu_slope(x: Decimal) -> Decimal:
    c, a = Decimal("1.5957691216057307117597842397375"), Decimal("0.044715")
    s = sigmoid(mul(mul(c, x), add(ONE, mul(a, mul(x, x)))))
    if s in (0, 1):
        return s
    inner = mul(c, add(ONE, mul(Decimal(3), mul(a, mul(x, x)))))
    return add(s, mul(mul(x, mul(s, sub(ONE, s))), inner))


def _step(x: Decimal) -> Decimal:
    return ONE if x > 0 else ZERO


def _sign(x: Decimal) -> Decimal:
    return x if x == 0 else ONE.copy_sign(x)


def _same(x: Decimal) -> Decimal:
    return x


Function = Callable[[Decimal], Decimal]

UNARY: dict[str, tuple[Function, Function, float, float]] = {
    # value, derivative, and the limits of the value at -inf and inf
    "copy": (_same, lambda x: ONE, -math.inf, math.inf),
    "cast": (_same, lambda x: ONE, -math.inf, math.inf),
    "stop_gradient": (_same, lambda x: ZERO, -math.inf, math.inf),
    "neg": (lambda x: -x, lambda x: -ONE, math.inf, -math.inf),
    "abs": (abs, _sign, math.inf, math.inf),
    "sign": (_sign, lambda x: ZERO, -1, 1),
    "exp": (_exp, _exp, 0, math.inf),
    "expm1": (_expm1, _exp, -1, math.inf),
    "log": (_log, lambda x: div(ONE, x), math.nan, math.inf),
    "log1p": (_log1p, lambda x: div(ONE, WIDE.add(ONE, x)), math.nan, math.inf),
    "sqrt": (EXACT.sqrt, lambda x: div(ONE, mul(Decimal(2), EXACT.sqrt(x))), math.nan, math.inf),
    "sin": (_sin, _cos, math.nan, math.nan),
    "cos": (_cos, lambda x: -_sin(x), math.nan, math.nan),
    "tanh": (_tanh, lambda x: mul(Decimal(4), mul(sigmoid(2 * x), sigmoid(-2 * x))), -1, 1),
    "sigmoid": (sigmoid, lambda x: mul(sigmoid(x), sigmoid(-x)), 0, 1),
    "softplus": (softplus, sigmoid, 0, math.inf),
    "relu": (lambda x: max(x, ZERO), _step, 0, math.inf),
    "leaky_relu": (lambda x: x if x > 0 else mul(Decimal(0.01), x), lambda x: max(_step(x), Decimal(0.01)), -math.inf, math.inf),
    "elu": (lambda x: x if x > 0 else _expm1(x), lambda x: ONE if x > 0 else _exp(x), -1, math.inf),
    "gelu": (_gelu, _gelu_slope, math.nan, math.inf),
    "clip": (lambda x: max(-ONE, min(ONE, x)), lambda x: ONE if abs(x) <= 1 else ZERO, -1, 1),
}
"""The elementwise functions of one operand; `clip` between -1 and 1."""


def unary(name: str, x: float) -> Decimal | float:
    """The exact value; a float where it is not finite or `x` is not."""
    value, _, low, high = UNARY[name]
    if math.isnan(x):
        return math.nan
    if math.isinf(x):
        return high if x > 0 else low
    exact = value(Decimal(x))
    return exact if exact.is_finite() else float(exact)


def slope(name: str, x: float) -> Decimal | float:
    """The exact derivative at a finite `x`; nan where the value itself is none."""
    if isinstance(unary(name, x), float):
        return math.nan
    exact = UNARY[name][1](Decimal(x))
    return exact if exact.is_finite() else math.nan


def power(a: float, b: float) -> Decimal | float:
    """a to the b: decimal for a positive base, IEEE 754's table of special cases otherwise."""
    if a > 0 and math.isfinite(a) and math.isfinite(b):
        return EXACT.power(Decimal(a), Decimal(b)) if a != 1 else ONE
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.nan if a != 0 else math.copysign(math.inf, a if b % 2 == 1 else 1)


def binary(name: str, a: float, b: float) -> Decimal | float:
    """The exact result of an arithmetic operation on two floats."""
    if name == "pow":
        return power(a, b)
    if name in ("maximum", "minimum"):
        return math.nan if math.isnan(a + 0 * b if math.isnan(a) else b) else {"maximum": max, "minimum": min}[name](a, b)
    exact = {"add": WIDE.add, "sub": WIDE.subtract, "mul": mul, "div": div}[name](Decimal(a), Decimal(b))
    return exact if exact.is_finite() else float(exact)


def overflows(exact: Decimal | float, dtype: Any) -> bool:
    """True where the exact value is no finite number of that precision."""
    return isinstance(exact, float) and not math.isfinite(exact) or abs(Decimal(exact)) > Decimal(float(np.finfo(dtype).max))


def ulps(got: Any, exact: Decimal | float) -> float:
    """The distance in units in the last place of the exact value, which must be finite; inf for nan and infinities."""
    if not np.isfinite(got):
        return math.inf
    info = np.finfo(got.dtype)
    size = abs(float(exact))
    spacing = np.spacing(got.dtype.type(min(max(size, float(info.smallest_subnormal)), float(info.max))))
    error = abs(WIDE.subtract(Decimal(float(got)), Decimal(exact)))
    return float(WIDE.divide(error, Decimal(float(abs(spacing)))))


assert sys.float_info.mant_dig == 53
