"""A recurrence over two axes, unfolded: the steps of one axis in columns, of the other in rows."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from math import hypot

import pytest

import unroll
from unroll import T, Template, ops, t
from unroll.errors import RenderError
from unroll.render.svg import boxes

SVG = "{http://www.w3.org/2000/svg}"
s, S = unroll.axis("s")


def two_axes(loss=True):
    g = Template("two axes")
    x, y = g.input("x", 3, over=(t, s)), g.input("y", dtype="int", over=(t, s))
    U, W, R, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("R", (4, 4)), g.param("V", (5, 4))
    h, o = g.variable("h", 4), g.variable("o")
    h[0, s] = 0
    h[t, 0] = 0
    h[t, s] = ops.tanh(W @ h[t - 1, s] + R @ h[t, s - 1] + U @ x[t, s])
    o[t, s] = V @ h[t, s]
    if loss:
        g.loss = ops.sum(ops.cross_entropy(o[t, s], y[t, s]), over=(t, s))
    return g


def alignment():
    g = Template("alignment")
    x, y = g.input("x", 3), g.input("y", 3, over=s)
    c, a, w = g.variable("c", ()), g.variable("a", ()), g.param("w")
    a[0, 0] = 0
    a[0, s] = 100
    a[t, 0] = 100
    c[t, s] = ops.sum((x[t] - y[s]) ** 2)
    a[t, s] = c[t, s] + ops.minimum(w * a[t - 1, s - 1], ops.minimum(a[t - 1, s], a[t, s - 1]))
    g.loss = a[T, S]
    return g


def both_ways():
    """Two layers, the second from right to left, each fed by a sequence along one axis alone; read along the other."""
    g = Template("both ways")
    x, v, u = g.input("x", 3, over=(t, s)), g.input("v", 3), g.input("u", 3, over=s)
    A, B, C = (g.param(name, (4, 4)) for name in "ABC")
    U, V = g.param("U", (4, 3)), g.param("V", (4, 3))
    h, r, o = g.variable("h", 4), g.variable("r", 4), g.variable("o", 4)
    h[0, s] = 0
    h[t, 0] = 0
    r[T + 1, s] = 0
    r[t, 0] = 0
    h[t, s] = ops.tanh(A @ h[t - 1, s] + B @ h[t, s - 1] + U @ x[t, s] + V @ v[t])
    r[t, s] = ops.tanh(A @ r[t + 1, s] + B @ r[t, s - 1] + C @ h[t, s] + V @ u[s])
    o[t] = r[t, S]
    g.output("o", o[t])
    return g


MADE = {f.__name__: f for f in (two_axes, alignment, both_ways)}


@pytest.fixture(params=MADE)
def grid(request):
    return MADE[request.param]()


def ellipses(drawing):
    """What is drawn as a circle: its id -> middle and half axes, y downwards."""
    ids = {c.element: c.id for c in drawing.picture.circles.values()}
    found = {}
    for group in ET.fromstring(drawing.svg()).iter(f"{SVG}g"):
        shape = group.find(f"{SVG}ellipse")
        if shape is not None:
            found[ids[group.get("id")]] = tuple(float(shape.get(k)) for k in ("cx", "cy", "rx", "ry"))
    return found


def curves(drawing):
    """Each link with points along its line."""
    links = {element: link for link, element in drawing.picture.elements().items()}
    for group in ET.fromstring(drawing.svg()).iter(f"{SVG}g"):
        if group.get("id") in links:
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", group.find(f"{SVG}path").get("d"))]
            points = list(zip(numbers[::2], numbers[1::2], strict=True))
            way = []
            for i in range(0, len(points) - 1, 3):
                (a, b, c, d), parts = points[i : i + 4], 40
                for k in (j / parts for j in range(parts + 1)):
                    weights = (1 - k) ** 3, 3 * k * (1 - k) ** 2, 3 * k * k * (1 - k), k**3
                    way.append(tuple(sum(w * p[n] for w, p in zip(weights, (a, b, c, d), strict=True)) for n in (0, 1)))
            yield links[group.get("id")], way


@pytest.mark.parametrize("rankdir", ["BT", "LR"])
def test_rows_and_columns(grid, rankdir):
    drawing = grid.unfold(T=3, S=4).draw(rankdir=rankdir)
    places = ellipses(drawing)
    across, up = {}, {}
    for circle in drawing.picture.circles.values():
        if len(circle.point) == 2:
            x, y, *_ = places[circle.id]
            right, high = (x, -y) if rankdir == "BT" else (y, x)
            across.setdefault((circle.name, circle.point[0]), set()).add(right)
            up.setdefault((circle.name, circle.point[1]), set()).add(high)
    for found in (across, up):
        assert all(len(at) == 1 for at in found.values())
        for (name, step), at in found.items():
            later = found.get((name, step + 1))
            assert later is None or min(later) - max(at) > 80


def test_what_runs_along_one_axis_stands_in_the_column_or_the_row_of_its_step():
    places = ellipses(both_ways().unfold(T=3, S=2).draw())
    for k in (1, 2, 3):
        assert places[f"v[{k}]"][0] == places[f"x[{k},1]"][0]
        assert places[f"v[{k}]"][1] > places[f"h[{k},0]"][1]  # SVG counts downwards
        assert places[f"o[{k}]"][0] == places[f"r[{k},2]"][0]
        assert places[f"o[{k}]"][1] < places[f"r[{k},2]"][1]
    for k in (1, 2):
        assert places[f"u[{k}]"][1] == places[f"x[1,{k}]"][1]
        assert places[f"u[{k}]"][0] < places[f"h[0,{k}]"][0]


def test_the_edges_are_those_of_the_graph(grid):
    dag = grid.unfold(T=3, S=2)
    drawn = {(k.source, k.target) for k in dag.draw(loss="total").picture.links}
    wanted = {
        (str(p).replace(" ", ""), str(n).replace(" ", ""))
        for n in dag.nodes()
        for p in dag.predecessors(n)
        if grid.system.decls[p.name].kind != "param"
    }
    assert drawn == wanted
    assert len(drawn) > 20


@pytest.mark.parametrize("rankdir", ["BT", "LR"])
@pytest.mark.parametrize("backward", [False, True])
def test_nothing_lies_on_anything_else(grid, rankdir, backward):
    if backward and grid.system.loss is None:
        pytest.skip("there is no loss")
    g = grid.adjoint() if backward else grid
    drawing = g.unfold(T=2, S=3).draw(rankdir=rankdir)
    found = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in boxes(drawing.picture, tight=True)]
    for a, b in combinations(found, 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)
    places = ellipses(drawing)
    lines = 0
    for link, way in curves(drawing):
        lines += 1
        for name, (cx, cy, rx, ry) in places.items():
            if name not in (link.source, link.target):
                assert all(hypot((x - cx) / rx, (y - cy) / ry) > 1.0 for x, y in way), (link, name)
    assert lines == len(drawing.picture.links)


def test_a_loss_over_both_axes_is_one_at_each_point():
    picture = two_axes().unfold(T=2, S=2).draw().picture
    assert {c.text for c in picture.circles.values() if c.kind == "loss"} == {
        "L⁽¹,¹⁾".replace("⁽¹,¹⁾", f"[{k},{n}]") for k in (1, 2) for n in (1, 2)
    }
    assert {(k.source, k.target) for k in picture.links if k.target == "loss[2,1]"} == {
        ("o[2,1]", "loss[2,1]"),
        ("y[2,1]", "loss[2,1]"),
    }
    assert [c.id for c in two_axes().unfold(T=2, S=2).draw(loss="total").picture.circles.values() if c.kind == "loss"]


def test_long_axes_leave_their_middle_out_in_both_directions():
    g = two_axes(loss=False)
    texts = {c.point: c.text for c in g.unfold(T=40, S=30).draw(columns=5).picture.circles.values() if c.name == "h"}
    assert (texts[None, 1], texts[1, None], texts[None, None]) == ("⋯", "⋮", "⋰")
    assert len(texts) == 24  # five columns and five rows, without the corner h[0, 0]
    turned = g.unfold(T=40, S=30).draw(columns=5, rankdir="LR").picture.circles.values()
    texts = {c.point: c.text for c in turned if c.name == "h"}
    assert (texts[None, 1], texts[1, None], texts[None, None]) == ("⋮", "⋯", "⋱")
    with pytest.raises(RenderError, match="more than max_nodes=2000 are not drawn"):
        g.unfold(T=40, S=30).draw(columns=None)


@pytest.mark.parametrize(("T_", "S_"), [(0, 0), (0, 2), (2, 0), (1, 1)])
def test_no_steps_and_one(T_, S_):
    drawing = two_axes().unfold(T=T_, S=S_).draw()
    names = {c.id for c in drawing.picture.circles.values()}
    assert ("h[1,1]" in names) == bool(T_ and S_)


def test_an_equation_in_a_grid_is_that_of_its_point():
    circles = two_axes(loss=False).unfold(T=2, S=2).draw(detail="equations").picture.circles
    assert circles["h[2,1]"].text.replace("⁾", "").startswith("h[2,1] = tanh(W h[1,1] + R h[2,0]")
    assert circles["h[0,1]"].text == "h[0,1]"


def test_what_recurs_along_one_axis_of_two_stays_as_it_was():
    """Layers one above the other: steps of t in columns, blocks of s in each."""
    g = Template("stacked")
    x, h, W = g.input("x", 3, over=(t, s)), g.variable("h", 3), g.param("W", (3, 3))
    h[0, s] = 0
    h[t, s] = ops.tanh(W @ h[t - 1, s] + x[t, s])
    places = ellipses(g.unfold(T=2, S=2).draw())
    assert len({y for name, (_, y, *_) in places.items() if name.startswith("h")}) == 1
