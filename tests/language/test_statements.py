"""Mistakes in single statements: refused where they stand, in the user's words, with nothing lost."""

from __future__ import annotations

from unroll import T, Template, axis, ops, t
from unroll.errors import AxisError, DoubleDefinitionError, DTypeError, ShapeError, TemplateError, UndefinedError

from .mistakes import Mistakes, check_mistake, model, s

mistake = Mistakes()

# -- brackets ---------------------------------------------------------------------------------------------------------


@mistake(AxisError, "e runs along s", "t", "Use s and S")
def input_on_the_wrong_axis(h, e):
    h[t] = e[t]  # <-


@mistake(AxisError, "h runs along t", "s", "Use t and T")
def variable_on_the_wrong_axis(h, o, x):
    h[t] = x[t]
    o[t] = h[s]  # <-


@mistake(AxisError, "runs along s", "h[t]", "over=s", "S for the last")
def an_axis_that_the_left_side_lacks(h, e):
    h[t] = e[s]  # <-


@mistake(AxisError, "h[0]", "runs along t", "over=t")
def a_boundary_that_runs(h, x):
    h[0] = x[t]  # <-


@mistake(AxisError, "x has 1 time ax", "2")
def too_many_brackets(h, x):
    h[t] = x[t, 0]  # <-


@mistake(AxisError, "q has 2 time axes (t, s)", "1")
def too_few_brackets(g, h):
    q = g.input("q", over=(t, s))
    h[t] = q[t]  # <-


@mistake(AxisError, "q runs along t", "s")
def brackets_in_the_wrong_order(g, h):
    q = g.input("q", over=(t, s))
    h[t] = q[s, t]  # <-


@mistake(AxisError, "x[1.0]", "t+k", "number")
def a_float_as_step(h, x):
    h[t] = x[1.0]  # <-


@mistake(AxisError, "x[1:3]", "one per time axis", "x[t][0:3]")
def a_slice_as_step(h, x):
    h[t] = x[1:3]  # <-


@mistake(AxisError, "h[:]")
def a_slice_on_the_left(h):
    h[:] = 0  # <-


@mistake(AxisError, "x[:t]", "ops.sum")
def a_slice_up_to_now(h, x):
    h[t] = ops.sum(x[:t])  # <-


@mistake(AxisError, "h['t']")
def a_text_as_step(h):
    h["t"] = 0  # <-


@mistake(AxisError, "x[y[t]]")
def an_expression_as_step(h, x, y):
    h[t] = x[y[t]]  # <-


@mistake(AxisError, "W", "no time axis", "t")
def a_param_at_a_step(h, W):
    h[t] = W[t]  # <-


@mistake(AxisError, "v", "no time axis")
def a_context_vector_at_a_step(h, v):
    h[t] = v[t]  # <-


@mistake(AxisError, "x[t] * 2", "no time axis")
def an_expression_at_a_step(h, x):
    h[t] = (x[t] * 2)[t]  # <-


@mistake(TypeError, "W", "param")
def a_param_defined(W, x):
    W[t] = x[t]  # <-


@mistake(TypeError, "v", "input")
def a_context_vector_defined(v, x):
    v[t] = x[t]  # <-


@mistake(AxisError, "x has one value per step", "x[t]")
def an_input_without_brackets(h, W, x):
    h[t] = W @ x  # <-


@mistake(AxisError, "h has one value per step", "h[t]")
def a_variable_without_brackets(h, o, x):
    h[t] = x[t]
    o[t] = ops.tanh(h)  # <-


@mistake(AxisError, "x has one value per step", "x[t]")
def a_sum_without_brackets(g, x):
    g.loss = ops.sum(x, over=t)  # <-


# -- definitions ------------------------------------------------------------------------------------------------------


@mistake(DoubleDefinitionError, "h[t] is defined twice", "h[t] = x[t]", "h[t] = x[t] * 2", "one definition")
def one_statement_twice(h, x):
    h[t] = x[t]  # <-
    h[t] = x[t] * 2  # <-


@mistake(DoubleDefinitionError, "h[0] is defined twice")
def a_boundary_twice(h):
    h[0] = 0  # <-
    h[0] = 1  # <-


@mistake(DoubleDefinitionError, "h[1]", "1..T", "step 0", "T+1")
def a_boundary_inside(h):
    h[1] = 0  # <-


