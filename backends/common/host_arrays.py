"""Arrays in and out of the backends that compute in host memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.system import Decl
from ...types import Array, Seed
from . import random_inputs

DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "complex128", "int64", "bool")}

CPU, GPU = 1, 2
ON_HOST = (CPU, 3)
"""What DLPack calls devices; 3 is memory of the host that a GPU reads."""


def device_of(value: Array) -> tuple[int, int]:
    """The kind and the number of the device that an array lies on, as DLPack counts them."""
    if type(value) is np.ndarray or not hasattr(value, "__dlpack_device__"):
        return CPU, 0
    kind, number = value.__dlpack_device__()
    return int(kind), int(number)


class NumpyArrays:
    """The array half of a backend."""

    def asarray(self, value: Array, dtype: str | None) -> Array:
        """A C-contiguous NumPy array; `dtype` None keeps the value's own."""
        with np.errstate(under="ignore"):  # what is too small is zero
            return np.asarray(value, dtype=dtype, order="C")

    def fits(self, value: Array, dtype: str) -> bool:
        """True for what `asarray` would return as it is."""
        return type(value) is np.ndarray and value.dtype == DTYPES[dtype] and value.flags.c_contiguous

    def misplaced(self, value: Array, name: str) -> str:
        """Why an array cannot be taken where it lies."""
        kind, number = device_of(value)
        if kind in ON_HOST:
            return ""
        ways = {"cpu": f"{name}.cpu()", "get": f"{name}.get()"}
        copied = next((way for method, way in ways.items() if hasattr(value, method)), f"numpy.asarray({name})")
        where = f"GPU {number}" if kind == GPU else "another device"
        return f"lies on {where}, and this net computes on the CPU: pass {copied}, or compile with backend='cupy'"

    def host(self, array: Array) -> Array:
        """The array itself."""
        return array

    def as_result(self, array: Array) -> Array:
        """The array itself."""
        return array

    def mean(self, array: Array) -> Array:
        """In a third of the time that its own method takes."""
        with np.errstate(all="ignore"):
            return np.add.reduce(array, axis=None) / array.size

    def bounds(self, array: Array) -> tuple[float, float] | None:
        """Smallest and largest element."""
        return array.real.min().item(), array.real.max().item()

    def pad(self, arrays: Sequence[Array], axes: int) -> Array:
        """The arrays as one, side by side along a new axis that stands after the first `axes`."""
        steps = [max(lengths) for lengths in zip(*(a.shape[:axes] for a in arrays), strict=True)]
        padded = np.zeros((*steps, len(arrays), *arrays[0].shape[axes:]), arrays[0].dtype)
        for b, a in enumerate(arrays):
            inside: tuple[Any, ...] = (*map(slice, a.shape[:axes]), b)
            padded[inside] = a
        return padded

    def cut(self, array: Array, axis: int, batch: int, ends: Sequence[int]) -> Array:
        """A copy with zero along `axis` from ``ends[b]`` on, for each b along the axis `batch`."""
        copied = array.copy()
        rest: list[Any] = [slice(None)] * array.ndim
        for b, n in enumerate(ends):
            rest[axis], rest[batch] = slice(n, None), b
            copied[tuple(rest)] = 0
        return copied

    def rows(self, array: Array, batch: int, rows: Sequence[int]) -> Array:
        """A copy of some examples, which may be the same ones, along the axis `batch`."""
        return array.take(rows, axis=batch)

    def key(self, seed: Seed) -> int:
        """A number that stands for a seed."""
        return random_inputs.key(seed)

    def joined(self, parts: Sequence[Array], along: int, batch: int | None, lengths: Array) -> Array:
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
    ) -> Array:
        """The array of an automatic input: see `random_inputs.supply`."""
        return random_inputs.supply(decl, steps, batch, DTYPES[dtype], seed, start, ends)
