"""The checker itself: planted mistakes must be caught, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.cases import Case, sample
from helpers.gradcheck import check_function, check_op, check_second_order

from unroll import ops
from unroll.ops.core import OPS, Op


def planted(name: str, *rules: Any) -> Op:
    """The operation with other derivative rules, outside the registry."""
    return replace(OPS[name], vjp=rules)


def right(name: str, position: int) -> Any:
    return OPS[name].vjp[position]


MISTAKES = {
    "half a percent": (planted("tanh", lambda g, y, x: 1.005 * g * (1 - y * y)), [(3,)], "tanh, operand 1"),
    "a millionth of a percent": (planted("exp", lambda g, y, x: (1 + 1e-8) * g * y), [(3,)], "exp, operand 1"),
    "sign": (planted("sub", right("sub", 0), lambda g, y, a, b: g), [(3,), (3,)], "sub, operand 2"),
    "swapped operands": (
        planted("matmul", lambda g, y, a, b: g @ b, lambda g, y, a, b: g.T @ a),
        [(2, 2), (2, 2)],
        "matmul, operand 1",
    ),
    "not transposed": (planted("matmul", right("matmul", 0), lambda g, y, a, b: a @ g), [(2, 2), (2, 2)], "operand 2"),
    "missing sum over a broadcast axis": (
        planted("mul", right("mul", 0), lambda g, y, a, b: (g * a)[0]),
        [(2, 3), (3,)],
        "mul, operand 2",
    ),
    "mean for a sum over a broadcast axis": (
        planted("add", right("add", 0), lambda g, y, a, b: ops.mean(g, 0)),
        [(2, 3), (3,)],
        "add, operand 2",
    ),
    "zero": (planted("sin", None), [(3,)], "sin, operand 1"),
    "a single entry": (
        planted("relu", lambda g, y, x: ops.where(x > 0, g, 0) * np.array([1.0, 1.0, 0.0])),
        [np.ones(3)],
        "relu, operand 1",
    ),
    "a tie decided": (planted("maximum", lambda g, y, a, b: g, None), [np.ones(2), np.zeros(2)], None),
    "nan": (planted("log", lambda g, y, x: g * np.nan), [(2,)], "log, operand 1"),
}


@pytest.mark.parametrize(("op", "operands", "message"), MISTAKES.values(), ids=MISTAKES)
def test_planted_mistake_is_caught(op: Op, operands: list[Any], message: str | None, rng: np.random.Generator) -> None:
    args = sample(op, Case("planted", tuple(operands)), rng)
    if message is None:
        check_op(op, args)  # away from the tie the rule is right: the check is local
        return
    with pytest.raises(AssertionError, match=f"{message}.*largest error"):
        check_op(op, args)


def test_cotangent_of_a_wrong_shape_is_caught() -> None:
    op = planted("matmul", lambda g, y, a, b: b @ g, lambda g, y, a, b: a @ g)
    with pytest.raises((AssertionError, ops.ShapeError)):
        check_op(op, [np.ones((2, 3)), np.ones((3, 2))])


def test_derivative_of_a_comparison_is_caught() -> None:
    op = planted("greater", lambda g, y, a, b: g, None)
    with pytest.raises(AssertionError, match="greater: operand 1 has a derivative, but the result is bool"):
        check_op(op, [np.ones(2), np.zeros(2)])


def test_wrong_second_derivative_is_caught(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    x = [rng.uniform(-1, 1, 3)]
    check_second_order(OPS["tanh"], x, {}, rng)
    monkeypatch.setitem(OPS, "mul", planted("mul", right("mul", 0), None))
    with pytest.raises(AssertionError, match=r"tanh, derivative by operand 1.*largest error"):
        check_second_order(OPS["tanh"], x, {}, rng)


def test_wrong_composite_is_caught() -> None:
    def stopped(x: Any) -> Any:
        return x * ops.sigmoid(x)

    def sneaky(x: Any) -> Any:
        return planted("sigmoid", lambda g, y, x: g * y)(x) * x

    check_function("swish", stopped, [np.array([0.5])])
    with pytest.raises(AssertionError, match="swish, operand 1: largest error"):
        check_function("swish", sneaky, [np.array([0.5])])
