"""Rewriting: other reads in an equation, other equations in a system, and equations that nothing needs left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .system import Equation, Operand, Ref, System


def rewritten(e: Equation, change: Callable[[Ref], Operand], out: Ref | None = None) -> Equation:
    """The equation with each ref that it reads replaced, those of its label too; itself where none is another.

    out  its left-hand side, where that is another one
    """
    left = e.out if out is None else out
    args = tuple([change(a) if isinstance(a, Ref) else a for a in e.args])
    label = e.label and e.label.map(change)
    if left == e.out and args == e.args and label == e.label:
        return e
    return Equation(left, e.op, args, e.attrs, e.domain, e.batched, e.combine, e.source, label)


def with_equations(system: System, equations: Sequence[Equation]) -> System:
    """The system with others in place of its equations; itself, and what is known of it, where they are the same."""
    same = all(new is old for new, old in zip(equations, system.equations, strict=True))
    return system if same else replace(system, equations=tuple(equations))


def with_only(system: System, equations: Iterable[Equation]) -> System:
    """The system with these equations alone, and without the temporaries that none of them mentions."""
    equations = tuple(equations)
    named = {e.out.name for e in equations} | {r.name for e in equations for r in e.refs}
    decls = {n: d for n, d in system.decls.items() if d.kind not in ("temporary", "cotangent") or n in named}
    return replace(system, decls=decls, equations=equations)


def live(system: System, roots: Iterable[str]) -> set[str]:
    """Liveness of names: those that the roots are computed from, the roots included."""
    writers = system.writers
    pending = list(roots)
    seen = set(pending)
    while pending:
        for equation in writers.get(pending.pop(), ()):
            for ref in equation.refs:
                if ref.name not in seen:
                    seen.add(ref.name)
                    pending.append(ref.name)
    return seen


def without_dead(system: System, roots: Iterable[str]) -> System:
    """Dead code elimination: only the equations that the roots are computed from."""
    names = live(system, roots)
    decls = {n: d for n, d in system.decls.items() if n in names or d.given}
    equations = tuple(e for e in system.equations if e.out.name in names)
    if len(decls) == len(system.decls) and len(equations) == len(system.equations):
        return system
    return replace(system, decls=decls, equations=equations)
