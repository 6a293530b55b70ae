"""What a picture consists of, before it is DOT: circles on a grid, links between them, and the routes of the links."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from . import style

Point = tuple[float, float]
Segment = tuple[Point, Point, Point, Point]
"""A cubic curve: two ends and between them two points that pull."""


@dataclass(slots=True)
class Circle:
    """One node: where it stands (points, y upwards), what is written in it, and its kind in the style table.

    tip  the equation or declaration behind it, shown on hovering
    """

    id: str
    text: str
    kind: str
    x: float
    y: float
    width: float = style.DIAMETER
    height: float = style.DIAMETER
    size: float = style.NAME_SIZE
    tip: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One arrow between two circles.

    params  the params written beside it
    mark    "" or the square it carries: "delay" or "advance"
    note    small print: the number of steps of a delay that is not 1, or the fixed step that is read
    kind    in the style table
    family  links of one family, such as h[1] -> h[2] and h[2] -> h[3], are bent and labelled alike
    arrow   False for a line without a head
    """

    source: str
    target: str
    params: tuple[str, ...] = ()
    mark: str = ""
    note: str = ""
    kind: str = "flow"
    family: Hashable = None
    arrow: bool = True


@dataclass(slots=True)
class Route:
    """The way of a link: its curve, and the places of its square, its label and its note."""

    curve: list[Segment]
    square: Point | None = None
    label: Point | None = None
    note: Point | None = None


@dataclass(slots=True)
class Picture:
    """A finished picture: everything the writer needs and nothing of any file format."""

    title: str
    circles: dict[str, Circle] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    routes: dict[Link, Route] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)

    def add(self, circle: Circle) -> Circle:
        """Add a circle under its id."""
        self.circles[circle.id] = circle
        return circle

    def colour(self, link: Link) -> str:
        """The colour of the one param beside a link, or "" for the ordinary ink."""
        return self.colours.get(link.params[0], "") if len(link.params) == 1 else ""

    def label(self, link: Link) -> str:
        """What stands beside a link: its params, as they are printed."""
        return ", ".join(self.texts.get(p, p) for p in link.params)
