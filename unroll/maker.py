"""From a system with outputs to something that takes the user's arrays: cut down, compiled, its arrays checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .binding import PLAIN, Binder, Bound, Extras
from .builder import live
from .compiler import expand
from .convert import Arrays
from .errors import CausalityError, message
from .explain import Costs
from .ir import Equation, System
from .program import Program
from .ragged import ragged
from .schedule.order import NoOrder
from .simplify import reduced
from .text import Writer
from .timeindex import Axis


class Executable(Protocol):
    """What a backend makes of a system: see `unroll.backends.base`."""

    program: Program | None

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]: ...

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs | None: ...


class Backend(Arrays, Protocol):
    """The part of a backend that making needs."""

    def build(self, system: System, options: Any) -> Executable: ...


@dataclass(frozen=True)
class Made:
    """A program, and what checks its arrays."""

    system: System
    executable: Executable
    binder: Binder

    def call(
        self,
        params: Mapping[str, Any],
        arrays: Mapping[str, Any],
        directions: Mapping[str, Any] | None = None,
        extras: Extras = PLAIN,
    ) -> tuple[System, Bound, dict[str, Any]]:
        """Check the arrays and run."""
        bound = self.binder(params, arrays, directions, extras)
        return self.system, bound, self.executable(bound.values, bound.lengths, bound.batch)


@dataclass(frozen=True)
class Maker:
    """Makes programs for one template and one backend.

    user     the template as declared, whose names messages use
    options  of the backend, the dtype among them
    """

    user: System
    backend: Backend
    options: Any
    batch_first: bool

    def make(
        self,
        system: System,
        directions: Sequence[str] = (),
        short: tuple[Axis, ...] = (),
        averaged: tuple[str, ...] = (),
    ) -> Made:
        """What the outputs of a system need, compiled.

        short     the axes on which examples have lengths of their own
        averaged  outputs, see `unroll.backends.base.Options`

        Raises CausalityError where these leave no order.
        """
        system = self.needed(ragged(system, short) if short else system)
        try:
            executable = self.backend.build(system, replace(self.options, averaged=averaged))
        except NoOrder:
            if not short:
                raise
            raise CausalityError(
                message(
                    f"with lengths of their own, no order of steps can compute this of template {self.user.name!r}: "
                    "what follows the last step depends on the last step, and running steps read it",
                    *((Writer(self.user).equation(e), e.source) for e in self.user.equations if _after(e)),
                    fix="Put examples of one length into a batch, without lengths=.",
                )
            ) from None
        return Made(system, executable, self.binder(self.user, system, directions))

    def needed(self, system: System) -> System:
        """A system cut down to what its outputs need, in operations that backends know."""
        roots = [r.name for r in system.outputs.values()]
        system = reduced(replace(system, loss=None, stop=None), roots)
        kept = live(system, roots)
        decls = {n: d for n, d in system.decls.items() if n in kept}
        return expand(replace(system, name=self.user.name, decls=decls))

    def build(self, system: System) -> Executable:
        """Compile what `needed` returned."""
        return self.backend.build(system, self.options)

    def binder(self, user: System, system: System, directions: Sequence[str] = ()) -> Binder:
        """What checks the arrays of a system."""
        return Binder(user, system, self.backend, self.options.dtype, self.batch_first, directions)


def _after(e: Equation) -> bool:
    """True for an equation that defines a step after the last, T+k, by others."""
    return bool(e.refs) and any(i.anchor and not i.runs and i.shift > 0 for i in e.out.index)
