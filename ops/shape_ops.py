"""Operations that move elements about: reshape, transpose, slices, concatenation, lookups by index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import index

from .core import Op, Operand, Symbolic, define, placed
from .errors import ShapeError
from .integers import integer
from .shapes import (
    Part,
    broadcast_family,
    concat_family,
    negative_axes,
    one_hot_family,
    pick_family,
    reshape_family,
    scatter_family,
    size,
    slice_family,
    stack_family,
    sum_to_family,
    take_family,
    transpose_family,
    unslice_family,
)


def _untranspose(g: Symbolic, y: Symbolic, x: Symbolic, axes: tuple[int, ...] | None = None) -> Symbolic:
    if axes is None:
        return _transpose(g)
    rank = len(axes)
    inverse = [0] * rank
    for position, axis in enumerate(axes):
        inverse[axis + rank] = position - rank
    return _transpose(g, axes=tuple(inverse))


def _concat_part(position: int, g: Symbolic, y: Symbolic, *args: Symbolic, axis: int) -> Symbolic:
    ends = [0, *accumulate(arg.shape[axis] for arg in args)]
    parts: list[Part] = [(None, None, None)] * len(y.shape)
    parts[axis] = (ends[position], ends[position + 1], None)
    return _slice(g, parts=tuple(parts[: len(parts) + axis + 1]))


def _stack_part(position: int, g: Symbolic, y: Symbolic, *args: Symbolic, axis: int) -> Symbolic:
    parts: list[Part] = [(None, None, None)] * len(y.shape)
    parts[axis] = position
    return _slice(g, parts=tuple(parts[: len(parts) + axis + 1]))


# fmt: off
reshape_op: Op = define("reshape", reshape_family, lambda g, y, x, shape: reshape_op(g, shape=x.shape), kinds="a->a")
_transpose = define("transpose", transpose_family, _untranspose, kinds="a->a")
_broadcast_to = define("broadcast_to", broadcast_family, lambda g, y, x, shape: _sum_to(g, shape=x.shape), kinds="a->a")
_sum_to: Op = define("sum_to", sum_to_family, lambda g, y, x, shape: _broadcast_to(g, shape=x.shape), kinds="f->f")
_slice = define("slice", slice_family, lambda g, y, x, parts: _unslice(g, parts=parts, shape=x.shape), kinds="a->a")
_unslice: Op = define("unslice", unslice_family, lambda g, y, x, parts, shape: _slice(g, parts=parts))
_concat = define("concat", concat_family, _concat_part, kinds="n*->n")
_stack = define("stack", stack_family, _stack_part, kinds="n*->n")
_take = define("take", take_family, lambda g, y, x, i: _scatter(g, i, size=x.shape[0]), None, kinds="f,i->f")
_scatter: Op = define("scatter", scatter_family, lambda g, y, x, i, size: _take(g, i), None, kinds="f,i->f")
_pick = define("pick", pick_family, lambda g, y, x, i: _expand(g) * _one_hot(i, size=x.shape[-1]), None, kinds="f,i->f")
_one_hot: Op = define("one_hot", one_hot_family, None, kinds="i->f")
# fmt: on


def _expand(x: Symbolic) -> Symbolic:
    return reshape_op(x, shape=(*x.shape, 1))


def _sizes(shape: int | Sequence[int]) -> tuple[int, ...]:
    one = integer(shape)
    return tuple(map(index, shape)) if one is None else (one,)  # type: ignore[arg-type]


def _rank(values: Sequence[Operand], name: str) -> int:
    if isinstance(values, Symbolic):
        raise TypeError(f"ops.{name} takes a list, ops.{name}([a, b])")
    return next(len(value.shape) for value in values if isinstance(value, Symbolic))


@placed
def reshape(x: Symbolic, shape: int | Sequence[int]) -> Symbolic:
    """The elements of x in the per-example shape `shape`; one size may be -1.

    Raises ShapeError where the numbers of elements differ.
    """
    shape = _sizes(shape)
    if shape.count(-1) == 1 and min(shape) == -1:
        known = -size(shape)
        if known == 0 or size(x.shape) % known:
            raise ShapeError(f"cannot reshape {x.shape} ({size(x.shape)} elements) to {shape}")
        shape = tuple(size(x.shape) // known if n == -1 else n for n in shape)
    return reshape_op(x, shape=shape)


@placed
def transpose(x: Symbolic, axes: Sequence[int] | None = None) -> Symbolic:
    """The value with its per-example axes permuted (reversed where `axes` is None)."""
    if axes is None:
        return _transpose(x)
    rank = len(x.shape)
    if sorted(negative_axes(axes, rank)) != list(range(-rank, 0)):
        raise ShapeError(f"transpose axes {tuple(axes)} are not a permutation of the {rank} axes of {x.shape}")
    return _transpose(x, axes=tuple(a - rank if a >= 0 else a for a in axes))


@placed
def broadcast_to(x: Symbolic, shape: int | Sequence[int]) -> Symbolic:
    """A value repeated to the per-example shape `shape` under NumPy's rule."""
    return _broadcast_to(x, shape=_sizes(shape))


