"""The native backend and every pass of the compiler, on the zoo and on cells as people write them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.agreement import EXACT, check_backend, everything, same
from laws.test_merge import CELLS
from laws.test_zoo import LENGTHS, SINGLE, specimen
from unroll import Template, backends, ops, t
from unroll.compiler.pipeline import OPTIONAL

pytest.importorskip("llvmlite")
BACKEND = backends.load("native")

every_recurrence = pytest.mark.parametrize("name", ZOO)


@pytest.mark.parametrize("steps", LENGTHS)
@every_recurrence
def test_native_equals_reference(name: str, steps: int) -> None:
    check_backend(specimen(name, steps), "native")


@every_recurrence
def test_single_precision(name: str) -> None:
    it, batch = specimen(name, 7), 37  # more examples than a vector has lanes, and not a multiple of them
    it = specimen(name, 7, batch)
    single = {n: np.asarray(v, np.float32) for n, v in it.params.items()}
    arrays = {n: v.astype(np.float32) if np.asarray(v).dtype.kind == "f" else v for n, v in it.arrays.items()}
    want, want_grads = it.net("reference").value_and_grad(it.params, **it.arrays)
    value, grads = it.net("native", "float32").value_and_grad(single, **arrays)
    same({"loss": value, **grads}, {"loss": want, **want_grads}, SINGLE, "float32")


@pytest.mark.parametrize("left_out", [*OPTIONAL, *BACKEND.optional])
@pytest.mark.parametrize("name", list(CELLS)[::2])
def test_each_pass_changes_no_value(name: str, left_out: str) -> None:
    g = CELLS[name]()
    rng = np.random.default_rng(5)
    params = params_for(g, rng)
    plain = g.compile("numpy", dtype="float64", without=OPTIONAL)
    net = g.compile("native", dtype="float64", without=(left_out,))
    for steps in (0, 1, 4):
        arrays = arrays_for(g, lengths_for(g, steps), 3, rng)
        want, want_grads = plain.value_and_grad(params, **arrays)
        value, grads = net.value_and_grad(params, **arrays)
        same({"loss": value, **grads}, {"loss": want, **want_grads}, EXACT, f"without {left_out}, {steps} steps")


@pytest.mark.parametrize("sizes", [(1, 1), (3, 5), (16, 16), (33, 70), (64, 40)])
@pytest.mark.parametrize("batch", [1, 2, 5, 8, 13, 21])
def test_sizes_around_the_blocks_of_a_product(sizes: tuple[int, int], batch: int) -> None:
    hidden, inputs = sizes
    g = Template("blocks")
    x, W, U = g.input("x", inputs), g.param("W", (hidden, hidden)), g.param("U", (hidden, inputs))
    h = g.variable("h", hidden)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    rng = np.random.default_rng(batch)
    params, arrays = params_for(g, rng), {"x": rng.normal(size=(4, batch, inputs))}
    want, want_grads = g.compile("numpy", dtype="float64").value_and_grad(params, **arrays)
    value, grads = g.compile("native", dtype="float64").value_and_grad(params, **arrays)
    same({"loss": value, **grads}, {"loss": want, **want_grads}, EXACT, f"batch {batch}")


def test_threads_have_memory_of_their_own() -> None:
    it = specimen("lstm_eight_matrices", 7)
    net, found, wrong = it.net("native"), everything(it.net("native"), it), []

    def work() -> None:
        try:
            for _ in range(20):
                same(everything(net, it), found, 0, "in a thread")
        except AssertionError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_operation_that_is_a_python_function_runs_on_numpy_and_says_so() -> None:
    made: Any = ops.define("halved_here", ops.elementwise, lambda g, y, x: 0.5 * g, compute=lambda xp, x: 0.5 * x)
    try:
        g = Template("halves")
        x = g.input("x")
        g.loss = ops.sum(made(x[t]), over=t)
        with pytest.warns(UserWarning, match="halved_here is a Python function alone"):
            assert g.compile("native").loss({}, x=np.ones(4, np.float32)) == 2
    finally:
        del ops.OPS["halved_here"]


@pytest.mark.parametrize("sizes", [(5, 32, 20, 100), (6, 64, 16, 64), (3, 200, 33, 70)])
def test_products_shared_between_threads_keep_their_bits(sizes: tuple[int, int, int, int]) -> None:
    steps, batch, inputs, hidden = sizes
    g = Template("shared")
    x, W, U = g.input("x", inputs), g.param("W", (hidden, hidden)), g.param("U", (hidden, inputs))
    h = g.variable("h", hidden)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    rng = np.random.default_rng(hidden)
    params, arrays = params_for(g, rng), {"x": rng.normal(size=(steps, batch, inputs))}
    want, want_grads = g.compile("numpy", dtype="float64").value_and_grad(params, **arrays)
    net = g.compile("native", dtype="float64")
    value, grads = net.value_and_grad(params, **arrays)
    same({"loss": value, **grads}, {"loss": want, **want_grads}, 1e-11, "shared")
    for _ in range(50):
        again, again_grads = net.value_and_grad(params, **arrays)
        same({"loss": again, **again_grads}, {"loss": value, **grads}, 0, "once more")
