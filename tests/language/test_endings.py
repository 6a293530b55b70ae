"""The three ways to end a sequence: the terms against their definitions, what is learnt, and where it then stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import Net, Template, ops, t
from unroll.endings import bernoulli_stop, end_symbol, predicted_length
from unroll.errors import ArrayError, DTypeError

LENGTHS = np.array([3, 5, 1, 4])
STEPS = 6
STEP = np.arange(1, STEPS + 1)[:, None]


def trained(net: Net, arrays: Any, steps: int, rate: float = 0.5) -> Any:
    params = net.init(seed=0)
    for k in range(steps):
        _, grads = net.value_and_grad(params, seed=k, **arrays)
        params = {n: p - rate * grads[n] for n, p in params.items()}
    return params


def test_an_end_symbol_is_learnt_up_to_its_place() -> None:
    """Count from 0 up and then say END: the labels behind the end are noise that the term must not see."""
    end, g = 5, Template("end")
    y, start = g.input("y", dtype="int"), g.input("start", over=None, dtype="int")
    E, s = g.param("E", (6, 6), init="zeros"), g.variable("s", (), dtype="int")
    s[0] = start
    g.loss = end_symbol(g, E[s[t - 1]], s[t], end, y[t])
    s[t] = ops.argmax(E[s[t - 1]])
    labels = np.where(STEP < LENGTHS, STEP, end)
    noise = np.where(STEP <= LENGTHS, labels, np.random.default_rng(0).integers(0, 6, labels.shape))
    forced = g.teacher_forced({"s": "y"}).compile("numpy", dtype="float64")
    params = {"E": np.random.default_rng(1).normal(size=(6, 6))}
    before = np.concatenate([np.zeros((1, 4), int), labels[:-1]])
    log = params["E"] - np.log(np.exp(params["E"]).sum(axis=1, keepdims=True))
    want = -np.where(STEP <= LENGTHS, log[before, labels], 0).sum(axis=0)
    for seen in (labels, noise):
        np.testing.assert_allclose(forced.run(params, "loss", y=seen, start=[0] * 4), want, rtol=1e-12)
    params = trained(forced, {"y": labels[:, 1:2], "start": [0]}, 60)  # 1, 2, 3, 4, END
    values, length = g.compile("numpy", dtype="float64").generate(params, "s", start=0, max_steps=20)
    assert (values.tolist(), length) == ([1, 2, 3, 4, 5], 5)


@pytest.mark.parametrize("told", ["a bool at each step", "an int per example"])
def test_a_bernoulli_stop_is_the_probability_of_ending_there(told: str) -> None:
    g = Template("halt")
    h = g.input("h", 2)
    if told == "an int per example":
        end, arrays = g.input("n", over=None, dtype="int"), {"n": LENGTHS}
    else:
        end, arrays = g.input("last", dtype="bool")[t], {"last": STEP == LENGTHS}
        arrays["last"][-1] = True  # behind the end nothing counts
    g.loss = bernoulli_stop(g, h[t], end)
    net = g.compile("numpy", dtype="float64")
    params = {"w_halt": np.array([0.7, -1.1]), "b_halt": np.array(-0.2)}
    X = np.random.default_rng(0).normal(size=(STEPS, 4, 2))
    p = 1 / (1 + np.exp(-(X @ params["w_halt"] + params["b_halt"])))
    chance = np.where(STEP < LENGTHS, 1 - p, np.where(STEP == LENGTHS, p, 1)).prod(axis=0)
    np.testing.assert_allclose(net.run(params, "loss", h=X, **arrays), -np.log(chance), rtol=1e-12)


def test_a_bernoulli_stop_is_learnt_and_drawn() -> None:
    """From a state that counts: it learns to go on for three steps and to stop at the fourth."""

    def template(draw: bool) -> Template:
        g = Template("halt")
        n, h = g.input("n", over=None, dtype="int"), g.variable("h", 2)
        h[0] = 0
        h[t] = h[t - 1] + np.array([1.0, 0.5])
        g.loss = bernoulli_stop(g, h[t] - np.array([3.5, 1.75]), n, draw=draw)
        return g

    net = template(False).compile("numpy", dtype="float64")
    params = trained(net, {"n": [4], "T": 6}, 60, 2.0)
    assert net.generate(params, "h", max_steps=20).lengths == 4
    even = {"w_halt": np.zeros(2), "b_halt": np.array(0.0)}
    lengths = template(True).compile("numpy", dtype="float64").generate(even, "halt", batch=400, seed=0).lengths
    assert abs(lengths.mean() - 2) < 4 * np.sqrt(2 / 400), "geometric with p = 1/2"


def counting() -> Template:
    g = Template("length")
    v, r, h = g.input("v", 3, over=None), g.param("r"), g.variable("h", ())
    left, g.loss = predicted_length(g, v, 7)
    h[0] = 0
    h[t] = h[t - 1] + r * left[t - 1]
    return g


def test_a_predicted_length_is_drawn_counted_down_and_learnt() -> None:
    g = counting()
    net, v = g.compile("numpy", dtype="float64"), np.repeat(np.eye(3), 100, axis=0)
    params = net.init(seed=0)
    values, lengths = net.generate(params, ["tau", "tau_left", "h"], v=v, seed=0)
    np.testing.assert_array_equal(lengths, values["tau"])
    np.testing.assert_array_equal(
        values["tau_left"], np.maximum(lengths - np.arange(1, len(values["h"]) + 1)[:, None], 0)
    )
    logits = params["W_tau"].T + params["b_tau"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mean = (p * np.arange(1, 8)).sum(axis=1)
    np.testing.assert_allclose(lengths.reshape(3, 100).mean(axis=1), mean, atol=4 * 2 / np.sqrt(100))
    forced = g.teacher_forced({"tau_left": "tau_true"}).compile("numpy", dtype="float64")
    n = np.array([2, 7, 1])
    got = forced.run({**params, "r": 1.0}, ["h", "loss"], v=np.eye(3), length=n, T=4)
    np.testing.assert_allclose(got["loss"], -np.log(p[range(3), n - 1]), rtol=1e-12)
    np.testing.assert_array_equal(got["h"], np.cumsum(n - np.arange(4)[:, None], axis=0))
    params = trained(forced, {"v": np.eye(3), "length": n, "T": 1}, 150, 2.0)
    lengths = net.generate(params, "h", v=v, seed=1).lengths
    assert (lengths.reshape(3, 100) == n[:, None]).mean() > 0.9


def test_a_length_of_no_context() -> None:
    g = Template("own")
    _, g.loss = predicted_length(g, None, 3, length="n", name="k")
    net = g.compile("numpy", dtype="float64")
    assert set(net.init(seed=0)) == {"b_k"}
    assert set(net.generate(net.init(seed=0), "k_left", batch=50, seed=0).lengths) == {1, 2, 3}
    np.testing.assert_allclose(net.loss(net.init(seed=0), n=[1, 3]), np.log(3))
    with pytest.raises(ArrayError, match="input n holds 4, and its values lie from 1 to 3"):
        net.loss(net.init(seed=0), n=[1, 4])


def test_a_refused_part_leaves_no_trace() -> None:
    g = Template("g")
    h = g.input("h", 2)
    before = str(g), g.stop
    with pytest.raises(DTypeError, match=r"a bool at each step or an int per example; got h\[t\]"):
        bernoulli_stop(g, h[t], h[t])
    assert (str(g), g.stop) == before
    bernoulli_stop(g, h[t], g.input("n", over=None, dtype="int"))
