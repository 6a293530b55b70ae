"""Changes of mode: each against its definition, computed another way."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, UnrollError, axis, ops, schedules, t

BACKENDS = ("reference", "numpy", "native")
STEPS, BATCH = 7, 3


def feedback(last: bool = False) -> Template:
    """Both a hidden and an output recurrence; `last` for the loss of the last step alone."""
    g = Template("feedback")
    x, y = g.input("x", 2), g.input("y", 3)
    W, V, U, R = g.param("W", (4, 4)), g.param("V", (3, 4)), g.param("U", (4, 2)), g.param("R", (4, 3))
    h, o = g.variable("h", 4), g.variable("o", 3)
    h[0], o[0] = 0.1, 0.2
    h[t] = ops.tanh(W @ h[t - 1] + R @ o[t - 1] + U @ x[t])
    o[t] = ops.tanh(V @ h[t])
    g.loss = ops.mse(o[T], y[T]) if last else ops.sum(ops.mse(o[t], y[t]), over=t)
    return g


def arrays(steps: int = STEPS) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {"x": rng.normal(size=(steps, BATCH, 2)), "y": rng.normal(size=(steps, BATCH, 3))}


def close(got: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    assert list(got) == list(want)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-11, atol=1e-12, err_msg=name)


def by_hand(params: Any, feed: Any) -> Any:
    """The outputs when ``feed(step, o)`` stands for the output of each step in what the next step reads."""
    a = arrays()
    h, fed, out = np.full((BATCH, 4), 0.1), np.full((BATCH, 3), 0.2), []
    for k in range(STEPS):
        h = np.tanh(h @ params["W"].T + fed @ params["R"].T + a["x"][k] @ params["U"].T)
        out.append(np.tanh(h @ params["V"].T))
        fed = feed(k + 1, out[-1])
    return np.stack(out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_mode_computes_what_it_says(backend: str) -> None:
    g, a = feedback(), arrays()
    params = g.compile(dtype="float64").init(seed=0)

    def outputs(made: Template, **more: Any) -> Any:
        return made.compile(backend, dtype="float64").run(params, "o", **a, **more)

    np.testing.assert_allclose(outputs(g), by_hand(params, lambda k, o: o), atol=1e-12)
    forced = outputs(g.teacher_forced({"o": "y"}))
    np.testing.assert_allclose(forced, by_hand(params, lambda k, o: a["y"][k - 1]), atol=1e-12)
    own = outputs(g.open_loop({"o": "y"}, 3))
    np.testing.assert_allclose(own, by_hand(params, lambda k, o: a["y"][k - 1] if k % 3 == 0 else o), atol=1e-12)
    mixed = g.scheduled({"o": "y"})
    np.testing.assert_allclose(outputs(mixed, seed=0, epsilon=1.0), forced, atol=1e-12)
    np.testing.assert_allclose(outputs(mixed, seed=0, epsilon=0.0), outputs(g), atol=1e-12)
    drawn = mixed.compile(backend, dtype="float64").run(params, ["o", "o_fed"], seed=5, epsilon=0.5, **a)
    fed = drawn["o_fed"]
    np.testing.assert_allclose(drawn["o"], by_hand(params, lambda k, o: fed[k - 1]), atol=1e-12)
    true = np.all(fed == a["y"], axis=-1)
    assert np.all(true | np.all(fed == drawn["o"], axis=-1))
    assert 0 < true.sum() < true.size
    assert any(0 < row.sum() < BATCH for row in true), "each example has a coin of its own"


def test_without_a_recurrence_every_step_runs_at_once() -> None:
    g = Template("outputs")
    y, x = g.input("y", 3), g.input("x", 2)
    o = g.variable("o", 3)
    o[0] = 0
    o[t] = ops.tanh(g.param("W", (3, 3)) @ o[t - 1] + g.param("U", (3, 2)) @ x[t])
    g.loss = ops.sum(ops.mse(o[t], y[t]), over=t)
    made = [g, g.teacher_forced({"o": "y"})]
    lines = [str(m.compile("numpy").program(grad=True)).splitlines() for m in made]
    loops = [sum(line.lstrip().startswith("for t = ") for line in program) for program in lines]
    assert loops == [2, 0]


def added_up(net: Any, params: Mapping[str, Any], states: Mapping[str, Any], parts: list[tuple[int, int]]) -> Any:
    """The gradients of parts of the sequence, each from the state before it handed in as a number."""
    total = {name: np.zeros_like(value) for name, value in params.items()}
    for start, stop in parts:
        clamp = {(n, 0): states[n][start - 1] for n in ("h", "o")} if start else None
        part = {name: value[start:stop] for name, value in arrays().items()}
        _, grads = net.value_and_grad(params, clamp=clamp, **part)
        total = {name: total[name] + grads[name] for name in total}
    return total


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_truncation_in_chunks(backend: str, k: int) -> None:
    """Chunk by chunk, the state handed over as a number."""
    g, a = feedback(), arrays()
    net = g.compile("reference", dtype="float64")
    params = net.init(seed=0)
    states = net.run(params, ["h", "o"], **a)
    total = added_up(net, params, states, [(start, start + k) for start in range(0, STEPS, k)])
    cut = g.truncated(k).compile(backend, dtype="float64")
    close(cut.value_and_grad(params, **a)[1], total)
    assert cut.loss(params, **a) == pytest.approx(net.loss(params, **a), abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [0, 1, 3, 9])
def test_truncation_by_a_window(backend: str, k: int) -> None:
    """Each step's loss alone, from a state k steps before handed in as a number."""
    g, a = feedback(), arrays()
    net = g.compile("reference", dtype="float64")
    params = net.init(seed=0)
    states = net.run(params, ["h", "o"], **a)
    one = feedback(last=True).compile("reference", dtype="float64")
    total = added_up(one, params, states, [(max(0, step - 1 - k), step) for step in range(1, STEPS + 1)])
    cut = g.truncated(k, sliding=True).compile(backend, dtype="float64")
    close(cut.value_and_grad(params, **a)[1], total)
    assert cut.loss(params, **a) == pytest.approx(net.loss(params, **a), abs=1e-12)


