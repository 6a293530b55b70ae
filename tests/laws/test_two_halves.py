"""Law: `Net.forward` and the backward pass from there give what `Net.vjp` gives, and what PyTorch does."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from unroll import Net, T, Template, cells, ops, t
from unroll.errors import ArrayError, LengthError, UndefinedError

BACKENDS = ("reference", "numpy", "native")
OTHERS = [(name, backend) for name in list(ZOO)[::5] for backend in ("reference", "native")]


@cache
def template(name: str) -> Template:
    return ZOO[name]()


def floats(g: Template) -> list[str]:
    return [n for n, d in g.system.decls.items() if d.kind == "variable" and d.dtype == "float"]


def same(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-10, err_msg=str(name))


@pytest.mark.parametrize(
    ("name", "backend", "steps"),
    [*((name, "numpy", 5) for name in ZOO), *((name, b, steps) for name, b in OTHERS for steps in (1, 6))],
)
def test_both_halves_are_vjp(name: str, backend: str, steps: int) -> None:
    g, rng = template(name), np.random.default_rng(5)
    names = floats(g)
    net = g.compile(backend, dtype="float64")
    params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, steps), 2, rng)
    values, backward = net.forward(params, names, **arrays)
    for _ in range(2):
        cotangents = {n: rng.normal(size=values[n].shape) for n in names}
        want, grads = net.vjp(params, cotangents, **arrays)
        same(values, want)
        same(backward(cotangents), grads)


@pytest.mark.parametrize(("name", "backend"), [*((name, "numpy") for name in list(ZOO)[1::2]), *OTHERS])
def test_each_example_has_its_length(name: str, backend: str) -> None:
    g, rng = template(name), np.random.default_rng(6)
    lengths = {end: [3, 5] for end in lengths_for(g, 5)}
    names, net = floats(g), g.compile(backend, dtype="float64")
    params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, 5), 2, rng)
    want = net.run(params, names, lengths=lengths, **arrays)
    cotangents = {n: rng.normal(size=want[n].shape) for n in names}
    want, grads = net.vjp(params, cotangents, lengths=lengths, **arrays)
    values, backward = net.forward(params, names, lengths=lengths, **arrays)
    same(values, want)
    same(backward(cotangents), grads)


def lstm(backend: str = "native", **options: Any) -> Net:
    g = Template("lstm")
    h, _ = cells.layer(g, cells.lstm, g.input("x", 3)[t], 4, name="h")
    g.output("end", ops.tanh(h[T]))
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g.compile(backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_between_layers_of_torch(backend: str) -> None:
    """What a bridge does: torch has the first and the last layer, and gives and takes the cotangents."""
    torch = pytest.importorskip("torch")
    net, rng = lstm(backend, dtype="float64"), np.random.default_rng(0)
    params = net.init(seed=0)
    x = torch.tensor(rng.normal(size=(6, 2, 3)), requires_grad=True)
    inside = torch.tanh(x)
    h, backward = net.forward(params, "h", wrt=["x", *params], x=inside.detach().numpy())
    out = torch.tensor(h, requires_grad=True)
    (out**3).sum().backward()
    grads = backward(out.grad.numpy())
    inside.backward(torch.from_numpy(grads["x"]))

    cell = torch.nn.LSTM(3, 4, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in (("W", "weight_hh_l0"), ("U", "weight_ih_l0"), ("b", "bias_hh_l0")):
            getattr(cell, theirs).copy_(torch.from_numpy(np.concatenate([params[f"{ours}{k}_h"] for k in "ifgo"])))
        cell.bias_ih_l0.zero_()
    other = x.detach().clone().requires_grad_(True)
    (cell(torch.tanh(other))[0] ** 3).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)
    for ours, theirs in (("W", cell.weight_hh_l0), ("U", cell.weight_ih_l0), ("b", cell.bias_hh_l0)):
        found = np.concatenate([grads[f"{ours}{k}_h"] for k in "ifgo"])
        np.testing.assert_allclose(found, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [0, 1, 40])
def test_the_loss_has_the_gradient_of_value_and_grad(backend: str, steps: int) -> None:
    net, x = lstm(backend), np.random.default_rng(0).normal(size=(steps, 3, 3)).astype(np.float32)
    params = net.init(seed=0)
    value, grads = net.value_and_grad(params, x=x)
    loss, backward = net.forward(params, "loss", x=x)
    np.testing.assert_allclose(loss.mean(), value, rtol=1e-6)
    for name, found in backward(np.full(3, 1 / 3, np.float32)).items():
        np.testing.assert_allclose(found, grads[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_the_users_is_needed_afterwards(backend: str) -> None:
    """Params, inputs and results may change between the passes, and other runs may come; a second call is as good."""
    net, rng = lstm(backend, dtype="float64"), np.random.default_rng(0)
    params, x = net.init(seed=0), rng.normal(size=(5, 2, 3))
    cotangent = rng.normal(size=(5, 2, 4))
    _, want = net.vjp(params, {"h": cotangent}, x=x)
    h, backward = net.forward(params, "h", x=x)
    for array in (h, x, *params.values()):
        array[...] = 7
    net.forward(params, "h", x=x)
    net.value_and_grad(params, x=x)
    for _ in range(2):
        found = backward(cotangent)
        same(found, want)
        for array in found.values():
            array[...] = 7
    same(backward({"h": 2 * cotangent}), {n: 2 * v for n, v in want.items()})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_layouts_are_those_of_run(backend: str, batch_first: bool) -> None:
    net, rng = lstm(backend, dtype="float64", batch_first=batch_first), np.random.default_rng(0)
    params, x = net.init(seed=0), rng.normal(size=(2, 5, 3))
    values, backward = net.forward(params, ["h", "end"], wrt=["x", ("h", 2)], x=x)
    cotangents = {n: rng.normal(size=v.shape) for n, v in values.items()}
    same(backward(cotangents), net.vjp(params, cotangents, ["x", ("h", 2)], x=x)[1])
    none = {"h": cotangents["h"], "end": 0 * cotangents["end"]}
    same(backward({"h": cotangents["h"]}), net.vjp(params, none, ["x", ("h", 2)], x=x)[1])  # what is left out is 0
    single, backward = net.forward(params, "h", wrt="x", x=x[0])
    assert single.shape == (5, 4)
    same(backward(single), net.vjp(params, {"h": single}, "x", x=x[0])[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_passes_see_the_same_draws(backend: str) -> None:
    g = Template("noisy")
    h = cells.layer(g, cells.gru, g.input("x", 3)[t], 4, name="h", dropout=0.4, recurrent_dropout=0.4)
    y = g.variable("y", 4)
    y[t] = h[t] * ops.normal(h[t], 0.5)
    net, rng = g.compile(backend, dtype="float64"), np.random.default_rng(0)
    params, x = net.init(seed=0), rng.normal(size=(5, 2, 3))
    cotangent = rng.normal(size=(5, 2, 4))
    values, want = net.vjp(params, {"y": cotangent}, x=x, seed=3)
    found, backward = net.forward(params, "y", x=x, seed=3)
    np.testing.assert_allclose(found, values["y"], rtol=1e-10)
    same(backward(cotangent), want)
    found, backward = net.forward(params, "y", x=x, seed=np.random.default_rng(3))
    _, want = net.vjp(params, {"y": cotangent}, x=x, seed=np.random.default_rng(3))
    same(backward(cotangent), want)


def test_lists_of_examples_are_padded() -> None:
    net, rng = lstm("numpy", dtype="float64"), np.random.default_rng(0)
    params, xs = net.init(seed=0), [rng.normal(size=(n, 3)) for n in (4, 2)]
    cotangents = [rng.normal(size=(n, 4)) for n in (4, 2)]
    _, want = net.vjp(params, {"h": cotangents}, ["x", "Wf_h"], x=xs)
    _, backward = net.forward(params, ["h"], ["x", "Wf_h"], x=xs)
    same(backward({"h": cotangents}), want)


def test_misfits_are_named() -> None:
    net, x = lstm("numpy"), np.zeros((5, 2, 3), np.float32)
    params = net.init(seed=0)
    h, backward = net.forward(params, "h", x=x)
    assert repr(backward).startswith("<Pullback of h by ")
    with pytest.raises(LengthError, match="T = 5 was given, and seed of h has 4 steps"):
        backward(h[:4])
    with pytest.raises(ArrayError, match=r"of h has shape \(5, 2, 3\), expected \(T, B, 4\)"):
        backward(x)
    with pytest.raises(UndefinedError, match="there is no cotangent of 'c_h': the forward pass returned h"):
        backward({"c_h": h})
    values, backward = net.forward(params, ["h", "end"], x=x)
    with pytest.raises(ArrayError, match="cotangents are a dict by name, of end, h"):
        backward(values["h"])
    with pytest.raises(UndefinedError, match="whole variables, by name"):
        net.forward(params, ("h", 2), x=x)
