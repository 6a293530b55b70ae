"""Labels that a template computes, outside their tables: an error by name, step, example and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.errors import ArrayError, LabelError, ShapeError

from .test_by_hand import every_backend

s, S = axis("s")


def taken() -> Template:
    """Rows of a table at labels that are computed from inputs."""
    g = Template()
    k, E = g.input("k", dtype="int"), g.param("E", (3, 2))
    g.output("y", E[k[t] + 1])
    g.loss = ops.sum(ops.sum(E[k[t] + 1]), over=t)
    return g


def picked() -> Template:
    """Elements of vectors at computed labels."""
    g = Template()
    k, x = g.input("k", dtype="int"), g.input("x", 3)
    g.output("y", ops.pick(x[t], k[t] + 1))
    g.loss = ops.sum(ops.pick(x[t], k[t] + 1), over=t)
    return g


def told() -> Template:
    """The cross-entropy of computed labels."""
    g = Template()
    k, x = g.input("k", dtype="int"), g.input("x", 3)
    g.output("y", ops.cross_entropy(x[t], k[t] + 1))
    g.loss = ops.sum(ops.cross_entropy(x[t], k[t] + 1), over=t)
    return g


def hot() -> Template:
    """One-hot vectors of computed labels."""
    g = Template()
    k, W = g.input("k", dtype="int"), g.param("W", (2, 3))
    g.output("y", W @ ops.one_hot(k[t] + 1, 3))
    g.loss = ops.sum(ops.sum(W @ ops.one_hot(k[t] + 1, 3)), over=t)
    return g


TEMPLATES = [taken, picked, told, hot]


def given(make: Callable[[], Template]) -> dict[str, np.ndarray]:
    """Arrays of 4 steps and 2 examples for a template's inputs."""
    k = {"k": np.zeros((4, 2), np.int64)}
    return {"x": np.ones((4, 2, 3)), **k} if make in (picked, told) else k


@every_backend
@pytest.mark.parametrize("make", TEMPLATES)
@pytest.mark.parametrize("label", [-1, 3, 10**12, -(2**62)])
def test_a_label_outside_is_told_with_step_example_and_value(
    make: Callable[[], Template], label: int, backend: str
) -> None:
    g = make()
    net = g.compile(backend, dtype="float64")
    arrays = given(make)
    params = net.init(seed=0)
    want = net.run(params, "y", **arrays)
    for call in (
        lambda: net.run(params, "y", **arrays),
        lambda: net.run(params, "loss", **arrays),
        lambda: net.value_and_grad(params, **arrays),
    ):
        arrays["k"][2, 1] = label - 1
        with pytest.raises(ArrayError, match=rf"label .* is {label} at t = 3, example 1, and labels run from 0 to 2"):
            call()
        arrays["k"][2, 1] = 0
    np.testing.assert_array_equal(net.run(params, "y", **arrays), want)  # and the net goes on as before


@every_backend
@pytest.mark.parametrize("make", TEMPLATES)
def test_labels_of_padding_are_nobodys(make: Callable[[], Template], backend: str) -> None:
    g = make()
    net = g.compile(backend, dtype="float64")
    arrays = given(make)
    arrays["k"][3, 1] = 99
    params = net.init(seed=0)
    net.value_and_grad(params, lengths=[4, 3], **arrays)
    with pytest.raises(ArrayError, match="is 100 at t = 4, example 1"):
        net.value_and_grad(params, lengths=[4, 4], **arrays)


@every_backend
def test_a_label_of_two_axes_and_one_that_no_example_has(backend: str) -> None:
    g = Template()
    n, E = g.variable("n", (), dtype="int"), g.param("E", 3)
    n[t, 0] = 0
    n[t, s] = n[t, s - 1] + 1
    g.loss = ops.sum(E[n[t, s]], over=(t, s))
    net = g.compile(backend, dtype="float64")
    assert net.value_and_grad({"E": np.arange(3.0)}, T=2, S=2)[0] == 6
    with pytest.raises(ArrayError, match=r"n\[t, s\] is 3 at t = 1, s = 3, and labels"):
        net.loss({"E": np.arange(3.0)}, T=2, S=4)


@every_backend
def test_a_label_in_a_boundary_and_in_a_carried_state(backend: str) -> None:
    g = Template()
    x, first, E = g.input("x", dtype="int"), g.input("first", over=None, dtype="int"), g.param("E", (3, 2))
    h, c = g.variable("h", 2), g.variable("c", (), dtype="int")
    c[0] = 0
    c[t] = c[t - 1] + x[t]
    h[0] = E[first - 1]
    h[t] = 0.5 * h[t - 1] + E[c[t]]
    g.output("h", h[t])
    net = g.compile(backend, dtype="float64")
    params, one = {"E": np.arange(6.0).reshape(3, 2)}, np.array([1])
    np.testing.assert_array_equal(net.run(params, "h", x=one[:, None], first=one), [[[2, 3.5]]])
    with pytest.raises(ArrayError, match=r"first - 1 is -1, and|is -1, and labels"):
        net.run(params, "h", x=one[:, None], first=0 * one)
    with pytest.raises(ArrayError, match=r"c\[t\] is 3 at t = 3"):
        net.run(params, "h", x=np.array([[1], [1], [1]]), first=one)
    stream = net.stream(params, first=one)
    stream(x=np.array([[1], [1]]))
    with pytest.raises(LabelError, match=r"c\[t\] is 3 at t = 3"):  # as the stream counts its steps
        stream(x=np.array([[1]]))


