"""The names of the package's own, temporaries and generated inputs: none that a user has, and none twice."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from .rewrite import rewritten
from .system import Decl, Ref, System

LOSS, TANGENT = "~loss", "~tangent"
"""What results are called that have no name of the user's, in which there is no tilde."""
PENDING = "."
"""Before the name of an input that a net fills, until the system is finished: no name of a user's holds it."""


def is_hidden(name: str) -> bool:
    """True for what the user has no name for: temporaries and constants, ``h.4``, and their cotangents, ``h.4~``."""
    return "." in name


def is_cotangent(name: str) -> bool:
    """True for ``h~``, the cotangent of h, and for whatever is named after it."""
    return "~" in name


def primal(name: str) -> str:
    """What a cotangent is of: h of ``h~``; any other name itself."""
    return name.rstrip("~")


def owner(name: str) -> str:
    """The declared name that a hidden one serves: h of ``h.4`` and of ``h.4~``; "" where it serves none."""
    return name.partition(".")[0]


def direction(name: str) -> tuple[str, str]:
    """The name and its role in a derivative: W and "tangent" of ``W~tangent``; "" for what is none."""
    stem, _, role = name.partition("~")
    return stem, role


def intervened(shown: object) -> str:
    """The input that sets an instance from outside: ``do(h[3])`` (Pearl 2009)."""
    return f"do({shown})"


def unused(wish: str, taken: Container[str]) -> str:
    """The wish where that name is free, else the wish with the first number that makes it free: ``o_fed_2``."""
    name, number = wish, 1
    while name in taken:
        number += 1
        name = f"{wish}_{number}"
    return name


def numbered(wish: str, taken: Container[str]) -> str:
    """The wish with the first number that makes it free, from 1: ``noise1``."""
    number = 1
    while f"{wish}{number}" in taken:
        number += 1
    return f"{wish}{number}"


def settled(decls: Mapping[str, Decl]) -> dict[str, str]:
    """Names for the inputs that a net fills and whose names are pending."""
    taken = dict.fromkeys(decls)
    names: dict[str, str] = {}
    for name, decl in decls.items():
        if decl.automatic and name.startswith(PENDING):
            names[name] = numbered(name.removeprefix(PENDING).rstrip("0123456789"), taken)
            taken[names[name]] = None
    return names


def renamed(system: System) -> System:
    """The system with names for all that has none yet.

    Temporaries and constants are named after the variable they serve, numbered in the order of their equations.
    """
    serves: dict[str, str] = {}
    for equation in reversed(system.equations):
        out, decl = equation.out.name, system.decls[equation.out.name]
        served = decl.of or serves.get(out) if decl.kind == "temporary" else out
        if served is None:
            continue
        for ref in equation.refs:
            if system.decls[ref.name].kind in ("temporary", "constant"):
                serves.setdefault(ref.name, served)
    names = settled(system.decls)
    unnamed = [n for n, d in system.decls.items() if d.kind in ("temporary", "constant") and d.of is None]
    taken = set(system.decls).difference(unnamed)
    counts: dict[str, int] = {}
    for name in unnamed:
        served = serves.get(name, "")
        number = counts.get(served, 0) + 1
        while (new := f"{served}.{number}") in taken:
            number += 1
        counts[served], names[name] = number, new
    return substitute_names(system, names)


def substitute_names(system: System, names: Mapping[str, str]) -> System:
    """The system with names replaced."""

    def ref(r: Ref) -> Ref:
        return Ref(names[r.name], r.index) if r.name in names else r

    decls = dict[str, Decl]()
    for name, decl in system.decls.items():
        new = names.get(name)
        if new is not None:
            decl = decl.called(new, (owner(new) or None) if is_hidden(new) else decl.of)
        decls[decl.name] = decl
    equations = tuple([rewritten(e, ref, ref(e.out)) for e in system.equations])
    outputs = {k: ref(v) for k, v in system.outputs.items()}
    return replace(system, decls=decls, equations=equations, outputs=outputs)
