"""Sorting along an axis: the rank of each element, and elements moved to and from places that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .core import Op, Operand, Symbolic, composite, define
from .errors import ShapeError
from .integers import integer
from .reduce import as_symbol
from .shape_ops import getitem, transpose
from .shapes import Family, Shape, negative_axes


def _ranked(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    if not shapes[0]:
        raise ShapeError("elements are sorted along an axis, and a value of shape () has none")
    return shapes[0]


def _rows(name: str, shapes: Sequence[Shape]) -> None:
    values, index = shapes
    if not values or not index or values[:-1] != index[:-1]:
        raise ShapeError(f"{name} takes elements of the last axis, row by row: values {values}, indices {index}")


def _taken(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    _rows("take_along", shapes)
    if not shapes[0][-1]:
        raise ShapeError(f"take_along: an index names an element of a row, and rows of {shapes[0]} have none")
    return shapes[1]


def _put(shapes: Sequence[Shape], attrs: Mapping[str, Any]) -> Shape:
    _rows("put_along", shapes)
    if shapes[0] != shapes[1]:
        raise ShapeError(f"put_along takes an index for each value: values {shapes[0]}, indices {shapes[1]}")
    return (*shapes[0][:-1], attrs["size"])


rank_family = Family("rank", _ranked, ((((4,),), {}), (((2, 3),), {"descending": True})))

_rank = define("rank", rank_family, None, kinds="f->i", analytic=False)
_take_along: Op = define(
    "take_along",
    Family("take_along", _taken),
    lambda g, y, x, i: _put_along(g, i, size=x.shape[-1]),
    None,
    kinds="f,i->f",
)
_put_along: Op = define(
    "put_along", Family("put_along", _put), lambda g, y, x, i, size: _take_along(g, i), None, kinds="f,i->f"
)


def take_along(values: Operand, index: Operand) -> Symbolic:
    """Elements of each row by integer index, as ``take_along_axis`` of NumPy and ``gather`` of PyTorch (last axis).

    Shapes: values (..., n), index (..., m) -> (..., m). Indices run from 0 to n - 1. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x, i = g.input("x", 5), g.input("i", 2, dtype="int"); ops.take_along(x[t], i[t]).shape
    (2,)
    """
    return _take_along(values, index)


def _last(x: Symbolic, axis: int) -> Symbolic:
    """The value with an axis and the last one exchanged."""
    if axis == -1:
        return x
    order = list(range(-len(x.shape), 0))
    order[axis], order[-1] = order[-1], order[axis]
    return transpose(x, order)


@composite
def sort(x: Operand, axis: int = -1, *, descending: bool = False) -> Symbolic:
    """The values in order along a per-example axis; equal ones keep theirs, and nan is the largest, as in NumPy.

    Shapes: s -> s. A cotangent goes back to where its value came from. Each element is compared with all others of its
    row. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 5); ops.sort(x[t])
    sort(x[t])
    """
    x = as_symbol(x)
    (along,) = negative_axes(axis, len(x.shape))
    row = _last(x, along)
    ranks = _rank(row, descending=True) if descending else _rank(row)
    return _last(_put_along(row, ranks, size=row.shape[-1]), along)


@composite
def top_k(x: Operand, k: int, axis: int = -1) -> Symbolic:
    """The k largest values along a per-example axis, the largest first; nan is the largest, as in PyTorch and JAX.

    Shapes: (..., n) -> (..., k). Of equal ones the first are taken. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 5); ops.top_k(x[t], 2).shape
    (2,)
    """
    x = as_symbol(x)
    (along,) = negative_axes(axis, len(x.shape))
    number = integer(k)
    if number is None or not 0 <= number <= x.shape[along]:
        raise ShapeError(f"top_k takes a number from 0 to the {x.shape[along]} values along axis {axis}; got {k!r}")
    return getitem(sort(x, axis, descending=True), (..., slice(0, number), *[slice(None)] * (-along - 1)))
