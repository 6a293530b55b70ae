"""Kernels of rows, with reductions between loops along a row, and kernels whose rows several threads share."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from helpers.zoo import arrays_for, lengths_for, params_for
from laws.agreement import EXACT, same
from laws.test_zoo import SINGLE

from unroll import Template, ops, t
from unroll.backends.native import tuning
from unroll.compiler.statements import Compute, Fuse, Repeat

pytest.importorskip("llvmlite")


def norms(width: int) -> Template:
    """Layer norms of two gates and of the cell, peepholes, a softmax and a maximum, all in the recurrence."""
    g = Template("norms")
    x, W, V = g.input("x", 5), g.param("W", (width, 5)), g.param("V", (width, width))
    s, b, p = (g.param(n, width) for n in "sbp")
    h, c = g.variable("h", width), g.variable("c", width)
    h[0], c[0] = 0, g.param("c0", width)
    i = ops.layer_norm(W @ x[t] + V @ h[t - 1], s, b)
    f = ops.layer_norm(p * c[t - 1] - V @ h[t - 1], bias=b)
    share = ops.softmax(f + i)
    c[t] = ops.sigmoid(f) * c[t - 1] + share * ops.tanh(i) + ops.max(f * i)
    h[t] = ops.tanh(ops.layer_norm(c[t], s)) - ops.mean(i * f) * c[t]
    g.loss = ops.sum(ops.sum(h[t] * h[t]) + ops.max(c[t]), over=t)
    return g


def tables(width: int) -> Template:
    """A matrix as the state, normalised row by row; the rows' sums come back a step later."""
    g = Template("tables")
    x, A = g.input("x", (3, width)), g.param("A", (3, width))
    z, total = g.variable("z", (3, width)), g.variable("total", 3)
    z[0], total[0] = 0, 1
    rows = ops.layer_norm(A * z[t - 1] + x[t], eps=0.1)
    z[t] = ops.sin(rows + ops.reshape(total[t - 1], (3, 1)))
    total[t] = ops.tanh(ops.sum(z[t] * x[t], axis=-1) + ops.sum(rows))
    g.loss = ops.sum(ops.sum(total[t]) + ops.sum(ops.max(z[t], axis=-1) ** 2), over=t)
    return g


def sides(width: int, reduce: str) -> Template:
    """Reductions of rows side by side and nothing else, in a loop and outside."""
    g = Template("sides")
    x, y, h = g.input("x", width), g.input("y", width), g.variable("h", width)
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + ops.tanh(x[t])
    form = {"sum": ops.sum, "max": ops.max, "sum_to": lambda v: ops.sum(v, keepdims=True)}[reduce]
    g.output("a", form(x[t]))
    g.output("b", form(y[t]))
    g.output("c", form(h[t - 1]))
    g.loss = ops.sum(ops.sum(ops.tanh(0.1 * (form(x[t]) + form(y[t])))) * ops.sum(form(h[t])), over=t)
    return g


@pytest.mark.parametrize("reduce", ["sum", "max", "sum_to"])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 300, 8192, 8193])
def test_reductions_side_by_side(width: int, reduce: str, rng: np.random.Generator) -> None:
    g = sides(width, reduce)
    x, y = rng.normal(size=(2, 3, 2, width))
    net, reference = (g.compile(backend, dtype="float64") for backend in ("native", "reference"))
    for names in (["a", "b"], ["a"], ["a", "b", "c"]):
        same(net.run({}, names, x=x, y=y), reference.run({}, names, x=x, y=y), EXACT, str(names))
    value, grads = net.value_and_grad({}, ["x", "y"], x=x, y=y)
    want, wanted = reference.value_and_grad({}, ["x", "y"], x=x, y=y)
    same({"loss": value, **grads}, {"loss": want, **wanted}, EXACT, "gradients")


CASES = [(norms, 1, "float64"), (norms, 37, "float64"), (norms, 21, "float32"), (tables, 19, "float64")]


