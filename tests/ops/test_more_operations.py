"""Operators and functions where PyTorch has no say: labels, infinities, what is no number, of nothing, over time."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager, pullback

from unroll import Template, ops, t

BACKENDS = ["numpy", "reference", *(["native"] if importlib.util.find_spec("llvmlite") else [])]
everywhere = pytest.mark.parametrize("backend", BACKENDS)
INF, NAN = math.inf, math.nan
LEAST = np.iinfo(np.int64).min


@everywhere
def test_division_of_labels(backend: str) -> None:
    """Python's floor division, and NumPy's 0 where it divides by 0; nothing traps."""
    g = Template()
    a, b = g.input("a", dtype="int"), g.input("b", dtype="int")
    g.output("q", a[t] // b[t])
    g.output("r", a[t] % b[t])
    g.output("week", a[t] // 7)
    g.output("day", a[t] % 7)
    g.output("of", 100 % b[t])
    x = np.array([7, -7, 7, -7, 0, 5, -5, LEAST, LEAST, 3])
    y = np.array([2, 2, -2, -2, 3, 0, 0, -1, 1, -5])
    with np.errstate(all="ignore"):
        found = g.compile(backend).run({}, a=x[:, None], b=y[:, None])
        for name, want in {"q": x // y, "r": x % y, "week": x // 7, "day": x % 7, "of": 100 % y}.items():
            np.testing.assert_array_equal(found[name][:, 0], want, name)
            assert found[name].dtype.kind == "i"


@everywhere
def test_a_label_of_the_week_looks_a_row_up(backend: str) -> None:
    g = Template()
    day, E = g.input("day", dtype="int"), g.param("E", (7, 2))
    g.loss = ops.sum(ops.sum(E[day[t] % 7] ** 2), over=t)
    net = g.compile(backend, dtype="float64")
    E_ = np.arange(14.0).reshape(7, 2)
    days = np.array([0, 6, 7, 20])
    loss, grads = net.value_and_grad({"E": E_}, day=days[:, None])
    assert loss == np.sum(E_[days % 7] ** 2)
    np.testing.assert_array_equal(grads["E"], 2 * E_ * np.bincount(days % 7, minlength=7)[:, None])


@everywhere
def test_operators_with_numbers_and_arrays_on_the_left(backend: str) -> None:
    g = Template()
    x = g.input("x", 3)
    g.output("a", 7.5 // x[t])
    g.output("b", np.array([5.0, -5.0, 2.5]) % x[t])
    g.output("c", np.array([5.0, -5.0, 2.5]) // x[t])
    g.output("d", divmod(7.5, x[t])[1])
    at = np.array([2.0, -0.7, 1.1])
    found = g.compile(backend, dtype="float64").run({}, x=at[None, None])
    for name, want in {"a": 7.5 // at, "b": [5.0, -5.0, 2.5] % at, "c": [5.0, -5.0, 2.5] // at, "d": 7.5 % at}.items():
        np.testing.assert_array_equal(found[name][0, 0], want, name)


def test_rounding_functions_of_python() -> None:
    x = Eager(np.array([-1.5, 0.25, 2.5]))
    assert math.floor(x).value.tolist() == [-2, 0, 2]
    assert math.ceil(x).value.tolist() == [-1, 1, 3]
    assert round(x).value.tolist() == [-2, 0, 2]
    assert ops.round(x, 1).value.tolist() == [-1.5, 0.2, 2.5]


def test_what_is_no_number() -> None:
    x = Eager(np.array([0.0, INF, -INF, NAN]))
    assert ops.isnan(x).value.tolist() == [False, False, False, True]
    assert ops.isinf(x).value.tolist() == [False, True, True, False]


@everywhere
def test_what_is_no_number_stays_so_in_a_template(backend: str) -> None:
    """No pass takes x for equal to itself."""
    g = Template()
    x = g.input("x", 4)
    g.output("y", ops.where(ops.isnan(x[t]), -1.0, ops.where(ops.isinf(x[t]), -2.0, x[t])))
    found = g.compile(backend).run({}, x=np.array([[[0.5, INF, -INF, NAN]]], "float32"))
    assert found["y"].tolist() == [[[0.5, -2, -2, -1]]]


@pytest.mark.parametrize(
    ("a", "b", "value", "slopes"),
    [
        (-INF, -INF, -INF, (0.5, 0.5)),
        (INF, INF, INF, (0.5, 0.5)),
        (-INF, 2.0, 2.0, (0.0, 1.0)),
        (2.0, -INF, 2.0, (1.0, 0.0)),
        (INF, -INF, INF, (1.0, 0.0)),
        (1000.0, 999.0, 1000 + math.log1p(math.exp(-1)), (1 / (1 + math.exp(-1)), 1 / (1 + math.e))),
        (0.0, -40.0, math.log1p(math.exp(-40)), (1.0, math.exp(-40))),
        (NAN, 0.0, NAN, (NAN, NAN)),
    ],
)
def test_logaddexp(a: float, b: float, value: float, slopes: tuple[float, float]) -> None:
    x, y = Eager(np.array([a])), Eager(np.array([b]))
    with np.errstate(all="ignore"):
        z = ops.logaddexp(x, y)
        got = pullback(z, np.ones(1), [x, y])
    np.testing.assert_allclose(z.value, [value], rtol=1e-15)
    np.testing.assert_allclose([d.value[0] for d in got], slopes, rtol=1e-15)


EDGES: dict[str, tuple[Any, list[float], float, list[float]]] = {
    "norm of zeros": (ops.norm, [0.0, 0.0], 0.0, [0.0, 0.0]),
    "norm of an infinity": (ops.norm, [INF, 1.0], INF, [NAN, 0.0]),
    "norm with a nan": (ops.norm, [NAN, 1.0], NAN, [NAN, NAN]),
    "std of one value": (ops.std, [2.0, 2.0], 0.0, [0.0, 0.0]),
    "std with a nan": (ops.std, [NAN, 1.0], NAN, [NAN, NAN]),
    "var less one, of one": (lambda x: ops.var(x, correction=1), [3.0], NAN, [NAN]),
    "product of one": (ops.prod, [3.0], 3.0, [1.0]),
    "huber at the turn": (lambda x: ops.huber(x, 0.0), [1.0], 0.5, [1.0]),
    "huber far out": (lambda x: ops.huber(x, 0.0, delta=0.5), [-1e300], 5e299, [-0.5]),
}


@pytest.mark.parametrize(("f", "at", "value", "slope"), EDGES.values(), ids=EDGES)
def test_at_the_edges(f: Any, at: list[float], value: float, slope: list[float]) -> None:
    x = Eager(np.array(at))
    with np.errstate(all="ignore"):
        y = f(x)
        (got,) = pullback(y, np.ones(()), [x])
    np.testing.assert_array_equal(y.value, value)
    np.testing.assert_array_equal(got.value, slope)


def test_of_nothing() -> None:
    none = Eager(np.zeros((0, 3)))
    assert ops.prod(none).value == 1
    assert ops.prod(none, 0).value.tolist() == [1, 1, 1]
    assert ops.cumsum(none, 0).shape == ops.cumprod(none, 0).shape == (0, 3)
    assert ops.norm(none).value == 0
    with np.errstate(all="ignore"):
        assert np.isnan(ops.var(none).value)


@everywhere
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_over_time(backend: str, steps: int, rng: np.random.Generator) -> None:
    """Variance, deviation and norm over the steps are NumPy's over that axis, at no step and at one too."""
    g = Template()
    x = g.input("x", 2)
    g.output("var", ops.var(x[t], over=t))
    g.output("std", ops.std(x[t], over=t, correction=1))
    g.output("norm", ops.norm(x[t], over=t))
    at = rng.standard_normal((steps, 3, 2))
    found = g.compile(backend, dtype="float64").run({}, x=at)
    with np.errstate(all="ignore"):
        squares = np.sum((at - at.sum(0) / np.float64(steps)) ** 2, 0)
        want = {"var": squares / np.float64(steps), "std": np.sqrt(squares / np.float64(steps - 1))}
        want["norm"] = np.sqrt(np.sum(at**2, 0))
        if steps == 0:  # of no number, less one: 0 / -1
            want["std"] = np.zeros_like(want["std"])
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def test_a_sum_as_far_as_each_element_keeps_what_is_infinite_where_it_is() -> None:
    x = Eager(np.array([1.0, INF, 2.0, NAN, 3.0]))
    np.testing.assert_array_equal(ops.cumsum(x).value, np.cumsum(x.value))
    np.testing.assert_array_equal(ops.cumprod(x).value, np.cumprod(x.value))


@pytest.mark.parametrize("axis", [2, -3, (0, 1)])
def test_an_axis_that_is_not_there(axis: Any) -> None:
    x = Eager(np.zeros((2, 3)))
    for f in (ops.cumsum, ops.cumprod):
        if isinstance(axis, int):
            with pytest.raises(ops.ShapeError, match="out of range"):
                f(x, axis)
