"""`Results`: what a program returned, laid out as the inputs were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.system import Ref, System
from ..types import Array, Outputs
from .arguments import Bound
from .queries import Key, gradients


def layout(system: System, ref: Ref, unbatched: bool, batch_first: bool) -> Callable[[Array], Array]:
    """What gives an output its batch axis where the inputs have theirs: first, after the steps, or nowhere."""
    axes = sum(i.runs for i in ref.index)
    if not system.decls[ref.name].batched:
        return _as_it_is
    if unbatched:
        return lambda value: value.squeeze(axes)
    if batch_first and axes:
        return lambda value: value.transpose(axes, *range(axes), *range(axes + 1, value.ndim))
    return _as_it_is


def _as_it_is(value: Array) -> Array:
    return value


@dataclass(frozen=True)
class Results:
    """The outputs of one call: ``results[name]`` is one of them in the user's layout.

    system  the program's own system, which says what has a value for each example
    bound   the arguments of the call
    values  the arrays as the executable returned them: steps, batch, shape
    """

    system: System
    bound: Bound
    values: Mapping[Any, Any]
    batch_first: bool

    def __getitem__(self, name: object) -> Array:
        """An output in the user's layout."""
        arrange = layout(self.system, self.system.outputs[name], self.bound.unbatched, self.batch_first)
        return arrange(self.values[name])

    def asked(self, names: Iterable[Any], single: bool) -> Outputs:
        """Outputs as a dict, or the first alone where one was asked for by itself."""
        shown = {name: self[name] for name in names}
        return next(iter(shown.values())) if single else shown

    def gradients(self, names: tuple[Key, ...]) -> dict[Any, Any]:
        """The gradient by each name or instance."""
        return {name: self[key] for name, key in zip(names, gradients(len(names)), strict=True)}