@every_backend
def test_a_label_that_is_a_number(backend: str) -> None:
    g = Template()
    c, E = g.variable("c", (), dtype="int"), g.param("E", 3)
    c[t] = 5
    g.output("y", E[c[t]])
    with pytest.raises(ArrayError, match=r"5.*labels run from 0 to 2"):
        g.compile(backend, dtype="float64").run({"E": np.ones(3)}, T=2)


@every_backend
def test_a_label_that_only_a_thrown_away_branch_reads(backend: str) -> None:
    """Both sides of a where are computed, so their labels must lie inside: held there, as the message says."""
    g = Template()
    k, E = g.input("k", dtype="int"), g.param("E", 3)
    held = ops.minimum(ops.maximum(k[t] - 1, 0), 2)
    g.output("y", ops.where(k[t] < 1, 0.0, E[held]))
    y = g.compile(backend, dtype="float64").run({"E": np.array([1.0, 2, 3])}, "y", k=np.array([0, 1, 3, 9]))
    np.testing.assert_array_equal(y, [0, 1, 3, 3])


@every_backend
def test_a_label_that_has_one_value(backend: str) -> None:
    g = Template()
    c, E = g.variable("c", (), dtype="int"), g.param("E", 3)
    c[0] = 0
    c[t] = c[t - 1] + 1
    g.output("y", E[c[T]])
    net = g.compile(backend, dtype="float64")
    assert net.run({"E": np.arange(3.0)}, "y", T=2) == 2
    with pytest.raises(ArrayError, match=r"the label c\[T\] is 3, and labels run from 0 to 2"):
        net.run({"E": np.arange(3.0)}, "y", T=3)


@every_backend
def test_labels_after_the_end_of_what_is_generated(backend: str) -> None:
    g = Template()
    n, E = g.input("n", over=None, dtype="int"), g.param("E", 6)
    c, y = g.variable("c", (), dtype="int"), g.variable("y", ())
    c[0] = n
    c[t] = c[t - 1] + 1
    y[t] = E[c[t]]
    g.stop = y[t] > 3.5
    net, n = g.compile(backend, dtype="float64"), np.array([2, 0])
    values, lengths = net.generate({"E": np.arange(6.0)}, "y", n=n)
    np.testing.assert_array_equal(lengths, [2, 4])
    np.testing.assert_array_equal(values.T, [[3, 4, 0, 0], [1, 2, 3, 4]])
    ends_early = np.array([0.0, 1, 2, 4, 0, 0])
    with pytest.raises(LabelError, match=r"c\[t\] is 6 at t = 3, example 0"):
        net.generate({"E": ends_early}, "y", n=np.array([3, 2]))
    with pytest.raises(LabelError, match=r"c\[t\] is 6 at t = 2, example 1"):  # whose place the first one's follows
        net.generate({"E": ends_early}, "y", n=np.array([2, 4]))


@pytest.mark.parametrize("lookup", ["take", "pick", "cross_entropy", "argmax", "max"])
def test_nothing_is_looked_up_in_an_empty_slice(lookup: str) -> None:
    g = Template()
    x, k, E = g.input("x", 3), g.input("k", dtype="int"), g.param("E", (3, 2))
    calls: dict[str, Callable[[], Any]] = {
        "take": lambda: E[0:0][k[t]],
        "pick": lambda: ops.pick(x[t][0:0], k[t]),
        "cross_entropy": lambda: ops.cross_entropy(x[t][0:0], k[t]),
        "argmax": lambda: ops.argmax(x[t][0:0]),
        "max": lambda: ops.max(x[t][0:0]),
    }
    with pytest.raises(ShapeError, match=r"empty slice| no|a row at least"):
        calls[lookup]()


@every_backend
def test_what_a_template_may_index_at_a_label_of_its_own(backend: str) -> None:
    """Labels by argmax of as many numbers, and draws, need no count: the value is right and nothing is refused."""
    g = Template()
    x, E = g.input("x", 3), g.param("E", (3, 2))
    g.output("y", E[ops.argmax(x[t])])
    g.output("last", E[ops.argmax(x[T])])
    net = g.compile(backend, dtype="float64")
    x = np.array([[[0.0, 1, 0]], [[3.0, 1, 0]]])
    found = net.run({"E": np.arange(6.0).reshape(3, 2)}, ["y", "last"], x=x)
    np.testing.assert_array_equal(found["y"], [[[2, 3]], [[0, 1]]])
    np.testing.assert_array_equal(found["last"], [[0, 1]])


@every_backend
@pytest.mark.parametrize("passed", [{}, {"lengths": [2, 1]}], ids=["whole", "ragged"])
def test_a_table_that_is_computed_bounds_the_labels_by_its_own_size(backend: str, passed: dict[str, list[int]]) -> None:
    """Whatever stands under the name of a computed table after other passes: a scalar, fewer or more elements."""
    g = Template()
    k, w, V = g.input("k", dtype="int"), g.param("w", 4), g.param("V", (2, 4))
    g.loss = ops.sum(ops.cross_entropy(w.T, k[t]), over=t) + ops.sum(ops.pick(ops.sum(V, axis=0) * 2.0, k[t]), over=t)
    net = g.compile(backend)
    params, most = net.init(seed=0), np.full((2, 2), 3)
    assert np.isfinite(net.loss(params, k=most, **passed))
    with pytest.raises(ArrayError, match=r"input k holds the label 4, and labels run from 0 to 3(.|\n)*k\[t\]"):
        net.loss(params, k=most + 1, **passed)
