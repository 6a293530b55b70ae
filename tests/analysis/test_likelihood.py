"""Log-probabilities and samples: against each other by listing all sequences, against formulas, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unroll import Template, axis, ops, t
from unroll.analysis import Model
from unroll.errors import (
    ArrayError,
    BackendError,
    CausalityError,
    DTypeError,
    LengthError,
    ShapeError,
    TemplateError,
    UndefinedError,
)

from .models import K, conditional, finished, hidden_markov, markov, model, params_of, rnn, sequences

s, S = axis("s")
BACKENDS = ["reference", "numpy", "native"]
LENGTH, DRAWS = 4, 60_000
CHANCE = 1e-6  # of a sound sampler failing; the seeds are fixed


def net_of(some, backend="numpy", **options):
    return some.compile(backend, **{"dtype": "float64", **options})


def probabilities(some, params, **inputs):
    """The probability of every sequence of the model's one variable, in the order of `sequences`."""
    listed = sequences(K, LENGTH)
    inputs = {n: np.repeat(x[:, None], listed.shape[1], 1) for n, x in inputs.items()}
    return np.exp(net_of(some).log_prob(params, y=listed, **inputs))


def p_value(drawn, expected):
    """Of the chi-squared test that columns of `drawn` are distributed as `expected`, rare sequences taken together."""
    digits = K ** np.arange(LENGTH - 1, -1, -1)
    counts = np.bincount(digits @ drawn, minlength=len(expected))
    rare = expected * drawn.shape[1] < 10
    counts, expected = (np.append(v[~rare], v[rare].sum()) for v in (counts, expected))
    kept = expected > 0
    assert counts[~kept].sum() == 0
    return stats.chisquare(counts[kept], expected[kept] * drawn.shape[1]).pvalue


# -- all sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [rnn, markov], ids=lambda m: m.__name__)
def test_the_probabilities_of_all_sequences_add_up_to_one(make, rng):
    some = make()
    assert abs(probabilities(some, params_of(some, rng)).sum() - 1) < 1e-12


@pytest.mark.parametrize("feedback", [True, False])
def test_they_do_for_every_input(feedback, rng):
    some = conditional(feedback)
    for _ in range(3):
        total = probabilities(some, params_of(some, rng), x=rng.normal(size=(LENGTH, 2))).sum()
        assert abs(total - 1) < 1e-12


@pytest.mark.parametrize("make", [rnn, markov], ids=lambda m: m.__name__)
def test_samples_are_distributed_as_the_probabilities_say(make, rng):
    some = make()
    params = params_of(some, rng)
    expected = probabilities(some, params)
    drawn = net_of(some).sample(params, seed=rng, T=LENGTH, batch=DRAWS)["y"]
    assert p_value(drawn, expected) > CHANCE
    other = probabilities(some, {**params, "V": 0.97 * params["V"]})
    assert p_value(drawn, other) < CHANCE, "the test could not tell a model that is nearly the same"


def test_marginals_of_samples_are_those_of_the_list(rng):
    some = rnn()
    params = params_of(some, rng)
    table = probabilities(some, params).reshape((K,) * LENGTH)
    drawn = net_of(some).sample(params, seed=1, T=LENGTH, batch=DRAWS)["y"]
    bound = np.sqrt(np.log(2 * K * LENGTH / CHANCE) / (2 * DRAWS))  # Hoeffding 1963, for all of them at once
    for step in range(LENGTH):
        marginal = table.sum(tuple(k for k in range(LENGTH) if k != step))
        assert abs(np.bincount(drawn[step], minlength=K) / DRAWS - marginal).max() < bound


def test_samples_follow_the_inputs(rng):
    some, x = conditional(), rng.normal(size=(LENGTH, 2))
    params = params_of(some, rng)
    batch = np.repeat(x[:, None], DRAWS, 1)
    drawn = net_of(some).sample(params, seed=2, x=batch)["y"]
    assert p_value(drawn, probabilities(some, params, x=x)) > CHANCE
    assert p_value(drawn, probabilities(some, params, x=x[::-1])) < CHANCE


