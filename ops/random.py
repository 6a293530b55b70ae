"""Random draws, each a function of its parameters and of generated numbers: see `unroll.ir.generated_inputs`.

A draw is one operation, whose last operand is the generated numbers. One of a continuous distribution has derivatives
by its parameters (the numbers do not depend on them, Kingma and Welling 2014); a discrete one has none, and asking for
a gradient that only flows through one is an error. Draws are independent for each example and for each step of the time
axes that its operands run along; ``over=`` names other axes, and ``over=None`` draws once per example.
"""

from __future__ import annotations

from collections.abc import Sequence

from .core import Op, Operand, Symbolic, composite, define, first_symbol
from .errors import DTypeError, ShapeError
from .integers import real
from .pointwise import log, where
from .reduce import argmax
from .shapes import Family, Shape, broadcast, elementwise

BETWEEN = (0.05, 0.95)
DISCRETE = ("bernoulli", "categorical")
"""Draws without derivatives."""


def _uniformly(low: Symbolic, high: Symbolic, u: Symbolic) -> Symbolic:
    drawn = (low / 2 + (high / 2 - low / 2) * u) * 2  # the width of an interval may be beyond all numbers
    beyond = ((high > low) & (drawn >= high)) | ((high <= low) & (drawn <= high))  # by rounding
    return where(beyond, low, drawn)


def _by_gumbel(logits: Symbolic, u: Symbolic) -> Symbolic:
    tiny = 1e-30  # a draw of exactly 0 is the smallest, not an infinity
    return argmax(logits - log(tiny - log(u + tiny)))


def _label(shapes: Sequence[Shape], attrs: object) -> Shape:
    logits = broadcast(shapes)
    if not logits or not logits[-1]:
        raise ShapeError(f"categorical draws one of the labels along the last axis, and these are logits of {logits}")
    return logits[:-1]


LABELS = Family("categorical", _label, ((((4,), (4,)), {}), (((2, 3), (2, 3)), {})))

_uniform = define(
    "uniform",
    elementwise,
    lambda g, y, low, high, u: g * (1 - u),
    lambda g, y, low, high, u: g * u,
    lambda g, y, low, high, u: g * (high - low),
    kinds="n,n,f->f",
    draw=((-2.0, -0.5), (0.5, 2.0), BETWEEN),
    analytic=False,
    body=_uniformly,
    doc="low + (high - low) * u, never high itself.",
)
_normal = define(
    "normal",
    elementwise,
    lambda g, y, mean, deviation, z: g,
    lambda g, y, mean, deviation, z: g * z,
    lambda g, y, mean, deviation, z: g * deviation,
    kinds="n,n,f->f",
    body=lambda mean, deviation, z: mean + deviation * z,
    doc="mean + deviation * z.",
)
_bernoulli = define(
    "bernoulli",
    elementwise,
    None,
    None,
    kinds="n,f->b",
    draw=(BETWEEN,),
    analytic=False,
    body=lambda p, u: u < p,
    doc="True where u is below p.",
)
_categorical = define(
    "categorical",
    LABELS,
    None,
    None,
    kinds="f,f->i",
    draw=((-2.0, 2.0), BETWEEN),
    analytic=False,
    body=_by_gumbel,
    doc="The index of the largest of logits plus Gumbel noise made of u.",
)


def _drawn(op: Op, kind: str, parameters: Sequence[Operand], over: object) -> Symbolic:
    return op(*parameters, first_symbol(op.name, parameters).__noise__(kind, parameters, over))


@composite
def uniform(low: Operand, high: Operand, *, over: object = ...) -> Symbolic:
    """A draw from the uniform distribution on [low, high), element by element.

    >>> from unroll import Template, ops, t
    >>> g = Template(); a = g.input("a")
    >>> ops.uniform(-a[t], a[t])
    uniform(-a[t], a[t])
    """
    return _drawn(_uniform, "uniform", (low, high), over)


@composite
def normal(mean: Operand, deviation: Operand, *, over: object = ...) -> Symbolic:
    """A draw from the normal distribution of that mean and standard deviation, element by element.

    >>> from unroll import Template, ops, t
    >>> g = Template(); m = g.input("m", 3)
    >>> ops.normal(m[t], 0.1)
    normal(m[t], 0.1)
    """
    return _drawn(_normal, "normal", (mean, deviation), over)


@composite
def bernoulli(p: Operand, *, over: object = ...) -> Symbolic:
    """True with probability p, element by element; of kind bool. No derivative passes to p.

    A p below 0 counts as 0, above 1 as 1.

    >>> from unroll import Template, ops, t
    >>> g = Template(); p = g.input("p")
    >>> ops.bernoulli(p[t])
    bernoulli(p[t])
    """
    return _drawn(_bernoulli, "uniform", (p,), over)


@composite
def categorical(logits: Operand, temperature: Operand = 1.0, *, over: object = ...) -> Symbolic:
    """A label drawn with the probabilities softmax(logits / temperature); of kind int. No derivative passes to them.

    Shapes: logits (..., n) -> (...). By the largest of the logits plus Gumbel noise (Gumbel 1954). As the temperature
    goes to 0 it becomes `argmax`. Raises ValueError for a number that is no temperature.

    >>> from unroll import Template, ops, t
    >>> g = Template(); o = g.input("o", 5)
    >>> ops.categorical(o[t])
    categorical(o[t])
    """
    if getattr(logits, "dtype", "one number") != "float":
        raise DTypeError(f"categorical draws from logits, and these are {getattr(logits, 'dtype', 'one number')}")
    number = real(temperature)
    if number is not None and not number > 0:
        raise ValueError(f"the temperature is a number above 0 (towards 0 a draw is ops.argmax); got {temperature!r}")
    return _drawn(_categorical, "uniform", (logits / temperature,), over)


@composite
def dropout(x: Operand, rate: float, *, over: object = ...) -> Symbolic:
    """X with each element zeroed with probability `rate`, and the rest divided by 1 - rate (Srivastava et al. 2014).

    ``over=None`` zeroes the same elements at every step (Gal and Ghahramani 2016). `Template.inference` takes it out.
    Raises ValueError for a rate outside [0, 1).

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 5)
    >>> ops.dropout(x[t], 0.2)
    dropout(x[t], 0.2)
    """
    return x * keep(x, rate, over=over)


def keep(like: Operand, rate: float, *, over: object = ...) -> Symbolic:
    """What `dropout` multiplies with: 0 with probability `rate`, else 1/(1-rate), in the shape of `like`.

    With it zoneout (Krueger et al. 2017) is ``h[t-1] + (1-rate) * keep(n, rate) * (n - h[t-1])``.
    """
    number = real(rate)
    if number is None or not 0 <= number < 1:
        raise ValueError(f"the rate of dropout is a number from 0 up to, and without, 1; got {rate!r}")
    return first_symbol("keep", (like,)).__noise__("mask", (like,), over, number)
