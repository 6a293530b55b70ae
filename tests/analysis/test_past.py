"""Samples given a past: exact where nothing observed depends on what is drawn, and refused, by name, where it does."""

from __future__ import annotations

import math
import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from unroll import T, Template, axis, ops, t
from unroll.analysis import Model
from unroll.errors import ArrayError, LengthError, UndefinedError

from .models import K, conditional, hidden_markov, params_of, rnn, sequences
from .random_models import lengths_of, random_template
from .test_random_models import BATCH, OTHER, STEPS, setting

s, S = axis("s")
BACKENDS = ["reference", "numpy", "native"]
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)
CHANCE = 1e-4
"""Below this p-value a correct program fails once in ten thousand seeds; seeds are fixed."""


def net_of(model: Model, backend: str = "numpy", **options: Any) -> Any:
    return model.compile(backend, dtype="float64", **options)


def walk(decay: float = 0.8, deviation: float = 1.0) -> Model:
    g = Template("walk")
    y, m = g.input("y"), g.variable("m", ())
    y[0] = 0
    m[t] = decay * y[t - 1]
    return Model(g, {"y": ("normal", "m", deviation)})


def state_space() -> Model:
    """A linear Gaussian state z of two parts, and a noisy view y of it."""
    g = Template("state space")
    A, C = g.param("A", (2, 2)), g.param("C", (3, 2))
    z, y = g.variable("z", 2), g.variable("y", 3)
    z[0] = 0
    z[t] = ops.normal(A @ z[t - 1], 0.5)
    y[t] = ops.normal(C @ z[t], 0.3)
    return Model(g)


# -- the distribution of what is not observed -------------------------------------------------------------------------


@on_every_backend
@pytest.mark.parametrize("known", [0, 1, 3])
def test_labels_have_the_conditional_distribution_by_enumeration(backend: str, known: int) -> None:
    """P(y | y[1..k]) is P(y) over the sum of those of all sequences that begin so."""
    rng, length, count = np.random.default_rng(known), 4, 20_000 if backend != "reference" else 1500
    model = rnn()
    net, params = net_of(model, backend), params_of(model, rng)
    past, listed = rng.integers(0, K, known), sequences(K, length)
    joint = np.exp(net_of(model).log_prob(params, y=listed))
    fits = (past == listed[:known].T).all(1)
    drawn = net.sample(params, T=length, batch=count, seed=5, observed={"y": past})["y"]
    assert (drawn[:known] == past[:, None]).all()
    which = (drawn * K ** np.arange(length)[::-1, None]).sum(0)
    found = np.bincount(which, minlength=K**length)
    assert found[~fits].sum() == 0
    assert agreement(found[fits], joint[fits] / joint[fits].sum()) > CHANCE


def agreement(found: np.ndarray, chances: np.ndarray) -> float:
    """The p-value of counts under probabilities; what is expected less than five times is one class."""
    rare = chances * found.sum() < 5
    pooled = [np.append(v[~rare], v[rare].sum()) for v in (found, chances * found.sum())]
    kept = pooled[1] > 0
    return float(stats.chisquare(pooled[0][kept], pooled[1][kept]).pvalue)


def test_a_hidden_state_that_is_observed_and_its_view() -> None:
    """Given z[1..2] and y[1], y[2] and all of step 3 are drawn: by enumeration again."""
    rng, length, count = np.random.default_rng(3), 3, 20_000
    model = hidden_markov()
    net, params = net_of(model), params_of(model, rng)
    z, y = np.array([1, 0]), np.array([1])
    drawn = net.sample(params, T=length, batch=count, seed=1, observed={"z": z, "y": y})
    assert (drawn["z"][:2] == z[:, None]).all()
    assert (drawn["y"][:1] == y[:, None]).all()
    every = np.array(list(product(range(2), repeat=2 * length))).T
    joint = np.exp(net.log_prob(params, z=every[:length], y=every[length:]))
    fits = (every[:2] == z[:, None]).all(0) & (every[length] == y[0])
    which = (np.concatenate([drawn["z"], drawn["y"]]) * 2 ** np.arange(2 * length)[::-1, None]).sum(0)
    found = np.bincount(which, minlength=2 ** (2 * length))
    assert agreement(found[fits], joint[fits] / joint[fits].sum()) > CHANCE
    assert found[fits].sum() == count


