"""Random systems: layers of variables in either direction, boundaries wherever reads call for them, outputs, loss."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace

import numpy as np

from . import growers, more_growers, patterns
from .grow import CALM, Grower, Scope, Sketch
from .trees import AT, END, RUN, Decl, Node, Statement, Step, System, const, make, pruned, read

assert growers.GROWERS is more_growers.GROWERS
Targets = tuple[tuple[str, tuple[Step, ...]], ...]


def random_system(rng: np.random.Generator, *, wild: bool = False) -> System:
    """A system that nobody has written before."""
    axes = [("t",)] * 11 + [("t", "s")] * 6 + [("s", "t")] + [("s",)] + [("t", "s", "u")]
    sketch = Sketch(rng, axes[int(rng.integers(len(axes)))])
    statements: list[Statement] = []
    marks: set[str] = set()
    count = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.18, 0.07]))
    for number in range(count):
        statements += random_layer(sketch, number, marks)
    outputs = random_outputs(sketch, count)
    loss = random_loss(sketch, count) if rng.random() < 0.92 else None
    if wild:
        marks.add("wild")
        outputs += wild_outputs(sketch, count)
        loss = None
    statements = with_boundaries(sketch, statements, outputs, loss)
    statements, outputs, loss = ordered(sketch, statements, outputs, loss)
    system = System("net", sketch.axes, sketch.decls, tuple(statements), tuple(outputs), loss, frozenset(marks))
    if rng.random() < 0.9:
        return pruned(system)
    return replace(system, axes=tuple(a for a in system.axes if any(a in d.axes for d in system.decls.values())))


def random_shape(sketch: Sketch) -> tuple[int, ...]:
    """The shape of a variable."""
    rank = int(sketch.rng.choice([0, 1, 2, 3], p=[0.3, 0.5, 0.17, 0.03]))
    shape = tuple(sketch.size() for _ in range(rank))
    return shape if math.prod(shape) <= 40 else shape[:1]


def random_layer(sketch: Sketch, number: int, marks: set[str]) -> list[Statement]:
    """Variables that may recur with each other, and the equation of each."""
    rng, axes = sketch.rng, sketch.axes
    rank = int(rng.choice([0, 1, 2, 3], p=[0.05, 0.65, 0.25, 0.05]))
    along = tuple(str(a) for a in rng.permutation(axes)[: min(rank, len(axes))])
    turning = [axis for axis in along if sketch.chance(0.8 if axis == along[0] else 0.35)]
    turns = tuple((axis, int(rng.choice([1, -1], p=[0.68, 0.32]))) for axis in turning)
    style = sketch.pick(["grown"] * 6 + ["clones"] * 4 + ["gates", "rows", "linear", "scalars", "tables"])
    marks |= {f"layer along {len(along)}, recurs along {len(turns)}", f"style {style}"}
    marks |= {"backwards" for _, way in turns if way < 0}
    scope = Scope(along, number, 0, turns)
    made = patterns.STYLES[style](sketch, scope) if style in patterns.STYLES else []
    if not made:
        shapes = [random_shape(sketch) for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])))]
        if sketch.chance(0.4):
            shapes = [shapes[0]] * len(shapes)
        kinds = ["float" if sketch.chance(0.9) else sketch.pick(["int", "bool"]) for _ in shapes]
        variables = [
            new_variable(sketch, scope, k, kind, shape)
            for k, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))
        ]
        made = [(decl, grown(sketch, replace(scope, rank=k), decl)) for k, decl in enumerate(variables)]
    return [Statement((here(decl),), expr) for decl, expr in made]


def new_variable(sketch: Sketch, scope: Scope, rank: int, kind: str, shape: tuple[int, ...]) -> Decl:
    """A variable of a layer; its axes stand in some order in the brackets."""
    axes = tuple(str(a) for a in sketch.rng.permutation(scope.axes))
    low, high = {"float": (-CALM, CALM), "int": (0.0, 3.0), "bool": (0.0, 1.0)}[kind]
    decl = sketch.declare("variable", kind, shape, axes, low=low, high=high)
    sketch.layer[decl.name], sketch.rank[decl.name] = scope.layer, rank
    return decl


def here(decl: Decl) -> tuple[str, tuple[Step, ...]]:
    """A variable at its running steps, as what is defined."""
    return decl.name, tuple(Step(RUN, axis, 0) for axis in decl.axes)


def grown(sketch: Sketch, scope: Scope, decl: Decl, depth: int = 0) -> Node:
    """A random expression that a variable can be set to."""
    g = Grower(sketch, scope)
    deep = depth or int(sketch.rng.choice([1, 2, 3, 4], p=[0.1, 0.35, 0.4, 0.15]))
    if decl.kind == "int":
        return g.label(decl.shape, deep, 4)
    if decl.kind == "bool":
        return g.truth(decl.shape, deep)
    e = g.real(decl.shape, deep)
    if scope.turns and scope.own and sketch.chance(0.7) and not any(reads_layer(sketch, scope, n) for n in e.reads):
        again = g.readable(decl.shape, "float")
        if again is not None:
            e = make(g.pick(["add", "mul", "maximum"]), *g.either(e, again))
    return g.tamed(e, CALM) or make("tanh", g.leaf(decl.shape, "float"))


def reads_layer(sketch: Sketch, scope: Scope, node: Node) -> bool:
    """True for a read of the layer itself."""
    return sketch.layer.get(node.attrs["name"]) == scope.layer


# ---- boundaries -----------------------------------------------------------------------------------------------------


def with_boundaries(
    sketch: Sketch, statements: list[Statement], outputs: list[tuple[str, Node]], loss: Node | None
) -> list[Statement]:
    """Statements with a boundary for every step outside 1..T that something reads, until none is missing."""
    found: list[Statement] = list(statements)
    defined: set[tuple[str, tuple[tuple[str, int], ...]]] = set()
    fresh = [s.expr for s in statements] + [e for _, e in outputs] + ([loss] if loss is not None else [])
    while fresh:
        wanted: dict[tuple[str, tuple[tuple[str, int], ...]], None] = {}
        for root in fresh:
            for node in root.reads:
                wanted |= dict.fromkeys(regions(sketch, node))
        missing = [region for region in wanted if region not in defined]
        defined |= set(missing)
        new = boundaries(sketch, missing)
        found = new + found if sketch.chance(0.6) else found + new
        fresh = [s.expr for s in new]
    return found


def regions(sketch: Sketch, node: Node) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    """The regions outside a declaration's own steps that a read may reach, an anchor and a shift for each axis."""
    decl = sketch.decls[node.attrs["name"]]
    choices: list[list[tuple[str, int]]] = []
    for step in node.attrs["steps"]:
        if step.anchor == RUN:
            below = [(AT, k) for k in range(1 + step.shift, 1)]
            above = [(END, k) for k in range(1, step.shift + 1)]
            choices.append([(RUN, 0), *below, *above])
        elif (step.anchor == AT and step.shift <= 0) or (step.anchor == END and step.shift >= 1):
            choices.append([(step.anchor, step.shift)])
        else:  # an inner step; at times the boundary that it reaches in short sequences is there too
            choices.append([(RUN, 0), *([(AT, 0)] if step.anchor == END and sketch.chance(0.3) else [])])
    return [(decl.name, place) for place in itertools.product(*choices) if any(anchor != RUN for anchor, _ in place)]


