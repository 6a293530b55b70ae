"""What a picture marks on the way from one name to another: gradients that stop, chunks that cut them, switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..dependence.flows import Flow, Read, through, trimmed
from ..ir.axes import Axis, Index, running
from ..ir.generated_inputs import Crossing
from ..ir.names import is_hidden
from ..ir.system import Const, Decl, Equation, Ref, System


@dataclass(frozen=True, slots=True)
class GradientStop:
    """Where a gradient does not pass: at the steps from which a read leaves its chunk, or at every step.

    index     the step from which it reads; None for a gradient that never passes
    crossing  the chunks, and the step that is read
    dead      True where the value itself is zero there, as in a truncated adjoint
    """

    index: Index | None = None
    crossing: Crossing | None = None
    dead: bool = False

    def at(self, steps: Mapping[Axis, int], lengths: Mapping[str, int]) -> bool:
        """True if it cuts at these running steps."""
        if self.index is None or self.crossing is None or self.index.axis is None:
            return True
        return bool(self.crossing.at(self.index.at(steps, lengths), lengths[self.index.axis.end]))


STOP = GradientStop()


def is_shown_input(decl: Decl) -> bool:
    """False for what a net fills by itself to steer: coins, masks, places in chunks. Drawn noise is like any input."""
    return not decl.automatic or getattr(decl.detail, "kind", "") == "normal"


def cuts(system: System, flow: Flow) -> dict[Read, GradientStop]:
    """The reads of a flow that no gradient passes, with where it does not."""
    writers = system.writers
    equation = flow.equation
    whole = tuple(equation.range(a) for a in equation.summed)
    reach: dict[Read, set[GradientStop | None]] = {}
    pending: list[tuple[Read, GradientStop | None]] = _steps(
        system, equation, [Read(r, whole) for r in equation.refs], None
    )
    seen = set(pending)
    while pending:
        read, cut = pending.pop()
        if not is_hidden(read.ref.name):
            reach.setdefault(trimmed(read), set()).add(cut or _truncated(system, equation, read.ref))
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
            found[read] = next((w for w in ways if w is not None and w.crossing), STOP)
    return found


def _steps(
    system: System, equation: Equation, reads: list[Read], cut: GradientStop | None
) -> list[tuple[Read, GradientStop | None]]:
    """What an equation reads, each with where a gradient stops on the way."""
    if equation.op == "stop_gradient":
        return [(r, cut or STOP) for r in reads]
    if equation.op == "where" and isinstance(equation.args[0], Ref):
        made = _chunked(system, reads[0], equation)
        if made is not None:
            return [(r, made) for r in reads[1:]]
    return [(r, cut) for r in reads]


def _truncated(system: System, equation: Equation, ref: Ref) -> GradientStop | None:
    """The cut of a read that leaves its chunk, in a template that is truncated."""
    for t in system.truncations:
        index = system.elsewhere(equation, ref, t.axis) if t.axis in equation.axes else None
        if index is not None and not t.sliding:
            return GradientStop(running(t.axis), Crossing(t.steps, index))
    return None


def _chunked(system: System, condition: Read, equation: Equation) -> GradientStop | None:
    """The cut of ``where(place, stop_gradient(v), v)``, or of the adjoint of that; None for another choice."""
    chosen = equation.args[1]
    stopped = isinstance(chosen, Ref) and [w.op for w in system.writers[chosen.name]] == ["stop_gradient"]
    detail = system.decls[condition.ref.name].detail
    if not isinstance(detail, Crossing) or not (stopped or (isinstance(chosen, Const) and chosen.value == 0)):
        return None
    return GradientStop(condition.ref.index[0], detail, dead=not stopped)


def switches(system: System) -> dict[str, frozenset[str]]:
    """The names that are one of two others, and for each what decides: ``where(c[t], y[t], o[t])``."""
    found = {}
    for name, decl in system.decls.items():
        main = [e for e in system.writers[name] if e.out.running or not e.out.index]
        if decl.kind != "variable" or is_hidden(name) or len(main) != 1:
            continue
        (equation,) = main
        while equation.op == "copy" and equation.refs and is_hidden(equation.refs[0].name):
            inner = system.writers[equation.refs[0].name]
            if len(inner) != 1:
                break
            (equation,) = inner
        ways = equation.args[1:]
        if equation.op == "where" and all(isinstance(a, Ref) and not is_hidden(a.name) for a in ways):
            found[name] = _made_of(system, equation.args[0]) - {r.name for r in equation.refs[1:]}
    return found


def _made_of(system: System, operand: object) -> frozenset[str]:
    names: set[str] = set()
    pending = [operand.name] if isinstance(operand, Ref) else []
    while pending:
        name = pending.pop()
        if not is_hidden(name):
            names.add(name)
        else:
            pending.extend(r.name for w in system.writers[name] for r in w.refs)
    return frozenset(names)
