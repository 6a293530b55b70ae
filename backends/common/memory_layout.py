"""Memory layout, liveness and the arena: strides of every buffer, live ranges, and offsets at given lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...compiler.program import Buffer, Program
from ...compiler.statements import Access, Compute, walk
from ...ir.axes import Axis, Range, fixed, last
from ...ir.system import Ref, System
from .symbolic_size import BATCH, BATCH_END, EXAMPLES, Key, Size, count, in_order, product

ALIGNED = 64
"""Bytes: a cache line, and the widest vector."""


@dataclass(frozen=True)
class Layout:
    """One name's array: steps of each kept axis, then the batch, then the per-example shape.

    host     the name whose memory it is a part of (its own name where it has its own)
    offset   elements into the host
    strides  elements from one step to the next, by dimension; `steps`, along each per-example axis
    brackets the axes of the name's brackets, those of which one slot is kept included
    """

    name: str
    kind: str
    axes: tuple[Range, ...]
    batched: bool
    shape: tuple[int, ...]
    host: str
    offset: int
    strides: Mapping[Key, Size]
    steps: tuple[Size, ...]
    brackets: tuple[Axis, ...]

    @property
    def elements(self) -> Size:
        """Of the whole array."""
        inner = Size(math.prod(self.shape))
        return product((*(count(r) for r in self.axes), *([BATCH] if self.batched else []), inner))

    def array(self, numbers: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of the whole as an array."""
        steps = [len(r.steps(numbers)) for r in self.axes]
        return (*steps, *([numbers[BATCH_END]] if self.batched else []), *self.shape)

    def inside(self, numbers: Mapping[str, int]) -> tuple[Any, ...]:
        """The steps 1..T of that array, between those of boundaries: a view, never a number."""
        return (*(_inside(r.axis, r.lo.at({}, numbers), numbers) for r in self.axes), Ellipsis)

    def part(self, ref: Ref, numbers: Mapping[str, int]) -> tuple[Any, ...]:
        """What of its host's array a result is: a view, never a number."""
        first = {r.axis: r.lo.at({}, numbers) for r in self.axes}
        kept = [(i, a) for i, a in zip(ref.index, self.brackets, strict=True) if a in first]
        parts = [_inside(a, first[a], numbers) if i.runs else i.at({}, numbers) - first[a] for i, a in kept]
        inner = [slice(self.offset, self.offset + self.shape[-1])] if self.host != self.name else []
        return (*parts, Ellipsis, *inner)


def _inside(axis: Axis, first: int, numbers: Mapping[str, int]) -> slice:
    return slice(1 - first, last(axis).at({}, numbers) + 1 - first)


def layouts(program: Program) -> dict[str, Layout]:
    """The layout of every name that a program mentions."""
    system = program.system
    found: dict[str, Layout] = {}
    buffers = dict(program.buffers)
    for name, decl in system.decls.items():
        if name not in buffers and decl.given:
            buffers[name] = Buffer(name, tuple(Range(a, fixed(1), last(a)) for a in decl.axes))
    for name, buffer in buffers.items():
        found[name] = _layout(system, buffer, *program.storage(name))
    return found


def _layout(system: System, buffer: Buffer, host: str, offset: int) -> Layout:
    decl = system.decls[buffer.name]
    shape = system.decls[host].shape
    inner = Size(math.prod(shape))
    strides: dict[Key, Size] = {}
    if decl.batched:
        strides[EXAMPLES] = inner
        inner = inner * BATCH
    for r in reversed(buffer.axes):
        strides[r.axis] = inner
        inner = inner * count(r)
    return Layout(
        buffer.name,
        decl.dtype,
        buffer.axes,
        decl.batched,
        decl.shape,
        host,
        offset,
        strides,
        in_order(shape),
        decl.axes,
    )


@dataclass(frozen=True)
class LiveRanges:
    """For every host in memory: the first and the last top-level step that touches it."""

    first: Mapping[str, int]
    final: Mapping[str, int]


def live_ranges(program: Program, found: Mapping[str, Layout], absent: set[str]) -> LiveRanges:
    """Liveness: the first and the last top-level step during which each host is in use."""
    first: dict[str, int] = {}
    final: dict[str, int] = {}
    for number, step in enumerate(program.steps):
        statements = (s for _, s in walk((step,)) if isinstance(s, Compute))
        for name in (n for s in statements for n in names(s) if n not in absent):
            host = found[name].host
            first.setdefault(host, number)
            final[host] = number
    for name in program.buffers:
        if program.system.decls[name].given:
            first[found[name].host] = -1  # filled before the run
            final.setdefault(found[name].host, -1)
    end = len(program.steps)
    for ref in program.system.outputs.values():
        host = found[ref.name].host
        first.setdefault(host, 0)
        final[host] = end
    return LiveRanges(first, final)


def names(step: Compute) -> list[str]:
    """What a statement reads and writes."""
    return [*(a.ref.name for a in step.args if isinstance(a, Access)), step.equation.out.name]


def offsets(sizes: Mapping[str, int], when: LiveRanges) -> tuple[dict[str, int], int]:
    """Bytes into one arena for each host, two of which share memory only where they are never in use together.

    Largest first, each at the lowest offset that is free for all of its life.
    """
    allocated: list[tuple[int, int, str]] = []
    where: dict[str, int] = {}
    total = 0
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        need = -(-max(sizes[name], 1) // ALIGNED) * ALIGNED
        at = 0
        for start, stop, other in sorted(allocated):
            if when.final[other] < when.first[name] or when.final[name] < when.first[other]:
                continue
            if start - at >= need:
                break
            at = max(at, stop)
        where[name] = at
        allocated.append((at, at + need, name))
        total = max(total, at + need)
    return where, total


def zeros(
    program: Program, found: Mapping[str, Layout], absent: set[str], host: str
) -> Iterator[tuple[Layout, tuple[Range, ...], int | None]]:
    """What the program counts on to be zero, in a host and its parts: which steps.

    Where a number comes with them, only if the buffer has more steps than that.
    """
    for name, layout in found.items():
        if layout.host != host or name in absent:
            continue
        buffer = program.buffers.get(name)
        if buffer is not None and buffer.clear is not None and buffer.clear != "all":
            (r,), (first, final) = layout.axes, buffer.clear
            for k, step in [(k, r.lo + k) for k in range(first)] + [(k, r.hi - k) for k in range(final)]:
                yield layout, (Range(r.axis, step, step),), k
        elif buffer is not None and buffer.clear == "all":
            yield layout, layout.axes, None
