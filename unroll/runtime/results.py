"""`Results`: what a program returned, laid out as the inputs were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.system import System
from ..types import Array, Outputs
from .arguments import Bound
from .queries import Key, gradients


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
        """An output with its batch axis where the inputs have theirs: first, after the steps, or nowhere."""
        value, ref = self.values[name], self.system.outputs[name]
        if not self.system.decls[ref.name].batched:
            return value
        axes = sum(i.runs for i in ref.index)
        if self.bound.unbatched:
            return value.reshape(value.shape[:axes] + value.shape[axes + 1 :])
        if self.batch_first and axes:
            return value.transpose(axes, *range(axes), *range(axes + 1, value.ndim))
        return value

    def asked(self, names: Iterable[Any], single: bool) -> Outputs:
        """Outputs as a dict, or the first alone where one was asked for by itself."""
        shown = {name: self[name] for name in names}
        return next(iter(shown.values())) if single else shown

    def gradients(self, names: tuple[Key, ...]) -> dict[Any, Any]:
        """The gradient by each name or instance."""
        return {name: self[key] for name, key in zip(names, gradients(len(names)), strict=True)}
