"""What a template draws itself: each draw under the name of the variable that it is, read off the equations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import TemplateError, message
from ..ir.axes import Axis, running
from ..ir.names import is_hidden
from ..ir.rewrite import with_only
from ..ir.system import Decl, Equation, Ref, System
from ..printing.plain import EquationWriter
from ..transform.simplify import simplify
from .distributions import FAMILIES


def named(system: System) -> System:
    """The system simplified, in which a draw that a variable is a copy of is that variable.

    Raises TemplateError where one draw is several elements of a variable, or of several: as many numbers are drawn as
    there are random elements, or the probability of one would count as often as it is read. So it does for a variable
    of floats that draws labels, and for an adjoint, whose cotangents read the numbers too.
    """
    found = next((d for d in system.decls.values() if d.kind == "cotangent"), None)
    if found is not None:
        what = f"template {system.name!r} holds cotangents, such as {found.name}, and these are no part of a model"
        raise TemplateError(
            message(what, found.source, fix="Make the model of the template before its adjoint is taken.")
        )
    system = simplify(system)
    for draw in draws(system):
        if is_hidden(draw.out.name):
            system = _without_copies(system, draw)
    for draw in draws(system):
        if not is_hidden(draw.out.name) and (over := _missing(draw)):
            raise _repeated(system, draw, f"for every {', '.join(a.name for a in over)}")
    return system


def draws(system: System) -> Iterator[Equation]:
    """The equations that draw from a known family, whose last operand is the generated numbers."""
    return (e for e in system.equations if e.op in FAMILIES and not e.summed and e.combine == "sum")


def whole_ref(decl: Decl) -> Ref:
    """A name at the running step of each of its axes."""
    return Ref(decl.name, tuple(map(running, decl.axes)))


def _without_copies(system: System, draw: Equation) -> System:
    """The system in which what copies a draw draws it; as it is where nothing copies it."""
    name = draw.out.name
    readers = [e for e in system.equations if any(r.name == name for r in e.refs)]
    for e in readers:
        decl = system.decls[e.out.name]
        if e.op == "cast" and decl.kind == "variable":
            what = f"{e.out} is {decl.dtype}, and what it draws are labels, which have a probability as they are"
            fix = f"Declare it with dtype={system.decls[name].dtype!r}; or draw a variable of its own, and read that."
            raise TemplateError(message(what, (EquationWriter(system).equation(e), e.source), fix=fix))
    copies = [e for e in readers if e.op == "copy" and system.decls[e.out.name].kind == "variable" and not e.summed]
    if not copies:
        return system
    for e in copies:
        shape, over = system.decls[e.out.name].shape, [a.name for a in e.out.running if a not in draw.out.running]
        if over or shape != system.decls[name].shape:
            what = f"every {', '.join(over)}" if over else f"all elements of {e.out.name}, whose shape is {shape}"
            raise _repeated(system, e, f"for {what}")
    if len({e.out.name for e in copies}) > 1 or len(copies) < len(readers):
        raise _repeated(system, copies[0], f"and {next(e for e in readers if e is not copies[0]).out} reads it too")
    made = {id(e): replace(draw, out=e.out, domain=e.domain, source=e.source) for e in copies}
    kept = (e for e in system.equations if e is not draw)
    return with_only(system, (made.get(id(e), e) for e in kept))


def _missing(draw: Equation) -> list[Axis]:
    """The axes along which a variable runs, and the numbers that it is drawn with do not."""
    numbers = draw.args[-1]
    return [a for a in draw.out.running if not isinstance(numbers, Ref) or a not in numbers.running]


def _repeated(system: System, e: Equation, how: str) -> TemplateError:
    fix = (
        "Draw as many numbers as it has elements: parameters in its shape, ops.broadcast_to(m[t], shape), over= all "
        "of its axes. Or give the draw a variable of its own, and read that."
    )
    return TemplateError(message(f"{e.out} is one draw {how}", (EquationWriter(system).equation(e), e.source), fix=fix))
