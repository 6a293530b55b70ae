"""Arrays in and out of the backends that compute with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "complex128", "int64", "bool")}


class NumpyArrays:
    """The array half of a backend."""

    def asarray(self, value: Any, dtype: str | None) -> Any:
        """A C-contiguous NumPy array; `dtype` None keeps the value's own."""
        return np.asarray(value, dtype=dtype, order="C")

    def fits(self, value: Any, dtype: str) -> bool:
        """True for what `asarray` would return as it is."""
        return type(value) is np.ndarray and value.dtype == DTYPES[dtype] and value.flags.c_contiguous

    def bounds(self, array: Any) -> tuple[int, int]:
        """Smallest and largest element."""
        return int(array.min()), int(array.max())
