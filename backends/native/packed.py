"""Products with a matrix that does not change in a loop: packed once before it, in shares that stay the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .code import I1, Code, Value
from .group import Group
from .sharing import ENOUGH, Job, Sharing
from .sizes import ONE
from .tiles import Tiles, occurring, parted

WORTH_PACKING = 2**15
"""Elements whose packing is worth sharing."""


@dataclass(frozen=True)
class Panels:
    """A packed matrix: the name of its memory, its inner size and its columns."""

    host: str
    deep: int
    columns: int


class Packer:
    """Packs matrices and multiplies by them: each share has the same panels at every step, close to its core."""

    def __init__(self, code: Code, tiles: Tiles, sharing: Sharing) -> None:
        self.c, self.tiles, self.sharing = code, tiles, sharing
        self.shares = sharing.helpers + 1

    def elements(self, deep: int, columns: int) -> int:
        """Memory that a packed matrix needs."""
        return -(-columns // self.c.width) * self.c.width * deep

    def pack(self, host: str, into: Value, matrix: Value, deep: Group, columns: Group) -> Panels:
        """Copy a matrix into panels."""
        panels = Panels(host, deep.extent.factor, columns.extent.factor)

        def write(job: Job) -> None:
            c, (target, source), (step, along) = self.c, job.pointers, job.sizes

            def copy(column: Value, vectors: int, cut: bool) -> None:
                lane = c.i64(vectors * c.width)
                count = c.b.sub(c.i64(panels.columns), column) if cut else lane
                place = c.moved(target, "float", c.b.mul(column, c.i64(panels.deep)))
                first = c.moved(source, "float", c.b.mul(column, step))
                side_by_side = columns.right == ONE
                self.tiles.pack(place, lane, first, count, step, c.i64(panels.deep), along, side_by_side)

            self._panels(panels, job, copy)

        large = I1(panels.deep * panels.columns >= WORTH_PACKING)
        self.sharing.run((into, matrix), (columns.right, deep.right), self.c.i64(self.shares), large, write)
        return panels

    def product(self, panels: Panels, pointer: Value, rows: Group, deep: Group, x: Value, z: Value, adds: bool) -> None:
        """``z (+)= x @ matrix``."""
        c = self.c
        least = -(-ENOUGH // (panels.deep * panels.columns))
        large = c.b.icmp_signed(">=", c.size(rows.extent), c.i64(least))

        def write(job: Job) -> None:
            packed, left, out = job.pointers
            count, across, down, along = job.sizes
            last = c.i64((panels.columns - 1) % c.width + 1)

            def multiply(column: Value, vectors: int, cut: bool) -> None:
                base = c.moved(packed, "float", c.b.mul(column, c.i64(panels.deep)))
                place = c.moved(out, "float", column)
                args = [base, c.i64(vectors * c.width), left, across, along, place, down, count, c.i64(panels.deep)]
                c.b.call(self.tiles.strip(vectors, cut), [*args, last, I1(adds)])

            self._panels(panels, job, multiply)

        sizes = (rows.extent, rows.left, rows.out, deep.left)
        self.sharing.run((pointer, x, z), sizes, c.i64(self.shares), large, write)

    def _panels(self, panels: Panels, job: Job, write: Callable[[Value, int, bool], None]) -> None:
        """`write(first column, vectors, cut)` for the panels of a share."""
        c = self.c
        total = -(-panels.columns // c.width)
        each = -(-total // self.shares)
        first = c.least(c.b.mul(job.share, c.i64(each)), c.i64(total))
        past = c.least(c.b.add(first, c.i64(each)), c.i64(total))
        known = occurring(panels.columns, c.width, parted(total, self.shares))

        def at(v: Value, vectors: int, cut: bool) -> None:
            write(c.b.mul(c.b.add(first, v), c.i64(c.width)), vectors, cut)

        self.tiles.panels(c.b.sub(past, first), c.b.sub(c.i64(total - 1), first), at, known)
