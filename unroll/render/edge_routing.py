"""Routes for links between circles whose places are fixed: which way each bends, and where its label goes.

Every link has a short list of ways to go; the cheapest is taken, in a fixed order, so that the same picture always
comes out the same. Dear are circles in the way, then labels on lines, then lines on lines, then detours. Links of one
family choose together, which is what makes an unfolded diagram look the same at every step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import hypot

from . import style
from .bezier import Curve, along, bow, extent, halves, heading, loop, rail, samples
from .rich_text import Lettering
from .scene import CellFrame, Circle, Link, Picture, Point, Route

BENDS = (0.0, 14.0, -14.0, 24.0, -24.0, 36.0, -36.0, 50.0, -50.0, 68.0, -68.0, 90.0, -90.0, 120.0, -120.0)
FAR_BENDS = (160.0, -160.0, 210.0, -210.0)
FARTHEST = (280.0, -280.0, 360.0, -360.0)
"""For pictures with wide boxes in them."""
SIDES = (180.0, 0.0, 150.0, 30.0, 90.0, 270.0)
PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)
PAST_SQUARE = (0.58, 0.66, 0.74, 0.82, 0.42, 0.34, 0.26, 0.18)
"""Where along a line its label may stand, the best first; past the square where it has one."""
BESIDE = 4.5
"""Points between a line and its label."""
CLEAR = 7.0
"""Points that a line keeps from a circle that is not its own."""
APART = 22.0
"""Least bend of a line with a square that has a straight neighbour."""
ALONG, NEAR_A_SIDE = 3.0, 9.0
"""What a place costs at which a line runs along a side of a frame, and how near that is; it may cross one."""
INSIDE = 0.25
"""What a place inside a frame costs a line that leads out of it."""
JUDGES = 4
"""Members of a family that are looked at when it chooses."""
EVERY = 5.0
"""Points between the places at which a line is looked at."""
PATIENCE = 120_000
"""Places looked at, after which lines go the first way that there is: a thicket takes seconds, not minutes."""
NEAR = 9 * style.COLUMN
"""How far from a judge something can still matter to it."""

Box = tuple[float, float, float, float]


class _Grid:
    """Things by the square of the plane they lie in."""

    def __init__(self, cell: float = 48.0) -> None:
        self._size = cell
        self._cells: dict[tuple[int, int], list[tuple[Point, int]]] = {}

    def add(self, p: Point, owner: int) -> None:
        self._cells.setdefault((int(p[0] // self._size), int(p[1] // self._size)), []).append((p, owner))

    def near(self, p: Point, distance: float) -> Iterator[tuple[Point, int]]:
        (x, y), size, cells = p, self._size, self._cells
        for i in range(int((x - distance) // size), int((x + distance) // size) + 1):
            for j in range(int((y - distance) // size), int((y + distance) // size) + 1):
                yield from cells.get((i, j), ())


class Router:
    """Finds the routes of a picture's links.

    frames  whose sides lines cross, and do not run along
    """

    def __init__(self, picture: Picture, frames: Sequence[CellFrame] = ()) -> None:
        self._picture = picture
        self._frames = frames
        self._circles = list(picture.circles.values())
        self._number = {c.id: i for i, c in enumerate(self._circles)}
        self._widest = max((max(c.width, c.height) for c in self._circles), default=0.0) / 2
        self._places = _Grid()
        for i, c in enumerate(self._circles):
            self._places.add((c.x, c.y), i)
        self._lines = _Grid(14.0)
        self._ends: list[tuple[str, str]] = []
        self._rails: set[float] = set()
        self._judged: set[int] = set()
        self._looked = 0
        self._boxes: list[Box] = []
        self._box_grid = _Grid()

    def run(self) -> None:
        """Fill `picture.routes`."""
        families = self._families()
        judges = [self._ends_of(link)[0].x for members in families for link in _spread(members, JUDGES)]
        self._judged = {int(x // NEAR) + near for x in judges for near in (-1, 0, 1)}
        for members in families:
            self._bend(members)
        for members in families:
            self._write(members)

    def _is_near_judges(self, x: float) -> bool:
        """False where no judge of any family will look, as in most of a long picture."""
        return int(x // NEAR) in self._judged

    def _families(self) -> list[list[Link]]:
        """Short and straight links first, loops last; in each group as they were added."""
        groups: dict[Hashable, list[Link]] = {}
        for link in self._picture.links:
            groups.setdefault(link.family if link.family is not None else link, []).append(link)

        def order(members: list[Link]) -> tuple[int, float]:
            a, b = self._ends_of(members[0])
            if members[0].rail is not None:
                return -1, 0
            return (2 if a is b else 1 if members[0].mark else 0), round(hypot(b.x - a.x, b.y - a.y))

        return sorted(groups.values(), key=order)

    def _ends_of(self, link: Link) -> tuple[Circle, Circle]:
        return self._picture.circles[link.source], self._picture.circles[link.target]

    def _bend(self, members: list[Link]) -> None:
        free = members[0].rail is not None or self._looked > PATIENCE
        judges = [] if free else _spread(members, JUDGES)
        loops = members[0].source == members[0].target
        options: Sequence[tuple[float, float]]
        if loops:
            freer = self._freer_right(members[0].source)
            sides: tuple[float, ...] = (*SIDES[1::-1], *SIDES[3:1:-1], *SIDES[4:]) if freer else SIDES
            if self._picture.turned:
                sides = tuple(side - 90.0 for side in sides)
            if style.NODES[self._ends_of(members[0])[0].kind].shape == "box":
                sides = sides[:2]
            options = [(side, reach) for reach in (style.LOOP, style.LOOP + 26) for side in sides]
        else:
            a, b = self._ends_of(members[0])
            far = hypot(b.x - a.x, b.y - a.y) > 2 * style.ROW
            least_bend = APART if members[0].mark and self._has_neighbour(members[0]) else 0.0
            bends = (*BENDS, *FAR_BENDS) if far else BENDS
            bends = (*bends, *FARTHEST) if far and self._widest > style.DIAMETER else bends
            right = -1.0 if members[0].mark and b.y > a.y else 1.0  # squares first on the right: loops are on the left
            options = [(right * bend, 0.0) for bend in bends if abs(bend) >= least_bend]
        best, least = options[0], float("inf")
        for rank, option in enumerate(options):
            cost = 0.4 * rank
            for link in judges:
                cost += self._cost(link, self._curve(link, option), len(judges), least - cost)
                if cost >= least:
                    break
            if cost < least:
                best, least = option, cost
        for link in members:
            self._lay(link, self._curve(link, best))

    def _freer_right(self, name: str) -> bool:
        """True where a circle has others near it in its row on the left, and fewer on the right.

        In a turned picture a row is a column, and the right below.
        """
        here = self._picture.circles[name]
        away = [(c.x - here.x, c.y - here.y) for c in self._circles if c is not here]
        away = [(-y, x) for x, y in away] if self._picture.turned else away
        row = [x for x, y in away if abs(y) < style.ROW / 3]
        left, right = (sum(0 < sign * x < 1.5 * style.COLUMN for x in row) for sign in (-1, 1))
        return left > right

    def _has_neighbour(self, link: Link) -> bool:
        """True where other links join the same two circles."""
        pair = {link.source, link.target}
        return any({other.source, other.target} == pair and other is not link for other in self._picture.links)

    def _curve(self, link: Link, option: tuple[float, float]) -> Curve:
        a, b = self._ends_of(link)
        if link.rail is not None:
            return rail(a, b, link.rail, self._picture.turned)
        return loop(a, *option) if a is b else bow(a, b, option[0])

    def _cost(self, link: Link, curve: Curve, among: int, enough: float) -> float:
        """What is wrong with a way; given up on once it is more than `enough`."""
        a, b = self._ends_of(link)
        direct = hypot(b.x - a.x, b.y - a.y)
        cost = 0.15 * (extent(curve) - direct) if a is not b else 0.0
        own = {self._number[a.id], self._number[b.id]}
        clear, apart = (CLEAR + 5, 15.0) if link.mark else (CLEAR, 6.0)
        every = max(EVERY, extent(curve) / 80)
        weight = every / EVERY
        points = samples(curve, every)
        self._looked += len(points)
        for k, p in enumerate(points):
            for _, i in self._places.near(p, self._widest + clear):
                if i not in own:
                    gap = _gap(self._circles[i], p)
                    if gap < clear:
                        cost += weight * (60.0 if gap < 2 else 12.0)
            for frame in self._frames:
                inside = _within(frame, p)
                cost += weight * ALONG if _runs_along(frame, points[max(k, 1) - 1], p) else 0.0
                cost += weight * INSIDE if inside and not all(_within(frame, (c.x, c.y)) for c in (a, b)) else 0.0
            if 0 < k < len(points) - 1:
                for q, line in self._lines.near(p, apart):
                    away = hypot(p[0] - q[0], p[1] - q[1])
                    if away < apart and not self._meet(line, link, p):
                        cost += weight * (0.8 if away < 6.0 else 0.3)
            if cost / among > enough:
                break
        if link.mark:
            middle = along(curve, 0.5)
            for _, i in self._places.near(middle, self._widest + 16):
                if _gap(self._circles[i], middle) < 12:
                    cost += 40.0
        return cost / among

    def _meet(self, line: int, link: Link, p: Point) -> bool:
        """True near a circle that both touch, where lines have to come together."""
        for name in self._ends[line]:
            if name in (link.source, link.target) and _gap(self._picture.circles[name], p) < 16:
                return True
        return False

    def _lay(self, link: Link, curve: Curve) -> None:
        route = Route(curve)
        self._picture.routes[link] = route
        number = len(self._ends)
        self._ends.append((link.source, link.target))
        seen = self._is_near_judges(curve[0][0][0])
        if seen and link.rail not in self._rails:  # the first along a line is the longest
            for p in samples(curve, EVERY):
                self._lines.add(p, number)
        if link.rail is not None:
            self._rails.add(link.rail)
        if link.mark:
            route.square = halves(curve)[0][-1][3]
            self._block(_box(route.square, style.SQUARE + 2, style.SQUARE + 2))
        self._stamp(link, route)

    def _stamp(self, link: Link, route: Route) -> None:
        """The place of a glyph: past the square where there is one, else near the middle."""
        if link.kind in style.GLYPHS:
            place = 0.3 if link.mark else 0.5
            at = along(route.curve, place)
            route.glyph = at, heading(route.curve, place)
            self._block(_box(at, 12.0, 12.0))

    def _write(self, members: list[Link]) -> None:
        """Places for the label and the note of a family."""
        label, note = self._picture.label(members[0]), members[0].note
        if label:
            size = style.LABEL_SIZE
            places: tuple[float, ...] = PAST_SQUARE if members[0].mark else PLACES
            if members[0].source == members[0].target:
                places = (0.5, 0.6, 0.68)
            self._place(members, label, size, places, "label")
        if note:
            size = style.NOTE_SIZE
            places = (0.5, 0.45, 0.55, 0.4, 0.6) if members[0].mark else PLACES
            self._place(members, note, size, places, "note")

    def _place(self, members: list[Link], text: Lettering, size: float, places: Sequence[float], what: str) -> None:
        width, height = text.width(size), size * (1.1 if any(level for _, level, _ in text) else 0.8)
        judges = _spread(members, JUDGES if self._looked <= PATIENCE else 2)
        best, least = (places[0], 1, BESIDE), float("inf")
        rank = 0
        for off in (BESIDE, BESIDE + 3, BESIDE + 7):
            for place in places:
                for side in (1, -1):
                    rank += 1
                    cost = 0.3 * rank
                    for link in judges:
                        at = self._beside(link, place, side, off, width, height)
                        cost += self._crowd(_box(at, width, height)) / len(judges)
                        if cost >= least:
                            break
                    if cost < least:
                        best, least = (place, side, off), cost
        for link in members:
            at = self._beside(link, *best, width, height)
            setattr(self._picture.routes[link], what, at)
            if self._is_near_judges(at[0]):
                self._block(_box(at, width, height))

    def _beside(self, link: Link, place: float, side: int, off: float, width: float, height: float) -> Point:
        """The middle of a text beside a line: to its right where it climbs, above it where it is level; then the other.

        Beside a loop, first on the outside.
        """
        route = self._picture.routes[link]
        x, y = along(route.curve, place)
        ux, uy = heading(route.curve, place)
        nx, ny = uy, -ux
        if link.source == link.target:
            circle = self._picture.circles[link.source]
            if (x - circle.x) * nx + (y - circle.y) * ny < 0:
                nx, ny = -nx, -ny
        elif nx < 0 if abs(nx) > 0.5 else ny < 0:
            nx, ny = -nx, -ny
        if route.square is not None and abs(place - 0.5) < 0.12:
            off += style.SQUARE / 2
        reach = off + abs(nx) * width / 2 + abs(ny) * height / 2
        return x + side * nx * reach, y + side * ny * reach

    def _crowd(self, box: Box) -> float:
        """How much a text would lie on."""
        x0, y0, x1, y1 = box
        middle = (x0 + x1) / 2, (y0 + y1) / 2
        reach = max(x1 - x0, y1 - y0) / 2
        cost = 0.0
        for _, i in self._places.near(middle, self._widest + reach + 3):
            c = self._circles[i]
            nearest = min(max(c.x, x0), x1), min(max(c.y, y0), y1)
            gap = _gap(c, nearest)
            cost += 120.0 if gap < 0 else 40.0 if gap < 2 else 0.0
        for (x, y), _ in self._lines.near(middle, reach + 2):
            if x0 - 1.5 < x < x1 + 1.5 and y0 - 1.5 < y < y1 + 1.5:
                cost += 14.0
        corners = (x0 - 1, y0 - 1), (x1 + 1, y0 - 1), (x0 - 1, y1 + 1), (x1 + 1, y1 + 1)
        cost += 20.0 * sum(0 < sum(_within(frame, p) for p in corners) < 4 for frame in self._frames)
        for _, i in self._box_grid.near(middle, reach + 60):
            other = self._boxes[i]
            if x0 < other[2] + 2 and other[0] < x1 + 2 and y0 < other[3] + 1 and other[1] < y1 + 1:
                cost += 90.0
        return cost

    def _block(self, box: Box) -> None:
        self._box_grid.add(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), len(self._boxes))
        self._boxes.append(box)


def _within(frame: CellFrame, p: Point) -> bool:
    return frame.left < p[0] < frame.right and frame.low < p[1] < frame.high


def _runs_along(frame: CellFrame, before: Point, p: Point) -> bool:
    """True for a place near a side of a frame, on a line that keeps to that side."""
    across, up = abs(p[0] - before[0]), abs(p[1] - before[1])
    beside = (frame.left, frame.right, p[0], across, up) if up > across else (frame.low, frame.high, p[1], up, across)
    low, high, here, off, on = beside
    start, end, there = (frame.low, frame.high, p[1]) if up > across else (frame.left, frame.right, p[0])
    return off < on / 2 and start < there < end and min(abs(here - low), abs(here - high)) < NEAR_A_SIDE


def _gap(c: Circle, p: Point) -> float:
    """Points between a place and the rim of a circle; negative inside."""
    dx, dy = p[0] - c.x, p[1] - c.y
    if style.NODES[c.kind].shape == "box":
        beyond = abs(dx) - c.width / 2, abs(dy) - c.height / 2
        return hypot(max(0.0, beyond[0]), max(0.0, beyond[1])) or max(beyond)
    if c.width == c.height:
        return hypot(dx, dy) - c.width / 2
    scale = hypot(dx / (c.width / 2), dy / (c.height / 2)) or 1e-9
    return hypot(dx, dy) * (1 - 1 / scale)


def _box(middle: Point, width: float, height: float) -> Box:
    return middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2


def _spread(members: list[Link], most: int) -> list[Link]:
    """A few of a family, from all over it."""
    if len(members) <= most:
        return members
    return [members[round(i * (len(members) - 1) / (most - 1))] for i in range(most)]
