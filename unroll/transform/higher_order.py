"""Forward mode and second order: JVPs and Hessian-vector products as systems, by adjoints of adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import UndefinedError
from ..ir.axes import running
from ..ir.names import TANGENT
from ..ir.system import Ref, System
from .adjoint import adjoint, suffix


def tangent_system(system: System, names: Sequence[str], of: str) -> System:
    """The derivative of a variable along ``n~tangent`` for each of the names: the adjoint of the adjoint by its seed.

    The outputs are the variable and `TANGENT`. Raises UndefinedError.
    """
    if of not in system.decls:
        raise UndefinedError(f"there is no variable {of!r} in template {system.name!r}")
    seed = f"{of}~seed"
    first = adjoint(system, names, {of: seed})
    second = adjoint(first, (seed,), {f"{n}~": f"{n}~tangent" for n in names})
    ref = Ref(of, tuple(running(a) for a in system.decls[of].axes))
    return replace(second, outputs={of: ref, TANGENT: second.outputs[seed + suffix(first)]})


def hessian_system(system: System, names: Sequence[str]) -> System:
    """The Hessian of the loss by all params, times ``n~vector`` for each of the names; an output for each param."""
    every = tuple(n for n, d in system.decls.items() if d.kind == "param")
    first = adjoint(system, names)
    second = adjoint(first, every, {f"{n}~": f"{n}~vector" for n in names})
    return replace(second, outputs={n: second.outputs[n + suffix(first)] for n in every})
