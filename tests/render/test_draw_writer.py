import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from unroll import Template, t
from unroll.errors import RenderError
from unroll.render import Drawing, dot, png
from unroll.render.labels import PrintedNames, letters, visible

SVG = "{http://www.w3.org/2000/svg}"
PROGRAM = """\
import sys
sys.stdin.buffer.read()
{action}
"""


def texts(svg):
    """What is written, superscripts and all, on one line."""
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter(f"{SVG}text")]


def plain(name):
    return "".join(piece.text for piece in letters(name))


@pytest.fixture
def drawing(make):
    return make("elman").draw()


@pytest.fixture
def no_wheels(monkeypatch):
    """As if neither resvg_py nor pygraphviz were installed, and no dot program either."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(dot.shutil, "which", lambda name: None)
    monkeypatch.delenv("UNROLL_DOT", raising=False)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a stand-in for the dot program that does one line of Python, and sets UNROLL_DOT to it."""

    def install(action):
        path = tmp_path / "my dot; echo"
        path.write_text(f"#!{sys.executable}\n{PROGRAM.format(action=action)}")
        path.chmod(0o755)
        monkeypatch.setenv("UNROLL_DOT", str(path))
        return path

    return install


def test_svg_is_a_bare_element_with_the_names_in_it(drawing):
    svg = drawing.svg()
    assert svg.startswith("<svg")
    assert sorted(texts(svg)) == sorted(["x", "h", "o", "L", "y", "U", "V", "W"])


def test_repr_is_short(drawing):
    assert repr(drawing) == "<Drawing elman: 5 nodes, 5 edges>"


def test_drawing_to_a_path_writes_and_returns(make, tmp_path):
    for name in ("a.svg", "b.dot", "c.gv"):
        made = make("elman").draw(tmp_path / name)
        assert isinstance(made, Drawing)
        assert (tmp_path / name).read_text(encoding="utf-8") == (made.svg() if name == "a.svg" else made.dot)
    make("elman").unfold(2).draw(str(tmp_path / "d.svg"))
    assert (tmp_path / "d.svg").exists()


@pytest.mark.parametrize("name", ["a.txt", "a", "a.svg.zip"])
def test_another_suffix_is_refused_before_drawing(make, tmp_path, name):
    with pytest.raises(RenderError, match=r"the suffix names the format: \.svg, \.png, \.pdf, \.dot, \.gv"):
        make("elman").draw(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("form", "magic", "engine"), [("png", b"\x89PNG", "resvg_py"), ("pdf", b"%PDF", "pygraphviz")])
def test_png_and_pdf(drawing, tmp_path, form, magic, engine):
    pytest.importorskip(engine, exc_type=ImportError)
    if form == "png" and png.serif() is None:
        pytest.skip("no font on this machine")
    drawing.save(tmp_path / f"a.{form}")
    assert (tmp_path / f"a.{form}").read_bytes().startswith(magic)


def test_a_png_is_written_with_whatever_font_there_is_or_refused(drawing, tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    png.serif.cache_clear()
    monkeypatch.setattr(png, "FAMILIES", ("no font has this name",))
    with pytest.raises(RenderError, match="finds no font on this machine, none of no font has this name"):
        png.png(drawing.svg())
    png.serif.cache_clear()
    monkeypatch.undo()
    if png.serif() is None:
        pytest.skip("no font on this machine")
    monkeypatch.setattr(png, "FAMILIES", ("no font has this name", png.serif()))
    png.serif.cache_clear()
    assert png.png(drawing.svg()).startswith(b"\x89PNG")
    png.serif.cache_clear()


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_without_an_engine_the_message_names_the_command(drawing, no_wheels, tmp_path, form):
    with pytest.raises(RenderError, match="pip install resvg_py pygraphviz") as caught:
        drawing.save(tmp_path / f"a.{form}")
    assert "a dot program: there is none on PATH" in str(caught.value)
    drawing.save(tmp_path / "a.dot")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a #! line")
def test_a_program_named_by_the_environment_goes_first(drawing, program, tmp_path):
    path = program("print(' '.join(sys.argv[1:]))")
    drawing.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "-Knop2 -Tpng -Gdpi=192\n"
    assert not list(path.parent.glob("echo*"))


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a #! line")
def test_a_program_that_fails_says_why(drawing, no_wheels, program, tmp_path):
    program("sys.exit('syntax error in line 1')")
    with pytest.raises(RenderError, match="a dot program: syntax error in line 1"):
        drawing.save(tmp_path / "a.png")


def test_a_program_has_a_time_limit(drawing, no_wheels, monkeypatch, tmp_path):
    seen = {}

    def run(command, **options):
        seen.update(options)
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setenv("UNROLL_DOT", "dot")
    monkeypatch.setattr(dot.subprocess, "run", run)
    with pytest.raises(RenderError, match="dot did not finish within 60 seconds"):
        drawing.save(tmp_path / "a.png")
    assert not seen.get("shell")


HOSTILE = [
    '"',
    "<b>",
    "<b>bold</b>",
    "<lambda>",
    "a\\b",
    "\\N",
    "\\",
    '\\"',
    "two\nlines",
    "nul\0byte",
    "javascript:alert(1)",
    "&amp;",
    "&lt;script&gt;",
    "]]>",
    "<!--",
    "a:b:c",
    "digraph",
    "node",
    "%s {} ;",
    "\u202eright to left",
    "\ud800",
    "\ufffe",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_text(name):
    g = Template(name)
    x, p, h = g.input(f"x{name}"), g.param(f"p{name}"), g.variable(name, ())
    h[0] = x[1]
    h[t] = p * h[t - 1] + x[t]
    for drawing, suffix in ((g.draw(boundaries=True), ""), (g.unfold(1).draw(), "(1)")):
        svg = drawing.svg()
        printed = {plain(name) + suffix, plain(f"x{name}") + suffix, plain(f"p{name}")}
        assert printed <= set(texts(svg))
        allowed = {"svg", "g", "title", "desc", "polygon", "ellipse", "path", "rect", "text", "tspan"}
        root = ET.fromstring(svg)
        assert {e.tag.removeprefix(SVG) for e in root.iter()} <= allowed
        assert not [key for e in root.iter() for key in e.attrib if key.endswith("href") or key.startswith("on")]


def test_what_cannot_be_seen_is_written_out():
    assert visible("h_1 é α") == "h_1 é α"
    assert visible("a\n\0\u202e") == r"a\n\x00\u202e"


def test_a_long_name_is_cut_in_the_picture_and_whole_on_hovering():
    g = Template("long")
    x, h = g.input("x"), g.variable("h" * 300, ())
    h[t] = x[t] + 1.0
    svg = g.draw().svg()
    assert "h" * 39 + "…" in texts(svg)
    assert "h" * 300 in svg


def test_the_loss_is_called_by_its_name_where_l_is_taken():
    g = Template("taken")
    big, h = g.input("L", over=None), g.variable("h", ())
    h[t] = big * 1.0
    g.loss = big**2
    assert PrintedNames(g.system).plain("loss") == "loss"


def test_importing_the_drawing_loads_no_engine():
    code = "import sys, unroll.render; print(sorted({'graphviz', 'resvg_py', 'pygraphviz'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_only_the_writer_imports_graphviz():
    folder = Path(dot.__file__).parent
    users = {p.name for p in folder.glob("*.py") if "import graphviz" in p.read_text(encoding="utf-8")}
    assert users == {"dot.py"}
