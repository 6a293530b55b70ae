"""Reductions over per-example axes and over time axes, and the stable exponentials built on them.

Over a time axis (``over=s``) a reduction is an accumulating equation, which the template layer makes; over
per-example axes (``axis=``) it is an operation of this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast as typed

from .core import Operand, Symbolic, Unary, composite, define, placed
from .errors import ShapeError
from .pointwise import copy, equal, exp, isfinite, log, sqrt, stop_gradient, where
from .shape_ops import one_hot, reshape_op
from .shapes import Family, Shape, along, extreme, negative_axes, pick_family, reduction, size

Axis = int | Sequence[int] | None


def _kept(g: Symbolic, x: Symbolic, axis: tuple[int, ...]) -> Symbolic:
    """`g` with the axes that a reduction of `x` dropped, at size 1."""
    rank = len(x.shape)
    return reshape_op(g, shape=tuple(1 if i - rank in axis else n for i, n in enumerate(x.shape)))


def _finite(x: Symbolic) -> Symbolic:
    return where(isfinite(x), x, 0)


def _max_rule(g: Symbolic, y: Symbolic, x: Symbolic, axis: tuple[int, ...], keepdims: bool) -> Symbolic:
    chosen = where(equal(x, _kept(y, x, axis)), 1.0, 0.0)
    return chosen * _kept(g / _sum(chosen, axis=axis, keepdims=keepdims), x, axis)


def _logsumexp_rule(g: Symbolic, y: Symbolic, x: Symbolic, axis: tuple[int, ...], keepdims: bool) -> Symbolic:
    return _kept(g, x, axis) * _softmax(x, axis=axis)


def _softmax_rule(g: Symbolic, y: Symbolic, x: Symbolic, axis: tuple[int, ...]) -> Symbolic:
    return y * (g - _sum(g * y, axis=axis, keepdims=True))


def _column(x: Symbolic) -> Symbolic:
    return reshape_op(x, shape=(*x.shape, 1))


def _index_of(shapes: Sequence[Shape], attrs: object) -> Shape:
    if not shapes[0] or not shapes[0][-1]:
        raise ShapeError(
            f"argmax takes the index of an element along the last axis, and a value of {shapes[0]} has none"
        )
    return shapes[0][:-1]


def _cross_entropy_rule(g: Symbolic, y: Symbolic, o: Symbolic, i: Symbolic) -> Symbolic:
    return _column(g) * (_softmax(o, axis=(-1,)) - one_hot(i, o.shape[-1]))


ARGMAX = "Index of the largest element of the last axis: (..., n) -> (...)."

_sum = define("sum", reduction, lambda g, y, x, axis, keepdims: _kept(g, x, axis))
_max = define("max", extreme, _max_rule, analytic=False)
_logsumexp = define("logsumexp", extreme, _logsumexp_rule)
_softmax = define("softmax", along, _softmax_rule)
argmax = typed(Unary, define("argmax", Family("argmax", _index_of), None, kinds="f->i", analytic=False, doc=ARGMAX))
cross_entropy_op = define("cross_entropy", pick_family, _cross_entropy_rule, None, kinds="f,i->f")


def as_symbol(x: Operand) -> Symbolic:
    """A value that has a shape: a number stands for the expression that is one."""
    if isinstance(x, (list, tuple)):
        raise TypeError("a reduction takes one value: ops.stack([a, b]) makes one of several")
    return copy(x) if isinstance(x, (int, float)) else typed(Symbolic, x)


def _axes(x: Operand, axis: Axis) -> tuple[int, ...]:
    return negative_axes(axis, len(as_symbol(x).shape))


def _empty(x: Operand, axis: Axis) -> bool:
    """True where a reduction along these axes has nothing to reduce."""
    return 0 in [as_symbol(x).shape[a] for a in _axes(x, axis)]


def _count(x: Operand, axis: Axis) -> int:
    """How many elements a reduction takes together."""
    return size(tuple(as_symbol(x).shape[a] for a in _axes(x, axis)))


def _one_way(axis: Axis, over: object, name: str, keepdims: object = False) -> None:
    if over is not None and keepdims:
        raise TypeError(f"{name} keeps the axes of axis= with keepdims=; a time axis of over= is none of them")
    if axis is not None and over is not None:
        raise TypeError(f"{name} takes axis= (per-example axes) or over= (time axes), not both; apply it twice")


@placed
def sum(x: Symbolic, axis: Axis = None, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """The sum over per-example axes (all, or those of `axis`), or over the time axes `over`.

    Over a time axis of no steps it is 0.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3)
    >>> ops.sum(x[t]).shape, ops.sum(x[t], over=t).shape
    ((), (3,))
    """
    _one_way(axis, over, "sum", keepdims)
    if over is not None:
        return as_symbol(x).__over__("sum", over)
    axes = _axes(x, axis)
    return _sum(x, axis=axes, keepdims=bool(keepdims)) if axes else x


@placed
def max(x: Symbolic, axis: Axis = None, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """The maximum; elements that share it share the derivative. Over a time axis of no steps it is -inf."""
    _one_way(axis, over, "max", keepdims)
    if over is not None:
        return as_symbol(x).__over__("max", over)
    axes = _axes(x, axis)
    return _max(x, axis=axes, keepdims=bool(keepdims)) if axes else x


@composite
def min(x: Symbolic, axis: Axis = None, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """The minimum; elements that share it share the derivative. Over a time axis of no steps it is inf."""
    return -max(-x, axis, over=over, keepdims=keepdims)


@composite
def mean(x: Symbolic, axis: Axis = None, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """The mean; over a time axis of no steps it is nan, as 0 / 0."""
    _one_way(axis, over, "mean", keepdims)
    if over is not None:
        x = as_symbol(x)
        return x.__over__("sum", over) / x.__extent__(over)
    return sum(x, axis, keepdims=keepdims) / _count(x, axis)


@composite
def var(
    x: Symbolic, axis: Axis = None, *, correction: float = 0, over: object = None, keepdims: bool = False
) -> Symbolic:
    """The variance, over per-example axes (all, or those of `axis`) or over time axes.

    The sum of squares is divided by the count less `correction`: 0 as in NumPy, 1 for the unbiased estimate that is
    PyTorch's default. Of as many elements as are taken off it is nan. Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3)
    >>> ops.var(x[t]).shape, ops.var(x[t], over=t).shape
    ((), (3,))
    """
    _one_way(axis, over, "var", keepdims)
    x = as_symbol(x)
    if over is not None:
        apart = x - mean(x, over=over)
        return (apart * apart).__over__("sum", over) / (x.__extent__(over) - correction)
    apart = x - mean(x, axis, keepdims=True)
    return sum(apart * apart, axis, keepdims=keepdims) / float(_count(x, axis) - correction)


def _root(square: Symbolic) -> Symbolic:
    """A square root whose derivative at 0 is 0."""
    none = equal(square, 0)
    return where(none, 0, sqrt(where(none, 1, square)))


@composite
def std(
    x: Symbolic, axis: Axis = None, *, correction: float = 0, over: object = None, keepdims: bool = False
) -> Symbolic:
    """The standard deviation: the square root of `var`, which see; where it is 0 its derivative is 0, as in PyTorch.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.std(x[t], correction=1)
    std(x[t], correction=1)
    """
    return _root(var(x, axis, correction=correction, over=over, keepdims=keepdims))


@composite
def norm(x: Symbolic, axis: Axis = None, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """The Euclidean norm (of a matrix the Frobenius norm); at 0 its derivative is 0, as in PyTorch (book section 2.5).

    Over per-example axes, all or those of `axis`, or over time axes. Squares are taken as they are: beyond about 1e19
    in float32 they overflow.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.norm(x[t])
    norm(x[t])
    """
    x = as_symbol(x)
    return _root(sum(x * x, axis, over=over, keepdims=keepdims))


@composite
def argmin(x: Operand) -> Symbolic:
    """Index of the first smallest element of the last axis: (..., n) -> (...). Raises ShapeError where it has none.

    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 3); ops.argmin(x[t])
    argmin(x[t])
    """
    return argmax(-x)


@composite
def logsumexp(x: Symbolic, axis: Axis = -1, *, over: object = None, keepdims: bool = False) -> Symbolic:
    """log(sum(exp(x))) without overflow; where every x is -inf, or there is none, it is -inf, with derivative 0."""
    if over is None and _empty(x, axis):
        return sum(x, axis, keepdims=keepdims) + float("-inf")
    if over is None:
        return _logsumexp(x, axis=_axes(x, axis), keepdims=bool(keepdims))
    top = stop_gradient(_finite(x.__over__("max", over)))
    total = exp(x - top).__over__("sum", over)
    none = equal(total, 0)
    return where(none, float("-inf"), log(where(none, 1, total)) + top)


@composite
def softmax(x: Symbolic, axis: Axis = -1, *, over: object = None) -> Symbolic:
    """exp(x) normalised to sum to 1 (book section 6.2.2.3); where every x is -inf it is 0."""
    if over is None and _empty(x, axis):
        return x
    if over is None:
        return _softmax(x, axis=_axes(x, axis))
    weight = exp(x - stop_gradient(_finite(x.__over__("max", over))))
    total = weight.__over__("sum", over)
    return weight / where(equal(total, 0), 1, total)


@composite
def log_softmax(x: Symbolic, axis: Axis = -1, *, over: object = None) -> Symbolic:
    """log(softmax(x)), without taking the logarithm of a rounded number; what all x have in common is lost first."""
    if over is not None:
        x = x - stop_gradient(_finite(x.__over__("max", over)))
        return x - logsumexp(x, over=over)
    if _empty(x, axis):
        return x
    x = x - stop_gradient(_finite(max(x, axis, keepdims=True)))
    return x - logsumexp(x, axis, keepdims=True)
