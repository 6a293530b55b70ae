"""Contractions: the subscripts of a product, its dimensions and strides, and its form as a product of matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...compiler.statements import Compute
from ...ops.contract import subscripts
from .gemm_grouping import Group, grouped
from .symbolic_size import ONE, Dims, Key, Size


class Factor(Protocol):
    """An operand or a result: strides along the dimensions that a statement spans, and along its per-example axes."""

    @property
    def lead(self) -> Mapping[Key, Size]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def steps(self) -> tuple[Size, ...]: ...


@dataclass(frozen=True)
class Contraction:
    """``out (+)= sum of left * right`` over all dimensions that `out` has no stride along.

    dims              what the statement spans, the subscripts of the result, those that are summed; none of size 1
    left, right, out  elements from one step of a dimension to the next; a dimension that is missing has stride 0
    summed            the subscripts that the result lacks
    """

    dims: Dims
    left: Mapping[Key, Size]
    right: Mapping[Key, Size]
    out: Mapping[Key, Size]
    summed: tuple[Key, ...]

    def matrices(self, together: bool = False) -> tuple[Dims, Group, Group, Group] | None:
        """Its form as a product of matrices, see `grouped`; None where it has none."""
        return grouped(self.dims, self.left, self.right, self.out, together)


def contraction(step: Compute, span: Dims, left: Factor, right: Factor, out: Factor) -> Contraction:
    """The contraction that a statement is; `span` are the dimensions that it runs along."""
    e = step.equation
    a, b, c = ([f"*{x}" for x in part] for part in subscripts(e.op, [len(left.shape), len(right.shape)], dict(e.attrs)))
    sizes = dict(zip((*a, *b), (*left.shape, *right.shape), strict=True))
    summed = tuple(x for x in a if x not in c)  # every letter stands in two places
    dims = [*span, *((x, Size(sizes[x])) for x in (*c, *summed))]
    return Contraction(
        [(key, n) for key, n in dims if n != ONE], _along(left, a), _along(right, b), _along(out, c), summed
    )


def _along(x: Factor, names: Sequence[str]) -> dict[Key, Size]:
    return {**x.lead, **dict(zip(names, x.steps, strict=True))}
