"""Simplification: copy propagation, constant folding, common subexpression elimination, dead code elimination.

Precondition and result: a checked system. Each rewrite is one pass over the equations; they repeat until none applies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle

from ..ir.axes import Index, Range
from ..ir.coverage import steps_of, within
from ..ir.names import is_hidden
from ..ir.rewrite import rewritten, with_equations, without_dead
from ..ir.system import WHOLE, Const, Equation, Operand, Ref, System, exact
from ..ops.shapes import broadcast, elementwise
from .verify import Stages


def simplify(system: System, keep: Iterable[str] = (), apart: Iterable[str] = ()) -> System:
    """The system, simplified; its outputs, its loss, declared variables and `keep` survive, `apart` as in `reduced`."""
    roots = [
        *keep,
        *(r.name for r in system.outputs.values()),
        *([system.loss] if system.loss else []),
        *(n for n, d in system.decls.items() if d.kind not in ("temporary", "cotangent")),
    ]
    return reduced(system, roots, apart)


@dataclass(frozen=True)
class Kept:
    """What a rewrite leaves: `roots` are all there afterwards, and what reads a name `apart` still does, no more."""

    roots: frozenset[str]
    apart: frozenset[str] = frozenset()


def reduced(system: System, roots: Iterable[str], apart: Iterable[str] = ()) -> System:
    """The system cut down to what the names `roots` are computed from, and simplified.

    apart  variables that are to be differentiated by: nothing that reads one may read what it is a copy of instead, nor
           the other way round
    """
    kept = Kept(frozenset(roots), frozenset(apart))
    rewrites = (_fold_numbers, _into_copies, _promote, _through_copies, _merge_equal)
    with Stages(without_dead(system, kept.roots)) as stages:
        idle, turns = 0, cycle(rewrites)
        for _ in range(len(rewrites) * (1 + len(system.equations))):
            rewrite, before = next(turns), stages.last
            changed = rewrite(before, kept)
            if changed is not before:
                stages.add(rewrite.__name__, without_dead(changed, kept.roots))
            idle = idle + 1 if stages.last.equations == before.equations else 0
            if idle == len(rewrites):
                break
        stages.add("_trim", _trim(stages.last, kept))
    return stages.last


def _through_copies(system: System, kept: Kept) -> System:
    """Copy propagation: a read of a copy becomes a read of what it copies."""
    copies = {}
    for e in system.equations:
        (source, *_), name = e.args, e.out.name
        if e.op != "copy" or e.attrs or name in kept.apart or (isinstance(source, Ref) and source.name == name):
            continue
        if system.sole(name) is None:
            continue
        decl = system.decls[name]
        if isinstance(source, Const):
            copies[name] = e
        elif isinstance(source, Ref):
            given = system.decls[source.name]
            alike = given.shape == decl.shape and given.batched == decl.batched
            steps = system.truncations and not all(
                i.runs and not i.shift for i in source.index
            )  # each counts as it stands
            if alike and not steps and (is_hidden(name) or not is_hidden(source.name)):
                copies[name] = e
    if not copies:
        return system

    def change(reader: Equation, ref: Ref) -> Operand:
        e = copies.get(ref.name)
        if e is None or e is reader or not within(system, reader, ref, e):
            return ref
        source = e.args[0]
        if isinstance(source, Ref):
            return source.substitute(steps_of(e.out, ref))
        return source if _takes_number(system, reader, ref) else ref

    read = (rewritten(e, partial(change, e)) if _mentions(e, copies) else e for e in system.equations)
    return with_equations(system, list(read))


def _mentions(e: Equation, names: Container[str]) -> bool:
    """True if an equation, or its label, reads one of the names."""
    return any(r.name in names for r in (e.refs if e.label is None else (*e.refs, *e.label.refs)))


def _promote(system: System, kept: Kept) -> System:
    """A temporary that is copied into a named variable becomes the copy, and the variable the original."""
    swapped: dict[str, Equation] = {}
    for name in system.decls:
        e = None if is_hidden(name) or name in kept.apart else system.sole(name)
        if e is None or e.op != "copy" or not isinstance(source := e.args[0], Ref):
            continue
        inner = system.sole(source.name)
        if inner is None:
            continue
        alike = system.decls[name].shape == system.decls[source.name].shape
        plain = alike and source.index == inner.out.index == e.out.index and e.domain == inner.domain
        if is_hidden(source.name) and plain and e.batched == inner.batched and source.name not in swapped:
            swapped[name] = replace(inner, out=e.out, source=e.source)
            swapped[source.name] = replace(e, out=inner.out, args=(e.out,), label=None)
    return with_equations(system, [swapped.get(e.out.name, e) for e in system.equations])


def _takes_number(system: System, e: Equation, ref: Ref) -> bool:
    """True if a number may stand for `ref` in `e`: the shape of the result does not come from it."""
    if e.op in ("reshape", "broadcast_to", "copy"):
        return True
    own = e.operation.body or e.operation.compute  # which may make anything of the shapes it is told
    if e.operation.family is not elementwise or e.op == "cast" or own is not None:
        return False
    shapes = [system.decls[a.name].shape if isinstance(a, Ref) and a != ref else () for a in e.args]
    return broadcast(shapes) == system.decls[e.out.name].shape


def _fold_numbers(system: System, kept: Kept) -> System:
    """Constant folding: ``1 * x`` and ``x - 0`` are x; a cotangent of constant value is that number."""
    equations = []
    numbers = [e.out.name for e in system.equations if e.op == "copy" and isinstance(e.args[0], Const)]
    filled = {name: e for name in numbers if is_hidden(name) and (e := system.sole(name)) is not None}
    for e in system.equations:
        operand = _identity(system, _with_numbers(system, e, filled)) if e.op in FOLDED else None
        equations.append(e if operand is None else replace(e, op="copy", args=(operand,), attrs=(), label=None))
    return with_equations(system, equations)


def _with_numbers(system: System, e: Equation, filled: Mapping[str, Equation]) -> Equation:
    """An equation with numbers for arrays that hold one number alone, where all that it reads are such."""
    if not e.refs or not all(r.name in filled and within(system, e, r, filled[r.name]) for r in e.refs):
        return e
    args = tuple(filled[a.name].args[0] if isinstance(a, Ref) else a for a in e.args)
    return replace(e, args=args) if all(isinstance(a, Const) for a in args) else e


def _identity(system: System, e: Equation) -> Operand | None:
    shape = system.decls[e.out.name].shape
    if e.op in ("reshape", "broadcast_to") and isinstance(e.args[0], Const):
        return e.args[0]
    if e.op in ("reshape", "broadcast_to", "sum_to", "transpose") and isinstance(e.args[0], Ref):
        plain = e.op != "transpose" or len(shape) < 2
        return e.args[0] if plain and system.decls[e.args[0].name].shape == shape else None
    if e.op not in NEUTRAL:
        return None
    a, b = e.args
    kind = {"float": float, "int": int, "bool": bool}[system.decls[e.out.name].dtype]
    neutral = kind(NEUTRAL[e.op])
    for number, other, allowed in ((b, a, True), (a, b, e.op in ("mul", "add"))):
        if not (isinstance(number, Const) and exact(kind(number.value)) == exact(neutral) and allowed):
            continue
        if isinstance(other, Const) or (isinstance(other, Ref) and system.decls[other.name].shape == shape):
            return other
    if isinstance(a, Const) and isinstance(b, Const) and not (e.op == "div" and b.value == 0):
        x, y = kind(a.value), kind(b.value)
        value = kind({"mul": x * y, "add": x + y, "sub": x - y}[e.op] if e.op != "div" else x / y)
        return Const(value) if isinstance(value, float) or value in WHOLE else None
    return None


NEUTRAL = {"mul": 1, "div": 1, "add": -0.0, "sub": 0.0}
"""What changes nothing: x + 0.0 is no -0.0 where x is, and x + -0.0 is."""
FOLDED = {"reshape", "broadcast_to", "sum_to", "transpose", *NEUTRAL}


def _merge_equal(system: System, kept: Kept) -> System:
    """Common subexpression elimination: two temporaries with the same equation become one."""
    alike: dict[object, list[Equation]] = {}  # as far as is quickly told
    for e in system.equations:
        if system.decls[e.out.name].kind in ("temporary", "cotangent") and e.out.name not in kept.roots:
            alike.setdefault((e.op, *[r.name for r in e.refs]), []).append(e)
    several = (e for group in alike.values() if len(group) > 1 for e in group)
    first: dict[object, Equation] = {}
    same: dict[str, str] = {}
    for e in several:
        if system.sole(e.out.name) is not e:
            continue
        key = system.form(e)
        known = first.setdefault(key, e)
        if known is not e:
            keep, drop = (e, known) if is_hidden(known.out.name) and not is_hidden(e.out.name) else (known, e)
            first[key] = keep
            same[drop.out.name] = keep.out.name
    if not same:
        return system

    def change(ref: Ref) -> Ref:
        return Ref(same[ref.name], ref.index) if ref.name in same else ref

    return with_equations(system, [rewritten(e, change) if _mentions(e, same) else e for e in system.equations])


def _into_copies(system: System, kept: Kept) -> System:
    """``out += copy(temporary)`` becomes the temporary's own operation, where nothing else reads the temporary."""
    found = ((e, e.args[0]) for e in system.equations if e.op == "copy")
    copies = [(e, ref) for e, ref in found if isinstance(ref, Ref) and ref.name not in kept.roots]
    copies = [(e, ref) for e, ref in copies if system.decls[ref.name].kind in ("temporary", "cotangent")]
    if not copies:
        return system
    readers = Counter(ref.name for e in system.equations for ref in e.refs)
    merged: dict[int, Equation] = {}
    for e, ref in copies:
        writers = system.writers[ref.name]
        if readers[ref.name] == 1 and len(writers) == 1 and (new := _merged(system, e, ref, writers[0])) is not None:
            merged[id(e)] = new
    return with_equations(system, [merged.get(id(e), e) for e in system.equations])


