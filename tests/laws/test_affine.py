"""Linear recurrences: found where the equations are such, and nowhere else; run as scans, they equal the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.agreement import compiled, same
from laws.test_zoo import specimen
from unroll import Net, T, Template, axis, ops, t
from unroll.backends.numpy import tuning

WIDTH = 3
MARK = "affine in its own past, element by element"
Make = Callable[[Any, Any, Any, Any], None]


def leaky(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = h[t - 1] + k * (x[t] - h[t - 1])


def moving_average(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = k * h[t - 1] + (1 - k) * x[t]


def running_sum(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = h[t - 1] + x[t]


def gated(g: Any, x: Any, h: Any, k: Any) -> None:
    z = ops.sigmoid(g.param("W", (WIDTH, WIDTH)) @ x[t])
    h[t] = (1 - z) * h[t - 1] + z * ops.tanh(x[t])


def masked(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = ops.where(g.input("m", dtype="bool")[t], k * h[t - 1] + x[t], h[t - 1])


def divided(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = x[t] - h[t - 1] / (1.5 + ops.abs(x[t]))


def backwards(g: Any, x: Any, h: Any, k: Any) -> None:
    h[T + 1] = k
    h[t] = k * h[t + 1] + x[t]


def two_delays(g: Any, x: Any, h: Any, k: Any) -> None:
    h[-1] = 0.5
    h[t] = k * h[t - 1] - 0.2 * h[t - 2] + x[t]


def two_states(g: Any, x: Any, h: Any, k: Any) -> None:
    v = g.variable("v", WIDTH)
    v[0] = 0
    v[t] = k * v[t - 1] + 0.1 * h[t - 1]
    h[t] = h[t - 1] - 0.1 * v[t] + x[t]


def slope_alone(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = ops.tanh(k * h[t - 1] + x[t])


def product_of_states(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = h[t - 1] * (0.5 - k * h[t - 1]) + 0.1 * x[t]


def gate_of_the_state(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = ops.where(h[t - 1] > 0, k * h[t - 1], h[t - 1]) + x[t]


def mixed(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = g.param("W", (WIDTH, WIDTH)) @ h[t - 1] + x[t]


def rotated(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = ops.concat([h[t - 1][1:], h[t - 1][:1]]) * k + x[t]


def averaged(g: Any, x: Any, h: Any, k: Any) -> None:
    h[t] = k * ops.mean(h[t - 1]) + x[t]


def nested(g: Any, x: Any, h: Any, k: Any) -> None:
    s, _ = axis("s")
    v, z = g.variable("v", WIDTH), g.input("z", WIDTH, over=s)
    v[t, 0] = 0
    v[t, s] = ops.tanh(v[t, s - 1] + z[s] + h[t - 1])
    h[t] = k * h[t - 1] + x[t] + ops.sum(v[t, s], over=s)


FOUND: dict[Make, tuple[int, int]] = {
    leaky: (2, 2), moving_average: (2, 2), running_sum: (2, 2), gated: (2, 2), masked: (2, 2), divided: (2, 2),
    backwards: (2, 2), two_delays: (2, 0), two_states: (2, 0), slope_alone: (1, 1), product_of_states: (1, 0),
    gate_of_the_state: (1, 1), mixed: (0, 0), rotated: (0, 0), averaged: (0, 0),
    nested: (0, 0),
}  # fmt: skip
"""Of the two loops, forward and adjoint: how many are affine, and how many NumPy runs as scans."""
SCANNED = [make for make, (_, scans) in FOUND.items() if scans]


def template(make: Make) -> Template:
    g = Template(make.__name__)
    x, k, h = g.input("x", WIDTH), g.param("k", WIDTH), g.variable("h", WIDTH)
    if make is not backwards:
        h[0] = 2 * k
    make(g, x, h, k)
    g.loss = ops.sum(ops.sum(h[t] * h[t] * x[t]), over=t)
    return g


def named(make: Make) -> str:
    return make.__name__


def source(net: Net) -> str:
    return str(net._programs.gradient(net._names.wrt(None), {}).executable.source)  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", FOUND, ids=named)
def test_loops_are_recognised(make: Make) -> None:
    g = template(make)
    loops, scans = FOUND[make]
    assert str(g.compile("numpy").explain()).count(MARK) == loops
    net = g.compile("numpy")
    assert source(net).count("scan(") == scans
    assert source(g.compile("numpy", without=("scan",))).count("scan(") == 0


@pytest.mark.parametrize("make", FOUND, ids=named)
def test_fused_loops_are_recognised(make: Make) -> None:
    pytest.importorskip("llvmlite")
    assert str(template(make).compile("native").explain()).count(MARK) == FOUND[make][0]


def test_parts_of_one_memory_are_no_strangers() -> None:
    """An LSTM's adjoint reads the gates' cotangents of the next step as one vector, side by side."""
    assert MARK not in str(compiled(specimen("lstm_eight_matrices", 2).template, "numpy").explain())


@pytest.mark.parametrize("make", SCANNED, ids=named)
def test_a_scan_equals_the_loop(make: Make) -> None:
    g = template(make)
    rng = np.random.default_rng(1)
    params = {n: 0.5 * v for n, v in params_for(g, rng).items()}
    net, plain = (g.compile("numpy", dtype="float64", without=without) for without in ((), ("scan",)))
    for steps in (127, 128, 129, 130, 400):
        for batch in (1, 4):
            arrays = arrays_for(g, lengths_for(g, steps), batch, rng)
            value, grads, shown = net.value_and_grad(params, ["x", *params], "h", **arrays)
            want, wanted, expected = plain.value_and_grad(params, ["x", *params], "h", **arrays)
            what = f"{steps} steps, batch {batch}"
            same({"loss": value, **grads, **shown}, {"loss": want, **wanted, **expected}, 1e-11, what)
            again, _, once_more = net.value_and_grad(params, ["x", *params], "h", **arrays)
            assert again == value
            np.testing.assert_array_equal(once_more["h"], shown["h"])


@pytest.mark.parametrize("name", ZOO)
def test_short_scans_of_every_recurrence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "MIN_SCAN_STEPS", 1)
    monkeypatch.setattr(tuning, "MAX_SCAN_GROWTH", 1e3)
    for steps in (1, 2, 7):
        it = specimen(name, steps)
        net = it.template.compile("numpy", dtype="float64")
        if "scan(" not in source(net):
            return
        want, wanted = compiled(it.template, "reference").value_and_grad(it.params, **it.arrays)
        value, grads = net.value_and_grad(it.params, **it.arrays)
        same({"loss": value, **grads}, {"loss": want, **wanted}, 1e-11, f"{steps} steps")


def test_what_is_read_of_the_step_before_is_computed_before() -> None:
    """The cotangent of a boundary reads, of the step before, what is computed after the scan alone."""
    g = Template("later")
    x, w, p, h = g.input("x"), g.param("w"), g.param("p"), g.variable("h", ())
    h[T + 1] = p
    h[t] = ops.tanh(w + x[t] + 0.5 * h[t + 1])
    g.loss = ops.sum(x[t] + h[T], over=t) + h[T] ** 2
    x, lengths = np.random.default_rng(0).normal(size=(400, 3)), [1, 399, 200]
    params = {"w": np.array(0.3), "p": np.array(-0.4)}
    net, plain = (g.compile("numpy", dtype="float64", without=without) for without in ((), ("scan",)))
    for given in ({"x": x}, {"x": x, "lengths": lengths}):
        value, grads = net.value_and_grad(params, **given)
        want, wanted = plain.value_and_grad(params, **given)
        same({"loss": value, **grads}, {"loss": want, **wanted}, 1e-11, str(list(given)))


def decay(*without: str) -> Any:
    g = Template("decay")
    x, a, h = g.input("x", 2), g.input("a", 2), g.variable("h", 2)
    h[0] = 1
    h[t] = a[t] * h[t - 1] + x[t]
    g.output("h", h[t])
    net = g.compile("numpy", dtype="float64", without=without)
    return lambda a, x: net.run({}, "h", a=a, x=x)


def test_where_products_grow_the_loop_runs() -> None:
    a = np.full((400, 2), 1.5)
    x = np.zeros_like(a)
    x[0] = -1.5  # takes h to 0, where a scan would be left with what rounding makes of 1.5**100 - 1.5**100
    np.testing.assert_array_equal(decay()(a, x), np.zeros_like(a))
    a[200] = np.nan
    np.testing.assert_array_equal(decay()(a, x), decay("scan")(a, x))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is(bad: float) -> None:
    rng = np.random.default_rng(3)
    a, x = rng.uniform(0.1, 0.9, (2, 500, 2))
    x[250, 1] = bad
    got, want = decay()(a, x), decay("scan")(a, x)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_allclose(got[:250], want[:250], rtol=1e-12)
    np.testing.assert_allclose(got[:, 0], want[:, 0], rtol=1e-12)


def test_a_large_state_outlives_the_product_of_its_coefficients() -> None:
    """The product underflows, the state does not; and where the product comes back it has lost its digits."""
    g = Template()
    a, h = g.input("a"), g.variable("h", ())
    h[0] = 1e30
    h[t] = a[t] * h[t - 1]
    net, a = g.compile("numpy"), np.ones(300, np.float32)
    np.testing.assert_allclose(net.run({}, "h", a=a * np.float32(0.1))[:60], 1e30 * 0.1 ** np.arange(1, 61), rtol=1e-5)
    a[40:44] = [1e-30, 1e-15, 1e30, 1e15]
    np.testing.assert_allclose(net.run({}, "h", a=a)[44:], np.full(256, 1e30), rtol=1e-5)


@pytest.mark.parametrize("end", [False, True], ids=["open", "with a boundary"])
def test_a_cotangent_that_ends_a_step_earlier_than_it_is_read(end: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Template()
    x, a, b = g.input("x"), g.param("a"), g.param("b")
    h, q = g.variable("h", ()), g.variable("q", ())
    q[0] = 0.5
    h[t] = a * q[t - 1]
    q[t] = ops.sin(h[t] + b)
    if end:
        h[T + 1] = x[T]
    g.loss = ops.sum(x[t] * h[t], over=t) + (h[T + 1] if end else 0)
    monkeypatch.setattr(tuning, "MIN_SCAN_STEPS", 1)
    params = {"a": 0.7, "b": 0.1}
    for steps in (1, 2, 3, 7, 130):
        x = np.linspace(-1, 1, steps)
        _, want = g.compile("native", dtype="float64").value_and_grad(params, x=x)
        _, got = g.compile("numpy", dtype="float64").value_and_grad(params, x=x)
        np.testing.assert_allclose([got["a"], got["b"]], [want["a"], want["b"]], rtol=1e-12)


def test_a_quotient_by_zero_over_many_steps() -> None:
    g = Template()
    x, h = g.input("x"), g.variable("h", ())
    h[0], h[t] = 1, h[t - 1] / 0.0 + x[t]
    assert np.isinf(g.compile("numpy").run({}, "h", x=np.ones(300, np.float32))).all()


def test_what_lies_gate_by_gate_is_not_scanned() -> None:
    """A vector of which slices are read has the examples between its gates: the loop runs."""
    g = Template()
    x, w = g.input("x", 1, over=None), g.param("w", 5)
    h = g.variable("h", 3)
    h[0] = 1.0
    h[t] = h[t - 1] * ops.maximum(w, x)[2:5] + 1
    params, x = {"w": np.array([0.0, 0, 0.1, 0.2, 0.9])}, np.array([[0.5], [-1.0]])
    found = g.compile("numpy", dtype="float64").run(params, ("h", 150), x=x, T=150)
    np.testing.assert_allclose(found, [[2, 2, 10], [1 / 0.9, 1 / 0.8, 10]], rtol=1e-5)
