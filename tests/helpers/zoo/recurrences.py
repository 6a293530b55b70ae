"""The zoo's recurrences along one axis: those of the book, and those that libraries have."""

from __future__ import annotations

from unroll import T, Template, ops, t

from ..templates import elman
from .specimens import S, s, zoo


@zoo
def linear() -> Template:
    g = Template("linear")
    a, x0, x = g.param("a"), g.param("x0"), g.variable("x", ())
    x[0] = x0
    x[t] = a * x[t - 1]
    g.loss = ops.sum(x[t] * x[t], over=t) + x[T]
    return g


zoo(elman)


@zoo
def output_to_hidden() -> Template:
    g = Template("output_to_hidden")
    x, y = g.input("x", 3), g.input("y", 2)
    U, W, V, b = g.param("U", (4, 3)), g.param("W", (4, 2)), g.param("V", (2, 4)), g.param("b", 4)
    h, o = g.variable("h"), g.variable("o", 2)
    o[0] = 0
    h[t] = ops.tanh(b + W @ o[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.mse(o[t], y[t]), over=t)
    return g


@zoo
def digital_filter() -> Template:
    g = Template("filter")
    x, d = g.input("x"), g.input("d")
    b0, b1, a1, a2 = (g.param(n) for n in ("b0", "b1", "a1", "a2"))
    y = g.variable("y", ())
    x[0] = 0
    y[0] = 0
    y[-1] = 0.25
    y[t] = b0 * x[t] + b1 * x[t - 1] - a1 * y[t - 1] - a2 * y[t - 2]
    g.loss = ops.sum((y[t] - d[t]) ** 2, over=t)
    return g


@zoo
def three_delays_coupled() -> Template:
    g = Template("coupled")
    x, W, R = g.input("x", 2), g.param("W", (2, 2)), g.param("R", (2, 2))
    p, q = g.variable("p", 2), g.variable("q", 2)
    p0, q1 = g.param("p0", 2), g.input("q1", 2, over=None)
    p[0], p[-1], p[-2] = p0, 0.5 * p0, p0 * p0
    q[0] = q1
    p[t] = ops.tanh(W @ q[t - 1] + p[t - 3] + x[t])
    q[t] = ops.sigmoid(R @ p[t] * p[t - 2] + q[t - 1])
    g.loss = ops.sum(ops.sum(p[t] * q[t - 1]), over=t) + ops.sum(q[T] * q1)
    return g


@zoo
def bidirectional() -> Template:
    g = Template("bidirectional")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    W, U, R, Q = g.param("W", (3, 3)), g.param("U", (3, 3)), g.param("R", (3, 3)), g.param("Q", (3, 3))
    V = g.param("V", (4, 6))
    h, r = g.variable("h", 3), g.variable("r", 3)
    h[0] = 0
    r[T + 1] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    r[t] = ops.tanh(R @ r[t + 1] + Q @ x[t])
    g.output("o", V @ ops.concat([h[t], r[t]]))
    g.loss = ops.sum(ops.cross_entropy(V @ ops.concat([h[t], r[t]]), y[t]), over=t)
    return g


@zoo
def stacked() -> Template:
    g = Template("stacked")
    x = g.input("x", 2)
    layer = x[t]
    for i in range(3):
        W, U = g.param(f"W{i}", (2, 2)), g.param(f"U{i}", (2, 2))
        h = g.variable(f"h{i}", 2)
        h[0] = 0
        h[t] = ops.tanh(W @ h[t - 1] + U @ layer) + layer
        layer = h[t]
    g.loss = ops.sum(ops.sum(layer), over=t)
    return g


@zoo
def no_recurrence() -> Template:
    g = Template("no_recurrence")
    x, W = g.input("x", 3), g.param("W", (2, 3))
    g.output("y", ops.relu(W @ x[t]))
    g.loss = ops.sum(ops.sum(ops.softplus(W @ x[t]) ** 2), over=t)
    return g


@zoo
def sequence_to_one() -> Template:
    g = Template("sequence_to_one")
    x, y = g.input("x", 3), g.input("y", over=None, dtype="int")
    W, U, V, c, h0 = g.param("W", (3, 3)), g.param("U", (3, 3)), g.param("V", (4, 3)), g.param("c", 4), g.param("h0", 3)
    h = g.variable("h", 3)
    h[0] = h0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    o = c + V @ h[T]
    g.output("o", o)
    g.loss = ops.cross_entropy(o, y)
    return g


@zoo
def vector_to_sequence() -> Template:
    g = Template("vector_to_sequence")
    v, y = g.input("v", 3, over=None), g.input("y", dtype="int")
    E, W, R, V, b = (
        g.param("E", (5, 2)),
        g.param("W", (2, 2)),
        g.param("R", (2, 3)),
        g.param("V", (5, 2)),
        g.param("b", 2),
    )
    h = g.variable("h", 2)
    y[0] = 4
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + R @ v + E[y[t - 1]])
    g.loss = ops.sum(ops.cross_entropy(V @ h[t], y[t]), over=t)
    return g


