"""How a picture may look and where it may go: to the right, dark, transparent, in dots, into a file."""

import io
import re
import struct
import tempfile
import xml.etree.ElementTree as ET
import zlib

import pytest

from unroll import Template, cells, ops, t
from unroll.errors import RenderError
from unroll.render import png, style
from unroll.render.bezier import samples

SVG = "{http://www.w3.org/2000/svg}"


def cell(name, *sizes):
    g = Template(name)
    cells.stack(g, getattr(cells, name), g.input("x", 3)[t], sizes or [4])
    return g


# -- to the right ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unfolded", [False, True])
def test_to_the_right_is_upwards_turned(make, unfolded):
    g = make("elman")
    drawn = g.unfold(3) if unfolded else g
    up, right = drawn.draw().picture, drawn.draw(rankdir="LR").picture
    assert set(up.circles) == set(right.circles)
    assert [(k.source, k.target, k.params) for k in up.links] == [(k.source, k.target, k.params) for k in right.links]
    names = ("x[2]", "h[2]", "o[2]", "loss[2]", "y[2]") if unfolded else ("x", "h", "o", "loss", "y")
    along = [(right.circles[n].x, right.circles[n].y) for n in names]
    assert [x for x, _ in along] == sorted(x for x, _ in along)
    assert len({y for _, y in along}) == 1
    if unfolded:
        down = [right.circles[f"h[{k}]"].y for k in range(4)]
        assert down == sorted(down, reverse=True)  # y of a picture runs upwards


@pytest.mark.parametrize("detail", ["variables", "equations", "ops"])
def test_what_is_wide_has_room_to_the_right(make, template, detail):
    drawings = [template.draw(detail=detail, rankdir="LR", boundaries=True, shapes=True)]
    lengths = {axis.end: 2 for axis in template.system.axes}
    drawings.append(template.unfold(**lengths).draw(detail=detail, rankdir="LR"))
    if template.system.loss is not None and detail == "variables":
        drawings.append(template.adjoint().draw(rankdir="LR"))
        drawings.append(template.adjoint().unfold(**lengths).draw(rankdir="LR"))
    for drawing in drawings:
        circles = list(drawing.picture.circles.values())
        for number, a in enumerate(circles):
            for b in circles[:number]:
                apart = abs(a.x - b.x) >= (a.width + b.width) / 2, abs(a.y - b.y) >= (a.height + b.height) / 2
                assert any(apart), (a.id, b.id)


# -- colours -----------------------------------------------------------------------------------------------------------


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_stands_out_from_a_dark_page():
    dark = style.THEMES["dark"]
    paper = dark[style.PAPER]
    assert set(dark) == {*style.PALETTE, style.INK, style.GREY, style.FAINT, style.SHADE, style.GROUND, style.PAPER}
    assert len(set(dark.values())) == len(dark)
    for colour in (*style.PALETTE, style.INK, style.GREY):
        assert contrast(dark[colour], paper) >= 6.0, colour
        assert contrast(dark[colour], dark[style.GROUND]) >= 4.5, colour
    assert contrast(dark[style.FAINT], paper) >= 3.0
    assert contrast(dark[style.INK], dark[style.SHADE]) >= 7.0


@pytest.mark.parametrize("unfolded", [False, True])
def test_a_dark_picture_is_the_light_one_in_other_colours(unfolded):
    g = cell("lstm")
    drawn = g.unfold(2) if unfolded else g
    light, dark = drawn.draw(), drawn.draw(theme="dark")
    for a, b in ((light.svg(), dark.svg()), (light.dot, re.sub(r' fontcolor="#E8E8E8"', "", dark.dot))):
        assert set(re.findall("#[0-9A-F]{6}", b)) <= set(style.THEMES["dark"].values())
        changed = re.sub("#[0-9A-F]{6}", lambda m: style.THEMES["dark"][m[0]], a)
        assert re.sub(r"\s+", " ", changed) == re.sub(r"\s+", " ", b)


def test_numbers_keep_their_colours_on_a_dark_page(make):
    numbers = {("h", 1): 0.0, ("h", 2): 3.0, ("h", 3): float("nan")}
    light, dark = (make("elman").unfold(3).draw(overlay=numbers, theme=theme) for theme in ("light", "dark"))
    for k in (1, 2, 3):
        a, b = (d.picture.circles[f"h[{k}]"] for d in (light, dark))
        assert (a.fill, a.ink) == (b.fill, b.ink)
        group = next(g for g in ET.fromstring(dark.svg()).iter(f"{SVG}g") if g.get("id") == b.element)
        assert group.find(f"{SVG}ellipse").get("fill") == a.fill
        assert {text.get("fill") for text in group.iter(f"{SVG}text")} == {a.ink}


def test_transparent_draws_no_page_and_no_edges_of_letters(make):
    plain, clear = make("elman").draw(), make("elman").draw(transparent=True)
    assert '<rect width="100%"' in plain.svg()
    assert '<rect width="100%"' not in clear.svg()
    assert "paint-order" in plain.svg()
    assert "paint-order" not in clear.svg()
    assert "bgcolor=transparent" in clear.dot
    pytest.importorskip("resvg_py")
    if png.serif() is None:
        pytest.skip("no font on this machine")
    for drawing, colours in ((plain, {(255, 255, 255, 255)}), (clear, {(0, 0, 0, 0)})):
        drawing.save(into := io.BytesIO(), format="png")
        assert set(pixels(into.getvalue())) == colours