def test_a_random_state_is_summed_over_as_by_the_forward_algorithm(rng):
    some = hidden_markov(2)
    params = params_of(some, rng)
    A, B = (np.exp(params[n]) / np.exp(params[n]).sum(1, keepdims=True) for n in "AB")
    states = sequences(2, 4)
    for y in sequences(2, 4).T:
        forward = A[0] * B[:, y[0]]
        for step in y[1:]:
            forward = forward @ A * B[:, step]
        each = net_of(some).log_prob(params, z=states, y=np.repeat(y[:, None], 16, 1))
        assert abs(np.exp(each).sum() - forward.sum()) < 1e-14
    drawn = net_of(some).sample(params, seed=0, T=2, batch=DRAWS)
    pairs = stats.contingency.crosstab(drawn["z"][0], drawn["y"][0]).count
    assert stats.chisquare(pairs.ravel(), DRAWS * (A[0][:, None] * B).ravel()).pvalue > CHANCE


# -- formulas ---------------------------------------------------------------------------------------------------------


def test_it_is_minus_the_usual_loss(rng):
    g = Template("elman")
    x, y = g.input("x", 2), g.input("y", dtype="int")
    h, W, V = g.variable("h", 3), g.param("W", (3, 3)), g.param("V", (K, 3))
    o = g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t][0])
    o[t] = V @ h[t]
    some = model(finished(g, y, o))
    net, params = net_of(some), params_of(some, rng)
    arrays = {"x": rng.normal(size=(5, 4, 2)), "y": rng.integers(0, K, (5, 4))}
    found = net.log_prob(params, **arrays)
    assert found.shape == (4,)
    assert abs(found.mean() + net.loss(params, **arrays)) < 1e-14


def walk(std=0.5):
    g = Template("walk")
    y, m, a = g.input("y", 2), g.variable("m"), g.param("a")
    y[0] = 0
    m[t] = a * y[t - 1]
    told = std
    if std == "s":
        spread = g.variable("s")
        spread[t] = ops.sigmoid(a + y[t - 1]) + 0.1
    return Model(g, {"y": ("normal", "m", told)})


@pytest.mark.parametrize("std", [0.5, "s"])
def test_normal(std, rng):
    some, params = walk(std), {"a": np.array(0.7)}
    y = rng.normal(size=(6, 3, 2))
    before = np.concatenate([np.zeros((1, 3, 2)), y[:-1]])
    spread = 0.1 + 1 / (1 + np.exp(-0.7 - before)) if std == "s" else std
    expected = stats.norm.logpdf(y, 0.7 * before, spread).sum((0, 2))
    assert np.allclose(net_of(some).log_prob(params, y=y), expected, rtol=1e-12, atol=0)
    drawn = net_of(some).sample(params, seed=rng, T=3, batch=5000)["y"]
    before = np.concatenate([np.zeros((1, 5000, 2)), drawn[:-1]])
    spread = 0.1 + 1 / (1 + np.exp(-0.7 - before)) if std == "s" else std
    for step in range(3):
        standard = ((drawn - 0.7 * before) / spread)[step]
        assert stats.kstest(standard.ravel(), "norm").pvalue > CHANCE


def test_bernoulli_with_certain_and_impossible_values(rng):
    g = Template("bits")
    p, q = g.input("p", 3), g.variable("q")
    g.input("z", 3, dtype="bool")
    q[t] = p[t] * 1.0
    some = Model(g, {"z": ("bernoulli", "q")})
    chance = np.array([[[0.0, 0.25, 1.0]]]).repeat(4000, 1)
    drawn = net_of(some, dtype="float32").sample({}, p=chance.astype("f"), seed=rng)["z"]
    assert drawn.dtype == bool
    assert (drawn[..., 0].any(), drawn[..., 2].all()) == (False, True)
    assert stats.binomtest(int(drawn[..., 1].sum()), 4000, 0.25).pvalue > CHANCE
    found = net_of(some).log_prob({}, p=chance[:, :2], z=np.array([[[False, True, True], [True, True, True]]]))
    assert found[0] == pytest.approx(np.log(0.25), rel=1e-15)
    assert found[1] == -np.inf


