"""Values of which some are seen: several arrays in one, with where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...types import Array


class SeenPart(NamedTuple):
    """Values seen at some steps: a step or a range of steps along each axis, of one example or (None) of all."""

    steps: tuple[int | slice, ...]
    example: int | None
    values: Array


class Observations(NamedTuple):
    """The values, 0 where none is seen; where they are, element by element; and where some are, and where all."""

    values: Array
    seen: Array
    some: Array
    all: Array


def observations(
    parts: Sequence[SeenPart], steps: Sequence[int], batch: int | None, shape: Sequence[int], dtype: str, floats: str
) -> Observations:
    """The parts in arrays of (steps..., batch, *shape); what is no finite number is not seen.

    batch   None for arrays without that axis
    floats  the dtype of what counts as a number: `some` and `all`
    """
    values = np.zeros((*steps, batch or 1, *shape), dtype)
    seen = np.zeros(values.shape, bool)
    for at, example, given in parts:
        index: tuple[Any, ...] = (*at, slice(None) if example is None else example)
        there = np.isfinite(given)
        values[index], seen[index] = np.where(there, given, 0), there
    inner = tuple(range(len(steps) + 1, values.ndim))
    some, every = (kept.astype(floats) for kept in (seen.any(inner), seen.all(inner)))
    if batch is None:
        return Observations(*(a.squeeze(len(steps)) for a in (values, seen, some, every)))
    return Observations(values, seen, some, every)


def first_seen(array: Array) -> tuple[int, ...] | None:
    """The index of the first element above 0; None where there is none."""
    found = np.argwhere(np.asarray(array) > 0)
    return tuple(map(int, found[0])) if len(found) else None
