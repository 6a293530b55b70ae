"""Sums over steps and examples on the stand-in: by one block or by several, in an order that the sizes alone decide."""

from __future__ import annotations

import numpy as np
import pytest
from laws.agreement import EXACT, executables, same

from unroll import Net, Template, ops, t
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy.plan import Call, calls


def several() -> Template:
    """A bias, an embedding of two tables' indices a step, a maximum over steps, sums that carry the batch."""
    g = Template("several")
    x, y, k = g.input("x", 5), g.input("y", dtype="int"), g.input("k", 3, dtype="int")
    b, E, D = g.param("b", 5), g.param("E", (7, 5)), g.param("D", (4, 5))
    h = ops.tanh(x[t] + b + E[y[t]] + ops.sum(D[k[t]], axis=0))
    g.loss = ops.sum(ops.sum(h * h), over=t) + ops.sum(ops.max(h, over=t))
    g.output("total", ops.sum(h, over=t))
    return g


def arrays(steps: int, batch: int) -> dict[str, np.ndarray]:
    """Inputs."""
    rng = np.random.default_rng(steps)
    return {
        "x": rng.standard_normal((steps, batch, 5)),
        "y": rng.integers(0, 7, (steps, batch)),
        "k": rng.integers(0, 4, (steps, batch, 3)),
    }


def ran(net: Net, steps: int, batch: int) -> set[str]:
    """The kernels of a run."""
    (executable,) = executables(net)
    plan = executable.plan
    found = calls(plan, {BATCH_END: batch, "T": steps})
    return {c.launch.kernel for c in found if isinstance(c, Call)}


def test_values_and_gradients(several_emulated: Net) -> None:
    params = several_emulated.init(seed=1)
    for steps, batch in ((0, 2), (1, 1), (33, 1), (70, 19)):
        given = arrays(steps, batch)
        value, grads = several_emulated.value_and_grad(params, **given)
        want, wanted = several().compile("numpy", dtype="float64").value_and_grad(params, **given)
        same({"loss": value, **grads}, {"loss": want, **wanted}, EXACT, f"sums over {steps} steps")
        again, grads_again = several_emulated.value_and_grad(params, **given)
        same({"loss": again, **grads_again}, {"loss": value, **grads}, 0, "sums, once more")


def test_long_sums_are_shared_by_blocks(several_emulated: Net) -> None:
    several_emulated.value_and_grad(several_emulated.init(), **arrays(1, 1))
    short, long = (ran(several_emulated, *sizes) for sizes in ((3, 2), (70, 19)))
    assert not any(name.endswith("_joined") for name in short)
    assert sum(name.endswith("_joined") for name in long) >= 3
    (executable,) = executables(several_emulated)
    used = [executable.plan.sizes({BATCH_END: b, "T": steps}) for steps, b in ((3, 2), (70, 19))]
    taken = [sum(size for host, size in sizes.items() if host in executable.plan.scratch) for sizes in used]
    assert taken[0] == 0 < taken[1]


def test_many_sums_are_not_shared(emulated: str) -> None:
    g = Template("many")
    x = g.input("x", 40)
    g.output("total", ops.sum(ops.exp(x[t]), over=t))
    net = g.compile(emulated, dtype="float64")
    X = np.random.default_rng(0).standard_normal((260, 210, 40))
    same(net.run({}, x=X), {"total": np.exp(X).sum(0)}, EXACT, "many")
    assert not any(name.endswith("_joined") for name in ran(net, 260, 210))
    assert any(name.endswith("_joined") for name in ran(net, 260, 200))


def products(width: int) -> Template:
    """Scalar products of all steps at once, and in a loop."""
    g = Template("products")
    x, y, v = g.input("x", width), g.input("y", width), g.param("v", width)
    h = g.variable("h", ())
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + ops.dot(v, ops.tanh(x[t] * h[t - 1] + y[t]))
    score = v @ ops.sin(x[t]) + ops.dot(x[t], y[t]) + ops.einsum("i,i->", y[t], y[t])
    g.loss = ops.sum(h[t] * score, over=t)
    g.output("score", score)
    return g


@pytest.mark.parametrize("width", [31, 70])
def test_a_row_of_threads_for_a_long_scalar_product(width: int, emulated: str) -> None:
    g = products(width)
    net = g.compile(emulated, dtype="float64")
    rng = np.random.default_rng(width)
    given = {name: 0.1 * rng.standard_normal((4, 5, width)) for name in "xy"}
    params = {"v": rng.standard_normal(width)}
    value, grads = net.value_and_grad(params, **given)
    want, wanted = g.compile("numpy", dtype="float64").value_and_grad(params, **given)
    same({"loss": value, **grads}, {"loss": want, **wanted}, EXACT, "scalar products")
    made = executables(net)[0].plan.text
    assert made.count("if (lane < half)") == (4 if width == 70 else 0)


@pytest.fixture
def several_emulated(emulated: str) -> Net:
    """A net of `several`."""
    return several().compile(emulated, dtype="float64")
