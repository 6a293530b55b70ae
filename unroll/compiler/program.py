"""The program: what runs once over all steps, what runs in loops, and the buffers they write. No arrays here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.axes import Range
from ..ir.system import System
from ..printing.plain import EquationWriter
from ..records import record
from . import nest_text
from .statements import Fuse, Repeat, Step, by_points, row, shown, walk


@record
class Buffer:
    """The memory of one name: the steps it holds along each axis kept, and what is cleared before the run.

    clear   None for nothing, "all", or per kept axis the steps before and after those that the first statement sets
    inside  None, or the buffer in which it lies, and at which element of the last axis it begins there; both hold the
            same steps
    """

    name: str
    axes: tuple[Range, ...]
    clear: Any = None
    inside: tuple[str, int] | None = None


@dataclass(frozen=True, repr=False)
class Program:
    """Steps in order, and the buffers they use; the lengths are numbers in it, so one program serves all of them."""

    system: System
    buffers: Mapping[str, Buffer]
    steps: tuple[Step, ...]

    def storage(self, name: str) -> tuple[str, int]:
        """The buffer with memory of its own in which a name lies, and at which element of the last axis."""
        offset = 0
        while name in self.buffers and (inside := self.buffers[name].inside) is not None:
            name, offset = inside[0], offset + inside[1]
        return name, offset

    @property
    def joined(self) -> dict[str, list[str]]:
        """The buffers that others lie in, with those in the order in which they lie there."""
        found: dict[str, list[str]] = {}
        for b in sorted(self.buffers.values(), key=lambda b: b.inside or ("", 0)):
            if b.inside is not None:
                found.setdefault(b.inside[0], []).append(b.name)
        return found

    def nests(self) -> str:
        """The same as loop nests, in which every number that is read stands with its index; ``print`` it.

        >>> from unroll import Template, ops, t
        >>> g = Template("leak"); W, x, h = g.param("W", (3, 3)), g.input("x", 3), g.variable("h", 3)
        >>> h[0] = 0
        >>> h[t] = ops.softmax(W @ h[t-1] + x[t])
        >>> g.output("h", h[t])
        >>> print(g.compile().program("h").nests())
        h[0][i] = 0    for i < 3
        for t = 1, ..., T:
          h.1[t][i] = sum(j: W[i, j] * h[t-1][j])    for i < 3
          h.2[t][i] = h.1[t][i] + x[t][i]    for i < 3
          h[t][i] = exp(h.2[t][i] - r2) / where(r3 == 0, 1, r3)    for i < 3
              r1 = max(j: h.2[t][j])
              r2 = where(isfinite(r1), r1, 0)
              r3 = sum(j: exp(h.2[t][j] - r2))
        """
        return nest_text.text(self.system, self.steps)

    def __str__(self) -> str:
        """What lies in one piece, then one step a line, loops indented."""
        writer = EquationWriter(self.system, inline=False)
        lines = [f"{name} = {', '.join(parts)} side by side" for name, parts in self.joined.items()]
        for depth, step in walk(self.steps):
            pad = "  " * depth
            if isinstance(step, Repeat):
                lines.append(f"{pad}{step}    # {'; '.join(step.through)}")
            elif isinstance(step, Fuse):
                rows = [r for s in step.body if (r := row(self.system, s)) is not None]
                lines.append(f"{pad}{'at every point' if by_points(rows) else 'in every row'}:")
            else:
                e = step.equation
                mark = "+=" if step.mode == "add" else "="
                over = ", ".join(map(str, e.domain))
                lines.append(
                    f"{pad}{e.out} {mark} {writer.right(shown(step))}    for {over}"
                    if over and not step.offsets
                    else f"{pad}{e.out} {mark} {writer.right(shown(step))}"
                )
        return "\n".join(lines)

    __repr__ = __str__
