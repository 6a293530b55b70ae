"""Small programs whose values are worked out by hand, on every backend: what compilers get wrong is small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, backends, ops, t
from unroll.errors import LengthError

s, S = axis("s")
every_backend = pytest.mark.parametrize(
    "backend", ["reference", "numpy", *(["native"] if not backends.missing("native") else [])]
)


def gradients(g: Template, backend: str, params: Any, wrt: Any = None, **arrays: Any) -> dict[str, Any]:
    """The gradients of a template's loss, in float64."""
    params = {n: np.asarray(v, np.float64) for n, v in params.items()}
    return dict(g.compile(backend, dtype="float64").value_and_grad(params, wrt, **arrays)[1])


# -- equal equations of other shapes, kinds and signs -----------------------------------------------------------------


@every_backend
@pytest.mark.parametrize("rows", [300, 5, 3, 1])
def test_sums_of_products_of_other_sizes(rows: int, backend: str) -> None:
    g = Template()
    x, W, V = g.input("x", 4), g.param("W", (3, 4)), g.param("V", (rows, 4))
    g.loss = ops.sum(ops.sum(W @ x[t]) + ops.sum(V @ x[t]), over=t)
    x = np.arange(8.0).reshape(2, 4)
    grads = gradients(g, backend, {"W": np.ones((3, 4)), "V": np.ones((rows, 4))}, ["W", "V", "x"], x=x)
    np.testing.assert_array_equal(grads["W"], np.tile(x.sum(axis=0), (3, 1)))
    np.testing.assert_array_equal(grads["V"], np.tile(x.sum(axis=0), (rows, 1)))
    np.testing.assert_array_equal(grads["x"], np.full((2, 4), 3.0 + rows))


@every_backend
def test_parts_of_other_sizes(backend: str) -> None:
    g = Template()
    x = g.input("x", 4, over=None)
    g.loss = ops.sum(x[:1]) + ops.sum(x[1:])
    np.testing.assert_array_equal(gradients(g, backend, {}, "x", x=np.ones((2, 4)))["x"], np.full((2, 4), 0.5))
    np.testing.assert_array_equal(gradients(g, backend, {}, "x", x=np.ones(4))["x"], np.ones(4))


@every_backend
def test_boundaries_of_other_sizes(backend: str) -> None:
    g = Template()
    x, h, r = g.input("x"), g.variable("h", 2), g.variable("r", 7)
    h[T + 1] = 1
    r[T + 1] = 1
    h[t] = 0.5 * h[t + 1] + x[t]
    r[t] = 2 * r[t + 1] + x[t]
    net = g.compile(backend, dtype="float64")
    found = net.run({}, ["h", "r"], x=np.zeros((3, 2)), lengths=[3, 1])
    np.testing.assert_array_equal(found["h"][..., 0], [[0.125, 0.5], [0.25, 0], [0.5, 0]])
    np.testing.assert_array_equal(found["r"], np.array([[8.0, 2], [4, 0], [2, 0]])[..., None] * np.ones(7))


@every_backend
def test_one_is_no_truth_and_no_fraction(backend: str) -> None:
    g = Template()
    x, k, m = g.variable("x", ()), g.variable("k", (), dtype="int"), g.variable("m", (), dtype="bool")
    x[t], k[t], m[t] = 1.0, 1, True
    E = g.param("E", (2,))
    g.output("y", ops.where(m[t], E[k[t]], x[t]))
    net = g.compile(backend, dtype="float64")
    found = net.run({"E": np.array([5.0, 7])}, ["x", "k", "m", "y"], T=2)
    assert [found[n].dtype.kind for n in "xkm"] == ["f", "i", "b"]
    np.testing.assert_array_equal(found["y"], [7, 7])


