"""Truncation by hand: loops that detach, and every name and instance of a template that is truncated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.analysis.gradient_flow import flow

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

BACKENDS = ("reference", "numpy", "native")
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)
STEPS, BATCH = 7, 2
s, S = axis("s")


def late() -> Template:
    """What reads the recurrence one step late, and is in none."""
    g = Template("late")
    x, w, h, o = g.input("x"), g.param("w"), g.variable("h", ()), g.variable("o", ())
    h[0] = 0
    h[t] = w * h[t - 1] + x[t]
    o[t] = h[t - 1] * 1.0
    g.loss = ops.sum(o[t], over=t)
    return g


@on_every_backend
@pytest.mark.parametrize(("chunk", "want"), [(1, 0.0), (2, 1.5), (3, 1.0), (4, 3.0)])
def test_what_reads_the_state_late_is_cut_too(backend: str, chunk: int, want: float) -> None:
    net = late().truncated(chunk).compile(backend, dtype="float64")
    assert net.value_and_grad({"w": 0.5}, x=np.ones(4)) == (4.25, {"w": want})
    h = total = torch.tensor(0.0, dtype=torch.float64)
    w = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for step in range(4):
        h = h.detach() if step % chunk == 0 else h
        total, h = total + h, w * h + 1
    assert chunk == 1 or torch.autograd.grad(total, w)[0] == want


def stack(g: Template) -> Any:
    """A second layer that reads the first one step late, a reverse one over both, and a loss that reads late too."""
    x, u = g.input("x", 2), g.input("u", 2)
    W, V, R = g.param("W", (2, 2)), g.param("V", (2, 2)), g.param("R", (2, 2))
    a, b, r = g.variable("a", 2), g.variable("b", 2), g.variable("r", 2)
    start, end = g.param("start", 2), g.param("end", 2)
    a[0], b[0], r[T + 1] = start, 0.1, end
    x[0] = start
    a[t] = ops.tanh(W @ a[t - 1] + x[t] + 0.3 * x[t - 1])
    b[t] = ops.tanh(V @ b[t - 1] + W @ a[t - 1] + a[0] * a[t])
    r[t] = ops.tanh(R @ r[t + 1] + b[t] + b[t - 1] + 0.2 * r[T + 1])
    g.loss = ops.sum(ops.sum(r[t] * u[t] + a[t - 1]), over=t)
    return g


def stack_by_hand(p: dict[str, Any], x: Any, u: Any, chunk: int) -> Any:
    """Chunk by chunk: what another chunk computed is a number; what is given is not cut."""
    steps, start = len(x), p["start"].expand(BATCH, 2)
    values: dict[str, dict[int, Any]] = {"a": {0: start}, "b": {0: torch.full_like(start, 0.1)}, "r": {}}

    def of(step: int) -> int:
        return (min(max(step, 1), steps) - 1) // chunk

    def read(name: str, step: int, at: int) -> Any:
        value = values[name][step]
        return value if of(step) == of(at) else value.detach()

    values["r"][steps + 1] = p["end"].expand(BATCH, 2)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(1, steps + 1):
        before = x[k - 2] if k > 1 else start
        values["a"][k] = torch.tanh(read("a", k - 1, k) @ p["W"].T + x[k - 1] + 0.3 * before)
        inner = read("b", k - 1, k) @ p["V"].T + read("a", k - 1, k) @ p["W"].T
        values["b"][k] = torch.tanh(inner + read("a", 0, k) * values["a"][k])
    for k in range(steps, 0, -1):
        inner = read("r", k + 1, k) @ p["R"].T + values["b"][k] + read("b", k - 1, k) + 0.2 * read("r", steps + 1, k)
        values["r"][k] = torch.tanh(inner)
        total = total + (values["r"][k] * u[k - 1] + read("a", k - 1, k)).sum() / BATCH
    return total


@on_every_backend
@pytest.mark.parametrize("steps", [0, 1, 2, STEPS])
@pytest.mark.parametrize("chunk", [1, 2, 3, 10])
def test_layers_in_both_directions(backend: str, chunk: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    net = stack(Template("stack")).truncated(chunk).compile(backend, dtype="float64")
    decls = net.system.decls
    params = {n: rng.normal(size=d.shape) for n, d in decls.items() if d.kind == "param"}
    arrays = {n: rng.normal(size=(steps, BATCH, 2)) for n in ("x", "u")}
    leaves = {n: torch.tensor(v, requires_grad=True) for n, v in {**params, **arrays}.items()}
    loss = stack_by_hand(leaves, leaves["x"], leaves["u"], chunk)
    if steps:
        loss.backward()
    value, grads = net.value_and_grad(params, [*params, *arrays], **arrays)
    assert value == pytest.approx(float(loss.detach()), rel=1e-12)
    for name, leaf in leaves.items():
        want = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(grads[name], want, rtol=1e-11, atol=1e-13, err_msg=name)


def test_examples_of_their_own_lengths_have_chunks_of_their_own() -> None:
    """The last chunk of each ends with it, and what stands after its end belongs there."""
    rng = np.random.default_rng(1)
    net = stack(Template("stack")).truncated(2).compile("numpy", dtype="float64")
    params = {n: rng.normal(size=d.shape) for n, d in net.system.decls.items() if d.kind == "param"}
    arrays, lengths = {n: rng.normal(size=(6, 3, 2)) for n in ("x", "u")}, [6, 3, 1]
    _, grads = net.value_and_grad(params, [*params, "x"], lengths=lengths, **arrays)
    for name in params:
        each = [
            net.value_and_grad(params, [name], **{k: v[:n, b] for k, v in arrays.items()})[1][name]
            for b, n in enumerate(lengths)
        ]
        np.testing.assert_allclose(grads[name], np.mean(each, axis=0), rtol=1e-11, atol=1e-13)


def test_an_input_is_given_and_so_is_never_cut() -> None:
    """Reads of an input at another step, differentiated by the input, count in every chunk."""
    g = Template("inputs")
    x, y = g.input("x"), g.variable("y", ())
    x[0] = 0
    y[t] = x[t] + 2 * x[t - 1]
    g.loss = ops.sum(y[t], over=t)
    net = g.truncated(1).compile("numpy", dtype="float64")
    assert net.value_and_grad({}, "x", x=np.zeros(4))[1]["x"].tolist() == [3, 3, 3, 1]


def leak() -> Template:
    g = Template("leak")
    x, w, h = g.input("x"), g.param("w"), g.variable("h", ())
    h[0] = 0
    h[t] = w * h[t - 1] + x[t]
    g.loss = ops.sum(h[t], over=t)
    return g


@on_every_backend
@pytest.mark.parametrize("window", [0, 1, 3])
def test_under_a_window_every_name_means_what_it_did(backend: str, window: int) -> None:
    """Gradients by a variable and by an instance, cotangents and tangents of it, and an instance that is set."""
    w, x = 0.5, np.array([1.0, -2.0, 0.5, 3.0, 1.0])
    g = leak().truncated(window, sliding=True)
    net, plain = g.compile(backend, dtype="float64"), leak().compile("reference", dtype="float64")
    ones, steps = np.ones(5), np.arange(5)
    reach = np.minimum(window, 4 - steps)  # of the losses that lie behind a step, in delays
    by_h = (1 - w ** (reach + 1)) / (1 - w)
    _, grads, found = net.value_and_grad({"w": w}, ["h", ("h", 2), "x"], ["h"], x=x)
    np.testing.assert_allclose(grads["h"], by_h, rtol=1e-13)
    np.testing.assert_allclose(grads["x"], by_h, rtol=1e-13)
    assert grads["h", 2] == pytest.approx(by_h[1])
    np.testing.assert_allclose(found["h"], plain.run({"w": w}, "h", x=x), rtol=1e-13)
    _, pulled = net.vjp({"w": w}, {"h": ones}, ["h", "x"], x=x)
    np.testing.assert_allclose(pulled["h"], by_h, rtol=1e-13)
    _, along = net.jvp({"w": w}, {"x": ones}, "h", x=x)
    np.testing.assert_allclose(along, (1 - w ** (np.minimum(window, steps) + 1)) / (1 - w), rtol=1e-13)
    set_value = 7.0
    value, cut = net.value_and_grad({"w": w}, ["w", "x"], clamp={("h", 3): set_value}, x=x)
    after = [set_value, w * set_value + x[3], w * (w * set_value + x[3]) + x[4]]
    assert value == pytest.approx(x[0] + w * x[0] + x[1] + sum(after))
    assert cut["x"].tolist() == pytest.approx([1 + (w if window else 0), 1, 0, *by_h[3:]])


def test_jacobians_end_with_the_window() -> None:
    g = Template("vector")
    x, W, h = g.input("x", 2), g.param("W", (2, 2)), g.variable("h", 2)
    h[0] = 0
    h[t] = W @ h[t - 1] + x[t]
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    net = g.truncated(2, sliding=True).compile("numpy", dtype="float64")
    W = np.array([[0.5, 0.2], [-0.3, 0.9]])
    found = flow(net, {"W": W}, "h", x=np.zeros((5, 2))).jacobians
    want = [np.zeros((2, 2)), np.zeros((2, 2)), W @ W, W, np.eye(2)]
    np.testing.assert_allclose(found, want, atol=1e-14)


@on_every_backend
def test_derivatives_of_second_order_are_those_of_the_detached_loss(backend: str) -> None:
    """What was detached is a number there too."""
    w, x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True), [1.0, -2.0, 0.5, 3.0]
    for sliding in (False, True):
        total = torch.zeros((), dtype=torch.float64)
        with torch.no_grad():
            states = [torch.zeros((), dtype=torch.float64)]
            for value in x:
                states.append(torch.tanh(w * states[-1] + value))
        parts = [(k, k + 1) for k in range(4)] if sliding else [(0, 2), (2, 4)]
        for first, stop in parts:
            h = states[max(0, first - 2) if sliding else first]
            for k in range(max(0, first - 2) if sliding else first, stop):
                h = torch.tanh(w * h + x[k])
                total = total + h if not sliding or k == stop - 1 else total
        (first_order,) = torch.autograd.grad(total, w, create_graph=True)
        (second_order,) = torch.autograd.grad(first_order, w)
        g = Template("bent")
        xs, ws, hs = g.input("x"), g.param("w"), g.variable("h", ())
        hs[0] = 0
        hs[t] = ops.tanh(ws * hs[t - 1] + xs[t])
        g.loss = ops.sum(hs[t], over=t)
        net = g.truncated(2, sliding=sliding).compile(backend, dtype="float64")
        first, second = first_order.item(), second_order.item()
        assert net.value_and_grad({"w": 0.5}, x=x)[1]["w"] == pytest.approx(first, rel=1e-12)
        assert net.jvp({"w": 0.5}, {"w": 1.0}, x=x)[1] == pytest.approx(first, rel=1e-12)
        assert net.hessian_vector({"w": 0.5}, {"w": 1.0}, x=x)["w"] == pytest.approx(second, rel=1e-12)


@on_every_backend
def test_truncations_along_two_axes_and_twice(backend: str) -> None:
    """A lattice of sums: the gradient by w counts the paths that no truncation cuts."""
    g = Template("lattice")
    x, w, h = g.input("x", over=(s, t)), g.param("w"), g.variable("h", ())
    h[0, t], h[s, 0], h[0, 0] = 0, 0, 0
    h[s, t] = w * (h[s - 1, t] + h[s, t - 1]) + x[s, t]
    g.loss = ops.sum(h[S, t], over=t)

    def gradient(made: Template) -> Any:
        return made.compile(backend, dtype="float64").value_and_grad({"w": 0.5}, "x", x=np.zeros((4, 4)))[1]["x"]

    def paths(able: Any) -> Any:
        """The weight of all ways from each cell to the last row, by steps that `able` allows."""
        total = np.zeros((4, 4))
        pending = [((3, j), 1.0, (0, 0)) for j in range(4)]
        while pending:
            (i, j), weight, used = pending.pop()
            total[i, j] += weight
            for a, b in ((i - 1, j), (i, j - 1)):
                moved = used[0] + i - a, used[1] + j - b
                if a >= 0 and b >= 0 and able((i, j), (a, b), moved):
                    pending.append(((a, b), weight / 2, moved))
        return total

    both = g.truncated(2, over=s).truncated(3, over=t)
    np.testing.assert_allclose(gradient(both), paths(lambda p, q, m: p[0] // 2 == q[0] // 2 and p[1] // 3 == q[1] // 3))
    again = g.truncated(2).truncated(3)
    np.testing.assert_allclose(
        gradient(again), paths(lambda p, q, m: p[1] // 3 == q[1] // 3 and p[1] // 2 == q[1] // 2)
    )
    windows = g.truncated(1, sliding=True, over=s).truncated(2, sliding=True)
    np.testing.assert_allclose(gradient(windows), paths(lambda p, q, m: m[0] <= 1 and m[1] <= 2))
    mixed = g.truncated(1, sliding=True, over=s).truncated(3)
    np.testing.assert_allclose(gradient(mixed), paths(lambda p, q, m: m[0] <= 1 and p[1] // 3 == q[1] // 3))
    smallest = g.truncated(3, sliding=True).truncated(1, sliding=True)
    np.testing.assert_allclose(gradient(smallest), paths(lambda p, q, m: m[1] <= 1))


@on_every_backend
@pytest.mark.parametrize("name", ["h^0", "h^1", "place1", "place1_2"])
def test_beside_a_variable_that_is_called_like_a_copy(backend: str, name: str) -> None:
    made = {}
    for other in ("u", name):
        g = leak()
        u = g.variable(other, ())
        u[t] = 2 * g.input("z")[t]
        g.output("twice", u[t] + 0)
        cut = g.truncated(2).truncated(1, sliding=True)
        x, z = np.arange(4.0), np.ones(4)
        made[other] = cut.compile(backend, dtype="float64").value_and_grad({"w": 0.5}, ["w", "h"], ["twice"], x=x, z=z)
    for one, two in zip((made["u"][1], made["u"][2]), (made[name][1], made[name][2]), strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])


def test_it_is_said_in_every_form_and_costs_nothing_forwards() -> None:
    g = leak().truncated(2)
    assert "truncated: chunks of 2 along t)" in str(g)
    assert "h[t] = w * truncated(h[t-1]) + x[t]" in str(g)
    assert "truncated" in g.pretty()
    assert r"\operatorname{truncated}(h^{(t-1)})" in g.latex()
    assert "a window of 3 along t" in str(leak().truncated(3, sliding=True))
    plain, cut = (made.compile("numpy").program("h") for made in (leak(), g))
    assert str(plain) == str(cut)
    dag = g.unfold(5)
    assert [str(n) for n in dag.predecessors(("h", 3))] == ["w", "h[2]", "x[3]"]


def test_a_long_expression_that_is_computed_once_is_no_recursion() -> None:
    """What it reads of a boundary is cut at each step that reads the expression."""
    g = Template("long")
    x, v, h = g.input("x"), g.param("v"), g.variable("h", ())
    h[0] = v
    once = h[0]
    for _ in range(1200):
        once = once + 0.001 * v
    h[t] = 0.5 * h[t - 1] + x[t]
    z = g.variable("z", ())
    z[t] = once * x[t]
    g.loss = ops.sum(z[t], over=t)
    net = g.truncated(2).compile("numpy", dtype="float64")
    assert net.value_and_grad({"v": 1.0}, x=np.ones(5))[1]["v"] == pytest.approx(2 * 2.2 + 3 * 1.2)
