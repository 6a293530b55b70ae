"""Single steps of a variable beside running ones, in batches with lengths: a batch is the mean of its examples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.errors import LengthError

from .test_by_hand import every_backend

Term = Callable[[Any], Any]
TERMS: dict[str, Term] = {
    "t": lambda h: ops.sum(h[t] ** 2, over=t),
    "t+1": lambda h: ops.sum(h[t + 1] ** 2, over=t),
    "t+2": lambda h: ops.sum(h[t + 2] ** 2, over=t),
    "t-1": lambda h: ops.sum(h[t - 1] ** 2, over=t),
    "t-2": lambda h: ops.sum(h[t - 2] ** 2, over=t),
    "0": lambda h: h[0] ** 2,
    "1": lambda h: h[1] ** 2,
    "2": lambda h: h[2] ** 2,
    "3": lambda h: h[3] ** 2,
    "T-1": lambda h: h[T - 1] ** 2,
    "T": lambda h: h[T] ** 2,
    "T+1": lambda h: h[T + 1] ** 2,
}
LENGTHS = [[1, 2], [0, 3, 1], [3, 5, 1, 2], [1]]
PARAMS = {"w": np.array(2.0), "p": np.array(0.7), "q": np.array(-0.4)}


def template(terms: tuple[str, ...], direction: int) -> Template:
    """A variable with boundaries at both ends, and a loss of some terms of it, each of another weight."""
    g = Template()
    x, w, p, q, h = g.input("x"), g.param("w"), g.param("p"), g.param("q"), g.variable("h", ())
    h[0], h[-1], h[T + 1], h[T + 2] = q, 0.2 * q, p, 0.3 * p
    h[t] = w * x[t] + (0.5 * h[t - direction] if direction else 0)
    g.loss = sum((10.0**k * TERMS[name](h) for k, name in enumerate(terms)), 0.0)
    return g


def agree(net: Any, lengths: list[int]) -> None:
    """The padded batch against its examples one by one; a step that an example lacks is missing in both."""
    x = np.random.default_rng(0).normal(size=(max(lengths) + 1, len(lengths)))
    parts = []
    try:
        parts = [net.value_and_grad(PARAMS, x=x[:n, b : b + 1]) for b, n in enumerate(lengths)]
    except LengthError:
        with pytest.raises(LengthError):
            net.value_and_grad(PARAMS, x=x, lengths=lengths)
        return
    loss, grads = net.value_and_grad(PARAMS, x=x, lengths=lengths)
    np.testing.assert_allclose(loss, np.mean([a for a, _ in parts]), rtol=1e-12)
    for name in PARAMS:
        want = np.mean([found[name] for _, found in parts])
        np.testing.assert_allclose(grads[name], want, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("direction", [0, 1, -1])
@pytest.mark.parametrize("first", TERMS)
def test_two_terms(first: str, direction: int) -> None:
    later = list(TERMS)[list(TERMS).index(first) + 1 :]
    for terms in [(first,), *((first, second) for second in later)]:
        net = template(terms, direction).compile("numpy", dtype="float64")
        for lengths in LENGTHS:
            agree(net, lengths)


@pytest.mark.parametrize("direction", [0, 1, -1])
def test_one_term_node_by_node(direction: int) -> None:
    for name in TERMS:
        net = template((name,), direction).compile("reference", dtype="float64")
        for lengths in LENGTHS:
            agree(net, lengths)


@every_backend
@pytest.mark.parametrize("name", ["1", "3", "T+1"])
def test_steps_of_an_input_and_of_its_boundaries(backend: str, name: str) -> None:
    g = Template()
    x, p, q = g.input("x"), g.param("p"), g.param("q")
    g.param("w")
    x[0], x[T + 1], x[T + 2] = q, p, 0.3 * p
    g.loss = TERMS[name](x)
    net = g.compile(backend, dtype="float64")
    for lengths in LENGTHS:
        agree(net, lengths)


@pytest.mark.slow
@pytest.mark.parametrize("direction", [0, 1, -1])
@pytest.mark.parametrize("first", TERMS)
def test_three_terms(first: str, direction: int) -> None:
    later = list(TERMS)[list(TERMS).index(first) + 1 :]
    for rest in combinations(later, 2):
        net = template((first, *rest), direction).compile("native", dtype="float64")
        for lengths in LENGTHS:
            agree(net, lengths)


@every_backend
def test_a_first_step_and_a_last_one_that_may_be_the_same(backend: str) -> None:
    g = Template()
    x, w, h = g.input("x"), g.param("w"), g.variable("h", ())
    h[0], h[t] = 0, w * x[t] + 0.5 * h[t - 1]
    g.loss = h[1] ** 2 + h[T] ** 2
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"w": 1.0}, x=np.ones((2, 2)), lengths=[1, 2])
    assert (loss, grads["w"]) == (2.625, 5.25)  # 2 h[1]^2 = 2 w^2, and w^2 + 2.25 w^2
    assert net.hessian_vector({"w": 1.0}, {"w": 1.0}, x=np.ones((2, 2)), lengths=[1, 2])["w"] == 5.25


@every_backend
def test_a_boundary_that_an_example_of_no_steps_does_not_read(backend: str) -> None:
    g = Template()
    x, p, v = g.input("x"), g.param("p"), g.variable("v", ())
    v[0], v[t] = 2 * p, x[t]
    g.loss = ops.sum(v[t - 1], over=t)
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"p": 0.5}, x=np.ones((3, 2)), lengths=[0, 3])
    assert (loss, grads["p"]) == (1.5, 1.0)  # (0 + 2 p + 2) / 2


@every_backend
def test_a_boundary_of_an_input_that_runs_on(backend: str) -> None:
    """What stands at x[0, t] is written at every step of the batch, unlike the array, which is padded with zeros."""
    s, _ = axis("s")
    for term in (
        lambda x, v: ops.dot(v, x[0, t]),
        lambda x, v: ops.dot(x[0, t], x[0, t]),
        lambda x, v: ops.sum(ops.outer(v, x[0, t])) / 2,
    ):
        g = Template()
        x, v = g.input("x", 2, over=(s, t)), g.param("v", 2)
        x[0, t] = 1.0
        g.loss = ops.sum(term(x, v), over=t)
        net, arrays = g.compile(backend, dtype="float64"), {"x": np.ones((2, 3, 2, 2)), "lengths": {"T": [1, 3]}}
        np.testing.assert_array_equal(net.run({"v": np.ones(2)}, "loss", **arrays), [2, 6])
        loss, grads = net.value_and_grad({"v": np.ones(2)}, **arrays)
        assert loss == 4
        assert grads["v"][0] in (0, 2)


@every_backend
def test_a_fixed_step_after_the_end_of_an_example_belongs_to_its_last_chunk(backend: str) -> None:
    g = Template()
    x, p, h = g.input("x"), g.param("p"), g.variable("h", ())
    h[t], h[T + 2] = x[t], p
    g.loss = ops.sum(h[3] * x[t], over=t)
    net, x = g.truncated(2).compile(backend, dtype="float64"), np.ones((3, 2))
    assert net.value_and_grad({"p": 1.0}, x=x[:1, :1])[1]["p"] == 1
    assert net.value_and_grad({"p": 1.0}, x=x, lengths=[1, 3])[1]["p"] == 0.5
    assert net.value_and_grad({"p": 1.0}, x=x[:, :1], lengths=[1])[1]["p"] == 1


@every_backend
def test_an_instance_is_asked_of_each_example(backend: str) -> None:
    g = Template()
    x, w, p, h = g.input("x"), g.param("w"), g.param("p"), g.variable("h", ())
    h[0], h[t], h[T + 1] = 0, w * x[t] + 0.5 * h[t - 1], p
    g.loss = ops.sum(h[t + 1], over=t)
    net, params = g.compile(backend, dtype="float64"), {"w": 1.0, "p": 7.0}
    for step in (3, 5):
        with pytest.raises(LengthError, match=rf"example 0: h\[{step}\] is requested, and at T = 1"):
            net.run(params, ("h", step), x=np.ones((3, 2)), lengths=[1, 3])
        with pytest.raises(LengthError, match=rf"example 0: h\[{step}\] is requested, and at T = 1"):
            net.value_and_grad(params, ("h", step), x=np.ones((3, 2)), lengths=[1, 3])
    np.testing.assert_array_equal(net.run(params, ("h", 2), x=np.ones((3, 2)), lengths=[1, 3]), [7, 1.5])
    for lengths in ([10, 7], [10, 10]):
        found = net.run(params, ("h", 5), x=np.ones((10, 2)), lengths=lengths)
        np.testing.assert_array_equal(found, [1.9375, 1.9375])


@every_backend
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_length_of_the_arrays_is_no_examples_length(backend: str, steps: int) -> None:
    g = Template()
    x, p, h = g.input("x"), g.param("p"), g.variable("h", ())
    h[t], h[T + 2] = x[t], p
    g.loss = h[3]
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"p": 7.0}, x=np.ones((steps, 1)), lengths=[1])
    assert (loss, grads["p"]) == (7, 1)


@every_backend
def test_a_step_that_the_padded_arrays_lack_is_told(backend: str) -> None:
    """No example reads it, having no step along s; and what the arrays' own steps read is not made up."""
    s, _ = axis("s")
    g = Template()
    x = g.input("x", over=(s, t))
    g.output("y", x[s, T - 1])
    with pytest.raises(LengthError, match=r"x\[s, T-1\] is x\[1, -1\] at S = 1, T = 0, and that step does not exist"):
        g.compile(backend).run({}, "y", x=np.zeros((1, 0, 1), np.float32), lengths={"S": [0]})
