from math import hypot

import pytest

from unroll import Template, t
from unroll.errors import RenderError
from unroll.render import draw_folded
from unroll.render.arrows import arrows
from unroll.render.bezier import samples

ELMAN = """\
	x [label=x fillcolor="#E9E9E9" height=0.5833 pos="0,0" tooltip="x[t]: input, 27" width=0.5833]
	y [label=y fillcolor="#E9E9E9" height=0.5833 pos="0,336" tooltip="y[t]: input, int, scalar" width=0.5833]
"""


def links(drawing):
    return {(k.source, k.target, k.mark, k.note.plain, k.params) for k in drawing.picture.links}


def test_elman_is_the_figure_of_the_book(make):
    drawing = make("elman").draw()
    assert links(drawing) == {
        ("h", "h", "delay", "", ("W",)),
        ("x", "h", "", "", ("U",)),
        ("h", "o", "", "", ("V",)),
        ("o", "loss", "", "", ()),
        ("y", "loss", "", "", ()),
    }
    heights = {c.id: c.y for c in drawing.picture.circles.values()}
    assert sorted(heights, key=heights.__getitem__) == ["x", "h", "o", "loss", "y"]
    assert drawing.picture.circles["loss"].text == "L"
    assert drawing.dot.startswith("digraph elman {")
    assert ELMAN in drawing.dot


def test_the_same_template_gives_the_same_text(make):
    assert make("lstm").draw().dot == make("lstm").draw().dot


def test_delays_say_how_many_steps_when_not_one(make):
    drawing = make("digital_filter").draw()
    assert links(drawing) == {
        ("x", "y", "", "", ("b0",)),
        ("x", "y", "delay", "", ("b1",)),
        ("y", "y", "delay", "", ("a1",)),
        ("y", "y", "delay", "2", ("a2",)),
    }


def test_an_advance_has_a_square_of_its_own(make):
    drawing = make("bidirectional").draw()
    marks = {k.params: k.mark for k in drawing.picture.links}
    assert marks["W",] == "delay"
    assert marks["Q",] == "advance"


def test_one_square_serves_all_readers_of_a_delayed_value(make):
    drawing = make("lstm").draw()
    into = [k for k in drawing.picture.links if k.source == "h[t-1]"]
    assert {(k.target, k.params) for k in into} == {(k, (f"R_{k}",)) for k in "ifog"}
    assert [k.source for k in drawing.picture.links if k.target == "h[t-1]"] == ["h"]


def test_reads_at_one_step_say_which(make):
    notes = {(k.source, k.target): k.note.plain for k in make("last_output").draw().picture.links}
    assert notes["h", "o"] == "h[T]"
    notes = {(k.source, k.target): k.note.plain for k in make("attention").draw().picture.links}
    assert notes["e", "d"] == "e[S] → d⁽⁰⁾"


def test_boundaries_are_drawn_on_request(make):
    assert "h[0]" not in make("elman").draw().picture.circles
    shown = make("elman").draw(boundaries=True).picture.circles["h[0]"]
    assert (shown.text, shown.kind) == ("h⁽⁰⁾", "boundary")


def test_biases_are_not_drawn_and_params_have_no_circle(make):
    drawing = make("elman").draw()
    assert list(drawing.picture.colours) == ["U", "W", "V"]
    assert not {"U", "W", "V", "b", "c"} & set(drawing.picture.circles)


def test_a_param_has_one_colour_everywhere(make):
    g = make("bidirectional")
    colours = g.draw().picture.colours
    assert len(set(colours.values())) == len(colours) == 6
    assert g.adjoint().draw().picture.colours == colours
    assert g.unfold(3).draw().picture.colours == colours


def test_params_are_seen_through_transposes_slices_and_gates():
    g = Template("gates")
    x, W, U, h = g.input("x", 4), g.param("W", (4, 4)), g.param("U", (4, 8)), g.variable("h", 4)
    h[0] = 0
    h[t] = W.T @ (x[t] * h[t - 1]) + U[:, 0:4] @ x[t]
    found = {(a.source, frozenset(a.params)) for a in arrows(g.system)}
    assert found == {("h", frozenset("W")), ("x", frozenset("WU"))}


def test_the_adjoint_stands_beside_the_forward_pass(make):
    drawing = make("elman").adjoint().draw()
    circles = drawing.picture.circles
    assert {c.id for c in circles.values() if c.kind == "cotangent"} == {"h~", "o~", "U~", "W~", "V~", "b~", "c~"}
    assert circles["h~"].text == "∂L/∂h"
    assert circles["h~"].y == circles["h"].y
    assert circles["h~"].x > circles["h"].x
    main = {k for k in links(drawing) if k[0].endswith("~")}
    assert ("o~", "h~", "", "", ("V",)) in main
    assert ("h~", "h~", "advance", "", ("W",)) in main
    assert {k[0] for k in main if k[1] == "W~"} == {"h~"}
    assert 'style="filled,dashed"' in drawing.dot


def test_hidden_names_are_seen_through(template):
    systems = [template.system] + ([template.adjoint().system] if template.loss is not None else [])
    for system in systems:
        assert not [c for c in draw_folded(system).picture.circles.values() if "." in c.text]


def test_what_derivatives_read_is_left_out_where_it_is_much(make):
    g = make("lstm").adjoint()
    assert not [k for k in g.draw().picture.links if k.kind == "primal"]
    assert [k for k in g.draw(primal=True).picture.links if k.kind == "primal"]
    assert [k for k in make("elman").adjoint().draw().picture.links if k.kind == "primal"]


def test_lines_keep_off_circles_that_are_not_theirs(template):
    picture = template.draw().picture
    assert picture.routes
    for link, route in picture.routes.items():
        for circle in picture.circles.values():
            if circle.id not in (link.source, link.target) and circle.kind not in ("delay", "advance"):
                near = min(hypot(x - circle.x, y - circle.y) for x, y in samples(route.curve))
                assert near > circle.height / 2, (link, circle.id)


def test_labels_keep_off_circles(template):
    picture = template.draw().picture
    assert picture.routes
    for route in picture.routes.values():
        for place in (route.label, route.note):
            for circle in picture.circles.values() if place else ():
                assert place is not None
                assert hypot(place[0] - circle.x, place[1] - circle.y) > circle.height / 2


def test_too_many_nodes_are_refused_with_their_number(make):
    with pytest.raises(RenderError, match="has 5 nodes; more than max_nodes=4"):
        make("elman").draw(max_nodes=4)


def test_an_empty_template_is_an_empty_picture():
    assert "<svg" in Template("nothing").draw().svg()
