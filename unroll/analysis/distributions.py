"""Families of distributions: what each is told by, its log-probability, and the op that draws from it."""

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
    log_prob    ``(value, *parameters) -> expression``
    draw        ``(*parameters, over=) -> expression``, the op of the same name
    """

    parameters: tuple[str, ...]
    dtype: str
    log_prob: Callable[..., Any]
    draw: Callable[..., Any]


def _categorical(value: Any, logits: Any, temperature: Any = None) -> Any:
    return -ops.cross_entropy(logits if temperature is None else logits / temperature, value)


def _normal(value: Any, mean: Any, std: Any) -> Any:
    return -(((value - mean) / std) ** 2) / 2 - ops.log(std) - math.log(2 * math.pi) / 2


def _uniform(value: Any, low: Any, high: Any) -> Any:
    return ops.where((value >= low) & (value < high), -ops.log(high - low), -math.inf)


FAMILIES = {
    "categorical": Family(("logits",), "int", _categorical, ops.categorical),
    "bernoulli": Family(("p",), "bool", lambda value, p: ops.log(ops.where(value, p, 1 - p)), ops.bernoulli),
    "normal": Family(("mean", "std"), "float", _normal, ops.normal),
    "uniform": Family(("low", "high"), "float", _uniform, ops.uniform),
}
"""Of scalars: a variable with a shape has independent elements, given the parameters."""