def _merged(system: System, e: Equation, ref: Ref, inner: Equation) -> Equation | None:
    """`e`, which copies `ref`, with the operation of `inner`, which writes it; None where that is not the same."""
    if not (_at_the_same_points(system, e, ref, inner) and _reductions_commute(system, e, inner)):
        return None
    steps, free = steps_of(inner.out, ref), e.ranges
    args = tuple(a.substitute(steps) if isinstance(a, Ref) else a for a in inner.args)
    ranges = {**free, **{a: inner.range(a) for a in inner.summed}}
    domain = tuple(ranges[a] for a in system.axes if a in ranges)
    combine = inner.combine if inner.summed or inner.combine == "max" else e.combine
    label = inner.label and inner.label.map(lambda r: r.substitute(steps))
    return Equation(e.out, inner.op, args, inner.attrs, domain, e.batched, combine, e.source, label)


def _at_the_same_points(system: System, e: Equation, ref: Ref, inner: Equation) -> bool:
    """True where `inner` writes one value for each that `e` reads, and reads nothing of its own."""
    if system.decls[ref.name].shape != system.decls[e.out.name].shape or not within(system, e, ref, inner):
        return False
    if not all(i.runs and not i.shift for i in inner.out.index) or inner.out.name in {r.name for r in inner.refs}:
        return False
    if sorted(a.name for a in e.axes) != sorted(a.name for a in ref.running):
        return False
    return inner.batched == e.batched == system.decls[ref.name].batched and not set(inner.summed) & set(e.axes)


