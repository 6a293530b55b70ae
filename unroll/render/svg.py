"""A picture as SVG, readable aloud: a title for every node and edge, and a description of the whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from . import style
from .bezier import Curve, coarse, shortened
from .labels import visible
from .rich_text import SMALL, Lettering, Piece, line
from .scene import CellFrame, Circle, Legend, Link, Picture, Point, Route

MARGIN = 8.0
TOLD = 60
"""Edges that the description of a picture tells one by one."""
_UPRIGHT = re.compile(r"[^\W\d_]+|[\W\d_]+")


def svg_text(picture: Picture, prefix: str = "") -> str:
    """The picture as one SVG element.

    prefix  put before every id, so that several pictures can stand in one page
    """
    left, low, right, high = _extent(picture)
    if picture.legend is not None:
        right += 70
        low = min(low, high - 150)
    page = _Page(left, high, picture.theme)
    elements = picture.elements()
    width, height = right - left, high - low
    title, told = f"{prefix}title", f"{prefix}desc"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{title} {told}" '
        f'width="{width:.0f}pt" height="{height:.0f}pt" viewBox="0 0 {_n(width)} {_n(height)}" '
        f"font-family={quoteattr(style.FONT)}>",
        f'<title id="{title}">{escape(visible(picture.title))}</title>',
        f'<desc id="{told}">{escape(description(picture))}</desc>',
    ]
    if not picture.theme.transparent:
        lines.append(f'<rect width="100%" height="100%" fill="{picture.theme.of(style.PAPER)}"/>')
    for number, box in enumerate(picture.boxes, start=1):
        lines += page.box(box, f"{prefix}box{number}")
    lines.append('<g class="edges" fill="none">')
    for link, element in elements.items():
        if link in picture.routes:
            lines += page.edge(picture, link, picture.routes[link], prefix + element)
    lines.append('</g>\n<g class="nodes">')
    for circle in picture.circles.values():
        lines += page.node(circle, prefix + circle.element)
    lines.append("</g>")
    if picture.legend is not None:
        lines += page.legend(picture.legend, (right - 58, (low + high) / 2), f"{prefix}legend")
    lines.append("</svg>\n")
    return "\n".join(lines)


def description(picture: Picture) -> str:
    """The picture in words."""
    nodes = [c for c in picture.circles.values() if c.kind not in ("delay", "advance", "gap")]
    head = f"A graph of {len(nodes)} nodes and {len(picture.links)} edges."
    told = [sentence(picture, link) for link in picture.links[:TOLD]]
    more = len(picture.links) - len(told)
    return " ".join([head, *(f"{one}." for one in told), *([f"{more} more edges."] if more > 0 else [])])


def sentence(picture: Picture, link: Link) -> str:
    """An edge in words: ``h to h by W, one step later``."""
    a, b = (_called(picture.circles[end]) for end in (link.source, link.target))
    params = f" by {picture.label(link).plain}" if link.params else ""
    steps = link.note.plain or "1"
    mark = {"delay": f", {steps} later", "advance": f", {steps} earlier"}.get(link.mark, "")
    note = f", {link.note.plain}" if link.note and not link.mark else ""
    return f"{a} to {b}{params}{mark}{note}"


def _called(circle: Circle) -> str:
    if circle.kind in ("delay", "advance"):
        return f"the {circle.kind} of {visible(circle.name)}"
    return "the steps left out" if circle.kind == "gap" else circle.text


class _Page:
    """Where points come to lie in the SVG, whose y runs downwards."""

    def __init__(self, left: float, high: float, theme: style.Theme) -> None:
        self._left, self._high = left, high
        self._theme, self._colour = theme, theme.of
        self._set: dict[tuple[Lettering, float], str] = {}

    def at(self, p: Point) -> str:
        """A point as text."""
        return f"{_n(p[0] - self._left)},{_n(self._high - p[1])}"

    def edge(self, picture: Picture, link: Link, route: Route, element: str) -> Iterator[str]:
        """The group of a link: its line, head, square and texts."""
        look = style.EDGES[link.kind]
        param = picture.colour(link)
        ink = self._colour(look.ink or param or style.INK)
        curve, tip = shortened(route.curve, style.ARROW * look.head) if link.arrow else (route.curve, None)
        dashes = f' stroke-dasharray="{" ".join(map(_n, look.dashes))}"' if look.dashes else ""
        yield f'<g id="{element}" class="edge {link.kind}">'
        yield f"<title>{escape(sentence(picture, link))}</title>"
        yield f'<path d="{self._path(curve)}" stroke="{ink}" stroke-width="{_n(look.line)}"{dashes}/>'
        if tip is not None:
            yield f'<polygon points="{self._head(curve, tip, look.head)}" fill="{ink}"/>'
        if route.square is not None:
            yield self._shape(style.NODES[link.mark], route.square, style.SQUARE, style.SQUARE, param)
        if route.glyph is not None:
            yield from self._glyph(style.GLYPHS[link.kind], *route.glyph, ink)
        if route.label is not None:
            yield self.text(picture.label(link), route.label, style.LABEL_SIZE, ink)
        if route.note is not None:
            yield self.text(link.note, route.note, style.NOTE_SIZE, self._colour(style.INK))
        yield "</g>"

    def _glyph(self, glyph: str, p: Point, heading: Point, ink: str) -> Iterator[str]:
        """What stands across a line."""
        (x, y), (ux, uy) = p, heading
        bars = {
            "bars": ((-2.0, -5.0, -2.0, 5.0), (2.0, -5.0, 2.0, 5.0)),
            "cross": ((-4.5, -4.5, 4.5, 4.5), (-4.5, 4.5, 4.5, -4.5)),
        }
        for a, b, c, d in bars[glyph]:
            ends = (x + a * ux - b * uy, y + a * uy + b * ux), (x + c * ux - d * uy, y + c * uy + d * ux)
            yield f'<path d="M{self.at(ends[0])} L{self.at(ends[1])}" stroke="{ink}" stroke-width="1.8"/>'

    def box(self, box: CellFrame, element: str) -> Iterator[str]:
        """A frame around what belongs together."""
        x, y = self.at((box.left, box.high)).split(",")
        size = f'width="{_n(box.right - box.left)}" height="{_n(box.high - box.low)}"'
        yield f'<g id="{element}" class="cell">'
        yield f"<title>{escape(box.title.plain)}</title>"
        paint = f'fill="{self._colour(style.GROUND)}" stroke="{self._colour(style.FAINT)}"'
        yield f'<rect x="{x}" y="{y}" {size} rx="12" {paint} stroke-width="0.8"/>'
        if box.title:
            left = box.left + 8 + box.title.width(style.NOTE_SIZE) / 2
            yield self.text(box.title, (left, box.high - 10), style.NOTE_SIZE, self._colour(style.GREY), halo=False)
        yield "</g>"

    def node(self, circle: Circle, element: str) -> Iterator[str]:
        """The group of a circle: its shape and its text."""
        look, middle = style.NODES[circle.kind], (circle.x, circle.y)
        yield f'<g id="{element}" class="node {circle.kind}">'
        yield f"<title>{escape(told(circle))}</title>"
        if look.shape != "none":
            yield self._shape(look, middle, circle.width, circle.height, circle.colour, circle.fill)
        ink = circle.ink or self._colour(look.letters)
        if circle.letters:
            up = 6.0 if circle.below else 0.0
            yield self.text(circle.letters, (circle.x, circle.y + up), circle.size, ink, halo=False)
        if circle.below:
            yield self.text(circle.below, (circle.x, circle.y - 10.0), style.BELOW_SIZE, ink, halo=False)
        yield "</g>"

    def legend(self, legend: Legend, at: Point, element: str) -> Iterator[str]:
        """A scale of colours, the highest number at the top."""
        x, middle, side = *at, 12.0
        top = middle + side * len(legend.colours) / 2
        yield f'<g id="{element}" class="legend">'
        yield f"<title>{escape(visible(legend.title))} from {legend.low} to {legend.high}</title>"
        for number, colour in enumerate(reversed(legend.colours)):
            left, upper = self.at((x, top - side * number)).split(",")
            paint = f'fill="{colour}" stroke="{self._colour(style.FAINT)}" stroke-width="0.3"'
            yield f'<rect x="{left}" y="{upper}" width="14" height="{_n(side)}" {paint}/>'
        ink = self._colour(style.INK)
        for text, y in ((legend.high, top - 6), (legend.low, 2 * middle - top + 6)):
            words = line(text, upright=True)
            yield self.text(words, (x + 20 + words.width(style.NOTE_SIZE) / 2, y), style.NOTE_SIZE, ink)
        if legend.title:
            yield self.text(line(visible(legend.title), upright=True), (x + 20, top + 12), style.NOTE_SIZE, ink)
        yield "</g>"

    def _shape(
        self, look: style.NodeLook, middle: Point, width: float, height: float, colour: str, fill: str = ""
    ) -> str:
        ink = self._colour(colour if colour and look.fill != look.ink else look.ink)
        dashes = f' stroke-dasharray="{" ".join(map(_n, look.dashes))}"' if look.dashes else ""
        paint = f'fill="{fill or self._colour(look.fill)}" stroke="{ink}" stroke-width="{_n(look.line)}"{dashes}'
        if look.shape in ("square", "box"):
            x, y = self.at((middle[0] - width / 2, middle[1] + height / 2)).split(",")
            size = f'width="{_n(width)}" height="{_n(height)}"' + (' rx="5"' if look.shape == "box" else "")
            return f'<rect x="{x}" y="{y}" {size} {paint}/>'
        if look.shape == "diamond":
            sides = ((width / 2, 0.0), (0.0, height / 2), (-width / 2, 0.0), (0.0, -height / 2))
            return f'<polygon points="{" ".join(self.at((middle[0] + u, middle[1] + v)) for u, v in sides)}" {paint}/>'
        x, y = self.at(middle).split(",")
        return f'<ellipse cx="{x}" cy="{y}" rx="{_n(width / 2)}" ry="{_n(height / 2)}" {paint}/>'

    def _path(self, curve: Curve) -> str:
        parts = [f"M{self.at(curve[0][0])}"]
        parts += (f"C{self.at(b)} {self.at(c)} {self.at(d)}" for _, b, c, d in curve)
        return " ".join(parts)

    def _head(self, curve: Curve, tip: Point, scale: float) -> str:
        x, y = curve[-1][3]
        dx, dy = (tip[0] - x), (tip[1] - y)
        long = (dx * dx + dy * dy) ** 0.5 or 1.0
        nx, ny = -dy / long * 3.1 * scale, dx / long * 3.1 * scale
        return " ".join(map(self.at, ((x + nx, y + ny), tip, (x - nx, y - ny))))

    def text(self, letters: Lettering, middle: Point, size: float, ink: str, halo: bool = True) -> str:
        """Letters about a point."""
        x, y = self.at((middle[0], middle[1] - 0.3 * size)).split(",")
        paper = self._colour(style.PAPER)
        edge = f' stroke="{paper}" stroke-width="3" stroke-linejoin="round" paint-order="stroke"'
        edge = edge if halo and not self._theme.transparent else ""
        if (letters, size) not in self._set:
            self._set[letters, size] = "".join(_runs(letters, size))
        runs = self._set[letters, size]
        return f'<text x="{x}" y="{y}" font-size="{_n(size)}" text-anchor="middle" fill="{ink}"{edge}>{runs}</text>'


def _runs(letters: Lettering, size: float) -> Iterator[str]:
    """The pieces as tspans: letters slanted, the rest of a raised or lowered piece upright."""
    height, below = 0.0, 0.0
    for text, level, upright in letters:
        wanted = {1: 0.4, 0: 0.0, -1: -0.24}[level] * size
        move = f' dy="{_n(height - wanted)}"' if wanted != height else ""
        if level > 0 and below:
            move += f' dx="{_n(-below)}"'
        height = wanted
        small = f' font-size="{_n(SMALL * size)}"' if level else ""
        for run in _UPRIGHT.findall(text) if level else [text]:
            slant = ' font-style="italic"' if not upright and (not level or run.isalpha()) else ""
            yield f"<tspan{move}{small}{slant}>{escape(run)}</tspan>"
            move = ""
        below = Lettering((Piece(text, level),)).width(size) if level < 0 else 0.0


def told(circle: Circle) -> str:
    """A node in words: what it is called, and what stands behind it."""
    return "\n".join(t for t in (_called(circle) if circle.kind != "gap" else "⋯", circle.tip) if t)


def _extent(picture: Picture) -> tuple[float, float, float, float]:
    xs: list[float] = []
    ys: list[float] = []
    for x, y, wide, high in boxes(picture):
        xs += (x - wide / 2, x + wide / 2)
        ys += (y - high / 2, y + high / 2)
    for box in picture.boxes:
        xs += (box.left, box.right)
        ys += (box.low, box.high)
    for route in picture.routes.values():
        for x, y in coarse(route.curve):
            xs.append(x)
            ys.append(y)
    if not xs:
        return -MARGIN, -MARGIN, MARGIN, MARGIN
    return min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN


def boxes(picture: Picture, tight: bool = False) -> Iterable[tuple[float, float, float, float]]:
    """Middle, width and height of every circle, square and text.

    tight  True for the part of each that is sure to have ink in it: the square within a circle, the height of an x
    """
    round_, flat = (0.7, 0.5) if tight else (1.0, 1.0)
    for c in picture.circles.values():
        yield c.x, c.y, c.width * round_, c.height * round_
    for link, route in picture.routes.items():
        if route.square is not None:
            yield *route.square, style.SQUARE, style.SQUARE
        if route.label is not None:
            yield *route.label, picture.label(link).width(style.LABEL_SIZE), style.LABEL_SIZE * flat
        if route.note is not None:
            yield *route.note, link.note.width(style.NOTE_SIZE), style.NOTE_SIZE * flat


def _n(value: float) -> str:
    return f"{value + 0.0:.1f}".removesuffix(".0") if abs(value) >= 0.05 else "0"
