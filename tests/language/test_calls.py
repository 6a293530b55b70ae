"""Names, steps, backends and options that do not exist: refused by what is asked for, before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, t
from unroll.errors import ArrayError, BackendError, DifferentiationError, LengthError, UndefinedError

from .mistakes import Mistakes, check_mistake, s
from .test_arrays import names

__all__ = ["names"]

mistake = Mistakes()

# -- what is asked for ------------------------------------------------------------------------------------------------


@mistake(UndefinedError, "no variable 'q'", "'elman'", "h, o")
def an_unknown_name(net, P, X):
    net.run(P, "q", x=X)  # <-


@mistake(UndefinedError, "no variable 'H'", "h, o")
def an_unknown_name_in_a_list(net, P, X):
    net.run(P, ["h", "H"], x=X)  # <-


@mistake(UndefinedError, "3", "name")
def a_number_as_name(net, P, X):
    net.run(P, 3, x=X)  # <-


@mistake(UndefinedError, "h", "1 ax", "2 steps")
def steps_of_the_wrong_number(net, P, X):
    net.run(P, ("h", 1, 2), x=X)  # <-


@mistake(LengthError, "h[6]", "T = 5")
def a_step_after_the_last(net, P, X):
    net.run(P, ("h", 6), x=X)  # <-


@mistake(LengthError, "h[-1]", "T = 5")
def a_step_before_the_first(net, P, X):
    net.run(P, ("h", -1), x=X)  # <-


@mistake(LengthError, "x[0]", "T = 5")
def an_input_before_its_first_step(net, P, X):
    net.run(P, ["h", ("x", 0)], x=X)  # <-


@mistake(UndefinedError, "q", "no equation defines it", "q[t] = ...")
def a_variable_never_defined(g, net, P, X):
    g.variable("q", 3)
    g.compile(net.backend.name).run(P, "q", x=X)  # <-


@mistake(UndefinedError, "'elman'", "no outputs", "g.output")
def no_outputs():
    g = Template("elman")
    g.compile().run({})  # <-


@mistake(UndefinedError, "'Q'", "x, U, W, V, b, c")
def a_derivative_by_an_unknown_name(net, P, X, Y):
    net.value_and_grad(P, "Q", x=X, y=Y)  # <-


@mistake(UndefinedError, "'g'", "variables")
def a_derivative_by_an_unknown_instance(net, P, X, Y):
    net.value_and_grad(P, ["W", ("g", 3)], x=X, y=Y)  # <-


@mistake(UndefinedError, "3", "params and inputs")
def a_derivative_by_a_number(net, P, X, Y):
    net.value_and_grad(P, 3, x=X, y=Y)  # <-


@mistake(DifferentiationError, "y is int", "float")
def a_derivative_by_labels(net, P, X, Y):
    net.value_and_grad(P, "y", x=X, y=Y)  # <-


@mistake(UndefinedError, "'m' has no loss", "g.loss = ...")
def no_loss():
    net = Template("m").compile()
    net.value_and_grad({})  # <-


@mistake(UndefinedError, "'m' has no loss", "g.loss = ...")
def no_loss_for_a_direction():
    g = Template("m")
    W = g.param("W", 3)
    g.output("q", W * 2)
    g.compile().jvp({"W": np.zeros(3, "f")}, {"W": np.zeros(3, "f")})  # <-


@mistake(ArrayError, "tangent of W", "(2, 4)", "(4, 4)")
def a_tangent_of_another_shape(net, P, X, Y):
    net.jvp(P, {"W": P["W"][:2]}, x=X, y=Y)  # <-


@mistake(ArrayError, "vector of W", "(4,)", "(4, 4)")
def a_vector_of_another_shape(net, P, X, Y):
    net.hessian_vector(P, {"W": P["W"][0]}, x=X, y=Y)  # <-


# -- compiling --------------------------------------------------------------------------------------------------------


@mistake(BackendError, "no backend 'torch'", "numpy", "reference", "auto")
def an_unknown_backend(g):
    g.compile(backend="torch")  # <-


@mistake(BackendError, "'float16'", "float32", "float64")
def an_unknown_precision(g):
    g.compile(dtype="float16")  # <-


@mistake(TypeError, "debug_nan")
def a_misspelt_option(g):
    g.compile(debug_nan=True)


# -- steps that do not exist ------------------------------------------------------------------------------------------


@mistake(LengthError, "h[T-1]", "h[-1] at T = 0", "q = h[T-1]")
def the_step_before_the_last_of_none():
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[t] = x[t]
    g.output("q", h[T - 1])
    g.compile().run({}, x=np.zeros(0, "float32"))  # <-


@mistake(LengthError, "e[3]", "S = 2", "q = e[3]")
def a_fixed_step_beyond_the_end():
    g = Template("m")
    g.output("q", g.input("e", over=s)[3])
    g.compile().run({}, e=np.zeros(2, "float32"))  # <-


@mistake.each
def test_mistake(mistake, kind, words, names):
    check_mistake(mistake, kind, words, names)


def test_a_hidden_name_is_no_name(names):
    with pytest.raises(UndefinedError, match=r"no variable 'h.1'.*it has h, o"):
        names["net"].run(names["P"], "h.1", x=names["X"])


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_a_fixed_step_is_checked_only_where_it_is_read(steps, backend):
    """With T = 0 the recurrence reads nothing, and the fifth step of x is not missed."""
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 7
    h[t] = h[t - 1] + x[2]
    g.output("q", h[T])
    net = g.compile(backend)
    array = np.arange(1, steps + 1, dtype="float32")
    if steps == 1:
        with pytest.raises(LengthError, match=r"x\[2\]"):
            net.run({}, x=array)
    else:
        assert net.run({}, x=array)["q"] == 7 + 2 * steps
