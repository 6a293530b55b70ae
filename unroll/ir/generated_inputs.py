"""Inputs that the runtime generates: random numbers, masks of valid steps, of chunks, of last steps.

They are inputs like any other: they are drawn, printed and read at a step, and a run gives the same whatever the
schedule and the backend. Nothing random happens inside a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .axes import Index


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers, independent at every step, for every example and element.

    kind    "uniform" in [0, 1); "normal" of mean 0 and variance 1; "mask": 0 with probability `rate`, else 1/(1-rate),
            so that its mean is 1
    stream  what the numbers follow from besides the seed; no name of the user's, so renaming changes no draw
    """

    kind: str
    rate: float = 0.0
    stream: str = ""

    def __str__(self) -> str:
        return f"{self.kind} noise" + (f", {self.rate:g}" if self.kind == "mask" else "")


@dataclass(frozen=True, slots=True)
class Within:
    """True at the steps that an example has."""

    def __str__(self) -> str:
        return "steps of the example"


@dataclass(frozen=True, slots=True)
class Crossing:
    """True at the steps from which a read at `index` (t-1, 0, T) leaves the chunk of `period` steps.

    What stands before step 1 belongs to the first chunk, what stands after the last step to the last.
    """

    period: int
    index: Index

    @property
    def by_length(self) -> bool:
        """True where it depends on how many steps there are."""
        if self.index.runs:
            return self.index.shift > 0
        return self.index.axis is not None or self.index.shift > 1  # h[3] may stand after the last step

    def at(self, step: Any, last: Any) -> Any:
        """Whether it is so at a step, of `last`; numbers, or arrays of them."""
        position = self.index.shift + (step if self.index.runs else last if self.index.axis is not None else 0)
        inside = position + (1 - position) * (position < 1)
        inside = inside + (last - inside) * (inside > last)
        return (inside - 1) // self.period != (step - 1) // self.period

    def __str__(self) -> str:
        return f"{self.index} in another chunk of {self.period}"


@dataclass(frozen=True, slots=True)
class Every:
    """True at every `period`-th step, counted from the first one, or from the last one `backwards`."""

    period: int
    backwards: bool = False

    @property
    def by_length(self) -> bool:
        """True where it depends on how many steps there are."""
        return self.backwards

    def at(self, step: Any, last: Any) -> Any:
        """Whether it is so at a step, of `last`; numbers, or arrays of them."""
        return (last - step + 1 if self.backwards else step) % self.period == 0

    def __str__(self) -> str:
        return f"every {self.period} steps" + (" from the last" if self.backwards else "")


Automatic = Noise | Within | Crossing | Every


@dataclass(frozen=True, slots=True)
class Interval:
    """Not filled by the net: an input of the user's whose values lie in [low, high]."""

    low: float
    high: float
