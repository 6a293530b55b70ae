"""Arrays in and out of the GPU backend: on the device, or on the host as NumPy's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..numpy.arrays import DTYPES, GPU, NumpyArrays, place
from .copies import MANY, THREADS, text

MANAGED = 13
"""What DLPack calls memory that moves between host and device by itself."""
STRUCT = np.dtype([("at", np.uint64, (MANY,))])
"""An argument of several numbers: CuPy hands over by value what is a NumPy array of one element."""
ROUNDS = 8
"""Elements that a thread of `average` takes, as long as there are few enough blocks."""
BLOCKS = 4096


class DeviceArrays(NumpyArrays):
    """The array half of a backend on one device.

    cupy       the package
    device     the number of the device
    on_device  whether results stay there
    """

    def __init__(self, cupy: Any, device: int, on_device: bool) -> None:
        self.cupy, self.device, self.on_device = cupy, device, on_device
        self._average: dict[str, Any] = {}

    def fits(self, value: Any, dtype: str) -> bool:
        """True for an array in one piece, of the host or of this device."""
        if type(value) is self.cupy.ndarray:
            here: bool = value.dtype == DTYPES[dtype] and value.data.device_id == self.device
            return here and value.flags.c_contiguous
        return super().fits(value, dtype)

    def misplaced(self, value: Any, name: str) -> str:
        """Why an array cannot be taken where it lies: on another device."""
        kind, number = place(value)
        if kind != GPU or number == self.device:
            return ""
        return (
            f"lies on GPU {number}, and this net computes on GPU {self.device}: "
            f"move {name} there, or compile with device={number}"
        )

    def asarray(self, value: Any, dtype: str | None) -> Any:
        """An array of the host or of the device, wherever the value is."""
        if place(value)[0] not in (GPU, MANAGED):
            return super().asarray(value, dtype)
        with self.cupy.cuda.Device(self.device):
            array = value if isinstance(value, self.cupy.ndarray) else self.cupy.from_dlpack(value)
            return self.cupy.asarray(array, dtype=dtype, order="C")

    def bounds(self, array: Any) -> tuple[float, float] | None:
        """None for what is on the device: the host would have to wait for it."""
        return None if isinstance(array, self.cupy.ndarray) else super().bounds(array)

    def host(self, array: Any) -> Any:
        """A NumPy array."""
        return self.cupy.asnumpy(array)

    def placed(self, array: Any) -> Any:
        """The array where results are."""
        if not self.on_device:
            return array
        with self.cupy.cuda.Device(self.device):
            return self.cupy.asarray(array)

    def pad(self, arrays: Sequence[Any], axes: int) -> Any:
        """The arrays as one; on the device where one of them is."""
        return self._gathered(super().pad, arrays, axes)

    def joined(self, parts: Sequence[Any], along: int, batch: int | None, lengths: Any) -> Any:
        """The parts as one; on the device where one of them is."""
        return self._gathered(super().joined, parts, along, batch, lengths)

    def _gathered(self, how: Any, arrays: Sequence[Any], *rest: Any) -> Any:
        """By way of the host: a few small copies would cost as much."""
        whole = how([self.host(a) for a in arrays], *rest)
        if not any(isinstance(a, self.cupy.ndarray) for a in arrays):
            return whole
        with self.cupy.cuda.Device(self.device):
            return self.cupy.asarray(whole)

    def average(self, each: Any, grads: Mapping[Any, Any], batch: int) -> tuple[Any, dict[Any, Any]]:
        """On the device one launch for all, in place: they are results, which nobody else has seen."""
        if not isinstance(each, self.cupy.ndarray):
            return super().average(each, grads, batch)
        with self.cupy.cuda.Device(self.device):
            mean = self.cupy.empty((), each.dtype)
            arrays = list(grads.values())
            for start in range(0, max(len(arrays), 1), MANY):
                some = arrays[start : start + MANY]
                at, sizes = np.zeros((2, MANY), np.uint64)
                at[: len(some)] = [a.data.ptr for a in some]
                sizes[: len(some)] = found = [a.size for a in some]
                parts = max(min(BLOCKS // MANY, -(-max(found, default=1) // (THREADS * ROUNDS))), 1)
                numbers = np.int64(len(some)), np.int64(parts), each, mean, np.int64(batch)
                kernel = self._kernel(each.dtype.name)
                kernel((len(some) * parts + 1,), (THREADS,), (at.view(STRUCT), sizes.view(STRUCT), *numbers))
        return mean, dict(grads)

    def _kernel(self, dtype: str) -> Any:
        if dtype not in self._average:
            module = self.cupy.RawModule(code=text(dtype), options=("--std=c++17",))
            self._average[dtype] = module.get_function("average")
        return self._average[dtype]
