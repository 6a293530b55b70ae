"""A verifier of programs: run on marks instead of numbers, it shows that every access lies inside its buffer.

Each cell in memory holds a mark: the instance that was written there last, and how much of it has been added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from ..ir.axes import Axis, Index, Lengths, Range, fixed, last
from ..ir.system import Equation, Ref, System
from ..transform import verify
from ..transform.verify import VerificationError, needed_at, small_lengths, text_key, undefined
from ..unfold.existence import exists, instances, runs
from .program import Buffer, Program
from .statements import Access, Compute, Fuse, Repeat, Step, guard, walk, zero_unless

Steps = tuple[int, ...]
Instance = tuple[str, Steps]
StepsOfName = tuple[str, Steps]
"""The name of a buffer, and a step along each axis that it keeps."""


def points(e: Equation, axes: Sequence[Axis], lengths: Lengths) -> Iterator[dict[Axis, int]]:
    """The points of an equation's domain along some of its axes."""
    for steps in product(*(e.range(a).steps(lengths) for a in axes)):
        yield dict(zip(axes, steps, strict=True))


def step_numbers(index: Sequence[Index], at: Mapping[Axis, int], lengths: Lengths) -> Steps:
    """The numbers of steps at one point."""
    return tuple([(at[i.axis] if i.runs else lengths[i.axis.end]) + i.shift if i.axis else i.shift for i in index])


def check_program(name: str, program: Program) -> None:
    """Raises VerificationError where a program does not compute its system at some lengths."""
    if not verify.enabled or verify.sound.get(key := text_key(name, program)):
        return
    size = len(program.system.equations)
    for lengths in small_lengths((program.system,), lambda steps: size * prod(max(n, 1) for n in steps)):
        if undefined(program.system, lengths) or _beyond(program.system, lengths):
            continue
        found = problems(program, lengths)
        if found:
            listed = "\n".join(f"    {problem}" for problem in found[: verify.SHOWN])
            at = ", ".join(f"{end} = {n}" for end, n in lengths.items())
            raise VerificationError(
                f"the pass {name!r} left the program of template {program.system.name!r} unsound at {at}:\n{listed}"
            )
    verify.sound.put(key, True)


def _beyond(system: System, lengths: Lengths) -> bool:
    """True if a step is asked for by its number, of what is zero where nothing writes it, and the axis is shorter."""
    refs = (r for e in needed_at(system, lengths) if runs(e, lengths) for r in e.refs)
    return any(
        index.axis is None and index.shift > max(lengths[axis.end], *(hi.at({}, lengths) for hi in tops), 0)
        for ref in refs
        if system.decls[ref.name].kind == "cotangent"
        for n, (index, axis) in enumerate(zip(ref.index, system.decls[ref.name].axes, strict=True))
        for tops in [[e.written(n)[1] for e in system.writers[ref.name]]]
    )


@dataclass(slots=True)
class Mark:
    """What a cell holds: `parts` contributions to an instance; no instance and no parts where it is cleared."""

    steps: Steps | None
    parts: int


def problems(program: Program, lengths: Lengths) -> list[str]:
    """What goes wrong when the program runs at some lengths."""
    run = _Run(program, lengths)
    run.steps(program.steps, ())
    run.results()
    return list(run.found)