@on_every_backend
def test_a_forecast_of_a_linear_gaussian_model_is_its_closed_form(backend: str) -> None:
    """Given z[3] the steps after it are jointly normal: mean C A^k z[3], covariances from the recursion of Kalman."""
    rng, count = np.random.default_rng(0), 40_000 if backend != "reference" else 1000
    model = state_space()
    params = {"A": np.array([[0.9, 0.3], [-0.2, 0.7]]), "C": rng.normal(size=(3, 2))}
    past = net_of(model).sample(params, T=3, seed=7)
    drawn = net_of(model, backend).sample(params, T=5, batch=count, seed=1, observed=past)
    assert all((drawn[name][:3] == past[name][:, None]).all() for name in ("z", "y"))
    A, C = params["A"], params["C"]
    mean, cov = past["z"][2], np.zeros((2, 2))
    for k in (3, 4):
        mean, cov = A @ mean, A @ cov @ A.T + 0.25 * np.eye(2)
        seen, wanted = drawn["y"][k], C @ cov @ C.T + 0.09 * np.eye(3)
        for i in range(3):
            assert stats.kstest(seen[:, i], stats.norm(C[i] @ mean, math.sqrt(wanted[i, i])).cdf).pvalue > CHANCE
        white = np.linalg.solve(np.linalg.cholesky(wanted), (seen - C @ mean).T)  # independent and standard
        assert stats.kstest((white**2).sum(0), stats.chi2(3).cdf).pvalue > CHANCE
    both = np.cov(drawn["z"][3, :, 0], drawn["z"][4, :, 0])[0, 1]
    assert both == pytest.approx(0.25 * A[0, 0], abs=6 * 0.25 / math.sqrt(count))


@on_every_backend
def test_a_sample_given_its_own_beginning_is_itself(backend: str) -> None:
    """Draws are those of the seed, step and example, whatever is observed: bit for bit."""
    for model in (rnn(), conditional(), hidden_markov(), state_space()):
        rng = np.random.default_rng(1)
        net, params = net_of(model, backend), params_of(model, rng)
        given = {"x": rng.normal(size=(5, 4, 2))} if model.given else {"T": 5, "batch": 4}
        whole = net.sample(params, seed=3, **given)
        for k in (0, 1, 4, 5):
            again = net.sample(params, seed=3, observed={n: v[:k] for n, v in whole.items()}, **given)
            assert all(np.array_equal(whole[n], again[n]) for n in whole)
            assert list(again) == list(whole)


# -- what may be observed: by the graph, node by node -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_what_is_refused_is_what_depends_on_something_unobserved_in_the_graph(seed: int) -> None:
    """Random models with random instances observed, against the unfolded graph, whose parents are listed one by one."""
    rng = np.random.default_rng(seed)
    made = random_template(rng)
    model, (params, arrays) = Model(made.template), setting(made.template, rng)
    net, bayes = model.compile("numpy", dtype="float64"), model.unfold(**lengths_of(made.template, arrays))
    whole = net.sample(params, seed=3, batch=BATCH, **arrays)
    nodes = sorted(bayes.random)
    closed = rng.random() < 0.5
    seen = {n for n in nodes if rng.random() < 0.5}
    above = {n: _random_parents(bayes, n) for n in nodes}
    if closed:  # only what depends on nothing else that is random
        for n in bayes.parents:
            if n in seen and not above[n] <= seen:
                seen.discard(n)
    observed = {(n.name, *n.steps) if n.steps else n.name: _value(model, whole, n) for n in seen}
    faulty = {(str(n), str(p)) for n in seen for p in above[n] - seen}
    if not faulty:
        again = net.sample(params, seed=3, batch=BATCH, observed=observed, **arrays)
        assert all(np.array_equal(whole[n], again[n]) for n in whole)
        return
    with pytest.raises(ArrayError) as caught:
        net.sample(params, seed=3, batch=BATCH, observed=observed, **arrays)
    found = re.match(r"(.*) is observed and depends on (.*), which is not, in example 0\.", str(caught.value))
    assert found is not None
    assert found.groups() in faulty


def _random_parents(bayes: Any, node: Any) -> set[Any]:
    """The random variables that one depends on through deterministic ones."""
    found, pending = set(), [node]
    while pending:
        for parent in bayes.parents[pending.pop()]:
            if parent in bayes.random:
                found.add(parent)
            elif parent in bayes.parents:
                pending.append(parent)
    return found


def _value(model: Model, whole: dict[str, Any], node: Any) -> Any:
    for key, law in model.random.items():
        if law.out.name == node.name:
            fixed = [(i, k) for i, k in zip(law.out.index, node.steps, strict=True) if not i.runs]
            if all(i.shift == k for i, k in fixed) and (fixed or 0 not in node.steps):
                running = [k for i, k in zip(law.out.index, node.steps, strict=True) if i.runs]
                return whole[key][tuple(k - 1 for k in running)]
    raise AssertionError(node)


