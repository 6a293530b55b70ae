"""Hessian-vector products on every backend, as PyTorch has them: of boundaries that are params above all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t

from .test_by_hand import every_backend

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

X = np.array([0.3, -0.4, 0.1, 0.9])
PARAMS = {"w": 0.6, "p": -0.8, "q": 0.7}
ALONG = {"w": 1.0, "p": 0.5, "q": -2.0}
Form = tuple[Callable[..., None], Callable[..., Any]]


def forwards(g: Template, x: Any, w: Any, p: Any, q: Any) -> None:
    h = g.variable("h", ())
    h[0] = p
    h[t] = ops.tanh(w * h[t - 1] + x[t])
    g.loss = ops.sum(q * h[t] * h[t], over=t)


def forwards_by_hand(x: Any, w: Any, p: Any, q: Any) -> Any:
    h, total = p, 0.0
    for value in x:
        h = torch.tanh(w * h + value)
        total = total + q * h * h
    return total


def products(g: Template, x: Any, w: Any, p: Any, q: Any) -> None:
    h = g.variable("h", ())
    h[0], h[-1] = p, q * p
    h[t] = w * h[t - 1] * h[t - 2] + x[t]
    g.loss = ops.sum(h[t], over=t)


def products_by_hand(x: Any, w: Any, p: Any, q: Any) -> Any:
    before, h, total = q * p, p, 0.0
    for value in x:
        before, h = h, w * h * before + value
        total = total + h
    return total


def backwards(g: Template, x: Any, w: Any, p: Any, q: Any) -> None:
    r = g.variable("r", ())
    r[T + 1] = p * p
    r[t] = ops.tanh(w * r[t + 1] + x[t])
    g.loss = q * r[1] * r[T + 1]


def backwards_by_hand(x: Any, w: Any, p: Any, q: Any) -> Any:
    r = p * p
    for value in reversed(x):
        r = torch.tanh(w * r + value)
    return q * r * p * p


def fixed_steps(g: Template, x: Any, w: Any, p: Any, q: Any) -> None:
    h = g.variable("h", ())
    h[0] = p
    h[t] = ops.sin(w * h[t - 1] + x[t])
    g.loss = h[2] * h[0] * q + h[T] ** 3


def fixed_steps_by_hand(x: Any, w: Any, p: Any, q: Any) -> Any:
    h = [p]
    for value in x:
        h.append(torch.sin(w * h[-1] + value))
    return h[2] * h[0] * q + h[-1] ** 3


FORMS: dict[str, Form] = {
    "forwards": (forwards, forwards_by_hand),
    "products": (products, products_by_hand),
    "backwards": (backwards, backwards_by_hand),
    "fixed steps": (fixed_steps, fixed_steps_by_hand),
}


@every_backend
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [2, 4])
def test_along_all_params(steps: int, form: str, backend: str) -> None:
    symbolic, by_hand = FORMS[form]
    g = Template()
    symbolic(g, g.input("x"), *(g.param(n) for n in PARAMS))
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in PARAMS.items()}
    first = torch.autograd.grad(by_hand(X[:steps], **leaves), list(leaves.values()), create_graph=True)
    slope = sum(d * ALONG[n] for n, d in zip(leaves, first, strict=True))
    want = dict(zip(leaves, torch.autograd.grad(slope, list(leaves.values()), allow_unused=True), strict=True))
    net = g.compile(backend, dtype="float64")
    np.testing.assert_allclose(net.jvp(PARAMS, ALONG, x=X[:steps])[1], slope.item(), rtol=1e-12)
    found = net.hessian_vector(PARAMS, ALONG, x=X[:steps])
    for name, value in want.items():
        np.testing.assert_allclose(
            found[name], 0 if value is None else value.item(), rtol=1e-11, atol=1e-13, err_msg=name
        )
