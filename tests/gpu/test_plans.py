"""Plans for a GPU, run kernel by kernel on a stand-in: the same values and gradients as on NumPy."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from helpers.emulator import Emulator
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for
from laws.agreement import EXACT, Specimen, executables, frozen, poison, same
from laws.test_zoo import LENGTHS, SINGLE, specimen

from unroll import Net, Template, ops, t
from unroll.backends.base import Options
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy.plan import Plan
from unroll.errors import BackendError


def wide() -> Template:
    """Rows longer than a block: layer normalisation in a loop, stable exponentials, a maximum, a lookup."""
    g = Template("wide")
    x, y = g.input("x", 300), g.input("y", dtype="int")
    W, E, scale = g.param("W", (300, 300)), g.param("E", (5, 300)), g.param("scale", 300)
    h = g.variable("h", 300)
    h[0] = 0
    z = 0.1 * (W @ h[t - 1]) + x[t] + ops.take(E, y[t])
    d = z - ops.mean(z)
    h[t] = ops.tanh(scale * d / ops.sqrt(ops.mean(d * d) + 1e-5))
    row = ops.logsumexp(h[t]) + ops.max(h[t]) + ops.sum(ops.softmax(h[t]) * x[t])
    g.loss = ops.sum(ops.cross_entropy(h[t], y[t]) + row, over=t)
    return g


def check(it: Specimen, net: Net) -> None:
    """Value and gradients against NumPy's; once more in memory full of nan; and with a launch for every step.

    Where no product is in a loop, the last is the same to the bit.
    """
    want, want_grads = it.net().value_and_grad(it.params, it.floats, **it.arrays)
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": value, **grads}, {"loss": want, **want_grads}, EXACT, "emulated")
    poison(net)
    again, again_grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": again, **again_grads}, {"loss": value, **grads}, 0, "once more")
    alone = True
    for executable in executables(net):
        alone &= not any(loop.panels for loop in executable.plan.persistent)
        for frame in chain.from_iterable(executable._idle.values()):
            frame.fits.clear()
    again, again_grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": again, **again_grads}, {"loss": value, **grads}, 0 if alone else EXACT, "loops as launches")


@pytest.mark.parametrize("name", ZOO)
def test_a_plan_computes_what_numpy_does(name: str, emulated: str) -> None:
    net = specimen(name, 0).template.compile(emulated, dtype="float64")
    for steps in LENGTHS:
        check(specimen(name, steps), net)


def test_rows_longer_than_a_block(emulated: str, rng: np.random.Generator) -> None:
    g = wide()
    arrays = arrays_for(g, lengths_for(g, 3), 2, rng)
    check(Specimen(g, frozen(params_for(g, rng)), frozen(arrays)), g.compile(emulated, dtype="float64"))


@pytest.mark.parametrize("name", ["lstm_eight_matrices", "attention"])
def test_every_variable_in_float32(name: str, emulated: str) -> None:
    it = specimen(name, 7)
    net = it.template.compile(emulated, dtype="float32")
    params = {n: v.astype(np.float32) for n, v in it.params.items()}
    arrays = {n: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for n, v in it.arrays.items()}
    got = net.run(params, it.variables, **arrays)
    same(got, it.net().run(it.params, it.variables, **it.arrays), SINGLE, "float32")


def test_a_barrier_that_only_some_threads_reach_is_noticed(emulated: str, rng: np.random.Generator) -> None:
    g = wide()
    net = g.compile(emulated, dtype="float64")
    arrays, params = arrays_for(g, lengths_for(g, 1), 1, rng), params_for(g, rng)
    net.loss(params, **arrays)
    (executable,) = executables(net)
    plan: Plan = executable.plan
    text = plan.text.replace("    __syncthreads();\n    real", "    if (threadIdx.x < 5) __syncthreads();\n    real", 1)
    assert text != plan.text
    object.__setattr__(plan, "text", text)
    frame = Emulator(plan, Options()).frame({BATCH_END: 1, "T": 1})
    with pytest.raises(AssertionError, match="only some threads"):
        frame({**arrays, **params})


def test_what_it_can_do_without_is_named(emulated: str) -> None:
    with pytest.raises(BackendError, match="graph"):
        specimen("elman", 0).template.compile(emulated, without=("no_such_pass",))
