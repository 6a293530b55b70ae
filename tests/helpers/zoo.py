"""The zoo: recurrences of every kind the language has, each a function that returns a small template."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unroll import T, Template, axis, ops, t
from unroll.binding import label_limit

ZOO: dict[str, Callable[[], Template]] = {}

s, S = axis("s")


def zoo(make: Callable[[], Template]) -> Callable[[], Template]:
    """Enter a recurrence into the zoo under its function's name."""
    ZOO[make.__name__] = make
    return make


def arrays_for(g: Template, lengths: dict[str, int], batch: int | None, rng: np.random.Generator) -> dict[str, object]:
    """Random inputs for a template, labels within their range, and the lengths."""
    system = g.system
    arrays: dict[str, object] = dict(lengths)
    for name, decl in system.decls.items():
        if decl.kind != "input":
            continue
        lead = tuple(lengths[a.end] for a in decl.axes) + (() if batch is None else (batch,))
        if decl.dtype == "int":
            limits = [n for e in system.equations if (n := label_limit(system, e, name)) is not None]
            arrays[name] = rng.integers(0, min(limits, default=4), lead + decl.shape)
        elif decl.dtype == "bool":
            arrays[name] = rng.random(lead + decl.shape) < 0.6
        else:
            arrays[name] = rng.normal(size=lead + decl.shape)
    return arrays


