"""Mistakes in single statements: refused where they stand, in the user's words, with nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, UnrollError, axis, ops, t
from unroll.errors import (
    AxisError,
    DoubleDefinitionError,
    DTypeError,
    ShapeError,
    TemplateError,
    UndefinedError,
)

from .mistakes import Mistakes, S, check_mistake, model, s

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
    a, b, c = x[t]  # <-


@mistake(TypeError, "x[t] > 0", "neither true nor false", "ops.where")
def a_python_if(h, x):
    if x[t] > 0:  # <-
        h[t] = x[t]


@mistake(TypeError, "neither true nor false", "&")
def a_python_and(h, x):
    h[t] = ops.where(x[t] > 0 and x[t] < 1, 1.0, 0.0)  # <-


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
    o[t] = x[t].sum()  # <-


@mistake(AttributeError, "lose")
def a_misspelt_loss(g, x):
    g.lose = ops.sum(ops.sum(x[t]), over=t)


@mistake(DTypeError, "list", "array")
def a_list_in_an_expression(h, x):
    h[t] = x[t] + [1, 2, 3]  # <-


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


# -- names and shapes -------------------------------------------------------------------------------------------------

DECLARE = [
    lambda g, name: g.input(name),
    lambda g, name: g.param(name),
    lambda g, name: g.variable(name),
    lambda g, name: g.output(name, g.param("of")),
]
KINDS = ["input", "param", "variable", "output"]


@pytest.mark.parametrize("declare", DECLARE, ids=KINDS)
@pytest.mark.parametrize("name", ["", "a.b", ".1", "a~", "loss", "T", 3, None, ("a",), b"a"], ids=repr)
def test_names_that_are_refused(declare, name):
    g = Template("m")
    with pytest.raises(TemplateError, match="name") as caught:
        declare(g, name)
    assert repr(name) in str(caught.value)
    assert "test_template.py:" in str(caught.value)
    assert "input" not in str(g).partition("\n")[2]


@pytest.mark.parametrize("declare", DECLARE[:3], ids=KINDS[:3])
def test_a_taken_name_shows_both_places(declare):
    g = Template("m")
    g.input("a")
    with pytest.raises(TemplateError, match="'a' is declared twice") as caught:
        declare(g, "a")
    assert str(caught.value).count("test_template.py:") == 2


@pytest.mark.parametrize("name", ['"', "'", "two\nlines", "a b", "{0}", "%s", "h[t]", "]", "é", "\u202e", "class", "\\"])
def test_a_hostile_name_stays_on_its_line(name):
    g = Template(name)
    h = g.variable(name, ())
    h[0] = 0
    h[t] = h[t - 1] + g.input(f"x{name}")[t]
    g.output(f"o{name}", h[t] * 2)
    for text in (str(g), str(g.unfold(2)), repr(g), repr(h)):
        assert "\u202e" not in text
    assert len(str(g).splitlines()) == 4
    result = g.compile().run({}, **{f"x{name}": np.ones(2, "f")})
    assert result[f"o{name}"].tolist() == [2, 4]


@pytest.mark.parametrize("first", ["name", "axis"])
def test_a_name_and_the_end_of_an_axis_do_not_meet(first):
    """Both would be the keyword ``S=``."""
    g = Template("m")
    steps = [lambda: g.input("S", 3), lambda: g.input("e", 3, over=s)]
    steps = steps if first == "name" else steps[::-1]
    steps[0]()
    with pytest.raises(TemplateError, match="'S'"):
        steps[1]()


@pytest.mark.parametrize("shape", [0, -1, 2.0, (3, 0), (2, 2.5), "3", None, True, (3, None), (2, (3,))], ids=repr)
@pytest.mark.parametrize("kind", ["input", "param"])
def test_shapes_that_are_refused(kind, shape):
    g = Template("m")
    with pytest.raises(ShapeError, match="positive integers") as caught:
        getattr(g, kind)("a", shape)
    assert repr(shape) in str(caught.value)
    assert "test_template.py:" in str(caught.value)
    assert str(getattr(g, kind)("a", 3)) == "a"  # the name is still free


@pytest.mark.parametrize("shape", [3, np.int64(3), (3,), [3], (np.int32(3),), np.array([3])], ids=repr)
def test_shapes_that_are_taken(shape):
    assert Template("m").param("a", shape).shape == (3,)


@pytest.mark.parametrize("dtype", ["float32", "int64", float, int, np.float32, None])
def test_kinds_that_are_refused(dtype):
    with pytest.raises(DTypeError, match=r"'float', 'int' and 'bool'.*(?s:.)*test_template.py:.*(?s:.)*g.compile"):
        Template("m").input("a", dtype=dtype)


# -- nothing is lost --------------------------------------------------------------------------------------------------

REFUSED = {
    "wrong axis on the left": lambda h, x, z, e, W, y: h.__setitem__(s, x[t]),
    "wrong axis on the right": lambda h, x, z, e, W, y: h.__setitem__(t, e[s]),
    "wrong axis read": lambda h, x, z, e, W, y: x[t] + h[s] + z[t],
    "bare": lambda h, x, z, e, W, y: h.__setitem__(t, x),
    "two brackets": lambda h, x, z, e, W, y: h.__setitem__((t, s), x[t]),
    "two brackets read": lambda h, x, z, e, W, y: h[t, s] + None,
    "boundary of two": lambda h, x, z, e, W, y: h.__setitem__((0, 0), z[1]),
    "wrong shape": lambda h, x, z, e, W, y: h.__setitem__(t, z[t]),
    "wrong boundary": lambda h, x, z, e, W, y: h.__setitem__(0, np.zeros(4)),
    "inside": lambda h, x, z, e, W, y: h.__setitem__(1, 0),
    "shifted": lambda h, x, z, e, W, y: h.__setitem__(t + 1, x[t]),
    "labels": lambda h, x, z, e, W, y: h.__setitem__(t, W @ y[t]),
    "list": lambda h, x, z, e, W, y: h.__setitem__(t, [1, 2, 3]),
}


def _good(h, x, W):
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t])


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_statement_leaves_no_trace(refused):
    expected, names = model(), model()
    with pytest.raises(UnrollError):
        refused(*(names[n] for n in "hxzeWy"))
    for m in (expected, names):
        _good(m["h"], m["x"], m["W"])
        m["g"].loss = ops.sum(m["h"][T])
    assert str(names["g"]) == str(expected["g"])
    assert names["g"].system == expected["g"].system


def test_a_refused_read_of_an_open_variable_leaves_no_trace():
    g = Template("m")
    x, h = g.input("x", 3), g.variable("h")
    with pytest.raises(UndefinedError):
        h[s - 1]
    h[t] = x[t]
    assert g.system.decls["h"].axes == (t.axis,)


def test_chained_assignment_defines_each_target():
    names = model()
    g, h, r, x = (names[n] for n in "ghrx")
    h[t] = r[t] = x[t] * 2
    assert str(g).splitlines()[1:] == ["  h[t] = x[t] * 2    t = 1..T", "  r[t] = x[t] * 2    t = 1..T"]


@pytest.mark.parametrize("zero", [0, np.int64(0), np.uint8(0)], ids=lambda k: type(k).__name__)
def test_integers_of_numpy_are_steps(zero):
    names = model()
    g, h, x = (names[n] for n in "ghx")
    h[zero] = 0
    h[t] = h[t - np.int64(1)] + x[t + zero]
    assert "h[t] = h[t-1] + x[t]" in str(g)
    assert g.system


def test_a_constant_is_copied_when_it_is_written():
    names = model()
    g, h, x = (names[n] for n in "ghx")
    start = np.ones(3)
    h[0] = start
    h[t] = h[t - 1] + x[t]
    start[:] = 5
    assert g.compile().run({}, ("h", 0), x=np.ones((2, 3), "f")).tolist() == [1, 1, 1]


def test_two_axes_of_one_name_are_one_axis():
    assert axis("s") == (s, S)
    assert axis("t") == (t, T)


def test_steps_as_text():
    assert list(map(str, (t, t + 1, 1 + t, t - 2, T, T - 1, (T + 1) - 1, s, S + 3))) == [
        "t", "t+1", "t+1", "t-2", "T", "T-1", "T", "s", "S+3",
    ]  # fmt: skip
