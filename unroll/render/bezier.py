"""Cubic curves between circles, in points: bows, loops, cutting, sampling. Pure geometry."""

from __future__ import annotations

from dataclasses import replace
from math import cos, hypot, radians, sin

from . import style
from .scene import Circle, Point, Segment

Curve = list[Segment]


def bow(a: Circle, b: Circle, bend: float) -> Curve:
    """From a to b, bulging by `bend` points to the left of the way there."""
    if not bend:
        start, end = rim(a, (b.x, b.y)), rim(b, (a.x, a.y))
        dx, dy = (end[0] - start[0]) / 3, (end[1] - start[1]) / 3
        return [(start, (start[0] + dx, start[1] + dy), (end[0] - dx, end[1] - dy), end)]
    dx, dy = b.x - a.x, b.y - a.y
    length = hypot(dx, dy) or 1.0
    ux, uy = dx / length, dy / length
    pull, side = 0.22, bend / 0.75
    p1 = a.x + dx * pull - uy * side, a.y + dy * pull + ux * side
    p2 = b.x - dx * pull - uy * side, b.y - dy * pull + ux * side
    if _inside(b, p2):
        end = rim(b, p1)
        return [(rim(a, p1), p1, ((p1[0] + end[0]) / 2, (p1[1] + end[1]) / 2), end)]
    return [(rim(a, p1), p1, p2, rim(b, p2))]


def _inside(a: Circle, p: Point) -> bool:
    """True for a point in a wide box, near its middle or not."""
    return abs(p[0] - a.x) < a.width / 2 and abs(p[1] - a.y) < a.height / 2 + 4


def loop(a: Circle, side: float, reach: float) -> Curve:
    """Out of a circle and back into it, over a point `reach` off its rim in the direction `side` (degrees)."""
    if style.NODES[a.kind].shape == "box":
        a = Circle(
            "", a.letters, "variable", a.x + cos(radians(side)) * (a.width - a.height) / 2, a.y, a.height, a.height
        )
    radius = max(a.width, a.height) / 2 if abs(cos(radians(side))) < 0.7 else a.width / 2
    far = radius + reach
    tip = a.x + far * cos(radians(side)), a.y + far * sin(radians(side))
    spread = 13.0 + 0.3 * reach
    out, back = _around(a, side - 42, 0.0), _around(a, side + 42, 0.0)
    nx, ny = -sin(radians(side)), cos(radians(side))
    lead, follow = _around(a, side - 42, 0.55 * reach), _around(a, side + 42, 0.55 * reach)
    before = tip[0] - nx * spread, tip[1] - ny * spread
    after = tip[0] + nx * spread, tip[1] + ny * spread
    return [(out, lead, before, tip), (tip, after, follow, back)]


def rail(a: Circle, b: Circle, height: float, turned: bool = False) -> Curve:
    """Out of a circle to the right, along a level line, and down into another circle: many together look like one.

    turned  down, along an upright line, and to the left: the same on a page that is turned to the right
    """
    if turned:
        a, b = (replace(c, x=-c.y, y=c.x, width=c.height, height=c.width) for c in (a, b))
        upright = [[(y, -x) for x, y in segment] for segment in rail(a, b, height)]
        return [(p, q, r, s) for p, q, r, s in upright]
    start = _around(a, 35, 0.0)
    end = _around(b, 90, 0.0)
    on, off = (start[0] + 14, height), (end[0] - 12, height)
    reach = (off[0] - on[0]) / 3
    return [
        (start, (start[0] + 4, start[1] + 8), (on[0] - 8, height), on),
        (on, (on[0] + reach, height), (off[0] - reach, height), off),
        (off, (off[0] + 8, height), (end[0], min(height - 2, end[1] + 40)), end),
    ]


def _around(a: Circle, angle: float, off: float) -> Point:
    rx, ry = a.width / 2 + off, a.height / 2 + off
    return a.x + rx * cos(radians(angle)), a.y + ry * sin(radians(angle))


