"""What a probabilistic model says: which variables are random, with which distributions, and the systems made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..ir.system import Equation, Operand, Ref, System
from .distributions import FAMILIES, DistributionFamily


@dataclass(frozen=True, slots=True, repr=False)
class Distribution:
    """How a random variable is distributed given its parents.

    family      "categorical", "bernoulli", "normal" or "uniform"
    parameters  what it is told by: names, read at the step of the variable itself, numbers, or what an equation reads
    out         what is random: y[t], or a boundary such as y[0]
    equations   those that draw it, where the template does: one for each of the ranges of steps at which it is drawn
    shown       their right side, as it is printed
    """

    family: str
    parameters: tuple[str | float | Operand, ...]
    out: Ref
    equations: tuple[Equation, ...] = ()
    shown: str = ""

    @property
    def record(self) -> DistributionFamily:
        """The record of its family."""
        return FAMILIES[self.family]

    def __str__(self) -> str:
        return self.shown or f"{self.family}({', '.join(map(str, self.parameters))})"

    __repr__ = __str__


class ModelSpec(Protocol):
    """A model as its net and its Bayesian network read it: see `Model`."""

    system: System
    given: tuple[str, ...]

    @property
    def random(self) -> Mapping[str, Distribution]: ...

    @property
    def likelihood(self) -> System: ...

    @property
    def generative(self) -> System: ...

    @property
    def sampler(self) -> System: ...

    def labels(self, law: Distribution) -> int: ...
