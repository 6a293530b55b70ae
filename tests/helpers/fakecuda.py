"""A stand-in for a machine with GPUs, as CuPy shows it: devices, streams, events, captures, memory; for tests only.

Streams are queues, and nothing runs before somebody waits for it: work that lacks a dependency finds stale memory. A
stream that captures records calls, and refuses what CuPy refuses.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

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
        self.kernels: WeakValueDictionary[int, Any] = WeakValueDictionary()

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
            if self.captured is not None and self.invalid:
                raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error")
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
        """Ends every capture on the device, whoever asks, and is refused."""
        WORLD.note("synchronize")
        capturing = [s for s in WORLD.streams if s.captured is not None and s.device_id in (-1, self.id)]
        for stream in capturing:
            stream.invalid = True
        if capturing:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
            )
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
        stream_at(stream).add(lambda: ctypes.memmove(dst, src, size) and None)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    WORLD.note("memsetAsync")
    if not WORLD.idle:
        stream_at(stream).add(lambda: ctypes.memset(ptr, value, size) and None)


def stream_at(ptr: int) -> Stream:
    return next(s for s in reversed(WORLD.streams) if s.ptr == ptr)


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
