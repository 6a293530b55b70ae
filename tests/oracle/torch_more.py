"""What rounding, special functions, running sums, order and small systems of equations compute, in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from .torch_margin import Margin, number, together

Tensor = torch.Tensor
Computed = Callable[[list[Tensor], dict[str, Any], Margin, bool, torch.dtype], Tensor]


class Polygamma(torch.autograd.Function):
    """The derivatives of digamma by Hurwitz's zeta function: PyTorch's own trigamma has but nine digits."""

    @staticmethod
    def forward(context: Any, order: int, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        context.order = order
        if order == 0:
            return torch.digamma(x)
        size = torch.special.zeta(torch.full_like(x, order + 1.0), x) * math.factorial(order)
        return size if order % 2 else -size

    @staticmethod
    def backward(context: Any, g: Tensor) -> Any:
        (x,) = context.saved_tensors
        return None, g * Polygamma.apply(context.order + 1, x)


class Lgamma(torch.autograd.Function):
    """lgamma with that derivative."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return torch.lgamma(x)

    @staticmethod
    def backward(context: Any, g: Tensor) -> Any:
        (x,) = context.saved_tensors
        return g * Polygamma.apply(0, x)


def lgamma(x: Tensor) -> Tensor:
    """log(gamma(x)) for positive x."""
    made: Tensor = Lgamma.apply(x)
    return made


def root(square: Tensor, margin: Margin, exact: bool) -> Tensor:
    """A square root whose derivative at 0 is 0."""
    if not exact:
        margin.note(square)
    none = square == 0
    return torch.where(none, torch.zeros_like(square), torch.sqrt(torch.where(none, torch.ones_like(square), square)))


def spread(op: str, x: Tensor, axes: tuple[int, ...], correction: float, margin: Margin, exact: bool) -> Tensor:
    """A variance, a deviation or a norm."""
    count = math.prod(x.shape[a] for a in axes)
    if op == "norm":
        return root((x * x).sum(axes), margin, exact)
    apart = x - x.sum(axes, keepdim=True) / torch.tensor(count, dtype=x.dtype)
    var = (apart * apart).sum(axes) / torch.tensor(count - correction, dtype=x.dtype)
    return var if op == "var" else root(var, margin, exact and count == 1)


def _plain(f: Callable[..., Tensor]) -> Computed:
    return lambda args, attrs, margin, exact, dtype: f(*args)


def _whole(f: Callable[[Tensor], Tensor], shift: float) -> Computed:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        x = args[0]
        if not exact:
            margin.note((x + shift - torch.round(x + shift)).abs())
        return f(x)

    return compute


def _divided(f: Callable[[Tensor, Tensor], Tensor]) -> Computed:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        a, b = together(args, dtype)
        if not exact and a.is_floating_point():
            quotient = a / b
            margin.note((quotient - torch.round(quotient)).abs())
        return f(a, b)

    return compute


def _sorted(x: Tensor, axis: int, descending: bool, margin: Margin, exact: bool) -> Tensor:
    made = torch.sort(x, dim=axis, descending=descending, stable=True).values
    if not exact and x.shape[axis] > 1:
        margin.note(torch.diff(made, dim=axis).abs())
    return made


def _sort(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return _sorted(args[0], attrs["axis"], attrs["descending"], margin, exact)


def _top_k(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return _sorted(args[0], attrs["axis"], True, margin, exact).narrow(attrs["axis"], 0, attrs["k"])


def _spread(op: str) -> Computed:
    def compute(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
        axis = attrs["axis"] % args[0].ndim
        return spread(op, args[0], (axis,), attrs.get("correction", 0), margin, exact)

    return compute


def _cumprod(x: Tensor, axis: int) -> Tensor:
    parts, total = [], torch.ones_like(x.select(axis, 0))
    for one in x.unbind(axis):
        total = total * one
        parts.append(total)
    return torch.stack(parts, axis)


def _product(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    return _cumprod(args[0], attrs["axis"]).select(attrs["axis"], -1)


def _huber(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    apart, delta = (args[0] - args[1]).abs(), attrs["delta"]
    margin.note((apart - delta).abs())
    return torch.where(apart <= delta, (args[0] - args[1]) ** 2 / 2, delta * (apart - delta / 2)).mean()


def _polygamma(order: Tensor, x: Tensor) -> Tensor:
    made: Tensor = Polygamma.apply(int(order), x)
    return made


def _triangular(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    a, b = args
    triangle = torch.tril(a) if attrs["lower"] else torch.triu(a)
    return torch.linalg.solve(triangle, b)


def _normal(value: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    z = (value - mean) / deviation
    return -z * z / 2 - torch.log(deviation) - math.log(2 * math.pi) / 2


def _poisson(args: list[Tensor], attrs: dict[str, Any], margin: Margin, exact: bool, dtype: torch.dtype) -> Tensor:
    count, rate = number(args[0], dtype), args[1]
    return count * rate - torch.exp(rate) - lgamma(count + 1)


def _student(value: Tensor, degrees: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    z = (value - location) / scale
    constant = lgamma((degrees + 1) / 2) - lgamma(degrees / 2) - torch.log(degrees * math.pi) / 2
    return constant - torch.log(scale) - (degrees + 1) / 2 * torch.log1p(z * z / degrees)


OPS: dict[str, Computed] = {
    "floor": _whole(torch.floor, 0.0),
    "ceil": _whole(torch.ceil, 0.0),
    "round": _whole(torch.round, 0.5),
    "floor_divide": _divided(lambda a, b: torch.div(a, b, rounding_mode="floor")),
    "remainder": _divided(torch.remainder),
    "fmod": _divided(torch.fmod),
    "silu": _plain(lambda x: x * torch.sigmoid(x)),
    "logsigmoid": _plain(lambda x: -torch.logaddexp(-x, torch.zeros_like(x))),
    "logaddexp": lambda args, attrs, margin, exact, dtype: torch.logaddexp(*together(args, dtype)),
    "erf": _plain(torch.erf),
    "lgamma": _plain(lgamma),
    "digamma": _plain(lambda x: _polygamma(torch.tensor(0), x)),
    "polygamma": _plain(_polygamma),
    "isnan": _plain(torch.isnan),
    "isinf": _plain(torch.isinf),
    "cumsum": lambda args, attrs, margin, exact, dtype: torch.cumsum(args[0], attrs["axis"]),
    "cumprod": lambda args, attrs, margin, exact, dtype: _cumprod(args[0], attrs["axis"]),
    "prod": _product,
    **{op: _spread(op) for op in ("var", "std", "norm")},
    "sort": _sort,
    "top_k": _top_k,
    "take_along": _plain(lambda values, index: torch.gather(values, -1, index)),
    "solve": _plain(torch.linalg.solve),
    "solve_triangular": _triangular,
    "cholesky": _plain(lambda a: torch.linalg.cholesky((a + a.T) / 2)),
    "huber": _huber,
    "normal_log_prob": _plain(_normal),
    "poisson_log_prob": _poisson,
    "student_log_prob": _plain(_student),
}
