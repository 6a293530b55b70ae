"""What a picture marks on the way from one name to another: gradients that stop, chunks that cut them, switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..automatic import Chunk
from ..flow import Flow, Read, through, trimmed
from ..ir import Const, Decl, Equation, Ref, System
from ..timeindex import Axis, Index


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a gradient does not pass: at the first `width` steps of every chunk but the first, or at every step.

    index  the step whose place in its chunk decides; None for a gradient that never passes
    dead   True where the value itself is zero there, as in a truncated adjoint
    """

    index: Index | None = None
    chunk: Chunk | None = None
    width: int = 0
    dead: bool = False

    def at(self, steps: Mapping[Axis, int], lengths: Mapping[str, int]) -> bool:
        """True if it cuts at these running steps."""
        if self.index is None or self.chunk is None or self.index.axis is None:
            return True
        period, last = self.chunk.period, lengths[self.index.axis.end]
        number, place = divmod(self.index.at(steps, lengths) - 1, period)
        if self.chunk.towards_end:
            return (number + 1) * period < last and period - 1 - place < self.width
        return number > 0 and place < self.width


STOP = Cut()


def is_shown_input(decl: Decl) -> bool:
    """False for what a net fills by itself to steer: coins, masks, places in chunks. Drawn noise is like any input."""
    return not decl.automatic or getattr(decl.detail, "kind", "") == "normal"


def cuts(system: System, flow: Flow) -> dict[Read, Cut]:
    """The reads of a flow that no gradient passes, with where it does not."""
    writers = system.writers
    equation = flow.equation
    whole = tuple(equation.range(a) for a in equation.summed)
    reach: dict[Read, set[Cut | None]] = {}
    pending: list[tuple[Read, Cut | None]] = _steps(system, equation, [Read(r, whole) for r in equation.refs], None)
    seen = set(pending)
    while pending:
        read, cut = pending.pop()
        if "." not in read.ref.name:
            reach.setdefault(trimmed(read), set()).add(cut)
            continue
        for writer in writers[read.ref.name]:
            for step in _steps(system, writer, through(read, writer), cut):
                if step not in seen:
                    seen.add(step)
                    pending.append(step)
    found = {}
    passed = {read.ref.name for read, ways in reach.items() if None in ways}
    for read, ways in reach.items():
        if None not in ways and (read.ref.name not in passed or ways != {STOP}):
            found[read] = next((w for w in ways if w is not None and w.chunk), STOP)
    return found


def _steps(system: System, equation: Equation, reads: list[Read], cut: Cut | None) -> list[tuple[Read, Cut | None]]:
    """What an equation reads, each with where a gradient stops on the way."""
    if equation.op == "stop_gradient":
        return [(r, cut or STOP) for r in reads]
    if equation.op == "where" and isinstance(equation.args[0], Ref):
        made = _chunked(system, reads[0], equation)
        if made is not None:
            return [(r, made) for r in reads[1:]]
    return [(r, cut) for r in reads]


def _chunked(system: System, condition: Read, equation: Equation) -> Cut | None:
    """The cut of ``where(place < width, stop_gradient(v), v)``, or of the adjoint of that; None for another choice."""
    chosen = equation.args[1]
    stopped = isinstance(chosen, Ref) and [w.op for w in system.writers[chosen.name]] == ["stop_gradient"]
    if not stopped and not (isinstance(chosen, Const) and chosen.value == 0):
        return None
    for writer in system.writers[condition.ref.name] if "." in condition.ref.name else ():
        inner = through(condition, writer)
        detail = system.decls[inner[0].ref.name].detail if inner else None
        if writer.op == "less" and isinstance(detail, Chunk) and isinstance(writer.args[1], Const):
            return Cut(inner[0].ref.index[0], detail, int(writer.args[1].value), dead=not stopped)
    return None


def switches(system: System) -> dict[str, frozenset[str]]:
    """The names that are one of two others, and for each what decides: ``where(c[t], y[t], o[t])``."""
    found = {}
    for name, decl in system.decls.items():
        main = [e for e in system.writers[name] if e.out.running or not e.out.index]
        if decl.kind != "variable" or "." in name or len(main) != 1:
            continue
        (equation,) = main
        while equation.op == "copy" and equation.refs and "." in equation.refs[0].name:
            inner = system.writers[equation.refs[0].name]
            if len(inner) != 1:
                break
            (equation,) = inner
        ways = equation.args[1:]
        if equation.op == "where" and all(isinstance(a, Ref) and "." not in a.name for a in ways):
            found[name] = _made_of(system, equation.args[0])
    return found


def _made_of(system: System, operand: object) -> frozenset[str]:
    names: set[str] = set()
    pending = [operand.name] if isinstance(operand, Ref) else []
    while pending:
        name = pending.pop()
        if "." not in name:
            names.add(name)
        else:
            pending.extend(r.name for w in system.writers[name] for r in w.refs)
    return frozenset(names)
