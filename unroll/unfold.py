"""Template and lengths -> Dag."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .dag import Dag, check_reads
from .errors import LengthError
from .ir import System


def unfold(system: System, lengths: Mapping[str, int], detail: str = "variables") -> Dag:
    """The unfolded graph. Raises LengthError where a length is missing, unknown, negative, or too small for a read."""
    check_lengths(system, lengths)
    if detail not in ("variables", "ops"):
        raise ValueError(f'detail={detail!r}: choose "variables" or "ops"')
    check_reads(system, lengths)
    return Dag(system, lengths, detail)


def used_ends(system: System, names: Collection[str] | None = None) -> list[str]:
    """The ends ("T") of the axes along which the system, or some of its names, has anything."""
    used = {a for d in system.decls.values() if names is None or d.name in names for a in d.axes} | {
        r.axis for e in system.equations for r in e.domain
    }
    return [a.end for a in system.axes if a in used]


def check_lengths(system: System, lengths: Mapping[str, int]) -> None:
    """One length for each axis, an integer from 0 up. Raises LengthError."""
    ends = used_ends(system)
    for end in ends:
        if end not in lengths:
            raise LengthError(f"the length {end} is missing: give {end}=..., the number of steps")
    for end, n in lengths.items():
        if end not in [a.end for a in system.axes]:
            known = f"it has {', '.join(ends)}" if ends else "it has none"
            raise LengthError(f"template {system.name!r} has no axis that ends in {end}; {known}")
        check_length(end, n)


def check_length(end: str, n: object) -> None:
    """Raises LengthError for what is no number of steps."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 0:
        raise LengthError(f"{end} = {n!r}: a length is an integer from 0 up")
