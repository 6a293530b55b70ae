"""A system in two halves: what some outputs need, which keeps what the rest reads of it, and the rest.

Both are ordinary systems. Law: one after the other they give what the whole does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..ir.axes import Index
from ..ir.rewrite import live
from ..ir.system import Decl, System
from .step_split import as_input, boundary, whole_of

KEPT = "~kept"


@dataclass(frozen=True)
class Halves:
    """The system that runs first, the one that runs then, and the outputs of the first by the inputs of the second."""

    first: System
    then: System
    kept: Mapping[str, str]


def halved(system: System, early: Collection[Any], seeds: Mapping[str, Decl]) -> Halves:
    """Cut a system behind the outputs `early`; the second half declares `seeds`, whether it reads them or not.

    A variable is kept at its steps 1..T, and at the boundaries beyond these; what was given is given to both halves.
    """
    names = live(system, [system.outputs[key].name for key in early])
    first = [e for e in system.equations if e.out.name in names]
    then = [e for e in system.equations if e.out.name not in names]
    later = [r for key, r in system.outputs.items() if key not in early]
    read = [n for n in dict.fromkeys(r.name for r in (*(r for e in then for r in e.refs), *later)) if n in names]
    decls, kept, outputs = {**system.decls, **seeds}, {}, {}
    for name in read:
        decl = system.decls[name]
        if not decl.given:
            decls[name] = as_input(decl)
            kept[name], outputs[name + KEPT] = name + KEPT, whole_of(decl)
        for ref in dict.fromkeys(e.out for e in first if e.out.name == name and any(map(_beyond, e.out.index))):
            key = f"{ref}{KEPT}"
            decls[key] = as_input(replace(decl, name=key, axes=ref.running))
            kept[key], outputs[key] = key, ref
            then.append(boundary(ref, decls[key]))
    chosen = {key: r for key, r in system.outputs.items() if key in early}
    rest = {key: r for key, r in system.outputs.items() if key not in early}
    return Halves(
        replace(system, equations=tuple(first), outputs={**chosen, **outputs}),
        replace(system, equations=tuple(then), outputs=rest, decls=decls),
        kept,
    )


def _beyond(index: Index) -> bool:
    """True for a step before the first or after the last."""
    return not index.runs and (index.shift > 0 if index.axis is not None else index.shift < 1)
