"""Shapes and kinds that do not fit: both operands are shown, with the line and the way out."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import ops, t
from unroll.errors import DTypeError, ShapeError

from .mistakes import Mistakes, check_mistake, model

mistake = Mistakes()


@mistake(ShapeError, "(5, 4) @ (3,)", "4 and 3", "V has shape (5, 4)", "x[t] has shape (3,)")
def a_product_that_does_not_fit(o, V, x):
    o[t] = V @ x[t]  # <-


@mistake(ShapeError, "(3,) and (4,)", "x[t] has shape (3,)", "z[t] has shape (4,)")
def a_sum_that_does_not_fit(o, x, z):
    o[t] = x[t] + z[t]  # <-


@mistake(ShapeError, "h[t]", "(3,)", "z[t]", "(4,)")
def a_definition_of_another_shape(h, z):
    h[t] = z[t]  # <-


@mistake(ShapeError, "h[0]", "(3,)", "(4,)")
def a_boundary_of_another_shape(h):
    h[0] = np.zeros(4)  # <-


@mistake(ShapeError, "(3,) and (0,)", "array", "x[t] has shape (3,)")
def an_array_of_another_shape(h, x):
    h[t] = x[t] + np.zeros(0)  # <-


@mistake(DTypeError, "W", "y[t] has shape (), int", "E[y[t]]", "one_hot")
def a_matrix_times_a_label(h, W, y):
    h[t] = W @ y[t]  # <-


@mistake(DTypeError, "tanh", "y[t] has shape (), int", "E[y[t]]")
def a_function_of_a_label(h, y):
    h[t] = ops.tanh(y[t])  # <-


@mistake(DTypeError, "int", "E has shape (5, 3)", "x[t] has shape (3,)")
def a_lookup_by_a_vector(h, E, x):
    h[t] = E[x[t]]  # <-


@mistake(ShapeError, "integer", "1.0")
def a_lookup_by_a_float(h, E):
    h[t] = E[1.0]  # <-


@mistake(ShapeError, "7", "size 5")
def a_row_that_is_not_there(h, E):
    h[t] = E[7]  # <-


@mistake(ShapeError, "E[y[t]][0]", "integer expression")
def a_lookup_and_a_slice_at_once(o, E, y):
    o[t] = E[y[t], 0]  # <-


@mistake(ShapeError, "slice", "0.5")
def a_slice_by_a_float(o, x):
    o[t] = x[t][0.5:]  # <-


@mistake(ShapeError, "slice", "step", "0")
def a_slice_of_no_step(o, x):
    o[t] = x[t][::0]  # <-


@mistake(ShapeError, "axis 1", "x[t]")
def a_feature_axis_that_is_not_there(o, x):
    o[t] = ops.sum(x[t], axis=1)  # <-


@mistake(ShapeError, "target", "(4,)", "(3,)")
def a_target_of_another_shape(o, x, z):
    o[t] = ops.cross_entropy(x[t], z[t])  # <-


@mistake(DTypeError, "cross_entropy", "y[t]", "int")
def logits_and_labels_swapped(o, x, y):
    o[t] = ops.cross_entropy(y[t], x[t])  # <-


@mistake(DTypeError, "where", "bool", "x[t]")
def a_choice_by_a_float(o, x):
    o[t] = ops.where(x[t], 1.0, 0.0)  # <-


@mistake(DTypeError, "k[0]", "int", "0.5")
def a_float_for_an_int(k):
    k[0] = 0.5  # <-


@mistake(DTypeError, "k[t]", "int", "float")
def a_float_expression_for_an_int(k, b):
    k[t] = ops.sum(b)  # <-


@mistake(DTypeError, "q[t]", "int", "float")
def a_vector_for_an_int_of_open_shape(g, x):
    q = g.variable("q", dtype="int")
    q[t] = x[t]  # <-


@mistake(ShapeError, "reshape", "(3,)", "(2, 2)")
def a_reshape_that_does_not_fit(o, x):
    o[t] = ops.reshape(x[t], (2, 2))  # <-


@mistake(ShapeError, "einsum", "'jk'", "(3,)")
def an_einsum_that_does_not_fit(o, W, x):
    o[t] = ops.einsum("ij,jk->ik", W, x[t])  # <-


@mistake.each
def test_mistake(mistake, kind, words):
    check_mistake(mistake, kind, words, model())


def test_a_number_fills_a_vector():
    names = model()
    g, h = (names[n] for n in "gh")
    h[0] = 1
    h[t] = h[t - 1] * 2
    assert g.compile().run({}, ("h", 2), T=2).tolist() == [4, 4, 4]


@pytest.mark.parametrize("count", [ops.cast, lambda mask: mask * 1.0], ids=["cast", "product"])
def test_a_comparison_counts_as_0_or_1(count):
    names = model()
    g, o, x = (names[n] for n in "gox")
    o[t] = count(x[t] > 0)
    assert o.dtype == "float"
    for backend in ("numpy", "reference"):
        assert g.compile(backend).run({}, "o", x=np.array([[1, -1, 0]], "f")).tolist() == [[1, 0, 0]]
