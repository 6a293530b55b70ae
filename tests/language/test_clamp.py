"""Instances set from outside, in recurrences of either direction, with other lengths and with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.errors import DoubleDefinitionError, LengthError

backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])


def leftwards() -> Template:
    """Two delays from right to left beside one from left to right."""
    g = Template("leftwards")
    x, w, h, r, o = g.input("x"), g.param("w", init=0.5), g.variable("h", ()), g.variable("r", ()), g.variable("o", ())
    h[0] = 0
    h[t] = ops.tanh(w * h[t - 1] + x[t])
    r[T + 1] = 1
    r[T + 2] = 2
    r[t] = ops.tanh(w * r[t + 1] - 0.25 * r[t + 2] + x[t])
    o[t] = h[t] * r[t]
    g.loss = ops.sum(o[t] ** 2, over=t) + r[1]
    return g


def by_hand(x: Any, w: float, clamp: dict[int, float]) -> Any:
    r = {len(x) + 1: 1.0, len(x) + 2: 2.0}
    for k in range(len(x), 0, -1):
        r[k] = clamp[k] if k in clamp else np.tanh(w * r[k + 1] - 0.25 * r[k + 2] + x[k - 1])
    return np.array([r[k] for k in range(1, len(x) + 1)])


@backends
@pytest.mark.parametrize("steps", [(1,), (3,), (5,), (2, 3), (1, 5)], ids=str)
def test_from_right_to_left(backend: str, steps: tuple[int, ...], rng: np.random.Generator) -> None:
    net = leftwards().compile(backend, dtype="float64")
    params = net.init()
    x = rng.normal(size=5)
    clamp = {("r", k): 0.1 * k for k in steps}
    found = net.run(params, "r", x=x, clamp=clamp)
    np.testing.assert_allclose(found, by_hand(x, 0.5, {k: 0.1 * k for k in steps}), rtol=1e-12)
    loss, grads = net.value_and_grad(params, ["w", ("r", steps[0]), "x"], x=x, clamp=clamp)
    for name, at in (("w", None), ("x", 4), ("x", 0)):
        ends = []
        for e in (1e-6, -1e-6):
            moved = x + (e * (np.arange(5) == at) if name == "x" else 0)
            w = {"w": params["w"] + (e if name == "w" else 0)}
            ends.append(net.loss(w, x=moved, clamp=clamp) if backend == "reference" else None)
        if ends[0] is not None:
            want = (ends[0] - ends[1]) / 2e-6
            assert (grads[name] if at is None else grads[name][at]) == pytest.approx(want, abs=1e-7)
    if backend != "reference":
        same = leftwards().compile("reference", dtype="float64")
        want_loss, want = same.value_and_grad(params, ["w", ("r", steps[0]), "x"], x=x, clamp=clamp)
        assert loss == pytest.approx(want_loss)
        for name, value in want.items():
            np.testing.assert_allclose(grads[name], value, atol=1e-12)


@backends
def test_other_lengths(backend: str) -> None:
    net = leftwards().compile(backend, dtype="float64")
    params, x = net.init(), np.arange(8.0).reshape(4, 2) / 8
    found = net.run(params, "r", x=x, clamp={("r", 3): [0.3, 0.6]}, lengths=[4, 3])
    np.testing.assert_allclose(found[:, 0], by_hand(x[:, 0], 0.5, {3: 0.3}))
    np.testing.assert_allclose(found[:3, 1], by_hand(x[:3, 1], 0.5, {3: 0.6}))
    with pytest.raises(LengthError, match=r"r\[3\] is set, and at T = 2 it lies after the last step"):
        net.run(params, "r", x=x[:2], clamp={("r", 3): [0.3, 0.6]})
    with pytest.raises(LengthError, match=r"example 1: r\[3\] is set, and at T = 2"):
        net.run(params, "r", x=x, clamp={("r", 3): [0.3, 0.6]}, lengths=[4, 2])


def test_what_may_meet_is_still_refused() -> None:
    g = Template("m")
    h = g.variable("h", ())
    h[T + 1] = 0
    h[0] = 1
    h[t] = h[t - 1]
    assert g.unfold(3)
    system = leftwards().clamped(("r", 3)).system
    twice = [e for e in system.equations if str(e.out) == "r[3]"]
    from dataclasses import replace

    from unroll.language.validate import check

    with pytest.raises(DoubleDefinitionError):
        check(replace(system, equations=(*system.equations, *twice)))
