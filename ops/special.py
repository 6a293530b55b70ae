"""Special functions: the error function, the logarithm of the gamma function and its derivatives.

Each is written from other operations, which every backend has, and has a derivative rule of its own. The polynomials
are least-squares fits at Chebyshev points in 60-digit arithmetic, weighted so that the error of the result is relative;
beside each stands the largest error left. What is not chosen by a `where` is computed on a number that is harmless.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from operator import add, mul, sub
from typing import cast as typed

from .core import Op, Operand, Symbolic, Unary, define, placed
from .errors import DTypeError
from .integers import integer
from .pointwise import (
    POSITIVE,
    abs,
    clip,
    cos,
    equal,
    exp,
    greater_equal,
    less,
    log,
    maximum,
    minimum,
    round,
    sign,
    sin,
    where,
)
from .shapes import elementwise

ERF_SMALL = (
    1.1283791670955126,
    -0.37612638903183515,
    0.1128379167094405,
    -0.026866170643090832,
    0.005223977605955977,
    -0.0008548325921832884,
    0.00012055293361789941,
    -1.4924708324571507e-05,
    1.6447084274239356e-06,
    -1.6205964194101388e-07,
    1.3709519207384055e-08,
    -7.77682913736281e-10,
)
"""erf(x) / x in x^2, for x up to 1; 2^-56.9."""

ERF_TAIL = (
    -3.0975238051343067e-06,
    0.28218796376159283,
    0.2808239177419427,
    0.257264622906023,
    0.11878949193880144,
    0.3084112115746622,
    -0.6412053787470468,
    1.2575860588677612,
    -1.993118390914675,
    1.9410813480766416,
    -1.1249820621843063,
    0.3649024837538081,
    -0.05173876463377648,
)
"""(1 - erf(x)) exp(x^2) in 1 / (1 + x/2), for x from 1 to 6; 2^-60.5 of erf(x)."""

LGAMMA = (
    0.42278433509846713,
    -0.10031730167435393,
    0.032965000621156065,
    -0.01238419219336939,
    0.004998641164671663,
    -0.002108130834094127,
    0.0009153769232931705,
    -0.00040570739257569314,
    0.00018255261884609527,
    -8.309522601786345e-05,
    3.816908689421822e-05,
    -1.766045908737621e-05,
    8.22144853592362e-06,
    -3.856436669512241e-06,
    1.804934171073016e-06,
    -8.125369282503901e-07,
    4.497364967287636e-07,
    -2.830078953089395e-07,
    -1.0788574453542006e-07,
    -1.5074786303253848e-08,
    3.9474241511026185e-07,
    2.7103784823112e-07,
    -1.6353530982721338e-07,
    -3.7991253472436976e-07,
    -2.2422350025920214e-07,
    -5.046067605014434e-08,
)
"""lgamma(2 + v) / (v (v + 1)) for v from -1 to 1/2; 2^-59.3."""

STIRLING = (
    0.08333333333333309,
    -0.0027777777773546303,
    0.0007936505750541542,
    -0.0005951894757572818,
    0.0008364453370338596,
    -0.0016331235920050082,
)
"""x (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2) in 1 / x^2, for x from 8 up; 2^-61.6 of lgamma(x)."""

DIGAMMA = (
    0.7853075386041053,
    -0.2607389546830013,
    0.10899991701762886,
    -0.04955103291769294,
    0.023447309597503813,
    -0.011338432551919412,
    0.0055522541796815435,
    -0.0027395729278112016,
    0.001358142000463421,
    -0.0006753126232893436,
    0.00033643528945337826,
    -0.00016782210631327926,
    8.374938270450749e-05,
    -4.181440583941367e-05,
    2.1098423073625226e-05,
    -1.0450022978543766e-05,
    4.3937353624139595e-06,
    -3.297570002847087e-06,
    3.2136950635480174e-06,
    2.6624088520799553e-06,
    -7.443189997920038e-07,
    -6.57429244139658e-06,
    -3.990147833465641e-06,
    3.138620025883725e-06,
    5.96356968177969e-06,
    3.306994469043742e-06,
    7.00397573778847e-07,
)
"""digamma(2 + v) / (2 + v - ROOT) for v from -1 to 1/2; 2^-57.9."""

DIGAMMA_FAR = (
    0.0833333333333255,
    -0.008333333323636312,
    0.003968249935383325,
    -0.004165889324696343,
    0.007499050615638835,
    -0.01726059660411869,
)
"""x^2 (log(x) - 1 / (2 x) - digamma(x)) in 1 / x^2, for x from 8 up; 2^-59.8 of digamma(x)."""

ROOT = (1.4616321325302124, 1.2438149938918909e-08, 4.341643069426251e-25)
"""The zero of digamma above 0, as a sum of numbers of which the first is one of float32 too."""
NEAR, FAR = 2.5, 8.0
"""From 1 to the first there are polynomials, from the second up asymptotic series; between them a recurrence."""
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""B2, B4, ..."""