def boundaries(sketch: Sketch, missing: list[tuple[str, tuple[tuple[str, int], ...]]]) -> list[Statement]:
    """A statement for each region; at times one statement for several."""
    made: list[Statement] = []
    previous: tuple[tuple[int, ...], str, frozenset[str]] | None = None
    for name, place in missing:
        decl = sketch.decls[name]
        axes = tuple(axis for axis, (anchor, _) in zip(decl.axes, place, strict=True) if anchor == RUN)
        target = (name, tuple(Step(a, axis, k) for axis, (a, k) in zip(decl.axes, place, strict=True)))
        like = (decl.shape, decl.kind, frozenset(axes))
        if like == previous and sketch.chance(0.35) and all(n != name or s != target[1] for n, s in made[-1].targets):
            last = made[-1]
            if name == last.targets[0][0] or same_layer(sketch, last.targets[0][0], name):
                made[-1] = replace(last, targets=(*last.targets, target))
                continue
        high = any(anchor == END for anchor, _ in place)
        made.append(Statement((target,), boundary(sketch, decl, axes, (END, 0) if high else (AT, 1))))
        previous = like
    return made


def same_layer(sketch: Sketch, a: str, b: str) -> bool:
    """True where both may have the same boundary, so that no circle comes of it."""
    return sketch.layer.get(a, -1) == sketch.layer.get(b, -2)


