"""Arguments of a call: the user's arrays, checked by name and bound to what an executable takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from ..backends.base import AbstractBackend
from ..cache import BoundedCache
from ..errors import ArrayError, LengthError, MissingError, code, message
from ..ir.axes import TIME
from ..ir.generated_inputs import Interval, Noise
from ..ir.names import is_cotangent
from ..ir.rewrite import live
from ..ir.system import Decl, Equation, Ref, System
from ..printing.plain import EquationWriter
from ..transform.label_checks import OPERAND, limit
from ..types import Array, Params
from ..unfold.lengths import batch_size, length, used_ends
from .array_conversion import called, convert, expected, precise, with_batch
from .step_checks import StepChecks


@dataclass(frozen=True)
class Extras:
    """What a call is given besides params and inputs.

    seed   for what is drawn
    start  steps that went before, in calls that this one continues
    ends   per axis end, the number of steps of each example
    batch  the number of examples, where no array tells it
    """

    seed: Any = None
    start: int = 0
    ends: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None


PLAIN = Extras()
REMEMBERED = 1000
"""Calls whose names and shapes are remembered, at most."""


@dataclass(frozen=True)
class Bound:
    """Arrays with a batch axis, the lengths, the batch size, and whether the user left the batch axis out."""

    values: Mapping[str, Any]
    lengths: Mapping[str, int]
    batch: int
    unbatched: bool


@dataclass(frozen=True)
class Known:
    """What calls with arrays of the same names and shapes have in common.

    arrays  of each, its name, whether it is a param, the dtype of the backend, and its shape with a batch axis
    """

    arrays: tuple[tuple[str, bool, str, tuple[int, ...]], ...]
    lengths: Mapping[str, int]
    batch: int
    unbatched: bool


class Binder:
    """Checks and converts the arrays of one program; what does not depend on them is worked out once.

    user        the template as the user declared it, whose names messages use
    system      the program's own system
    directions  names such as ``W~tangent``, which take arrays like those of W, and their declarations
    """

    def __init__(
        self,
        user: System,
        system: System,
        backend: AbstractBackend,
        dtype: str,
        batch_first: bool,
        directions: Mapping[str, Decl],
        asked: Sequence[Ref] | None = None,
    ) -> None:
        self.user, self.backend, self.dtype, self.batch_first = user, backend, dtype, batch_first
        given = {n: d for n, d in user.decls.items() if d.given}
        self.system = replace(system, decls={**given, **directions, **system.decls})
        self.steps = StepChecks(user, system, tuple(system.outputs.values() if asked is None else asked))
        self.params = {n: d for n, d in self.system.decls.items() if d.kind == "param"}
        inputs = {n: d for n, d in self.system.decls.items() if d.kind == "input"}
        self.needed = live(system, [r.name for r in system.outputs.values()])
        self.inputs = {n: d for n, d in inputs.items() if not d.automatic}
        self.automatic = {n: d for n, d in inputs.items() if d.automatic and n in self.needed}
        self.ends = {a.end for a in self.system.axes}
        self.alone = len(used_ends(user)) == 1
        self.limits: dict[str, list[tuple[int, System, Equation]]] = {}
        for name, decl in self.system.decls.items():
            if decl.kind == "input" and decl.dtype == "int":
                found = ((label_limit(of, e, name), of, e) for of in (user, system) for e in of.equations)
                self.limits[name] = [(n, of, e) for n, of, e in found if n is not None]
        self._ends_of: dict[frozenset[str], list[str]] = {}
        self._known: BoundedCache[Known] = BoundedCache(REMEMBERED)

    def only(self, kept: Callable[[Decl], bool]) -> Binder:
        """The same for some names alone: it asks for no others, and takes none."""
        part = copy(self)
        for kind in ("params", "inputs", "automatic"):
            setattr(part, kind, {n: d for n, d in getattr(self, kind).items() if kept(d)})
        part.needed = {n for n in self.needed if n in self.system.decls and kept(self.system.decls[n])}
        part._ends_of, part._known = {}, BoundedCache(REMEMBERED)
        return part

    def __call__(
        self,
        params: Params | None,
        given: Mapping[str, Any],
        directions: Mapping[str, Any] | None = None,
        extras: Extras = PLAIN,
    ) -> Bound:
        """Check and convert. Raises ArrayError, LengthError.

        An input that the requested outputs do not depend on (a label, when only predicting) may be left out.
        """
        arrays, lengths = (given, {}) if self.ends.isdisjoint(given) else self._parted(given)
        plain = not directions and not extras.ends and extras.batch is None and not self.batch_first
        key = _shapes(params, arrays, lengths) if plain else None
        if key is not None and params is not None and (known := self._known.get(key)) is not None:
            again = self._again(known, params, arrays, extras)
            if again is not None:
                return again
        bound = self._checked(params, arrays, lengths, directions, extras)
        if key is not None and params is not None:
            decls = self.system.decls
            found = ((n, n in params, precise(decls[n], self.dtype), v.shape) for n, v in bound.values.items())
            kept = tuple(a for a in found if a[0] not in self.automatic)
            self._known.put(key, Known(kept, bound.lengths, bound.batch, bound.unbatched))
        return bound

    def lengths_of(self, given: Mapping[str, Any]) -> dict[str, int]:
        """The lengths that such inputs have, whatever else a call needs. Raises ArrayError, LengthError."""
        named = {n: d for n, d in self.inputs.items() if n in given}
        found: dict[str, tuple[int, str]] = {}
        for name, decl in named.items():
            with_batch(decl, convert(self.backend, decl, given[name], self.dtype), self.batch_first, found)
        return {end: n for end, (n, _) in found.items()}

    def _parted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
        """Arrays, and lengths as Python's integers: from here on no other kind of number is met."""
        arrays = {name: value for name, value in given.items() if name not in self.ends}
        return arrays, {end: length(end, n) for end, n in given.items() if end in self.ends}

    def _again(self, known: Known, params: Mapping[str, Any], given: Mapping[str, Any], extras: Extras) -> Bound | None:
        """A call like one before, if every param is what the backend takes; of the inputs the values are checked."""
        values = {}
        fits = self.backend.fits
        for name, param, dtype, shape in known.arrays:
            array = params[name] if param else given[name]
            if not fits(array, dtype):
                if param:
                    return None
                array = convert(self.backend, self.inputs[name], array, self.dtype)
            values[name] = array if array.shape == shape else array.reshape(shape)
            if not param:
                self._labels(name, array)
                self._inside(self.inputs[name], array)
        if self.automatic:
            values.update(self.drawn(known.lengths, known.batch, extras))
        return Bound(values, known.lengths, known.batch, known.unbatched)

    def _checked(
        self,
        params: Params | None,
        arrays: Mapping[str, Any],
        lengths: Mapping[str, int],
        directions: Mapping[str, Any] | None,
        extras: Extras,
    ) -> Bound:
        if not isinstance(params, Mapping):
            if params is None:
                what = "params, a dict of arrays by name, was left out or is None"
                raise MissingError(f"{what}: give it first, as net.init(seed=0) makes it; {{}} where there are none")
            got = f"a {type(params).__name__}"
            raise ArrayError(f"params is a dict of arrays by name, as net.init(seed=0) makes it; got {got}")
        arrays, lengths = dict(arrays), dict(lengths)
        for name, value in (directions or {}).items():
            kind = params if self.system.decls[name].kind == "param" else arrays
            if kind is params:
                params = {**params, name: value}
            else:
                arrays[name] = value
        _declared(self.system, params, self.params, "param")
        _declared(self.system, arrays, self.inputs, "input")
        values, found, batches = self._values(params, arrays, extras.ends)
        for end, (n, by) in found.items():
            if lengths.setdefault(end, n) != n:
                raise LengthError(f"{end} = {lengths[end]} was given, and {by} has {n} steps")
        for end, steps in extras.ends.items():
            lengths.setdefault(end, max(steps, default=0))
        names = frozenset(values)
        if names not in self._ends_of:
            self._ends_of[names] = used_ends(self.system, {*self.needed, *values})
        for end in self._ends_of[names]:
            if end not in lengths:
                raise LengthError(f"the length {end} is unknown: pass {end}=..., the number of steps")
        if not (extras.ends and self.alone):  # along one axis alone it is enough that each example fits
            self.steps.check(lengths)
        examples = None if extras.batch is None else batch_size(extras.batch)
        batch, unbatched = _batch(batches, extras.ends, examples)
        self.steps.check_each(lengths, extras.ends)
        values.update(self.drawn(lengths, batch, extras))
        return Bound(values, lengths, batch, unbatched)

    def _values(
        self, params: Mapping[str, Any], arrays: Mapping[str, Any], ends: Mapping[str, Sequence[int]]
    ) -> tuple[dict[str, Any], dict[str, tuple[int, str]], dict[str, int | None]]:
        values: dict[str, Any] = {}
        found: dict[str, tuple[int, str]] = {}
        batches: dict[str, int | None] = {}
        for name, decl in self.params.items():
            if name in params or name in self.needed:
                if name not in params:
                    raise ArrayError(f"param {name} {decl.shape} is missing; net.init(seed=0) makes all of them")
                array = convert(self.backend, decl, params[name], self.dtype)
                if tuple(array.shape) != decl.shape:
                    raise ArrayError(f"{called(decl)} has shape {tuple(array.shape)}, declared {decl.shape}")
                values[name] = array
        for name, decl in self.inputs.items():
            if name in arrays or name in self.needed:
                if name not in arrays:
                    shape = expected(decl, self.batch_first)
                    raise ArrayError(f"input {name} is missing: pass {name}=..., of shape {shape}")
                array = convert(self.backend, decl, arrays[name], self.dtype)
                values[name], batch = with_batch(decl, array, self.batch_first, found)
                if decl.batched:
                    batches[called(decl)] = batch
                for position, axis in enumerate(decl.axes):
                    own = ends.get(axis.end, ())
                    if (
                        own
                        and len(own) == values[name].shape[len(decl.axes)]
                        and min(own) < values[name].shape[position]
                    ):
                        values[name] = self.backend.cut(values[name], position, len(decl.axes), own)
                self._labels(name, values[name])
                self._inside(decl, values[name])
        return values, found, batches

    def drawn(self, lengths: Mapping[str, int], batch: int, extras: Extras) -> dict[str, Any]:
        """The arrays of the inputs that the net fills by itself. Raises ArrayError without the seed they need."""
        values = {}
        seed = None
        for name, decl in self.automatic.items():
            if isinstance(decl.detail, Noise) and seed is None:
                if extras.seed is None:
                    raise ArrayError(
                        message(
                            f"template {self.user.name!r} draws random numbers",
                            (code(decl.source), decl.source),
                            fix="Pass seed=..., an int or a numpy.random.Generator; a seed gives the same draws again.",
                        )
                    )
                seed = self.backend.key(extras.seed)
            steps = [lengths[a.end] for a in decl.axes]
            ends = [extras.ends.get(a.end) for a in decl.axes]
            start = extras.start if TIME in decl.axes else 0
            values[name] = self.backend.supply(decl, steps, batch, precise(decl, self.dtype), seed or 0, start, ends)
        return values

    def looks_at(self, decl: Decl) -> bool:
        """Whether the values of an input are checked at each call."""
        return bool(self.limits.get(decl.name)) or isinstance(decl.detail, Interval)

    def _inside(self, decl: Decl, array: Array) -> None:
        """The values of an input lie where it says they do."""
        if isinstance(decl.detail, Interval) and array.size:
            low, high = self.backend.bounds(array) or (decl.detail.low, decl.detail.high)
            if not (decl.detail.low <= low and high <= decl.detail.high):
                wrong = low if not decl.detail.low <= low else high
                where = f"from {decl.detail.low:g} to {decl.detail.high:g}"
                raise ArrayError(message(f"input {decl.name} holds {wrong:g}, and its values lie {where}", decl.source))

    def _labels(self, name: str, array: Array) -> None:
        """Labels lie in the range of what is looked up with them."""
        limits = self.limits.get(name)
        if not limits or not array.size:
            return
        found = self.backend.bounds(array)
        if found is None:
            return
        low, high = found
        for most, system, equation in limits:
            if low < 0 or high >= most:
                wrong = low if low < 0 else high
                raise ArrayError(
                    message(
                        f"input {name} holds the label {wrong}, and labels run from 0 to {most - 1}",
                        (EquationWriter(system).equation(equation), equation.source),
                    )
                )