def test_the_sizes_of_the_random_models_are_those_of_these_tests() -> None:
    assert (STEPS, OTHER, BATCH) == (3, 2, 4)


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        ({("y", 3): 1.0}, "y[3] is observed and depends on y[2], which is not. A sample is drawn step by step"),
        ({"y": [1.0, np.nan, 2.0]}, "y[3] is observed and depends on y[2], which is not."),
        ({("y", 1): 1.0, ("y", 4): 2.0}, "y[4] is observed and depends on y[3], which is not."),
    ],
)
def test_a_future_is_refused_by_name(observed: Any, words: str) -> None:
    with pytest.raises(ArrayError, match=re.escape(words)) as caught:
        net_of(walk()).sample({}, T=5, observed=observed)
    assert "test_past.py:" in str(caught.value)
    assert "takes inference. Observe" in str(caught.value)


def test_a_view_of_a_state_that_is_not_observed_is_refused() -> None:
    net, params = net_of(state_space()), {"A": np.eye(2), "C": np.ones((3, 2))}
    with pytest.raises(ArrayError, match=r"y\[1\] is observed and depends on z\[1\], which is not\."):
        net.sample(params, T=3, observed={"y": np.zeros((2, 3))})
    with pytest.raises(ArrayError, match=r"y\[1\] is observed and depends on z\[1\], which is not, in example 1\."):
        net.sample(params, T=3, observed={"y": np.zeros((1, 2, 3)), "z": np.array([[[0.0, 0], [0, np.nan]]])})


def test_numbers_that_no_one_can_tell_are_refused() -> None:
    g = Template("dropped")
    y, h = g.variable("y", ()), g.variable("h", ())
    y[0] = 0
    h[t] = ops.dropout(y[t - 1] + 1.0, 0.5)
    y[t] = ops.normal(h[t], 1.0)
    with pytest.raises(ArrayError, match=r"y\[1\] is observed and depends on h\[1\], which draws numbers of its own"):
        net_of(Model(g)).sample({}, T=3, observed={"y": [1.0]})
    trained = net_of(Model(g.inference())).sample({}, T=3, observed={"y": [1.0]})
    assert trained["y"][0] == 1.0


# -- how it may be told ----------------------------------------------------------------------------------------------


def test_ways_to_tell_a_past() -> None:
    net, past = net_of(walk()), np.array([1.0, 2.0, 3.0])
    wanted = net.sample({}, T=5, seed=2, observed={"y": past})["y"]
    assert wanted.shape == (5,)
    for same in (
        {"y": [*past, np.nan, np.nan]},
        {"y": list(past)},
        {("y", k): v for k, v in enumerate(past, start=1)},
        {"y": past[:2], ("y", 3): 3.0},
        {"y": [*past, np.inf]},  # is no number either
    ):
        assert np.array_equal(net.sample({}, T=5, seed=2, observed=same)["y"], wanted)
    for nothing in ({}, {"y": []}, {"y": [np.nan] * 5}):
        assert np.array_equal(net.sample({}, T=5, seed=2, observed=nothing)["y"], net.sample({}, T=5, seed=2)["y"])
    assert np.array_equal(net.sample({}, T=3, seed=2, observed={"y": past})["y"], past)
    assert net.sample({}, T=0, seed=2, observed={"y": past[:0]})["y"].shape == (0,)


def test_one_past_for_many_and_one_for_each() -> None:
    net = net_of(walk())
    many = net.sample({}, T=4, batch=3, observed={"y": [5.0]})["y"]
    assert (many[0] == 5.0).all()
    assert len(set(many[1])) == 3
    each = net.sample({}, T=4, observed={"y": [np.array([1.0, 2.0]), np.array([7.0])]})["y"]
    assert each.shape == (4, 2)
    assert (list(each[:2, 0]), each[0, 1]) == ([1.0, 2.0], 7.0)
    gaps = net.sample({}, T=4, observed={"y": np.array([[1.0, 7.0], [2.0, np.nan]])})["y"]
    assert np.array_equal(gaps, each)
    first = net_of(walk(), batch_first=True)
    turned = first.sample({}, T=4, observed={"y": np.array([[1.0, 2.0], [7.0, np.nan]])})["y"]
    assert np.array_equal(turned, each.T)


def test_elements_of_a_vector_one_by_one() -> None:
    """Elements are independent given their parents; one that is not observed may have nothing observed after it."""
    net, params = net_of(state_space()), {"A": np.eye(2), "C": np.ones((3, 2))}
    drawn = net.sample(params, T=2, batch=500, seed=0, observed={("z", 1): [1.0, np.nan]})["z"]
    assert (drawn[0, :, 0] == 1.0).all()
    assert stats.kstest(drawn[0, :, 1], stats.norm(0, 0.5).cdf).pvalue > CHANCE
    with pytest.raises(ArrayError, match=r"z\[2\] is observed and depends on z\[1\], which is not"):
        net.sample(params, T=2, observed={("z", 1): [1.0, np.nan], ("z", 2): [1.0, 1.0]})