def boundary(sketch: Sketch, decl: Decl, axes: tuple[str, ...], inner: tuple[str, int]) -> Node:
    """What stands at a fixed step: a number, an input or param, an expression, a step of an earlier layer."""
    if decl.kind == "int":
        if sketch.chance(0.7):
            return const(int(sketch.pick([0, 1])) if decl.high >= 1 else 0)
        return make(
            "minimum", Grower(sketch, early(sketch, decl, axes, inner)).leaf(decl.shape, "int"), const(int(decl.high))
        )
    if decl.kind == "bool":
        if sketch.chance(0.7):
            return const(bool(sketch.chance(0.5)))
        return Grower(sketch, early(sketch, decl, axes, inner)).leaf(decl.shape, "bool")
    how = sketch.rng.random()
    if how < 0.4:
        return const(sketch.pick([0, 0, 0, 0.0, 1, 0.5, -1, True]) if decl.low <= -1 else 0.75)
    if how < 0.45 and decl.shape:
        return const(np.round(sketch.rng.uniform(max(decl.low, -1), min(decl.high, 1), decl.shape), 2).tolist())
    g = Grower(sketch, early(sketch, decl, axes, inner))
    e = g.leaf(decl.shape, "float") if how < 0.8 else g.real(decl.shape, 2)
    if e.low >= decl.low and e.high <= decl.high:
        return e
    middle, half = (decl.low + decl.high) / 2, (decl.high - decl.low) / 2
    bounded = make("mul", const(half), make("tanh", e))
    return make("add", const(middle), bounded) if middle else bounded


def early(sketch: Sketch, decl: Decl, axes: tuple[str, ...], inner: tuple[str, int]) -> Scope:
    """The scope of a boundary: what comes before the layer, or given values for those of an input."""
    given = decl.name if decl.role == "input" else ""
    return Scope(axes, sketch.layer.get(decl.name, -1), 0, (), own=False, before=given, inner=inner)


# ---- outputs and loss -----------------------------------------------------------------------------------------------


def random_outputs(sketch: Sketch, layers: int) -> list[tuple[str, Node]]:
    """Values to return: variables as they are, single steps, expressions."""
    outputs: list[tuple[str, Node]] = []
    variables = [d for d in sketch.decls.values() if d.role == "variable"]
    for number in range(int(sketch.rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.2, 0.05]))):
        free = tuple(str(a) for a in sketch.rng.permutation(sketch.axes)[: int(sketch.rng.integers(0, 3))])
        g = Grower(sketch, Scope(free, layers))
        how = sketch.rng.random()
        if how < 0.45:
            decl = sketch.pick(variables)
            g = Grower(sketch, Scope(decl.axes if how < 0.25 else free, layers))
            steps = g.steps(decl)
            assert steps is not None
            e = read(decl, *steps)
        elif how < 0.55:
            parts = side_by_side(sketch, layers, free)
            e = make("stack", *parts, axis=0) if parts else g.real((), 2)
        elif how < 0.9:
            e = g.real(random_shape(sketch), int(sketch.rng.integers(1, 4)))
        else:
            e = g.label((), 2, 4) if how < 0.95 else g.truth((), 2)
        outputs.append((f"y{number}", e))
    return outputs


def random_loss(sketch: Sketch, layers: int) -> Node:
    """One number for each example: a sum over steps, something at the end, or something of a single step."""
    axes = sketch.axes
    how = sketch.rng.random()
    free = axes if how < 0.65 else axes[:1] if how < 0.8 else ()
    g = Grower(sketch, Scope(free, layers))
    e = g.real((), int(sketch.rng.choice([2, 3, 4], p=[0.3, 0.5, 0.2])))
    variables = [d for d in sketch.decls.values() if d.role == "variable" and d.kind == "float"]
    if variables and sketch.chance(0.8):
        decl = sketch.pick(variables)
        steps = Grower(sketch, Scope(tuple(a for a in decl.axes if a in free), layers)).steps(decl)
        if steps is not None:
            part = read(decl, *steps)
            total = make(g.pick(["sum", "sum", "mean"]), part, axis=None) if decl.shape else part
            e = make("add", *g.either(e, total)) if sketch.chance(0.7) else total
    if sketch.chance(0.2):
        for part in side_by_side(sketch, layers, free):
            e = make("add", *g.either(e, part))
    parts = at_steps(sketch, sketch.pick(variables)) if variables and sketch.chance(0.3) else []
    if parts:
        e = functools.reduce(lambda a, b: make("add", *g.either(a, b)), parts if sketch.chance(0.6) else [e, *parts])
    if sketch.chance(0.1):
        e = make("mul", e, e)
    while e.axes:
        over = tuple(sorted(e.axes)) if sketch.chance(0.5) else (sketch.pick(sorted(e.axes)),)
        if not sketch.chance(0.5):
            over = over[::-1]
        e = make(g.pick(["sum", "sum", "sum", "mean", "max", "logsumexp"]), e, over=over)
    return e


