"""SVG as a PNG, by resvg: the same picture dot for dot, raised letters and all."""

from __future__ import annotations

import struct
import zlib
from functools import cache

from ..errors import RenderError

DPI = 192.0
"""Dots per inch where nothing is said; a point of the SVG is 1/72 inch."""
PIXELS = 96.0
"""Pixels of an SVG in an inch."""
HEAD = 33
"""Bytes of a PNG up to the end of its header."""
NARROW = "text { font-stretch: condensed }"
"""Labels are laid out for letters of the width of Times, and others are wider."""
_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{}</svg>'


FAMILIES = ("Times New Roman", "Liberation Serif", "Nimbus Roman", "DejaVu Serif", "Noto Serif", "DejaVu Sans", "Arial")
"""Fonts to write with, the first that there is: resvg takes the one for ``serif`` by name, and draws none without."""


def png(svg: str, dpi: float = DPI, paper: str | None = None) -> bytes:
    """The picture as a PNG, which says how many dots it has to an inch.

    paper  what is behind the SVG, whose sides need not fall between two dots

    Raises RenderError where there is no font to write with, ImportError without resvg.
    """
    import resvg_py

    family = serif()
    if family is None:
        raise RenderError(f"it finds no font on this machine, none of {', '.join(FAMILIES)}")
    zoom = dpi / PIXELS
    data = bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg, zoom=zoom, dpi=PIXELS, serif_family=family, style_sheet=NARROW, background=paper
        )
    )
    metre = round(dpi / 0.0254)
    size = b"pHYs" + struct.pack(">IIB", metre, metre, 1)
    return data[:HEAD] + struct.pack(">I", 9) + size + struct.pack(">I", zlib.crc32(size)) + data[HEAD:]


@cache
def serif() -> str | None:
    """The first of `FAMILIES` with which text leaves a trace: without a font resvg draws none, and says nothing."""
    import resvg_py

    def drawn(inside: str, family: str) -> bytes:
        return bytes(resvg_py.svg_to_bytes(svg_string=_LETTER.format(inside), serif_family=family))

    letter = '<text y="8" font-family="serif">W</text>'
    return next((name for name in FAMILIES if drawn("", name) != drawn(letter, name)), None)
