"""A stand-in for the part of CuPy that `backends/cupy/launch.py` uses, on NumPy memory; for tests only.

Kernels are compiled by g++ (`emulator.py`). Streams are queues, and nothing runs before somebody waits for it: work
that lacks a dependency finds stale memory. A stream that captures records calls, and refuses what CuPy refuses.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from unroll.backends.cupy.grid import THREADS

from . import emulator

compiled = cache(emulator.compiled)
LOCK = threading.RLock()


class CUDARuntimeError(RuntimeError):
    """What the runtime says."""


class CUDADriverError(RuntimeError):
    """What the driver says."""


class CompileException(Exception):
    """What NVRTC says."""


class OutOfMemoryError(MemoryError):
    """What the pool says."""


class World:
    """The machine: its devices, its memory, what was called, and what is to fail.

    fails       by the name of a call, exceptions that the next calls raise, None for one that passes
    idle        launches cost nothing and do nothing
    early       every stream but the null one runs what it is given at once: late is not the only wrong time
    processors  of a device, up to 8; 0 where it takes no cooperative launches
    room        bytes of memory that a block shares, at most
    resident    blocks of a kernel that a processor has room for
    refuses     the driver takes no cooperative launch into a capture
    absent      the last block of a cooperative launch never arrives
    """

    def __init__(self, devices: int = 2, memory: int = 2**32) -> None:
        self.devices, self.memory, self.allocated = devices, memory, 0
        self.calls: Counter[str] = Counter()
        self.fails: dict[str, list[Exception | None]] = {}
        self.idle = self.early = self.refuses = self.absent = False
        self.processors, self.room, self.resident = 0, 227 * 1024, 1
        self.local = threading.local()
        self.streams: list[Stream] = []
        self.kernels: WeakValueDictionary[int, RawKernel] = WeakValueDictionary()

    def note(self, name: str) -> None:
        """A call."""
        self.calls[name] += 1
        if (waiting := self.fails.get(name)) and (error := waiting.pop(0)):
            raise error

    @property
    def device(self) -> int:
        """The current device of this thread."""
        return getattr(self.local, "device", 0)

    def stack(self) -> list[Stream]:
        """The current streams of this thread on its device."""
        stacks = self.local.__dict__.setdefault("stacks", {})
        return stacks.setdefault(self.device, [Stream.null])  # type: ignore[no-any-return]

    def wait(self) -> None:
        """All streams."""
        for stream in list(self.streams):
            stream.drain(stream.issued)


WORLD = World()


class Stream:
    """A queue of calls."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None):
        WORLD.note("Stream")
        self.ptr = 0 if null else id(self)
        self.device_id = -1 if null else WORLD.device
        self.queue: list[Callable[[], None]] = []
        self.issued = self.ran = 0
        self.captured: list[Callable[[], None]] | None = None
        self.invalid = False
        WORLD.streams.append(self)

    def __enter__(self) -> Stream:
        if self.device_id not in (-1, WORLD.device):
            raise RuntimeError("The device that the stream is created on does not match with the current device")
        WORLD.stack().append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        WORLD.stack().pop()

    def add(self, call: Callable[[], None]) -> None:
        """Issue a call."""
        with LOCK:
            if self.captured is not None:
                self.captured.append(call)
            else:
                self.queue.append(call)
                self.issued += 1
                if WORLD.early and self.ptr:
                    self.drain(self.issued)

    def drain(self, until: int) -> None:
        """Run what was issued up to a place."""
        with LOCK:
            while self.ran < until:
                self.ran += 1
                self.queue.pop(0)()

    def refuse(self, what: str) -> None:
        """Raise while capturing."""
        if self.captured is not None:
            raise RuntimeError(f"the current stream is capturing, so {what} is not allowed")

    def synchronize(self) -> None:
        WORLD.note("synchronize")
        if self.captured is not None:
            self.invalid = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
            )
        self.drain(self.issued)

    def record(self, event: Any = None) -> Any:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        WORLD.note("wait_event")
        stream, place = event.mark
        if stream is not None:
            self.add(lambda: stream.drain(place))

    def begin_capture(self, mode: Any = None) -> None:
        WORLD.note("begin_capture")
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.captured is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        self.captured, self.invalid = [], False

    def end_capture(self) -> Any:
        if self.captured is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        calls, self.captured = self.captured, None
        WORLD.note("end_capture")
        if self.invalid:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error")
        return _graph(calls)

    def is_capturing(self) -> bool:
        return self.captured is not None


