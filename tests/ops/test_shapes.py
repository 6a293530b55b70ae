"""Shape rules against NumPy's own results, and the messages where operands do not fit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers.cases import CASES, Case, case_id, sample
from helpers.eager import Eager, eager
from hypothesis import assume, given
from hypothesis import strategies as st

from unroll import ops
from unroll.ops import shapes
from unroll.ops.core import OPS, Op

sizes = st.integers(0, 3)
small_shapes = st.lists(sizes, max_size=3).map(tuple)


def numbered(shape: tuple[int, ...]) -> Eager:
    """Every element different, so that a moved one is seen."""
    return Eager(np.arange(1.0, 1 + np.prod(shape)).reshape(shape))


def agrees(ours: Any, theirs: Any) -> None:
    """Both give the same array, or both refuse."""
    try:
        want = theirs()
    except (ValueError, IndexError):
        with pytest.raises(ops.ShapeError):
            ours()
        return
    got = ours()
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got.value, want, rtol=1e-14)


@pytest.mark.parametrize(("op", "case"), CASES, ids=case_id)
def test_rule_agrees_with_kernel(op: Op, case: Case, rng: np.random.Generator) -> None:
    args = sample(op, case, rng)
    expected = op.family.shape([np.shape(a) for a in args], case.attrs)
    result = op(*eager(*args), **case.attrs)  # an Eager compares the shape and the kind of every result itself
    assert result.shape == expected


@given(st.lists(small_shapes, min_size=1, max_size=3))
def test_broadcast(several: list[tuple[int, ...]]) -> None:
    try:
        want = np.broadcast_shapes(*several)
    except ValueError:
        with pytest.raises(ops.ShapeError) as error:
            shapes.broadcast(several)
        assert all(str(s) in str(error.value) for s in several)
    else:
        assert shapes.broadcast(several) == want


@given(small_shapes, small_shapes)
def test_broadcast_to(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    x = numbered(old)
    agrees(lambda: ops.broadcast_to(x, new), lambda: np.broadcast_to(x.value, new))


@given(small_shapes, small_shapes)
def test_sum_to_undoes_broadcast_to(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    try:
        stretched = np.broadcast_to(np.ones(old), new)
    except ValueError:
        assume(False)
    got = OPS["sum_to"](Eager(stretched.copy()), shape=old)
    np.testing.assert_array_equal(got.value, np.full(old, np.prod(new) / max(1, np.prod(old))))


@given(st.lists(sizes, min_size=1, max_size=2).map(tuple), st.lists(sizes, min_size=1, max_size=2).map(tuple))
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = numbered(left), numbered(right)
    agrees(lambda: a @ b, lambda: a.value @ b.value)


@given(st.permutations("ijk"), st.integers(0, 3), st.tuples(sizes, sizes, sizes))
def test_einsum(order: list[str], split: int, extent: tuple[int, int, int]) -> None:
    spec = f"{''.join(order)},{'ijk'[:split]}->{'ijk'[split:]}"
    at = dict(zip("ijk", extent, strict=True))
    a, b = numbered(tuple(at[c] for c in order)), numbered(extent[:split])
    agrees(lambda: ops.einsum(spec, a, b), lambda: np.einsum(spec, a.value, b.value))


@given(st.lists(st.lists(sizes, min_size=1, max_size=2).map(tuple), min_size=1, max_size=3), st.integers(-3, 2))
def test_concat(several: list[tuple[int, ...]], axis: int) -> None:
    values = [numbered(s) for s in several]
    agrees(lambda: ops.concat(values, axis), lambda: np.concatenate([v.value for v in values], axis))


@given(st.lists(small_shapes, min_size=1, max_size=3), st.integers(-4, 3), st.booleans())
def test_stack(several: list[tuple[int, ...]], axis: int, alike: bool) -> None:
    values = [numbered(several[0] if alike else s) for s in several]
    agrees(lambda: ops.stack(values, axis), lambda: np.stack([v.value for v in values], axis))


parts = st.one_of(st.integers(-4, 3), st.slices(5), st.slices(2), st.just(Ellipsis))


@given(small_shapes, st.one_of(parts, st.lists(parts, max_size=4).map(tuple)))
def test_getitem(shape: tuple[int, ...], key: Any) -> None:
    x = numbered(shape)
    agrees(lambda: x[key], lambda: x.value[key])


@given(small_shapes, st.lists(st.integers(-1, 6), max_size=3).map(tuple))
def test_reshape(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    x = numbered(old)
    agrees(lambda: ops.reshape(x, new), lambda: x.value.reshape(new))


@given(small_shapes, st.lists(st.integers(-3, 2), max_size=3).map(tuple))
def test_transpose(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbered(shape)
    agrees(lambda: ops.transpose(x, axes), lambda: x.value.transpose(*axes) if axes else np.transpose(x.value, ()))
    np.testing.assert_array_equal(x.T.value, x.value.T)


axis_arguments = st.one_of(
    st.none(), st.integers(-4, 3), st.lists(st.integers(-4, 3), min_size=1, max_size=3).map(tuple)
)
nonempty_shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@given(shape=nonempty_shapes, axis=axis_arguments, keepdims=st.booleans())
def test_reductions(name: str, shape: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    x = numbered(shape)
    ours, theirs = getattr(ops, name), getattr(np, name)
    agrees(lambda: ours(x, axis, keepdims=keepdims), lambda: theirs(x.value, axis=axis, keepdims=keepdims))


@given(nonempty_shapes, axis_arguments, st.booleans())
def test_exponential_reductions(shape: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    x = numbered(shape)

    def log_sum(keep: bool) -> Any:
        return np.log(np.sum(np.exp(x.value), axis=axis, keepdims=keep))

    agrees(lambda: ops.logsumexp(x, axis, keepdims=keepdims), lambda: log_sum(keepdims))
    agrees(lambda: ops.softmax(x, axis), lambda: np.exp(x.value - log_sum(True)))
    agrees(lambda: ops.log_softmax(x, axis), lambda: x.value - log_sum(True))


@given(nonempty_shapes, small_shapes, st.randoms(use_true_random=False))
def test_lookups(shape: tuple[int, ...], rows: tuple[int, ...], random: Any) -> None:
    x = numbered(shape)
    index = np.array([random.randrange(shape[0]) for _ in range(int(np.prod(rows)))], int).reshape(rows)
    agrees(lambda: x[Eager(index)], lambda: x.value[index])
    agrees(lambda: ops.one_hot(Eager(index), shape[0]), lambda: np.eye(shape[0])[index])
    last = np.array([random.randrange(shape[-1]) for _ in range(int(np.prod(shape[:-1])))], int).reshape(shape[:-1])
    agrees(lambda: ops.pick(x, Eager(last)), lambda: np.take_along_axis(x.value, last[..., None], -1)[..., 0])
    agrees(lambda: ops.argmax(x), lambda: np.argmax(x.value, -1))


x23, x34, x3, x2, scalar = (numbered(s) for s in ((2, 3), (3, 4), (3,), (2,), ()))
index2 = Eager(np.array([0, 1]))

MISFITS: dict[str, tuple[Any, list[str]]] = {
    "add": (lambda: x23 + x2, ["(2, 3)", "(2,)"]),
    "where": (lambda: ops.where(x23 > 0, x3, x2), ["(2, 3)", "(3,)", "(2,)"]),
    "matmul": (lambda: x23 @ x23, ["(2, 3) @ (2, 3)", "3 and 2"]),
    "matmul rank": (lambda: x23 @ scalar, ["(2, 3) @ ()", "einsum"]),
    "dot": (lambda: ops.dot(x3, x2), ["(3,)", "(2,)"]),
    "outer": (lambda: ops.outer(x23, x3), ["(2, 3)", "(3,)"]),
    "einsum size": (lambda: ops.einsum("ij,jk->ik", x23, x23), ["'j'", "3", "2"]),
    "einsum rank": (lambda: ops.einsum("ij,j->i", x3, x3), ["'ij'", "(3,)"]),
    "einsum diagonal": (lambda: ops.einsum("ii,i->i", numbered((2, 2)), x2), ["twice"]),
    "einsum lone letter": (lambda: ops.einsum("ij,k->k", x23, x2), ["one place"]),
    "einsum spec": (lambda: ops.einsum("ij->i", x23, x3), ["'ij->i'"]),
    "axis": (lambda: ops.sum(x23, 2), ["axis 2", "2 per-example axes"]),
    "axis twice": (lambda: ops.sum(x23, (0, -2)), ["twice"]),
    "softmax of a scalar": (lambda: ops.softmax(scalar), ["axis -1", "0 per-example axes"]),
    "argmax of a scalar": (lambda: ops.argmax(scalar), ["argmax", "()"]),
    "reshape": (lambda: ops.reshape(x23, (4, 2)), ["(2, 3)", "(4, 2)", "6", "8"]),
    "reshape, one unknown": (lambda: ops.reshape(x23, (4, -1)), ["(2, 3)", "(4, "]),
    "reshape, two unknown": (lambda: ops.reshape(x23, (-1, -1, 6)), ["(2, 3)", "(-1, -1, 6)"]),
    "reshape, negative": (lambda: ops.reshape(x23, (-2, -3)), ["(2, 3)", "(-2, -3)"]),
    "transpose": (lambda: ops.transpose(x23, (0, 1, 2)), ["axis 2"]),
    "broadcast_to": (lambda: ops.broadcast_to(x23, (3, 2)), ["(2, 3)", "(3, 2)"]),
    "broadcast_to, negative": (lambda: ops.broadcast_to(x3, (-1, 3)), ["(3,)", "(-1, 3)"]),
    "sum_to": (lambda: OPS["sum_to"](x3, shape=(2, 3)), ["(3,)", "(2, 3)"]),
    "concat": (lambda: ops.concat([x23, x34], axis=1), ["(2, 3)", "(3, 4)", "axis"]),
    "concat of scalars": (lambda: ops.concat([scalar, scalar]), ["stack"]),
    "stack": (lambda: ops.stack([x23, x3]), ["(2, 3)", "(3,)"]),
    "index": (lambda: x23[2], ["index 2", "size 2"]),
    "too many indices": (lambda: x3[0, 0], ["2 indices", "(3,)"]),
    "index kind": (lambda: x3[1.5], ["1.5"]),
    "index None": (lambda: x3[None], ["None"]),
    "index with a step of 0": (lambda: x3[::0], ["step"]),
    "index by a symbol among others": (lambda: x23[index2, 0], ["integer"]),
    "take": (lambda: ops.take(scalar, index2), ["table"]),
    "scatter": (lambda: OPS["scatter"](x3, index2, size=4), ["(3,)", "(2,)"]),
    "pick": (lambda: ops.pick(x23, Eager(np.array([0, 1, 2]))), ["(2, 3)", "(3,)", "(2,)"]),
    "cross_entropy index": (lambda: ops.cross_entropy(x3, index2), ["(3,)", "(2,)"]),
    "cross_entropy probabilities": (lambda: ops.cross_entropy(x23, x3), ["(2, 3)", "(3,)"]),
}


@pytest.mark.parametrize(("misfit", "words"), MISFITS.values(), ids=MISFITS)
def test_misfit_names_both_shapes(misfit: Any, words: list[str]) -> None:
    with pytest.raises(ops.ShapeError) as error:
        misfit()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_index_by_a_constant_array_looks_rows_up() -> None:
    np.testing.assert_array_equal(x34[np.array([2, 0])].value, x34.value[[2, 0]])


def test_numpy_integers_serve_as_axes_and_sizes() -> None:
    assert ops.sum(x23, np.int64(0)).shape == (3,)
    assert ops.reshape(x23, np.int64(6)).shape == (6,)
    assert x23[np.int64(1)].shape == (3,)


@pytest.mark.parametrize("join", [ops.concat, ops.stack])
def test_joining_nothing_symbolic_is_refused(join: Any) -> None:
    for values in ([], [np.ones(2), np.ones(2)]):
        with pytest.raises((TypeError, ops.ShapeError), match=re.escape(join.__name__)):
            join(values)


def test_reductions_of_a_scalar() -> None:
    """Over no axes, the value itself; NumPy's axis 0 of a scalar is no axis here."""
    for f in (ops.sum, ops.mean, ops.max, ops.min):
        assert f(scalar).value == scalar.value
        with pytest.raises(ops.ShapeError, match="axis 0 is out of range"):
            f(scalar, 0)


def test_reduction_without_elements() -> None:
    nothing = numbered((0,))
    assert ops.sum(nothing).value == 0
    assert ops.logsumexp(nothing).value == -np.inf
    assert ops.softmax(nothing).shape == (0,)
