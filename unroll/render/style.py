"""The one table of looks: sizes in points, colours, fonts, and how each kind of node and edge is drawn."""

from __future__ import annotations

from collections.abc import Mapping

Attributes = Mapping[str, str]

DIAMETER = 42.0
ROW = 84.0
COLUMN = 92.0
SQUARE = 9.0
ARROW = 9.0
NAME_SIZE = 16.0
LABEL_SIZE = 14.0
NOTE_SIZE = 11.0
SMALLEST = 9.5
LOOP = 36.0
"""How far a delay's square stands off the circle it loops back to."""

INK = "#222222"
FAINT = "#A6A6A6"
SHADE = "#E9E9E9"
PAPER = "white"

PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#AA4499",
    "#332288",
    "#A6761D",
    "#882255",
    "#56B4E9",
    "#117733",
    "#CC79A7",
    "#6A6A6A",
    "#E69F00",
)
"""Told apart by colour-blind readers (after Okabe and Ito, and Tol), and dark enough for a letter on white."""

NODES: Mapping[str, Attributes] = {
    "input": {"fillcolor": SHADE},
    "variable": {"fillcolor": PAPER},
    "loss": {"fillcolor": PAPER, "penwidth": "2"},
    "boundary": {"fillcolor": PAPER, "color": FAINT, "fontcolor": "#555555"},
    "cotangent": {"fillcolor": PAPER, "style": "filled,dashed"},
    "gap": {"shape": "none", "style": "", "fillcolor": PAPER, "fontcolor": "#555555", "fontsize": "18"},
    "note": {"shape": "none", "style": "", "fontsize": f"{NOTE_SIZE:g}", "fontname": "Times-Roman"},
    "delay": {"shape": "square", "fillcolor": INK, "label": ""},
    "advance": {"shape": "square", "fillcolor": PAPER, "label": ""},
}

EDGES: Mapping[str, Attributes] = {
    "flow": {},
    "once": {"style": "dashed"},
    "gap": {"style": "dashed"},
    "spread": {"penwidth": "0.8"},
    "primal": {"penwidth": "0.7", "color": FAINT, "arrowsize": "0.55"},
}
"""flow: step by step. once: a read at one fixed step. gap: to or from an ellipsis. spread: all of a sum over an axis.
primal: what a derivative needs of the forward pass."""

GRAPH: Attributes = {"layout": "nop2", "splines": "true", "bgcolor": PAPER, "pad": "0.2", "outputorder": "edgesfirst"}
NODE: Attributes = {
    "shape": "ellipse",
    "fixedsize": "true",
    "style": "filled",
    "color": INK,
    "fontname": "Times-Italic",
    "fontsize": f"{NAME_SIZE:g}",
    "penwidth": "1.2",
}
EDGE: Attributes = {
    "color": INK,
    "arrowsize": "0.75",
    "penwidth": "1.3",
    "fontname": "Times-Italic",
    "fontsize": f"{LABEL_SIZE:g}",
}


def colour(number: int) -> str:
    """The colour of the param of that number; they repeat after twelve."""
    return PALETTE[number % len(PALETTE)]


_NARROW = frozenset("ijlt.,:;'|!()[]fr/-′ ⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾")
_WIDE = frozenset("mwMW@%—⋯→")


def text_width(text: str, size: float) -> float:
    """How wide a text is, roughly: Times, without a font at hand."""
    units = 0.0
    for c in text:
        if c in _NARROW:
            units += 0.33
        elif c in _WIDE:
            units += 0.85
        elif ord(c) > 0x2E7F:
            units += 1.0
        else:
            units += 0.68 if c.isupper() else 0.52
    return 1.06 * units * size


def fit(text: str) -> tuple[float, float]:
    """Width of the node and size of the letters that hold a text: a circle where it can be, else an ellipse."""
    room = DIAMETER - 6
    wide = text_width(text, NAME_SIZE)
    if wide <= room:
        return DIAMETER, NAME_SIZE
    size = max(SMALLEST, NAME_SIZE * room / wide)
    return max(DIAMETER, text_width(text, size) + 14), size
