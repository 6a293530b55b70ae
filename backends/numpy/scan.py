"""Linear recurrences of one delay as blocked scans over whole arrays, where a loop's calls cost more than its work.

Blocks of steps run side by side from zero, then each is given what the one before it ended with, times its product of
coefficients. Nothing is divided, and where products grow, or anything is not finite, the plain loop runs instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from ...compiler.linear_recurrence import ZERO, Affine, Form, FormNode, affine
from ...compiler.program import Program
from ...compiler.statements import Access, Argument, Compute, Repeat
from ...dependence.scc import components
from ...ir.axes import Axis, Range, running
from ...ir.coverage import within
from ...ir.system import Ref, System
from ...records import record
from ...types import Array
from . import tuning
from .operand import GATES, Where
from .source_writer import COUNT, SourceWriter, count

TEXTS = {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "div": "np.divide({}, {})", "neg": "(-{})",
    "where": "np.where({}, {}, {})", "copy": "{}", "later": "{}",
}  # fmt: skip


def scan(state: Array, before: Array, coefficient: Array, rest: Array, direction: int) -> bool:
    """``state[i] = coefficient[i] * state[i-1] + rest[i]`` in place; False, with nothing done, where a loop must.

    It must where products of coefficients grow, and where anything is infinite or nan: a loop may drop such a state,
    which is multiplied by zero here. And where it matters that a product underflows: a loop multiplies the state step
    by step, and a large one is still there where the product of the coefficients alone is no normal number.

    state      ``(steps, ...)``; backwards from its last step where `direction` is -1
    before     what stands before its first step, ``(...)``
    the rest   broadcast to `state`; `rest` may be `state` itself
    """
    a = np.broadcast_to(np.asarray(coefficient, state.dtype), state.shape)[::direction]
    b, h = np.broadcast_to(rest, state.shape)[::direction], state[::direction]
    length = min(tuning.SCAN_BLOCK, math.isqrt(len(h)))
    blocks = len(h) // length
    whole = blocks * length
    inside = (blocks, length, *before.shape)
    A, B, H = (v[:whole].reshape(inside).swapaxes(0, 1) for v in (a, b, h))
    product, part = np.empty(A.shape, state.dtype), np.empty(A.shape[1:], state.dtype)
    product[0] = A[0]
    for j in range(1, length):
        np.multiply(A[j], product[j - 1], out=product[j])
    sizes = np.abs(product)
    if not sizes.max(initial=0) <= tuning.MAX_SCAN_GROWTH:
        return False
    kept = state.copy() if np.may_share_memory(rest, state) else None
    np.copyto(H[0], B[0])
    for j in range(1, length):
        np.multiply(A[j], H[j - 1], out=part)
        np.add(part, B[j], out=H[j])
    carry = np.empty_like(part)
    carry[0] = before
    for i in range(1, blocks):
        np.multiply(product[-1, i - 1], carry[i - 1], out=carry[i, ...])
        np.add(carry[i], H[-1, i - 1], out=carry[i, ...])
    for j in range(length):
        np.multiply(product[j], carry, out=part)
        np.add(H[j], part, out=H[j])
    for i in range(whole, len(h)):
        np.multiply(a[i], h[i - 1], out=part[0, ...])
        np.add(part[0], b[i], out=h[i, ...])
    if np.isfinite(state).all() and not _lost(sizes, A, carry, H):
        return True
    if kept is not None:
        np.copyto(state, kept)
    return False


def _lost(sizes: Array, coefficient: Array, carry: Array, result: Array) -> bool:
    """True where a product that underflowed would have made a difference to a result.

    sizes  of the products of coefficients, which round to multiples of a smallest number where they are below normal
    """
    normal, start = np.finfo(result.dtype), np.abs(carry)
    if not (start > 1).any() or sizes.min() >= normal.tiny:
        return False
    small = np.minimum.accumulate(sizes, axis=0) < normal.tiny
    small &= ~np.logical_or.accumulate(coefficient == 0, axis=0)  # a product with a zero is zero
    return bool((small & (start > 1) & (np.abs(result) * normal.eps < normal.tiny * start)).any())


@record
class Recurrence:
    """A loop that may run as a scan over `steps` of one name.

    after  the statements of names that are read after the loop, to run over all steps once the scan has
    """

    state: Ref
    steps: Range
    direction: int
    coefficient: Form
    rest: Form
    after: tuple[Compute, ...]


def recurrence(program: Program, loop: Repeat) -> Recurrence | None:
    """The loop as a scan, where it has one state of one delay; None for any other."""
    made = affine(program, loop)
    if made is None:
        return None
    name = _state(program.system, loop, made)
    if name is None:
        return None
    value, body = made[name], [s for s in loop.body if isinstance(s, Compute)]
    mine = [s for s in body if s.equation.out.name == name]
    spans = [s.equation.range(loop.axis) for s in mine]
    if any(r != spans[0] for r in spans) or any(_moved(s, loop.axis) for s in body):
        return None
    kept = {n for n in made if program.buffers[n].axes}
    after = _in_order([s for s in body if s.equation.out.name in kept - {name}])
    if after is None:
        return None
    fed = _fed(mine, body, made.keys() - {name})
    for s in body:
        refs = [a.ref for a in s.args if isinstance(a, Access) and a.ref.name in made]
        if s in after and not kept.issuperset(ref.name for ref in refs):
            return None
        if (s not in after or s.equation.out.name in fed) and not _whole(program, s, refs, name):
            return None
    coefficient, rest = value.past[name, 1], ZERO if value.rest is None else value.rest
    there = {name} if mine[0].mode == "add" else set()
    if not (_writable(coefficient, made.keys()) and _writable(rest, made.keys() - there)):
        return None
    return Recurrence(mine[0].equation.out, spans[0], loop.direction, coefficient, rest, after)


def _state(system: System, loop: Repeat, made: Mapping[str, Affine]) -> str | None:
    """The one name that the loop carries from each step to the next, of few numbers; None where there is no such."""
    pasts = {past for value in made.values() for past in value.past}
    name, ago = next(iter(pasts))
    decl = system.decls[name]
    few = 0 < math.prod(decl.shape) <= tuning.MAX_SCAN_NUMBERS
    alone = len(pasts) == 1 and ago == 1 and decl.axes == (loop.axis,) and made[name].past.keys() == pasts
    return name if few and alone else None


def _writable(form: Form, computed: Set[str]) -> bool:
    """True for a form small enough to be written over all steps, of nothing that the loop computes."""
    if isinstance(form, FormNode) and form.size > tuning.MAX_SCAN_NODES:
        return False
    return all(n.op in TEXTS if isinstance(n, FormNode) else _name(n) not in computed for n in _all(form))


def _in_order(statements: Sequence[Compute]) -> tuple[Compute, ...] | None:
    """Statements in an order in which each, run over all steps at once, finds what it reads; None where there is none.

    In the loop a statement may come before the one whose result, of the step before, it reads.
    """
    names = [s.equation.out.name for s in statements]
    edges = []
    for n, s in enumerate(statements):
        read = {a.ref.name for a in s.args if isinstance(a, Access)}
        if names[n] in read:
            return None
        edges += [(m, n) for m, name in enumerate(names) if name in read or (name == names[n] and m < n)]
    if not edges:
        return tuple(statements)
    groups = components(range(len(statements)), edges)
    return None if any(len(g) > 1 for g in groups) else tuple(statements[n] for (n,) in groups)


def _fed(mine: Sequence[Compute], body: Sequence[Compute], names: Set[str]) -> set[str]:
    """The names out of which the state's own value is made."""
    found: set[str] = set()
    pending = list(mine)
    while pending:
        read = {a.ref.name for a in pending.pop().args if isinstance(a, Access)} & names - found
        found |= read
        pending += [s for s in body if s.equation.out.name in read]
    return found


