"""The one importer of cupy: kernels compiled by NVRTC, memory on the device, every run one CUDA graph.

It has been written without a device: the plans it runs are tested on a stand-in, this file itself has not run yet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...errors import BackendError, MemoryLimitError
from ...explain import amount
from ..base import Options
from .backend import GRAPH, Cuda
from .cooperative import Cooperative
from .cublas import WORKSPACE, Cublas
from .frame import AbstractFrame, AbstractMachine
from .plan import Call, Plan, Whole, calls
from .text import WIDE

INSTEAD = "or choose backend='native'"
AMPERE = 80
"""The first compute capability that rounds to bfloat16."""
LARGEST = 2**31
"""What a grid and the sizes that cuBLAS takes stay below."""


def obstacle() -> str:
    """Why there is no device, and the way out; "" where there is one."""
    import cupy

    runtime = cupy.cuda.runtime
    try:
        found = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        reason = str(error).partition(":")[0]
        if "Driver" in reason:
            return (
                "backend 'cupy' needs an NVIDIA driver, and the one here is missing or older than this CuPy "
                f"({reason}): install or update it, {INSTEAD}"
            )
        return f"backend 'cupy' finds no CUDA device ({reason}): see nvidia-smi and CUDA_VISIBLE_DEVICES, {INSTEAD}"
    return "" if found else f"backend 'cupy' finds no CUDA device: see nvidia-smi and CUDA_VISIBLE_DEVICES, {INSTEAD}"


def _cublas() -> Any:
    """The library that CuPy itself uses."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)


class Machine(AbstractMachine):
    """The current device, for one plan."""

    def __init__(self, plan: Plan, options: Options) -> None:
        import cupy

        self.plan, self.cupy = plan, cupy
        self.graph = GRAPH not in options.without
        if plan.precision == "bfloat16" and (able := int(cupy.cuda.Device().compute_capability)) < AMPERE:
            raise BackendError(
                "precision='bfloat16' needs a GPU of compute capability 8.0 or later, and this one has "
                f"{able / 10}: choose precision='float16', or leave it out"
            )
        self.library = _cublas()
        self._kernels: dict[bool, dict[str, Any]] = {}

    def kernels(self, wide: bool) -> dict[str, Any]:
        """The kernels by name, compiled when they are first wanted; with indices of 64 bits, or of 32."""
        if wide not in self._kernels:
            options = ("--std=c++17", *([f"-D{WIDE}"] if wide else []))
            module = self.cupy.RawModule(code=self.plan.text, options=options)
            self._kernels[wide] = {name: module.get_function(name) for name in self.plan.kernels}
        return self._kernels[wide]

    def frame(self, numbers: Mapping[str, int]) -> Frame:
        """Memory on the device. Raises MemoryLimitError before anything is allocated."""
        return Frame(self, numbers)


class Frame(AbstractFrame):
    """A run on the device: eager at first, then a graph that holds the addresses of this memory."""

    def __init__(self, machine: Machine, numbers: Mapping[str, int]) -> None:
        self.cupy, self.machine = machine.cupy, machine
        where, size = machine.plan.arena(numbers)
        self._afford(size + WORKSPACE, numbers)
        self.stream = self.cupy.cuda.Stream(non_blocking=True)
        wide = machine.plan.wide(numbers)
        self.kernels = machine.kernels(wide)
        self.loops = Cooperative(self.cupy, machine.plan, self.kernels, wide)
        with self.stream:
            raw, fits = self.cupy.empty(size, self.cupy.uint8), self.loops.fits(numbers)
            super().__init__(machine.plan, numbers, raw, where, fits, self.loops.meeting())
            self.room = self.cupy.empty(WORKSPACE, self.cupy.uint8)
        self.multiply = Cublas(machine.library, self.stream.ptr, self.room.data.ptr, machine.plan)
        self.index = self.cupy.int64 if wide else self.cupy.int32
        self.graph: Any = None
        self.warm = False

    def _afford(self, wanted: int, numbers: Mapping[str, int]) -> None:
        free, _ = self.cupy.cuda.runtime.memGetInfo()
        left = free + self.cupy.get_default_memory_pool().free_bytes()
        if wanted > left:
            at = ", ".join(f"{name} = {n:,}" for name, n in numbers.items())
            raise MemoryLimitError(
                f"at {at} this run wants {amount(wanted)} on the device, and {amount(left)} can be had: give fewer "
                'examples at once, or shorter sequences; dtype="float32" takes half of float64'
            )

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        with self.stream:
            return super().__call__(values)

    def put(self, array: Any, inside: tuple[slice, ...], value: Any) -> None:
        """A copy to the device."""
        array[inside] = self.cupy.asarray(value, array.dtype)

    def get(self, array: Any) -> Any:
        """A copy from the device, once all before it is done."""
        return self.cupy.asnumpy(array, stream=self.stream)

    def run(self) -> None:
        """The graph; the first run is eager, so that every library is loaded before the capture."""
        if self.graph is not None:
            self.graph.launch(self.stream)
        elif self.warm and self.machine.graph:
            self.graph = self._captured()
            self.graph.launch(self.stream)
        else:
            self._enqueue()
            self.warm = True

    def _captured(self) -> Any:
        """A graph of everything; with loops as launches where the driver takes no other loop into a graph."""
        self.stream.begin_capture()
        try:
            self._enqueue()
            return self.stream.end_capture()
        except Exception:
            with suppress(self.cupy.cuda.runtime.CUDARuntimeError):
                self.stream.end_capture()  # or nothing else could run on it
            if not self.fits:
                raise
        self.fits.clear()
        return self._captured()

    def _enqueue(self) -> None:
        """Everything in order."""
        where = {host: array.data.ptr for host, array in self.arrays.items()}
        for call in calls(self.plan, self.numbers, self.fits):
            if isinstance(call, Whole):
                self.loops.launch(call, self.meeting, where, self.stream.ptr)
                continue
            sizes = (call.blocks,) if isinstance(call, Call) else (*call.sizes, *call.strides, call.count)
            if max(sizes) >= LARGEST:
                raise BackendError(f"{max(sizes):,} is beyond what one launch takes: give fewer examples at once")
            if isinstance(call, Call):
                given = tuple(self._argument(x, where) for x in call.arguments)
                self.kernels[call.launch.kernel]((call.blocks,), (call.launch.threads,), given)
            else:
                left, right, out = (where[host] for host in call.hosts)
                self.multiply(call, (left, right, out))

    def _argument(self, x: str | int, where: Mapping[str, int]) -> Any:
        return self.cupy.uintp(where[x]) if isinstance(x, str) else self.index(x)


BACKEND = Cuda(Machine, obstacle)
