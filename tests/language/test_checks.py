"""Mistakes in whole templates, and in shapes and kinds: each message shows the equations, their places and the fix."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.errors import (
    AxisError,
    BoundaryError,
    CausalityError,
    DifferentiationError,
    DoubleDefinitionError,
    TemplateError,
    UndefinedError,
)

from .mistakes import Mistakes, S, check_mistake, model, s

mistake = Mistakes()

# -- cycles -----------------------------------------------------------------------------------------------------------


@mistake(CausalityError, "h depends on itself within one step: h[t] -> h[t]", "h[t] = tanh(W @ h[t] + x[t])", "h[t-1]")
def a_variable_of_itself(g, h, W, x):
    h[0] = 0
    h[t] = ops.tanh(W @ h[t] + x[t])  # <-
    assert g.system


@mistake(CausalityError, "within one step", "A cycle must cross a delay", "[t-1] in ")
def a_cycle_of_three(g, h, r, o, W, x):
    q = g.variable("q", 3)
    h[0] = 0
    h[t] = ops.tanh(q[t])  # <-
    q[t] = W @ r[t] + x[t]  # <-
    r[t] = h[t] * 2  # <-
    o[t] = h[t]
    assert g.system


@mistake(CausalityError, "delays along", "add up to 0", "h[t]", "r[t]", "must cross a delay")
def delays_that_cancel(g, h, r, W, x):
    h[0] = r[T + 1] = 0
    h[t] = W @ r[t + 1]  # <-
    r[t] = h[t - 1] + x[t]  # <-
    assert g.system


@mistake(CausalityError, "no order", "h[t] reads h[t-1]", "h[t] reads h[t+1]", "two directions")
def both_directions_at_once(g, h, x):
    h[0] = h[T + 1] = 0
    h[t] = ops.tanh(h[t - 1] + h[t + 1] + x[t])  # <-
    assert g.system


@mistake(CausalityError, "h", "r", "[t]")
def both_directions_in_two_variables(g, h, r, x):
    h[0] = r[T + 1] = 0
    h[t] = ops.tanh(h[t - 1] + r[t + 1] + x[t])  # <-
    r[t] = ops.tanh(r[t + 1] + h[t])  # <-
    assert g.system


@mistake(CausalityError, "h depends on itself", "sum over t", "h[t]")
def a_sum_of_itself(g, h, x):
    h[0] = 0
    h[t] = ops.tanh(h[t - 1] + x[t]) + ops.sum(h[t], over=t)  # <-
    assert g.system


@mistake(CausalityError, "h depends on itself", "h[T]", "every step")
def its_own_last_step(g, h, x):
    h[t] = ops.tanh(h[T] + x[t])  # <-
    assert g.system


@mistake(CausalityError, "h", "h[0]", "h[T]")
def a_boundary_from_the_end(g, h, x):
    h[0] = h[T]  # <-
    h[t] = ops.tanh(h[t - 1] + x[t])
    assert g.system


def test_the_cycle_goes_in_flow_order_and_closes():
    names = model()
    g, h, r, x, W = (names[n] for n in "ghrxW")
    q = g.variable("q", 3)
    h[0] = 0
    h[t] = ops.tanh(q[t])
    q[t] = W @ r[t] + x[t]
    r[t] = h[t] * 2
    with pytest.raises(CausalityError) as caught:
        assert g.system
    walk = str(caught.value).splitlines()[0].partition(": ")[2].split(" -> ")
    assert walk[0] == walk[-1]
    assert len(walk) == 4
    assert "h[t] -> r[t] -> q[t]" in " -> ".join(walk + walk[1:])


@pytest.mark.parametrize("delay", [1, 2, 5])
def test_one_delay_on_the_cycle_is_enough(delay):
    names = model()
    g, h, r, W, x = (names[n] for n in "ghrWx")
    for k in range(delay):
        h[-k] = 0
    r[t] = W @ h[t - delay] + x[t]
    h[t] = ops.tanh(r[t])
    assert g.system


# -- boundaries -------------------------------------------------------------------------------------------------------


@mistake(BoundaryError, "h[0]", "h[t-1]", "h[0] = 0")
def no_first_state(g, h, x):
    h[t] = ops.tanh(h[t - 1] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "h[-1]", "h[t-2]", "h[-1] = 0", "h[0] = 0")
def no_states_for_two_delays(g, h, x):
    h[t] = ops.tanh(h[t - 1] + h[t - 2] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "h[-1]", "h[t-2]", "h[-1] = 0")
def one_state_short(g, h, x):
    h[0] = 0
    h[t] = ops.tanh(h[t - 1] + h[t - 2] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "h[-2] = 0", "h[-1] = 0", "h[0] = 0", "h[t-3]")
def no_states_for_a_long_delay(g, h, x):
    h[t] = ops.tanh(h[t - 3] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "h[T+1]", "h[t+1]", "h[T+1] = 0")
def no_state_after_the_end(g, h, x):
    h[t] = ops.tanh(h[t + 1] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "h[T+2]", "h[t+2]")
def one_state_short_after_the_end(g, h, x):
    h[T + 1] = 0
    h[t] = ops.tanh(h[t + 2] + x[t])  # <-
    assert g.system


@mistake(BoundaryError, "x[0]", "x[t-1]", "x[0] = 0")
def an_input_before_its_first_step(g, h, x):
    h[t] = x[t - 1]  # <-
    assert g.system


@mistake(BoundaryError, "y[T+1]", "y[t+1]")
def a_label_after_its_last_step(g, h, y, E):
    h[t] = E[y[t + 1]]  # <-
    assert g.system


@mistake(BoundaryError, "q[0, 0]", "q[t-1, s-1]", "q[0, 0] = 0")
def the_corner_of_a_grid(g):
    u, q = g.input("u", over=(t, s)), g.variable("q", ())
    q[0, s] = 0
    q[t, 0] = 0
    q[t, s] = q[t - 1, s] + q[t, s - 1] + q[t - 1, s - 1] + u[t, s]  # <-
    assert g.system


@mistake(BoundaryError, "h[t-1]", "only boundaries of h", "h[t] = ...")
def a_boundary_without_a_definition(g, h, o):
    h[0] = 0
    o[t] = h[t - 1]  # <-
    assert g.system


@mistake(BoundaryError, "x[0]", "loss")
def a_boundary_missing_under_the_loss(g, x):
    g.loss = ops.sum(ops.sum(x[t - 1]), over=t)  # <-
    assert g.system


# -- definitions ------------------------------------------------------------------------------------------------------


@mistake(UndefinedError, "h is read", "no equation defines it", "h[t] = ...", "variable h")
def a_variable_never_defined(g, h, W, o):
    o[t] = W @ h[t]  # <-
    assert g.system


@mistake(UndefinedError, "h", "no equation defines it", "h[t] = ...")
def an_output_never_defined(g, h):
    g.output("q", h[t])  # <-
    assert g.system


@mistake(UndefinedError, "h", "no equation defines it", "h[t] = ...")
def an_output_of_its_own_name_never_defined(g, h):
    g.output("h", h[t])
    assert g.system


@mistake(AxisError, "h", "runs along t", "s")
def an_axis_that_shows_only_later(g, h, o, x):
    o[s] = h[s]  # <-
    h[t] = x[t]
    assert g.system


def test_a_variable_that_nothing_uses_is_no_mistake():
    names = model()
    g, h, x = (names[n] for n in "ghx")
    h[t] = x[t] * 2
    g.output("h", h[t])
    net = g.compile()
    assert net.run({}, x=np.ones((2, 3), "f"))["h"].tolist() == [[2, 2, 2]] * 2


def test_boundaries_on_two_axes_do_not_overlap():
    g = Template("grid")
    u, q = g.input("u", over=(t, s)), g.variable("q", ())
    q[0, s] = 0
    q[t, 0] = 0
    q[0, 0] = 1
    q[t, s] = q[t - 1, s] + q[t, s - 1] + q[t - 1, s - 1] + u[t, s]
    assert g.system
    with pytest.raises(DoubleDefinitionError, match=r"q\[0, 0\] is defined twice"):
        q[0, 0] = 2
    with pytest.raises(DoubleDefinitionError, match=r"q\[0, s\] is defined twice"):
        q[0, s] = 2


@mistake.each
def test_mistake(mistake, kind, words):
    check_mistake(mistake, kind, words, model())


# -- derivatives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "detached",
    [
        lambda q: ops.sum(ops.where(q > 0, 1.0, 2.0)),
        lambda q: ops.sum(ops.sign(q)),
        lambda q: ops.sum(ops.stop_gradient(q)),
    ],
    ids=["comparison", "sign", "stop_gradient"],
)
@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_nothing_flows_through_a_step_function(detached, backend):
    names = model()
    g, W, x = (names[n] for n in "gWx")
    g.loss = ops.sum(detached(W @ x[t]), over=t)
    net = g.compile(backend)
    _, grads = net.value_and_grad(net.init(), x=np.ones((2, 3), "f"))
    assert {n: a.any() for n, a in grads.items()} == dict.fromkeys(grads, False)
    assert grads["W"].shape == (3, 3)


def test_an_operation_without_derivative_says_where_it_is_asked_for():
    rounded = ops.define("rounded", ops.elementwise, ops.undefined("rounded has no derivative"), body=lambda x: x)
    try:
        names = model()
        g, h, W, x = (names[n] for n in "ghWx")
        h[t] = rounded(W @ x[t])
        g.loss = ops.sum(ops.sum(h[t]), over=t)
        with pytest.raises(DifferentiationError, match=r"(?s)rounded has no derivative\n.*h\[t\] = rounded.*test_ch"):
            g.adjoint()
        assert g.compile().run(g.compile().init(), "h", x=np.zeros((1, 3), "f")).shape == (1, 3)
    finally:
        del ops.OPS["rounded"]


@pytest.mark.parametrize(
    ("wrt", "kind"), [(["Q"], UndefinedError), (["y"], DifferentiationError), (["h.1"], UndefinedError)]
)
def test_what_an_adjoint_is_taken_by(wrt, kind):
    names = model()
    g, h, x = (names[n] for n in "ghx")
    h[t] = ops.tanh(x[t] * 2)
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    with pytest.raises(kind, match=wrt[0]):
        g.adjoint(wrt)


@pytest.mark.parametrize("wrt", ["W", ["W"]], ids=["text", "list"])
def test_one_name_may_stand_alone(wrt):
    g = Template("m")
    g.loss = ops.sum(g.param("W", 3))
    assert [n for n in g.adjoint(wrt).system.outputs if n.endswith("~")] == ["W~"]


@pytest.mark.parametrize("ask", [lambda g: g.adjoint(), lambda g: g.adjoint(["W"])], ids=["all", "W"])
def test_no_loss_no_adjoint(ask):
    with pytest.raises(UndefinedError, match=r"'m' has no loss.*g.loss = ..."):
        ask(model()["g"])


def test_causes_are_found_before_anything_runs_and_for_every_length():
    """The rules are decided on the folded template: no length is needed to find a missing boundary."""
    names = model()
    g, h, x = (names[n] for n in "ghx")
    h[t] = h[t - 1] + x[t]
    for use in (g.compile, g.adjoint, g.draw, lambda: g.unfold(0), lambda: g.unfold(3)):
        with pytest.raises(TemplateError, match="h"):
            use()
    assert "h[t] = h[t-1] + x[t]" in str(g)  # but it can be printed, to be read
    assert S.axis is s.axis
