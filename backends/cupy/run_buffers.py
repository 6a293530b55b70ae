"""Run buffers: one run's memory as arrays, where arguments and results lie in it. The same for an emulated device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from .plan import Plan

RAW = {"float16": "uint16", "bfloat16": "uint16"}
"""Bits, of which no arithmetic is done here."""


class AbstractFrame(ABC):
    """The memory of runs at one shape.

    raw      bytes, as an array of a NumPy-like library, as many as the plan wants
    given    by host, the part that the user's array fills
    results  by output, the part that holds it
    """

    def __init__(self, plan: Plan, numbers: Mapping[str, int], raw: Any, where: Mapping[str, int]) -> None:
        self.plan, self.numbers = plan, numbers
        self.arena, self.bytes = raw, raw.nbytes
        self.arrays: dict[str, Any] = {}
        for host, size in plan.sizes(numbers).items():
            part = raw[where[host] : where[host] + size]
            self.arrays[host] = part.view(RAW.get(plan.kind(host), plan.kind(host))).reshape(plan.shape(host, numbers))
        decls = plan.system.decls
        self.given = {
            h: self.arrays[h][plan.layouts[h].inside(numbers)] for h in plan.hosts if h in decls and decls[h].given
        }
        outputs = plan.system.outputs.items()
        self.hosts = {name: plan.layouts[ref.name].host for name, ref in outputs}
        self.results = {n: self.arrays[self.hosts[n]][plan.layouts[r.name].part(r, numbers)] for n, r in outputs}

    @abstractmethod
    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Run on what is given by name (constants are the plan's own); the outputs in arrays of their own.

        Those that `Options.averaged` names are averaged.
        """


class AbstractMachine(ABC):
    """What plans run on."""

    @abstractmethod
    def frame(self, numbers: Mapping[str, int]) -> AbstractFrame:
        """Memory for runs at these lengths and this batch size. Raises MemoryLimitError."""

    def room(self) -> int | None:
        """Bytes that are available there; None where that is unknown."""
        return None

    def release(self) -> None:
        """Give back memory that is kept for later."""
        return
