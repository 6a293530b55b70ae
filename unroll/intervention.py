"""Instances set from outside: ``do(h[3])`` stands in place of the equation, so no edge leads into h[3] (Pearl 2009)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .builder import Builder
from .checks import check
from .errors import LengthError, UndefinedError, message
from .ir import Decl, Domain, Equation, Ref, System
from .timeindex import Index, Range, fixed

Instance = tuple[str, tuple[int, ...]]


def clamp_name(instance: Instance) -> str:
    """The name of the input that holds the value of an instance."""
    return f"do({Ref(instance[0], tuple(map(fixed, instance[1])))})"


def clamped(system: System, instances: Sequence[Instance]) -> System:
    """The system in which each instance is an input, one value per example. Raises UndefinedError, LengthError."""
    builder = Builder.extend(system)
    for name, steps in instances:
        decl = system.decls.get(name)
        if decl is None or decl.kind != "variable":
            known = ", ".join(n for n, d in system.decls.items() if d.kind == "variable" and n != "loss")
            what = f"{name} is {'an' if decl.kind == 'input' else 'a'} {decl.kind}" if decl else f"there is no {name!r}"
            raise UndefinedError(f"{what} in template {system.name!r}, and variables can be clamped: {known}")
        if len(steps) != len(decl.axes):
            count = len(decl.axes)
            raise UndefinedError(
                message(
                    f"{name} runs along {count} ax{'is' if count == 1 else 'es'}, and is clamped at {len(steps)} steps",
                    decl.source,
                )
            )
        given, source = clamp_name((name, steps)), system.writers[name][0].source
        before, builder.equations = builder.equations, []
        for e in before:
            builder.equations += [e] if e.out.name != name else _without(e, steps)
        if builder.equations == before:
            raise LengthError(message(f"{given} is clamped, and that step does not exist", decl.source))
        builder.declare(Decl(given, "input", decl.shape, decl.dtype, (), batched=True, source=source))
        builder.add(Ref(name, tuple(map(fixed, steps))), builder.read(Ref(given)), (), True, source)
    return check(builder.freeze())


def _without(e: Equation, steps: Sequence[int]) -> Iterator[Equation]:
    """The equation on what is left of its domain."""
    domain: list[Range] = list(e.domain)
    for index, step in zip(e.out.index, steps, strict=True):
        if not index.runs or index.axis is None:
            if index.axis is None and index.shift == step:
                continue
            yield replace(e, domain=tuple(domain))  # another step; one counted from the end lies beyond 1..T
            return
        position = next(n for n, r in enumerate(domain) if r.axis == index.axis)
        r, at = domain[position], step - index.shift
        if at < r.lo.shift or (r.hi.axis is None and at > r.hi.shift):
            yield replace(e, domain=tuple(domain))
            return
        for lo, hi in ((r.lo, fixed(at - 1)), (fixed(at + 1), r.hi)):
            if not (hi + 1).never_after(lo):
                yield replace(e, domain=_with(domain, position, lo, hi))
        domain[position] = Range(r.axis, fixed(at), fixed(at))


def _with(domain: Sequence[Range], position: int, lo: Index, hi: Index) -> Domain:
    return (*domain[:position], Range(domain[position].axis, lo, hi), *domain[position + 1 :])
