"""Linear recurrences: loops whose step is affine in the loop's own past, element by element.

A leaky integrator, a moving average, a diagonal state space, a gate that does not read the state, and the adjoint of
each: ``h[t] = a[t] * h[t-1] + b[t]``. Steps of that kind compose (Blelloch 1990), so that blocks of them can run side
by side; the result is that of the loop within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

from ..ir.coverage import within
from ..ir.system import Const, Ref
from ..records import record
from .program import Program
from .statements import Access, Argument, Compute, Fuse, Repeat, access_shape


@record
class FormNode:
    """``op`` of forms; "later" is its operand `by` steps later. `size` counts it and all below it."""

    op: str
    args: tuple[Form, ...]
    size: int
    by: int = 0


Form = Argument | FormNode
"""What a coefficient is made of, without computing it."""
Past = tuple[str, int]
"""A name that the loop writes, and how many of the loop's steps ago."""
ONE, ZERO = Const(1), Const(0)
AFFINE = {"copy", "stop_gradient", "neg", "add", "sub", "mul", "div", "where"}
"""Operations that are affine in an operand, the others given: see `_combined`."""


@record
class Affine:
    """A value as the sum of its `past`, each times its coefficient, and `rest`; None is zero."""

    past: Mapping[Past, Form]
    rest: Form | None


def affine(program: Program, loop: Repeat) -> dict[str, Affine] | None:
    """What each name that the loop writes is made of; None unless all of them are affine, element by element."""
    if not loop.through or any(isinstance(s, Repeat) for s in loop.body):
        return None
    reader = _Reader(program, loop)
    if reader.bends():
        return None
    reader.note()
    for step in reader.body:
        name = step.equation.out.name
        found = reader.affine(step)
        if found is None:
            return None
        reader.known[name] = found
    return reader.known if any(a.past for a in reader.known.values()) else None


class _Reader:
    """The statements of one loop, in order."""

    def __init__(self, program: Program, loop: Repeat) -> None:
        self.system, self.axis, self.direction = program.system, loop.axis, loop.direction
        self.body: list[Compute] = []
        for step in loop.body:
            self.body += [step] if isinstance(step, Compute) else step.body if isinstance(step, Fuse) else ()
        self.by: dict[str, list[Compute]] = {}
        for s in self.body:
            self.by.setdefault(s.equation.out.name, []).append(s)
        self.storage, self.hosts = program.storage, {program.storage(name)[0] for name in self.by}
        self.known: dict[str, Affine] = {}
        self.here: dict[str, Affine] = {}  # made of values at the same point, with no past of its own

    def bends(self) -> bool:
        """True where something is made of the past by an operation that is affine in no operand: most loops."""
        past: set[str] = set()
        written: set[str] = set()
        for s in self.body:
            name = s.equation.out.name
            if any(a.ref.name in past or a.ref.name not in written for a in s.args if self._own(a)):
                if s.equation.op not in AFFINE:
                    return True
                past.add(name)
            elif s.mode == "set":
                past.discard(name)
            written.add(name)
        return False

    def note(self) -> None:
        """Enter into `here` the statements that are that."""
        for s in self.body:
            name = s.equation.out.name
            own = [a for a in s.args if self._own(a)]
            alone = len(self.by[name]) == len(self.system.writers[name]) == 1 and s.mode == "set"
            if not alone or not own or any(a.views or self._ago(s, a.ref) != 0 for a in own):
                continue
            made = self._made(s, [self._same(a) for a in s.args])
            if made is not None:
                self.here[name] = made

    def affine(self, s: Compute) -> Affine | None:
        """The value of a statement's left-hand side once it has run."""
        name = s.equation.out.name
        made = self._made(s, [self._read(s, a) for a in s.args])
        if made is None or s.mode != "add":
            return made
        before = self.known.get(name, Affine({}, Access(s.equation.out)))
        return _combined("add", [before, made])

    def _made(self, s: Compute, args: Sequence[Affine | None]) -> Affine | None:
        """The operation of its arguments; None where that is not affine, or mixes elements."""
        e, decl = s.equation, self.system.decls[s.equation.out.name]
        known = [a for a in args if a is not None]
        if len(known) < len(args):
            return None
        past = any(a.past for a in known)
        if not past and s.mode == "set":
            return Affine({}, Access(e.out))
        if e.combine != "sum" or e.summed or e.batched != decl.batched or decl.dtype != "float":
            return None
        for arg, value in zip(s.args, known, strict=True):
            if value.past and isinstance(arg, Access):
                alike = access_shape(self.system, arg) == decl.shape
                if not alike or self.system.decls[arg.ref.name].batched != decl.batched:
                    return None
        return _combined(e.op, known) if past else Affine({}, _node(e.op, *(a.rest or ZERO for a in known)))

    def _same(self, arg: Argument) -> Affine:
        """An operand at the same point."""
        if not self._own(arg):
            return _given(arg)
        return self.here.get(arg.ref.name, Affine({(arg.ref.name, 0): ONE}, None))

    def _read(self, s: Compute, arg: Argument) -> Affine | None:
        """An operand in terms of the past."""
        if not self._own(arg):
            return _given(arg)
        name, ago = arg.ref.name, self._ago(s, arg.ref)
        if arg.views or ago is None or ago < 0:
            return None
        if not ago:
            return self.known.get(name)
        if name in self.here and within(self.system, s.equation, arg.ref, self.by[name][0].equation):
            value, by = self.here[name], -self.direction * ago
            past = {(n, ago): _later(form, by) for (n, _), form in value.past.items()}
            return Affine(past, None if value.rest is None else _later(value.rest, by))
        return Affine({(name, ago): ONE}, None)

    def _own(self, arg: Argument) -> TypeGuard[Access]:
        """True for what the loop writes, be it as parts that lie side by side."""
        return isinstance(arg, Access) and self.storage(arg.ref.name)[0] in self.hosts

    def _ago(self, s: Compute, ref: Ref) -> int | None:
        """How many of the loop's steps before `s` what it reads was written; None where no one number tells."""
        read, found = ref.shift(self.axis), set()
        for w in self.by.get(ref.name, ()):
            out = w.equation.out
            wrote = out.shift(self.axis)
            if wrote is None or read is None:
                return None
            pairs = zip(out.index, ref.index, strict=True)
            if any(i != j for i, j in pairs if not i.axis == j.axis == self.axis):
                return None
            found.add(self.direction * (wrote + w.offset(self.axis) - read - s.offset(self.axis)))
        return found.pop() if len(found) == 1 else None


