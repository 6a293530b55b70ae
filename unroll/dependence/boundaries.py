"""Undefined reads: steps that are read and that nothing defines, found as boxes at the cost of one step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product

from ..errors import BoundaryError, message
from ..ir.axes import Axis, Index, fixed, last, running, whole
from ..ir.system import Decl, Ref, System
from ..printing.plain import EquationWriter
from ..records import record
from .flows import Flow, Read

LISTED = 8
"""Steps that a message names, if there are no more."""
SHOWN = 4
"""Equations of one kind that a message shows."""
BEFORE, INSIDE, AFTER = "before", "inside", "after"
"""Where steps lie: at 0, -1, ...; at 1..T, which count as one; at T+1, T+2, ..."""


@record
class Box:
    """Steps along each axis: where they lie, and their numbers there."""

    where: tuple[str, ...]
    steps: tuple[range, ...]

    @property
    def size(self) -> int:
        """How many steps."""
        return math.prod(map(len, self.steps))

    @property
    def inside(self) -> bool:
        """True for steps of which none is a boundary."""
        return all(w == INSIDE for w in self.where)

    def without(self, other: Box) -> list[Box]:
        """What is left of it, in boxes."""
        if self.where != other.where:
            return [self]
        left, inner = [], list(self.steps)
        for position, (own, gone) in enumerate(zip(self.steps, other.steps, strict=True)):
            around = range(own.start, min(own.stop, gone.start)), range(max(own.start, gone.stop), own.stop)
            pieces = ((*inner[:position], piece, *inner[position + 1 :]) for piece in around if piece)
            left += [Box(self.where, steps) for steps in pieces]
            inner[position] = range(max(own.start, gone.start), min(own.stop, gone.stop))
            if not inner[position]:
                return [self]
        return left

    def refs(self, decl: Decl) -> Iterator[Ref]:
        """The first of its instances."""
        for numbers in product(*(steps[:LISTED] for steps in self.steps)):
            places = zip(self.where, numbers, decl.axes, strict=True)
            yield Ref(decl.name, tuple(_index(where, k, axis) for where, k, axis in places))


def _index(where: str, k: int, axis: Axis) -> Index:
    return fixed(k) if where == BEFORE else last(axis, k) if where == AFTER else running(axis)


def _boxes(ends: Iterable[tuple[Index, Index]]) -> list[Box]:
    """The steps from first to last along each axis."""
    along = []
    for lo, hi in ends:
        found = []
        if not lo.anchor:
            found.append((BEFORE, range(lo.shift, (0 if hi.anchor else min(hi.shift, 0)) + 1)))
        if (lo.shift <= 0 or not lo.anchor) and (hi.anchor or hi.shift >= 1):
            found.append((INSIDE, range(1)))
        if hi.anchor:
            found.append((AFTER, range(max(lo.shift, 1) if lo.anchor else 1, hi.shift + 1)))
        along.append([(where, steps) for where, steps in found if steps])
    return [Box(tuple(w for w, _ in parts), tuple(s for _, s in parts)) for parts in product(*along)]


def _left(boxes: Iterable[Box], covers: Iterable[Box]) -> list[Box]:
    """What of some boxes others do not cover."""
    left = list(boxes)
    for cover in covers:
        left = [piece for box in left for piece in box.without(cover)]
    return left


Hole = tuple[Flow, Read, Box]


def covered(system: System, flows: list[Flow]) -> None:
    """Every step that is read is defined, whatever the length: what lies before 1 or after T needs a boundary."""
    written: dict[str, list[tuple[tuple[Index, Index], ...]]] = {}
    for flow in flows:
        written.setdefault(flow.out.name, []).append(flow.equation.writes)
    for name, decl in system.decls.items():
        if decl.given:
            written.setdefault(name, []).append(tuple([whole(a).ends(0) for a in decl.axes]))
    boxes: dict[str, list[Box]] = {}
    missing: dict[str, list[Hole]] = {}
    for flow in flows:
        for read in flow.reads:
            name, steps = read.ref.name, flow.read_steps(read)
            if system.decls[name].kind == "cotangent":
                continue  # one that is never written is zero
            holes = missing.setdefault(name, [])
            if steps in written.get(name, ()):
                continue
            if name not in boxes:
                boxes[name] = [box for ends in written.get(name, ()) for box in _boxes(ends)]
            holes += [(flow, read, box) for box in _left(_boxes(steps), boxes[name])]
    for name, holes in missing.items():
        if holes:
            raise _refusal(system, system.decls[name], holes)


def _refusal(system: System, decl: Decl, holes: list[Hole]) -> BoundaryError:
    """All steps of one variable that are read and that nothing defines."""
    shown = [hole for hole in holes if hole[2].inside] or holes
    boxes: list[Box] = []
    for _, _, box in shown:
        boxes += _left([box], boxes)
    count = sum(box.size for box in boxes)
    refs = [str(ref) for ref in islice((ref for box in boxes for ref in box.refs(decl)), LISTED)]
    reads = list(dict.fromkeys(plain(read.ref) for _, read, _ in shown))
    writer = EquationWriter(system)
    flows = list({id(flow): flow for flow, _, _ in shown}.values())[:SHOWN]
    rows = [(writer.equation(f.equation), f.equation.source) for f in flows]
    if shown[0][2].inside:
        what = f"{reads[0]} is read, and only boundaries of {decl.name} are defined"
        return BoundaryError(message(what, *rows, fix=f"Add {refs[0]} = ..."))
    are, them, ending = ("is", "it", "y") if count == 1 else ("are", "them", "ies")
    listed, add = ", ".join(refs), f" {'; '.join(f'{r} = 0' for r in refs)}"
    if count > LISTED:
        listed = f"{', '.join(refs[:3])} and {count - 3:,} more steps"
        (where, steps), *others = [(box.where, box.steps) for box in boxes]
        add = f": {refs[0]} = 0 and so on"
        if where == (BEFORE,) and not others:
            add = f": for k in range({steps[0].start}, {steps[0].stop}): {decl.name}[k] = 0"
    what = f"{listed} {are} read (as {', '.join(reads[:SHOWN])}), and nothing defines {them}"
    return BoundaryError(message(what, *rows, fix=f"Add the boundar{ending}{add}, or a param or input in place of 0."))


def plain(ref: Ref) -> str:
    """The ref as the user wrote it: an axis renamed on the way through a sum has its own name again."""
    index = (i if i.axis is None else replace(i, anchor=i.anchor.rstrip("'")) for i in ref.index)
    return str(Ref(ref.name, tuple(index)))