@pytest.mark.parametrize("sliding", [False, True])
def test_truncation_from_right_to_left(sliding: bool) -> None:
    """A reverse recurrence is cut at the mirror images of the same places."""
    made = {}
    for name in ("forward", "reverse"):
        g = Template(name)
        x, w, h = g.input("x"), g.param("w", init=0.7), g.variable("h", ())
        if name == "forward":
            h[0] = 0
            h[t] = ops.tanh(w * h[t - 1] + x[t])
        else:
            h[T + 1] = 0
            h[t] = ops.tanh(w * h[t + 1] + x[t])
        g.loss = ops.sum(h[t], over=t)
        made[name] = g.truncated(2, sliding=sliding).compile("numpy", dtype="float64")
    x = np.random.default_rng(0).normal(size=6)
    params = {"w": np.float64(0.7)}
    grads = [
        made["forward"].value_and_grad(params, x=x)[1],
        made["reverse"].value_and_grad(params, x=x[::-1].copy())[1],
    ]
    close(*grads)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_instance_is_set_and_asked_for(backend: str) -> None:
    g, a = feedback(), arrays()
    net = g.compile(backend, dtype="float64")
    params = net.init(seed=0)
    wanted = [("h", 3), "h", ("h", 0), ("o", STEPS), "x"]
    _, grads, found = net.value_and_grad(params, wanted, [("h", 3), "h"], **a)
    assert np.array_equal(grads["h", 3], grads["h"][2])
    assert np.array_equal(found["h", 3], found["h"][2])
    direction = np.random.default_rng(0).normal(size=(BATCH, 4))
    for instance, at in ((("h", 3), found["h"][2]), (("h", 0), np.full((BATCH, 4), 0.1))):
        ends = [net.loss(params, clamp={instance: at + e * direction}, **a) for e in (1e-6, -1e-6)]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(np.sum(grads[instance] * direction), abs=1e-8)
    moved = net.run(params, ["h", "o"], clamp={("h", 3): direction, ("o", 5): 0 * direction[:, :3]}, **a)
    assert np.array_equal(moved["h"][2], direction)
    assert np.array_equal(moved["o"][4], np.zeros((BATCH, 3)))
    np.testing.assert_allclose(moved["h"][:2], found["h"][:2], atol=1e-14)
    after = np.tanh(direction @ params["W"].T + moved["o"][2] @ params["R"].T + a["x"][3] @ params["U"].T)
    np.testing.assert_allclose(moved["h"][3], after, atol=1e-12)
    _, cut = net.value_and_grad(params, "x", clamp={("h", 3): direction, ("o", 3): direction[:, :3]}, **a)
    assert not np.any(cut["x"][:3]) or np.any(cut["x"][:2])  # only the losses before the cut are felt there
    assert not np.any(cut["x"][2]), "nothing passes to what led into the instances that were set"


