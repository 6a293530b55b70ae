"""Families of distributions: what each is told by, its log-probability, and the op that draws from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..ops.core import Symbolic


@dataclass(frozen=True, slots=True)
class DistributionFamily:
    """A family, in expressions of the language, so that every backend computes it and gradients pass through it.

    parameters  what it is told by
    dtype       the kind of its values
    log_prob    ``(value, *parameters) -> expression``
    draw        ``(*parameters, over=) -> expression``, the op of the same name
    """

    parameters: tuple[str, ...]
    dtype: str
    log_prob: Callable[..., Any]
    draw: Callable[..., Any]


def _categorical(value: Symbolic, logits: Symbolic) -> Symbolic:
    return -ops.cross_entropy(logits, value)


def _bernoulli(value: Symbolic, p: Symbolic) -> Symbolic:
    p = ops.clip(p, 0, 1)  # as the draw takes it
    return ops.log(ops.where(value, p, 1 - p))


def _uniform(value: Symbolic, low: Symbolic, high: Symbolic) -> Symbolic:
    inside = (value >= ops.minimum(low, high)) & (value <= ops.maximum(low, high))
    return ops.where(inside, -ops.log(abs(high - low)), -math.inf)


FAMILIES = {
    "categorical": DistributionFamily(("logits",), "int", _categorical, ops.categorical),
    "bernoulli": DistributionFamily(("p",), "bool", _bernoulli, ops.bernoulli),
    "normal": DistributionFamily(("mean", "std"), "float", ops.normal_log_prob, ops.normal),
    "uniform": DistributionFamily(("low", "high"), "float", _uniform, ops.uniform),
}
"""Of scalars: a variable with a shape has independent elements, given the parameters.

Each takes any parameters that its draw takes, and means the same by them: a probability beyond 0 or 1 is 0 or 1, the
ends of an interval may stand in either order, and a deviation counts by its size. An interval has both of its ends.
"""
