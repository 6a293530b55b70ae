"""What a picture consists of, before it is a file: circles on a grid, links between them, routes of the links."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from . import style
from .rich_text import NOTHING, Lettering, joined

Point = tuple[float, float]
Segment = tuple[Point, Point, Point, Point]
"""A cubic curve: two ends and between them two points that pull."""
Steps = tuple[int | None, ...]
"""The steps of an instance; None stands for the steps that an ellipsis leaves out."""
Instance = tuple[str, Steps | None]
"""A name of the template and its steps: ``("h", (3,))``, ``("loss", ())``; None in a folded picture."""


@dataclass(slots=True)
class Circle:
    """One node: where it stands (points, y upwards), what is written in it, and its kind in the style table.

    name, point  the variable of the template, and its steps: None in a folded picture, () for what has no steps
    colour, ink, fill  of the rim, the letters and the inside, where not those of its kind
    below        a small second line
    tip          the equation or declaration behind it, shown on hovering
    element      the id of its group in the SVG, set when it is added to a picture
    """

    id: str
    letters: Lettering
    kind: str
    x: float
    y: float
    width: float = style.DIAMETER
    height: float = style.DIAMETER
    size: float = style.NAME_SIZE
    tip: str = ""
    colour: str = ""
    ink: str = ""
    fill: str = ""
    below: Lettering = NOTHING
    name: str = ""
    point: Steps | None = None
    element: str = ""

    @property
    def text(self) -> str:
        """What is written in it, on one line."""
        return self.letters.plain


@dataclass(frozen=True, slots=True)
class Link:
    """One arrow between two circles.

    params  the params written beside it
    mark    "" or the square it carries: "delay" or "advance"
    note    small print: the number of steps of a delay that is not 1, or the fixed step that is read
    kind    in the style table
    family  links of one family, such as h[1] -> h[2] and h[2] -> h[3], are bent and labelled alike
    arrow   False for a line without a head
    rail    the height of a line that it runs along with others, into a sum at the end of a row
    """

    source: str
    target: str
    params: tuple[str, ...] = ()
    mark: str = ""
    note: Lettering = NOTHING
    kind: str = "flow"
    family: Hashable = None
    arrow: bool = True
    rail: float | None = None


@dataclass(slots=True)
class Route:
    """The way of a link: its curve, and the places of its square, label, note and glyph; that with its heading."""

    curve: list[Segment]
    square: Point | None = None
    label: Point | None = None
    note: Point | None = None
    glyph: tuple[Point, Point] | None = None


@dataclass(slots=True)
class CellFrame:
    """A frame around the nodes of a cell."""

    title: Lettering
    left: float
    low: float
    right: float
    high: float


@dataclass(frozen=True, slots=True)
class Legend:
    """What colours mean: the lowest and the highest number, and what they are numbers of."""

    title: str
    low: str
    high: str
    colours: tuple[str, ...]


@dataclass(slots=True)
class Picture:
    """A finished picture: everything the writers need and nothing of any file format.

    theme  its colours; `Circle.fill` and `Circle.ink`, which stand for numbers, are the same in all
    turned True where data flow to the right and steps downwards

    links and circles have an element each, ``edge3`` and ``node7``, which is the id of their group in the SVG.
    """

    title: str
    circles: dict[str, Circle] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    routes: dict[Link, Route] = field(default_factory=dict)
    texts: dict[str, Lettering] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    boxes: list[CellFrame] = field(default_factory=list)
    legend: Legend | None = None
    theme: style.Theme = style.LIGHT
    turned: bool = False

    def turn(self) -> None:
        """Turn what was laid out upwards to the right, where that is asked for, before there are routes."""
        for circle in self.circles.values() if self.turned else ():
            circle.x, circle.y = circle.y, -circle.x

    def add(self, circle: Circle) -> Circle:
        """Add a circle under its id."""
        circle.element = f"node{len(self.circles) + 1}"
        self.circles[circle.id] = circle
        return circle

    def instances(self, link: Link) -> tuple[Instance, Instance]:
        """What a link reads and what it writes."""
        a, b = self.circles[link.source], self.circles[link.target]
        return (a.name, a.point), (b.name, b.point)

    def elements(self) -> dict[Link, str]:
        """The id of the group of each link in the SVG."""
        return {link: f"edge{number}" for number, link in enumerate(self.links, start=1)}

    def colour(self, link: Link) -> str:
        """The colour of the one param beside a link, or "" for the ordinary ink."""
        if style.EDGES[link.kind].ink:
            return ""
        return self.colours.get(link.params[0], "") if len(link.params) == 1 else ""

    def label(self, link: Link) -> Lettering:
        """What stands beside a link: its params, as they are printed."""
        if len(link.params) == 1:
            return self.texts[link.params[0]]
        return joined(self.texts[p] for p in link.params)
