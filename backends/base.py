"""What a backend is: it turns a system of equations into something callable on arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.pipeline import OPTIONAL
from ..compiler.program import Program
from ..compiler.report import Costs
from ..errors import BackendError
from ..ir.system import Decl, System
from ..types import Array, Seed

FLOATS = ("float32", "float64", "complex128")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""The first means nothing is rounded further than the dtype; "tf32" rounds the factors of products alone."""


def checked_dtype(dtype: object) -> str:
    """One of `FLOATS`, which was given as text or as a type. Raises BackendError."""
    name = str(getattr(dtype, "__name__", dtype))
    if name not in FLOATS:
        raise BackendError(f"dtype={name!r}: choose one of {', '.join(FLOATS)}")
    return name


@dataclass(frozen=True, slots=True)
class Options:
    """How a system is to run.

    dtype       "float32", "float64" or "complex128" (for complex-step checks)
    debug_nans  stop at the first nan or infinity
    without     names out of `unroll.compiler.pipeline.OPTIONAL` and the backend's own `optional`, to leave out
    averaged    outputs that are averaged over the batch: the first has a number for each example and becomes their
                mean, the others are sums over the examples
    precision   one of `PRECISIONS`: what the factors of products, and what carries the batch, are rounded to in between
    held        inputs and params that stay as they are in a session, see `Session`
    carried     inputs that take what the output of their name was in the call before, in a session
    """

    dtype: str = "float32"
    debug_nans: bool = False
    without: tuple[str, ...] = ()
    precision: str = "float32"
    averaged: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The dtype, and the precision where it is another than strict."""
        return self.dtype if self.precision == PRECISIONS[0] else f"{self.dtype}, precision {self.precision}"


def averaged(results: dict[Any, Any], options: Options, batch: int) -> dict[Any, Any]:
    """Results with those of `options.averaged` averaged."""
    if options.averaged:
        loss, *sums = options.averaged
        if batch == 1:
            results[loss] = results[loss][0]
        else:
            with np.errstate(all="ignore"):
                results[loss] = np.add.reduce(results[loss]) / batch  # as `mean` does, in a third of its time
                results.update({name: results[name] / batch for name in sums})
    return results


class AbstractExecutable(ABC):
    """A system ready to run at any lengths and batch size. Final subclasses only.

    program  what it runs; None where it follows no schedule

    Law: the result equals that of the `reference` backend, to rounding.
    """

    program: Program | None = None

    @abstractmethod
    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The outputs of the system by name, in arrays of their own.

        values   an array per input, ``(steps of each axis..., batch, *shape)``, and per param, ``shape``
        lengths  steps per axis end, ``{"T": 5}``

        Outputs that run along axes come with their steps first, then the batch where they have one.
        """

    def session(self, held: Mapping[str, Any], state: Mapping[str, Any]) -> Session:
        """Calls one after another; `held` never changes, and each call begins with the state of the one before."""
        return Session(self, held, state)

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs | None:
        """The memory that a run takes; nothing is allocated. None where it is not known beforehand."""
        return None

    def __str__(self) -> str:
        """The program, one step a line."""
        return super().__str__()


