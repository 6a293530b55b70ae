"""Every operation as a plain NumPy function: its meaning, used node by node and wherever no faster form is emitted.

Operands carry leading axes (steps, batch) and then their per-example axes; `ranks` counts the latter. Elementwise
operands come aligned, so that NumPy's own broadcasting does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import TemplateError
from ...ops.contract import subscripts
from ...ops.core import Op
from ...ops.shapes import as_slice
from . import tuning

Array = Any


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _complex_abs(x: Array) -> Array:
    return np.where(np.real(x) < 0, -x, x)


def _complex_sigmoid(x: Array) -> Array:
    small = np.exp(-_complex_abs(x))
    return np.where(np.real(x) >= 0, 1, small) / (1 + small)


def _complex_softplus(x: Array) -> Array:
    return np.where(np.real(x) > 0, x, 0) + np.log1p(np.exp(-_complex_abs(x)))


ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "copy": np.array,  # np.positive has no loop for bool
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "floor": np.floor,
    "round": np.rint,
    "neg": np.negative,
    "pow": np.power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "sign": np.sign,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "isfinite": np.isfinite,
    "stop_gradient": np.positive,
    "cast": np.array,
}


def _of_real(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose derivative is zero, of the real parts."""
    return lambda *args: function(*map(np.real, args)).astype(np.result_type(*args))


def _complex_remainder(a: Array, b: Array) -> Array:
    return a - b * np.floor_divide(np.real(a), np.real(b))


def _complex_fmod(a: Array, b: Array) -> Array:
    return a - b * np.trunc(np.real(a) / np.real(b))


COMPLEX: dict[str, Callable[..., Array]] = {
    "sigmoid": _complex_sigmoid,
    "softplus": _complex_softplus,
    "relu": lambda x: np.where(np.real(x) > 0, x, 0),
    "abs": _complex_abs,
    "sign": _of_real(np.sign),
    "floor": _of_real(np.floor),
    "round": _of_real(np.rint),
    "floor_divide": _of_real(np.floor_divide),
    "remainder": _complex_remainder,
    "fmod": _complex_fmod,
    "stop_gradient": _of_real(np.positive),
}
"""Where the analytic continuation along the real axis, which the complex step needs, is not NumPy's own function.

`stop_gradient` drops the imaginary part: that is what a derivative of zero means to a complex step.
"""


def rows(x: Array) -> Any:
    """``x`` to be read step by step: a list of its views, each quicker to have than ``x[k]``; long ones as they are."""
    if len(x) > tuning.MAX_PREPARED_VIEWS:
        return x
    return list(x) if x.ndim > 1 else [x[k, ...] for k in range(len(x))]  # of numbers a list would hold copies


def _lead(x: Array, rank: int) -> tuple[int, ...]:
    lead: tuple[int, ...] = x.shape[: x.ndim - rank]
    return lead


