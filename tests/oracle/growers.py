"""One way to grow a float expression for every operation: from the shape that is wanted to operands that give it."""

from __future__ import annotations

import itertools
import math

from . import rules
from .grow import GROWERS, Grower, Node, Shape, const, grower, make

LETTERS = "ijklmnab"
__all__ = ["GROWERS"]


@grower(4)
def smooth(g: Grower, shape: Shape, depth: int) -> Node:
    """Functions of the whole line."""
    op = g.pick(["tanh", "tanh", "sigmoid", "sin", "cos", "softplus", "gelu", "stop_gradient", "neg"])
    return make(op, g.real(shape, depth - 1))


@grower(2)
def kinked(g: Grower, shape: Shape, depth: int) -> Node:
    """Functions with a kink or a jump."""
    op = g.pick(["relu", "abs", "sign", "elu", "leaky_relu", "clip"])
    e = g.real(shape, depth - 1)
    if op == "clip":
        low = round(float(g.rng.uniform(-1, 0.2)), 2)
        return make("clip", e, low=low, high=low + g.pick([1, 0.5, 1.25]))
    if op == "elu":
        return make("elu", e, alpha=g.pick([1.0, 0.5, 2]))
    return make("leaky_relu", e, slope=g.pick([0.01, 0.3])) if op == "leaky_relu" else make(op, e)


