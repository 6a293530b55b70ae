"""Beyond its end an example computes nothing of its own: nothing there can fail, and no run goes on for ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import ArrayError, LengthError, NonFiniteError
from unroll.runtime import generate

BACKENDS = ("reference", "numpy", "native")
backends = pytest.mark.parametrize("backend", BACKENDS)


def counter(fails: Any) -> Template:
    """Counts down from n, and stops at 0; `fails` is of the count, and harmless down to 0."""
    g = Template("counter")
    n, k, v = g.input("n", over=None), g.variable("k", ()), g.variable("v", ())
    k[0] = n
    k[t] = k[t - 1] - 1.0
    v[0] = 0
    v[t] = v[t - 1] + fails(g, k[t])
    g.stop = k[t] <= 0.0
    return g


def strict(g: Template, k: Any) -> Any:
    return OP(k)


def _strict(xp: Any, k: Any) -> Any:
    """A user's own operation, which takes no count below 0."""
    if (np.asarray(k) < 0).any():
        raise ValueError("a count below 0")
    return k * 1.0


OP: Any = None


@pytest.fixture(autouse=True)
def op() -> Any:
    global OP
    OP = ops.define("strictly", ops.elementwise, lambda g, y, x: g, compute=_strict)
    yield
    del ops.OPS["strictly"]


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("counts", [[3.0], [3.0, 1.0, 40.0], [40.0, 33.0, 32.0, 31.0, 1.0, 90.0]], ids=len)
def test_what_fails_beyond_an_end_fails_nobody(backend: str, counts: list[float]) -> None:
    net = counter(strict).compile(backend)
    values, lengths = net.generate({}, ["k", "v"], n=np.array(counts, np.float32))
    assert lengths.tolist() == [int(n) for n in counts]
    longest = int(max(counts))
    for b, n in enumerate(counts):
        want = np.maximum(n - np.arange(1.0, longest + 1), 0)
        np.testing.assert_array_equal(values["k"][:, b], want)
        np.testing.assert_array_equal(values["v"][:, b], np.cumsum(want) * (np.arange(longest) < n))
    value, steps = net.generate({}, "v", n=np.float32(5))
    assert (value[-1], steps) == (10, 5)


@backends
def test_computed_labels_beyond_an_end(backend: str) -> None:
    """The last symbol is none of those that can be looked up, as when nothing ever follows it."""
    g = Template("symbols")
    start, E = g.input("start", over=None, dtype="int"), g.param("E", (4, 5))
    o, y = g.variable("o", 5), g.variable("y", (), dtype="int")
    y[0] = start
    o[t] = E[y[t - 1]]
    y[t] = ops.argmax(o[t])
    g.stop = ops.equal(y[t], 4)
    table = np.eye(5, dtype=np.float32)[1:]  # 0 -> 1 -> 2 -> 3 -> 4, and no row for 4
    net = g.compile(backend)
    values, lengths = net.generate({"E": table}, "y", start=np.array([0, 3, 2, 3]))
    assert lengths.tolist() == [4, 1, 2, 1]
    assert values.T.tolist() == [[1, 2, 3, 4], [4, 0, 0, 0], [3, 4, 0, 0], [4, 0, 0, 0]]
    assert net.generate({"E": table}, "y", start=np.array(1)).values.tolist() == [2, 3, 4]


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_no_alarm_for_what_lies_beyond_an_end(backend: str) -> None:
    net = counter(lambda g, k: ops.sqrt(k)).compile(backend, debug_nans=True)
    values, lengths = net.generate({}, "v", n=np.array([2.0, 35.0, 4.0], np.float32))
    assert lengths.tolist() == [2, 35, 4]
    assert np.isfinite(values).all()
    bad = counter(lambda g, k: ops.sqrt(k - 2.0)).compile(backend, debug_nans=True)
    with pytest.raises(NonFiniteError, match="before which 2 had run"):
        bad.generate({}, "v", n=np.array([4.0, 9.0], np.float32))


def test_what_fails_before_an_end_is_said() -> None:
    net = counter(lambda g, k: OP(k - 1.0)).compile("numpy")
    with pytest.raises(ValueError, match="a count below 0"):
        net.generate({}, "v", n=np.array([4.0, 40.0], np.float32))