class Graph:
    """Calls to be issued again; made by a capture alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("currently this class cannot be initiated by the user")

    def launch(self, stream: Any = None) -> None:
        WORLD.note("graph")
        if not WORLD.idle:
            for call in self.recorded:
                (stream or get_current_stream()).add(call)

    def upload(self, stream: Any = None) -> None:
        return

    recorded: list[Callable[[], None]]


def _graph(calls: list[Callable[[], None]]) -> Graph:
    graph = Graph.__new__(Graph)
    graph.recorded = calls
    return graph


class Event:
    """A place in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        WORLD.note("Event")
        self.mark: tuple[Stream | None, int] = None, 0

    def record(self, stream: Any = None) -> None:
        WORLD.note("record")
        stream = stream or get_current_stream()
        if stream.captured is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: an event of a capture")
        self.mark = stream, stream.issued

    def synchronize(self) -> None:
        WORLD.note("event.synchronize")
        stream, place = self.mark
        if stream is not None:
            stream.drain(place)

    @property
    def done(self) -> bool:
        stream, place = self.mark
        return stream is None or stream.ran >= place


def get_current_stream(device_id: int = -1) -> Stream:
    return WORLD.stack()[-1]


class Device:
    """Chooses a device."""

    def __init__(self, device: Any = None) -> None:
        self.id = WORLD.device if device is None else int(device)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        if not 0 <= self.id < WORLD.devices:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before.append(WORLD.device)
        WORLD.local.device = self.id
        return self

    def __exit__(self, *_: Any) -> None:
        WORLD.local.device = self._before.pop()

    def use(self) -> Device:
        WORLD.local.device = self.id
        return self

    def synchronize(self) -> None:
        WORLD.note("synchronize")
        WORLD.wait()

    compute_capability = "90"


# -- memory --------------------------------------------------------------------------------------------------------


class Memory:
    """Bytes of the device, full of ones, which is nan and no index; to free them waits for the device."""

    def __init__(self, size: int) -> None:
        self.size, self.ptr, self.device_id, self.world = size, 0, WORLD.device, WORLD
        get_current_stream().refuse("an allocation")
        WORLD.note("malloc")
        if WORLD.allocated + size > WORLD.memory:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        WORLD.allocated += size
        self.held = np.full(size + 256, 255, np.uint8)
        self.ptr = self.held.ctypes.data + -self.held.ctypes.data % 256

    def __del__(self) -> None:
        if self.ptr:
            self.world.wait()
            self.held.fill(255)
            self.world.allocated -= self.size


class PooledMemory:
    """A block that goes back to the pool at once, to be handed on to the stream that it was for."""

    def __init__(self, block: Memory, pool: MemoryPool, key: tuple[int, int]) -> None:
        self.block, self.pool, self.key = block, pool, key
        self.ptr, self.size, self.device_id = block.ptr, block.size, block.device_id

    def __del__(self) -> None:
        self.pool.free.setdefault(self.key, []).append(self.block)


class MemoryPool:
    """Blocks by stream and size."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, int], list[Memory]] = {}

    def malloc(self, size: int) -> MemoryPointer:
        get_current_stream().refuse("an allocation")
        WORLD.note("alloc")
        key = get_current_stream().ptr, -(-max(size, 1) // 512) * 512
        if waiting := self.free.get(key):
            return MemoryPointer(PooledMemory(waiting.pop(), self, key), 0)
        try:
            block = Memory(key[1])
        except CUDARuntimeError:
            self.free_all_blocks()
            try:
                block = Memory(key[1])
            except CUDARuntimeError:
                raise OutOfMemoryError(f"Out of memory allocating {size} bytes (allocated so far: 0 bytes).") from None
        return MemoryPointer(PooledMemory(block, self, key), 0)

    def free_bytes(self) -> int:
        return sum(block.size for blocks in self.free.values() for block in blocks)

    def free_all_blocks(self, stream: Any = None) -> None:
        self.free.clear()


POOL = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    return POOL


def alloc(size: int) -> MemoryPointer:
    return POOL.malloc(size)


class MemoryPointer:
    """A place in memory."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, mem.device_id

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)