def polynomial(x: Symbolic, coefficients: Sequence[float]) -> Symbolic:
    """Horner's scheme, from the highest power down."""
    *lower, last = coefficients
    total = x * last + lower[-1]
    for c in reversed(lower[:-1]):
        total = total * x + c
    return total


def _erf(x: Symbolic) -> Symbolic:
    size = minimum(abs(x), 6.0)  # from there on it is 1
    square = size * size
    tail = 1 - exp(-square) * polynomial(1 / (1 + size / 2), ERF_TAIL)
    return where(less(size, 1), x * polynomial(minimum(square, 1.0), ERF_SMALL), sign(x) * tail)


def _erf_rule(g: Symbolic, y: Symbolic, x: Symbolic) -> Symbolic:
    return g * (2 / math.sqrt(math.pi)) * exp(-(clip(x, -28, 28) ** 2))  # beyond it is 0; the square could overflow


ERF = """The error function, 2 / sqrt(pi) times the integral of exp(-u^2) from 0 to x.

Shapes: s -> s. It is right to 4 units in the last place everywhere. Phi(x), the normal distribution function, is
(1 + erf(x / sqrt(2))) / 2 (Abramowitz and Stegun 1964, section 7.1).

>>> from unroll import Template, ops, t
>>> g = Template(); x = g.input("x", 3); g.output("y", ops.erf(x[t]))
"""
erf = typed(Unary, define("erf", elementwise, _erf_rule, doc=ERF, body=_erf))


# -- the gamma function ----------------------------------------------------------------------------------------------


def _steps_down(x: Symbolic) -> tuple[Symbolic, Symbolic, Symbolic]:
    """A number below FAR brought below NEAR by whole steps: it, and the product and sum of reciprocals on the way.

    With Gamma(x + 1) = x Gamma(x) a step multiplies; the sum is given times the product.
    """
    goes, lower = greater_equal(x, NEAR), x - 1
    x, product, total = where(goes, lower, x), where(goes, lower, 1.0), where(goes, 1.0, 0.0)
    for _ in range(math.ceil(FAR - NEAR) - 1):
        goes, lower = greater_equal(x, NEAR), x - 1
        total = where(goes, total * lower + product, total)
        product = where(goes, product * lower, product)
        x = where(goes, lower, x)
    return x, product, total


def _reflected(x: Symbolic) -> tuple[Symbolic, Symbolic, Symbolic]:
    """Whether x is negative; then 1 - x, and the distance from the nearest whole number times pi; else x and pi / 2."""
    negative = less(x, 0)
    return negative, where(negative, 1 - x, x), where(negative, (x - round(x)) * math.pi, math.pi / 2)


def _lgamma(x: Symbolic) -> Symbolic:
    x = where(less(abs(x), 1e-30), abs(x), maximum(x, -1e18))  # alike about 0; below the second every number is whole
    negative, size, angle = _reflected(x)
    far, low = maximum(size, FAR), minimum(size, FAR)
    below = less(low, 1)
    near, product, _ = _steps_down(low)
    a, b = where(below, low - 1, near - 2), where(below, low, near - 1)  # both factors are exact
    logarithm = log(where(less(size, FAR), where(below, low, product), far))
    middle = a * b * polynomial(a, LGAMMA) + where(below, -logarithm, logarithm)
    series = polynomial(1 / far * (1 / far), STIRLING) / far + (math.log(2 * math.pi) - 1) / 2
    above = where(less(size, FAR), middle, (far - 0.5) * (logarithm - 1) + series)
    return where(negative, math.log(math.pi) - log(abs(sin(angle))) - above, above)


def _digamma(x: Symbolic) -> Symbolic:
    negative, size, angle = _reflected(x)
    far, low = maximum(size, FAR), minimum(size, FAR)
    below = less(low, 1)
    near, product, total = _steps_down(low)
    a = where(below, low - 1, near - 2)
    apart = functools.reduce(sub, ROOT, where(below, low + 1, near))
    steps = where(below, -1, total) / where(below, low, product)
    middle = apart * polynomial(a, DIGAMMA) + steps
    inverse = 1 / far
    series = log(far) - inverse / 2 - inverse * inverse * polynomial(inverse * inverse, DIGAMMA_FAR)
    above = where(less(size, FAR), middle, series)
    sine = sin(angle)
    return where(negative, above - math.pi * cos(angle) / where(equal(sine, 0), math.nan, sine), above)


