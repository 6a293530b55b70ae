"""Instances set from outside: ``do(h[3])`` stands in place of the equation, so no edge leads into h[3] (Pearl 2009)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import LengthError, UndefinedError, message
from ..ir.axes import Index, Range, fixed
from ..ir.names import intervened
from ..ir.system import Decl, Domain, Equation, Ref, System
from ..language.builder import Builder
from ..language.validate import check
from .feedback import before_adjoint

Instance = tuple[str, tuple[int, ...]]


def clamped(system: System, instances: Sequence[Instance]) -> tuple[System, tuple[str, ...]]:
    """The system in which each instance is an input, one value per example; and the names of these inputs.

    An instance that is set already keeps its input. Raises TemplateError, UndefinedError, LengthError.
    """
    before_adjoint(system, "clamped")
    builder = Builder.extend(system)
    inputs = tuple(_set(builder, name, steps) for name, steps in instances)
    return check(builder.freeze()), inputs


def _set(builder: Builder, name: str, steps: tuple[int, ...]) -> str:
    """Make one instance an input, in a template under construction; the name of the input."""
    decl, at = builder.decls.get(name), tuple(map(fixed, steps))
    if decl is None or decl.kind != "variable":
        known = ", ".join(n for n, d in builder.decls.items() if d.kind == "variable" and n != "loss")
        what = f"{name} is {'an' if decl.kind == 'input' else 'a'} {decl.kind}" if decl else f"there is no {name!r}"
        raise UndefinedError(f"{what} in template {builder.name!r}, and variables can be clamped: {known}")
    if len(steps) != len(decl.axes):
        count = len(decl.axes)
        raise UndefinedError(
            message(
                f"{name} runs along {count} ax{'is' if count == 1 else 'es'}, and is clamped at {len(steps)} steps",
                decl.source,
            )
        )
    own = [e for e in builder.equations if e.out.name == name]
    for ref in (r for e in own if e.out.index == at for r in e.refs):
        if builder.decls[ref.name].kind == "input" and builder.decls[ref.name].of == name:
            return ref.name
    left = {id(e): list(_without(e, steps)) for e in own}
    if all(left[id(e)] == [e] for e in own):
        raise LengthError(message(f"{Ref(name, at)} is clamped, and that step does not exist", decl.source))
    builder.equations = [part for e in builder.equations for part in left.get(id(e), [e])]
    given, source = builder.unused(intervened(Ref(name, at))), own[0].source
    builder.declare(Decl(given, "input", decl.shape, decl.dtype, (), batched=True, of=name, source=source))
    builder.add(Ref(name, at), builder.read(Ref(given)), (), True, source)
    return given


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
