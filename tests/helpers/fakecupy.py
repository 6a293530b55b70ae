"""A stand-in for the part of CuPy that `backends/cupy/launch.py` uses: arrays, kernels, products; for tests only.

Kernels are compiled by g++ (`emulator.py`), and run when the streams of `fakecuda.py` come to them.
"""

from __future__ import annotations

import ctypes
from functools import cache, wraps
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from unroll.backends.cupy import tuning

from . import emulator, fakecuda
from .fakecuda import (
    CompileException,
    CUDADriverError,
    CUDARuntimeError,
    Device,
    Event,
    Graph,
    Memory,
    MemoryPointer,
    MemoryPool,
    OutOfMemoryError,
    PinnedMemoryPointer,
    Stream,
    alloc,
    alloc_pinned_memory,
    get_current_stream,
    get_default_memory_pool,
    memcpyAsync,
    memsetAsync,
    stream_at,
)

compiled = cache(emulator.compiled)


class ndarray(NDArrayOperatorsMixin):
    """An array on the device; what computes with it waits for the current stream, and no other."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"):
        kind = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        self.data = memptr if memptr is not None else alloc(size)
        raw = (ctypes.c_char * max(size, 1)).from_address(self.data.ptr)
        self.seen = np.ndarray(shape, kind, raw) if strides is None else np.ndarray(shape, kind, raw, 0, strides)

    def _of(self, seen: Any) -> ndarray:
        made = ndarray.__new__(ndarray)
        made.seen = seen
        made.data = self.data + (seen.__array_interface__["data"][0] - self.seen.__array_interface__["data"][0])
        return made

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "strides", "size", "ndim", "nbytes", "itemsize", "flags"):
            return getattr(self.__dict__["seen"], name)
        raise AttributeError(name)

    @property
    def device(self) -> Device:
        return Device(self.data.device_id)

    def reshape(self, *shape: Any) -> ndarray:
        return self._of(self.seen.reshape(*shape))

    def transpose(self, *axes: Any) -> ndarray:
        return self._of(self.seen.transpose(*axes))

    def view(self, dtype: Any) -> ndarray:
        return self._of(self.seen.view(dtype))

    def __getitem__(self, place: Any) -> ndarray:
        return self._of(self.seen[place if isinstance(place, tuple) and ... in place else (*_tuple(place), ...)])

    def __setitem__(self, place: Any, value: Any) -> None:
        self._ready("setitem")
        self.seen[place] = value.seen if isinstance(value, ndarray) else value

    def _ready(self, what: str) -> None:
        fakecuda.WORLD.note(what)
        stream = get_current_stream()
        stream.refuse(what)
        stream.drain(stream.issued)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        fakecuda.WORLD.note("get")
        stream = stream or get_current_stream()
        stream.refuse("a synchronous copy")
        stream.drain(stream.issued)
        return np.array(self.seen)

    def copy(self, order: str = "C") -> ndarray:
        self._ready("copy")
        return made(np.array(self.seen))

    def fill(self, value: Any) -> None:
        self._ready("fill")
        self.seen.fill(value)

    def mean(self) -> ndarray:
        self._ready("mean")
        return made(np.asarray(self.seen.mean()))

    def sum(self) -> ndarray:
        self._ready("sum")
        return made(np.asarray(self.seen.sum()))

    def __len__(self) -> int:
        return len(self.seen)

    def __float__(self) -> float:
        return float(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, np.ndarray) for x in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        self._ready("ufunc")
        return made(np.asarray(getattr(ufunc, method)(*(x.seen if isinstance(x, ndarray) else x for x in inputs))))

    def __dlpack__(self, *, stream: Any = None, **_: Any) -> Any:
        return self

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.data.device_id


def _tuple(place: Any) -> tuple[Any, ...]:
    return place if isinstance(place, tuple) else (place,)


def made(array: Any) -> ndarray:
    """An array on the device, as a kernel of CuPy's own would make it."""
    found = ndarray(array.shape, array.dtype)
    found.seen[...] = array
    return found


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    fakecuda.WORLD.note("empty")
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return made(np.zeros(shape, dtype))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    get_current_stream().refuse("a synchronous copy")
    fakecuda.WORLD.note("asarray")
    if isinstance(a, ndarray):
        same = (dtype is None or a.dtype == dtype) and (order != "C" or a.flags.c_contiguous)
        return a if same else made(np.array(a.get(), dtype, order="C"))
    given = np.array(a, dtype, order="C")
    found = ndarray(given.shape, given.dtype)
    get_current_stream().add(lambda: found.seen.__setitem__(..., given))
    return found


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(a, dtype, "C")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    return a.get(stream) if isinstance(a, ndarray) else np.asarray(a)


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    found: ndarray = array.__dlpack__(stream=get_current_stream().ptr)
    return found


