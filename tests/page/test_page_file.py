"""The file that `explore` writes: self-contained, small, what it says is so, and names are never markup."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.pages import HOSTILE, hostile, jordan, unpacked
from helpers.zoo import ZOO

from unroll import Template, axis, ops, t
from unroll.errors import ArrayError, LengthError, RenderError, UndefinedError
from unroll.explorer import _counts as lengths_of
from unroll.explorer import page
from unroll.explorer.payload import key_of
from unroll.explorer.play_order import order, reads

s, S = axis("s")


class Outline(HTMLParser):
    """The elements of a page with their attributes, and the text of each style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements:
            tag = self.elements[-1][0]
            self.texts[tag] = self.texts.get(tag, "") + data

    def handle_endtag(self, tag):
        self.elements.append(("", {}))  # what follows is not this element's text


@pytest.fixture(scope="module")
def text(page_of_jordan):
    return page_of_jordan.read_text(encoding="utf-8")


def test_nothing_is_fetched(text):
    outline = Outline(text)
    for tag, attrs in outline.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert not {"src", "href", "srcset", "style", "action"} & set(attrs), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    assert "url(" not in text
    assert "@import" not in text
    assert "http:" not in text
    assert "https:" not in text
    (policy,) = (a["content"] for tag, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(outline.texts[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_control_has_a_name(text):
    outline = Outline(text)
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attrs in outline.elements:
        if tag == "button":
            assert attrs["type"] == "button"
    assert ("html", {"lang": "en"}) in outline.elements
    assert any(a.get("aria-live") == "polite" for _, a in outline.elements)


def test_the_pictures_are_those_of_the_data(text):
    data = unpacked(text)
    assert data["counts"] == [1, 2, 3]
    assert set(data["modes"]) == {"", "forced", "backward", "forced backward"}
    for mode, view in data["modes"].items():
        assert len(view["unfolded"]) == 3
        for picture in (view, *view["unfolded"]):
            svg = ET.fromstring(data["strings"][picture["svg"]])
            ids = {element.get("id") for element in svg.iter()}
            for node in picture["nodes"]:
                assert node["id"] in ids
                assert set(node["edges"]) <= ids
                assert node["told"]
        last = view["unfolded"][-1]
        assert any(node["name"].endswith("~") for node in last["nodes"]) == ("backward" in mode)
        assert sorted(last["nodes"][k]["key"] for k in last["order"] if "~" not in last["nodes"][k]["key"]) == [
            *(f"h[{k}]" for k in (1, 2, 3)),
            *(f"loss[{k}]" for k in (1, 2, 3)),
            *(f"o[{k}]" for k in (1, 2, 3)),
        ]
        assert set(view["overlays"]) == {"values", "gradients"}
        assert "nan" in data["strings"][view["overlays"]["values"]]


def test_a_node_tells_its_equation_and_its_line(text):
    data = unpacked(text)
    for mode, read in (("", "o"), ("forced", "y")):
        nodes = data["modes"][mode]["unfolded"][2]["nodes"]
        (told,) = next(node["told"] for node in nodes if node["key"] == "h[2]")
        equation, _, place, code = (data["strings"][k] for k in told)
        assert equation == f"h⁽²⁾ = tanh(W {read}⁽¹⁾ + U x⁽²⁾)"
        assert re.fullmatch(r"pages\.py:\d+", place)
        assert code == "h[t] = ops.tanh(W @ o[t - 1] + U @ x[t])"


def test_the_same_again_and_small(text):
    g = jordan()
    assert page(g.system, steps=2) == page(g.system, steps=2)
    assert len(text) < 120_000


@pytest.mark.parametrize("name", list(ZOO)[::3])
def test_every_circle_is_lit_after_what_it_reads(name):
    g = ZOO[name]()
    for made in [g] if g.loss is None else [g, g.adjoint()]:
        lengths = {a.end: 2 for a in made.system.axes}
        try:
            dag = made.unfold(**lengths)
        except LengthError:
            continue
        picture = dag.draw().picture
        found = reads(picture)
        needs = {key: [source for source, _ in sources] for key, sources in found.items()}
        sequence = order(made.system, list(picture.circles.values()), needs)
        assert sorted(sequence) == sorted(picture.circles)
        place = {key_of(c.name, c.point): sequence.index(c.id) for c in picture.circles.values()}
        compared = 0
        for node in dag.nodes():
            for source in dag.predecessors(node):
                ends = key_of(source.name, source.steps), key_of(node.name, node.steps)
                if all(end in place for end in ends):
                    assert place[ends[0]] < place[ends[1]], ends
                    compared += 1
        assert compared


def test_hostile_names_are_text():
    made = page(hostile().system, steps=2)
    outline = Outline(made)
    assert not any(tag == "b" or attrs.get("id") == "x" for tag, attrs in outline.elements)
    assert [tag for tag, _ in outline.elements].count("script") == 1
    assert made.count("</script") == 1
    assert "\x00" not in made
    data = unpacked(made)
    names = {node["name"] for node in data["modes"][""]["nodes"]}
    assert {HOSTILE[1], HOSTILE[2]} <= names
    for text in data["strings"]:
        if text.startswith("<svg"):
            assert not {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()} & {"script", "b", "a"}


def test_other_axes_and_none():
    g = Template("sums")
    x = g.input("x", over=(t, s))
    g.output("y", ops.sum(x[t, s], over=s))
    data = unpacked(page(g.system, steps=[2, 1], S=2))
    assert (data["counts"], data["others"], list(data["modes"])) == ([1, 2], "S = 2", [""])
    g = Template("none")
    g.output("y", g.input("x", over=None) * 2)
    assert unpacked(page(g.system))["counts"] == [0]
    with pytest.raises(LengthError, match="no time axis"):
        page(g.system, steps=3)


def test_a_wide_template_gets_a_shorter_slider():
    assert lengths_of(None, None, 5) == list(range(1, 9))
    assert lengths_of(None, None, 40) == [1, 2, 3, 4]
    assert lengths_of(None, 20, 1000) == [1, 2, 20]
    assert lengths_of(3, 3, 1000) == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"steps": 0}, LengthError, "at least one"),
        ({"steps": [1, -1]}, LengthError, "from 0 up"),
        ({"steps": [1.5]}, LengthError, "from 0 up"),
        ({"S": 3}, LengthError, "S"),
        ({"forced": {"o": "nothing"}}, Exception, "nothing"),
        ({"values": {"q": np.zeros(3)}}, UndefinedError, "'q'"),
        ({"gradients": {"W": np.zeros((4, 2))}}, ArrayError, "param W has no steps"),
        ({"values": {"h": 3.0}}, ArrayError, "steps first"),
        ({"values": {"h": np.zeros((3, 4)), "o": np.zeros((2, 2))}}, ArrayError, "T = 2"),
    ],
)
def test_what_no_page_can_be_made_of(options, error, word):
    with pytest.raises(error, match=word):
        page(jordan().system, **options)


def test_where_there_is_no_loss_and_no_suffix(tmp_path):
    g = Template("free")
    g.output("y", g.input("x")[t] * 2)
    with pytest.raises(RenderError, match="no loss"):
        page(g.system, backward=True)
    with pytest.raises(RenderError, match=r"an \.html file"):
        g.explore(tmp_path / "page.svg")
    assert not list(tmp_path.iterdir())


def test_progress():
    seen = []
    page(jordan().system, steps=2, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(k, 4) for k in range(4)]
