"""SVG as a PNG, by resvg: the same picture dot for dot, raised letters and all."""

from __future__ import annotations

from functools import cache

from ..errors import RenderError

SCALE = 2.0
"""Dots for each pixel of the SVG."""
_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{}</svg>'


def png(svg: str) -> bytes:
    """The picture as a PNG. Raises RenderError where there is no font to write with, ImportError without resvg."""
    import resvg_py

    if not _has_letters():
        raise RenderError("it finds no font on this machine")
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=SCALE, dpi=96.0))


@cache
def _has_letters() -> bool:
    """False where text leaves no trace: resvg draws none without a font, and says nothing."""
    import resvg_py

    bare, written = (
        bytes(resvg_py.svg_to_bytes(svg_string=_LETTER.format(inside)))
        for inside in ("", '<text y="8" font-family="serif">W</text>')
    )
    return bare != written
