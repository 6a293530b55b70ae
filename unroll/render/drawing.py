"""`Drawing`: a finished picture that shows itself in a notebook and saves itself."""

from __future__ import annotations

import base64
import html
import os
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import BinaryIO

from ..errors import RenderError
from ..files import write_atomically
from ..ops.integers import real
from . import style
from .dot import FORMATS, dot_text, render
from .png import DPI
from .scene import Picture
from .svg import svg_text

TEXT = ("dot", "gv")
KNOWN = ("svg", *FORMATS, *TEXT)
MOST_DPI = 2400


Target = str | os.PathLike[str] | BinaryIO
"""Where a picture is written: a path, or a file that is open for bytes."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a picture goes and as what, checked before it is drawn.

    target  a path or a file; None for neither
    format  by default what the suffix of the path, or of the file's name, says
    dpi     of a PNG, dots per inch

    Raises RenderError for no format, a file open for text, and a resolution of what has none.
    """

    target: Target | None = None
    format: str | None = None
    dpi: float | None = None

    def __post_init__(self) -> None:
        if self.target is None:
            for name, given in (("format", self.format), ("dpi", self.dpi)):
                if given is not None:
                    raise RenderError(f"{name}={given!r} says how a file is written; give its path, or a file, too")
            return
        object.__setattr__(self, "format", self._form())
        if isinstance(self.target, TextIOBase):
            raise self._takes_text()
        if self.dpi is None:
            return
        if self.format != "png":
            raise RenderError(f"dpi={self.dpi!r} is the resolution of a PNG; {self.format} has lines and no dots")
        number = real(self.dpi)
        if number is None or not 1 <= number <= MOST_DPI:
            raise RenderError(f"dpi={self.dpi!r}: dots per inch, a number from 1 to {MOST_DPI}")

    def _takes_text(self) -> RenderError:
        return RenderError(
            f"a picture is bytes, and {self.target!r} takes text; open it with mode 'wb', or give io.BytesIO()"
        )

    def _form(self) -> str:
        if not isinstance(self.target, (str, os.PathLike)) and not hasattr(self.target, "write"):
            raise RenderError(f"{self.target!r} is no path, and no file that is open for bytes")
        if self.format is not None:
            if self.format not in KNOWN:
                raise RenderError(f"format={self.format!r}: choose {', '.join(map(repr, KNOWN))}")
            return self.format
        path = self.target if isinstance(self.target, (str, os.PathLike)) else getattr(self.target, "name", None)
        if not isinstance(path, (str, os.PathLike)):
            raise RenderError(f"a file without a name does not say its format; give format={KNOWN[0]!r} or another")
        suffix = Path(path).suffix.lower().removeprefix(".")
        if suffix not in KNOWN:
            got = f"ends in .{suffix}" if suffix else "has no suffix"
            raise RenderError(f"{os.fspath(path)} {got}; the suffix names the format: .{', .'.join(KNOWN)}")
        return suffix

    def write(self, drawing: Drawing) -> None:
        """Write a drawing, if anywhere: a path whole or not at all, a file from where it stands."""
        if self.target is None:
            return
        data = drawing.encoded(str(self.format), DPI if self.dpi is None else float(self.dpi))
        if isinstance(self.target, (str, os.PathLike)):
            write_atomically(self.target, data)
            return
        try:
            self.target.write(data)
        except TypeError:
            raise self._takes_text() from None


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

    def save(self, path: Target, *, format: str | None = None, dpi: float | None = None) -> None:
        """Write the diagram to a path, or to a file that is open for bytes, such as ``io.BytesIO()``.

        format  "svg", "png", "pdf", "dot" or "gv"; by default the suffix names it
        dpi     of a PNG, dots per inch: 192 where nothing is said

        Raises RenderError.
        """
        Output(path, format, dpi).write(self)

    def encoded(self, form: str, dpi: float = DPI) -> bytes:
        """The diagram as the bytes of a file of this format. Raises RenderError where no engine makes it."""
        if form in TEXT:
            return self.dot.encode()
        if form == "svg":
            return self.svg().encode()
        theme = self.picture.theme
        return render(self.dot, form, self.svg(), dpi, None if theme.transparent else theme.of(style.PAPER))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """For notebooks: HTML, which every front end ranks first, and for LaTeX a PNG, where an engine can make one.

        The SVG is an image in the HTML, for as a format of its own nbconvert wants Inkscape to make a PDF of it.
        """
        svg = self.svg()
        name, coded = html.escape(self.picture.title), base64.b64encode(svg.encode()).decode()
        image = f'<img alt="{name}" style="max-width: 100%" src="data:image/svg+xml;base64,{coded}">'
        made = {"text/html": image, "text/plain": repr(self)}
        with suppress(RenderError):
            made["image/png"] = base64.b64encode(self.encoded("png")).decode()
        return made

    def __repr__(self) -> str:
        nodes = sum(c.kind not in ("delay", "advance", "gap") for c in self.picture.circles.values())
        return f"<Drawing {self.picture.title}: {nodes} nodes, {len(self.picture.links)} edges>"
