"""A program as a GPU runs it: CUDA C++ text, and the launches, products and loops in order. No device here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from ...compiler.statements import Guard
from ...ir.axes import Axis, Index
from ...ir.system import System
from ..common.memory_layout import Layout, LiveRanges, offsets
from ..common.symbolic_size import Size
from . import tuning

ITEM = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8, "bool": 1}
"""Bytes of an element."""

Number = tuple[str, Any]
"""What a kernel is given: ("host", name), ("end", name) of a length or of `BATCH_END`, ("step", axis), ("count", n)."""


@dataclass(frozen=True)
class Need:
    """A size that must be more than one number, and no more than another."""

    size: Size
    above: int = -1
    upto: int | None = None

    def holds(self, numbers: Mapping[str, int]) -> bool:
        """True at these lengths and this batch size."""
        size = self.size.at(numbers)
        return self.above < size and (self.upto is None or size <= self.upto)


@dataclass(frozen=True)
class Scratch:
    """Memory that is no variable's: elements of a kind, wanted where every need holds."""

    elements: Size
    kind: str
    needs: tuple[Need, ...] = ()

    def at(self, numbers: Mapping[str, int]) -> int:
        """How many elements."""
        return self.elements.at(numbers) if all(need.holds(numbers) for need in self.needs) else 0


