"""Arrays in and out of the backends that compute with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Decl
from . import supply

DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "complex128", "int64", "bool")}


class NumpyArrays:
    """The array half of a backend."""

    def asarray(self, value: Any, dtype: str | None) -> Any:
        """A C-contiguous NumPy array; `dtype` None keeps the value's own."""
        return np.asarray(value, dtype=dtype, order="C")

    def fits(self, value: Any, dtype: str) -> bool:
        """True for what `asarray` would return as it is."""
        return type(value) is np.ndarray and value.dtype == DTYPES[dtype] and value.flags.c_contiguous

    def bounds(self, array: Any) -> tuple[float, float]:
        """Smallest and largest element."""
        return array.real.min().item(), array.real.max().item()

    def key(self, seed: Any) -> int:
        """A number that stands for a seed."""
        return supply.key(seed)

    def joined(self, parts: Sequence[Any], along: int, batch: int | None, lengths: Any) -> Any:
        """Arrays one after another along an axis, cut behind the longest of `lengths`, zero beyond each."""
        steps = int(lengths.max())
        before = (slice(None),) * along
        whole = np.concatenate(parts, axis=along)[(*before, slice(steps))].copy()
        if batch is not None:
            beyond = np.arange(steps)[:, None] >= lengths
            np.moveaxis(whole, (along, batch), (0, 1))[beyond] = 0
        return whole

    def supply(
        self, decl: Decl, steps: Sequence[int], batch: int, dtype: str, seed: int, start: int, ends: Sequence[Any]
    ) -> Any:
        """The array of an automatic input: see `supply.supply`."""
        return supply.supply(decl, steps, batch, DTYPES[dtype], seed, start, ends)
