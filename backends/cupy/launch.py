"""The one importer of cupy: kernels compiled by NVRTC, memory on the device, every run one CUDA graph.

It has not run on a device yet: its plans are tested on a stand-in, and this file on a stand-in for CuPy.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np

from ...compiler.report import amount
from ...errors import BackendError, MemoryLimitError
from ...ops.integers import integer
from ..base import Options
from ..common.memory_budget import sizes_text
from ..common.symbolic_size import BATCH_END
from . import tuning
from .arrays import DeviceArrays
from .backend import GRAPH, Cuda
from .cooperative_launch import Cooperative
from .cublas import CAPTURE, WORKSPACE, Cublas
from .cuda_source import WIDE
from .plan import Call, Plan, Product, Whole, calls, flat
from .run_buffers import RAW, AbstractFrame, AbstractMachine
from .staging import COPIED, MEAN, SHARED, text
from .transfer import ALIGNED, Carrier, Pinned

INSTEAD = "or choose backend='native'"
INSTALL = "pip install 'cupy-cuda12x[ctk]<15' (or cupy-cuda13x)"
PACKAGES = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
AMPERE = 80
"""The first compute capability that rounds to bfloat16."""
CAPTURE_ERROR, ENDED = "STREAMCAPTURE", "STREAMCAPTUREINVALIDATED"
"""What the names of errors hold: of all that have to do with captures, and where one was ended from outside."""


def obstacle() -> str:
    """Why there is no device, and the way out; "" where there is one."""
    found = [name for name in PACKAGES if _installed(name)]
    if len(found) > 1:
        return (
            f"backend 'cupy' finds {' and '.join(found)} installed, which overwrite each other: "
            f"pip uninstall {' '.join(found)}, then {INSTALL}, {INSTEAD}"
        )
    try:
        import cupy
    except Exception as error:  # noqa: BLE001 - of any kind: it loads libraries of the system
        return f"backend 'cupy' cannot import cupy ({_line(error)}): reinstall it, {INSTALL}, {INSTEAD}"
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        reason = str(error).partition(":")[0]
        if "Driver" in reason:
            return (
                "backend 'cupy' needs an NVIDIA driver, and the one here is missing or older than this CuPy "
                f"({reason}): install or update it, {INSTEAD}"
            )
        return f"backend 'cupy' finds no CUDA device ({reason}): see nvidia-smi and CUDA_VISIBLE_DEVICES, {INSTEAD}"
    return "" if count else f"backend 'cupy' finds no CUDA device: see nvidia-smi and CUDA_VISIBLE_DEVICES, {INSTEAD}"


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _line(error: BaseException) -> str:
    """An error in one line."""
    said = next((line.strip(" =") for line in str(error).splitlines() if line.strip(" =")), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@contextmanager
def _guarded(cupy: Any, doing: str) -> Iterator[None]:
    """What CUDA refuses, as one line with the way out."""
    try:
        yield
    except cupy.cuda.compiler.CompileException as error:
        raise BackendError(
            f"{doing} failed ({_line(error)}): where a header is missing, {INSTALL} brings it; else it is a fault of "
            f"unroll, to be reported; {INSTEAD[3:]} meanwhile"
        ) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        if "MemoryAllocation" in str(error) or "OUT_OF_MEMORY" in str(error):
            raise MemoryError(str(error)) from error
        raise BackendError(
            f"{doing} failed on the device ({_line(error)}): call again; if it recurs, restart Python, "
            f"for an error inside a kernel ends all work on the device, {INSTEAD}"
        ) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage goes by the way: what lies on a device may wait for it, which would end a capture."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _cublas() -> Any:
    """The library that CuPy itself uses. Raises BackendError."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            f"backend 'cupy' finds no cuBLAS ({_line(error)}): {INSTALL} brings it, {INSTEAD}"
        ) from error


