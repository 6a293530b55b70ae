"""The tracer: a system under construction, to which each operation applied to an expression adds one equation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from typing import Any

from ..errors import AxisError, DTypeError, ShapeError, Source, TemplateError, here, message, placed
from ..ir.axes import Axis, Range, running, whole
from ..ir.declarations import numpys_own, unusable
from ..ir.details import Held, Pooled
from ..ir.generated_inputs import Automatic, Noise
from ..ir.names import PENDING, numbered, renamed, unused
from ..ir.rewrite import live
from ..ir.system import WHOLE, Const, Decl, Domain, Equation, Label, Operand, Ref, System, Truncation
from ..ops.core import BATCH, OPS, Op, Symbolic, acting_for
from ..ops.kinds import KIND_OF, Dtype, result_kind
from ..ops.shapes import broadcast, stretches
from .expression import Expr, axes_of
from .settle import batched, in_place, with_batch

Shape = tuple[int, ...]
UNASKED = ("temporary", "constant")
"""Kinds of names that are there for what reads them."""
ANEW = "To write it anew, run from Template(...) again."
"""What to do where something is written twice, and not by one cell of a notebook that is run again."""


class Builder:
    """A system under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.decls: dict[str, Decl] = {}
        self.equations: list[Equation] = []
        self.defined: dict[Ref, Source | None] = {}  # where the user defined each instance
        self.outputs: dict[str, Ref] = {}
        self.loss: str | None = None
        self.stop: str | None = None
        self.truncations: tuple[Truncation, ...] = ()
        self.axes: dict[str, Axis] = {}
        self.named: dict[str, Source | None] = {}  # where the user named each output
        self.opened: dict[str, Decl] = {}  # variables as they were declared, before an equation told their shape
        self.withdrawn: set[str] = set()  # declared in an earlier run of a cell that was run again
        self.places: dict[Ref | str, int] = {}  # the order in which names were declared, and instances defined, first
        self.revision = 0
        self._domain: Mapping[Axis, Range] = {}
        self._source: Source | None = None
        self._count = 0

    @classmethod
    def extend(cls, system: System) -> Builder:
        """A builder that starts from a finished system."""
        builder = cls(system.name)
        builder.decls = dict(system.decls)
        builder.equations = list(system.equations)
        builder.defined = {e.out: e.source for e in system.equations if not e.out.name.startswith(".")}
        builder.places.update((n, place) for place, n in enumerate(builder.decls))
        builder.places.update((ref, place) for place, ref in enumerate(builder.defined))
        builder.outputs = dict(system.outputs)
        builder.loss = system.loss
        builder.stop = system.stop
        builder.truncations = system.truncations
        builder.axes = {a.name: a for a in system.axes}
        return builder

    def copy(self) -> Builder:
        """One of its own, which begins as this one is."""
        made = Builder.extend(self.draft())
        made.defined, made._count, made.revision = dict(self.defined), self._count, self.revision
        made.named, made.opened, made.withdrawn = dict(self.named), dict(self.opened), set(self.withdrawn)
        made.places = dict(self.places)
        return made

    def draft(self) -> System:
        """What there is so far, unchecked."""
        axes, equations = tuple(self.axes.values()), tuple(self.equations)
        return System(
            self.name, axes, self.decls, equations, self.outputs, self.loss, self.stop, truncations=self.truncations
        )

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever something is added or replaced."""
        return len(self.equations), len(self.decls), len(self.outputs), self.revision

    @contextmanager
    def within(self, domain: Domain, source: Source | None) -> Iterator[None]:
        """New equations run over the ranges of `domain` and are reported at `source`."""
        saved = self._domain, self._source
        self._domain, self._source = {r.axis: r for r in domain}, source
        try:
            yield
        finally:
            self._domain, self._source = saved

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside goes again where an error is raised, as with any statement that is refused."""
        saved = {n: copy(v) for n, v in vars(self).items()}
        try:
            yield
        except BaseException:
            vars(self).update(saved, _count=self._count)  # no name of a temporary comes twice
            raise

    def know(self, axes: Sequence[Axis]) -> None:
        """Register axes; two of one name must be the same."""
        for axis in axes:
            if axis.name not in self.axes and axis.end in self.decls:
                raise TemplateError(
                    message(
                        f"the axis {axis.name} ends in {axis.end!r}, and that is the name of "
                        f"{self.decls[axis.end].kind} {axis.end}",
                        self.decls[axis.end].source,
                        here(),
                        fix=f"{axis.end}= gives its number of steps; choose another name.",
                    )
                )
            self.axes.setdefault(axis.name, axis)

    def declare(self, decl: Decl) -> Decl:
        """Add a name. Raises TemplateError where it is taken."""
        known = self.decls.get(decl.name)
        if known is not None and decl.name not in self.withdrawn:
            raise TemplateError(
                message(
                    f"the name {decl.name!r} is declared twice in template {self.name!r}",
                    (f"{known.kind} {known.name}", known.source),
                    (f"{decl.kind} {decl.name}", decl.source),
                    fix=f"Choose another name. {ANEW}",
                )
            )
        self.know(decl.axes)
        self.withdrawn.discard(decl.name)
        self.decls[decl.name] = decl
        self.places.setdefault(decl.name, len(self.places))
        return decl

    def fresh(self) -> str:
        """A name no user can choose, for a temporary."""
        self._count += 1
        while f".{self._count}" in self.decls:
            self._count += 1
        return f".{self._count}"

    def unused(self, wish: str) -> str:
        """A name that is free, for what is printed: the wish, or the wish with a number."""
        return unused(wish, self.decls)

    def read(self, ref: Ref) -> Expr:
        """The expression that reads one instance."""
        decl = self.decls[ref.name]
        return Expr(self, ref, decl.shape, decl.dtype, frozenset(ref.running))

    def constant(self, value: Any) -> Expr:
        """A number or an array as an expression."""
        if isinstance(value, (bool, int, float)):
            of_number: Dtype = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"
            return Expr(self, Const(value), (), of_number, frozenset())
        if numpys_own(value):
            if tuple(value.shape) == ():
                return self.constant(value.item())
            kind = KIND_OF.get(value.dtype.kind.replace("u", "i"))
            if kind:
                name, held, source = self.fresh(), Held(value.copy()), self._source or here()
                self.decls[name] = Decl(name, "constant", tuple(value.shape), kind, detail=held, source=source)
                return self.read(Ref(name))
        shown, fix = unusable(value)
        raise DTypeError(message(f"{shown} cannot stand in an equation", self._source or here(), fix=fix))

    def operand(self, value: object) -> Expr:
        """Anything a user may write in an expression, as an expression of this builder."""
        if not isinstance(value, Expr):
            value = value.as_expression() if hasattr(value, "as_expression") else value
        if not isinstance(value, Expr):
            return self.constant(value)
        if value._builder is not self:
            other = f"template {value._builder.name!r}"
            if value._builder.name == self.name:
                other = f"another template of the name {self.name!r}"
            raise TemplateError(
                message(
                    f"{value} belongs to {other}, and is used in template {self.name!r}",
                    here(),
                    fix="Build each template from its own inputs, params and variables.",
                )
            )
        known = self.decls.get(value.operand.name) if isinstance(value.operand, Ref) else None
        if isinstance(value.operand, Ref) and (
            known is None or (known.shape, known.dtype) != (value.shape, value.dtype)
        ):
            what = "an expression was made of what a cell of the notebook has since declared as something else"
            raise TemplateError(message(what, self._source or here(), fix="Run the cell that makes it again."))
        return value

    def guarded(self, make: Any) -> Any:
        """Run `make`, adding the user's line to an error about shapes or kinds."""
        try:
            return make()
        except (ShapeError, DTypeError) as error:
            if getattr(error, "placed", False):
                raise
            raise placed(type(error), message(str(error), self._source or here())) from None

    def apply(self, op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr:
        """Add ``temporary = op(args)`` and return it. Raises ShapeError, DTypeError, with names and place."""
        exprs = [self.operand(a) for a in args]
        weak = [isinstance(e.operand, Const) for e in exprs]
        try:
            kinds = [e.dtype for e in exprs]
            kind, casts = result_kind(op, kinds, weak)
            if casts != tuple(kinds):
                exprs = [self._as(e, want) for e, want in zip(exprs, casts, strict=True)]
            shape = op.family.shape([e.shape for e in exprs], attrs)
        except (ShapeError, DTypeError) as error:
            if getattr(error, "placed", False):
                raise
            what = f"{error}\n" + "\n".join(f"    {self._shown(e)}" for e in exprs)
            fix = "Look a label up with E[y[t]], make it a vector with ops.one_hot(y[t], n), or a number with ops.cast."
            labels = isinstance(error, DTypeError) and any(
                e.dtype == "int" and not isinstance(e.operand, Const) for e in exprs
            )
            raise placed(type(error), message(what, self._source or here(), fix=fix if labels else "")) from None
        for e in exprs if any(weak) else ():
            self.guarded(lambda e=e: self._fits(e))
        axes = exprs[0].axes.union(*[e.axes for e in exprs[1:]])
        self._check_operation(op, exprs, attrs, shape)
        return self._temporary(op.key, [e.operand for e in exprs], attrs, shape, kind, axes)

    def _check_operation(self, op: Op, exprs: Sequence[Expr], attrs: Mapping[str, Any], shape: Shape) -> None:
        """Raises TemplateError for what is no function of its operands, ShapeError for a body of another shape."""
        for key, value in attrs.items():
            try:
                hash(value)
            except TypeError:
                kind = type(value).__name__
                what = f"{op.name} is given {key}=, a {kind}, which can change and so cannot be compared"
                fix = "Give a number, a text or a tuple; an array is an operand."
                raise TemplateError(message(what, self._source or here(), fix=fix)) from None
        if op.body is None or op.compute is not None:
            return
        apart = Builder(self.name)  # applied there once, to see what it does
        apart.axes = dict(self.axes)
        args, made = [apart.stand_in(e) for e in exprs], shape
        with suppress(ShapeError, DTypeError), apart.within((), self._source or here()), acting_for(args[0]):
            made = apart.operand(op.body(*args, **attrs)).shape
        # whatever else is wrong with it is said in the names of this template
        if any(d.automatic for d in apart.decls.values()):
            what = f"the body of {op.name} draws random numbers, and two calls of an operation on the same are one"
            fix = f"Write a function that draws, @ops.composite, or pass the draw: {op.name}(..., ops.normal(...))."
            raise TemplateError(message(what, self._source or here(), fix=fix))
        if not stretches(made, shape):
            what = f"the body of {op.name} makes shape {made}, and its family {op.family.name} says {shape}"
            fix = "Give ops.define the family of the operation that the body ends with."
            raise placed(ShapeError, message(what, self._source or here(), fix=fix))

    def stand_in(self, expr: Expr) -> Expr:
        """An expression of another template as something given in this one, or the same number."""
        if isinstance(expr.operand, Const):
            return self.constant(expr.operand.value)
        order = tuple(a for a in self.axes.values() if a in expr.axes)
        decl = Decl(self.fresh(), "temporary", expr.shape, expr.dtype, order)
        self.decls[decl.name] = decl
        return self.read(Ref(decl.name, tuple(map(running, order))))

    def _shown(self, expr: Expr) -> str:
        text = str(expr)
        text = text if len(text) <= 60 else f"{text[:57]}..."
        return f"{text} has shape {expr.shape}" + ("" if expr.dtype == "float" else f", {expr.dtype}")

    def _as(self, expr: Expr, want: Dtype) -> Expr:
        if expr.dtype == want:
            return expr
        if isinstance(expr.operand, Const):
            try:
                value = {"float": float, "int": int, "bool": bool}[want](expr.operand.value)
            except OverflowError:
                raise DTypeError(f"the integer {_short(expr.operand.value)} is too large for a float") from None
            return Expr(self, Const(value), (), want, frozenset())
        if want == "float":
            return self.apply(OPS["cast"], [expr], {})
        raise DTypeError(f"{want} expected, got {expr.dtype}")

    def _fits(self, expr: Symbolic) -> None:
        """Raises DTypeError for an integer that no array of 64 bits holds."""
        if isinstance(expr.operand, Const) and expr.dtype == "int" and expr.operand.value not in WHOLE:
            raise DTypeError(f"the integer {_short(expr.operand.value)} does not fit into 64 bits")

    def _temporary(
        self, op: str, args: Sequence[Operand], attrs: Any, shape: Shape, kind: Dtype, axes: frozenset[Axis]
    ) -> Expr:
        order = tuple([a for a in self.axes.values() if a in axes])
        name, each, source = self.fresh(), batched(self.decls, args), self._source or here()
        out = Ref(name, tuple(map(running, order)))
        self.decls[name] = Decl(name, "temporary", shape, kind, order, each)
        domain = tuple([self._domain.get(a) or whole(a) for a in order])
        items = tuple(sorted(attrs.items()))
        self.equations.append(Equation(out, op, tuple(args), items, domain, each, source=source))
        return self.read(out)

    def over(self, combine: str, expr: Expr, over: object) -> Expr:
        """Sum or maximise over time axes, or over the BATCH. Raises AxisError where the expression lacks an axis."""
        pooled, axes = over is BATCH, () if over is BATCH else axes_of(over)
        for axis in axes:
            if axis not in expr.axes:
                raise AxisError(
                    message(
                        f"{combine} over {axis.name}: {expr} does not run along {axis.name}",
                        here(),
                        fix=f"Read something at {axis.name}, or leave the {combine} out.",
                    )
                )
        expr = self._as(expr, "float")
        kept = tuple(a for a in self.axes.values() if a in expr.axes and a not in axes)
        out = Ref(self.fresh(), tuple(running(a) for a in kept))
        each = not pooled and batched(self.decls, [expr.operand])
        detail = Pooled() if pooled else None
        self.decls[out.name] = Decl(out.name, "temporary", expr.shape, "float", kept, each, detail=detail)
        domain = tuple(self._domain.get(a) or whole(a) for a in self.axes.values() if a in expr.axes)
        args, source = (expr.operand,), self._source or here()
        self.equations.append(Equation(out, "copy", args, (), domain, each or pooled, combine, source))
        return self.read(out)

    def supplied(
        self, wish: str, detail: Automatic, shape: Shape, axes: Sequence[Axis], dtype: Dtype, each: bool
    ) -> Ref:
        """Declare an input that the net fills, with a value per example where `each`, under `wish` and a number.

        The user may still choose that name; so it is settled when the system is finished, as those of temporaries are.
        """
        axes = tuple(a for a in self.axes.values() if a in axes)
        if isinstance(detail, Noise) and not detail.stream:
            taken = {d.detail.stream for d in self.decls.values() if isinstance(d.detail, Noise)}
            detail = replace(detail, stream=numbered(wish, taken))
        name, source = numbered(f"{PENDING}{wish}", self.decls), self._source or here()
        self.declare(Decl(name, "input", shape, dtype, axes, each, detail=detail, source=source))
        return Ref(name, tuple(map(running, axes)))

    def noise(self, detail: Noise, operands: Sequence[Any], over: object) -> Expr:
        """Numbers drawn for every element of what the operands broadcast to. Raises AxisError, ShapeError."""
        exprs = [self.operand(a) for a in operands]
        shape = self.guarded(lambda: broadcast([e.shape for e in exprs]))
        axes = frozenset[Axis]().union(*(e.axes for e in exprs))
        if over is ... and not axes:
            raise AxisError(
                message(
                    f"nothing that this draws from runs along a time axis: {', '.join(map(str, exprs))}",
                    here(),
                    fix="Give over=t to draw at every step, or over=None to draw once for each example.",
                )
            )
        axes = axes if over is ... else frozenset(axes_of(over) if over is not None else ())
        self.know(sorted(axes, key=lambda a: a.name))
        return self.read(self.supplied("noise", detail, shape, tuple(axes), "float", True))

    def label(self, expr: Symbolic, name: str, args: Sequence[Any], attrs: Mapping[str, Any]) -> None:
        """Print the operation that made `expr` as ``name(*args, **attrs)``."""
        made = [self.operand(a).operand if isinstance(a, Symbolic) or hasattr(a, "ndim") else a for a in args]
        named = [(k, self.operand(v).operand if isinstance(v, Symbolic) else v) for k, v in attrs.items()]
        for position in range(len(self.equations) - 1, -1, -1):
            e = self.equations[position]
            if isinstance(expr.operand, Ref) and e.out == expr.operand:
                own = e.op != name or any(self.decls[r.name].automatic for r in e.refs)  # not printed by itself
                if own and expr.operand not in made and not e.summed and e.combine == "sum":
                    self.equations[position] = replace(e, label=Label(name, tuple(made), tuple(named)))
                return

    def add(self, out: Ref, value: Symbolic, domain: Domain, batched: bool, source: Source | None) -> None:
        """Add the equation ``out += value``."""
        self.guarded(lambda: self._fits(value))
        self.equations.append(Equation(out, "copy", (value.operand,), (), domain, batched, "sum", source))
        self.defined.setdefault(out, source)
        self.places.setdefault(out, len(self.places))

    def freeze(self) -> System:
        """The finished system: batch and axes settled, unused temporaries left out, the others renamed.

        A temporary is called after the variable that it serves: ``h.1``, ``h.2``.
        """
        self.equations = with_batch(self.decls, self.equations)
        if self.revision:
            self.decls, self.equations = in_place(self.decls, self.equations, self.places)
        system, keep = self.draft(), self.present()
        equations = [e for e in self.equations if e.out.name in keep]
        system = replace(system, equations=tuple(equations), decls={n: self.decls[n] for n in self.decls if n in keep})
        return renamed(system)

    def present(self) -> set[str]:
        """The names that are in use: without temporaries that nothing reads, and without what was withdrawn."""
        held = {ref.name for ref in (*self.defined, *self.outputs.values())}
        roots = [n for n, d in self.decls.items() if d.kind not in UNASKED and (n in held or n not in self.withdrawn)]
        return live(self.draft(), roots)


def _short(number: object) -> str:
    text = hex(number) if isinstance(number, int) and number.bit_length() > 200 else str(number)  # str() has a limit
    return text if len(text) <= 40 else f"{text[:37]}..."
