"""Levels of detail, modes, overlays: what a picture shows beyond names and arrows."""

import math

import pytest

import unroll
from unroll import Template, cells, ops, t
from unroll.errors import RenderError, TemplateError
from unroll.render.heatmap import SCALE, WRONG, short, size_of
from unroll.render.labels import letters
from unroll.render.rich_text import Lettering, Piece


def kinds(drawing):
    return {(k.source, k.target): k.kind for k in drawing.picture.links}


def lstm():
    g = Template("lstm")
    x = g.input("x", 3)
    cells.layer(g, cells.lstm, x[t], 4)
    return g


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("h", "h"),
        ("alpha", "α"),
        ("h_1", "h₁"),
        ("h1", "h₁"),
        ("y_hat", "ŷ"),
        ("beta_12", "β₁₂"),
        ("mu_bar_2", "μ̄₂"),
        ("h_fwd", "h_fwd"),
        ("Wx", "W_x"),
        ("_h", "_h"),
        ("ctx_hat", "ctx_hat"),
        ("a<b", "a<b"),
    ],
)
def test_plain_names_are_printed_as_mathematics(name, printed):
    assert letters(name).plain == printed


def test_a_superscript_stands_above_a_subscript():
    h, step = letters("h_1"), Lettering((Piece("(3)", 1),))
    assert h.width(10) < (h + step).width(10) < h.width(10) + step.width(10)


def test_equations_are_written_into_their_nodes(make):
    circles = make("elman").draw(detail="equations").picture.circles
    assert circles["h"].text == "h[t] = tanh(b + W h[t−1] + U x[t])"
    circles = make("elman").unfold(2).draw(detail="equations").picture.circles
    assert circles["h[2]"].text == "h⁽²⁾ = tanh(b + W h⁽¹⁾ + U x⁽²⁾)"
    assert circles["h[0]"].text == "h⁽⁰⁾"


def test_operations_are_nodes_of_their_own(make):
    g = make("elman")
    texts = sorted(c.text for c in g.draw(detail="ops").picture.circles.values())
    assert texts == sorted(
        ["x", "y", "h", "o", "L", "W ·", "U ·", "V ·", "b +", "c +", "+", "tanh", "cross entropy", "Σ"]
    )
    dag = g.unfold(2, detail="ops")
    drawn = dag.draw().picture
    assert [c.text for c in drawn.circles.values()].count("tanh") == 2
    assert len(drawn.circles) == len(dag) - len(["U", "W", "V", "b", "c"])
    with pytest.raises(ValueError, match="choose 'variables', 'equations', 'ops'"):
        g.draw(detail="all")


def test_the_edges_between_operations_are_those_of_the_graph(make):
    dag = make("elman").unfold(2, detail="ops")
    drawn = set(kinds(dag.draw()))
    named = {c.id: (c.name, c.point) for c in dag.draw().picture.circles.values()}
    params = {"U", "W", "V", "b", "c"}
    wanted = {((p.name, p.steps), (n.name, n.steps)) for n in dag.nodes() for p in dag.predecessors(n)}
    assert {(named[a], named[b]) for a, b in drawn} == {(a, b) for a, b in wanted if a[0] not in params}


def test_shapes_stand_under_names_and_beside_params(make):
    picture = make("elman").draw(shapes=True).picture
    assert picture.circles["h"].below.plain == "64"
    assert [picture.label(k).plain for k in picture.links if k.params == ("W",)] == ["W_ 64×64"]


def test_a_cell_has_a_box_and_short_names():
    picture = lstm().draw().picture
    (box,) = picture.boxes
    inside = {c.text for c in picture.circles.values() if box.left < c.x < box.right and box.low < c.y < box.high}
    assert inside == {"h", "c", "f", "i", "o", "g"}
    assert {picture.texts[p].plain for p in ("Uf_h", "Wo_h")} == {"U_f", "W_o"}


