"""Missing data and samples given a past, in the text that a GPU would run."""

import numpy as np

from unroll import Template, ops, t
from unroll.analysis import Model


def test_missing_data(emulated):
    g = Template("gaps")
    y, z, a = g.input("y", 2), g.variable("z", 2), g.param("a", 2)
    z[0] = 0
    z[t] = ops.observed(y[t], a * z[t - 1])
    g.loss = ops.sum(ops.sum((z[t] - a * z[t - 1]) ** 2), over=t)
    y = np.array([[[1.0, np.nan]], [[np.nan, 2.0]], [[0.5, np.inf]]])
    params = {"a": np.array([0.5, -0.7])}
    wanted, found = (g.compile(b, dtype="float64").value_and_grad(params, y=y) for b in ("reference", emulated))
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-13)
    np.testing.assert_allclose(found[1]["a"], wanted[1]["a"], rtol=1e-13)
    assert np.isfinite(wanted[1]["a"]).all()


def test_a_sample_given_a_past(cuda):
    g = Template("walk")
    y, E = g.variable("y", (), dtype="int"), g.param("E", (3, 3))
    y[0] = 0
    y[t] = ops.categorical(E[y[t - 1]])
    params = {"E": np.random.default_rng(0).normal(size=(3, 3))}
    given = {"T": 5, "batch": 4, "seed": 1, "observed": {"y": [2, 1]}}
    wanted, found = (Model(g).compile(b, dtype="float64").sample(params, **given) for b in ("reference", "cupy"))
    assert np.array_equal(found["y"], wanted["y"])
    assert (found["y"][:2].T == [2, 1]).all()
