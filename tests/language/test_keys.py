"""Results are called by what was asked for, and whatever a user calls a variable, none answers for another."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from unroll import Net, Template, ops, t
from unroll.errors import DifferentiationError, TemplateError, UndefinedError
from unroll.ir.declarations import ARGUMENTS

backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
X = np.arange(1, 6, dtype=np.float32)


def awkward() -> Template:
    """Names that look like what instances, gradients and tangents were once called by."""
    g = Template("awkward")
    x, w = g.input("x"), g.param("w", init=2.0)
    h, two, tangent = g.variable("h", ()), g.variable("h[2]", ()), g.variable("tangent", ())
    h[0] = 0
    h[t] = h[t - 1] + w * x[t]
    two[t] = 10 * h[t]
    tangent[t] = 100 * h[t]
    g.output("h[3]", 1000 * h[t])
    g.loss = ops.sum(h[t] + 0.0 * two[t], over=t)
    return g


@backends
def test_a_variable_that_looks_like_an_instance(backend: str) -> None:
    net = awkward().compile(backend)
    params = net.init()
    h = 2 * np.cumsum(X)
    found = net.run(params, ["h[2]", ("h", 2), ("h[2]", 2), "h[3]", ("h", 3)], x=X)
    assert list(found) == ["h[2]", ("h", 2), ("h[2]", 2), "h[3]", ("h", 3)]
    np.testing.assert_array_equal(found["h[2]"], 10 * h)
    np.testing.assert_array_equal(found["h[3]"], 1000 * h)
    assert (found["h", 2], found["h[2]", 2], found["h", 3]) == (h[1], 10 * h[1], h[2])
    assert net.run(params, ("h", 3), x=X) == h[2]  # asked for in either order, from one net
    np.testing.assert_array_equal(net.run(params, "h[3]", x=X), 1000 * h)
    np.testing.assert_array_equal(net.run(params, x=X)["h[3]"], 1000 * h)


@backends
def test_gradients_by_what_looks_alike(backend: str) -> None:
    net = awkward().compile(backend)
    params = net.init()
    grads = net.value_and_grad(params, ["h[2]", ("h", 2), "w"], x=X)[1]
    np.testing.assert_array_equal(grads["h[2]"], np.zeros(5))
    assert grads["h", 2] == 4
    assert grads["w"] == np.cumsum(X).sum()
    assert net.value_and_grad(params, ("h", 2), x=X)[1] == {("h", 2): 4}
    assert list(net.value_and_grad(params, "h[2]", x=X)[1]) == ["h[2]"]
    both = net.vjp(params, {"h[2]": np.ones(5, np.float32)}, [("h", 2), "h[2]"], x=X)[1]
    assert both["h", 2] == 40
    np.testing.assert_array_equal(both["h[2]"], np.ones(5))


@backends
def test_a_variable_called_tangent(backend: str) -> None:
    net = awkward().compile(backend)
    params = net.init()
    value, tangent = net.jvp(params, {"w": np.float32(1)}, "tangent", x=X)
    np.testing.assert_array_equal(value, 200 * np.cumsum(X))
    np.testing.assert_array_equal(tangent, 100 * np.cumsum(X))


@backends
def test_a_state_that_looks_like_another(backend: str) -> None:
    g = Template("m")
    x, h, a = g.input("x"), g.variable("h", ()), g.variable("h[0]", ())
    first = g.variable("first h[0]", ())
    h[0], a[0], first[0] = 1, 2, 3
    h[t] = h[t - 1] + x[t]
    a[t] = a[t - 1] * 2
    first[t] = first[t - 1] + a[t]
    net = g.compile(backend)
    names = ["h", "h[0]", "first h[0]", ("h", 1)]
    whole = net.run({}, names[:3], x=X)
    stream = net.stream({}, names[:3])
    parts = [stream(x=X[:2]), stream(x=X[2:])]
    for name in names[:3]:
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), whole[name])
    assert set(stream.state) == {"h[0]", "h[0][0]", "first h[0][0]", "steps"}
    state = stream.state
    stream.reset()
    stream.state = state
    assert stream.steps == 5
    generated = net.generate({}, names[:3], x=X).values
    np.testing.assert_array_equal(generated["h[0]"], whole["h[0]"])


@backends
def test_an_output_called_like_a_state(backend: str) -> None:
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 1
    h[t] = h[t - 1] + x[t]
    g.output("h[0]", 10 * h[t])
    stream = g.compile(backend).stream({})
    np.testing.assert_array_equal(stream(x=X)["h[0]"], 10 * (1 + np.cumsum(X)))
    np.testing.assert_array_equal(stream.state["h[0]"], [16])


@backends
def test_an_instance_as_an_output_of_a_gradient(backend: str) -> None:
    net = awkward().compile(backend)
    params = net.init()
    h = 2 * np.cumsum(X)
    for outputs in (("h", 2), [("h", 2)], (("h", 2),)):
        *_, found = net.value_and_grad(params, None, outputs, x=X)
        assert found == {("h", 2): h[1]}
    *_, found = net.value_and_grad(params, "w", "h", x=X)
    np.testing.assert_array_equal(found["h"], h)
    *_, found = net.value_and_grad(params, "w", ["h", ("h", 1)], x=X)
    assert found["h", 1] == h[0]


@backends
def test_names_may_be_given_by_keyword(backend: str) -> None:
    net = awkward().compile(backend)
    params = net.init()
    loss, grads, found = net.value_and_grad(params, wrt=["w"], outputs=["h"], x=X)
    assert loss == found["h"].sum()
    assert list(grads) == ["w"]
    assert net.run(params, names=("h", 3), x=X) == 12
    assert net.run(params=params, names=("h", 3), x=X) == 12
    assert len(net.stream(params, names="h")(x=X)) == 5
    assert len(net.generate(params, names="h", x=X).values) == 5
    assert list(net.vjp(params, {"h": np.ones(5, np.float32)}, wrt="w", x=X)[1]) == ["w"]
    assert net.loss(params=params, x=X) == loss


def test_no_input_is_called_as_an_argument_of_a_call() -> None:
    methods = [f for name, f in inspect.getmembers(Net, inspect.isfunction) if not name.startswith("_")]
    taken = set()
    for method in methods:
        given = inspect.signature(method).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in given):
            taken |= {p.name for p in given if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)} - {"self"}
    assert taken - {"grad"} <= set(ARGUMENTS)  # `explain` takes no arrays
    for name in ARGUMENTS:
        g = Template("m")
        with pytest.raises(TemplateError, match=f"{name}= is an argument of net.run"):
            g.input(name)


@backends
def test_a_cotangent_of_what_does_not_depend_on_it(backend: str) -> None:
    g = Template("apart")
    x, w, v = g.input("x"), g.param("w", init=1.0), g.param("v", init=1.0)
    y, z, c = g.variable("y", ()), g.variable("z", ()), g.variable("c", ())
    y[t] = w * x[t]
    z[t] = x[t] + 1
    c[()] = 2 * v
    net = g.compile(backend)
    params, ones = net.init(), np.ones(5, np.float32)
    values, grads = net.vjp(params, {"z": ones}, "w", x=X)
    np.testing.assert_array_equal(values["z"], X + 1)
    assert grads == {"w": 0}
    values, grads = net.vjp(params, {"z": ones, "y": ones, "c": np.float32(3)}, ["w", "v"], x=X)
    assert grads == {"w": X.sum(), "v": 6}
    assert net.vjp(params, {"c": np.float32(3)}, "w", T=2)[1] == {"w": 0}
    batch = np.stack([X, X], 1)
    assert net.vjp(params, {"z": np.ones((5, 2), np.float32)}, "w", x=batch)[1] == {"w": 0}
    np.testing.assert_array_equal(net.vjp(params, {"z": ones}, "y", x=X)[1]["y"], np.zeros(5))


def test_what_is_no_cotangent() -> None:
    net = awkward().compile("numpy")
    params = net.init()
    with pytest.raises(UndefinedError, match="cotangents are given for whole variables, by name"):
        net.vjp(params, {("h", 3): np.ones(5)}, "w", x=X)
    with pytest.raises(UndefinedError, match="no variable 'q'"):
        net.vjp(params, {"q": np.ones(5)}, "w", x=X)
    g = Template("m")
    k = g.variable("k", (), dtype="int")
    k[0] = 0
    k[t] = k[t - 1] + 1
    w = g.param("w")
    y = g.variable("y", ())
    y[t] = w * 1.0
    with pytest.raises(DifferentiationError, match="k is int"):
        g.compile("numpy").vjp({"w": 1.0}, {"k": np.ones(3)}, "w", T=3)


@backends
def test_the_batch_of_what_was_asked(backend: str) -> None:
    net = awkward().compile(backend, batch_first=True)
    x = np.stack([X, 2 * X])
    found: Any = net.run(net.init(), ["h", ("h", 2)], x=x)
    assert found["h"].shape == (2, 5)
    np.testing.assert_array_equal(found["h", 2], found["h"][:, 1])
