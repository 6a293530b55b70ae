"""Runs whose computed labels are checked: where one lies outside its table, the run is repeated to find the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..backends.base import AbstractExecutable, Session
from ..compiler.report import Costs
from ..errors import LabelError
from ..ir.axes import Axis, running
from ..ir.system import Ref, System
from ..printing.plain import EquationWriter
from ..transform.label_checks import COUNT, Lookup, outside_of


@dataclass(frozen=True)
class Outside:
    """A label that lies outside its table: its value, at which step along each axis, and of which example."""

    system: System
    lookup: Lookup
    value: int | None = None
    steps: Mapping[Axis, int] = field(default_factory=dict)
    example: int | None = None

    def error(self) -> LabelError:
        """What to raise."""
        at = [f"{a.name} = {k}" for a, k in self.steps.items()]
        at += [] if self.example is None else [f"example {self.example}"]
        what = f"is {self.value}" + (f" at {', '.join(at)}" if at else "")
        label, e = EquationWriter(self.system).expression(self.lookup.label), self.lookup.equation
        what = "lies outside" if self.value is None else what
        error = LabelError(outside_of(self.system, label, what, self.lookup.limit, e))
        error.found = self
        return error

    def moved(self, axis: Axis, before: int, rows: Sequence[int] | None) -> Outside:
        """The same where `before` steps came first, and the place of each example computes the one in `rows`."""
        steps = {a: k + before * (a == axis) for a, k in self.steps.items()}
        example = self.example if rows is None or self.example is None else rows[self.example]
        return replace(self, steps=steps, example=example)


class Checked(AbstractExecutable):
    """An executable whose system has a count of labels that lie outside. Raises ArrayError where there is one.

    again  compiles a system once more, for results that are NumPy arrays
    """

    def __init__(
        self,
        run: AbstractExecutable,
        system: System,
        found: list[Lookup],
        held: list[str],
        again: Callable[[System], AbstractExecutable],
    ) -> None:
        self.run, self.system, self.found, self.held, self.again = run, system, found, held, again
        self.program = run.program

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    def costs(self, lengths: Mapping[str, int], batch: int) -> Costs | None:
        """Those of the run."""
        return self.run.costs(lengths, batch)

    def __str__(self) -> str:
        return str(self.run)

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The results, without the count."""
        results = self.run(values, lengths, batch)
        if results.pop(COUNT) != 0:
            raise self.first(values, lengths, batch).error()
        return results

    def session(self, held: Mapping[str, Any], state: Mapping[str, Any]) -> Session:
        """Calls one after another, each checked."""
        return CheckedSession(self, self.run.session(held, state), held)

    def first(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> Outside:
        """The first label that lies outside."""
        outputs = {n: Ref(n, tuple(running(a) for a in self.system.decls[n].axes)) for n in self.held}
        arrays = self.again(replace(self.system, outputs=outputs, loss=None, stop=None))(values, lengths, batch)
        for lookup, name in zip(self.found, self.held, strict=True):
            array, axes = arrays[name], self.system.decls[name].axes
            outside = (array < 0) | (array >= lookup.limit)
            for n, axis in enumerate(axes):  # steps that the lookup does not have are 0 here
                steps = lookup.domain[n].steps(lengths)
                lacking = [k for k in range(lengths[axis.end]) if k + 1 not in steps]
                outside[(*[slice(None)] * n, lacking)] = False
            if outside.any():
                where = [int(k[0]) for k in outside.nonzero()] if array.ndim else []
                at = {a: k + 1 for a, k in zip(axes, where, strict=False)}
                example = where[len(axes)] if batch > 1 and self.system.decls[name].batched else None
                return Outside(self.system, lookup, int(array[tuple(where)]), at, example)
        return Outside(self.system, self.found[0])


class CheckedSession(Session):
    """A session whose computed labels are checked."""

    executable: Checked

    def __init__(self, run: Checked, inner: Session, held: Mapping[str, Any]) -> None:
        self.executable, self._inner, self._held = run, inner, held
        self.read, self.write = inner.read, inner.write  # type: ignore[method-assign]

    def __call__(self, values: Mapping[str, Any], lengths: Mapping[str, int], batch: int) -> dict[str, Any]:
        """The next call. Raises LabelError."""
        before = self.read()
        results = self._inner(values, lengths, batch)
        if results.pop(COUNT) != 0:
            self.write(before)
            raise self.executable.first({**self._held, **before, **values}, lengths, batch).error()
        return results

    def copy(self) -> Session:
        """Another that goes on from here."""
        return CheckedSession(self.executable, self._inner.copy(), self._held)
