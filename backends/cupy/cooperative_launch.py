"""Cooperative launch: loops as one kernel, whether one fits a device, and what to say if one is stuck.

Every wait inside such a kernel is for the other blocks, and ends after `tuning.BARRIER_TIMEOUT_S` with a flag that
makes all of them leave: nothing else in it is without an end, so that it cannot hang a process. It relies on CUDA 11.1,
since which a stream that is being captured takes a cooperative launch as a node of its graph. It has not run on a
device yet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from ...errors import BackendError
from . import tuning
from .persistent import fit
from .plan import Fit, Plan, Whole

WAY_OUT = 'compile(without=("persistent",)) runs the loop as a launch for every step'


class Barrier:
    """The barrier of a run's loops, at which their blocks wait for each other.

    The frame looks at it without waiting: at the end of a run for which the host has waited anyway, and at the start of
    a call, for runs for which nobody has. A frame that finds a block late runs no more.

    words  two numbers on the device, zero: how many blocks have come, and whether one came too late
    flag   one number that the host sees too, a ctypes array, zero: whether one came too late
    """

    def __init__(self, words: Any, flag: Any) -> None:
        self.words, self.flag = words, flag

    def check(self, lost: str) -> None:
        """Raise BackendError, which says what is lost, where a block is known to have come too late."""
        if self.flag[0]:
            raise BackendError(
                f"a loop that ran as one kernel gave up: some of its blocks waited {tuning.BARRIER_TIMEOUT_S} s for "
                f"the others. The results of {lost} are lost: call again; {WAY_OUT}"
            )


class Cooperative:
    """The loops of one frame, on the current device and stream.

    kernels  by name, as CuPy's RawModule has them
    wide     whether they count in 64 bits
    fits     the loops that run as one kernel, with a block on each processor at most
    """

    def __init__(
        self, cupy: Any, plan: Plan, numbers: Mapping[str, int], kernels: Mapping[str, Any], wide: bool
    ) -> None:
        self.cupy, self.kernels = cupy, kernels
        self.index = ctypes.c_longlong if wide else ctypes.c_int
        runtime, device = cupy.cuda.runtime, cupy.cuda.Device().id
        able, processors, room = (
            runtime.deviceGetAttribute(getattr(runtime, f"cudaDevAttr{name}"), device)
            for name in ("CooperativeLaunch", "MultiProcessorCount", "MaxSharedMemoryPerBlockOptin")
        )
        resident = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        self.fits: dict[str, Fit] = {}
        for loop in plan.persistent if able else ():
            made = fit(loop, numbers, processors, room, cupy.dtype(plan.dtype).itemsize)
            if made is None:
                continue
            kernel = kernels[loop.kernel]
            kernel.max_dynamic_shared_size_bytes = room  # of all frames that share it
            if resident(kernel.kernel.ptr, tuning.THREADS_PER_BLOCK, made.shared) >= 1:
                self.fits[loop.kernel] = made
        flag = (ctypes.c_uint * 1).from_buffer(cupy.cuda.alloc_pinned_memory(4))  # the device writes to it as it is
        flag[0] = 0
        self.barrier = Barrier(cupy.zeros(2, cupy.uint32), flag)

    def launch(self, call: Whole, where: Mapping[str, int], stream: int) -> None:
        """Put a loop onto a stream. Raises BackendError where the driver refuses it."""
        words = self.barrier.words.data.ptr
        given = [
            ctypes.c_void_p(words),
            ctypes.c_void_p(ctypes.addressof(self.barrier.flag)),
            ctypes.c_int(call.fit.down),
            *(ctypes.c_void_p(where[x]) if isinstance(x, str) else self.index(x) for x in call.arguments),
        ]
        table = (ctypes.c_void_p * len(given))(*map(ctypes.addressof, given))
        driver = self.cupy.cuda.driver
        self.cupy.cuda.runtime.memsetAsync(words, 0, 4, stream)  # they count from 0 in every launch
        try:
            driver.launchCooperativeKernel(
                self.kernels[call.kernel].kernel.ptr, call.fit.blocks, 1, 1, tuning.THREADS_PER_BLOCK, 1, 1,
                call.fit.shared, stream, ctypes.addressof(table),
            )  # fmt: skip
        except driver.CUDADriverError as error:
            raise BackendError(f"the driver refuses a loop as one kernel ({error}); {WAY_OUT}") from error