@dataclass
class _Run:
    """One run.

    wanted  how many contributions each instance gets in all, of the names that statements write
    joined  names whose parts are written in their place, with the parts
    """

    program: Program
    lengths: Lengths
    found: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system = self.program.system
        self.memory: dict[StepsOfName, Mark] = {}
        self.wanted: dict[Instance, int] = {}
        self.written: set[str] = set()
        self.joined: dict[str, list[str]] = {}
        self.needed = {id(e) for e in needed_at(self.system, self.lengths)}
        executed = {id(s.equation) for _, s in walk(self.program.steps) if isinstance(s, Compute)}
        for e in self.system.equations:
            name = e.out.name
            if name not in self.program.buffers:
                continue  # read where that lies which it rearranges
            if id(e) not in executed:
                if e.op == "concat" and all(r.name in self.program.buffers for r in e.refs):
                    self.joined[name] = [r.name for r in e.refs]
                else:
                    self.found[f"no statement computes {e.out} = {e.op}"] = None
                continue
            self.written.add(name)
            for at in points(e, e.axes, self.lengths):
                instance = name, step_numbers(e.out.index, at, self.lengths)
                self.wanted[instance] = self.wanted.get(instance, 0) + 1
            for at in points(e, tuple(a for a in e.axes if a in e.out.running), self.lengths):
                self.wanted.setdefault((name, step_numbers(e.out.index, at, self.lengths)), 0)  # a sum of nothing
        for buffer in self.program.buffers.values():
            self._clear(buffer)

    def _ranges(self, name: str) -> tuple[Range, ...]:
        """The steps that the memory of a name holds."""
        buffer = self.program.buffers.get(name)
        if buffer is not None:
            return buffer.axes
        return tuple(Range(a, fixed(1), last(a)) for a in self.system.decls[name].axes)

    def _clear(self, buffer: Buffer) -> None:
        """What is there before the first statement: cleared steps, and those of what is given."""
        name, decl = buffer.name, self.system.decls[buffer.name]
        spans = [r.steps(self.lengths) for r in buffer.axes]
        if buffer.clear == "all":
            for steps in product(*spans):
                self.memory[name, steps] = Mark(None, 0)
        elif buffer.clear is not None:
            (r,), (first, final) = spans, buffer.clear
            for k in (*r[: max(first, 0)], *(r[-final:] if final > 0 else ())):
                self.memory[name, (k,)] = Mark(None, 0)
        if decl.given:
            for steps in product(*(range(1, self.lengths[a.end] + 1) for a in decl.axes)):
                self.memory[name, steps] = Mark(steps, 0)

    def steps(self, steps: tuple[Step, ...], loops: tuple[tuple[Repeat, int], ...]) -> None:
        """Run steps; loops nest no deeper than there are axes."""
        for step in steps:
            if isinstance(step, Compute):
                self.kernel((step,), loops)
            elif isinstance(step, Fuse):
                self.kernel(step.body, loops)
            else:
                lo, hi = (i.at({}, self.lengths) for i in step.steps)
                span = range(lo, hi + 1)
                for i in span if step.direction > 0 else reversed(span):
                    self.steps(step.body, (*loops, (step, i)))

    def kernel(self, body: tuple[Compute, ...], loops: tuple[tuple[Repeat, int], ...]) -> None:
        """Statements over the same points, one point after another; sums over steps stand by themselves."""
        at = {loop.axis: i for loop, i in loops}
        spans = [r for r in body[0].equation.domain if r.axis not in at]
        begun: set[tuple[int, StepsOfName, Steps]] = set()
        chosen = [
            (s, {axis: at[axis] + k for axis, k in s.offsets})
            for s in body
            if all(
                _holds(
                    at[step] if isinstance(step, Axis) else step.at({}, self.lengths), sign, edge.at({}, self.lengths)
                )
                for step, sign, edge in guard(s, [loop for loop, _ in loops])
            )
        ]
        chosen = [(s, at) for s, at in chosen if self._exists(s, at)]
        for steps in product(*(r.steps(self.lengths) for r in spans)):
            spanned = {r.axis: k for r, k in zip(spans, steps, strict=True)}
            for s, fixed_steps in chosen:
                self.statement(s, {**fixed_steps, **spanned}, begun)
        if not all(r.steps(self.lengths) for r in spans):
            for s, fixed_steps in chosen:
                self._empty(s, fixed_steps)

    def _exists(self, s: Compute, at: Mapping[Axis, int]) -> bool:
        """False for a sum that runs over no steps, since what it reads does not exist: its left-hand side is zero."""
        holds = all(
            _holds(of.at({}, self.lengths), sign, edge.at({}, self.lengths))
            for of, sign, edge in zero_unless(s)
            if isinstance(of, Index)
        )
        if not holds:
            self._empty(s, at)
        return holds

    def statement(self, s: Compute, at: Mapping[Axis, int], begun: set[tuple[int, StepsOfName, Steps]]) -> None:
        """One statement at one point; `begun` are the sums that it has begun here."""
        e = s.equation
        for arg in s.args:
            if isinstance(arg, Access):
                self._read(f"{e.out} = {e.op}", arg.ref, at, id(e) in self.needed)
        name, steps = e.out.name, step_numbers(e.out.index, at, self.lengths)
        cell = self._cell(f"{e.out} = {e.op}", e.out, steps)
        if cell is None:
            return
        mark = self.memory.get(cell)
        if s.mode == "set" and (id(s), cell, steps) not in begun:
            begun.add((id(s), cell, steps))
            if mark is not None and mark.steps == steps and mark.parts:
                self.found[f"{name}{list(steps)} is set where it was written before: {e.out} = {e.op}"] = None
            self.memory[cell] = Mark(steps, 1)
        elif mark is None or (mark.steps is not None and mark.steps != steps):
            if id(e) in self.needed:
                self.found[f"{e.out} += {e.op} adds to memory that holds no {name}{list(steps)}"] = None
        else:
            self.memory[cell] = Mark(steps, mark.parts + 1)

    def _empty(self, s: Compute, at: Mapping[Axis, int]) -> None:
        """A sum over no steps: its left-hand side is zero wherever it runs."""
        e = s.equation
        if s.mode != "set":
            return
        kept = [r for r in e.domain if r.axis not in at and r.axis in e.out.running]
        for steps in product(*(r.steps(self.lengths) for r in kept)):
            here = {**at, **{r.axis: k for r, k in zip(kept, steps, strict=True)}}
            out = step_numbers(e.out.index, here, self.lengths)
            cell = self._cell(f"{e.out} = {e.op}", e.out, out)
            if cell is not None:
                self.memory[cell] = Mark(out, 0)

    def _cell(self, what: str, ref: Ref, steps: Steps) -> StepsOfName | None:
        """Where an instance lies; None, with a problem noted, where that is outside the memory of its name."""
        kept = []
        ranges = {r.axis: r.steps(self.lengths) for r in self._ranges(ref.name)}
        for k, axis in zip(steps, self.system.decls[ref.name].axes, strict=True):
            if axis not in ranges:
                continue
            if k not in ranges[axis]:
                r = ranges[axis]
                held = f"{r.start}..{r.stop - 1}" if r else "none"
                self.found[f"{what} reaches {ref.name}{list(steps)}, and its memory holds the steps {held}"] = None
                return None
            kept.append(k)
        return ref.name, tuple(kept)

    def _read(self, what: str, ref: Ref, at: Mapping[Axis, int], needed: bool) -> None:
        """A read; what nothing needs may read what nothing wrote, inside the buffer."""
        steps = step_numbers(ref.index, at, self.lengths)
        decl = self.system.decls[ref.name]
        if not needed or (decl.given and ref.name not in self.program.buffers):
            self._cell(what, ref, steps)
            return
        self._holds(what, ref, steps)

    def _holds(self, what: str, ref: Ref, steps: Steps) -> None:
        """Notes a problem unless the memory holds the whole of an instance."""
        pending = [ref.name]
        while pending:
            name = pending.pop()
            if name in self.joined:
                pending += self.joined[name]
                continue
            cell = self._cell(what, Ref(name, ref.index), steps)
            if cell is None:
                continue
            mark, wanted = self.memory.get(cell), self.wanted.get((name, steps))
            if wanted is None and self.system.decls[name].kind == "cotangent":
                if mark is None or mark.parts:
                    self.found[f"{what} reads {name}{list(steps)}, which is zero, where the memory is not"] = None
            elif mark is None or (mark.steps != steps and (mark.steps is not None or wanted)):
                held = "nothing" if mark is None else f"{name}{list(mark.steps or ())}"
                self.found[f"{what} reads {name}{list(steps)}, and the memory holds {held}"] = None
            elif mark.parts != (wanted or 0):
                self.found[f"{what} reads {name}{list(steps)} with {mark.parts} of {wanted or 0} contributions"] = None

    def results(self) -> None:
        """Every output is there at the end; an instance that these lengths lack cannot be requested."""
        for shown, ref in self.system.outputs.items():
            axes = ref.running
            fixed_steps = [
                (i, a) for i, a in zip(ref.index, self.system.decls[ref.name].axes, strict=True) if not i.runs
            ]
            held = {r.axis: r.steps(self.lengths) for r in self._ranges(ref.name)}
            if any(a in held and i.at({}, self.lengths) not in held[a] for i, a in fixed_steps):
                continue
            if not axes and self._lacks(ref):
                continue
            for steps in product(*(range(1, self.lengths[a.end] + 1) for a in axes)):
                at = dict(zip(axes, steps, strict=True))
                instance = ref.name, step_numbers(ref.index, at, self.lengths)
                decl = self.system.decls[ref.name]
                if decl.kind == "cotangent" or instance in self.wanted or ref.name in self.joined:
                    self._holds(f"output {shown!r}", ref, instance[1])

    def _lacks(self, ref: Ref) -> bool:
        """True for a gradient by an instance that these lengths lack: its memory may reach as far as that of others."""
        of = self.system.decls[ref.name].of
        if (
            self.system.decls[ref.name].kind != "cotangent"
            or of is None
            or of not in self.system.decls
            or not ref.index
        ):
            return False
        if self.system.decls[of].kind == "cotangent" or not instances(self.system, of, self.lengths):
            return False  # where nothing computes it any more there is nothing to go by
        return not exists(self.system, of, [i.at({}, self.lengths) for i in ref.index], self.lengths)


def _holds(step: int, sign: str, edge: int) -> bool:
    return step >= edge if sign == ">=" else step <= edge
