"""Random draws, each a function of numbers that the net hands in from one seed: see `unroll.automatic`.

A draw of a continuous distribution has derivatives by its parameters (the numbers handed in stand still, Kingma and
Welling 2014); a discrete one has none, and asking for a gradient that only flows through one is an error.
Every draw is made anew for each example and for each step of the time axes that its operands run along; ``over=``
names other axes, and ``over=None`` draws once per example.
"""

from __future__ import annotations

from typing import Any

from .core import composite, define, first_symbol
from .errors import DTypeError
from .pointwise import log, stop_gradient
from .reduce import argmax
from .shapes import elementwise

DOC = "x itself, as the parameter of a discrete draw: no derivative passes."
_sampled = define("sampled", elementwise, None, analytic=False, body=stop_gradient, doc=DOC)


def _noise(name: str, kind: str, operands: Any, over: Any, rate: float = 0.0) -> Any:
    return first_symbol(name, operands).__noise__(kind, operands, over, rate)


@composite
def uniform(low: Any, high: Any, *, over: Any = ...) -> Any:
    """A draw from the uniform distribution on [low, high), element by element.

    >>> from unroll import Template, ops, t
    >>> g = Template(); a = g.input("a")
    >>> ops.uniform(-a[t], a[t])
    uniform(-a[t], a[t])
    """
    return low + (high - low) * _noise("uniform", "uniform", (low, high), over)


@composite
def normal(mean: Any, deviation: Any, *, over: Any = ...) -> Any:
    """A draw from the normal distribution of that mean and standard deviation, element by element.

    >>> from unroll import Template, ops, t
    >>> g = Template(); m = g.input("m", 3)
    >>> ops.normal(m[t], 0.1)
    normal(m[t], 0.1)
    """
    return mean + deviation * _noise("normal", "normal", (mean, deviation), over)


@composite
def bernoulli(p: Any, *, over: Any = ...) -> Any:
    """True with probability p, element by element; of kind bool. No derivative passes to p.

    A p below 0 counts as 0, above 1 as 1.

    >>> from unroll import Template, ops, t
    >>> g = Template(); p = g.input("p")
    >>> ops.bernoulli(p[t])
    bernoulli(p[t])
    """
    return _noise("bernoulli", "uniform", (p,), over) < _sampled(p)


@composite
def categorical(logits: Any, temperature: Any = 1.0, *, over: Any = ...) -> Any:
    """A label drawn with the probabilities softmax(logits / temperature); of kind int. No derivative passes to them.

    Shapes: logits (..., n) -> (...). By the largest of the logits plus Gumbel noise (Gumbel 1954). As the temperature
    goes to 0 it becomes `argmax`. Raises ValueError for a number that is no temperature.

    >>> from unroll import Template, ops, t
    >>> g = Template(); o = g.input("o", 5)
    >>> ops.categorical(o[t])
    categorical(o[t])
    """
    if logits.dtype != "float":
        raise DTypeError(f"categorical draws from logits, and these are {logits.dtype}")
    if isinstance(temperature, (int, float)) and not temperature > 0:
        raise ValueError(f"the temperature is a number above 0 (towards 0 a draw is ops.argmax); got {temperature!r}")
    u = _noise("categorical", "uniform", (logits,), over)
    tiny = 1e-30  # a draw of exactly 0 is the smallest, not an infinity
    return argmax(_sampled(logits) / temperature - log(tiny - log(u + tiny)))


@composite
def dropout(x: Any, rate: float, *, over: Any = ...) -> Any:
    """X with each element zeroed with probability `rate`, and the rest divided by 1 - rate (Srivastava et al. 2014).

    ``over=None`` zeroes the same elements at every step (Gal and Ghahramani 2016). `Template.inference` takes it out.
    Raises ValueError for a rate outside [0, 1).

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 5)
    >>> ops.dropout(x[t], 0.2)
    dropout(x[t], 0.2)
    """
    return x * keep(x, rate, over=over)


def keep(like: Any, rate: Any, *, over: Any = ...) -> Any:
    """What `dropout` multiplies with: 0 with probability `rate`, else 1/(1-rate), in the shape of `like`.

    With it zoneout (Krueger et al. 2017) is ``h[t-1] + (1-rate) * keep(n, rate) * (n - h[t-1])``.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise ValueError(f"the rate of dropout is a number from 0 up to, and without, 1; got {rate!r}")
    return _noise("keep", "mask", (like,), over, float(rate))