class Machine(AbstractMachine):
    """One device, for one plan.

    on_device  whether results stay there
    """

    def __init__(self, plan: Plan, options: Options, device: int, on_device: bool) -> None:
        import cupy

        self.plan, self.cupy, self.device, self.on_device = plan, cupy, device, on_device
        self.graph = GRAPH not in options.without
        self.averaged = {name: SHARED if n else MEAN for n, name in enumerate(options.averaged)}
        self.lock = Lock()
        """Held while products go to a stream: there is one handle for all frames."""
        decls = plan.system.decls
        if plan.precision == "bfloat16" and (able := int(cupy.cuda.Device(device).compute_capability)) < AMPERE:
            raise BackendError(
                "precision='bfloat16' needs a GPU of compute capability 8.0 or later, and this one has "
                f"{able / 10}: choose precision='float16', or leave it out"
            )
        with cupy.cuda.Device(device), _guarded(cupy, "to prepare a program"):
            multiplies = any(isinstance(action, Product) for action in flat(plan.actions))
            self.multiply = Cublas(_cublas(), plan) if multiplies else None
            self._kernels = {False: self._compiled(plan.text, plan.kernels)}
            self.carry = self._compiled(text(plan.dtype, plan.precision), ("carry",))["carry"]
            fixed = {h: decls[h].array for h in plan.hosts if h in decls and decls[h].kind == "constant"}
            self.constants = {h: cupy.asarray(np.asarray(v, plan.kind(h), order="C")) for h, v in fixed.items()}
            cupy.cuda.get_current_stream().synchronize()

    def kernels(self, wide: bool) -> dict[str, Any]:
        """The kernels by name; with indices of 64 bits, or of 32."""
        if wide not in self._kernels:
            self._kernels[wide] = self._compiled(self.plan.text, self.plan.kernels, f"-D{WIDE}")
        return self._kernels[wide]

    def _compiled(self, code: str, names: tuple[str, ...], *options: str) -> dict[str, Any]:
        """Kernels by name. Raises BackendError without a compiler."""
        cuda = self.cupy.cuda
        try:
            module = self.cupy.RawModule(code=code, options=("--std=c++17", *options))
            return {name: module.get_function(name) for name in names}
        except (cuda.compiler.CompileException, cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError):
            raise
        except (ImportError, OSError, RuntimeError) as error:
            raise BackendError(
                f"the kernels could not be compiled ({_line(error)}): {INSTALL} brings NVRTC and headers, {INSTEAD}"
            ) from error

    def room(self) -> int | None:
        """Bytes free on the device, those that CuPy keeps for later included."""
        with self.cupy.cuda.Device(self.device):
            free, _ = self.cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self.cupy.get_default_memory_pool().free_bytes())

    def release(self) -> None:
        """Give back what CuPy keeps for later."""
        self.cupy.get_default_memory_pool().free_all_blocks()

    def frame(self, numbers: Mapping[str, int]) -> Frame:
        """Memory on the device. Raises MemoryLimitError before anything is allocated."""
        with self.cupy.cuda.Device(self.device), _guarded(self.cupy, "to allocate memory"):
            return Frame(self, numbers)


