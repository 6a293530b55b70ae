"""What `explain` says of memory: bytes that one loop leaves for another, counted by hand."""

from __future__ import annotations

import pytest

from unroll import Template, ops, t

backends = pytest.mark.parametrize("backend", ["numpy", "native"])
NUMBER = 4  # bytes, in float32


@backends
@pytest.mark.parametrize(("steps", "batch"), [(16, 4), (1, 1)])
def test_what_the_backward_loop_reads_of_the_forward_one(steps: int, batch: int, backend: str) -> None:
    g = Template("elman")
    x, y = g.input("x", 27), g.input("y", dtype="int")
    U, W, V = g.param("U", (64, 27)), g.param("W", (64, 64)), g.param("V", (27, 64))
    h, o = g.variable("h", 64), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    net = g.compile(backend)
    report = net.explain(T=steps, batch=batch)
    assert report.kept == (steps + 1) * batch * 64 * NUMBER  # all states, the first included
    assert "kept from one loop to another" in report.text
    assert not net.explain("h", grad=False, T=steps, batch=batch).kept


@backends
def test_what_is_handed_on_between_loops(backend: str) -> None:
    """A second layer reads the first through a product that runs over all steps at once."""
    g = Template("layers")
    x, U = g.input("x", 8), g.param("U", (8, 8))
    h, k = g.variable("h", 8), g.variable("k", 8)
    h[0], k[0] = 0, 0
    h[t] = ops.tanh(h[t - 1] + x[t])
    k[t] = ops.tanh(k[t - 1] + ops.exp(U @ h[t]))
    g.output("k", k[t])
    report = g.compile(backend).explain(grad=False, T=10, batch=3)
    assert report.kept
    assert report.kept % (3 * 8 * NUMBER) == 0
