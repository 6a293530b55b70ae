"""The zoo's unusual shapes: delays and advances, two axes, sums over time, boundaries anywhere, lone reductions."""

from __future__ import annotations

import numpy as np

from unroll import T, Template, ops, t

from .specimens import S, s, zoo


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


@zoo
def rows_alone() -> Template:
    """Reductions of rows and nothing else: in a kernel of their own."""
    g = Template("rows_alone")
    x, y = g.input("x", 8), g.input("y", 8)
    g.output("a", ops.sum(x[t]))
    g.output("b", ops.sum(y[t]))
    g.output("c", ops.max(x[t]))
    g.loss = ops.sum(ops.sum(x[t]) * ops.sum(y[t]), over=t)
    return g


@zoo
def sums_of_other_sizes() -> Template:
    """Sums, slices and boundaries that differ in their sizes alone."""
    g = Template("sums_of_other_sizes")
    x, W, V = g.input("x", 4), g.param("W", (3, 4)), g.param("V", (7, 4))
    h, r = g.variable("h", 3), g.variable("r", 7)
    h[0], r[0] = 1, 1
    h[t] = 0.5 * h[t - 1] + W @ x[t]
    r[t] = 0.5 * r[t - 1] + V @ x[t]
    g.output("parts", ops.sum(x[t][:1]) + ops.sum(x[t][1:]))
    g.loss = ops.sum(ops.sum(h[t]) + ops.sum(r[t]) + ops.sum(x[t][:1]) * ops.sum(x[t][1:]), over=t)
    return g


@zoo
def unread_at_first() -> Template:
    """A recurrence whose gates are read one step late: what the first step reads, nothing has computed."""
    g = Template("unread_at_first")
    W, V, x = g.param("W", (8, 8)), g.param("V", (2, 6)), g.input("x", 2)
    h, k, z, o = g.variable("h", 3), g.variable("k", 3), g.variable("z", 8), g.variable("o", 2)
    h[0], k[0] = 1, -1
    z[t] = ops.sigmoid(W @ ops.concat([h[t - 1], k[t - 1], x[t]]))
    h[t] = z[t][:3] * h[t - 1] + x[t][0]
    k[t] = z[t][3:6] * k[t - 1] - x[t][1]
    o[t] = V @ ops.concat([h[t], k[t]])
    g.loss = ops.sum(ops.sum(o[t] * o[t]), over=t)
    return g


@zoo
def apart_from_both() -> Template:
    """Terms of one axis, and of none, that count for every step of two; a boundary of zero that others read."""
    g = Template("apart_from_both")
    x, y, w = g.input("x", over=(t, s)), g.input("y", over=s), g.param("w", 3)
    y[S + 1] = 0
    x[t, S + 1] = y[S + 1] + x[t, S]
    v = g.variable("v", ())
    v[t, s] = x[t, s + 1] * y[s]
    g.loss = ops.sum(v[t, s] + ops.max(w) + ops.tanh(y[s]), over=(t, s))
    return g
