"""The digital filter of the examples against SciPy's, its gradient against complex steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

signal = pytest.importorskip("scipy.signal")
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
COEFFICIENTS = [(TRUE := (0.2, 0.1, 0.05, -1.1, 0.6)), (1.0, -0.5, 0.25, 0.3, -0.4), (0.3, 0.0, -0.3, -1.9, 0.95)]


@pytest.fixture(scope="module")
def biquad(request: pytest.FixtureRequest):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        return runpy.run_path(str(EXAMPLES / "digital_filter.py"))["biquad"]()


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize("values", COEFFICIENTS)
def test_filter_is_scipys(biquad, backend, values) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    x = np.random.default_rng(0).normal(size=(60 if backend == "reference" else 500, 2))
    params = dict(zip(("b0", "b1", "b2", "a1", "a2"), map(np.array, values), strict=True))
    y = biquad.compile(backend, dtype="float64").run(params, "y", x=x)
    expected = signal.lfilter(values[:3], [1, *values[3:]], x, axis=0)
    assert np.abs(y - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("mode", ["own past", "measured past"])
def test_filter_gradient_is_the_complex_step(biquad, mode) -> None:
    g = biquad if mode == "own past" else biquad.teacher_forced({"y": "measured"})
    x, measured = np.random.default_rng(1).normal(size=(2, 100, 3))
    params = dict(zip(("b0", "b1", "b2", "a1", "a2"), map(np.array, TRUE), strict=True))
    _, grads = g.compile("numpy", dtype="float64").value_and_grad(params, x=x, measured=measured)
    exact = g.compile("numpy", dtype="complex128")
    for name in params:
        nudged = {**params, name: params[name] + 1e-30j}
        step = exact.loss(nudged, x=x, measured=measured).imag / 1e-30
        assert abs(grads[name] - step) <= 1e-12 * max(1.0, abs(step))


def test_teacher_forced_filter_is_a_regression(biquad) -> None:
    """On the measured past the loss is a quadratic form: its minimum is that of least squares, with no gradient."""
    x, measured = np.random.default_rng(2).normal(size=(2, 80, 1))
    back = [
        np.vstack([np.zeros((k, 1)), s[: len(s) - k]])
        for s, k in [(x, 0), (x, 1), (x, 2), (measured, 1), (measured, 2)]
    ]
    best = np.linalg.lstsq(np.hstack(back) * [1, 1, 1, -1, -1], measured[:, 0])[0]
    params = dict(zip(("b0", "b1", "b2", "a1", "a2"), map(np.array, best), strict=True))
    net = biquad.teacher_forced({"y": "measured"}).compile("numpy", dtype="float64")
    _, grads = net.value_and_grad(params, x=x, measured=measured)
    assert max(abs(float(v)) for v in grads.values()) < 1e-12
