"""Running in pieces: the state that is carried, what is given once and what at each call, and every refusal."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

from unroll import Net, T, Template, axis, ops, t
from unroll.errors import ArrayError, CausalityError, LengthError, NonFiniteError

s, S = axis("s")


@cache
def net(backend: str = "numpy", **options: Any) -> Net:
    """A filter on a context: delays of its own output and of its input, and draws."""
    g = Template("filter")
    x, v, w = g.input("x", 2), g.input("v", 2, over=None), g.param("w", 2)
    y = g.variable("y", 2)
    x[0] = w
    y[0], y[-1] = v, 0
    y[t] = 0.5 * y[t - 1] - 0.2 * y[t - 2] * w + x[t] + x[t - 1] * ops.tanh(v) + ops.normal(x[t], 0.1) * y[0]
    g.output("late", y[T])
    return g.compile(backend, dtype="float64", **options)


PARAMS = {"w": np.array([0.4, -0.3])}
V = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]])
X = np.random.default_rng(0).normal(size=(8, 3, 2))


def test_the_state_is_that_of_the_last_steps() -> None:
    stream = net().stream(PARAMS, "y", v=V, seed=1)
    y = net().run(PARAMS, "y", v=V, x=X, seed=1)
    assert list(stream.state) == ["y[0]", "y[-1]", "x[0]", "steps"]
    np.testing.assert_array_equal(stream.state["y[0]"], V)
    stream(x=X[:5])
    np.testing.assert_allclose(stream.state["y[0]"], y[4], rtol=1e-12)
    np.testing.assert_allclose(stream.state["y[-1]"], y[3], rtol=1e-12)
    np.testing.assert_array_equal(stream.state["x[0]"], X[4])
    stream(x=X[5:6])
    np.testing.assert_allclose(stream.state["y[-1]"], y[4], rtol=1e-12)
    assert (stream.steps, stream.state["steps"]) == (6, 6)
    assert repr(stream) == "<Stream filter: 6 steps, carries y[0], y[-1], x[0]>"


def test_a_state_is_kept_pickled_restored_and_reset() -> None:
    stream, other = (net().stream(PARAMS, "y", v=V, seed=1) for _ in range(2))
    first = stream(x=X[:3])
    kept = pickle.dumps(stream.state)
    rest = stream(x=X[3:])
    np.testing.assert_array_equal(np.concatenate([first, rest]), other(x=X))
    other.state = pickle.loads(kept)
    np.testing.assert_array_equal(other(x=X[3:]), rest)
    other.state = pickle.loads(kept)
    other.state["y[0]"][:] = 9  # a copy: it changes nothing
    np.testing.assert_array_equal(other(x=X[3:]), rest)
    other.reset()
    assert other.steps == 0
    np.testing.assert_array_equal(other(x=X[:3]), first)


def test_layouts_are_those_of_run() -> None:
    """Batch first, no batch, several names, the batch told by the chunk."""
    first = net(batch_first=True)
    want = net().run(PARAMS, "y", v=V, x=X, seed=1)
    stream = first.stream(PARAMS, ["y"], v=V, seed=1)
    got = [stream(x=X[:3].swapaxes(0, 1)), stream(x=X[3:].swapaxes(0, 1))]
    np.testing.assert_allclose(np.concatenate([g["y"] for g in got], axis=1).swapaxes(0, 1), want, rtol=1e-12)
    alone = net().stream(PARAMS, "y", v=V[0], seed=1)
    assert alone(x=X[:2, 0]).shape == (2, 2)
    g = Template("sum")
    x, y = g.input("x"), g.variable("y", ())
    y[0] = 0
    y[t] = y[t - 1] + x[t]
    stream = g.compile("numpy").stream({}, "y")
    assert stream(x=[[1, 2], [3, 4]]).tolist() == [[1, 2], [4, 6]]
    assert stream(x=[[1, 1]]).tolist() == [[5, 7]]
    stream = g.compile("numpy").stream({}, "y")
    assert stream(x=[1, 2]).tolist() == [1, 3]


def test_what_does_not_run_along_t_is_computed_once() -> None:
    g = Template("attention")
    x, k, q = g.input("x", 2, over=s), g.param("k", 2), g.input("q", 2)
    e, c = g.variable("e", 2), g.variable("c", 2)
    e[0] = 0
    e[s] = ops.tanh(e[s - 1] + x[s])
    weight = ops.softmax(ops.dot(e[s] + e[s - 1], q[t] * k), over=s)
    c[t] = ops.sum(weight * e[s], over=s)
    made = g.compile("numpy", dtype="float64")
    rng = np.random.default_rng(0)
    p, X, Q = {"k": np.ones(2)}, rng.normal(size=(5, 3, 2)), rng.normal(size=(4, 3, 2))
    stream = made.stream(p, ["c", "e"], x=X)
    want = made.run(p, ["c", "e"], x=X, q=Q)
    got = [stream(q=Q[:1]), stream(q=Q[1:])]
    np.testing.assert_allclose(np.concatenate([r["c"] for r in got]), want["c"], rtol=1e-12)
    np.testing.assert_allclose(got[1]["e"], want["e"], rtol=1e-12)
    assert not [e for e in made._steppers["c", "e"].step.equations if e.op == "tanh"]


def test_a_stream_refuses_what_only_the_end_tells() -> None:
    g = Template("late")
    x, w = g.input("x"), g.param("w")
    h, m = g.variable("h", ()), g.variable("m", ())
    h[0] = 0
    h[t] = w * h[t - 1] + x[t]
    m[t] = h[t] - ops.mean(x[t], over=t)
    g.output("o", 2 * h[T])
    g.output("third", h[3] + h[t])
    made = g.compile("numpy")
    with pytest.raises(
        CausalityError, match=r"o cannot be computed step by step: it reads h\[T\], a step counted"
    ) as e:
        made.stream(PARAMS, "o")
    assert "o = 2 * h[T]        test_stream.py" in str(e.value)
    assert str(e.value).endswith("or ask for names that do not depend on it.")
    with pytest.raises(CausalityError, match=r"m\[t\] cannot .* it (sums over t|needs T)"):
        made.stream(PARAMS, "m")
    with pytest.raises(CausalityError, match=r"third\[t\] cannot .* it reads h\[3\], one step of those that run"):
        made.stream(PARAMS, "third")
    with pytest.raises(CausalityError, match=r"h\[3\] is one step .* ask for h"):
        made.stream(PARAMS, ("h", 3))
    with pytest.raises(CausalityError, match="o cannot be computed"):
        made.stream(PARAMS)
    made.stream({"w": np.float32(1)}, "h")  # what only other outputs need is no hindrance


def test_misfits_are_named() -> None:
    made = net().stream
    with pytest.raises(ArrayError, match=r"input x has a value at each step: pass it to the stream, stream\(x=...\)"):
        made(PARAMS, "y", v=V, x=X, seed=1)
    with pytest.raises(ArrayError, match="input v is missing"):
        made(PARAMS, "y", seed=1)
    with pytest.raises(ArrayError, match="draws random numbers"):
        made(PARAMS, "y", v=V)
    with pytest.raises(LengthError, match="a stream has no length T"):
        made(PARAMS, "y", v=V, seed=1, T=4)
    with pytest.raises(ArrayError, match="input v holds 3 examples, and there are 4"):
        made(PARAMS, "y", v=V, seed=1, batch=4)
    with pytest.raises(ArrayError, match="batch=0: the number of examples is an integer from 1 up"):
        made(PARAMS, "y", v=V, seed=1, batch=0)
    stream = made(PARAMS, "y", v=V, seed=1)
    with pytest.raises(ArrayError, match="input v has no steps: pass it once"):
        stream(x=X, v=V)
    with pytest.raises(ArrayError, match="input x holds 2 examples, and there are 3"):
        stream(x=X[:, :2])
    with pytest.raises(ArrayError, match="input x is missing"):
        stream(T=3)
    state = stream.state
    with pytest.raises(ArrayError, match=r"the state of this stream holds y\[0\], y\[-1\], x\[0\], steps; got nothing"):
        stream.state = {}
    with pytest.raises(ArrayError, match=r"state of y\[0\] has shape \(2, 2\), expected \(3, 2\)"):
        stream.state = {**state, "y[0]": V[:2]}
    with pytest.raises(ArrayError, match="state 'steps' is -1"):
        stream.state = {**state, "steps": -1}
    g = Template("leak")
    x, y = g.input("x"), g.variable("y", ())
    y[0] = 0
    y[t] = y[t - 1] + x[t]
    stream = g.compile("numpy").stream({}, "y")
    with pytest.raises(ArrayError, match="the number of examples is not known yet"):
        _ = stream.state
    assert list(g.compile("numpy").stream({}, "y", batch=2).state["y[0]"]) == [0, 0]


def test_an_infinity_is_placed_in_its_chunk() -> None:
    g = Template("grow")
    a, y = g.param("a"), g.variable("y", ())
    y[0] = 1
    y[t] = a * y[t - 1]
    stream = g.compile("numpy", debug_nans=True).stream({"a": np.float32(1e10)}, "y")
    stream(T=3)
    with pytest.raises(
        NonFiniteError, match=r"(?s)y\[1\].*counted from the start of this call, before which 3 had run"
    ):
        stream(T=2)