def test_an_intervention_cuts_the_edges_of_the_unfolded_graph() -> None:
    dag = feedback().clamped(("h", 3)).unfold(5)
    assert [str(n) for n in dag.predecessors(("h", 3))] == ["do(h[3])"]
    assert ("h", 2) not in [(n.name, *n.steps) for n in dag.predecessors(("h", 3))]
    assert "h[3]" in [str(n) for n in dag.predecessors(("h", 4))]


def test_dropout_is_out_of_the_way_when_inferring() -> None:
    g = Template("drop")
    x, h, w = g.input("x", 50), g.variable("h", 50), g.param("w", 50, init=1.0)
    h[0] = 0
    new = ops.tanh(w * ops.dropout(x[t], 0.5, over=None) + h[t - 1])
    h[t] = h[t - 1] + 0.8 * ops.keep(new, 0.2) * (new - h[t - 1])  # zoneout
    g.output("h", h[t])
    net, plain = g.compile("numpy"), g.inference().compile("numpy")
    params, x = net.init(seed=0), np.ones((6, 50), np.float32)
    drawn = net.run(params, seed=1, x=x)["h"]
    assert np.array_equal(drawn, net.run(params, seed=1, x=x)["h"])
    assert not np.array_equal(drawn, net.run(params, seed=2, x=x)["h"])
    held = (drawn[1:] == drawn[:-1])[:, drawn[-1] != 0]  # where the input is dropped the state stays 0
    assert 0.05 < held.mean() < 0.35
    want, state = [], np.zeros(50)
    for _ in range(6):
        state = state + 0.8 * (np.tanh(1 + state) - state)
        want.append(state)
    np.testing.assert_allclose(plain.run(params, x=x)["h"], want, atol=1e-6)


