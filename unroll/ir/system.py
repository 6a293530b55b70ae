"""The one form in which a template is kept: a system of recurrence equations.

    system   = declaration* equation*
    equation = ref ("+=" | "max=") op(operand*, attributes) for domain
    operand  = ref | number | extent        extent = the number of steps of an axis
    ref      = name[index*]                 index  = t+k | T+k | k
    domain   = {axis: lo..hi} and perhaps the batch;  lo, hi = k | T+k;  empty means once

"At every point of the domain evaluate op and add it to (or take the maximum with) ref." An axis of the domain that
the ref on the left does not run along is summed over, and the batch is such an axis; so a loss, a weight's gradient, a
boundary and a final state are all equations of this form (Karp, Miller and Winograd 1967). The maximum over a time
axis is an accumulation too, which is why no operation ever needs to see a whole axis at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import Source, UndefinedError
from ..ops.core import OPS, REDEFINED, Op, called
from ..ops.kinds import Dtype
from ..records import lazy, record
from ..types import Array
from .axes import Axis, Index, Range, apart, running, whole
from .details import Detail, Held, Kind
from .generated_inputs import Automatic

Shape = tuple[int, ...]


@record
class Decl:
    """A name and what it stands for.

    shape    per example and step
    axes     the time axes it has instances along, in the order of its brackets
    batched  one value per example, or one for all
    of       of a cotangent: the name it is the derivative by; of a temporary: the variable it serves; of an input that
             sets an instance from outside: the variable
    detail   what else is known of a name of its kind, see `unroll.ir.details`
    """

    name: str
    kind: Kind
    shape: Shape
    dtype: Dtype = "float"
    axes: tuple[Axis, ...] = ()
    batched: bool = False
    of: str | None = None
    detail: Detail = field(default=None, compare=False)
    source: Source | None = field(default=None, compare=False)

    def called(self, name: str, of: str | None) -> Decl:
        """The same by another name."""
        return Decl(name, self.kind, self.shape, self.dtype, self.axes, self.batched, of, self.detail, self.source)

    def with_batch(self) -> Decl:
        """The same with one value per example."""
        d = self
        return Decl(d.name, d.kind, d.shape, d.dtype, d.axes, True, d.of, d.detail, d.source)

    @property
    def given(self) -> bool:
        """True for what the user passes when running: no equation defines its steps 1..T."""
        return self.kind in ("input", "param", "constant")

    @property
    def automatic(self) -> bool:
        """True for an input that the net fills by itself."""
        return self.kind == "input" and isinstance(self.detail, Automatic)

    @property
    def array(self) -> Array:
        """That of a constant."""
        assert isinstance(self.detail, Held), f"{self.name} is no constant"
        return self.detail.array


def _stored(self: Any) -> dict[str, Any]:
    """The fields alone, without what was worked out from them: what is pickled and copied."""
    return {f.name: getattr(self, f.name) for f in fields(self)}


def visible(name: str) -> str:
    """The name on one line: what cannot be seen is escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


@record
class Ref:
    """One instance of a name, or a running one: ``h[t-1]``, ``h[T]``, ``W``."""

    name: str
    index: tuple[Index, ...] = ()

    __getstate__ = _stored

    def __str__(self) -> str:
        name = visible(self.name)
        return f"{name}[{', '.join(map(str, self.index))}]" if self.index else name

    def substitute(self, steps: Mapping[Axis, Index]) -> Ref:
        """The ref with running steps replaced."""
        return Ref(self.name, tuple([i.substitute(steps) for i in self.index])) if steps and self.index else self

    @lazy
    def running(self) -> tuple[Axis, ...]:
        """The axes it runs along."""
        return tuple([i.axis for i in self.index if i.axis is not None and i.runs])

    def shift(self, axis: Axis) -> int | None:
        """K of ``axis+k``, or None where the ref does not run along the axis."""
        for i in self.index:
            if i.axis == axis and i.runs:
                return i.shift
        return None


def exact(value: object) -> Hashable:
    """A key for numbers and tuples of such, by which 1, 1.0 and True differ, and 0.0 from -0.0; a nan equals itself."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    if isinstance(value, float):
        return float, value.hex()
    return (type(value), value) if isinstance(value, int) else value


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A number written in an equation; equal to another of the same kind and bits alone."""

    value: float | int | bool

    def __post_init__(self) -> None:
        if type(self.value) not in (float, int, bool):  # a scalar of NumPy's
            object.__setattr__(self, "value", self.value.item())  # type: ignore[union-attr]

    def __eq__(self, other: object) -> bool:
        return exact(self.value) == exact(other.value) if isinstance(other, Const) else NotImplemented

    def __hash__(self) -> int:
        return hash(exact(self.value))

    def __str__(self) -> str:
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