def params_for(g: Template, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random params in float64, of a size at which nothing saturates."""
    return {n: 0.5 * rng.normal(size=d.shape) for n, d in g.system.decls.items() if d.kind == "param"}


def lengths_for(g: Template, steps: int) -> dict[str, int]:
    """Every axis of the template with `steps` steps, the second axis with one more."""
    used = {a for d in g.system.decls.values() for a in d.axes}
    used |= {r.axis for e in g.system.equations for r in e.domain}
    return {a.end: steps + (a.end == "S") for a in used}


@zoo
def linear() -> Template:
    g = Template("linear")
    a, x0, x = g.param("a"), g.param("x0"), g.variable("x", ())
    x[0] = x0
    x[t] = a * x[t - 1]
    g.loss = ops.sum(x[t] * x[t], over=t) + x[T]
    return g


@zoo
def elman() -> Template:
    g = Template("elman")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4))
    b, c = g.param("b", 4), g.param("c", 5)
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


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
def mixed_signs() -> Template:
    g = Template("mixed_signs")
    x, a, b = g.input("x"), g.param("a"), g.param("b")
    h, q = g.variable("h", ()), g.variable("q", ())
    h[0], h[-1] = 0.5, a
    q[T + 1] = b
    h[t] = ops.sin(a * q[t + 1] + x[t])
    q[t] = b * h[t - 2] + x[t]
    g.loss = ops.sum(h[t] * q[t], over=t)
    return g


@zoo
def grid() -> Template:
    g = Template("grid")
    x, a, b = g.input("x", 2, over=(t, s)), g.param("a"), g.param("B", (2, 2))
    h = g.variable("h", 2)
    h[0, s] = 0
    h[t, 0] = 0.5
    h[t, s] = ops.tanh(a * h[t - 1, s] + b @ h[t, s - 1] + x[t, s])
    g.loss = ops.sum(ops.sum(h[t, s] ** 2), over=(t, s)) + ops.sum(ops.sum(h[T, s]), over=s)
    return g


@zoo
def over_time() -> Template:
    g = Template("over_time")
    x, w = g.input("x", 3), g.param("w", 3)
    score = g.variable("score")
    score[t] = ops.dot(w, x[t])
    top = ops.max(score[t], over=t)
    weight = ops.softmax(score[t], over=t)
    pooled = ops.sum(weight * x[t], over=t)
    g.output("pooled", pooled)
    g.loss = ops.where(ops.isfinite(top), top, 0) + ops.sum(pooled * pooled) + ops.sum(ops.exp(score[t]), over=t) / 3
    return g


@zoo
def statistics_over_time() -> Template:
    g = Template("statistics")
    x, w = g.input("x", 2), g.param("w", 2)
    x[0] = w
    x[T + 1] = 2 * w
    m = ops.sum(x[t - 1] * x[t + 1] * w, over=t)
    centred = g.variable("centred")
    centred[t] = x[t] * w - m
    g.loss = ops.sum(ops.sum(centred[t] * centred[t - 0]), over=t) + ops.logsumexp(m)
    return g


@zoo
def shared_across_the_batch() -> Template:
    g = Template("shared")
    x, w, A = g.input("x", 2), g.param("w", 2), g.param("A", (2, 2))
    p = g.variable("p", 2)
    p[0] = w
    p[t] = ops.tanh(A @ p[t - 1])  # a signal of time alone: no example in it
    h = g.variable("h", 2)
    h[0] = w
    h[t] = 0.5 * h[t - 1] * p[t] + x[t] + ops.outer(p[t], x[t]) @ w
    g.loss = ops.sum(ops.sum(h[t] * p[t - 1]), over=t) + ops.sum(w * w)
    return g


@zoo
def params_alone() -> Template:
    g = Template("params_alone")
    A, x0 = g.param("A", (3, 3)), g.param("x0", 3)
    x = g.variable("x", 3)
    x[0] = x0
    x[t] = ops.tanh(A @ x[t - 1]) + x[t - 1]
    g.loss = ops.sum(x[T] * x0) + ops.sum(ops.sum(x[t]), over=t)
    return g


@zoo
def many_operations() -> Template:
    g = Template("many")
    x, m = g.input("x", (2, 3)), g.input("m", dtype="bool")
    W, gain = g.param("W", (3, 2)), g.param("gain", 3)
    h = g.variable("h", (2, 3))
    h[0] = 0.1
    z = ops.einsum("ij,jk->ik", h[t - 1], W @ ops.reshape(x[t], (2, 3)))
    z = ops.layer_norm(z + x[t], gain) + ops.transpose(ops.reshape(ops.stack([x[t][0], x[t][1]], axis=1), (3, 2)))
    h[t] = ops.where(m[t], ops.tanh(z), h[t - 1]) + h[t - 1] - h[t - 1] * 0.9
    top = ops.max(h[t], axis=1)
    g.loss = ops.sum(ops.sum(ops.elu(top) + ops.gelu(ops.min(h[t], axis=-1))), over=t)
    return g


@zoo
def constants() -> Template:
    g = Template("constants")
    x, w = g.input("x", 3), g.param("w", 3)
    table = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]])
    h = g.variable("h", 2)
    h[0] = np.array([1.0, -1.0])
    h[t] = ops.tanh(table @ (x[t] * w) + h[t - 1] + h[t - 1])
    g.loss = ops.sum(ops.sum(h[t]) + ops.sum(h[t]), over=t)
    return g


@zoo
def last_but_one() -> Template:
    g = Template("last_but_one")
    x, w = g.input("x", 2), g.param("w", 2)
    h = g.variable("h", 2)
    h[0] = w
    h[-1] = 0.5 * w
    h[t] = ops.sin(h[t - 1] + x[t] * w)
    g.loss = ops.sum(h[T - 1] * h[T])
    return g


@zoo
def reverse_axis_inside() -> Template:
    g = Template("reverse_inside")
    x, a = g.input("x", over=(s, t)), g.param("a")
    h, r = g.variable("h"), g.variable("r", ())
    h[0] = 0
    r[s, T + 1] = a
    r[s, t] = ops.tanh(a * r[s, t + 1] + x[s, t])
    h[t] = ops.sum(r[s, t], over=s)
    k = g.variable("k", ())
    k[0] = 0
    k[t] = ops.tanh(h[t] - a * k[t - 1]) * h[t - 1]
    g.loss = ops.sum(k[t] ** 2, over=t)
    return g


@zoo
def last_without_recurrence() -> Template:
    g = Template("last_without_recurrence")
    x, w, v0 = g.input("x", 2), g.param("w", 2), g.param("v0", 2)
    v = g.variable("v", 2)
    v[0] = 0
    v[-1] = v0
    v[t] = ops.tanh(w * x[t])
    u = g.variable("u", 2)
    u[0] = 0
    u[t] = 0.5 * (w * w)  # the same at every step
    g.loss = ops.sum(v[T] * v[T - 1] + ops.sin(u[T]))
    return g


@zoo
def masked_and_labelled_boundaries() -> Template:
    g = Template("boundaries")
    m, y, x = g.input("m", dtype="bool"), g.input("y", dtype="int"), g.input("x", 2)
    E, p, c = g.param("E", (4, 2)), g.param("p", 4), g.input("c", 2, over=None)
    m[0], m[T + 1] = True, False
    y[0], y[T + 1] = 3, 1
    x[0], x[-1] = c, 0.5
    h = g.variable("h", 2)
    h[0], h[-1] = c * c, 0.25
    h[t] = ops.where(m[t - 1] & ~m[t + 1], ops.tanh(E[y[t - 1]] + h[t - 2]), h[t - 1] * x[t - 2])
    shared = ops.cross_entropy(p, y[t + 1]) + ops.pick(p, y[t])  # one table of the batch, a label of each example
    g.loss = ops.sum(ops.sum(h[t]) * shared, over=t)
    return g


@zoo
def largest_of_products() -> Template:
    g = Template("largest_of_products")
    x, w, v, q = g.input("x", 3), g.param("w", 3), g.param("v"), g.input("q", 3, over=None)
    top = ops.max(ops.dot(w, x[t]), over=t), ops.max(v * x[t][0], over=t)
    still = g.variable("still")
    still[t] = ops.sin(ops.dot(w, q))  # the same at every step, and perhaps there is none
    flat = ops.max(still[t], over=t), ops.max(ops.dot(w, x[t]) * still[t], over=t)
    fixed = g.variable("fixed")
    fixed[t] = ops.sin(v) * 1.0  # the same for every example too
    flat += (ops.max(fixed[t], over=t),)
    scaled = v * x[t][1]
    g.output("scaled", scaled)
    both = ops.logsumexp(scaled, over=t), ops.sum(ops.softmax(scaled, over=t) * scaled, over=t)
    g.loss = sum((ops.where(ops.isfinite(e), e, 0) for e in (*top, *flat, *both)), start=ops.sum(w))
    return g


@zoo
def two_axes_in_either_order() -> Template:
    g = Template("either_order")
    x, y = g.input("x", 2, over=(t, s)), g.input("y", over=(s, t), dtype="int")
    E, w = g.param("E", (4, 2)), g.param("w", 2)
    h, k = g.variable("h", 2), g.variable("k", ())
    h[s, T + 1] = 0.5
    h[0, t] = w
    h[0, T + 1] = 0
    h[s, t] = ops.tanh(x[t, s] * h[s - 1, t + 1] + E[y[s, t]])
    k[0, s] = 1
    k[t, s] = ops.sin(k[t - 1, s] + ops.dot(h[s, t], w))
    weight = ops.softmax(k[t, s], over=(t, s))
    late = ops.logsumexp(k[t, s], over=t)
    late = ops.sum(ops.where(ops.isfinite(late), late, 0), over=s)
    g.loss = ops.sum(weight * ops.dot(h[s, t], E[y[s, t]]), over=(s, t)) + late
    return g


@zoo
def sums_of_delays() -> Template:
    g = Template("sums_of_delays")
    x, a, b, c = g.input("x"), g.param("a"), g.param("b"), g.input("c", over=None)
    p, q = g.variable("p", ()), g.variable("q", ())
    p[0], p[-1] = a, b + 0
    q[T + 1], q[T + 2] = a + b, c
    p[t] = ops.tanh(a + p[t - 1] + x[t] + b + 0.1 + p[t - 2] * c)
    q[t] = ops.sin((q[t + 1] + 0.117) + (x[t] + a) + (q[t + 2] + c) + p[t + 1])
    p[T + 1] = 1  # read by q alone, so it may come after the loop of p
    r = g.variable("r", ())
    r[t] = ops.tanh(r[t - 1] + a)
    r[0], r[T + 1] = 0.2, b
    g.loss = ops.sum(p[t] + q[t] + x[t] * r[t + 1], over=t) + q[T + 1]
    return g


@zoo
def zigzag() -> Template:
    g = Template("zigzag")
    x, a, b = g.input("x", 2), g.param("a", 2), g.param("b")
    p, q, r = g.variable("p", 2), g.variable("q", 2), g.variable("r", 2)
    p[0], p[-1], p[-2] = a, 0, 1
    q[T + 1], q[T + 2] = b, 0.5
    r[0], r[T + 1] = 0.5 * a, a
    p[t] = ops.tanh(a * q[t + 2] + x[t])  # q runs two steps ahead of p
    q[t] = ops.sin(r[t - 1] + b * p[t - 3])
    r[t] = ops.tanh(p[t - 2] * q[t] + r[t - 1])
    g.loss = ops.sum(ops.dot(p[t], q[t]) + ops.sum(r[t + 1] * x[t]), over=t)
    return g
