"""Log-likelihoods: the logarithm of the probability, or of the density, of each element, in nats."""

from __future__ import annotations

import math

from .core import Operand, Symbolic, composite
from .pointwise import abs, equal, exp, less, log, log1p, logical_and, where
from .special import lgamma, polynomial

HALF_LOG_2PI = math.log(2 * math.pi) / 2
HALF_STEP = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224, -5461 / 425984)
"""x (lgamma(x + 1/2) - lgamma(x) - log(x) / 2) in 1 / x^2, as an asymptotic series."""
FAR = 10.0
"""From here up the series is exact to rounding, where the difference would cancel."""


@composite
def normal_log_prob(value: Operand, mean: Operand, deviation: Operand) -> Symbolic:
    """The log-density of the normal (Gaussian) distribution; the deviation counts by its size, as in `ops.normal`.

    Shapes: three that broadcast -> theirs. Of independent elements the log-likelihood is the sum (book section 3.9.3).

    >>> from unroll import Template, ops, t
    >>> g = Template(); y, m = g.input("y", 3), g.input("m", 3)
    >>> ops.normal_log_prob(y[t], m[t], 0.5)
    normal_log_prob(y[t], m[t], 0.5)
    """
    return -(((value - mean) / deviation) ** 2) / 2 - log(abs(deviation)) - HALF_LOG_2PI


@composite
def poisson_log_prob(count: Operand, log_rate: Operand) -> Symbolic:
    """The log-probability of a count under the Poisson distribution with the rate exp(log_rate).

    Shapes: two that broadcast -> theirs; counts are labels or floats from 0 up. At a rate of 0, that of -inf, a
    count of 0 is certain.

    >>> from unroll import Template, ops, t
    >>> g = Template(); n, o = g.input("n", dtype="int"), g.input("o")
    >>> ops.poisson_log_prob(n[t], o[t])
    poisson_log_prob(n[t], o[t])
    """
    never = logical_and(equal(count, 0), equal(log_rate, -math.inf))
    return count * where(never, 0.0, log_rate) - exp(log_rate) - lgamma(count + 1.0)


@composite
def student_log_prob(value: Operand, degrees: Operand, location: Operand = 0.0, scale: Operand = 1.0) -> Symbolic:
    """The log-density of Student's t with so many degrees of freedom, shifted and scaled; the scale counts by its size.

    Shapes: four that broadcast -> theirs. With many degrees it goes to `normal_log_prob`, without loss of digits
    (Student 1908).

    >>> from unroll import Template, ops, t
    >>> g = Template(); y, m = g.input("y", 3), g.input("m", 3)
    >>> ops.student_log_prob(y[t], 4.0, m[t], 0.5)
    student_log_prob(y[t], 4.0, m[t], 0.5)
    """
    z = (value - location) / scale
    tail = (degrees + 1.0) / 2.0 * log1p(z * z / degrees)
    return _half_step(degrees / 2.0) - HALF_LOG_2PI - log(abs(scale)) - tail


def _half_step(x: Operand) -> Symbolic:
    """lgamma(x + 1/2) - lgamma(x) - log(x) / 2."""
    near = less(x, FAR)
    low, inverse = where(near, x, FAR), 1 / where(near, FAR, x)
    return where(
        near, lgamma(low + 0.5) - lgamma(low) - log(low) / 2, inverse * polynomial(inverse * inverse, HALF_STEP)
    )