@mistake(DoubleDefinitionError, "h[T]", "1..T", "T+1")
def a_boundary_at_the_end(h):
    h[T] = 0  # <-


@mistake(DoubleDefinitionError, "q[1, s]", "1..T", "q[t, s] is defined")
def a_boundary_inside_a_grid(g):
    q = g.variable("q", ())
    q[1, s] = 0  # <-


@mistake(DoubleDefinitionError, "q[t, 2]", "1..S", "S+1")
def a_boundary_inside_the_other_axis(g):
    q = g.variable("q", ())
    q[t, s] = 1
    q[t, 2] = 0  # <-


@mistake(TemplateError, "h[t+1]", "h[t] = ...", "-1")
def a_definition_at_the_next_step(h, x):
    h[t + 1] = x[t]  # <-


@mistake(TemplateError, "h[t-1]", "h[t] = ...", "+1")
def a_definition_at_the_previous_step(h, x):
    h[t - 1] = x[t]  # <-


@mistake(DoubleDefinitionError, "h[t]", "h[t] += 1", "defined twice", "+=")
def an_addition_in_place(h, x):
    h[t] = x[t]  # <-
    h[t] += 1  # <-


@mistake(TemplateError, "h[t]", "+=", "h[t-1]")
def an_addition_in_place_first(g, h, x):
    h[t] += x[t]  # <-
    assert g.system


@mistake(DoubleDefinitionError, "x is an input", "array")
def an_input_defined(x):
    x[t] = 0  # <-


@mistake(UndefinedError, "p is read before its definition", 'g.variable("p", shape)')
def a_read_of_unknown_shape(p, x):
    p[0] = 0
    p[t] = p[t - 1] + x[t]  # <-


# -- loss and outputs -------------------------------------------------------------------------------------------------


@mistake(ShapeError, "loss", "(3,)", "ops.sum")
def a_loss_that_is_a_vector(g, x):
    g.loss = ops.sum(x[t], over=t)  # <-


@mistake(AxisError, "loss", "runs along t", "over=t")
def a_loss_at_every_step(g, x):
    g.loss = ops.sum(x[t])  # <-


@mistake(DoubleDefinitionError, "loss", "twice", "g.loss = ops.sum(b)", "g.loss = b[0]")
def two_losses(g, b):
    g.loss = ops.sum(b)  # <-
    g.loss = b[0]  # <-


@mistake(DTypeError, "None")
def a_loss_of_nothing(g):
    g.loss = None  # <-


@mistake(TemplateError, "output 'q' is defined twice")
def one_output_twice(g, x):
    g.output("q", x[t])
    g.output("q", x[t] * 2)  # <-


@mistake(TemplateError, "'W'", "param", "another name")
def an_output_named_like_a_param(g, x):
    g.output("W", x[t])  # <-


@mistake(TemplateError, "'h'", "variable", "another name")
def an_output_named_like_a_variable(g, h, x):
    h[0] = 0
    h[t] = x[t]
    g.output("h", h[t - 1])  # <-


# -- templates and axes -----------------------------------------------------------------------------------------------


@mistake(TemplateError, "q[t]", "'other'", "'m'")
def expressions_of_two_templates(h, x):
    q = Template("other").input("q", 3)
    h[t] = x[t] + q[t]  # <-


@mistake(TemplateError, "q", "another template", "'m'")
def expressions_of_two_templates_of_one_name(h, E):
    q = Template("m").input("q", dtype="int")
    h[t] = E[q[t]]  # <-


@mistake(AxisError, "over=", "'t'")
def a_text_as_axis(x):
    ops.sum(x[t], over="t")  # <-


@mistake(AxisError, "over=", "T")
def the_end_as_axis(g):
    g.input("q", over=T)  # <-


@mistake(AxisError, "x[1]", "does not run along t")
def a_sum_over_an_axis_that_is_not_there(x):
    ops.sum(x[1], over=t)  # <-


@mistake(AxisError, "t", "twice")
def an_axis_twice(g):
    g.input("q", over=(t, t))  # <-


@mistake(TypeError, "axis=", "over=t")
def a_time_axis_by_position(x):
    ops.sum(x[t], t)  # <-


@mistake(ValueError, "lower-case", "'S'")
def an_axis_in_upper_case():
    axis("S")


@mistake(ValueError, "lower-case", "3")
def an_axis_named_by_a_number():
    axis(3)


@mistake.each
def test_mistake(mistake, kind, words):
    check_mistake(mistake, kind, words, model())