@placed
def concat(values: Sequence[Operand], axis: int = -1) -> Symbolic:
    """The values joined along a per-example axis, e.g. ``[h, x]`` of the book's gated cells.

    Shapes: equal but for `axis`. Raises ShapeError.
    """
    rank = _rank(values, "concat")
    return _concat(*values, axis=negative_axes(axis, rank)[0] if rank else axis)


@placed
def stack(values: Sequence[Operand], axis: int = 0) -> Symbolic:
    """The values, all of one shape, joined along a new per-example axis."""
    rank = _rank(values, "stack")
    return _stack(*values, axis=negative_axes(axis, rank + 1)[0])


def take(table: Operand, index: Operand) -> Symbolic:
    """Rows of `table` by integer index: the embedding lookup, also written ``E[y[t]]``.

    Shapes: table (n, ...), index s -> s + (...). Indices run from 0 to n-1 and are checked when arrays are given.
    """
    return _take(table, index)


def pick(values: Operand, index: Operand) -> Symbolic:
    """One element per row: ``values[..., index]``, the last axis replaced by an integer index.

    Shapes: values (..., n), index (...) -> (...).
    """
    return _pick(values, index)


@placed
def one_hot(index: Operand, size: int) -> Symbolic:
    """The unit vectors of length `size` at the given integer indices. Shapes: s -> s + (size,)."""
    labels = integer(size)
    if labels is None or labels < 1:
        raise ShapeError(f"ops.one_hot takes the number of labels, an integer from 1 up; got {size!r}")
    return _one_hot(index, size=labels)


def getitem(x: Symbolic, key: object) -> Symbolic:
    """``x[key]`` per example: integers, slices and ``...`` select; an integer expression or array looks rows up."""
    if isinstance(key, Symbolic) or len(getattr(key, "shape", "")):
        return _take(x, key)  # type: ignore[arg-type]
    keys = list(key) if isinstance(key, tuple) else [key]
    for at, k in enumerate(keys):  # by identity: symbols and arrays do not compare
        if k is Ellipsis:
            keys[at : at + 1] = [slice(None)] * (len(x.shape) - len(keys) + 1)
            break
    parts: list[Part] = []
    for k in keys:
        if isinstance(k, slice):
            given = (k.start, k.stop, k.step)
            start, stop, step = map(integer, given)
            if any(b is not None and n is None for b, n in zip(given, (start, stop, step), strict=True)) or step == 0:
                raise ShapeError(f"a slice has integer bounds and a step other than 0; got {k}")
            parts.append((start, stop, step))
        elif isinstance(k, Symbolic):
            raise ShapeError(f"an integer expression stands alone in its brackets: look up first, as in {x}[{k}][0]")
        elif (place := integer(k)) is not None:
            parts.append(place)
        else:
            raise ShapeError(f"a per-example index is an integer, a slice or an integer expression; got {k!r}")
    if not parts:
        return x  # x[()]
    return _slice(x, parts=tuple(parts))