def test_two_cells_have_a_box_each_and_whole_names():
    g = Template("two")
    x = g.input("x", 3)
    cells.stack(g, cells.lstm, x[t], [4, 4])
    picture = g.draw().picture
    assert [b.title.plain for b in picture.boxes] == ["h₁", "h₂"]
    assert "f_h1" in picture.circles


def test_what_the_truth_replaces_is_crossed_out(make):
    g = Template("fed")
    x, W, o = g.input("x", 2), g.param("W", (2, 2)), g.variable("o", 2)
    g.input("y", 2)
    o[0] = 0
    o[t] = ops.tanh(W @ o[t - 1] + x[t])
    assert kinds(g.draw(forced={"o": "y"})) == {("y", "o"): "truth", ("o", "o"): "severed", ("x", "o"): "flow"}
    drawn = kinds(g.unfold(2).draw(forced={"o": "y"}))
    assert drawn["y[1]", "o[2]"] == "truth"
    assert drawn["o[1]", "o[2]"] == "severed"
    assert drawn["y[0]", "o[1]"] == "truth"
    assert [r.glyph is not None for r in g.draw(forced={"o": "y"}).picture.routes.values()].count(True) == 1
    with pytest.raises(TemplateError):
        g.draw(forced={"o": "nothing"})


def test_a_choice_is_a_switch():
    g = Template("fed")
    y, W, o = g.input("y", 2), g.param("W", (2, 2)), g.variable("o", 2)
    o[0] = 0
    o[t] = ops.tanh(W @ o[t - 1])
    g.loss = ops.sum(ops.sum((o[t] - y[t]) ** 2), over=t)
    picture = g.scheduled({"o": "y"}).draw().picture
    assert picture.circles["o_fed"].kind == "switch"
    drawn = {(k.source, k.target): k.kind for k in picture.links}
    assert drawn["y", "o_fed"] == drawn["o", "o_fed"] == "choice"
    assert drawn["epsilon", "o_fed"] == "control"
    assert not [name for name in picture.circles if name.startswith("noise")]


@pytest.mark.parametrize("period", [1, 2, 3])
def test_a_chunk_cuts_where_gradients_do_not_pass(make, period):
    """The bars stand exactly where the adjoint of the unfolded graph is cut."""
    g = make("elman").truncated(period)
    drawn = kinds(g.unfold(7).draw())
    barred = {int(b[2:-1]) for (a, b), kind in drawn.items() if kind == "stopped"}
    assert barred == {k for k in range(2, 8) if (k - 1) % period == 0}
    back = kinds(g.adjoint().unfold(7).draw())
    crossed = {int(a[3:-1]) for (a, b), kind in back.items() if kind == "severed"}
    assert crossed == barred
    assert kinds(g.draw())["h", "h"] == "stopped"


def test_a_stopped_gradient_has_bars_but_softmax_has_not(make):
    g = Template("stopped")
    x, h = g.input("x", 2), g.variable("h", 2)
    h[0] = 0
    h[t] = ops.softmax(x[t]) + ops.stop_gradient(h[t - 1])
    assert kinds(g.draw()) == {("x", "h"): "flow", ("h", "h"): "stopped"}
    assert "stopped" not in kinds(make("attention").draw()).values()


def test_a_clamped_start_is_grey_like_any_other(make):
    circles = make("elman").clamped(("h", 0)).unfold(2).draw().picture.circles
    assert circles["h[0]"].kind == "boundary"
    assert make("attention").unfold(T=2, S=2).draw().picture.circles["d[0]"].kind == "variable"


def test_the_steps_around_one(make):
    picture = make("elman").unfold(9).draw(around=5).picture
    assert picture.circles["h[4]"].text == "h[t−1]"
    assert picture.circles["h[5]"].text == "h[t]"
    assert {c.id for c in picture.circles.values() if "…" in c.text} == {"h[3]", "h[7]"}
    assert "x[3]" not in picture.circles
    with pytest.raises(ValueError, match="the steps run from 1 to 9"):
        make("elman").unfold(9).draw(around=10)


def test_boundaries_of_the_unfolded_graph_are_left_out_on_request(make):
    assert "h[0]" not in make("elman").unfold(3).draw(boundaries=False).picture.circles


