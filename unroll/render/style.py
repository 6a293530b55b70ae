"""The one table of looks: sizes in points, colours, fonts, and how each kind of node and edge is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .rich_text import Lettering

DIAMETER = 42.0
ROW = 84.0
COLUMN = 92.0
SQUARE = 9.0
ARROW = 8.0
NAME_SIZE = 17.0
LABEL_SIZE = 15.0
NOTE_SIZE = 12.0
SMALLEST = 10.0
BELOW_SIZE = 10.0
BOX = 28.0
BOX_SIZE = 14.0
"""Height of a box, which holds an operation or an equation, and size of its letters."""
RAIL, LOW_RAIL = 38.0, 30.0
"""How far above a row the line runs along which it is summed; and in a grid, whose rows are lower."""
LOOP = 36.0
"""How far a delay's square stands off the circle it loops back to."""

FONT = "Times New Roman, Liberation Serif, Nimbus Roman, Times, serif"
INK = "#222222"
GREY = "#555555"
FAINT = "#8C8C8C"
SHADE = "#E9E9E9"
GROUND = "#F7F7F4"
PAPER = "#FFFFFF"

PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#AA4499",
    "#332288",
    "#A6761D",
    "#882255",
    "#3A8FC4",
    "#117733",
    "#B85C93",
    "#6A6A6A",
    "#B97A00",
)
"""Told apart by colour-blind readers (after Okabe and Ito, and Tol), and dark enough for a letter on white."""


@dataclass(frozen=True, slots=True)
class Theme:
    """What the colours of these tables are on a page.

    colours      those that differ from the table
    transparent  True where nothing is drawn behind the picture
    """

    colours: Mapping[str, str] = field(default_factory=dict)
    transparent: bool = False

    def of(self, colour: str) -> str:
        """A colour of the tables as it is on this page."""
        return self.colours.get(colour, colour)


_ON_DARK = {
    INK: "#E8E8E8",
    GREY: "#B8B8B8",
    FAINT: "#858585",
    SHADE: "#3C3C3C",
    GROUND: "#222222",
    PAPER: "#161616",
    "#0072B2": "#4DA6E8",
    "#D55E00": "#FF8A3D",
    "#009E73": "#2EC99A",
    "#AA4499": "#D98AD0",
    "#332288": "#A79BF0",
    "#A6761D": "#D9A441",
    "#882255": "#E67BA4",
    "#3A8FC4": "#8CCBF2",
    "#117733": "#6CC585",
    "#B85C93": "#E7A0C8",
    "#6A6A6A": "#ADADAD",
    "#B97A00": "#F0C45A",
}

LIGHT = Theme()
THEMES: Mapping[str, Mapping[str, str]] = {"light": {}, "dark": _ON_DARK}
"""The colours of each theme by those of the tables; the same are far apart on both."""


@dataclass(frozen=True, slots=True)
class NodeLook:
    """How a kind of node is drawn; shape is "ellipse", "diamond", "box", "square" or "none"."""

    shape: str = "ellipse"
    fill: str = PAPER
    ink: str = INK
    letters: str = INK
    line: float = 1.2
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeLook:
    """How a kind of edge is drawn; without an ink of its own it takes that of its param."""

    ink: str = ""
    line: float = 1.3
    dashes: tuple[float, ...] = ()
    head: float = 1.0


DASHED = (5.0, 3.0)
DOTTED = (1.5, 2.5)
LONG = (9.0, 3.0)

NODES: Mapping[str, NodeLook] = {
    "input": NodeLook(fill=SHADE),
    "variable": NodeLook(),
    "loss": NodeLook(line=2.2),
    "boundary": NodeLook(ink=FAINT, letters=GREY),
    "cotangent": NodeLook(dashes=DASHED),
    "gap": NodeLook("none", letters=GREY),
    "switch": NodeLook("diamond"),
    "op": NodeLook("box", line=0.9),
    "equation": NodeLook("box"),
    "delay": NodeLook("square", fill=INK),
    "advance": NodeLook("square"),
}

EDGES: Mapping[str, EdgeLook] = {
    "flow": EdgeLook(),
    "once": EdgeLook(dashes=DASHED),
    "gap": EdgeLook(dashes=DOTTED),
    "spread": EdgeLook(line=0.8),
    "primal": EdgeLook(FAINT, 0.7, head=0.75),
    "truth": EdgeLook(dashes=LONG, line=1.6),
    "severed": EdgeLook(FAINT, 1.0, DASHED),
    "stopped": EdgeLook(),
    "choice": EdgeLook(dashes=LONG),
    "control": EdgeLook(line=0.8, dashes=DOTTED, head=0.75),
}
"""flow: step by step. once: a read at one fixed step. gap: to or from an ellipsis. spread: all of a sum over an axis.
primal: what a derivative needs of the forward pass. truth: read in place of an output, and severed: the read that it
replaces, crossed out. stopped: no gradient passes, two bars across. choice: one of the ways into a switch, and control:
what sets the switch. Dashes and glyphs tell them apart without colours."""

GLYPHS = {"severed": "cross", "stopped": "bars"}
"""What stands across an edge: a cross where it is taken out, two bars where it lets no gradient through."""


def colour(number: int) -> str:
    """The colour of the param of that number; they repeat after twelve."""
    return PALETTE[number % len(PALETTE)]


def fit(letters: Lettering) -> tuple[float, float]:
    """Width of the node and size of the letters that hold a text: a circle where it can be, else an ellipse."""
    room = DIAMETER - 8
    wide = letters.width(NAME_SIZE)
    if wide <= room:
        return DIAMETER, NAME_SIZE
    size = max(SMALLEST, NAME_SIZE * room / wide, min(13.0, NAME_SIZE))
    return max(DIAMETER, letters.width(size) + 16), size
