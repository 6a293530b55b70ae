"""What a template holds and what a net takes and returns, as text: names, shapes, steps, and how many numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.axes import Index, last
from ..ir.names import is_hidden
from ..ir.system import Decl, System, visible

SHOWN = ("input", "param", "variable", "cotangent")


class Summary:
    """The names of a system; ``print`` it.

    rows   by name: kind, shape per example and step, and the first and the last step along each axis
    count  numbers in all params
    """

    def __init__(self, system: System) -> None:
        self.name = visible(system.name)
        self._shown = [d for n, d in system.decls.items() if d.kind in SHOWN and not is_hidden(n)]
        self.rows = {d.name: (d.kind, d.shape, _steps(system, d)) for d in self._shown}
        self.count = _size(self._shown)

    def __str__(self) -> str:
        kinds = [(kind, sum(d.kind == kind for d in self._shown)) for kind in SHOWN]
        told = [
            counted(n, kind) + (f" of {counted(self.count, 'number')}" * (kind == "param")) for kind, n in kinds if n
        ]
        table = [self._row(d) for d in self._shown]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [f"template {self.name}: {', '.join(told) or 'nothing'}"]
        for name, kind, shape, steps, size in table:
            a, b, c, d, e = widths
            lines.append(f"  {name:<{a}}    {kind:<{b}}    {shape:>{c}}    {steps:<{d}}    {size:>{e}}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _row(self, decl: Decl) -> tuple[str, str, str, str, str]:
        kind = decl.kind + ("" if decl.dtype == "float" else f", {decl.dtype}")
        ranges = zip(decl.axes, self.rows[decl.name][2], strict=True)
        steps = ", ".join(f"{axis.name} = {lo}..{hi}" for axis, (lo, hi) in ranges)
        size = counted(_size([decl]), "number") if decl.kind == "param" else ""
        return visible(decl.name), kind, sized(decl.shape), steps, size


def _steps(system: System, decl: Decl) -> tuple[tuple[Index, Index], ...]:
    """The first and the last step that a name has along each of its axes, boundaries included."""
    ranges = []
    for place, axis in enumerate(decl.axes):
        ends = [Index(None, "", 1), last(axis)] if decl.given else []
        for e in system.writers[decl.name]:
            ends += e.written(place)
        numbered, from_end = [i for i in ends if not i.anchor], [i for i in ends if i.anchor]
        first, final = numbered or from_end, from_end or numbered
        ranges.append((min(first, key=lambda i: i.shift), max(final, key=lambda i: i.shift)))
    return tuple(ranges)


def _size(decls: Sequence[Decl]) -> int:
    return sum(math.prod(d.shape) for d in decls if d.kind == "param")


def counted(count: int, what: str) -> str:
    """``1 number``, ``2 numbers``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def sized(shape: Sequence[int]) -> str:
    """``64 x 27``, or ``scalar``."""
    return " x ".join(map(str, shape)) or "scalar"


def arguments(system: System, batch_first: bool) -> list[str]:
    """What a net takes and returns, a line each, with the shapes of its arrays."""

    def array(decl: Decl) -> str:
        steps = [a.end for a in decl.axes]
        each = ["B"] * decl.batched
        sizes = [*each, *steps] if batch_first else [*steps, *each]
        kind = "" if decl.dtype == "float" else f" {decl.dtype}"
        return f"{visible(decl.name)} ({', '.join(map(str, (*sizes, *decl.shape)))}){kind}"

    decls = system.decls.values()
    params = [d for d in decls if d.kind == "param"]
    inputs = [array(d) for d in decls if d.kind == "input" and not d.automatic]
    results = [visible(str(name)) for name in system.outputs] + ["loss"] * (system.loss is not None)
    shown = ", ".join(f"{visible(d.name)} {sized(d.shape)}" for d in params)
    rows = [("params", f"{shown}: {counted(_size(params), 'number')}" if params else "none")]
    return [f"  {a:<7}  {b}" for a, b in (*rows, ("takes", ", ".join(inputs)), ("returns", ", ".join(results))) if b]