class Frame(AbstractFrame):
    """Runs of one shape: eager at first, then a graph, which holds the addresses of this memory.

    own     the stream on which eager runs and captures go; all else goes to the user's
    done    the event after which this memory is free for another run
    issued  calls of the last eager run or capture
    wanted  whether a graph is still to be tried
    pause   runs to be eager before the next try, and as many again after each that somebody broke
    """

    def __init__(self, machine: Machine, numbers: Mapping[str, int]) -> None:
        cupy, plan = machine.cupy, machine.plan
        self.machine, self.cupy = machine, cupy
        where, size = plan.arena(numbers)
        size = -(-size // ALIGNED) * ALIGNED
        total = size + (WORKSPACE if machine.multiply else 0)
        self._afford(total, numbers)
        # Not from CuPy's pool, which may pass memory on while a graph still runs in it.
        memory = cupy.cuda.MemoryPointer(cupy.cuda.Memory(total), 0)
        raw = cupy.ndarray((size,), np.uint8, memory)
        self.room = memory.ptr + size
        self.own = cupy.cuda.Stream(non_blocking=True)
        self.done, self.begun, self.ended = (cupy.cuda.Event(disable_timing=True) for _ in range(3))
        finalize(self, self.done.synchronize).atexit = False  # before the memory goes
        wide = plan.wide(numbers)
        self.kernels = machine.kernels(wide)
        super().__init__(plan, numbers, raw, where)
        self.index = np.int64 if wide else np.int32
        self.graph: Any = None
        self.wanted = machine.graph
        self.pause = self.patience = 0
        self.issued = 0
        with self.own:
            self.loops = Cooperative(cupy, plan, numbers, self.kernels, wide)
            how = {n: machine.averaged.get(name, COPIED) for n, name in enumerate(self.results)}
            brief = {n for n, name in enumerate(self.results) if plan.kind(self.hosts[name]) in RAW}
            self.inwards = Carrier(cupy, machine.carry, list(self.given.values()), 0, {})
            self.outwards = Carrier(cupy, machine.carry, list(self.results.values()), numbers[BATCH_END], how, brief)
        self.kinds = [
            (() if how[n] == MEAN else part.shape, np.dtype("float32") if n in brief else part.dtype)
            for n, part in enumerate(self.results.values())
        ]
        self.done.record(self.own)
        self.staged = Pinned(cupy)
        self.fetched = Pinned(cupy)

    def _afford(self, wanted: int, numbers: Mapping[str, int]) -> None:
        free, _ = self.cupy.cuda.runtime.memGetInfo()
        pool = self.cupy.get_default_memory_pool()
        if wanted > free:
            free += pool.free_bytes()
            pool.free_all_blocks()
        if wanted > free:
            raise MemoryLimitError(
                f"at {sizes_text(numbers)} this run needs {amount(wanted)} on the device, and {amount(free)} is "
                'available: give fewer examples at once, or shorter sequences; dtype="float32" takes half of float64'
            )

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        cupy = self.cupy
        with cupy.cuda.Device(self.machine.device):
            stream = cupy.cuda.get_current_stream()
            try:
                stream.wait_event(self.done)
                self.loops.barrier.check("the last runs, which stayed on the device,")  # which the host did not await
                given = self._on_device(values, stream)  # held until the launch: another thread may share the stream
                self.inwards([a.data.ptr for a in given])
                self._run(stream)
                if self.machine.on_device:
                    found = [cupy.empty(shape, dtype) for shape, dtype in self.kinds]
                    self.outwards([array.data.ptr for array in found])
                else:
                    found = self.fetched.out(self.kinds, self.outwards, stream)
                    self.loops.barrier.check("this run")
                self.done.record(stream)
            except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError):
                with _guarded(cupy, "a run"):
                    raise
        return dict(zip(self.results, found, strict=True))

    def _on_device(self, values: Mapping[str, Any], stream: Any) -> list[Any]:
        """What is given, in the order of `given`, each in one piece on the device."""
        ndarray, constants = self.cupy.ndarray, self.machine.constants
        found = [constants[h] if h in constants else values[h] for h in self.given]
        away = [n for n, array in enumerate(found) if not isinstance(array, ndarray)]
        if away:
            kinds = [self.plan.kind(host) for host in self.given]
            sent = self.staged.into([np.asarray(found[n], kinds[n]) for n in away], stream)
            for n, array in zip(away, sent, strict=True):
                found[n] = array
        return [a if a.flags.c_contiguous else self.cupy.ascontiguousarray(a) for a in found]

    def _run(self, stream: Any) -> None:
        """The graph; the first run is eager, so that every library is loaded before the capture."""
        if self.graph is None and 0 < self.issued <= tuning.MAX_GRAPH_NODES and self.wanted:
            self.pause -= 1
            self.graph = self._issued(self._captured) if self.pause < 0 else None
        if self.graph is not None:
            self.graph.launch(stream)
            return
        self.begun.record(stream)
        self.own.wait_event(self.begun)
        self._issued(self._enqueue)
        self.ended.record(self.own)
        stream.wait_event(self.ended)

    def _issued(self, how: Callable[[], Any]) -> Any:
        """Calls to the frame's own stream, on which the one handle for products then is."""
        with self.own, self.machine.lock:
            if self.machine.multiply is not None:
                self.machine.multiply.on(self.own.ptr, self.room)
            return how()

    def _captured(self) -> Any:
        """A graph of everything; None where there is none, and the run is to be eager.

        Where there are loops and the driver does not take them, that is so from then on: with a launch for every step
        in the graph, runs would differ in rounding from the first. Where somebody else waited for the whole device
        meanwhile, which ends every capture on it, it is tried again after a few runs.
        """
        cuda = self.cupy.cuda
        with CAPTURE, _uncollected():
            self.own.begin_capture()
            try:
                self._enqueue()
                return self.own.end_capture()
            except BaseException as error:
                with suppress(cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError):  # it may be invalid already
                    self.own.end_capture()  # or nothing else could run on the stream
                if not isinstance(error, Exception):
                    raise
                said = str(error).replace("_", "").upper()
                if ENDED in said or (CAPTURE_ERROR in said and not self.loops.fits):
                    self.pause = self.patience
                    self.patience = 2 * self.patience + 1
                    return None
                if not self.loops.fits:
                    raise
        self.wanted = False
        return None

    def _enqueue(self) -> None:
        """Everything in order, on the current stream."""
        machine = self.machine
        where = {host: array.data.ptr for host, array in self.arrays.items()}
        self.issued = 0
        for call in calls(self.plan, self.numbers, self.loops.fits):
            self.issued += 1
            if isinstance(call, Whole):
                self.loops.launch(call, where, self.own.ptr)
                continue
            sizes = (call.blocks,) if isinstance(call, Call) else (*call.sizes, *call.strides, call.count)
            if max(sizes) >= tuning.MAX_GRID:
                raise BackendError(f"{max(sizes):,} is beyond what one launch takes: give fewer examples at once")
            if isinstance(call, Call):
                given = tuple(np.uintp(where[x]) if isinstance(x, str) else self.index(x) for x in call.arguments)
                self.kernels[call.launch.kernel]((call.blocks,), (call.launch.threads,), given)
            else:
                left, right, out = (where[host] for host in call.hosts)
                assert machine.multiply is not None
                machine.multiply(call, (left, right, out))


