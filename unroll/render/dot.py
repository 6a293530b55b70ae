"""A picture as DOT, and DOT as a PNG or a PDF: the one importer of the graphviz package, and the chain of engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RenderError
from . import style
from .bezier import Curve, halves, shortened
from .labels import Ids, is_harmless
from .png import png
from .scene import Circle, Link, Picture, Point

FORMATS = ("png", "pdf")
TIME_LIMIT = 60.0
"""Seconds that a dot program may take."""
GET_ENGINE = "pip install resvg_py pygraphviz"

GRAPH = {"layout": "nop2", "splines": "true", "bgcolor": style.PAPER, "pad": "0.2", "outputorder": "edgesfirst"}
NODE = {
    "shape": "ellipse",
    "fixedsize": "true",
    "style": "filled",
    "color": style.INK,
    "fontname": "Times-Italic",
    "fontsize": f"{style.NAME_SIZE:g}",
    "penwidth": "1.2",
}
EDGE = {
    "color": style.INK,
    "arrowsize": "0.75",
    "penwidth": "1.3",
    "fontname": "Times-Italic",
    "fontsize": f"{style.LABEL_SIZE:g}",
}

_native_lock = threading.Lock()


def dot_text(picture: Picture) -> str:
    """The picture as DOT: every position and every curve is in it, so that any Graphviz draws the same."""
    import graphviz

    def text(*lines: str) -> str:
        shown = "\\n".join(graphviz.escape(one.replace("&", "&amp;")) for one in lines if one)
        return graphviz.nohtml(shown)  # type: ignore[no-any-return]

    ids = Ids()
    for name in picture.circles:
        ids.of(name)
    of = picture.theme.of
    letters = {"fontcolor": of(style.INK)} if picture.theme.colours else {}
    graph = graphviz.Digraph(
        name=graphviz.nohtml(picture.title if is_harmless(picture.title) else "template"),
        graph_attr={**GRAPH, "bgcolor": "transparent" if picture.theme.transparent else of(style.PAPER)},
        node_attr={**NODE, "color": of(style.INK), **letters},
        edge_attr={**EDGE, "color": of(style.INK), **letters},
    )

    def node(name: str, at: Point, attributes: Mapping[str, str], **more: str) -> None:
        graph.node(graphviz.nohtml(name), **{"pos": _at(at), **attributes, **more})

    def edge(source: str, target: str, attributes: Mapping[str, Any]) -> None:
        graph.edge(graphviz.nohtml(source), graphviz.nohtml(target), **attributes)

    for cell in picture.boxes:
        extent = {"width": _inches(cell.right - cell.left), "height": _inches(cell.high - cell.low)}
        middle = (cell.left + cell.right) / 2, (cell.low + cell.high) / 2
        frame = {"shape": "box", "style": "rounded", "color": of(style.FAINT), "labelloc": "t"}
        node(ids.of(f"cell {cell.title.plain}"), middle, {**frame, **extent, "label": text(cell.title.plain)})
    for circle in picture.circles.values():
        node(circle.id, (circle.x, circle.y), _circle(circle, text, picture.theme))
    for link, route in picture.routes.items():
        attributes = _edge(picture, link)
        if link.params and route.label is not None:
            attributes |= {"label": text(picture.label(link).plain), "lp": _at(route.label)}
            attributes |= {"fontcolor": of(picture.colour(link) or style.INK)}
        if not link.arrow:
            attributes |= {"arrowhead": "none"}
        if route.square is not None:
            before, after = halves(route.curve)
            name = ids.of(f"{link.source} {link.mark}")
            side = _inches(style.SQUARE)
            ink = {"color": of(colour)} if (colour := picture.colour(link)) and link.mark == "advance" else {}
            node(name, route.square, {**_look(link.mark, picture.theme), **ink}, width=side, height=side)
            first = {k: v for k, v in attributes.items() if k not in ("label", "lp", "fontcolor")}
            edge(link.source, name, {**first, "arrowhead": "none", "pos": _spline(before)})
            edge(name, link.target, {**attributes, "pos": _spline(after, head=link.arrow)})
        else:
            edge(link.source, link.target, {**attributes, "pos": _spline(route.curve, head=link.arrow)})
        if link.note and route.note is not None:
            size = 1.3 * link.note.width(style.NOTE_SIZE), style.NOTE_SIZE
            box = {"width": _inches(size[0]), "height": _inches(size[1]), "fontsize": f"{style.NOTE_SIZE:g}"}
            node(ids.of("note"), route.note, {"shape": "none", "style": "", **box, "label": text(link.note.plain)})
    return str(graph.source)


def _circle(circle: Circle, text: Callable[..., str], theme: style.Theme) -> dict[str, str]:
    attributes = {
        "label": text(circle.text, circle.below.plain),
        "width": _inches(circle.width),
        "height": _inches(circle.height),
        **_look(circle.kind, theme),
    }
    if circle.size != style.NAME_SIZE:
        attributes["fontsize"] = f"{circle.size:.4g}"
    if circle.tip:
        attributes["tooltip"] = text(circle.tip)
    asked = {"color": theme.of(circle.colour), "fillcolor": circle.fill, "fontcolor": circle.ink}
    attributes |= {key: value for key, value in asked.items() if value}
    return attributes


def _look(kind: str, theme: style.Theme) -> dict[str, str]:
    """A row of the table of nodes as DOT, without what all nodes have."""
    look, plain = style.NODES[kind], style.NodeLook()
    if look.shape == "none":
        return {"shape": "none", "style": "", "fontcolor": theme.of(look.letters)}
    found = {"fillcolor": theme.of(look.fill)}
    found |= {"color": theme.of(look.ink)} if look.ink != plain.ink else {}
    found |= {"fontcolor": theme.of(look.letters)} if look.letters != plain.letters else {}
    found |= {"penwidth": f"{look.line:g}"} if look.line != plain.line else {}
    found |= {"style": "filled,dashed"} if look.dashes else {}
    found |= {"style": "filled,rounded"} if look.shape == "box" else {}
    found |= {"label": ""} if look.shape == "square" else {}
    return found | ({"shape": look.shape} if look.shape != plain.shape else {})


def _edge(picture: Picture, link: Link) -> dict[str, str]:
    """How a link is drawn, without what all edges have."""
    look, plain = style.EDGES[link.kind], style.EdgeLook()
    ink = look.ink or picture.colour(link)
    found = {"color": picture.theme.of(ink)} if ink else {}
    found |= {"penwidth": f"{look.line:g}"} if look.line != plain.line else {}
    found |= {"style": "dotted" if look.dashes == style.DOTTED else "dashed"} if look.dashes else {}
    return found | ({"arrowsize": f"{0.75 * look.head:g}"} if look.head != plain.head else {})


def _inches(points: float) -> str:
    return f"{points / 72:.4g}"


def _at(p: Point) -> str:
    return f"{_number(p[0])},{_number(p[1])}"


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"


def _spline(curve: Curve, head: bool = False) -> str:
    start = ""
    if head:
        curve, tip = shortened(curve)
        start = f"e,{_at(tip)} "
    points = [curve[0][0], *(p for segment in curve for p in segment[1:])]
    return start + " ".join(map(_at, points))


def render(dot: str, form: str, svg: str, dpi: float, paper: str | None) -> bytes:
    """The picture in one of `FORMATS`: PNG from the SVG by resvg; else from the DOT, by pygraphviz or a dot program.

    dpi, paper  of a PNG: dots per inch, and what is behind the picture

    The program is `UNROLL_DOT` where that is set, which then goes first, or else the `dot` on PATH. Raises RenderError.
    """
    engines: list[tuple[str, Callable[[str, str, str], bytes]]] = [("pygraphviz", _native), ("a dot program", _program)]
    if form == "png":
        engines.insert(0, ("resvg", lambda *_: png(svg, dpi, paper)))
    if os.environ.get("UNROLL_DOT"):
        engines.insert(0, engines.pop())
    reasons = []
    for name, engine in engines:
        try:
            return engine(dot, form, f"-Gdpi={dpi:g}" if form == "png" else "")
        except (ImportError, OSError, RenderError) as error:
            reasons.append(f"    {name}: {error}")
    raise RenderError("\n".join([f"no engine at hand can draw {form.upper()}", *reasons, f"To get one: {GET_ENGINE}"]))


def _native(dot: str, form: str, option: str) -> bytes:
    import pygraphviz

    # Graphviz reports only on the C stderr, so that is set aside meanwhile; one thread at a time.
    with _native_lock, tempfile.TemporaryFile() as log:
        kept = os.dup(2)
        try:
            os.dup2(log.fileno(), 2)
            graph = pygraphviz.AGraph(string=dot)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    data = graph.draw(format=form, prog="nop2", args=option)
            finally:
                graph.close()
        except (ValueError, RuntimeError) as error:
            raise RenderError(str(error)) from error
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        log.seek(0)
        said = log.read().decode(errors="replace").splitlines()
    errors = [line for line in said if line.startswith("Error")]
    if errors or not data:
        raise RenderError("; ".join(errors) or "nothing was drawn")
    return bytes(data)


def _program(dot: str, form: str, option: str) -> bytes:
    program = os.environ.get("UNROLL_DOT") or shutil.which("dot")
    if not program:
        raise RenderError("there is none on PATH")
    try:
        done = subprocess.run(
            [program, "-Knop2", f"-T{form}", *([option] if option else [])],
            input=dot.encode(),
            capture_output=True,
            check=False,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise RenderError(f"{program} did not finish within {TIME_LIMIT:g} seconds") from error
    if done.returncode or not done.stdout:
        raise RenderError(done.stderr.decode(errors="replace").strip() or f"{program} drew nothing")
    return done.stdout
