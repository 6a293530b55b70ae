"""Arrays in and out of the backends that compute with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np


class NumpyArrays:
    """The array half of a backend."""

    def asarray(self, value: Any, dtype: str | None) -> Any:
        """A C-contiguous NumPy array; `dtype` None keeps the value's own."""
        return np.asarray(value, dtype=dtype, order="C")

    def bounds(self, array: Any) -> tuple[int, int]:
        """Smallest and largest element."""
        return int(array.min()), int(array.max())
