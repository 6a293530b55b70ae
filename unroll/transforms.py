"""Changes of mode, template to template: what a delayed read feeds back, and how far a cotangent reaches.

Each is a system like any other afterwards, to be printed, drawn, unfolded and compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from .automatic import Chunk, Interval, Noise
from .builder import Builder
from .checks import check
from .errors import AxisError, LengthError, TemplateError, message
from .expr import Expr
from .flow import dependences, operations
from .graphs import components
from .ir import Const, Decl, Equation, Operand, Ref, System
from .ops.pointwise import less, stop_gradient, where
from .simplify import simplify
from .timeindex import Axis, running, whole

Choice = Callable[[Builder, tuple[Axis, ...]], Expr]


def teacher_forced(system: System, forced: Mapping[str, str]) -> System:
    """Every delayed read of a variable becomes a read of the truth."""
    for name, truth in _pairs(forced):
        _comparable(system, name, truth)
        system = _redirected(_with_boundaries(system, name, truth), name, truth)
    return check(Builder.extend(system).freeze())


def scheduled(system: System, forced: Mapping[str, str], probability: str) -> System:
    """Every delayed read becomes, by a coin for each step and example, one of the truth or of the variable itself."""
    if probability in system.decls:
        raise TemplateError(f"the probability needs a name of its own, and {probability!r} is taken")
    detail = Interval(0.0, 1.0)
    decls = {**system.decls, probability: Decl(probability, "input", (), detail=detail)}

    def coin(builder: Builder, axes: tuple[Axis, ...]) -> Expr:
        noise = builder.supplied("noise", Noise("uniform"), (), axes, "float", True)
        return less(builder.read(noise), builder.read(Ref(probability)))  # type: ignore[no-any-return]

    return _fed(replace(system, decls=decls), forced, coin)


def open_loop(system: System, forced: Mapping[str, str], period: int) -> System:
    """Every delayed read becomes one of the variable itself, but at the last of every `period` steps of the truth."""
    _positive(period, "the period")

    def turn(builder: Builder, axes: tuple[Axis, ...]) -> Expr:
        place = builder.supplied("place", Chunk(period, towards_end=True, endless=True), (), axes[:1], "int", False)
        return less(builder.read(place), 1)  # type: ignore[no-any-return]

    return _fed(system, forced, turn)


def _fed(system: System, forced: Mapping[str, str], choose: Choice) -> System:
    """Delayed reads turned to a new variable: the truth where a condition holds, else the variable itself."""
    for name, truth in _pairs(forced):
        _comparable(system, name, truth)
        system = _with_boundaries(system, name, truth)
    builder = Builder.extend(system)
    conditions: dict[tuple[Axis, ...], Expr] = {}
    made: dict[str, str] = {}
    for name, truth in _pairs(forced):
        decl = system.decls[name]
        source = max(system.writers[name], key=lambda e: len(e.out.running)).source
        made[name] = f"{name}_fed"
        out, domain = Ref(made[name], tuple(map(running, decl.axes))), tuple(map(whole, decl.axes))
        builder.declare(replace(decl, name=made[name], source=source))
        with builder.within((), source):
            if decl.axes not in conditions:
                conditions[decl.axes] = choose(builder, decl.axes)
            both = [builder.read(Ref(n, out.index)) for n in (truth, name)]
            builder.add(out, where(conditions[decl.axes], *both), domain, False, source)
        builder.equations += [replace(e, out=Ref(made[name], e.out.index)) for e in _boundaries(system, name)]
    system = builder.freeze()
    for name, other in made.items():
        system = _redirected(system, name, other)
    return check(Builder.extend(system).freeze())


def truncated(system: System, period: int, axis: Axis) -> System:
    """No cotangent crosses from the first step of a chunk of `period` steps to the chunk before."""
    _positive(period, "the length of a chunk")
    _has(system, axis)
    builder = Builder.extend(system)
    cuts = _recurrent(system, axis)
    place: dict[bool, Expr] = {}
    equations: list[Equation] = []
    for number, e in enumerate(system.equations):
        changed: dict[Ref, Operand] = {}
        for ref in e.refs:
            delay = -(ref.shift(axis) or 0)
            if delay and (number, ref) in cuts and system.decls[ref.name].dtype == "float":
                ahead = delay < 0
                if ahead not in place:
                    detail = Chunk(period, towards_end=ahead)
                    place[ahead] = builder.read(builder.supplied("place", detail, (), (axis,), "int", False))
                with builder.within(e.domain, e.source):
                    value = builder.read(ref)
                    cut = where(less(place[ahead], abs(delay)), stop_gradient(value), value)
                    builder.label(cut, "truncated", [value], {})
                    changed[ref] = cut.operand
        equations.append(_changed(e, lambda r, by=changed: by.get(r, r)))  # type: ignore[misc]
    builder.equations[: len(equations)] = equations
    return check(builder.freeze())


def windowed(system: System, reach: int, axis: Axis) -> System:
    """Every loss sends cotangents back through delays of `reach` steps in all, and no further.

    A variable has a copy for each number of steps that are left; a delayed read takes the copy with fewer left, and
    at the end the value itself, with derivative zero. So the copies do not recur.
    """
    if isinstance(reach, bool) or not hasattr(reach, "__index__") or reach < 0:
        raise LengthError(f"the window reaches back {reach!r} steps: an integer from 0 up was expected")
    _has(system, axis)
    copied = _after(system, {system.equations[n].out.name for n, _ in _recurrent(system, axis)}, axis)
    builder = Builder.extend(system)
    builder.equations = []
    for name in copied:
        for left in range(reach + 1):
            decl = system.decls[name]
            copy = _copy(name, left)
            builder.declare(replace(decl, name=copy, of=_copy(decl.of, left) if decl.of else None))
    for e in system.equations:
        if e.out.name in copied:
            builder.equations.append(e)
        for left in range(reach + 1) if e.out.name in copied else [reach]:
            ends: dict[Ref, Operand] = {}
            for ref in e.refs:
                over = ref.name in copied and left < abs(ref.shift(axis) or 0)
                if over and system.decls[ref.name].dtype == "float":
                    with builder.within(e.domain, e.source):
                        ends[ref] = stop_gradient(builder.read(ref)).operand

            def there(ref: Ref, left: int = left, ends: Mapping[Ref, Operand] = ends) -> Operand:
                if ref.name not in copied:
                    return ref
                rest = left - abs(ref.shift(axis) or 0)
                return Ref(_copy(ref.name, rest), ref.index) if rest >= 0 else ends.get(ref, ref)

            changed = _changed(e, there)
            if e.out.name in copied:
                changed = replace(changed, out=Ref(_copy(e.out.name, left), e.out.index))
            builder.equations.append(changed)
    return check(simplify(builder.freeze()))


def inference(system: System) -> System:
    """Every mask of dropout replaced by its mean, 1."""
    masks = {n for n, d in system.decls.items() if isinstance(d.detail, Noise) and d.detail.kind == "mask"}
    equations = [
        replace(e, args=tuple(Const(1.0) if isinstance(a, Ref) and a.name in masks else a for a in e.args))
        for e in system.equations
    ]
    decls = {n: d for n, d in system.decls.items() if n not in masks}
    return check(simplify(replace(system, decls=decls, equations=tuple(equations))))


def _recurrent(system: System, axis: Axis) -> set[tuple[int, Ref]]:
    """The reads, each with the number of its equation, by which something depends on itself along the axis."""
    flows = operations(system)
    edges = dependences(flows)
    group = {}
    for k, members in enumerate(components(range(len(flows)), [(d.producer, d.consumer) for d in edges])):
        group.update(dict.fromkeys(members, k))
    return {(d.consumer, d.read.ref) for d in edges if group[d.producer] == group[d.consumer] and d.distance.get(axis)}


def _after(system: System, names: set[str], axis: Axis) -> dict[str, None]:
    """The names along the axis that are computed from `names`, these included, in the order of declaration."""
    found, size = set(names), 0
    while len(found) > size:
        size = len(found)
        found |= {e.out.name for e in system.equations if any(r.name in found for r in e.refs)}
    return {n: None for n, d in system.decls.items() if n in found and axis in d.axes}


def _copy(name: str, left: int) -> str:
    base, dot, rest = name.partition(".")
    return f"{base}^{left}{dot}{rest}"


def _changed(e: Equation, change: Callable[[Ref], Operand]) -> Equation:
    """The equation with its refs replaced, those of its label too."""
    args = tuple(change(a) if isinstance(a, Ref) else a for a in e.args)
    return replace(e, args=args, label=e.label and e.label.map(change))


def _redirected(system: System, name: str, other: str) -> System:
    """Delayed reads of one name turned to another. Raises TemplateError where there are none."""

    def delayed(ref: Ref) -> bool:
        return ref.name == name and any(i.runs and i.shift for i in ref.index)

    def turned(ref: Ref) -> Ref:
        return Ref(other, ref.index) if delayed(ref) else ref

    if not any(delayed(r) for e in system.equations for r in e.refs):
        source = system.decls[name].source
        step = ", ".join(f"{a.name}-1" for a in system.decls[name].axes) or "t-1"
        raise TemplateError(
            message(
                f"{name} is never read with a delay, so there is nothing to feed in its place",
                (f"variable {name}", source),
                fix=f"Read {name}[{step}] in an equation, or name another variable.",
            )
        )
    return replace(system, equations=tuple(_changed(e, turned) for e in system.equations))


def _boundaries(system: System, name: str) -> list[Equation]:
    return [e for e in system.writers[name] if any(not i.runs for i in e.out.index)]


def _with_boundaries(system: System, name: str, truth: str) -> System:
    """The truth with the boundaries of the variable that it stands for, where it has none of its own."""
    own = {e.out.index for e in system.writers[truth]}
    more = [e for e in _boundaries(system, name) if e.out.index not in own]
    return replace(system, equations=(*system.equations, *(replace(e, out=Ref(truth, e.out.index)) for e in more)))


def _comparable(system: System, name: str, truth: str) -> None:
    """Raises TemplateError unless the one can stand for the other."""
    for asked, what in ((name, "variable"), (truth, "truth")):
        decl = system.decls.get(asked)
        if decl is None or "." in asked or (what == "variable" and decl.kind != "variable"):
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
        raise TemplateError(f'what is read in place of a variable is told by a dict, {{"o": "y"}}; got {forced!r}')
    return list(forced.items())


def _has(system: System, axis: Axis) -> None:
    """Raises AxisError for an axis along which nothing runs."""
    if not any(axis in d.axes for d in system.decls.values()):
        known = ", ".join(a.name for a in system.axes) or "none"
        raise AxisError(f"nothing in template {system.name!r} runs along {axis.name}; its axes: {known}")


def _positive(n: object, what: str) -> None:
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1:
        raise LengthError(f"{what} is {n!r}: an integer from 1 up was expected")
