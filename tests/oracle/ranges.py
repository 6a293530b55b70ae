"""Ranges of values: two numbers between which every element of a result lies, from those of the operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .rules import COMPARISONS, LAYOUT, LOGICAL, NOMINAL, REDUCED, reduced_axes

Shape = tuple[int, ...]
Range = tuple[float, float]
Attrs = dict[str, Any]


def _monotone(f: Callable[[float], float]) -> Callable[..., Range]:
    def bound(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
        return f(args[0][0]), f(args[0][1])

    return bound


def _products(a: Range, b: Range, count: int = 1) -> Range:
    ends = [x * y for x in a for y in b]
    return min(ends) * count, max(ends) * count


def _power(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    (low, high), (p, q) = args
    if p == q and p >= 0 and p == int(p):
        ends = [low**p, high**p, *([0.0] if low <= 0 <= high else [])]
    elif low <= 0:
        return -math.inf, math.inf
    else:
        ends = [x**y for x in (low, high) for y in (p, q)]
    return min(ends), max(ends)


def _divided(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    low, high = args[1]
    return (-math.inf, math.inf) if low <= 0 <= high else _products(args[0], (1 / low, 1 / high))


def _magnitude(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    low, high = args[0]
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _hull(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    return min(low for low, _ in args), max(high for _, high in args)


def _reduced(op: str) -> Callable[..., Range]:
    def bound(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
        low, high = args[0]
        if attrs.get("over") is not None:
            count, fewest = NOMINAL ** len(attrs["over"]), 0
        else:
            count = fewest = math.prod(shapes[0][a] for a in reduced_axes(shapes[0], attrs["axis"]))
        if op == "sum":
            return min(low * count, low * fewest), max(high * count, high * fewest)
        if op == "logsumexp":
            return low, high + math.log(max(count, 1))
        return low, high

    return bound


def _inner(op: str) -> Callable[..., Range]:
    def bound(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
        if op != "einsum":
            return _products(args[0], args[1], shapes[0][-1])
        left, out = attrs["spec"].split("->")
        sizes = {c: n for w, s in zip(left.split(","), shapes, strict=True) for c, n in zip(w, s, strict=True)}
        return _products(args[0], args[1], math.prod(n for c, n in sizes.items() if c not in out))

    return bound


def _norm(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    size = math.sqrt(math.prod(shapes[0][a] for a in reduced_axes(shapes[0], attrs["axis"])))
    low, high = -size, size
    if len(args) == 3:
        low, high = _products((low, high), args[1])
        low, high = low + args[2][0], high + args[2][1]
    return low, high


def _loss(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    low, high = args[0]
    reach = high - low + math.log(max(shapes[0][-1], 1)) if shapes[0] else high - low
    if len(args) > 1 and shapes[1] == shapes[0]:  # probabilities, which need not sum to 1
        reach *= shapes[0][-1] * max(abs(args[1][0]), abs(args[1][1]))
    return -reach, reach


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _bce_range(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    reach = max(abs(args[0][0]), abs(args[0][1])) * (1 + max(abs(args[1][0]), abs(args[1][1]))) + 1
    return -reach, reach


def _quotient(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    low, high = _divided(args, shapes, attrs)
    return (low, high) if math.isinf(low) or math.isinf(high) else (math.floor(low), math.floor(high))


def _size(bounds: Range) -> float:
    return max(abs(bounds[0]), abs(bounds[1]))


def _count(shapes: list[Shape], attrs: Attrs) -> int:
    if attrs.get("over") is not None:
        return NOMINAL ** len(attrs["over"])
    return math.prod(shapes[0][a] for a in reduced_axes(shapes[0], attrs["axis"]))


def _running(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    (low, high), n = args[0], _count(shapes, attrs)
    return min(low, low * n), max(high, high * n)


def _power_of_all(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    size = _size(args[0])
    reach = max(size, size ** _count(shapes, attrs))
    return -reach, reach


def _variance(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    return 0.0, (args[0][1] - args[0][0]) ** 2 / 2


def _gamma(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    (low, high) = args[0]
    return (-0.13, max(math.lgamma(low), math.lgamma(high), -0.12)) if low > 0 else (-math.inf, math.inf)


def _digamma(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    (low, high) = args[0]
    return (math.log(low) - 1 / low, math.log(high)) if low > 0 else (-math.inf, math.inf)


def _polygamma(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    n, x = int(args[0][0]), args[1][0]
    if x <= 0:
        return -math.inf, math.inf
    reach = math.factorial(n - 1) / x**n + math.factorial(n) / x ** (n + 1)
    return (0.0, reach) if n % 2 else (-reach, 0.0)


def _solved(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    reach = 2 * _size(args[1])  # of a matrix whose diagonal outweighs the rest, as the grower makes them
    return -reach, reach


def _normal(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    apart = max(abs(args[0][0] - args[1][1]), abs(args[0][1] - args[1][0]))
    low, high = args[2]
    if low <= 0:
        return -math.inf, math.inf
    return -((apart / low) ** 2) / 2 - math.log(high) - 0.92, -math.log(low) - 0.91


def _poisson(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    (least, most), (_, high) = args
    if least < 0:
        return -math.inf, math.inf
    reach = _size(_products(args[0], args[1]))
    return -reach - _exp(high) - max(math.lgamma(most + 1), 0.0), reach + 0.13


def _student(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    apart = max(abs(args[0][0] - args[2][1]), abs(args[0][1] - args[2][0]))
    degrees, (low, high) = args[1][0], args[3]
    if degrees < 0.3 or low <= 0:
        return -math.inf, math.inf
    return -2 - math.log(high) - (apart / low) ** 2 * (0.5 + 0.5 / degrees), -0.9 - math.log(low)


def _huber(args: list[Range], shapes: list[Shape], attrs: Attrs) -> Range:
    return 0.0, max(abs(args[0][0] - args[1][1]), abs(args[0][1] - args[1][0])) ** 2 / 2


_RANGES: dict[str, Callable[[list[Range], list[Shape], Attrs], Range]] = {
    "exp": _monotone(_exp),
    "expm1": _monotone(lambda x: math.expm1(min(x, 700.0))),
    "log": _monotone(_log),
    "log1p": _monotone(lambda x: _log(1 + x)),
    "sqrt": _monotone(lambda x: math.sqrt(x) if x >= 0 else -math.inf),
    "tanh": _monotone(math.tanh),
    "sigmoid": _monotone(lambda x: 1 / (1 + _exp(-x))),
    "softplus": _monotone(_softplus),
    "relu": _monotone(lambda x: max(x, 0.0)),
    "gelu": lambda a, s, t: (min(a[0][0], -0.2), max(a[0][1], 0.0)),
    "elu": lambda a, s, t: (min(a[0][0], -abs(t["alpha"])), max(a[0][1], 0.0)),
    "leaky_relu": lambda a, s, t: (min(a[0][0], 0.0), max(a[0][1], 0.0)),
    "neg": lambda a, s, t: (-a[0][1], -a[0][0]),
    "abs": _magnitude,
    "clip": lambda a, s, t: tuple(min(max(x, t["low"]), t["high"]) for x in a[0]),
    "add": lambda a, s, t: (a[0][0] + a[1][0], a[0][1] + a[1][1]),
    "sub": lambda a, s, t: (a[0][0] - a[1][1], a[0][1] - a[1][0]),
    "mul": lambda a, s, t: _products(a[0], a[1]),
    "div": _divided,
    "pow": _power,
    "power": _power,
    "maximum": lambda a, s, t: (max(a[0][0], a[1][0]), max(a[0][1], a[1][1])),
    "minimum": lambda a, s, t: (min(a[0][0], a[1][0]), min(a[0][1], a[1][1])),
    "where": lambda a, s, t: _hull(a[1:], s, t),
    "concat": _hull,
    "stack": _hull,
    **{op: _reduced(op) for op in REDUCED},
    "log_softmax": lambda a, s, t: (a[0][0] - a[0][1] - 10.0, 0.0),
    "layer_norm": _norm,
    "matmul": _inner("matmul"),
    "dot": _inner("dot"),
    "outer": lambda a, s, t: _products(a[0], a[1]),
    "einsum": _inner("einsum"),
    "argmax": lambda a, s, t: (0.0, float(s[0][-1] - 1)),
    "cross_entropy": _loss,
    "nll": lambda a, s, t: (-a[0][1], -a[0][0]),
    "mse": lambda a, s, t: (0.0, max(abs(a[0][0] - a[1][1]), abs(a[0][1] - a[1][0])) ** 2),
    "bce_with_logits": _bce_range,
    "floor": _monotone(math.floor),
    "ceil": _monotone(math.ceil),
    "round": _monotone(round),
    "floor_divide": _quotient,
    "remainder": lambda a, s, t: (0.0, a[1][1]),
    "fmod": lambda a, s, t: (-a[1][1], a[1][1]),
    "silu": lambda a, s, t: (min(a[0][0], -0.28), max(a[0][1], 0.0)),
    "logsigmoid": _monotone(lambda x: -_softplus(-x)),
    "erf": _monotone(math.erf),
    "logaddexp": lambda a, s, t: (max(a[0][0], a[1][0]), max(a[0][1], a[1][1]) + 0.7),
    "lgamma": _gamma,
    "digamma": _digamma,
    "polygamma": _polygamma,
    "cumsum": _running,
    "cumprod": _power_of_all,
    "prod": _power_of_all,
    "var": _variance,
    "std": lambda a, s, t: (0.0, math.sqrt(_variance(a, s, t)[1])),
    "norm": lambda a, s, t: (0.0, math.sqrt(_count(s, t)) * _size(a[0])),
    "argmin": lambda a, s, t: (0.0, float(s[0][-1] - 1)),
    **dict.fromkeys(("solve", "solve_triangular"), _solved),
    "cholesky": lambda a, s, t: (-1.3, 1.3),
    "normal_log_prob": _normal,
    "poisson_log_prob": _poisson,
    "student_log_prob": _student,
    "huber": _huber,
    **dict.fromkeys(("isnan", "isinf"), lambda a, s, t: (0.0, 1.0)),
    **dict.fromkeys(("sort", "top_k", "take_along"), lambda a, s, t: a[0]),
    **dict.fromkeys(("sin", "cos", "sign"), lambda a, s, t: (-1.0, 1.0)),
    **dict.fromkeys((*COMPARISONS, *LOGICAL, "isfinite", "one_hot", "softmax"), lambda a, s, t: (0.0, 1.0)),
    **dict.fromkeys(("batch_mean", "stop_gradient", "cast", "take", "pick", *LAYOUT), lambda a, s, t: a[0]),
}


def inside(op: str, args: Sequence[Range]) -> bool:
    """True if an operation and its derivative are defined wherever its operands may be."""
    low = args[0][0]
    if op in ("log", "sqrt", "lgamma", "digamma"):
        return low > 0
    if op == "polygamma" or op in ("floor_divide", "remainder", "fmod"):
        return args[1][0] > 0
    if op in ("normal_log_prob", "student_log_prob"):
        return args[-1][0] > 0 and (op == "normal_log_prob" or args[1][0] >= 0.3)
    if op == "poisson_log_prob":
        return low >= 0
    if op in ("solve", "solve_triangular", "cholesky"):
        return low >= -0.51 and args[0][1] <= 1.51
    if op == "log1p":
        return low > -1
    if op == "div":
        return not args[1][0] <= 0 <= args[1][1]
    if op in ("pow", "power"):
        (first, last) = args[1]
        return low > 0 or (first == last and first >= 0 and first == int(first))
    return True


def interval(op: str, args: Sequence[Range], shapes: Sequence[Shape], attrs: Attrs) -> Range:
    """Two numbers between which every element lies."""
    low, high = _RANGES[op](list(args), list(shapes), attrs)
    return (-math.inf, math.inf) if math.isnan(low) or math.isnan(high) else (low, high)