@pytest.mark.parametrize(("make", "width", "dtype"), CASES)
def test_rows_of_every_width(make: Any, width: int, dtype: Any) -> None:
    g, rng = make(width), np.random.default_rng(width)
    params = {n: v.astype(dtype) for n, v in params_for(g, rng).items()}
    net, reference = g.compile("native", dtype=dtype), g.compile("reference", dtype="float64")
    double = {n: v.astype("float64") for n, v in params.items()}
    for steps, batch in ((0, 2), (1, 1), (3, 3)):
        x = arrays_for(g, lengths_for(g, steps), batch, rng)["x"].astype(dtype)
        value, grads = net.value_and_grad(params, x=x)
        want, want_grads = reference.value_and_grad(double, x=x.astype("float64"))
        bound = EXACT if dtype == "float64" else SINGLE
        same({"loss": value, **grads}, {"loss": want, **want_grads}, bound, f"{steps} steps, batch {batch}")


def test_a_loop_is_one_product_and_one_kernel() -> None:
    g = Template("one")
    x, W = g.input("x", 16), g.param("W", (16, 16))
    h = g.variable("h", 16)
    h[0] = 0
    h[t] = ops.tanh(ops.layer_norm(W @ h[t - 1] + x[t]))
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    loops = [s for s in g.compile("native").program(grad=True).steps if isinstance(s, Repeat)]
    assert len(loops) == 2
    for loop in loops:
        assert [type(s) for s in loop.body] == [Compute, Fuse]


def test_kernels_shared_between_threads_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    g, rng = tables(16), np.random.default_rng(16)
    params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, 6), 11, rng)
    found = []
    for enough in (2**40, 1):
        monkeypatch.setattr(tuning, "MIN_CYCLES_PER_TASK", enough)
        net = g.compile("native", dtype="float64")
        found += [net.value_and_grad(params, **arrays) for _ in range(20)]
    value, grads = found[0]
    for again, again_grads in found[1:]:
        same({"loss": again, **again_grads}, {"loss": value, **grads}, 0, "shared")


@pytest.mark.parametrize("batch", [1, 7, 70_001])
def test_a_light_kernel_with_few_points_and_with_many(batch: int) -> None:
    g = Template("light")
    x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    g.output("h", h[t])
    rng = np.random.default_rng(batch)
    params, arrays = {"a": np.float64(0.7)}, {"x": rng.normal(size=(3, batch))}
    got, want = (g.compile(b, dtype="float64").run(params, **arrays) for b in ("native", "numpy"))
    same(got, want, EXACT, "light")


def test_rows_lie_in_no_stack() -> None:
    """Many kernels with long rows between their stages, in a thread with little memory of its own."""
    g = Template("norms")
    h = g.input("x", 8192)[t]
    for _ in range(5):
        h = ops.layer_norm(h) + ops.tanh(ops.softmax(h)) * ops.max(h)
    g.output("y", h)
    g.loss = ops.sum(ops.sum(h * h), over=t)
    x = np.random.default_rng(0).normal(size=(2, 3, 8192))
    net, reference = (g.compile(backend, dtype="float64") for backend in ("native", "numpy"))
    found: dict[str, Any] = {}

    def run() -> None:
        found["y"] = net.run({}, "y", x=x)
        found["x"] = net.value_and_grad({}, "x", x=x)[1]["x"]

    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    want = {"y": reference.run({}, "y", x=x), "x": reference.value_and_grad({}, "x", x=x)[1]["x"]}
    same(found, want, EXACT, "in a thread")


@pytest.mark.parametrize("first", [0, 1, 16, 17, 31])
def test_a_window_of_what_is_joined_waits_for_all_of_it(first: int, rng: np.random.Generator) -> None:
    """Element k of the window is no element k of either half, both of which are computed at the same points."""
    g = Template()
    x, a, b, c = g.input("x", 16), g.variable("a", 16), g.variable("b", 16), g.variable("c", 48)
    a[t], b[t] = ops.tanh(x[t]), ops.exp(x[t])
    c[t] = ops.concat([a[t], b[t], ops.sin(x[t])])
    g.output("y", ops.cos(c[t][first : first + 16]) * a[t])
    x = rng.standard_normal((3, 2, 16))
    whole = np.concatenate([np.tanh(x), np.exp(x), np.sin(x)], axis=-1)
    want = np.cos(whole[..., first : first + 16]) * np.tanh(x)
    np.testing.assert_allclose(g.compile("native", dtype="float64").run({}, x=x)["y"], want, rtol=0, atol=1e-14)
