"""Templates to draw, by name."""

from collections.abc import Callable

import pytest
from helpers.templates import elman

import unroll
from unroll import T, Template, ops, t


def output_to_hidden() -> Template:
    g = Template("output_to_hidden")
    x = g.input("x", 3)
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 2)), g.param("V", (2, 4))
    h, o = g.variable("h", 4), g.variable("o", 2)
    o[0] = 0
    h[t] = ops.tanh(W @ o[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.sum(o[t] ** 2), over=t)
    return g


def digital_filter() -> Template:
    g = Template("filter")
    x, y = g.input("x"), g.variable("y", ())
    b0, b1, a1, a2 = (g.param(name) for name in ("b0", "b1", "a1", "a2"))
    x[0] = 0
    y[0] = 0
    y[-1] = 0
    y[t] = b0 * x[t] + b1 * x[t - 1] - a1 * y[t - 1] - a2 * y[t - 2]
    g.output("y", y[t])
    return g


def bidirectional() -> Template:
    g = Template("bidirectional")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4))
    P, Q, R = g.param("P", (4, 3)), g.param("Q", (4, 4)), g.param("R", (5, 4))
    h, r, o = g.variable("h", 4), g.variable("r", 4), g.variable("o")
    h[0] = 0
    r[T + 1] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    r[t] = ops.tanh(Q @ r[t + 1] + P @ x[t])
    o[t] = V @ h[t] + R @ r[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def lstm() -> Template:
    g = Template("lstm")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    W = {k: g.param(f"W_{k}", (4, 3)) for k in "ifog"}
    R = {k: g.param(f"R_{k}", (4, 4)) for k in "ifog"}
    V = g.param("V", (5, 4))
    i, f, o, u, c, h = (g.variable(name, 4) for name in "ifogch")
    z = g.variable("z")
    h[0] = 0
    c[0] = 0
    i[t] = ops.sigmoid(W["i"] @ x[t] + R["i"] @ h[t - 1])
    f[t] = ops.sigmoid(W["f"] @ x[t] + R["f"] @ h[t - 1])
    o[t] = ops.sigmoid(W["o"] @ x[t] + R["o"] @ h[t - 1])
    u[t] = ops.tanh(W["g"] @ x[t] + R["g"] @ h[t - 1])
    c[t] = f[t] * c[t - 1] + i[t] * u[t]
    h[t] = o[t] * ops.tanh(c[t])
    z[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(z[t], y[t]), over=t)
    return g


def vector_to_sequence() -> Template:
    g = Template("vector_to_sequence")
    v, y = g.input("v", 3, over=None), g.input("y", dtype="int")
    R, W, V, E = g.param("R", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4)), g.param("E", (5, 4))
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    y[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + R @ v + E[y[t - 1]])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def last_output() -> Template:
    g = Template("last_output")
    x, y = g.input("x", 3), g.input("y", dtype="int", over=None)
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4))
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    o[()] = V @ h[T]
    g.loss = ops.cross_entropy(o, y)
    return g


def attention() -> Template:
    s, S = unroll.axis("s")
    g = Template("attention")
    x, y = g.input("x", 3, over=s), g.input("y", dtype="int")
    U, W, A, C = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("A", (4, 4)), g.param("C", (4, 4))
    R, E, V = g.param("R", (4, 4)), g.param("E", (5, 4)), g.param("V", (5, 4))
    e, d, ctx = g.variable("e", 4), g.variable("d", 4), g.variable("ctx", 4)
    a, alpha, o = g.variable("a"), g.variable("alpha"), g.variable("o")
    e[0] = 0
    e[s] = ops.tanh(W @ e[s - 1] + U @ x[s])
    d[0] = e[S]
    y[0] = 0
    a[t, s] = ops.sum((A @ d[t - 1]) * e[s])
    alpha[t, s] = ops.softmax(a[t, s], over=s)
    ctx[t] = ops.sum(alpha[t, s] * e[s], over=s)
    d[t] = ops.tanh(R @ d[t - 1] + E[y[t - 1]] + C @ ctx[t])
    o[t] = V @ d[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def geometric() -> Template:
    g = Template("geometric")
    a, x = g.param("a"), g.variable("x", ())
    x[0] = 1.0
    x[t] = a * x[t - 1]
    g.loss = x[T] ** 2
    return g


TEMPLATES: dict[str, Callable[[], Template]] = {"elman": lambda: elman(27, 64, 27)} | {
    made.__name__: made
    for made in (
        output_to_hidden,
        digital_filter,
        bidirectional,
        lstm,
        vector_to_sequence,
        last_output,
        attention,
        geometric,
    )
}


@pytest.fixture(params=list(TEMPLATES))
def template(request: pytest.FixtureRequest) -> Template:
    return TEMPLATES[request.param]()


@pytest.fixture
def make() -> Callable[[str], Template]:
    return lambda name: TEMPLATES[name]()
