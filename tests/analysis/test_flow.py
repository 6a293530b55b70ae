"""The flow of gradients: Jacobians against products of one-step Jacobians, norms against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, UnrollError, ops, t
from unroll.analysis.gradient_flow import flow, gradient_norms

STEPS, SIZE = 9, 4


def elman(batch_first: bool = False):
    g = Template("elman")
    x, h = g.input("x", 2), g.variable("h", SIZE)
    h[0] = 0
    h[t] = ops.tanh(g.param("W", (SIZE, SIZE), "orthogonal") @ h[t - 1] + g.param("U", (SIZE, 2)) @ x[t])
    g.loss = ops.sum(h[T] ** 2)
    net = g.compile("numpy", dtype="float64", batch_first=batch_first)
    return net, net.init(seed=0), np.random.default_rng(0).normal(size=(STEPS, 3, 2))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("end", [None, 1, 5])
def test_jacobians_are_products_of_those_of_one_step(end, batch_first):
    net, params, x = elman(batch_first)
    found = flow(net, params, "h", end, x=x[:, 0])
    h = net.run(params, "h", x=x[:, 0])
    end = end or STEPS
    product, want = np.eye(SIZE), []
    for s in range(end, 0, -1):
        want.insert(0, product)
        product = product @ (np.diag(1 - h[s - 1] ** 2) @ params["W"])
    np.testing.assert_allclose(found.jacobians, want, atol=1e-14)
    np.testing.assert_allclose(found.norms, [np.linalg.svd(j)[1][0] for j in want], atol=1e-12)
    np.testing.assert_allclose(found.radii, [max(abs(np.linalg.eigvals(j))) for j in want], atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_norms_of_gradients_are_those_of_each_example(batch_first):
    net, params, x = elman(batch_first)
    norms = gradient_norms(net, params, "h", x=np.moveaxis(x, 0, 1) if batch_first else x)
    assert norms.shape == (STEPS, 3)
    for example in range(3):
        one = x[:, example]
        h = net.run(params, "h", x=one)
        np.testing.assert_allclose(norms[:, example], gradient_norms(net, params, "h", x=one), atol=1e-14)
        for step in (1, STEPS):
            parts = []
            for i in np.eye(SIZE):
                ends = [net.loss(params, clamp={("h", step): h[step - 1] + e * i}, x=one) for e in (1e-6, -1e-6)]
                parts.append((ends[0] - ends[1]) / 2e-6)
            assert norms[step - 1, example] == pytest.approx(np.linalg.norm(parts), rel=1e-6)


def test_a_linear_recurrence_grows_by_its_spectral_radius():
    g = Template("linear")
    x, h = g.input("x", 2), g.variable("h", 2)
    h[0] = 0
    h[t] = np.diag([0.9, 0.5]) @ h[t - 1] + x[t]
    found = flow(g.compile("numpy", dtype="float64"), {}, "h", x=np.zeros((30, 2)))
    np.testing.assert_allclose(found.radii[::-1], 0.9 ** np.arange(30), rtol=1e-12)
    assert found.rate == pytest.approx(0.9)
    assert "0.900 times a step" in str(found)


def test_mistakes_are_named():
    net, params, x = elman()
    with pytest.raises(UnrollError, match="no variable along one axis"):
        flow(net, params, "x", x=x[:, 0])
    with pytest.raises(UnrollError, match=r"h\[12\] is to be differentiated"):
        flow(net, params, "h", 12, x=x[:, 0])
    with pytest.raises(UnrollError, match="it has h"):
        gradient_norms(net, params, "q", x=x)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_network_that_reads_no_example_has_jacobians(batch_first):
    g = Template("alone")
    h, W, x = g.variable("h", 3), g.param("W", (3, 3)), g.input("x", 3)
    h[0] = np.array([1.0, -0.5, 0.3])
    h[t] = ops.tanh(W @ h[t - 1])
    g.output("y", h[t] + x[t])
    net = g.compile("numpy", dtype="float64", batch_first=batch_first)
    params = net.init(seed=0)
    found = flow(net, params, "h", T=4)
    states = net.run(params, "h", T=4)
    steps = [(1 - s**2)[:, None] * params["W"] for s in states]  # of each step by the one before it
    want = [np.eye(3)]
    for step in steps[:0:-1]:
        want.append(want[-1] @ step)
    np.testing.assert_allclose(found.jacobians, want[::-1], atol=1e-14)
    np.testing.assert_array_equal(flow(net, params, "h", x=np.ones((4, 3))).jacobians, found.jacobians)
