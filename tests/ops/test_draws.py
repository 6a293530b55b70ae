"""Draws as operations on the numbers handed in: their values at the edges, and that they draw once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager

from unroll import Template, UnrollError, ops, t
from unroll.errors import ShapeError
from unroll.ops.core import OPS

BACKENDS = ("reference", "numpy", "native")
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
U = {np.float32: [0.0, 2.0**-24, 0.5, 1 - 2.0**-24], np.float64: [0.0, 2.0**-53, 0.5, 1 - 2.0**-53]}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a test defines is gone after it."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)


def uniform(low: Any, high: Any, u: Any, dtype: Any) -> Any:
    with np.errstate(all="raise", under="ignore"):
        return OPS["uniform"](*(Eager(np.asarray(v, dtype)) for v in (low, high, u))).value


@both_precisions
def test_a_uniform_draw_is_its_lower_end_or_above_and_below_its_upper_end(dtype: Any) -> None:
    ends = [-1e6, -1000.0, -1.0, -1e-3, -1e-30, 0.0, 1e-30, 1e-3, 1.0, 3.0, 1000.0, 1001.0, 1e6, 1e6 + 1]
    low, high, u = (np.ravel(v).astype(dtype) for v in np.meshgrid(ends, ends, U[dtype]))
    drawn = uniform(low, high, u, dtype)
    up = low < high
    assert np.all((low[up] <= drawn[up]) & (drawn[up] < high[up]))
    down = low > high
    assert np.all((low[down] >= drawn[down]) & (drawn[down] > high[down]))
    assert np.array_equal(drawn[low == high], low[low == high])
    assert np.array_equal(drawn[u == 0], low[u == 0])
    exact = low.astype(np.longdouble) + (high.astype(np.longdouble) - low) * u
    wrapped = np.minimum(abs(drawn - exact), abs(high - exact))  # what rounds to the upper end is the lower one
    assert np.all(wrapped <= 2 * np.finfo(dtype).eps * np.maximum(abs(low), abs(high)))


def test_every_number_of_an_interval_is_drawn_as_often_as_another() -> None:
    """All 2**24 numbers that may be handed in, in float32: each of 2**14 results comes of 1024, a tie aside."""
    drawn = uniform(1000, 1001, np.arange(2**24) / 2**24, np.float32)
    values, counts = np.unique(drawn, return_counts=True)
    assert (len(values), values[0], values[-1]) == (2**14, 1000, np.nextafter(np.float32(1001), np.float32(0)))
    assert set(counts) <= {1023, 1024, 1025}


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_never_draws_the_upper_end(backend: str) -> None:
    g = Template("ends")
    x = g.input("x", 2**20)
    g.output("u", ops.uniform(x[t], x[t] + 1))
    drawn = g.compile(backend).run({}, "u", x=np.full((1, 2**20), 1000, np.float32), seed=0)
    assert drawn.min() == 1000
    assert drawn.max() == np.nextafter(np.float32(1001), np.float32(0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [0.3, 1.0, 0.0])
def test_a_parameter_may_turn_out_to_be_a_number(backend: str, value: float) -> None:
    """A variable that always has one value stands for that number, whatever reads it."""
    g = Template("constant")
    x, p, q = g.input("x", 3), g.variable("p", ()), g.variable("q", 3)
    p[t], q[t] = value, value
    g.output("b", ops.cast(ops.bernoulli(p[t])))
    g.output("c", ops.cast(ops.bernoulli(q[t])))
    g.output("n", ops.normal(p[t], q[t]))
    g.output("u", ops.uniform(p[t], 2.0))
    g.output("k", ops.categorical(ops.stack([p[t], q[t][0], q[t][1]])))
    g.output("d", ops.dropout(q[t], 0.5) + x[t])
    given = np.zeros((400, 3))
    found = g.compile(backend, dtype="float64").run({}, x=given, seed=3)
    want = g.compile("reference", dtype="float64").run({}, x=given, seed=3)
    for name in found:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-12, atol=1e-13)
    for name in ("b", "c"):
        assert abs(found[name].mean() - value) < 5 * np.sqrt(value * (1 - value) / 400) + 1e-12
    assert set(np.unique(found["d"])) <= {0.0, 2 * value}
    assert set(found["k"]) == {0, 1, 2}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_body_and_a_rule_may_be_given_numbers(backend: str) -> None:
    """A number that the user writes, and one that a variable turns out to be."""
    ops.define("bent", ops.elementwise, lambda g, y, x: g * (1 + ops.cos(x)), body=lambda x: x + ops.sin(x))
    scaled = ops.define(
        "scaled",
        ops.elementwise,
        lambda g, y, a, b: g * ops.exp(b),
        lambda g, y, a, b: g * a * ops.exp(b),
        body=lambda a, b: a * ops.exp(b),
    )
    g = Template("numbers")
    x, c = g.input("x"), g.variable("c", ())
    c[t] = 0.3
    g.output("a", OPS["bent"](c[t]) + x[t])
    g.output("b", scaled(x[t], 2.0) + scaled(2.0, x[t]) + scaled(x[t], c[t]) + scaled(c[t], c[t]))
    g.loss = ops.sum(OPS["bent"](c[t]) * x[t] + scaled(x[t], 2.0) + scaled(c[t], x[t]), over=t)
    net, at = g.compile(backend, dtype="float64"), np.linspace(-1, 1, 5)
    found = net.run({}, x=at)
    np.testing.assert_allclose(found["a"], 0.3 + np.sin(0.3) + at, rtol=1e-14)
    want = at * np.exp(2) + 2 * np.exp(at) + at * np.exp(0.3) + 0.3 * np.exp(0.3)
    np.testing.assert_allclose(found["b"], want, rtol=1e-13)
    grads = net.value_and_grad({}, "x", x=at)[1]["x"]
    np.testing.assert_allclose(grads, 0.3 + np.sin(0.3) + np.exp(2) + 0.3 * np.exp(at), rtol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_composites_take_a_number_for_any_operand(backend: str) -> None:
    g = Template("composites")
    x, o = g.input("x"), g.input("o", 3)
    g.output("bce", ops.bce_with_logits(0.3, x[t]))
    g.output("bce2", ops.bce_with_logits(x[t], 1))
    g.output("leaky", ops.leaky_relu(-2, slope=x[t]))
    g.output("elu", ops.elu(-1.0, alpha=x[t]))
    g.output("clip", ops.clip(0.5, x[t], 2))
    g.output("mse", ops.mse(0.5, o[t]))
    g.output("norm", ops.layer_norm(o[t], 2.0, 0.5))
    at, vectors = np.linspace(0.1, 0.9, 4), np.random.default_rng(0).normal(size=(4, 3))
    found = g.compile(backend, dtype="float64").run({}, x=at, o=vectors)
    soft = np.logaddexp
    want = {
        "bce": at * soft(0, -0.3) + (1 - at) * soft(0, 0.3),
        "bce2": soft(0, -at),
        "leaky": -2 * at,
        "elu": at * np.expm1(-1),
        "clip": np.clip(0.5, at, 2),
        "mse": ((0.5 - vectors) ** 2).mean(1),
        "norm": 0.5 + 2 * (vectors - vectors.mean(1, keepdims=True)) / np.sqrt(vectors.var(1, keepdims=True) + 1e-5),
    }
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-13, err_msg=name)
    with pytest.raises(TypeError, match="at least one symbolic operand"):
        ops.bce_with_logits(0.3, 1)
    for refused in (lambda: ops.cross_entropy(0.3, ops.cast(x[t])), lambda: ops.layer_norm(0.3, o[t])):
        with pytest.raises(ShapeError, match=r"per-example axes|need the logits' shape"):
            refused()
    with pytest.raises(ShapeError, match=r"a value of shape \(\) has none"):
        ops.cross_entropy(0.3, g.input("i", dtype="int")[t])


def test_the_body_of_an_operation_draws_nothing() -> None:
    """Two calls on the same operands are one; so what is drawn is an operand, or the operation a plain function."""
    noisy = ops.define("noisy", ops.elementwise, lambda g, y, x: g, body=lambda x: x + ops.normal(0 * x, 1.0))
    masked = ops.define("masked", ops.elementwise, lambda g, y, x: g, body=lambda x: ops.dropout(x, 0.5))
    g = Template("noisy")
    x = g.input("x", 2)
    before = dict(g._builder.decls)
    for op in (noisy, masked):
        with pytest.raises(UnrollError, match="draws random numbers") as caught:
            op(x[t])
        assert f"@ops.composite, or pass the draw: {op.name}(..., ops.normal(...))" in str(caught.value)
        assert "test_draws.py:" in str(caught.value)
    assert g._builder.decls == before

    @ops.composite
    def noise(x: Any) -> Any:
        return x + ops.normal(0 * x, 1.0)

    g.output("d", noise(x[t]) - noise(x[t]))
    assert 1.2 < g.compile("numpy").run({}, x=np.zeros((500, 2), np.float32), seed=0).pop("d").std() < 1.6


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, np.ones(2), {1}], ids=["list", "dict", "array", "set"])
def test_an_attribute_that_can_change_is_refused(value: Any) -> None:
    shifted = ops.define("shifted", ops.elementwise, lambda g, y, x, by: g, body=lambda x, by: x + by[0])
    x = Template("attributes").input("x")
    with pytest.raises(UnrollError, match=f"shifted is given by=, a {type(value).__name__}, which") as caught:
        shifted(x[t], by=value)
    assert "Give a number, a text or a tuple; an array is an operand." in str(caught.value)
    assert "test_draws.py:" in str(caught.value)


def test_an_attribute_that_is_a_tuple() -> None:
    shifted = ops.define("shifted", ops.elementwise, lambda g, y, x, by: g, body=lambda x, by: x + by[0])
    g = Template("attributes")
    x = g.input("x")
    g.output("y", shifted(x[t], by=(2, 3)) - shifted(x[t], by=(1, 3)))
    assert g.compile("numpy").run({}, "y", x=np.zeros(2, np.float32)).tolist() == [1, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_is_drawn_anew_for_every_element_and_step_of_logits_and_temperature(backend: str) -> None:
    """As many numbers are drawn as there are labels, whichever of the two they come from."""
    g = Template("temperatures")
    x, c, p = g.input("x", (2000, 1)), g.input("c", 2, over=None), g.param("p", 2)
    g.output("wide", ops.categorical(p, 1 + 0 * x[t]))
    g.output("long", ops.categorical(c, 1 + 0 * x[t][0]))
    given = {"x": np.zeros((40, 2000, 1)), "c": np.zeros(2)}
    found = g.compile(backend, dtype="float64").run({"p": np.zeros(2)}, seed=0, **given)
    assert found["wide"].shape == (40, 2000)
    assert abs(found["wide"].mean() - 0.5) < 0.01
    assert 0.3 < found["wide"][0].mean() < 0.7
    assert 0 < found["long"].sum() < 40


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array])
def test_numbers_of_numpys_are_numbers_here(kind: Any) -> None:
    g = Template()
    x = g.input("x", 3)
    for wrong in (-1, 0):
        with pytest.raises(ValueError, match="the temperature is a number above 0"):
            ops.categorical(x[t], kind(wrong))
    assert str(ops.dropout(x[t], kind(0))) == "dropout(x[t], 0)"
    with pytest.raises(ValueError, match="the rate of dropout"):
        ops.dropout(x[t], kind(1))


def test_an_interval_may_be_wider_than_any_number() -> None:
    g = Template()
    x = g.input("x")
    g.output("y", ops.uniform(-x[t], x[t]))
    found = g.compile("numpy").run({}, "y", x=np.full(400, 3e38, np.float32), seed=0)
    assert np.isfinite(found).all()
    assert (found < 0).mean() == pytest.approx(0.5, abs=0.1)
