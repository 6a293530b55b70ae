"""Small models of the kinds that the book tells apart, with few values, so that all sequences can be listed."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

import numpy as np

from unroll import Template, ops, t
from unroll.analysis import Model

K = 3


def rnn(k: int = K) -> Model:
    """Book figure 10.8: y[t] ~ softmax(o[t]), the state carries all earlier y."""
    g = Template("rnn")
    y = g.input("y", dtype="int")
    W, E, V = g.param("W", (4, 4)), g.param("E", (k, 4)), g.param("V", (k, 4))
    h, o = g.variable("h", 4), g.variable("o")
    y[0] = 0
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + E[y[t - 1]])
    o[t] = V @ h[t]
    return model(g)


def markov(order: int = 1, k: int = K) -> Model:
    """Recurrence through the outputs alone: y[t] depends on the last few."""
    g = Template("markov")
    y, h, o = g.input("y", dtype="int"), g.variable("h"), g.variable("o")
    E, V = [g.param(f"E{d}", (k, 4)) for d in range(order)], g.param("V", (k, 4))
    for d in range(order):
        y[-d] = 0
    h[t] = ops.tanh(sum((E[d][y[t - 1 - d]] for d in range(1, order)), E[0][y[t - 1]]))
    o[t] = V @ h[t]
    return model(g)


def independent_steps(k: int = K) -> Model:
    """Each y[t] depends on its own step alone."""
    g = Template("steps")
    g.input("y", dtype="int")
    c, o = g.param("c", k), g.variable("o")
    o[t] = c * 1.0
    return model(g)


def hidden_markov(k: int = 2) -> Model:
    """A random state z, of which y is a noisy view."""
    g = Template("hmm")
    z, y = g.input("z", dtype="int"), g.input("y", dtype="int")
    A, B = g.param("A", (k, k)), g.param("B", (k, k))
    a, b = g.variable("a"), g.variable("b")
    z[0] = 0
    a[t] = A[z[t - 1]]
    b[t] = B[z[t]]
    return Model(finished(g, y, b), {"z": ("categorical", "a"), "y": ("categorical", "b")})


def conditional(feedback: bool = True, k: int = K) -> Model:
    """Given x: book figure 10.10, or figure 10.3 where the outputs are not fed back."""
    g = Template("conditional")
    x, y = g.input("x", 2), g.input("y", dtype="int")
    U, W, E, V = g.param("U", (4, 2)), g.param("W", (4, 4)), g.param("E", (k, 4)), g.param("V", (k, 4))
    h, o = g.variable("h", 4), g.variable("o")
    y[0] = 0
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t] + (E[y[t - 1]] if feedback else 0))
    o[t] = V @ h[t]
    return model(g)


def model(g: Template) -> Model:
    """y[t] ~ softmax(o[t])."""
    return Model(g, {"y": ("categorical", "o")})


def finished(g: Template, y: object, o: object) -> Template:
    """The template with its usual loss."""
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def sequences(values: int, length: int) -> np.ndarray:
    """Every sequence, one a column."""
    return np.array(list(product(range(values), repeat=length)), int).reshape(-1, length).T


def params_of(some: Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random params, large enough that nothing is nearly independent."""
    return {n: 1.5 * rng.normal(size=d.shape) for n, d in some.system.decls.items() if d.kind == "param"}


def dependence(joint: np.ndarray, a: int, b: int, known: Collection[int]) -> float:
    """How far P(a, b | known) is from P(a | known) P(b | known), at most, in a table with an axis a variable."""
    rest = tuple(n for n in range(joint.ndim) if n not in {a, b, *known})
    kept = joint.sum(rest, keepdims=True)
    both = kept * kept.sum((a, b), keepdims=True) - kept.sum(a, keepdims=True) * kept.sum(b, keepdims=True)
    return float(abs(both).max())
