"""Derivative rules against derivatives taken from the values alone, entry by entry.

The reference is the complex step, ``imag f(x + ih) / h`` with h = 1e-20: it subtracts nothing, so it is exact to
rounding. Where an operation is not analytic it is the central difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unroll import ops
from unroll.ops.core import Op

from .eager import Eager, cotangents, eager, pullback

Array = Any
STEP = 1e-20
TOLERANCE = {"complex step": 1e-10, "central difference": 1e-6}


def numeric_jacobian(f: Callable[..., Array], args: Sequence[Any], position: int, method: str) -> Array:
    """The derivative of every element of ``f(*args)`` by every element of one operand: (outputs, inputs)."""
    x = args[position]

    def moved(k: int, by: complex) -> Array:
        at = x.astype(np.result_type(x, type(by)))
        at.flat[k] += by
        return np.asarray(f(*args[:position], at, *args[position + 1 :]))

    if method == "complex step":
        columns = [np.imag(moved(k, STEP * 1j)) / STEP for k in range(x.size)]
    else:
        h = 1e-6
        columns = [(moved(k, h) - moved(k, -h)) / (2 * h) for k in range(x.size)]
    return np.stack([c.ravel() for c in columns], axis=1) if columns else np.zeros((np.size(f(*args)), 0))


def _units(shape: tuple[int, ...], floats: Any) -> list[Array]:
    size = int(np.prod(shape))
    return [row.reshape(shape) for row in np.eye(size, dtype=floats)]


def _compare(what: str, got: Array, want: Array, tolerance: float) -> None:
    error = np.abs(got - want) / np.maximum(1, np.abs(want))
    if error.size and not np.all(error <= tolerance):  # nan fails too
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        raise AssertionError(
            f"{what}: largest error {error[worst]:.3g} (tolerance {tolerance:g}): result {worst[0]} by element "
            f"{worst[1]} is {want[worst]:.12g}, the rule says {got[worst]:.12g}"
        )


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def check_op(op: Op, args: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> None:
    """Compare each derivative rule of `op` with the full Jacobian of its values.

    args  arrays, and Python numbers where an operand is a constant

    Raises AssertionError, which names the operation, the operand and the largest error.
    """
    attrs = dict(attrs or {})
    y = op(*eager(*args), **attrs)
    floats = [i for i, a in enumerate(args) if _is_float(a)]
    if y.dtype != "float":
        for i in floats:
            assert op.rule(i) is None, f"{op.name}: operand {i + 1} has a derivative, but the result is {y.dtype}"
        return
    rows = [cotangents(y, Eager(unit)) for unit in _units(y.shape, y.value.dtype)]
    for i in floats:
        # No rule means zero, also where the values move (stop_gradient): that is what the complex step sees.
        method = "complex step" if op.analytic or op.rule(i) is None else "central difference"
        for row in rows:
            got = args[i].shape if row[i] is None else row[i].shape
            assert got == args[i].shape, f"{op.name}: the cotangent of operand {i + 1} has shape {got}"
        want = numeric_jacobian(lambda *a: op(*eager(*a), **attrs).value, args, i, method)
        got = np.zeros(want.shape)
        for k, row in enumerate(rows):
            if row[i] is not None:
                got[k] = row[i].value.ravel()
        shapes = ", ".join(str(np.shape(a)) for a in args)
        _compare(f"{op.name}, operand {i + 1} of {shapes}", got, want, TOLERANCE[method])


def check_function(name: str, f: Callable[..., Eager], args: Sequence[Any]) -> None:
    """The same for a function written from several operations, whose derivative the rules make together."""
    symbols = eager(*args)
    y = f(*symbols)
    floats = [i for i, a in enumerate(args) if _is_float(a)]
    rows = [pullback(y, unit, [symbols[i] for i in floats]) for unit in _units(y.shape, y.value.dtype)]
    for column, i in enumerate(floats):
        want = numeric_jacobian(lambda *a: f(*eager(*a)).value, args, i, "complex step")
        got = np.stack([row[column].value.ravel() for row in rows]) if rows else np.zeros(want.shape)
        _compare(f"{name}, operand {i + 1}", got, want, TOLERANCE["complex step"])


def check_second_order(op: Op, args: Sequence[Any], attrs: Mapping[str, Any] | None, rng: np.random.Generator) -> None:
    """Compare the derivative of each derivative rule, taken by the rules of its own operations, with its values.

    The rule is seen as a function of the cotangent and of the operands, and met with a random direction.
    """
    attrs = dict(attrs or {})
    y = op(*eager(*args), **attrs)
    if y.dtype != "float":
        return
    g = rng.standard_normal(y.shape)
    for i, (arg, first) in enumerate(zip(args, cotangents(y, Eager(g)), strict=True)):
        if first is None:
            continue
        u = rng.standard_normal(arg.shape)

        def scalar(g: Any, *operands: Any, position: int = i, u: Array = u) -> Eager:
            value = cotangents(op(*operands, **attrs), g)[position]
            return Eager(np.zeros(())) if value is None else ops.sum(u * value)

        check_function(f"{op.name}, derivative by operand {i + 1}", scalar, [g, *args])
