"""A cell of a notebook that is run again replaces what it wrote; anything else that writes twice is refused."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy

import numpy as np
import pytest
from helpers.notebook import Notebook, notebook

from unroll import Template, ops, t
from unroll.errors import BoundaryError, DoubleDefinitionError, ShapeError, TemplateError

__all__ = ["notebook"]

BEGIN = """
from unroll import Template, T, t, ops, cells
g = Template("elman")
x, y = g.input("x", 3), g.input("y", dtype="int")
"""
PARAMS = 'W, U, V = g.param("W", (4, 4)), g.param("U", (4, 3), init=0.5), g.param("V", (5, 4))\n'
STATE = """
h = g.variable("h", 4)
h[0] = 0
h[t] = ops.tanh(ops.dropout(W @ h[t-1], 0.25) + U @ x[t])
"""
LOSS = """
g.output("o", V @ h[t])
g.loss = ops.sum(ops.cross_entropy(V @ h[t], y[t]), over=t)
"""
X, Y = np.random.default_rng(0).normal(size=(6, 2, 3)), np.ones((6, 2), int)
CELLS = {"begin": BEGIN, "params": PARAMS, "state": STATE, "loss": LOSS}


def whole(notebook: Notebook) -> Template:
    for cell, text in CELLS.items():
        notebook.run(text, cell)
    return notebook.user_ns["g"]


def gradients(g: Template) -> dict[str, np.ndarray]:
    net = g.compile("numpy", dtype="float64")
    return net.value_and_grad(net.init(0), x=X, y=Y, seed=7)[1]


@pytest.mark.parametrize("order", [("loss",), ("state",), ("params",), ("state", "loss", "params", "state")])
def test_cells_run_again_leave_the_template_as_it_was(notebook: Notebook, order: tuple[str, ...]) -> None:
    g = whole(notebook)
    text, wanted, shown = str(g), gradients(g), repr(g)
    for cell in order:
        notebook.run(CELLS[cell], cell)
    assert str(g) == text
    assert repr(g) == shown
    found = gradients(g)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted), "the same draws, the same bits"


def test_a_cell_that_is_mended_and_run_again_says_what_it_says_now(notebook: Notebook) -> None:
    g = whole(notebook)
    net = g.compile("numpy", dtype="float64")
    notebook.run(STATE.replace("ops.tanh", "ops.sigmoid"), "state")
    assert "h[t] = sigmoid(" in str(g)
    assert "tanh" not in str(g)
    fresh = Template("elman")
    assert "tanh" in str(fresh.of(net.system)), "a net compiled before keeps its own equations"
    before, after = net.loss(net.init(0), x=X, y=Y, seed=7), g.compile("numpy", dtype="float64")
    assert before != after.loss(net.init(0), x=X, y=Y, seed=7)


def test_all_that_the_cell_wrote_goes_where_it_writes_again(notebook: Notebook) -> None:
    g = whole(notebook)
    notebook.run(STATE + 'spare = g.variable("spare", 4)\nspare[t] = h[t]\n', "state")
    assert "spare" in str(g)
    notebook.run(STATE, "state")
    assert "spare" not in str(g)
    assert "spare" not in g.system.decls
    notebook.run("g.loss = ops.sum(h[t][0], over=t)", "loss")  # without its output
    assert not g.system.outputs


@pytest.mark.parametrize("kind", ["stop", "output", "variable of an output"])
def test_the_rest_that_a_cell_may_write(notebook: Notebook, kind: str) -> None:
    g = whole(notebook)
    text = {
        "stop": "g.stop = h[t][0] > {}",
        "output": 'g.output("h", h[t])\ng.output("twice", {} * h[t])',
        "variable of an output": 'g.output("p", h[t][0] + {})',
    }[kind]
    notebook.run(text.format(0.5), "more")
    once = str(g)
    notebook.run(text.format(0.7), "more")
    assert str(g) == once.replace("0.5", "0.7")


def test_a_param_is_declared_again_with_another_beginning(notebook: Notebook) -> None:
    g = whole(notebook)
    notebook.run(PARAMS.replace("init=0.5", "init=2.0"), "params")
    assert (g.compile("numpy").init(0)["U"] == 2).all()


def test_a_param_of_another_shape_replaces_one_that_nothing_reads(notebook: Notebook) -> None:
    notebook.run(BEGIN, "begin")
    notebook.run(PARAMS, "params")
    notebook.run(PARAMS.replace("(4, 4)", "(7, 7)"), "params")
    assert notebook.user_ns["W"].shape == (7, 7)


def test_a_param_of_another_shape_that_other_cells_read_says_to_begin_again(notebook: Notebook) -> None:
    g = whole(notebook)
    with pytest.raises(TemplateError) as caught:
        notebook.run(PARAMS.replace("(5, 4)", "(6, 4)"), "params")
    assert str(caught.value).startswith(
        "V was a param of shape (5, 4), which equations of other cells use, and is a param of shape (6, 4) now\n"
        "    o[t] = V @ h[t]"
    )
    assert "In[4]:2" in str(caught.value)
    assert str(caught.value).endswith("run from Template(...) again.")
    notebook.run(PARAMS, "params")
    assert gradients(g)["V"].shape == (5, 4)


def test_a_shape_that_an_equation_told_is_told_anew(notebook: Notebook) -> None:
    notebook.run(BEGIN + 'h = g.variable("h")', "begin")
    notebook.run('h[t] = g.param("A", (4, 3)) @ x[t]', "state")
    notebook.run('h[t] = g.param("A", (6, 3)) @ x[t]', "state")
    assert notebook.user_ns["h"].shape == (6,)


def test_an_expression_of_what_was_replaced_is_refused(notebook: Notebook) -> None:
    notebook.run(BEGIN, "begin")
    notebook.run('A = g.param("A", (4, 3))', "params")
    notebook.run("made, old = A @ x[t], A", "made")
    notebook.run('A = g.param("A", (6, 3))', "params")
    for text in ('g.output("a", made)', 'g.output("a", old @ x[t])'):
        with pytest.raises(TemplateError, match="declared as something else") as caught:
            notebook.run(text, "out")
        assert str(caught.value).endswith("Run the cell that makes it again.")
    notebook.run("made = A @ x[t]", "made")
    notebook.run('g.output("a", made)', "out")


def test_what_a_cell_no_longer_defines_is_missed_where_another_reads_it(notebook: Notebook) -> None:
    g = whole(notebook)
    notebook.run('h = g.variable("h", 4)\nh[0] = 0', "state")
    with pytest.raises(BoundaryError, match=r"h\[t\] is read, and only boundaries"):
        _ = g.system


def test_without_ids_the_same_text_is_the_same_cell(notebook: Notebook) -> None:
    for text in (BEGIN, PARAMS, STATE, LOSS, STATE, LOSS):
        notebook.run(text)
    with pytest.raises(TemplateError, match="declared twice"):
        notebook.run(STATE + "\n")


@pytest.mark.parametrize(
    "text",
    ["h[t] = h[t-1]", "h[0] = 1", "g.loss = 1.0", 'g.output("o", h[t])', 'g.param("W", (4, 4))', 'g.variable("h", 4)'],
)
def test_another_cell_and_one_run_do_not_write_twice(notebook: Notebook, text: str) -> None:
    whole(notebook)
    for cell in ("another", "another"):
        with pytest.raises(TemplateError, match=r"run from Template\(...\) again\.$"):
            notebook.run(text, cell)
    fresh = f"{BEGIN}{PARAMS}{STATE}{LOSS}{text}"
    with pytest.raises(TemplateError, match=r"run from Template\(...\) again\.$"):
        notebook.run(fresh, "all")


def test_a_script_does_not_write_twice() -> None:
    g = Template()
    h = g.variable("h", ())
    h[t] = 1.0
    with pytest.raises(DoubleDefinitionError, match=r"run from Template\(...\) again\.$"):
        h[t] = 2.0


def test_what_a_function_of_another_cell_writes_is_of_the_cell_that_runs(notebook: Notebook) -> None:
    notebook.run(
        BEGIN + "def leak(a):\n    z = g.variable('z', 3)\n    z[0] = 0\n    z[t] = a * z[t-1] + x[t]", "begin"
    )
    notebook.run("leak(0.5)", "made")
    notebook.run("leak(0.75)", "made")
    assert "0.75 * z[t-1]" in str(notebook.user_ns["g"])
    with pytest.raises(TemplateError, match="declared twice"):
        notebook.run("leak(0.25)", "another")


def test_layers_are_made_again(notebook: Notebook) -> None:
    notebook.run(BEGIN, "begin")
    text = "h, c = cells.layer(g, cells.lstm, x[t], {}, dropout=0.2)\n"
    g = notebook.run(text.format(4), "layer")["g"]
    once = str(g)
    notebook.run(text.format(4), "layer")
    assert str(g) == once
    notebook.run(text.format(6), "layer")
    assert notebook.user_ns["h"].shape == (6,)


def test_a_statement_that_is_refused_leaves_no_half(notebook: Notebook) -> None:
    g = whole(notebook)
    with pytest.raises(ShapeError):
        notebook.run(STATE.replace("U @ x[t]", "U @ h[t-1]"), "state")
    notebook.run(STATE, "state")
    assert "U @ x[t]" in str(g)


def test_copies_and_pickles_know_which_cell_wrote(notebook: Notebook) -> None:
    g = whole(notebook)
    notebook.run(PARAMS, "params")
    for made in (copy(g), deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert str(made) == str(g)
        notebook.user_ns["g"] = made
        notebook.run("g.loss = 2.0", "loss")
        assert str(made).endswith("loss = 2")
        with pytest.raises(DoubleDefinitionError):
            notebook.run("g.loss = 3.0", "another")


def test_a_template_made_of_another_keeps_its_order(notebook: Notebook) -> None:
    whole(notebook)
    notebook.run("g = g.truncated(3)\ng.output('more', ops.sum(g.loss))", "cut")
    g = notebook.user_ns["g"]
    notebook.run("g.output('twice', 2 * g.loss)", "out")
    notebook.run("g.output('twice', 3 * g.loss)", "out")
    lines = str(g).splitlines()
    assert lines[2] == "  h[0] = 0"
    assert "twice = 3 * loss" in lines[-1]


def test_operations_are_defined_again_and_nets_keep_theirs(notebook: Notebook) -> None:
    define = 'f = ops.define("bend", ops.elementwise, lambda g, y, x: {0} * g, {1}=lambda {2}x: {0} * x)'
    use = "g = Template()\nx = g.input('x')\ng.output('y', f(x[t]))\ng.loss = ops.sum(f(x[t]), over=t)"
    notebook.run(BEGIN, "begin")
    try:
        for how, lead in (("body", ""), ("compute", "xp, ")):
            notebook.run(define.format(2.0, how, lead), "define")
            g = notebook.run(use, "use")["g"]
            net = g.compile("numpy", dtype="float64")
            notebook.run(define.format(3.0, how, lead), "define")
            assert ops.OPS["bend"] is notebook.user_ns["f"]
            other = notebook.run(use, "use")["g"].compile("numpy", dtype="float64")
            assert str(g).count("bend(x[t])") == str(notebook.user_ns["g"]).count("bend(x[t])") == 2
            for made, factor in ((net, 2.0), (other, 3.0), (g.compile("reference", dtype="float64"), 2.0)):
                assert made.run({}, "y", x=[1.0, 2.0]).tolist() == [factor, 2 * factor]
                assert made.value_and_grad({}, ["x"], x=[1.0, 2.0])[1]["x"].tolist() == [factor, factor]
        with pytest.raises(ValueError, match="is defined already; choose another name, or run the cell again that"):
            notebook.run(define.format(2.0, "body", ""), "another")
    finally:
        ops.OPS.pop("bend", None)


def test_two_operations_of_one_name_in_one_template_are_two(notebook: Notebook) -> None:
    define = 'f = ops.define("bow", ops.elementwise, lambda g, y, x: {0} * g, body=lambda x: {0} * x)'
    notebook.run(BEGIN, "begin")
    try:
        notebook.run(define.format(2.0), "define")
        notebook.run('g = Template()\nx = g.input("x")\ng.output("a", f(x[t]))', "first")
        notebook.run(define.format(3.0), "define")
        g = notebook.run('g.output("b", f(x[t]))', "second")["g"]
        found = g.compile("numpy").run({}, x=[1.0])
        assert (found["a"].item(), found["b"].item()) == (2.0, 3.0)
    finally:
        ops.OPS.pop("bow", None)