def test_a_random_context_and_two_axes(rng):
    g = Template("pages")
    z, V, o = g.input("z", 2, over=None), g.param("V", (K, 2)), g.variable("o")
    g.input("y", over=(t, s), dtype="int")
    o[t] = V @ z
    some = Model(g, {"z": ("normal", 0, 1), "y": ("categorical", "o")})
    params = params_of(some, rng)
    drawn = net_of(some).sample(params, T=3, S=2, batch=4, seed=5)
    assert (drawn["z"].shape, drawn["y"].shape) == ((4, 2), (3, 2, 4))
    logits = drawn["z"] @ params["V"].T
    scores = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = stats.norm.logpdf(drawn["z"]).sum(1) + sum(scores[range(4), row] for row in drawn["y"].reshape(6, 4))
    assert np.allclose(net_of(some).log_prob(params, **drawn), expected, rtol=1e-13)


# -- layouts, seeds, backends -----------------------------------------------------------------------------------------


def test_every_backend_gives_the_same(rng):
    some = conditional()
    params, x = params_of(some, rng), rng.normal(size=(5, 3, 2))
    nets = [net_of(some, backend) for backend in BACKENDS]
    drawn = [net.sample(params, seed=7, x=x)["y"] for net in nets]
    assert all(np.array_equal(drawn[0], other) for other in drawn)
    found = [net.log_prob(params, x=x, y=drawn[0]) for net in nets]
    assert all(np.allclose(found[0], other, rtol=1e-13) for other in found)


def test_layouts(rng):
    some = conditional()
    params, x = params_of(some, rng), rng.normal(size=(5, 3, 2))
    drawn = net_of(some).sample(params, seed=7, x=x)["y"]
    first = net_of(some, batch_first=True)
    assert np.array_equal(first.sample(params, seed=7, x=x.swapaxes(0, 1))["y"], drawn.T)
    assert np.allclose(
        first.log_prob(params, x=x.swapaxes(0, 1), y=drawn.T), net_of(some).log_prob(params, x=x, y=drawn)
    )
    alone = net_of(some).sample(params, seed=7, x=x[:, 0])["y"]
    assert alone.shape == (5,)
    assert net_of(some).log_prob(params, x=x[:, 0], y=alone).shape == ()


def test_seeds(rng):
    some = rnn()
    net, params = net_of(some), params_of(some, rng)

    def draw(seed, steps=6):
        return net.sample(params, seed=seed, T=steps, batch=20)["y"]

    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert np.array_equal(draw(3, 4), draw(3)[:4])
    assert np.array_equal(draw(np.random.default_rng(3)), draw(np.random.default_rng(3)))
    again = np.random.default_rng(3)
    assert not np.array_equal(draw(again), draw(again))


def test_no_steps(rng):
    some = rnn()
    params = params_of(some, rng)
    assert net_of(some).sample(params, T=0, batch=2)["y"].shape == (0, 2)
    assert net_of(some).log_prob(params, y=np.zeros((0, 2), int)).tolist() == [0, 0]


def shown(value):
    """A part of a test's name, the same in every process."""
    return str(value).replace("\n", "") if isinstance(value, (dict, str)) else ""


# -- what is refused --------------------------------------------------------------------------------------------------


def small(dtype="int", **more):
    g = Template("m")
    y, x = g.input("y", dtype=dtype, **more), g.input("x", 3)
    W, E, o, u = g.param("W", (3, 3)), g.param("E", (2, 3)), g.variable("o"), g.variable("u")
    o[t] = W @ x[t]
    if dtype == "int" and not more:
        y[0] = 0
        u[t] = E[y[t - 1]]
    else:
        u[t] = x[t][0]
    return g