@every_backend
def test_zeros_of_both_signs(backend: str) -> None:
    g = Template()
    x, c = g.input("x"), g.variable("c", ())
    c[0] = -0.0
    c[t] = c[t - 1]
    g.output("both", 1 / (x[t] * 0.0) + 1 / (x[t] * -0.0))
    g.output("plus", 1 / (x[t] * -0.0 + 0.0))
    g.output("minus", 1 / (x[t] * -0.0 + -0.0))
    g.output("less", 1 / (x[t] * -0.0 - 0.0))
    g.output("kept", 1 / c[t])
    found = g.compile(backend, dtype="float64").run({}, x=np.ones(2))
    np.testing.assert_array_equal(found["both"], [np.nan] * 2)
    for name, sign in {"plus": 1, "minus": -1, "less": -1, "kept": -1}.items():
        np.testing.assert_array_equal(found[name], [sign * np.inf] * 2, err_msg=name)


@every_backend
def test_zeros_of_both_signs_among_attributes(backend: str) -> None:
    name = "signed_zero"
    copysign = ops.define(name, ops.elementwise, None, kinds="f->f", compute=lambda xp, x, *, by: xp.copysign(x, by))
    try:
        g = Template()
        x = g.input("x")
        g.output("y", copysign(x[t], by=0.0) - copysign(x[t], by=-0.0))
        with pytest.warns(UserWarning, match="runs on numpy") if backend == "native" else np.errstate():
            found = g.compile(backend, dtype="float64").run({}, "y", x=np.full(2, 3.0))
        np.testing.assert_array_equal(found, [6, 6])
    finally:
        del ops.OPS[name]


@every_backend
def test_integers_wrap_around_as_arrays_do(backend: str) -> None:
    g = Template()
    k = g.variable("k", (), dtype="int")
    k[t] = 2**62
    g.output("y", k[t] * 2 + k[t] * 2 + 3)
    np.testing.assert_array_equal(g.compile(backend).run({}, "y", T=2), [3, 3])


def test_an_integer_beyond_64_bits_is_refused() -> None:
    g = Template()
    k = g.input("k", dtype="int")
    with pytest.raises(ops.errors.DTypeError, match="does not fit into 64 bits"):
        ops.equal(k[t], 2**63)
    ops.equal(k[t], -(2**63))
    with pytest.raises(ops.errors.DTypeError, match="too large for a float"):
        _ = ops.cast(k[t]) * 10**400


# -- what a recurrence drops, and what it keeps -----------------------------------------------------------------------

LONG = 400  # steps: a linear recurrence runs as a blocked scan on some backend


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_counter_that_begins_at_infinity(dtype: Any, backend: str) -> None:
    g = Template()
    m, gap = g.input("m", dtype="bool"), g.variable("gap", ())
    gap[0] = float("inf")
    gap[t] = ops.where(m[t], 0.0, gap[t - 1] + 1)
    marks = np.arange(LONG) % 50 == 7
    want, state = [], np.inf
    for mark in marks:
        state = 0.0 if mark else state + 1
        want.append(state)
    found = g.compile(backend, dtype=dtype).run({}, "gap", m=marks)
    np.testing.assert_array_equal(found, want)


@every_backend
def test_a_reset_after_an_overflow(backend: str) -> None:
    g = Template()
    x, m, h, a = g.input("x"), g.input("m", dtype="bool"), g.variable("h", ()), g.param("a")
    h[0] = 0
    h[t] = ops.where(m[t], x[t], a * h[t - 1] + x[t])
    g.loss = ops.sum(ops.where(m[t], h[t], 0.0), over=t)
    marks = np.arange(LONG) % 40 == 0
    x = np.ones(LONG, np.float32)
    x[3], x[45] = 1e38, np.inf
    params = {"a": np.float32(3)}
    net = g.compile(backend)
    with np.errstate(over="ignore"):
        want, state = [], np.float32(0)
        for mark, new in zip(marks, x, strict=True):
            state = new if mark else np.float32(3) * state + new
            want.append(state)
    np.testing.assert_array_equal(net.run(params, "h", x=x, m=marks), want)
    np.testing.assert_array_equal(net.value_and_grad(params, "x", x=x, m=marks)[1]["x"], marks.astype(np.float32))
    stream = net.stream(params, "h")
    chunks = [stream(x=x[k : k + 150], m=marks[k : k + 150]) for k in range(0, LONG, 150)]
    np.testing.assert_array_equal(np.concatenate(chunks), want)


