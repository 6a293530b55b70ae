"""SVG as a PNG, by resvg: the same picture dot for dot, raised letters and all."""

from __future__ import annotations

from functools import cache

from ..errors import RenderError

SCALE = 2.0
"""Dots for each pixel of the SVG."""
NARROW = "text { font-stretch: condensed }"
"""Labels are laid out for letters of the width of Times, and others are wider."""
_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{}</svg>'


FAMILIES = ("Times New Roman", "Liberation Serif", "Nimbus Roman", "DejaVu Serif", "Noto Serif", "DejaVu Sans", "Arial")
"""Fonts to write with, the first that there is: resvg takes the one for ``serif`` by name, and draws none without."""


def png(svg: str) -> bytes:
    """The picture as a PNG. Raises RenderError where there is no font to write with, ImportError without resvg."""
    import resvg_py

    family = serif()
    if family is None:
        raise RenderError(f"it finds no font on this machine, none of {', '.join(FAMILIES)}")
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=SCALE, dpi=96.0, serif_family=family, style_sheet=NARROW))


@cache
def serif() -> str | None:
    """The first of `FAMILIES` with which text leaves a trace: without a font resvg draws none, and says nothing."""
    import resvg_py

    def drawn(inside: str, family: str) -> bytes:
        return bytes(resvg_py.svg_to_bytes(svg_string=_LETTER.format(inside), serif_family=family))

    letter = '<text y="8" font-family="serif">W</text>'
    return next((name for name in FAMILIES if drawn("", name) != drawn(letter, name)), None)