def at_steps(sketch: Sketch, decl: Decl) -> list[Node]:
    """One variable at the first steps, at steps counted from the last, before and after all, and at shifted ones."""
    found: list[Node] = []
    for _ in range(int(sketch.rng.integers(2, 5))):
        single = [(AT, 1)] * 4 + [(AT, 2), (AT, 3), (AT, 0)]
        single += [(END, 0)] * 3 + [(END, -1), (END, 1), (END, 1), (END, 2)]
        shifted = [(RUN, 0), (RUN, -1), (RUN, -1), (RUN, -2), (RUN, 1), (RUN, 2)]
        steps = [sketch.pick(single if sketch.chance(0.6) else shifted) for _ in decl.axes]
        e = read(decl, *(Step(anchor, axis, k) for axis, (anchor, k) in zip(decl.axes, steps, strict=True)))
        e = make("sum", e, axis=None) if decl.shape else e
        e = make("mul", e, e) if sketch.chance(0.4) else e
        found.append(make("sum", e, over=tuple(sorted(e.axes))) if e.axes else e)
    return found


def side_by_side(sketch: Sketch, layers: int, free: tuple[str, ...]) -> list[Node]:
    """Reductions of several vectors and matrices, most of one shape, at running and at single steps."""
    g = Grower(sketch, Scope(free if sketch.chance(0.5) else (), layers))
    options = [d for d in sketch.decls.values() if d.shape and d.kind == "float" and not d.wild]
    found: list[Node] = []
    if not options:
        return found
    shape = sketch.pick(options).shape
    for _ in range(int(sketch.rng.integers(2, 5))):
        decl = sketch.pick([d for d in options if d.shape == shape] if sketch.chance(0.8) else options)
        steps = g.steps(decl)
        if steps is None:
            continue
        e = read(decl, *steps)
        if sketch.chance(0.3):
            e = make(sketch.pick(["tanh", "sigmoid", "neg"]), e)
        op = sketch.pick(["sum", "sum", "sum", "mean", "max", "min", "logsumexp"])
        found.append(make(op, e, axis=None if op != "logsumexp" else tuple(range(len(e.shape)))))
    return found


def wild_outputs(sketch: Sketch, layers: int) -> list[tuple[str, Node]]:
    """Values that are infinite or no number, most of them behind a condition."""
    found: list[tuple[str, Node]] = []
    for number in range(2):
        shape = random_shape(sketch)
        free = sketch.axes[:1]
        g = Grower(sketch, Scope(free, layers))
        decl = sketch.declare("input", "float", shape, free, wild=True)
        e = read(decl, Step(RUN, free[0], 0))
        for _ in range(int(sketch.rng.integers(0, 3))):
            op = sketch.pick(["add", "mul", "neg", "abs", "exp", "tanh", "sigmoid", "sub", "div", "square"])
            if op in ("neg", "abs", "exp", "tanh", "sigmoid"):
                e = make(op, e)
            elif op == "square":
                e = make("mul", e, e)
            else:
                other = g.leaf(shape, "float")
                e = make(op, e, make("add", const(3.5), other) if op == "div" else other)
        calm = g.leaf(shape, "float")
        if sketch.chance(0.8):
            test = make("isfinite", e) if sketch.chance(0.6) else make("greater", e, const(0.123))
            e = (
                make("where", test, e, calm)
                if sketch.chance(0.7)
                else make("where", make("logical_not", test), calm, e)
            )
        if sketch.chance(0.4):
            inner = make("where", make("isfinite", e), e, const(float(sketch.pick([0.0, -math.inf, 1.0]))))
            op = sketch.pick(["sum", "max", "softmax", "logsumexp"])
            e = make(op, inner, over=free) if sketch.chance(0.5) or not shape else make(op, inner, axis=-1)
        found.append((f"z{number}", e))
    return found


# ---- order ----------------------------------------------------------------------------------------------------------


def ordered(
    sketch: Sketch, statements: list[Statement], outputs: list[tuple[str, Node]], loss: Node | None
) -> tuple[list[Statement], list[tuple[str, Node]], Node | None]:
    """Statements in some order, and shapes left out where a definition comes before every read."""
    if sketch.chance(0.3):
        order = sketch.rng.permutation(len(statements))
        statements = [statements[int(k)] for k in order]
    if sketch.chance(0.4):
        defined: set[str] = set()
        loose = {d.name for d in sketch.decls.values() if d.role == "variable" and sketch.chance(0.7)}
        for s in statements:
            loose -= {n.attrs["name"] for n in s.expr.reads} - defined
            fresh = [name for name, steps in s.targets if all(step.anchor == RUN for step in steps)]
            loose -= {n for n in fresh if s.expr.shape != sketch.decls[n].shape or s.expr.kind != sketch.decls[n].kind}
            defined |= set(fresh)
        for name in loose:
            sketch.decls[name] = replace(sketch.decls[name], shaped=False)
    if sketch.chance(0.3):
        names = list(sketch.decls)
        sketch.rng.shuffle(names)
        sketch.decls = {name: sketch.decls[name] for name in names}
    return statements, outputs, loss
