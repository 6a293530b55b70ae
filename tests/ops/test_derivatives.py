from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.cases import CASES, Case, case_id, cases, sample
from helpers.eager import Eager, eager, pullback
from helpers.gradcheck import check_function, check_op, check_second_order

from unroll import ops
from unroll.ops.core import OPS, Op
from unroll.ops.shape_ops import getitem

every_case = pytest.mark.parametrize(("op", "case"), CASES, ids=case_id)


@pytest.mark.parametrize("op", OPS.values(), ids=case_id)
def test_every_operation_has_a_case(op: Op) -> None:
    assert cases(op), f"{op.name} is tried on nothing: give its Family cases, or add it to tests/helpers/cases.py"


@pytest.mark.parametrize("op", OPS.values(), ids=case_id)
def test_every_derivative_rule_is_reached_by_a_case(op: Op) -> None:
    """Some case hands each differentiable operand a float array, so that its rule is evaluated."""
    variadic = op.kinds.split("->")[0].endswith("*")
    for position in range(1 if variadic else len(op.vjp)):
        if op.rule(position) is not None:
            given = [case.operands[position] for case in cases(op)]
            assert any(isinstance(o, tuple) or np.asarray(o).dtype.kind == "f" for o in given), (op.name, position)


def test_an_operation_without_a_case_is_noticed() -> None:
    bare = replace(OPS["take"], name="bare", family=replace(OPS["take"].family, name="bare", cases=()))
    assert not cases(bare)


@every_case
def test_derivative(op: Op, case: Case, rng: np.random.Generator) -> None:
    check_op(op, sample(op, case, rng), case.attrs)


@every_case
def test_second_derivative(op: Op, case: Case, rng: np.random.Generator) -> None:
    check_second_order(op, sample(op, case, rng), case.attrs, rng)


COMPOSITES: dict[str, tuple[Any, ...]] = {
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.1), (2, 3)),
    "elu": (lambda x: ops.elu(x, 1.5), (2, 3)),
    "gelu": (ops.gelu, (2, 3)),
    "clip": (lambda x: ops.clip(x, -0.5, 0.7), (2, 3)),
    "min-all": (ops.min, (2, 3)),
    "min-axis": (lambda x: ops.min(x, 0, keepdims=True), (2, 3)),
    "max-axes": (lambda x: ops.max(x, (0, 2)), (2, 3, 2)),
    "mean-all": (ops.mean, (2, 3)),
    "mean-axes": (lambda x: ops.mean(x, (0, -1)), (2, 3, 2)),
    "sum-axis": (lambda x: ops.sum(x, 0, keepdims=True), (2, 3)),
    "softmax-axis": (lambda x: ops.softmax(x, 0), (2, 3)),
    "log_softmax": (ops.log_softmax, (4,)),
    "log_softmax-axis": (lambda x: ops.log_softmax(x, 0), (2, 3)),
    "bce_with_logits": (ops.bce_with_logits, (2, 3), (2, 3)),
    "bce_with_logits-number": (lambda x: ops.bce_with_logits(x, 1.0), (3,)),
    "mse": (ops.mse, (2, 3), (2, 3)),
    "mse-broadcast": (ops.mse, (2, 3), (3,)),
    "layer_norm": (ops.layer_norm, (5,)),
    "layer_norm-gain-bias": (lambda x, a, b: ops.layer_norm(x, a, b), (2, 3), (3,), (3,)),
    "layer_norm-axes": (lambda x: ops.layer_norm(x, axis=(0, 1)), (2, 3)),
    "nll": (lambda x, i: ops.nll(ops.log_softmax(x), i), (2, 3), np.array([2, 0])),
    "cross_entropy-index": (ops.cross_entropy, (2, 3), np.array([2, 0])),
    "cross_entropy-probabilities": (lambda x, p: ops.cross_entropy(x, ops.softmax(p)), (2, 3), (2, 3)),
    "cross_entropy-constant": (lambda x: ops.cross_entropy(x, Eager([0.2, 0.5, 0.3])), (2, 3)[1:]),
    "einsum": (lambda a, b: ops.einsum("ij, jk -> ki", a, b), (2, 3), (3, 2)),
    "getitem-int": (lambda x: x[1], (3, 2)),
    "getitem-negative-int": (lambda x: x[-1], (3, 2)),
    "getitem-slice": (lambda x: x[1:], (3, 2)),
    "getitem-negative-step": (lambda x: x[::-1], (3, 2)),
    "getitem-negative-range": (lambda x: x[4:0:-2], (6,)),
    "getitem-ellipsis": (lambda x: x[..., 0], (2, 3, 2)),
    "getitem-middle-ellipsis": (lambda x: x[1, ..., ::-2], (2, 2, 3)),
    "getitem-empty-ellipsis": (lambda x: x[0, ..., 1], (2, 3)),
    "getitem-lookup": (lambda x, i: x[i], (4, 2), np.array([3, 0, 3])),
    "transpose": (lambda x: x.T @ x, (2, 3)),
    "broadcast_to": (lambda x: ops.broadcast_to(x, (2, 3)) * x, (3,)),
    "concat-number": (lambda a, b: ops.concat([a, b, a]), (2,), (3,)),
    "stack-last": (lambda a, b: ops.stack([a, b], axis=-1), (2,), (2,)),
    "operators": (lambda a, b: (2 - a) / (1.5 + abs(b)) - -(a**3) + 2**b, (3,), (2, 1)),
    "array-operand": (lambda a: np.array([[1.0, 2.0, 3.0]]) @ (np.arange(3.0) * a), (3,)),
}