def test_boundaries_other_axes_and_what_has_no_steps() -> None:
    g = Template("edges")
    x, y, r, c = g.input("x", over=s), g.variable("y", ()), g.variable("r", ()), g.variable("c", (), dtype="bool")
    c[()] = ops.bernoulli(0.0 * g.param("w") + 0.5, over=None)
    y[s, 0] = ops.normal(x[s], 2.0)
    y[s, t] = ops.normal(y[s, t - 1], 1.0)
    r[T + 1] = ops.normal(ops.cast(c), 3.0, over=None)
    r[t] = ops.normal(0.5 * r[t + 1], 1.0)
    model = Model(g)
    assert list(model.random) == ["y[s, 0]", "y", "r[T+1]", "r", "c"]
    net, given = net_of(model), {"x": np.array([1.0, -2.0]), "T": 3, "seed": 3}
    whole = net.sample({"w": 0.0}, **given)
    assert all(np.array_equal(v, whole[n]) for n, v in net.sample({"w": 0.0}, observed=whole, **given).items())
    told = {"c": True, "y[s, 0]": whole["y[s, 0]"], ("y", 2, 1): 9.0, "r[T+1]": -4.0, ("r", 3): 2.5}
    drawn = net.sample({"w": 0.0}, observed=told, **given)
    assert (drawn["c"], drawn["y"][1, 0], drawn["r[T+1]"], drawn["r"][2]) == (True, 9.0, -4.0, 2.5)
    assert np.array_equal(drawn["y"][0], whole["y"][0])
    with pytest.raises(ArrayError, match=r"y\[2, 1\] is observed and depends on y\[2, 0\], which is not"):
        net.sample({"w": 0.0}, observed={("y", 2, 1): 9.0}, **given)
    with pytest.raises(ArrayError, match=r"r\[1\] is observed and depends on r\[2\], which is not"):
        net.sample({"w": 0.0}, observed={"r": [1.0]}, **given)


def test_an_input_of_that_name_goes_before() -> None:
    g = Template("taken")
    y, x, m = g.input("y"), g.input("observed"), g.variable("m", ())
    m[t] = 1.0 * x[t]
    net = net_of(Model(g, {"y": ("normal", "m", 1e-9)}))
    np.testing.assert_allclose(net.sample({}, observed=np.array([1.0, 2.0]))["y"], [1, 2], atol=1e-6)
    assert y.name == "y"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"observed": np.zeros(3)}, ArrayError, 'observed= takes a dict .*{"y": Y.*; got a ndarray'),
        ({"observed": {"m": [1.0]}}, UndefinedError, "observed names 'm', and the random variables are y"),
        ({"observed": {("m", 1): 1.0}}, UndefinedError, "the random variables are y"),
        ({"observed": {("y", 0): 1.0}}, LengthError, "observed has y at step 0, and the steps run from 1 to 5"),
        ({"observed": {("y", 6): 1.0}}, LengthError, "observed has y at step 6, and the steps run from 1 to 5"),
        ({"observed": {("y", 1, 1): 1.0}}, UndefinedError, "the random variables are y"),
        ({"observed": {("y", 1.5): 1.0}}, UndefinedError, "a step is an integer, got 1.5"),
        ({"observed": {"y": np.zeros(6)}}, LengthError, "observed y has 6 steps along t, and T = 5"),
        ({"observed": {"y": np.zeros((2, 3, 4))}}, ArrayError, r"y has shape \(2, 3, 4\), expected \(T, B\)"),
        ({"observed": {"y": np.zeros((2, 3))}, "batch": 4}, ArrayError, "observed y has 3, batch= has 4"),
        ({"observed": {"y": np.zeros(2)}, "T": None}, LengthError, "the length T is unknown: pass T="),
        ({"y": np.zeros(3)}, ArrayError, "y is drawn, and was given too.*What is known of it goes into observed="),
    ],
)
def test_what_is_refused(options: Any, kind: type[Exception], words: str) -> None:
    lengths = {} if options.get("T", 5) is None else {"T": 5}
    with pytest.raises(kind, match=words) as caught:
        net_of(walk()).sample({}, **{**lengths, **{n: v for n, v in options.items() if n != "T"}})
    assert "test_past.py:" in str(caught.value)


def test_labels_are_looked_at() -> None:
    model = rnn()
    params = params_of(model, np.random.default_rng(0))
    for wrong in (-1, K):
        with pytest.raises(ArrayError, match=f"observed y holds the label {wrong}, and labels run from 0 to {K - 1}"):
            net_of(model).sample(params, T=4, observed={"y": [0, wrong]})
    with pytest.raises(ArrayError, match="dtype='int', and holds"):
        net_of(model).sample(params, T=4, observed={"y": [0.5]})
