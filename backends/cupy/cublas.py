"""Products of matrices by cuBLAS through ctypes, on a handle of their own: that is allowed while a stream captures.

It has not run on a device yet.
"""

from __future__ import annotations

import ctypes
from typing import Any
from weakref import finalize

from ...errors import BackendError
from .plan import Matrices, laid

STRICT = 0
"""CUBLAS_DEFAULT_MATH: float32 stays float32."""
WORKSPACE = 32 << 20
"""Bytes; what NVIDIA advises for Hopper."""


class Cublas:
    """One handle, for one stream at a time.

    library   the loaded library
    dtype     "float32" or "float64"
    """

    def __init__(self, library: Any, dtype: str) -> None:
        self.library = library
        self.handle = ctypes.c_void_p()
        self.done("cublasCreate", library.cublasCreate_v2(ctypes.byref(self.handle)))
        finalize(self, library.cublasDestroy_v2, self.handle).atexit = False  # the driver may be gone by then
        self.done("cublasSetMathMode", library.cublasSetMathMode(self.handle, STRICT))
        single = dtype == "float32"
        number = ctypes.c_float if single else ctypes.c_double
        self.multiply = library.cublasSgemmStridedBatched if single else library.cublasDgemmStridedBatched
        self.numbers = number(0), number(1)
        self.item = ctypes.sizeof(number)

    def on(self, stream: int, room: int) -> None:
        """What follows goes to a stream; `room` is the address of `WORKSPACE` bytes that nothing else uses by then."""
        self.done("cublasSetStream", self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)))
        size = ctypes.c_size_t(WORKSPACE)
        work = self.library.cublasSetWorkspace_v2(self.handle, ctypes.c_void_p(room), size)
        self.done("cublasSetWorkspace", work)  # after the stream, which resets it

    @staticmethod
    def done(what: str, status: int) -> None:
        """Raise BackendError for a status other than success."""
        if status:
            raise BackendError(f"{what} of cuBLAS gave status {status}; choose backend='native' to go on without it")

    def __call__(self, call: Matrices, addresses: tuple[int, int, int]) -> None:
        """``out (+)= left @ right``; cuBLAS counts by columns, so that it is given the transposes in reverse order."""
        rows, columns, deep = call.sizes
        left = laid(rows, deep, (call.strides[0], call.strides[1]))
        right = laid(deep, columns, (call.strides[2], call.strides[3]))
        _, leading = laid(rows, columns, (call.strides[4], 1))
        a, b, c = (address + at * self.item for address, at in zip(addresses, call.at, strict=True))
        status = self.multiply(
            self.handle, int(right[0]), int(left[0]), columns, rows, deep, ctypes.byref(self.numbers[1]),
            ctypes.c_void_p(b), max(right[1], 1), ctypes.c_longlong(call.apart[1]),
            ctypes.c_void_p(a), max(left[1], 1), ctypes.c_longlong(call.apart[0]),
            ctypes.byref(self.numbers[call.adds]),
            ctypes.c_void_p(c), max(leading, 1), ctypes.c_longlong(call.apart[2]), call.count,
        )  # fmt: skip
        self.done("a product", status)
