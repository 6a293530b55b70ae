"""More ways to grow a float expression: rounding, special functions, running sums, order, systems of equations."""

from __future__ import annotations

import math

from .grow import GROWERS, Grower, Node, Shape, const, grower, make

__all__ = ["GROWERS"]


@grower()
def rounded(g: Grower, shape: Shape, depth: int) -> Node:
    """Whole numbers near floats, and what they leave."""
    op = g.pick(["floor", "ceil", "round", "floor_divide", "remainder", "remainder", "fmod"])
    e = g.real(shape, depth - 1)
    if op in ("floor", "ceil", "round"):
        return make(op, e)
    divisor = g.positive(g.smaller(shape), depth) if g.chance(0.5) else const(float(g.pick([0.5, 1.0, 0.7])))
    return make(op, e, divisor)


@grower()
def labels_divided(g: Grower, shape: Shape, depth: int) -> Node:
    """Labels by a number, as floats."""
    op = g.pick(["floor_divide", "remainder"])
    return make("cast", make(op, g.label(shape, depth - 1, 4), const(int(g.pick([1, 2, 3])))))


@grower(2)
def special(g: Grower, shape: Shape, depth: int) -> Node:
    """Special functions, and smooth ones of few uses."""
    op = g.pick(["silu", "logsigmoid", "erf", "logaddexp", "lgamma", "digamma", "polygamma"])
    if op == "logaddexp":
        return make(op, *g.pair(shape, depth))
    if op in ("silu", "logsigmoid", "erf"):
        return make(op, g.real(shape, depth - 1))
    e = g.positive(shape, depth)
    return make(op, const(int(g.pick([1, 1, 2]))), e) if op == "polygamma" else make(op, e)


@grower(2)
def running(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Sums and products as far as each element, and elements in order."""
    if not shape:
        return None
    axis = int(g.rng.integers(-len(shape), len(shape)))
    op = g.pick(["cumsum", "cumprod", "sort", "top_k"])
    if op == "top_k":
        more = int(g.rng.integers(0, 3))
        full = [n + more if place == axis % len(shape) else n for place, n in enumerate(shape)]
        return make(op, g.real(tuple(full), depth - 1), k=shape[axis], axis=axis)
    e = g.real(shape, depth - 1)
    if op == "cumprod":
        e = make("tanh", e)
    return make(op, e, axis=axis, descending=g.chance(0.4)) if op == "sort" else make(op, e, axis=axis)


@grower(2)
def spread(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Products, variances, deviations and norms, over axes and over time."""
    op = g.pick(["prod", "var", "std", "norm"])
    if op != "prod" and g.chance(0.3):
        axis = str(g.pick(g.sketch.axes))
        inside = g.within((axis,))
        e = inside.real(shape, depth - 1)
        if axis not in e.axes:
            return None
        return make(op, inside.tamed(e, 4.0) or e, over=(axis,))
    n = g.pick([1, 2, 3, 5])
    if len(shape) > 2:
        return None
    axis = int(g.rng.integers(len(shape) + 1))
    e = g.real((*shape[:axis], n, *shape[axis:]), depth - 1)
    e = make("tanh", e) if op == "prod" else e
    more = {"correction": 1} if op in ("var", "std") and n > 1 and g.chance(0.3) else {}
    return make(op, e, axis=axis, **more)


@grower()
def looked_along(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Elements of each row by labels."""
    if not shape:
        return None
    labels = int(g.pick([1, 2, 4]))
    return make("take_along", g.real((*shape[:-1], labels), depth - 1), g.label(shape, depth - 1, labels))


def dominant(g: Grower, n: int, depth: int) -> Node:
    """A matrix that is far from having no inverse: its diagonal outweighs the rest."""
    e = make("mul", const(round(0.5 / n, 3)), make("tanh", g.real((n, n), depth - 1)))
    diagonal = [[float(i == k) for k in range(n)] for i in range(n)]
    return make("add", e, const(diagonal))


@grower()
def systems(g: Grower, shape: Shape, depth: int) -> Node | None:
    """Systems of equations and the factor of Cholesky."""
    if len(shape) not in (1, 2) or shape[0] > 4 or math.prod(shape) > 16:
        return None
    n = shape[0]
    op = g.pick(["solve", "solve_triangular", "cholesky"])
    if op == "cholesky":
        factor = make(op, dominant(g, n, depth))
        return factor if shape == (n, n) else make("matmul", factor, g.real(shape, depth - 1))
    more = {"lower": bool(g.chance(0.5))} if op == "solve_triangular" else {}
    return make(op, dominant(g, n, depth), g.real(shape, depth - 1), **more)


@grower()
def likelihoods(g: Grower, shape: Shape, depth: int) -> Node:
    """Log-likelihoods, and Huber's loss."""
    op = g.pick(["normal_log_prob", "poisson_log_prob", "student_log_prob", "huber"])
    if op == "huber":
        source = (int(g.pick([1, 2, 5])),)
        if shape:
            return make("normal_log_prob", *g.pair(shape, depth), g.positive(g.smaller(shape), depth))
        return make(
            op, g.real(source, depth - 1), g.real(g.smaller(source), depth - 1), delta=float(g.pick([1.0, 0.4]))
        )
    if op == "poisson_log_prob":
        count = g.label(shape, depth - 1, 4) if g.chance(0.6) else g.positive(shape, depth)
        return make(op, count, make("tanh", g.real(g.smaller(shape), depth - 1)))
    a, b = g.real(shape, depth - 1), g.real(g.smaller(shape), depth - 1)
    if op == "normal_log_prob":
        return make(op, a, b, g.positive(g.smaller(shape), depth))
    return make(op, a, g.positive(g.smaller(shape), depth), b, g.positive(g.smaller(shape), depth))
