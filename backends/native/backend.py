"""The native backend: the whole program as one compiled function, its memory one arena planned per lengths."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...compiler.pipeline import compile_system
from ...compiler.program import Program
from ...compiler.report import Costs
from ...errors import BackendError
from ...ir.system import System
from ...ops.contract import PRODUCTS
from ...types import Array
from ..base import AbstractBackend, AbstractExecutable, Options, averaged
from ..common.host_arrays import NumpyArrays
from ..common.memory_budget import Idle, afford, elements, numbers_of
from ..common.memory_layout import ALIGNED, LiveRanges, offsets
from ..common.symbolic_size import BATCH_END
from ..numpy.backend import alone, instead
from . import runtime_library
from .emit import emit, unsupported
from .ir_builder import Code
from .jit import CompiledModule, vector_bytes
from .products import anticipate
from .sums import apart
from .thread_pool import helpers, start


def _addresses() -> Callable[[Any], int]:
    """What tells where the elements of an array begin.

    The struct that NumPy publishes for C has it behind the header of every object; asking it takes eight times as
    long, for a dozen arrays as long as a short run.
    """
    header, probe = object.__basicsize__, np.zeros(3)[1:]

    def read(array: Array) -> int:
        return ctypes.c_void_p.from_address(id(array) + header).value or 0

    def asked(array: Array) -> int:
        return int(array.ctypes.data)

    return read if sys.implementation.name == "cpython" and read(probe) == asked(probe) else asked


address = _addresses()


class Workspace:
    """The memory of one run at given lengths, the table of pointers into it, and views of it as arrays."""

    def __init__(self, run: NativeExecutable, numbers: Mapping[str, int]) -> None:
        emitted, system = run.emitted, run.system
        sizes, where, self.bytes = run.plan(numbers)
        afford(self.bytes + run.results(numbers), numbers)
        raw = np.empty(self.bytes + ALIGNED, np.uint8)
        start = -raw.ctypes.data % ALIGNED
        self.arena = raw[start : start + self.bytes]
        self.table = np.zeros(len(emitted.hosts) + len(emitted.packs), np.uintp)
        self.numbers = np.array([numbers[BATCH_END], *(numbers[a.end] for a in system.axes)], np.int64)
        self.arrays: dict[str, Any] = {}
        for n, host in enumerate(emitted.hosts):
            if host in where:
                layout = emitted.layouts[host]
                part = self.arena[where[host] : where[host] + sizes[host]]
                self.arrays[host] = part.view(run.kind(layout.kind)).reshape(layout.array(numbers))
                self.table[n] = self.arena.ctypes.data + where[host]
        for n, (name, _, _) in enumerate(emitted.packs, len(emitted.hosts)):
            self.table[n] = self.arena.ctypes.data + where[name]
        decls = run.program.system.decls  # with the names that the passes made
        self.given = {h: a[emitted.layouts[h].inside(numbers)] for h, a in self.arrays.items() if decls[h].given}
        found = {name: (emitted.layouts[r.name], r) for name, r in system.outputs.items()}
        places = {name: (layout.host, layout.part(ref, numbers)) for name, (layout, ref) in found.items()}
        self.results = {name: self.arrays[host][part] for name, (host, part) in places.items() if host in self.arrays}
        self.passed = {name: place for name, place in places.items() if name not in self.results}
        self.pointers = ctypes.c_void_p(self.table.ctypes.data), ctypes.c_void_p(self.numbers.ctypes.data)


class NativeExecutable(AbstractExecutable):
    """One program as a compiled function."""

    program: Program

    def __init__(self, system: System, options: Options) -> None:
        self.system = system
        self.dtype, self._options = np.dtype(options.dtype), options
        start()
        # Without `vectorize`, for `fuse` makes wider kernels.
        self.program = compile_system(apart(system), without=("vectorize", *options.without))
        self.emitted = emit(self.program, options.dtype, vector_bytes(), helpers(), "panels" not in options.without)
        self._compiled = self._callable()
        system = self.program.system  # with the names that the passes made
        self._arena = "arena" not in options.without
        self._run = self._compiled.function("run")
        self.borrowed = {
            n: self.kind(d.dtype) for n, d in system.decls.items() if d.given and n not in self.program.buffers
        }
        self._slots = [(n, h, self.borrowed.get(h)) for n, h in enumerate(self.emitted.hosts) if system.decls[h].given]
        self.constants = {
            n: np.ascontiguousarray(d.array, self.kind(d.dtype))
            for n, d in system.decls.items()
            if d.kind == "constant"
        }
        self._idle = Idle()

    def _callable(self) -> CompiledModule:
        """The program, compiled after all that it calls. Raises BackendError where LLVM does not take it."""
        try:
            runtime_library.ready(self.emitted.text)
            return CompiledModule(self.emitted.text)
        except RuntimeError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(
                f"template {self.system.name!r} could not be compiled: {str(error).strip()}; it is a fault of unroll, "
                "to be reported; choose backend='numpy' meanwhile"
            ) from error

    def plan(self, numbers: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int], int]:
        """Bytes and offset of everything in the arena, and the size of the arena."""
        emitted = self.emitted
        itemsize = {"float": self.dtype.itemsize, "int": 8, "bool": 1}
        own = [h for h in emitted.hosts if h not in self.borrowed]
        sizes = {h: emitted.layouts[h].elements.at(numbers) * itemsize[emitted.layouts[h].kind] for h in own}
        when = emitted.live
        for name, items, number in emitted.packs:
            sizes[name] = items.at(numbers) * self.dtype.itemsize
            when = LiveRanges({**when.first, name: number}, {**when.final, name: number})
        if not self._arena:
            when = LiveRanges(
                dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
            )  # all at once: none takes another's place
        return sizes, *offsets(sizes, when)

    def results(self, numbers: Mapping[str, int]) -> int:
        """Bytes of the arrays returned."""
        decls = self.program.system.decls
        return elements(self.system.outputs.values(), decls, numbers) * self.dtype.itemsize

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs:
        """The memory of the arena and of the results."""
        numbers = numbers_of(self.system, lengths, batch)
        sizes, _, total = self.plan(numbers)
        return Costs(sizes, total, self.results(numbers))

    def kind(self, kind: str) -> Any:
        """The dtype of a kind in memory."""
        return {"float": self.dtype, "int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}[kind]

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        numbers = numbers_of(self.system, lengths, batch)
        shape = tuple(numbers.values())
        space = self._idle.take(shape, lambda: Workspace(self, numbers))
        table = space.table
        given = {**values, **self.constants}
        held = []  # keeps what the table points to alive
        for n, host, kind in self._slots:
            if kind is None:
                space.given[host][...] = given[host]
            else:
                array = np.ascontiguousarray(given[host], kind)
                held.append(array)
                table[n] = address(array)
        self._run(*space.pointers)
        results = {name: part.copy() for name, part in space.results.items()}
        for name, (host, part) in space.passed.items():
            results[name] = np.array(given[host][part])
        self._idle.keep(shape, space)
        return averaged(results, self._options, batch)

    def __str__(self) -> str:
        return str(self.program)


class Native(NumpyArrays, AbstractBackend):
    """Compiles for the processor at hand, with LLVM."""

    name = "native"
    optional = ("arena", "panels")
    """Memory used again once it is free, and weights packed before the loops that multiply by them."""

    def anticipate(self, system: System, options: Options) -> None:
        """Begin to compile the kernels of products."""
        if not alone(options) and any(e.op in PRODUCTS for e in system.equations):
            start()
            anticipate(Code(options.dtype, vector_bytes()))
            runtime_library.flush()

    def build(self, system: System, options: Options) -> AbstractExecutable:
        """Compile; NumPy serves complex steps, the search for nans, and operations that are Python functions."""
        return instead(self.name, unsupported(system), system, options) or NativeExecutable(system, options)


BACKEND = Native()
