"""One step after another: what a stream keeps in place, and that no call sees anything of it but the right numbers."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest

from unroll import Net, Template, cells, ops, t
from unroll.errors import ArrayError, LabelError

BACKENDS = ("reference", "numpy", "native")


@cache
def net(backend: str, cell: Any = cells.lstm, units: int = 5, **options: Any) -> Net:
    g = Template("cell")
    cells.layer(g, cell, g.input("x", 3)[t], units, name="h")
    return g.compile(backend, **options)


def samples(steps: int, *batch: int) -> Any:
    return np.random.default_rng(0).normal(size=(steps, *batch, 3)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", [cells.elman, cells.lstm, cells.gru, cells.mgu])
@pytest.mark.parametrize("units", [5, 65])
@pytest.mark.parametrize("batch", [(), (1,), (4,)])
def test_a_sample_at_a_time_is_one_run(backend: str, cell: Any, units: int, batch: tuple[int, ...]) -> None:
    """With weights that are joined before they are packed, and with one that is packed as it is."""
    made, x = net(backend, cell, units), samples(9, *batch)
    params = made.init(seed=0)
    stream = made.stream(params, "h")
    got = [stream(x=x[k : k + 1]) for k in range(9)]
    np.testing.assert_allclose(np.concatenate(got), made.run(params, "h", x=x), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("units", [1, 17, 65, 300, 400])
def test_a_step_is_that_of_torch(units: int) -> None:
    """Sizes around those of vectors, panels and what several threads share."""
    torch = pytest.importorskip("torch")
    made, x = net("native", units=units), samples(6, 2)
    params = made.init(seed=0)
    cell = torch.nn.LSTMCell(3, units)
    with torch.no_grad():
        for ours, theirs in (("W", "weight_hh"), ("U", "weight_ih"), ("b", "bias_hh")):
            joined = np.concatenate([params[f"{ours}{gate}_h"] for gate in "ifgo"])
            getattr(cell, theirs).copy_(torch.from_numpy(joined))
        cell.bias_ih.zero_()
        state, stream = None, made.stream(params, "h")
        for k in range(6):
            state = cell(torch.from_numpy(x[k]), state)
            np.testing.assert_allclose(stream(x=x[k : k + 1])[0], state[0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_stay_and_params_may_change(backend: str) -> None:
    made, x = net(backend), samples(5, 2)
    params = made.init(seed=0)
    want = made.run(params, "h", x=x)
    stream = made.stream(params, "h")
    for array in params.values():
        array += 9
    sample, kept = x[:1].copy(), []
    for k in range(5):
        sample[...] = x[k]
        kept.append(stream(x=sample))
        if k == 2:
            stream.state["h[0]"][...] = 9
    np.testing.assert_allclose(np.concatenate(kept), want, rtol=2e-6, atol=2e-6)
    kept[-1][...] = 9  # is no state
    assert not (stream.state["h[0]"] == 9).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_pieces_of_any_length_take_turns(backend: str) -> None:
    """Few rows are multiplied by packed weights, many block by block; memory of one shape follows that of another."""
    made, x = net(backend, units=9), samples(90, 1)
    params = made.init(seed=0)
    stream, at, got = made.stream(params, "h"), 0, []
    for steps in (1, 1, 70, 1, 0, 3, 3, 1, 10):
        got.append(stream(x=x[at : at + steps]))
        at += steps
    np.testing.assert_allclose(np.concatenate(got), made.run(params, "h", x=x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_streams_of_one_net_go_their_own_ways(backend: str) -> None:
    """Two of different params, a copy, and one that was pickled, in turns."""
    made, x = net(backend), samples(8, 2)
    one, two = made.init(seed=0), made.init(seed=1)
    want = [made.run(p, "h", x=x) for p in (one, two)]
    first, second = made.stream(one, "h"), made.stream(two, "h")
    for k in range(3):
        first(x=x[k : k + 1])
        second(x=x[k : k + 1])
    streams = [first, second, copy.copy(first), pickle.loads(pickle.dumps(second)), copy.deepcopy(second)]
    for k in range(3, 8):
        for stream, place in zip(streams, (0, 1, 0, 1, 1), strict=True):
            np.testing.assert_allclose(stream(x=x[k : k + 1])[0], want[place][k], rtol=1e-5, atol=1e-5)
    first.reset()
    np.testing.assert_allclose(first(x=x[:1])[0], want[0][0], rtol=1e-5, atol=1e-5)


def test_threads_have_streams_of_their_own() -> None:
    made, x = net("native"), samples(40, 1)
    params, wrong = made.init(seed=0), []
    want = made.run(params, "h", x=x)

    def work() -> None:
        stream = made.stream(params, "h")
        got = [stream(x=x[k : k + 1]) for k in range(40)]
        if not np.allclose(np.concatenate(got), want, atol=1e-5):
            wrong.append(1)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_sample_is_checked(backend: str) -> None:
    """A call like the last one is looked at quickly; one that differs in anything, as the first was."""
    made, x = net(backend), samples(6, 2)
    params = made.init(seed=0)
    want, stream = made.run(params, "h", x=x), made.stream(params, "h")
    stream(x=x[:1])
    with pytest.raises(ArrayError, match=r"x has shape \(1, 2, 4\), expected \(T, B, 3\)"):
        stream(x=np.zeros((1, 2, 4), np.float32))
    with pytest.raises(ArrayError, match="there is no input 'z'"):
        stream(z=x[:1])
    with pytest.raises(ArrayError, match="there is no input 'z'"):
        stream(x=x[:1], z=x[:1])
    with pytest.raises(ArrayError, match="input x is missing"):
        stream(T=1)
    other = np.zeros((1, 2, 6), np.float32)
    other[..., ::2] = x[1]
    got = [stream(x=other[..., ::2]), stream(x=x[2:3].tolist()), stream(x=np.asfortranarray(x[3:5])), stream(x=x[5:])]
    np.testing.assert_allclose(np.concatenate(got), want[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_outside_leaves_the_state(backend: str) -> None:
    g = Template("walk")
    E, x, k, y = g.param("E", (4, 2)), g.input("x", dtype="int"), g.variable("k", (), dtype="int"), g.variable("y", 2)
    k[0], y[0] = 0, 0
    k[t] = k[t - 1] + x[t]
    y[t] = y[t - 1] + ops.take(E, k[t])
    made = g.compile(backend)
    params = {"E": np.arange(8, dtype=np.float32).reshape(4, 2)}
    stream = made.stream(params, "y")
    assert stream(x=[1]).tolist() == [[2, 3]]
    assert stream(x=[2]).tolist() == [[8, 10]]
    with pytest.raises(LabelError, match="t = 3"):
        stream(x=[1])
    assert stream(x=[-3]).tolist() == [[8, 11]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_passed_on_unchanged(backend: str) -> None:
    """Outputs and states that are inputs of the template, two steps back, for no example and over no step."""
    g = Template("echo")
    x, v, w = g.input("x", 2), g.input("v", 2, over=None), g.param("w", 2)
    x[0], x[-1] = w, 0
    g.output("y", x[t - 2] + v)
    g.output("w", w)
    g.output("v", v)
    g.output("x", x[t])
    made, X = g.compile(backend), samples(5, 2)[..., :2]
    params, V = {"w": np.ones(2, np.float32)}, np.full((2, 2), 0.5, np.float32)
    want, stream = made.run(params, x=X, v=V), made.stream(params, v=V)
    got = [stream(x=X[k : k + 1]) for k in range(5)]
    for name in ("y", "x"):
        np.testing.assert_array_equal(np.concatenate([r[name] for r in got]), want[name])
    np.testing.assert_array_equal(got[-1]["w"], params["w"])
    np.testing.assert_array_equal(got[-1]["v"], V)
