"""Host and device transfer: one launch for all arrays on the device, one copy for NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np

from . import tuning
from .staging import COPIED, THREADS, Carried, Part, carried

ALIGNED = 256
NOTHING: Set[int] = frozenset()


STRUCT = np.dtype([("at", np.uint64, (tuning.MAX_ARRAYS_PER_LAUNCH,))])
"""An argument of several numbers: CuPy passes by value what is a NumPy array of one element."""


class Carrier:
    """Carries arrays, each in one piece, into parts of a frame (`batch` 0) or out of them.

    how    by number of a part, what becomes of it
    brief  numbers of the parts of 16 bits, which become float32
    """

    def __init__(
        self, cupy: Any, kernel: Any, parts: list[Any], batch: int, how: Mapping[int, int], brief: Set[int] = NOTHING
    ) -> None:
        self.kernel, self.batch = kernel, np.int64(batch)
        found = carried(
            [
                Part(p.data.ptr, p.shape, p.strides, p.dtype.itemsize, how.get(n, COPIED), n in brief)
                for n, p in enumerate(parts)
            ]
        )
        self.launches: list[tuple[Carried, Any, np.int64]] = [
            (c, cupy.asarray(np.array(c.rows, np.int64)), np.int64(len(c.rows))) for c in found
        ]
        self.at = np.zeros(tuning.MAX_ARRAYS_PER_LAUNCH, np.uint64)
        self.argument = self.at.view(STRUCT)

    def __call__(self, addresses: list[int]) -> None:
        for launch, table, rows in self.launches:
            some = addresses[launch.arrays]
            self.at[: len(some)] = some
            self.kernel((launch.blocks,), (THREADS,), (self.argument, table, rows, self.batch))


class Pinned:
    """Memory of the host that the device copies from or to while the host goes on; it grows as needed."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.memory: Any = None
        self.size = 0
        self.free = cupy.cuda.Event(disable_timing=True)

    def _room(self, sizes: list[int]) -> tuple[list[int], int]:
        """Where each of several arrays begins, and the bytes of all; waits for the copy before."""
        starts, total = [], 0
        for size in sizes:
            starts.append(total)
            total += -(-size // ALIGNED) * ALIGNED
        self.free.synchronize()
        if total > self.size:
            self.memory, self.size = self.cupy.cuda.alloc_pinned_memory(total), total
        return starts, total

    def _view(self, start: int, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.ndarray(shape, dtype, self.memory, start)

    def into(self, arrays: list[Any], stream: Any) -> list[Any]:
        """The arrays on the device, by one copy for which the host does not wait."""
        cupy = self.cupy
        starts, total = self._room([a.nbytes for a in arrays])
        if not total:
            return [cupy.empty(a.shape, a.dtype) for a in arrays]
        for start, array in zip(starts, arrays, strict=True):
            if array.nbytes:
                self._view(start, array.shape, array.dtype)[...] = array
        there = cupy.cuda.alloc(total)
        runtime = cupy.cuda.runtime
        runtime.memcpyAsync(there.ptr, self.memory.ptr, total, runtime.memcpyHostToDevice, stream.ptr)
        self.free.record(stream)
        return [cupy.ndarray(a.shape, a.dtype, there + start) for start, a in zip(starts, arrays, strict=True)]

    def out(self, kinds: list[tuple[Any, Any]], carry: Callable[[list[int]], None], stream: Any) -> list[Any]:
        """What `carry` takes out of a frame, of these shapes and dtypes, as NumPy arrays, once all before is done."""
        cuda = self.cupy.cuda
        found = [np.empty(*kind) for kind in kinds]
        starts, total = self._room([a.nbytes for a in found])
        if not total:
            return found
        there = cuda.alloc(total)
        carry([there.ptr + start for start in starts])
        runtime = cuda.runtime
        runtime.memcpyAsync(self.memory.ptr, there.ptr, total, runtime.memcpyDeviceToHost, stream.ptr)
        stream.synchronize()
        for start, array in zip(starts, found, strict=True):
            if array.nbytes:
                array[...] = self._view(start, array.shape, array.dtype)
        return found
