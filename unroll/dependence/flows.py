"""Data dependences: which equation reads what another writes, per operation or collapsed to the declared names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..ir.axes import Axis, Index, Range, apart, running
from ..ir.names import is_hidden
from ..ir.system import Domain, Equation, Ref, System
from ..records import record


@record
class Read:
    """One ref read by a flow; `over` are ranges of its own, where a reduction reads many instances."""

    ref: Ref
    over: Domain = ()


@record
class Flow:
    """``out`` is computed from ``reads`` at every point of ``domain``; `equation` is what the user wrote."""

    out: Ref
    domain: Domain
    reads: tuple[Read, ...]
    equation: Equation

    @property
    def ranges(self) -> Mapping[Axis, Range]:
        """The domain by axis."""
        return self.equation.ranges if self.domain is self.equation.domain else {r.axis: r for r in self.domain}

    def written(self, position: int) -> tuple[Index, Index]:
        """First and last step written along one bracket."""
        return self.equation.written(position)

    def read_steps(self, read: Read) -> tuple[tuple[Index, Index], ...]:
        """First and last step read along each bracket."""
        ranges = {**self.ranges, **{r.axis: r for r in read.over}} if read.over else self.ranges
        return tuple([ranges[i.axis].ends(i.shift) if i.axis and i.runs else (i, i) for i in read.ref.index])


def operations(system: System) -> list[Flow]:
    """One flow per equation."""
    return [Flow(e.out, e.domain, tuple([Read(r) for r in e.refs]), e) for e in system.equations]


def collapsed(system: System) -> list[Flow]:
    """One flow per equation of a declared name; hidden names (``h.4``, ``h.4~``) are seen through to what they read."""
    writers = system.writers
    flows = []
    for equation in system.equations:
        if is_hidden(equation.out.name):
            continue
        kept = tuple(r for r in equation.domain if r.axis not in equation.summed)
        reads: dict[Read, None] = {}
        pending = [Read(ref, tuple(equation.range(a) for a in equation.summed)) for ref in reversed(equation.refs)]
        seen = set(pending)
        while pending:
            read = pending.pop()
            if not is_hidden(read.ref.name):
                reads[trimmed(read)] = None
                continue
            for writer in reversed(writers[read.ref.name]):
                for deeper in reversed(through(read, writer)):
                    if deeper not in seen:
                        seen.add(deeper)
                        pending.append(deeper)
        flows.append(Flow(equation.out, kept, tuple(reads), equation))
    return flows


def through(read: Read, writer: Equation) -> list[Read]:
    """What `writer` reads to make the instances that `read` reads."""
    steps: dict[Axis, Index] = {}
    for wrote, wanted in zip(writer.out.index, read.ref.index, strict=True):
        if wrote.axis is not None and wrote.runs:
            steps[wrote.axis] = wanted - wrote.shift
    over = list(read.over)
    for axis in writer.summed:
        renamed = axis
        while any(r.axis == renamed for r in over) or renamed in steps or renamed == axis:
            renamed = Axis(f"{renamed.name}'", renamed.end)
        r = writer.range(axis)
        over.append(Range(renamed, r.lo, r.hi))
        steps[axis] = running(renamed)
    return [Read(ref.substitute(steps), tuple(over)) for ref in writer.refs]


def trimmed(read: Read) -> Read:
    """The read without ranges that its ref does not run along."""
    used = read.ref.running
    return Read(read.ref, tuple(r for r in read.over if r.axis in used))


@record
class Dependence:
    """`consumer` reads what `producer` writes, `distance` steps earlier along each axis where that is one number."""

    producer: int
    consumer: int
    read: Read
    distance: Mapping[Axis, int]


def dependences(flows: list[Flow]) -> list[Dependence]:
    """All pairs of flows where one may read what the other writes."""
    writers: dict[str, list[int]] = {}
    for number, flow in enumerate(flows):
        writers.setdefault(flow.out.name, []).append(number)
    found: list[Dependence] = []
    for consumer, flow in enumerate(flows):
        inside = flow.ranges
        for read in flow.reads:
            if (producers := writers.get(read.ref.name)) is not None:
                steps = flow.read_steps(read)
                found += [
                    Dependence(n, consumer, read, _distance(flows[n].out, read.ref, inside))
                    for n in producers
                    if not any(map(apart, flows[n].equation.writes, steps))
                ]
    return found


def _distance(out: Ref, ref: Ref, inside: Collection[Axis]) -> dict[Axis, int]:
    """By axis, of those of the consumer's domain."""
    distance: dict[Axis, int] = {}
    for wrote, wanted in zip(out.index, ref.index, strict=True) if out.index else ():
        if wrote.axis is not None and wrote.axis == wanted.axis and wrote.axis in inside and wrote.runs and wanted.runs:
            distance[wrote.axis] = wrote.shift - wanted.shift
    return distance
