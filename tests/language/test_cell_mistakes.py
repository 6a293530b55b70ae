"""What a layer refuses, how it says so, and that the template is left as it was."""

from __future__ import annotations

import pytest

from unroll import T, Template, cells, t
from unroll.errors import AxisError, ShapeError, TemplateError

from .mistakes import Mistakes, check_mistake, model

refused = Mistakes()


@refused(ShapeError, "a cell reads a vector", "y[t]", "E[y[t]]")
def a_label(g, y):
    cells.layer(g, cells.elman, y[t], 4)  # <-


@refused(AxisError, "x has one value per step", "x[t]")
def no_step(g, x):
    cells.layer(g, cells.elman, x, 4, name="q")  # <-


@refused(ShapeError, "positive integers", "0")
def no_units(g, x):
    cells.layer(g, cells.elman, x[t], 0, name="q")  # <-


@refused(TemplateError, "'h' is declared twice")
def a_taken_name(g, x):
    cells.layer(g, cells.elman, x[t], 4)  # <-


@refused(TemplateError, "alpha=1.5", "from 0 to 1")
def an_alpha_above_one(g, x):
    cells.layer(g, cells.leaky, x[t], 4, name="q", alpha=1.5)  # <-


@refused(TemplateError, "periods=[0, 2]", "from 1")
def a_period_of_zero(g, x):
    cells.layer(g, cells.clockwork, x[t], 4, name="q", periods=[0, 2])  # <-


@refused(TemplateError, "periods=[2, 1]", "longer than the one before")
def periods_out_of_order(g, x):
    cells.layer(g, cells.clockwork, x[t], 4, name="q", periods=[2, 1])  # <-


@refused(TemplateError, "periods=[1, 1.5]", "whole")
def a_broken_period(g, x):
    cells.layer(g, cells.clockwork, x[t], 4, name="q", periods=[1, 1.5])  # <-


@refused(TemplateError, "periods=[]")
def no_periods(g, x):
    cells.layer(g, cells.clockwork, x[t], 4, name="q", periods=[])  # <-


@refused(ShapeError, "4 units", "3 groups")
def uneven_groups(g, x):
    cells.layer(g, cells.clockwork, x[t], 4, name="q", periods=[1, 2, 4])  # <-


@refused(ShapeError, "residual", "the 4 outputs of q1", "x[t], which has 3", "U @ x[t]")
def a_residual_of_two_widths(g, x):
    cells.stack(g, cells.elman, x[t], [4, 4], name="q", residual=True)  # <-


@refused(ShapeError, "the 6 outputs of q1")
def a_residual_around_two_directions(g, x):
    cells.stack(g, cells.elman, x[t], [3], name="q", residual=True, bidirectional=True)  # <-


@refused(TemplateError, "at least one layer")
def an_empty_stack(g, x):
    cells.stack(g, cells.elman, x[t], [])  # <-


@refused(TemplateError, "a stack of 2 layers got 1 in initial=")
def a_stack_with_one_initial_state(g, x):
    cells.stack(g, cells.elman, x[t], [4, 4], name="q", initial=[0])  # <-


@refused(TemplateError, "a pair", "got 1")
def two_directions_with_one_initial_state(g, x):
    cells.bidirectional(g, cells.elman, x[t], 4, name="q", initial=[0])  # <-


@refused(TemplateError, "the state of lstm is (h, c)", "initial= has 1")
def an_lstm_with_one_initial_state(g, x):
    cells.layer(g, cells.lstm, x[t], 4, name="q", initial=0)  # <-


@refused(AxisError, "over= takes a time axis")
def a_last_step_for_an_axis(g, x):
    cells.layer(g, cells.elman, x[t], 4, name="q", over=T)  # <-


@refused(TemplateError, "belongs to template 'm'")
def another_template(x):
    cells.layer(Template("n"), cells.elman, x[t], 4)  # <-


@refused(TemplateError, "takes a state of 2 (h, c), and returns 1")
def a_cell_that_returns_too_little(g, x):
    cells.layer(g, lambda scope, x, h, c: h, x[t], 4, name="q")  # <-


@refused(TemplateError, "takes no state", "(scope, x, h) -> h")
def a_cell_without_state(g, x):
    cells.layer(g, lambda scope, x: x, x[t], 4, name="q")  # <-


@refused(ShapeError, "q[t] has shape (4,)", "(3,)")
def a_cell_of_another_width(g, x):
    cells.layer(g, lambda scope, x, h: x, x[t], 4, name="q")  # <-


@refused.each
def test_a_mistake_is_explained_and_leaves_the_template_as_it_was(mistake, kind, words):
    names = model()
    before = str(names["g"])
    check_mistake(mistake, kind, words, names)
    assert str(names["g"]) == before


def test_options_are_those_of_the_cell():
    g = Template("m")
    with pytest.raises(TypeError, match=r"lstm.*peephole"):
        cells.layer(g, cells.lstm, g.input("x", 3)[t], 4, peephole=True)
    assert list(g.system.decls) == ["x"]
