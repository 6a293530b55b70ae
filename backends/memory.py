"""How much memory a run may take: what the machine and its control group have left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import MemoryLimitError
from ..explain import amount
from ..ir import Decl, Ref, System

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
    """Raise MemoryLimitError, before anything is allocated, where a run wants more than there is."""
    left = available() if wanted > SMALL else None
    if left is None or wanted <= left:
        return
    at = ", ".join(f"{name} = {n:,}" for name, n in numbers.items())
    raise MemoryLimitError(
        f"at {at} this run wants {amount(wanted)}, and {amount(left)} of memory can be had. "
        "Memory grows with the batch size B and with the length: give fewer examples at once, or shorter sequences; "
        'dtype="float32" takes half of float64; net.explain() lists the largest buffers'
    )


def numbers_of(system: System, lengths: Mapping[str, int], batch: int) -> dict[str, int]:
    """The batch size and the length of every axis."""
    return {"B": batch, **{a.end: int(lengths.get(a.end, 0)) for a in system.axes}}


def elements(outputs: Iterable[Ref], decls: Mapping[str, Decl], numbers: Mapping[str, int]) -> int:
    """How many numbers the results hold."""
    return sum(_elements(decls[ref.name], ref, numbers) for ref in outputs)


def _elements(decl: Decl, ref: Ref, numbers: Mapping[str, int]) -> int:
    steps = [numbers[i.axis.end] for i in ref.index if i.axis is not None and i.runs]
    return math.prod((*steps, *([numbers["B"]] if decl.batched else []), *decl.shape))


KEPT = 2
"""Workspaces kept per shape, and shapes kept: as many as run at the same time in different threads, at most."""


class Idle(dict[tuple[int, ...], list[Any]]):
    """Workspaces that no run is using, by batch size and lengths; those of the lengths used longest ago go first."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def take(self, shape: tuple[int, ...], make: Callable[[], Any]) -> Any:
        """An idle workspace, or a new one."""
        with self._lock:
            if idle := self.get(shape):
                return idle.pop()
        return make()

    def keep(self, shape: tuple[int, ...], workspace: Any) -> None:
        """Give a workspace back."""
        with self._lock:
            if shape not in self:
                while len(self) >= KEPT:
                    self.pop(next(iter(self)))
                self[shape] = []
            if len(self[shape]) < KEPT:
                self[shape].append(workspace)


SMALL = 2**26
"""Bytes below which nobody asks."""
