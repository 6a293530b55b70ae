"""Two things a training loop needs beside gradients: Adam, and clipping by the global norm. Works on any array type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..ops.integers import real
from ..runtime.initializers import quiet
from ..types import Array

Params = Mapping[str, Any]


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1): ``params = adam.update(params, grads)``.

    rate  of learning, a number, NumPy's too, which may be set before any update: ``adam.rate = 1e-4``

    Returns new arrays; neither params nor grads are changed. A param keeps its dtype, whatever the numbers and the
    gradients come in. The state lives in `m`, `v` and `steps`. An update raises ValueError where one of the four is no
    number.

    >>> adam = Adam(0.1)
    >>> adam.update({"w": 1.0}, {"w": 2.0})["w"]
    0.9000000005
    """

    def __init__(self, rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.rate, self.beta1, self.beta2, self.eps = rate, beta1, beta2, eps
        self.m: dict[str, Any] = {}
        self.v: dict[str, Any] = {}
        self.steps = 0

    def update(self, params: Params, grads: Params) -> dict[str, Any]:
        """The params after one step against the gradients; a param without a gradient stays as it is."""
        rate, beta1, beta2, eps = (_number(n, getattr(self, n)) for n in ("rate", "beta1", "beta2", "eps"))
        self.steps += 1
        unbias1, unbias2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        moved = dict(params)
        with quiet():
            for name, given in grads.items():
                param = params[name]
                g = _like(param, given)
                m = self.m[name] = beta1 * self.m.get(name, 0.0) + (1 - beta1) * g
                v = self.v[name] = beta2 * self.v.get(name, 0.0) + (1 - beta2) * g * g
                moved[name] = _like(param, param - rate * (m / unbias1) / ((v / unbias2) ** 0.5 + eps))
        return moved


def _number(name: str, value: object) -> float:
    """Python's own float, beside which an array keeps its dtype: a float64 of NumPy's would give it its own."""
    number = real(value)
    if number is None:
        raise ValueError(f"{name} is a number; got {value!r}")
    return number


def _like(param: Array, array: Array) -> Array:
    """An array in the dtype of a param of floats."""
    dtype = getattr(param, "dtype", None)
    same = getattr(array, "dtype", dtype) == dtype or getattr(dtype, "kind", "") not in ("f", "c")
    return array if same else array.astype(dtype)


def global_norm(grads: Params) -> float:
    """The Euclidean norm of all gradients together."""
    with quiet():
        return math.sqrt(sum(float((abs(g) ** 2).sum()) for g in grads.values()))


def clip(grads: Params, norm: float) -> dict[str, Any]:
    """The gradients scaled down to a global norm of at most `norm` (book section 10.11.1, Pascanu et al. 2013).

    norm  a number, NumPy's too: a gradient keeps its dtype

    Raises ValueError for a norm below 0.
    """
    most = _number("norm", norm)
    if not most >= 0:
        raise ValueError(f"gradients are clipped to a norm from 0 up; got {norm!r}")
    scale = min(1.0, most / max(global_norm(grads), 1e-30))
    with quiet():
        return {name: g * scale if scale < 1.0 else g for name, g in grads.items()}
