"""What is done with a case, and what can come of it: failures, refusals, and cases that decide nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


Keys = dict[Any, Any]
TIGHT, LOOSE = 1e-9, 2e-5  # relative to the largest element, or to 1


TIGHT, LOOSE = 1e-9, 2e-5  # relative to the largest element, or to 1
NEAR = {"float64": 1e-8, "float32": 2e-4}  # as near to a kink or tie, rounding decides


@dataclass(frozen=True)
class Probe:
    """What is done with a case."""

    check: str
    backend: str = "numpy"
    dtype: str = "float64"
    layout: str = "plain"
    seed: int = 0
    without: tuple[str, ...] = ()
    batch_first: bool = False

    @property
    def fewest(self) -> int:
        """Steps from which numpy computes a recurrence in blocks: for some probes from the first, else as ever."""
        return 2 if self.seed % 3 == 0 and self.backend == "numpy" else FEWEST

    def __str__(self) -> str:
        more = [f"layout {self.layout}"] if self.layout != "plain" else []
        more += [f"without {', '.join(self.without)}"] if self.without else []
        more += ["batch first"] if self.batch_first else []
        return f"{self.check} on {self.backend} in {self.dtype}" + "".join(f", {text}" for text in more)


@dataclass(frozen=True)
class Failure:
    """Where a backend and PyTorch part."""

    kind: str  # mismatch, shape, dtype, error, no error, changed, crash, hang
    what: str
    text: str

    @property
    def signature(self) -> str:
        """What stays the same between two cases of one fault."""
        return f"error: {normal(self.text)}" if self.kind == "error" else f"{self.kind}: {self.what}"


def normal(text: str) -> str:
    """An error's first line without names and numbers."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    first = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", first)
    first = re.sub(r"0x[0-9a-f]+", "N", re.sub(r"\(\S+~seed is a variable\)", "(it is a variable)", first))
    first = re.sub(r"\b[hwxyzq]\d+\b(\[[^\]]*\])?|\b[ipv]\d+\b", "NAME", first)
    first = re.sub(r"its (inputs|params): .*", r"its \1", first)
    return re.sub(r"-?\d+(\.\d+)?", "N", first)[:160]


FEWEST = 128
"""Steps from which numpy computes a recurrence in blocks."""


class Refused(Exception):
    """What the API says it cannot do, in a way that its documents or its error name as a limit."""


LIMITS = (  # what may be refused when a net is called
    ("CausalityError", "with lengths of their own"),
    ("DifferentiationError", "only through argmax, which has no derivative"),
)


class Skip(Exception):
    """A case that decides nothing, and why."""


class Unexpected(Exception):
    """A call that failed, or did not and should have."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure
