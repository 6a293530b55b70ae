"""Shapes and kinds of every operation, said anew here: NumPy's rules, and the kinds that the documents name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Attrs = dict[str, Any]

NORMALISED = {"softmax", "log_softmax"}  # these keep the axis that they are taken over
REDUCED = {"sum", "mean", "max", "min", "logsumexp"}
NOMINAL = 10  # steps that a range assumes where a sum goes over a time axis

FLOAT_UNARY = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "gelu")
FLOAT_UNARY += ("elu", "leaky_relu", "stop_gradient", "floor", "ceil", "round", "silu", "logsigmoid", "erf")
FLOAT_UNARY += ("lgamma", "digamma")
NUMBER_UNARY = ("neg", "abs", "sign", "clip")
ARITHMETIC = ("add", "sub", "mul", "maximum", "minimum")
COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or", "logical_not")
LAYOUT = ("index", "T", "transpose", "reshape", "broadcast_to")


def feature(op: str, attrs: Attrs) -> str:
    """The name under which an operation is counted."""
    return f"{op} over {len(attrs['over'])}" if attrs.get("over") is not None else op


def labels(op: str, shapes: Sequence[Shape], attrs: Attrs) -> int | None:
    """How many labels an operation knows; None for one that takes none."""
    if op == "one_hot":
        return int(attrs["size"])
    if op == "take":
        return shapes[0][0]
    return shapes[0][-1] if op in ("pick", "nll", "cross_entropy", "take_along") else None


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def promoted(kinds: Sequence[str]) -> str:
    """The kind of numbers together: labels stay labels among themselves, and a bool counts as a number."""
    return "int" if all(kind == "int" for kind in kinds) else "float"


def typed(op: str, args: Sequence[tuple[Shape, str]], attrs: Attrs) -> tuple[Shape, str]:
    """Shape and kind of a result. Raises ValueError where operands do not fit."""
    shapes, kinds = [shape for shape, _ in args], [kind for _, kind in args]
    rule = _TYPES.get(op)
    if rule is None:
        raise ValueError(f"no such operation: {op}")
    return rule(shapes, kinds, attrs)


def _floats(kinds: Sequence[str]) -> None:
    _need(all(kind == "float" for kind in kinds), "floats are needed")


def _broadcast(*shapes: Shape) -> Shape:
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


def _unary(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    return shapes[0], "float"


def _number(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    return shapes[0], promoted(kinds)


def _elementwise(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    return _broadcast(*shapes), promoted(kinds)


def _float_pair(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    return _broadcast(*shapes), "float"


def _compare(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    return _broadcast(*shapes), "bool"


def _logical(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(all(kind == "bool" for kind in kinds), "bools are needed")
    return _broadcast(*shapes), "bool"


def _where(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds[0] == "bool", "a condition is a bool")
    return _broadcast(*shapes), promoted(kinds[1:])


def _index(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    try:
        return np.broadcast_to(np.int8(0), shapes[0])[attrs["key"]].shape, kinds[0]
    except IndexError as error:
        raise ValueError(str(error)) from None


def _transposed(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    axes = attrs.get("axes") or tuple(reversed(range(len(shapes[0]))))
    _need(sorted(a % max(len(shapes[0]), 1) for a in axes) == list(range(len(shapes[0]))), "no permutation")
    return tuple(shapes[0][a] for a in axes), kinds[0]


def _reshaped(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    return np.broadcast_to(np.int8(0), shapes[0]).reshape(attrs["shape"]).shape, kinds[0]


def _broadcast_to(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    return np.broadcast_to(np.broadcast_to(np.int8(0), shapes[0]), attrs["shape"]).shape, kinds[0]


def _concat(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(all(len(shape) == len(shapes[0]) > 0 for shape in shapes), "concat needs axes")
    axis = attrs["axis"] % len(shapes[0])
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    _need(len(rest) == 1, "concat: sizes differ elsewhere")
    total = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), promoted(kinds)


def _stack(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(len(set(shapes)) == 1, "stack: one shape")
    axis = attrs["axis"] % (len(shapes[0]) + 1)
    return (*shapes[0][:axis], len(shapes), *shapes[0][axis:]), promoted(kinds)


def reduced_axes(shape: Shape, axis: Any) -> tuple[int, ...]:
    """The axes that `axis` names; all of them where it is None."""
    given = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    _need(all(-len(shape) <= a < len(shape) for a in given), "axis out of range")
    return tuple(a % len(shape) for a in given)


def _reduce(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    if attrs.get("over") is not None:
        return shapes[0], "float"
    _floats(kinds)
    axes = reduced_axes(shapes[0], attrs["axis"])
    _need(len(axes) > 0, "nothing to reduce")
    if attrs.get("keepdims"):
        return tuple(1 if a in axes else n for a, n in enumerate(shapes[0])), "float"
    return tuple(n for a, n in enumerate(shapes[0]) if a not in axes), "float"


def _normalised(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds[:1])
    if attrs.get("over") is None:
        _need(len(reduced_axes(shapes[0], attrs["axis"])) > 0, "nothing to normalise")
    return shapes[0], "float"


def _layer_norm(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(reduced_axes(shapes[0], attrs["axis"])) > 0, "nothing to normalise")
    _need(_broadcast(*shapes) == shapes[0], "gain and bias of another shape")
    return shapes[0], "float"


def _matmul(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    a, b = shapes
    _need(1 <= len(a) <= 2 and 1 <= len(b) <= 2 and a[-1] == b[0], "matmul: sizes differ")
    return a[:-1] + b[1:], "float"


def _dot(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(shapes[0]) == 1 and shapes[0] == shapes[1], "dot: two vectors")
    return (), "float"


def _outer(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(shapes[0]) == len(shapes[1]) == 1, "outer: two vectors")
    return shapes[0] + shapes[1], "float"


def _einsum(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    left, out = attrs["spec"].split("->")
    sizes: dict[str, int] = {}
    for letters, shape in zip(left.split(","), shapes, strict=True):
        _need(len(letters) == len(shape), "einsum: letters")
        for letter, n in zip(letters, shape, strict=True):
            _need(sizes.setdefault(letter, n) == n, "einsum: sizes")
    return tuple(sizes[letter] for letter in out), "float"


def _argmax(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(shapes[0]) > 0, "argmax of a number")
    return shapes[0][:-1], "int"


def _take(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds == ["float", "int"] and len(shapes[0]) > 0, "take: a table and labels")
    return shapes[1] + shapes[0][1:], "float"


def _pick(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds == ["float", "int"] and shapes[0][:-1] == shapes[1] and len(shapes[0]) > 0, "pick: one label a row")
    return shapes[1], "float"


def _one_hot(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds == ["int"], "one_hot of labels")
    return (*shapes[0], attrs["size"]), "float"


def _cross_entropy(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    if kinds[1] == "int":
        return _pick(shapes, kinds, attrs)
    _floats(kinds)
    _need(len(shapes[0]) > 0 and shapes[0] == shapes[1], "probabilities of the logits' shape")
    return shapes[0][:-1], "float"


def _mse(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _broadcast(*shapes)
    return (), "float"


def _bce(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds[0] == "float" and kinds[1] in ("float", "bool"), "bce: a float, and a probability or bool")
    return _broadcast(*shapes), "float"


def _floats_together(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    return _broadcast(*shapes), "float"


def _poisson(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds[0] in ("int", "float") and kinds[1] == "float", "a count and the logarithm of a rate")
    return _broadcast(*shapes), "float"


def _along(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    (axis,) = reduced_axes(shapes[0], attrs["axis"])
    if "k" not in attrs:
        return shapes[0], "float"
    _need(attrs["k"] <= shapes[0][axis], "fewer than k")
    return tuple(attrs["k"] if place == axis else n for place, n in enumerate(shapes[0])), "float"


def _polygamma(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds == ["int", "float"] and shapes[0] == (), "an order and floats")
    return shapes[1], "float"


def _take_along(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _need(kinds == ["float", "int"] and len(shapes[0]) > 0, "take_along: values and labels")
    _need(shapes[0][:-1] == shapes[1][:-1] and len(shapes[1]) > 0, "take_along: row by row")
    return shapes[1], "float"


def _solve(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(shapes[0]) == 2 and shapes[0][0] == shapes[0][1], "solve: a square matrix")
    _need(shapes[1][:1] == shapes[0][:1] and len(shapes[1]) in (1, 2), "solve: sizes differ")
    return shapes[1], "float"


def _cholesky(shapes: list[Shape], kinds: list[str], attrs: Attrs) -> tuple[Shape, str]:
    _floats(kinds)
    _need(len(shapes[0]) == 2 and shapes[0][0] == shapes[0][1], "cholesky: a square matrix")
    return shapes[0], "float"


_TYPES: dict[str, Callable[[list[Shape], list[str], Attrs], tuple[Shape, str]]] = {
    **dict.fromkeys(FLOAT_UNARY, _unary),
    **dict.fromkeys(NUMBER_UNARY, _number),
    **dict.fromkeys(ARITHMETIC, _elementwise),
    **dict.fromkeys(COMPARISONS, _compare),
    **dict.fromkeys(LOGICAL, _logical),
    **dict.fromkeys(REDUCED, _reduce),
    **dict.fromkeys(NORMALISED, _normalised),
    "div": _float_pair,
    "pow": _float_pair,
    "power": _float_pair,
    "isfinite": lambda s, k, a: (_unary(s, k, a)[0], "bool"),
    "cast": lambda s, k, a: (s[0], "float"),
    "where": _where,
    "index": _index,
    "T": _transposed,
    "transpose": _transposed,
    "reshape": _reshaped,
    "broadcast_to": _broadcast_to,
    "concat": _concat,
    "stack": _stack,
    "layer_norm": _layer_norm,
    "batch_mean": _unary,
    "matmul": _matmul,
    "dot": _dot,
    "outer": _outer,
    "einsum": _einsum,
    "argmax": _argmax,
    "argmin": _argmax,
    **dict.fromkeys(("floor_divide", "remainder"), _elementwise),
    **dict.fromkeys(("fmod", "logaddexp", "normal_log_prob", "student_log_prob"), _floats_together),
    **dict.fromkeys(("isnan", "isinf"), lambda s, k, a: (_unary(s, k, a)[0], "bool")),
    **dict.fromkeys(("cumsum", "cumprod", "sort", "top_k"), _along),
    **dict.fromkeys(("prod", "var", "std", "norm"), _reduce),
    "poisson_log_prob": _poisson,
    "polygamma": _polygamma,
    "take_along": _take_along,
    **dict.fromkeys(("solve", "solve_triangular"), _solve),
    "cholesky": _cholesky,
    "huber": _mse,
    "take": _take,
    "pick": _pick,
    "nll": _pick,
    "one_hot": _one_hot,
    "cross_entropy": _cross_entropy,
    "mse": _mse,
    "bce_with_logits": _bce,
}
KNOWN = frozenset(_TYPES)
