"""What `ModelNet.sample` is told of a past: read, checked, and laid out as the conditioned sampler takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..backends.common.observations import Observations, SeenPart, first_seen, observations
from ..errors import ArrayError, LengthError, UndefinedError
from ..ir.generated_inputs import Noise
from ..ir.system import Decl
from ..runtime.array_conversion import convert, precise, with_batch
from ..runtime.queries import instance, keyed, parted
from ..types import Array
from ..unfold.dag import Dag, Node
from ..unfold.lengths import length, unfold
from .conditioning import ConditionedSampler
from .spec import Distribution, ModelSpec


@dataclass(frozen=True, slots=True)
class Setting:
    """How arrays come: for which backend, in which precision, and in which order of axes."""

    backend: Any
    dtype: str
    batch_first: bool


class Past:
    """The values that are observed, of some of the random variables of a model.

    keys    the random variables of which there are any
    """

    def __init__(self, model: ModelSpec, setting: Setting, observed: object) -> None:
        if not isinstance(observed, Mapping):
            raise ArrayError(
                f'observed= takes a dict from names, or instances, to arrays, {{"y": Y[:20]}}; '
                f"got a {type(observed).__name__}"
            )
        self.model, self.setting = model, setting
        self._given = [(*self._meant(item), value) for item, value in observed.items()]
        self.keys = tuple(dict.fromkeys(key for key, _, _ in self._given))
        self.lengths: dict[str, int] = {}
        self.laid: dict[str, Observations] = {}

    def _meant(self, item: object) -> tuple[str, tuple[int, ...]]:
        """The random variable that a key of the dict means, and the steps, where it is an instance."""
        name, steps = parted(keyed(item)) if instance(item) else (item, ())
        for key, law in self.model.random.items():
            if (not steps and key == name) or (steps and law.out.name == name and _is_at(law, steps)):
                return key, steps
        known = ", ".join(self.model.random)
        raise UndefinedError(f"observed names {item!r}, and the random variables are {known}")

    def arrays(self, sampler: ConditionedSampler, given: Mapping[str, Any], batch: int | None) -> dict[str, Array]:
        """The arrays of the inputs that tell the sampler; `given` are those of the other inputs."""
        self.lengths, batches = self._known(given)
        parts: dict[str, list[SeenPart]] = {}
        for key, steps, value in self._given:
            for part, examples in self._parts(key, steps, value):
                parts.setdefault(key, []).append(part)
                batches.setdefault(f"observed {key}", examples)
        if batch is not None:
            batches["batch="] = batch
        sizes = {what: n for what, n in batches.items() if n is not None}
        if len(set(sizes.values())) > 1:
            raise ArrayError(f"the batch sizes differ: {', '.join(f'{what} has {n}' for what, n in sizes.items())}")
        result: dict[str, Array] = {}
        for key, told in sampler.told.items():
            decl, law = self._decl(key), self.model.random[key]
            ends = [self._length(axis.end) for axis in law.out.running]
            dtype = precise(decl, self.setting.dtype)
            size = next(iter(sizes.values()), None)
            made = observations(parts.get(key, []), ends, size, decl.shape, dtype, self.setting.dtype)
            self.laid[key] = made
            for name, array in zip((told.value, told.seen, told.some, told.all), made, strict=True):
                result[name] = self._outside(array, len(ends)) if size is not None else array
        return result

    def _outside(self, array: Array, axes: int) -> Array:
        """In the order in which the user gives arrays."""
        rest = range(axes + 1, array.ndim)
        return array.transpose(axes, *range(axes), *rest) if self.setting.batch_first else array

    def _known(self, given: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int | None]]:
        """The lengths and the batch sizes that the other inputs have."""
        found: dict[str, tuple[int, str]] = {}
        batches: dict[str, int | None] = {}
        ends = {a.end for a in self.model.sampler.axes}
        for name, value in given.items():
            decl = self.model.sampler.decls.get(name)
            if name not in ends and decl is not None and decl.kind == "input":
                array = convert(self.setting.backend, decl, value, self.setting.dtype)
                batches[f"input {name}"] = with_batch(decl, array, self.setting.batch_first, found)[1]
        lengths = {end: n for end, (n, _) in found.items()}
        return {**lengths, **{end: length(end, given[end]) for end in ends if end in given}}, batches

    def _length(self, end: str) -> int:
        if end not in self.lengths:
            raise LengthError(
                f"the length {end} is unknown: pass {end}=..., the number of steps, those observed included"
            )
        return self.lengths[end]

    def _decl(self, key: str) -> Decl:
        """A random variable as it is told: along the axes that it runs along."""
        law = self.model.random[key]
        decl = self.model.sampler.decls[law.out.name]
        return replace(decl, name=key, axes=law.out.running, batched=True)

    def _parts(self, key: str, steps: tuple[int, ...], value: Array) -> Iterator[tuple[SeenPart, int | None]]:
        """What one array, or a list with one for each example, tells; with the number of its examples."""
        decl = self._decl(key)
        if steps:
            running = [k for k, i in zip(steps, self.model.random[key].out.index, strict=True) if i.runs]
            for k, axis in zip(running, decl.axes, strict=True):
                if not 1 <= k <= self._length(axis.end):
                    raise LengthError(
                        f"observed has {key} at step {k}, and the steps run from 1 to {self._length(axis.end)}"
                    )
            decl = replace(decl, axes=())
            array, batch = self._array(decl, value)
            yield SeenPart(tuple(k - 1 for k in running), None, array), batch
            return
        rank = len(decl.axes) + len(decl.shape)
        if decl.axes and isinstance(value, (list, tuple)) and all(len(getattr(v, "shape", ())) == rank for v in value):
            for example, own in enumerate(value):
                array, _ = self._array(decl, own)
                yield SeenPart(self._first(key, decl, array), example, array.squeeze(len(decl.axes))), len(value)
            return
        array, batch = self._array(decl, value)
        yield SeenPart(self._first(key, decl, array), None, array), batch

    def _array(self, decl: Decl, value: Array) -> tuple[Array, int | None]:
        """An array on the host, with a batch axis."""
        backend = self.setting.backend
        array, batch = with_batch(decl, convert(backend, decl, value, self.setting.dtype), self.setting.batch_first, {})
        array = backend.host(array)
        law = self.model.random[decl.name]
        if law.family == "categorical" and array.size:
            low, high, most = int(array.min()), int(array.max()), self.model.labels(law)
            if low < 0 or high >= most:
                wrong = low if low < 0 else high
                raise ArrayError(f"observed {decl.name} holds the label {wrong}, and labels run from 0 to {most - 1}")
        return array, batch

    def _first(self, key: str, decl: Decl, array: Array) -> tuple[slice, ...]:
        """The steps of an array, from the first one on along each axis."""
        for axis, n in zip(decl.axes, array.shape, strict=False):
            if n > self._length(axis.end):
                raise LengthError(
                    f"observed {key} has {n} steps along {axis.name}, and {axis.end} = {self._length(axis.end)}"
                )
        return tuple(slice(n) for _, n in zip(decl.axes, array.shape, strict=False))

    # -- what cannot be conditioned on ---------------------------------------------------------------------------------

    def check(self, fault: Array, own: frozenset[str]) -> None:
        """Raises ArrayError where something observed depends on what is drawn, naming both."""
        found = first_seen(self.setting.backend.host(fault))
        if found is None:
            return
        example = found[0] if found else None
        dag = unfold(self.model.generative, self.lengths, "variables")
        for key in self.keys:
            for node in self._observed(key, example):
                cause = self._cause(dag, node, own, example)
                if cause is not None:
                    raise ArrayError(self._told(node, *cause, "" if example is None else f", in example {example}"))

    def _observed(self, key: str, example: int | None) -> Iterator[Node]:
        """The instances of a variable of which something is observed in an example."""
        law, some = self.model.random[key], self.laid[key].some
        ends = [range(1, n + 1) for n in some.shape[: len(law.out.running)]]
        pending: list[tuple[int, ...]] = [()]
        for steps in ends:
            pending = [(*before, k) for before in pending for k in steps]
        for at in pending:
            if self._has(some, at, example):
                steps_of = iter(at)
                lengths = self.lengths
                yield Node(law.out.name, tuple(next(steps_of) if i.runs else i.at({}, lengths) for i in law.out.index))

    def _has(self, marks: Array, at: Sequence[int], example: int | None) -> bool:
        place = (*(k - 1 for k in at), *(() if example is None else (example,)))
        return bool(marks[place] > 0)

    def _cause(self, dag: Dag, node: Node, own: frozenset[str], example: int | None) -> tuple[Node, bool] | None:
        """What an observed instance depends on that is not: a random variable, or (False) one that draws inside."""
        pending, seen = [node], {node}
        while pending:
            reader = pending.pop()
            for above in dag.predecessors(reader):
                if above in seen or above.name in own:
                    continue
                seen.add(above)
                if isinstance(dag.system.decls[above.name].detail, Noise):
                    return reader, False
                key = next((k for k, law in self.model.random.items() if self._is(law, above)), None)
                if key is None:
                    pending.append(above)
                elif key not in self.laid or not self._has(self.laid[key].all, self._at(key, above), example):
                    return above, True
        return None

    def _is(self, law: Distribution, node: Node) -> bool:
        if law.out.name != node.name:
            return False
        pairs = zip(law.out.index, node.steps, strict=True)
        return all(
            1 <= k <= self.lengths[i.axis.end] if i.runs and i.axis else i.at({}, self.lengths) == k for i, k in pairs
        )

    def _at(self, key: str, node: Node) -> tuple[int, ...]:
        """The steps of an instance along the axes that a random variable runs along."""
        pairs = zip(self.model.random[key].out.index, node.steps, strict=True)
        return tuple(k for i, k in pairs if i.runs)

    def _told(self, node: Node, cause: Node, random: bool, where: str) -> str:
        told = f"{node} is observed and depends on {cause}"
        if random:
            return (
                f"{told}, which is not{where}. A sample is drawn step by step, given a past; to draw {cause} given "
                f"what follows from it takes inference. Observe {cause} too, or leave {node} out."
            )
        return (
            f"{told}, which draws numbers of its own{where}. A sample is drawn step by step, given a past, and of "
            "these numbers none can be told. Where they are dropout, make the model of template.inference()."
        )


def _is_at(law: Distribution, steps: tuple[int, ...]) -> bool:
    """True for the steps of an instance of a variable; those counted from the end have none here."""
    if len(steps) != len(law.out.index):
        return False
    return all(i.runs or (i.axis is None and i.shift == k) for i, k in zip(law.out.index, steps, strict=True))
