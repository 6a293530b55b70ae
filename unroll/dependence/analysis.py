"""What passes ask of a system's dependences, worked out once: its flows, edges, components and order of loops."""

from __future__ import annotations

from functools import cached_property

from ..ir.system import System
from .flows import Dependence, Flow, dependences, operations
from .loop_order import Plan, plan
from .scc import components


class Analysis:
    """The dependences of one system, one flow an equation; a system is frozen, so that they stay true."""

    def __init__(self, system: System) -> None:
        self.flows: list[Flow] = operations(system)
        self._axes = system.axes

    @cached_property
    def edges(self) -> list[Dependence]:
        """Which equation reads what another writes."""
        return dependences(self.flows)

    @cached_property
    def components(self) -> list[list[int]]:
        """The strongly connected components, in an order of computation."""
        return components(range(len(self.flows)), [(e.producer, e.consumer) for e in self.edges])

    @cached_property
    def order(self) -> Plan:
        """The loops, and what runs once. Raises NoOrder."""
        return plan(self.flows, self._axes, self.edges)


def analysis(system: System) -> Analysis:
    """The analysis of a system, which is kept with it."""
    known: Analysis | None = vars(system).get("analysis")
    if known is None:
        known = vars(system)["analysis"] = Analysis(system)
    return known
