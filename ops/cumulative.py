"""Products of all elements, and sums and products up to each, along a per-example axis, in about log2(n) steps."""

from __future__ import annotations

from .core import Operand, Symbolic, composite, define, placed
from .reduce import Axis, as_symbol
from .reduce import sum as total
from .shape_ops import concat, getitem
from .shapes import along, negative_axes


def _part(x: Symbolic, axis: int, part: slice | int) -> Symbolic:
    return getitem(x, (..., part, *[slice(None)] * (-axis - 1)))


def _reversed(x: Symbolic, axis: int) -> Symbolic:
    return _part(x, axis, slice(None, None, -1))


def _doubled(x: Symbolic, axis: int, multiplies: bool) -> Symbolic:
    """Hillis and Steele 1986: after each step an element holds what stands up to twice as far before it."""
    reach, n = 1, x.shape[axis]
    while reach < n:
        later, earlier = _part(x, axis, slice(reach, None)), _part(x, axis, slice(None, -reach))
        joined = earlier * later if multiplies else earlier + later
        x = concat([_part(x, axis, slice(None, reach)), joined], axis)
        reach *= 2
    return x


def _cumsum_rule(g: Symbolic, y: Symbolic, x: Symbolic, axis: tuple[int, ...]) -> Symbolic:
    return _reversed(_cumsum(_reversed(g, axis[0]), axis=axis), axis[0])


_cumsum = define("cumsum", along, _cumsum_rule, body=lambda x, axis: _doubled(x, axis[0], multiplies=False))


@placed
def cumsum(x: Operand, axis: int = -1) -> Symbolic:
    """The sums of each element and all before it along a per-example axis. Shapes: s -> s.

    Sums over the steps up to each one are a variable: ``s[0] = 0; s[t] = s[t-1] + x[t]``. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.cumsum(x[t])
    cumsum(x[t])
    """
    x = as_symbol(x)
    axes = negative_axes(axis, len(x.shape))
    return _cumsum(x, axis=axes) if x.shape[axes[0]] else x


@composite
def cumprod(x: Operand, axis: int = -1) -> Symbolic:
    """The products of each element and all before it along a per-example axis. Shapes: s -> s.

    Nothing is divided, so the derivatives are right where elements are 0. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.cumprod(x[t])
    cumprod(x[t])
    """
    x = as_symbol(x)
    return _doubled(x, negative_axes(axis, len(x.shape))[0], multiplies=True)


@composite
def prod(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Symbolic:
    """The product over per-example axes, all or those of `axis`; of no elements it is 1.

    Nothing is divided, so the derivatives are right where elements are 0. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.prod(x[t])
    prod(x[t])
    """
    x = as_symbol(x)
    axes = negative_axes(axis, len(x.shape))
    if 0 in [x.shape[a] for a in axes]:
        return total(x, axis, keepdims=keepdims) + 1.0
    for a in axes:
        x = _halved(x, a)
    return x if keepdims else getitem(x, tuple(0 if i - x.ndim in axes else slice(None) for i in range(x.ndim)))


def _halved(x: Symbolic, axis: int) -> Symbolic:
    """The product along an axis, which stays, at size 1: halves are multiplied, what is left over in the end."""
    rest = []
    while (n := x.shape[axis]) > 1:
        half = n // 2
        rest += [_part(x, axis, slice(2 * half, None))] if n % 2 else []
        x = _part(x, axis, slice(None, half)) * _part(x, axis, slice(half, 2 * half))
    for one in rest:
        x = x * one
    return x