def _polygamma(x: Symbolic, order: int = 1) -> Symbolic:
    """Through the zeta function of Hurwitz, by the formula of Euler and Maclaurin."""
    negative, size, angle = _reflected(x)
    steps, factor = 8 + 2 * order, (order + 1) / 2
    short, low = less(size, steps), minimum(size, float(steps))
    far = 1 / where(short, size + steps, size)
    tail = []
    for k, bernoulli in enumerate(BERNOULLI, 1):
        tail.append(bernoulli * factor)
        factor *= (order + 2 * k) * (order + 2 * k + 1) / ((2 * k + 1) * (2 * k + 2))
    square = far * far
    series = _whole_power(far, order) * (1 / order + far / 2 + square * polynomial(square, tail))
    terms = [1 / _whole_power(low + k, order + 1) for k in reversed(range(steps))]
    while len(terms) > 1:  # by pairs, so that little is lost
        terms = [functools.reduce(add, terms[k : k + 2]) for k in range(0, len(terms), 2)]
    total = series + where(short, terms[0], 0)
    above = total * (math.factorial(order) * (-1) ** (order + 1))
    slopes = [0.0, 1.0]  # of cot(pi x) in its own powers, differentiated `order` times
    for _ in range(order):
        first = [k * c for k, c in enumerate(slopes)][1:]
        slopes = [-math.pi * (a + b) for a, b in zip([*first, 0, 0], [0, 0, *first], strict=True)]
    beyond = polynomial(cos(angle) / sin(angle), slopes) * -math.pi
    return where(negative, beyond + (-1) ** order * above, above)


def _whole_power(x: Symbolic, n: int) -> Symbolic:
    return functools.reduce(mul, [x] * n)


LGAMMA_DOC = """The logarithm of the absolute value of the gamma function.

Shapes: s -> s. It is right to 4 units in the last place from 0 up, at the zeros 1 and 2 too (numpy in float32:
5); below 0 to 8 units of the larger of the result and lgamma(1 - x), since its zeros there are no numbers of any
format. At 0 and the negative whole numbers it is inf (Abramowitz and Stegun 1964, sections 6.1.17 and 6.1.41).

>>> from unroll import Template, ops, t
>>> g = Template(); x = g.input("x", 3); g.output("y", ops.lgamma(x[t]))
"""
DIGAMMA_DOC = """The derivative of `lgamma`.

Shapes: s -> s. It is right to 4 units in the last place from 0 up, at its zero 1.4616... too; below 0 to 8 units of the
largest of the result, digamma(1 - x) and pi. At the negative whole numbers it is nan, at 0 an infinity (Abramowitz and
Stegun 1964, sections 6.3.7 and 6.3.18).

>>> from unroll import Template, ops, t
>>> g = Template(); x = g.input("x", 3); g.output("y", ops.digamma(x[t]))
"""

lgamma = typed(Unary, define(
    "lgamma", elementwise, lambda g, y, x: g * digamma(x), draw=POSITIVE, doc=LGAMMA_DOC, body=_lgamma
))  # fmt: skip
digamma: Unary = typed(Unary, define(
    "digamma", elementwise, lambda g, y, x: g * _polygamma_op(x, order=1), draw=POSITIVE, doc=DIGAMMA_DOC, body=_digamma
))  # fmt: skip
_polygamma_op: Op = define(
    "polygamma",
    elementwise,
    lambda g, y, x, order=1: g * _polygamma_op(x, order=order + 1),
    draw=POSITIVE,
    body=_polygamma,
)


@placed
def polygamma(order: int, x: Operand) -> Symbolic:
    """The derivative of `digamma` of an order, 1 or more; of order 0 digamma itself.

    Shapes: s -> s. From 0 up it is right to 4 units in the last place at orders 1 and 2, below 0 to 12 units of the
    larger of the result and order! pi^(order + 1). Raises DTypeError for an order that is no number from 0 up.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.polygamma(1, x[t])
    polygamma(x[t], order=1)
    """
    number = integer(order)
    if number is None or number < 0:
        raise DTypeError(f"the order of polygamma is a whole number from 0 up; got {order!r}")
    return _polygamma_op(x, order=number) if number else digamma(x)
