"""Layers as people write them: gates, equations that are nearly alike, row reductions side by side, filters, tables."""

from __future__ import annotations

from dataclasses import replace

from .grow import CALM, Grower, Scope, Sketch
from .trees import RUN, Decl, Node, Step, const, make, read, rewrite

Made = list[tuple[Decl, Node]]
FAMILIES = [
    ("tanh", "sigmoid", "sin", "softplus", "relu", "cos"),
    ("add", "sub", "mul", "maximum", "minimum"),
    ("less", "greater", "less_equal", "greater_equal"),
    ("sum", "mean", "max", "min", "logsumexp"),
    ("softmax", "log_softmax"),
]


def variable(sketch: Sketch, scope: Scope, rank: int, shape: tuple[int, ...]) -> Decl:
    """A float variable of a layer."""
    axes = tuple(str(a) for a in sketch.rng.permutation(scope.axes))
    decl = sketch.declare("variable", "float", shape, axes, low=-CALM, high=CALM)
    sketch.layer[decl.name], sketch.rank[decl.name] = scope.layer, rank
    return decl


def param(sketch: Sketch, *shape: int) -> Node:
    """A new param."""
    reach = min(1.0, 2.0 / max(shape[-1] if shape else 1, 1))
    return read(sketch.declare("param", "float", shape, (), low=-reach, high=reach))


def given(sketch: Sketch, scope: Scope, *shape: int) -> Node:
    """A new input at the running steps."""
    decl = sketch.declare("input", "float", shape, scope.axes)
    return read(decl, *(Step(RUN, axis, 0) for axis in scope.axes))


def before(decl: Decl, scope: Scope, steps: int = 1) -> Node:
    """A variable of the layer, a step back along what recurs; at this step where nothing does is not allowed."""
    turns = dict(scope.turns[:1])
    return read(decl, *(Step(RUN, axis, -turns.get(axis, 0) * steps) for axis in decl.axes))


def gates(sketch: Sketch, scope: Scope) -> Made:
    """Some gates of one form with matrices of their own, and a state of two or three delays that they set."""
    if not scope.turns:
        return []
    n, m = sketch.size(), sketch.size()
    state = variable(sketch, scope, 9, (n,))
    x, h = given(sketch, scope, m), before(state, scope)
    made: Made = []
    for k in range(int(sketch.rng.integers(2, 5))):
        gate = variable(sketch, scope, k, (n,))
        e = make("add", make("matmul", param(sketch, n, n), h), make("matmul", param(sketch, n, m), x))
        if sketch.chance(0.7):
            e = make("add", *((param(sketch, n), e) if sketch.chance(0.5) else (e, param(sketch, n))))
        made.append((gate, make(sketch.pick(["sigmoid", "sigmoid", "tanh", "relu"]), make("mul", const(0.5), e))))
    now = [read(gate, *(Step(RUN, axis, 0) for axis in gate.axes)) for gate, _ in made]
    total = make("mul", make("sigmoid", now[0]), h)
    for gate in now[1:]:
        total = make("add", make("mul", total, make("tanh", gate)), make("mul", const(0.5), gate))
    return [*made, (state, make("tanh", total))]


def clones(sketch: Sketch, scope: Scope) -> Made:
    """One random equation, and others like it: with params of their own, another number, function, size or kind."""
    n = sketch.size()
    shape = sketch.pick([(), (n,), (n,), (min(n, 5), 3)])
    count = int(sketch.rng.integers(2, 5))
    first = variable(sketch, scope, 0, shape)
    g = Grower(sketch, scope)
    e = g.real(shape, int(sketch.rng.integers(2, 4)))
    made: Made = [(first, g.tamed(e, CALM) or make("tanh", e))]
    for k in range(1, count):
        like = made[-1][1] if sketch.chance(0.5) else made[0][1]
        made.append(clone(sketch, scope, k, like))
    return made


def clone(sketch: Sketch, scope: Scope, rank: int, like: Node) -> tuple[Decl, Node]:
    """An equation nearly like another."""
    changes = sketch.rng.random(4) < [0.25, 0.25, 0.2, 0.15]
    for resized in (bool(changes[2]), False):
        sizes: dict[int, int] = {}
        fresh: dict[object, Node] = {}

        def sized(n: int, on: bool = resized, sizes: dict[int, int] = sizes) -> int:
            return sizes.setdefault(n, sketch.size()) if on else n

        def change(node: Node, on: bool = resized, fresh: dict[object, Node] = fresh) -> Node:
            if node.op == "read":
                decl = sketch.decls[node.attrs["name"]]
                shape = tuple(sized(n) for n in decl.shape)
                if shape == decl.shape and (decl.role != "param" or sketch.chance(0.2)):
                    return node
                key = (decl.name, node.attrs["steps"])
                if key not in fresh:
                    role = "param" if decl.role == "param" else "input"
                    more = sketch.declare(role, decl.kind, shape, decl.axes, low=decl.low, high=decl.high)
                    fresh[key] = read(more, *node.attrs["steps"])
                return fresh[key]
            if node.op == "const" and changes[0] and node.kind == "float" and not node.shape:
                return const(round(float(sketch.rng.uniform(-1, 1)), 2))
            family = next((f for f in FAMILIES if node.op in f), ())
            if changes[1] and family and sketch.chance(0.3):
                return make(sketch.pick(family), *node.args, **node.attrs)
            return node

        try:
            e = rewrite(like, change)
        except (ValueError, KeyError):
            continue
        if 0 in e.shape:
            continue
        g = Grower(sketch, replace(scope, rank=rank))
        e = g.tamed(e, CALM) or make("tanh", make("sin", e))
        return variable(sketch, scope, rank, e.shape), e
    decl = variable(sketch, scope, rank, like.shape)
    return decl, make("tanh", Grower(sketch, scope).leaf(like.shape, "float"))


