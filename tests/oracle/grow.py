"""Random expressions: every public operation, grown from the shape that is wanted down to what can be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import rules
from .trees import AT, END, RUN, Decl, Node, Shape, Step, const, make, read, rewrite

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33]
SIZE_ODDS = np.array([10.0, 15, 17, 10, 7, 4, 5, 3, 3, 3, 2])
SIZE_ODDS /= SIZE_ODDS.sum()
LIMIT = 8.0  # no expression may leave -8..8
CALM = 2.0  # no variable may leave -2..2


@dataclass
class Sketch:
    """A system in the making."""

    rng: np.random.Generator
    axes: tuple[str, ...]
    decls: dict[str, Decl] = field(default_factory=dict)
    layer: dict[str, int] = field(default_factory=dict)
    rank: dict[str, int] = field(default_factory=dict)
    closed: bool = False  # True once nothing may be declared any more
    count: int = 0

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def pick(self, values: Any) -> Any:
        """One of them."""
        options = list(values)
        return options[int(self.rng.integers(len(options)))]

    def size(self) -> int:
        """A size of a vector."""
        return int(self.rng.choice(SIZES, p=SIZE_ODDS))

    def declare(self, role: str, kind: str, shape: Shape, axes: tuple[str, ...] = (), **more: Any) -> Decl:
        """A new declaration under a name of its own."""
        self.count += 1
        name = f"{ {'input': 'x', 'param': 'w', 'variable': 'h'}[role] }{self.count}"
        self.decls[name] = Decl(name, role, kind, shape, axes, **more)
        return self.decls[name]


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: the axes that run, and what it may read of its own layer."""

    axes: tuple[str, ...]
    layer: int
    rank: int = 0
    turns: tuple[tuple[str, int], ...] = ()  # axes along which the layer recurs, each with 1 or -1
    own: bool = True  # False where nothing of the same layer may be read
    before: str = ""  # of an input, for its boundaries: what is declared from there on is read at this inner step
    inner: tuple[str, int] = (AT, 1)


