"""What objects show of themselves at a prompt and in a notebook: text, pictures, a page, and none of their insides."""

from __future__ import annotations

import base64
import inspect
import sys
from html import unescape
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.templates import elman

from unroll import Template, axis, ops, t
from unroll.display import Display, Unfolded
from unroll.errors import RenderError
from unroll.flow import flow
from unroll.render import draw_folded, draw_unfolded
from unroll.render import drawing as drawing_module


def displayed(monkeypatch: pytest.MonkeyPatch, shown: object) -> list[dict[str, str]]:
    """The outputs of an object in a notebook, each by format."""
    outputs: list[Any] = []
    display = SimpleNamespace(display=lambda made, raw=False: outputs.append(made))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    shown._ipython_display_()  # type: ignore[attr-defined]
    return [made if isinstance(made, dict) else made._repr_mimebundle_() for made in outputs]


def test_a_template_shows_equations_and_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    g = elman()
    equations, picture = displayed(monkeypatch, g)
    assert equations["text/plain"] == str(g)
    assert r"\tanh" in equations["text/latex"]
    assert "text/html" not in equations, "which would hide the LaTeX"
    assert picture["text/html"].startswith("<img ")


def test_a_template_that_is_not_finished_shows_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Template("begun")
    h = g.variable("h", 3)
    h[t] = 0.5 * h[t - 1]
    assert displayed(monkeypatch, g) == [{"text/plain": str(g)}]


def test_a_template_too_large_to_draw_shows_its_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Template("wide")
    for n in range(501):
        g.variable(f"v{n}", ())[t] = 1.0
    [equations] = displayed(monkeypatch, g)
    assert equations["text/plain"] == str(g)


@pytest.mark.parametrize("make", [lambda g: g.draw(), lambda g: g.unfold(3).draw(), lambda g: g.unfold(3)])
def test_pictures_are_html_and_png(make: Any) -> None:
    pytest.importorskip("resvg_py")
    shown = make(elman())
    bundle = shown._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/html", "text/plain", "image/png"}, "nbconvert would call Inkscape for image/svg+xml"
    drawing = shown.draw() if isinstance(shown, Unfolded) else shown
    _, _, coded = bundle["text/html"].partition("base64,")
    assert base64.b64decode(coded.partition('"')[0]).decode() == drawing.svg()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_without_an_engine_there_is_no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> bytes:
        raise RenderError("there is none")

    monkeypatch.setattr(drawing_module, "render", none)
    assert set(elman().draw()._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_what_a_title_says_is_no_markup() -> None:
    g = Template("<b>\"'&")
    g.variable("h", ())[t] = 1.0
    assert '<img alt="&lt;b&gt;&quot;&#x27;&amp;"' in g.draw()._repr_mimebundle_()["text/html"]


def test_a_page_without_a_path_shows_itself(tmp_path: Any) -> None:
    g = elman()
    page = g.explore(steps=2)
    assert str(page).startswith("<!DOCTYPE html>")
    assert len(repr(page)) < 120
    frame = page._repr_html_()
    assert frame.startswith('<iframe title="elman, explored"')
    _, _, inside = frame.partition('srcdoc="')
    assert unescape(inside.partition('"')[0]) == str(page)
    assert frame.count('"') == 6, "nothing of the page ends the attribute"
    page.save(tmp_path / "a.html")
    assert str(g.explore(tmp_path / "b.html", steps=2)) == (tmp_path / "a.html").read_text(encoding="utf-8")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    with pytest.raises(RenderError, match=r"a page is an \.html file"):
        page.save(tmp_path / "a.svg")


def test_programs_reports_and_flows_are_their_text() -> None:
    net = elman().compile("numpy")
    params = net.init(0)
    x = np.zeros((3, net.system.decls["x"].shape[0]), "float32")
    for shown in (net.program("h"), net.program(grad=True), net.explain(), flow(net, params, "h", x=x)):
        assert repr(shown) == str(shown)
        assert len(repr(shown)) < 3000
        assert "Decl(" not in repr(shown)
    assert len(repr(net.system)) < 60


def test_a_net_tells_what_it_takes_and_returns() -> None:
    s, _ = axis("s")
    g = Template("two")
    x, y, c = g.input("x", 3), g.input("y", dtype="int", over=s), g.input("c", (2, 2), over=None)
    W, E = g.param("W", (4, 3)), g.param("E", (5, 4))
    h = g.variable("h", 4)
    h[t] = ops.dropout(W @ x[t], 0.5) + ops.sum(E[y[s]], over=s) + ops.sum(c)
    g.output("h", h[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    for first, shown in (
        (False, "x (T, B, 3), y (S, B) int, c (B, 2, 2)"),
        (True, "x (B, T, 3), y (B, S) int, c (B, 2, 2)"),
    ):
        net = g.compile("numpy", batch_first=first)
        assert str(net).splitlines() == [
            "<Net two: numpy, float32>",
            "  params   W 4 x 3, E 5 x 4: 32 numbers",
            f"  takes    {shown}",
            "  returns  h, loss",
        ]
        told: list[str] = []
        net._repr_pretty_(SimpleNamespace(text=told.append), False)
        assert told == [str(net)]


def test_a_summary_counts() -> None:
    g = elman()
    summary = g.summary()
    assert summary.count == sum(v.size for v in g.compile("numpy").init(0).values())
    assert [name for name, (kind, _, _) in summary.rows.items() if kind == "param"] == list(g.compile("numpy").init(0))
    assert repr(summary) == str(summary)
    assert "h~" in g.adjoint().summary().rows
    assert str(Template("empty").summary()) == "template empty: nothing"


@pytest.mark.parametrize(("method", "function"), [(Display.draw, draw_folded), (Unfolded.draw, draw_unfolded)])
def test_help_names_the_options_of_a_picture(method: Any, function: Any) -> None:
    own, drawn = inspect.signature(method).parameters, inspect.signature(function).parameters
    assert list(own.values())[1:] == list(drawn.values())[1:]
    for name in list(own)[1:]:
        assert name in method.__doc__


def test_help_names_the_options_of_a_page() -> None:
    for name in list(inspect.signature(Display.explore).parameters)[1:]:
        assert f"        {name}" in Display.explore.__doc__
