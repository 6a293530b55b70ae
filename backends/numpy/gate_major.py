"""Gate-major storage: where a vector is read in parts, each part of all examples lies in one piece.

A slice of (batch, gates * size) is a strip of memory for each example, on which NumPy's functions are several times
slower than on one piece. Stored as (gates, batch, size), every gate is one piece, and so are neighbouring gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd

from ...compiler.program import Program
from ...compiler.statements import Access, Compute, walk
from ...ops.shapes import elementwise
from . import tuning

Piece = tuple[int, int]


def piece(access: Access, size: int) -> Piece | None:
    """First and last element (excluded) that an access reads of a vector; None for any other rearrangement."""
    if not access.views:
        return 0, size
    view = access.views[0]
    (part, *rest) = dict(view.attrs)["parts"] if view.op == "slice" else (0,)
    if isinstance(part, int) or rest or part[2] not in (None, 1):
        return None
    chosen = range(*slice(*part).indices(size))
    return (chosen.start, chosen.stop) if chosen else None


def units(program: Program) -> dict[str, int]:
    """By name, the size of the gates of every buffer that is stored gate by gate."""
    decls = program.system.decls
    size = {
        n: decls[n].shape[0]
        for n in program.buffers
        if decls[n].batched and not decls[n].given and len(decls[n].shape) == 1 and decls[n].shape[0]
    }
    if not size:
        return {}
    found = _Units(program, size)
    worth = {found.group.root(name) for name in found.parted if found.may(name)}
    return {name: unit for name, unit in found.unit.items() if found.group.root(name) in worth and found.may(name)}


class _Units:
    """One size of gates for all vectors that meet in a statement or share their memory.

    size    of every vector that may be stored so
    parted  the vectors of which parts are read
    apart   the buffers of which some use cannot be made gate by gate
    """

    def __init__(self, program: Program, size: Mapping[str, int]) -> None:
        self.program, self.size = program, size
        self.unit = dict(self.size)
        self.uses: list[tuple[Compute, list[tuple[str, Piece | None]]]] = []
        for _, step in walk(program.steps):
            if isinstance(step, Compute):
                refs = [Access(step.equation.out), *(a for a in step.args if isinstance(a, Access))]
                used = [(a.ref.name, piece(a, self.size[a.ref.name])) for a in refs if a.ref.name in self.size]
                self.uses.append((step, used))
        asked = {r.name for r in program.system.outputs.values()}
        self.apart = {program.storage(n)[0] for n in self.size if n in asked}
        self.apart |= {program.storage(n)[0] for n in program.buffers if n not in self.size}
        self.group = _Groups()
        self.parted: set[str] = set()
        self._share()

    def _share(self) -> None:
        group = self.group
        for name in self.size:
            host, start = self.program.storage(name)
            if host in self.size:
                group.join(host, name)
                self.unit[name] = gcd(self.unit[name], start)
        for step, used in self.uses:
            length = self._length(step)
            for name, part in used:
                self.unit[name] = gcd(self.unit[name], *(part or ()))
                if part != (0, self.size[name]):
                    self.parted.add(name)
            group.join(*(name for name, part in used if part is not None and part[1] - part[0] == length))
        common: dict[str, int] = {}
        for name in self.size:
            root = group.root(name)
            common[root] = gcd(common.get(root, 0), self.unit[name])
        self.unit = {name: common[group.root(name)] for name in self.size}
        for step, used in self.uses:
            for name, part in used:
                if self.unit[name] < self.size[name] and not self._fits(step, self.unit[name], part):
                    self.apart.add(self.program.storage(name)[0])

    def _length(self, step: Compute) -> int:
        """Elements of the left-hand side of a statement that may be computed gate by gate; 0 for any other."""
        e, decls = step.equation, self.program.system.decls
        if e.operation.family is not elementwise or e.operation.compute is not None or e.summed or e.combine != "sum":
            return 0
        (length,) = decls[e.out.name].shape if len(decls[e.out.name].shape) == 1 else (0,)
        shapes = [_shape(decls[a.ref.name].shape, a) for a in step.args if isinstance(a, Access)]
        return length if e.batched and all(s in ((), (1,), (length,)) for s in shapes) else 0

    def _fits(self, step: Compute, unit: int, part: Piece | None) -> bool:
        """True for one gate, or for several in a statement that goes gate by gate."""
        return part is not None and (part[1] - part[0] == unit or part[1] - part[0] == self._length(step))

    def may(self, name: str) -> bool:
        """True where all that is done with a vector, and with what shares its memory, can be done gate by gate."""
        host = self.program.storage(name)[0]
        unit, most = self.unit[name], tuning.MAX_PARTS * self.unit[name]
        return unit < self.size[name] <= self.size[host] <= most and host not in self.apart


class _Groups:
    """Names put together (union-find)."""

    def __init__(self) -> None:
        self.above: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (above := self.above.get(name, name)) != name:
            self.above[name] = self.above.get(above, above)
            name = above
        return name

    def join(self, *names: str) -> None:
        for name in names[1:]:
            self.above[self.root(name)] = self.root(names[0])


def _shape(shape: Sequence[int], access: Access) -> tuple[int, ...] | None:
    """The shape of a vector or number as an access reads it; None for what is neither."""
    if len(shape) != 1:
        return tuple(shape) if not access.views else None
    part = piece(access, shape[0])
    return (part[1] - part[0],) if part is not None and len(access.views) <= 1 else None
