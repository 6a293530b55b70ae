"""Products canonicalised to (batch, M, N, K): dimensions grouped into rows, columns and the reduction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .symbolic_size import ONE, ZERO, Key, Size


@dataclass(frozen=True)
class Group:
    """Dimensions of a product seen as one: its size, and the step of each operand along it."""

    extent: Size
    left: Size
    right: Size
    out: Size

    def exchanged(self) -> Group:
        """With its operands exchanged."""
        return Group(self.extent, self.right, self.left, self.out)


NOTHING = Group(ONE, ZERO, ZERO, ZERO)


def transposed(rows: Group, columns: Group, deep: Group) -> tuple[Group, Group, Group]:
    """The same product the other way round: ``(A @ B).T`` as ``B.T @ A.T``."""
    return columns.exchanged(), rows.exchanged(), deep.exchanged()


Steps = Mapping[Key, Size]
"""How far an operand moves along a dimension; along one that is missing, not at all."""


def grouped(
    dims: list[tuple[Key, Size]], left: Steps, right: Steps, out: Steps, together: bool = False
) -> tuple[list[tuple[Key, Size]], Group, Group, Group] | None:
    """Dimensions looped over, rows, columns and what is summed; None where it is no product of matrices.

    together  whether products side by side, one for each example or step, may be looped over
    """
    groups: dict[str, list[tuple[Key, Group]]] = {"rows": [], "columns": [], "deep": [], "loops": []}
    for key, n in dims:
        group = Group(n, left.get(key, ZERO), right.get(key, ZERO), out.get(key, ZERO))
        has = (group.left != ZERO, group.right != ZERO, group.out != ZERO)
        role = {
            (True, False, True): "rows", (False, True, True): "columns", (True, True, False): "deep"
        }.get(has, "loops")  # fmt: skip
        groups[role].append((key, group))
    if not groups["deep"] or not (groups["rows"] or groups["columns"]):
        return None
    if not together and any(g.left != ZERO and g.right != ZERO and g.out != ZERO for _, g in groups["loops"]):
        return None
    made = {}
    loops = [(key, g.extent) for key, g in groups["loops"]]
    for role in ("rows", "columns", "deep"):
        merged = NOTHING
        for key, g in reversed(groups[role]):
            if merged is NOTHING:
                merged = g
            elif all(
                x == y * merged.extent for x, y in ((g.left, merged.left), (g.right, merged.right), (g.out, merged.out))
            ):
                merged = Group(g.extent * merged.extent, merged.left, merged.right, merged.out)
            else:
                loops.append((key, g.extent))
        made[role] = merged
    rows, columns, deep = made["rows"], made["columns"], made["deep"]
    steps = [rows.left, rows.out, columns.right, columns.out, deep.left, deep.right]
    if any(s.factor < 0 for s in steps):
        return None
    if ONE not in (rows.out, columns.out):
        return None
    if NOTHING in (rows, columns) and ONE not in (rows.left, columns.right):
        return None  # sums along what lies side by side
    return loops, rows, columns, deep
