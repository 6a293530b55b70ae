"""The explorer: one HTML page, folded beside unfolded, every equation at a click, both passes step by step.

From the system to the page: `payload` (pictures, equations, sources), `play_order` (which circle is lit after which),
and `assets`, the three files that are the page: `page.html`, `page.css`, `page.js`. Nothing of the user's is markup:
it travels as packed JSON and is set as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import ArrayError, LengthError, RenderError, UndefinedError
from ..files import write_atomically
from ..ir.names import is_hidden
from ..ir.system import System, visible
from ..ops.integers import integer
from ..patience import Patience
from ..printing.unicode import system_pretty
from ..transform.adjoint import backward_of
from ..transform.feedback import teacher_forced
from ..unfold.lengths import checked_lengths, length, used_ends
from .payload import Strings, TemplateView

Progress = Callable[[int, int], None]
LONGEST = 8
"""Steps that the slider goes up to."""
PICTURES = 1000
"""Lengths of the slider at most, where they are asked for."""
OTHERS = 3
"""Steps of the axes that the slider does not move."""
MOST = 160
"""Circles of the largest picture of the slider: a larger one is no longer read, and takes long to lay out."""

HEIGHT = 680
"""Pixels of the page in a notebook."""
MEASURES = {"values": ("‖value‖", False), "gradients": ("‖gradient‖", True)}
"""What is told of each overlay: its title, and whether its scale is logarithmic."""


class Page:
    """A page to explore a template with, which shows itself in a notebook; ``str`` is its HTML.

    >>> from unroll import Template, t
    >>> g = Template("sum"); x, h = g.input("x"), g.variable("h", ())
    >>> h[0] = 0
    >>> h[t] = h[t-1] + x[t]
    >>> page = g.explore(steps=2)
    >>> str(page)[:15]
    '<!DOCTYPE html>'
    """

    def __init__(self, title: str, text: str) -> None:
        self.title, self._text = title, text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return (
            f"<Page {self.title}: {len(self._text) // 1000} kB of HTML; page.save({f'{self.title}.html'!r}) writes it>"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to an .html file, which needs nothing else. Raises RenderError for another suffix."""
        _check(path)
        write_atomically(path, self._text)

    def _repr_html_(self) -> str:
        frame = f"width: 100%; height: {HEIGHT}px; box-sizing: border-box; border: 1px solid #ccc; display: block"
        title = html.escape(f"{self.title}, explored")
        return f'<iframe title="{title}" style="{frame}" srcdoc="{html.escape(self._text)}"></iframe>'


