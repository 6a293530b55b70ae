"""Exact values of the elementwise functions, in decimal arithmetic with more digits than any float has.

Only Python's own `decimal` and `math` are used, so that nothing is compared with itself. Infinities and nan follow
IEEE 754 and the limits of each function. Plain operators on decimals stand inside ``with precision():``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any, ParamSpec, TypeVar

import numpy as np

CONTEXT = Context(prec=80, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
WIDE = Context(prec=420, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])  # angles up to 1e308 lose 308 digits to whole turns
ROOT_8_BY_PI, CUBIC = Decimal("1.5957691216057307117597842397375"), Decimal("0.044715")
TINY = Decimal("1e-30")  # below it two terms of a series are exact to 60 digits

P, R = ParamSpec("P"), TypeVar("R")
Exact = Decimal | float
"""A decimal; a float only where it is infinite or nan."""


def precision() -> AbstractContextManager[Context]:
    """Within it, operators on decimals have 80 digits and never raise."""
    return localcontext(CONTEXT)


def precisely(f: Callable[P, R]) -> Callable[P, R]:
    """The function, computed with 80 digits."""

    @functools.wraps(f)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with precision():
            return f(*args, **kwargs)

    return wrapped


def special_values(dtype: Any) -> list[float]:
    """What every elementwise operation is tried at: zeros, the smallest and largest, thresholds of exp, non-finite."""
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.smallest_normal, 1e-30, 1e-8, 0.5, 1, 2, 20, 37, 88.7, 104, 709.7]
    positive += [745.2, 1e4, 1e30, info.max, np.inf]
    values = np.array([sign * float(v) for v in positive for sign in (1, -1)] + [np.nan]).astype(dtype)
    return [float(v) for v in values]


def _expm1(x: Decimal) -> Decimal:
    return x + x * x / 2 if abs(x) < TINY else x.exp() - 1


def _log1p(x: Decimal) -> Decimal:
    return x - x * x / 2 if abs(x) < TINY else _log(1 + x)


def _log(x: Decimal) -> Decimal:
    return Decimal("nan") if x < 0 else Decimal("-inf") if x == 0 else x.ln()


def _tanh(x: Decimal) -> Decimal:
    if abs(x) > 2000:
        return Decimal(1).copy_sign(x)
    return _expm1(2 * x) / (_expm1(2 * x) + 2)


@precisely
def sigmoid(x: Decimal) -> Decimal:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + (-x).exp())


@precisely
def softplus(x: Decimal) -> Decimal:
    """log(1 + exp(x))."""
    return x + _log1p((-x).exp()) if x > 0 else _log1p(x.exp())


@functools.cache
def _turn() -> Decimal:
    def arctan_of_inverse(n: int) -> Decimal:
        power = total = Decimal(1) / n
        for k in range(3, 2000, 2):
            power /= -n * n
            total += power / k
        return total

    with localcontext(WIDE):
        return 8 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))  # Machin 1706


def _reduced(x: Decimal) -> Decimal:
    return x if abs(x) < 1 else x.remainder_near(_turn(), WIDE)


def _series(x: Decimal, term: Decimal, k: int) -> Decimal:
    """The sum of term * (1 - x^2 / (k+1)(k+2) + ...), to 60 digits."""
    total = term
    while abs(term) > Decimal("1e-60") * abs(total):
        term *= -x * x / ((k + 1) * (k + 2))
        total, k = total + term, k + 2
    return total


def _sin(x: Decimal) -> Decimal:
    return _series(_reduced(x), _reduced(x), 1)


def _cos(x: Decimal) -> Decimal:
    return _series(_reduced(x), Decimal(1), 0)


def _gelu_gate(x: Decimal) -> Decimal:
    return sigmoid(ROOT_8_BY_PI * (x + CUBIC * x**3))


def _gelu_slope(x: Decimal) -> Decimal:
    s = _gelu_gate(x)
    return s if s in (0, 1) else s + x * s * (1 - s) * ROOT_8_BY_PI * (1 + 3 * CUBIC * x * x)


def _silu_slope(x: Decimal) -> Decimal:
    return sigmoid(x) * (1 + x * sigmoid(-x))


def _step(x: Decimal) -> Decimal:
    return Decimal(int(x > 0))


def _sign(x: Decimal) -> Decimal:
    return Decimal(int(x > 0) - int(x < 0))


def _zero(x: Decimal) -> Decimal:
    return Decimal(0)


def _one(x: Decimal) -> Decimal:
    return Decimal(1)


UNARY: dict[str, tuple[Callable[[Decimal], Decimal], Callable[[Decimal], Decimal], float, float]] = {
    "copy": (Decimal, _one, -math.inf, math.inf),
    "cast": (Decimal, _one, -math.inf, math.inf),
    "stop_gradient": (Decimal, _zero, -math.inf, math.inf),
    "neg": (lambda x: -x, lambda x: Decimal(-1), math.inf, -math.inf),
    "abs": (abs, _sign, math.inf, math.inf),
    "sign": (_sign, _zero, -1, 1),
    "floor": (lambda x: x.to_integral_value(ROUND_FLOOR), _zero, -math.inf, math.inf),
    "ceil": (lambda x: x.to_integral_value(ROUND_CEILING), _zero, -math.inf, math.inf),
    "round": (lambda x: x.to_integral_value(ROUND_HALF_EVEN), _zero, -math.inf, math.inf),
    "silu": (lambda x: x * sigmoid(x), _silu_slope, math.nan, math.inf),
    "logsigmoid": (lambda x: -softplus(-x), lambda x: sigmoid(-x), -math.inf, 0),
    "exp": (Decimal.exp, Decimal.exp, 0, math.inf),
    "expm1": (_expm1, Decimal.exp, -1, math.inf),
    "log": (_log, lambda x: 1 / x, math.nan, math.inf),
    "log1p": (_log1p, lambda x: 1 / (1 + x), math.nan, math.inf),
    "sqrt": (Decimal.sqrt, lambda x: 1 / (2 * x.sqrt()), math.nan, math.inf),
    "sin": (_sin, _cos, math.nan, math.nan),
    "cos": (_cos, lambda x: -_sin(x), math.nan, math.nan),
    "tanh": (_tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x), -1, 1),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x), 0, 1),
    "softplus": (softplus, sigmoid, 0, math.inf),
    "relu": (lambda x: max(x, Decimal(0)), _step, 0, math.inf),
    "leaky_relu": (lambda x: max(x, x / 100), lambda x: max(_step(x), 1 / Decimal(100)), -math.inf, math.inf),
    "elu": (lambda x: x if x > 0 else _expm1(x), lambda x: min(x, Decimal(0)).exp(), -1, math.inf),
    "gelu": (lambda x: x * _gelu_gate(x), _gelu_slope, math.nan, math.inf),
    "clip": (lambda x: max(Decimal(-1), min(Decimal(1), x)), lambda x: Decimal(int(abs(x) <= 1)), -1, 1),
}
"""Value, derivative, and the limits of the value at -inf and inf; `clip` is between -1 and 1."""


@precisely
def unary(name: str, x: float) -> Exact:
    """The value of an elementwise function of one operand."""
    value, _, low, high = UNARY[name]
    if math.isnan(x):
        return math.nan
    if math.isinf(x):
        return high if x > 0 else low
    exact = value(Decimal(x))
    return exact if exact.is_finite() else float(exact)


@precisely
def slope(name: str, x: float) -> Exact:
    """Its derivative at a finite `x`; nan where there is none."""
    exact = UNARY[name][1](Decimal(x)) if isinstance(unary(name, x), Decimal) else Decimal("nan")
    return exact if exact.is_finite() else math.nan


@precisely
def binary(name: str, a: float, b: float) -> Exact:
    """The result of an arithmetic operation on two floats."""
    if name == "pow":
        return _power(a, b)
    if name in ("maximum", "minimum"):
        return math.nan if math.isnan(a) or math.isnan(b) else {"maximum": max, "minimum": min}[name](a, b)
    if name in ("floor_divide", "remainder", "fmod"):
        return _divided(name, a, b)
    x, y = Decimal(a), Decimal(b)
    exact = x + y if name == "add" else x - y if name == "sub" else x * y if name == "mul" else x / y
    return exact if exact.is_finite() else float(exact)


def _divided(name: str, a: float, b: float) -> Exact:
    """Division by whole multiples: Python's own operators, and C's remainder, beyond the finite too."""
    if name == "floor_divide" and b == 0 and abs(a) > 0:
        return math.copysign(math.inf, a) * math.copysign(1, b)
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or b == 0:
        return math.nan
    if math.isinf(b):
        apart = a != 0 and (a < 0) != (b < 0)
        return -1.0 * apart if name == "floor_divide" else b if apart and name == "remainder" else a
    x, y = Decimal(a), Decimal(b)
    with localcontext(WIDE) as wide:
        wide.prec = 700  # of the largest by the smallest
        rest = x % y  # with the sign of x
        if name == "fmod":
            return rest
        apart = rest != 0 and (x < 0) != (y < 0)
        return rest + y * apart if name == "remainder" else (x - rest) / y - apart


def _power(a: float, b: float) -> Exact:
    if a > 0 and math.isfinite(a) and math.isfinite(b):
        exact = (Decimal(b) * Decimal(a).ln()).exp()
        return exact if exact.is_finite() else math.inf
    odd = math.isfinite(b) and abs(b) % 2 == 1
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if odd else math.inf
    except ValueError:  # a negative base, or 1 / 0
        return math.nan if a else math.copysign(math.inf, a) if odd else math.inf


@precisely
def overflows(exact: Exact, dtype: Any) -> bool:
    """True where the exact value is no finite number of that precision, once rounded."""
    info = np.finfo(dtype)
    limit = Decimal(float(info.max)) * (1 + Decimal(float(info.epsneg)) / 2)
    return not (Decimal(exact).is_finite() and abs(Decimal(exact)) < limit)


@precisely
def ulps(got: Any, exact: Exact) -> float:
    """The distance in units in the last place of the exact value, which must be finite; inf for nan and infinities."""
    if not np.isfinite(got):
        return math.inf
    info = np.finfo(got.dtype)
    size = max(abs(float(exact)), float(info.smallest_normal))
    last = Decimal(2) ** (min(math.frexp(size)[1], info.maxexp) - 1 - info.nmant)
    return float(abs(Decimal(float(got)) - Decimal(exact)) / last)
