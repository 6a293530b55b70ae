"""Arrays in and out of the GPU backend: on the device, or on the host as NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...types import Array
from ..common.host_arrays import DTYPES, GPU, NumpyArrays, device_of

MANAGED = 13
"""What DLPack calls memory that moves between host and device by itself."""


class DeviceArrays(NumpyArrays):
    """The array half of a backend on one device.

    cupy       the package
    device     the number of the device
    on_device  whether results stay there
    """

    def __init__(self, cupy: Any, device: int, on_device: bool) -> None:
        self.cupy, self.device, self.on_device = cupy, device, on_device

    def fits(self, value: Array, dtype: str) -> bool:
        """True for an array in one piece, of the host or of this device."""
        if type(value) is self.cupy.ndarray:
            here: bool = value.dtype == DTYPES[dtype] and value.data.device_id == self.device
            return here and value.flags.c_contiguous
        return super().fits(value, dtype)

    def misplaced(self, value: Array, name: str) -> str:
        """Why an array cannot be taken where it lies: on another device."""
        kind, number = device_of(value)
        if kind != GPU or number == self.device:
            return ""
        return (
            f"lies on GPU {number}, and this net computes on GPU {self.device}: "
            f"move {name} there, or compile with device={number}"
        )

    def asarray(self, value: Array, dtype: str | None) -> Array:
        """An array of the host or of the device, wherever the value is."""
        if device_of(value)[0] not in (GPU, MANAGED):
            return super().asarray(value, dtype)
        with self.cupy.cuda.Device(self.device):
            array = value if isinstance(value, self.cupy.ndarray) else self.cupy.from_dlpack(value)
            return self.cupy.asarray(array, dtype=dtype, order="C")

    def bounds(self, array: Array) -> tuple[float, float] | None:
        """None for what is on the device: the host would have to wait for it."""
        return None if isinstance(array, self.cupy.ndarray) else super().bounds(array)

    def mean(self, array: Array) -> Array:
        """Of what is on the device, there."""
        return array.mean() if isinstance(array, self.cupy.ndarray) else super().mean(array)

    def host(self, array: Array) -> Array:
        """A NumPy array."""
        return self.cupy.asnumpy(array)

    def as_result(self, array: Array) -> Array:
        """The array where results are."""
        if not self.on_device:
            return array
        with self.cupy.cuda.Device(self.device):
            return self.cupy.asarray(array)

    def rows(self, array: Array, batch: int, rows: Sequence[int]) -> Array:
        """A copy of some examples, where they lie."""
        return self._gathered(lambda arrays: super(DeviceArrays, self).rows(arrays[0], batch, rows), [array])

    def pad(self, arrays: Sequence[Array], axes: int) -> Array:
        """The arrays as one; on the device where one of them is."""
        return self._gathered(super().pad, arrays, axes)

    def joined(self, parts: Sequence[Array], along: int, batch: int | None, lengths: Array) -> Array:
        """The parts as one; on the device where one of them is."""
        return self._gathered(super().joined, parts, along, batch, lengths)

    def _gathered(self, how: Any, arrays: Sequence[Array], *rest: Any) -> Array:
        """By way of the host: a few small copies would cost as much."""
        whole = how([self.host(a) for a in arrays], *rest)
        if not any(isinstance(a, self.cupy.ndarray) for a in arrays):
            return whole
        with self.cupy.cuda.Device(self.device):
            return self.cupy.asarray(whole)
