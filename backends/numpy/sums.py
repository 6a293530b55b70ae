"""Sums over many steps or examples, in blocks, since the error of a running sum of float32 numbers grows with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import tuning

Array = Any


def total(values: Array, axis: int | tuple[int, ...], out: Array | None = None) -> Array:
    """As `numpy.sum`, whose rounding error is that of some hundred additions (Higham 1993, pairwise summation).

    Float64 is added as NumPy does: a million numbers cost six of its sixteen digits at most.
    """
    axes = (axis,) if isinstance(axis, int) else axis
    if values.dtype != np.float32 or math.prod(values.shape[a] for a in axes) <= tuning.MAX_RUNNING_SUM:
        return np.sum(values, axis=axis, out=out)
    first, *rest = sorted(a % values.ndim for a in axes)
    while rest and math.prod(values.shape[a] for a in rest) > tuning.SUM_BLOCK:
        last = rest.pop()
        values = np.sum(_short(values, last), axis=last)
    if rest:
        values = _blocks(values, first, tuning.SUM_BLOCK // max(1, math.prod(values.shape[a] for a in rest)), rest)
    return np.sum(_short(values, first), axis=first, out=out)


def _short(values: Array, axis: int) -> Array:
    """Sums of blocks of blocks along an axis, as few as NumPy may add up; the last axis it adds up in pairs itself."""
    while values.shape[axis] > tuning.SUM_BLOCK and not (axis == values.ndim - 1 and values.flags.c_contiguous):
        values = _blocks(values, axis, tuning.SUM_BLOCK)
    return values


def _blocks(values: Array, axis: int, size: int, more: Sequence[int] = ()) -> Array:
    """Sums of blocks of so many along an axis, and of all along later ones; what is left over joins the last block."""
    inside, n = (slice(None),) * axis, values.shape[axis] // size
    if not n:
        return np.sum(values, axis=tuple(more)) if more else values
    whole, left = values[(*inside, slice(n * size))], values[(*inside, slice(n * size, None))]
    shape = (*values.shape[:axis], n, size, *values.shape[axis + 1 :])
    found = np.sum(whole.reshape(shape), axis=(axis + 1, *(a + 1 for a in more)))
    if left.shape[axis]:
        found[(*inside, -1)] += np.sum(left, axis=(axis, *more))
    return found