@backends
def test_what_runs_on_is_as_if_alone(backend: str) -> None:
    """Draws, inputs over t and context, of examples whose neighbours end."""
    g = Template("noisy")
    n, v, x = g.input("n", over=None), g.input("v", 3, over=None), g.input("x", 3)
    W, h, k = g.param("W", (3, 3), "normal"), g.variable("h", 3), g.variable("k", ())
    h[0], k[0] = v, n
    h[t] = ops.tanh(W @ h[t - 1] + x[t] + v + ops.normal(0.0 * v, 1.0, over=t))
    k[t] = k[t - 1] - 1
    g.stop = k[t] <= 0
    net = g.compile(backend, dtype="float64")
    params, rng = net.init(seed=0), np.random.default_rng(0)
    counts = [5, 70, 33, 1, 64, 64]
    given = {"v": rng.normal(size=(6, 3)), "x": rng.normal(size=(70, 6, 3))}
    values, lengths = net.generate(params, ["h", "v"], n=np.array(counts, float), seed=3, **given)
    assert lengths.tolist() == counts
    whole = net.run(params, "h", n=np.array(counts, float), seed=3, **given)
    for b, count in enumerate(counts):
        np.testing.assert_allclose(values["h"][:count, b], whole[:count, b], rtol=1e-12)
        assert not values["h"][count:, b].any()
    np.testing.assert_array_equal(values["v"], given["v"])


def test_a_stop_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "MOST", 1000)
    g = Template("endless")
    n, y = g.input("n", over=None), g.variable("y", ())
    y[0] = n
    y[t] = y[t - 1] + 1.0
    g.stop = ops.equal(y[t], 5.0)
    net = g.compile("numpy")
    with pytest.raises(LengthError) as error:
        net.generate({}, "y", n=np.array([0.0, 7.0, 9.0], np.float32))
    text = str(error.value)
    assert "after 1,000 steps the stop of template 'endless' has not come for example 1 and 1 more" in text
    assert "stop[t] = y[t] == 5        test_generate_ends.py" in text
    assert "Give max_steps=, the most steps to run." in text
    assert "net.generate({}" in text
    values, lengths = net.generate({}, "y", n=np.array([0.0, 7.0], np.float32), max_steps=1500)
    assert (values.shape, lengths.tolist()) == ((1500, 2), [5, 1500])


def test_lengths_are_called_by_what_was_given() -> None:
    g = Template("driven")
    x, y = g.input("x"), g.variable("y", ())
    y[t] = 2 * x[t]
    net = g.compile("numpy")
    with pytest.raises(LengthError, match="max_steps = 5 was given, and input x has 3 steps"):
        net.generate({}, "y", x=np.ones(3, np.float32), max_steps=5)
    with pytest.raises(LengthError, match=r"net\.generate ends at its stop, and has no T=: max_steps="):
        net.generate({}, "y", x=np.ones(3, np.float32), T=3)


@backends
def test_a_stream_goes_its_own_way(backend: str) -> None:
    """What becomes of params and context arrays later is nothing to a stream made before."""
    g = Template("m")
    v, x, w, h, c = g.input("v", over=None), g.input("x"), g.param("w"), g.variable("h", ()), g.variable("c", ())
    h[0] = v
    c[()] = 2 * v
    h[t] = w * h[t - 1] + x[t] + v + c
    net = g.compile(backend)
    params = {"w": np.array(0.5, np.float32)}
    context, x1 = np.ones(2, np.float32), np.ones((2, 2), np.float32)
    want = net.run(params, "h", v=context, x=np.ones((4, 2), np.float32))
    for batch in (None, 2):
        params["w"][...], context[...] = 0.5, 1
        stream = net.stream(params, "h", v=context, batch=batch)
        params["w"][...], context[...] = 7, 7
        first = stream(x=x1)
        x1[...] = 9
        kept = first.copy()
        params["w"][...] = 8
        x1[...] = 1
        second = stream(x=x1)
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_allclose(np.concatenate([first, second]), want, rtol=1e-6)
        stream.reset()
        np.testing.assert_array_equal(stream(x=x1), first)
    late = net.stream({"w": np.array(0.5, np.float32)}, "h", batch=2, v=np.ones(2, np.float32))
    state = late.state
    state["h[0]"][...] = 100
    np.testing.assert_array_equal(late.state["h[0]"], [1, 1])


def test_a_refused_chunk_changes_no_stream() -> None:
    g = Template("m")
    y, E, h = g.input("y", dtype="int"), g.param("E", (3, 2)), g.variable("h", 2)
    h[0] = 0
    h[t] = h[t - 1] + E[y[t]]
    net = g.compile("numpy")
    params = net.init()
    stream = net.stream(params, "h")
    stream(y=[0, 1])
    before = stream.state
    with pytest.raises(ArrayError):
        stream(y=[0, 3])
    after = stream.state
    assert after["steps"] == 2
    np.testing.assert_array_equal(before["h[0]"], after["h[0]"])
