"""The gallery: the figures kept are those of its code, and every picture in it is laid out as print would have it."""

import importlib.util
import re
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from unroll.render import style
from unroll.render.svg import boxes

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
NAMES = re.findall(r'src="figures/([^"]+)"', PAGE)


@cache
def drawings():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    return figures.gallery()


def test_the_page_shows_what_it_draws():
    assert sorted(NAMES) == sorted(drawings())
    chapter = {int(n) for n in re.findall(r"^### 10\.(\d+) ", PAGE, re.M)}
    assert chapter == {*range(1, 14), 16}


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_code(name):
    drawing = drawings()[name]
    assert drawing.svg() == (ROOT / "docs" / "figures" / name).read_text(encoding="utf-8"), "run docs/figures.py"
    golden = (GOLDEN / name).with_suffix(".dot").read_text(encoding="utf-8")
    assert drawing.dot == golden, "run `python docs/figures.py --golden`"


def middles(drawing):
    """Where each circle stands in the SVG: its element -> (x, y)."""
    found = {}
    for group in ET.fromstring(drawing.svg()).iter(f"{SVG}g"):
        for shape in group:
            box = {k: float(v) for k, v in shape.attrib.items() if k in ("cx", "cy", "x", "y", "width", "height")}
            if shape.tag == f"{SVG}ellipse":
                found[group.get("id")] = box["cx"], box["cy"]
            elif shape.tag == f"{SVG}rect":
                found[group.get("id")] = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return found


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in NAMES
        if ("unfolded" in n or n in ("10_1.svg", "10_8.svg", "long.svg")) and not n.startswith(("grid", "dark"))
    ],
)
def test_columns_share_x_and_rows_share_y(name):
    drawing = drawings()[name]
    at = middles(drawing)
    columns, rows = {}, {}
    timed = [c for c in drawing.picture.circles.values() if c.point and c.element in at]
    axes = {c.name: len(c.point) for c in timed}
    for circle in timed:
        x, y = at[circle.element]
        rows.setdefault(circle.name, set()).add(y)
        if name not in ("10_12_unfolded.svg", "attention_unfolded.svg"):  # two axes, whose steps stand apart
            columns.setdefault(circle.point, set()).add(x)
    assert timed
    assert all(len(xs) == 1 for xs in columns.values()), columns
    assert all(len(ys) == 1 for n, ys in rows.items()), rows
    order = sorted(columns, key=lambda point: min(columns[point]))
    assert order == sorted(columns), axes


@pytest.mark.parametrize("name", NAMES)
def test_nothing_lies_on_anything_else(name):
    picture = drawings()[name].picture
    found = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in boxes(picture, tight=True)]
    assert len(found) > 1
    for a, b in combinations(found, 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)


@pytest.mark.parametrize("name", NAMES)
def test_every_node_and_edge_is_told(name):
    drawing = drawings()[name]
    root = ET.fromstring(drawing.svg("p-"))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text.startswith("A graph of ")
    assert root.get("aria-labelledby") == "p-title p-desc"
    groups = {g.get("id"): g for g in root.iter(f"{SVG}g") if g.get("id")}
    wanted = [c.element for c in drawing.picture.circles.values()] + list(drawing.picture.elements().values())
    assert {f"p-{w}" for w in wanted} <= set(groups)
    assert all(g.findtext(f"{SVG}title") for g in groups.values())
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))


def luminance(colour):
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_letter_of_any_param_stands_out_from_the_page():
    assert all(contrast(colour, style.PAPER) >= 3.0 for colour in style.PALETTE)
    assert len(set(style.PALETTE)) == len(style.PALETTE)


@pytest.mark.parametrize("name", NAMES)
def test_letters_stand_out_from_what_is_behind_them(name):
    circles = drawings()[name].picture.circles.values()
    assert circles
    for circle in circles:
        if circle.fill:
            assert contrast(circle.fill, circle.ink) >= 4.5, circle.id
