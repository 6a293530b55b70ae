"""What a page shows, as plain data: pictures, and for every circle its equation, its source line and what it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import Source, code, location
from ..ir.axes import fixed
from ..ir.system import System
from ..printing.plain import declaration
from ..printing.unicode import PrettyWriter
from ..render import draw_folded, draw_unfolded
from ..render.drawing import Drawing
from ..render.scene import Circle
from ..unfold.dag import Dag, Node
from ..unfold.lengths import unfold
from .play_order import GIVEN, SQUARES, order, reads

HIDDEN = (*SQUARES, "gap")


class Strings:
    """Texts that are said once and meant by number: pictures and equations recur from length to length."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a text."""
        return self._known.setdefault(text, len(self._known))

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)


class TemplateView:
    """One way of looking at a template: as it stands, forced, or with its cotangents.

    system  what is told of: equations and sources
    severs  the template before its reads were forced, with what was forced: its picture shows the severed reads too
    """

    def __init__(
        self, system: System, strings: Strings, severs: tuple[System, Mapping[str, str]] | None = None
    ) -> None:
        self.system = system
        self.strings = strings
        self.drawn = severs[0] if severs else system
        self.forced = severs[1] if severs else None
        self.writer = PrettyWriter(system)

    def folded(self) -> dict[str, Any]:
        """The folded picture and the equations behind every circle."""
        drawing = draw_folded(self.drawn, forced=self.forced)
        told = {c.name: self._told(c.name) for c in drawing.picture.circles.values() if c.kind not in HIDDEN}
        return {**self._picture(drawing, "f-", lambda circle: told[circle.name]), "told": told}

    def unfolded(self, lengths: Mapping[str, int]) -> dict[str, Any]:
        """The unfolded picture at given lengths, the equation of every instance, and the order to play them in."""
        dag = unfold(self.system, lengths)
        drawing = draw_unfolded(unfold(self.drawn, lengths), forced=self.forced)
        return self._picture(drawing, "u-", lambda circle: self._instance(dag, circle), play=True)

    def overlaid(self, lengths: Mapping[str, int], numbers: Mapping[str, Any], title: str, log: bool) -> int:
        """The unfolded picture with the numbers of a run; its circles are those of the bare one."""
        dag = unfold(self.drawn, lengths)
        return self.strings(draw_unfolded(dag, forced=self.forced, overlay=numbers, measured=title, log=log).svg("u-"))

    def _picture(self, drawing: Drawing, prefix: str, told: Any, play: bool = False) -> dict[str, Any]:
        picture = drawing.picture
        circles = [c for c in picture.circles.values() if c.kind not in HIDDEN]
        number = {c.id: i for i, c in enumerate(circles)}
        found = reads(picture)
        nodes = []
        for circle in circles:
            ways = [way for source, way in found[circle.id]]
            nodes.append(
                {
                    "id": prefix + circle.element,
                    "name": circle.name,
                    "key": key_of(circle.name, circle.point),
                    "label": circle.text,
                    "told": told(circle),
                    "edges": [prefix + element for element in dict.fromkeys(e for way in ways for e in way)],
                    "reads": [number[source] for source, _ in found[circle.id] if source in number],
                }
            )
        made: dict[str, Any] = {"svg": self.strings(drawing.svg(prefix)), "nodes": nodes}
        if play:
            needs = {key: [source for source, _ in sources] for key, sources in found.items()}
            sequence = order(self.system, list(picture.circles.values()), needs)
            made["order"] = [number[k] for k in sequence if k in number and picture.circles[k].kind not in GIVEN]
        return made

    def _told(self, name: str) -> list[Any]:
        """Each equation of a name, or its declaration, as [text, domain, location, line of code]."""
        equations = [e for e in self.system.equations if e.out.name == name]
        rows = [(self.writer.equation(e), self.writer.domain(e), e.source) for e in equations]
        decl = self.system.decls[name]
        return self._rows(rows or [(declaration(self.system, name, self.writer.show), "", decl.source)])

    def _instance(self, dag: Dag, circle: Circle) -> list[Any]:
        """The equations of one instance, at its steps."""
        node = Node(circle.name, tuple(k for k in circle.point or () if k is not None))
        if node not in dag:  # a term of the loss, which is one node in the graph
            return self._told(circle.name)
        rows = []
        for flow, steps in dag.writers(node):
            at = {axis: fixed(k) for axis, k in steps.items()}
            rows.append((self.writer.equation(flow.equation, at), "", flow.equation.source))
        return self._rows(rows) if rows else self._told(circle.name)

    def _rows(self, rows: Iterable[tuple[str, str, Source | None]]) -> list[Any]:
        """Rows as numbers of strings."""
        return [[*map(self.strings, (text, domain, location(s), code(s)))] for text, domain, s in rows]


def key_of(name: str, point: tuple[int | None, ...] | None) -> str:
    """``h[3]``: what a circle stands for, the same in every picture."""
    return name if not point else f"{name}[{','.join('...' if k is None else str(k) for k in point)}]"
