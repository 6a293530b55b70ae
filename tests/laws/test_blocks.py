"""Kernels of the numpy backend in blocks of steps: the same bits whatever the size of a block, and less memory."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.test_merge import CELLS
from unroll import Template, ops, t
from unroll.backends.numpy import tuning
from unroll.compiler.statements import Fuse, walk

NAMES = [*list(CELLS)[::4], *(f"zoo {name}" for name in list(ZOO)[::5]), "zoo attention", "zoo many_operations"]


@pytest.mark.parametrize("name", dict.fromkeys(NAMES))
@pytest.mark.parametrize("elements", [1, 40])
def test_every_bit_is_the_same(name: str, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    g = ZOO[name[4:]]() if name.startswith("zoo ") else CELLS[name]()
    rng = np.random.default_rng(1)
    params = params_for(g, rng)
    monkeypatch.setattr(tuning, "BLOCK_ELEMENTS", elements)
    blocked, whole = (g.compile("numpy", dtype="float64", without=w) for w in ((), ("fuse",)))
    for steps in (0, 1, 7):
        arrays = arrays_for(g, lengths_for(g, steps), 3, rng)
        value, grads = blocked.value_and_grad(params, **arrays)
        want, want_grads = whole.value_and_grad(params, **arrays)
        np.testing.assert_array_equal(value, want)
        for key, wanted in want_grads.items():
            np.testing.assert_array_equal(grads[key], wanted, err_msg=key)


def test_what_only_a_kernel_knows_takes_the_memory_of_a_block() -> None:
    g = Template("chain")
    x = g.input("x", 100)
    a, b = g.variable("a"), g.variable("b")
    a[t] = ops.exp(x[t])
    b[t] = 1 + a[t]
    g.output("y", b[t] * b[t])
    needed = {}
    for without in ((), ("fuse",)):
        net = g.compile("numpy", dtype="float64", without=without)
        kernels = [s for _, s in walk(net.program().steps) if isinstance(s, Fuse)]
        assert bool(kernels) == (not without)
        needed[without] = net.explain(grad=False, T=1000, batch=10).memory or 0
    assert needed[()] < 0.6 * needed["fuse",], "of a, b, y and the copy of y two are left"
