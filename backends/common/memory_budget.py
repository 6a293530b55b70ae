"""Memory budget: how much a run may take of what the machine and its control group have left."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import WeakSet

from ...compiler.report import amount
from ...errors import MemoryLimitError
from ...ir.system import Decl, Ref, System
from ...log import LOG
from .forks import across_forks
from .symbolic_size import BATCH_END

GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use, of control groups of version 2 and 1."""


def available() -> int | None:
    """Bytes that can still be had; None where the system does not tell."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    for limit, used in GROUPS:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(min(found), 0) if found else None


def afford(wanted: int, numbers: Mapping[str, int]) -> None:
    """Raise MemoryLimitError, before anything is allocated, where a run wants more than there is.

    What is idle goes first.
    """
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("memory for runs at %s: %s", sizes_text(numbers), amount(wanted))
    left = available() if wanted > SMALL else None
    if left is not None and wanted > left:
        for idle in list(_on_host):
            idle.clear()
        left = available()
    if left is None or wanted <= left:
        return
    raise MemoryLimitError(
        f"at {sizes_text(numbers)} this run needs {amount(wanted)}, and {amount(left)} of memory is available. "
        "Memory grows with the batch size and with the length: give fewer examples at once, or shorter sequences; "
        'dtype="float32" takes half of float64; net.explain() lists the largest buffers'
    )


def sizes_text(numbers: Mapping[str, int]) -> str:
    """The batch size and the lengths, for a message."""
    lengths = [f"{end} = {n:,}" for end, n in numbers.items() if end != BATCH_END]
    return ", ".join([f"batch size {numbers[BATCH_END]:,}", *lengths])


def numbers_of(system: System, lengths: Mapping[str, int], batch: int) -> dict[str, int]:
    """The batch size and the length of every axis."""
    return {BATCH_END: batch, **{a.end: int(lengths.get(a.end, 0)) for a in system.axes}}


def elements(outputs: Iterable[Ref], decls: Mapping[str, Decl], numbers: Mapping[str, int]) -> int:
    """How many numbers the results hold."""
    return sum(_elements(decls[ref.name], ref, numbers) for ref in outputs)


def _elements(decl: Decl, ref: Ref, numbers: Mapping[str, int]) -> int:
    steps = [numbers[i.axis.end] for i in ref.index if i.axis is not None and i.runs]
    return math.prod((*steps, *([numbers[BATCH_END]] if decl.batched else []), *decl.shape))


class Idle(dict[tuple[int, ...], list[Any]]):
    """Workspaces that no run is using, by batch size and lengths, as many as ran at once in different threads.

    Together they take a part of what memory there is; those of the shape used longest ago go first, and the one used
    last is kept whatever it takes. A workspace says how many `bytes` it holds.

    room  tells the bytes that can still be had where they lie
    """

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, room: Callable[[], int | None] | None = None) -> None:
        super().__init__()
        self._room = room
        self._last: tuple[int, ...] | None = None
        self._limit = SMALL
        self.bytes = 0
        if room is None:
            _on_host.add(self)

    def take(self, shape: tuple[int, ...], make: Callable[[], Any]) -> Any:
        """An idle workspace, or a new one."""
        with LOCK:
            if idle := self.get(shape):
                workspace = idle.pop()
                self.bytes -= workspace.bytes
                return workspace
        return make()

    def keep(self, shape: tuple[int, ...], workspace: Any) -> None:
        """Give a workspace back."""
        gone = None
        with LOCK:
            if shape != self._last:
                self[shape] = self.pop(shape, [])
                self._last = shape
            self[shape].append(workspace)
            self.bytes += workspace.bytes
            if self.bytes > self._limit:
                gone = self._beyond()
        del gone  # without the lock: to free memory on a device may take a while

    def _beyond(self) -> list[Any]:
        """What goes, for there is more than there may be."""
        free = (self._room or available)()
        self._limit = max(SMALL, FALLBACK if free is None else int(PART * (free + self.bytes)))
        gone: list[Any] = []
        for shape in list(self):
            idle = self[shape]
            while len(idle) > (shape == self._last) and self.bytes > self._limit:
                gone.append(idle.pop(0))
                self.bytes -= gone[-1].bytes
            if not idle:
                del self[shape]
        return gone

    def clear(self) -> None:
        """Give everything up."""
        with LOCK:
            gone = dict(self)
            super().clear()
            self._last, self.bytes = None, 0
        gone.clear()


SMALL = 2**26
"""Bytes below which no check is made."""
PART = 1 / 8
"""Of the memory that there is, what the idle workspaces of one program may take."""
FALLBACK = 2**30
"""What they may take where the memory of the machine is unknown."""
LOCK = across_forks(RLock())
"""Held for a moment, by whoever takes a workspace or gives one back."""
_on_host: WeakSet[Idle] = WeakSet()