def test_gradients_of_params_are_sums_along_a_line(make):
    picture = make("elman").adjoint().unfold(4).draw().picture
    rails = {k.rail for k in picture.links if k.target == "W~"}
    assert len(rails) == 1
    assert {k.rail for k in picture.links if k.target == "U~"} == rails
    assert picture.circles["W~"].y == picture.circles["h~[1]"].y
    tops = [max(y for _, y in (s[3] for s in picture.routes[k].curve)) for k in picture.links if k.target == "W~"]
    assert set(tops) == rails


def test_numbers_of_a_run_are_colours(make):
    dag = make("elman").unfold(3)
    overlay = {"h": [[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], ("o", 2): float("nan"), ("loss", 3): -math.inf}
    drawing = dag.draw(overlay=overlay, measured="norm")
    circles = drawing.picture.circles
    assert [circles[f"h[{k}]"].below.plain for k in (1, 2, 3)] == ["5", "1", "0"]
    assert [circles[f"h[{k}]"].fill for k in (1, 3)] == [SCALE[-1], SCALE[0]]
    assert (circles["o[2]"].fill, circles["o[2]"].below.plain) == (WRONG, "nan")
    assert (circles["loss[3]"].fill, circles["loss[3]"].below.plain) == (WRONG, "−∞")
    legend = drawing.picture.legend
    assert (legend.title, legend.low, legend.high) == ("norm", "0", "5")
    assert ">nan<" in drawing.svg()
    assert 'id="legend"' in drawing.svg()
    assert f'fillcolor="{WRONG}"' in drawing.dot


def test_an_overlay_names_what_is_not_there(make):
    dag = make("elman").unfold(3)
    with pytest.raises(RenderError, match="no node of 'hh' is drawn; there are x, y, h, o, loss"):
        dag.draw(overlay={"hh": [1.0]})
    with pytest.raises(RenderError, match=r"h\[7\] is not drawn"):
        dag.draw(overlay={("h", 7): 1.0})


def test_a_logarithmic_scale_takes_zero_for_the_least(make):
    circles = make("elman").unfold(3).draw(overlay={"h": [1.0, 1e-6, 0.0]}, log=True).picture.circles
    assert [circles[f"h[{k}]"].fill for k in (1, 2, 3)] == [SCALE[-1], SCALE[0], SCALE[0]]


def test_an_array_counts_by_its_norm():
    assert size_of([3.0, 4.0]) == 5.0
    assert size_of(-2.0) == -2.0
    assert size_of([1e200, 1e200]) == pytest.approx(1.4142e200, rel=1e-4)
    assert math.isnan(size_of([math.inf, math.nan]))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.234, "1.2"), (123.4, "123"), (1e-5, "1e−5"), (-2e7, "−2e7"), (0.031, "0.031")]
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_blocks_that_share_a_row_are_summed_along_lines_of_their_own():
    s, S = unroll.axis("s")
    g = Template("pair")
    x, y = g.input("x", 2, over=s), g.input("y", 2)
    W, Q, e, d = g.param("W", (2, 2)), g.param("Q", (2, 2)), g.variable("e", 2), g.variable("d", 2)
    e[0] = 0
    e[s] = ops.tanh(W @ e[s - 1] + x[s])
    d[0] = e[S]
    d[t] = ops.tanh(Q @ d[t - 1] + y[t])
    g.loss = ops.sum(ops.sum(d[t]), over=t)
    picture = g.adjoint().unfold(T=3, S=2).draw().picture
    rails = {name: {k.rail for k in picture.links if k.target == name} for name in ("W~", "Q~")}
    assert len(rails["W~"]) == len(rails["Q~"]) == 1
    assert max(rails["W~"]) > max(rails["Q~"])
    assert picture.circles["W~"].x > picture.circles["Q~"].x
    assert picture.circles["e~[1]"].y == picture.circles["d~[1]"].y
    assert picture.circles["d~[0]"].kind == "cotangent"
