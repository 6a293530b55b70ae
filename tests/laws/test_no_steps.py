"""At no steps: what no step changes is not needed, and gradients by what it is multiplied by are zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import Template, axis, ops, t
from unroll.errors import LengthError
from unroll.ir.system import Const
from unroll.transform.adjoint import adjoint
from unroll.transform.no_steps import without_steps
from unroll.transform.simplify import reduced

from .test_by_hand import every_backend

s, S = axis("s")


def scaled(change: Callable[[Any], Any]) -> Template:
    """A recurrence that adds, at every step, a param times what no step changes."""
    g = Template("scaled")
    x, w, h = g.input("x", 3), g.param("w", 3), g.variable("h", 3)
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + w * change(x[1])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


CHANGES: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "logarithm": ops.log,
    "of the mean": lambda x: (x - ops.mean(x)) / ops.sqrt(ops.mean(x * x)),
    "softmax": ops.softmax,
}
W = np.array([1.0, -2.0, 0.5])


@every_backend
@pytest.mark.parametrize("name", CHANGES)
def test_the_gradient_by_a_factor_of_what_no_step_changes(name: str, backend: str) -> None:
    net = scaled(CHANGES[name]).compile(backend, dtype="float64")
    for arrays in (
        {"x": np.ones((0, 3))},
        {"x": np.ones((0, 2, 3))},
        {"x": np.ones((0, 2, 3)), "lengths": [0, 0]},
        {"x": [np.ones((0, 3))]},
    ):
        value, grads = net.value_and_grad({"w": W}, ["w", "x"], **arrays)
        assert value == 0
        np.testing.assert_array_equal(grads["w"], np.zeros(3))
        assert grads["x"].shape[0] == 0
    loss, grads = net.value_and_grad({"w": W}, x=np.full((2, 3), 2.0) + W)  # and the plain program is what it was
    assert loss > 0
    assert np.any(grads["w"])


@every_backend
def test_the_other_calls(backend: str) -> None:
    net = scaled(ops.log).compile(backend, dtype="float64")
    x = np.ones((0, 2, 3))
    values, grads = net.vjp({"w": W}, {"h": np.ones((0, 2, 3))}, "w", x=x)
    assert values["h"].shape == (0, 2, 3)
    np.testing.assert_array_equal(grads["w"], np.zeros(3))
    np.testing.assert_array_equal(net.hessian_vector({"w": W}, {"w": W}, x=x)["w"], np.zeros(3))
    value, grads, more = net.value_and_grad({"w": W}, outputs="h", x=x)
    assert (value, more["h"].shape) == (0, (0, 2, 3))


@every_backend
def test_two_axes_one_of_which_has_no_steps(backend: str) -> None:
    g = Template("two")
    x, w, y = g.input("x", over=(t, s)), g.param("w"), g.variable("y", ())
    y[t, s] = ops.log(x[1, s]) * w + x[t, s]
    g.loss = ops.sum(y[t, s], over=(t, s))
    net = g.compile(backend, dtype="float64")
    assert net.value_and_grad({"w": 2.0}, x=np.ones((0, 3))) == (0, {"w": 0})
    assert net.value_and_grad({"w": 2.0}, x=np.ones((3, 0))) == (0, {"w": 0})
    value, grads = net.value_and_grad({"w": 2.0}, x=np.full((2, 3), np.e))
    np.testing.assert_allclose((value, grads["w"]), (6 * (2 + np.e), 6))


@every_backend
def test_what_the_loss_needs_is_refused_as_before(backend: str) -> None:
    g = Template("first")
    x, w = g.input("x", 3), g.param("w", 3)
    g.loss = ops.sum(w * x[1])
    net = g.compile(backend, dtype="float64")
    for call in (net.loss, net.value_and_grad):
        with pytest.raises(LengthError, match=r"x\[1\].*does not exist"):
            call({"w": W}, x=np.ones((0, 3)))
    net = scaled(ops.log).compile(backend, dtype="float64")
    with pytest.raises(LengthError, match="example 1: "):  # the padding that stands in for its x[1] is 0
        net.value_and_grad({"w": W}, x=np.ones((2, 2, 3)), lengths=[2, 0])


def test_what_is_left_out() -> None:
    system = scaled(ops.log).system
    simple = reduced(system, [n for n, d in system.decls.items() if d.kind != "temporary"])
    backward = adjoint(simple, ("w",), None)
    made = without_steps(backward, {"T": 0})
    assert not any(e.out.name == "w~" for e in made.equations)
    assert any(e.out.name == "w~" for e in backward.equations)
    assert without_steps(backward, {"T": 4}).equations == backward.equations
    primal = [e for e in backward.equations if backward.decls[e.out.name].kind == "variable"]
    assert [e for e in made.equations if made.decls[e.out.name].kind == "variable"] == primal
    assert not [e for e in made.equations if e.op == "add" and Const(0.0) in e.args]
