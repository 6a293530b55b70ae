"""Building an executable: a system pruned to its outputs, compiled, its arguments checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..compiler.pipeline import expand
from ..dependence.flows import live
from ..dependence.loop_order import NoOrder
from ..errors import CausalityError, message
from ..ir.axes import Axis
from ..ir.system import Decl, Equation, Ref, System
from ..printing.plain import Writer
from ..transform.label_checks import counted, lookups
from ..transform.ragged import lifted, ragged
from ..transform.simplify import reduced
from ..transform.verify import check_results
from .arguments import PLAIN, Binder, Bound, Extras
from .array_conversion import Arrays
from .checked_labels import Checked, Executable


class Backend(Arrays, Protocol):
    """The part of a backend that making needs."""

    waits: bool

    def build(self, system: System, options: Any) -> Executable: ...


@dataclass(frozen=True)
class Compiled:
    """A program, and what checks its arrays."""

    system: System
    executable: Executable
    binder: Binder
    averaged: tuple[str, ...] = ()

    def call(
        self,
        params: Any,
        arrays: Mapping[str, Any],
        directions: Mapping[str, Any] | None = None,
        extras: Extras = PLAIN,
    ) -> tuple[System, Bound, dict[Any, Any]]:
        """Check the arrays and run."""
        bound = self.binder(params, arrays, directions, extras)
        results = self.executable(bound.values, bound.lengths, bound.batch)
        check_results(self.system, results, bound.lengths, bound.batch, self.averaged[:1])
        return self.system, bound, results


@dataclass(frozen=True)
class Compiler:
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
        each: tuple[Axis, ...] = (),
        averaged: tuple[str, ...] = (),
    ) -> Compiled:
        """What the outputs of a system need, compiled.

        directions  names of inputs like ``W~tangent``, which are given even where nothing reads them
        short       the axes on which an example is shorter than the arrays
        each        the axes on which what runs along them has a value for each example for that alone
        averaged    outputs, see `unroll.backends.base.Options`

        Raises CausalityError where these leave no order.
        """
        system = lifted(system, each) if each else system
        given = {name: system.decls[name] for name in directions}
        asked = tuple(system.outputs.values())
        try:
            system, executable = self._checked(self.needed(system), short, averaged)
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
        return Compiled(system, executable, self.binder(self.user, system, given, asked), averaged)

    def needed(self, system: System) -> System:
        """A system cut down to what its outputs need, in operations that backends know."""
        roots = [r.name for r in system.outputs.values()]
        system = reduced(replace(system, loss=None, stop=None, truncations=()), roots)
        kept = live(system, roots)
        decls = {n: d for n, d in system.decls.items() if n in kept}
        return expand(replace(system, name=self.user.name, decls=decls))

    def build(self, system: System) -> Executable:
        """Compile what `needed` returned."""
        return self._checked(system, (), ())[1]

    def _checked(self, system: System, short: tuple[Axis, ...], averaged: tuple[str, ...]) -> tuple[System, Executable]:
        """A system as it is compiled, and the executable, which checks the labels that the system computes."""
        own = [n for n, d in self.user.decls.items() if d.kind == "input" and not d.automatic]
        found = lookups(system, own) if self.backend.waits else []
        if not found:
            return self._compiled(system, short, averaged)
        whole, held = counted(system, found)
        made, run = self._compiled(self.needed(whole), short, averaged)
        return made, Checked(run, whole, found, held, lambda again: self._compiled(self.needed(again), short, ())[1])

    def _compiled(
        self, system: System, short: tuple[Axis, ...], averaged: tuple[str, ...]
    ) -> tuple[System, Executable]:
        if short:
            system = self.needed(ragged(system, short, self.options.debug_nans))
        with self.backend.quiet():
            return system, self.backend.build(system, replace(self.options, averaged=averaged))

    def binder(
        self,
        user: System,
        system: System,
        directions: Mapping[str, Decl] | None = None,
        asked: Sequence[Ref] | None = None,
    ) -> Binder:
        """What checks the arrays of a system, and that what is asked for exists; by default its outputs."""
        return Binder(user, system, self.backend, self.options.dtype, self.batch_first, directions or {}, asked)


def _after(e: Equation) -> bool:
    """True for an equation that defines a step after the last, T+k, by others."""
    return bool(e.refs) and any(i.anchor and not i.runs and i.shift > 0 for i in e.out.index)