def rows(sketch: Sketch, scope: Scope) -> Made:
    """Reductions of rows side by side, of equal and of other lengths, and what comes of their results."""
    n, count = sketch.size(), int(sketch.rng.integers(2, 5))
    made: Made = []
    g = Grower(sketch, scope)
    for k in range(count):
        size = n if sketch.chance(0.7) else sketch.size()
        e = g.real((size,), 2)
        op = sketch.pick(["sum", "sum", "mean", "max", "min", "logsumexp", "softmax", "dot", "cross_entropy", "normal"])
        if op == "softmax":
            e = make("index", make("softmax", e, axis=-1), key=(int(sketch.rng.integers(size)),))
        elif op == "dot":
            e = make("dot", e, g.leaf((size,), "float"))
        elif op == "cross_entropy":
            e = make(op, e, g.label((), 1, size))
        elif op == "normal":
            e = make("index", make("layer_norm", e, axis=-1, eps=1e-3), key=(-1,))
        else:
            e = make(op, e, axis=-1)
        made.append((variable(sketch, scope, k, ()), g.tamed(e, CALM) or make("tanh", e)))
    total = make("stack", *(read(d, *(Step(RUN, a, 0) for a in d.axes)) for d, _ in made), axis=0)
    last = variable(sketch, scope, count, (count,))
    e = make("mul", total, before(last, scope)) if scope.turns and sketch.chance(0.6) else total
    return [*made, (last, make("tanh", e))]


def linear(sketch: Sketch, scope: Scope) -> Made:
    """A linear recurrence of some delays, element by element: with numbers, params, or gates that run."""
    if not scope.turns:
        return []
    n = sketch.size()
    shape = sketch.pick([(), (n,)])
    decl = variable(sketch, scope, 0, shape)
    e = make("mul", const(0.25), given(sketch, scope, *shape))
    for delay in range(1, int(sketch.rng.choice([2, 3, 4], p=[0.6, 0.3, 0.1]))):
        factor = const(round(float(sketch.rng.uniform(-0.3, 0.6)), 2))
        if sketch.chance(0.6):
            more = param(sketch, *shape) if sketch.chance(0.5) else given(sketch, scope, *shape)
            factor = make("mul", const(0.5), make("sigmoid", more)) if sketch.chance(0.5) else make("mul", factor, more)
        part = make("mul", factor, before(decl, scope, delay))
        e = (
            make("add", *((e, part) if sketch.chance(0.5) else (part, e)))
            if sketch.chance(0.8)
            else make("sub", e, part)
        )
    return [(decl, Grower(sketch, scope).tamed(e, CALM) or make("tanh", e))]


def scalars(sketch: Sketch, scope: Scope) -> Made:
    """Many numbers with equations of one form, among them some of size 1 instead."""
    count = int(sketch.rng.choice([3, 5, 8, 20], p=[0.4, 0.3, 0.2, 0.1]))
    op = sketch.pick(["tanh", "sigmoid", "sin"])
    made: Made = []
    for k in range(count):
        shape = () if sketch.chance(0.85) else (1,)
        decl = variable(sketch, scope, k, shape)
        e = make("mul", param(sketch), given(sketch, scope) if k % 3 == 0 else param(sketch, *shape))
        if made and sketch.chance(0.7):
            other = made[int(sketch.rng.integers(len(made)))][0]
            delay = 1 if scope.turns and sketch.chance(0.5) else 0
            e = make("add", e, before(other, scope, delay))
        if scope.turns and sketch.chance(0.5):
            e = make("add", e, before(decl, scope))
        if e.shape != shape:
            e = make("sum", e, axis=None) if shape == () else make("reshape", e, shape=shape)
        made.append((decl, make(op if sketch.chance(0.9) else "cos", e)))
    return made


def tables(sketch: Sketch, scope: Scope) -> Made:
    """Labels that look up rows, and a loss of what comes of them."""
    n, labels = sketch.size(), int(sketch.pick([2, 3, 5]))
    g = Grower(sketch, scope)
    decl = variable(sketch, scope, 0, (n,))
    e = make("take", param(sketch, labels, n), g.label((), 2, labels))
    if scope.turns:
        e = make("add", e, make("matmul", param(sketch, n, n), before(decl, scope)))
    score = variable(sketch, scope, 1, ())
    logits = make("matmul", param(sketch, labels, n), read(decl, *(Step(RUN, axis, 0) for axis in decl.axes)))
    loss = make("cross_entropy", logits, g.label((), 1, labels))
    return [(decl, make("tanh", e)), (score, g.tamed(loss, CALM) or make("tanh", loss))]


STYLES = {"gates": gates, "clones": clones, "rows": rows, "linear": linear, "scalars": scalars, "tables": tables}