class OnDevice(DeviceArrays, Cuda):
    """The backend, for one device once `at` has chosen it."""

    def __init__(self, cupy: Any = None, device: int = 0, on_device: bool = False) -> None:
        DeviceArrays.__init__(self, cupy, device, on_device)
        self.waits = not on_device
        Cuda.__init__(self, partial(Machine, device=device, on_device=on_device), obstacle)

    def devices(self) -> list[str]:
        """The GPUs by number, and what the driver knows of CUDA."""
        import cupy

        runtime, rows = cupy.cuda.runtime, []
        for number in range(runtime.getDeviceCount()):
            has = runtime.getDeviceProperties(number)
            about = f"{has['major']}.{has['minor']}, {amount(has['totalGlobalMem'])}"
            rows.append(f"{number}: {has['name'].decode()} ({about})")
        driver = runtime.driverGetVersion()
        return [*rows, f"driver {driver // 1000}.{driver % 1000 // 10}"]

    def at(self, device: Any, on_device: bool) -> OnDevice:
        """The backend for a device, by default CuPy's current one. Raises BackendError where there is none such."""
        import cupy

        if device is None:
            return OnDevice(cupy, cupy.cuda.Device().id, on_device)
        count = cupy.cuda.runtime.getDeviceCount()
        number = integer(device)
        if number is None or not 0 <= number < count:
            there = (
                "there is one GPU here, device=0" if count == 1 else f"there are {count} GPUs here, 0 to {count - 1}"
            )
            raise BackendError(f"device={device!r}: a device is chosen by its number, and {there}")
        return OnDevice(cupy, number, on_device)


BACKEND = OnDevice()
