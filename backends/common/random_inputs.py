"""Generated inputs as arrays: counter-based random numbers, masks of lengths and of chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArrayError
from ...ir.generated_inputs import Crossing, Every, Noise, Within
from ...ir.system import Decl
from ...ops.integers import integer
from ...types import Array, Seed

BLOCK = 4  # numbers per counter of Philox


def key(seed: Seed) -> int:
    """A number that stands for a seed: an int from 0 up, or the next number of a Generator. Raises ArrayError."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    number = integer(seed)
    if number is None or number < 0:
        raise ArrayError(f"seed= takes an integer from 0 up or a numpy.random.Generator, got {seed!r}")
    return number


def supply(
    decl: Decl, steps: Sequence[int], batch: int, dtype: Any, seed: int, start: int, ends: Sequence[Any]
) -> Array:
    """The array of an automatic input, ``(*steps, batch, *shape)``.

    seed   the number from which every draw follows, with the input's stream and the step
    start  steps that went before the first one here: draws at a step do not depend on where a run was cut
    ends   of a mask the number of steps of each example, one array for each axis
    """
    detail = decl.detail
    if isinstance(detail, Noise):
        return _noise(detail, detail.stream, (*steps, batch, *decl.shape), dtype, seed, start)
    if isinstance(detail, Within):
        return np.arange(start + 1, start + steps[0] + 1)[:, None] <= np.asarray(ends[0])
    if isinstance(detail, Crossing | Every):
        number, last = np.arange(start + 1, start + steps[0] + 1), start + steps[0]
        if not decl.batched:
            return detail.at(number, last)
        return detail.at(number[:, None], np.asarray(ends[0]))  # each example has a last step of its own
    raise TypeError(f"{decl.name} is not filled by the net")


def _noise(detail: Noise, stream: str, shape: tuple[int, ...], dtype: Any, seed: int, start: int) -> Array:
    """Philox (Salmon et al. 2011), keyed by the seed and the stream, its counter running with the step."""
    words = np.random.SeedSequence([seed, *stream.encode()]).generate_state(2, np.uint64)
    source = np.random.Philox(key=words)
    pair = detail.kind == "normal"
    size = math.prod(shape[1:])
    row = -(-size * (1 + pair) // BLOCK) * BLOCK
    source.advance(start * row // BLOCK)
    drawn = np.random.Generator(source).random((shape[0], row))
    kind = np.dtype(dtype)
    if kind == np.float32:  # rounding to the nearest could give 1
        drawn = np.floor(drawn * 2**24) / 2**24
    u = drawn[:, :size]
    if pair:  # Box and Muller (1958): a fixed count of numbers for each draw
        u = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * drawn[:, size : 2 * size])
    elif detail.kind == "mask":
        u = (u >= detail.rate) / (1 - detail.rate)
    return u.reshape(shape).astype(kind)