class Grower:
    """Grows expressions in one scope."""

    def __init__(self, sketch: Sketch, scope: Scope) -> None:
        self.sketch, self.scope = sketch, scope
        self.rng, self.chance, self.pick = sketch.rng, sketch.chance, sketch.pick
        self.made: list[Node] = []

    # ---- what can be read -------------------------------------------------------------------------------------------

    def steps(self, decl: Decl) -> tuple[Step, ...] | None:
        """Steps at which a declaration may be read here; None where it may not."""
        scope, sketch = self.scope, self.sketch
        inner = decl.role == "variable" and sketch.layer[decl.name] == scope.layer
        if decl.role == "variable" and (sketch.layer[decl.name] > scope.layer or (inner and not scope.own)):
            return None
        turns = dict(scope.turns) if inner else {}
        inside = bool(scope.before) and int(decl.name[1:]) >= int(scope.before[1:])
        back = {axis: int(self.rng.choice([1, 2, 3], p=[0.8, 0.14, 0.06])) for axis in turns}
        if len(turns) > 1 and self.chance(0.75):
            for axis in turns:
                back[axis] = 0
            back[self.pick(turns)] = 1
        if inner and sketch.rank[decl.name] < scope.rank and self.chance(0.5):
            back = dict.fromkeys(turns, 0)
        if inner and not any(back.values()) and sketch.rank[decl.name] >= scope.rank:
            return None
        found = []
        for axis in decl.axes:
            if axis in turns:
                found.append(Step(RUN, axis, -turns[axis] * back[axis]))
            elif axis in scope.axes and self.chance(0.93):
                shift = 0
                if self.chance(0.12 if not inside and (not inner or any(back.values())) else 0.0):
                    shift = int(self.rng.choice([-1, 1, -2, 2, -3, 3], p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]))
                found.append(Step(RUN, axis, shift))
            else:
                anchor, shift = self.pick([(END, 0)] * 5 + [(AT, 1)] * 2 + [(END, -1), (AT, 2), (AT, 0), (END, 1)])
                found.append(Step(scope.inner[0], axis, scope.inner[1]) if inside else Step(anchor, axis, shift))
        return tuple(found)

    def readable(self, shape: Shape, kind: str) -> Node | None:
        """Something declared of a shape and kind, the state of the own layer rather than another."""
        options = [d for d in self.sketch.decls.values() if d.shape == shape and d.kind == kind and not d.wild]
        if not options:
            return None
        own = [d for d in options if self.sketch.layer.get(d.name) == self.scope.layer]
        for _ in range(3):
            decl = self.pick(own if own and self.chance(0.5) else options)
            steps = self.steps(decl)
            if steps is not None:
                return read(decl, *steps)
        return None

    def declared(self, shape: Shape, kind: str, labels: int = 4) -> Node:
        """A new input or param."""
        axes = tuple(axis for axis in self.scope.axes if self.chance(0.85))
        if kind == "float" and self.chance(0.45):
            reach = min(1.0, 2.0 / max(shape[-1] if shape else 1, 1))
            return read(self.sketch.declare("param", kind, shape, (), low=-reach, high=reach))
        if kind == "int":
            decl = self.sketch.declare("input", kind, shape, axes, low=0.0, high=float(labels - 1))
        elif kind == "bool":
            decl = self.sketch.declare("input", kind, shape, axes, low=0.0, high=1.0)
        else:
            low, high = self.pick([(-1.0, 1.0)] * 4 + [(-2.0, 2.0), (0.3, 1.5)])
            decl = self.sketch.declare("input", kind, shape, axes, low=low, high=high)
        order = list(decl.axes)
        self.rng.shuffle(order)
        self.sketch.decls[decl.name] = decl = replace(decl, axes=tuple(order))
        steps = self.steps(decl)
        assert steps is not None
        return read(decl, *steps)

    def leaf(self, shape: Shape, kind: str, labels: int = 4) -> Node:
        """Something that is read, of exactly this shape."""
        node = self.readable(shape, kind) if self.chance(0.75) else None
        if node is not None and (kind != "int" or (node.low >= 0 and node.high <= labels - 1)):
            return node
        if self.chance(0.15) and kind == "float" and shape:
            smaller = self.readable(shape[1:], kind)
            if smaller is not None:
                return make("broadcast_to", smaller, shape=shape)
        return self.declared(shape, kind, labels)

    def number(self, shape: Shape, low: float = -1.5, high: float = 1.5) -> Node:
        """A number, or an array of them, as it is written in an equation."""
        if shape and self.chance(0.3):
            return const(np.round(self.rng.uniform(low, high, shape), 2).tolist())
        choice = self.rng.random()
        if choice < 0.25 and low <= 1 <= high:
            return const(self.pick([v for v in (-1, 0, 1) if low <= v <= high]))
        if choice < 0.29 and low <= 0 <= 1 <= high:
            return const(bool(self.chance(0.5)))
        return const(round(float(self.rng.uniform(low, high)), 2))

    # ---- floats -----------------------------------------------------------------------------------------------------

    def real(self, shape: Shape, depth: int) -> Node:
        """A float expression of a shape."""
        if depth <= 0 or self.chance(0.1):
            return self.leaf(shape, "float")
        if self.made and self.chance(0.1):
            again = [n for n in self.made if n.shape == shape and n.kind == "float" and n.axes <= set(self.scope.axes)]
            if again:
                node = self.pick(again)
                return node if self.chance(0.6) else rewrite(node, copied)
        for _ in range(6):
            grow = self.pick(GROWERS)
            try:
                node = grow(self, shape, depth)
            except ValueError:
                continue
            if node is None or not node.symbolic or node.shape != shape:
                continue
            node = self.tamed(node, LIMIT)
            if node is not None:
                if self.scope.own:
                    self.made.append(node)
                return node
        return self.leaf(shape, "float")

    def tamed(self, node: Node, limit: float) -> Node | None:
        """The node, held within bounds; None where it has none."""
        reach = max(abs(node.low), abs(node.high))
        if not math.isfinite(reach):
            return None
        if reach <= limit:
            return node
        how = self.pick(["tanh", "tanh", "sigmoid", "scale", "scale", "sin", "clip", "softsign"])
        if how == "scale" and reach < 1e4:
            return make("mul", *self.either(const(float(f"{limit / reach / 1.01:.3g}")), node))
        if how == "clip" and reach < 1e3:
            return make("clip", node, low=-limit, high=limit)
        if how == "softsign":
            return make("div", node, make("add", const(1.0), make("abs", node)))
        return make(how if how in ("tanh", "sigmoid", "sin") else "tanh", node)

    def either(self, a: Node, b: Node) -> tuple[Node, Node]:
        """Two operands in some order."""
        return (a, b) if self.chance(0.5) else (b, a)

    def smaller(self, shape: Shape) -> Shape:
        """A shape that broadcasts to another."""
        cut = shape[int(self.rng.integers(len(shape) + 1)) :] if self.chance(0.5) else shape
        return tuple(1 if self.chance(0.2) else n for n in cut)

    def pair(self, shape: Shape, depth: int) -> tuple[Node, Node]:
        """Two float operands whose shapes broadcast to one."""
        a = self.real(shape, depth - 1)
        if self.chance(0.25):
            return self.either(a, self.number(shape))
        return self.either(a, self.real(self.smaller(shape) if self.chance(0.4) else shape, depth - 1))

    def positive(self, shape: Shape, depth: int) -> Node:
        """A float expression that stays well above zero."""
        e = self.real(shape, depth - 1)
        how = self.pick(["square", "softplus", "abs", "sigmoid", "exp"])
        if how == "square":
            return make("add", make("mul", e, e), const(0.5))
        if how == "exp":
            return make("add", make("exp", make("tanh", e)), const(0.1))
        return make("add", make(how, e), const(0.4))

    # ---- labels and bools -------------------------------------------------------------------------------------------

    def label(self, shape: Shape, depth: int, labels: int) -> Node:
        """Labels from 0 to labels-1."""
        if depth <= 0 or self.chance(0.4):
            return self.leaf(shape, "int", labels)
        how = self.pick(["argmax", "where", "clip", "maximum", "index", "arithmetic", "leaf"])
        if how == "argmax":
            return make(self.pick(["argmax", "argmax", "argmin"]), self.real((*shape, labels), depth - 1))
        if how == "where":
            b = self.label(shape, depth - 1, labels)
            return make("where", self.truth(self.smaller(shape), depth - 1), *self.either(const(labels - 1), b))
        if how == "clip":
            e = make(self.pick(["add", "sub"]), self.label(shape, depth - 1, labels), const(int(self.pick([1, 2]))))
            return make("clip", e, low=0, high=labels - 1)
        if how == "maximum":
            pair = self.either(self.label(shape, depth - 1, labels), const(0))
            return make(self.pick(["maximum", "minimum"]), *pair)
        if how == "index" and not shape:
            return make("index", self.label((3,), depth - 1, labels), key=(int(self.pick([0, 1, -1])),))
        if how == "arithmetic" and labels > 1:
            sign = make("abs", make("sub", *self.either(self.label(shape, depth - 1, labels), const(labels - 1))))
            return make("minimum", sign, const(labels - 1))
        return self.leaf(shape, "int", labels)

    def truth(self, shape: Shape, depth: int) -> Node:
        """A condition of a shape."""
        if depth <= 0 or self.chance(0.25):
            return self.leaf(shape, "bool")
        how = self.pick(["float", "float", "int", "and", "not", "isfinite", "labels"])
        if how == "float":
            return make(self.pick(["less", "less_equal", "greater", "greater_equal"]), *self.pair(shape, depth))
        if how == "int":
            other = const(int(self.pick([0, 1, 2]))) if self.chance(0.5) else self.label(shape, depth - 1, 4)
            return make(self.pick(rules.COMPARISONS), *self.either(self.label(shape, depth - 1, 4), other))
        if how == "and":
            pair = self.either(self.truth(shape, depth - 1), self.truth(self.smaller(shape), depth - 1))
            return make(self.pick(["logical_and", "logical_or"]), *pair)
        if how == "not":
            return make("logical_not", self.truth(shape, depth - 1))
        if how == "isfinite":
            return make(self.pick(["isfinite", "isnan", "isinf"]), self.real(shape, depth - 1))
        return make(self.pick(["equal", "not_equal"]), *self.either(self.leaf(shape, "bool"), self.leaf(shape, "bool")))

    def mixed(self, shape: Shape, depth: int) -> Node:
        """A number of any kind, as arithmetic takes it."""
        how = self.rng.random()
        if how < 0.8:
            return self.real(shape, depth)
        return self.label(shape, depth, 4) if how < 0.9 else self.truth(shape, depth)

    def given(self, decl: Decl, steps: tuple[Step, ...]) -> Node:
        """A read of a declaration at steps."""
        return read(decl, *steps)

    def within(self, axes: tuple[str, ...]) -> Grower:
        """A grower for an expression that further axes run along."""
        own = self.scope.own and not set(axes) & {axis for axis, _ in self.scope.turns}
        wider = tuple(dict.fromkeys((*self.scope.axes, *axes)))
        return Grower(self.sketch, replace(self.scope, axes=wider, own=own))


def copied(node: Node) -> Node:
    """The same node as an object of its own."""
    return replace(node)


Growing = Callable[[Grower, Shape, int], "Node | None"]
GROWERS: list[Growing] = []


def grower(weight: int = 1) -> Callable[[Growing], Growing]:
    """Enter a way to grow a float expression, so many times."""

    def enter(function: Growing) -> Growing:
        GROWERS.extend([function] * weight)
        return function

    return enter
