"""Which variables belong to one cell: the layer ``h`` and what its cell has named after it, ``c_h``, ``f_h``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LEAST = 3
"""Variables that make a cell worth a box."""


def cells(names: Iterable[str]) -> dict[str, list[str]]:
    """The variables of each cell, by the name of its layer; a name belongs to the longest layer that it ends in."""
    names = list(names)
    found: dict[str, list[str]] = {}
    for name in names:
        layers = [n for n in names if name.endswith(f"_{n}") and name != n]
        if layers:
            found.setdefault(max(layers, key=len), []).append(name)
    return {layer: [layer, *members] for layer, members in found.items() if len(members) + 1 >= LEAST}


def short_names(found: Mapping[str, list[str]], declared: Iterable[str]) -> dict[str, str]:
    """``f_h`` as ``f`` where there is one cell, and nothing else is called f."""
    if len(found) != 1:
        return {}
    (layer,) = found
    taken = set(declared)
    ending = f"_{layer}"
    return {n: n.removesuffix(ending) for n in taken if n.endswith(ending) and n.removesuffix(ending) not in taken}
