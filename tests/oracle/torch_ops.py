"""What each operation computes, in PyTorch, written from its documentation with plain tensor operations.

Where a value stands near a kink or two candidates nearly tie, rounding decides the derivative or the branch: such
places are noted in `Margin`, so that a comparison can tell a close call from a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from . import torch_more
from .torch_margin import Margin, number, together

Tensor = torch.Tensor


def apart(values: Tensor, axis: int, margin: Margin) -> None:
    """Note how far the largest along an axis is from the next."""
    if values.shape[axis] > 1:
        top = torch.topk(values.detach(), 2, dim=axis).values
        margin.note(top.select(axis, 0) - top.select(axis, 1))


def logsumexp(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """log(sum(exp(x))); minus infinity with no derivative where nothing is above it."""
    if not axes:
        return x
    if any(x.shape[a] == 0 for a in axes):
        return x.sum(axes, keepdim=keepdims) - math.inf
    top = x.detach().amax(axes, keepdim=True)
    flat = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
    total = torch.exp(x - flat).sum(axes, keepdim=True)
    nothing = total == 0
    result = torch.log(torch.where(nothing, torch.ones_like(total), total)) + flat
    result = torch.where(nothing, torch.full_like(result, -math.inf), result)
    return result if keepdims else result.reshape([n for a, n in enumerate(x.shape) if a not in axes])


def softmax(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """exp(x) over its sum; 0 where all are minus infinity."""
    if not axes or 0 in x.shape:
        return torch.ones_like(x) if x.numel() else x
    top = x.detach().amax(axes, keepdim=True)
    flat = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
    parts = torch.exp(x - flat)
    total = parts.sum(axes, keepdim=True)
    return parts / torch.where(total == 0, torch.ones_like(total), total)


def extreme(x: Tensor, axes: tuple[int, ...], keepdims: bool, margin: Margin, exact: bool, sign: int) -> Tensor:
    """The maximum (sign 1) or minimum (-1); what ties shares the derivative."""
    if not axes:
        return x
    if any(x.shape[a] == 0 for a in axes):
        return x.sum(axes, keepdim=keepdims) - sign * math.inf
    rest = [n for a, n in enumerate(x.shape) if a not in axes]
    moved = x.movedim(axes, tuple(range(-len(axes), 0))).reshape([*rest, -1])
    if not exact:
        apart(sign * moved, -1, margin)
    result = moved.amax(-1) if sign > 0 else moved.amin(-1)
    return result.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else result


def _axes(x: Tensor, axis: Any) -> tuple[int, ...]:
    given = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(a % x.ndim for a in given)


def reduced(op: str, x: Tensor, attrs: dict[str, Any], margin: Margin, exact: bool) -> Tensor:
    """A reduction over per-example axes."""
    axes, keep = _axes(x, attrs["axis"]), bool(attrs.get("keepdims"))
    if op == "sum":
        return x.sum(axes, keepdim=keep)
    if op == "mean":
        return x.sum(axes, keepdim=keep) / math.prod(x.shape[a] for a in axes)
    if op == "logsumexp":
        return logsumexp(x, axes, keep)
    return extreme(x, axes, keep, margin, exact, 1 if op == "max" else -1)


def over(op: str, stacked: Tensor, margin: Margin, exact: bool) -> Tensor:
    """A reduction over the first axis, which holds all steps; normalised values keep it."""
    if op == "sum":
        return stacked.sum(0)
    if op == "mean":
        return stacked.sum(0) / stacked.shape[0] if stacked.shape[0] else stacked.sum(0) * math.nan
    if op == "logsumexp":
        return logsumexp(stacked, (0,), False)
    if op == "softmax":
        return softmax(stacked, (0,))
    if op in ("var", "std", "norm"):
        return torch_more.spread(op, stacked, (0,), 0, margin, exact)
    if op == "log_softmax":
        return stacked - logsumexp(stacked, (0,), True) if stacked.shape[0] else stacked
    return extreme(stacked, (0,), False, margin, exact, 1 if op == "max" else -1)


def absolute(x: Tensor) -> Tensor:
    """The absolute value, whose derivative at nan is nan."""
    return torch.abs(x) * torch.where(x.isnan(), x, 1.0).detach() if x.is_floating_point() else torch.abs(x)


def _near_zero(f: Callable[[Tensor, dict[str, Any]], Tensor]) -> Callable[..., Tensor]:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        if not exact and args[0].is_floating_point():
            margin.note(args[0].abs())
        return f(args[0], attrs)

    return compute


def _plain(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        return f(*args)

    return compute


def _numbers(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        return f(*together(args, dtype))

    return compute


def _compared(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        a, b = together(args, dtype)
        if not exact and a.is_floating_point():
            margin.note((a - b).abs())
        return f(a, b)

    return compute


def _larger(sign: int) -> Callable[..., Tensor]:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        a, b = together(args, dtype)
        if not exact and a.is_floating_point():
            margin.note((a - b).abs())
        return torch.maximum(a, b) if sign > 0 else torch.minimum(a, b)

    return compute


def _clip(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    low, high = attrs["low"], attrs["high"]
    x = number(args[0], dtype) if isinstance(low, float) or isinstance(high, float) else args[0]
    x = number(x, dtype) if x.dtype == torch.bool else x
    if not exact and x.is_floating_point():
        margin.note(torch.minimum((x - low).abs(), (x - high).abs()))
    return torch.clamp(x, low, high)


def _where(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return torch.where(args[0], *together(args[1:], dtype))


def _sign(x: Tensor, attrs: dict[str, Any]) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x)) if x.is_floating_point() else torch.sign(x)


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _elu(x: Tensor, attrs: dict[str, Any]) -> Tensor:
    below = torch.where(x > 0, torch.zeros_like(x), x)
    return torch.where(x > 0, x, attrs["alpha"] * torch.expm1(below))


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _index(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    x = args[0]
    key, axis = [], 0
    for part in attrs["key"]:
        if part is Ellipsis:
            skip = x.ndim - (len(attrs["key"]) - 1)
            key += [slice(None)] * skip
            axis += skip
            continue
        if isinstance(part, slice) and part.step is not None and part.step < 0:
            steps = torch.tensor(list(range(*part.indices(x.shape[axis]))), dtype=torch.int64)
            x = x.index_select(axis, steps)
            part = slice(None)
        key.append(part)
        axis += 1
    return x[tuple(key)]


def _transposed(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return args[0].permute(tuple(attrs.get("axes") or reversed(range(args[0].ndim))))


def _concat(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return torch.cat(together(args, dtype), attrs["axis"])


def _stack(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return torch.stack(together(args, dtype), attrs["axis"])


def _normal(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    axes = _axes(args[0], attrs["axis"])
    centred = args[0] - args[0].mean(axes, keepdim=True)
    scaled = centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + attrs["eps"])
    return scaled if len(args) == 1 else scaled * args[1] + args[2]


def _argmax(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    apart(args[0], -1, margin)
    return args[0].argmax(-1)


def _argmin(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return _argmax([-args[0]], attrs, margin, exact, dtype)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    return torch.gather(values, -1, index.unsqueeze(-1)).squeeze(-1)


def _one_hot(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return (args[0].unsqueeze(-1) == torch.arange(attrs["size"])).to(dtype)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    logs = logits - logsumexp(logits, (logits.ndim - 1,), True)
    return -(target * logs).sum(-1) if target.is_floating_point() else -_pick(logs, target)


def _bce(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    if not torch.isfinite(args[0]).all():
        margin.note(torch.zeros(1))  # infinity less infinity, in one way of writing it
    return _softplus(args[0]) - args[0] * number(args[1], dtype)


def _take(table: Tensor, index: Tensor) -> Tensor:
    return table[index]


OPS: dict[str, Callable[..., Tensor]] = {
    **torch_more.OPS,
    **{op: _plain(getattr(torch, op)) for op in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh")},
    **{op: _plain(getattr(torch, op)) for op in ("sigmoid", "isfinite", "outer", "dot")},
    **{op: _plain(getattr(torch, op)) for op in ("logical_and", "logical_or", "logical_not")},
    **{op: _numbers(getattr(torch, op)) for op in ("add", "sub", "mul")},
    **{op: _compared(f) for op, f in (("less", torch.lt), ("less_equal", torch.le), ("greater", torch.gt))},
    **{op: _compared(f) for op, f in (("greater_equal", torch.ge), ("equal", torch.eq), ("not_equal", torch.ne))},
    "gelu": _plain(_gelu),
    "softplus": _plain(_softplus),
    "stop_gradient": _plain(lambda x: x.detach()),
    "relu": _near_zero(lambda x, attrs: torch.relu(x)),
    "elu": _near_zero(_elu),
    "leaky_relu": _near_zero(lambda x, attrs: torch.where(x > 0, x, attrs["slope"] * x)),
    "abs": _near_zero(lambda x, attrs: absolute(x)),
    "sign": _near_zero(_sign),
    "neg": _numbers(torch.neg),
    "maximum": _larger(1),
    "minimum": _larger(-1),
    "clip": _clip,
    "div": _plain(torch.div),
    "pow": _plain(torch.pow),
    "power": _plain(torch.pow),
    "cast": lambda args, attrs, margin, exact, dtype: number(args[0], dtype),
    "where": _where,
    "index": _index,
    "T": _transposed,
    "transpose": _transposed,
    "reshape": lambda args, attrs, margin, exact, dtype: args[0].reshape(attrs["shape"]),
    "broadcast_to": lambda args, attrs, margin, exact, dtype: torch.broadcast_to(args[0], attrs["shape"]),
    "concat": _concat,
    "stack": _stack,
    "softmax": lambda args, attrs, margin, exact, dtype: softmax(args[0], _axes(args[0], attrs["axis"])),
    "log_softmax": lambda args, attrs, margin, exact, dtype: (
        args[0] - logsumexp(args[0], _axes(args[0], attrs["axis"]), True)
    ),
    "layer_norm": _normal,
    "matmul": _plain(torch.matmul),
    "einsum": lambda args, attrs, margin, exact, dtype: torch.einsum(attrs["spec"], *args),
    "argmax": _argmax,
    "argmin": _argmin,
    "take": _plain(_take),
    "pick": _plain(_pick),
    "nll": _plain(lambda values, index: -_pick(values, index)),
    "one_hot": _one_hot,
    "cross_entropy": _plain(_cross_entropy),
    "mse": _plain(lambda a, b: ((a - b) ** 2).mean()),
    "bce_with_logits": _bce,
}
KINKED = {"relu", "elu", "leaky_relu", "abs", "sign", "maximum", "minimum", "clip", "max", "min"}
