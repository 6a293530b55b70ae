"""What passes ask of a system's dependences, worked out once: its flows, edges, components and order of loops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..ir.axes import Axis
from ..ir.system import System
from .flows import Dependence, Flow, dependences, operations
from .loop_order import Plan, plan
from .scc import components


class Analysis:
    """The dependences between flows over some axes."""

    def __init__(self, flows: list[Flow], axes: Sequence[Axis]) -> None:
        self.flows, self.axes = flows, axes

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
        return plan(self.edges, self.components, self.axes)


def analysis(system: System) -> Analysis:
    """That of a system, one flow an equation; it is kept with the system, which is frozen, so that it stays true."""
    known: Analysis | None = vars(system).get("analysis")
    if known is None:
        known = vars(system)["analysis"] = Analysis(operations(system), system.axes)
    return known
