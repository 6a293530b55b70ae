"""Reverse-mode differentiation: back-propagation through time (BPTT) as a transform from system to system.

For ``out += op(args)`` on a domain, the cotangent of each operand gets ``arg~ += rule(out~, out, args)`` on the same
domain; rewriting ``h~[t-1] += ...[t]`` as ``h~[t] += ...[t+1]`` turns every delay into an advance. The result is an
ordinary system, which may be printed, drawn, scheduled and differentiated again. A cotangent never written is zero.

Law: for every direction v, <jvp(f)(v), u> equals <v, adjoint(f)(u)>.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import DifferentiationError, ShapeError, UndefinedError, code, message
from ..ir.axes import Axis, Index, running, whole
from ..ir.details import Kind
from ..ir.names import is_hidden, renamed
from ..ir.system import Const, Decl, Equation, Operand, Ref, System
from ..language.builder import Builder
from ..language.expression import Expr
from ..ops import core, shape_ops
from ..ops.core import Symbolic, acting_for
from ..ops.pointwise import equal, where
from ..ops.random import DISCRETE
from ..ops.shapes import elementwise, stretches
from ..printing.plain import EquationWriter
from .simplify import simplify
from .truncation import as_equations
from .verify import check_pass

SEED = 1.0


def suffix(system: System) -> str:
    """The mark of the cotangents of the next adjoint: ``~`` for the first, ``~2`` for the adjoint of that."""
    level = 1 + max((_level(n) for n, d in system.decls.items() if d.kind == "cotangent"), default=0)
    return "~" if level == 1 else f"~{level}"


def _level(name: str) -> int:
    mark = name.rpartition("~")[2]
    return int(mark) if mark.isdecimal() else 1


def adjoint(system: System, wrt: Sequence[str], seeds: Mapping[str, str] | None = None) -> System:
    """The system with the cotangent equations added, and ``W~`` among its outputs for each W in `wrt`.

    seeds  name -> name of an input that is its cotangent; by default the loss has the cotangent 1 per example

    Raises UndefinedError for an unknown name, DifferentiationError where a derivative is asked for that is none.
    """
    mark = suffix(system)
    if seeds is None:
        if system.loss is None:
            raise UndefinedError(f"template {system.name!r} has no loss to differentiate; set g.loss = ...")
        seeds = {system.loss: ""}
    for name in (*wrt, *seeds):
        if name not in system.decls:
            raise UndefinedError(f"there is no {name!r} in template {system.name!r} to differentiate by")
        if system.decls[name].dtype != "float":
            raise DifferentiationError(f"{name} is {system.decls[name].dtype}; only floats have derivatives")
    asked = ", ".join(seeds)
    system, copies = as_equations(system)
    builder = Builder.extend(system)
    parts = {name: copies.get(name, (name,)) for name in (*wrt, *seeds)}
    seeds = {parts[name][-1]: given for name, given in seeds.items()}
    active = _active(system, [part for name in wrt for part in parts[name]], seeds)
    _not_by_draws_alone(system, [name for name in wrt if active.isdisjoint(parts[name])], seeds, asked)
    for name in dict.fromkeys((*seeds, *(n for n in system.decls if n in active), *wrt)):
        decl = system.decls[name]
        builder.declare(
            Decl(name + mark, "cotangent", decl.shape, decl.dtype, decl.axes, decl.batched, name, None, decl.source)
        )
    for name, given in seeds.items():
        decl = system.decls[name]
        out = Ref(name + mark, tuple(running(a) for a in decl.axes))
        domain = tuple(whole(a) for a in decl.axes)
        if given:
            kind: Kind = "input" if decl.batched or decl.axes else "param"
            builder.declare(replace(decl, name=given, kind=kind, of=name, detail=None))
            value = builder.read(Ref(given, out.index))
        else:
            value = Expr(builder, Const(SEED), (), "float", frozenset())
        builder.equations.append(Equation(out, "copy", (value.operand,), (), domain, decl.batched, "sum", decl.source))
    for equation in reversed(system.equations):
        if equation.out.name in active:
            _backward(builder, system, equation, active, mark)
    for name in wrt:
        for part in parts[name] if name in copies else ():
            if part + mark in builder.decls:
                builder.equations += [_added(e, name + mark, part + mark) for e in system.writers[name]]
    outputs = {name + mark: Ref(name + mark, tuple(running(a) for a in system.decls[name].axes)) for name in wrt}
    result = replace(builder.draft(), name=system.name + mark, outputs={**system.outputs, **outputs})
    result = renamed(result)
    check_pass("adjoint", system, result, every=True)
    return result


def _active(system: System, wrt: Sequence[str], seeds: Mapping[str, str]) -> set[str]:
    """The names that depend on `wrt` and reach a seed through operations with a derivative."""
    links: list[tuple[str, str]] = []
    for equation in system.equations:
        if system.decls[equation.out.name].dtype != "float":
            continue
        for position, arg in enumerate(equation.args):
            floats = isinstance(arg, Ref) and system.decls[arg.name].dtype == "float"
            if isinstance(arg, Ref) and floats and equation.operation.rule(position) is not None:
                links.append((arg.name, equation.out.name))
    forward: dict[str, list[str]] = {}
    backward: dict[str, list[str]] = {}
    for a, b in links:
        forward.setdefault(a, []).append(b)
        backward.setdefault(b, []).append(a)
    return _reach(wrt, forward) & _reach(seeds, backward)


def _added(writer: Equation, name: str, part: str) -> Equation:
    """``h~ += part`` at the steps that an equation of h writes."""
    out, kept = Ref(name, writer.out.index), tuple(r for r in writer.domain if r.axis in writer.out.running)
    return Equation(out, "copy", (Ref(part, out.index),), (), kept, writer.batched, "sum", writer.source)


def _not_by_draws_alone(system: System, names: Sequence[str], seeds: Mapping[str, str], asked: str) -> None:
    """Raises DifferentiationError for a name that a seed depends on, and only through a draw or a choice of a label."""
    draws = [e for e in system.equations if e.op in (*DISCRETE, "argmax")] if names else []
    if not draws:
        return
    readers: dict[str, list[str]] = {}
    for e in system.equations:
        for ref in e.refs:
            readers.setdefault(ref.name, []).append(e.out.name)
    for name in names:
        after = _reach([name], readers)
        for draw in draws:
            if any(r.name in after for r in draw.refs) and _reach([draw.out.name], readers) & set(seeds):
                choice = "argmax" if draw.op == "argmax" else "a discrete draw"
                raise DifferentiationError(
                    message(
                        f"{asked} depends on {name} only through {choice}, which has no derivative",
                        (code(draw.source), draw.source),
                        fix="Give the loss a term that reads the probabilities, or leave the name out of wrt.",
                    )
                )


def _reach(start: Iterable[str], links: Mapping[str, list[str]]) -> set[str]:
    seen, pending = set(start), list(start)
    while pending:
        for name in links.get(pending.pop(), ()):
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return seen


def _backward(builder: Builder, system: System, equation: Equation, active: set[str], mark: str) -> None:
    op, attrs = equation.operation, dict(equation.attrs)
    rules = [op.rule(i) if isinstance(a, Ref) and a.name in active else None for i, a in enumerate(equation.args)]
    if not any(rules):
        return
    with builder.within(equation.domain, equation.source):
        args = [_argument(builder, a) for a in equation.args]
        g: Symbolic = builder.read(Ref(equation.out.name + mark, equation.out.index))
        y: Any = builder.read(equation.out)
        if equation.combine == "max":
            total, y = y, _Later(builder, op, args, attrs)
            g = _share_of_max(builder, equation, g, total, y.value())
        elif not system.exclusive(equation):
            y = _Later(builder, op, args, attrs)
        for arg, operand, rule in zip(args, equation.args, rules, strict=True):
            if rule is None or not isinstance(operand, Ref):
                continue
            try:
                with acting_for(g):
                    value = rule(g, y.value() if isinstance(y, _Later) else y, *args, **attrs)
            except DifferentiationError as error:
                raise DifferentiationError(message(str(error), equation.source)) from None
            if isinstance(value, (int, float)) and value == 0:
                continue
            value = builder.operand(value)
            made = system.decls[equation.out.name].shape if op.family is elementwise else arg.shape
            if not stretches(value.shape, arg.shape) and not stretches(value.shape, made):
                what = f"the derivative of {op.name} by an operand of shape {arg.shape} has shape {value.shape}"
                raise ShapeError(message(what, (EquationWriter(system).equation(equation), equation.source)))
            value = _fit(value, arg.shape)
            _accumulate(builder, Ref(operand.name + mark, operand.index), value, equation)


class _Later:
    """The result of an operation, computed again because the left-hand side holds a sum of several."""

    def __init__(self, builder: Builder, op: core.Op, args: list[Any], attrs: Mapping[str, Any]) -> None:
        self.builder, self.op, self.args, self.attrs = builder, op, args, attrs
        self.made: Symbolic | None = None

    def value(self) -> Symbolic:
        if self.made is None:
            self.made = self.builder.apply(self.op, self.args, self.attrs)
        return self.made


def _argument(builder: Builder, operand: Operand) -> Any:
    """An operand as a rule sees it: numbers as Python numbers, refs as expressions."""
    if isinstance(operand, Const):
        return operand.value
    if isinstance(operand, Ref):
        return builder.read(operand)
    return Expr(builder, operand, (), "float", frozenset())


def _share_of_max(builder: Builder, equation: Equation, g: Symbolic, total: Symbolic, value: Symbolic) -> Symbolic:
    """The cotangent of each instance under a maximum over time: those that reach the maximum share it."""
    chosen = where(equal(value, total), 1.0, 0.0)
    count = builder.decls[equation.out.name]
    name = builder.fresh()
    out = Ref(name, equation.out.index)
    builder.decls[name] = replace(count, name=name, kind="temporary", of=None, detail=None)
    builder.equations.append(
        Equation(out, "copy", (chosen.operand,), (), equation.domain, equation.batched, "sum", equation.source)
    )
    reached = builder.read(out)
    shared = chosen * (g / where(equal(reached, 0), 1, reached))  # over no steps nothing reaches it
    return where(equal(total, total), shared, total)  # nothing equals a nan, which is the cotangent of all then


def _fit(value: Symbolic, shape: tuple[int, ...]) -> Symbolic:
    """Undo broadcasting: sum a cotangent down to its operand's shape, or stretch it up to it."""
    if value.shape == shape:
        return value
    if len(value.shape) <= len(shape) and all(
        n in (1, m) for n, m in zip(value.shape[::-1], shape[::-1], strict=False)
    ):
        return shape_ops._broadcast_to(value, shape=shape)
    return shape_ops._sum_to(value, shape=shape)


