"""Products merged into larger matrix products (GEMMs): stacked where they share an operand, one where they add up.

Four gates of an LSTM become one product per step forwards, one backwards, and one for each kind of weight gradient. Why
no cycle comes of it: a stack of products depends on what each of them depends on, for the matrices are loop-invariant;
so does a sum of products, which is read only as a whole; and outer products are merged only where they stand at the
same depth of the condensed graph, so that none depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from ..ir.axes import Range
from ..ir.coverage import within
from ..ir.names import is_cotangent
from ..ir.system import Domain, Equation, Ref, System
from .split_products import FEW, Draft, Loops, MatrixProduct, between, split

Group = list[tuple[int, "Member"]]
Ranks = dict[str, tuple[int, int]]
SUMS = ("add", "sub", "copy")
"""What may stand between a product and the operation that tells what kind of gate it belongs to."""


def merge(system: System) -> System:
    """The system with its products merged."""
    system = split(system)
    ranks = _ranks(system)
    return _stacked(_gathered(system, ranks), ranks)


@dataclass(frozen=True)
class Member:
    """One product of a group: the vector that is joined with the others', and the matrix (or the gradient's name)."""

    vector: Ref
    matrix: str


def _ranks(system: System) -> Ranks:
    """The order in which matrices are stacked: one kind of gate adjacent (see `vectorize`), then as declared."""
    draft = Draft(system)
    declared = {name: position for position, name in enumerate(system.decls)}
    reader: dict[str, Equation] = {}
    for e in system.equations:
        for ref in e.refs:
            reader.setdefault(ref.name, e)
    kinds: dict[str, Any] = {}
    for e in system.equations:
        p = draft.product(e)
        if p is None or _base(draft, p.matrix) in kinds or is_cotangent(e.out.name):
            continue
        after, seen = reader.get(e.out.name), 0
        while after is not None and after.op in SUMS and seen < len(SUMS) * FEW:
            after, seen = reader.get(after.out.name), seen + 1
        kinds[_base(draft, p.matrix)] = (after.op, after.attrs) if after is not None else None
    first: dict[Any, int] = {}
    for base, kind in kinds.items():
        first[kind] = min(first.get(kind, len(declared)), declared[base])
    return {name: (first[kinds[name]] if name in kinds else n, n) for name, n in declared.items()}


def _gathered(system: System, ranks: Ranks) -> System:
    """Products that add up to one value, and outer products under a sum, over vectors joined to one."""
    if not any(e.op in ("matmul", "outer") for e in system.equations):
        return system
    draft, whole = Draft(system), _Whole(system)
    sums, sides, plain = _candidates(system, draft, whole)
    sums, outers = _several(sums), _one_side(sides)
    if not sums and not outers:
        return system
    order = _order(draft, ranks, [*sums.values(), *outers.values()])
    joined: dict[Any, Ref] = {}
    for (_, _, left, *_), group in sums.items():
        _sum(draft, whole, _sorted(group, order), left, joined)
    for (side, *_), group in outers.items():
        _outer(draft, whole, _sorted(group, order), side, joined)
    largest = {name: names for names in sorted(joined, key=len) for name in names}
    for key, group in plain.items():
        parts: dict[Any, Group] = {}
        for n, m in group:
            if m.vector.name in largest:
                parts.setdefault((largest[m.vector.name], *key), []).append((n, m))
        for (names, *_), part in _several(parts).items():
            part = _sorted(part, order)
            if tuple(m.vector.name for _, m in part) == names:
                _total_of(draft, whole, part, joined)
    return draft.result()


def _candidates(
    system: System, draft: Draft, whole: _Whole
) -> tuple[dict[Any, Group], tuple[dict[Any, Group], dict[Any, Group]], dict[Any, Group]]:
    """Products that add up to one value; outer products under a sum, by either side; vectors under a sum."""
    loops = Loops(system)
    sums: dict[Any, Group] = {}
    plain: dict[Any, Group] = {}
    sides: tuple[dict[Any, Group], dict[Any, Group]] = ({}, {})
    for n, e in enumerate(system.equations):
        p = draft.product(e)
        if p is not None and not e.summed:
            key = whole.key(e, p.vector)
            if key is not None and len(system.decls[p.vector.name].shape) == 1:
                key = (e.out, loops.loop(n), p.left, *key)
                sums.setdefault(key, []).append((n, Member(p.vector, p.matrix)))
        elif _total(system, e) and loops.loop(n) == -1:
            if e.op == "outer" and all(isinstance(a, Ref) and a.name not in draft.invariant for a in e.args):
                for side in (0, 1):
                    vector, other = e.refs[side], e.refs[1 - side]
                    key = whole.key(e, vector)
                    if key is not None:
                        key = (other, loops.depth[n], *key)
                        sides[side].setdefault(key, []).append((n, Member(vector, e.out.name)))
            elif e.op == "copy" and e.refs and system.decls[e.refs[0].name].shape == system.decls[e.out.name].shape:
                key = whole.key(e, e.refs[0])
                if key is not None:
                    key = (loops.depth[n], *key)
                    plain.setdefault(key, []).append((n, Member(e.refs[0], e.out.name)))
    return sums, sides, plain


def _sorted(group: Group, order: dict[str, int]) -> Group:
    return sorted(group, key=lambda item: order[item[1].vector.name])


class _Whole:
    """The vectors that may be joined: one equation writes all of their steps, perhaps others add to some."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.found: dict[str, Equation | None] = {}

    def writer(self, name: str) -> Equation | None:
        """The equation over whose domain a name has all its steps."""
        if name not in self.found:
            decl, writers = self.system.decls[name], self.system.writers[name]
            first = writers[0] if writers and not decl.given and decl.dtype == "float" else None
            for w in writers[1:]:
                if first is not None and w.domain != first.domain and all(map(_covers, w.domain, first.domain)):
                    first = w
            plain = first is not None and all(
                all(i.runs and not i.shift for i in w.out.index)
                and not w.summed
                and len(w.domain) == len(first.domain)
                and all(map(_covers, first.domain, w.domain))
                for w in writers
            )
            self.found[name] = first if plain else None
        return self.found[name]

    def key(self, e: Equation, ref: Ref) -> tuple[Any, ...] | None:
        """What the members of a group have in common as to the vector that is joined; None if it cannot be."""
        writer = self.writer(ref.name)
        if writer is None or not within(self.system, e, ref, writer):
            return None
        return e.domain, e.batched, ref.index, writer.domain, self.system.decls[ref.name].batched


