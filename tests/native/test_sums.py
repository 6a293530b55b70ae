"""Long sums in float32: in blocks, in one order, so that a million numbers are not one running sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t

pytest.importorskip("llvmlite")

s, S = axis("s")
MANY = 1_000_000
CLOSE = 1e-5  # a running sum is off by a hundredth
SUMS: dict[str, Any] = {
    "x[t]": lambda x: x,
    "x[t]**2": lambda x: x * x,
    "exp(x[t])": ops.exp,
    "cross_entropy": lambda x: ops.cross_entropy(ops.stack([x, 0 * x]), ops.argmax(ops.stack([x, 0 * x]))),
    "logsumexp": lambda x: ops.logsumexp(ops.stack([x, x + 1])),
    "sum of a row": lambda x: ops.sum(ops.stack([x, x + 1, x])),
    "mean square": lambda x: ops.mse(ops.stack([x, x + 1, x]), 0.5),
}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_over_a_million_steps(name: str, batch: int | None) -> None:
    g = Template()
    x, w = g.input("x"), g.param("w")
    g.output("y", ops.sum(SUMS[name](w * x[t]), over=t))
    g.loss = ops.sum(SUMS[name](w * x[t]), over=t)
    rng = np.random.default_rng(0)
    one = np.float32(0.1) + np.float32(0.01) * rng.random((MANY, *([batch] if batch else [])), np.float32)
    params = {"w": np.array(1.0)}
    want = g.compile("numpy", dtype="float64")
    net = g.compile("native")
    single = {"w": np.float32(1)}
    np.testing.assert_allclose(net.run(single, "y", x=one), want.run(params, "y", x=one.astype(float)), rtol=CLOSE)
    _, got = net.value_and_grad(single, x=one)
    _, exact = want.value_and_grad(params, x=one.astype(float))
    np.testing.assert_allclose(got["w"], exact["w"], rtol=CLOSE)
    np.testing.assert_array_equal(net.run(single, "y", x=one), net.run(single, "y", x=one), "the same bits again")


@pytest.mark.parametrize("steps", [0, 1, 127, 128, 129, 4095, 4096, 4097, 8300])
@pytest.mark.parametrize("shape", [(), (5,), (3, 17)])
def test_blocks_of_every_size(steps: int, shape: tuple[int, ...]) -> None:
    """Whole numbers add up exactly, whatever the order: any that is left out or counted twice shows."""
    g = Template()
    x = g.input("x", shape, over=(t, s))
    g.output("over both", ops.sum(x[t, s] * 1.0, over=(t, s)))
    g.output("over t", ops.sum(x[t, s] * 1.0, over=t))
    g.output("of all", ops.sum(ops.sum(x[t, s] * 1.0), over=(s, t)))
    x = np.arange(steps * 2 * 3 * max(1, int(np.prod(shape))), dtype=np.float64).reshape(steps, 2, 3, *shape) % 13
    found = g.compile("native", dtype="float64").run({}, x=x)
    np.testing.assert_array_equal(found["over both"], x.sum(axis=(0, 1)))
    np.testing.assert_array_equal(found["over t"], x.sum(axis=0))
    np.testing.assert_array_equal(found["of all"], x.sum(axis=(0, 1, *range(3, x.ndim))))


@pytest.mark.parametrize("at", [0, 127, 128, 4096, 4999])
def test_the_greatest_of_many_steps_wherever_it_stands(at: int) -> None:
    g = Template()
    g.output("most", ops.max(g.input("x", 5)[t], over=t))
    x = -1 - np.arange(5000 * 2 * 5, dtype=np.float64).reshape(5000, 2, 5) % 13
    x[at] = -0.5
    np.testing.assert_array_equal(g.compile("native", dtype="float64").run({}, x=x)["most"], np.full((2, 5), -0.5))


@pytest.mark.parametrize("batch", [None, 1, 3, 40])
def test_a_weight_whose_cotangent_is_the_same_at_all_steps(batch: int | None) -> None:
    """The gradient is a sum over steps of products that have but one factor of each."""
    g = Template()
    x, W, V = g.input("x", 3), g.param("W", (5, 3)), g.param("V", (2, 3))
    g.loss = ops.sum(ops.sum(W @ x[t]), over=t) + ops.sum(ops.sum(ops.outer(V @ x[t], x[T])), over=t)
    net, params = g.compile("native"), {"W": np.ones((5, 3), np.float32), "V": np.ones((2, 3), np.float32)}
    steps = MANY // (batch or 1)
    x = np.full((steps, *([batch] if batch else []), 3), 0.1, np.float32)
    grads = net.value_and_grad(params, x=x)[1]
    each = np.float64(np.float32(0.1))
    np.testing.assert_allclose(grads["W"], np.full((5, 3), steps * each), rtol=CLOSE)
    np.testing.assert_allclose(grads["V"], np.full((2, 3), steps * each * 3 * each), rtol=CLOSE)


@pytest.mark.parametrize("steps", [0, 1, 127, 128, 129, 4095, 4096, 4097, 8300])
@pytest.mark.parametrize("batch", [1, 4])
def test_blocks_of_products_of_every_size(steps: int, batch: int) -> None:
    g = Template()
    x, u, W, A = g.input("x", 3, over=(t, s)), g.input("u", 2, over=s), g.param("W", (2, 3)), g.param("A", (2, 3))
    o = g.variable("o", 2)
    o[s] = ops.sum(A @ x[t, s], over=t)
    g.output("o", o[s])
    g.loss = ops.sum(ops.sum((W @ x[t, s]) * u[s]), over=(t, s)) + ops.sum(ops.sum(o[s] * u[s]), over=s)
    at = np.arange(steps * 2 * batch * 3, dtype=np.float64).reshape(steps, 2, batch, 3) % 13
    by = np.arange(2 * batch * 2, dtype=np.float64).reshape(2, batch, 2) % 5
    params = {n: np.array([[1.0, 2, 3], [0, 1, 5]]) for n in "WA"}
    net = g.compile("native", dtype="float64")
    np.testing.assert_array_equal(net.run(params, "o", x=at, u=by), np.einsum("ij,tsbj->sbi", params["A"], at))
    grads = net.value_and_grad(params, x=at, u=by)[1]
    for name in "WA":
        np.testing.assert_array_equal(grads[name], np.einsum("sbi,tsbj->ij", by, at) / batch)


@pytest.mark.slow
def test_twenty_million_ones() -> None:
    g = Template()
    g.output("y", ops.sum(g.input("x")[t], over=t))
    assert g.compile("native").run({}, "y", x=np.ones(20_000_000, np.float32)) == 20_000_000
