"""The unfolded diagram: the circles on their grid, and a link for every pair that an equation joins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from ..errors import RenderError
from ..ir.axes import Axis, Index, Range, running
from ..unfold.dag import Dag
from .arrows import Arrow
from .edge_routing import Router
from .scene import Link, Picture, Steps
from .unfolded_layout import Grid
from .view_model import PLAIN, DrawingOptions

Pair = tuple[tuple[str, Steps], tuple[str, Steps], object, Mapping[Axis, int]]
"""What is read, what is written, what is bent alike, and the running steps."""


def unfolded(
    dag: Dag,
    options: DrawingOptions = PLAIN,
    *,
    columns: int | None = 12,
    around: int | None = None,
    boundaries: bool = True,
    loss: str = "terms",
    max_nodes: int = 2000,
) -> Picture:
    """The picture of an unfolded graph, for its lengths.

    Raises RenderError where there are more than `max_nodes` circles to draw, ValueError for an unknown option.
    """
    if loss not in ("terms", "total"):
        raise ValueError(f'loss={loss!r}: choose "terms" or "total"')
    if columns is not None and columns < 3:
        raise ValueError(f"columns={columns!r}: at least 3, the first, the ellipsis and the last")
    if around is not None and not any(1 <= around <= n for n in dag.lengths.values()):
        raise ValueError(f"around={around!r}: the steps run from 1 to {max(dag.lengths.values(), default=0)}")
    grid = Grid(dag, options, columns, loss == "terms", around)
    count = grid.count()
    if count > max_nodes:
        advice = "Give columns=12 to leave out the middle" if columns is None else "Give fewer columns"
        raise RenderError(
            f"the unfolded diagram of {dag.system.name!r} has {count} nodes at "
            f"{', '.join(f'{end} = {n}' for end, n in dag.lengths.items())}; more than max_nodes={max_nodes} are not "
            f"drawn. {advice}, unfold fewer steps, or raise max_nodes."
        )
    grid.place()
    if not boundaries:
        grid.hide_boundaries()
    Links(grid).draw(4 * max_nodes)
    grid.prune()
    grid.picture.turn()
    Router(grid.picture).run()
    return grid.picture


class Links:
    """The links of a grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def draw(self, most: int) -> None:
        """A link for every pair of instances that are drawn; through an ellipsis, one for all it stands for."""
        subject = self.grid.subject
        merged: dict[tuple[str, str, str], tuple[dict[str, None], object, float | None]] = {}
        for arrow in self.grid.arrows:
            kind = subject.link_kind(arrow)
            kind = "flow" if kind == "once" else kind
            if kind == "primal" and not subject.options.primal:
                continue
            if arrow.spread and kind == "flow" and not (self.grid.terms and arrow.target == self.grid.system.loss):
                kind = "spread"
            for source, target, family, at in self._pairs(arrow):
                cut = arrow.cut is None or arrow.cut.at(at, self.grid.lengths)
                through = "gap" if None in source[1] or None in target[1] else kind if cut else "flow"
                if self.grid.beyond(*source) and self.grid.beyond(*target):
                    continue
                if self.grid.beyond(*source) or self.grid.beyond(*target):
                    through = "gap"
                ends = self.grid.id[source], self.grid.id[target]
                same = next((k for k in ("flow", "gap") if (*ends, k) in merged), through)
                rail = self.grid.rail(arrow, self.grid.picture.circles[ends[0]])
                params, *_ = merged.setdefault((*ends, same), ({}, family, rail))
                params.update(dict.fromkeys(arrow.params))
                if len(merged) > most:
                    raise RenderError(
                        f"the unfolded diagram of {self.grid.system.name!r} has more than {most} edges. "
                        "Give fewer columns, unfold fewer steps, or raise max_nodes."
                    )
        for (a, b, kind), (params, family, rail) in merged.items():
            beside = tuple(p for p in self.grid.picture.colours if p in params)
            self.grid.picture.links.append(Link(a, b, beside, kind=kind, family=family, rail=rail))

    def _pairs(self, arrow: Arrow) -> Iterator[Pair]:
        """The pairs of circles that an arrow joins, each with what it shares with those bent alike."""
        out, reads = arrow.flow.out.index, arrow.read.ref.index
        ranges = {r.axis: r for r in (*arrow.flow.domain, *arrow.read.over)}
        if self.grid.terms and arrow.target == self.grid.system.loss:
            over = {r.axis.end: r.axis for r in arrow.read.over}
            out = tuple(running(over[r.axis.end]) for r in self.grid.terms)
        axes = list(ranges)
        choices = [self._choices(axis, ranges[axis], (*reads, *out)) for axis in axes]
        for values in product(*choices):
            at = dict(zip(axes, values, strict=True))
            source = arrow.source, self._steps(arrow.source, reads, at)
            target = arrow.target, self._steps(arrow.target, out, at)
            if source in self.grid.id and target in self.grid.id and not (None in source[1] and None in target[1]):
                moved = self._moved(source, target)
                yield source, target, (arrow.source, arrow.target, moved) if moved is not None else None, at

    def _moved(self, source: tuple[str, Steps], target: tuple[str, Steps]) -> tuple[float, float] | None:
        """How far the one stands from the other: links of one family go the same way."""
        a, b = self.grid.picture.circles[self.grid.id[source]], self.grid.picture.circles[self.grid.id[target]]
        return round(b.x - a.x), round(b.y - a.y)

    def _choices(self, axis: Axis, r: Range, indices: tuple[Index, ...]) -> list[int]:
        """The running steps at which either end is drawn, and one for all the others."""
        steps = r.steps(self.grid.lengths)
        shifts = {i.shift for i in indices if i.runs and i.axis == axis}
        if not shifts:
            return list(steps[:1])
        line = next(line for a, line in self.grid.line.items() if a.end == axis.end)
        found = {k - shift for shift in shifts for k in line.numbers if k - shift in steps}
        for shift in shifts:
            hidden = line.hidden(range(steps.start + shift, steps.stop + shift))
            if hidden is not None:
                found.add(hidden - shift)
        return sorted(found)

    def _steps(self, name: str, index: tuple[Index, ...], at: Mapping[Axis, int]) -> Steps:
        lines = [self.grid.line[a] for a in self.grid.axes(name)]
        if len(index) != len(lines):
            return ()
        return tuple(line.column(i.at(at, self.grid.lengths)) for line, i in zip(lines, index, strict=True))