def _covers(a: Range, b: Range) -> bool:
    return a.axis == b.axis and a.covers(b)


def _total(system: System, e: Equation) -> bool:
    """True for a sum over everything: what is left is loop-invariant."""
    decl = system.decls[e.out.name]
    total = e.combine == "sum" and not decl.axes and not decl.batched and (bool(e.domain) or e.batched)
    return total and decl.dtype == "float"


def _several(groups: dict[Any, Group]) -> dict[Any, Group]:
    """The groups of two or more; a vector counts once in each."""
    result = {}
    for key, group in groups.items():
        first: dict[str, tuple[int, Member]] = {}
        for n, member in group:
            first.setdefault(member.vector.name, (n, member))
        if len(first) > 1:
            result[key] = list(first.values())
    return result


def _one_side(sides: tuple[dict[Any, Group], dict[Any, Group]]) -> dict[Any, Group]:
    """Each outer product in one group: with those that share its other operand, in the larger of two groups."""
    both = {(side, *key): group for side in (0, 1) for key, group in _several(sides[side]).items()}
    best: dict[int, Any] = {}
    for key, group in both.items():
        for n, _ in group:
            if n not in best or len(group) > len(both[best[n]]):
                best[n] = key
    return _several({key: [(n, m) for n, m in group if best[n] == key] for key, group in both.items()})


