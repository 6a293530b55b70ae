"""The CUDA backend: the whole program as kernels and products in the order of one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from ...compiler.pipeline import compile_system
from ...compiler.program import Program
from ...compiler.report import Costs
from ...errors import BackendError, MemoryLimitError
from ...ir.system import System
from ..base import PRECISIONS, AbstractBackend, AbstractExecutable, Options
from ..common.host_arrays import NumpyArrays
from ..common.memory_budget import Idle, elements, numbers_of
from ..numpy.backend import alone, instead
from .emit import emit, unsupported
from .persistent import remark
from .plan import ITEM, Plan
from .run_buffers import AbstractMachine

GRAPH, PERSISTENT = "graph", "persistent"

Make = Callable[[Plan, Options], AbstractMachine]

ALIVE: WeakSet[CudaExecutable] = WeakSet()
"""Programs that may hold idle memory."""


class CudaExecutable(AbstractExecutable):
    """One program on one machine."""

    program: Program

    def __init__(self, system: System, options: Options, make: Make) -> None:
        self.system = system
        without = [name for name in options.without if name not in Cuda.optional]
        self.program = compile_system(system, without=("vectorize", *without))  # `fuse` makes wider kernels
        self.plan = emit(self.program, options.dtype, options.precision, PERSISTENT not in options.without)
        self._machine = make(self.plan, options)
        self._idle = Idle(self._machine.room)
        ALIVE.add(self)

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs:
        """The memory of the arena, on the device, and of the results."""
        numbers = numbers_of(self.system, lengths, batch)
        count = elements(self.system.outputs.values(), self.program.system.decls, numbers)
        item = ITEM[self.plan.dtype]
        remarks = [remark(loop, numbers, item) for loop in self.plan.persistent]
        return Costs(self.plan.sizes(numbers), self.plan.arena(numbers)[1], count * item, tuple(remarks))

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        numbers = numbers_of(self.system, lengths, batch)
        try:
            return self._run(values, numbers)
        except MemoryError:
            for executable in list(ALIVE):
                executable.idle()
            self._machine.release()
        try:
            return self._run(values, numbers)
        except MemoryLimitError:
            raise
        except MemoryError as error:
            raise MemoryLimitError(
                f"the device has no memory left for this run ({str(error).partition('.')[0]}): give fewer examples at "
                "once, or shorter sequences; or free what else is on the device"
            ) from None

    def _run(self, values: Mapping[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
        """One run; its memory is kept for the next one unless it fails."""
        shape = tuple(numbers.values())
        frame = self._idle.take(shape, lambda: self._machine.frame(numbers))
        results: dict[str, Any] = frame(values)
        self._idle.keep(shape, frame)
        return results

    def idle(self) -> None:
        """Give idle memory back."""
        self._idle.clear()

    def __str__(self) -> str:
        return str(self.program)


class Hosted(AbstractExecutable):
    """A program that NumPy runs in place of the device, on what is copied to the host."""

    def __init__(self, executable: AbstractExecutable, arrays: NumpyArrays) -> None:
        self.program, self._executable, self._arrays = executable.program, executable, arrays

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        on_host = {name: self._arrays.host(value) for name, value in values.items()}
        results = self._executable(on_host, lengths, batch)
        return {name: self._arrays.as_result(value) for name, value in results.items()}

    def __str__(self) -> str:
        return str(self._executable)


class Cuda(NumpyArrays, AbstractBackend):
    """Compiles for an NVIDIA GPU.

    make   the machine of a plan
    lacks  why there is no such machine, and the way out; "" where there is one
    """

    name = "cupy"
    precisions = PRECISIONS
    optional = (GRAPH, PERSISTENT)
    """All of a run as one CUDA graph, captured once for each shape; a loop as one kernel, with its weights on chip."""

    def __init__(self, make: Make, lacks: Callable[[], str]) -> None:
        self._make, self._lacks = make, lacks

    def obstacle(self) -> str:
        """Why there is no device."""
        return self._lacks()

    def build(self, system: System, options: Options) -> AbstractExecutable:
        """Compile; NumPy serves complex steps, the search for nans, and operations that are Python functions."""
        op = unsupported(system)
        if options.precision != PRECISIONS[0] and (op or alone(options)):
            why = f"{op} is a Python function alone" if op else "debug_nans=True"
            raise BackendError(
                f"precision={options.precision!r}: {why} and runs on numpy, in float32; leave precision= out"
            )
        served = instead(self.name, op, system, options)
        return Hosted(served, self) if served else CudaExecutable(system, options, self._make)
