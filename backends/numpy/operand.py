"""An operand in generated NumPy source: its text, and which axes of the statement its array has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

BATCH = "batch"


@dataclass(frozen=True)
class Operand:
    """A view of a buffer, or a number.

    text    the expression
    lead    names of its leading axes, in order: time axes that the statement spans, then `BATCH`
    shape   per-example shape
    moving  True if its value changes from step to step of a loop around the statement
    whole   the leading axes along which it spans its buffer from end to end, so that neighbours can be merged
    number  True for a Python number
    """

    text: str
    lead: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    moving: bool = False
    whole: frozenset[str] = frozenset()
    number: bool = False

    @property
    def rank(self) -> int:
        """Number of per-example axes."""
        return len(self.shape)

    def indexed(self, suffix: str) -> str:
        """The text with brackets after it, in parentheses where it is not a plain name or subscript."""
        return f"{self.text}[{suffix}]"

    def placed(self, lead: Sequence[str], rank: int) -> str:
        """The text with size-1 axes put in, so that it broadcasts against `lead` and `rank` per-example axes."""
        if self.number or (not self.lead and self.rank <= rank):
            return self.text
        ordered = self.ordered(lead)
        missing = [axis not in self.lead for axis in lead]
        first = missing.index(False) if self.lead else len(missing)
        marks = ["None" if m else ":" for m in missing[first:]] + ["None"] * (rank - self.rank)
        if "None" not in marks:
            return ordered.text
        tail = ", ".join(marks) + ", ..." if self.rank else ", ".join(marks)
        return ordered.indexed(tail)

    def ordered(self, lead: Sequence[str]) -> Operand:
        """The operand with its leading axes in the order of `lead`."""
        want = [axis for axis in lead if axis in self.lead]
        if want == list(self.lead):
            return self
        order = [self.lead.index(axis) for axis in want]
        order += range(len(self.lead), len(self.lead) + self.rank)
        text = f"{self.text}.transpose({', '.join(map(str, order))})"
        return replace(self, text=text, lead=tuple(want), whole=frozenset())