def _order(draft: Draft, ranks: Ranks, groups: Sequence[Group]) -> dict[str, int]:
    """The vectors in one order for all groups: those in most groups first, so that smaller groups are parts of larger.

    Apart from that, in the order of the matrices of the products forwards.
    """
    count: dict[str, int] = {}
    rank: dict[str, tuple[int, int]] = {}
    for group in groups:
        for _, m in group:
            name = m.vector.name
            param = _base(draft, m.matrix) if m.matrix in draft.invariant else draft.decls[m.matrix].of or m.matrix
            count[name] = count.get(name, 0) + 1
            found = ranks.get(param, ranks[name])
            rank[name] = min(rank.get(name, found), found)
    ordered = sorted(count, key=lambda name: (-count[name], rank[name], ranks[name]))
    return {name: position for position, name in enumerate(ordered)}


def _base(draft: Draft, name: str) -> str:
    """The matrix of which a matrix is a rearrangement."""
    e = draft.invariant.get(name)
    while e is not None and e.op in ("transpose", "slice"):
        name = e.refs[0].name
        e = draft.invariant.get(name)
    return name


def _join(draft: Draft, whole: _Whole, group: Group, joined: dict[Any, Ref]) -> tuple[Ref, list[int]]:
    """The vectors of a group as one, read where they are read, and where each begins and ends in it."""
    names = tuple(m.vector.name for _, m in group)
    ends = list(accumulate((draft.decls[name].shape[0] for name in names), initial=0))
    if names not in joined:
        writer = whole.writer(names[0])
        assert writer is not None
        domain, batched = writer.domain, draft.decls[names[0]].batched
        out = joined[names] = draft.declare(names[0], "d", (ends[-1],), domain, batched)
        args = tuple(Ref(name, writer.out.index) for name in names)
        first = min(n for n, _ in group)
        e = draft.system.equations[first]
        draft.before(first, Equation(out, "concat", args, (("axis", -1),), domain, batched, source=e.source))
    made = joined[names]
    steps = dict(zip(draft.decls[names[0]].axes, group[0][1].vector.index, strict=True))
    return made.substitute(steps), ends


def _sum(draft: Draft, whole: _Whole, group: Group, left: bool, joined: dict[Any, Ref]) -> None:
    """``h~[t] += W.T @ a~[t+1]`` and its like as one product."""
    vector, _ = _join(draft, whole, group, joined)
    first = min(n for n, _ in group)
    matrix = Ref(_stack(draft, first, [m.matrix for _, m in group], int(left)))
    for n, _ in group:
        draft.replace(n)
    args = (matrix, vector) if left else (vector, matrix)
    draft.replace(first, replace(draft.system.equations[first], args=args, label=None))


def _outer(draft: Draft, whole: _Whole, group: Group, side: int, joined: dict[Any, Ref]) -> None:
    """``W~ += outer(a~[t], h[t-1])`` and its like as one product, of which each gradient is a part."""
    vector, ends = _join(draft, whole, group, joined)
    first = min(n for n, _ in group)
    e = draft.system.equations[first]
    other = e.refs[1 - side]
    size = draft.decls[other.name].shape[0]
    shape, args = ((ends[-1], size), (vector, other)) if side == 0 else ((size, ends[-1]), (other, vector))
    _split(draft, group, replace(e, args=args, label=None), shape, ends, side)


def _total_of(draft: Draft, whole: _Whole, group: Group, joined: dict[Any, Ref]) -> None:
    """``b~ += a~[t]`` and its like as one sum."""
    vector, ends = _join(draft, whole, group, joined)
    e = draft.system.equations[min(n for n, _ in group)]
    _split(draft, group, replace(e, args=(vector,), label=None), (ends[-1],), ends, 0)


def _split(draft: Draft, group: Group, total: Equation, shape: tuple[int, ...], ends: Sequence[int], axis: int) -> None:
    """`total` over everything, and each old equation as a part of it."""
    out = draft.declare(total.out.name, "g", shape, (), False)
    draft.before(min(n for n, _ in group), replace(total, out=out))
    for (n, _), (lo, hi) in zip(group, pairwise(ends), strict=True):
        e = draft.system.equations[n]
        attrs = (("parts", between(lo, hi, axis)),)
        draft.replace(n, Equation(e.out, "slice", (out,), attrs, source=e.source))