@every_backend
def test_an_infinity_stays_where_coefficients_vanish(backend: str) -> None:
    g = Template()
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = 0.1 * h[t - 1] + x[t]
    x = np.zeros(5000, np.float32)
    x[100] = np.inf
    found = g.compile(backend).run({}, "h", x=x)
    np.testing.assert_array_equal(found, np.where(np.arange(5000) < 100, 0, np.inf))


@every_backend
def test_a_cotangent_that_is_not_finite_goes_no_further_than_it_should(backend: str) -> None:
    g = Template()
    x, m, h = g.input("x"), g.input("m", dtype="bool"), g.variable("h", ())
    h[0] = 0
    h[t] = ops.where(m[t], 0.0, 0.5 * h[t - 1]) + x[t]
    g.loss = ops.sum(ops.sqrt(h[t]), over=t)
    marks = np.arange(LONG) % 50 == 49
    x = np.where(marks, 0.0, 1.0)  # the root of 0 has an infinite derivative, where the state is cut off
    want, g_ = np.zeros(LONG), 0.0
    states = []
    for mark, new in zip(marks, x, strict=True):
        states.append((0.0 if mark or not states else 0.5 * states[-1]) + new)
    for k in reversed(range(LONG)):
        with np.errstate(divide="ignore"):
            g_ = 0.5 / np.sqrt(states[k]) + g_
        want[k] = g_
        g_ = 0.0 if marks[k] else 0.5 * g_
    found = g.compile(backend, dtype="float64").value_and_grad({}, "x", x=x, m=marks)[1]["x"]
    np.testing.assert_allclose(found, want, rtol=1e-12)


# -- reads beyond what is written -------------------------------------------------------------------------------------


@every_backend
def test_a_cotangent_read_where_nothing_writes_it(backend: str) -> None:
    g = Template()
    p, v = g.param("p"), g.variable("v", ())
    v[t, s] = 0.1
    v[t, S + 1] = 0.2
    v[T + 1, s] = p
    v[T + 1, S + 1] = 0.3
    g.loss = ops.sum(ops.tanh(v[t + 1, S + 1]), over=t)
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"p": np.array(1.0)}, lengths={"S": [1, 0], "T": [3, 3]})
    np.testing.assert_allclose(loss, 2 * np.tanh(0.2) + np.tanh(0.3), rtol=1e-15)
    assert grads["p"] == 0


@every_backend
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_fixed_step_that_is_a_boundary_at_some_length(steps: int, backend: str) -> None:
    g = Template()
    x, p, h = g.input("x"), g.param("p"), g.variable("h", ())
    h[T + 1] = p
    h[t] = 2 * x[t]
    g.loss = h[3] * x[1]
    x = np.arange(3.0, 3.0 + steps)
    loss, grads = g.compile(backend, dtype="float64").value_and_grad({"p": np.array(7.0)}, ["p", "x"], x=x)
    third = 7.0 if steps == 2 else 2 * x[2]
    want = np.zeros(steps)
    want[0] = third
    want[2:3] = 2 * x[0]
    assert loss == third * x[0]
    assert grads["p"] == (x[0] if steps == 2 else 0)
    np.testing.assert_array_equal(grads["x"], want)


def reads_the_fourth() -> Template:
    """Weights that are one step of a recurrence of their own, read by a loop that may not run."""
    g = Template()
    W, A, x, h = g.param("W", (40, 40)), g.variable("A", (40, 40)), g.input("x", 40, over=s), g.variable("h", 40)
    A[0] = W
    A[t] = 0.5 * A[t - 1]
    h[0] = 0
    h[s] = ops.tanh(A[4] @ h[s - 1] + x[s])
    g.loss = ops.sum(ops.sum(h[s]), over=s) + ops.sum(W)
    return g


@every_backend
def test_a_loop_that_does_not_run_reads_nothing(backend: str) -> None:
    g = reads_the_fourth()
    params = {"W": np.full((40, 40), 0.25)}
    net = g.compile(backend, dtype="float64")
    for steps in (0, 1, 3):
        loss, grads = net.value_and_grad(params, x=np.ones((0, 2, 40)), T=steps)
        assert loss == 400
        np.testing.assert_array_equal(grads["W"], np.ones((40, 40)))
    with pytest.raises(LengthError, match=r"A\[4\] is A\[4\] at T = 3, S = 1"):
        net.loss(params, x=np.ones((1, 2, 40)), T=3)


