import xml.etree.ElementTree as ET

import pytest

from unroll import Template, ops, t
from unroll.errors import RenderError

SVG = "{http://www.w3.org/2000/svg}"


def places(drawing):
    """Id -> (x, y) of every circle in the SVG, read back from the file."""
    titles = {c.element: c.id for c in drawing.picture.circles.values()}
    found = {}
    for group in ET.fromstring(drawing.svg()).iter(f"{SVG}g"):
        shape = group.find(f"{SVG}ellipse")
        if shape is not None:
            found[titles[group.get("id")]] = float(shape.get("cx")), float(shape.get("cy"))
    return found


def pairs(drawing):
    return {(k.source, k.target): k.params for k in drawing.picture.links}


@pytest.mark.parametrize("name", ["elman", "bidirectional", "lstm", "digital_filter", "output_to_hidden"])
def test_columns_share_x_and_rows_share_y(make, name):
    found = places(make(name).unfold(4).draw())
    columns, rows = {}, {}
    for title, (x, y) in found.items():
        variable, _, step = title.partition("[")
        columns.setdefault(step, set()).add(x)
        rows.setdefault(variable, set()).add(y)
    assert all(len(xs) == 1 for xs in columns.values())
    assert all(len(ys) == 1 for ys in rows.values())
    assert len(set(map(min, columns.values()))) == len(columns)
    assert len(set(map(min, rows.values()))) == len(rows)
    order = sorted(columns, key=lambda k: min(columns[k]))
    assert order == sorted(columns, key=lambda k: int(k.rstrip("]")))


def test_data_flows_upwards(make):
    found = places(make("elman").unfold(3).draw())
    heights = [found[f"{name}[2]"][1] for name in ("x", "h", "o", "loss", "y")]
    assert heights == sorted(heights, reverse=True)  # SVG counts downwards


def test_the_edges_are_those_of_the_graph(make):
    dag = make("elman").unfold(3)
    drawn = {(a, b) for a, b in pairs(dag.draw(loss="total")) if "..." not in a + b}
    params = {"U", "V", "W", "b", "c"}
    wanted = {(str(p), str(n)) for n in dag.nodes() for p in dag.predecessors(n) if p.name not in params}
    assert drawn == wanted


def test_names_carry_their_step_as_a_superscript(make):
    circles = make("elman").unfold(12).draw(columns=None).picture.circles
    assert circles["h[12]"].text == "h⁽¹²⁾"
    assert circles["loss[3]"].text == "L⁽³⁾"
    assert make("digital_filter").unfold(1).draw().picture.circles["y[-1]"].text == "y⁽⁻¹⁾"


def test_boundaries_are_there(make):
    picture = make("bidirectional").unfold(2).draw().picture
    assert picture.circles["h[0]"].kind == picture.circles["r[3]"].kind == "boundary"
    assert picture.circles["h[1]"].kind == "variable"


def test_params_stand_on_the_edges(make):
    assert pairs(make("digital_filter").unfold(3).draw()) == {
        **{(f"x[{k}]", f"y[{k}]"): ("b0",) for k in (1, 2, 3)},
        **{(f"x[{k - 1}]", f"y[{k}]"): ("b1",) for k in (1, 2, 3)},
        **{(f"y[{k - 1}]", f"y[{k}]"): ("a1",) for k in (1, 2, 3)},
        **{(f"y[{k - 2}]", f"y[{k}]"): ("a2",) for k in (1, 2, 3)},
    }


def test_the_middle_of_a_long_one_is_left_out(make):
    drawing = make("elman").unfold(100).draw(columns=7)
    steps = {c.id.partition("[")[2] for c in drawing.picture.circles.values()}
    assert steps == {"0]", "1]", "2]", "...]", "98]", "99]", "100]"}
    drawn = pairs(drawing)
    assert drawn["h[2]", "h[...]"] == drawn["h[...]", "h[98]"] == ("W",)
    kinds = {(k.source, k.target): k.kind for k in drawing.picture.links}
    assert kinds["h[2]", "h[...]"] == "gap"
    assert not [pair for pair in drawn if pair[0].endswith("...]") and pair[1].endswith("...]")]


def test_reverse_recurrences_cross_the_gap_too(make):
    drawn = pairs(make("bidirectional").unfold(50).draw(columns=6))
    assert ("r[...]", "r[2]") in drawn
    assert ("r[50]", "r[...]") in drawn


def test_a_sum_reaches_into_the_gap(make):
    drawn = pairs(make("elman").unfold(50).draw(columns=5, loss="total"))
    assert {("o[1]", "loss"), ("o[...]", "loss"), ("o[50]", "loss")} <= set(drawn)


