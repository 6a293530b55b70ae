"""Which kinds of number meet in an operation, what they are cast to, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager

from unroll import ops
from unroll.ops.core import OPS
from unroll.ops.kinds import result_kind

F, I, B = "float", "int", "bool"  # noqa: E741

CASTS = [
    # operation, kinds of the operands, which are Python numbers, result, kinds they are cast to
    ("tanh", [F], "-", F, [F]),
    ("add", [F, F], "--", F, [F, F]),
    ("add", [I, I], "--", I, [I, I]),
    ("add", [F, I], "--", F, [F, F]),
    ("add", [F, I], "-w", F, [F, F]),
    ("add", [I, I], "-w", I, [I, I]),
    ("add", [I, F], "-w", F, [F, F]),
    ("mul", [B, F], "--", F, [F, F]),
    ("mul", [B, F], "-w", F, [F, F]),
    ("div", [F, I], "-w", F, [F, F]),
    ("pow", [F, I], "-w", F, [F, F]),
    ("greater", [F, I], "-w", B, [F, F]),
    ("equal", [I, I], "-w", B, [I, I]),
    ("where", [B, F, I], "--w", F, [B, F, F]),
    ("where", [B, I, I], "-ww", I, [B, I, I]),
    ("where", [B, F, F], "-ww", F, [B, F, F]),
    ("reshape", [I], "-", I, [I]),
    ("copy", [B], "-", B, [B]),
    ("cast", [I], "-", F, [I]),
    ("cast", [B], "-", F, [B]),
    ("cast", [F], "-", F, [F]),
    ("concat", [F, F, I], "---", F, [F, F, F]),
    ("take", [F, I], "--", F, [F, I]),
    ("one_hot", [I], "-", F, [I]),
    ("argmax", [F], "-", I, [F]),
    ("logical_not", [B], "-", B, [B]),
]


@pytest.mark.parametrize(
    ("name", "kinds", "weak", "result", "casts"),
    CASTS,
    ids=[f"{c[0]}-{'-'.join(c[1])}{c[2].rstrip('-')}" for c in CASTS],
)
def test_result_kind(name: str, kinds: list[str], weak: str, result: str, casts: list[str]) -> None:
    assert result_kind(OPS[name], kinds, [w == "w" for w in weak]) == (result, tuple(casts))


labels, mask, x = Eager(np.array([1, 0, 2])), Eager(np.array([True, False, True])), Eager(np.array([0.5, -1.0, 2.0]))

REFUSED: dict[str, tuple[Any, str]] = {
    "labels into tanh": (lambda: ops.tanh(labels), "operand 1 of tanh must be float, and is int"),
    "labels into matmul": (lambda: x @ labels, "operand 2 of matmul must be float, and is int"),
    "labels into div": (lambda: labels / 2, "operand 1 of div must be float, and is int"),
    "mask into exp": (lambda: ops.exp(mask), "operand 1 of exp must be float, and is bool"),
    "floats as index": (lambda: ops.take(x, x), "operand 2 of take must be int, and is float"),
    "floats as condition": (lambda: ops.where(x, x, 0.0), "operand 1 of where must be bool, and is float"),
    "labels as condition": (lambda: ops.where(labels, x, 0.0), "operand 1 of where must be bool, and is int"),
    "not of floats": (lambda: ~x, "operand 1 of logical_not must be bool, and is float"),
    "and of labels": (lambda: mask & labels, "operand 2 of logical_and must be bool, and is int"),
    "floats to one_hot": (lambda: ops.one_hot(x, 3), "operand 1 of one_hot must be int, and is float"),
    "labels to argmax": (lambda: ops.argmax(labels), "operand 1 of argmax must be float, and is int"),
    "too many operands": (lambda: ops.tanh(x, x), "tanh takes 1 operands, got 2"),
    "too few operands": (lambda: ops.where(mask, x), "where takes 3 operands, got 2"),
}


@pytest.mark.parametrize(("apply", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_message(apply: Any, message: str) -> None:
    with pytest.raises(ops.DTypeError, match=message):
        apply()


MEETING: dict[str, tuple[Any, list[float]]] = {
    "mask * floats": (lambda: mask * x, [0.5, 0, 2]),
    "floats - mask": (lambda: x - mask, [-0.5, -1, 1]),
    "1.0 - mask": (lambda: 1.0 - mask, [0, 1, 0]),
    "1 - mask": (lambda: 1 - mask, [0, 1, 0]),
    "where of ints and floats": (lambda: ops.where(mask, labels, x), [1, -1, 2]),
    "ints * floats": (lambda: labels * x, [0.5, 0, 4]),
    "ints * 0.5": (lambda: labels * 0.5, [0.5, 0, 1]),
    "cast of a mask": (lambda: ops.cast(mask), [1, 0, 1]),
    "cast of ints": (lambda: ops.cast(labels) / 2, [0.5, 0, 1]),
    "cast of floats": (lambda: ops.cast(x), [0.5, -1, 2]),
    "maximum of ints": (lambda: ops.maximum(labels, 1), [1, 1, 2]),
    "2 ** floats": (lambda: 2**x, [2**0.5, 0.5, 4]),
    "bce_with_logits of a mask": (lambda: ops.bce_with_logits(0 * x, mask), [np.log(2)] * 3),
    "where of numbers": (lambda: ops.where(mask, 1.0, 0.0), [1, 0, 1]),
}


@pytest.mark.parametrize(("apply", "want"), MEETING.values(), ids=MEETING)
def test_kinds_that_meet(apply: Any, want: list[float]) -> None:
    got = apply()
    np.testing.assert_allclose(got.value, want, rtol=1e-15)


@pytest.mark.parametrize("name", ["copy", "reshape", "transpose", "broadcast_to", "slice"])
@pytest.mark.parametrize("x", [labels, mask], ids=["int", "bool"])
def test_moving_keeps_the_kind(name: str, x: Eager) -> None:
    attrs: dict[str, dict[str, Any]] = {
        "reshape": {"shape": (3, 1)},
        "broadcast_to": {"shape": (2, 3)},
        "slice": {"parts": ((None, None, -1),)},
    }
    assert OPS[name](x, **attrs.get(name, {})).dtype == x.dtype


def test_symbols_meet_arrays_on_either_side() -> None:
    array = np.array([1.0, 2.0, 3.0])
    for got in (x + array, array + x):
        assert isinstance(got, Eager)
        np.testing.assert_array_equal(got.value, x.value + array)
    np.testing.assert_array_equal((array @ x).value, array @ x.value)
    np.testing.assert_array_equal((np.float64(2) * x).value, 2 * x.value)
    assert ((x > 1) | (x <= -1)).value.tolist() == [False, True, True]
    assert ((1.0 < x) & (0.0 >= -x)).value.tolist() == [False, False, True]  # noqa: SIM300


def test_nothing_symbolic_is_refused() -> None:
    with pytest.raises(TypeError, match=r"ops\.tanh .* at least one symbolic operand; it got ndarray"):
        ops.tanh(np.ones(2))
    with pytest.raises(TypeError, match=r"it got float, int"):
        ops.maximum(1.0, 2)


@pytest.mark.parametrize(
    "use", [bool, list, lambda x: x and x, lambda x: 0 < x < 1], ids=["bool", "list", "and", "chain"]
)
def test_symbols_have_no_truth_and_no_end(use: Any) -> None:
    with pytest.raises(TypeError, match=r"ops\.where|slices"):
        use(x)


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_one_way_to_reduce(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} takes axis= .* or over= .*, not both"):
        getattr(ops, name)(x, 0, over="t")
    with pytest.raises(TypeError, match=rf"{name} keeps the axes of axis= with keepdims=; a time axis"):
        getattr(ops, name)(x, over="t", keepdims=True)
