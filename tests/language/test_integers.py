"""Whatever counts as one integer is taken where a number of steps, a step, a batch or a seed is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import Template, cells, ops, t
from unroll.cache import BoundedCache
from unroll.errors import ArrayError, LengthError, TemplateError, UndefinedError, UnrollError
from unroll.ops.integers import integer
from unroll.runtime import arguments

BACKENDS = ["reference", "numpy", "native"]
KINDS: dict[str, Callable[[int], Any]] = {
    "int": int,
    "int64": np.int64,
    "int8": np.int8,
    "uint8": np.uint8,
    "uint64": np.uint64,
    "an array of no axes": lambda n: np.array(n),
    "an element of arange": lambda n: np.arange(300)[n],
}


def tensor(n: int) -> Any:
    return pytest.importorskip("torch").tensor(n)


kinds = pytest.mark.parametrize("kind", [*KINDS.values(), tensor], ids=[*KINDS, "tensor"])
backends = pytest.mark.parametrize("backend", BACKENDS)


def counter() -> Template:
    g = Template("counter")
    y = g.variable("y", ())
    y[0] = 0
    y[t] = y[t - 1] + 1
    g.loss = ops.sum(y[t], over=t)
    return g


def noisy() -> Template:
    g = Template("noisy")
    y, w = g.variable("y", ()), g.param("w", 3, "normal")
    y[t] = ops.uniform(ops.sum(w), 1.0, over=t)
    return g


def reader() -> Template:
    g = Template("reader")
    x, h = g.input("x"), g.variable("h", ())
    h[0] = 0
    h[t] = h[t - 1] + x[t]
    return g


@kinds
@backends
def test_each_length_is_its_own(backend: str, kind: Any) -> None:
    net = counter().compile(backend)
    assert [len(net.run({}, "y", T=kind(n))) for n in (3, 5, 2, 3)] == [3, 5, 2, 3]
    assert [float(net.loss({}, T=kind(n))) for n in (3, 1, 2)] == [6, 1, 3]
    assert [float(net.value_and_grad({}, T=kind(n))[0]) for n in (3, 1)] == [6, 1]


@backends
@pytest.mark.parametrize("steps", [np.uint8(255), np.int8(127), np.int16(127)])
def test_lengths_at_the_edge_of_their_kind(backend: str, steps: Any) -> None:
    net = counter().compile(backend)
    assert net.run({}, "y", T=steps)[-1] == int(steps)
    assert net.run({}, ("y", np.int8(127)), T=steps) == 127
    assert net.stream({}, "y")(T=steps)[-1] == int(steps)
    assert net.generate({}, "y", max_steps=steps).values[-1] == int(steps)


@kinds
@backends
def test_every_door_takes_one(backend: str, kind: Any) -> None:
    g = counter()
    net = g.compile(backend)
    assert len(g.unfold(kind(5)).lengths) == 1
    assert type(g.unfold(kind(5)).lengths["T"]) is int
    assert g.unfold(T=kind(5))["y", kind(3)] == ("y", (3,))
    assert net.run({}, ("y", kind(2)), T=4) == 2
    assert list(net.run({}, [("y", kind(2))], T=4).values()) == [2]
    assert net.value_and_grad({}, ("y", kind(2)), T=4)[1][("y", 2)] == 3
    step = kind(2) if not isinstance(kind(2), np.ndarray) else np.int64(2)  # an array is no key of a dict
    assert net.run({}, "y", T=3, clamp={("y", step): np.float32(7.0)}).ravel().tolist() == [1, 7, 8]
    assert len(net.stream({}, "y", batch=kind(2))(T=kind(3))) == 3
    assert len(net.generate({}, "y", max_steps=kind(4), batch=kind(3)).lengths) == 3
    assert net.explain(T=kind(4), batch=kind(2)).text == net.explain(T=4, batch=2).text
    run = reader().compile(backend)
    x = np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(run.run({}, "h", x=x, lengths=[kind(3), kind(1)])[:, 1], [1, 0, 0])
    np.testing.assert_array_equal(run.run({}, "h", x=x[:, :1], lengths=kind(2))[:, 0], [1, 2, 0])


@kinds
def test_seeds(kind: Any) -> None:
    net = noisy().compile("numpy")
    np.testing.assert_array_equal(net.init(kind(7))["w"], net.init(7)["w"])
    params = net.init(0)
    one, other = (net.run(params, "y", T=3, seed=seed, batch=kind(2)) for seed in (7, kind(7)))
    assert one.shape == (3, 2)
    np.testing.assert_array_equal(one, other)


@kinds
def test_declarations(kind: Any) -> None:
    g = Template("sizes")
    x = g.input("x", kind(3))
    h, _ = cells.layer(g, cells.lstm, x[t - kind(0)], kind(4))
    o = g.variable("o")
    o[t] = h[t][kind(0) : kind(2)]
    g.loss = ops.sum(o[t][kind(1)] + ops.one_hot(ops.argmax(o[t]), kind(2))[kind(0)], over=t)
    plain = str(g)
    assert "int" not in plain.replace("input", "")
    assert "tensor" not in plain


NO_LENGTH = [np.array([3]), np.array([3, 4]), 3.0, np.float32(3), True, np.True_, np.array(True), "3", None, -1, [3]]


@backends
@pytest.mark.parametrize("wrong", NO_LENGTH, ids=repr)
def test_no_length(backend: str, wrong: Any) -> None:
    net = counter().compile(backend)
    net.run({}, "y", T=3)
    for call in (
        lambda: net.run({}, "y", T=wrong),
        lambda: net.stream({}, "y")(T=wrong),
        lambda: counter().unfold(T=wrong),
        lambda: net.explain(T=wrong),
    ):
        with pytest.raises(LengthError, match=r"T = .*: a length is an integer from 0 up"):
            call()
    if wrong is not None:
        with pytest.raises(LengthError, match=r"max_steps = .*: a length is an integer from 0 up"):
            net.generate({}, "y", max_steps=wrong)
        with pytest.raises(ArrayError, match=r"batch=.*: the number of examples is an integer from 1 up"):
            net.run({}, "y", T=3, batch=wrong)
        with pytest.raises(ArrayError, match=r"batch=.*: the number of examples is an integer from 1 up"):
            net.stream({}, "y", batch=wrong)
        with pytest.raises(ArrayError, match=r"batch=.*: the number of examples is an integer from 1 up"):
            net.explain(T=3, batch=wrong)
    with pytest.raises(LengthError, match="length"):
        reader().compile(backend).run({}, "h", x=np.ones((3, 1), np.float32), lengths=[wrong])


@pytest.mark.parametrize("wrong", [np.array([3]), 3.0, True, np.array(True), "3", -1, [3]], ids=repr)
def test_no_seed(wrong: Any) -> None:
    net = noisy().compile("numpy")
    for call in (lambda: net.init(wrong), lambda: net.run(net.init(), "y", T=3, seed=wrong)):
        with pytest.raises(UnrollError, match="seed= takes an integer from 0 up"):
            call()


@pytest.mark.parametrize("wrong", [np.array([2]), 2.0, True, None], ids=repr)
def test_no_step(wrong: Any) -> None:
    net = counter().compile("numpy")
    for call in (
        lambda: net.run({}, ("y", wrong), T=3),
        lambda: net.run({}, [("y", wrong)], T=3),
        lambda: net.value_and_grad({}, ("y", wrong), T=3),
        lambda: net.value_and_grad({}, [("y", wrong)], T=3),
    ):
        with pytest.raises(UndefinedError, match="a step is an integer"):
            call()
    with pytest.raises(UndefinedError, match="a step is an integer"):
        net.run({}, "y", T=3, clamp={("y", 1.5): 1.0})
    with pytest.raises(UndefinedError, match="a step is a number"):
        counter().unfold(3)["y", wrong]


def test_no_shape() -> None:
    g = Template("m")
    for wrong in (np.array([[3]]), 2.5, True, "ab", np.array(True)):
        with pytest.raises(UnrollError, match="a shape is made of positive integers"):
            g.input("x", wrong)
    with pytest.raises(TemplateError):
        cells.layer(g, cells.clockwork, g.input("x", 3)[t], 4, periods=[np.array([1]), 2])


def test_what_counts_as_one_integer() -> None:
    assert [integer(v) for v in (3, np.int8(-3), np.array(3))] == [3, -3, 3]
    assert all(type(integer(v)) is int for v in (3, np.int8(-3), np.array(3)))
    for wrong in (True, np.True_, np.array(True), 3.0, np.array([3]), "3", None, [3], np.array(3.0)):
        assert integer(wrong) is None
    torch = pytest.importorskip("torch")
    assert integer(torch.tensor(3)) == 3
    for wrong in (torch.tensor(True), torch.tensor([3]), torch.tensor(3.0)):
        assert integer(wrong) is None


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    kept: BoundedCache[str] = BoundedCache(3)
    for key in "abc":
        kept.put(key, key.upper())
    assert kept.get("a") == "A"
    kept.put("d", "D")
    assert [kept.get(k) for k in "abcd"] == ["A", None, "C", "D"]
    assert len(kept) == 3


def test_shapes_beyond_the_thousandth_are_remembered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "REMEMBERED", 10)
    net = reader().compile("numpy")
    arrays = [np.ones((n, 1), np.float32) for n in range(1, 31)]
    for x in arrays:
        net.run({}, "h", x=x)
    binder = next(iter(net._programs.compiled.values())).binder
    asked: list[int] = []
    checked = binder._checked
    monkeypatch.setattr(binder, "_checked", lambda *a: asked.append(1) or checked(*a))
    for x in (arrays[-1], arrays[-2], arrays[-10], arrays[-1]):
        net.run({}, "h", x=x)
    assert not asked
    net.run({}, "h", x=arrays[0])
    assert asked


@backends
def test_labels_stay_strict(backend: str) -> None:
    g = Template("labels")
    y, E, h = g.input("y", dtype="int"), g.param("E", (5, 2)), g.variable("h")
    h[t] = E[y[t]]
    net = g.compile(backend)
    params = net.init()
    for kind in (np.int8, np.uint8, np.uint64, np.int64):
        assert net.run(params, "h", y=np.array([0, 4], kind)).shape == (2, 2)
    assert net.run(params, "h", y=[]).shape == (0, 2)
    for wrong, shown in (
        (np.array([0, 5], np.uint8), "the label 5, and labels run from 0 to 4"),
        (np.array([0, 255], np.uint8), "the label 255"),
        (np.array([0, -1], np.int8), "the label -1"),
        (np.array([0, 2**40]), "the label 1099511627776"),
        (np.array([0, 2**63], np.uint64), "9223372036854775808, which is no label"),
        (np.array([0, 2**64 - 1], np.uint64), "18446744073709551615, which is no label"),
        ([0, 2**70], "was declared dtype='int', and holds object"),
        ([0.0, 1.0], "was declared dtype='int', and holds float64"),
        (np.zeros(0), "was declared dtype='int', and holds float64"),
        ([True], "was declared dtype='int', and holds bool"),
    ):
        for call in (lambda: net.run(params, "h", y=wrong), lambda: net.stream(params, "h")(y=wrong)):  # noqa: B023
            with pytest.raises(ArrayError, match=shown):
                call()
