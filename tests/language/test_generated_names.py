"""Names that the package gives: a user's variable of the same name works beside them, and means what the user says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import Template, axis, ops, t

BACKENDS = ("reference", "numpy", "native")
STEPS, BATCH = 5, 2
s, S = axis("s")


def loop(other: str) -> Template:
    """A recurrence of h and o beside a variable of another name, which doubles x and is read by the loss."""
    g = Template("loop")
    x, y, w = g.input("x"), g.input("y"), g.param("w")
    h, o, u = g.variable("h", ()), g.variable("o", ()), g.variable(other, ())
    h[0], o[0] = 0.1, 0.3 * w
    h[t] = ops.tanh(w * h[t - 1] + 0.5 * o[t - 1] + x[t])
    o[t] = ops.sin(w * h[t])
    u[t] = 2 * x[t]
    g.loss = ops.sum((o[t] + 0.3 * h[t] - y[t]) ** 2 + w * u[t], over=t)
    return g


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(STEPS, BATCH)), "y": rng.normal(size=(STEPS, BATCH))}


PARAMS = {"w": np.float64(0.7)}
MODES: dict[str, Any] = {
    "o_fed": lambda g: g.open_loop({"o": "y"}, 2),
    "place1": lambda g: g.open_loop({"o": "y"}, 2),
    "do(h[2])": lambda g: g.clamped(("h", 2)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODES)
def test_a_mode_beside_a_variable_of_its_name(backend: str, name: str) -> None:
    """It gives what it gives beside a variable of any other name."""
    more = {"do(h[2])": np.full(BATCH, 0.4)} if name == "do(h[2])" else {}
    plain = MODES[name](loop("u")).compile("reference", dtype="float64")
    want = plain.value_and_grad(PARAMS, ["w", "x"], ["h", "o", "u"], **arrays(), **more)
    made = MODES[name](loop(name))
    assert len(set(made.system.decls)) == len(plain.system.decls)
    more = {f"{n}_2": v for n, v in more.items()}
    net = made.compile(backend, dtype="float64")
    got = net.value_and_grad(PARAMS, ["w", "x"], ["h", "o", name], **arrays(), **more)
    assert got[0] == pytest.approx(want[0], rel=1e-12)
    for mine, other in zip((*got[1].values(), *got[2].values()), (*want[1].values(), *want[2].values()), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_instance_is_set_beside_variables_that_are_called_like_inputs_and_instances(backend: str) -> None:
    g, odd = loop("u"), loop("do(h[2])")
    value = np.full(BATCH, 0.4)
    want = g.compile("reference", dtype="float64").run(PARAMS, ["h", "o"], clamp={("h", 2): value}, **arrays())
    net = odd.compile(backend, dtype="float64")
    got = net.run(PARAMS, ["h", "o", "do(h[2])"], clamp={("h", 2): value}, **arrays())
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-12)
    np.testing.assert_array_equal(got["do(h[2])"], 2 * arrays()["x"])


def test_an_instance_that_is_set_is_set_once() -> None:
    """To set it again is to give its input another value."""
    g = loop("u").clamped(("h", 2), ("h", 2)).clamped(("h", 2), ("o", 1), ("o", 0))
    assert [n for n, d in g.system.decls.items() if d.kind == "input"] == ["x", "y", "do(h[2])", "do(o[1])", "do(o[0])"]
    net, value = g.compile("numpy", dtype="float64"), np.full(BATCH, 0.4)
    others = {"do(o[1])": value, "do(o[0])": 2 * value}
    one = net.run(PARAMS, ["h", ("o", 0)], **arrays(), **others, **{"do(h[2])": value})
    two = net.run(PARAMS, ["h", ("o", 0)], clamp={("h", 2): value}, **arrays(), **others)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    np.testing.assert_array_equal(one["h"][1], value)
    np.testing.assert_array_equal(one["o", 0], 2 * value)


def test_the_probability_of_scheduled_sampling_beside_a_variable_of_its_name() -> None:
    g = loop("epsilon").scheduled({"o": "y"})
    assert g.system.decls["epsilon_2"].kind == "input"
    net = g.compile("numpy", dtype="float64")
    forced = loop("u").teacher_forced({"o": "y"}).compile("numpy", dtype="float64")
    got = net.run(PARAMS, "h", seed=0, epsilon_2=1.0, **arrays())
    np.testing.assert_allclose(got, forced.run(PARAMS, "h", **arrays()), rtol=1e-12)
    twice = loop("u").scheduled({"o": "y"}).scheduled({"h": "y"})
    assert [n for n in twice.system.decls if n.startswith("epsilon")] == ["epsilon", "epsilon_2"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", [True, False])
def test_draws_beside_variables_of_their_names(backend: str, first: bool) -> None:
    """Declared before the draw or after it; and what has no name yet when it is printed has the one it will get."""
    g = Template("drawn")
    x = g.input("x")
    if first:
        u = g.variable("noise1", ())
        u[t] = 2 * x[t]
    mask = ops.keep(x[t], 0.5)
    g.output("d", ops.normal(x[t], 1.0))
    g.output("m", mask)
    if not first:
        u = g.variable("noise1", ())
        u[t] = 2 * x[t]
    assert str(mask) == "noise2[t]"
    assert [n for n, d in g.system.decls.items() if d.automatic] == ["noise2", "noise3"]
    found = g.compile(backend, dtype="float64").run({}, ["noise1", "d", "m"], x=np.zeros(4000), seed=1)
    assert not found["noise1"].any()
    assert 0.9 < found["d"].std() < 1.1
    assert set(found["m"]) == {0.0, 2.0}


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize("name", ["noise1", "noise2", "coin 0"])
def test_draws_do_not_follow_names(backend: str, name: str) -> None:
    def drawn(name: str, other: str) -> tuple[np.ndarray, ...]:
        g = Template()
        x, v, y = g.input("x"), g.variable(name, ()), g.variable(other, ())
        g.input("truth")
        v[t] = ops.normal(x[t], 1.0)
        y[0], y[t] = 0, 0.5 * y[t - 1] + v[t] * ops.uniform(0.0, x[t])
        net = g.scheduled({other: "truth"}, "chance").compile(backend, dtype="float64")
        arrays = {"x": np.ones(9), "truth": np.arange(9.0), "chance": 0.5}
        found = net.run({}, [name, other], seed=3, **arrays)
        return found[name], found[other]

    for a, b in zip(drawn("v", "y"), drawn(name, "x2"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_clash_draws_are_called_as_ever() -> None:
    g = Template("drawn")
    x = g.input("x")
    g.output("a", ops.normal(x[t], 1.0))
    g.output("b", ops.uniform(x[t], 1.0))
    assert [n for n, d in g.system.decls.items() if d.automatic] == ["noise1", "noise2"]
    forced = g.clamped(("a", 1))
    assert [n for n, d in forced.system.decls.items() if d.automatic] == ["noise1", "noise2"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("other", ["h[0]", "first h[0]", "h[-1]", "e[0]", "steps"])
def test_a_stream_beside_variables_that_are_called_like_its_state(backend: str, other: str) -> None:
    g = Template("stream")
    x, c = g.input("x"), g.input("c", over=s)
    e, h, u = g.variable("e", ()), g.variable("h", ()), g.variable(other, ())
    e[0], h[0], h[-1] = 0.2, 0.1, 0.3
    e[s] = 0.5 * e[s - 1] + c[s]
    h[t] = 0.5 * h[t - 1] - 0.2 * h[t - 2] + x[t] + e[0] + ops.sum(e[s], over=s)
    u[t] = h[t - 1] + h[0]
    net = g.compile(backend, dtype="float64")
    given, x = {"c": np.random.default_rng(1).normal(size=(3, 2))}, np.random.default_rng(0).normal(size=(6, 2))
    want = g.compile("reference", dtype="float64").run({}, ["h", other], x=x, **given)
    stream = net.stream({}, ["h", other], **given)
    parts = [stream(x=x[:2]), stream(x=x[2:3]), stream(x=x[3:])]
    for name in want:
        np.testing.assert_allclose(np.concatenate([p[name] for p in parts]), want[name], rtol=1e-12)
    kept = stream.state
    assert kept["steps"] == 6
    assert len(kept) == 3
    stream.reset()
    stream.state = kept
    assert stream.steps == 6


def test_a_stream_is_asked_for_an_instance_that_it_carries() -> None:
    g = Template("carried")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0.25
    h[t] = h[t - 1] + x[t]
    stream = g.compile("numpy").stream({}, ["h", ("h", 0)])
    for _ in range(2):
        found = stream(x=[1.0, 1.0])
    assert found["h"].tolist() == [3.25, 4.25]
    assert found["h", 0] == 0.25
