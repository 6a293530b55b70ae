"""The native backend: the whole program as one compiled function, its memory one arena planned per lengths."""

from __future__ import annotations

import ctypes
import math
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
from ..base import AbstractBackend, AbstractExecutable, Options, Session, averaged
from ..common.host_arrays import NumpyArrays
from ..common.memory_budget import Idle, afford, elements, numbers_of
from ..common.memory_layout import ALIGNED, Layout, LiveRanges, offsets
from ..common.symbolic_size import BATCH_END
from ..numpy.backend import alone, instead
from . import runtime_library, tuning
from .emit import emit, unsupported
from .interruptible_call import InterruptibleCall
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
    """The memory of one run at given lengths, the table of pointers into it, and views of it as arrays.

    given    places for arrays of the user's that are copied
    pointed  those that the table points to: its entry, name and dtype
    owner    of the arrays outside it that the table points to besides, see `HeldArrays`
    """

    def __init__(self, run: NativeExecutable, numbers: Mapping[str, int]) -> None:
        emitted, system = run.emitted, run.system
        self.shape, self.batch, self.lengths = tuple(numbers.values()), numbers[BATCH_END], numbers
        sizes, where, self.bytes = run.plan(numbers)
        afford(self.bytes + run.results(numbers), numbers)
        self.arena = aligned(self.bytes)
        self.table = np.zeros(len(emitted.hosts) + len(emitted.packs) + len(emitted.carried), np.uintp)
        self.numbers = np.array([numbers[BATCH_END], *(numbers[a.end] for a in system.axes)], np.int64)
        self.owner: object = None
        self.small = self.bytes < tuning.MAX_BYTES_SPARE
        self.arrays: dict[str, Any] = {}
        start = self.arena.ctypes.data
        for n, host in enumerate(emitted.hosts):
            if host in where:
                layout = emitted.layouts[host]
                part = self.arena[where[host] : where[host] + sizes[host]]
                self.arrays[host] = part.view(run.kind(layout.kind)).reshape(layout.array(numbers))
                self.table[n] = start + where[host]
        for n, (name, _, _) in enumerate(emitted.packs, len(emitted.hosts)):
            if name in where:
                self.table[n] = start + where[name]
        decls = run.program.system.decls  # with the names that the passes made
        self.given = {h: a[emitted.layouts[h].inside(numbers)] for h, a in self.arrays.items() if decls[h].given}
        self.given |= self._copied(run, numbers)
        self.pointed = [(n, host, kind) for n, host, kind in run.slots if host not in self.given]
        shown = {name: r for name, r in system.outputs.items() if name not in emitted.carried}
        found = {name: (emitted.layouts[r.name], r) for name, r in shown.items()}
        places = {name: (layout.host, layout.part(ref, numbers)) for name, (layout, ref) in found.items()}
        self.results = {name: self.arrays[host][part] for name, (host, part) in places.items() if host in self.arrays}
        self.passed = {name: place for name, place in places.items() if name not in self.results}
        self.stop = ctypes.c_int64(0)
        self.pointers = (
            ctypes.c_void_p(self.table.ctypes.data),
            ctypes.c_void_p(self.numbers.ctypes.data),
            ctypes.c_void_p(ctypes.addressof(self.stop)),
        )
        self.work = max(math.prod(numbers.values()), 1)

    def _copied(self, run: NativeExecutable, numbers: Mapping[str, int]) -> dict[str, Any]:
        """Places for small arrays of the user's, which are copied in less time than it takes to ask where they lie."""
        found = {}
        for n, host, kind in run.slots:
            layout = run.emitted.layouts[host]
            size = layout.elements.at(numbers) * kind.itemsize
            if size <= tuning.MAX_BYTES_COPIED:
                found[host] = aligned(size).view(kind).reshape(layout.array(numbers))
                self.table[n] = found[host].ctypes.data
        return found

    def run(self, function: InterruptibleCall, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run on arrays; returns what is not carried."""
        for host, array in self.given.items():
            array[...] = values[host]
        kept = []  # what the table points to
        for n, host, kind in self.pointed:
            kept.append(np.ascontiguousarray(values[host], kind))
            self.table[n] = address(kept[-1])
        function(self.pointers, self.work, (self, kept))
        results = {}
        for name, part in self.results.items():
            results[name] = part.copy()
        for name, (host, part) in self.passed.items():
            results[name] = np.array(values[host][part])
        return results


def aligned(size: int) -> Array:
    """Memory that begins at a cache line."""
    raw = np.empty(size + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + size]


class HeldArrays:
    """Arrays of an executable that stay as they are from call to call, and what needs only these, computed and packed.

    key  stands for them in workspaces, which do not keep them
    """

    def __init__(self, run: NativeExecutable, held: Mapping[str, Any]) -> None:
        emitted = run.emitted
        arrays = {n: np.ascontiguousarray(a, run.borrowed[n]) for n, a in held.items() if n in run.borrowed}
        arrays |= {n: a for n, a in run.constants.items() if n in run.borrowed}
        self.values, self.key = {**held, **run.constants, **arrays}, object()
        sizes = run.sizes_once()
        where, total = offsets(sizes, LiveRanges(dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)))
        self.memory = aligned(total)
        start = self.memory.ctypes.data
        places = {n: address(a) for n, a in arrays.items()} | {n: start + at for n, at in where.items()}
        names = (*emitted.hosts, *(name for name, _, _ in emitted.packs), *emitted.carried)
        self.places = [n for n, name in enumerate(names) if name in places]
        self.addresses = np.array([places[names[n]] for n in self.places], np.uintp)
        if run.once is not None:
            table, numbers = np.zeros(len(names), np.uintp), np.zeros(1 + len(run.system.axes), np.int64)
            table[self.places] = self.addresses
            stop = ctypes.c_int64(0)
            run.once(table.ctypes.data, numbers.ctypes.data, ctypes.addressof(stop))

    def space(self, run: NativeExecutable, lengths: Mapping[str, int], batch: int) -> Workspace:
        """Memory for a run with these arrays."""
        numbers = numbers_of(run.system, lengths, batch)
        space = run.take(numbers)
        if space.owner is not self.key:
            space.table[self.places] = self.addresses
            space.owner = self.key
        space.lengths = {**lengths}
        return space


class NativeSession(Session):
    """The state lies in one of two places; a call reads it there and writes the next one into the other.

    slots  entries of the table of pointers, and the addresses that stand there by turns
    spare  memory for a run; a list, so that no two threads take the same
    """

    executable: NativeExecutable

    def __init__(self, run: NativeExecutable, held: HeldArrays, state: Mapping[str, Any]) -> None:
        self.executable, self.held = run, held
        self.spare: list[Workspace] = []
        self.write(state)

    def write(self, state: Mapping[str, Any]) -> None:
        """Have the next call begin with a state."""
        run = self.executable
        kinds = {n: run.kind(run.system.decls[n].dtype) for n in state}
        new = [{n: np.array(a, kinds[n], order="C") for n, a in state.items()} for _ in range(2)]
        found = {n: (address(new[0][n]), address(new[1][n])) for n in state}
        self.slots = [(n, found[name]) for n, name in run.carried]
        self.slots += [(n, found[name][::-1]) for n, name in run.written]
        self.places, self.side = new, 0

    def read(self) -> dict[str, Any]:
        """The state, in arrays that no later call changes."""
        return {name: array.copy() for name, array in self.places[self.side].items()}

    def copy(self) -> Session:
        """Another that goes on from here."""
        return NativeSession(self.executable, self.held, self.places[self.side])

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The next call, with the other arrays; returns the outputs that are not carried."""
        run, side, spare = self.executable, self.side, self.spare
        space = spare.pop() if spare else self.held.space(run, lengths, batch)
        if space.batch != batch or space.lengths != lengths:
            run.keep(space)
            space = self.held.space(run, lengths, batch)
        table = space.table
        for n, addresses in self.slots:
            table[n] = addresses[side]
        if run.wants_all:
            values = {**self.held.values, **self.places[side], **values}
        results = space.run(run.run, values)
        self.side = 1 - side
        if space.small and not spare:
            spare.append(space)
        else:
            run.keep(space)
        return results


class NativeExecutable(AbstractExecutable):
    """One program as a compiled function."""

    program: Program

    def __init__(self, system: System, options: Options) -> None:
        self.system = system
        self.dtype, self._options = np.dtype(options.dtype), options
        start()
        # Without `vectorize`, for `fuse` makes wider kernels.
        self.program = compile_system(apart(system), without=("vectorize", *options.without))
        how = "panels" not in options.without, options.held, options.carried
        self.emitted = emit(self.program, options.dtype, vector_bytes(), helpers(), *how)
        compiled = self._callable()
        system = self.program.system  # with the names that the passes made
        self._arena = "arena" not in options.without
        self.run, self._idle = InterruptibleCall(compiled.function("run", 3)), Idle()
        self.once = compiled.function("once", 3) if self.sizes_once() else None
        self.borrowed = {
            n: self.kind(d.dtype) for n, d in system.decls.items() if d.given and n not in self.program.buffers
        }
        self.constants = {
            n: np.ascontiguousarray(d.array, self.kind(d.dtype))
            for n, d in system.decls.items()
            if d.kind == "constant"
        }
        hosts = [(n, h) for n, h in enumerate(self.emitted.hosts) if system.decls[h].given]
        same = {*options.held, *options.carried, *self.constants}
        self.slots = [(n, h, self.borrowed[h]) for n, h in hosts if h in self.borrowed and h not in same]
        self.carried = [(n, h) for n, h in hosts if h in self.borrowed and h in options.carried]
        behind = len(self.emitted.hosts) + len(self.emitted.packs)
        self.written = list(enumerate(self.emitted.carried, behind))
        outputs = {self.emitted.layouts[r.name].host for r in system.outputs.values()}
        self.wants_all = any(h not in self.borrowed for _, h in hosts) or not outputs.isdisjoint(self.borrowed)
        self._nothing = None if options.held or options.carried else HeldArrays(self, {})

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
        own = [h for h in emitted.hosts if h not in self.borrowed and h not in emitted.held]
        sizes = {h: self._bytes(emitted.layouts[h], numbers) for h in own}
        when = emitted.live
        for name, items, number in emitted.packs[emitted.once :]:
            sizes[name] = items.at(numbers) * self.dtype.itemsize
            when = LiveRanges({**when.first, name: number}, {**when.final, name: number})
        if not self._arena:
            when = LiveRanges(
                dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
            )  # all at once: none takes another's place
        return sizes, *offsets(sizes, when)

    def sizes_once(self) -> dict[str, int]:
        """Bytes of what stays the same with the arrays that are held."""
        emitted = self.emitted
        packs = {name: items.at({}) * self.dtype.itemsize for name, items, _ in emitted.packs[: emitted.once]}
        return packs | {h: self._bytes(emitted.layouts[h], {}) for h in emitted.held}

    def _bytes(self, layout: Layout, numbers: Mapping[str, int]) -> int:
        return layout.elements.at(numbers) * int(self.kind(layout.kind).itemsize)

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
        held = self._nothing
        if held is None:
            parts = ({n: values[n] for n in names} for names in (self._options.held, self._options.carried))
            session = self.session(*parts)
            return averaged({**session(values, lengths, batch), **session.read()}, self._options, batch)
        space = held.space(self, lengths, batch)
        results = space.run(self.run, {**held.values, **values} if self.wants_all else values)
        self.keep(space)
        return averaged(results, self._options, batch)

    def session(self, held: Mapping[str, Any], state: Mapping[str, Any]) -> Session:
        """Calls one after another; what needs only `held` is computed here."""
        return NativeSession(self, HeldArrays(self, held), state)

    def take(self, numbers: Mapping[str, int]) -> Workspace:
        """Memory for a run."""
        space: Workspace = self._idle.take(tuple(numbers.values()), lambda: Workspace(self, numbers))
        return space

    def keep(self, space: Workspace) -> None:
        """Give it back."""
        self._idle.keep(space.shape, space)

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
