"""Inputs that a net fills by itself: random numbers, which steps an example has, where a step stands in its chunk.

They are inputs like any other: they are drawn, printed and read at a step, and a run gives the same whatever the
schedule and the backend. Nothing random happens inside a program.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers, drawn anew for every step, example and element.

    kind  "uniform" in [0, 1); "normal" of mean 0 and variance 1; "mask": 0 with probability `rate`, else 1/(1-rate), so
          that its mean is 1
    """

    kind: str
    rate: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} noise" + (f", {self.rate:g}" if self.kind == "mask" else "")


@dataclass(frozen=True, slots=True)
class Within:
    """True at the steps that an example has."""

    def __str__(self) -> str:
        return "steps of the example"


@dataclass(frozen=True, slots=True)
class Chunk:
    """How far a step stands from the end of its chunk of `period` steps that lies towards step 1 (or towards T).

    The first step of a chunk is at 0 from its start, the last at 0 from its end. There is no chunk before the first and
    none after the last: there it is `FAR`, unless chunks go on for ever (`endless`).
    """

    period: int
    towards_end: bool = False
    endless: bool = False

    def __str__(self) -> str:
        return f"place in {self.period} steps"


Automatic = Noise | Within | Chunk
FAR = 2**40
"""Farther than any delay."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Not filled by the net: an input of the user's whose values lie in [low, high]."""

    low: float
    high: float