def _reductions_commute(system: System, e: Equation, inner: Equation) -> bool:
    """True where what `inner` and `e` reduce, one after the other, can be reduced at once."""
    if e.combine == "max" and inner.op != "copy":
        return False  # its derivative compares the maximum with what it was taken of: both must be the same numbers
    if inner.combine == "max" and not system.exclusive(e):
        return False
    reduces = bool(inner.summed) or inner.combine == "max"
    again = bool(e.summed) or e.combine == "max"
    return not (reduces and again) or (inner.combine, e.combine) == ("sum", "sum")


def _trim(system: System, kept: Kept) -> System:
    """Steps that are never read are not computed: ``h~[0]``, where h[0] is a number."""
    needed: dict[str, list[tuple[tuple[Index, Index], ...]]] = {}
    for e in system.equations:
        for ref in e.refs:
            if system.decls[ref.name].kind == "cotangent":
                needed.setdefault(ref.name, []).append(system.reads(e, ref))
    equations = []
    for e in system.equations:
        decl = system.decls[e.out.name]
        if decl.kind == "cotangent" and e.out.name not in kept.roots:
            e = _trimmed(e, needed.get(e.out.name, []))
        equations.append(e)
    return with_equations(system, equations)


def _trimmed(e: Equation, reads: list[tuple[tuple[Index, Index], ...]]) -> Equation:
    domain: list[Range] = []
    for r in e.domain:
        shift = e.out.shift(r.axis)
        position = next((p for p, i in enumerate(e.out.index) if i.axis == r.axis and i.runs), None)
        if shift is None or position is None or not reads:
            domain.append(r)
            continue
        lo, hi = r.lo + shift, r.hi + shift
        if all(_later(read[position][0], lo) for read in reads):
            lo = _least([read[position][0] for read in reads], lo)
        if all(_later(hi, read[position][1]) for read in reads):
            hi = _greatest([read[position][1] for read in reads], hi)
        domain.append(Range(r.axis, lo - shift, hi - shift))
    return e if tuple(domain) == e.domain else replace(e, domain=tuple(domain))


def _later(a: Index, b: Index) -> bool:
    return a.anchor == b.anchor and a.shift > b.shift


def _least(indices: list[Index], floor: Index) -> Index:
    return floor + (min(i.shift for i in indices) - floor.shift)


def _greatest(indices: list[Index], ceiling: Index) -> Index:
    return ceiling + (max(i.shift for i in indices) - ceiling.shift)