def test_draws_follow_their_distribution_and_their_seed() -> None:
    g = Template("draws")
    p, n = g.input("p"), 20000
    g.output("b", ops.cast(ops.bernoulli(p[t])))
    g.output("u", ops.uniform(p[t], 3.0))
    g.output("n", ops.normal(p[t], 2.0))
    logits = ops.stack([0 * p[t], 0 * p[t] + np.log(2.0), 0 * p[t] + np.log(5.0)])
    g.output("c", ops.categorical(logits))
    g.output("cold", ops.categorical(logits, 1e-3))
    given = {"p": np.full((2, n), 0.3, np.float32)}
    found = {b: g.compile(b).run({}, seed=7, **given) for b in BACKENDS}
    for backend in BACKENDS[1:]:
        for name, value in found["reference"].items():
            np.testing.assert_allclose(found[backend][name], value, rtol=1e-5, atol=1e-6, err_msg=f"{backend} {name}")
    r = found["numpy"]
    size, spread = 2 * n, 5 / np.sqrt(2 * n)  # five standard errors
    assert abs(r["b"].mean() - 0.3) < 0.5 * spread
    assert abs(r["u"].mean() - 1.65) < 2.7 / 12**0.5 * spread
    assert 0.3 <= r["u"].min() <= r["u"].max() < 3
    assert abs(r["n"].mean() - 0.3) < 2 * spread
    assert abs(r["n"].std() - 2) < 2 * spread
    share = np.bincount(r["c"].ravel(), minlength=3) / size
    assert np.all(np.abs(share - np.array([1, 2, 5]) / 8) < 0.5 * spread)
    assert np.all(r["cold"] == 2)
    assert abs(np.corrcoef(r["n"][0], r["n"][1])[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(r["n"].ravel(), r["u"].ravel())[0, 1]) < spread, "each draw has numbers of its own"
    rng = np.random.default_rng(0)
    first, second = (g.compile("numpy").run({}, "n", seed=rng, **given) for _ in range(2))
    assert not np.array_equal(first, second), "a generator moves on"


def test_gradients_by_the_parameters_of_a_continuous_draw() -> None:
    g = Template("path")
    x, m, s, h = g.input("x"), g.param("m", init=0.3), g.param("s", init=0.5), g.variable("h", ())
    h[0] = 0
    h[t] = ops.tanh(ops.normal(m + 0.5 * h[t - 1], s) + x[t])
    g.loss = ops.sum(h[t] ** 2, over=t)
    x = np.random.default_rng(0).normal(size=(5, 2))
    net = g.compile("numpy", dtype="float64")
    params = net.init(seed=0)
    _, grads = net.value_and_grad(params, seed=3, x=x)
    assert params
    for name in params:
        ends = [net.loss({**params, name: params[name] + e}, seed=3, x=x) for e in (1e-6, -1e-6)]
        assert grads[name] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


def test_schedules_fall_from_one_to_zero() -> None:
    for schedule in (
        lambda k: schedules.linear(k, 0.01),
        lambda k: schedules.exponential(k, 0.97),
        lambda k: schedules.inverse_sigmoid(k, 20),
    ):
        values = [schedule(k) for k in range(0, 1000, 10)]
        assert all(0 <= b <= a <= 1 for a, b in pairwise(values))
        assert values[0] > 0.9
        assert values[-1] < 1e-3


def _only_by_a_draw() -> Any:
    g = Template("discrete")
    x, s = g.input("x", 3), g.variable("s", (), dtype="int")
    W, V = g.param("W", (3, 3)), g.param("V", 3)
    s[t] = ops.categorical(W @ x[t])
    g.loss = ops.sum(V[s[t]], over=t)
    net = g.compile("numpy")
    return net.value_and_grad(net.init(0), seed=0, x=np.zeros((2, 3), np.float32))


def _run(**more: Any) -> Any:
    net = feedback().compile("numpy", dtype="float64")
    return net.run(net.init(0), "h", **arrays(), **more)


def _gradient(instance: Any) -> Any:
    net = feedback().compile("numpy", dtype="float64")
    return net.value_and_grad(net.init(0), [instance], **arrays())


def _probability(value: float) -> Any:
    net = feedback().scheduled({"o": "y"}).compile("numpy", dtype="float64")
    return net.run(net.init(0), "h", seed=0, epsilon=value, **arrays())


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda: feedback().teacher_forced({"q": "y"}), "no variable 'q'"),
        (lambda: feedback().teacher_forced({"o": "z"}), "no truth 'z'"),
        (lambda: feedback().teacher_forced({"o": "x"}), "differ in kind, shape or axes"),
        (lambda: feedback().teacher_forced({"o": "y"}).teacher_forced({"o": "y"}), "never read with a delay"),
        (lambda: feedback().scheduled({"o": "y"}, "x"), "'x' is taken"),
        (lambda: feedback().open_loop({"o": "y"}, 0), "an integer from 1 up"),
        (lambda: feedback().truncated(0), "an integer from 1 up"),
        (lambda: feedback().truncated(2, over=axis("s")[0]), "nothing in template 'feedback' runs along s"),
        (lambda: feedback().truncated(2, sliding=True, over=axis("s")[0]), "runs along s"),
        (lambda: feedback().teacher_forced("o"), 'forced is a dict, {"o": "y"}'),
        (lambda: feedback().scheduled({}), "forced is a dict"),
        (lambda: feedback().truncated(-1, sliding=True), "an integer from 0 up"),
        (lambda: _probability(1.5), "input epsilon holds 1.5, and its values lie from 0 to 1"),
        (lambda: _probability(-0.1), "from 0 to 1"),
        (lambda: _probability(float("nan")), "from 0 to 1"),
        (_only_by_a_draw, "only through a discrete draw"),
        (lambda: _gradient(("h", 8)), "h[8] is requested, and at T = 7 that step does not exist"),
        (lambda: _gradient(("x", 8)), "x[8] is requested"),
        (lambda: _run(clamp={("h", 9): np.zeros((3, 4))}), "h[9] is set, and at T = 7 it lies after the last step"),
        (lambda: _run(clamp={("h", -1): np.zeros((3, 4))}), "that step does not exist"),
        (lambda: _run(clamp={("x", 1): np.zeros((3, 2))}), "x is an input"),
        (lambda: _run(clamp={"h": np.zeros((3, 4))}), "takes a dict from instances"),
        (lambda: _run(clamp={("h", 1): np.zeros((3, 5))}), "do(h[1]) has shape (3, 5)"),
    ],
)
def test_mistakes_are_named(mistake: Any, told: str) -> None:
    with pytest.raises(UnrollError) as caught:
        mistake()
    assert told in str(caught.value)


