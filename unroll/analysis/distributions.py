"""Families of distributions: what each is told by, its log-probability, and how a draw is made from noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import ops


@dataclass(frozen=True, slots=True)
class Family:
    """A family, in expressions of the language, so that every backend computes it and gradients pass through it.

    parameters  what it is told by
    dtype       the kind of its values
    noise       the method of numpy.random.Generator that draws what `draw` takes
    log_prob    ``(value, *parameters) -> expression``
    draw        ``(noise, *parameters) -> expression``
    """

    parameters: tuple[str, ...]
    dtype: str
    noise: str
    log_prob: Callable[..., Any]
    draw: Callable[..., Any]


def _normal(value: Any, mean: Any, std: Any) -> Any:
    return -(((value - mean) / std) ** 2) / 2 - ops.log(std) - math.log(2 * math.pi) / 2


FAMILIES = {
    "categorical": Family(
        ("logits",),
        "int",
        "gumbel",  # the place of the largest of logits + Gumbel noise is distributed as softmax(logits)
        lambda value, logits: -ops.cross_entropy(logits, value),
        lambda noise, logits: ops.argmax(logits + noise),
    ),
    "bernoulli": Family(
        ("p",),
        "bool",
        "logistic",  # lies below log(p / (1 - p)) with probability p, at p = 0 and p = 1 too
        lambda value, p: ops.log(ops.where(value, p, 1 - p)),
        lambda noise, p: noise < ops.log(p) - ops.log(1 - p),
    ),
    "normal": Family(
        ("mean", "std"),
        "float",
        "standard_normal",
        _normal,
        lambda noise, mean, std: mean + std * noise,
    ),
}
"""Of scalars: a variable with a shape has independent elements, given the parameters."""
