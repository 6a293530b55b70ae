"""Functions written from operations against PyTorch: values, first and second derivatives, on every backend at once."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from helpers.composites import COMPOSITES, all_of_them
from helpers.eager import Eager, pullback

from unroll import ops

torch = pytest.importorskip("torch")
BACKENDS = ["numpy", "reference", *(["native"] if importlib.util.find_spec("llvmlite") else [])]
TOLERANCE = 1e-12
TRIGAMMA = {"poisson": 1e-9, "student": 1e-9}
"""PyTorch's trigamma has no more digits; ours is held to 40-digit arithmetic in tests/ops/test_special.py."""


def close(got: Any, want: Any, what: str, tolerance: float = TOLERANCE) -> None:
    size = max(1, np.max(np.abs(want), initial=0))
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size, err_msg=what)


@pytest.mark.parametrize("name", COMPOSITES)
def test_a_function_is_what_pytorch_computes(name: str, rng: np.random.Generator) -> None:
    """Its value, its derivative in a random direction, and the derivative of that."""
    ours, theirs, draws = COMPOSITES[name]
    arrays = [draw(rng) for draw in draws]
    symbols = [Eager(a) for a in arrays]
    y = ours(*symbols)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    z = theirs(torch, *tensors)
    close(y.value, z.detach().numpy(), name)
    g = rng.standard_normal(y.shape)
    first = pullback(y, g, symbols)
    if not z.requires_grad:
        assert all(not d.value.any() for d in first)
        return
    wanted = torch.autograd.grad(z, tensors, torch.tensor(g), create_graph=True)
    along = [rng.standard_normal(a.shape) for a in arrays]
    for d, w in zip(first, wanted, strict=True):
        close(d.value, w.detach().numpy(), f"derivative of {name}")
    slope = sum((ops.sum(d * u) for d, u in zip(first, along, strict=True)), start=0.0)
    second = pullback(slope, np.ones(()), symbols)
    total = sum((w * torch.tensor(u)).sum() for w, u in zip(wanted, along, strict=True))
    again = torch.autograd.grad(total, tensors, allow_unused=True) if total.requires_grad else [None] * len(tensors)
    for d, w, a in zip(second, again, arrays, strict=True):
        want = np.zeros_like(a) if w is None else w.numpy()
        kept = np.isfinite(want)  # PyTorch's is nan where an exponential underflows, and that of a root at 0
        assert np.isfinite(d.value).all()
        close(d.value[kept], want[kept], f"second derivative of {name}", TRIGAMMA.get(name, TOLERANCE))


def test_on_every_backend(rng: np.random.Generator) -> None:
    g, arrays = all_of_them(rng)
    outputs, floats = tuple(g.system.outputs), [n for n, a in arrays.items() if a.dtype.kind == "f"]
    for backend in BACKENDS:
        net = g.compile(backend, dtype="float64")
        found = net.run({}, outputs, **arrays)
        _, grads = net.value_and_grad({}, wrt=floats, **arrays)
        for number, (name, (_, theirs, draws)) in enumerate(COMPOSITES.items()):
            names = [f"x{number}_{n}" for n in range(len(draws))]
            for at in np.ndindex(2, 2):
                tensors = [torch.tensor(arrays[n][at], requires_grad=n in floats) for n in names]
                want = theirs(torch, *tensors)
                close(found[f"y{number}"][at], want.detach().numpy(), f"{name} on {backend}")
                if want.requires_grad:
                    torch.sin(want).sum().backward()
                for n, x in zip(names, tensors, strict=True):
                    if x.requires_grad:
                        slope = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
                        close(grads[n][at] * 2, slope, f"derivative of {name} on {backend}")