def _given(argument: Argument) -> Affine:
    return Affine({}, None if isinstance(argument, Const) and not argument.value else argument)


def _node(op: str, *args: Form, by: int = 0) -> FormNode:
    return FormNode(op, args, 1 + sum(a.size if isinstance(a, FormNode) else 1 for a in args), by)


def _later(form: Form, by: int) -> Form:
    return form if form is ONE else _node("later", form, by=by)


def _combined(op: str, args: Sequence[Affine]) -> Affine | None:
    """The operation of affine values, at least one of which has a past; None where the result is not affine."""
    if op in ("copy", "stop_gradient"):
        return args[0]
    if op == "neg":
        return _each(args[0], lambda form: _node("neg", form))
    if op in ("add", "sub"):
        left, right = args
        return _joined(left, right, lambda a, b: _added(op, a, b))
    if op in ("mul", "div"):
        left, right = args
        if right.past and (left.past or op == "div"):
            return None
        value, factor = (left, right.rest or ZERO) if left.past else (right, left.rest or ZERO)
        return _each(value, lambda form: factor if form is ONE and op == "mul" else _node(op, form, factor))
    if op == "where" and not args[0].past:
        chosen = args[0].rest or ZERO
        return _joined(args[1], args[2], lambda a, b: _node("where", chosen, a or ZERO, b or ZERO))
    return None


def _each(value: Affine, change: Callable[[Form], Form]) -> Affine:
    past = {key: change(form) for key, form in value.past.items()}
    return Affine(past, None if value.rest is None else change(value.rest))


def _joined(left: Affine, right: Affine, join: Callable[[Form | None, Form | None], Form]) -> Affine:
    past = {key: join(left.past.get(key), right.past.get(key)) for key in {**left.past, **right.past}}
    return Affine(past, None if left.rest is None is right.rest else join(left.rest, right.rest))


def _added(op: str, a: Form | None, b: Form | None) -> Form:
    """A sum or difference; one of the two at most is zero."""
    if a is None:
        return _node("neg", b or ZERO) if op == "sub" else b or ZERO
    return a if b is None else _node(op, a, b)
