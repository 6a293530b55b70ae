"""Operations that work element by element, under NumPy's broadcasting: one line each."""

from __future__ import annotations

import math
from typing import Any
from typing import cast as typed

from .core import Binary, Notation, Operand, Rule, Symbolic, Ternary, Unary, composite, define, infix, placed
from .shapes import elementwise

REALS = "f,f->f"
POSITIVE = ((0.3, 3.0),)
DIVISOR = ((-2.0, 2.0), (0.5, 2.0))
RAISED = Notation("{0}**{1}", 40, (41, 40))
NOT = Notation("~{0}", 30, (30,))
LARGER = "The larger of two; equal operands share the derivative."
SMALLER = "The smaller of two; equal operands share the derivative."
FLOOR_DIVIDE = """``a // b``: the largest whole number not above the quotient, as in Python; its derivative is 0.

It is computed from the exact remainder, so that 1 // 0.1 is 9. Labels stay labels; one divided by 0 is 0.

>>> from unroll import Template, ops, t
>>> g = Template(); day = g.input("day", dtype="int"); ops.floor_divide(day[t], 7)
day[t] // 7
"""
REMAINDER = """``a % b``: what is left of a after whole multiples of b; its sign is that of b, as in Python and NumPy.

The derivative is 1 by a, and minus the number of multiples by b. The remainder of a label by 0 is 0.

>>> from unroll import Template, ops, t
>>> g = Template(); day = g.input("day", dtype="int"); ops.remainder(day[t], 7)
day[t] % 7
"""
FMOD = "The remainder with the sign of a, as C has it; floats alone. Its derivatives are those of `remainder`."
LOGADDEXP = """log(exp(a) + exp(b)) without overflow; of -inf and -inf it is -inf, with derivatives 0.5.

>>> from unroll import Template, ops, t
>>> g = Template(); x = g.input("x", 3); g.output("y", ops.logaddexp(x[t], 0.0))
"""
FLOOR = "The largest whole number not above x; its derivative is 0."
CHOICE = "where(condition, a, b): a where the condition holds, else b."


def _power_base(g: Symbolic, y: Symbolic, a: Operand, b: Operand) -> Operand:
    if isinstance(b, (int, float)):  # keeps x**2 exact, and 0**0 free of nan
        return 0 if b == 0 else g if b == 1 else 2 * g * a if b == 2 else g * b * power(a, b - 1)
    return g * b * power(where(logical_and(equal(a, 0), equal(b, 0)), 1, a), b - 1)


def _power_exponent(g: Symbolic, y: Symbolic, a: Operand, b: Operand) -> Operand:
    if isinstance(a, (int, float)):
        return g * y * math.log(a) if a > 0 else 0
    return g * y * log(where(greater(a, 0), a, 1))


def _tied(g: Symbolic, chosen: Symbolic, other: Symbolic) -> Symbolic:
    """The cotangent goes to the chosen operand; two equal ones share it."""
    return where(greater(chosen, other), g, where(equal(chosen, other), 0.5 * g, 0))


def _where_true(g: Symbolic, y: Symbolic, condition: Symbolic, a: Symbolic, b: Symbolic) -> Symbolic:
    return where(condition, g, 0)


def _where_false(g: Symbolic, y: Symbolic, condition: Symbolic, a: Symbolic, b: Symbolic) -> Symbolic:
    return where(condition, 0, g)


def _one(name: str, rule: Rule | None, doc: str = "", **more: Any) -> Unary:
    return typed(Unary, define(name, elementwise, rule, doc=doc, **more))


def _two(name: str, left: Rule, right: Rule, kinds: str = "n,n->n", **more: Any) -> Binary:
    return typed(Binary, define(name, elementwise, left, right, kinds=kinds, **more))


def _choice(name: str, left: Rule, right: Rule, doc: str) -> Binary:
    return typed(Binary, define(name, elementwise, left, right, kinds="n,n->n", analytic=False, doc=doc))


def _test(name: str, symbol: str, doc: str, strength: int = 5, kinds: str = "n,n->b") -> Binary:
    notation = infix(symbol, strength)
    return typed(Binary, define(name, elementwise, None, None, kinds=kinds, analytic=False, notation=notation, doc=doc))


def _kink(name: str, rule: Rule | None, doc: str, kinds: str = "f->f") -> Unary:
    return typed(Unary, define(name, elementwise, rule, kinds=kinds, analytic=False, doc=doc))


