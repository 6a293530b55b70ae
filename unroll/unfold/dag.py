"""The unfolded graph: one node per name and step, enumerated on demand, so that it stays small at any length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice, product
from typing import Any, NamedTuple

from ..dependence.flows import Flow, Read, collapsed, operations
from ..dependence.scc import to_networkx
from ..errors import UndefinedError, from_call
from ..ir.axes import Axis, Index, bracket, fixed
from ..ir.names import is_hidden
from ..ir.system import Equation, Ref, System, visible
from ..ops.integers import integer
from ..printing.plain import EquationWriter

Steps = tuple[int, ...]

LISTED = 4
"""Nodes of a name that a message lists."""


class Node(NamedTuple):
    """One instance: ``h[3]`` is ``Node("h", (3,))``, a param is ``Node("W", ())``."""

    name: str
    steps: Steps

    def __str__(self) -> str:
        name = visible(self.name)
        return f"{name}[{', '.join(map(str, self.steps))}]" if self.steps else name


class Dag:
    """A template unfolded for given lengths.

    ``dag["h", 3]`` is a node; `nodes`, `predecessors`, `successors` and `topological` enumerate without ever holding
    the whole graph; `to_networkx` does hold it. With detail "ops" the unnamed operations are nodes too.

    >>> from unroll import Template, t, ops
    >>> g = Template("sum"); x, h = g.input("x"), g.variable("h", ())
    >>> h[0] = 0
    >>> h[t] = h[t-1] + x[t]
    >>> dag = g.unfold(1_000_000)
    >>> print(*dag.predecessors(dag["h", 3]))
    h[2] x[3]
    """

    def __init__(self, system: System, lengths: Mapping[str, int], detail: str) -> None:
        self.system = system
        self.lengths = dict(lengths)
        self.detail = detail
        self.flows = collapsed(system) if detail == "variables" else operations(system)
        self._writers: dict[str, list[Flow]] = {}
        self._readers: dict[str, list[tuple[Flow, Read]]] = {}
        for flow in self.flows:
            self._writers.setdefault(flow.out.name, []).append(flow)
            for read in flow.reads:
                self._readers.setdefault(read.ref.name, []).append((flow, read))

    @cached_property
    def _writer(self) -> EquationWriter:
        return EquationWriter(self.system)

    @cached_property
    def _all_boxes(self) -> dict[str, list[tuple[range, ...]]]:
        return {name: self._find_boxes(name) for name in self._shown}

    def _boxes(self, name: str) -> list[tuple[range, ...]]:
        """The steps at which a name has nodes, as boxes that do not overlap for a name defined once."""
        return self._all_boxes[name]

    def _find_boxes(self, name: str) -> list[tuple[range, ...]]:
        decl = self.system.decls[name]
        boxes = []
        if decl.given:
            boxes.append(tuple(range(1, self.lengths[a.end] + 1) for a in decl.axes))
        for flow in self._writers.get(name, ()):
            box = tuple(
                range(lo.at({}, self.lengths), hi.at({}, self.lengths) + 1)
                for lo, hi in map(flow.written, range(len(flow.out.index)))
            )
            if box not in boxes:
                boxes.append(box)
        return boxes

    def names(self) -> list[str]:
        """The names that have nodes, in order of declaration."""
        return list(self._shown)

    @cached_property
    def _shown(self) -> dict[str, None]:
        shown = [n for n in self.system.decls if self.detail == "ops" or not is_hidden(n)]
        return {n: None for n in shown if self.system.decls[n].given or n in self._writers}

    def steps(self, name: str) -> Iterator[Steps]:
        """The steps of a name, each once, in order."""
        boxes = [b for b in self._boxes(name) if all(b)]
        if len(boxes) == 1 and len(boxes[0]) == 1:
            yield from ((step,) for step in boxes[0][0])  # `product` would hold them all
            return
        if len(boxes) <= 1:
            yield from product(*(boxes[0] if boxes else [()] if not self.system.decls[name].axes else [range(0)]))
            return
        if len(boxes[0]) == 1:
            last = None
            for box in sorted(boxes, key=lambda b: b[0].start):
                for step in box[0]:
                    if last is None or step > last:
                        yield (step,)
                        last = step
            return
        yield from sorted({steps for box in boxes for steps in product(*box)})

    def nodes(self) -> Iterator[Node]:
        """Every node, name by name, each in order of steps."""
        for name in self.names():
            for steps in self.steps(name):
                yield Node(name, steps)

    def __len__(self) -> int:
        total = 0
        for name in self.names():
            boxes = [b for b in self._boxes(name) if all(b)]
            if len(boxes) <= 1 or len(boxes[0]) > 1:
                total += sum(1 for _ in self.steps(name)) if len(boxes) > 1 else _size(boxes, self.system, name)
            else:
                end = None
                for (box,) in sorted(boxes, key=lambda b: b[0].start):
                    start = box.start if end is None else max(box.start, end)
                    total += max(0, box.stop - start)
                    end = box.stop if end is None else max(end, box.stop)
        return total

    def __contains__(self, key: object) -> bool:
        name, steps = _key(key)
        if name not in self._shown or any(integer(k) is None for k in steps):
            return False
        return any(
            len(box) == len(steps) and all(k in r for k, r in zip(steps, box, strict=True)) for box in self._boxes(name)
        )

    @from_call
    def __getitem__(self, key: object) -> Node:
        """Raises UndefinedError, a LookupError, where there is no such node."""
        name, steps = _key(key)
        if key not in self:
            shown = f"{name}[{bracket(steps)}]" if steps else f"{name}"
            near = f"its names are {', '.join(map(visible, self.names()))}"
            if name in self.names():
                known = [str(Node(name, s)) for s in islice(self.steps(name), LISTED + 1)]
                near = f"there is {', '.join(known[:LISTED])}{', ...' if len(known) > LISTED else ''}"
            raise UndefinedError(f"no node {shown} at {self._at()}; {near}; a step is a number, as in dag['h', 3]")
        return Node(name, steps)

    def _at(self) -> str:
        return ", ".join(f"{end} = {n}" for end, n in self.lengths.items()) or "no axes"

    def writers(self, node: Node) -> Iterator[tuple[Flow, dict[Axis, int]]]:
        """The flows that write a node, each with the running steps at which it does."""
        for flow in self._writers.get(node.name, ()):
            steps = self._solve(flow.out, node.steps)
            if steps is None:
                continue
            if all(k in r.steps(self.lengths) for r in flow.domain if (k := steps.get(r.axis)) is not None):
                yield flow, steps

    def _solve(self, ref: Ref, steps: Steps) -> dict[Axis, int] | None:
        """The running steps at which `ref` is the instance `steps`; None where it never is."""
        found: dict[Axis, int] = {}
        for index, step in zip(ref.index, steps, strict=True):
            if index.runs and index.axis is not None:
                if found.setdefault(index.axis, step - index.shift) != step - index.shift:
                    return None
            elif index.at({}, self.lengths) != step:
                return None
        return found

    def instances(self, ref: Ref, steps: Mapping[Axis, int], over: Any) -> Iterator[Node]:
        """The nodes that a ref reads at given running steps; `over` are the ranges of a reduction."""
        ranges = [r for r in over if r.axis not in steps]
        for values in product(*(r.steps(self.lengths) for r in ranges)):
            at = {**steps, **dict(zip((r.axis for r in ranges), values, strict=True))}
            yield Node(ref.name, tuple(i.at(at, self.lengths) for i in ref.index))

    def predecessors(self, node: object) -> list[Node]:
        """The nodes that a node is computed from, each once, in the order of the equation."""
        found: dict[Node, None] = {}
        for flow, steps in self.writers(self._node(node)):
            for read in flow.reads:
                for source in self.instances(read.ref, steps, (*flow.domain, *read.over)):
                    if source in self:  # a cotangent that is never written is zero and has no node
                        found[source] = None
        return list(found)

    def successors(self, node: object) -> list[Node]:
        """The nodes that are computed from a node, each once."""
        node = self._node(node)
        found: dict[Node, None] = {}
        for flow, read in self._readers.get(node.name, ()):
            steps = self._solve(read.ref, node.steps)
            if steps is None:
                continue
            ranges = {r.axis: r for r in (*flow.domain, *read.over)}
            if any(k not in ranges[a].steps(self.lengths) for a, k in steps.items()):
                continue
            for target in self.instances(flow.out, steps, flow.domain):
                found[target] = None
        return list(found)

    def _node(self, key: object) -> Node:
        return key if isinstance(key, Node) and key in self else self[key]

    def topological(self) -> Iterator[Node]:
        """Every node after all its predecessors; iterative, whatever the depth."""
        done: set[Node] = set()
        for start in self.nodes():
            stack = [start]
            while stack:
                node = stack[-1]
                if node in done:
                    stack.pop()
                    continue
                waiting = [p for p in self.predecessors(node) if p not in done]
                if waiting:
                    stack.extend(reversed(waiting))
                else:
                    done.add(node)
                    stack.pop()
                    yield node

    def equations(self, node: object) -> list[str]:
        """The equations that define a node, at its step: ``h[3] = tanh(b + W @ h[2] + U @ x[3])``."""
        node = self._node(node)
        return [self._at_step(flow.equation, steps) for flow, steps in self.writers(node)]

    def _at_step(self, equation: Equation, steps: Mapping[Axis, int]) -> str:
        at: dict[Axis, Index] = {axis: fixed(k) for axis, k in steps.items()}
        return self._writer.equation(equation, at)

    def to_networkx(self) -> Any:
        """The whole graph as a networkx.DiGraph of `Node`, edges from operand to result."""
        edges = ((source, node) for node in self.nodes() for source in self.predecessors(node))
        return to_networkx(self.nodes(), edges, name=self.system.name)

    def __repr__(self) -> str:
        return f"<Dag {visible(self.system.name)}: {len(self)} nodes, {self._at()}>"

    def __str__(self) -> str:
        """One node a line, the middle left out where there are many."""
        shown = 60
        lines = [repr(self)]
        for number, node in enumerate(self.nodes()):
            if number == shown:
                lines.append(f"  ... {len(self) - shown} more")
                break
            written = self.equations(node)
            lines.append("  " + (" ; ".join(written) if written else f"{node}  ({self.system.decls[node.name].kind})"))
        return "\n".join(lines)


def _size(boxes: list[tuple[range, ...]], system: System, name: str) -> int:
    total = 1
    for r in boxes[0] if boxes else ():
        total *= len(r)
    return total if boxes or not system.decls[name].axes else 0


def _key(key: object) -> tuple[Any, tuple[Any, ...]]:
    given = (key.name, *key.steps) if isinstance(key, Node) else key
    name, *steps = given if isinstance(given, tuple) and given else (given,)
    return name, tuple(k if (step := integer(k)) is None else step for k in steps)
