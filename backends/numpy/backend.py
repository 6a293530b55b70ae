"""The NumPy backend: generated source, compiled once, with memory kept per lengths and batch size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.pipeline import compile_system
from ...compiler.program import Program
from ...compiler.report import Costs
from ...errors import NonFiniteError
from ...ir.system import System
from ...log import LOG
from ...ops.core import called
from ...types import Array
from ..base import AbstractBackend, AbstractExecutable, Options, averaged
from ..common.host_arrays import NumpyArrays
from ..common.memory_budget import Idle, afford, elements, numbers_of
from ..common.python_source import load
from ..common.symbolic_size import BATCH_END
from . import tuning
from .debug import checked, describe
from .emit import Emitter
from .kernels import compute, rows, scatter_sum
from .scan import scan
from .sums import total

SCAN = "scan"


@dataclass(frozen=True)
class Workspace:
    """The memory of runs of one shape, and the function that runs in it."""

    bytes: int
    arrays: Mapping[str, Any]
    run: Callable[[Mapping[str, Any]], dict[str, Any]]


class NumpyExecutable(AbstractExecutable):
    """One program as a Python function; its source is `source`."""

    program: Program

    def __init__(self, system: System, options: Options) -> None:
        self.system = system
        # What is found by debug_nans has the user's own name, and is found where it arises.
        as_written = ("merge", "vectorize", "fuse") if options.debug_nans else ()
        self.program = compile_system(system, without=(*as_written, *options.without), loops=False)
        self.options = options
        emitted = Emitter(self.program, options.dtype, options.debug_nans, SCAN not in options.without).emit()
        self.source = emitted.text
        scope: dict[str, Any] = {"np": np, "scatter_sum": scatter_sum, "rows": rows, "scan": scan, "total": total}
        scope["check"] = self._check
        dtype = np.dtype(options.dtype)
        for name, value in emitted.scope.items():
            scope[name] = _kernel(value, dtype) if isinstance(value, tuple) else value
        load(self.source, f"numpy {system.name!a}", scope)
        self._prepare, self._allocate = scope["prepare"], scope["allocate"]
        self._idle = Idle()

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        shape = tuple(numbers_of(self.system, lengths, batch).values())
        if self.options.debug_nans:
            self._check_given(values)
        with np.errstate(all="ignore"):
            workspace = self._idle.take(shape, lambda: self._workspace(lengths, batch, shape))
            results: dict[str, Any] = workspace.run(values)
        self._idle.keep(shape, workspace)
        return averaged(results, self.options, batch)

    def _workspace(self, lengths: Mapping[str, int], batch: int, shape: tuple[int, ...]) -> Workspace:
        costs = self.costs(lengths, batch)
        afford(costs.arena + costs.results, {BATCH_END: batch, **lengths})
        arrays = self._allocate(np.empty, *shape)
        steps = min(max(lengths.values(), default=0), tuning.MAX_PREPARED_VIEWS)
        views = self.source.count("= rows(") * steps * tuning.VIEW_BYTES
        return Workspace(costs.arena + views, arrays, self._prepare(arrays, *shape))

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs:
        """The memory of its buffers; what NumPy itself needs within a statement comes on top."""
        numbers = numbers_of(self.system, lengths, batch)
        names = self._allocate(lambda size, kind: math.prod(size) * np.dtype(kind).itemsize, *numbers.values())
        count = elements(self.system.outputs.values(), self.system.decls, numbers)
        return Costs(names, sum(names.values()), count * np.dtype(self.options.dtype).itemsize)

    def _check_given(self, values: Mapping[str, Any]) -> None:
        for name, decl in self.system.decls.items():
            if name in values and decl.dtype == "float":
                axes = 0 if decl.kind == "param" else len(decl.axes)
                self._check(name, values[name], [(1, True)] * axes)

    def _check(self, name: str, array: Array, steps: Sequence[tuple[int, bool]]) -> None:
        """Raise NonFiniteError for the first step at which `array` holds a nan or an infinity."""
        if np.all(np.isfinite(array)) or not checked(self.system, name):
            return
        spans = sum(spanned for _, spanned in steps)
        bad = ~np.isfinite(array)
        flat = bad.reshape(*array.shape[:spans], -1).any(axis=-1)
        first = [int(i) for i in np.argwhere(flat)[0]] if spans else []
        where = iter(first)
        shown = [start + next(where) if spanned else start for start, spanned in steps]
        raise NonFiniteError(describe(self.system, name, shown, array[tuple(first)]))

    def __str__(self) -> str:
        return str(self.program)


def _kernel(named: tuple[str, tuple[int, ...], Mapping[str, Any]], dtype: Any) -> Callable[..., Any]:
    op, ranks, attrs = named
    operation = called(op)

    def call(*args: Any) -> Any:
        arrays = [np.asarray(a, dtype) if isinstance(a, float) else np.asarray(a) for a in args]
        return compute(operation, arrays, ranks, attrs, dtype)

    return call


class Numpy(NumpyArrays, AbstractBackend):
    """Runs on any CPU, with NumPy alone."""

    name = "numpy"
    optional = (SCAN,)
    """Linear recurrences as blocked scans."""

    def build(self, system: System, options: Options) -> NumpyExecutable:
        """Generate and load the source."""
        return NumpyExecutable(system, options)


BACKEND = Numpy()


def alone(options: Options) -> bool:
    """True for runs that no compiling backend has: complex steps, and the search for nans."""
    return options.dtype == "complex128" or options.debug_nans


def instead(name: str, op: str, system: System, options: Options) -> NumpyExecutable | None:
    """NumPy in place of the backend `name`, where that cannot run a system; None where it can.

    op  an operation of the system that has no form there, being a Python function alone; "" if none
    """
    if op:
        warnings.warn(
            f"{op} is a Python function alone: template {system.name!r} runs on numpy instead of {name}; "
            f"give ops.define(..., body=) an expression in other operations",
            stacklevel=3,
        )
    if not (op or alone(options)):
        return None
    why = op or ("debug_nans=True" if options.debug_nans else options.dtype)
    LOG.info("template %r: runs on numpy instead of %s, which has no form for %s", system.name, name, why)
    return BACKEND.build(system, options)
