"""Templates, nets, streams and models as values: pickled, copied, and sent to other processes."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO

from unroll import Template, Variable, ops, t
from unroll.analysis import Model
from unroll.errors import TemplateError, UndefinedError
from unroll.runtime import initializers

backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
X = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)


def small() -> Template:
    g = Template("small")
    x, W, b = g.input("x", 3), g.param("W", (3, 3), "orthogonal"), g.param("b", 3, [1.0, 2.0, 3.0])
    v = g.param("v", 3, initializers.normal(0.5, 1.0))
    h = g.variable("h", 3)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + b + v * x[t] + np.array([1.0, 0.0, -1.0]))
    g.output("o", 2 * h[t])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def same_template(one: Template, other: Template) -> None:
    assert str(one) == str(other)
    assert one.name == other.name
    ours, theirs = one.compile("numpy").init(7), other.compile("numpy").init(7)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("how", [again, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_every_template(name: str, how: Any) -> None:
    same_template(ZOO[name](), how(ZOO[name]()))


@pytest.mark.parametrize("init", [*initializers.NAMED, 0.5, None, initializers.uniform(-1, 1), initializers.normal(2)])
def test_every_initialiser(init: Any) -> None:
    g = Template("m")
    g.param("W", (3, 3), init)
    for how in (again, copy.copy, copy.deepcopy):
        same_template(g, how(g))


@pytest.mark.parametrize("how", [again, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_copy_goes_its_own_way(how: Any) -> None:
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = h[t - 1] + x[t]
    before = str(g)
    other = how(g)
    other.param("w")
    z = other.variable("z", ())
    z[t] = 2.0 * other.input("u")[t]
    other.output("z", z[t])
    other.loss = ops.sum(z[t], over=t)
    assert str(g) == before
    assert g.loss is None
    y = g.variable("y", ())
    y[t] = 3 * h[t]
    g.loss = ops.sum(y[t], over=t)
    assert "y[t]" not in str(other)
    assert "z" in other.system.outputs
    assert g.compile("numpy").run({}, "y", x=[1.0, 2.0]).tolist() == [3, 9]
    adjoint = how(g.adjoint())
    assert str(adjoint) == str(g.adjoint())
    assert isinstance(how(h), Variable)


def test_a_template_with_its_variables() -> None:
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    for how in (again, copy.deepcopy):
        g2, x2, h2, e2 = how((g, x, h, x[t] * 2.0))
        h2[t] = h2[t - 1] + e2
        assert "h[t] = h[t-1] + x[t] * 2" in str(g2)
        assert "h[t]" not in str(g)
        g2.output("again", x2[t])


@backends
def test_nets(backend: str) -> None:
    net = small().compile(backend, batch_first=True, without=("fuse",))
    params, x = net.init(3), X.transpose(1, 0, 2)
    value, grads = net.value_and_grad(params, x=x)
    for made in (again(net), copy.copy(net), copy.deepcopy(net), again(again(net))):
        assert repr(made) == repr(net)
        found, others = made.value_and_grad(params, x=x)
        assert found == value
        for name, grad in grads.items():
            np.testing.assert_array_equal(others[name], grad)
        np.testing.assert_array_equal(made.init(5)["v"], net.init(5)["v"])
    assert len(pickle.dumps(net)) < 20_000


@backends
def test_streams(backend: str) -> None:
    net = small().compile(backend)
    params = net.init(3)
    whole = net.run(params, ["h", "o"], x=X)
    stream = net.stream(params, ["h", "o"], batch=2)
    stream(x=X[:2])
    for how in (again, copy.copy, copy.deepcopy):
        other = how(stream)
        assert (other.steps, repr(other)) == (2, repr(stream))
        np.testing.assert_allclose(other(x=X[2:])["h"], whole["h"][2:], rtol=1e-6)
        assert (stream.steps, other.steps) == (2, 4)
        other.reset()
        np.testing.assert_allclose(other(x=X)["o"], whole["o"], rtol=1e-6)
    np.testing.assert_allclose(stream(x=X[2:])["h"], whole["h"][2:], rtol=1e-6)
    fresh = again(net.stream(params, "h"))
    np.testing.assert_allclose(fresh(x=X), whole["h"], rtol=1e-6)


def test_models_and_what_is_unfolded() -> None:
    g = Template("walk")
    x, y, a = g.input("x"), g.input("y"), g.param("a", init=0.5)
    y[0] = 0
    m = g.variable("m")
    m[t] = a * y[t - 1] + x[t]
    model = Model(g, {"y": ("normal", "m", 1.0)})
    net = model.compile("numpy")
    params, data = net.init(), {"x": np.ones(3, np.float32), "y": np.zeros(3, np.float32)}
    want = net.log_prob(params, **data)
    for how in (again, copy.copy, copy.deepcopy):
        made = how(model)
        assert repr(made) == repr(model)
        assert how(net).log_prob(params, **data) == want
        assert how(made.compile("numpy")).sample(params, x=data["x"])["y"].shape == (3,)
    dag = again(g.unfold(3))
    assert [str(n) for n in dag.nodes()] == [str(n) for n in g.unfold(3).nodes()]
    assert again(dag["m", 2]) == dag["m", 2]


def test_a_function_that_cannot_be_pickled_is_named() -> None:
    g = Template("m")
    g.param("fine", 3)
    g.param("W", 3, lambda rng, shape: rng.normal(size=shape))
    for value in (g, g.compile("numpy")):
        with pytest.raises(TemplateError) as error:
            pickle.dumps(value)
        text = str(error.value)
        assert "param W begins with a function that cannot be pickled" in text
        assert "test_copies.py" in text
        assert "at the top of a module" in text
    same_template(g, copy.copy(g))
    same_template(g, copy.deepcopy(g))


def test_an_operation_that_is_not_defined_there() -> None:
    triple = ops.define("triple", ops.elementwise, lambda g, y, x: 3 * g, body=lambda x: 3 * x)
    try:
        g = Template("m")
        x, h = g.input("x"), g.variable("h", ())
        h[t] = triple(x[t])
        held = [pickle.dumps(v) for v in (g, g.compile("numpy"), g.system)]
        assert again(g).compile("numpy").run({}, "h", x=[2.0]) == 6
    finally:
        del ops.OPS["triple"]
    for data in held:
        with pytest.raises(UndefinedError, match="template 'm' uses the operation 'triple', which is not defined"):
            pickle.loads(data)


WORKER = """
import multiprocessing, sys
import numpy as np
from unroll import Template, cells, ops, t

def lstm():
    g = Template("lstm")
    x = g.input("x", 3)
    h, _ = cells.layer(g, cells.lstm, x[t], 8)
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g

def work(task):
    net, params, x = task
    return float(net.loss(params, x=x))

if __name__ == "__main__":
    net = lstm().compile(sys.argv[2])
    params, x = net.init(0), np.ones((4, 2, 3), "f4")
    want = float(net.loss(params, x=x))
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map_async(work, [(net, params, x)] * 3).get(timeout=120) == [want] * 3
"""


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_other_processes(method: str, backend: str, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, str(script), method, backend],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr[-2000:]
