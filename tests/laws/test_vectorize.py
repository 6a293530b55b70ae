"""Pointwise equations packed: the same bits as without, and one statement for all gates of a kind."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.agreement import executables
from laws.test_merge import CELLS, PRODUCTS
from unroll import Template, ops, t
from unroll.compiler.program import Program
from unroll.compiler.statements import Compute, Repeat, walk


def pointwise(program: Program) -> tuple[int, int]:
    """How many statements that are no products stand in forward loops and in reverse loops."""
    count = [0, 0]
    for step in program.steps:
        if isinstance(step, Repeat):
            inside = [s for _, s in walk(step.body) if isinstance(s, Compute) and s.equation.op not in PRODUCTS]
            count[step.direction < 0] += len(inside)
    return count[0], count[1]


def run_program(g: Template, *without: str) -> Program:
    """The program of the numpy backend for the loss and its gradients, as it was run."""
    net = g.compile("numpy", dtype="float64", without=without)
    rng = np.random.default_rng(0)
    net.value_and_grad(params_for(g, rng), **arrays_for(g, lengths_for(g, 3), 2, rng))
    return executables(net)[-1].program


def lstm(order: str) -> Template:
    """An LSTM whose gates are declared and written in an order of one's own."""
    g = Template("lstm")
    x, h, c = g.input("x", 3), g.variable("h", 4), g.variable("c", 4)
    h[0], c[0] = 0, 0
    gate: dict[str, Any] = {}
    for k in order:
        W, U, b = g.param(f"W{k}", (4, 4)), g.param(f"U{k}", (4, 3)), g.param(f"b{k}", 4)
        gate[k] = (ops.tanh if k == "z" else ops.sigmoid)(b + W @ h[t - 1] + U @ x[t])
    c[t] = gate["f"] * c[t - 1] + gate["i"] * gate["z"]
    h[t] = gate["o"] * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


@pytest.mark.parametrize("order", ["".join(p) for p in permutations("fioz")][::8])
def test_gates_of_one_kind_are_one_statement_in_whatever_order(order: str) -> None:
    assert pointwise(run_program(lstm(order))) == (8, 8)
    assert pointwise(run_program(lstm(order), "vectorize")) == (13, 11)


def test_the_gated_recurrent_unit() -> None:
    packed, plain = (pointwise(run_program(CELLS["gru_reset_after"](), *w)) for w in ((), ("vectorize",)))
    assert packed[0] == plain[0] - 2, "two gates: one addition, one logistic function"
    assert packed[1] < plain[1]


@pytest.mark.parametrize("name", [*list(CELLS)[::3], "zoo many_operations", "zoo attention"])
def test_every_bit_is_the_same(name: str) -> None:
    g = ZOO[name[4:]]() if name.startswith("zoo ") else CELLS[name]()
    rng = np.random.default_rng(1)
    params = params_for(g, rng)
    nets = [g.compile("numpy", dtype="float64", without=w) for w in ((), ("vectorize",))]
    for steps in (0, 1, 4):
        arrays = arrays_for(g, lengths_for(g, steps), 3, rng)
        (value, grads), (want, want_grads) = (net.value_and_grad(params, **arrays) for net in nets)
        np.testing.assert_array_equal(value, want)
        for n in grads:
            np.testing.assert_array_equal(grads[n], want_grads[n], err_msg=f"{n} at {steps}")


def two(one: Any, other: Any) -> Template:
    """Two gates of one product, each with an operation of its own."""
    g = Template("two")
    x, h = g.input("x", 3), g.variable("h", 4)
    h[0] = 0
    a, b = (g.param(f"W{k}", (4, 4)) @ h[t - 1] for k in "ab")
    h[t] = one(a, x[t]) * other(b, x[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    return g


def test_nothing_is_packed_where_forms_differ() -> None:
    same, differ = (
        two(lambda v, _: ops.sigmoid(v), f) for f in (lambda v, _: ops.sigmoid(v), lambda v, _: ops.tanh(v))
    )
    assert pointwise(run_program(same))[0] == 2
    assert pointwise(run_program(differ))[0] == pointwise(run_program(differ, "vectorize"))[0] == 3


def test_no_member_waits_for_another() -> None:
    g = Template("chain")  # both sums are slices of one product plus something, but the second needs the first
    h, W, V = g.variable("h", 4), g.param("W", (4, 4)), g.param("V", (4, 4))
    h[0] = g.input("x", 4, over=None)
    a, b = W @ h[t - 1], V @ h[t - 1]
    first = ops.tanh(a + ops.cos(h[t - 1]))
    h[t] = ops.tanh(b + ops.cos(first))
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    assert pointwise(run_program(g))[0] == pointwise(run_program(g, "vectorize"))[0] == 6


def test_a_part_of_every_example_is_added_up() -> None:
    """A gradient that is a slice for each example is no slice to be handed out."""
    g = Template("parts")
    x, p, h = g.input("x", over=None), g.param("p"), g.variable("h")
    h[t] = ops.tanh(ops.stack([x, p]))
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    x = np.zeros(3)
    for backend in ("reference", "numpy"):
        _, grads = g.compile(backend, dtype="float64").value_and_grad({"p": np.float64(0.5)}, x=x, T=2)
        np.testing.assert_allclose(grads["p"], 2 * (1 - np.tanh(0.5) ** 2), rtol=1e-12, strict=True)