def _stack(draft: Draft, n: int, names: Sequence[str], axis: int) -> str:
    """Loop-invariant matrices, stacked along an axis; rearrangements of matrices as one of their stack."""
    chain: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
    names = tuple(names)
    while (views := [draft.invariant[name] for name in names]) and _alike(draft, views, axis):
        view = views[0]
        assert view is not None
        chain.append((view.op, view.attrs))
        names = tuple(v.refs[0].name for v in views if v is not None)
        axis = 1 - axis if view.op == "transpose" else axis
    made = draft.once(n, "concat", names, (("axis", axis - 2),))
    for op, attrs in reversed(chain):
        made = draft.once(n, op, (made,), attrs)
    return made


def _alike(draft: Draft, views: Sequence[Equation | None], axis: int) -> bool:
    """True for rearrangements of one kind, which may as well be made of the stack."""
    first = views[0]
    if first is None or first.op not in ("transpose", "slice"):
        return False
    bases = [draft.decls[v.refs[0].name].shape for v in views if v is not None]
    if any(v is None or (v.op, v.attrs) != (first.op, first.attrs) for v in views) or {len(b) for b in bases} != {2}:
        return False
    if first.op == "transpose":
        return dict(first.attrs).get("axes") in (None, (-1, -2))
    parts = dict(first.attrs)["parts"]
    if any(isinstance(p, int) for p in parts) or len({b[1 - axis] for b in bases}) != 1:
        return False
    return len(parts) <= axis or parts[axis] == (None, None, None)


def _stacked(system: System, ranks: Ranks) -> System:
    """Products with one vector, read at the same steps and in the same loop, as one."""
    draft = Draft(system)
    groups: dict[Any, list[tuple[int, MatrixProduct]]] = {}
    for n, e in enumerate(system.equations):
        p = draft.product(e)
        if p is None or e.summed or set(e.axes) != set(p.vector.running):
            continue
        if e.batched == system.decls[p.vector.name].batched:
            groups.setdefault((p.vector, e.domain, p.left), []).append((n, p))
    if not any(len(group) > 1 for group in groups.values()):
        return system
    loops = Loops(system)
    last = (len(ranks), len(ranks))
    for (vector, domain, left), group in groups.items():
        inside: dict[int, list[tuple[int, MatrixProduct]]] = {}
        for n, p in group:
            inside.setdefault(loops.loop(n), []).append((n, p))
        for members in inside.values():
            if len(members) > 1:
                members.sort(key=lambda item: (ranks.get(_base(draft, item[1].matrix), last), item[0]))
                _one(draft, members, vector, domain, left)
    return draft.result()


def _one(draft: Draft, members: list[tuple[int, MatrixProduct]], vector: Ref, domain: Domain, left: bool) -> None:
    """One product for all members, and each of them a part of it."""
    first = min(n for n, _ in members)
    e = draft.system.equations[first]
    axis = int(not left)
    matrix = Ref(_stack(draft, first, [p.matrix for _, p in members], axis))
    shape = draft.decls[vector.name].shape
    size = draft.decls[matrix.name].shape[axis]
    out = draft.declare(e.out.name, "z", (size, *shape[1:]) if left else (*shape[:-1], size), domain, e.batched)
    args = (matrix, vector) if left else (vector, matrix)
    draft.before(first, Equation(out, "matmul", args, (), domain, e.batched, source=e.source))
    ends = accumulate((draft.decls[p.matrix].shape[axis] for _, p in members), initial=0)
    for (n, _), (lo, hi) in zip(members, pairwise(ends), strict=True):
        attrs = (("parts", between(lo, hi, 0 if left else len(shape) - 1)),)
        draft.replace(n, replace(draft.system.equations[n], op="slice", args=(out,), attrs=attrs, label=None))