@zoo
def attention() -> Template:
    g = Template("attention")
    x, y = g.input("x", 2, over=s), g.input("y", 3)
    Q, K, v = g.param("Q", (4, 3)), g.param("K", (4, 2)), g.param("v", 4)
    W, R = g.param("W", (3, 3)), g.param("R", (3, 2))
    e, a, d, ctx = g.variable("e", 2), g.variable("a"), g.variable("d", 3), g.variable("ctx")
    e[0] = 0
    e[s] = ops.tanh(0.5 * e[s - 1] + x[s])
    d[0] = R @ e[S]
    a[t, s] = v @ ops.tanh(Q @ d[t - 1] + K @ e[s])
    alpha = ops.softmax(a[t, s], over=s)
    ctx[t] = ops.sum(alpha * e[s], over=s)
    d[t] = ops.tanh(W @ d[t - 1] + R @ ctx[t] + y[t])
    g.loss = ops.sum(ops.mse(d[t], y[t]), over=t)
    return g


@zoo
def gru() -> Template:
    g = Template("gru")
    x, n = g.input("x", 3), 4
    h = g.variable("h", n)
    h[0] = 0
    gate = {}
    for k in "zrc":
        gate[k] = g.param(f"W{k}", (n, n)), g.param(f"U{k}", (n, 3)), g.param(f"b{k}", n)
    z = ops.sigmoid(gate["z"][0] @ h[t - 1] + gate["z"][1] @ x[t] + gate["z"][2])
    r = ops.sigmoid(gate["r"][0] @ h[t - 1] + gate["r"][1] @ x[t] + gate["r"][2])
    c = ops.tanh(gate["c"][0] @ (r * h[t - 1]) + gate["c"][1] @ x[t] + gate["c"][2])
    h[t] = (1 - z) * h[t - 1] + z * c
    g.loss = ops.sum(ops.logsumexp(h[t]), over=t)
    return g


@zoo
def lstm_eight_matrices() -> Template:
    g = Template("lstm")
    x, y = g.input("x", 3), g.input("y", 4)
    h, c = g.variable("h", 4), g.variable("c", 4)
    h[0] = 0
    c[0] = 0
    pre = {
        k: g.param(f"W{k}", (4, 4)) @ h[t - 1] + g.param(f"U{k}", (4, 3)) @ x[t] + g.param(f"b{k}", 4) for k in "fiog"
    }
    c[t] = ops.sigmoid(pre["f"]) * c[t - 1] + ops.sigmoid(pre["i"]) * ops.tanh(pre["g"])
    h[t] = ops.sigmoid(pre["o"]) * ops.tanh(c[t])
    g.loss = ops.sum(ops.mse(h[t], y[t]), over=t)
    return g


@zoo
def lstm_packed() -> Template:
    g = Template("packed")
    x, W, b = g.input("x", 2), g.param("W", (12, 5)), g.param("b", 12)
    h, c, z = g.variable("h", 3), g.variable("c", 3), g.variable("z")
    h[0] = 0
    c[0] = 0
    z[t] = W @ ops.concat([h[t - 1], x[t]]) + b
    f, i, o, n = (z[t][3 * k : 3 * k + 3] for k in range(4))
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(n)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


@zoo
def rectified_gates() -> Template:
    """Gates whose derivatives are masks of bools, side by side with one that is none."""
    g = Template("rectified_gates")
    x, V, A, C = g.input("x", 3), g.param("V", (4, 3)), g.param("A", (4, 3)), g.param("C", (4, 3))
    r, h, q, p = g.variable("r", 4), g.variable("h", 4), g.variable("q", 4), g.variable("p", 4)
    U, B = g.param("U", (4, 4)), g.param("B", (4, 4))
    h[0] = 0.5
    p[t] = ops.relu(0.5 * (B @ h[t - 1] + A @ x[t]))
    q[t] = ops.relu(0.5 * (h[t - 1] + C @ x[t]))
    r[t] = 0.5 * (U @ h[t - 1] + V @ x[t])
    h[t] = q[t] * p[t] * r[t]
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    return g
