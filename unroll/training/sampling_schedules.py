"""How the probability of the truth falls in scheduled sampling (Bengio, Vinyals, Jaitly and Shazeer 2015, section 2.4).

Each is a function of the number of updates done, from 0, and gives a number in [0, 1], a float of Python's, beside
which an array keeps its dtype.
"""

from __future__ import annotations

import math


def linear(update: int, slope: float, start: float = 1.0, least: float = 0.0) -> float:
    """``max(least, start - slope * update)``.

    >>> linear(0, 0.01), linear(50, 0.01), linear(500, 0.01, least=0.1)
    (1.0, 0.5, 0.1)
    """
    return float(min(1.0, max(least, 0.0, start - slope * update)))


def exponential(update: int, base: float) -> float:
    """``base ** update``, for a base in (0, 1). Raises ValueError for another.

    >>> exponential(0, 0.9), exponential(2, 0.5)
    (1.0, 0.25)
    """
    if not 0 < base < 1:
        raise ValueError(f"the base of an exponential decay lies between 0 and 1, got {base!r}")
    return float(base**update)


def inverse_sigmoid(update: int, k: float) -> float:
    """``k / (k + exp(update / k))``, for k >= 1: near 1 at first, one half at about ``k * log(k)``. Raises ValueError.

    >>> round(inverse_sigmoid(0, 10), 2), inverse_sigmoid(10**6, 10)
    (0.91, 0.0)
    """
    if not k >= 1:
        raise ValueError(f"k is at least 1, got {k!r}")
    return float(k / (k + math.exp(update / k))) if update / k < 700 else 0.0