class Session:
    """Calls one after another: the arrays `Options.held` never change, and each begins with what the last one carried.

    A call that raises leaves the state as it was.
    """

    def __init__(self, run: AbstractExecutable, held: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.executable, self._held, self._state = run, held, state

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The next call, with the other arrays; returns the outputs that are not carried."""
        results = self.executable({**self._held, **self._state, **values}, lengths, batch)
        self._state = {name: results.pop(name) for name in self._state}
        return results

    def read(self) -> Mapping[str, Any]:
        """The state, in arrays that no later call changes."""
        return self._state

    def write(self, state: Mapping[str, Any]) -> None:
        """Have the next call begin with a state."""
        self._state = state

    def copy(self) -> Session:
        """Another that goes on from here."""
        return Session(self.executable, self._held, self._state)


class AbstractBackend(ABC):
    """A way to run systems; `unroll.backends` lists them by name. Final subclasses only."""

    name: str
    optional: tuple[str, ...] = ()
    """Optimisations enabled by default, which `without=` leaves out."""
    waits: bool = True
    """Whether results are there when they are returned, so that what a run says of itself can be looked at."""
    precisions: tuple[str, ...] = PRECISIONS[:1]
    """Those that it has."""

    def obstacle(self) -> str:
        """Why it cannot run on this machine, and the way out; "" where it can."""
        return ""

    def devices(self) -> list[str]:
        """The devices here, each in a few words; none for what runs on the CPU."""
        return []

    def at(self, device: int | None, on_device: bool) -> AbstractBackend:
        """The backend for one of several devices, results staying there or not. Raises BackendError without any."""
        if device is not None or on_device:
            given = f"device={device!r}" if device is not None else "on_device=True"
            raise BackendError(f"{given}: backend {self.name!r} computes on the CPU; backend='cupy' has devices")
        return self

    def options(self, dtype: str, debug_nans: bool, without: Sequence[str], precision: str) -> Options:
        """How a system is to run, checked. Raises BackendError."""
        known = (*OPTIONAL, *self.optional)
        if unknown := [name for name in without if name not in known]:
            raise BackendError(f"without={unknown[0]!r}: what {self.name} can do without is {', '.join(known)}")
        return Options(dtype, debug_nans, tuple(without), self.rounding(precision, dtype))

    def rounding(self, precision: str, dtype: str) -> str:
        """The precision, where it can be had with a dtype. Raises BackendError."""
        if precision not in PRECISIONS:
            raise BackendError(f"precision={precision!r}: choose one of {', '.join(PRECISIONS)}")
        if precision not in self.precisions:
            raise BackendError(
                f"precision={precision!r}: backend {self.name!r} rounds nothing further than its dtype; choose "
                "backend='cupy', or leave precision= out"
            )
        if precision != PRECISIONS[0] and dtype != "float32":
            raise BackendError(
                f"precision={precision!r} goes with dtype='float32', got {dtype!r}; leave one of them out"
            )
        return precision

    def anticipate(self, system: System, options: Options) -> None:
        """Begin, beside what follows, with what a net of this system is going to want."""
        return

    def quiet(self) -> AbstractContextManager[Any]:
        """Where we compute: what becomes of overflows and the like is in the results, and no error of the user's."""
        return np.errstate(all="ignore")

    @abstractmethod
    def asarray(self, value: Array, dtype: str | None) -> Array:
        """An array of this backend; `dtype` None keeps the value's own. No copy where none is needed."""

    @abstractmethod
    def fits(self, value: Array, dtype: str) -> bool:
        """True for an array that `asarray` would return as it is."""

    @abstractmethod
    def misplaced(self, value: Array, name: str) -> str:
        """Why an array cannot be taken from the device that it lies on, and the way out; "" where it can."""

    @abstractmethod
    def bounds(self, array: Array) -> tuple[float, float] | None:
        """Smallest and largest element of a non-empty array, as Python numbers; None where that would take a wait."""

    @abstractmethod
    def mean(self, array: Array) -> Array:
        """Of all elements of a result, where that lies."""

    @abstractmethod
    def host(self, array: Array) -> Array:
        """An array of this backend as NumPy's."""

    @abstractmethod
    def as_result(self, array: Array) -> Array:
        """A NumPy array as results are."""

    @abstractmethod
    def pad(self, arrays: Sequence[Array], axes: int) -> Array:
        """The arrays as one, zero where one is shorter along any of the first `axes` axes, after which they lie."""

    @abstractmethod
    def cut(self, array: Array, axis: int, batch: int, ends: Sequence[int]) -> Array:
        """A copy with zero along `axis` from ``ends[b]`` on, for each b along the axis `batch`."""

    @abstractmethod
    def rows(self, array: Array, batch: int, rows: Sequence[int]) -> Array:
        """A copy in which the example at each index along the axis `batch` is that at ``rows[index]``."""

    @abstractmethod
    def key(self, seed: Seed) -> int:
        """A number that stands for a seed: an int from 0 up, or a Generator. Raises ArrayError."""

    @abstractmethod
    def joined(self, parts: Sequence[Array], along: int, batch: int | None, lengths: Array) -> Array:
        """Arrays one after another along an axis, cut behind the longest of `lengths`.

        batch  the axis of the examples, each of which is zero beyond its own length; None where there is none
        """

    @abstractmethod
    def supply(
        self, decl: Decl, steps: Sequence[int], batch: int, dtype: str, seed: int, start: int, ends: Sequence[Any]
    ) -> Array:
        """The array of a generated input, ``(*steps, batch, *shape)``: see `unroll.ir.generated_inputs`."""

    @abstractmethod
    def build(self, system: System, options: Options) -> AbstractExecutable:
        """Compile. The program does not depend on the lengths."""