@every_backend
def test_the_last_step_of_nothing_under_a_sum_over_nothing(backend: str) -> None:
    g = Template()
    x, y, w = g.input("x", over=s), g.input("y"), g.param("w")
    g.output("total", ops.sum(y[t] * w * x[S], over=t))
    g.output("most", ops.max(y[t] * w * x[S], over=t))
    g.loss = ops.sum(ops.tanh(y[t] * w * x[S]), over=t) + w * w
    net, params = g.compile(backend, dtype="float64"), {"w": np.array(3.0)}
    found = net.run(params, x=np.ones((0, 2)), y=np.ones((0, 2)))
    np.testing.assert_array_equal(found["total"], [0, 0])
    np.testing.assert_array_equal(found["most"], [-np.inf] * 2)
    loss, grads = net.value_and_grad(params, ["w", "x", "y"], x=np.ones((0, 2)), y=np.ones((0, 2)))
    assert (loss, grads["w"]) == (9, 6)
    assert grads["x"].shape == grads["y"].shape == (0, 2)


@every_backend
def test_a_boundary_between_two_axes_that_merge(backend: str) -> None:
    g = Template()
    h, w, v, x = g.variable("h", ()), g.param("w", 1), g.param("v", 2), g.input("x", 3, over=s)
    h[s, t] = h[s, t - 1]
    h[s, 0] = ops.einsum("i,i->", ops.concat([w, v]), x[s])
    g.loss = ops.sum(ops.mean(h[s, t], over=s), over=t)
    rng = np.random.default_rng(0)
    params, x = {"w": rng.normal(size=1), "v": rng.normal(size=2)}, rng.normal(size=(4, 3, 3))
    want = (x @ np.concatenate([params["w"], params["v"]])).mean() * 5
    np.testing.assert_allclose(g.compile(backend, dtype="float64").loss(params, x=x, T=5), want, rtol=1e-12)


# -- derivatives by what stands between -------------------------------------------------------------------------------


@every_backend
def test_the_gradient_by_a_copy(backend: str) -> None:
    g = Template()
    x, h = g.input("x", 1, over=None), g.variable("h", 1)
    h[t] = x
    g.loss = ops.sum(ops.sum(h[t]) + ops.sum(x), over=t)
    found = gradients(g, backend, {}, ["h", ("h", 1), "x"], x=np.ones(1), T=2)
    np.testing.assert_array_equal(found["h"], [[1], [1]])
    np.testing.assert_array_equal(found["h", 1], [1])
    np.testing.assert_array_equal(found["x"], [4])


@every_backend
def test_the_gradients_by_two_variables_of_one_expression(backend: str) -> None:
    g = Template()
    h, k = g.variable("h", 1), g.variable("k", 1)
    e = ops.sum(ops.broadcast_to(k[t + 1], shape=(1, 1)), axis=1)
    k[t] = e
    k[T + 1] = 0
    h[t] = e
    g.loss = ops.mean(h[2])
    found = gradients(g, backend, {}, ["h", "k"], T=3)
    np.testing.assert_array_equal(found["h"], [[0], [1], [0]])
    np.testing.assert_array_equal(found["k"], [[0], [0], [1]])


@every_backend
def test_the_gradient_by_what_is_read_at_one_step(backend: str) -> None:
    g = Template()
    x, c = g.input("x", 2), g.input("c", 3, over=None)
    g.loss = ops.sum(ops.concat([x[T], c]))
    found = gradients(g, backend, {}, ["x", "c"], x=np.ones((3, 2, 2)), c=np.ones((2, 3)))
    want = np.zeros((3, 2, 2))
    want[2] = 0.5
    np.testing.assert_array_equal(found["x"], want)
    np.testing.assert_array_equal(found["c"], np.full((2, 3), 0.5))


