"""Modes: teacher forcing, scheduled sampling, open loop, inference; what a delayed read feeds back.

Each is a system like any other afterwards, to be printed, drawn, unfolded and compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..errors import AxisError, LengthError, TemplateError, message
from ..ir.axes import Axis, running, whole
from ..ir.generated_inputs import Every, Interval, Noise
from ..ir.names import is_hidden, unused
from ..ir.rewrite import rewritten
from ..ir.system import Decl, Equation, Operand, Ref, System, Truncation
from ..language.builder import Builder
from ..language.validate import check
from ..ops.core import Symbolic
from ..ops.integers import integer
from ..ops.pointwise import less, where
from ..ops.shape_ops import broadcast_to
from .simplify import simplify

Choice = Callable[[Builder, str], Symbolic]


def teacher_forced(system: System, forced: Mapping[str, str]) -> System:
    """Every delayed read of a variable becomes a read of the truth."""
    before_adjoint(system, "teacher_forced")
    for name, truth in _pairs(forced):
        _comparable(system, name, truth)
        system = _redirected(_with_boundaries(system, name, truth), name, truth)
    return check(Builder.extend(system).freeze())


def scheduled(system: System, forced: Mapping[str, str], probability: str | None) -> System:
    """Every delayed read becomes, by a coin for each step and example, one of the truth or of the variable itself."""
    before_adjoint(system, "scheduled")
    if probability in system.decls:
        raise TemplateError(f"the probability needs a name of its own, and {probability!r} is taken")
    probability = probability or unused("epsilon", system.decls)
    decls = {**system.decls, probability: Decl(probability, "input", (), detail=Interval(0.0, 1.0))}
    coins: dict[tuple[Axis, ...], Symbolic] = {}

    def coin(builder: Builder, name: str) -> Symbolic:
        axes = system.decls[name].axes
        if axes not in coins:
            number = [n for n, d in system.decls.items() if d.kind == "variable"].index(name)
            detail = Noise("uniform", stream=f"coin {number}")  # the same whatever else is drawn, before or after
            noise = builder.supplied("noise", detail, (), axes, "float", True)
            coins[axes] = less(builder.read(noise), builder.read(Ref(probability)))
        return coins[axes]

    return _fed(replace(system, decls=decls), forced, coin)


def open_loop(system: System, forced: Mapping[str, str], period: int, over: Axis | None) -> System:
    """Every delayed read becomes one of the variable itself, but at the last of every `period` steps of the truth."""
    before_adjoint(system, "open_loop")
    every = integer(period)
    if every is None or every < 1:
        raise LengthError(f"the period is {period!r}: an integer from 1 up was expected")
    turns: dict[tuple[Axis, bool], Symbolic] = {}

    def turn(builder: Builder, name: str) -> Symbolic:
        axis, backwards = _direction(system, name, over)
        if (axis, backwards) not in turns:
            ref = builder.supplied("place", Every(every, backwards), (), (axis,), "bool", False)
            turns[axis, backwards] = builder.read(ref)
        return turns[axis, backwards]

    return _fed(system, forced, turn)


def _direction(system: System, name: str, over: Axis | None) -> tuple[Axis, bool]:
    """The axis along which a variable is read at other steps, and whether these are later ones. Raises AxisError."""
    reads = [i for e in system.equations for r in e.refs if r.name == name for i in r.index if i.runs and i.shift]
    axes = [a for a in system.decls[name].axes if any(i.axis == a for i in reads)]
    if over is not None and over not in axes:
        known = " and ".join(a.name for a in axes) or "no axis"
        raise AxisError(
            message(f"{name} is read with delays along {known}, not along {over.name}", system.decls[name].source)
        )
    if over is None and len(axes) != 1:
        listed = " and ".join(a.name for a in axes)
        raise AxisError(
            message(
                f"{name} is read with delays along {listed}, and a period counts the steps of one axis",
                system.decls[name].source,
                fix=f"Say which, over={axes[0].name}." if axes else "",
            )
        )
    axis = over or axes[0]
    return axis, all(i.shift > 0 for i in reads if i.axis == axis)


def _fed(system: System, forced: Mapping[str, str], choose: Choice) -> System:
    """Delayed reads turned to a new variable: the truth where a condition holds, else the variable itself."""
    for name, truth in _pairs(forced):
        _comparable(system, name, truth)
        _delayed(system, name)
        system = _with_boundaries(system, name, truth)
    builder = Builder.extend(system)
    made: dict[str, str] = {}
    for name, truth in _pairs(forced):
        decl = system.decls[name]
        source = max(system.writers[name], key=lambda e: len(e.out.running)).source
        made[name] = builder.unused(f"{name}_fed")
        out, domain = Ref(made[name], tuple(map(running, decl.axes))), tuple(map(whole, decl.axes))
        builder.declare(replace(decl, name=made[name], source=source))
        with builder.within((), source):
            condition = choose(builder, name)
            a, b = (builder.read(Ref(n, out.index)) for n in (truth, name))
            fed = (condition & a) | (~condition & b) if decl.dtype == "bool" else where(condition, a, b)
            builder.add(out, fed, domain, False, source)
        builder.equations += [_alike(e, made[name]) for e in _boundaries(system, name)]
    system = builder.freeze()
    for name, other in made.items():
        system = _redirected(system, name, other)
    return check(Builder.extend(system).freeze())


def truncated(system: System, steps: int, axis: Axis, sliding: bool) -> System:
    """Cotangents reach as far as a chunk of `steps` steps, or through delays of `steps`: see `truncation`."""
    before_adjoint(system, "truncated")
    least = 0 if sliding else 1
    reach = integer(steps)
    if reach is None or reach < least:
        what = "the window reaches back" if sliding else "the length of a chunk is"
        raise LengthError(f"{what} {steps!r} steps: an integer from {least} up was expected")
    _has(system, axis)
    return replace(system, truncations=(*system.truncations, Truncation(axis, reach, sliding)))


def inference(system: System) -> System:
    """Every mask of dropout replaced by its mean, an array of ones."""
    builder = Builder.extend(system)
    ones: dict[str, Operand] = {}
    for name, decl in system.decls.items():
        if isinstance(decl.detail, Noise) and decl.detail.kind == "mask":
            with builder.within((), decl.source):
                ones[name] = broadcast_to(builder.constant(1.0), decl.shape).operand
            del builder.decls[name]
    builder.equations = [rewritten(e, lambda ref: ones.get(ref.name, ref)) for e in builder.equations]
    made = builder.freeze()
    return check(simplify(made, apart=(n for n, d in made.decls.items() if d.kind == "variable")))


def before_adjoint(system: System, what: str) -> None:
    """Raises TemplateError for a template that has cotangents: they belong to the equations as they were."""
    found = next((d for d in system.decls.values() if d.kind == "cotangent"), None)
    if found is not None:
        raise TemplateError(
            message(
                f"template {system.name!r} holds cotangents, such as {found.name}, of its equations as they stand",
                found.source,
                fix=f"Change the template first and take its adjoint then, g.{what}(...).adjoint().",
            )
        )


def _delayed(system: System, name: str) -> None:
    """Raises TemplateError for a variable that is read at no other step."""
    if not any(_is_delayed(r, name) for e in system.equations for r in e.refs):
        source = system.decls[name].source
        step = ", ".join(f"{a.name}-1" for a in system.decls[name].axes) or "t-1"
        raise TemplateError(
            message(
                f"{name} is never read with a delay, so there is nothing to feed in its place",
                (f"variable {name}", source),
                fix=f"Read {name}[{step}] in an equation, or name another variable.",
            )
        )


def _is_delayed(ref: Ref, name: str) -> bool:
    return ref.name == name and any(i.runs and i.shift for i in ref.index)


def _redirected(system: System, name: str, other: str) -> System:
    """Delayed reads of one name turned to another. Raises TemplateError where there are none."""
    _delayed(system, name)

    def turned(ref: Ref) -> Ref:
        return Ref(other, ref.index) if _is_delayed(ref, name) else ref

    return replace(system, equations=tuple(rewritten(e, turned) for e in system.equations))


def _boundaries(system: System, name: str) -> list[Equation]:
    """The equations of a variable for steps outside 1..T; one that is set inside is no boundary."""
    outside = ((i for i in e.out.index if not i.runs) for e in system.writers[name])
    places = zip(system.writers[name], outside, strict=True)
    return [e for e, fixed in places if any(i.shift < 1 if i.axis is None else i.shift > 0 for i in fixed)]


def _with_boundaries(system: System, name: str, truth: str) -> System:
    """The truth with the boundaries of the variable that it stands for, where it has none of its own."""
    own = {e.out.index for e in system.writers[truth]}
    more = [_alike(e, truth) for e in _boundaries(system, name) if e.out.index not in own]
    return replace(system, equations=(*system.equations, *more))


def _alike(e: Equation, name: str) -> Equation:
    """A boundary of another name that has the value of the one that an equation writes."""
    kept = tuple(r for r in e.domain if r.axis in e.out.running)
    return Equation(Ref(name, e.out.index), "copy", (e.out,), (), kept, e.batched, "sum", e.source)


def _comparable(system: System, name: str, truth: str) -> None:
    """Raises TemplateError unless the one can stand for the other."""
    for asked, what in ((name, "variable"), (truth, "truth")):
        decl = system.decls.get(asked)
        if decl is None or is_hidden(asked) or (what == "variable" and decl.kind != "variable"):
            kinds = ("variable",) if what == "variable" else ("input", "variable")
            known = ", ".join(n for n, d in system.decls.items() if d.kind in kinds and d.axes)
            raise TemplateError(f"there is no {what} {asked!r} in template {system.name!r}; it has {known}")
    a, b = system.decls[name], system.decls[truth]
    if (a.shape, a.dtype, a.axes) != (b.shape, b.dtype, b.axes):
        shown = [f"{d.kind} {d.name}[{', '.join(x.name for x in d.axes)}]: {d.dtype}, shape {d.shape}" for d in (a, b)]
        raise TemplateError(
            message(
                f"{truth} cannot be read in place of {name}: they differ in kind, shape or axes",
                (shown[0], a.source),
                (shown[1], b.source),
                fix="Feed back a variable like the truth, such as s[t] = ops.categorical(o[t]) for labels.",
            )
        )


def _pairs(forced: object) -> list[tuple[str, str]]:
    """The variables and what is read in their place. Raises TemplateError."""
    if not isinstance(forced, Mapping) or not forced:
        raise TemplateError(f'forced is a dict, {{"o": "y"}}: variable -> what is read instead; got {forced!r}')
    return list(forced.items())


def _has(system: System, axis: Axis) -> None:
    """Raises AxisError for an axis along which nothing runs."""
    if not any(axis in d.axes for d in system.decls.values()):
        known = ", ".join(a.name for a in system.axes) or "none"
        raise AxisError(f"nothing in template {system.name!r} runs along {axis.name}; its axes: {known}")
