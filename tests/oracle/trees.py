"""A plain description of a system of recurrences: expression trees, declarations, statements; nothing of unroll's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import ranges, rules

Shape = tuple[int, ...]
RUN, END, AT = "run", "end", "at"  # t+k, T+k, and the fixed step k
NO_STEPS: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Step:
    """One index in the brackets of a read or a definition."""

    anchor: str
    axis: str
    shift: int

    def at(self, env: dict[str, int], lengths: dict[str, int]) -> int:
        """The number of this step."""
        if self.anchor == RUN:
            return env[self.axis] + self.shift
        return self.shift + (lengths[self.axis] if self.anchor == END else 0)


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of an expression. Two uses of one object are two uses of one value; a copy is written out anew."""

    op: str
    args: tuple[Node, ...]
    attrs: dict[str, Any]
    shape: Shape
    kind: str  # float, int or bool
    axes: frozenset[str]  # along which it runs
    low: float  # every element lies between these two, for inputs in their own ranges
    high: float

    @property
    def symbolic(self) -> bool:
        """True if something is read in it: Python computes with numbers by itself."""
        return self.op == "read" or any(arg.symbolic for arg in self.args)

    def walk(self) -> Iterator[Node]:
        """Every node, an argument before what uses it, shared ones once."""
        seen: set[int] = set()
        stack: list[tuple[Node, bool]] = [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                yield node
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((arg, False) for arg in reversed(node.args))

    @property
    def reads(self) -> list[Node]:
        """What it reads."""
        return [node for node in self.walk() if node.op == "read"]

    @property
    def own(self) -> set[str]:
        """Names that it reads of the example at hand: under a mean over examples nothing is an example's own."""
        found, stack = set[str](), [self]
        while stack:
            node = stack.pop()
            if node.op == "read":
                found.add(node.attrs["name"])
            elif node.op != "batch_mean":
                stack.extend(node.args)
        return found


@dataclass(frozen=True)
class Decl:
    """An input, a param or a variable."""

    name: str
    role: str  # input, param or variable
    kind: str
    shape: Shape
    axes: tuple[str, ...] = ()
    low: float = -1.0
    high: float = 1.0
    shaped: bool = True  # False where a variable is declared without its shape
    wild: bool = False  # infinities and nan among its values


@dataclass(frozen=True)
class Statement:
    """One line, ``h[0] = h[-1] = e``: an expression for every target."""

    targets: tuple[tuple[str, tuple[Step, ...]], ...]
    expr: Node


@dataclass(frozen=True)
class System:
    """A whole template."""

    label: str
    axes: tuple[str, ...]
    decls: dict[str, Decl]
    statements: tuple[Statement, ...]
    outputs: tuple[tuple[str, Node], ...]
    loss: Node | None
    marks: frozenset[str] = field(default=frozenset())  # what is special about it, to be counted

    @property
    def wild(self) -> bool:
        """True where values may be infinite or no number."""
        return any(decl.wild for decl in self.decls.values())

    def of(self, *roles: str) -> list[Decl]:
        """The declarations of these roles."""
        return [decl for decl in self.decls.values() if decl.role in roles]

    @property
    def roots(self) -> list[Node]:
        """Every expression."""
        loss = [] if self.loss is None else [self.loss]
        return [s.expr for s in self.statements] + [e for _, e in self.outputs] + loss

    def ops(self) -> set[str]:
        """Names of all operations in use."""
        return {rules.feature(node.op, node.attrs) for root in self.roots for node in root.walk()}

    def batched(self) -> set[str]:
        """Names of declarations whose value may differ between examples."""
        found = {decl.name for decl in self.of("input")}
        while True:
            more = {
                name
                for statement in self.statements
                if depends(statement.expr, found)
                for name, _ in statement.targets
                if name not in found
            }
            if not more:
                return found
            found |= more

    def axis_order(self, axes: Iterable[str]) -> tuple[str, ...]:
        """The order in which the axes of an expression stand in a result: t, then as the template meets them.

        A fixed step, ``h[0, u]``, does not name its axis.
        """
        met = ["t", *(axis for decl in self.of("input") for axis in decl.axes)]
        for statement in self.statements:
            steps = [s for node in statement.expr.reads for s in node.attrs["steps"]]
            steps += [s for _, left in statement.targets for s in left]
            met += [s.axis for s in steps if s.anchor in (RUN, END)]
        return tuple(axis for axis in dict.fromkeys(met) if axis in axes)


def shared(system: System) -> set[int]:
    """Operations that are used more than once."""
    uses: dict[int, int] = {}
    for root in system.roots:
        for node in root.walk():
            for arg in node.args:
                uses[id(arg)] = uses.get(id(arg), 0) + 1
    roots = [id(root) for root in system.roots]
    for root in roots:
        uses[root] = uses.get(root, 0) + 1
    return {key for key, count in uses.items() if count > 1}


def depends(expr: Node, names: set[str]) -> bool:
    """True if the expression reads one of the names, of the example at hand."""
    return not names.isdisjoint(expr.own)


def const(value: Any) -> Node:
    """A number, a bool, or an array of them."""
    array = np.asarray(value)
    kind = {"f": "float", "i": "int", "b": "bool"}[array.dtype.kind]
    finite = array[np.isfinite(array)] if array.size else array
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return Node("const", (), {"value": value}, array.shape, kind, frozenset(), low, high)


def read(decl: Decl, *steps: Step) -> Node:
    """A value of an input, a param or a variable."""
    axes = frozenset(step.axis for step in steps if step.anchor == RUN)
    if len(steps) != len(decl.axes):
        raise ValueError(f"{decl.name} has {len(decl.axes)} axes, got {len(steps)} steps")
    return Node("read", (), {"name": decl.name, "steps": steps}, decl.shape, decl.kind, axes, decl.low, decl.high)


def make(op: str, *args: Node, **attrs: Any) -> Node:
    """An operation on nodes. Raises ValueError where shapes, kinds or axes do not fit."""
    if not any(arg.symbolic for arg in args):
        raise ValueError(f"{op}: nothing is read")
    shape, kind = rules.typed(op, [(arg.shape, arg.kind) for arg in args], attrs)
    size = rules.labels(op, [arg.shape for arg in args], attrs)
    label = args[0] if op == "one_hot" else args[-1]
    if size is not None and label.kind == "int" and not 0 <= label.low <= label.high < size:
        raise ValueError(f"{op}: labels from {label.low} to {label.high}, of {size}")
    if not ranges.inside(op, [(arg.low, arg.high) for arg in args]):
        raise ValueError(f"{op}: outside of its domain")
    low, high = ranges.interval(op, [(arg.low, arg.high) for arg in args], [arg.shape for arg in args], attrs)
    axes = frozenset[str]().union(*(arg.axes for arg in args))
    over = attrs.get("over")
    if over is not None:
        if not set(over) <= axes:
            raise ValueError(f"{op} over {over}: the operand runs along {sorted(axes)}")
        if op not in rules.NORMALISED:
            axes -= set(over)
    return Node(op, args, attrs, shape, kind, axes, low, high)


def remake(node: Node, args: Iterable[Node]) -> Node:
    """The same operation on other operands."""
    given = tuple(args)
    if all(a is b for a, b in zip(given, node.args, strict=True)):
        return node
    return make(node.op, *given, **node.attrs)


def rewrite(root: Node, change: Callable[[Node], Node], memo: dict[int, Node] | None = None) -> Node:
    """The tree with `change` applied to every node, arguments first; what is shared stays shared."""
    done: dict[int, Node] = {} if memo is None else memo
    for node in root.walk():
        if id(node) not in done:
            done[id(node)] = change(remake(node, [done[id(arg)] for arg in node.args]))
    return done[id(root)]


def rewrite_system(system: System, change: Callable[[Node], Node]) -> System:
    """Every expression of a system rewritten; sharing between statements is kept."""
    memo: dict[int, Node] = {}
    keep = system.roots  # ids stay taken while the memo lives
    statements = tuple(replace(s, expr=rewrite(s.expr, change, memo)) for s in system.statements)
    outputs = tuple((name, rewrite(expr, change, memo)) for name, expr in system.outputs)
    loss = None if system.loss is None else rewrite(system.loss, change, memo)
    del keep
    return replace(system, statements=statements, outputs=outputs, loss=loss)


def renamed(system: System, names: dict[str, str], axes: dict[str, str] | None = None) -> System:
    """The same system with other names of declarations and outputs, and of axes."""
    turn = axes or {}

    def step(s: Step) -> Step:
        return replace(s, axis=turn.get(s.axis, s.axis))

    memo: dict[int, Node] = {}

    def node(root: Node) -> Node:
        for n in root.walk():
            if id(n) in memo:
                continue
            attrs = dict(n.attrs)
            if n.op == "read":
                name = names.get(attrs["name"], attrs["name"])
                attrs |= {"name": name, "steps": tuple(step(s) for s in attrs["steps"])}
            if attrs.get("over") is not None:
                attrs["over"] = tuple(turn.get(a, a) for a in attrs["over"])
            running = frozenset(turn.get(a, a) for a in n.axes)
            memo[id(n)] = replace(n, args=tuple(memo[id(a)] for a in n.args), attrs=attrs, axes=running)
        return memo[id(root)]

    decls = {}
    for decl in system.decls.values():
        name = names.get(decl.name, decl.name)
        decls[name] = replace(decl, name=name, axes=tuple(turn.get(a, a) for a in decl.axes))
    statements = tuple(
        Statement(tuple((names.get(n, n), tuple(step(s) for s in st)) for n, st in s.targets), node(s.expr))
        for s in system.statements
    )
    outputs = tuple((names.get(n, n), node(e)) for n, e in system.outputs)
    loss = None if system.loss is None else node(system.loss)
    order = tuple(turn.get(a, a) for a in system.axes)
    return replace(system, axes=order, decls=decls, statements=statements, outputs=outputs, loss=loss)


def pruned(system: System) -> System:
    """Without declarations and statements that nothing needs."""
    wanted: set[str] = set()
    fresh = [e for _, e in system.outputs] + ([] if system.loss is None else [system.loss])
    while fresh:
        names = {n.attrs["name"] for root in fresh for n in root.reads} - wanted
        wanted |= names
        fresh = [s.expr for s in system.statements if names & {name for name, _ in s.targets}]
    statements = []
    for s in system.statements:
        targets = tuple(target for target in s.targets if target[0] in wanted)
        if targets:
            statements.append(replace(s, targets=targets))
    decls = {name: decl for name, decl in system.decls.items() if name in wanted}
    used = {a for d in decls.values() for a in d.axes}
    return replace(system, decls=decls, statements=tuple(statements), axes=tuple(a for a in system.axes if a in used))
