"""With lengths of their own for examples the shapes of results follow from the shapes given, never from their values.

What depends on an example's length has a value for each example, and all values are those of the examples run alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.analysis.gradient_flow import gradient_norms
from unroll.errors import LengthError

s, S = axis("s")
backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
LENGTHS = [[3, 3], [3, 2], [1, 1], [0, 3]]
lengths_of_two = pytest.mark.parametrize("lengths", LENGTHS, ids=str)


def alone() -> Template:
    """Variables of params alone, beside one of an input."""
    g = Template("alone")
    x, w = g.input("x"), g.param("w", init=1.5)
    h, k, c, o = g.variable("h", ()), g.variable("k", ()), g.variable("c", ()), g.variable("o", ())
    h[0] = 1
    h[t] = h[t - 1] * w
    k[0] = 0
    k[t] = k[t - 1] + h[t] * x[t]
    c[()] = 2 * w
    o[t] = h[t] * c
    g.loss = ops.sum(o[t], over=t) * 0.5
    return g


def results(net: Any, params: Any, **given: Any) -> dict[str, Any]:
    names = ["h", "k", "c", "o", "loss"]
    found: dict[str, Any] = {f"run {n}": v for n, v in net.run(params, names, **given).items()}
    found.update({f"run {n} alone": net.run(params, n, **given) for n in names})
    found["loss"] = net.loss(params, **given)
    value, grads = net.value_and_grad(params, ["w", "h", "x", "c"], **given)
    found.update({"value": value, **{f"gradient by {n}": v for n, v in grads.items()}})
    value, tangent = net.jvp(params, {"w": np.float64(1)}, "o", **given)
    found.update({"jvp": value, "tangent": tangent})
    found.update(dict(zip(("loss jvp", "loss tangent"), net.jvp(params, {"w": np.float64(1)}, **given), strict=True)))
    found["hessian"] = net.hessian_vector(params, {"w": np.float64(1)}, **given)["w"]
    return found


@backends
@lengths_of_two
def test_shapes_and_values(backend: str, lengths: list[int]) -> None:
    net = alone().compile(backend, dtype="float64")
    params = net.init()
    x = np.arange(1.0, 7.0).reshape(3, 2)
    found = results(net, params, x=x, lengths=lengths)
    shapes = {name: np.shape(v) for name, v in found.items()}
    assert shapes == {name: np.shape(v) for name, v in results(net, params, x=x, lengths=[3, 2]).items()}
    assert shapes["run h"] == shapes["run o alone"] == shapes["gradient by h"] == (3, 2)
    assert shapes["run loss"] == (2,)
    assert shapes["run c"] == shapes["value"] == ()
    one = [results(net, params, x=x[:n, b]) for b, n in enumerate(lengths)]
    for name in ("run h", "run k", "run o", "jvp", "tangent"):
        for b, n in enumerate(lengths):
            np.testing.assert_allclose(found[name][:n, b], one[b][name], err_msg=name)
            assert not found[name][n:, b].any()
    np.testing.assert_allclose(found["run loss"], [o["run loss"] for o in one])
    for name in ("value", "loss", "gradient by w", "gradient by c", "loss jvp", "loss tangent", "hessian"):
        np.testing.assert_allclose(found[name], (one[0][name] + one[1][name]) / 2, err_msg=name)
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(2 * found["gradient by h"][:n, b], one[b]["gradient by h"])


@backends
@lengths_of_two
def test_cotangents(backend: str, lengths: list[int]) -> None:
    net = alone().compile(backend, dtype="float64")
    params, x = net.init(), np.ones((3, 2))
    seed = np.arange(1.0, 7.0).reshape(3, 2)
    values, grads = net.vjp(params, {"h": seed}, ["w", "h", "x"], x=x, lengths=lengths)
    assert (values["h"].shape, grads["w"].shape, grads["h"].shape, grads["x"].shape) == ((3, 2), (), (3, 2), (3, 2))
    one = [net.vjp(params, {"h": seed[:n, b]}, "w", x=x[:n, b])[1]["w"] for b, n in enumerate(lengths)]
    np.testing.assert_allclose(grads["w"], sum(one))


@backends
def test_lists_of_arrays_and_several_axes(backend: str) -> None:
    g = Template("two")
    x, y, w = g.input("x"), g.input("y", over=s), g.param("w", init=0.5)
    h, e = g.variable("h", ()), g.variable("e", ())
    h[0], e[0] = 1, 1
    h[t] = w * h[t - 1]
    e[s] = w * e[s - 1]
    g.output("both", ops.sum(h[t], over=t) + e[S])
    g.output("seen", ops.sum(x[t], over=t) + ops.sum(y[s], over=s))
    net = g.compile(backend, dtype="float64")
    params = net.init()
    for steps in ([(2, 3), (2, 3)], [(2, 3), (2, 1)], [(1, 3), (2, 3)], [(1, 3), (2, 1)]):
        given = {"x": [np.ones(n) for n, _ in steps], "y": [np.ones(m) for _, m in steps]}
        found = net.run(params, ["h", "e", "both", "seen"], **given)
        longest = np.max(steps, axis=0)
        assert found["h"].shape == (longest[0], 2)
        assert found["e"].shape == (longest[1], 2)
        for b, (n, m) in enumerate(steps):
            one = net.run(params, ["both", "seen"], x=np.ones(n), y=np.ones(m))
            np.testing.assert_allclose([found[k][b] for k in one], list(one.values()))
        one = net.run(params, "h", x=np.ones((2, 2)), y=np.ones((3, 2)), lengths={"T": [2, 2]})
        assert one.shape == (2, 2)
        assert net.run(params, "e", x=np.ones((2, 2)), y=np.ones((3, 2)), lengths={"T": [2, 2]}).shape == (3,)


@backends
def test_without_any_input(backend: str) -> None:
    g = Template("clock")
    h = g.variable("h", ())
    h[0] = 0
    h[t] = h[t - 1] + 1
    g.loss = ops.sum(h[t], over=t)
    net = g.compile(backend, dtype="float64", batch_first=True)
    for lengths in ([3, 3], [3, 2]):
        assert net.run({}, "h", lengths=lengths).shape == (2, 3)
        assert net.run({}, "loss", lengths=lengths).tolist() == [n * (n + 1) / 2 for n in lengths]
        assert net.loss({}, lengths=lengths) == np.mean([n * (n + 1) / 2 for n in lengths])
    assert net.run({}, "h", T=3).shape == (3,)


def test_where_nothing_gains_a_batch_axis_one_program_serves() -> None:
    g = Template("usual")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = h[t - 1] + x[t]
    net = g.compile("numpy")
    net.run({}, "h", x=np.ones((3, 2), np.float32))
    net.run({}, "h", x=np.ones((3, 2), np.float32), lengths=[3, 3])
    assert len(net._programs.compiled) == 1


def elman() -> Template:
    g = Template("elman")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    W, U, V = g.param("W", (4, 4)), g.param("U", (4, 3)), g.param("V", (5, 4))
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


@backends
@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
def test_what_is_derived_of_lists_is_that_of_their_arrays(
    backend: str, batch_first: bool, rng: np.random.Generator
) -> None:
    net = elman().compile(backend, dtype="float64", batch_first=batch_first)
    params, steps = net.init(0), [2, 4, 1]
    xs, ys = [rng.normal(size=(n, 3)) for n in steps], [rng.integers(0, 5, n) for n in steps]
    order = (1, 0, 2) if batch_first else (0, 1, 2)

    vectors = {n: rng.normal(size=v.shape) for n, v in params.items()}
    ones = [net.hessian_vector(params, vectors, x=x, y=y) for x, y in zip(xs, ys, strict=True)]
    for name, found in net.hessian_vector(params, vectors, x=xs, y=ys).items():
        np.testing.assert_allclose(found, np.mean([one[name] for one in ones], axis=0), atol=1e-12)

    vx = [rng.normal(size=x.shape) for x in xs]
    ones = [net.hessian_vector(params, {"x": v}, x=x, y=y) for v, x, y in zip(vx, xs, ys, strict=True)]
    for name, found in net.hessian_vector(params, {"x": vx}, x=xs, y=ys).items():
        np.testing.assert_allclose(found, np.mean([one[name] for one in ones], axis=0), atol=1e-12)
    tangent = net.jvp(params, {"x": vx}, x=xs, y=ys)[1]
    each = [net.jvp(params, {"x": v}, x=x, y=y)[1] for v, x, y in zip(vx, xs, ys, strict=True)]
    np.testing.assert_allclose(tangent, np.mean(each), atol=1e-12)

    seeds = [rng.normal(size=(n, 4)) for n in steps]
    found = net.vjp(params, {"h": seeds}, ["W", "h"], x=xs, y=ys)[1]
    each = [net.vjp(params, {"h": v}, ["W", "h"], x=x, y=y)[1] for v, x, y in zip(seeds, xs, ys, strict=True)]
    np.testing.assert_allclose(found["W"], sum(one["W"] for one in each), atol=1e-12)
    for b, n in enumerate(steps):
        np.testing.assert_allclose(found["h"].transpose(order)[:n, b], each[b]["h"], atol=1e-12)

    for given in ({"x": xs, "y": ys}, {"x": xs, "y": ys, "lengths": steps}):
        norms = gradient_norms(net, params, "h", **given)
        assert norms.shape == (4, 3)
        for b, n in enumerate(steps):
            np.testing.assert_allclose(norms[:n, b], gradient_norms(net, params, "h", x=xs[b], y=ys[b]), atol=1e-12)
            assert not norms[n:, b].any()
    equal = gradient_norms(net, params, "h", x=[x[:1] for x in xs], y=[y[:1] for y in ys])
    assert equal.shape == (1, 3)


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_a_value_of_params_alone_has_a_cotangent_for_each_example(backend):
    """Where lengths are given it has a value for each example, and so do all the calls that take or return one."""
    g = Template()
    w, a, d = g.param("w"), g.variable("a", ()), g.variable("d", ())
    a[0] = 1.0
    a[t] = w * a[t - 1]
    d[()] = a[T]
    g.loss = ops.sum(a[t], over=t)
    net, params, lengths = g.compile(backend, dtype="float64"), {"w": 0.5}, [3, 2, 5, 1]
    assert net.run(params, "d", lengths=lengths).shape == (4,)
    values, grads = net.vjp(params, {"d": np.ones(4)}, ["w", "d"], lengths=lengths)
    np.testing.assert_allclose(values["d"], 0.5 ** np.array(lengths))
    np.testing.assert_array_equal(grads["d"], np.ones(4))
    np.testing.assert_allclose(grads["w"], sum(n * 0.5 ** (n - 1) for n in lengths))
    with pytest.raises(LengthError, match=r"lengths= has 4 examples, and seed of d has no batch axis"):
        net.vjp(params, {"d": 1.0}, "w", lengths=lengths)
    assert gradient_norms(net, params, "a", lengths=[3, 2]).shape == (3, 2)


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_parts_of_params_that_stand_at_an_end_have_a_value_for_each_example(backend):
    g = Template()
    w, W = g.param("w", 7), g.param("W", (5, 3))
    for name, value in {"slice": w[2:], "row": W[2], "turned": W.T, "flat": ops.reshape(W, 15), "all": w}.items():
        v = g.variable(f"v {name}", value.shape)
        v[T + 1], v[t] = value, 0
        g.output(name, v[T + 1])
    net = g.compile(backend, dtype="float64")
    params = {"w": np.arange(7.0), "W": np.arange(15.0).reshape(5, 3)}
    for lengths in ([2, 1], [3, 3]):
        found, alone = net.run(params, T=3, lengths=lengths), net.run(params, T=1)
        for name, value in found.items():
            np.testing.assert_array_equal(value, np.stack([alone[name]] * 2), err_msg=name)