def pixels(data):
    """The pixels of the first line of a PNG of eight bits a channel."""
    width, _, bits, kind = struct.unpack(">IIBB", data[16:26])
    assert (bits, kind) == (8, 6)
    body, at = b"", 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        body += data[at + 8 : at + 8 + size] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + size
    first = zlib.decompress(body)[: 1 + 4 * width]
    line = bytearray(first[1:])
    for i in range(4, len(line)) if first[0] in (1, 4) else range(0):  # less what stands before, with nothing above
        line[i] = (line[i] + line[i - 4]) % 256
    assert first[0] in (0, 1, 2, 4)
    return [tuple(line[4 * i : 4 * i + 4]) for i in range(width)]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"theme": "blue"}, "theme='blue': choose 'light', 'dark'"),
        ({"rankdir": "TB"}, "rankdir='TB': choose 'BT', 'LR'"),
    ],
)
def test_an_unknown_look_lists_those_there_are(make, option, message):
    for drawn in (make("elman"), make("elman").unfold(2)):
        with pytest.raises(ValueError, match=re.escape(message)):
            drawn.draw(**option)


# -- cells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rankdir", ["BT", "LR"])
@pytest.mark.parametrize("name", ["lstm", "gru", "mgu"])
@pytest.mark.parametrize("layers", [1, 2])
def test_no_line_runs_along_the_side_of_a_cell(name, rankdir, layers):
    """A line may cross a side: it is near one for no more than a few points of its way."""
    picture = cell(name, *[4] * layers).draw(rankdir=rankdir).picture
    assert len(picture.boxes) == layers
    for link, route in picture.routes.items():
        way = samples(route.curve, 1.0)
        for box in picture.boxes:
            for place, low, high, along, across in (
                (box.left, box.low, box.high, 1, 0),
                (box.right, box.low, box.high, 1, 0),
                (box.low, box.left, box.right, 0, 1),
                (box.high, box.left, box.right, 0, 1),
            ):
                near = [p for p in way if abs(p[across] - place) < 3 and low < p[along] < high]
                assert len(near) < 25, (link, place)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "start"), [("svg", b"<svg"), ("dot", b"digraph"), ("gv", b"digraph")])
def test_into_a_file(make, tmp_path, form, start):
    into = io.BytesIO()
    made = make("elman").draw(into, format=form)
    assert into.getvalue().startswith(start)
    assert into.getvalue() == (made.svg() if form == "svg" else made.dot).encode()
    with (tmp_path / f"a.{form}").open("wb") as file:  # whose name says the format
        file.write(b"before ")
        make("elman").unfold(2).draw(file)
    assert (tmp_path / f"a.{form}").read_bytes().startswith(b"before " + start)
    make("elman").draw(tmp_path / "no suffix", format=form)
    assert (tmp_path / "no suffix").read_bytes() == into.getvalue()


@pytest.mark.parametrize("dpi", [None, 96, 300.0])
def test_a_png_has_the_dots_that_are_asked_for(make, dpi):
    pytest.importorskip("resvg_py")
    if png.serif() is None:
        pytest.skip("no font on this machine")
    into = io.BytesIO()
    made = make("elman").draw(into, format="png", dpi=dpi)
    width = float(re.search(r'width="(\d+)pt"', made.svg())[1])
    data, dots = into.getvalue(), 192 if dpi is None else dpi
    assert struct.unpack(">I", data[16:20])[0] == pytest.approx(width / 72 * dots, abs=2)
    per_metre, _, unit = struct.unpack(">IIB", data[data.index(b"pHYs") + 4 :][:9])
    assert (per_metre, unit) == (round(dots / 0.0254), 1)
    assert pixels(data)


def test_what_is_no_file_for_a_picture_is_refused_before_drawing(make, tmp_path, monkeypatch):
    g = make("elman")
    monkeypatch.setattr("unroll.render.folded", lambda *a, **k: pytest.fail("it was drawn"))
    for target, options, told in (
        (io.StringIO(), {"format": "svg"}, "takes text; open it with mode 'wb', or give io.BytesIO()"),
        (io.BytesIO(), {}, "a file without a name does not say its format; give format='svg'"),
        (io.BytesIO(), {"format": "jpg"}, "format='jpg': choose 'svg', 'png', 'pdf', 'dot', 'gv'"),
        (5, {"format": "svg"}, "5 is no path, and no file that is open for bytes"),
        (None, {"format": "svg"}, "format='svg' says how a file is written; give its path, or a file, too"),
        (None, {"dpi": 300}, "dpi=300 says how a file is written; give its path, or a file, too"),
        ("a.svg", {"dpi": 300}, "dpi=300 is the resolution of a PNG; svg has lines and no dots"),
        ("a.png", {"dpi": 0}, "dpi=0: dots per inch, a number from 1 to 2400"),
        ("a.png", {"dpi": True}, "dpi=True: dots per inch"),
    ):
        with pytest.raises(RenderError, match=re.escape(told)):
            g.draw(target, **options)
    with (tmp_path / "a.svg").open("w") as file, pytest.raises(RenderError, match="takes text"):
        g.draw(file)


def test_a_file_that_turns_out_to_take_text_is_named(make):
    with (
        tempfile.NamedTemporaryFile("w", suffix=".svg") as file,
        pytest.raises(RenderError, match="takes text; open it with mode 'wb'"),
    ):
        make("elman").draw(file)


def test_options_of_the_looks_reach_a_whole_template():
    g = Template("leak")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = ops.tanh(h[t - 1] + x[t])
    into = io.BytesIO()
    g.unfold(2).draw(into, format="svg", rankdir="LR", theme="dark", transparent=True, columns=None)
    assert b"#161616" in into.getvalue()