@pytest.mark.parametrize("seed", [None, -1, 1.5, "a", True])
def test_a_seed_is_asked_for_and_looked_at(seed: Any) -> None:
    g = Template("noisy")
    x = g.input("x")
    g.output("y", ops.normal(x[t], 1.0))
    with pytest.raises(UnrollError, match="seed="):
        g.compile("numpy").run({}, seed=seed, x=np.zeros(3, np.float32))


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan")])
def test_what_is_no_temperature_is_refused(temperature: float) -> None:
    """Divided by 0 the logits are infinities, of which the first would always be drawn."""
    o = Template("draws").input("o", 3)
    with pytest.raises(ValueError, match="above 0"):
        ops.categorical(o[t], temperature)


def test_a_run_is_told_how_many_examples_there_are() -> None:
    g = Template("walk")
    y = g.variable("y", ())
    y[0] = 0.0
    y[t] = ops.normal(y[t - 1], 1.0)
    net = g.compile("numpy")
    many = net.run({}, "y", T=5, batch=3, seed=1)
    assert many.shape == (5, 3)
    assert len(set(many[-1])) == 3
    for wrong in (0, -1, 2.0, "a", True):
        with pytest.raises(UnrollError, match="integer from 1 up"):
            net.run({}, "y", T=5, batch=wrong, seed=1)
    with pytest.raises(UnrollError, match="lengths= has 2 examples, and there are 3"):
        net.run({}, "y", lengths=[5, 4], batch=3, seed=1)
    read = Template("read")
    x = read.input("x")
    read.output("z", x[t] + 1)
    net = read.compile("numpy", dtype="float64")
    with pytest.raises(UnrollError, match="input x holds 2 examples, and there are 1"):
        net.run({}, x=np.zeros((4, 2)), batch=1)


def test_a_draw_from_what_has_no_axis_says_when() -> None:
    g = Template("once")
    m = g.param("m", 2)
    with pytest.raises(UnrollError, match="over=None"):
        ops.normal(m, 1.0)
    assert ops.normal(m, 1.0, over=t).axes
    assert not ops.normal(m, 1.0, over=None).axes


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_that_are_fed_back(backend: str) -> None:
    """Their delays are no way for a gradient; and forcing makes what was alike for all examples differ."""
    g = Template("labels")
    y = g.input("y", dtype="int")
    E, V, W = g.param("E", (3, 4)), g.param("V", (3, 4)), g.param("W", (4, 4))
    h, o, s = g.variable("h", 4), g.variable("o"), g.variable("s", (), dtype="int")
    h[0], s[0] = 0, 1
    h[t] = ops.tanh(W @ h[t - 1] + E[s[t - 1]])
    o[t] = V @ h[t]
    s[t] = ops.argmax(o[t])
    g.output("s", s[t])
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    y = np.random.default_rng(0).integers(0, 3, (6, 2))
    params = g.compile("reference", dtype="float64").init(seed=0)
    for made in (g.teacher_forced({"s": "y"}), g.truncated(2), g.truncated(2, sliding=True), g.scheduled({"s": "y"})):
        more = {"epsilon": 0.5} if "epsilon" in made.system.decls else {}
        results = [
            made.compile(b, dtype="float64").value_and_grad(params, seed=0, y=y, **more) for b in ("reference", backend)
        ]
        close(results[1][1], results[0][1])