# -- kernels and products ------------------------------------------------------------------------------------------


class RawModule:
    """CUDA text, compiled when a kernel is asked for."""

    def __init__(
        self, code: Any = None, *, path: Any = None, options: Any = (), backend: str = "nvrtc", **_: Any
    ) -> None:
        self.code, self.options = code, tuple(x for x in options if x.startswith("-D"))

    def get_function(self, name: str) -> RawKernel:
        fakecuda.WORLD.note("compile")
        return RawKernel(self.code, name, compiled(self.code, self.options), bool(self.options))


class Function:
    """A kernel as the driver has it."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class RawKernel:
    """One kernel; its arguments are read when it is called."""

    def __init__(self, code: str, name: str, library: Any, wide: bool) -> None:
        self.code, self.name, self.library, self.wide = code, name, library, wide
        self._shared = 48 * 1024
        fakecuda.WORLD.kernels[id(self)] = self

    @property
    def kernel(self) -> Function:
        return Function(id(self))

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if size > fakecuda.WORLD.room:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._shared = size

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0) -> None:
        fakecuda.WORLD.note("launch")
        held = [_argument(a) for a in args]
        if not fakecuda.WORLD.idle:
            assert 0 < grid[0] < 2**31
            assert len(grid) == len(block) == 1
            run = emulator.launch
            get_current_stream().add(lambda: run(self.library, self.code, self.name, grid[0], block[0], held))


def _argument(x: Any) -> Any:
    if x is None:
        return ctypes.c_void_p(0)
    if isinstance(x, ndarray):
        return ctypes.c_void_p(x.data.ptr)
    if isinstance(x, MemoryPointer):
        return ctypes.c_void_p(x.ptr)
    if isinstance(x, np.ndarray) and x.size != 1:
        raise TypeError(f"You are trying to pass a numpy.ndarray of shape {x.shape} as a kernel parameter.")
    if not isinstance(x, np.ndarray | np.generic | int | float):
        raise TypeError(f"Unsupported type {type(x)}")
    raw = np.asarray(x).tobytes()
    return (ctypes.c_char * len(raw)).from_buffer_copy(raw)


def occupancyMaxActiveBlocksPerMultiprocessor(func: int, blockSize: int, dynamicSMemSize: int) -> int:
    fits = dynamicSMemSize <= fakecuda.WORLD.kernels[func].max_dynamic_shared_size_bytes
    return fakecuda.WORLD.resident if fits else 0


def launchCooperativeKernel(
    f: int, grid_dim_x: int, grid_dim_y: int, grid_dim_z: int, block_dim_x: int, block_dim_y: int, block_dim_z: int,
    shared_mem_bytes: int, stream: int, kernel_params: int,
) -> None:  # fmt: skip
    """All blocks at once; the arguments are read here, each as long as the kernel declares it."""
    fakecuda.WORLD.note("launchCooperativeKernel")
    kernel, on = fakecuda.WORLD.kernels[f], stream_at(stream)
    assert (grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z) == (1, 1, tuning.THREADS_PER_BLOCK, 1, 1)
    if not fakecuda.WORLD.processors:
        raise CUDADriverError("CUDA_ERROR_NOT_SUPPORTED: operation not supported")
    if shared_mem_bytes > kernel.max_dynamic_shared_size_bytes:
        raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    if grid_dim_x > fakecuda.WORLD.processors * fakecuda.WORLD.resident:
        raise CUDADriverError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: too many blocks in cooperative launch")
    if fakecuda.WORLD.refuses and on.captured is not None:
        on.invalid = True
        raise CUDADriverError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: operation not permitted when stream is capturing")
    sizes = [
        8 if "*" in kind or (kernel.wide and "index_t" in kind) else 4
        for kind in emulator.parameters(kernel.code)[kernel.name]
    ]
    given = ctypes.cast(kernel_params, ctypes.POINTER(ctypes.c_void_p))
    held = [ctypes.create_string_buffer(ctypes.string_at(given[n], size), 8) for n, size in enumerate(sizes)]
    table = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))

    def run(held: Any = held) -> None:
        emulator.at_once(kernel.library, kernel.name, grid_dim_x, shared_mem_bytes, table, int(fakecuda.WORLD.absent))

    if not fakecuda.WORLD.idle:
        on.add(run)


class Blas:
    """cuBLAS: its products are issued to the stream that was set."""

    def __init__(self) -> None:
        self.stream = 0
        self.own = emulator.Blas()

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self.own, name)

        @wraps(inner)
        def call(*args: Any) -> int:
            fakecuda.WORLD.note("cublas")
            if name == "cublasSetStream_v2":
                self.stream = args[1].value or 0
            if "gemm" in name.lower():
                stream_at(self.stream).add(lambda: inner(*args) and None)
                return 0
            return inner(*args)  # type: ignore[no-any-return]

        return call


def getDeviceCount() -> int:
    fakecuda.WORLD.note("getDeviceCount")
    return fakecuda.WORLD.devices


def memGetInfo() -> tuple[int, int]:
    fakecuda.WORLD.note("memGetInfo")
    return fakecuda.WORLD.memory - fakecuda.WORLD.allocated, fakecuda.WORLD.memory


def getDeviceProperties(device: int) -> dict[str, Any]:
    return {
        "name": b"Stand-in",
        "totalGlobalMem": fakecuda.WORLD.memory,
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 132,
    }


def deviceGetAttribute(attrib: int, device: int) -> int:
    return {95: int(fakecuda.WORLD.processors > 0), 16: fakecuda.WORLD.processors, 97: fakecuda.WORLD.room}[attrib]


def module() -> Any:
    """The package."""
    cupy: Any = ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)
    for thing in (ndarray, empty, zeros, asarray, ascontiguousarray, asnumpy, from_dlpack, RawModule, RawKernel):
        setattr(cupy, thing.__name__, thing)
    cupy.uint32, cupy.dtype = np.uint32, np.dtype
    cupy.get_default_memory_pool = get_default_memory_pool
    cuda = cupy.cuda = ModuleType("cupy.cuda")
    for thing in (Stream, Event, Graph, Device, Memory, MemoryPointer, MemoryPool, PinnedMemoryPointer, Function):
        setattr(cuda, thing.__name__, thing)
    cuda.get_current_stream, cuda.alloc, cuda.alloc_pinned_memory = get_current_stream, alloc, alloc_pinned_memory
    cuda.runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=getDeviceCount, memGetInfo=memGetInfo,
        deviceGetAttribute=deviceGetAttribute, cudaDevAttrCooperativeLaunch=95,
        cudaDevAttrMultiProcessorCount=16, cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
        memcpyAsync=memcpyAsync, memsetAsync=memsetAsync,
        getDeviceProperties=getDeviceProperties, memcpyHostToDevice=1, memcpyDeviceToHost=2,
        driverGetVersion=lambda: 12040, runtimeGetVersion=lambda: 12090,
    )  # fmt: skip
    cuda.driver = SimpleNamespace(
        CUDADriverError=CUDADriverError, launchCooperativeKernel=launchCooperativeKernel,
        occupancyMaxActiveBlocksPerMultiprocessor=occupancyMaxActiveBlocksPerMultiprocessor,
    )  # fmt: skip
    cuda.compiler = SimpleNamespace(CompileException=CompileException)
    cuda.memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    return cupy