# fmt: off
copy = _one("copy", lambda g, y, x: g, kinds="a->a", notation=Notation("{0}", 0, (0,)))
add = _two("add", lambda g, y, a, b: g, lambda g, y, a, b: g, doc="a + b.", notation=infix("+", 10))
sub = _two("sub", lambda g, y, a, b: g, lambda g, y, a, b: -g, doc="a - b.", notation=infix("-", 10))
mul = _two("mul", lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, doc="a * b.", notation=infix("*", 20))
div = _two(
    "div",
    lambda g, y, a, b: g / b,
    lambda g, y, a, b: -g * y / b,
    REALS,
    doc="a / b.",
    draw=DIVISOR,
    notation=infix("/", 20),
)
floor_divide = typed(Binary, define(
    "floor_divide",
    elementwise,
    None,
    None,
    kinds="n,n->n",
    draw=DIVISOR,
    analytic=False,
    notation=infix("//", 20),
    doc=FLOOR_DIVIDE,
))
remainder = _two(
    "remainder",
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g * _round((a - y) / b),
    doc=REMAINDER,
    draw=DIVISOR,
    analytic=False,
    notation=infix("%", 20),
)
fmod = _two(
    "fmod",
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g * _round((a - y) / b),
    REALS,
    doc=FMOD,
    draw=DIVISOR,
    analytic=False,
)
neg = _one("neg", lambda g, y, x: -g, kinds="n->n", notation=Notation("-{0}", 30, (30,)))
POWER = "``a ** b``, element by element; where b is a number, its derivative by a is exact at 0 too."
power = _two("pow", _power_base, _power_exponent, REALS, doc=POWER, draw=((0.3, 3), (-2, 2)), notation=RAISED)

exp = _one("exp", lambda g, y, x: g * y, "e to the x.")
expm1 = _one("expm1", lambda g, y, x: g * (y + 1), "e to the x, minus 1, exact near 0.")
log = _one("log", lambda g, y, x: g / x, "Natural logarithm.", draw=POSITIVE)
log1p = _one("log1p", lambda g, y, x: g / (1 + x), "log(1 + x), exact near 0.", draw=((-0.5, 2.0),))
sqrt = _one("sqrt", lambda g, y, x: g / (2 * y), "Square root.", draw=POSITIVE)
sin = _one("sin", lambda g, y, x: g * cos(x), "Sine; x in radians.")
cos: Unary = _one("cos", lambda g, y, x: -g * sin(x), "Cosine; x in radians.")
tanh = _one("tanh", lambda g, y, x: g * (1 - y**2), "Hyperbolic tangent.")
sigmoid = _one("sigmoid", lambda g, y, x: g * (y * (1 - y)), "1 / (1 + exp(-x)), free of overflow.")
softplus = _one("softplus", lambda g, y, x: g * sigmoid(x), "log(1 + exp(x)), exact on both sides, with no threshold.")

relu = _kink("relu", lambda g, y, x: where(greater(x, 0), g, 0), "max(x, 0); its derivative at 0 is 0.")
abs = _kink("abs", lambda g, y, x: g * sign(x), "Absolute value; its derivative at 0 is 0.", "n->n")
floor = _kink("floor", None, FLOOR)
_round: Unary = _kink("round", None, "The nearest whole number, of two the even one; its derivative is 0.")
sign: Unary = _kink("sign", None, "-1, 0 or 1.", "n->n")
stop_gradient = _kink("stop_gradient", None, "x itself, with derivative zero.")
isfinite = _kink("isfinite", None, "True where x is neither infinite nor nan.", "f->b")
cast = _one("cast", lambda g, y, x: g, "int or bool as float.", kinds="a->f")
maximum = _choice("maximum", lambda g, y, a, b: _tied(g, a, b), lambda g, y, a, b: _tied(g, b, a), LARGER)
minimum = _choice("minimum", lambda g, y, a, b: _tied(g, b, a), lambda g, y, a, b: _tied(g, a, b), SMALLER)
where: Ternary = typed(Ternary, define(
    "where",
    elementwise,
    None,
    _where_true,
    _where_false,
    kinds="b,n,n->n",
    analytic=False,
    doc=CHOICE,
))

