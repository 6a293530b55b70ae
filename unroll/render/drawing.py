"""`Drawing`: a finished picture that shows itself in a notebook and saves itself."""

from __future__ import annotations

import base64
import html
import os
from contextlib import suppress
from pathlib import Path

from ..errors import RenderError
from ..files import write_atomically
from .dot import FORMATS, dot_text, render
from .scene import Picture
from .svg import svg_text

TEXT = ("dot", "gv")


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a path's suffix names. Raises RenderError for another."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    known = ("svg", *FORMATS, *TEXT)
    if suffix not in known:
        got = f"ends in .{suffix}" if suffix else "has no suffix"
        raise RenderError(f"{os.fspath(path)} {got}; the suffix names the format: .{', .'.join(known)}")
    return suffix


class Drawing:
    """A diagram: a picture with every position in it, and its text as SVG and DOT.

    >>> from unroll import Template, t
    >>> g = Template("sum"); x, h = g.input("x"), g.variable("h", ())
    >>> h[0] = 0
    >>> h[t] = h[t-1] + x[t]
    >>> g.draw()
    <Drawing sum: 2 nodes, 2 edges>
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._dot: str | None = None

    @property
    def dot(self) -> str:
        """The diagram in the DOT language."""
        if self._dot is None:
            self._dot = dot_text(self.picture)
        return self._dot

    def svg(self, prefix: str = "") -> str:
        """The diagram as an SVG element, to be saved or set into a page.

        prefix  put before every id in it, so that several diagrams can stand in one page
        """
        return svg_text(self.picture, prefix)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the diagram to a file; the suffix names the format: svg, png, pdf, dot or gv. Raises RenderError."""
        form = format_of(path)
        if form in TEXT:
            data: str | bytes = self.dot
        else:
            data = self.svg() if form == "svg" else render(self.dot, form, self.svg())
        write_atomically(path, data)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """For notebooks: HTML, which every front end ranks first, and for LaTeX a PNG, where an engine can make one.

        The SVG is an image in the HTML, for as a format of its own nbconvert wants Inkscape to make a PDF of it.
        """
        svg = self.svg()
        name, coded = html.escape(self.picture.title), base64.b64encode(svg.encode()).decode()
        image = f'<img alt="{name}" style="max-width: 100%" src="data:image/svg+xml;base64,{coded}">'
        made = {"text/html": image, "text/plain": repr(self)}
        with suppress(RenderError):
            made["image/png"] = base64.b64encode(render(self.dot, "png", svg)).decode()
        return made

    def __repr__(self) -> str:
        nodes = sum(c.kind not in ("delay", "advance", "gap") for c in self.picture.circles.values())
        return f"<Drawing {self.picture.title}: {nodes} nodes, {len(self.picture.links)} edges>"
