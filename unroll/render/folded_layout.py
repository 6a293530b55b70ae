"""The folded diagram: one circle a name, a square on every read at another step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import RenderError
from ..ir.axes import Axis, running
from ..ir.system import Ref, System
from . import style
from .arrows import Arrow
from .bezier import samples
from .edge_routing import Router
from .labels import Ids, PrintedNames, visible
from .layering import places
from .rich_text import NOTHING, Lettering, joined, line
from .scene import CellFrame, Circle, Link, Picture
from .view_model import FEW, PLAIN, DrawingOptions, Subject


def folded(
    system: System, options: DrawingOptions = PLAIN, *, boundaries: bool = False, max_nodes: int = 500
) -> Picture:
    """The picture of a system.

    boundaries  True to draw ``h[0]`` too, where it is not computed from anything
    max_nodes   how many circles are still drawn

    Raises RenderError where there are more.
    """
    subject = Subject(system, options)
    if len(subject.names) > max_nodes:
        raise RenderError(
            f"the folded diagram of {system.name!r} has {len(subject.names)} nodes; more than max_nodes={max_nodes} "
            "are not drawn. Raise max_nodes, or draw a smaller template."
        )
    plan = _Plan(subject, boundaries)
    plan.place()
    plan.connect()
    plan.picture.turn()
    Router(plan.picture, plan.frames()).run()
    plan.picture.boxes = plan.frames()
    return plan.picture


class _Plan:
    def __init__(self, subject: Subject, boundaries: bool) -> None:
        self.subject = subject
        self.system = subject.system
        self.names = subject.names
        self.arrows = subject.arrows
        self.print = subject.print
        self.picture = subject.picture()
        self.ids = Ids()
        self.id: dict[str, str] = {}
        self.row = subject.rows()
        self.shared = {ref: group for ref, group in self._delayed().items() if len({a.target for a in group}) > 1}
        self.starts = self._boundaries() if boundaries else {}
        self.turned = self.picture.turned

    def _delayed(self) -> dict[Ref, list[Arrow]]:
        """The arrows that cross steps, by what they read; not those that are only what a derivative needs."""
        groups: dict[Ref, list[Arrow]] = {}
        for arrow in self.arrows:
            if arrow.delays() and self.subject.link_kind(arrow) != "primal":
                groups.setdefault(arrow.read.ref, []).append(arrow)
        return groups

    def _boundaries(self) -> dict[Ref, str]:
        """The boundaries that are computed from nothing drawn: ``h[0] = 0``."""
        fed = {a.flow.out for a in self.arrows if a.boundary}
        outs = [e.out for e in self.system.equations if e.out.name in self.row and e.out not in fed]
        return {r: r.name for r in outs if any(not i.runs for i in r.index)}

    def place(self) -> None:
        """Circles for every name; squares of their own for delayed values that several names read."""
        tip = self.subject.tips()
        forward = {n: r for n, r in self.row.items() if self.system.decls[n].kind != "cotangent"}
        pairs = [(a.source, a.target) for a in self.arrows if not a.delays()]
        size = {n: self.subject.fit(n) for n in self.names}
        width = {n: self.subject.high(n) if self.turned else size[n][0] for n in self.names}
        marks: dict[Ref, str] = {}
        for ref, group in self.shared.items():
            if ref.name in forward:
                mark = f"\0{len(marks)}"
                marks[ref] = mark
                level = min(forward[a.target] for a in group) - 1
                if any(forward.get(n) == level for members in self.subject.cells.values() for n in members):
                    level += 1  # a row of its own, below its readers and above the cell there
                    forward = {n: row + (row >= level) for n, row in forward.items()}
                forward[mark] = level
                width[mark] = style.SQUARE
                pairs.extend((mark, a.target) for a in group)
        starts = {}
        for ref, name in self.starts.items():
            if name in forward:
                starts[ref] = f"\1{ref}"
                forward[starts[ref]] = forward[name] - 1
                width[starts[ref]] = style.DIAMETER
                pairs.append((starts[ref], name))
        longest = max((self.subject.label_width(self.picture, a.params) for a in self.arrows), default=0.0)
        gap = 58.0 + (0.0 if self.turned else max(0.0, longest - 20))
        x = places(forward, pairs, gap, width)
        deep = {n: size[n][0] if self.turned else style.DIAMETER for n in self.names}
        notes = [fixed_note(self.system, a).width(style.NOTE_SIZE) for a in self.arrows if not a.delays()]
        height = self._heights(forward, deep, max([longest, *notes]))
        span = max(x.values(), default=0.0) - min(x.values(), default=0.0)
        for name in self.names:
            beside = self.subject.root(name)
            if name in forward:
                self._circle(name, x[name], height[forward[name]], size[name], tip)
            elif beside in forward:
                self._circle(name, x[beside] + span + 190, height[forward[beside]], size[name], tip)
        self._params([n for n in self.names if n not in self.id], size, tip)
        for ref, mark in marks.items():
            self._square(self.shared[ref], x[mark], height[forward[mark]])
        for ref, group in self.shared.items():
            if ref not in marks:
                source = self.picture.circles[self.id[ref.name]]
                high = max(self.picture.circles[self.id[a.target]].y for a in group)
                self._square(group, source.x + 80, high + style.ROW / 2)
        for ref, mark in starts.items():
            text = self.print.ref(ref)
            wide, size_ = style.fit(text)
            made = Circle(self.ids.of(str(ref)), text, "boundary", x[mark], height[forward[mark]], wide, size=size_)
            made.name, made.tip = ref.name, tip[ref.name]
            self.picture.add(made)
            self.picture.links.append(Link(made.id, self.id[ref.name], kind="once"))

    def _circle(self, name: str, x: float, y: float, size: tuple[float, float], tip: Mapping[str, str]) -> None:
        self.id[name] = self.ids.of(name)
        made = Circle(self.id[name], self.subject.letters(name), self.subject.kind(name), x, y, size[0], size=size[1])
        made.name, made.below, made.height = name, self.subject.below(name), self.subject.high(name)
        made.tip = tip[name]
        made.colour = self.picture.colours.get(self.subject.root(name), "")
        self.picture.add(made)

    def _heights(self, row: Mapping[str, int], deep: Mapping[str, float], longest: float) -> dict[int, float]:
        """Height of each row; two rows stand further apart where many labelled lines run between them.

        deep     of each name, what its node takes in this direction
        longest  label of a line, which in a turned picture stands on the way
        """
        labelled: dict[int, int] = {}
        for arrow in self.arrows:
            if arrow.params and arrow.target in row:
                labelled[row[arrow.target]] = labelled.get(row[arrow.target], 0) + len(arrow.params)
        half: dict[int, float] = {}
        for name, level in row.items():
            half[level] = max(half.get(level, 0.0), deep.get(name, 0.0) / 2)
        least = max(style.ROW - style.DIAMETER, longest + 26 if self.turned else 0.0)
        y, result = 0.0, {}
        for level in range(min(row.values(), default=0), max(row.values(), default=0) + 1):
            result[level] = y
            pair = half.get(level, 0.0) + half.get(level + 1, 0.0) if self.turned else style.DIAMETER
            y += least + pair + 13.0 * max(0, min(labelled.get(level + 1, 0), 9) - 3)
        return result

    def _params(self, names: list[str], size: Mapping[str, tuple[float, float]], tip: Mapping[str, str]) -> None:
        """The cotangents of params: a column to the right, ordered by the height of what they are computed from."""
        circles = list(self.picture.circles.values())
        right = max((c.x for c in circles), default=0.0) + 130
        middle = (max((c.y for c in circles), default=0.0) + min((c.y for c in circles), default=0.0)) / 2
        aim: dict[str, float] = {}
        for name in names:
            ys = [
                self.picture.circles[self.id[a.source]].y
                for a in self.arrows
                if a.target == name and a.source in self.id and self.system.decls[a.source].kind == "cotangent"
            ]
            aim[name] = sum(ys) / len(ys) if ys else middle
        step = max([style.DIAMETER, *(size[n][0] for n in names if self.turned)]) + 16
        centre = sum(aim.values()) / len(aim) if aim else 0.0
        for place, name in enumerate(sorted(names, key=lambda n: aim[n])):
            y = centre + (place - (len(names) - 1) / 2) * step
            self._circle(name, right, y, size[name], tip)

    def _square(self, group: list[Arrow], x: float, y: float) -> None:
        """A square that one name feeds and several read."""
        mark, note = square(self.system, group[0])
        ref = group[0].read.ref
        made = Circle(self.ids.of(str(ref)), NOTHING, mark, x, y, style.SQUARE, style.SQUARE, name=ref.name)
        made.tip = visible(str(ref))
        self.picture.add(made)
        self.picture.links.append(Link(self.id[ref.name], made.id, note=note, arrow=False))
        beside: dict[tuple[str, str], dict[str, None]] = {}
        for arrow in group:
            beside.setdefault((arrow.target, self.subject.link_kind(arrow)), {}).update(dict.fromkeys(arrow.params))
        for (target, kind), params in beside.items():
            self.picture.links.append(Link(made.id, self.id[target], self._ordered(params), kind=kind))

    def _ordered(self, params: Iterable[str]) -> tuple[str, ...]:
        """Params as they are declared."""
        given = set(params)
        return tuple(p for p in self.picture.colours if p in given)

    def connect(self) -> None:
        """A link for every other arrow; several between the same circles with the same mark are one."""
        merged: dict[tuple[str, str, str, Lettering, str], dict[str, None]] = {}
        for arrow in self.arrows:
            back = arrow.delays()
            kind = self.subject.link_kind(arrow)
            if back and kind != "primal" and arrow.read.ref in self.shared:
                continue
            mark, note = square(self.system, arrow) if back else ("", fixed_note(self.system, arrow))
            if kind == "primal":
                mark, note = "", NOTHING
            key = self.id[arrow.source], self.id[arrow.target], mark, note, kind
            merged.setdefault(key, {}).update(dict.fromkeys(arrow.params))
        primal = self.subject.options.primal
        few = sum(kind == "primal" for *_, kind in merged) <= FEW
        for (a, b, mark, note, kind), params in merged.items():
            if kind == "primal" and not (few if primal is None else primal):
                continue
            self.picture.links.append(Link(a, b, self._ordered(params), mark, note, kind))

    def frames(self) -> list[CellFrame]:
        """A box around the variables of each cell, and their loops, where nothing else stands between them."""
        made: list[CellFrame] = []
        for layer, members in self.subject.cells.items():
            inside = {self.id[n] for n in members if n in self.id}
            circles = [self.picture.circles[i] for i in inside]
            found = [(c.x - c.width / 2, c.y - c.height / 2, c.x + c.width / 2, c.y + c.height / 2) for c in circles]
            for link, route in self.picture.routes.items():
                if link.source == link.target and link.source in inside:
                    xs, ys = zip(*samples(route.curve), strict=True)
                    found.append((min(xs), min(ys), max(xs), max(ys)))
            lefts, lows, rights, highs = zip(*found, strict=True)
            left, right, low, high = min(lefts) - 16, max(rights) + 16, min(lows) - 14, max(highs) + 18
            others = (c for c in self.picture.circles.values() if c.id not in inside)
            if all(not (left < c.x < right and low < c.y < high) for c in others):
                for box in made:
                    if low < box.high and box.low < high and box.left < left < box.right:
                        box.right = left = (left + box.right) / 2
                made.append(CellFrame(self.print.of(layer), left, low, right, high))
        return made


def square(system: System, arrow: Arrow) -> tuple[str, Lettering]:
    """The square of an arrow that crosses steps, and what is written beside it."""
    back = arrow.delays()
    return ("delay" if sum(back.values()) >= 0 else "advance"), delay_text(system, arrow.source, back)


def delay_text(system: System, name: str, back: Mapping[Axis, int]) -> Lettering:
    """The number of steps where it is not one; of a name with several axes the index along those that it crosses."""
    if len(system.decls[name].axes) > 1:
        crossed = [str(running(a, -back[a])) for a in system.decls[name].axes if a in back]
        return line(", ".join(crossed).replace("-", "−"))
    (steps,) = back.values()
    return line("" if abs(steps) == 1 else str(abs(steps)))


def fixed_note(system: System, arrow: Arrow) -> Lettering:
    """What a read or a write at one step says: ``h[T]``, ``e[S] → d[0]``."""
    names = PrintedNames(system)
    if arrow.boundary:
        return joined([names.ref(arrow.read.ref), names.ref(arrow.flow.out)], " → ")
    return names.ref(arrow.read.ref) if arrow.fixed else NOTHING
