"""Without dropout: a mask is its mean, an array of ones in the mask's own shape, wherever it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t

BACKENDS = ("reference", "numpy", "native")
X = np.random.default_rng(0).normal(size=(4, 3, 2))
W = np.array([[1.0, 2.0], [3.0, 4.0]])
ONES = np.ones((4, 3, 2))


def held(g: Template, x: Any, m: Any) -> Any:
    """Zoneout."""
    h = g.variable("h", 2)
    h[0] = 0.5
    h[t] = h[t - 1] + 0.8 * ops.keep(h[t - 1], 0.2) * (x[t] - h[t - 1])
    return h[T]


def zoneout() -> np.ndarray:
    h = np.full((3, 2), 0.5)
    for x in X:
        h = h + 0.8 * (x - h)
    return h


PLACES: dict[str, tuple[Any, Any]] = {
    "product": (lambda g, x, m: g.param("W", (2, 2)) @ ops.keep(x[t], 0.5), ONES @ W.T),
    "sum": (lambda g, x, m: ops.sum(m[t]) * x[t], 2 * X),
    "slice": (lambda g, x, m: m[t][0:1] + x[t], 1 + X),
    "concat": (lambda g, x, m: ops.concat([ops.keep(x[t], 0.5), x[t]]), np.concatenate([ONES, X], -1)),
    "einsum": (lambda g, x, m: ops.einsum("i,i->", m[t], ops.keep(x[t], 0.5)), 2 * ONES[..., 0]),
    "alone": (lambda g, x, m: m[t], ONES),
    "over time": (lambda g, x, m: ops.sum(ops.keep(x[t], 0.5), over=t), 4 * ONES[0]),
    "of a number": (lambda g, x, m: ops.keep(x[t][0], 0.5) * x[t], X),
    "dropout": (lambda g, x, m: ops.dropout(x[t], 0.5, over=None), X),
    "zoneout": (held, zoneout()),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_mask_is_replaced_by_ones(backend: str, place: str) -> None:
    make, want = PLACES[place]
    g = Template("masked")
    x, m = g.input("x", 2), g.variable("m", 2)
    m[t] = ops.keep(x[t], 0.5)
    g.output("y", make(g, x, m))
    made = g.inference()
    assert not [d for d in made.system.decls.values() if d.automatic]
    params = {"W": W} if place == "product" else {}
    np.testing.assert_allclose(made.compile(backend, dtype="float64").run(params, "y", x=X), want, rtol=1e-14)


def test_what_is_drawn_besides_is_drawn_as_before() -> None:
    g = Template("both")
    x = g.input("x", 2)
    g.output("y", ops.normal(ops.dropout(0 * x[t], 0.5), 1.0))
    drawn = [made.compile("numpy", dtype="float64").run({}, "y", x=X, seed=5) for made in (g, g.inference())]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["before", "h", "after"])
def test_variables_of_equal_equations_stay_apart(name: str, backend: str) -> None:
    """What is set afterwards is that variable alone, and h alone is read."""
    g = Template()
    x, before, h, after = g.input("x"), g.variable("before", ()), g.variable("h", ()), g.variable("after", ())
    h[0] = 0
    before[t] = h[t] = after[t] = 0.5 * h[t - 1] + x[t]
    net = g.inference().compile(backend, dtype="float64")
    found = net.run({}, ["before", "h", "after"], x=np.ones(2), clamp={(name, 1): np.array(8.0)})
    second = 5.0 if name == "h" else 1.5
    for other, value in found.items():
        np.testing.assert_array_equal(value, [8.0 if other == name else 1.0, second])
