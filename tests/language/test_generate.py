"""Free running: what a stop is, where a run ends, what it is given, and every refusal."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from unroll import Template, axis, ops, t
from unroll.errors import (
    ArrayError,
    AxisError,
    DoubleDefinitionError,
    DTypeError,
    LengthError,
    ShapeError,
    TemplateError,
    UndefinedError,
)

BACKENDS = ("reference", "numpy", "native")
END = 1


@cache
def speaker() -> Template:
    """Labels that are drawn, fed back, and end in a label of their own; a true one beside them."""
    g = Template("speaker")
    v, y = g.input("v", 4, over=None), g.input("y", dtype="int")
    E, W, V = g.param("E", (5, 4)), g.param("W", (4, 4)), g.param("V", (5, 4))
    h, o, s = g.variable("h", 4), g.variable("o"), g.variable("s", (), dtype="int")
    h[0], s[0] = v, 0
    h[t] = ops.tanh(W @ h[t - 1] + E[s[t - 1]])
    o[t] = V @ h[t]
    s[t] = ops.categorical(o[t])
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    g.stop = ops.equal(s[t], END)
    return g


V = np.random.default_rng(2).normal(size=(6, 4))


@pytest.mark.parametrize("backend", BACKENDS)
def test_generation_is_a_run_cut_at_the_stop(backend: str) -> None:
    net = speaker().compile(backend, dtype="float64")
    params = net.init(seed=1)
    for max_steps in (None, 2):
        values, lengths = net.generate(params, ["s", "h"], v=V, seed=4, max_steps=max_steps)
        n = int(lengths.max())
        whole = net.run(params, ["s", "h", "stop"], v=V, seed=4, T=n)
        within = np.arange(n)[:, None] < lengths
        np.testing.assert_array_equal(values["s"], whole["s"] * within)
        np.testing.assert_allclose(values["h"], whole["h"] * within[..., None], rtol=1e-12)
        ends = whole["stop"] & within
        assert (ends.sum(axis=0) == (ends.any(axis=0))).all()
        assert all(ends[k - 1, b] or k == max_steps for b, k in enumerate(lengths))
    assert not ends.any(axis=0).all(), "nothing was cut by max_steps"


def test_a_run_longer_than_what_runs_at_once() -> None:
    """Every example its own count, beyond any multiple of the steps that run between two looks."""
    g = Template("counter")
    n, k = g.input("n", over=None, dtype="int"), g.variable("k", (), dtype="int")
    k[0] = 0
    k[t] = k[t - 1] + ops.where(n > 0, 1, 0)
    g.stop = k[t] >= n
    net = g.compile("numpy", batch_first=True)
    values, lengths = net.generate({}, "k", n=[1, 32, 33, 70])
    assert lengths.tolist() == [1, 32, 33, 70]
    assert values.shape == (4, 70)
    assert [row[row > 0].tolist() for row in values] == [list(range(1, m + 1)) for m in lengths]
    values, lengths = net.generate({}, "k", n=3)
    assert (values.tolist(), lengths) == ([1, 2, 3], 3)
    values, lengths = net.generate({}, ["k", "n"], n=[4, 2], max_steps=3)
    assert (values["k"].tolist(), values["n"].tolist(), lengths.tolist()) == ([[1, 2, 3], [1, 2, 0]], [4, 2], [3, 2])
    values, lengths = net.generate({}, "k", n=[4, 2], max_steps=0)
    assert (values.shape, lengths.tolist()) == ((2, 0), [0, 0])


def test_examples_without_arrays() -> None:
    g = Template("coin")
    p, x = g.param("p", init=0.3), g.variable("x", ())
    x[t] = ops.uniform(0 * p, 1.0, over=t)
    g.stop = x[t] < p
    net = g.compile("numpy", dtype="float64")
    values, lengths = net.generate(net.init(seed=0), "x", batch=500, seed=0)
    again = net.generate(net.init(seed=0), "x", batch=500, seed=np.random.default_rng(0))
    assert values.shape == (lengths.max(), 500)
    assert not np.array_equal(again.lengths, lengths)
    assert abs(lengths.mean() - 1 / 0.3) < 4 * np.sqrt(0.7) / 0.3 / np.sqrt(500), "geometric, of mean 1/p"
    np.testing.assert_array_equal(net.generate(net.init(seed=0), "x", batch=500, seed=0).values, values)


def test_inputs_over_t_are_given_for_every_step_or_not_read() -> None:
    g = Template("driven")
    x, y = g.input("x"), g.variable("y", ())
    y[0] = 0
    y[t] = y[t - 1] + x[t]
    g.stop = y[t] > 5
    net = g.compile("numpy")
    with pytest.raises(ArrayError, match=r"free running reads x\[t\], which was not passed") as e:
        net.generate({}, "y")
    assert "y[t] = y[t-1] + x[t]        test_generate.py" in str(e.value)
    values, lengths = net.generate({}, "y", x=[[1, 3]] * 40)
    assert (values.T.tolist(), lengths.tolist()) == ([[1, 2, 3, 4, 5, 6], [3, 6, 0, 0, 0, 0]], [6, 2])
    assert net.generate({}, "y", x=[0] * 40).lengths == 40
    with pytest.raises(LengthError, match="max_steps = 3 was given, and input x has 40 steps"):
        net.generate({}, "y", x=[0] * 40, max_steps=3)
    forced = speaker().teacher_forced({"s": "y"}).compile("numpy")
    with pytest.raises(ArrayError, match=r"free running reads y\[t-1\]"):
        forced.generate(forced.init(seed=0), "s", v=V.astype("float32"), seed=0)


def test_what_never_ends_is_refused() -> None:
    g = Template("endless")
    y = g.variable("y", ())
    y[0] = 1
    y[t] = 2 * y[t - 1]
    net = g.compile("numpy")
    with pytest.raises(
        UndefinedError, match=r"template 'endless' never stops: set g.stop = ..., .* or give max_steps="
    ):
        net.generate({}, "y")
    with pytest.raises(LengthError, match="max_steps = -1: a length is an integer from 0 up"):
        net.generate({}, "y", max_steps=-1)
    values, lengths = net.generate({}, "y", max_steps=40)
    assert (values[-1], lengths) == (2.0**40, 40)
    assert net.generate({}, "y", max_steps=2, batch=3).lengths.tolist() == [2, 2, 2]


def test_a_stop_is_a_bool_at_each_step() -> None:
    def refuse(kind: type[Exception], text: str, make: Any) -> None:
        g = Template("g")
        x = g.input("x", 2)
        with pytest.raises(kind, match=text):
            g.stop = make(x)
        assert g.stop is None

    refuse(DTypeError, r"the stop is float: x\[t\]\[0\]", lambda x: x[t][0])
    refuse(AxisError, "the stop runs along no axis", lambda x: ops.sum(x[t][0], over=t) > 0)
    refuse(ShapeError, r"the stop has shape \(2,\): x\[t\] > 0", lambda x: x[t] > 0)
    g = Template("g")
    x = g.input("x")
    g.stop = x[t] > 0
    with pytest.raises(DoubleDefinitionError, match="the stop is defined twice"):
        g.stop = x[t] > 1
    with pytest.raises(TemplateError, match="the name 'stop' is taken"):
        Template("h").variable("stop")


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize("back", [(1, 1), (0, 1), (1, 0)])
def test_a_lattice_runs_freely_and_in_chunks(backend: str, back: tuple[int, int]) -> None:
    s, _ = axis("s")
    g = Template("lattice")
    x, h = g.input("x", over=(s, t)), g.variable("h", ())
    h[0, t], h[s, 0], h[0, 0] = 0.0, 0.5, 1.0
    h[s, t] = h[s - back[0], t - back[1]] + x[s, t]
    net, x = g.compile(backend, dtype="float64"), np.arange(12.0).reshape(3, 4)
    want = net.run({}, "h", x=x)
    stream = net.stream({}, "h", S=3)
    np.testing.assert_array_equal(np.concatenate([stream(x=x[:, :1]), stream(x=x[:, 1:])], axis=1), want)
    np.testing.assert_array_equal(net.generate({}, "h", x=x).values, want)  # x tells both lengths
    np.testing.assert_array_equal(net.generate({}, "h", x=x, S=3).values, want)


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize("given", [{}, {"S": 2}])
def test_the_length_of_an_axis_that_no_input_over_t_tells(backend: str, given: dict[str, int]) -> None:
    s, S = axis("s")
    g = Template("net")
    along, still, y = g.input("along"), g.input("still", over=s), g.variable("y", ())
    still[S + 1] = 0.0
    y[s, t] = along[t] * still[s + 1]
    net = g.compile(backend, dtype="float64")
    arrays = {"along": np.array([1.0, 2.0, 3.0]), "still": np.array([5.0, 7.0])}
    want = np.outer([7.0, 0.0], arrays["along"])
    np.testing.assert_array_equal(net.generate({}, "y", **arrays, **given).values, want)
    with pytest.raises(LengthError, match="S = 3 was given, and input still has 2 steps"):
        net.generate({}, "y", **arrays, S=3)


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_inputs_that_nothing_asked_for_reads_may_be_given(backend: str) -> None:
    g = Template()
    x, y, h = g.input("x"), g.input("y"), g.variable("h", ())
    h[0], h[t] = 0, h[t - 1] + x[t]
    g.loss = ops.sum((h[t] - y[t]) ** 2, over=t)
    net = g.compile(backend, dtype="float64")
    np.testing.assert_array_equal(net.generate({}, "h", x=np.ones(4), y=np.ones(4)).values, [1, 2, 3, 4])


def test_a_stop_is_kept_printed_and_asked_for() -> None:
    g = speaker()
    assert "  stop[t] = s[t] == 1 " in str(g)
    for other in (g.adjoint(), g.teacher_forced({"s": "y"}), g.scheduled({"s": "y"}), g.inference()):
        assert other.system.stop == "stop"
        assert "stop[t] = s[t] == 1" in str(other)
    net = g.compile("numpy", dtype="float64")
    params = net.init(seed=0)
    run = net.run(params, ["s", "stop"], v=V, seed=4, T=5)
    np.testing.assert_array_equal(run["stop"], run["s"] == END)
    assert net.generate(params, "stop", v=V, seed=4).values.sum() == len(V)
