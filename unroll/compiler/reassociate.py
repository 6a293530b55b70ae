"""Reassociation for loop-invariant code motion: addends that do not recur are summed outside the loop.

Of ``(b + W @ h[t-1]) + U @ x[t]`` it makes ``W @ h[t-1] + (b + U @ x[t])``. Changes the order of additions, and so the
rounding, of sums with more than two terms. Nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..dependence.analysis import analysis
from ..ir.names import is_hidden
from ..ir.system import Equation, Operand, Ref, System
from ..ops.shapes import broadcast


def reassociate(system: System) -> System:
    """The system with every chain of additions inside a recurrence split in two: outside, inside."""
    known = analysis(system)
    flows = known.flows
    group: dict[str, set[int]] = {}  # a name with boundaries has equations in several components
    for number, members in enumerate(known.components):
        for m in members if len(members) > 1 else ():
            group.setdefault(flows[m].out.name, set()).add(number)
    writers = system.writers
    readers: dict[str, int] = {}
    for e in system.equations:
        for ref in e.refs:
            readers[ref.name] = readers.get(ref.name, 0) + 1
    inner: set[str] = set()
    changed: dict[str, Equation] = {}
    for root in reversed(system.equations):
        if root.op != "add" or root.out.name in inner or root.out.name not in group or len(writers[root.out.name]) > 1:
            continue
        terms, links = _terms(system, root, writers, readers)
        inner.update(link.out.name for link in links)
        moving = [t for t in terms if not _recurs(t, root, group)]
        staying = [t for t in terms if _recurs(t, root, group)]
        if not staying or (len(moving) < 2 and not (moving and len(staying) > 1)):
            continue
        names = iter(links)
        parts = [_chain(moving, names, changed), *staying]
        _chain_into(parts, root, names, changed)
    if not changed:
        return system
    equations = tuple(changed.get(e.out.name, e) for e in system.equations)
    decls = dict(system.decls)
    result = replace(system, equations=equations)
    for e in changed.values():
        shapes = [result.decls[a.name].shape if isinstance(a, Ref) else () for a in e.args]
        batched = any(isinstance(a, Ref) and result.decls[a.name].batched for a in e.args) or e.batched
        decls[e.out.name] = replace(decls[e.out.name], shape=broadcast(shapes), batched=batched)
        result = replace(result, decls=decls)
    return result


def _terms(
    system: System, root: Equation, writers: Mapping[str, Sequence[Equation]], readers: dict[str, int]
) -> tuple[list[Operand], list[Equation]]:
    """The summands of a chain of additions over one domain, and the additions between."""
    terms: list[Operand] = []
    links: list[Equation] = []
    pending = list(reversed(root.args))
    while pending:
        operand = pending.pop()
        link = None
        if isinstance(operand, Ref) and readers.get(operand.name) == 1 and is_hidden(operand.name):
            candidates = writers[operand.name]
            link = candidates[0] if len(candidates) == 1 else None
        if (
            link is not None
            and link.op == "add"
            and isinstance(operand, Ref)
            and operand.index == link.out.index
            and link.domain == root.domain
            and link.batched == root.batched
            and not link.summed
            and link.combine == "sum"
            and system.decls[link.out.name].shape == system.decls[root.out.name].shape
            and all(operand != out for out in system.outputs.values())
        ):
            links.append(link)
            pending.extend(reversed(link.args))
        else:
            terms.append(operand)
    return terms, links


def _recurs(term: Operand, root: Equation, group: dict[str, set[int]]) -> bool:
    return isinstance(term, Ref) and bool(group.get(term.name, set()) & group[root.out.name])


def _chain(terms: list[Operand], names: object, changed: dict[str, Equation]) -> Operand:
    """The sum of the terms, written into the names of the additions it replaces."""
    total = terms[0]
    for term in terms[1:]:
        link: Equation = next(names)  # type: ignore[call-overload]
        changed[link.out.name] = replace(link, args=(total, term), label=None)
        total = link.out
    return total


def _chain_into(parts: list[Operand], root: Equation, names: object, changed: dict[str, Equation]) -> None:
    """The last additions: those inside the recurrence, what comes from outside last."""
    first, *rest = parts
    total = rest[0]
    for term in rest[1:]:
        link: Equation = next(names)  # type: ignore[call-overload]
        changed[link.out.name] = replace(link, args=(total, term), label=None)
        total = link.out
    changed[root.out.name] = replace(root, args=(total, first), label=None)
