"""Native memory under guard: each buffer lies at a page that nobody may touch, so an access outside ends the process.

Called by itself, it runs cases one after the other and names each before it begins, so that whoever started it knows
which one ended it.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unroll.backends.native import backend as native
from unroll.errors import LengthError

PAGE = mmap.PAGESIZE
SIDES = ("end", "begin")
LIBC = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """Room for some bytes that ends, or begins, at a page that may not be touched; what is in it at first is nan.

    With "end", bytes of a size that is a multiple of `step` touch the page behind them; with "begin", the one before.
    """

    def __init__(self, size: int, side: str) -> None:
        pages = -(-size // PAGE) * PAGE
        self.map = mmap.mmap(-1, pages + 2 * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for at in (base, base + PAGE + pages):
            if LIBC.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.start = PAGE + (pages - size if side == "end" else 0)
        self.address = base + self.start
        self.bytes = np.frombuffer(self.map, np.uint8, size, self.start)
        self.bytes[:] = 0xFF

    def view(self, dtype: Any, shape: Sequence[int]) -> Any:
        """The bytes as an array, which keeps them."""
        return self.bytes.view(dtype).reshape(shape)


def copied(array: Any, side: str) -> Any:
    """An array's elements under guard."""
    array = np.ascontiguousarray(array)
    room = Guarded(array.nbytes, side).view(array.dtype, array.shape)
    room[...] = array
    return room


@contextmanager
def guards(side: str) -> Iterator[list[int]]:
    """Every native run's buffers and arrays under guard; yields how many buffers there have been, one number a run."""
    count: list[int] = []

    class Workspace(native.Workspace):
        """As it is without guards, with each buffer in a place of its own."""

        def __init__(self, run: Any, numbers: Mapping[str, int]) -> None:
            super().__init__(run, numbers)
            emitted, system = run.emitted, run.system
            sizes, _, _ = run.plan(numbers)
            self.rooms = {name: Guarded(size, side) for name, size in sizes.items()}
            names = [*emitted.hosts, *(name for name, _, _ in emitted.packs)]
            for n, name in enumerate(names):
                if name in self.rooms:
                    self.table[n] = self.rooms[name].address
            for host in self.arrays:
                layout = emitted.layouts[host]
                self.arrays[host] = self.rooms[host].view(run.kind(layout.kind), layout.array(numbers))
            self.given = {h: self.arrays[h][emitted.layouts[h].inside(numbers)] for h in self.given}
            places = {n: (emitted.layouts[r.name], r) for n, r in system.outputs.items() if n in self.results}
            self.results = {n: self.arrays[x.host][x.part(r, numbers)] for n, (x, r) in places.items()}
            count.append(len(self.rooms))

    class HeldArrays(native.HeldArrays):
        """As it is without guards, with the constants in places of their own."""

        def __init__(self, run: Any, held: Mapping[str, Any]) -> None:
            run.constants = {n: copied(a, side) for n, a in run.constants.items()}
            super().__init__(run, held)

    before, call, unguarded = native.Workspace, native.NativeExecutable.__call__, native.HeldArrays
    small, native.tuning.MAX_BYTES_COPIED = native.tuning.MAX_BYTES_COPIED, -1  # into no place without guards

    def guarded_call(self: Any, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> Any:
        kinds = {n: kind for n, kind in self.borrowed.items() if n in values}
        given = {n: copied(np.ascontiguousarray(values[n], kind), side) for n, kind in kinds.items()}
        return call(self, {**values, **given}, lengths, batch)

    native.Workspace, native.NativeExecutable.__call__ = Workspace, guarded_call  # type: ignore[misc, method-assign]
    native.HeldArrays = HeldArrays  # type: ignore[misc]
    try:
        yield count
    finally:
        native.Workspace, native.NativeExecutable.__call__ = before, call  # type: ignore[misc, method-assign]
        native.HeldArrays, native.tuning.MAX_BYTES_COPIED = unguarded, small  # type: ignore[misc]


def collection() -> Iterator[tuple[str, Callable[[], None]]]:
    """The zoo in both precisions at lengths around those of blocks and vectors, values and gradients."""
    from .zoo import ZOO, arrays_for, lengths_for, params_for

    for name, (dtype, steps, batch) in itertools.product(
        ZOO, [("float32", 5, 3), ("float64", 1, None), ("float32", 0, 2), ("float64", 33, 5)]
    ):

        def case(name: str = name, dtype: str = dtype, steps: int = steps, batch: int | None = batch) -> None:
            g, rng = ZOO[name](), np.random.default_rng(0)
            net = g.compile("native", dtype=dtype)
            arrays = arrays_for(g, lengths_for(g, steps), batch, rng)
            arrays = {n: a.astype(dtype) if getattr(a, "dtype", "") == "float64" else a for n, a in arrays.items()}
            params = {n: p.astype(dtype) for n, p in params_for(g, rng).items()}
            try:
                net.run(params, list(g.system.outputs), **arrays)
                if g.system.loss is not None:
                    net.value_and_grad(params, **arrays)
            except LengthError:  # the template needs more steps
                pass

        yield f"{name} {dtype} {steps} {batch}", case


def random() -> Iterator[tuple[str, Callable[[], None]]]:
    """The random systems of the oracle, one for each seed, with what it compares for each."""
    from tests.oracle.trial import Options, trial

    for seed in itertools.count():

        def case(seed: int = seed) -> None:
            outcome = trial(seed, Options(("native",)), lambda case, probe: None)
            assert not outcome.failures, [(probe, failures) for _, probe, failures in outcome.failures]

        yield f"seed {seed}", case


def beyond() -> Iterator[tuple[str, Callable[[], None]]]:
    """A run that is told of one step more than its buffers have."""
    from unroll import Template, ops, t

    def case() -> None:
        g = Template()
        x, h = g.input("x", 512), g.variable("h", 512)
        h[0] = 0
        h[t] = ops.tanh(h[t - 1] + x[t])
        net = g.compile("native", dtype="float64")
        make = native.Workspace.__init__

        def longer(self: Any, run: Any, numbers: Mapping[str, int]) -> None:
            make(self, run, numbers)
            self.numbers[1] += 1

        native.Workspace.__init__ = longer  # type: ignore[method-assign]
        net.run({}, "h", x=np.ones((4, 1, 512)))

    yield "one step more", case


def main(side: str, source: str, start: int, stop: int) -> None:
    """Run the cases of a source from one to another, the name of each printed before it runs."""
    cases = {"collection": collection, "random": random, "beyond": beyond}[source]()
    with guards(side) as count:
        for n, (name, case) in enumerate(itertools.islice(cases, start, stop), start):
            print(n, name, flush=True)
            case()
    print("done", sum(count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
