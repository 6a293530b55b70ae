"""Small programs that tempt a pass to go too far, with values worked out by hand, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from laws.test_by_hand import every_backend, gradients
from unroll import T, Template, ops, t


@every_backend
def test_one_number_in_every_element_is_several_all_the_same(backend: str) -> None:
    g = Template()
    x, W, v = g.input("x", 3), g.param("W", (2, 3)), g.variable("v", 3)
    v[t] = 2.0
    for name, value in (("sum", ops.sum(v[t])), ("dot", ops.dot(v[t], x[t])), ("most", ops.max(v[t]))):
        g.output(name, value)
    g.output("product", W @ v[t])
    g.output("softmax", ops.softmax(v[t]))
    g.output("squares", ops.sum(0.5 * v[t] * v[t]))
    found = g.compile(backend, dtype="float64").run({"W": [[1, 2, 3], [4, 5, 6]]}, x=[[0.0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["sum"], [6, 6])
    np.testing.assert_array_equal(found["dot"], [6, 24])
    np.testing.assert_array_equal(found["most"], [2, 2])
    np.testing.assert_array_equal(found["product"], [[12, 30], [12, 30]])
    np.testing.assert_allclose(found["softmax"], np.full((2, 3), 1 / 3), rtol=1e-15)
    np.testing.assert_array_equal(found["squares"], [6, 6])


@every_backend
def test_a_part_of_products_that_are_summed_over_all_steps(backend: str) -> None:
    g = Template()
    x, W = g.input("x", 2), g.param("W", (4, 2))
    g.output("y", ops.sum(W @ x[t], over=t)[1:3])
    W = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(
        g.compile(backend, dtype="float64").run({"W": W}, x=[[1.0, 0], [0, 10], [100, 0]])["y"], [232, 454]
    )


@every_backend
@pytest.mark.parametrize(("steps", "want"), [(1, 0.0), (2, 4.0), (3, 0.0), (4, 5.25)])
def test_a_copy_of_the_step_before_is_a_step_of_its_own_to_truncation(steps: int, want: float, backend: str) -> None:
    """``v[4]`` is h[3], one step back; a window that begins at step 4 sees nothing of it."""
    g = Template()
    x, w, h, v = g.input("x"), g.param("w"), g.variable("h", ()), g.variable("v", ())
    h[0] = 0
    h[t] = w * x[t] + 0.5 * h[t - 1]
    v[t] = h[t - 1]
    g.loss = v[T]
    assert gradients(g.truncated(steps), backend, {"w": 1}, x=np.array([1.0, 2, 4, 8]))["w"] == want


@every_backend
def test_arithmetic_of_constants(backend: str) -> None:
    g = Template()
    x, two = g.input("x"), g.variable("two", ())
    two[t] = 2.0
    values = {"add": two[t] + 5, "sub": two[t] - 5, "from": 5 - two[t], "mul": two[t] * 5, "div": two[t] / 5}
    for name, value in {**values, "over": 5 / two[t], "kept": (two[t] + two[t]) * x[t]}.items():
        g.output(name, value)
    found = g.compile(backend, dtype="float64").run({}, x=np.array([1.0, 10]))
    want = {"add": 7, "sub": -3, "from": 3, "mul": 10, "div": 0.4, "over": 2.5}
    for name, number in want.items():
        np.testing.assert_array_equal(found[name], [number, number], err_msg=name)
    np.testing.assert_array_equal(found["kept"], [4, 40])


@every_backend
@pytest.mark.parametrize("order", ["hxcz", "xhzc", "hxczh", "zxhcx", "xz", "hc"])
def test_parts_of_a_joined_vector_that_recur_and_do_not_by_turns(order: str, backend: str) -> None:
    g = Template()
    x, z, W = g.input("x", 2), g.input("z", 2), g.param("W", (2, 2 * len(order)))
    h, c = g.variable("h", 2), g.variable("c", 2)
    h[0], c[0] = 1, -1
    parts = {"h": h[t - 1], "x": x[t], "c": c[t - 1], "z": z[t]}
    h[t] = W @ ops.concat([parts[name] for name in order])
    c[t] = h[t] - c[t - 1]
    W = np.arange(4.0 * len(order)).reshape(2, -1) % 3 - 1
    x, z = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([[7.0, -7], [8, 1], [9, 0]])
    now, want = {"h": np.ones(2), "c": -np.ones(2)}, []
    for n in range(3):
        now |= {"x": x[n], "z": z[n]}
        now["h"] = W @ np.concatenate([now[name] for name in order])
        now["c"] = now["h"] - now["c"]
        want.append(now["h"])
    np.testing.assert_array_equal(g.compile(backend, dtype="float64").run({"W": W}, "h", x=x, z=z), want)


@every_backend
def test_a_sum_that_reads_itself_and_a_product(backend: str) -> None:
    g = Template()
    x, W, h = g.input("x", 2), g.param("W", (2, 2)), g.variable("h", 2)
    h[0] = 0
    h[t] = h[t - 1] + W @ x[t]
    found = g.compile(backend, dtype="float64").run({"W": [[1, 2], [3, 4]]}, "h", x=[[1.0, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(found, [[1, 3], [3, 7], [6, 14]])


@every_backend
def test_the_gradient_by_a_state_that_two_products_read_as_einsum(backend: str) -> None:
    """The adjoint of ``einsum("ij,j->i", A, h)`` is ``h~ += a~ @ A``, a vector on the left; two such become one."""
    g = Template()
    x, A, B, h0, h = g.input("x", 2), g.param("A", (2, 2)), g.param("B", (2, 2)), g.param("h0", 2), g.variable("h", 2)
    h[0] = h0
    h[t] = (1 - x[t]) * ops.einsum("ij,j->i", A, h[t - 1]) + x[t] * ops.einsum("ij,j->i", B, h[t - 1])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    A, B, x = np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 1], [-1, 2]]), np.array([[1.0, 2], [3, -1], [0, 5]])
    grads = gradients(g, backend, {"A": A, "B": B, "h0": [1, -1]}, ["h0"], x=x)
    want, step = np.zeros(2), np.eye(2)
    for now in x:
        step = ((1 - now)[:, None] * A + now[:, None] * B) @ step
        want += step.sum(axis=0)
    np.testing.assert_array_equal(grads["h0"], want)


@every_backend
def test_parts_of_the_state_before_are_not_those_of_the_state(backend: str) -> None:
    g = Template()
    x, h = g.input("x", 2), g.variable("h", 4)
    h[0] = np.array([1.0, 2, 3, 4])
    low, high = 2 * h[t - 1][0:2], 2 * h[t - 1][2:4]
    h[t] = ops.concat([high + x[t], low - x[t]])
    found = g.compile(backend, dtype="float64").run({}, "h", x=[[1.0, 0], [0, 1]])
    np.testing.assert_array_equal(found, [[7, 8, 1, 4], [2, 9, 14, 15]])


@every_backend
def test_the_same_rows_of_two_products_with_one_vector(backend: str) -> None:
    g = Template()
    x, W, V = g.input("x", 2), g.param("W", (3, 2)), g.param("V", (4, 2))
    g.output("w", (W @ x[t])[1:3])
    g.output("v", (V @ x[t])[1:3])
    W, V = np.arange(6.0).reshape(3, 2), 10 + np.arange(8.0).reshape(4, 2)
    found = g.compile(backend, dtype="float64").run({"W": W, "V": V}, x=[[1.0, 1], [1, -1]])
    np.testing.assert_array_equal(found["w"], [[5, 9], [-1, -1]])
    np.testing.assert_array_equal(found["v"], [[25, 29], [-1, -1]])


@every_backend
def test_the_same_rows_of_two_matrices_that_are_not_alike(backend: str) -> None:
    """Backwards the state's part of either joined vector is read off two matrices of other sizes."""
    g = Template()
    x, y, z, h0 = g.input("x", 2), g.input("y", 2), g.input("z", 3), g.param("h0", 2)
    W, V, h = g.param("W", (2, 4)), g.param("V", (2, 5)), g.variable("h", 2)
    h[0] = h0
    h[t] = x[t] * (W @ ops.concat([h[t - 1], x[t]])) + y[t] * (V @ ops.concat([h[t - 1], z[t]]))
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    W, V = np.arange(8.0).reshape(2, 4) - 3, np.arange(10.0).reshape(2, 5) - 4
    x, y, z = np.array([[1.0, 2], [3, -1]]), np.array([[0.0, 1], [-2, 2]]), np.ones((2, 3))
    grads = gradients(g, backend, {"W": W, "V": V, "h0": [1, -1]}, ["h0"], x=x, y=y, z=z)
    want, step = np.zeros(2), np.eye(2)
    for a, b in zip(x, y, strict=True):
        step = (a[:, None] * W[:, :2] + b[:, None] * V[:, :2]) @ step
        want += step.sum(axis=0)
    np.testing.assert_array_equal(grads["h0"], want)