def _logsumexp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    top = np.max(np.real(x), axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(over="ignore", divide="ignore"):
        result = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else np.squeeze(result, axis=axis)


def _softmax(x: Array, axis: tuple[int, ...]) -> Array:
    top = np.max(np.real(x), axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(over="ignore"):
        weight = np.exp(x - top)
    total = np.sum(weight, axis=axis, keepdims=True)
    return weight / np.where(total == 0, 1, total)


def _cross_entropy(o: Array, i: Array) -> Array:
    top = np.max(np.real(o), axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(o.dtype)
    with np.errstate(over="ignore", divide="ignore"):
        shifted = o - top
        return np.log(np.sum(np.exp(shifted), axis=-1)) - _pick(shifted, i)


def _held(index: Array, size: int) -> Array:
    """An index, held inside its table: what lies outside is reported, and changes nothing else."""
    return np.clip(index, 0, size - 1)


def _pick(values: Array, index: Array) -> Array:
    lead = np.broadcast_shapes(values.shape[:-1], index.shape)
    values, index = np.broadcast_to(values, lead + values.shape[-1:]), np.broadcast_to(index, lead)
    index = _held(index, values.shape[-1])
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def _take(table: Array, index: Array, ranks: Sequence[int]) -> Array:
    index = _held(index, table.shape[table.ndim - ranks[0]])
    if table.ndim == ranks[0]:
        return table[index]
    inner = table.shape[table.ndim - ranks[0] :]
    lead = np.broadcast_shapes(_lead(table, ranks[0]), _lead(index, ranks[1]))
    rows = index.shape[index.ndim - ranks[1] :]
    table = np.broadcast_to(table, lead + inner)
    flat = np.broadcast_to(index, lead + rows).reshape((*lead, math.prod(rows)) + (1,) * (ranks[0] - 1))
    return np.take_along_axis(table, flat, axis=len(lead)).reshape(lead + rows + inner[1:])


def _scatter(values: Array, index: Array, ranks: Sequence[int], size: int) -> Array:
    rows = index.shape[index.ndim - ranks[1] :]
    inner = values.shape[values.ndim - ranks[0] + ranks[1] :]
    lead = np.broadcast_shapes(_lead(values, ranks[0]), _lead(index, ranks[1]))
    values = np.broadcast_to(values, lead + rows + inner).reshape(int(np.prod(lead)), int(np.prod(rows)), *inner)
    index = _held(np.broadcast_to(index, lead + rows).reshape(values.shape[:2]), size)
    result = np.zeros((len(values), size, *inner), values.dtype)
    np.add.at(result, (np.arange(len(values))[:, None], index), values)
    return result.reshape((*lead, size, *inner))


def scatter_sum(values: Array, index: Array, size: int, rank: int) -> Array:
    """The rows of `values` added up by index over all leading axes: the gradient of a lookup table."""
    inner = values.shape[values.ndim - rank :]
    result = np.zeros((size, *inner), values.dtype)
    lead = values.shape[: values.ndim - rank]
    index = np.broadcast_to(_held(index, size), lead).ravel()
    np.add.at(result, index, values.reshape(math.prod(lead), *inner))
    return result


def _take_along(values: Array, index: Array) -> Array:
    lead = np.broadcast_shapes(values.shape[:-1], index.shape[:-1])
    values, index = (np.broadcast_to(a, lead + a.shape[-1:]) for a in (values, index))
    return np.take_along_axis(values, _held(index, values.shape[-1]), axis=-1)


def _put_along(values: Array, index: Array, size: int) -> Array:
    lead = np.broadcast_shapes(values.shape[:-1], index.shape[:-1])
    rows = [np.broadcast_to(a, lead + a.shape[-1:]).reshape(math.prod(lead), a.shape[-1]) for a in (values, index)]
    result = np.zeros((math.prod(lead), size), values.dtype)
    np.add.at(result, (np.arange(len(result))[:, None], _held(rows[1], size)), rows[0])
    return result.reshape((*lead, size))


def _rank(x: Array, descending: bool = False) -> Array:
    x = np.real(x)
    order = np.argsort(x, axis=-1, kind="stable")
    if descending:  # the other way round, and equals the other way round in it
        order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    result = np.empty(x.shape, np.int64)
    np.put_along_axis(result, order, np.broadcast_to(np.arange(x.shape[-1]), x.shape), axis=-1)
    return result


def _reshape(x: Array, rank: int, shape: tuple[int, ...]) -> Array:
    return x.reshape(_lead(x, rank) + tuple(shape))


def _transpose(x: Array, rank: int, axes: tuple[int, ...] | None = None) -> Array:
    lead = x.ndim - rank
    order = range(rank - 1, -1, -1) if axes is None else (a + rank for a in axes)
    return x.transpose(*range(lead), *(lead + a for a in order))


def _broadcast_to(x: Array, rank: int, shape: tuple[int, ...]) -> Array:
    lead = _lead(x, rank)
    padded = x.reshape(lead + (1,) * (len(shape) - rank) + x.shape[x.ndim - rank :])
    return np.broadcast_to(padded, lead + tuple(shape))


def _sum_to(x: Array, rank: int, shape: tuple[int, ...]) -> Array:
    inner = x.shape[x.ndim - rank :]
    padded = (1,) * (rank - len(shape)) + tuple(shape)
    axes = tuple(i - rank for i in range(rank) if padded[i] == 1 and (inner[i] != 1 or i < rank - len(shape)))
    summed = np.sum(x, axis=axes, keepdims=True) if axes else x
    return summed.reshape(_lead(x, rank) + tuple(shape))


def _slice(x: Array, rank: int, parts: Sequence[Any]) -> Array:
    rest = (slice(None),) * (rank - len(parts))
    return x[(Ellipsis, *map(as_slice, parts), *rest)]


def _unslice(x: Array, rank: int, parts: Sequence[Any], shape: tuple[int, ...]) -> Array:
    result = np.zeros(_lead(x, rank) + tuple(shape), x.dtype)
    _slice(result, len(shape), parts)[...] = x
    return result


def _join(arrays: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    lead = np.broadcast_shapes(*(_lead(a, r) for a, r in zip(arrays, ranks, strict=True)))
    return [np.broadcast_to(a, lead + a.shape[a.ndim - r :]) for a, r in zip(arrays, ranks, strict=True)]


def _product(op: str) -> Callable[..., Array]:
    def kernel(args: Sequence[Array], ranks: Sequence[int], attrs: Mapping[str, Any], dtype: Any) -> Array:
        a, b, out = subscripts(op, ranks, attrs)
        return np.einsum(f"...{a},...{b}->...{out}", *args)

    return kernel


OTHER: dict[str, Callable[[Sequence[Array], Sequence[int], Mapping[str, Any], Any], Array]] = {
    "matmul": _product("matmul"),
    "dot": _product("dot"),
    "outer": _product("outer"),
    "einsum": _product("einsum"),
    "sum": lambda a, r, k, d: np.sum(a[0], axis=k["axis"], keepdims=k["keepdims"]),
    "max": lambda a, r, k, d: np.max(a[0], axis=k["axis"], keepdims=k["keepdims"]),
    "logsumexp": lambda a, r, k, d: _logsumexp(a[0], k["axis"], k["keepdims"]),
    "softmax": lambda a, r, k, d: _softmax(a[0], k["axis"]),
    "argmax": lambda a, r, k, d: np.argmax(np.real(a[0]), axis=-1),
    "cross_entropy": lambda a, r, k, d: _cross_entropy(*a),
    "pick": lambda a, r, k, d: _pick(*a),
    "one_hot": lambda a, r, k, d: (a[0][..., None] == np.arange(k["size"])).astype(d),
    "take": lambda a, r, k, d: _take(a[0], a[1], r),
    "scatter": lambda a, r, k, d: _scatter(a[0], a[1], r, k["size"]),
    "take_along": lambda a, r, k, d: _take_along(*a),
    "put_along": lambda a, r, k, d: _put_along(a[0], a[1], k["size"]),
    "rank": lambda a, r, k, d: _rank(a[0], k.get("descending", False)),
    "reshape": lambda a, r, k, d: _reshape(a[0], r[0], k["shape"]),
    "transpose": lambda a, r, k, d: _transpose(a[0], r[0], k.get("axes")),
    "broadcast_to": lambda a, r, k, d: _broadcast_to(a[0], r[0], k["shape"]),
    "sum_to": lambda a, r, k, d: _sum_to(a[0], r[0], k["shape"]),
    "slice": lambda a, r, k, d: _slice(a[0], r[0], k["parts"]),
    "unslice": lambda a, r, k, d: _unslice(a[0], r[0], k["parts"], k["shape"]),
    "concat": lambda a, r, k, d: np.concatenate(_join(a, r), axis=k["axis"]),
    "stack": lambda a, r, k, d: np.stack(_join(a, r), axis=k["axis"]),
}


def align(arrays: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    """Operands of an elementwise operation with size-1 axes put in, so that per-example axes meet at the right."""
    rank = max(ranks)
    return [
        a if r == rank or a.ndim == r else a.reshape(_lead(a, r) + (1,) * (rank - r) + a.shape[a.ndim - r :])
        for a, r in zip(arrays, ranks, strict=True)
    ]


def compute(op: Op, args: Sequence[Array], ranks: Sequence[int], attrs: Mapping[str, Any], dtype: Any) -> Array:
    """The result of one operation on arrays whose leading axes agree or broadcast."""
    if op.name in OTHER:
        return OTHER[op.name](args, ranks, attrs, dtype)
    aligned = align(args, ranks) if op.family.name == "elementwise" else list(args)
    function = COMPLEX.get(op.name) if np.dtype(dtype).kind == "c" else None
    function = function or ELEMENTWISE.get(op.name)
    if function is not None:
        result = function(*aligned, **attrs)
        return result.astype(dtype) if op.name == "cast" else result
    if op.compute is None:
        raise TemplateError(f"operation {op.name} has neither compute= nor body=: give ops.define one of them")
    return op.compute(np, *aligned, **attrs)
