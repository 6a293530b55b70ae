"""The message for a nan or an infinity met while running: which variable, which step, forward or backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import code, message
from ...ir.generated_inputs import Within
from ...ir.names import direction, is_cotangent, is_hidden, owner, primal
from ...ir.system import Equation, System
from ...printing.plain import EquationWriter
from ...types import Array
from ...unfold.dag import Node


def checked(system: System, name: str) -> bool:
    """All must be finite but constants, a maximum over no steps, and what is computed beyond an example's end.

    Nor need an input be of which the template asks whether it is: data with gaps, see `unroll.ops.observed`.
    """
    decl = system.decls[name]
    if decl.kind == "constant" or isinstance(decl.detail, Within):
        return False
    if decl.kind == "input":
        return not any(e.op == "isfinite" and any(r.name == name for r in e.refs) for e in system.equations)
    return all(e.combine != "max" for e in system.equations if e.out.name == name)


def describe(system: System, name: str, steps: Sequence[int], value: Array) -> str:
    """What was met, where, in which direction, and the user's equations that it comes from.

    A hidden operation is reported as a part of the variable that it serves.
    """
    backward = is_cotangent(name)
    served = name
    if is_hidden(name):
        served = direction(owner(name))[0] + ("~" if backward else "")
    known = system.decls.get(served) or system.decls.get(primal(served))
    where = tuple(steps) if known is None or len(known.axes) == len(steps) else ()
    what = "nan" if np.any(np.isnan(value)) else "an infinity"
    written = [e for e in system.equations if e.out.name == name and _reaches(e, steps)]
    writer = EquationWriter(system)
    made = dict.fromkeys(writer.right(e) for e in written)
    by = "".join(f"\n    made by {text}" for text in made if is_hidden(name) and f"{primal(served)}." not in text)
    given = "; it was given so" if system.decls[name].given and not written else ""
    pass_ = "backward" if backward else "forward"
    rows = [(writer.equation(e), e.source) for e in written]
    if is_hidden(name):  # the equation that the user wrote there, or else the line of code
        places = {e.source for e in written}
        serves = [e for e in system.equations if e.out.name == primal(served) and e.source in places]
        rows = [(writer.equation(e), e.source) for e in serves] or [(code(p), p) for p in places]
    return message(f"{what} in {Node(served, where)} ({pass_}){given}{by}", *rows)


def _reaches(equation: Equation, steps: Sequence[int]) -> bool:
    """False where an equation cannot write these steps, whatever the length."""
    for position, step in enumerate(steps):
        lo, hi = equation.written(position)
        if (not lo.anchor and step < lo.shift) or (not hi.anchor and step > hi.shift):
            return False
    return True
