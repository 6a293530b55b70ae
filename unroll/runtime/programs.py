"""A net's compiled programs: one for each set of outputs requested, compiled at the first call that requests it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any

from ..backends.base import AbstractBackend, AbstractExecutable, Options
from ..compiler.pipeline import expand
from ..dependence.loop_order import NoOrder
from ..errors import CausalityError, UndefinedError, message
from ..ir.axes import Axis
from ..ir.names import LOSS
from ..ir.rewrite import live
from ..ir.system import Decl, Equation, Ref, System, visible
from ..log import LOG
from ..printing.plain import EquationWriter
from ..transform.adjoint import adjoint
from ..transform.label_checks import COUNT, counted, lookups
from ..transform.no_steps import without_steps
from ..transform.ragged import lifted, ragged
from ..transform.simplify import reduced
from ..transform.two_halves import Halves, halved
from ..transform.verify import check_results
from ..types import Params
from .arguments import PLAIN, Binder, Bound, Extras
from .checked_labels import Checked
from .queries import Key, gradients, instance_at, parted
from .results import Results
from .sequence_lengths import EQUAL, Along


@dataclass(frozen=True)
class Compiled:
    """A program, and what checks its arrays.

    specialised  the same at lengths at which these axes have no steps, by their ends, see `transform.no_steps`
    """

    system: System
    executable: AbstractExecutable
    binder: Binder
    averaged: tuple[str, ...]
    specialised: Callable[[frozenset[str]], AbstractExecutable]

    def call(
        self,
        params: Params | None,
        arrays: Mapping[str, Any],
        directions: Mapping[str, Any] | None = None,
        extras: Extras = PLAIN,
    ) -> Results:
        """Check the arrays and run."""
        return self.run(self.binder(params, arrays, directions, extras))

    def run(self, bound: Bound) -> Results:
        """Run on arrays that are bound."""
        run = self.executable
        if not self.binder.steps.plain(bound.lengths):
            run = self.specialised(frozenset(end for end, n in bound.lengths.items() if n == 0))
        values = run(bound.values, bound.lengths, bound.batch)
        check_results(self.system, values, bound.lengths, bound.batch, self.averaged[:1])
        return Results(self.system, bound, values, self.binder.batch_first)


@dataclass(frozen=True)
class CompiledHalves:
    """A forward pass and its backward pass, and the outputs of the first by the inputs of the second."""

    first: Compiled
    then: Compiled
    kept: Mapping[str, str]


class Programs:
    """Compiles a template for a backend, as often as something new is requested of it.

    system   the template as declared, whose names messages use
    simple   the same, simplified: what every program is made of
    options  of the backend, the dtype among them
    """

    def __init__(self, system: System, backend: AbstractBackend, options: Options, batch_first: bool) -> None:
        self.system, self.backend, self.options, self.batch_first = system, backend, options, batch_first
        self.simple = reduced(system, _roots(system))
        self.compiled: dict[Any, Compiled] = {}
        self._halves: dict[Any, Halves] = {}
        self._lifted: dict[tuple[Axis, ...], tuple[Axis, ...]] = {(): ()}

    def forward(self, wanted: Mapping[Key, Ref], along: Along = EQUAL) -> Compiled:
        """The program that computes outputs."""
        return self.get(("run", *wanted), lambda: replace(self.simple, outputs=wanted), (), along)

    def gradient(self, names: tuple[Key, ...], wanted: Mapping[Key, Ref], along: Along = EQUAL) -> Compiled:
        """The program that computes the loss, its gradient by each name or instance, and outputs."""

        def means() -> tuple[str, ...]:
            return (LOSS, *gradients(len(names))) if self.per_example(along) else ()

        def make() -> System:
            return self.adjoint(names, {LOSS: Ref("loss"), **wanted})

        return self.get(("grad", names, *wanted), make, (), along, means)

    def two_halves(
        self, of: Sequence[str], wanted: Mapping[Key, Ref], names: tuple[Key, ...], along: Along = EQUAL
    ) -> CompiledHalves:
        """The program of outputs, and that of the gradients of their products with ``n~seed`` for each n of `of`."""
        each = self._lifting(along.each)
        seeds = {n: f"{n}~seed" for n in of}
        key = (tuple(wanted), names, each)
        found = self._halves.get(key)
        if found is None:
            whole = self.adjoint(names, wanted, seeds)
            whole = lifted(whole, each) if each else whole
            found = self._halves[key] = halved(
                self.needed(whole), tuple(wanted), {s: whole.decls[s] for s in seeds.values()}
            )
        first = self.get(("first", *wanted, None, *names), lambda: found.first, (), along)
        then = self.get(("then", *wanted, None, *names), lambda: found.then, tuple(seeds.values()), along)
        return CompiledHalves(first, then, found.kept)

    def get(
        self,
        asked: tuple[Any, ...],
        make: Callable[[], System],
        directions: Sequence[str],
        along: Along,
        means: Callable[[], tuple[str, ...]] = tuple,
    ) -> Compiled:
        """The program that was made for what is requested, or a new one; all else follows from that.

        directions  names of inputs like ``W~tangent``, which are given even where nothing reads them
        means       outputs that are averaged over the batch, see `unroll.backends.base.Options`

        Where no example is shorter than the arrays, and nothing gains a value for each example, the plain one serves.
        Raises CausalityError where lengths leave no order.
        """
        each = self._lifting(along.each)
        key = (*asked, None, *along.short, None, *each) if along.short or each else asked
        made = self.compiled.get(key)
        if made is None:
            made = self.compiled[key] = self._compile(make(), directions, along.short, each, means())
        return made

    def adjoint(
        self, names: tuple[Key, ...], wanted: Mapping[Any, Ref], seeds: Mapping[str, str] | None = None
    ) -> System:
        """The adjoint with the outputs wanted, and the gradient by each name or instance."""
        asked = [parted(n) for n in names]
        apart = [name for name, _ in asked if not self.system.decls[name].given]
        simple = reduced(self.system, _roots(self.system), apart) if apart else self.simple
        system = adjoint(simple, tuple(dict.fromkeys(name for name, _ in asked)), seeds)
        grads = [instance_at(system.decls[f"{name}~"], steps) for name, steps in asked]
        return replace(system, outputs={**wanted, **dict(zip(gradients(len(names)), grads, strict=True))})

    def per_example(self, along: Along) -> bool:
        """True where the loss has a value for each example: it may depend on nothing of it but its length."""
        return self.simple.decls["loss"].batched or lifted(self.simple, along.each).decls["loss"].batched

    def need_loss(self) -> None:
        """Raises UndefinedError for a template without a loss."""
        if self.system.loss is None:
            raise UndefinedError(f"template {self.system.name!r} has no loss; set g.loss = ...")

    def needed(self, system: System) -> System:
        """A system cut down to what its outputs need, in operations that backends know."""
        roots = [r.name for r in system.outputs.values()]
        system = reduced(replace(system, loss=None, stop=None, truncations=()), roots)
        kept = live(system, roots)
        decls = {n: d for n, d in system.decls.items() if n in kept}
        return expand(replace(system, name=self.system.name, decls=decls))

    def build(self, system: System, held: Sequence[str] = (), carried: Sequence[str] = ()) -> AbstractExecutable:
        """Compile what `needed` returned, for sessions: see `unroll.backends.base.Session`."""
        return self._checked(system, (), replace(self.options, held=tuple(held), carried=tuple(carried)))[1]

    def binder(
        self,
        user: System,
        system: System,
        directions: Mapping[str, Decl] | None = None,
        asked: Sequence[Ref] | None = None,
    ) -> Binder:
        """What checks the arrays of a system, and that what is asked for exists; by default its outputs."""
        return Binder(user, system, self.backend, self.options.dtype, self.batch_first, directions or {}, asked)

    def _compile(
        self,
        system: System,
        directions: Sequence[str],
        short: tuple[Axis, ...],
        each: tuple[Axis, ...],
        averaged: tuple[str, ...],
    ) -> Compiled:
        """What the outputs of a system need, compiled.

        short  the axes on which an example is shorter than the arrays
        each   the axes on which what runs along them has a value for each example for that alone
        """
        system = lifted(system, each) if each else system
        given = {name: system.decls[name] for name in directions}
        options = replace(self.options, averaged=averaged)
        asked, whole = tuple(system.outputs.values()), self.needed(system)

        @cache
        def specialised(empty: frozenset[str]) -> AbstractExecutable:
            return self._checked(self.needed(without_steps(whole, dict.fromkeys(empty, 0))), short, options)[1]

        try:
            system, executable = self._checked(whole, short, options)
        except NoOrder:
            if not short:
                raise
            raise CausalityError(
                message(
                    f"with lengths of their own, no order of steps can compute this of template {self.system.name!r}: "
                    "what follows the last step depends on the last step, and running steps read it",
                    *((EquationWriter(self.system).equation(e), e.source) for e in self.system.equations if _after(e)),
                    fix="Put examples of one length into a batch, without lengths=.",
                )
            ) from None
        return Compiled(system, executable, self.binder(self.system, system, given, asked), averaged, specialised)

    def _checked(self, system: System, short: tuple[Axis, ...], options: Options) -> tuple[System, AbstractExecutable]:
        """A system as it is compiled, and the executable, which checks the labels that the system computes."""
        own = [n for n, d in self.system.decls.items() if d.kind == "input" and not d.automatic]
        found = lookups(system, own) if self.backend.waits else []
        if not found:
            return self._executable(system, short, options)
        whole, held = counted(system, found)
        made, run = self._executable(self.needed(whole), short, options)

        def again(system: System) -> AbstractExecutable:
            return self._executable(self.needed(system), short, self.options)[1]

        return made, Checked(run, whole, found, held, again)

    def _executable(
        self, system: System, short: tuple[Axis, ...], options: Options
    ) -> tuple[System, AbstractExecutable]:
        if short:
            system = self.needed(ragged(system, short, self.options.debug_nans))
        start = perf_counter()
        with self.backend.quiet():
            made = self.backend.build(system, options)
        if LOG.isEnabledFor(logging.INFO):
            LOG.info(
                "template %r: compiled %s for %s, %s, from %d equations, in %.3f s",
                self.system.name,
                _listed(system.outputs),
                self.backend.name,
                options,
                len(system.equations),
                perf_counter() - start,
            )
        return system, made

    def _lifting(self, each: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Those axes, where what runs along one has a value for each example for that alone; none where all has."""
        if each not in self._lifted:
            before, after = self.simple.decls, lifted(self.simple, each).decls
            self._lifted[each] = each if any(after[n].batched and not d.batched for n, d in before.items()) else ()
        return self._lifted[each]


def _listed(outputs: Iterable[object]) -> str:
    """``h, o``, or ``loss and 3 gradients``: outputs by the names that users have for them."""
    names = [str(n).removeprefix("~") for n in outputs if str(n) != COUNT]
    named = [visible(n) for n in names if not n.isdigit()]
    grads = len(names) - len(named)
    return ", ".join(named) + f" and {grads} gradient{'s' * (grads > 1)}" * (grads > 0)


def _roots(system: System) -> list[str]:
    return [n for n, d in system.decls.items() if d.kind != "temporary"]


def _after(e: Equation) -> bool:
    """True for an equation that defines a step after the last, T+k, by others."""
    return bool(e.refs) and any(i.anchor and not i.runs and i.shift > 0 for i in e.out.index)
