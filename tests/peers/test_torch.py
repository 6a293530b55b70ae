"""PyTorch as the judge: the same recurrences written as loops over tensors, differentiated by its autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.templates import elman

from unroll import T, Template, ops, t

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

BATCH, IN, HIDDEN, OUT = 3, 4, 5, 6


def labelled() -> Template:
    return elman(IN, HIDDEN, OUT)


def torch_elman(p: dict[str, Any], x: Any, y: Any) -> Any:
    h, loss = torch.zeros(BATCH, HIDDEN, dtype=torch.float64), 0.0
    for step in range(len(x)):
        h = torch.tanh(p["b"] + h @ p["W"].T + x[step] @ p["U"].T)
        loss = loss + torch.nn.functional.cross_entropy(p["c"] + h @ p["V"].T, y[step])
    return loss


def two_delays() -> Template:
    g = Template("two_delays")
    x, y = g.input("x", IN), g.input("y", dtype="int")
    W1, W2 = g.param("W1", (HIDDEN, HIDDEN)), g.param("W2", (HIDDEN, HIDDEN))
    U0, U1 = g.param("U0", (HIDDEN, IN)), g.param("U1", (HIDDEN, IN))
    V, first, second = g.param("V", (OUT, HIDDEN)), g.param("first", HIDDEN), g.param("second", HIDDEN)
    h = g.variable("h", HIDDEN)
    x[0] = 0
    h[0], h[-1] = first, second
    h[t] = ops.tanh(W1 @ h[t - 1] + W2 @ h[t - 2] + U0 @ x[t] + U1 @ x[t - 1])
    g.loss = ops.sum(ops.cross_entropy(V @ h[t], y[t]), over=t)
    return g


def torch_two_delays(p: dict[str, Any], x: Any, y: Any) -> Any:
    earlier, last = p["second"].expand(BATCH, -1), p["first"].expand(BATCH, -1)
    before, loss = torch.zeros(BATCH, IN, dtype=torch.float64), 0.0
    for step in range(len(x)):
        total = last @ p["W1"].T + earlier @ p["W2"].T + x[step] @ p["U0"].T + before @ p["U1"].T
        earlier, last, before = last, torch.tanh(total), x[step]
        loss = loss + torch.nn.functional.cross_entropy(last @ p["V"].T, y[step])
    return loss


def bidirectional() -> Template:
    g = Template("bidirectional")
    x, y = g.input("x", IN), g.input("y", dtype="int")
    W, U = g.param("W", (HIDDEN, HIDDEN)), g.param("U", (HIDDEN, IN))
    R, Q = g.param("R", (HIDDEN, HIDDEN)), g.param("Q", (HIDDEN, IN))
    V = g.param("V", (OUT, 2 * HIDDEN))
    h, r = g.variable("h", HIDDEN), g.variable("r", HIDDEN)
    h[0] = 0
    r[T + 1] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    r[t] = ops.tanh(R @ r[t + 1] + Q @ x[t])
    g.loss = ops.sum(ops.cross_entropy(V @ ops.concat([h[t], r[t]]), y[t]), over=t)
    return g


def torch_bidirectional(p: dict[str, Any], x: Any, y: Any) -> Any:
    zero = torch.zeros(BATCH, HIDDEN, dtype=torch.float64)
    forward, h = [], zero
    for step in range(len(x)):
        h = torch.tanh(h @ p["W"].T + x[step] @ p["U"].T)
        forward.append(h)
    backward, r = [], zero
    for step in reversed(range(len(x))):
        r = torch.tanh(r @ p["R"].T + x[step] @ p["Q"].T)
        backward.insert(0, r)
    loss = 0.0
    for step, (a, b) in enumerate(zip(forward, backward, strict=True)):
        loss = loss + torch.nn.functional.cross_entropy(torch.cat([a, b], dim=1) @ p["V"].T, y[step])
    return loss


PAIRS = [
    (labelled, torch_elman),
    (two_delays, torch_two_delays),
    (bidirectional, torch_bidirectional),
]


@pytest.mark.parametrize(("make", "judge"), PAIRS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_gradients_equal_autograd(make: Callable[[], Template], judge: Callable[..., Any], backend: str) -> None:
    net = make().compile(backend=backend, dtype="float64")
    rng = np.random.default_rng(0)
    worst = 0.0
    for steps in range(1, 51) if backend == "numpy" else (1, 2, 5):
        params = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in net.init(seed=steps).items()}
        x, y = rng.normal(size=(steps, BATCH, IN)), rng.integers(0, OUT, (steps, BATCH))
        loss, grads = net.value_and_grad(params, x=x, y=y)
        leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
        expected = judge(leaves, torch.tensor(x), torch.tensor(y))
        expected.backward()
        assert abs(loss - expected.item()) < 1e-10 * steps
        for name, leaf in leaves.items():
            worst = max(worst, float(np.abs(grads[name] - leaf.grad.numpy()).max()))
    assert worst < 1e-10