greater: Binary = _test("greater", ">", "``a > b``, element by element; a bool.")
greater_equal = _test("greater_equal", ">=", "``a >= b``, element by element; a bool.")
less = _test("less", "<", "``a < b``, element by element; a bool.")
less_equal = _test("less_equal", "<=", "``a <= b``, element by element; a bool.")
equal = _test("equal", "==", "``a == b``, element by element; a bool. ``==`` itself compares no expressions.")
not_equal = _test("not_equal", "!=", "``a != b``, element by element; a bool. ``!=`` itself compares no expressions.")
logical_and = _test("logical_and", "&", "``a & b``: true where both are; bools alone.", 8, "b,b->b")
logical_or = _test("logical_or", "|", "``a | b``: true where one is; bools alone.", 7, "b,b->b")
NEGATION = "``~a``: true where a is false; bools alone."
_not = define("logical_not", elementwise, None, kinds="b->b", analytic=False, notation=NOT, doc=NEGATION)
logical_not = typed(Unary, _not)
# fmt: on


@placed
def round(x: Operand, decimals: int = 0) -> Symbolic:
    """The nearest number of so many decimals, of two the even one as in NumPy (IEEE 754, section 4.3.1); derivative 0.

    Shapes: s -> s. A negative number of decimals rounds to tens and hundreds. ``round(x[t], 2)`` is the same.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.round(x[t]))
    """
    return typed(Symbolic, x).__round__(decimals) if decimals else _round(x)


@composite
def ceil(x: Operand) -> Symbolic:
    """The smallest whole number not below x; its derivative is 0.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.ceil(x[t]))
    """
    return -floor(-x)


@composite
def isnan(x: Operand) -> Symbolic:
    """True where x is not a number; a bool.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.where(ops.isnan(x[t]), 0.0, x[t]))
    """
    return not_equal(x, x)


@composite
def isinf(x: Operand) -> Symbolic:
    """True where x is an infinity of either sign; a bool.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.isinf(x[t]))
    """
    return equal(abs(x), math.inf)


@composite
def silu(x: Operand) -> Symbolic:
    """The value x times sigmoid(x), also called swish (Elfwing et al. 2018).

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.silu(x[t]))
    """
    return x * sigmoid(x)


@composite
def logsigmoid(x: Operand) -> Symbolic:
    """The logarithm of sigmoid(x), exact on both sides: about x far below 0, about -exp(-x) far above.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.logsigmoid(x[t]))
    """
    return -softplus(-x)


def _apart(a: Operand, b: Operand) -> Symbolic:
    """The difference of two exponents; equal infinities differ by 0."""
    apart = a - b
    return where(logical_and(equal(a, b), not_equal(apart, apart)), 0, apart)


logaddexp = typed(
    Binary,
    define(
        "logaddexp",
        elementwise,
        lambda g, y, a, b: g * sigmoid(_apart(a, b)),
        lambda g, y, a, b: g * sigmoid(_apart(b, a)),
        doc=LOGADDEXP,
        body=lambda a, b: maximum(a, b) + log1p(exp(-abs(_apart(a, b)))),
    ),
)


@composite
def leaky_relu(x: Operand, slope: float = 0.01) -> Symbolic:
    """The value x where it is positive, slope * x elsewhere (Maas et al. 2013).

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); g.output("y", ops.leaky_relu(x[t]))
    """
    return where(greater(x, 0), x, slope * x)


@composite
def elu(x: Operand, alpha: float = 1.0) -> Symbolic:
    """The value x where it is positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2016)."""
    above = greater(x, 0)
    return where(above, x, alpha * expm1(where(above, 0, x)))  # minimum would halve the slope at 0


@composite
def gelu(x: Operand) -> Symbolic:
    """The value x times the normal distribution function, in its tanh form (Hendrycks and Gimpel 2016, section 2).

    The same as ``approximate="tanh"`` in PyTorch and the default of JAX; at most 5e-4 away from the exact form.
    Written with sigmoid, since (1 + tanh(u)) / 2 = sigmoid(2u), which does not cancel for negative x.
    """
    z = clip(x, -25, 25)  # beyond, sigmoid is exactly 0 or 1; a cube could overflow
    return x * sigmoid(1.5957691216057308 * (z + 0.044715 * (z * z * z)))


@composite
def clip(x: Operand, low: float, high: float) -> Symbolic:
    """The value x kept between `low` and `high`; the derivative is 1 inside (the ends included) and 0 outside."""
    return where(less(x, low), low, where(greater(x, high), high, x))