def test_length_does_not_matter_once_elided(make):
    short, long = (make("elman").unfold(n).draw() for n in (1_000, 1_000_000))
    assert len(short.picture.circles) == len(long.picture.circles)
    assert len(short.picture.links) == len(long.picture.links)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_no_length_is_special(make, steps):
    for name in ("elman", "bidirectional", "vector_to_sequence"):
        drawing = make(name).unfold(steps).draw()
        assert sum(c.id.startswith("h[") for c in drawing.picture.circles.values()) == steps + 1
        assert "<svg" in drawing.svg()


def test_untimed_names_stand_by_what_they_touch(make):
    picture = make("last_output").unfold(4).draw().picture
    assert picture.circles["o"].x == picture.circles["loss"].x == picture.circles["h[4]"].x
    assert {k.target for k in picture.links if k.source == "h[4]"} == {"o"}
    picture = make("vector_to_sequence").unfold(3).draw().picture
    assert picture.circles["v"].x == picture.circles["h[2]"].x
    assert {k.target for k in picture.links if k.source == "v"} == {"h[1]", "h[2]", "h[3]"}


def test_two_axes_are_two_blocks(make):
    drawing = make("attention").unfold(T=2, S=3).draw()
    circles = drawing.picture.circles
    assert circles["a[1,2]"].text == "a[1,2]"
    assert circles["a[1,2]"].x == circles["alpha[1,2]"].x
    assert circles["e[2]"].y < circles["a[1,2]"].y < circles["alpha[1,2]"].y < circles["ctx[1]"].y
    assert max(circles[f"alpha[1,{k}]"].x for k in (1, 2, 3)) < min(circles[f"alpha[2,{k}]"].x for k in (1, 2, 3))
    drawn = pairs(drawing)
    assert drawn["e[3]", "d[0]"] == ()
    assert drawn["d[0]", "a[1,2]"] == ("A",)
    assert {("alpha[2,1]", "ctx[2]"), ("alpha[2,3]", "ctx[2]"), ("e[1]", "ctx[2]")} <= set(drawn)
    assert ("alpha[1,1]", "ctx[2]") not in drawn


def test_both_axes_are_elided(make):
    circles = make("attention").unfold(T=50, S=60).draw(columns=5).picture.circles
    assert {"e[...]", "d[...]", "alpha[1,...]", "alpha[1,60]"} <= set(circles)
    assert len(circles) < 250


def test_the_adjoint_unfolds(make):
    drawing = make("elman").adjoint().unfold(3).draw()
    drawn, circles = pairs(drawing), drawing.picture.circles
    assert drawn["h~[3]", "h~[2]"] == ("W",)
    assert drawn["o~[2]", "h~[2]"] == ("V",)
    assert ("h~[1]", "W~") in drawn
    assert circles["h~[2]"].text == "∂L/∂h⁽²⁾"
    assert len({circles[f"h~[{k}]"].y for k in (1, 2, 3)}) == 1


def test_every_adjoint_unfolds(template):
    if template.loss is not None:
        g = template.adjoint()
        picture = g.unfold(**{a.end: 2 for a in g.system.axes}).draw().picture
        drawn = {c.name for c in picture.circles.values()}
        assert {n for n, d in g.system.decls.items() if d.kind == "cotangent" and "." not in n} <= drawn


def test_a_loss_that_is_no_sum_over_steps_is_one_node(make):
    g = Template("mixed")
    x, h = g.input("x"), g.variable("h", ())
    h[t] = 2.0 * x[t]
    g.loss = ops.sum(h[t], over=t) ** 2
    assert "loss" in g.unfold(3).draw().picture.circles
    assert "loss[2]" in make("elman").unfold(3).draw().picture.circles
    assert "loss" in make("elman").unfold(3).draw(loss="total").picture.circles


def test_a_huge_picture_is_refused_before_any_layout(make):
    dag = make("elman").unfold(1_000_000_000)
    with pytest.raises(RenderError, match=r"has 5000000001 nodes at T = 1000000000; more than max_nodes=2000"):
        dag.draw(columns=None)
    with pytest.raises(RenderError, match="Give fewer columns"):
        dag.draw(columns=100, max_nodes=50)


def test_too_many_edges_are_refused(make):
    with pytest.raises(RenderError, match="edges"):
        make("attention").unfold(T=3, S=30).draw(columns=None, max_nodes=280)


def test_unknown_options_are_refused(make):
    dag = make("elman").unfold(3)
    with pytest.raises(ValueError, match='choose "terms" or "total"'):
        dag.draw(loss="all")
    with pytest.raises(ValueError, match="at least 3"):
        dag.draw(columns=2)
    with pytest.raises(TypeError):
        dag.draw(colums=3)
