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

    def pad(self, arrays: Sequence[Any], axes: int) -> Any:
        """The arrays as one, side by side along a new axis that stands after the first `axes`."""
        steps = [max(lengths) for lengths in zip(*(a.shape[:axes] for a in arrays), strict=True)]
        padded = np.zeros((*steps, len(arrays), *arrays[0].shape[axes:]), arrays[0].dtype)
        for b, a in enumerate(arrays):
            place: list[Any] = [slice(n) for n in a.shape[:axes]]
            padded[(*place, b)] = a
        return padded

    def cut(self, array: Any, axis: int, batch: int, ends: Sequence[int]) -> Any:
        """A copy with zero along `axis` from ``ends[b]`` on, for each b along the axis `batch`."""
        copied = array.copy()
        place: list[Any] = [slice(None)] * array.ndim
        for b, n in enumerate(ends):
            place[axis], place[batch] = slice(n, None), b
            copied[tuple(place)] = 0
        return copied

    def key(self, seed: Any) -> int:
        """A number that stands for a seed."""
        return supply.key(seed)

    def supply(
        self, decl: Decl, steps: Sequence[int], batch: int, dtype: str, seed: int, start: int, ends: Sequence[Any]
    ) -> Any:
        """The array of an automatic input: see `supply.supply`."""
        return supply.supply(decl, steps, batch, DTYPES[dtype], seed, start, ends)