@dataclass(frozen=True)
class Owner:
    """Dims that are the columns of examples, `lanes` of `width` side by side to a thread.

    hosts   those read and written at a thread's own example and columns alone, or multiples of `width` away: where
            their columns begin, modulo `width`, and the elements of an example
    stores  what is written
    """

    width: int
    lanes: int
    hosts: Mapping[str, tuple[int, Size]]
    stores: tuple[Address, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel: a block for every `each` of its points.

    writes  the hosts that it writes to
    part    type of the elements that the threads of a block share; "" where there are none
    alone   whether every thread has points of its own: its function is given a point, not a block
    needs   it is left out unless they all hold
    guards  what must hold of the loops around it
    owner   where a thread has a part of an example as its own, what that is
    sizes   every extent and step in its text, which its indices stay within
    copies  blocks that do the same points
    """

    kernel: str
    arguments: tuple[Number, ...]
    points: Size
    each: int
    threads: int
    writes: tuple[str, ...]
    part: str
    alone: bool
    needs: tuple[Need, ...] = ()
    guards: Guard = ()
    owner: Owner | None = None
    sizes: tuple[Size, ...] = ()
    copies: int = 1


@dataclass(frozen=True)
class Address:
    """Where an operand of a product begins: elements into a host, and the steps by which an index moves it."""

    host: str
    offset: int
    moves: tuple[tuple[Index, Index, Size], ...]
    shifts: tuple[tuple[Axis, int], ...]

    def at(self, numbers: Mapping[str, int], running: Mapping[Axis, int]) -> int:
        """Elements from the start of the host."""
        steps = {axis: running[axis] + k for axis, k in self.shifts}
        total = self.offset
        for index, base, stride in self.moves:
            total += (index.at(steps, numbers) - base.at({}, numbers)) * stride.at(numbers)
        return total


@dataclass(frozen=True)
class Product:
    """``out (+)= left @ right`` for matrices of `rows`, `columns` and `deep`, once for each point of `loops`.

    loops    an extent, and how far each of the three moves along it
    strides  rows and deep of the left, deep and columns of the right, rows of the result, whose columns lie together
    adds     whether it is added to what is there
    """

    left: Address
    right: Address
    out: Address
    rows: Size
    columns: Size
    deep: Size
    strides: tuple[Size, Size, Size, Size, Size]
    loops: tuple[tuple[Size, Size, Size, Size], ...]
    adds: bool
    guards: Guard = ()


@dataclass(frozen=True)
class StepLoop:
    """Steps of one axis, upwards or downwards."""

    axis: Axis
    direction: int
    steps: tuple[Index, Index]
    body: tuple[Action, ...]


@dataclass(frozen=True)
class Panel:
    """A product with the weights as its right operand: their `deep` rows, and columns, `gates` times `units`."""

    deep: Size
    units: Size
    gates: int
    rows: Size


@dataclass(frozen=True)
class Persistent:
    """A loop as one kernel, all of whose blocks run at once; or the loop, where the device cannot take it so.

    panels  of every product
    tasks   points of each other phase, and how many a block takes at once
    """

    kernel: str
    arguments: tuple[Number, ...]
    panels: tuple[Panel, ...]
    tasks: tuple[tuple[Size, int], ...]
    loop: StepLoop


Action = Launch | Product | StepLoop | Persistent


def every(actions: Iterable[Action]) -> Iterator[Action]:
    """All actions in the order in which they are written, each before those inside it."""
    pending = list(actions)[::-1]
    while pending:
        action = pending.pop()
        yield action
        if isinstance(action, StepLoop):
            pending.extend(reversed(action.body))
        elif isinstance(action, Persistent):
            pending.append(action.loop)


def flat(actions: Iterable[Action]) -> Iterator[Launch | Product]:
    """All launches and products, in the order in which they are written."""
    return (action for action in every(actions) if isinstance(action, (Launch, Product)))


def touched(actions: Iterable[Action]) -> set[str]:
    """The hosts that they read or write."""
    found: set[str] = set()
    for action in flat(actions):
        if isinstance(action, Product):
            found |= {action.left.host, action.right.host, action.out.host}
        else:
            found |= {which for kind, which in action.arguments if kind == "host"}
    return found


@dataclass(frozen=True)
class Plan:
    """The text of all kernels, and what is done in order; one plan serves all lengths and batch sizes.

    narrow  the hosts that are kept in 16 bits
    """

    text: str
    actions: tuple[Action, ...]
    system: System
    hosts: tuple[str, ...]
    layouts: Mapping[str, Layout]
    live: LiveRanges
    dtype: str
    scratch: Mapping[str, Scratch]
    precision: str
    narrow: frozenset[str]

    @property
    def launches(self) -> Iterator[Launch]:
        """Every launch, wherever it stands."""
        return (action for action in flat(self.actions) if isinstance(action, Launch))

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of the kernels."""
        found = [launch.kernel for launch in self.launches]
        return tuple(dict.fromkeys([*found, *(loop.kernel for loop in self.persistent)]))

    def wide(self, numbers: Mapping[str, int]) -> bool:
        """True where indices need 64 bits: the text is then compiled with the macro `cuda_source.WIDE`."""
        sizes = {size for launch in self.launches for size in (launch.points, *launch.sizes)}
        counts = [*(size.at(numbers) for size in sizes), *(self.elements(h, numbers) for h in self.hosts)]
        return max(counts, default=0) > tuning.MAX_INT32_INDEX

    @property
    def persistent(self) -> tuple[Persistent, ...]:
        """The loops that may run as one kernel."""
        return tuple(action for action in every(self.actions) if isinstance(action, Persistent))

    def kind(self, host: str) -> str:
        """The dtype of a host in memory."""
        kind = self.scratch[host].kind if host in self.scratch else self.layouts[host].kind
        kind = "brief" if host in self.narrow else kind
        return {"float": self.dtype, "int": "int64", "bool": "bool", "brief": self.precision}[kind]

    def elements(self, host: str, numbers: Mapping[str, int]) -> int:
        """How many elements a host holds."""
        found = self.scratch[host] if host in self.scratch else self.layouts[host].elements
        return found.at(numbers)

    def sizes(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """Bytes of every host."""
        return {h: self.elements(h, numbers) * ITEM[self.kind(h)] for h in self.hosts}

    def arena(self, numbers: Mapping[str, int], shared: bool = True) -> tuple[dict[str, int], int]:
        """Bytes at which every host begins in one piece of memory, and its size.

        shared  whether memory that is free is used again
        """
        when = self.live if shared else LiveRanges(dict.fromkeys(self.hosts, 0), dict.fromkeys(self.hosts, 0))
        return offsets(self.sizes(numbers), when)

    def shape(self, host: str, numbers: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a host as an array."""
        if host in self.scratch:
            return (self.elements(host, numbers),)
        return self.layouts[host].array(numbers)


@dataclass(frozen=True)
class Call:
    """One launch of a kernel in a run: its blocks, and the numbers or hosts that it is given."""

    launch: Launch
    blocks: int
    arguments: tuple[str | int, ...]


@dataclass(frozen=True)
class Matrices:
    """One product of matrices in a run, or `count` of them with a step between each two.

    at       the element at which the left, the right and the result begin
    strides  rows and deep of the left, deep and columns of the right, rows of the result
    apart    elements from one of several products to the next, for each of the three
    """

    hosts: tuple[str, str, str]
    at: tuple[int, int, int]
    sizes: tuple[int, int, int]
    strides: tuple[int, ...]
    count: int
    apart: tuple[int, int, int]
    adds: bool


@dataclass(frozen=True)
class Fit:
    """How a loop runs as one kernel: so many blocks at once, which share rows in `down` parts; bytes for each block."""

    blocks: int
    down: int
    shared: int


@dataclass(frozen=True)
class Whole:
    """A loop as one kernel in a run, and the numbers or hosts that it is given."""

    kernel: str
    fit: Fit
    arguments: tuple[str | int, ...]


def calls(
    plan: Plan, numbers: Mapping[str, int], fits: Mapping[str, Fit] = MappingProxyType({})
) -> Iterator[Call | Matrices | Whole]:
    """All that a run does, in order, with every loop written out but those that fit the device, by kernel."""
    pending: list[tuple[Action, dict[Axis, int]]] = [(a, {}) for a in reversed(plan.actions)]
    while pending:
        action, running = pending.pop()
        if isinstance(action, StepLoop):
            lo, hi = (i.at({}, numbers) for i in action.steps)
            steps = range(lo, hi + 1) if action.direction > 0 else range(hi, lo - 1, -1)
            for k in reversed(steps):
                pending.extend((inner, {**running, action.axis: k}) for inner in reversed(action.body))
        elif isinstance(action, Persistent):
            if (fit := fits.get(action.kernel)) is None:
                pending.append((action.loop, running))
            else:
                yield Whole(action.kernel, fit, _given(action.arguments, numbers, running))
        elif all(
            _holds(running[step] if isinstance(step, Axis) else step.at({}, numbers), sign, edge.at({}, numbers))
            for step, sign, edge in action.guards
        ):
            yield from (
                _call(action, numbers, running) if isinstance(action, Launch) else _product(action, numbers, running)
            )


def _holds(step: int, sign: str, edge: int) -> bool:
    return step >= edge if sign == ">=" else step <= edge


def _call(launch: Launch, numbers: Mapping[str, int], running: Mapping[Axis, int]) -> Iterator[Call]:
    points = launch.points.at(numbers)
    if not points or not all(need.holds(numbers) for need in launch.needs):
        return
    yield Call(launch, -(-points // launch.each) * launch.copies, _given(launch.arguments, numbers, running))


def _given(
    arguments: tuple[Number, ...], numbers: Mapping[str, int], running: Mapping[Axis, int]
) -> tuple[str | int, ...]:
    found = []
    for kind, which in arguments:
        found.append(which if kind in ("host", "count") else numbers[which] if kind == "end" else running[which])
    return tuple(found)


def _product(p: Product, numbers: Mapping[str, int], running: Mapping[Axis, int]) -> Iterator[Matrices]:
    sizes = p.rows.at(numbers), p.columns.at(numbers), p.deep.at(numbers)
    starts = [address.at(numbers, running) for address in (p.left, p.right, p.out)]
    strides = tuple(s.at(numbers) for s in p.strides)
    loops = [tuple(size.at(numbers) for size in loop) for loop in p.loops]
    hosts = p.left.host, p.right.host, p.out.host
    if not all(sizes):
        return
    apart = [loop for loop in loops if loop[3]]
    count, *moves = apart[-1] if apart else (1, 0, 0, 0)  # these run side by side; along the others they follow
    if apart:
        loops.remove(apart[-1])
    for where in product(*(range(loop[0]) for loop in loops)):
        at = [s + sum(k * loop[n] for k, loop in zip(where, loops, strict=True)) for n, s in enumerate(starts, 1)]
        if count:
            yield Matrices(hosts, tuple(at), sizes, strides, count, tuple(moves), p.adds)  # type: ignore[arg-type]