@record
class Extent:
    """The number of steps of an axis, as a number."""

    axis: Axis

    def __str__(self) -> str:
        return self.axis.end


WHOLE = range(-(2**63), 2**63)
"""Integers: beyond, arrays wrap around, and Python does not."""

Operand = Ref | Const | Extent
Domain = tuple[Range, ...]


@record
class Label:
    """What the user called an expression made of several operations: ``softmax(a[t, s], over=s)``. For printing."""

    name: str
    args: tuple[Any, ...]
    attrs: tuple[tuple[str, Any], ...] = ()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The refs it prints."""
        return tuple(a for a in (*self.args, *(v for _, v in self.attrs)) if isinstance(a, Ref))

    def map(self, change: Callable[[Ref], Any]) -> Label:
        """The label with each ref replaced."""
        args = tuple(change(a) if isinstance(a, Ref) else a for a in self.args)
        return Label(self.name, args, tuple((k, change(v) if isinstance(v, Ref) else v) for k, v in self.attrs))


@record
class Equation:
    """``out += op(*args)`` at every point of `domain`, for every example where `batched`."""

    out: Ref
    op: str
    args: tuple[Operand, ...]
    attrs: tuple[tuple[str, Any], ...] = ()
    domain: Domain = ()
    batched: bool = False
    combine: str = "sum"
    source: Source | None = field(default=None, compare=False)
    label: Label | None = field(default=None, compare=False)

    __getstate__ = _stored

    def with_batch(self) -> Equation:
        """The same for every example."""
        e = self
        return Equation(e.out, e.op, e.args, e.attrs, e.domain, True, e.combine, e.source, e.label)

    @property
    def operation(self) -> Op:
        """The record of its operation."""
        return called(self.op)

    @lazy
    def attributes(self) -> Hashable:
        """The attributes as a key, by which numbers of other kinds or signs differ."""
        return exact(self.attrs)

    @lazy
    def refs(self) -> tuple[Ref, ...]:
        """The operands that are read."""
        return tuple([a for a in self.args if isinstance(a, Ref)])

    @lazy
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the domain."""
        return tuple([r.axis for r in self.domain])

    @lazy
    def summed(self) -> tuple[Axis, ...]:
        """The axes of the domain that the left-hand side does not run along."""
        kept = self.out.running
        return tuple([r.axis for r in self.domain if r.axis not in kept])

    @lazy
    def ranges(self) -> Mapping[Axis, Range]:
        """The domain by axis."""
        return {r.axis: r for r in self.domain}

    def range(self, axis: Axis) -> Range:
        """The steps of one axis of the domain."""
        return self.ranges[axis]

    def written(self, position: int) -> tuple[Index, Index]:
        """First and last step written along one bracket of the left-hand side."""
        return self.writes[position]

    @lazy
    def writes(self) -> tuple[tuple[Index, Index], ...]:
        """First and last step written along each bracket of the left-hand side."""
        return tuple([self.ranges[i.axis].ends(i.shift) if i.axis and i.runs else (i, i) for i in self.out.index])


@dataclass(frozen=True, slots=True)
class Truncation:
    """How far cotangents reach along an axis: to the end of a chunk of `steps` steps, or through delays of `steps`."""

    axis: Axis
    steps: int
    sliding: bool = False

    def __str__(self) -> str:
        return f"truncated: {'a window' if self.sliding else 'chunks'} of {self.steps} along {self.axis.name}"


