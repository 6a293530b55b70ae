"""Products as einsum spells them: every spec over two letters, and its derivatives, on every backend."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from laws.test_by_hand import every_backend
from unroll import Template, ops, t

SIZES = {"a": 2, "b": 3}
SIDES = ["", "a", "b", "ab", "ba"]
SPECS = [s for s in product(SIDES, SIDES, SIDES) if all(sum(c in side for side in s) != 1 for c in SIZES)]
SPECS = [s for s in SPECS if not "".join(s).startswith("b")]
"""Each letter stands in two places at least, or in none; which of the two comes first is but a name."""


@every_backend
@pytest.mark.parametrize("still", ["left", "right"])
@pytest.mark.parametrize(("i", "j", "out"), SPECS, ids=[f"{i},{j}-{out}" for i, j, out in SPECS])
def test_every_small_einsum(i: str, j: str, out: str, still: str, backend: str, rng: np.random.Generator) -> None:
    """Of a param and an input, which becomes a product by a matrix where it is one."""
    g = Template()
    a, b, out_shape = (tuple(SIZES[c] for c in letters) for letters in (i, j, out))
    left = g.param("left", a) if still == "left" else g.input("left", a)[t]
    right = g.param("right", b) if still == "right" else g.input("right", b)[t]
    y = ops.einsum(f"{i},{j}->{out}", left, right)
    g.output("y", y)
    g.loss = ops.sum(ops.sum(y * g.input("weight", out_shape)[t]), over=t)

    given = {"left": a, "right": b, "weight": out_shape}
    arrays = {n: rng.integers(-3, 4, s if n == still else (4, *s)).astype(float) for n, s in given.items()}
    one, other = ("" if still == "left" else "t") + i, ("" if still == "right" else "t") + j
    net, params = g.compile(backend, dtype="float64"), {still: arrays[still]}
    data = {n: v for n, v in arrays.items() if n != still}
    found = net.run(params, **data)["y"]
    np.testing.assert_array_equal(found, np.einsum(f"{one},{other}->t{out}", arrays["left"], arrays["right"]))
    grads = net.value_and_grad(params, ["left", "right"], **data)[1]
    want = np.einsum(f"t{out},{other}->{one}", arrays["weight"], arrays["right"])
    np.testing.assert_array_equal(grads["left"], want)
    want = np.einsum(f"t{out},{one}->{other}", arrays["weight"], arrays["left"])
    np.testing.assert_array_equal(grads["right"], want)
