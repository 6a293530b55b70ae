"""What a user's program says of floating-point errors is the user's: nothing of ours raises or warns for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.analysis import Model
from unroll.analysis.gradient_flow import flow, gradient_norms
from unroll.optim import Adam, clip, global_norm

backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
TINY, HUGE = np.float32(1e-30), np.float32(3e38)


@pytest.fixture(params=["raise", "warn"])
def strict(request: pytest.FixtureRequest) -> Iterator[None]:
    with np.errstate(all=request.param), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def explosive() -> Template:
    """Overflows, underflows, divides by zero and subtracts infinities, in one place or another."""
    g = Template("explosive")
    x, w, c = g.input("x", 2), g.param("w", 2, init=1.0), np.array([1e-300, 1e300])
    h, p, q = g.variable("h", 2), g.variable("p", 2), g.variable("q", 2)
    h[0] = np.array([1.0, np.inf])
    h[t] = h[t - 1] * w * x[t]
    p[t] = x[t] / (x[t] - x[t]) + ops.exp(x[t] * x[t]) * c
    q[t] = ops.log(x[t] - x[t]) - ops.log(x[t] - x[t]) + ops.minimum(p[t - 1] * x[t], 1e40)
    p[0] = 0
    g.loss = ops.sum(ops.sum(h[t] ** 2 + p[t] * q[t]), over=t)
    return g


@backends
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_call(backend: str, dtype: str, strict: None) -> None:
    net = explosive().compile(backend, dtype=dtype)
    params, x = net.init(seed=0), np.array([[[TINY, HUGE], [HUGE, 2.0]], [[HUGE, TINY], [2.0, TINY]]], dtype)
    direction = {"w": np.array([1e-30, 1e30], dtype)}
    for given in ({"x": x}, {"x": x, "lengths": [2, 1]}, {"x": x[:, 0]}):
        net.run(params, ["h", "p", "q"], **given)
        net.loss(params, **given)
        _, grads = net.value_and_grad(params, ["w", "x", ("h", 1)], **given)
        net.jvp(params, direction, **given)
        net.vjp(params, {"h": np.ones_like(given["x"])}, "w", **given)
        net.hessian_vector(params, direction, **given)
        gradient_norms(net, params, "h", **given)
        assert np.shape(grads["w"]) == (2,)
    stream = net.stream(params, "h")
    stream(x=x)
    net.generate(params, "h", x=x)
    flow(net, params, "h", x=x[:, 0])


def test_initial_values_and_conversions(strict: None) -> None:
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    w = g.param("w", 2, init=[1e-50, 1.0])
    h[t] = x[t] * ops.sum(w)
    net = g.compile("numpy")
    params = net.init()
    assert params["w"].tolist() == [0, 1]
    assert net.run(params, "h", x=[1e-50, 2.0]).tolist() == [0, 2]
    net.run({"w": [1e-60, 1.0]}, "h", x=[1.0])


def test_training(strict: None) -> None:
    params = {"w": np.array([1.0, 2.0], np.float32), "v": np.float32(3)}
    grads = {"w": np.array([TINY, HUGE], np.float32), "v": TINY}
    adam = Adam(0.1)
    for _ in range(3):
        params = adam.update(params, grads)
    assert np.isfinite(global_norm({"v": TINY}))
    global_norm(grads)
    assert clip({"w": np.array([TINY, TINY])}, 1.0)["w"].tolist() == [TINY, TINY]
    clip(grads, 1.0)


@backends
def test_an_infinite_boundary_and_lengths(backend: str, strict: None) -> None:
    g = Template("m")
    x, h, b = g.input("x", 2), g.variable("h", 2), g.variable("b", 2)
    h[0] = np.array([np.inf, 0.0])
    h[t] = ops.minimum(h[t - 1], x[t])
    b[T + 1] = np.array([-np.inf, np.nan])
    b[t] = ops.maximum(b[t + 1], x[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    net = g.compile(backend)
    x_ = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    found = net.run({}, ["h", "b"], x=x_, lengths=[3, 2])
    np.testing.assert_array_equal(found["h"][:2, 1, 0], [2, 2])
    assert not found["h"][2, 1].any()
    net.value_and_grad({}, "x", x=x_, lengths=[3, 2])


def test_probabilities(strict: None) -> None:
    g = Template("walk")
    y = g.input("y")
    y[0] = 0
    m = g.variable("m")
    m[t] = y[t - 1] * 1.0
    net = Model(g, {"y": ("normal", "m", 1.0)}).compile("numpy")
    net.log_prob({}, y=np.array([TINY, HUGE]))
    assert net.sample({}, T=4, seed=1)["y"].shape == (4,)


def several() -> Any:
    g = Template("walk")
    y = g.input("y")
    y[0] = 0
    m = g.variable("m")
    m[t] = y[t - 1] * 0.5
    return Model(g, {"y": ("normal", "m", 1.0)}).unfold(5)


def test_what_is_given_may_be_any_collection() -> None:
    bayes = several()
    want = bayes.independent(("y", 1), ("y", 5), given=[("y", 3), ("y", 2)])
    assert want
    for given in ((("y", 3), ("y", 2)), {("y", 3), ("y", 2)}, frozenset([("y", 3), ("y", 2)]),
                  {("y", 3): 1, ("y", 2): 2}.keys(), (k for k in [("y", 3), ("y", 2)])):  # fmt: skip
        assert set(bayes.independent(("y", 1), ("y", 5), given=given).given) == set(want.given)
    for none in ((), [], set(), {}):
        assert not bayes.independent(("y", 1), ("y", 5), given=none)
    one = bayes.independent(("y", 1), ("y", 5), given=bayes.dag["y", 3])
    assert one.given == bayes.independent(("y", 1), ("y", 5), given=("y", 3)).given
    assert bayes.independent([("y", 1)], (("y", 4), ("y", 5)), given=("y", 3))
    assert bayes.separator({("y", 1)}, (("y", 5),))
