"""One run's memory as arrays: what is given goes in, results come out. The same for a device and for its stand-in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from .plan import Plan
from .storage import widened

RAW = {"float16": "uint16", "bfloat16": "uint16"}
"""Bits, of which no arithmetic is done here."""


class AbstractFrame(ABC):
    """The memory of runs at one shape.

    raw  bytes, as an array of a NumPy-like library, as many as the plan wants
    """

    def __init__(self, plan: Plan, numbers: Mapping[str, int], raw: Any, where: Mapping[str, int]) -> None:
        self.plan, self.numbers = plan, numbers
        self.arena = raw
        self.arrays: dict[str, Any] = {}
        for host, size in plan.sizes(numbers).items():
            part = raw[where[host] : where[host] + size]
            self.arrays[host] = part.view(RAW.get(plan.kind(host), plan.kind(host))).reshape(plan.shape(host, numbers))
        self.results = {name: plan.result(ref, numbers) for name, ref in plan.system.outputs.items()}
        decls = plan.system.decls
        self.given = {h: plan.inside(h, numbers) for h in plan.hosts if h in decls and decls[h].given}

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by name, in NumPy arrays of their own."""
        for host, inside in self.given.items():
            decl = self.plan.system.decls[host]
            self.put(self.arrays[host], inside, decl.detail if decl.kind == "constant" else values[host])
        self.run()
        found = {name: (self.get(self.arrays[host][part]), host) for name, (host, part) in self.results.items()}
        return {name: widened(array, self.plan.kind(host)) for name, (array, host) in found.items()}

    @abstractmethod
    def put(self, array: Any, inside: tuple[slice, ...], value: Any) -> None:
        """``array[inside] = value``."""

    @abstractmethod
    def get(self, array: Any) -> Any:
        """A NumPy copy."""

    @abstractmethod
    def run(self) -> None:
        """All that the plan says, in order."""


class AbstractMachine(ABC):
    """What plans run on."""

    @abstractmethod
    def frame(self, numbers: Mapping[str, int]) -> AbstractFrame:
        """Memory for runs at these lengths and this batch size. Raises MemoryLimitError."""
