"""What a declaration holds besides its form: how a param begins, a constant's array, what fills or bounds an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..types import Array
from .generated_inputs import Automatic, Interval

Kind = Literal["input", "param", "constant", "variable", "temporary", "cotangent"]
"""What a name stands for."""


@dataclass(frozen=True, slots=True)
class Initial:
    """Of a param: what draws its first value, from a `numpy.random.Generator` and a shape."""

    draw: Callable[[Any, tuple[int, ...]], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Of a constant: its array."""

    array: Array


@dataclass(frozen=True, slots=True)
class Open:
    """Of a variable whose shape its first equation tells."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Of a temporary: it is a sum over the examples of the batch, one value for all of them."""


Detail = Initial | Held | Open | Pooled | Automatic | Interval | None
