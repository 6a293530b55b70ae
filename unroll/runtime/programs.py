"""A net's compiled programs: one for each set of outputs requested, compiled at the first call that requests it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import UndefinedError
from ..ir.axes import Axis
from ..ir.names import LOSS
from ..ir.system import Ref, System
from ..transform.adjoint import adjoint
from ..transform.ragged import lifted
from ..transform.simplify import reduced
from .arguments import Bound
from .build import Compiled, Compiler
from .queries import Key, Names, Queries, gradients, parted, place
from .sequence_lengths import EQUAL, Along
from .stream import Stepper


class Programs:
    """The programs of one template; a `Net` is made of them."""

    def __init__(self, system: System, compiler: Compiler) -> None:
        self.system = system
        self._compiler, self.batch_first = compiler, compiler.batch_first
        self._built: dict[Any, Compiled] = {}
        self._steppers: dict[Any, Stepper] = {}
        self._lifted: dict[tuple[Axis, ...], tuple[Axis, ...]] = {(): ()}
        self._simple = reduced(system, _roots(system))
        self._names = Queries(system, self._simple)

    def _program(self, names: Names, grad: bool) -> Compiled:
        if grad:
            self._need_loss()
            return self._gradient(self._names.wrt(None), {})
        return self._forward(self._names.asked(names)[1])

    def _forward(self, wanted: Mapping[Key, Ref], along: Along = EQUAL) -> Compiled:
        return self._get(("run", *wanted), lambda: replace(self._simple, outputs=wanted), (), along)

    def _gradient(self, names: tuple[Key, ...], wanted: Mapping[Key, Ref], along: Along = EQUAL) -> Compiled:
        def means() -> tuple[str, ...]:
            return (LOSS, *gradients(len(names))) if self._per_example(along) else ()

        def make() -> System:
            return self._adjoint(names, {LOSS: Ref("loss"), **wanted})

        return self._get(("grad", names, *wanted), make, (), along, means)

    def _adjoint(
        self, names: tuple[Key, ...], wanted: Mapping[Any, Ref], seeds: Mapping[str, str] | None = None
    ) -> System:
        """The adjoint with the outputs wanted, and the gradient by each name or instance."""
        asked = [parted(n) for n in names]
        apart = [name for name, _ in asked if not self.system.decls[name].given]
        simple = reduced(self.system, _roots(self.system), apart) if apart else self._simple
        system = adjoint(simple, tuple(dict.fromkeys(name for name, _ in asked)), seeds)
        grads = [place(system.decls[f"{name}~"], steps) for name, steps in asked]
        return replace(system, outputs={**wanted, **dict(zip(gradients(len(names)), grads, strict=True))})

    def _gradients(
        self, system: System, names: tuple[Key, ...], results: Mapping[Any, Any], bound: Bound
    ) -> dict[Any, Any]:
        keys = gradients(len(names))
        return {name: self._out(system, key, results[key], bound) for name, key in zip(names, keys, strict=True)}

    def _get(
        self,
        asked: tuple[Any, ...],
        make: Callable[[], System],
        directions: tuple[str, ...],
        along: Along,
        means: Callable[[], tuple[str, ...]] = tuple,
    ) -> Compiled:
        """The program that was made for what is asked, or a new one; all else follows from that.

        Where no example is shorter than the arrays, and nothing gains a value for each example, the plain one serves.
        """
        each = self._lifting(along.each)
        key = (*asked, None, *along.short, None, *each) if along.short or each else asked
        made = self._built.get(key)
        if made is None:
            made = self._built[key] = self._compiler.make(make(), directions, along.short, each, means())
        return made

    def _lifting(self, each: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Those axes, where what runs along one has a value for each example for that alone; none where all has."""
        if each not in self._lifted:
            before, after = self._simple.decls, lifted(self._simple, each).decls
            self._lifted[each] = each if any(after[n].batched and not d.batched for n, d in before.items()) else ()
        return self._lifted[each]

    def _per_example(self, along: Along) -> bool:
        """True where the loss has a value for each example: it may depend on nothing of it but its length."""
        return self._simple.decls["loss"].batched or lifted(self._simple, along.each).decls["loss"].batched

    def _stepper(self, wanted: dict[Key, Ref]) -> Stepper:
        key = tuple(wanted)
        if key not in self._steppers:
            system = replace(self._simple, outputs=wanted)
            self._steppers[key] = Stepper(system, self._compiler, self._out, (stepper, (self, wanted)))
        return self._steppers[key]

    def _need_loss(self) -> None:
        if self.system.loss is None:
            raise UndefinedError(f"template {self.system.name!r} has no loss; set g.loss = ...")

    def _out(self, system: System, name: Any, value: Any, bound: Bound) -> Any:
        """A result in the user's layout: batch where the inputs have it."""
        ref = system.outputs[name]
        if not system.decls[ref.name].batched:
            return value
        axes = sum(i.runs for i in ref.index)
        if bound.unbatched:
            return value.reshape(value.shape[:axes] + value.shape[axes + 1 :])
        if self.batch_first and axes:
            return value.transpose(axes, *range(axes), *range(axes + 1, value.ndim))
        return value


def stepper(programs: Programs, wanted: dict[Key, Ref]) -> Stepper:
    """What streams of these outputs share; made once for all."""
    return programs._stepper(wanted)


def _roots(system: System) -> list[str]:
    return [n for n, d in system.decls.items() if d.kind != "temporary"]
