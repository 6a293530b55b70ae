"""Stable exponentials: max, logsumexp, softmax and cross-entropy of a row, as reductions and pointwise operations.

The largest element is subtracted before anything is raised, so that nothing overflows (Goodfellow et al., section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

V = TypeVar("V")


class Row(Protocol[V]):
    """A row of numbers, and what a code generator can do with it; a value V knows whether it is a float or a bool."""

    def reduced(self, op: str, change: Callable[[V], V]) -> V:
        """The "sum" or the "max" of all elements, each of them changed."""
        ...

    def apply(self, op: str, *args: V | float) -> V:
        """A pointwise operation."""
        ...

    def named(self, value: V) -> V:
        """A value that is used several times, and computed once."""
        ...

    def chosen(self) -> V:
        """The element that the label names."""
        ...


def element(op: str, row: Row[V]) -> Callable[[V], V]:
    """What an element of the result is, given the element of the row at its place, which a softmax alone looks at.

    A row whose largest element is infinite is left unshifted, and a softmax is zero where the sum is: as NumPy has it.
    """
    top = row.reduced("max", lambda x: x)
    if op == "max":
        return lambda x: top
    shift = row.named(row.apply("where", row.apply("isfinite", top), top, 0.0))

    def raised(x: V) -> V:
        return row.apply("exp", row.apply("sub", x, shift))

    total = row.named(row.reduced("sum", raised))
    if op == "softmax":
        divisor = row.named(row.apply("where", row.apply("equal", total, 0.0), 1.0, total))
        return lambda x: row.apply("div", raised(x), divisor)
    logarithm = row.apply("log", total)
    if op == "logsumexp":
        value = row.apply("add", logarithm, shift)
    else:
        value = row.apply("sub", logarithm, row.apply("sub", row.chosen(), shift))
    return lambda x: value
