"""Steps are not numbers and expressions are not arrays: what Python, NumPy and PyTorch habits meet."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, ops, t
from unroll.errors import DTypeError

from .mistakes import Mistakes, check_mistake, model

mistake = Mistakes()

# -- steps are not numbers --------------------------------------------------------------------------------------------


@mistake(TypeError, "t+k", "t-k", "multiplied")
def a_step_doubled(h, x):
    h[t] = x[2 * t]  # <-


@mistake(TypeError, "t+k", "negative")
def a_step_negated(h, x):
    h[t] = x[-t]  # <-


@mistake(TypeError, "t+k", "0.5")
def a_step_and_a_half(h, x):
    h[t] = x[t - 0.5]  # <-


@mistake(TypeError, "T", "t", "T+k")
def a_step_from_the_end(h, x):
    h[t] = x[T - t]  # <-


@mistake(TypeError, "t+k")
def a_step_from_a_number(h, x):
    h[t] = x[3 - t]  # <-


@mistake(TypeError, "t+k")
def a_step_divided(h, x):
    h[t] = x[t // 2]  # <-


@mistake(TypeError, "t", "every step", "h[0] = ")
def a_step_compared(h, x):
    h[t] = x[t] if t > 3 else 0  # <-


@mistake(TypeError, "t", "every step", "h[0] = ")
def a_step_compared_for_equality(h, x):
    h[t] = x[t] if t == 1 else 0  # <-


@mistake(DTypeError, "t", "step", "x[t]")
def a_step_as_value(h, x):
    h[t] = x[t] + t  # <-


@mistake(DTypeError, "T", "step", "ops.mean")
def the_end_as_value(g, x):
    g.loss = ops.sum(ops.sum(x[t]), over=t) / T  # <-


# -- expressions are not arrays ---------------------------------------------------------------------------------------


@mistake(TypeError, "h", "iterated", "h[t]")
def a_loop_over_a_variable(h):
    for _ in h:  # <-
        pass


@mistake(TypeError, "x[t]", "iterated", "[0:3]")
def an_expression_unpacked(x):
    _first, *_rest = x[t]  # <-


@mistake(TypeError, "x[t] > 0", "neither true nor false", "ops.where")
def a_python_if(h, x):
    if x[t] > 0:  # <-
        h[t] = x[t]


@mistake(TypeError, "neither true nor false", "&")
def a_python_and(h, x):
    h[t] = ops.where(x[t] > 0 and x[t] < 1, 1.0, 0.0)  # <-


@mistake(TypeError, "neither true nor false", "(0 < x[t]) & (x[t] < 1)")
def a_chain_of_comparisons(h, x):
    h[t] = ops.where(0 < x[t] < 1, 1.0, 0.0)  # <-


@mistake(TypeError, "ops.equal")
def an_equality(h, x):
    h[t] = ops.where(x[t] == 0, 1.0, 0.0)  # <-


@mistake(TypeError, "ops.equal")
def an_equality_of_a_variable(h):
    h == 0  # noqa: B015  # <-


@mistake(TypeError, "ops.tanh", "symbolic", "ndarray")
def an_operation_on_an_array():
    ops.tanh(np.ones(3))


@mistake(TypeError, "ops.sum", "symbolic", "int")
def a_sum_of_a_number():
    ops.sum(3)


@mistake(TypeError, "ops.concat", "symbolic")
def a_concatenation_of_nothing():
    ops.concat([])


@mistake(TypeError, "ops.concat", "list")
def a_concatenation_without_a_list(o, x):
    o[t] = ops.concat(x[t], x[t])


@mistake(TypeError, "cross_entropy", "y[t]")
def a_label_as_python_number(o, x):
    o[t] = ops.cross_entropy(x[t], 1)


@mistake(TypeError, "ops.tanh")
def a_numpy_function(h, x):
    h[t] = np.tanh(x[t])  # <-


@mistake(TypeError, "np.dot", "ops.")
def a_numpy_product(h, b, x):
    h[t] = np.dot(b, x[t])  # <-


@mistake(TypeError, "np.concatenate", "ops.concat")
def a_numpy_concatenation(o, x):
    o[t] = np.concatenate([x[t], x[t]])  # <-


@mistake(TypeError, "array", "x[t]")
def an_array_of_an_expression(x):
    np.asarray(x[t])  # <-


@mistake(AttributeError, "ops.sum(x[t])")
def a_method_of_torch(o, x):
    o[t] = x[t].sum()


@mistake(AttributeError, "lose")
def a_misspelt_loss(g, x):
    g.lose = ops.sum(ops.sum(x[t]), over=t)


@mistake(DTypeError, "list", "array")
def a_list_in_an_expression(h, x):
    h[t] = x[t] + [1, 2, 3]  # <-


@mistake.each
def test_mistake(mistake, kind, words):
    check_mistake(mistake, kind, words, model())


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.zeros(3, complex), np.zeros(3, object), 1j, None, "abc", {}, (1, 2)], ids=repr
)
def test_values_that_cannot_stand_in_an_expression(value):
    names = model()
    x = names["x"]
    for use in (lambda: x[t] + value, lambda: value * x[t], lambda: ops.where(x[t] > 0, value, 0)):
        with pytest.raises(DTypeError, match="cannot stand in an equation"):
            use()
    if hasattr(value, "dtype"):
        with pytest.raises(DTypeError, match=str(value.dtype).replace("<", "")):
            x[t] + value
