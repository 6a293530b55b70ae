"""Operations that work element by element, under NumPy's broadcasting: one line each."""

from __future__ import annotations

import math
from typing import Any

from .core import Notation, define, infix
from .shapes import elementwise

POSITIVE = ((0.3, 3.0),)


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, (int, float)):  # keeps x**2 exact, and 0**0 free of nan
        return 0 if b == 0 else g if b == 1 else 2 * g * a if b == 2 else g * b * power(a, b - 1)
    return g * b * power(a, where(equal(b, 0), 0, b - 1))


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(a, (int, float)):
        return g * y * math.log(a) if a > 0 else 0
    return g * y * log(where(greater(a, 0), a, 1))


def _tied(g: Any, chosen: Any, other: Any) -> Any:
    """The cotangent goes to the chosen operand; two equal ones share it."""
    return where(greater(chosen, other), g, where(equal(chosen, other), 0.5 * g, 0))


# fmt: off
copy = define("copy", elementwise, lambda g, y, x: g, kinds="a->a", notation=Notation("{0}", 0, (0,)))
add = define("add", elementwise, lambda g, y, a, b: g, lambda g, y, a, b: g, kinds="n,n->n", notation=infix("+", 10))
sub = define("sub", elementwise, lambda g, y, a, b: g, lambda g, y, a, b: -g, kinds="n,n->n", notation=infix("-", 10))
mul = define("mul", elementwise, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, kinds="n,n->n", notation=infix("*", 20))
div = define("div", elementwise, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b, draw=((-2, 2), (0.5, 2)), notation=infix("/", 20))
neg = define("neg", elementwise, lambda g, y, x: -g, kinds="n->n", notation=Notation("-{0}", 30, (30,)))
power = define("pow", elementwise, _power_base, _power_exponent, draw=((0.3, 3), (-2, 2)), notation=Notation("{0}**{1}", 40, (41, 40)))

exp = define("exp", elementwise, lambda g, y, x: g * y, doc="e to the x.")
expm1 = define("expm1", elementwise, lambda g, y, x: g * (y + 1), doc="e to the x, minus 1, exact near 0.")
log = define("log", elementwise, lambda g, y, x: g / x, draw=POSITIVE, doc="Natural logarithm.")
log1p = define("log1p", elementwise, lambda g, y, x: g / (1 + x), draw=((-0.5, 2.0),), doc="log(1 + x), exact near 0.")
sqrt = define("sqrt", elementwise, lambda g, y, x: g / (2 * y), draw=POSITIVE, doc="Square root.")
sin = define("sin", elementwise, lambda g, y, x: g * cos(x), doc="Sine; x in radians.")
cos = define("cos", elementwise, lambda g, y, x: -g * sin(x), doc="Cosine; x in radians.")
tanh = define("tanh", elementwise, lambda g, y, x: g * (1 - y**2), doc="Hyperbolic tangent.")
sigmoid = define("sigmoid", elementwise, lambda g, y, x: g * (y * (1 - y)), doc="Logistic function 1 / (1 + exp(-x)), free of overflow.")
softplus = define("softplus", elementwise, lambda g, y, x: g * sigmoid(x), doc="log(1 + exp(x)), exact on both sides, with no threshold.")
relu = define("relu", elementwise, lambda g, y, x: where(greater(x, 0), g, 0), analytic=False, doc="max(x, 0); its derivative at 0 is 0.")
abs = define("abs", elementwise, lambda g, y, x: g * sign(x), kinds="n->n", analytic=False, doc="Absolute value; its derivative at 0 is 0.")
sign = define("sign", elementwise, None, kinds="n->n", analytic=False, doc="-1, 0 or 1.")

maximum = define("maximum", elementwise, lambda g, y, a, b: _tied(g, a, b), lambda g, y, a, b: _tied(g, b, a), kinds="n,n->n", analytic=False, doc="The larger of two; equal operands share the derivative.")
minimum = define("minimum", elementwise, lambda g, y, a, b: _tied(g, b, a), lambda g, y, a, b: _tied(g, a, b), kinds="n,n->n", analytic=False, doc="The smaller of two; equal operands share the derivative.")
where = define("where", elementwise, None, lambda g, y, c, a, b: where(c, g, 0), lambda g, y, c, a, b: where(c, 0, g), kinds="b,n,n->n", analytic=False, doc="where(condition, a, b): a where the condition holds, else b.")
greater = define("greater", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix(">", 5))
greater_equal = define("greater_equal", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix(">=", 5))
less = define("less", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix("<", 5))
less_equal = define("less_equal", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix("<=", 5))
equal = define("equal", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix("==", 5))
not_equal = define("not_equal", elementwise, None, None, kinds="n,n->b", analytic=False, notation=infix("!=", 5))
logical_and = define("logical_and", elementwise, None, None, kinds="b,b->b", analytic=False, notation=infix("&", 8))
logical_or = define("logical_or", elementwise, None, None, kinds="b,b->b", analytic=False, notation=infix("|", 7))
logical_not = define("logical_not", elementwise, None, kinds="b->b", analytic=False, notation=Notation("~{0}", 30, (30,)))
isfinite = define("isfinite", elementwise, None, kinds="f->b", analytic=False, doc="True where x is neither infinite nor nan.")

stop_gradient = define("stop_gradient", elementwise, None, analytic=False, doc="x itself, with derivative zero.")
cast = define("cast", elementwise, None, kinds="n->f", analytic=False, doc="int or bool as float.")
# fmt: on


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where it is positive, slope * x elsewhere (Maas et al. 2013).

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.leaky_relu(x[t]))
    """
    return where(greater(x, 0), x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2016)."""
    return where(greater(x, 0), x, alpha * expm1(minimum(x, 0)))


def gelu(x: Any) -> Any:
    """x times the normal distribution function, in its tanh form (Hendrycks and Gimpel 2016, section 2).

    The same as ``approximate="tanh"`` in PyTorch and the default of JAX; at most 5e-4 away from the exact form.
    """
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * (x * x * x))))


def clip(x: Any, low: float, high: float) -> Any:
    """x kept between `low` and `high`; the derivative is 1 inside (the ends included) and 0 outside."""
    return where(less(x, low), low, where(greater(x, high), high, x))
