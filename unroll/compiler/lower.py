"""Lowering, System -> Program: loops, names that are views (aliases), storage contracted to the steps read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from ..dependence.analysis import analysis
from ..dependence.flows import Flow
from ..dependence.loop_order import Loop, Once, Plan
from ..ir.axes import Axis, Index, Range, fixed, last, whole
from ..ir.coverage import steps_of, within
from ..ir.system import Equation, Operand, Ref, System, visible
from ..ops.contract import PRODUCTS
from .program import Buffer, Program
from .statements import Access, Argument, Compute, Guard, Repeat, View

VIEWS = ("transpose", "slice")

LoopPosition = tuple[tuple[int, Axis, int], ...]
"""The loops around a statement: (which loop, its axis, the statement's offset in it)."""


def lower(system: System, hoist: bool = True) -> Program:
    """The program of a system. Raises NoOrder only for systems that were never checked.

    hoist  False leaves every product over steps in a loop, one step at a time
    """
    flows, steps = analysis(system).flows, analysis(system).order
    if not hoist:
        steps = tuple(_stepwise(flows, s) for s in steps)
    views = _views(system)
    work = _Work(system, views, {}, {}, {}, {}, {})
    work.arguments.update({n: tuple(_access(a, views) for a in e.args) for n, e in enumerate(system.equations)})
    work.places.update(places_of(steps))
    order = [n for n in _in_order(steps) if system.equations[n].out.name not in views]
    writers: dict[str, list[int]] = {}
    reads: dict[str, list[tuple[int, Ref]]] = {}
    for n in order:
        writers.setdefault(system.equations[n].out.name, []).append(n)
        for a in work.arguments[n]:
            if isinstance(a, Access):
                reads.setdefault(a.ref.name, []).append((n, a.ref))
    asked = {r.name for r in system.outputs.values()}
    for name, decl in system.decls.items():  # a cotangent never written is zero, wherever it is read
        if decl.kind == "cotangent" and name not in writers and (name in reads or name in asked):
            writers[name] = []
    kept = {name: _kept(work, name, by, reads.get(name, [])) for name, by in writers.items()}
    work.parts.update(placed(system, {name: steps for name, (steps, _) in kept.items()}))
    clear = {name: _clearing(work, name, by, kept[name][0]) for name, by in writers.items()}
    for name, (_, dropped) in kept.items():
        if clear[name] is not None:
            dropped.clear()  # one slot is never cleared again
    _share_axes(work.parts, {name: dropped for name, (_, dropped) in kept.items()})
    buffers = {name: _buffer(work, name, clear[name], *kept[name]) for name in writers}
    work.held.update({name: {r.axis: r for r in b.axes} for name, b in buffers.items()})
    return Program(system, buffers, _emit(work, flows, steps))


@dataclass(frozen=True)
class _Work:
    """What is known of each equation, by its number: equal equations are two statements.

    held   by name, the steps in memory along each axis that is kept
    parts  by name, the joined vector in whose memory it lies and where; that vector's equation needs no statement
    """

    system: System
    views: Mapping[str, Equation]
    arguments: dict[int, tuple[Argument, ...]]
    places: dict[int, LoopPosition]
    modes: dict[int, str]
    parts: dict[str, tuple[str, int]]
    held: dict[str, Mapping[Axis, Range]]

    def exists(self, n: int) -> Guard:
        """What must hold of the lengths for every step that equation `n` touches, and that does not run, to exist."""
        found: dict[tuple[Index, str, Index], None] = {}
        for ref in (self.system.equations[n].out, *(a.ref for a in self.arguments[n] if isinstance(a, Access))):
            for position, index in enumerate(ref.index):
                if index.runs:
                    continue
                axis, held = self.system.decls[ref.name].axes[position], self.held.get(ref.name)
                r = held.get(axis) if held else whole(axis)
                if r is not None:
                    found.update({(index, ">=", r.lo): None} if not r.lo.never_after(index) else {})
                    found.update({(index, "<=", r.hi): None} if not index.never_after(r.hi) else {})
        return tuple(found)


def _stepwise(flows: list[Flow], step: Once | Loop) -> Once | Loop:
    """A product over steps in a loop of its own; anything else as it is."""
    if isinstance(step, Loop) or not flows[step.flow].domain or flows[step.flow].equation.op not in PRODUCTS:
        return step
    return Loop(flows[step.flow].domain[0].axis, 1, {step.flow: 0}, (step,))


def _views(system: System) -> dict[str, Equation]:
    """Names that need no memory of their own: every read of them can look through to what they rearrange."""
    wanted = {r.name for r in system.outputs.values()}
    found = {}
    for name, writers in system.writers.items():
        e = writers[0] if len(writers) == 1 else None
        if e is None or name in wanted or e.op not in VIEWS or not isinstance(e.args[0], Ref):
            continue
        if e.combine != "sum" or not system.exclusive(e) or not all(i.runs and not i.shift for i in e.out.index):
            continue
        if e.batched != system.decls[e.args[0].name].batched:
            continue
        if set(e.args[0].running) != set(e.out.running):
            continue
        found[name] = e
    for e in system.equations:
        for ref in e.refs:
            if ref.name in found and not within(system, e, ref, found[ref.name]):
                del found[ref.name]
    return found


def _access(operand: Operand, views: Mapping[str, Equation]) -> Argument:
    if not isinstance(operand, Ref):
        return operand
    through: list[View] = []
    while operand.name in views:
        e = views[operand.name]
        source = e.args[0]
        assert isinstance(source, Ref)
        through.append(View(e.op, e.attrs))
        operand = source.substitute(steps_of(e.out, operand))
    return Access(operand, tuple(reversed(through)))


def places_of(steps: Plan) -> dict[int, LoopPosition]:
    """The loops around each flow: a number for each, its axis, and the offset at which the flow runs in it."""
    places: dict[int, LoopPosition] = {}
    stack: list[tuple[Plan, tuple[tuple[int, Loop], ...]]] = [(steps, ())]
    serial = 0
    while stack:
        body, around = stack.pop()
        for step in body:
            if isinstance(step, Once):
                places[step.flow] = tuple(
                    (number, loop.axis, -loop.direction * loop.shifts[step.flow]) for number, loop in around
                )
            else:
                serial += 1
                stack.append((step.body, (*around, (serial, step))))
    return places


def _in_order(steps: Plan) -> list[int]:
    order: list[int] = []
    stack: list[Once | Loop] = list(reversed(steps))
    while stack:
        step = stack.pop()
        if isinstance(step, Once):
            order.append(step.flow)
        else:
            stack.extend(reversed(step.body))
    return order


def _kept(
    work: _Work, name: str, writers: list[int], reads: list[tuple[int, Ref]]
) -> tuple[tuple[Range, ...], set[Axis]]:
    """The steps of a name that are written or read along each of its axes, and the axes where one slot is enough."""
    system, decl = work.system, work.system.decls[name]
    if not decl.axes:
        return (), set()
    spans = [system.equations[w].writes for w in writers]
    if decl.kind == "cotangent":
        spans += [system.reads(system.equations[n], ref) for n, ref in reads]
        spans += [_asked(r, decl.axes) for r in system.outputs.values() if r.name == name]
        spans += [
            tuple(
                (i, last(a, system.reach.get(a, 0))) if i.axis is None and i.shift > 0 else (i, j)
                for (i, j), a in zip(s, decl.axes, strict=True)
            )
            for s in spans
        ]
    elif decl.given:
        spans.append(tuple((fixed(1), last(a)) for a in decl.axes))
    along = zip(decl.axes, *spans, strict=True)
    ranges = tuple([Range(axis, _lowest([lo for lo, _ in s]), _highest([hi for _, hi in s])) for axis, *s in along])
    return ranges, _contracted(work, name, writers, reads)


def _buffer(work: _Work, name: str, clear: object, ranges: tuple[Range, ...], dropped: set[Axis]) -> Buffer:
    return Buffer(name, tuple(r for r in ranges if r.axis not in dropped), clear, work.parts.get(name))


def placed(system: System, steps: Mapping[str, tuple[Range, ...]]) -> dict[str, tuple[str, int]]:
    """The vectors that are written where a concatenation wants them: by name, in which one and at which element.

    steps  of every name that has memory of its own, the steps it holds

    Longer concatenations first: a shorter one of neighbours in it is a part of it, and needs no memory either.
    """
    parts: dict[str, tuple[str, int]] = {}
    hosts: set[str] = set()
    found = [e for name in steps if len(by := system.writers[name]) == 1 and _joins(system, e := by[0], steps)]
    for e in sorted(found, key=lambda e: -system.decls[e.out.name].shape[0]):
        names = [r.name for r in e.refs]
        ends = list(accumulate((system.decls[n].shape[0] for n in names[:-1]), initial=0))
        home, first = parts.get(e.out.name), parts.get(names[0])
        if (
            first
            and not home
            and all(parts.get(n) == (first[0], first[1] + k) for n, k in zip(names, ends, strict=True))
        ):
            parts[e.out.name] = first
        elif not any(n in parts or n in hosts for n in names):
            host, start = home or (e.out.name, 0)
            hosts.add(e.out.name)
            parts.update((n, (host, start + k)) for n, k in zip(names, ends, strict=True))
    return parts


def _joins(system: System, e: Equation, steps: Mapping[str, tuple[Range, ...]]) -> bool:
    """True for a concatenation of vectors that have memory like its own, step by step."""
    decl = system.decls[e.out.name]
    if e.op != "concat" or len(decl.shape) != 1 or e.combine != "sum" or not system.exclusive(e):
        return False
    names = [a.name for a in e.args if isinstance(a, Ref) and a.index == e.out.index]
    if len(set(names)) != len(e.args) or not all(i.runs and not i.shift for i in e.out.index):
        return False
    return all(
        steps.get(n) == steps[e.out.name]
        and (d := system.decls[n]).batched == decl.batched
        and d.axes == decl.axes
        and d.dtype == decl.dtype
        and not d.given
        for n in names
    )


def _share_axes(parts: Mapping[str, tuple[str, int]], dropped: Mapping[str, set[Axis]]) -> None:
    """Parts and what they lie in have one slot along the same axes: those where all of them need no more."""
    for name, (host, _) in parts.items():
        dropped[host].intersection_update(dropped[name])
    for name, (host, _) in parts.items():
        dropped[name].intersection_update(dropped[host])


def _asked(ref: Ref, axes: tuple[Axis, ...]) -> tuple[tuple[Index, Index], ...]:
    return tuple((fixed(1), last(a)) if i.runs else (i, i) for i, a in zip(ref.index, axes, strict=True))


def _lowest(indices: list[Index]) -> Index:
    """The first step to keep: no later than any of them, whatever the length."""
    if all(i is indices[0] for i in indices):
        return indices[0]
    plain = [i for i in indices if not i.anchor]
    if not plain:
        return min(indices, key=lambda i: i.shift)
    return fixed(min(i.shift for i in indices))  # T+k is at least k


def _highest(indices: list[Index]) -> Index:
    """The last step to keep: no earlier than any of them, whatever the length at which that step exists."""
    if all(i is indices[0] for i in indices):
        return indices[0]
    ends = [i for i in indices if i.anchor]
    if not ends:
        return max(indices, key=lambda i: i.shift)
    top = max(ends, key=lambda i: i.shift)
    return top + max(0, max((min(i.shift, 0) for i in indices if not i.anchor), default=top.shift) - top.shift)


def _contracted(work: _Work, name: str, writers: list[int], reads: list[tuple[int, Ref]]) -> set[Axis]:
    """Array contraction: axes along which one slot is enough, written and read at the same step of the same loop."""
    system = work.system
    if len(writers) != 1 or any(r.name == name for r in system.outputs.values()) or system.decls[name].given:
        return set()
    writer = system.equations[writers[0]]
    if not system.exclusive(writer):
        return set()
    dropped = set()
    for loop, axis, offset in work.places[writers[0]]:
        wrote = writer.out.shift(axis)
        if wrote is None:
            continue
        for reader, ref in reads:
            inside = [o for number, a, o in work.places[reader] if number == loop and a == axis]
            read = ref.shift(axis)
            if not inside or read is None or inside[0] + read != offset + wrote:
                break
            if not within(system, system.equations[reader], ref, writer):
                break
        else:
            dropped.add(axis)
    return dropped


def _clearing(work: _Work, name: str, writers: list[int], ranges: tuple[Range, ...]) -> object:
    """What is cleared beforehand; settles which statements set and which add."""
    equations, places = work.system.equations, work.places
    in_loop = [any(axis in equations[w].summed for _, axis, _ in places[w]) for w in writers]
    if not writers:
        return "all"
    if work.system.decls[name].kind != "cotangent" and not any(in_loop):
        work.modes.update(dict.fromkeys(writers, "set"))
        return None
    first, *rest = writers
    equation = equations[first]
    modes = {first: "set", **dict.fromkeys(rest, "add")}
    written = [Range(r.axis, lo, hi) for r, (lo, hi) in zip(ranges, equation.writes, strict=True)]
    complete = written == list(ranges)
    same_step = all(
        o == offset for w in rest for number, _, o in places[w] for other, _, offset in places[first] if number == other
    )
    if complete and not in_loop[0] and same_step:
        work.modes.update(modes)
        return None
    settled = same_step and not in_loop[0] if places[first] else True
    simple = len(ranges) == 1 and settled and equation.out.index[0].runs
    if simple and written[0].lo.anchor == ranges[0].lo.anchor and written[0].hi.anchor == ranges[0].hi.anchor:
        work.modes.update(modes)
        return written[0].lo.shift - ranges[0].lo.shift, ranges[0].hi.shift - written[0].hi.shift
    work.modes.update(dict.fromkeys(writers, "add"))
    return "all"


def _joined(work: _Work, e: Equation) -> bool:
    """True for a concatenation whose operands are written where it lies."""
    home, first = work.parts.get(e.out.name), work.parts.get(e.refs[0].name) if e.refs else None
    return e.op == "concat" and first is not None and first == (home or (e.out.name, 0))


def _emit(work: _Work, flows: list[Flow], steps: Plan) -> tuple[Compute | Repeat, ...]:
    """The plan as program steps; it descends into loops, which nest no deeper than there are axes."""
    result: list[Compute | Repeat] = []
    for step in steps:
        if isinstance(step, Once):
            e = flows[step.flow].equation
            if e.out.name not in work.views and not _joined(work, e):
                offsets = tuple((axis, k) for _, axis, k in work.places[step.flow])
                result.append(
                    Compute(e, work.arguments[step.flow], work.modes[step.flow], offsets, work.exists(step.flow))
                )
            continue
        body = _emit(work, flows, step.body)
        ranges = [flows[f].equation.range(step.axis).shifted(step.direction * s) for f, s in step.shifts.items()]
        bounds = _lowest([r.lo for r in ranges]), _highest([r.hi for r in ranges])
        through = tuple(
            dict.fromkeys(f"{visible(flows[d.consumer].out.name)} reads {d.read.ref}" for d in step.through)
        )
        result.append(Repeat(step.axis, step.direction, bounds, body, through))
    return tuple(result)
