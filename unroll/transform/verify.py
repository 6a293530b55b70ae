"""A verifier of systems, run between passes: shapes, kinds, definitions, worked out again from the operations.

Of a system: every name declared, every shape, dtype and axis as the operation gives it, no point written twice, every
point that is read defined. Of a program: its statements are run on marks instead of numbers, at every small combination
of lengths, so that each access is shown to lie inside its buffer, and each read to find the very instance that it asks
for, whole. Steps are ``k`` or ``T+k`` and ranges run between such, so what holds at all lengths up to the largest k and
a little more holds at every length.

Law: a pass takes a system without problems to one without problems. Runs after every pass with ``UNROLL_VERIFY=1``,
and in every test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import product
from typing import Any

from ..cache import BoundedCache
from ..dependence.analysis import analysis
from ..dependence.loop_order import NoOrder
from ..errors import UnrollError
from ..ir.axes import Axis, Lengths
from ..ir.boxes import Box, meet, numbers, uncovered
from ..ir.generated_inputs import Within
from ..ir.system import Const, Equation, Extent, Operand, Ref, Shape, System
from ..ops.errors import DTypeError, ShapeError
from ..ops.kinds import Dtype, result_kind
from ..ops.shapes import stretches
from ..unfold.existence import asked, instances, needed, runs

enabled = os.environ.get("UNROLL_VERIFY", "") not in ("", "0")
"""Whether passes are verified; tests switch it on."""

MOST = 10_000
"""Equations, or points of equations, that are looked at in all, at most; beyond, fewer lengths are."""


class VerificationError(UnrollError):
    """A pass of this package made a system or a program that is not sound: please report it."""


def check_pass(name: str, before: System, after: System, order: bool = True, every: bool = False) -> None:
    """Raises VerificationError where `after`, which a pass made of `before`, has problems that `before` has not.

    order  False for a pass after which no order of steps may be left, which is then the user's to know
    every  True for a pass that may read, outside of a loop or a sum, what was read in it: where that has no step, and
           what it would read does not exist, the user is told so
    """
    if not enabled or after is before or sound.get(key := text_key(name, before, after)):
        return
    found = structure(after)
    if not found and not structure(before):
        size = len(before.equations) + len(after.equations)
        for lengths in small_lengths((before, after), lambda steps: size):
            if not undefined(before, lengths, every) and (found := undefined(after, lengths, since=before)):
                found = [f"{problem}, at {_shown(lengths)}" for problem in found]
                break
        if not found and order and has_order(before) and not has_order(after):
            found = ["no order of steps can compute it"]
    elif structure(before):
        found = []
    if found:
        listed = "\n".join(f"    {problem}" for problem in found[:SHOWN])
        raise VerificationError(f"the pass {name!r} left template {before.name!r} unsound:\n{listed}")
    sound.put(key, True)


sound: BoundedCache[bool] = BoundedCache(20_000)
"""What was found sound, by `text_key`: tests compile the same templates again and again."""


def text_key(*parts: object) -> int:
    """A key for what is written alike, every field of it: `repr` of a system or a program is for people to read."""
    return hash(repr([_fields(part) for part in parts]))


def _fields(part: object) -> object:
    """What a system or a program holds, a system in a program likewise; anything else itself."""
    shown = getattr(type(part), "__dataclass_params__", None)
    if not is_dataclass(part) or isinstance(part, type) or shown is None or shown.repr:
        return part
    return [_fields(getattr(part, f.name)) for f in fields(part)]


class Stages:
    """A system and what passes made of it one after another, looked at once, at the end.

    Where the last is unsound, or a pass fails, the first pass to blame is named.
    """

    def __init__(self, system: System) -> None:
        self.last = system
        self._seen: list[tuple[str, System]] = [("", system)]

    def add(self, name: str, system: System) -> None:
        """The result of the next pass."""
        self.last = system
        if enabled:
            self._seen.append((name, system))

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not enabled:
            return
        (_, first), *rest = self._seen
        try:
            check_pass("the last of several", first, self.last)
            if error is None:
                return
        except VerificationError as found:
            error = error or found
        for name, after in rest:
            check_pass(name, first, after)
            first = after
        if kind is None and isinstance(error, VerificationError):
            raise error


def check_results(
    system: System, results: Mapping[Any, Any], lengths: Lengths, batch: int, averaged: Sequence[str] = ()
) -> None:
    """Raises VerificationError where a backend's result has another shape than its declaration says.

    averaged  those that have lost the axis of the examples since
    """
    for name, ref in system.outputs.items() if enabled else ():
        if name not in results:
            continue  # one that the backend has taken out again
        decl = system.decls[ref.name]
        steps = [lengths[i.axis.end] for i in ref.index if i.runs and i.axis is not None]
        want = (*steps, *((batch,) if decl.batched and name not in averaged else ()), *decl.shape)
        if tuple(results[name].shape) != want:
            raise VerificationError(f"{name} of template {system.name!r} came as {results[name].shape}, not {want}")


def has_order(system: System) -> bool:
    """True if some order of steps computes everything."""
    if "_order" not in system.__dict__:
        try:
            _ = analysis(system).order
            system.__dict__["_order"] = True
        except NoOrder:
            system.__dict__["_order"] = False
    return bool(system.__dict__["_order"])


SHOWN = 8
"""Problems that a message lists."""


def _shown(lengths: Lengths) -> str:
    return ", ".join(f"{end} = {n}" for end, n in lengths.items()) or "no lengths"


# -- shapes, kinds and axes -------------------------------------------------------------------------------------------


def structure(system: System) -> list[str]:
    """What is wrong with declarations, shapes, dtypes and axes, whatever the lengths."""
    if "_structure" not in system.__dict__:
        found = [p for e in system.equations for p in _equation(system, e)]
        system.__dict__["_structure"] = found or list(_outputs(system))
    known: list[str] = system.__dict__["_structure"]
    return known


def _equation(system: System, e: Equation) -> Iterator[str]:
    decls = system.decls
    missing = [r.name for r in (e.out, *e.refs) if r.name not in decls]
    if missing:
        yield f"{e.out}: {missing[0]!r} is not declared"
        return
    axes = e.axes
    if len(set(axes)) < len(axes) or not set(axes) <= set(system.axes):
        yield f"{e.out}: its domain is over {', '.join(a.name for a in axes)}"
    for ref in (e.out, *e.refs):
        decl = decls[ref.name]
        if len(ref.index) != len(decl.axes):
            yield f"{e.out}: {ref} has {len(ref.index)} steps, {decl.name} runs along {len(decl.axes)} axes"
        if not set(ref.running) <= set(axes):
            yield f"{e.out}: {ref} runs along an axis that the domain lacks"
        if any(i.axis not in (None, a) for i, a in zip(ref.index, decl.axes, strict=False)):
            yield f"{e.out}: {ref} has a step of another axis"
    out = decls[e.out.name]
    if any(decls[r.name].batched for r in e.refs) and not e.batched:
        yield f"{e.out}: it reads something of an example, and runs for none"
    if out.batched and not e.batched:
        yield f"{e.out}: it has a value for each example, and its equation runs for none"
    shapes = [_shape(system, a) for a in e.args]
    try:
        shape = tuple(e.operation.family.shape(shapes, dict(e.attrs)))
    except (ShapeError, DTypeError) as error:
        yield f"{e.out} = {e.op}{tuple(shapes)}: {error}"
        return
    if shape != out.shape and not (_stretches(e) and stretches(shape, out.shape)):
        yield f"{e.out} has shape {out.shape}, and {e.op}{tuple(shapes)} has shape {shape}"
    yield from _kinds(system, e, out.dtype)


def _shape(system: System, operand: Operand) -> Shape:
    return system.decls[operand.name].shape if isinstance(operand, Ref) else ()


def _stretches(e: Equation) -> bool:
    """True for what may be written to a larger left-hand side: a copy, and what is made of numbers alone."""
    return e.op == "copy" or not e.refs


def _kinds(system: System, e: Equation, out: str) -> Iterator[str]:
    kinds = [_kind(system, a) for a in e.args]
    weak = [isinstance(a, (Const, Extent)) for a in e.args]
    try:
        result, wanted = result_kind(e.operation, kinds, weak)
    except DTypeError as error:
        yield f"{e.out}: {error}"
        return
    fits = all(w or k == want for k, want, w in zip(kinds, wanted, weak, strict=True))
    if not fits:
        yield f"{e.out} = {e.op}({', '.join(kinds)}): operands of {', '.join(wanted)} were expected"
    if result != out and not all(weak):
        yield f"{e.out} is {out}, and {e.op}({', '.join(kinds)}) is {result}"


def _kind(system: System, operand: Operand) -> Dtype:
    if isinstance(operand, Ref):
        return system.decls[operand.name].dtype
    if isinstance(operand, Extent):
        return "float"
    return "bool" if isinstance(operand.value, bool) else "int" if isinstance(operand.value, int) else "float"


def _outputs(system: System) -> Iterator[str]:
    for shown, ref in system.outputs.items():
        decl = system.decls.get(ref.name)
        if decl is None:
            yield f"output {shown!r}: {ref.name!r} is not declared"
        elif not decl.given and decl.kind != "cotangent" and not system.writers[ref.name]:
            yield f"output {shown!r}: nothing defines {ref.name!r}"


# -- points -----------------------------------------------------------------------------------------------------------


def small_lengths(systems: Sequence[System], cost: Callable[[Sequence[int]], int]) -> Iterator[dict[str, int]]:
    """Lengths of all axes up to the largest k of a step and a little more; fewer where that costs too much in all.

    From 1 where an example has fewer steps than the arrays: these have one then.
    """
    masks = [d for s in systems for d in s.decls.values() if d.kind == "input" and isinstance(d.detail, Within)]
    longer = {a for d in masks for a in d.axes}
    axes = dict.fromkeys(a for s in systems for a in s.axes if _used(s, a))
    largest = max((_largest(s) for s in systems), default=0)
    chosen = list(range(largest + 3)) if largest <= 5 else [0, 1, 2, largest - 1, largest, largest + 1, largest + 2]
    spent = 0
    for steps in sorted(product(chosen, repeat=len(axes)), key=lambda steps: (max(steps, default=0), steps)):
        if any(n < 1 and a in longer for a, n in zip(axes, steps, strict=True)):
            continue
        spent += cost(steps)
        if spent > MOST and max(steps, default=0) > 1:
            return
        yield {a.end: n for a, n in zip(axes, steps, strict=True)}


def _used(system: System, axis: Axis) -> bool:
    return any(axis in d.axes for d in system.decls.values()) or any(axis in e.axes for e in system.equations)


def _largest(system: System) -> int:
    """The largest k of a step ``t+k``, ``T+k`` or ``k`` in a system."""
    return max(
        (
            abs(i.shift)
            for e in system.equations
            for i in (*e.out.index, *(i for r in e.refs for i in r.index), *(i for r in e.domain for i in (r.lo, r.hi)))
        ),
        default=0,
    )


def undefined(system: System, lengths: Lengths, every: bool = False, since: System | None = None) -> list[str]:
    """Points that two equations write, and points that are read and nothing defines, at some lengths.

    every  True to ask also for what equations read that have no step, or from which nothing is computed
    since  a system in which nothing is undefined: what stands there too, and reads the same, is not asked again
    """
    known = system.__dict__.setdefault("_undefined", {})
    key = *lengths.items(), every
    if key not in known:
        known[key] = list(_undefined(system, lengths, every, since))
    found: list[str] = known[key]
    return found


def _undefined(system: System, lengths: Lengths, every: bool, since: System | None) -> Iterator[str]:
    decls = system.decls
    names = {n for n in decls if since is None or _differs(system, since, n)}
    seen = {id(e) for e in needed_at(since, lengths)} if since is not None else set()
    where: dict[str, list[Box]] = {}
    for name in names:
        where[name] = instances(system, name, lengths)
        boxes = [box for box in where[name] if all(box)] if decls[name].kind != "cotangent" else []
        for n, box in enumerate(boxes):
            if any(meet(box, other) for other in boxes[:n]):
                yield f"{_named(name, box)} has two values at some step"
    for e in system.equations if every else needed_at(system, lengths):
        if id(e) in seen and not any(r.name in names for r in (e.out, *e.refs)):
            continue
        for index, axis in zip(e.out.index, decls[e.out.name].axes, strict=True):
            given = decls[e.out.name].kind != "cotangent" and runs(e, lengths)
            if given and index.axis is None and index.shift > lengths[axis.end]:
                yield f"{e.out} is set, which does not exist"
        for ref in e.refs if every or runs(e, lengths) else ():
            if decls[ref.name].kind == "cotangent":
                continue
            if ref.name not in where:
                where[ref.name] = instances(system, ref.name, lengths)
            read = tuple(numbers(ends, lengths) for ends in system.reads(e, ref))
            left = uncovered(read, where[ref.name])
            if left is not None:
                yield f"{e.out} = {e.op} reads {ref}, and nothing defines {_named(ref.name, left)}"


def needed_at(system: System, lengths: Lengths) -> list[Equation]:
    """The equations from which what the system is there for is computed."""
    known = system.__dict__.setdefault("_needed", {})
    key = tuple(lengths.items())
    if key not in known:
        known[key] = needed(system, asked(system), lengths)
    found: list[Equation] = known[key]
    return found


def _differs(system: System, other: System, name: str) -> bool:
    """True unless a name is declared in both and written by the very same equations."""
    if system.decls[name] != other.decls.get(name):
        return True
    first, second = system.writers.get(name, ()), other.writers.get(name, ())
    return len(first) != len(second) or any(a is not b for a, b in zip(first, second, strict=True))


def _named(name: str, box: Box) -> str:
    shown = (f"{r.start}" if len(r) == 1 else f"{r.start}..{r.stop - 1}" for r in box)
    return f"{name}[{', '.join(shown)}]" if box else name
