"""What is settled when a template is finished: which names carry the batch, and the order of the equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.details import Pooled
from ..ir.names import is_hidden
from ..ir.system import Decl, Equation, Operand, Ref


def batched(decls: dict[str, Decl], operands: Sequence[Operand]) -> bool:
    """True where one of the operands has a value for each example."""
    return any(isinstance(a, Ref) and decls[a.name].batched for a in operands)


def with_batch(decls: dict[str, Decl], equations: Sequence[Equation]) -> list[Equation]:
    """The equations, and in place the declarations, with the batch carried on but by what sums over it."""
    readers: dict[str, list[Equation]] = {}
    for equation in equations:
        for ref in equation.refs:
            readers.setdefault(ref.name, []).append(equation)
    pending = [n for n, d in decls.items() if d.batched]
    while pending:
        for equation in readers.get(pending.pop(), ()):
            decl = decls[equation.out.name]
            fixed = decl.given or decl.kind == "cotangent" or isinstance(decl.detail, Pooled)
            if not decl.batched and not fixed:
                decls[decl.name] = decl.with_batch()
                pending.append(decl.name)
    each = [e.batched or decls[e.out.name].batched or batched(decls, e.args) for e in equations]
    return [e if e.batched or not b else e.with_batch() for e, b in zip(equations, each, strict=True)]


def in_place(
    decls: Mapping[str, Decl], equations: Sequence[Equation], turn: Mapping[Ref | str, int]
) -> tuple[dict[str, Decl], list[Equation]]:
    """Names and the user's equations in the order in which each was first written, with temporaries as they need be.

    A temporary stands behind what it reads, and before the equation that reads it first.
    """
    last = len(turn)
    hidden = {e.out.name: n for n, e in enumerate(equations) if is_hidden(e.out.name)}
    mains = sorted((e for e in equations if not is_hidden(e.out.name)), key=lambda e: turn.get(e.out, last))
    taken: dict[int, None] = {}
    made: list[Equation] = []
    for main in mains:
        found, pending = set[int](), [main]
        while pending:
            e = pending.pop()
            read = {hidden[r.name] for r in (*e.refs, *(e.label.refs if e.label else ())) if r.name in hidden}
            pending.extend(equations[n] for n in read - found - taken.keys())
            found |= read - taken.keys()
        taken |= dict.fromkeys(found)
        made += [*(equations[n] for n in sorted(found)), main]
    return {name: decls[name] for name in sorted(decls, key=lambda n: turn.get(n, last))}, made