def _moved(s: Compute, axis: Axis) -> bool:
    return bool(s.offset(axis) or s.equation.out.shift(axis))


def _whole(program: Program, reader: Compute, refs: Sequence[Ref], state: str) -> bool:
    """True if, of all but the state, one equation writes what is read."""
    for ref in refs:
        writers = program.system.writers[ref.name]
        if ref.name != state and not (len(writers) == 1 and within(program.system, reader.equation, ref, writers[0])):
            return False
    return True


def _name(argument: Argument) -> str:
    return argument.ref.name if isinstance(argument, Access) else ""


def _all(form: Form) -> Iterator[Form]:
    """A form, and all forms in it."""
    pending = [form]
    while pending:
        form = pending.pop()
        yield form
        pending.extend(form.args if isinstance(form, FormNode) else ())


def call(writer: SourceWriter, found: Recurrence) -> str | None:
    """The condition under which the loop need not run: many short steps, and a scan that succeeded.

    None where a vector is read that lies gate by gate, with the examples between.
    """
    decl = writer.system.decls[found.state.name]
    where = Where({}, (found.steps,), decl.batched, frozenset())
    at_once = replace(where, spans=())
    axis = found.steps.axis
    edge = found.steps.lo - 1 if found.direction > 0 else found.steps.hi + 1
    state = writer.view(Access(found.state), where)
    before = writer.view(Access(found.state.substitute({axis: edge})), at_once)
    read = [f for f in (*_all(found.coefficient), *_all(found.rest)) if not isinstance(f, FormNode)]
    if writer.units and any(GATES in x.lead for x in (state, *(writer.operand(f, where) for f in read))):
        return None
    texts = [_text(writer, form, where, len(decl.shape), axis) for form in (found.coefficient, found.rest)]
    numbers = " * ".join([COUNT] * decl.batched + [str(math.prod(decl.shape))])
    run = f"scan({state.text}, {before.text}, {', '.join(texts)}, {found.direction})"
    return f"{count(found.steps)} >= {tuning.MIN_SCAN_STEPS} and {numbers} <= {tuning.MAX_SCAN_NUMBERS} and {run}"


def _text(writer: SourceWriter, form: Form, where: Where, rank: int, axis: Axis, by: int = 0) -> str:
    """A form over all steps as source; it is no deeper than `tuning.MAX_SCAN_NODES`."""
    if isinstance(form, FormNode):
        return TEXTS[form.op].format(*(_text(writer, f, where, rank, axis, by + form.by) for f in form.args))
    if isinstance(form, Access):
        form = Access(form.ref.substitute({axis: running(axis, by)}), form.views)
    return writer.operand(form, where).aligned(where.lead, rank)