def _check(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise RenderError(f"{os.fspath(path)}: a page is an .html file")


def explore(system: System, path: str | os.PathLike[str] | None = None, **options: Any) -> Page:
    """The page, written where a path is given: see `Template.explore`."""
    if path is not None:
        _check(path)
    made = Page(visible(system.name), page(system, **options))
    if path is not None:
        made.save(path)
    return made


def page(
    system: System,
    *,
    steps: int | Sequence[int] | None = None,
    forced: Mapping[str, str] | None = None,
    backward: bool | None = None,
    values: Mapping[str, Any] | None = None,
    gradients: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **lengths: int,
) -> str:
    """The page as text."""
    if backward and system.loss is None:
        raise RenderError(f"template {visible(system.name)} has no loss, so there is no backward pass to show")
    overlays = {kind: arrays for kind, arrays in (("values", values), ("gradients", gradients)) if arrays}
    for kind, arrays in overlays.items():
        lengths = {**_told(system, kind, arrays), **lengths}
    lengths = {end: length(end, n) for end, n in lengths.items()}
    slider, others = _lengths(system, steps, lengths)
    run = lengths.get(slider) if overlays else None
    strings = Strings()
    views = _views(system, strings, forced, system.loss is not None if backward is None else backward)
    column = max(_column(view.system, slider, others) for view in views.values())
    counts = _counts(steps, run, column) if slider else [0]
    modes: dict[str, Any] = {}
    with Patience("drawing", watched=True) if progress is None else nullcontext() as patience:
        for number, (mode, view) in enumerate(views.items()):
            modes[mode] = {**view.folded(), "unfolded": [], "overlays": {}}
            for position, n in enumerate(counts):
                done, of = number * len(counts) + position, len(views) * len(counts)
                if progress is not None:
                    progress(done, of)
                elif patience is not None:
                    patience.say(f"drawing picture {done + 1} of {of}")
                at = {**others, slider: n} if slider else others
                modes[mode]["unfolded"].append(view.unfolded(at))
                for kind, arrays in overlays.items() if n == run else ():
                    modes[mode]["overlays"][kind] = view.overlaid(at, arrays, *MEASURES[kind])
    data = {
        "axis": slider,
        "counts": counts,
        "run": counts.index(run) if run is not None else None,
        "others": ", ".join(f"{end} = {n}" for end, n in others.items()),
        "forced": ", ".join(f"{visible(a)} by {visible(b)}" for a, b in (forced or {}).items()),
        "modes": modes,
        "strings": list(strings),
    }
    return _html(visible(system.name), data, system_pretty(system))


def _told(system: System, kind: str, arrays: Mapping[str, Any]) -> dict[str, int]:
    """The lengths that the arrays of a run tell. Raises UndefinedError, ArrayError."""
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        decl = system.decls.get(name)
        if decl is None:
            raise UndefinedError(f"{kind}: there is no {name!r} in template {visible(system.name)}")
        if not decl.axes:
            raise ArrayError(f"{kind}: {decl.kind} {name} has no steps; ask the net for what has, such as 'h'")
        sizes = tuple(getattr(array, "shape", ()))[: len(decl.axes)]
        if len(sizes) < len(decl.axes):
            raise ArrayError(f"{kind}: {name} is to be an array with steps first, as Net.run returns it")
        for axis, n in zip(decl.axes, sizes, strict=True):
            if lengths.setdefault(axis.end, n) != n:
                raise ArrayError(f"{kind}: {name} has {axis.end} = {n}, and another array has {lengths[axis.end]}")
    return lengths


def _lengths(system: System, steps: Any, lengths: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """The end that the slider moves, and the lengths of the other axes."""
    ends = used_ends(system)
    slider = "T" if "T" in ends else ends[0] if ends else ""
    others = {end: lengths.get(end, OTHERS) for end in ends if end != slider}
    checked_lengths(system, {**lengths, **others, **({slider: lengths.get(slider, 1)} if slider else {})})
    if steps is not None and not slider:
        raise LengthError(f"template {visible(system.name)} has no time axis; leave steps= out")
    return slider, others


def _views(
    system: System, strings: Strings, forced: Mapping[str, str] | None, backward: bool
) -> dict[str, TemplateView]:
    """The views by mode: "", "forced", "backward", "forced backward"."""
    views = {"": TemplateView(system, strings)}
    if forced:
        free = teacher_forced(system, forced)
        views["forced"] = TemplateView(free, strings, (system, forced))
    if backward:
        views["backward"] = TemplateView(backward_of(system), strings)
        if forced:
            views["forced backward"] = TemplateView(backward_of(free), strings)
    return views


def _column(system: System, slider: str, others: Mapping[str, int]) -> int:
    """Circles that one more step adds to an unfolded picture."""
    count = 0
    for name, decl in system.decls.items():
        ends = [a.end for a in decl.axes]
        if not is_hidden(name) and slider in ends and decl.kind not in ("param", "constant"):
            count += math.prod(others[end] for end in ends if end != slider)
    return count


def _counts(steps: int | Sequence[int] | None, run: int | None, column: int) -> list[int]:
    """The lengths that the slider offers. Where nothing is said they end where a picture would grow too large."""
    if steps is None:
        counts = list(range(1, LONGEST + 1))
        counts = [n for n in counts if n <= 2 or n * column <= MOST]
    else:
        longest = integer(steps)
        given = [*map(integer, steps)] if longest is None and isinstance(steps, Iterable) else [longest]
        if any(n is None or n < 0 for n in given):
            raise LengthError(f"steps={steps!r}: a number of steps is an integer from 0 up")
        if (longest or len(given)) > PICTURES:
            raise LengthError(f"steps={steps!r}: a page has a picture for each length, {PICTURES:,} at most")
        counts = [n for n in given if n is not None] if longest is None else list(range(1, longest + 1))
    counts += [run] if run is not None else []
    if not counts:
        raise LengthError(f"steps={steps!r}: at least one length is needed")
    return sorted(set(counts))


def _html(title: str, data: Any, text: str) -> str:
    """The three files and the data as one."""
    folder = files(__name__) / "assets"
    skeleton, style, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    packed = zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 9)
    holes = {
        "title": html.escape(f"{title}, explored"),
        "heading": html.escape(title),
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "style": style,
        "script": script,
        "data": base64.b64encode(packed).decode(),
        "text": html.escape(text),
    }
    pieces = skeleton.split("@@")
    return "".join(holes[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