def _accumulate(builder: Builder, out: Ref, value: Symbolic, equation: Equation) -> None:
    """Add ``out += value`` over the domain, in the form whose left-hand side runs at t."""
    operand = value.operand
    domain = equation.domain
    steps: dict[Axis, Index] = {}
    for index in out.index:
        if index.runs and index.shift and index.axis is not None:
            steps[index.axis] = running(index.axis, -index.shift)
    if steps:
        out = out.substitute(steps)
        operand = operand.substitute(steps) if isinstance(operand, Ref) else operand
        domain = tuple(r.shifted(-steps[r.axis].shift) if r.axis in steps else r for r in domain)
    builder.equations.append(Equation(out, "copy", (operand,), (), domain, equation.batched, "sum", equation.source))


def backward_of(system: System, wrt: Sequence[str] | str | None = None) -> System:
    """The adjoint of a system as it is shown: simplified before and after.

    wrt  the names to differentiate the loss by; by default every param

    Raises UndefinedError for a name that is not there, or where there is no loss.
    """
    names = params_of(system) if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    simple = simplify(system, apart=names)
    for name in names:
        if name not in simple.decls or is_hidden(name):
            known = ", ".join(n for n in simple.decls if not is_hidden(n))
            raise UndefinedError(
                f"there is no {name!r} in template {system.name!r} to differentiate by; it has {known}"
            )
    return simplify(adjoint(simple, names))


def params_of(system: System) -> tuple[str, ...]:
    """The names of the params, as declared."""
    return tuple(n for n, d in system.decls.items() if d.kind == "param")
