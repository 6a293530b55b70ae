"""Numbers from a run laid over a diagram: a colour for each node, the number under its name, a scale beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import hypot, inf, isfinite, isnan, log10
from typing import Any

from ..errors import RenderError
from ..types import Array
from .rich_text import line
from .scene import Legend, Picture, Steps

SCALE = ("#FFFFE5", "#FFF3B8", "#FEE187", "#FEC34F", "#FE9929", "#EC7014", "#CC4C02", "#8C2D04")
"""From little to much, light to dark, so that it reads in grey and without telling red from green."""
WRONG = "#D7191C"
DARK = 5
"""From this colour on, letters are white."""

Key = str | tuple[Any, ...]


def lay(picture: Picture, overlay: Mapping[Key, Any], title: str = "", log: bool = False) -> None:
    """Colour the nodes of an unfolded picture by numbers.

    overlay  name -> an array over its steps from 1 on, as `Net.run` returns; (name, step, ...) -> the value there. An
             array at one step counts by its Euclidean norm
    log      True for a logarithmic scale

    Raises RenderError for a name or step that is not drawn.
    """
    found = {}
    places = {(c.name, c.point): c for c in picture.circles.values() if c.kind not in ("gap", "delay", "advance")}
    named = {name for name, _ in places}
    for key, value in overlay.items():
        name, *steps = key if isinstance(key, tuple) else (key,)
        if name not in named:
            known = ", ".join(dict.fromkeys(c.name for c in picture.circles.values() if c.name))
            raise RenderError(f"overlay: no node of {name!r} is drawn; there are {known}")
        rank = max(len(point or ()) for other, point in places if other == name)
        for point, one in _spread(value, rank) if not steps else [(tuple(steps), value)]:
            if (name, point) in places:
                found[name, point] = size_of(one)
            elif steps:
                raise RenderError(f"overlay: {name}[{', '.join(map(str, steps))}] is not drawn")
    usual = [v for v in found.values() if isfinite(v) and (v > 0 or not log)]
    low, high = (min(usual), max(usual)) if usual else (0.0, 0.0)
    for place, value in found.items():
        circle = places[place]
        circle.below = line(short(value), upright=True)
        if not isfinite(value):
            circle.fill, circle.ink = WRONG, "#FFFFFF"
            continue
        level = round((len(SCALE) - 1) * _part(value, low, high, log))
        circle.fill, circle.ink = SCALE[level], "#FFFFFF" if level >= DARK else "#000000"
    if usual:
        picture.legend = Legend(title, short(low), short(high), SCALE)


def _part(value: float, low: float, high: float, log: bool) -> float:
    """Where a number lies between the lowest and the highest, 0 to 1."""
    if log:
        value, low, high = (log10(v) if v > 0 else -inf for v in (value, low, high))
        value = max(value, low)
    return (value - low) / (high - low) if high > low else 0.5


def _spread(value: Array, rank: int) -> Iterator[tuple[Steps, Array]]:
    """The instances in an array whose first `rank` axes are steps."""
    if not rank:
        yield (), value
        return
    for number, part in enumerate(value, start=1):
        for rest, one in _spread(part, rank - 1):
            yield (number, *rest), one


def size_of(value: Array) -> float:
    """A number as it is, an array by its Euclidean norm; nan where one is in it, else infinity where one is."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    pending, flat = [plain], []
    while pending:
        one = pending.pop()
        if isinstance(one, (list, tuple)):
            pending.extend(one)
        else:
            flat.append(abs(one) if isinstance(one, complex) else float(one))
    if not isinstance(plain, (list, tuple)):
        return flat[0]
    if any(map(isnan, flat)):
        return float("nan")
    return hypot(*flat)


def short(value: float) -> str:
    """A number in few characters: ``0.12``, ``3e-05``, ``nan``."""
    if not isfinite(value):
        return "nan" if isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    text = f"{value:.0e}" if size and not 1e-2 <= size < 1e4 else f"{value:.2g}" if size < 100 else f"{value:.0f}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
