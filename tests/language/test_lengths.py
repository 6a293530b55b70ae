"""Mistakes with the lengths of examples: each is named with its example before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.errors import ArrayError, LengthError

s, S = axis("s")


def elman(third: bool = False) -> Template:
    g = Template("elman")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    W, U = g.param("W", (4, 4)), g.param("U", (4, 3))
    h = g.variable("h", 4)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.cross_entropy(h[t], y[t]), over=t) + (ops.sum(h[3]) if third else 0)
    return g


def of(steps: list[int], *shape: int) -> list[np.ndarray]:
    return [np.zeros((n, *shape), np.float32 if shape else int) for n in steps]


X, Y = np.zeros((5, 2, 3), np.float32), np.zeros((5, 2), int)
MISTAKES = [
    ({"lengths": [3, 6]}, LengthError, ["example 1 has 6 steps along t", "input x has 5"]),
    ({"lengths": [3, -1]}, LengthError, ["example 1 has -1 steps", "integer from 0 up"]),
    ({"lengths": [3.5, 1]}, LengthError, ["example 0 has 3.5 steps"]),
    ({"lengths": [True, 1]}, LengthError, ["example 0 has True steps"]),
    ({"lengths": [3, 4, 5]}, LengthError, ["3 examples", "input x has 2"]),
    ({"lengths": []}, LengthError, ["0 examples", "input x has 2"]),
    ({"lengths": "35"}, LengthError, ["sequence of integers"]),
    ({"lengths": {"S": [1, 2]}}, LengthError, ["no axis that ends in 'S'", "it has T"]),
    ({"lengths": [3, 4], "x": X[:, 0], "y": Y[:, 0]}, LengthError, ["2 examples", "no batch axis"]),
    ({"x": of([2, 3], 3), "y": of([2, 4])}, ArrayError, ["example 1 of input y has 4 steps", "input x 3"]),
    ({"x": of([2, 3], 3), "y": of([2])}, ArrayError, ["input y lists 1 examples", "input x lists 2"]),
    ({"x": of([2, 3], 4), "y": of([2, 3])}, ArrayError, ["example 0 of input x", "(2, 4)", "(T, 3)"]),
    ({"x": of([2, 3], 3), "y": of([2, 3]), "lengths": [2, 2]}, LengthError, ["example 1 has 2 steps", "input x 3"]),
]


@pytest.mark.parametrize(("given", "error", "said"), MISTAKES)
def test_mistakes_name_the_example(given: dict, error: type[Exception], said: list[str]) -> None:
    net = elman().compile("numpy")
    with pytest.raises(error) as caught:
        net.value_and_grad(net.init(0), **{"x": X, "y": Y, **given})
    for part in (*said, "test_lengths.py"):
        assert part in str(caught.value), f"{part!r} is not in\n{caught.value}"


def test_a_step_that_an_example_does_not_have() -> None:
    net = elman(third=True).compile("numpy")
    params = net.init(0)
    net.loss(params, x=X, y=Y, lengths=[3, 5])
    with pytest.raises(LengthError, match=r"example 1: h\[3\].*T = 2") as caught:
        net.loss(params, x=X, y=Y, lengths=[3, 2])
    assert "ops.sum(h[3])" in str(caught.value) or "h[3]" in str(caught.value)
    with pytest.raises(LengthError, match="example 0"):
        net.run(params, ("h", 4), x=X, lengths=[3, 5])


def test_labels_in_the_padding_are_not_looked_at() -> None:
    net = elman().compile("numpy")
    labels = Y.copy()
    labels[3:, 0] = -100
    net.loss(net.init(0), x=X, y=labels, lengths=[3, 5])
    with pytest.raises(ArrayError, match="holds the label -100"):
        net.loss(net.init(0), x=X, y=labels, lengths=[4, 5])


def test_two_axes_take_a_dict() -> None:
    g = Template("both")
    x = g.input("x", over=(t, s))
    g.loss = ops.sum(x[t, s], over=(t, s))
    net = g.compile("numpy", dtype="float64")
    with pytest.raises(LengthError, match=r"2 axes: pass lengths=\{'T': \[...\], 'S': \[...\]\}"):
        net.run({}, "loss", x=np.ones((2, 3, 2)), lengths=[1, 2])
    with pytest.raises(LengthError, match="different numbers of examples: 2 along t, 1 along s"):
        net.run({}, "loss", x=np.ones((2, 3, 2)), lengths={"T": [1, 2], "S": [1]})
    assert list(net.run({}, "loss", x=np.ones((2, 3, 2)), lengths={"T": [1, 2], "S": [3, 2]})) == [3, 4]


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize(("step", "end"), [(t, T), (s, S)], ids=["t", "s"])
def test_a_fixed_step_that_the_padded_arrays_lack_and_every_example_has(step, end, backend: str) -> None:
    """Of an example of n steps, x[3] is the boundary x[n+2] where n is 1: whatever the one axis is called."""
    g = Template("ends")
    x = g.input("x", 1, over=step)
    x[end + 2], x[0] = 7.0, 1.0
    g.loss = ops.sum(x[3])
    net = g.compile(backend, dtype="float64")
    values = np.array([[[5.0], [6.0]], [[0.0], [0.0]]])
    assert net.loss({}, x=values, lengths=[1, 1]) == 7.0
    assert not net.value_and_grad({}, wrt="x", x=values, lengths=[1, 1])[1]["x"].any()
    with pytest.raises(LengthError, match=r"example 1: x\[3\] is x\[3\] at [ST] = 2"):
        net.loss({}, x=values, lengths=[1, 2])
