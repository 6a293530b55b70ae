"""``debug_nans=True``: the first nan or infinity, by variable, step and direction, the same on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import NonFiniteError

from .mistakes import explains

HERE = "test_debug_nans.py:"


def caught(g, call):
    """The message, after checking that both backends give the same."""
    texts = []
    for backend in ("numpy", "reference"):
        net = g.compile(backend, debug_nans=True)
        with pytest.raises(NonFiniteError) as error:
            call(net, net.init())
        explains(error.value, (), [])
        assert isinstance(error.value, FloatingPointError)
        texts.append(str(error.value))
    assert texts[0] == texts[1]
    return texts[0]


def array(*values):
    return np.array(values, "float32")


def recurrence(step, start=0.0):
    """A scalar recurrence h of one input x and one param a, summed to a loss."""
    g = Template("m")
    x, a, h = g.input("x"), g.param("a", init=1.0), g.variable("h", ())
    h[0] = start
    h[t] = step(h[t - 1], x[t], a)
    g.loss = ops.sum(h[t], over=t)
    return g


CALLS = {
    "run": lambda x: lambda net, p: net.run(p, "h", x=x),
    "loss": lambda x: lambda net, p: net.loss(p, x=x),
    "value_and_grad": lambda x: lambda net, p: net.value_and_grad(p, x=x),
    "jvp": lambda x: lambda net, p: net.jvp(p, {"a": np.float32(1)}, x=x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_nan_made_at_the_third_step(call):
    g = recurrence(lambda h, x, a: a * ops.sqrt(h - x), start=1.0)
    text = caught(g, call(array(0, 0, 5, 0)))
    assert text.startswith("nan in h[3]")
    assert "(forward)" in text.splitlines()[0]
    assert "sqrt(h[t-1] - x[t])" in text
    assert HERE in text


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_nan_made_outside_the_recurrence(call):
    """The logarithm is moved out of the loop, and is still a part of h at step 3."""
    text = caught(recurrence(lambda h, x, a: a * ops.log(x) + h), call(array(1, 2, -1, 4)))
    assert text.startswith("nan in h[3]")
    assert "(forward)" in text.splitlines()[0]
    assert "log(x[t])" in text
    assert HERE in text


def test_an_infinity_made_forward():
    text = caught(recurrence(lambda h, x, a: a * x * h, start=1.0), CALLS["run"](array(1e20, 1e20, 1, 1)))
    assert text.startswith("an infinity in h[2]")
    assert "(forward)" in text.splitlines()[0]


def test_an_infinity_made_backward_only():
    g = recurrence(lambda h, x, a: ops.sqrt(x))
    text = caught(g, lambda net, p: net.value_and_grad(p, "x", x=array(1, 1, 0, 1)))
    assert text.startswith("an infinity in x~[3]")
    assert "(backward)" in text.splitlines()[0]
    assert HERE in text


def test_an_infinity_made_backward_inside_the_recurrence():
    g = Template("m")
    x, a, h = g.input("x"), g.param("a", init=0.0), g.variable("h", ())
    h[0] = 0
    h[t] = ops.sqrt(a * h[t - 1] + x[t])
    g.loss = ops.sum(h[t], over=t)
    text = caught(g, lambda net, p: net.value_and_grad(p, x=array(1, 1, 0, 1)))
    assert "(backward)" in text.splitlines()[0]
    assert "[3]" in text.splitlines()[0]
    assert "h" in text.splitlines()[0]
    assert "sqrt" in text  # the user's own statement
    assert HERE in text


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "nan"), (np.inf, "an infinity"), (-np.inf, "an infinity")])
def test_an_input_that_holds_it(bad, what):
    g = recurrence(lambda h, x, a: a * h + x)
    text = caught(g, CALLS["value_and_grad"](array(1, bad, 1, bad)))
    assert text.startswith(f"{what} in x[2]")
    assert "given" in text


def test_an_input_that_holds_it_in_one_example():
    g = recurrence(lambda h, x, a: a * h + x)
    assert "x[2]" in caught(g, CALLS["run"](array([1, 1], [1, np.nan], [1, 1])))


def test_a_param_that_holds_it():
    g = recurrence(lambda h, x, a: a * h + x)
    text = caught(g, lambda net, p: net.run({"a": array(np.nan)[0]}, "h", x=array(1, 1)))
    assert text.startswith("nan in a")
    assert "given" in text


def test_a_boundary_that_makes_it():
    g = Template("m")
    x, c, h = g.input("x"), g.input("c", over=None), g.variable("h", ())
    h[0] = ops.log(c)
    h[t] = h[t - 1] + x[t]
    text = caught(g, lambda net, p: net.run(p, "h", x=array(1, 1), c=np.float32(-1)))
    assert text.startswith("nan in h[0]")
    assert "h[0] = log(c)" in text
    assert "h[t] = " not in text  # that equation does not write step 0


def test_a_loss_that_is_one():
    g = Template("m")
    g.loss = ops.log(ops.sum(g.input("x")[t], over=t))
    text = caught(g, lambda net, p: net.loss(p, x=array(1, -3)))
    assert text.startswith("nan in loss")
    assert "log(sum(x[t], over=t))" in text


def test_what_the_result_does_not_depend_on_is_not_looked_at():
    g = recurrence(lambda h, x, a: a * h + x)
    g.input("z")
    for backend in ("numpy", "reference"):
        net = g.compile(backend, debug_nans=True)
        assert net.loss(net.init(), x=array(1, 1), z=array(np.nan, np.nan)) == 3


@pytest.mark.parametrize("steps", [0, 1])
def test_a_softmax_over_no_steps_is_not_a_fault(steps):
    g = Template("m")
    x = g.input("x", 3)
    g.output("q", ops.softmax(x[t], over=t))
    for backend in ("numpy", "reference"):
        assert g.compile(backend, debug_nans=True).run({}, x=np.zeros((steps, 3), "f"))["q"].shape == (steps, 3)


def test_a_net_goes_on_after_a_nan():
    g = recurrence(lambda h, x, a: a * ops.log(x) + h)
    for backend in ("numpy", "reference"):
        net = g.compile(backend, debug_nans=True)
        p = net.init()
        with pytest.raises(NonFiniteError):
            net.run(p, "h", x=array(1, -1))
        assert net.run(p, "h", x=array(1, 1)).tolist() == [0, 0]


def test_without_it_a_nan_goes_through_in_silence():
    g = recurrence(lambda h, x, a: a * ops.log(x) + h)
    for backend in ("numpy", "reference"):
        net = g.compile(backend)
        assert np.isnan(net.run(net.init(), "loss", x=array(1, -1)))