@every_backend
@pytest.mark.parametrize(("steps", "want"), [(0, 0), (1, 2 * np.cos(2)), (2, 2 * np.cos(2) + 2 * np.cos(1))])
def test_a_cotangent_of_boundaries_beyond_the_last_step_that_is_read(steps: int, want: float, backend: str) -> None:
    """Of h only the steps -1, ..., T-2 are read, which at T = 0 and T = 1 are fewer than the boundaries."""
    g = Template()
    x, h0, h = g.input("x"), g.param("h0"), g.variable("h", ())
    h[0], h[-1] = h0, 2 * h0
    h[t] = ops.sin(x[t])
    g.loss = ops.sum(ops.sin(h[t - 2]) * x[t], over=t)
    found = gradients(g, backend, {"h0": 1}, x=np.arange(steps) + 1.0)["h0"]
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-14)


# -- what is to be done at all: no value tells ------------------------------------------------------------------------


def written(backend: str) -> tuple[str, list[str]]:
    """The program of a gradient: what stands outside all loops, and the lines inside."""
    g = Template()
    x, W, V, h = g.input("x", 3), g.param("W", (6, 3)), g.param("V", (2, 4)), g.variable("h", 2)
    h[0] = 0
    h[t] = ops.tanh(V @ ops.concat([h[t - 1], (W @ x[t])[1:3]]))
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    text = str(g.compile(backend).program(grad=True))
    outside = "\n".join(line for line in text.splitlines() if not line.startswith(" ") or "for t" in line)
    return outside, [line.strip() for line in text.splitlines() if line not in outside.splitlines()]


def test_only_rows_that_are_read_are_computed() -> None:
    outside, inside = written("numpy")
    assert "W[1:3] @ x[t]" in outside
    assert "V[:, 2:4] @ " in outside
    assert "V.T[2:4] @ " in outside
    assert [line.split(" = ")[1] for line in inside if line.startswith("h.p")] == ["V[:, 0:2] @ h[t-1]"]
    assert [line.partition("=")[2].partition("@")[0] for line in inside if "V.T" in line] == [" V.T[0:2] "]
    assert "\n".join([outside, *inside]).count("@") == 5


def test_a_cheap_derivative_is_computed_where_it_is_read() -> None:
    pytest.importorskip("llvmlite")
    for backend, found in (("native", True), ("numpy", False)):  # whose loops are calls: there it would cost
        _, inside = written(backend)
        assert [any("h[t]**2" in line for line in inside), any("= 1 - " in line for line in inside)] == [found, found]
