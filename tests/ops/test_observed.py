"""Missing data: values and gradients with nan in the data are those of PyTorch, and never nan themselves."""

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import DTypeError, NonFiniteError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'unroll-graph[peers]'")

T, B, N, K = 7, 3, 2, 4
BACKENDS = ["reference", "numpy", "native"]
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)


def gaps(rng, kind="some"):
    """Data with missing numbers: at single places, at whole steps, at the end, in a whole example, everywhere."""
    y = rng.normal(size=(T, B, N))
    y[rng.random(y.shape) < {"some": 0.3, "none": 0.0, "all": 1.0, "end": 0.0}[kind]] = np.nan
    if kind == "end":
        y[4:] = np.nan
    if kind == "some":
        y[2], y[:, 1], y[0, 0, 0], y[5, 2, 1] = np.nan, np.nan, np.inf, -np.inf
    return y


def forecaster():
    """The next value is predicted from the ones before, or where these are missing from what was predicted of them."""
    g = Template("forecaster")
    y, z, m, h = g.input("y", N), g.variable("z", N), g.variable("m", N), g.variable("h", K)
    W, U, V, c = g.param("W", (K, K)), g.param("U", (K, N)), g.param("V", (N, K)), g.param("c", N)
    h[0] = 0
    z[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ z[t - 1])
    m[t] = c + V @ h[t]
    z[t] = ops.observed(y[t], m[t])
    g.loss = ops.sum(ops.sum((z[t] - m[t]) ** 2), over=t)
    return g


def in_torch(params, y):
    """The same in PyTorch, which needs a second `where`: nan is taken out of the data beforehand."""
    p = {n: torch.tensor(v, requires_grad=True) for n, v in params.items()}
    y = torch.tensor(y)
    seen = torch.isfinite(y)
    data = torch.where(seen, y, torch.zeros_like(y))
    h, z, loss = torch.zeros(B, K, dtype=y.dtype), torch.zeros(B, N, dtype=y.dtype), 0.0
    made = []
    for k in range(T):
        h = torch.tanh(h @ p["W"].T + z @ p["U"].T)
        m = p["c"] + h @ p["V"].T
        z = torch.where(seen[k], data[k], m)
        loss = loss + (torch.where(seen[k], data[k] - m, torch.zeros_like(m)) ** 2).sum(1)
        made.append(m)
    loss.mean().backward()
    grads = {n: np.zeros(v.shape) if v.grad is None else v.grad.numpy() for n, v in p.items()}
    return loss.mean().item(), grads, torch.stack(made).detach().numpy()


@on_every_backend
@pytest.mark.parametrize("kind", ["some", "none", "all", "end"])
def test_values_and_gradients_are_those_of_pytorch(backend, kind):
    rng, g = np.random.default_rng(0), forecaster()
    params = {n: rng.normal(size=d.shape) for n, d in g.system.decls.items() if d.kind == "param"}
    y = gaps(rng, kind)
    net = g.compile(backend, dtype="float64")
    loss, grads, found = net.value_and_grad(params, outputs=["m", "z"], y=y)
    wanted = in_torch(params, y)
    assert loss == pytest.approx(wanted[0], rel=1e-12, abs=1e-15)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, wanted[1][name], rtol=1e-11, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found["m"], wanted[2], rtol=1e-12)
    seen = np.isfinite(y)
    assert np.array_equal(found["z"][seen], y[seen])
    assert np.array_equal(found["z"][~seen], found["m"][~seen])


@on_every_backend
def test_what_stands_at_a_missing_place_changes_no_bit(backend):
    rng, g = np.random.default_rng(1), forecaster()
    params = {n: rng.normal(size=d.shape) for n, d in g.system.decls.items() if d.kind == "param"}
    net, y = g.compile(backend, dtype="float64"), gaps(rng)
    loss, grads = net.value_and_grad(params, [*params, "y"], y=y)
    for other in (np.inf, -np.inf):
        again = net.value_and_grad(params, [*params, "y"], y=np.where(np.isfinite(y), y, other))
        assert again[0] == loss
        assert all(np.array_equal(grads[n], again[1][n]) for n in grads)
    assert np.isfinite(grads["y"]).all()
    assert (grads["y"][~np.isfinite(y)] == 0).all()


@on_every_backend
def test_nothing_observed_has_no_loss_and_gradient_zero(backend):
    g = forecaster()
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad(net.init(seed=0), y=np.full((T, B, N), np.nan))
    assert loss == 0
    assert all((grad == 0).all() for grad in grads.values())


def test_a_residual_masked_afterwards_has_gradient_nan():
    """Why the data go through `observed` first."""
    g = Template("masked afterwards")
    y, m = g.input("y"), g.param("m")
    g.loss = ops.sum(ops.where(ops.isfinite(y[t]), (y[t] - m) ** 2, 0), over=t)
    net = g.compile("numpy", dtype="float64")
    loss, grads = net.value_and_grad({"m": 0.5}, y=np.array([1.0, np.nan]))
    assert loss == 0.25
    assert np.isnan(grads["m"])


@on_every_backend
def test_steps_after_the_data_are_drawn(backend):
    """What is missing may be drawn: observed values pass as they are, and the draws are those of the seed."""
    g = Template("drawn")
    y, z, a = g.input("y"), g.variable("z", ()), g.param("a")
    z[0] = 0
    z[t] = ops.observed(y[t], ops.normal(a * z[t - 1], 0.5))
    net = g.compile(backend, dtype="float64")
    y = np.array([[1.0, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    z = net.run({"a": 0.9}, "z", y=y, seed=3)
    assert (z[0, 0], z[1, 1]) == (1.0, 2.0)
    free = net.run({"a": 0.0}, "z", y=np.full((3, 2), np.nan), seed=3)
    before = np.vstack([np.zeros(2), z[:-1]])
    np.testing.assert_allclose(z, np.where(np.isfinite(y), y, 0.9 * before + free), rtol=1e-13)


def test_it_prints_as_it_was_written_and_broadcasts():
    g = Template("printed")
    y, z = g.input("y", 3), g.variable("z", 3)
    z[t] = ops.observed(y[t], 0)
    assert "z[t] = observed(y[t], 0) " in str(g)
    found = g.compile("numpy", dtype="float64").run({}, "z", y=np.array([[1.0, np.nan, np.inf]]))
    assert found.tolist() == [[1.0, 0.0, 0.0]]
    with pytest.raises(ShapeError, match=r"test_observed\.py"):
        z[t] = ops.observed(y[t], g.param("p", 2))


@pytest.mark.parametrize("kind", ["int", "bool"])
def test_labels_are_refused(kind):
    g = Template("labels")
    y = g.input("y", dtype=kind)
    with pytest.raises(DTypeError, match=f"observed takes numbers, which may be nan, and these are {kind}"):
        ops.observed(y[t], 0)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_gaps_in_data_are_no_finding_of_debug_nans(backend: str) -> None:
    g = Template("gaps")
    y, a, z = g.input("y"), g.param("a"), g.variable("z", ())
    z[0] = 0
    z[t] = ops.observed(y[t], a * z[t - 1])
    g.loss = ops.sum((z[t] - a * z[t - 1]) ** 2, over=t)
    net = g.compile(backend, debug_nans=True)
    loss, grads = net.value_and_grad({"a": 0.5}, y=[1.0, float("nan"), 1.25])
    assert (float(loss), float(grads["a"])) == (2.0, -2.0)
    with pytest.raises(NonFiniteError, match="a"):
        net.loss({"a": float("nan")}, y=[1.0, float("nan"), 1.25])