@every_backend
def test_a_boundary_that_recurs_along_the_other_axis(backend: str) -> None:
    g = Template()
    a, v = g.param("a"), g.variable("v", ())
    v[0, s], v[0, 0] = a, a
    v[t, 0] = 0.5 * v[t - 1, 0]
    v[t, s] = a * v[t - 1, s] + v[t, s - 1]
    g.loss = ops.sum(v[t, s], over=(t, s))
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"a": np.array(2.0)}, ["a", "v"], T=2, S=1)
    assert loss == (4 + 1) + (2 * 5 + 0.5)  # v[1, 1] + v[2, 1]
    assert grads["a"] == (4 + 0.5) + 5 + 2 * (4 + 0.5) + 0.25
    np.testing.assert_array_equal(grads["v"], [[3], [1]])


# -- examples of their own lengths ------------------------------------------------------------------------------------


@every_backend
def test_a_term_that_does_not_depend_on_the_second_axis(backend: str) -> None:
    g = Template()
    x, b = g.input("x", over=(t, s)), g.param("b")
    g.loss = ops.sum(x[t, s] ** 2 + b, over=(t, s))
    net = g.compile(backend, dtype="float64")
    lengths = {"T": [4, 2], "S": [3, 2]}
    loss, grads = net.value_and_grad({"b": np.array(1.0)}, x=np.ones((4, 3, 2)), lengths=lengths)
    assert (loss, grads["b"]) == (16, 8)


@every_backend
def test_a_boundary_after_the_end_along_the_last_of_three_axes(backend: str) -> None:
    u, _ = axis("u")
    g = Template()
    x, v = g.input("x", over=(u, t, s)), g.variable("v", ())
    x[u, t, S + 1] = 0.3
    v[u, t, s] = x[u, t, s + 1]
    lengths = {"U": [1, 1], "T": [1, 1], "S": [2, 1]}
    found = g.compile(backend, dtype="float64").run({}, "v", x=np.ones((1, 1, 2, 2)), lengths=lengths)
    np.testing.assert_array_equal(found[0, 0], [[1, 0.3], [0.3, 0]])


@every_backend
def test_a_boundary_that_only_padding_reads(backend: str) -> None:
    g = Template()
    x, c = g.input("x", 1, over=s), g.input("c", 1, over=None)
    x[-1] = 0.0
    x[0] = c
    g.loss = ops.sum(ops.sum(x[s - 2]), over=s)
    net = g.compile(backend, dtype="float64")
    found = net.jvp({}, {"c": np.ones((1, 1))}, x=np.zeros((2, 1, 1)), c=np.ones((1, 1)), lengths=[1])
    assert found == (0, 0)


@every_backend
def test_a_fixed_step_that_nothing_reads_at_no_step_of_the_other_axis(backend: str) -> None:
    g = Template()
    h, r, x = g.variable("h", ()), g.variable("r", ()), g.input("x", over=None)
    r[s] = ops.cos(h[2]) + r[s - 1]
    r[0] = 0.5
    h[t] = x
    g.output("y", r[S])
    net = g.compile(backend, dtype="float64")
    np.testing.assert_array_equal(net.run({}, "y", x=np.zeros(1), T=1, S=0), [0.5])
    np.testing.assert_array_equal(net.run({}, "y", x=np.zeros(1), T=2, S=0, lengths={"T": [0]}), [0.5])
    with pytest.raises(LengthError, match=r"h\[2\] is h\[2\] at T = 1, S = 1"):
        net.run({}, "y", x=np.zeros(1), T=1, S=1)


@every_backend
def test_corners_of_two_axes_where_one_has_no_steps(backend: str) -> None:
    g = Template()
    h, x = g.variable("h", ()), g.input("x")
    x[0] = 0.25
    h[-1, s], h[0, s] = 0, 0
    h[t, S + 1] = x[0]
    h[t, s] = h[t - 2, s]
    g.output("y", h[T, S + 1])
    net = g.compile(backend, dtype="float64")
    np.testing.assert_array_equal(net.run({}, "y", x=np.zeros((2, 1)), S=0, lengths={"T": [1]}), [0.25])
