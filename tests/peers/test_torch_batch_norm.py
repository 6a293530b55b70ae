"""PyTorch as judge of batch normalisation inside a recurrence: statistics of each step, lengths, and running ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'unroll-graph[peers]'")

STEPS, BATCH, IN, UNITS = 5, 6, 3, 4
BACKENDS = ["reference", "numpy", "native"]


def network(running: bool = False) -> Template:
    """A recurrent network as Cooijmans et al. (2016) normalise it; with statistics that are given where `running`."""
    g = Template("normalised")
    x, y, h = g.input("x", IN), g.input("y", UNITS), g.variable("h", UNITS)
    W, U, b = g.param("W", (UNITS, UNITS)), g.param("U", (UNITS, IN)), g.param("b", UNITS)
    gains = g.param("gain_h", UNITS), g.param("gain_x", UNITS)
    h[0] = 0.0
    parts = []
    for name, gain, a in zip("hx", gains, (W @ h[t - 1], U @ x[t]), strict=True):
        if running:
            mean, var = g.input(f"mean_{name}", UNITS)[t], g.input(f"var_{name}", UNITS)[t]
        else:
            mean = ops.batch_mean(a)
            var = ops.batch_mean((a - mean) ** 2)
            g.output(f"mean_{name}", mean)
            g.output(f"var_{name}", var)
        parts.append(ops.batch_norm(a, gain, mean=mean, var=var))
    h[t] = ops.tanh(parts[0] + parts[1] + b)
    g.output("h", h[t])
    g.loss = ops.sum(ops.mse(h[t], y[t]), over=t)
    return g


def data(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    params = {"W": (UNITS, UNITS), "U": (UNITS, IN), "b": UNITS, "gain_h": UNITS, "gain_x": UNITS}
    arrays = {"x": (STEPS, BATCH, IN), "y": (STEPS, BATCH, UNITS)}
    return tuple({n: rng.normal(size=s) for n, s in some.items()} for some in (params, arrays))  # type: ignore[return-value]


def stepwise(params: dict[str, Any], x: Any, norms: list[dict[str, Any]]) -> Any:
    """The hidden units of every step, normalised by modules of PyTorch's."""
    h, found = torch.zeros(x.shape[1], UNITS, dtype=torch.float64), []
    for step, norm in zip(x, norms, strict=True):
        a = norm["h"](h @ params["W"].T) * params["gain_h"] + norm["x"](step @ params["U"].T) * params["gain_x"]
        h = torch.tanh(a + params["b"])
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_gradients_and_running_statistics(backend: str, rng: np.random.Generator) -> None:
    params, arrays = data(rng)
    theirs = {n: torch.tensor(p, requires_grad=True) for n, p in params.items()}
    x, y = torch.tensor(arrays["x"]), torch.tensor(arrays["y"])
    make = lambda: torch.nn.BatchNorm1d(UNITS, affine=False, momentum=1.0, dtype=torch.float64)  # noqa: E731
    norms = [{"h": make(), "x": make()} for _ in range(STEPS)]
    values = stepwise(theirs, x, norms)
    loss = ((values - y) ** 2).mean(2).sum(0).mean()
    loss.backward()

    net = network().compile(backend=backend, dtype="float64")
    ours, grads = net.value_and_grad(params, **arrays)
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    for name, p in theirs.items():
        np.testing.assert_allclose(grads[name], p.grad.numpy(), rtol=1e-9, atol=1e-12)
    names = ("h", "mean_h", "var_h", "mean_x", "var_x")
    h, *statistics = net.run(params, list(names), **arrays).values()
    np.testing.assert_allclose(h, values.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert [s.shape for s in statistics] == [(STEPS, UNITS)] * 4
    for name, got in zip(names[1:], statistics, strict=True):
        kind, _, part = name.partition("_")
        want = np.stack([getattr(norm[part], f"running_{kind}").numpy() for norm in norms])
        np.testing.assert_allclose(got * (BATCH / (BATCH - 1) if kind == "var" else 1), want, rtol=1e-10, atol=1e-12)

    for norm in norms:
        norm["h"].eval(), norm["x"].eval()
    given = {
        f"{kind}_{part}": np.stack([np.tile(getattr(n[part], f"running_{kind}"), (BATCH, 1)) for n in norms])
        for part in "hx"
        for kind in ("mean", "var")
    }
    trained = network(running=True).compile(backend=backend, dtype="float64")
    np.testing.assert_allclose(
        trained.run(params, "h", **arrays, **given), stepwise(theirs, x, norms).detach(), rtol=1e-10, atol=1e-12
    )


def masked(params: dict[str, Any], x: Any, y: Any, lengths: Any) -> Any:
    """The loss of examples of different lengths, each step normalised over the examples that have it."""
    h, loss = torch.zeros(x.shape[1], UNITS, dtype=torch.float64), 0.0
    for k in range(max(lengths)):
        here = torch.tensor([n > k for n in lengths])
        a = params["b"]
        for part, value in (("h", h @ params["W"].T), ("x", x[k] @ params["U"].T)):
            mean = value[here].mean(0)
            var = ((value[here] - mean) ** 2).mean(0)
            a = a + (value - mean) / torch.sqrt(var + 1e-5) * params[f"gain_{part}"]
        h = torch.where(here[:, None], torch.tanh(a), h)
        loss = loss + torch.where(here, ((h - y[k]) ** 2).mean(1), 0.0).sum()
    return loss / len(lengths)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", [(5, 2, 4, 1, 5, 3), (2, 1, 2, 2, 1, 1), (5, 1, 1, 1, 1, 1)])
def test_examples_that_lack_a_step_do_not_count(
    backend: str, lengths: tuple[int, ...], rng: np.random.Generator
) -> None:
    params, arrays = data(rng)
    for k, n in enumerate(lengths):
        arrays["x"][n:, k] = np.nan  # whatever the padding holds
    theirs = {n: torch.tensor(p, requires_grad=True) for n, p in params.items()}
    want = masked(theirs, torch.tensor(np.nan_to_num(arrays["x"])), torch.tensor(arrays["y"]), lengths)
    want.backward()
    ours, grads = network().compile(backend=backend, dtype="float64").value_and_grad(params, lengths=lengths, **arrays)
    assert ours == pytest.approx(want.item(), rel=1e-12)
    for name, p in theirs.items():
        np.testing.assert_allclose(grads[name], p.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives(backend: str, rng: np.random.Generator) -> None:
    params, arrays = data(rng)
    along = {n: rng.normal(size=p.shape) for n, p in params.items()}
    theirs = {n: torch.tensor(p, requires_grad=True) for n, p in params.items()}
    lengths = [STEPS] * BATCH
    loss = masked(theirs, torch.tensor(arrays["x"]), torch.tensor(arrays["y"]), lengths)
    grads = torch.autograd.grad(loss, list(theirs.values()), create_graph=True)
    inner = sum((g * torch.tensor(v)).sum() for g, v in zip(grads, along.values(), strict=True))
    want = torch.autograd.grad(inner, list(theirs.values()))
    got = network().compile(backend=backend, dtype="float64").hessian_vector(params, along, **arrays)
    for name, w in zip(theirs, want, strict=True):
        np.testing.assert_allclose(got[name], w.numpy(), rtol=1e-8, atol=1e-10)
