"""Loop fusion and array contraction: statements over the same points become one kernel, which keeps its temporaries.

A kernel runs all its statements at one point before it goes on to the next. So a statement may join where it reads
what the kernel writes at the very same point only. Where a row is the point, the statements may reduce its last axis
and go on with the result: a row of a softmax or a layer norm passes from one end to the other while it is in cache.
The order of statements changes as far as their reads and writes allow, so that kernels become few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ir.axes import Axis
from ..ir.system import Ref, System
from .program import Program
from .statements import Access, Compute, Fuse, Repeat, Row, guard, row, walk

Step = Compute | Fuse | Repeat
Space = tuple[object, ...]

VARIANTS = 1
"""Guards in one kernel: each doubles its code."""
ROWS = range(8, 8193)
"""Elements of rows that are worth a loop of their own, and of which several fit in a cache."""


def fuse(program: Program, inside: bool = True) -> Program:
    """The program with its pointwise statements gathered in kernels; in loops too where `inside` says so."""
    steps = _Arranger(program, inside).arrange(program.steps, ())
    return _forgotten(replace(program, steps=steps))


class _Arranger:
    def __init__(self, program: Program, inside: bool) -> None:
        self.system, self.inside = program.system, inside
        self.parts = _overlaps(program)

    def arrange(self, steps: Sequence[Step], loops: tuple[Repeat, ...]) -> tuple[Step, ...]:
        """One body in a new order; loops nest no deeper than there are axes."""
        if self.inside:
            steps = [replace(s, body=self.arrange(s.body, (*loops, s))) if isinstance(s, Repeat) else s for s in steps]
        before = self._dependences(steps)
        waiting = [len(b) for b in before]
        after: list[list[int]] = [[] for _ in steps]
        for n, earlier in enumerate(before):
            for m in earlier:
                after[m].append(n)
        same: dict[Space, int] = {}  # a number for each, which is quicker to compare
        rows = [row(self.system, s) if isinstance(s, Compute) else None for s in steps]
        found = [_space(self.system, s, r, loops) for s, r in zip(steps, rows, strict=True)]
        spaces = [None if space is None else same.setdefault(space, len(same)) for space in found]
        ready = dict.fromkeys(n for n, w in enumerate(waiting) if not w)
        result: list[Step] = []
        while ready:
            first = self._next(ready, spaces)
            kernel = _Kernel(loops, self.parts)
            pending = [first]
            while pending:
                n = pending.pop(0)
                step = steps[n]
                width = r.reads if (r := rows[n]) is not None else 1
                if n != first and not (isinstance(step, Compute) and kernel.takes(step, width)):
                    continue
                del ready[n]
                kernel.add(step, width)
                for m in after[n]:
                    waiting[m] -= 1
                    if not waiting[m]:
                        ready[m] = None
                if spaces[first] is not None:
                    pending = [m for m in sorted(ready) if spaces[m] == spaces[first]]
            result.append(kernel.step())
        return tuple(result)

    def _next(self, ready: Mapping[int, None], spaces: Sequence[int | None]) -> int:
        """What cannot be fused goes first, so that kernels wait until they are large."""
        alone = [n for n in ready if spaces[n] is None]
        return min(alone) if alone else min(ready)

    def _dependences(self, steps: Sequence[Step]) -> list[set[int]]:
        """For each step the earlier ones it must follow: by name, whatever the steps of time."""
        written: dict[str, int] = {}
        read: dict[str, list[int]] = {}
        result = []
        for n, step in enumerate(steps):
            reads, writes = self._touched(step)
            before = {written[x] for x in (*reads, *writes) if x in written}
            for x in writes:
                before.update(read.pop(x, ()))
                written[x] = n
            for x in reads:
                read.setdefault(x, []).append(n)
            before.discard(n)
            result.append(before)
        return result

    def _touched(self, step: Step) -> tuple[dict[str, None], dict[str, None]]:
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        for _, s in walk((step,)):
            if isinstance(s, Compute):
                reads.update(dict.fromkeys([a.ref.name for a in s.args if isinstance(a, Access)]))
                writes[s.equation.out.name] = None
        if self.parts:
            for names in (reads, writes):
                names.update(dict.fromkeys([part for name in names for part in self.parts.get(name, ())]))
        return reads, writes


def _overlaps(program: Program) -> dict[str, list[str]]:
    """For names that share memory with others: which."""
    places: dict[str, list[tuple[str, int, int]]] = {}
    for name in program.buffers:
        host, offset = program.storage(name)
        size = program.system.decls[name].shape[-1:]
        places.setdefault(host, []).append((name, offset, offset + (size[0] if size else 1)))
    return {
        name: [other for other, lo, hi in same if other != name and lo < stop and start < hi]
        for same in places.values()
        if len(same) > 1
        for name, start, stop in same
    }


class _Kernel:
    """Statements gathered so far."""

    def __init__(self, loops: tuple[Repeat, ...], parts: Mapping[str, Sequence[str]]) -> None:
        self.loops, self.parts = loops, parts
        self.body: list[Step] = []
        self.written: dict[str, Ref] = {}
        self.read: dict[str, list[Access]] = {}
        self.guards: dict[object, None] = {}
        self.width = 1

    def takes(self, step: Compute, width: int) -> bool:
        """True if the statement touches what the kernel touches at the same point only, and few guards are needed.

        width  the elements of a row that it reads
        """
        if len({*self.guards, guard(step, self.loops)} - {()}) > VARIANTS:
            return False
        if len({self.width, width, 1}) > 2:
            return False
        out, looped = step.equation.out, {axis for axis, _ in step.offsets}
        for arg in step.args:
            if isinstance(arg, Access) and any(p in self.written for p in self.parts.get(arg.ref.name, ())):
                return False
            wrote = self.written.get(arg.ref.name) if isinstance(arg, Access) else None
            if wrote is None or not isinstance(arg, Access) or _apart(arg.ref, wrote, looped):
                continue
            if arg.views or arg.ref != wrote:
                return False
        if self.written.get(out.name, out) != out or any(p in self.read for p in self.parts.get(out.name, ())):
            return False
        reads = (a for a in self.read.get(out.name, ()) if not _apart(a.ref, out, looped))
        return all(a.ref == out and not a.views for a in reads)

    def add(self, step: Step, width: int) -> None:
        self.body.append(step)
        if isinstance(step, Compute):
            self.guards[guard(step, self.loops)] = None
            self.width = max(self.width, width)
            self.written[step.equation.out.name] = step.equation.out
            for arg in step.args:
                if isinstance(arg, Access):
                    self.read.setdefault(arg.ref.name, []).append(arg)

    def step(self) -> Step:
        """A kernel, or the one statement as it was."""
        body = tuple(s for s in self.body if isinstance(s, Compute))
        return Fuse(body) if len(body) > 1 else self.body[0]


def _apart(a: Ref, b: Ref, looped: set[Axis]) -> bool:
    """True if the two are different steps of an axis that is fixed while a kernel runs."""
    return any(
        i.shift != j.shift and (i.axis, i.anchor) == (j.axis, j.anchor) and (not i.runs or i.axis in looped)
        for i, j in zip(a.index, b.index, strict=True)
    )


def _space(system: System, step: Step, found: Row | None, loops: tuple[Repeat, ...]) -> Space | None:
    """The points or rows of a statement that a kernel may hold, as a key; None for any other step."""
    if not isinstance(step, Compute) or found is None:
        return None
    if found.reads != found.writes and found.reads not in ROWS:
        return None
    e, looped = step.equation, {loop.axis for loop in loops}
    spans = tuple(r for r in e.domain if r.axis not in looped)
    rows = found.reads == 1 or found.reads in ROWS
    return spans, tuple(step.offsets), e.batched, rows, found.lead if rows else system.decls[e.out.name].shape


def _forgotten(program: Program) -> Program:
    """Kernel-local names marked (array contraction): written first, then read at the same point, by nothing else."""
    users: dict[str, set[int]] = {}
    guards: dict[str, set[object]] = {}
    plain: dict[str, bool] = {}
    kernels: list[Fuse] = []
    pending: list[tuple[Step, tuple[Repeat, ...]]] = [(s, ()) for s in program.steps]
    while pending:
        step, loops = pending.pop()
        if isinstance(step, Repeat):
            pending.extend((s, (*loops, step)) for s in step.body)
            continue
        number = len(kernels) + 1 if isinstance(step, Fuse) else 0
        if isinstance(step, Fuse):
            kernels.append(step)
        seen: dict[str, Ref] = {}
        for s in step.body if isinstance(step, Fuse) else (step,):
            when, out = guard(s, loops), s.equation.out
            for arg in s.args:
                if isinstance(arg, Access):
                    name = arg.ref.name
                    guards.setdefault(name, set()).add(when)
                    users.setdefault(name, set()).add(number)
                    plain[name] = plain.get(name, True) and not arg.views and seen.get(name) == arg.ref
            guards.setdefault(out.name, set()).add(when)
            users.setdefault(out.name, set()).add(number)
            plain[out.name] = plain.get(out.name, True) and (out.name in seen or s.mode == "set")
            seen[out.name] = out
    asked = {r.name for r in program.system.outputs.values()}
    hosts = {b.inside[0] for b in program.buffers.values() if b.inside is not None}
    shared = asked | hosts | {b.name for b in program.buffers.values() if b.inside is not None}
    inner = {
        name
        for name, by in users.items()
        if len(by) == 1 and 0 not in by and plain[name] and len(guards[name]) == 1 and name in program.buffers
    } - shared
    return replace(program, steps=_told(program.steps, inner))


def _told(steps: tuple[Step, ...], inner: set[str]) -> tuple[Step, ...]:
    result: list[Step] = []
    for step in steps:
        if isinstance(step, Repeat):
            body = _told(step.body, inner)
            result.append(step if body == step.body else replace(step, body=body))
        elif isinstance(step, Fuse):
            names = dict.fromkeys(s.equation.out.name for s in step.body if s.equation.out.name in inner)
            result.append(replace(step, inner=tuple(names)))
        else:
            result.append(step)
    return tuple(result)