@pytest.mark.parametrize(
    ("make", "laws", "kind", "words"),
    [
        (small, {}, TemplateError, ["random variables", "{}"]),
        (small, None, TemplateError, ["None"]),
        (small, {"o": ("normal", 0, 1)}, TemplateError, ["o is a variable", "inputs: y, x"]),
        (small, {"W": ("normal", 0, 1)}, TemplateError, ["W is a param", "trained"]),
        (small, {"q": ("normal", 0, 1)}, UndefinedError, ["'q'", "y, x"]),
        (small, {3: ("normal", 0, 1)}, UndefinedError, ["3"]),
        (small, {"y": ("poisson", "o")}, TemplateError, ["poisson", "categorical, bernoulli, normal"]),
        (small, {"y": ()}, TemplateError, ["()", "categorical"]),
        (small, {"y": 4}, TemplateError, ["4", "categorical"]),
        (small, {"y": [["categorical"], "o"]}, TemplateError, ["categorical", "families"]),
        (small, {"y": "categorical"}, TemplateError, ["takes logits", "0 were given"]),
        (small, {"y": ("categorical", "o", "o")}, TemplateError, ["2 were given"]),
        (small, {"y": ("categorical", "z")}, UndefinedError, ["logits 'z'", "template 'm'"]),
        (small, {"y": ("categorical", 2)}, UndefinedError, ["logits 2", "not a name"]),
        (small, {"y": ("categorical", "y")}, DTypeError, ["y is int"]),
        (small, {"y": ("normal", 0, 1)}, DTypeError, ["y is int", 'dtype="float"', "input y"]),
        (small, {"x": ("categorical", "o")}, DTypeError, ["x is float", 'dtype="int"']),
        (small, {"x": ("normal", 0, "E")}, ShapeError, ["(3,)", "(2, 3)"]),
        (small, {"x": ("normal", 0, True)}, UndefinedError, ["std True"]),
        (small, {"y": ("categorical", "o")}, ShapeError, ["3 logits", "indexes 2", "E[y[t-1]]"]),
        (lambda: small("int", shape=2), {"y": ("categorical", "o")}, ShapeError, ["(2, k)", "o has (3,)"]),
        (lambda: small("int", over=None), {"y": ("categorical", "o")}, ShapeError, ["o runs along t", "no axis"]),
        (small, {"x": ("normal", "o", 1)}, CausalityError, ["o depends on itself", "x[t] = normal(o[t], 1)"]),
    ],
    ids=shown,
)
def test_what_is_no_model(make, laws, kind, words):
    with pytest.raises(kind) as caught:
        Model(make(), laws)
    text = str(caught.value)
    assert [w for w in words if w not in text] == []
    assert "test_likelihood.py:" in text
    assert "noise" not in text


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, ArrayError, "input x is missing"),
        ({"T": 3}, ArrayError, "input x is missing"),
        ({"T": 2.5}, LengthError, "T = 2.5"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3, int)}, ArrayError, "y is drawn.*give: x"),
        ({"x": np.zeros((3, 2)), "batch": 2}, ArrayError, "x holds 1 example, and there are 2"),
        ({"x": np.zeros((3, 4, 2)), "batch": 2}, ArrayError, "x holds 4 examples, and there are 2"),
        ({"x": np.zeros((3, 2)), "batch": 0}, ArrayError, "batch=0"),
        ({"x": np.zeros((3, 2)), "batch": 1.5}, ArrayError, "batch=1.5"),
        ({"x": np.zeros((3, 2)), "seed": -1}, ArrayError, "seed="),
        ({"x": np.zeros((3, 5))}, ArrayError, "input x has shape"),
        ({"x": np.zeros((3, 2)), "T": 4}, LengthError, "T = 4"),
        ({"x": np.zeros((3, 2)), "q": 4}, ArrayError, "'q'.*inputs: x"),
    ],
    ids=shown,
)
def test_samples_that_are_refused(options, kind, words):
    some = conditional()
    with pytest.raises(kind, match=words) as caught:
        net_of(some).sample(net_of(some).init(), **options)
    assert "test_likelihood.py:" in str(caught.value)


def test_what_a_net_of_a_model_refuses():
    some = rnn()
    with pytest.raises(ArrayError, match="input y is missing"):
        net_of(some).log_prob(net_of(some).init())
    with pytest.raises(LengthError, match="the length T is unknown"):
        net_of(some).sample(net_of(some).init())
    with pytest.raises(BackendError, match="real numbers"):
        net_of(some, dtype="complex128").sample({}, T=3)


# -- what a template draws itself -------------------------------------------------------------------------------------