def rim(a: Circle, towards: Point) -> Point:
    """Where the line from the middle of a circle, a box or a diamond to a point leaves it."""
    dx, dy = towards[0] - a.x, towards[1] - a.y
    rx, ry = a.width / 2, a.height / 2
    u, v = abs(dx / rx), abs(dy / ry)
    scale = {"box": max(u, v), "diamond": u + v}.get(style.NODES[a.kind].shape, hypot(u, v)) or 1.0
    return a.x + dx / scale, a.y + dy / scale


def point(s: Segment, k: float) -> Point:
    """The point at k of 0..1."""
    j = 1 - k
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = s
    u, v, w, z = j * j * j, 3 * j * j * k, 3 * j * k * k, k * k * k
    return u * ax + v * bx + w * cx + z * dx, u * ay + v * by + w * cy + z * dy


def along(curve: Curve, k: float) -> Point:
    """The point at k of 0..1 of the whole curve."""
    scaled = min(max(k, 0.0), 1.0) * len(curve)
    number = min(int(scaled), len(curve) - 1)
    return point(curve[number], scaled - number)


def heading(curve: Curve, k: float) -> Point:
    """The direction at k, of length 1."""
    (x0, y0), (x1, y1) = along(curve, max(0.0, k - 0.01)), along(curve, min(1.0, k + 0.01))
    length = hypot(x1 - x0, y1 - y0) or 1.0
    return (x1 - x0) / length, (y1 - y0) / length


def extent(curve: Curve) -> float:
    """Its length, roughly: between that of its chords and that of the lines by the points that pull."""
    total = 0.0
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in curve:
        total += hypot(dx - ax, dy - ay) + hypot(bx - ax, by - ay) + hypot(cx - bx, cy - by) + hypot(dx - cx, dy - cy)
    return total / 2


def coarse(curve: Curve) -> list[Point]:
    """Points that span the curve: its ends, and some on the way where it goes beyond these."""
    points = [curve[0][0]]
    for s in curve:
        (ax, ay), *pull, (dx, dy) = s
        if any(not (min(ax, dx) <= x <= max(ax, dx) and min(ay, dy) <= y <= max(ay, dy)) for x, y in pull):
            points += (point(s, i / 8) for i in range(1, 8))
        points.append((dx, dy))
    return points


def samples(curve: Curve, every: float = 5.0) -> list[Point]:
    """Points on the curve, about `every` points apart."""
    count = max(8, min(200, int(extent(curve) / every)))
    return [along(curve, i / count) for i in range(count + 1)]


def split(s: Segment, k: float) -> tuple[Segment, Segment]:
    """The segment in two, cut at k."""

    def mix(p: Point, q: Point) -> Point:
        return p[0] + (q[0] - p[0]) * k, p[1] + (q[1] - p[1]) * k

    a, b, c = mix(s[0], s[1]), mix(s[1], s[2]), mix(s[2], s[3])
    d, e = mix(a, b), mix(b, c)
    f = mix(d, e)
    return (s[0], a, d, f), (f, e, c, s[3])


def halves(curve: Curve) -> tuple[Curve, Curve]:
    """The curve in two, cut in the middle."""
    if len(curve) == 1:
        first, second = split(curve[0], 0.5)
        return [first], [second]
    middle = len(curve) // 2
    return curve[:middle], curve[middle:]


def shortened(curve: Curve, length: float = style.ARROW) -> tuple[Curve, Point]:
    """The curve without the last few points of its way, where the arrow head lies, and the tip of the head."""
    last = curve[-1]
    tip = last[3]
    whole = extent([last])
    k = max(0.3, 1 - length / whole) if whole else 1.0
    for _ in range(2):  # a fixed number of corrections puts the cut at the right distance from the tip
        x, y = point(last, k)
        k = min(0.99, max(0.3, k + (hypot(tip[0] - x, tip[1] - y) - length) / (whole or 1.0)))
    return [*curve[:-1], split(last, k)[0]], tip
