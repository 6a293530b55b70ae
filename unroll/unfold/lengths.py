"""Unfolding: template and lengths -> Dag; lengths and batch sizes checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ArrayError, LengthError
from ..ir.system import System
from ..ops.integers import integer
from .dag import Dag
from .existence import check_reads


def unfold(system: System, lengths: Mapping[str, int], detail: str = "variables") -> Dag:
    """The unfolded graph. Raises LengthError where a length is missing, unknown, negative, or too small for a read."""
    return Dag(system, unfoldable(system, lengths, detail), detail)


def unfoldable(system: System, lengths: Mapping[str, int], detail: str) -> dict[str, int]:
    """The lengths at which a system is unfolded, checked as `unfold` does."""
    lengths = checked_lengths(system, lengths)
    if detail not in ("variables", "ops"):
        raise ValueError(f'detail={detail!r}: choose "variables" or "ops"')
    check_reads(system, lengths)
    return lengths


def used_ends(system: System, names: Collection[str] | None = None) -> list[str]:
    """The ends ("T") of the axes along which the system, or some of its names, has anything."""
    used = {a for d in system.decls.values() if names is None or d.name in names for a in d.axes} | {
        r.axis for e in system.equations for r in e.domain
    }
    return [a.end for a in system.axes if a in used]


def checked_lengths(system: System, lengths: Mapping[str, Any]) -> dict[str, int]:
    """One length for each axis, an integer from 0 up. Raises LengthError."""
    ends = used_ends(system)
    for end in ends:
        if end not in lengths:
            raise LengthError(f"the length {end} is missing: give {end}=..., the number of steps")
    for end in lengths:
        if end not in [a.end for a in system.axes]:
            known = f"it has {', '.join(ends)}" if ends else "it has none"
            raise LengthError(f"template {system.name!r} has no axis that ends in {end}; {known}")
    return {end: length(end, n) for end, n in lengths.items()}


MOST = 2**48
"""Of steps and of examples: beyond it counts of elements would have no room in 64 bits."""


def length(end: str, given: object) -> int:
    """A number of steps as a Python int. Raises LengthError for what is none."""
    steps = integer(given)
    if steps is None or steps < 0:
        raise LengthError(f"{end} = {given!r}: a length is an integer from 0 up")
    if steps > MOST:
        raise LengthError(f"{end} = {steps}: a length is at most {MOST:,}")
    return steps


def batch_size(given: object) -> int:
    """A number of examples as a Python int. Raises ArrayError for what is none."""
    size = integer(given)
    if size is None or size < 1:
        raise ArrayError(f"batch={given!r}: the number of examples is an integer from 1 up")
    if size > MOST:
        raise ArrayError(f"batch={size}: the number of examples is at most {MOST:,}")
    return size
