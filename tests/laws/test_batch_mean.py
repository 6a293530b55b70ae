"""Means over the examples of a batch, on every backend: in streams, with threads, and with the examples reordered."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import Template, ops, t

CPU = ["reference", "numpy", "native"]


def centred(units: int = 3) -> Template:
    """A recurrence of what is left of each example when the mean of all is taken away."""
    g = Template("centred")
    x, h, W = g.input("x", units), g.variable("h", units), g.param("W", (units, units))
    h[0] = 0.0
    h[t] = ops.tanh(W @ h[t - 1] + x[t] - ops.batch_mean(x[t] * h[t - 1] + x[t]))
    g.output("mean", ops.batch_mean(h[t]))
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


def by_hand(W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h, found = np.zeros(x.shape[1:]), []
    for step in x:
        h = np.tanh(h @ W.T + step - (step * h + step).mean(axis=0))
        found.append(h)
    return np.stack(found), np.stack(found).mean(axis=1)


@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize(("steps", "batch"), [(6, 4), (1, 1), (3, 1), (0, 3), (4, 300)])
def test_values(backend: str, steps: int, batch: int, rng: np.random.Generator) -> None:
    W, x = rng.normal(size=(3, 3)), rng.normal(size=(steps, batch, 3))
    net = centred().compile(backend=backend, dtype="float64")
    found = net.run({"W": W}, ["h", "mean"], x=x)
    if not steps:
        assert found["mean"].shape == (0, 3)
        return
    for got, want in zip(found.values(), by_hand(W, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", CPU)
def test_reordered_examples_give_reordered_values_and_the_same_gradient(backend: str, rng: np.random.Generator) -> None:
    W, x, order = rng.normal(size=(3, 3)), rng.normal(size=(5, 7, 3)), rng.permutation(7)
    net = centred().compile(backend=backend, dtype="float64")
    np.testing.assert_allclose(net.run({"W": W}, "h", x=x)[:, order], net.run({"W": W}, "h", x=x[:, order]), rtol=1e-9)
    loss, grads = net.value_and_grad({"W": W}, x=x)
    again, same = net.value_and_grad({"W": W}, x=x[:, order])
    assert loss == pytest.approx(again, rel=1e-12)
    np.testing.assert_allclose(grads["W"], same["W"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", CPU)
def test_gradient_is_that_of_central_differences(backend: str, rng: np.random.Generator) -> None:
    W, x, along = rng.normal(size=(3, 3)), rng.normal(size=(5, 4, 3)), rng.normal(size=(3, 3))
    net = centred().compile(backend=backend, dtype="float64")
    _, grads = net.value_and_grad({"W": W}, x=x)
    up, down = (net.loss({"W": W + e * along}, x=x) for e in (1e-6, -1e-6))
    assert np.sum(grads["W"] * along) == pytest.approx((up - down) / 2e-6, rel=1e-7)
    _, tangent = net.jvp({"W": W}, {"W": along}, "h", x=x)
    h = [net.run({"W": W + e * along}, "h", x=x) for e in (1e-6, -1e-6)]
    np.testing.assert_allclose(tangent, (h[0] - h[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", CPU)
def test_what_is_one_for_all_examples_is_its_own_mean(backend: str, rng: np.random.Generator) -> None:
    g = Template("alike")
    x, w, a = g.input("x"), g.param("w", 2), g.variable("a", 2)
    a[0] = w
    a[t] = ops.batch_mean(a[t - 1] * 0.5)
    g.output("y", x[t] + a[t])
    w_ = rng.normal(size=2)
    net = g.compile(backend=backend, dtype="float64")
    found = net.run({"w": w_}, ["a", "y"], x=np.zeros((3, 5)))
    np.testing.assert_allclose(found["a"], w_ * 0.5 ** np.arange(1, 4)[:, None], rtol=1e-12)
    np.testing.assert_allclose(found["y"], np.broadcast_to(found["a"][:, None], (3, 5, 2)), rtol=1e-12)


@pytest.mark.parametrize("backend", CPU)
def test_a_stream_takes_the_mean_of_the_examples_that_it_has(backend: str, rng: np.random.Generator) -> None:
    W, x = rng.normal(size=(3, 3)), rng.normal(size=(6, 4, 3))
    net = centred().compile(backend=backend, dtype="float64")
    stream = net.stream({"W": W}, batch=4)
    parts = [stream(x=x[k : k + 2])["mean"] for k in range(0, 6, 2)]
    np.testing.assert_allclose(np.concatenate(parts), net.run({"W": W}, "mean", x=x), rtol=1e-10, atol=1e-13)


def test_a_normalisation_is_printed_as_it_was_written() -> None:
    g = Template("printed")
    x, h, W, b = g.input("x", 3), g.variable("h", 3), g.param("W", (3, 3)), g.param("b", 3)
    h[0] = 0.0
    h[t] = ops.tanh(ops.batch_norm(W @ h[t - 1] + x[t], bias=b))
    g.loss = ops.sum(ops.mse(h[t], x[t]), over=t)
    assert "h[t] = tanh(batch_norm(W @ h[t-1] + x[t], bias=b))" in str(g)
    assert "batch_sum(" in str(g.adjoint())
    assert r"\operatorname{batch\_norm}" in g.latex()


def test_one_statistic_alone_is_refused() -> None:
    g = Template("halves")
    x = g.input("x", 3)
    with pytest.raises(TypeError, match="batch_norm takes both statistics or none; mean= is given, and var= is not"):
        ops.batch_norm(x[t], mean=x[t])
    with pytest.raises(TypeError, match="var= is given, and mean= is not"):
        ops.batch_norm(x[t], var=x[t])