@pytest.mark.parametrize(("f", "operands"), [(f, o) for f, *o in COMPOSITES.values()], ids=COMPOSITES)
def test_composite(f: Any, operands: list[Any], rng: np.random.Generator) -> None:
    args = [rng.uniform(-2, 2, o) if isinstance(o, tuple) else o for o in operands]
    check_function("composite", f, args)


@pytest.mark.parametrize(("f", "operands"), [(f, o) for f, *o in COMPOSITES.values()], ids=COMPOSITES)
def test_composite_second_derivative(f: Any, operands: list[Any], rng: np.random.Generator) -> None:
    args = [rng.uniform(-2, 2, o) if isinstance(o, tuple) else o for o in operands]
    floats = [i for i, a in enumerate(args) if a.dtype.kind == "f"]
    g = rng.standard_normal(f(*eager(*args)).shape)
    directions = [rng.standard_normal(args[i].shape) for i in floats]

    def along(*symbols: Eager) -> Eager:
        first = pullback(f(*symbols), g, [symbols[i] for i in floats])
        return sum((ops.sum(u * d) for u, d in zip(directions, first, strict=True)), start=0.0)

    check_function("derivative of composite", along, args)


ELSEWHERE = {
    "relu at 0": (ops.relu, [0.0], [0.0]),
    "leaky_relu at 0": (ops.leaky_relu, [0.0], [0.01]),
    "elu at 0": (ops.elu, [0.0], [1.0]),
    "abs at 0": (ops.abs, [0.0], [0.0]),
    "sign": (ops.sign, [-1.0, 0.0, 2.0], [0.0, 0.0, 0.0]),
    "clip at its ends": (lambda x: ops.clip(x, -1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
    "maximum of equals": (lambda x: ops.maximum(x, 1.0), [0.0, 1.0, 2.0], [0.0, 0.5, 1.0]),
    "minimum of equals": (lambda x: ops.minimum(x, 1.0), [0.0, 1.0, 2.0], [1.0, 0.5, 0.0]),
    "max shared": (ops.max, [2.0, 1.0, 2.0], [0.5, 0.0, 0.5]),
    "min shared": (ops.min, [2.0, 1.0, 1.0], [0.0, 0.5, 0.5]),
    "0**2": (lambda x: x**2, [0.0], [0.0]),
    "0**1": (lambda x: x**1, [0.0], [1.0]),
    "0**0": (lambda x: x**0, [0.0], [0.0]),
    "0**array": (lambda x: x ** np.array([0.0, 1.0, 2.0]), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    "stop_gradient": (lambda x: x * ops.stop_gradient(x), [3.0], [3.0]),
    "cast of a float": (ops.cast, [1.5], [1.0]),
    "bce_with_logits at 0": (lambda x: ops.bce_with_logits(x, 1.0), [0.0], [-0.5]),
    "where, nan in the arm not taken": (lambda x: ops.where(x > 0, x * 2, ops.stop_gradient(np.nan * x)), [1.0], [2.0]),
}


@pytest.mark.parametrize(("f", "x", "want"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_derivative_where_it_is_a_convention(f: Any, x: list[float], want: list[float]) -> None:
    symbol = Eager(np.array(x))
    y = f(symbol)
    (got,) = pullback(y, np.ones(y.shape), [symbol])
    np.testing.assert_array_equal(got.value, want)


def test_getitem_is_what_the_operator_uses() -> None:
    x = Eager(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(getitem(x, (1, slice(None, None, -1))).value, x.value[1, ::-1])
