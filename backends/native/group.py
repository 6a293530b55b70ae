"""The dimensions of a product, grouped into rows, columns and what is summed over."""

from __future__ import annotations

from dataclasses import dataclass

from .sizes import ONE, ZERO, Size


@dataclass(frozen=True)
class Group:
    """Dimensions of a product seen as one: its size, and the step of each operand along it."""

    extent: Size
    left: Size
    right: Size
    out: Size

    def turned(self) -> Group:
        """With its operands exchanged."""
        return Group(self.extent, self.right, self.left, self.out)


NOTHING = Group(ONE, ZERO, ZERO, ZERO)