@grower(2)
def domained(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Functions of a part of the line, and what grows fast."""
    op = g.pick(["log", "log1p", "sqrt", "exp", "expm1", "pow", "power", "div", "log1p", "reciprocal"])
    if op in ("log", "sqrt"):
        return make(op, g.positive(shape, depth))
    if op == "log1p":
        return make(op, make("mul", const(0.5), make("tanh", g.real(shape, depth - 1))))
    if op in ("exp", "expm1"):
        e = g.real(shape, depth - 1)
        return make(op, e if e.high <= 2 else make("tanh", e))
    if op == "div":
        return make("div", g.real(shape, depth - 1), g.positive(g.smaller(shape), depth))
    if op == "reciprocal":
        return make("div", g.number(shape), g.positive(shape, depth))
    how = g.pick(["square", "cube", "half", "base", "both", "one"])
    if how in ("square", "cube", "one"):
        return make(op, g.real(shape, depth - 1), const(g.pick({"square": [2, 2.0], "cube": [3], "one": [1, 0]}[how])))
    if how == "half":
        return make(op, g.positive(shape, depth), const(g.pick([0.5, -1, -2, 1.5, -0.5])))
    if how == "base":
        return make(op, const(g.pick([2, 1.5])), make("tanh", g.real(shape, depth - 1)))
    return make(op, g.positive(shape, depth), make("tanh", g.real(g.smaller(shape), depth - 1)))


@grower(6)
def arithmetic(g: Grower, shape: Shape, depth: int) -> Node:
    """Sums and products, with broadcasting."""
    return make(g.pick(["add", "add", "sub", "mul", "mul"]), *g.pair(shape, depth))


@grower()
def mixed(g: Grower, shape: Shape, depth: int) -> Node:
    """Labels and bools among the operands."""
    op = g.pick(["add", "sub", "mul", "maximum", "minimum", "cast"])
    e = g.mixed(shape, depth - 1)
    if op == "cast":
        return make("cast", e)
    other = g.mixed(g.smaller(shape), depth - 1)
    node = make(op, *g.either(e, other))
    return make("cast", node) if node.kind == "int" else node


@grower()
def extremes(g: Grower, shape: Shape, depth: int) -> Node:
    """The larger or smaller of two."""
    return make(g.pick(["maximum", "minimum"]), *g.pair(shape, depth))


@grower(2)
def chosen(g: Grower, shape: Shape, depth: int) -> Node:
    """One of two by a condition."""
    condition = g.truth(g.smaller(shape), min(depth - 1, 2))
    return make("where", condition, *g.pair(shape, depth))


@grower(4)
def product(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Products of matrices and vectors."""
    if len(shape) > 2:
        return None
    n = 300 if g.chance(0.004) else g.sketch.size()
    if not shape:
        op = g.pick(["matmul", "dot"])
        return make(op, g.real((n,), depth - 1), g.real((n,), depth - 1))
    if len(shape) == 1:
        if g.chance(0.75):
            return make("matmul", matrix(g, (shape[0], n), depth), g.real((n,), depth - 1))
        return make("matmul", g.real((n,), depth - 1), matrix(g, (n, shape[0]), depth))
    n = min(n, 17)
    return make("matmul", matrix(g, (shape[0], n), depth), matrix(g, (n, shape[1]), depth))


def matrix(g: Grower, shape: Shape, depth: int) -> Node:
    """A matrix, most often a param, at times its transpose."""
    if g.chance(0.1):
        return make("T", matrix(g, shape[::-1], depth - 1))
    return g.leaf(shape, "float") if g.chance(0.75) else g.real(shape, depth - 2)


@grower()
def outer(g: Grower, shape: Shape, depth: int) -> Node | None:
    """All products of two vectors."""
    if len(shape) != 2:
        return None
    return make("outer", g.real(shape[:1], depth - 1), g.real(shape[1:], depth - 1))


@grower(2)
def einsum(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Any contraction of two: each letter in at least two of the three places."""
    if len(shape) > 3:
        return None
    out = list(range(len(shape)))
    left = [k for k in out if g.chance(0.6)]
    right = [k for k in out if k not in left or g.chance(0.3)]
    inner = list(range(len(shape), len(shape) + int(g.rng.integers(0, 3))))
    if len(left) + len(inner) > 3 or len(right) + len(inner) > 3:
        inner = []
    sizes = [*shape, *(min(g.sketch.size(), 9) for _ in inner)]
    left, right = left + inner, right + inner
    g.rng.shuffle(left)
    g.rng.shuffle(right)
    spec = "".join(LETTERS[k] for k in left) + "," + "".join(LETTERS[k] for k in right)
    spec += "->" + "".join(LETTERS[k] for k in out)
    a, b = (g.real(tuple(sizes[k] for k in side), depth - 1) for side in (left, right))
    return make("einsum", a, b, spec=spec)


@grower(3)
def sliced(g: Grower, shape: Shape, depth: int) -> Node | None:
    """A part of something larger."""
    if len(shape) > 2:
        return None
    key: list[object] = []
    full: list[int] = []
    places = len(shape) + 1 if len(shape) < 2 and g.chance(0.6) else len(shape)
    single = int(g.rng.integers(places)) if places > len(shape) else -1
    sizes = list(shape)
    for place in range(places):
        if place == single:
            n = g.sketch.size()
            key.append(int(g.rng.integers(-n, n)))
            full.append(n)
            continue
        n = sizes.pop(0)
        step = g.pick([1, 1, 1, 2, -1, 3, -2])
        start, rest = int(g.rng.integers(0, 3)), int(g.rng.integers(0, 3))
        total = start + (n - 1) * abs(step) + 1 + rest
        if step > 0:
            key.append(slice(start or None, total - rest if rest else None, None if step == 1 else step))
        else:
            key.append(slice(total - rest - 1 if rest else None, start - 1 if start else None, step))
        full.append(total)
    if math.prod(full) > 200 or not key:
        return None
    if len(key) == 2 and key[0] == slice(None) and g.chance(0.5):
        key[0] = Ellipsis
    return make("index", g.real(tuple(full), depth - 1), key=tuple(key))


@grower(2)
def joined(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Parts side by side."""
    if not shape:
        return None
    axis = int(g.rng.integers(len(shape)))
    if g.chance(0.5) and shape[axis] <= 5:
        rest = shape[:axis] + shape[axis + 1 :]
        parts = [g.real(rest, depth - 1) if g.chance(0.9) else g.mixed(rest, depth - 1) for _ in range(shape[axis])]
        if not rest and len(parts) > 1 and g.chance(0.2):
            parts[0] = g.number(())
        return make("stack", *parts, axis=axis if g.chance(0.5) else axis - len(shape))
    cuts = [int(g.rng.integers(1, shape[axis])) for _ in range(g.pick([1, 1, 2]))] if shape[axis] > 1 else []
    ends = [0, *sorted(set(cuts)), shape[axis]]
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    parts = [g.real((*shape[:axis], n, *shape[axis + 1 :]), depth - 1) for n in sizes]
    return make("concat", *parts, axis=axis if g.chance(0.5) else axis - len(shape))


@grower(2)
def laid_out(g: Grower, shape: Shape, depth: int) -> Node | None:
    """The same elements in another shape."""
    op = g.pick(["reshape", "T", "transpose", "broadcast_to"])
    if g.chance(0.015):
        return make("index", g.real(shape, depth - 1), key=())
    if op == "broadcast_to":
        return make(op, g.real(g.smaller(shape), depth - 1), shape=shape)
    if op == "T":
        return make(op, g.real(shape[::-1], depth - 1))
    if op == "transpose":
        axes = [int(a) for a in g.rng.permutation(len(shape))]
        source = [0] * len(shape)
        for place, axis in enumerate(axes):
            source[axis] = shape[place]
        given = tuple(a - len(axes) if g.chance(0.2) else a for a in axes)
        return make(op, g.real(tuple(source), depth - 1), axes=given) if axes else None
    total = math.prod(shape)
    factors = [n for n in range(1, total + 1) if total % n == 0]
    a = g.pick(factors)
    source = g.pick([(total,), (a, total // a), (1, *shape), (*shape, 1), ()]) if total == 1 else (a, total // a)
    if total > 1 and g.chance(0.3):
        source = (total,)
    wanted = list(shape)
    if wanted and g.chance(0.3):
        wanted[int(g.rng.integers(len(wanted)))] = -1
    return make("reshape", g.real(tuple(source), depth - 1), shape=tuple(wanted))


@grower(4)
def reduced(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Sums, means, extremes over per-example axes."""
    op = g.pick(["sum", "sum", "mean", "max", "min", "logsumexp"])
    n, m = g.sketch.size(), g.pick([1, 2, 3, 4])
    keep = bool(shape) and 1 in shape and g.chance(0.5)
    if keep:
        axis = shape.index(1)
        return make(op, g.real((*shape[:axis], n, *shape[axis + 1 :]), depth - 1), axis=axis, keepdims=True)
    if not shape and g.chance(0.5):
        source = (n,) if g.chance(0.6) else (m, min(n, 9))
        axis = -1 if op == "logsumexp" and len(source) == 1 else None
        return make(op, g.real(source, depth - 1), axis=axis)
    if len(shape) > 2:
        return None
    axis = int(g.rng.integers(len(shape) + 1))
    full = (*shape[:axis], n, *shape[axis:])
    if math.prod(full) > 300:
        return None
    if len(full) == 2 and g.chance(0.1):
        return make(op, g.real((m, *full), depth - 1), axis=(0, axis + 1))
    return make(op, g.real(full, depth - 1), axis=axis if g.chance(0.6) else axis - len(full))


@grower(2)
def normalised(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Softmax and its logarithm, layer normalisation."""
    if not shape:
        return None
    op = g.pick(["softmax", "softmax", "log_softmax", "layer_norm"])
    axis = int(g.rng.integers(-len(shape), len(shape)))
    if op != "layer_norm":
        both = len(shape) == 2 and g.chance(0.1)
        return make(op, g.real(shape, depth - 1), axis=(0, 1) if both else axis)
    args = [g.real(shape, depth - 1)]
    if g.chance(0.5):
        args += [g.real(g.smaller(shape), depth - 2), g.real(g.smaller(shape), depth - 2)]
    return make(op, *args, axis=axis, eps=g.pick([1e-5, 1e-3, 0.1]))


@grower(1)
def pooled(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Means over the examples, and what is left of an example without them."""
    if g.chance(0.5):
        return None  # a template that has one is left out of the law of examples one by one
    value = g.real(shape, depth - 1)
    mean = make("batch_mean", value)
    return make("sub", value, mean) if g.chance(0.5) else mean


@grower(2)
def looked_up(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Rows of a table, elements of rows, unit vectors."""
    op = g.pick(["take", "take", "pick", "one_hot"])
    labels = int(g.pick([1, 2, 3, 4, 5]))
    if op == "one_hot":
        if not shape:
            return None
        node = make(op, g.label(shape[:-1], depth - 1, shape[-1]), size=shape[-1])
        return make("mul", node, g.real(shape, depth - 1)) if g.chance(0.3) else node
    if op == "pick":
        return make(op, g.real((*shape, labels), depth - 1), g.label(shape, depth - 1, labels))
    cut = int(g.rng.integers(len(shape) + 1)) if g.chance(0.4) else 0
    table = (labels, *shape[cut:])
    source = g.leaf(table, "float") if g.chance(0.7) else g.real(table, depth - 1)
    return make(op, source, g.label(shape[:cut], depth - 1, labels))


@grower(2)
def losses(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Losses, element by element or of rows."""
    op = g.pick(["cross_entropy", "soft", "nll", "mse", "bce", "bce"])
    n = int(g.pick([1, 2, 3, 5, 8]))
    if op == "mse":
        source = (n,) if g.chance(0.7) else (n, 3)
        return None if shape else make("mse", g.real(source, depth - 1), g.real(g.smaller(source), depth - 1))
    if op == "bce":
        target = g.truth(shape, depth - 1) if g.chance(0.5) else make("sigmoid", g.real(shape, depth - 1))
        return make("bce_with_logits", g.real(shape, depth - 1), target)
    logits = g.real((*shape, n), depth - 1)
    if op == "soft":
        return make("cross_entropy", logits, make("softmax", g.real((*shape, n), depth - 1), axis=-1))
    return make(op, logits, g.label(shape, depth - 1, n))


@grower(4)
def over_time(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Sums, means, extremes and normalised values over one time axis or two."""
    axes = g.sketch.axes
    count = 2 if len(axes) > 1 and g.chance(0.15) else 1
    over = tuple(str(a) for a in g.rng.permutation(axes)[:count])
    op = g.pick(["sum", "sum", "mean", "max", "min", "logsumexp", "softmax", "softmax", "log_softmax"])
    if op in rules.NORMALISED and not set(over) <= set(g.scope.axes):
        return None
    inside = g.within(over)
    e = inside.real(shape, depth - 1)
    for _ in range(3):
        missing = [axis for axis in over if axis not in e.axes]
        if not missing:
            break
        more = inside.leaf(shape, "float")
        e = make(g.pick(["mul", "add"]), *g.either(e, more))
    if not set(over) <= e.axes:
        decl = g.sketch.declare("input", "float", (), tuple(dict.fromkeys((*over, *g.scope.axes)))[:2])
        steps = inside.steps(decl)
        e = make("mul", e, inside.given(decl, steps)) if steps is not None else e
    e = inside.tamed(e, 4.0) or e
    if op in ("max", "min", "sum", "mean") and g.chance(0.05):
        e = inside.label(shape, 1, 4)
    return make(op, e, over=over)