class PinnedMemoryPointer(np.ndarray):
    """Memory of the host, as a buffer."""

    @property
    def ptr(self) -> int:
        return int(self.ctypes.data)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    WORLD.note("pinned")
    return np.full(size, 255, np.uint8).view(PinnedMemoryPointer)


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    WORLD.note("memcpyAsync")
    if not WORLD.idle:
        _stream(stream).add(lambda: ctypes.memmove(dst, src, size) and None)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    WORLD.note("memsetAsync")
    if not WORLD.idle:
        _stream(stream).add(lambda: ctypes.memset(ptr, value, size) and None)


def _stream(ptr: int) -> Stream:
    return next(s for s in reversed(WORLD.streams) if s.ptr == ptr)


# -- arrays --------------------------------------------------------------------------------------------------------


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
        WORLD.note(what)
        stream = get_current_stream()
        stream.refuse(what)
        stream.drain(stream.issued)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        WORLD.note("get")
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
    WORLD.note("empty")
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return made(np.zeros(shape, dtype))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    get_current_stream().refuse("a synchronous copy")
    WORLD.note("asarray")
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
        WORLD.note("compile")
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
        WORLD.kernels[id(self)] = self

    @property
    def kernel(self) -> Function:
        return Function(id(self))

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if size > WORLD.room:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._shared = size

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0) -> None:
        WORLD.note("launch")
        held = [_argument(a) for a in args]
        if not WORLD.idle:
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
    return WORLD.resident if dynamicSMemSize <= WORLD.kernels[func].max_dynamic_shared_size_bytes else 0


def launchCooperativeKernel(
    f: int, grid_dim_x: int, grid_dim_y: int, grid_dim_z: int, block_dim_x: int, block_dim_y: int, block_dim_z: int,
    shared_mem_bytes: int, stream: int, kernel_params: int,
) -> None:  # fmt: skip
    """All blocks at once; the arguments are read here, each as long as the kernel declares it."""
    WORLD.note("launchCooperativeKernel")
    kernel, on = WORLD.kernels[f], _stream(stream)
    assert (grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z) == (1, 1, THREADS, 1, 1)
    if not WORLD.processors:
        raise CUDADriverError("CUDA_ERROR_NOT_SUPPORTED: operation not supported")
    if shared_mem_bytes > kernel.max_dynamic_shared_size_bytes:
        raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    if grid_dim_x > WORLD.processors * WORLD.resident:
        raise CUDADriverError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: too many blocks in cooperative launch")
    if WORLD.refuses and on.captured is not None:
        on.invalid = True
        raise CUDADriverError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: operation not permitted when stream is capturing")
    sizes = [
        8 if "*" in kind or (kernel.wide and "place" in kind) else 4
        for kind in emulator.parameters(kernel.code)[kernel.name]
    ]
    given = ctypes.cast(kernel_params, ctypes.POINTER(ctypes.c_void_p))
    held = [ctypes.create_string_buffer(ctypes.string_at(given[n], size), 8) for n, size in enumerate(sizes)]
    table = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))

    def run(held: Any = held) -> None:
        emulator.at_once(kernel.library, kernel.name, grid_dim_x, shared_mem_bytes, table, int(WORLD.absent))

    if not WORLD.idle:
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
            WORLD.note("cublas")
            if name == "cublasSetStream_v2":
                self.stream = args[1].value or 0
            if "gemm" in name.lower():
                _stream(self.stream).add(lambda: inner(*args) and None)
                return 0
            return inner(*args)  # type: ignore[no-any-return]

        return call


def getDeviceCount() -> int:
    WORLD.note("getDeviceCount")
    return WORLD.devices


def memGetInfo() -> tuple[int, int]:
    WORLD.note("memGetInfo")
    return WORLD.memory - WORLD.allocated, WORLD.memory


def getDeviceProperties(device: int) -> dict[str, Any]:
    return {"name": b"Stand-in", "totalGlobalMem": WORLD.memory, "major": 9, "minor": 0, "multiProcessorCount": 132}


def deviceGetAttribute(attrib: int, device: int) -> int:
    return {95: int(WORLD.processors > 0), 16: WORLD.processors, 97: WORLD.room}[attrib]


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


@contextmanager
def world(**options: Any) -> Iterator[World]:
    """A new machine."""
    global WORLD, POOL
    before = WORLD, POOL
    WORLD, POOL = World(**options), MemoryPool()
    Stream.null = Stream(null=True)
    try:
        yield WORLD
    finally:
        POOL.free.clear()
        WORLD, POOL = before


Stream.null = Stream(null=True)
