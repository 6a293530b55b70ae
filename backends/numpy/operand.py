"""An operand in generated NumPy source: its text, and which axes of the statement its array has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...ir.axes import Axis, Range
from ...ops.shapes import as_slice
from ...records import lazy, record
from ..common.symbolic_size import Key
from .products import flipped

BATCH: Key = "batch"
GATES: Key = "gates"
FEATURES: Key = "features"
"""The axis of gates, in a statement that computes several of them (see `gate_major`)."""


@record
class Operand:
    """A view of a buffer, or a number.

    text    the expression
    lead    its leading axes, in order: time axes that the statement spans, then `BATCH`
    shape   per-example shape
    moving  True if its value changes from step to step of a loop around the statement
    whole   the leading axes, and `FEATURES` for the first per-example one, that lie end to end in one step of the axis
            before, so that the two can be merged without a copy
    number  True for a Python number
    """

    text: str
    lead: tuple[Key, ...] = ()
    shape: tuple[int, ...] = ()
    moving: bool = False
    whole: frozenset[Key] = frozenset()
    number: bool = False

    @property
    def rank(self) -> int:
        """Number of per-example axes."""
        return len(self.shape)

    def indexed(self, suffix: str) -> str:
        """The text with brackets after it, in parentheses where it is not a plain name or subscript."""
        return f"{self.text}[{suffix}]"

    def aligned(self, lead: Sequence[Key], rank: int) -> str:
        """The text with size-1 axes put in, so that it broadcasts against `lead` and `rank` per-example axes."""
        if self.number or (not self.lead and self.rank <= rank) or (self.lead == lead and self.rank == rank):
            return self.text
        ordered = self.ordered(lead)
        missing = [axis not in self.lead for axis in lead]
        first = missing.index(False) if self.lead else len(missing)
        marks = ["None" if m else ":" for m in missing[first:]] + ["None"] * (rank - self.rank)
        if "None" not in marks:
            return ordered.text
        tail = ", ".join(marks) + ", ..." if self.rank else ", ".join(marks)
        return ordered.indexed(tail)

    def ordered(self, lead: Sequence[Key]) -> Operand:
        """The operand with its leading axes in the order of `lead`."""
        if len(self.lead) < 2:
            return self
        want = [axis for axis in lead if axis in self.lead]
        if want == list(self.lead):
            return self
        order = [self.lead.index(axis) for axis in want]
        order += range(len(self.lead), len(self.lead) + self.rank)
        text = f"{self.text}.transpose({', '.join(map(str, order))})"
        return replace(self, text=text, lead=tuple(want), whole=frozenset())


@record
class Where:
    """Where one statement stands: loop variables around it, the axes it spans at once, and names that change there.

    gates  their number and size in a statement that goes gate by gate
    block  the steps of the first axis that are computed together, as names for the first and past the last of them,
           counted from 0; None for all
    exists False where the statement may read a step that some lengths lack, and does not run then: no view or copy of
           what it reads may be made beforehand
    """

    loops: Mapping[Axis, tuple[str, int]]
    spans: tuple[Range, ...]
    batched: bool
    changing: frozenset[str]
    gates: tuple[int, int] | None = None
    block: tuple[str, str] | None = None
    exists: bool = True

    @lazy
    def ranges(self) -> Mapping[Axis, Range]:
        """What it spans, by axis."""
        return {r.axis: r for r in self.spans}

    @lazy
    def lead(self) -> tuple[Key, ...]:
        """The leading axes of what the statement computes."""
        return (
            *(r.axis for r in self.spans),
            *([GATES] if self.gates else []),
            *([BATCH] if self.batched else []),
        )


def gated(x: Operand, count: int, size: int, sizes: Mapping[Key, str]) -> Operand:
    """A vector of gates side by side, seen gate by gate."""
    steps = [axis for axis in x.lead if axis != BATCH]
    text = f"{x.text}.reshape({', '.join([sizes[a] for a in x.lead] + [str(count), str(size)])})"
    if BATCH in x.lead:
        order = [*range(len(steps)), len(steps) + 1, len(steps), len(steps) + 2]
        text += f".transpose({', '.join(map(str, order))})"
    lead = (*steps, GATES, *([BATCH] if BATCH in x.lead else []))
    return replace(x, text=text, lead=lead, shape=(size,), whole=frozenset())


def viewed(x: Operand, op: str, attrs: Mapping[str, Any]) -> Operand:
    """The operand rearranged in place, by a transpose or a slice of its per-example axes."""
    lead = len(x.lead)
    if op == "transpose":
        axes = attrs.get("axes")
        order = list(range(x.rank - 1, -1, -1)) if axes is None else [a + x.rank for a in axes]
        if order == list(range(x.rank)):
            return x
        shape = tuple(x.shape[i] for i in order)
        if not lead and order == [1, 0]:
            text = flipped(x.text)
        else:
            text = f"{x.text}.transpose({', '.join(map(str, [*range(lead), *(lead + i for i in order)]))})"
        return replace(x, text=text, shape=shape, whole=frozenset())
    parts = attrs["parts"]
    shape = (
        tuple(
            len(range(*as_slice(p).indices(n)))  # type: ignore[union-attr]
            for p, n in zip(parts, x.shape, strict=False)
            if not isinstance(p, int)
        )
        + x.shape[len(parts) :]
    )
    shown = [str(p) if isinstance(p, int) else _bounds(*p) for p in parts]
    text = f"{x.text}[{', '.join([':'] * lead + shown)}{'' if lead or shape else ', ...'}]"
    return replace(x, text=text, shape=shape, whole=frozenset())


def _bounds(start: int | None, stop: int | None, step: int | None) -> str:
    text = f"{'' if start is None else start}:{'' if stop is None else stop}"
    return text if step is None else f"{text}:{step}"
