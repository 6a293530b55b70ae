"""Where the circles of an unfolded diagram stand: one column a step, one row a variable, several axes in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from ..ir.axes import Axis, Index
from ..unfold.dag import Dag
from . import style
from .arrows import Arrow, crossed, loss_terms
from .columns import Line, dots
from .labels import Ids
from .lattice import Lattice, Stack
from .layering import layers
from .rich_text import NOTHING, Lettering, line
from .scene import Circle, Link, Point, Steps
from .view_model import DrawingOptions, Subject


class Grid:
    """Which circles there are and where they stand."""

    def __init__(self, dag: Dag, options: DrawingOptions, columns: int | None, terms: bool, around: int | None) -> None:
        self.subject = subject = Subject(dag.system, options)
        self.system = subject.system
        self.lengths = dag.lengths
        self.names = subject.names
        self.arrows = subject.arrows
        self.picture = subject.picture()
        self.turned = self.picture.turned
        self.lattice: Lattice | None = None
        self.terms = loss_terms(self.system, self.arrows) if terms and not subject.ops else ()
        self.boxes = {name: self._boxes(name) for name in self.names}
        self.line = {
            axis: self._line(axis, columns, around if not number else None)
            for number, axis in enumerate(self.system.axes)
        }
        self.crossed = crossed(self.arrows, {n: self.axes(n) for n in self.names}, self.system.axes)
        self.rail_height = style.LOW_RAIL if self.crossed else style.RAIL
        self._lanes: dict[str, int] = {}
        self.ids = Ids()
        self.id: dict[tuple[str, Steps], str] = {}

    def axes(self, name: str) -> tuple[Axis, ...]:
        """The axes of a name; a loss drawn in terms has that of its sum."""
        if name == self.system.loss and self.terms:
            return tuple(r.axis for r in self.terms)
        return self.system.decls[name].axes

    def _boxes(self, name: str) -> list[tuple[range, ...]]:
        """The steps at which a name has instances."""
        if name == self.system.loss and self.terms:
            return [tuple(r.steps(self.lengths) for r in self.terms)]
        decl = self.system.decls[name]
        boxes = [tuple(range(1, self.lengths[a.end] + 1) for a in decl.axes)] if decl.given else []
        for equation in self.system.equations:
            if equation.out.name == name:
                ends = map(equation.written, range(len(equation.out.index)))
                boxes.append(tuple(range(a.at({}, self.lengths), b.at({}, self.lengths) + 1) for a, b in ends))
        return [box for box in dict.fromkeys(boxes) if all(box)]

    def _line(self, axis: Axis, columns: int | None, around: int | None) -> Line:
        ranges = [
            r for n in self.names for box in self.boxes[n] for a, r in zip(self.axes(n), box, strict=True) if a == axis
        ]
        first, end = min((r.start for r in ranges), default=1), max((r.stop for r in ranges), default=1)
        return Line(first, end - 1, columns, around)

    def instances(self, name: str) -> Iterator[Steps]:
        """The circles of a name: its drawn steps, and an ellipsis where it goes on unseen."""
        found: dict[Steps, None] = {}
        lines = [self.line[a] for a in self.axes(name)]
        for box in self.boxes[name]:
            parts: list[list[int | None]] = [
                [k for k in line.columns if (line.hidden(r) is not None if k is None else k in r)]
                for line, r in zip(lines, box, strict=True)
            ]
            found.update(dict.fromkeys(product(*parts)))
        yield from found

    def count(self) -> int:
        """How many circles there are at most, without making them."""
        total = 0
        for name in self.names:
            for box in self.boxes[name]:
                size = 1
                for axis, r in zip(self.axes(name), box, strict=True):
                    size *= min(len(self.line[axis].columns), len(r))
                total += size
        return total

    # -- places ----------------------------------------------------------------------------------------------------

    def place(self) -> None:
        """A circle for each instance: x by its steps, y by its name."""
        texts = {(n, s): self._text(n, s) for n in self.names for s in self.instances(n)}
        sizes = {key: self._fit(*key, text) for key, text in texts.items()}
        widest = max((w for w, _ in sizes.values()), default=style.DIAMETER)
        label = max((self.picture.label(k).width(style.LABEL_SIZE) for k in self._samples()), default=0.0)
        high = style.DIAMETER
        if self.turned:
            self.rail_height = max(self.rail_height, widest / 2 + 16)
            widest, high, label = high, widest + label, 0.0
        if self.crossed:
            names, subject = {n: self.axes(n) for n in self.names}, self.subject
            there = Stack(names, self.instances, subject.rows(), subject.root, self.arrows)
            self.lattice = Lattice(*self.crossed, self.line, there, widest + label, high)
            height, x = self.lattice.heights, {}
        else:
            height = self._rows()
            passing = {(a.source, a.target) for a in self.arrows if self._skips(a, height)}
            x = self._columns(max(style.COLUMN, widest + 30 + label) + 7 * min(len(passing), 12))
            apart = max(style.ROW, high + 42 if self.turned else 0.0) / style.ROW
            height = {name: y * apart for name, y in height.items()}
        tip = self.subject.tips()
        middle: list[tuple[str, Steps]] = []
        for key, text in texts.items():
            name, steps = key
            if not steps:
                middle.append(key)
                continue
            spot = self.lattice.spot(*key) if self.lattice else (x[self.axes(name), steps], height[name])
            self._circle(key, text, spot, sizes[key], tip[name])
        self._untimed(middle, texts, sizes, height, tip)

    def _samples(self) -> Iterator[Link]:
        """One link for each list of params that will stand beside some."""
        for params in dict.fromkeys(a.params for a in self.arrows):
            yield Link("", "", params)

    def _skips(self, arrow: Arrow, height: Mapping[str, float]) -> bool:
        """True for an arrow that passes rows in which it has no business."""
        timed = self.axes(arrow.source) and self.axes(arrow.target)
        return bool(timed) and abs(height[arrow.source] - height[arrow.target]) > 1.5 * style.ROW

    def _text(self, name: str, steps: Steps) -> Lettering:
        if None in steps:
            out = [a for a, k in zip(self.axes(name), steps, strict=True) if k is None]
            return line(dots(out, self.crossed, self.turned))
        lines = [self.line[a] for a in self.axes(name)]
        if any(one.around is not None for one in lines):
            shown = [one.text(k) for one, k in zip(lines, steps, strict=True) if k is not None]
            return self.subject.print.at(name, shown)
        if self._is_boundary(name, steps):
            return self.subject.print.at(name, [k for k in steps if k is not None])
        return self.subject.letters(name, tuple(k for k in steps if k is not None))

    def _fit(self, name: str, steps: Steps, text: Lettering) -> tuple[float, float]:
        if None in steps:
            return style.fit(text)
        wide, size = self.subject.fit(name, tuple(k for k in steps if k is not None))
        return (wide, size) if text.width(size) <= wide - 4 else style.fit(text)

    def _circle(self, key: tuple[str, Steps], text: Lettering, at: Point, size: tuple[float, float], tip: str) -> None:
        name, steps = key
        gap = None in steps
        start = self._is_boundary(name, steps) and not self._fed(name) and not self._is_cotangent(name)
        kind = "gap" if gap else "boundary" if start or self.beyond(name, steps) else self.subject.kind(name)
        shown = ",".join("..." if k is None else str(k) for k in steps)
        self.id[key] = self.ids.of(f"{name}[{shown}]" if steps else name)
        wide, high, letters = (26.0, 16.0, 18.0) if gap else (size[0], self.subject.high(name), size[1])
        made = Circle(self.id[key], text, kind, *at, wide, high, letters, "" if gap else tip)
        made.name, made.point, made.below = name, steps, NOTHING if gap else self.subject.below(name)
        made.colour = "" if gap else self.picture.colours.get(self.subject.root(name), "")
        self.picture.add(made)

    def beyond(self, name: str, steps: Steps) -> bool:
        """True for the ends beyond the steps around one."""
        return any(self.line[a].beyond(k) for a, k in zip(self.axes(name), steps, strict=True))

    def _is_boundary(self, name: str, steps: Steps) -> bool:
        pairs = zip(self.axes(name), steps, strict=True)
        return any(k is not None and not 1 <= k <= self.lengths[a.end] for a, k in pairs)

    def hide_boundaries(self) -> None:
        """Take out every boundary that is computed from nothing drawn."""
        hidden = {
            c.id
            for c in self.picture.circles.values()
            if c.kind == "boundary" and not self.beyond(c.name, c.point or ())
        }
        self.picture.circles = {name: c for name, c in self.picture.circles.items() if name not in hidden}
        self.id = {key: name for key, name in self.id.items() if name not in hidden}

    def prune(self) -> None:
        """Take out boundaries, and ends beyond the steps around one, that touch nothing else."""
        joined = {end for link in self.picture.links for end in (link.source, link.target)}
        for name, circle in list(self.picture.circles.items()):
            if circle.kind == "boundary" and name not in joined and joined:
                del self.picture.circles[name]

    def _fed(self, name: str) -> bool:
        """True where a boundary of the name is computed from another variable."""
        return any(a.boundary and a.target == name and self.system.decls[a.source].kind != "input" for a in self.arrows)

    def _rows(self) -> dict[str, float]:
        """Height of each name. Blocks that do not feed each other step by step share their rows."""
        level = self.subject.rows()
        forward = [n for n in self.names if n in level and self.subject.root(n) == n]
        groups = self._blocks(forward)
        row: dict[str, float] = {}
        if self.stacked():
            order = sorted(forward, key=lambda n: level[n])
            block = {n: i for i, group in enumerate(groups) for n in group}
            y = 0.0
            for before, name in zip([order[0], *order], order, strict=False):
                apart = 1.0 if block[before] == block[name] else 2.0
                apart += 0.35 if len(self.axes(before)) > 1 and len(self.axes(name)) > 1 else 0.0
                y += style.ROW * apart if row else 0.0
                row[name] = y
            groups = []
        for group in groups:
            starts = {n: target for n in group if (target := self._starts(n)) in group}
            order = sorted((n for n in group if n not in starts), key=lambda n: level[n])
            base = {n: i * style.ROW for i, n in enumerate(order)}
            base |= {n: base[target] - style.ROW for n, target in starts.items() if target in base}
            joints = [row[a.source] - base[a.target] for a in self.arrows if a.source in row and a.target in base]
            row.update({n: y + (joints[0] if joints else 0.0) for n, y in base.items()})
        self._mirror(row)
        return row

    def _mirror(self, row: dict[str, float]) -> None:
        """Rows of cotangents: above the forward pass and upside down, so that data flows upwards throughout."""
        top = max(row.values(), default=0.0) + 0.3 * style.ROW
        waiting = [n for n in self.names if n not in row]
        while waiting:
            level = {n: str(self.system.decls[n].of) for n in waiting if self.system.decls[n].of not in waiting}
            for name in sorted(level, key=lambda n: -row.get(level[n], 0.0)):
                if self.system.decls[self.subject.root(name)].kind == "param":
                    row[name] = 0.0  # these stand at the end of the row that they are summed over
                    continue
                here = row.get(level[name])
                beside = [n for n in level if n in row and here is not None and row.get(level[n]) == here]
                if beside and not {a for n in beside for a in self.axes(n)} & {*self.axes(name)}:
                    row[name] = row[beside[0]]  # as their roots do, two blocks share a row
                else:
                    top += style.ROW
                    row[name] = top
            waiting = [n for n in waiting if n not in level]

    def _starts(self, name: str) -> str | None:
        """The variable whose boundaries a name without steps feeds, and nothing else: it stands below those."""
        fed = {a.target if a.boundary else None for a in self.arrows if a.source == name}
        return next(iter(fed)) if len(fed) == 1 and not self.axes(name) else None

    def _blocks(self, names: list[str]) -> list[list[str]]:
        """Names by the block they stand in; untimed ones with those they feed, or are fed by."""
        block: dict[str, Axis] = {n: self.axes(n)[0] for n in names if self.axes(n)}
        for _ in names:
            for a in self.arrows:
                for here, there in ((a.target, a.source), (a.source, a.target)):
                    if here in block and there in names:
                        block.setdefault(there, block[here])
        order = {axis: i for i, axis in enumerate(self.system.axes)}
        groups: dict[int, list[str]] = {}
        for name in names:
            groups.setdefault(order[block[name]] if name in block else 0, []).append(name)
        return list(groups.values())

    def stacked(self) -> bool:
        """True where something runs along two axes at once: then the blocks stand above one another."""
        return any(len(self.axes(n)) > 1 for n in self.names)

    def _columns(self, width: float) -> dict[tuple[tuple[Axis, ...], Steps], float]:
        """Place of each combination of steps. Along two axes, the steps of the first are apart and hold the others."""
        x: dict[tuple[tuple[Axis, ...], Steps], float] = {}
        kinds = sorted({self.axes(n) for n in self.names if self.axes(n)}, key=len, reverse=True)
        inner = {k[0]: k for k in reversed(kinds) if len(k) > 1}
        spans: dict[Axis, tuple[float, float]] = {}
        start = 0.0
        for axis in self._sides():
            at = start
            for step in self.line[axis].columns:
                many = inner.get(axis)
                if many is None or step is None:
                    x[(axis,), (step,)] = at
                    at += width
                    continue
                first = at
                for rest in product(*(self.line[a].numbers for a in many[1:])):
                    x[many, (step, *rest)] = at
                    at += width * 0.8
                x[(axis,), (step,)] = (first + at - width * 0.8) / 2
                at += width * 0.5
            spans[axis] = start, at
            start = at + 0.25 * width
        if self.stacked():  # centre every block under the widest
            total = max(b - a for a, b in spans.values())
            for (axes, steps), value in list(x.items()):
                a, b = spans[axes[0]]
                x[axes, steps] = value - a + (total - (b - a)) / 2
        return self._other_kinds(x)

    def _sides(self) -> list[Axis]:
        """The axes from left to right: those that feed others first."""
        used = [a for a in self.system.axes if self.line[a].columns]
        pairs = [
            (p, q) for a in self.arrows for p in self.axes(a.source)[:1] for q in self.axes(a.target)[:1] if p != q
        ]
        level = layers([a.name for a in used], [], [(p.name, q.name) for p, q in pairs], [])
        return sorted(used, key=lambda a: level[a.name])

    def _other_kinds(
        self, x: dict[tuple[tuple[Axis, ...], Steps], float]
    ) -> dict[tuple[tuple[Axis, ...], Steps], float]:
        """Places for what runs along several axes but got none above: ellipses, other orders of the axes."""
        for name in self.names:
            axes = self.axes(name)
            for steps in self.instances(name) if len(axes) > 1 else ():
                if (axes, steps) not in x:
                    known = [v for (a, s), v in x.items() if a == axes and s[0] == steps[0]]
                    outer = x.get(((axes[0],), steps[:1]), 0.0)
                    x[axes, steps] = (min(known) + max(known)) / 2 if known else outer
        return x

    def _untimed(
        self,
        keys: list[tuple[str, Steps]],
        texts: Mapping[tuple[str, Steps], Lettering],
        sizes: Mapping[tuple[str, Steps], tuple[float, float]],
        height: Mapping[str, float],
        tip: Mapping[str, str],
    ) -> None:
        """Names without steps: in the middle of what they touch; cotangents of params at the end of a row."""
        params = [k for k in keys if self.system.decls[self.subject.root(k[0])].kind == "param"]
        self._lanes = self._make_lanes({k[0] for k in params}, height)
        lanes = {a.target: self._lanes[a.source] for a in self.arrows if a.source in self._lanes}
        params.sort(key=lambda k: lanes.get(k[0], 0))
        ends: dict[float, float] = {}
        wide = (c.x + (c.height if self.turned else c.width) / 2 for c in self.picture.circles.values())
        right = max(wide, default=0.0) + 26
        summed = {
            key[0]: [height[a.source] for a in self.arrows if a.target == key[0] and self._is_cotangent(a.source)]
            for key in params
        }
        for key in params:
            row = max(summed[key[0]], default=max(height.values(), default=0.0) + style.ROW)
            if self.lattice:  # below all the lines that lead there
                row = min((y for rows in summed.values() for y in rows), default=row)
            half = (style.DIAMETER if self.turned else sizes[key][0]) / 2
            x = ends.get(row, right) + half
            ends[row] = x + half + 14
            self._circle(key, texts[key], (x, row), sizes[key], tip[key[0]])
        waiting = sorted((k for k in keys if k not in params), key=lambda k: self._is_cotangent(k[0]))
        for _ in range(len(waiting) + 1):
            for key in list(waiting):
                near = self._touched(key[0])
                if near or len(waiting) == len(keys) - len(params) == 1:
                    x = (min(near) + max(near)) / 2 if near else 0.0
                    self._circle(key, texts[key], (x, height[key[0]]), sizes[key], tip[key[0]])
                    waiting.remove(key)
        for key in waiting:
            self._circle(key, texts[key], (0.0, height[key[0]]), sizes[key], tip[key[0]])

    def _is_cotangent(self, name: str) -> bool:
        return self.system.decls[name].kind == "cotangent"

    def rail(self, arrow: Arrow, source: Circle) -> float | None:
        """The height of the line along which a row is summed into the cotangents of params at its end."""
        of = self.system.decls[self.subject.root(arrow.target)].kind
        if of != "param" or not self._is_cotangent(arrow.source):
            return None
        return source.y + self.rail_height + 9.0 * self._lanes.get(arrow.source, 0)

    def _make_lanes(self, params: set[str], height: Mapping[str, float]) -> dict[str, int]:
        """Where two blocks share a row, each is summed along a line of its own, the block on the right below."""
        summed = {a.source for a in self.arrows if a.target in params and self._is_cotangent(a.source)}
        right = {n: max((c.x for c in self.picture.circles.values() if c.name == n), default=0.0) for n in summed}
        lanes: dict[str, int] = {}
        for name in sorted(summed, key=lambda n: -right[n]):
            lanes[name] = sum(height[other] == height[name] for other in lanes)
        return lanes

    def _touched(self, name: str) -> list[float]:
        """Places of the circles that have a place and an arrow from or to a name without steps."""
        if self._is_cotangent(name):
            return [self.picture.circles[i].x for (n, _), i in self.id.items() if n == self.subject.root(name)]
        found = []
        for arrow in self.arrows:
            if self._is_cotangent(arrow.source) or self._is_cotangent(arrow.target):
                continue
            if arrow.target == name:
                found += self._where(arrow.source, arrow.flow.read_steps(arrow.read))
            elif arrow.source == name:
                found += self._where(arrow.target, [arrow.flow.written(i) for i in range(len(arrow.flow.out.index))])
        return found

    def _where(self, name: str, ends: Sequence[tuple[Index, Index]]) -> list[float]:
        """Places of the circles of a name between these steps; all of them for a loss that is drawn in terms."""
        box = [range(lo.at({}, self.lengths), hi.at({}, self.lengths) + 1) for lo, hi in ends]
        return [
            self.picture.circles[i].x
            for (n, steps), i in self.id.items()
            if n == name
            and (len(steps) != len(box) or all(k is None or k in r for k, r in zip(steps, box, strict=True)))
        ]
