"""Products of matrices by cuBLAS through ctypes, on a handle of their own: that is allowed while a stream captures.

It has not run on a device yet.
"""

from __future__ import annotations

import ctypes
from threading import RLock
from typing import Any
from weakref import finalize

from ...errors import BackendError
from .plan import ITEM, Matrices, Plan

STRICT = 16
"""CUBLAS_DEFAULT_MATH and CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: no sum is of fewer bits than asked for."""
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
"""CUDA_R_32F and so on, by the dtype of a host."""
IN_32, IN_TF32, IN_64 = 68, 77, 70
"""CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F: what products are added up in."""
ANY = -1
"""CUBLAS_GEMM_DEFAULT."""
CAPTURE = RLock()
"""Held while a stream captures: to destroy a handle waits for the device, which would end the capture."""
WORKSPACE = 32 << 20
"""Bytes; what NVIDIA advises for Hopper."""


class Cublas:
    """One handle, for one stream at a time.

    library   the loaded library
    plan      whose products they are
    """

    def __init__(self, library: Any, plan: Plan) -> None:
        self.library, self.kind = library, plan.kind
        self.handle = ctypes.c_void_p()
        self.done("cublasCreate", library.cublasCreate_v2(ctypes.byref(self.handle)))
        finalize(self, _destroyed, library, self.handle).atexit = False  # the driver may be gone by then
        self.done("cublasSetMathMode", library.cublasSetMathMode(self.handle, STRICT))
        single = plan.dtype == "float32"
        number = ctypes.c_float if single else ctypes.c_double
        self.numbers = number(0), number(1)
        self.compute = (IN_TF32 if plan.precision == "tf32" else IN_32) if single else IN_64

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
        kinds = [self.kind(host) for host in call.hosts]
        types = [TYPES[kind] for kind in kinds]
        a, b, c = (start + at * ITEM[kind] for start, at, kind in zip(addresses, call.at, kinds, strict=True))
        status = self.library.cublasGemmStridedBatchedEx(
            self.handle, int(right[0]), int(left[0]), columns, rows, deep, ctypes.byref(self.numbers[1]),
            ctypes.c_void_p(b), types[1], max(right[1], 1), ctypes.c_longlong(call.apart[1]),
            ctypes.c_void_p(a), types[0], max(left[1], 1), ctypes.c_longlong(call.apart[0]),
            ctypes.byref(self.numbers[call.adds]),
            ctypes.c_void_p(c), types[2], max(leading, 1), ctypes.c_longlong(call.apart[2]), call.count,
            self.compute, ANY,
        )  # fmt: skip
        self.done("a product", status)


def _destroyed(library: Any, handle: Any) -> None:
    with CAPTURE:
        library.cublasDestroy_v2(handle)


def laid(rows: int, columns: int, strides: tuple[int, int]) -> tuple[bool, int]:
    """Whether a matrix lies by columns, and the elements from one of its rows (or columns) to the next."""
    by_row, by_column = strides
    if by_column == 1 or columns == 1:
        return False, by_row if rows > 1 else max(columns, 1)
    return True, by_column
