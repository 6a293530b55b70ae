"""Held steps: what a program computes from nothing but arrays that stay as they are from call to call."""

from __future__ import annotations

from collections.abc import Collection

from ...compiler.program import Program
from ...compiler.statements import Access, Compute, Fuse, Step, walk


def held_steps(program: Program, held: Collection[str]) -> tuple[dict[int, None], set[str]]:
    """Top-level steps by number, and the names of all arrays that stay the same with `held`.

    Nothing of them has axes or a batch, so that it is the same at all lengths.
    """
    given = {n: d for n, d in program.system.decls.items() if n in held or d.kind == "constant"}
    known = {n for n, d in given.items() if n not in program.buffers and not (d.axes or d.batched)}
    changing = {program.storage(r.name)[0] for r in program.system.outputs.values()}
    while True:
        found, names = _alone(program, known, changing)
        others = (s for n, step in enumerate(program.steps) if n not in found for s in _statements(step))
        written = {program.storage(s.equation.out.name)[0] for s in others}
        if not written & {program.storage(n)[0] for n in names - known}:
            return found, names
        changing |= written


def _alone(program: Program, known: set[str], changing: set[str]) -> tuple[dict[int, None], set[str]]:
    """The same, if what lies in the buffers of `changing` changes."""
    found: dict[int, None] = {}
    names, decls = set(known), program.system.decls
    for number, step in enumerate(program.steps):
        made: set[str] = set()
        for s in _statements(step):
            e = s.equation
            home = program.storage(e.out.name)[0]
            read = {a.ref.name for a in s.args if isinstance(a, Access)}
            plain = not (e.domain or e.batched or s.exists or decls[home].axes or decls[home].batched)
            if not plain or home in changing or not read <= names | made:
                break
            made.add(e.out.name)
        else:
            if isinstance(step, Compute | Fuse):
                found[number] = None
                names |= made
    return found, names


def _statements(step: Step) -> list[Compute]:
    return [s for _, s in walk((step,)) if isinstance(s, Compute)]
