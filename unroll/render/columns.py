"""Which steps of an axis are drawn, and which an ellipsis stands for."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.axes import Axis


class Line:
    """The columns of one axis, from left to right: numbers of steps, and None for the ellipsis.

    first, last  the ends of what there is, boundaries included
    most         how many columns there may be; None for all. Where the steps are more, the middle is left out
    around       a step: only this one, its neighbours and the ends beyond these are drawn
    """

    def __init__(self, first: int, last: int, most: int | None, around: int | None = None) -> None:
        self.around = around
        if around is not None:
            first, last = max(first, around - 2), min(last, around + 2)
        self.columns: Sequence[int | None] = range(first, last + 1)
        self.left_out = range(0)
        if most is not None and len(self.columns) > most:
            head = most // 2
            tail = most - head - 1
            self.left_out = range(first + head, last - tail + 1)
            self.columns = (*range(first, first + head), None, *range(last - tail + 1, last + 1))
        self._drawn = frozenset(self.columns) if self.left_out else self.columns

    @property
    def numbers(self) -> list[int]:
        """The steps that are drawn."""
        return [k for k in self.columns if k is not None]

    def text(self, step: int) -> str:
        """A step as it is printed: its number, or where it stands from the one in the middle."""
        if self.around is None:
            return str(step)
        away = step - self.around
        return "…" if self.beyond(step) else f"t{away:+d}" if away else "t"

    def beyond(self, step: int | None) -> bool:
        """True for the ends of what is drawn around a step."""
        return self.around is not None and step is not None and abs(step - self.around) > 1

    def column(self, step: int) -> int | None:
        """The step itself where it is drawn, None where the ellipsis stands for it."""
        return step if step in self._drawn else None

    def hidden(self, steps: range) -> int | None:
        """A step of those that the ellipsis stands for, or None where it stands for none of them."""
        found = max(steps.start, self.left_out.start)
        return found if found < min(steps.stop, self.left_out.stop) else None


def dots(out: Sequence[Axis], crossed: Sequence[Axis], turned: bool) -> str:
    """An ellipsis in the direction in which it leaves steps out.

    out      the axes of which it leaves steps out
    crossed  the two axes of a grid, that to the right first; none in other pictures, where all run to the right
    turned   True where what runs to the right on other pages runs downwards
    """
    if crossed and len(out) > 1:
        return "⋱" if turned else "⋰"
    upwards = bool(crossed) and out[0] == crossed[1]
    return "⋮" if upwards != turned else "⋯"
