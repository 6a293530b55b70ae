"""Sequence lengths: ``lengths=``, or lists with an array for each example of a padded batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from ..backends.base import AbstractBackend
from ..errors import ArrayError, LengthError
from ..ir.axes import Axis
from ..ir.system import Decl, System
from ..ops.integers import integer
from ..types import Array, ExampleLengths
from ..unfold.lengths import length, used_ends
from .array_conversion import called, convert

Ends = dict[str, list[int]]


@dataclass(frozen=True)
class Along:
    """The axes on which examples have lengths of their own.

    each   those on which they do, whatever the lengths: what runs along one has a value for each example
    short  those of them on which an example is shorter than the arrays
    """

    each: tuple[Axis, ...] = ()
    short: tuple[Axis, ...] = ()


EQUAL = Along()


@dataclass(frozen=True)
class GivenLengths:
    """The arrays, padded; per axis end the steps of each example; and the axes of these."""

    arrays: Mapping[str, Any]
    directions: Mapping[str, Any]
    ends: Mapping[str, list[int]]
    along: Along = EQUAL


class LengthReader:
    """Reads the lengths that are given to the nets of one template."""

    def __init__(self, system: System, backend: AbstractBackend, dtype: str, batch_first: bool) -> None:
        self.system, self.backend, self.dtype, self.batch_first = system, backend, dtype, batch_first
        ends = used_ends(system)
        self.axes = {a.end: a for a in system.axes if a.end in ends}

    def __call__(
        self, lengths: ExampleLengths, arrays: Mapping[str, Array], directions: Mapping[str, Array]
    ) -> GivenLengths:
        """The lengths of a call. Raises LengthError, ArrayError, naming the example."""
        if lengths is None and not any(isinstance(v, (list, tuple)) for v in (*arrays.values(), *directions.values())):
            return GivenLengths(arrays, directions, {})
        found: Ends = {}
        by: dict[str, str] = {}
        padded = [{n: self._padded(n, v, found, by) for n, v in given.items()} for given in (arrays, directions)]
        if lengths is None and not found:
            return GivenLengths(arrays, directions, {})
        for end, ends in self._given(lengths).items():
            for b, (n, own) in enumerate(zip(ends, found.get(end, ()), strict=False)):
                if n != own:
                    raise LengthError(
                        f"lengths: example {b} has {n} steps along {self._t(end)}, and in {by[end]} {own}"
                    )
            if len(ends) != len(found.setdefault(end, ends)):
                raise LengthError(f"lengths= has {len(ends)} examples, and {by[end]} has {len(found[end])}")
        counts = {len(ends): end for end, ends in found.items()}
        if len(counts) > 1:
            listed = ", ".join(f"{len(ends)} along {self._t(end)}" for end, ends in found.items())
            raise LengthError(f"lengths= has different numbers of examples: {listed}")
        arrays = {n: self._array(n, v) for n, v in padded[0].items()}
        short = tuple(axis for end, axis in self.axes.items() if end in found and self._short(end, found, arrays))
        return GivenLengths(
            arrays, padded[1], found, Along(tuple(a for end, a in self.axes.items() if end in found), short)
        )

    def _t(self, end: str) -> str:
        return self.axes[end].name

    def _given(self, lengths: ExampleLengths) -> Ends:
        """What ``lengths=`` says, by axis."""
        if lengths is None:
            return {}
        if not isinstance(lengths, Mapping):
            if len(self.axes) != 1:
                known = f"{{{', '.join(f'{end!r}: [...]' for end in self.axes)}}}"
                has = f"has {len(self.axes)} axes: pass lengths={known}" if self.axes else "has no time axis"
                raise LengthError(f"lengths={_shown(lengths)}: template {self.system.name!r} {has}")
            lengths = {next(iter(self.axes)): lengths}
        for end in lengths:
            if end not in self.axes:
                hint = f"; it has {', '.join(self.axes)}" if self.axes else ""
                raise LengthError(f"lengths: template {self.system.name!r} has no axis that ends in {end!r}{hint}")
        return {end: self._numbers(end, given) for end, given in lengths.items()}

    def _numbers(self, end: str, given: Array) -> list[int]:
        items = [given] if integer(given) is not None else given
        if (
            not isinstance(items, Iterable)
            or isinstance(items, (str, bytes, Mapping, Set))
            or not getattr(items, "ndim", 1)
        ):
            raise LengthError(f"lengths={_shown(given)}: a sequence of integers was expected, one for each example")
        numbers = []
        for b, n in enumerate(items):
            steps = integer(n)
            if steps is None or steps < 0:
                raise LengthError(
                    f"lengths: example {b} has {_shown(n)} steps along {self._t(end)}; a length is an integer from 0 up"
                )
            numbers.append(steps)
        return numbers

    def _padded(self, name: str, value: Array, found: Ends, by: dict[str, str]) -> Array:
        """An array in place of a list with one for each example; the lengths are noted."""
        decl = self.system.decls.get(name)
        if decl is None or not self._is_list(decl, value):
            return value
        parts = [convert(self.backend, decl, v, self.dtype) for v in value]
        axes = len(decl.axes)
        for b, part in enumerate(parts):
            if tuple(part.shape[axes:]) != decl.shape:
                wanted = f"({', '.join([*(a.end for a in decl.axes), *map(str, decl.shape)])})"
                raise ArrayError(f"example {b} of {called(decl)} has shape {tuple(part.shape)}, expected {wanted}")
        for position, axis in enumerate(decl.axes):
            ends = [part.shape[position] for part in parts]
            known = found.setdefault(axis.end, ends)
            by.setdefault(axis.end, called(decl))
            if len(known) != len(ends):
                raise ArrayError(
                    f"{called(decl)} lists {len(ends)} examples, and {by[axis.end]} lists {len(known)}; "
                    "each has one array for each example"
                )
            for b, (n, own) in enumerate(zip(ends, known, strict=True)):
                if n != own:
                    raise ArrayError(
                        f"example {b} of {called(decl)} has {n} steps along {axis.name}, and of {by[axis.end]} {own}"
                    )
        padded = self.backend.pad(parts, axes)
        rank = len(padded.shape)
        return padded.transpose(axes, *range(axes), *range(axes + 1, rank)) if self.batch_first else padded

    def _is_list(self, decl: Decl, value: object) -> bool:
        """True for a list of arrays that each have the axes of one example."""
        if decl.kind not in ("input", "variable") or not decl.axes or not isinstance(value, (list, tuple)) or not value:
            return False
        rank = len(decl.axes) + len(decl.shape)
        return all(len(getattr(v, "shape", ())) == rank for v in value)

    def _array(self, name: str, value: Array) -> Array:
        decl = self.system.decls.get(name)
        return value if decl is None or decl.kind != "input" else convert(self.backend, decl, value, self.dtype)

    def _short(self, end: str, found: Ends, arrays: Mapping[str, Any]) -> bool:
        """True where an example has fewer steps than the arrays. Raises LengthError where it has more."""
        total = length(end, arrays[end]) if end in arrays else max(found[end], default=0)
        by = f"{end} = {total} was given"
        for name, decl in self.system.decls.items():
            rank = len(decl.axes) + len(decl.shape)
            shape = tuple(getattr(arrays.get(name), "shape", ()))
            if decl.kind == "input" and self.axes[end] in decl.axes and len(shape) in (rank, rank + 1):
                first = 1 if self.batch_first and len(shape) > rank else 0
                total = shape[first + decl.axes.index(self.axes[end])]
                by = f"input {name} has {total}"
                break
        for b, n in enumerate(found[end]):
            if n > total:
                raise LengthError(f"lengths: example {b} has {n} steps along {self._t(end)}, and {by}")
        return any(n < total for n in found[end])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
