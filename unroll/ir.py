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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .automatic import Automatic
from .errors import Source
from .ops.core import OPS, Op
from .timeindex import Axis, Index, Range, whole

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decl:
    """A name and what it stands for.

    kind     "input", "param", "constant", "variable", "temporary" or "cotangent"
    shape    per example and step
    dtype    "float", "int" or "bool"
    axes     the time axes it has instances along, in the order of its brackets
    batched  one value per example, or one for all
    of       of a cotangent: the name it is the derivative by; of a temporary: the variable it serves
    detail   of a param its initialiser, of a constant its array, of an input what fills or bounds it
    """

    name: str
    kind: str
    shape: Shape
    dtype: str = "float"
    axes: tuple[Axis, ...] = ()
    batched: bool = False
    of: str | None = None
    detail: Any = field(default=None, compare=False)
    source: Source | None = field(default=None, compare=False)

    @property
    def given(self) -> bool:
        """True for what the user hands over when running: no equation defines its steps 1..T."""
        return self.kind in ("input", "param", "constant")

    @property
    def automatic(self) -> bool:
        """True for an input that the net fills by itself."""
        return self.kind == "input" and isinstance(self.detail, Automatic)


def visible(name: str) -> str:
    """The name on one line: what cannot be seen is escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


@dataclass(frozen=True, slots=True)
class Ref:
    """One instance of a name, or a running one: ``h[t-1]``, ``h[T]``, ``W``."""

    name: str
    index: tuple[Index, ...] = ()

    def __str__(self) -> str:
        name = visible(self.name)
        return f"{name}[{', '.join(map(str, self.index))}]" if self.index else name

    def substitute(self, steps: Mapping[Axis, Index]) -> Ref:
        """The ref with running steps replaced."""
        return Ref(self.name, tuple(i.substitute(steps) for i in self.index)) if steps else self

    @property
    def running(self) -> tuple[Axis, ...]:
        """The axes it runs along."""
        return tuple(i.axis for i in self.index if i.axis is not None and i.runs)

    def shift(self, axis: Axis) -> int | None:
        """K of ``axis+k``, or None where the ref does not run along the axis."""
        for i in self.index:
            if i.axis == axis and i.runs:
                return i.shift
        return None


@dataclass(frozen=True, slots=True)
class Const:
    """A number written in an equation."""

    value: float | int | bool

    def __str__(self) -> str:
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True, slots=True)
class Extent:
    """The number of steps of an axis, as a number."""

    axis: Axis

    def __str__(self) -> str:
        return self.axis.end


Operand = Ref | Const | Extent
Domain = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

    @property
    def operation(self) -> Op:
        """The record of its operation."""
        return OPS[self.op]

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The operands that are read."""
        return tuple(a for a in self.args if isinstance(a, Ref))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the domain."""
        return tuple(r.axis for r in self.domain)

    @property
    def summed(self) -> tuple[Axis, ...]:
        """The axes of the domain that the left-hand side does not run along."""
        kept = self.out.running
        return tuple(a for a in self.axes if a not in kept)

    def range(self, axis: Axis) -> Range:
        """The steps of one axis of the domain."""
        return next(r for r in self.domain if r.axis == axis)

    def written(self, position: int) -> tuple[Index, Index]:
        """First and last step written along one bracket of the left-hand side."""
        index = self.out.index[position]
        if not index.runs or index.axis is None:
            return index, index
        r = self.range(index.axis)
        return r.lo + index.shift, r.hi + index.shift


@dataclass(frozen=True)
class System:
    """A template: declarations, equations, what is asked of it. Frozen; every transform makes a new one.

    outputs  name -> the ref whose values `run` returns under that name
    loss     the name of the loss, one number per example, or None
    stop     the name of what says that a step is the last one of an example, or None
    """

    name: str
    axes: tuple[Axis, ...]
    decls: Mapping[str, Decl]
    equations: tuple[Equation, ...]
    outputs: Mapping[str, Ref] = field(default_factory=dict)
    loss: str | None = None
    stop: str | None = None

    @cached_property
    def writers(self) -> Mapping[str, list[Equation]]:
        """The equations that define each name."""
        result: dict[str, list[Equation]] = {name: [] for name in self.decls}
        for equation in self.equations:
            result[equation.out.name].append(equation)
        return result

    def reads(self, equation: Equation, ref: Ref) -> tuple[tuple[Index, Index], ...]:
        """First and last step that an equation reads along each bracket of one of its refs.

        A ref that only its label mentions may run along an axis that was summed over before: that axis counts whole.
        """
        ranges = {r.axis: r for r in equation.domain}
        ends = []
        for index in ref.index:
            if index.runs and index.axis is not None:
                r = ranges.get(index.axis) or whole(index.axis)
                ends.append((r.lo + index.shift, r.hi + index.shift))
            else:
                ends.append((index, index))
        return tuple(ends)

    def with_equations(self, equations: Iterable[Equation]) -> System:
        """The system with other equations, and without the temporaries that none of them mentions."""
        equations = tuple(equations)
        named = {e.out.name for e in equations} | {r.name for e in equations for r in e.refs}
        decls = {n: d for n, d in self.decls.items() if d.kind not in ("temporary", "cotangent") or n in named}
        return replace(self, decls=decls, equations=equations)

    def exclusive(self, equation: Equation) -> bool:
        """True if the left-hand side equals the operation's result at each point: nothing else adds to it there."""
        decl = self.decls[equation.out.name]
        if equation.summed or (equation.batched and not decl.batched):
            return False
        return all(e is equation or not _overlap(e, equation) for e in self.writers[decl.name])


def _overlap(a: Equation, b: Equation) -> bool:
    """False only if the two write different steps for every length."""
    for position in range(len(a.out.index)):
        (alo, ahi), (blo, bhi) = a.written(position), b.written(position)
        if (ahi + 1).never_after(blo) or (bhi + 1).never_after(alo):
            return False
    return True