def drawn_by_itself(temperature=None):
    """The network `rnn`, in closed loop."""
    g = Template("rnn")
    W, E, V = g.param("W", (4, 4)), g.param("E", (K, 4)), g.param("V", (K, 4))
    h, o, y = g.variable("h", 4), g.variable("o"), g.variable("y", (), dtype="int")
    y[0] = 0
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + E[y[t - 1]])
    o[t] = V @ h[t]
    y[t] = ops.categorical(o[t]) if temperature is None else ops.categorical(o[t], temperature=temperature)
    return Model(g)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_that_are_drawn_have_the_probabilities_of_inputs_that_are_given(backend, rng):
    closed, forced, listed = drawn_by_itself(), rnn(), sequences(K, LENGTH)
    params = params_of(forced, rng)
    found = net_of(closed, backend).log_prob(params, y=listed)
    assert np.allclose(found, net_of(forced, backend).log_prob(params, y=listed), rtol=1e-13)
    assert abs(np.exp(found).sum() - 1) < 1e-12
    assert str(closed.unfold(LENGTH)) == str(forced.unfold(LENGTH))
    assert closed.unfold(LENGTH).parameters("joint") == K**LENGTH - 1


def test_a_sample_is_what_a_run_draws(rng):
    some = drawn_by_itself()
    net, params = net_of(some), params_of(some, rng)
    expected = net.run(params, "y", T=LENGTH, batch=DRAWS, seed=3)
    assert np.array_equal(net.sample(params, T=LENGTH, batch=DRAWS, seed=3)["y"], expected)
    assert p_value(expected, probabilities(some, params)) > CHANCE


def test_the_temperature_of_a_draw_counts(rng):
    cold, plain = drawn_by_itself(0.5), drawn_by_itself()
    params, listed = params_of(plain, rng), sequences(K, LENGTH)
    doubled = {**params, "V": 2 * params["V"]}
    assert np.allclose(net_of(cold).log_prob(params, y=listed), net_of(plain).log_prob(doubled, y=listed), rtol=1e-13)


def test_every_family_is_read_off_and_agrees_with_scipy(rng):
    g = Template("draws")
    x, u, n, b = g.input("x", 2), g.variable("u", 2), g.variable("n", 2), g.variable("b", 2, dtype="bool")
    u[t] = ops.uniform(-1.0, ops.exp(x[t]))
    n[t] = ops.normal(u[t], 0.5)
    b[t] = ops.bernoulli(ops.sigmoid(n[t]))
    some = Model(g)
    assert repr(some).startswith("<Model draws: u ~ uniform(-1.0, exp(x[t])), n ~ normal(u[t], 0.5), b ~ bernoulli(sig")
    x = rng.normal(size=(3, 5, 2))
    drawn = net_of(some).sample({}, x=x, seed=1)
    width, chance = np.exp(x) + 1, 1 / (1 + np.exp(-drawn["n"]))
    expected = stats.uniform.logpdf(drawn["u"], -1, width) + stats.norm.logpdf(drawn["n"], drawn["u"], 0.5)
    expected = (expected + stats.bernoulli.logpmf(drawn["b"], chance)).sum((0, 2))
    assert np.allclose(net_of(some).log_prob({}, x=x, **drawn), expected, rtol=1e-12)
    outside = {**drawn, "u": drawn["u"] + 100}
    assert np.isneginf(net_of(some).log_prob({}, x=x, **outside)).all()


def test_examples_of_their_own_lengths(rng):
    some = rnn()
    net, params, y = net_of(some), params_of(some, rng), rng.integers(0, K, (5, 3))
    alone = [net.log_prob(params, y=y[:n, b]) for b, n in enumerate([5, 0, 2])]
    assert np.allclose(net.log_prob(params, y=y, lengths=[5, 0, 2]), alone, rtol=1e-13)


def test_one_mask_for_all_steps_joins_them():
    def masked(over):
        g = Template("masked")
        y, o, a = g.variable("y", (), dtype="bool"), g.variable("o", ()), g.param("a")
        o[t] = ops.dropout(a, 0.5, over=over)
        y[t] = ops.bernoulli(ops.sigmoid(o[t]))
        return Model(g).unfold(3)

    assert masked(t).independent(("y", 1), ("y", 3))
    answer = masked(None).independent(("y", 1), ("y", 3))
    assert [str(n) for n in answer.path] == ["y[1]", "o[1]", "noise1", "o[3]", "y[3]"]
    with pytest.raises(TemplateError, match="no distribution"):
        masked(t).parameters("conditional")