@dataclass(frozen=True, repr=False)
class System:
    """A template: declarations, equations, what is asked of it. Frozen; every transform makes a new one.

    outputs  what a result is called, mostly a name -> the ref whose values it holds
    loss     the name of the loss, one number per example, or None
    stop     the name of what says that a step is the last one of an example, or None

    truncations  how far cotangents reach, by which the adjoint goes; no value depends on them
    """

    name: str
    axes: tuple[Axis, ...]
    decls: Mapping[str, Decl]
    equations: tuple[Equation, ...]
    outputs: Mapping[Any, Ref] = field(default_factory=dict)
    loss: str | None = None
    stop: str | None = None
    truncations: tuple[Truncation, ...] = ()

    def __repr__(self) -> str:
        return f"<System {visible(self.name)}: {len(self.decls)} names, {len(self.equations)} equations>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Its fields alone, without what was worked out from them."""
        return _system, tuple(getattr(self, f.name) for f in fields(self))

    @lazy
    def writers(self) -> Mapping[str, Sequence[Equation]]:
        """The equations that define each name."""
        found: dict[str, list[Equation]] = {}
        for equation in self.equations:
            found.setdefault(equation.out.name, []).append(equation)
        return {**dict.fromkeys(self.decls, ()), **found}

    @lazy
    def readers(self) -> Mapping[str, list[Equation]]:
        """The equations that read each name, each once."""
        result: dict[str, list[Equation]] = {}
        for equation in self.equations:
            for name in dict.fromkeys(ref.name for ref in equation.refs):
                result.setdefault(name, []).append(equation)
        return result

    @lazy
    def reach(self) -> Mapping[Axis, int]:
        """By axis, the largest k for which anything has a step ``T+k``: no fixed step that exists lies further."""
        result: dict[Axis, int] = {}
        for e in self.equations:
            for position, axis in enumerate(self.decls[e.out.name].axes):
                _, hi = e.written(position)
                if hi.anchor:
                    result[axis] = max(result.get(axis, hi.shift), hi.shift)
        return result

    def reads(self, equation: Equation, ref: Ref) -> tuple[tuple[Index, Index], ...]:
        """First and last step that an equation reads along each bracket of one of its refs.

        A ref that only its label mentions may run along an axis that was summed over before: that axis counts whole.
        """
        own = equation.ranges
        return tuple(
            [(own.get(i.axis) or whole(i.axis)).ends(i.shift) if i.axis and i.runs else (i, i) for i in ref.index]
        )

    def step_of(self, equation: Equation, axis: Axis) -> Index | None:
        """The step along an axis at which an equation stands; None for what is computed once for all steps."""
        if axis in equation.axes:
            return running(axis)
        axes = self.decls[equation.out.name].axes
        return equation.out.index[axes.index(axis)] if axis in axes else None

    def elsewhere(self, equation: Equation, ref: Ref, axis: Axis) -> Index | None:
        """The step along an axis that an equation reads of what is computed, where that is another than its own."""
        decl = self.decls[ref.name]
        if decl.given or decl.dtype != "float" or axis not in decl.axes:
            return None
        index = ref.index[decl.axes.index(axis)]
        return None if self.step_of(equation, axis) in (None, index) else index

    def truncates(self, equation: Equation, ref: Ref) -> Truncation | None:
        """A truncation that a read meets, if there is one; through windows only delays count."""
        met = ((t, self.elsewhere(equation, ref, t.axis)) for t in self.truncations)
        return next((t for t, index in met if index is not None and (index.runs or not t.sliding)), None)

    def form(self, equation: Equation) -> Hashable:
        """All that an equation computes and where it puts it, but for the name: equations of one form are the same.

        The kind of the left-hand side is a part: what nothing writes of a cotangent is zero, of a temporary undefined.
        """
        e, decl = equation, self.decls[equation.out.name]
        left = decl.kind, decl.shape, decl.dtype, decl.axes, decl.batched
        return e.op, e.args, e.attributes, e.domain, e.batched, e.combine, e.out.index, left

    def exclusive(self, equation: Equation) -> bool:
        """True if the left-hand side equals the operation's result at each point: nothing else adds to it there."""
        known = self._exclusive.get(id(equation))
        return self._alone(equation) if known is None else known

    @lazy
    def _exclusive(self) -> Mapping[int, bool]:
        """That of the system's own equations, by their identity: they live as long as it does."""
        return {id(e): self._alone(e) for e in self.equations}

    def sole(self, name: str) -> Equation | None:
        """The one equation of a name, where that holds at each point by itself, neither summed nor added to."""
        writers, decl = self.writers[name], self.decls[name]
        if len(writers) != 1 or decl.given or writers[0].combine != "sum":
            return None
        (e,) = writers
        alone = not e.summed and (decl.batched or not e.batched)
        return e if alone and all(i.runs and not i.shift for i in e.out.index) else None

    def _alone(self, equation: Equation) -> bool:
        decl = self.decls[equation.out.name]
        if equation.summed or (equation.batched and not decl.batched):
            return False  # else: written at other steps, for every length
        return all(e is equation or any(map(apart, e.writes, equation.writes)) for e in self.writers[decl.name])


def _system(*values: Any) -> System:
    """A system that comes from elsewhere. Raises UndefinedError for an operation that is not defined here."""
    made = System(*values)
    check_known(made.name, made.equations)
    return made


def check_known(name: str, equations: Iterable[Equation]) -> None:
    """Raises UndefinedError for an operation that is not defined in this process."""
    for op in dict.fromkeys(e.op for e in equations):
        if op not in OPS and op not in REDEFINED:
            raise UndefinedError(
                f"template {name!r} uses the operation {op!r}, which is not defined here: import the module that "
                "calls ops.define first"
            )
