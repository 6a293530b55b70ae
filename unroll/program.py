"""The program: what runs once over all steps, what runs in loops, and the buffers they write. No arrays here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .ir import Const, Equation, Extent, Operand, Ref, System
from .text import Writer, view_text
from .timeindex import Axis, Index, Range


@dataclass(frozen=True, slots=True)
class View:
    """A rearrangement read in place, without computing: "transpose" or "slice" with its attributes."""

    op: str
    attrs: tuple[tuple[str, Any], ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Access:
    """A ref as a statement reads it: the instance in memory, then views of it."""

    ref: Ref
    views: tuple[View, ...] = ()


Argument = Access | Const | Extent


@dataclass(frozen=True, slots=True)
class Compute:
    """One equation, over every axis of its domain that no loop around it fixes.

    mode     "set" writes the left-hand side, "add" adds to what is there
    offsets  for each loop around it, k: at the loop's step i the statement computes its own step ``i + k``
    """

    equation: Equation
    args: tuple[Argument, ...]
    mode: str
    offsets: tuple[tuple[Axis, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """`body` once per step of `axis` in `steps`, upwards or downwards.

    through  how one step needs another, for the report
    """

    axis: Axis
    direction: int
    steps: tuple[Index, Index]
    body: tuple[Compute | Repeat, ...]
    through: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Buffer:
    """The memory of one name: the steps it holds along each axis kept, and what is cleared before the run.

    clear  None for nothing, "all", or per kept axis the steps before and after those that the first statement sets
    """

    name: str
    axes: tuple[Range, ...]
    clear: Any = None


@dataclass(frozen=True)
class Program:
    """Steps in order, and the buffers they use; the lengths are numbers in it, so one program serves all of them."""

    system: System
    buffers: Mapping[str, Buffer]
    steps: tuple[Compute | Repeat, ...]

    def __str__(self) -> str:
        """One step a line, loops indented."""
        writer = Writer(self.system, inline=False)
        lines = []
        for depth, step in walk(self.steps):
            pad = "  " * depth
            if isinstance(step, Repeat):
                lo, hi = step.steps if step.direction > 0 else step.steps[::-1]
                lines.append(f"{pad}for {step.axis.name} = {lo}, ..., {hi}:    # {'; '.join(step.through)}")
            else:
                e = step.equation
                mark = "+=" if step.mode == "add" else "="
                over = ", ".join(map(str, e.domain))
                lines.append(
                    f"{pad}{e.out} {mark} {writer.right(shown(step))}    for {over}"
                    if over and not depth
                    else f"{pad}{e.out} {mark} {writer.right(shown(step))}"
                )
        return "\n".join(lines)


def shown(step: Compute) -> Equation:
    """The equation of a step with what it reads in place written out: ``V.T``, ``h[t][0:3]``."""
    args: list[Operand] = []
    for arg in step.args:
        if isinstance(arg, Access):
            text = str(arg.ref)
            for view in arg.views:
                text += view_text(view.op, dict(view.attrs))
            args.append(Ref(text) if arg.views else arg.ref)
        else:
            args.append(arg)
    return replace(step.equation, args=tuple(args))


def walk(steps: tuple[Compute | Repeat, ...]) -> Iterator[tuple[int, Compute | Repeat]]:
    """Every step with its depth, in order."""
    stack = [(0, step) for step in reversed(steps)]
    while stack:
        depth, step = stack.pop()
        yield depth, step
        if isinstance(step, Repeat):
            stack.extend((depth + 1, inner) for inner in reversed(step.body))