def _shapes(params: Params | None, arrays: Mapping[str, Array], lengths: Mapping[str, int]) -> Hashable:
    """Names and shapes, and the lengths given besides; None where something is no array."""
    if params is None:
        return None
    try:
        named = tuple([(n, v.shape) for n, v in params.items()]), tuple([(n, v.shape) for n, v in arrays.items()])
    except AttributeError:
        return None
    return (*named, *lengths.items()) if lengths else named


def _declared(system: System, names: Mapping[str, Any], declared: Mapping[str, Decl], kind: str) -> None:
    for name in names:
        if name not in declared:
            there = ", ".join(n for n in declared if not is_cotangent(n)) or "none"
            other = system.decls.get(name)
            hint = f" ({name} is a {other.kind})" if other is not None and other.kind in ("param", "variable") else ""
            if name.upper() in [a.end for a in system.axes]:
                hint = f" (the number of steps is {name.upper()}=...)"
            raise ArrayError(f"there is no {kind} {name!r}{hint} in template {system.name!r}; its {kind}s: {there}")


def _batch(
    batches: Mapping[str, int | None], ends: Mapping[str, Sequence[int]], known: int | None = None
) -> tuple[int, bool]:
    sizes = {n: b for n, b in batches.items() if b is not None}
    if sizes and len(sizes) < len(batches):
        without = next(n for n in batches if n not in sizes)
        raise ArrayError(f"{next(iter(sizes))} has a batch axis and {without} has none; give both alike")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{n} has {b}" for n, b in sizes.items())
        raise ArrayError(f"the batch sizes differ: {listed}")
    examples = next((len(steps) for steps in ends.values()), None)
    if known is not None:
        for what, n in [*((f"{n} holds", b or 1) for n, b in batches.items()), ("lengths= has", examples or known)]:
            if n != known:
                raise ArrayError(f"{what} {n} example{'s' * (n != 1)}, and there are {known}")
        return known, False
    if not sizes and (batches or examples is None):
        if examples not in (None, 1):
            raise LengthError(f"lengths= has {examples} examples, and {next(iter(batches))} has no batch axis")
        return 1, True
    batch = next(iter(sizes.values()), examples)
    assert batch is not None
    if examples not in (None, batch):
        raise LengthError(f"lengths= has {examples} examples, and {next(iter(sizes))} has {batch}")
    if batch == 0:
        by = f"{next(iter(sizes))} holds" if sizes else "lengths= has"
        raise ArrayError(f"the batch is empty: {by} no example")
    return batch, False


def label_limit(system: System, equation: Equation, name: str) -> int | None:
    """How many labels an equation knows, if it looks something up by `name`."""
    if equation.op not in OPERAND:
        return None
    label = equation.args[OPERAND[equation.op]]
    return limit(system, equation) if isinstance(label, Ref) and label.name == name else None
