"""What a template draws itself is found and counted once, whatever it went through; families mean what draws mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from unroll import T, Template, axis, ops, t
from unroll.analysis import Model
from unroll.errors import TemplateError, UndefinedError

s, S = axis("s")
BACKENDS = ["reference", "numpy", "native"]
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)


def net_of(model: Model, backend: str = "numpy") -> Any:
    return model.compile(backend, dtype="float64")


def walk() -> Template:
    """Y is a random walk on dropped inputs, and z an input."""
    g = Template("walk")
    x, y = g.input("x"), g.variable("y", ())
    g.input("z")
    m = g.variable("m", ())
    y[0] = 0
    y[t] = ops.normal(0.5 * y[t - 1] + ops.dropout(x[t], 0.5), 1.0)
    m[t] = 0.3 * y[t]
    g.loss = ops.sum(m[t], over=t)
    return g


Y = np.array([0.4, -0.3, 1.2])
STEP = stats.norm.logpdf(Y, 0.5 * np.array([0, *Y[:-1]]))  # without inputs
Z = np.array([0.1, 0.2, -2.0])
TOLD = stats.norm.logpdf(Z, 0.3 * Y)


@on_every_backend
def test_without_dropout_the_draws_are_still_there(backend: str) -> None:
    told = {"z": ("normal", "m", 1.0)}
    for model, more in ((Model(walk().inference()), 0.0), (Model(walk().inference(), told), TOLD.sum())):
        assert ("y" in model.random, model.given) == (True, ("x",) if more else ("x", "z"))
        given = {"x": np.zeros(3), "y": Y, "z": Z}
        assert net_of(model, backend).log_prob({}, **given) == pytest.approx(STEP.sum() + more, rel=1e-13)
        assert net_of(model, backend).log_prob({}, seed=4, **given) == pytest.approx(STEP.sum() + more, rel=1e-13)
        assert str(model.unfold(2)).startswith("P(y[1] | x[1]) ")


@on_every_backend
def test_what_is_set_is_not_counted(backend: str) -> None:
    """Nor is it read: the value that it is set to holds, in the array that tells the others too."""
    y = np.array([9.0, *Y[1:]])
    for g in (walk().inference().clamped(("y", 1)), walk().clamped(("y", 1)).inference()):
        net = net_of(Model(g), backend)
        found = net.log_prob({}, x=np.zeros(3), z=Z, y=y, **{"do(y[1])": Y[0]})
        assert found == pytest.approx(STEP[1:].sum(), rel=1e-13)
        drawn = net.sample({}, x=np.zeros(3), z=Z, seed=1, **{"do(y[1])": 2.0})["y"]
        assert drawn[0] == 2.0
    middle = Model(walk().inference().clamped(("y", 2)))
    found = net_of(middle, backend).log_prob({}, x=np.zeros(3), z=Z, y=Y, **{"do(y[2])": 0.7})
    want = stats.norm.logpdf(Y[0]) + stats.norm.logpdf(Y[2], 0.35)
    assert found == pytest.approx(want, rel=1e-13)
    assert str(middle.unfold(3)) == "P(y[1] | x[1]) P(y[3] | x[3], do(y[2]))"


@on_every_backend
def test_a_drawn_boundary_counts(backend: str) -> None:
    g = Template("chain")
    c, A = g.param("c", 3), g.param("A", (3, 3))
    y, o = g.variable("y", (), dtype="int"), g.variable("o")
    y[0] = ops.categorical(c, over=None)
    o[t] = A[y[t - 1]]
    y[t] = ops.categorical(o[t])
    model, rng = Model(g), np.random.default_rng(0)
    assert repr(model) == "<Model chain: y[0] ~ categorical(c, over=None), y ~ categorical(o[t])>"
    params = {"c": rng.normal(size=3), "A": rng.normal(size=(3, 3))}
    net = net_of(model, backend)
    start, rows = (np.exp(v) / np.exp(v).sum(-1, keepdims=True) for v in (params["c"], params["A"]))
    every = np.array(np.meshgrid(*[range(3)] * 3)).reshape(3, -1)
    found = np.exp(net.log_prob(params, y=every[1:], **{"y[0]": every[0]}))
    np.testing.assert_allclose(found, start[every[0]] * rows[every[0], every[1]] * rows[every[1], every[2]], rtol=1e-13)
    assert found.sum() == pytest.approx(1, rel=1e-13)
    assert str(model.unfold(2)) == "P(y[0]) P(y[1] | y[0]) P(y[2] | y[1])"
    assert model.unfold(2).parameters("joint") == 26
    assert model.unfold(2).parameters("conditional") == 2 + 6 + 6
    drawn = net.sample(params, T=2, batch=5000 if backend != "reference" else 200, seed=1)
    assert list(drawn) == ["y[0]", "y"]
    assert stats.chisquare(np.bincount(drawn["y[0]"], minlength=3), start * len(drawn["y[0]"])).pvalue > 1e-6
    assert net.log_prob(params, **drawn).shape == drawn["y[0]"].shape
    for name in ("y[0]", "noise1"):
        with pytest.raises(UndefinedError, match=r"there is no input .* its inputs: none"):
            Model(g, {name: ("uniform", 0, 1)})


@on_every_backend
def test_a_boundary_along_another_axis_and_after_the_last_step(backend: str) -> None:
    g = Template("edges")
    x, y, r = g.input("x", over=s), g.variable("y", ()), g.variable("r", ())
    y[s, 0] = ops.normal(x[s], 2.0)
    y[s, t] = ops.normal(y[s, t - 1], 1.0)
    r[T + 1] = ops.normal(0.0 * g.param("w"), 3.0, over=None)
    r[t] = ops.normal(0.5 * r[t + 1], 1.0)
    model = Model(g)
    assert list(model.random) == ["y[s, 0]", "y", "r[T+1]", "r"]
    net, x = net_of(model, backend), np.array([1.0, -2.0, 0.5])
    drawn = net.sample({"w": 0.0}, x=x, T=2, seed=3)
    assert {n: v.shape for n, v in drawn.items()} == {"y[s, 0]": (3,), "y": (3, 2), "r[T+1]": (), "r": (2,)}
    first, y, end, r = drawn.values()
    want = stats.norm.logpdf(first, x, 2).sum() + stats.norm.logpdf(y, np.stack([first, y[:, 0]], 1)).sum()
    want += stats.norm.logpdf(end, 0, 3) + stats.norm.logpdf(r, 0.5 * np.array([r[1], end])).sum()
    assert net.log_prob({"w": 0.0}, x=x, **drawn) == pytest.approx(want, rel=1e-13)
    assert "P(r[3])" in str(model.unfold(T=2, S=3))


def once(shape: Any = (), over: Any = ...) -> Template:
    g = Template("once")
    x, y = g.input("x"), g.variable("y", shape)
    y[t] = ops.normal(x[t], 1.0, over=over)
    return g


def along_both() -> Template:
    g = Template("both")
    x, y = g.input("x"), g.variable("y", ())
    y[t, s] = ops.normal(x[t], 1)
    return g


def set_and_shared() -> Template:
    g = Template("shared")
    x, y, z = g.input("x"), g.variable("y", ()), g.variable("z", ())
    d = ops.normal(x[t], 1.0)
    y[t], z[t] = d, 2 * d
    return g.clamped(("y", 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: once(3), "y[t] is one draw for all elements of y, whose shape is (3,)"),
        (lambda: once(over=None), "y[t] is one draw for every t"),
        (along_both, "y[t, s] is one draw for every s"),
        (set_and_shared, "y[t] is one draw and z[t] reads it too"),
    ],
    ids=["shape", "over", "axes", "shared"],
)
def test_one_draw_is_one_random_element(make: Any, words: str) -> None:
    """Where it would be several, the model says how to write what is meant."""
    with pytest.raises(TemplateError) as caught:
        Model(make())
    assert str(caught.value).startswith(words)
    assert "test_draws.py:" in str(caught.value)
    assert "ops.broadcast_to(m[t], shape), over= all of its axes" in str(caught.value)
    assert str(caught.value).endswith("Or give the draw a variable of its own, and read that.")


@pytest.mark.parametrize("make", [lambda g: g.adjoint("y"), lambda g: g.truncated(1, sliding=True).adjoint("y")])
def test_an_adjoint_is_no_model(make: Any) -> None:
    with pytest.raises(TemplateError, match=r"(?s)holds cotangents, such as .*before its adjoint is taken"):
        Model(make(walk()))


@on_every_backend
def test_and_so_mended_it_is_counted_as_often_as_it_is_drawn(backend: str) -> None:
    g = Template("apart")
    x, y, z, d, w = (g.input("x"), *(g.variable(n, k) for n, k in (("y", 3), ("z", ()), ("d", ()), ("w", 3))))
    y[t] = ops.normal(ops.broadcast_to(x[t], 3), 1.0)
    z[t, s] = ops.normal(x[t], 1.0, over=(t, s))
    d[t] = ops.normal(x[t], 1.0)
    w[t] = d[t]
    model = Model(g)
    assert list(model.random) == ["y", "z", "d"]
    net, at = net_of(model, backend), np.array([[0.3, 1.0], [2.0, -1.0]])
    drawn = net.sample({}, x=at, S=4, seed=0)
    assert [np.unique(drawn[n]).size for n in ("y", "z", "d")] == [12, 16, 4]
    terms = (drawn["y"] - at[..., None]).reshape(2, 2, 3), drawn["z"] - at[:, None], (drawn["d"] - at)
    want = stats.norm.logpdf(terms[0]).sum((0, 2)) + stats.norm.logpdf(terms[1]).sum((0, 1))
    want = want + stats.norm.logpdf(terms[2]).sum(0)
    np.testing.assert_allclose(net.log_prob({}, x=at, **drawn), want, rtol=1e-13)


@on_every_backend
def test_one_draw_of_two_variables_is_the_first_which_the_other_reads(backend: str) -> None:
    g = Template("shared")
    x, y, z, h = g.input("x"), g.variable("y", ()), g.variable("z", ()), g.variable("h", ())
    d = ops.normal(x[t], 1.0)
    y[t], z[t] = d, d
    h[0] = 0
    h[t] = ops.tanh(h[t - 1] + d)
    g.input("e")
    model = Model(g, {"e": ("normal", "h", 1)})
    assert list(model.random) == ["e", "y"]
    assert str(model.unfold(1)) == "P(y[1] | x[1]) P(e[1] | y[1])"
    e, at = np.array([0.1, 0.7, 0.2]), np.array([1.0, 0.0, -1.0])
    want, state = stats.norm.logpdf(Y, at).sum(), 0.0
    for step in range(3):
        state = np.tanh(state + Y[step])
        want += stats.norm.logpdf(e[step], state)
    assert net_of(model, backend).log_prob({}, x=at, y=Y, e=e) == pytest.approx(want, rel=1e-13)
    drawn = g.compile(backend, dtype="float64").run({}, ["y", "z"], x=at, seed=0)
    np.testing.assert_array_equal(drawn["y"], drawn["z"])


@on_every_backend
def test_names_that_the_model_would_give(backend: str) -> None:
    g = Template("names")
    x, y, odd = g.input("x"), g.variable("y", ()), [g.variable(n, ()) for n in ("log_prob", "y'", "y[0]")]
    y[0] = ops.normal(0.0 * g.param("p"), 1.0, over=None)
    y[t] = ops.normal(y[t - 1], 1.0)
    for v in odd:
        v[t] = 2 * x[t] + y[t]
    model = Model(g)
    assert list(model.random) == ["y[0]_2", "y"]
    found = net_of(model, backend).log_prob({"p": 0.0}, x=np.zeros(3), y=Y, **{"y[0]_2": 0.5})
    want = stats.norm.logpdf(0.5) + stats.norm.logpdf(Y - np.array([0.5, *Y[:-1]])).sum()
    assert found == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("steps", [0, 1])
def test_few_steps_and_examples_of_their_own_lengths(steps: int) -> None:
    g = Template("start")
    y, w = g.variable("y", ()), g.param("w")
    y[0] = ops.normal(w, 2.0, over=None)
    y[t] = ops.normal(y[t - 1], 1.0)
    net, rng = net_of(Model(g)), np.random.default_rng(0)
    params, first, y = {"w": np.array(0.5)}, rng.normal(size=3), rng.normal(size=(4, 3))
    start = stats.norm.logpdf(first, 0.5, 2)
    found = net.log_prob(params, y=y[:steps], **{"y[0]": first})
    np.testing.assert_allclose(found, start + stats.norm.logpdf(y[:steps] - first).sum(0), rtol=1e-13)
    lengths = [4, steps, 2]
    moves = stats.norm.logpdf(np.diff(np.concatenate([first[None], y]), axis=0))
    want = start + [moves[:n, b].sum() for b, n in enumerate(lengths)]
    np.testing.assert_allclose(net.log_prob(params, y=y, lengths=lengths, **{"y[0]": first}), want, rtol=1e-13)


# -- families ---------------------------------------------------------------------------------------------------------


@on_every_backend
def test_parameters_may_be_integers(backend: str) -> None:
    g = Template("integers")
    g.input("u", 2), g.input("b", dtype="bool"), g.input("n")
    some = Model(g, {"u": ("uniform", 0, 2), "b": ("bernoulli", 1), "n": ("normal", 1, 2)})
    assert repr(some) == "<Model integers: u ~ uniform(0, 2), b ~ bernoulli(1), n ~ normal(1, 2)>"
    net = net_of(some, backend)
    drawn = net.sample({}, T=4, batch=3, seed=0)
    assert drawn["b"].all()
    want = 8 * np.log(0.5) + stats.norm.logpdf(drawn["n"], 1, 2).sum(0)
    np.testing.assert_allclose(net.log_prob({}, **drawn), want, rtol=1e-13)
    assert np.isneginf(net.log_prob({}, **{**drawn, "b": ~drawn["b"]})).all()


@on_every_backend
def test_a_probability_beyond_its_bounds_counts_as_the_draw_takes_it(backend: str) -> None:
    g = Template("beyond")
    p, b = g.input("p"), g.variable("b", (), dtype="bool")
    b[t] = ops.bernoulli(p[t])
    net, p = net_of(Model(g), backend), np.array([1.5, -0.5, 0.3])
    drawn = net.sample({}, p=p, seed=0)["b"]
    assert drawn[:2].tolist() == [True, False]
    assert net.log_prob({}, p=p, b=np.array([True, False, True])) == pytest.approx(np.log(0.3), rel=1e-14)
    for wrong in ([False, False, True], [True, True, True]):
        assert net.log_prob({}, p=p, b=np.array(wrong)) == -np.inf


@on_every_backend
def test_ends_in_either_order_and_deviations_of_either_sign(backend: str) -> None:
    g = Template("signs")
    a, u, n = g.input("a"), g.variable("u", ()), g.variable("n", ())
    u[t] = ops.uniform(a[t], 1.0)
    n[t] = ops.normal(0.0, a[t])
    net, a = net_of(Model(g), backend), np.array([3.0, -2.0])
    drawn = net.sample({}, a=a, seed=0)
    assert 1 < drawn["u"][0] <= 3
    assert -2 <= drawn["u"][1] < 1
    want = -np.log(2 * 3) + stats.norm.logpdf(drawn["n"], 0, abs(a)).sum()
    assert net.log_prob({}, a=a, **drawn) == pytest.approx(want, rel=1e-13)


def test_a_float32_sample_is_never_impossible() -> None:
    g = Template("ends")
    g.input("u", 1000)
    net = Model(g, {"u": ("uniform", 1000, 1001)}).compile("numpy")
    drawn = net.sample({}, T=1000, seed=0)
    assert drawn["u"].max() < 1001
    assert net.log_prob({}, **drawn) == 0


@pytest.mark.parametrize("law", [ops.categorical, ops.bernoulli], ids=["categorical", "bernoulli"])
def test_a_variable_of_floats_that_draws_labels_is_refused(law: Any) -> None:
    """Its cast would leave the draw without a name, and the likelihood without its term."""

    def drawn(**kind: str) -> Template:
        g = Template("drawn")
        a, x = g.param("a", 3 if law is ops.categorical else ()), g.variable("x", (), **kind)
        x[t] = law(a, over=t) if law is ops.categorical else law(ops.sigmoid(a), over=t)
        return g

    kind = "int" if law is ops.categorical else "bool"
    with pytest.raises(TemplateError, match=rf"x\[t\] is float, and what it draws are labels(.|\n)*dtype='{kind}'"):
        Model(drawn())
    assert list(Model(drawn(dtype=kind)).random) == ["x"]
