"""Feeding back on one axis of several, from either side, and of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.analysis import Model
from unroll.errors import AxisError

s, S = axis("s")
BACKENDS = ("reference", "numpy", "native")
on_every_backend = pytest.mark.parametrize("backend", BACKENDS)


def counter(brackets: Any, delayed: Any, starts: Any) -> Template:
    """O counts up from a boundary; the truth is 100 everywhere."""
    g = Template("counter")
    g.input("y", over=brackets)
    o = g.variable("o", ())
    for start in starts:
        o[start] = 0
    o[brackets] = o[delayed] + 1
    return g


def fed(steps: int, period: int) -> list[int]:
    """What is counted where the truth follows every `period`-th step."""
    out, last = [], 0
    for k in range(1, steps + 1):
        out.append(last + 1)
        last = 100 if k % period == 0 else out[-1]
    return out


@on_every_backend
@pytest.mark.parametrize("period", [1, 2, 4])
@pytest.mark.parametrize("brackets", [(s, t), (t, s)], ids=["last", "first"])
def test_the_period_counts_along_the_axis_of_the_delay(backend: str, brackets: Any, period: int) -> None:
    place = brackets.index(t)
    delayed = tuple(i - 1 if i is t else i for i in brackets)
    start = tuple(0 if i is t else i for i in brackets)
    g = counter(brackets, delayed, [start]).open_loop({"o": "y"}, period)
    shape = (3, 6) if place else (6, 3)
    found = g.compile(backend, dtype="float64").run({}, "o", y=np.full(shape, 100.0))
    assert np.moveaxis(found, place, 1).tolist() == [fed(6, period)] * 3


@on_every_backend
def test_from_right_to_left_it_counts_from_the_last_step(backend: str) -> None:
    """So the mirror image of a sequence gives the mirror image; each example counts from its own end."""
    g = Template("reverse")
    g.input("y")
    o = g.variable("o", ())
    o[T + 1] = 0
    o[t] = o[t + 1] + 1
    net = g.open_loop({"o": "y"}, 2).compile(backend, dtype="float64")
    for steps in (0, 1, 2, 5):
        assert net.run({}, "o", y=np.full(steps, 100.0)).tolist() == fed(steps, 2)[::-1]
    found = net.run({}, "o", y=np.full((5, 2), 100.0), lengths=[5, 2])
    assert found.T.tolist() == [fed(5, 2)[::-1], [*fed(2, 2)[::-1], 0, 0, 0]]


def test_where_delays_lie_along_several_axes_one_is_chosen() -> None:
    g = Template("lattice")
    g.input("y", over=(s, t))
    o, u = g.variable("o", ()), g.variable("u", ())
    o[0, t], o[s, 0], o[0, 0], u[0] = 0, 0, 0, 0
    o[s, t] = o[s - 1, t] + o[s, t - 1] + 1
    u[t] = u[t - 1] + 1
    with pytest.raises(AxisError, match=r"o is read with delays along s and t, and a period (.*\n)*Say which, over=s"):
        g.open_loop({"o": "y"}, 2)
    with pytest.raises(AxisError, match="o is read with delays along s and t, not along n"):
        g.open_loop({"o": "y"}, 2, over=axis("n")[0])
    for over, place in ((s, 0), (t, 1)):
        found = g.open_loop({"o": "y"}, 2, over=over).compile("numpy").run({}, "o", y=np.full((4, 4), 100, np.float32))
        want = np.zeros((5, 5))
        own = np.zeros((5, 5))
        for i in range(1, 5):
            for j in range(1, 5):
                want[i, j] = own[i - 1, j] + own[i, j - 1] + 1
                own[i, j] = 100 if (i, j)[place] % 2 == 0 else want[i, j]
        np.testing.assert_array_equal(found, want[1:, 1:])


@on_every_backend
def test_what_is_fed_back_may_be_true_or_false(backend: str) -> None:
    g = Template("flags")
    g.input("y", dtype="bool")
    x, o = g.input("x"), g.variable("o", (), dtype="bool")
    o[0] = False
    o[t] = ops.where(o[t - 1], 1.0, 0.0) + x[t] > 0.5
    truth, at = np.array([True, True, False, True]), np.array([1.0, 0.0, -1.0, 0.0])
    found = g.open_loop({"o": "y"}, 2).compile(backend, dtype="float64").run({}, "o", y=truth, x=at)
    assert found.tolist() == [True, True, False, False]
    mixed = g.scheduled({"o": "y"}).compile(backend, dtype="float64")
    assert mixed.run({}, "o", y=truth, x=at, epsilon=1.0, seed=0).tolist() == [True, True, False, False]
    assert mixed.run({}, "o", y=truth, x=at, epsilon=0.0, seed=0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("mode", ["teacher_forced", "scheduled", "open_loop"])
@pytest.mark.parametrize("simplified", [False, True])
def test_a_boundary_that_is_drawn_is_drawn_once(mode: str, simplified: bool) -> None:
    """What is fed back begins with the variable's own first value, and is no second draw."""
    g = Template("start")
    g.input("y")
    o, w = g.variable("o", ()), g.param("w")
    o[0] = ops.normal(w, 1.0, over=None)
    o[t] = ops.normal(o[t - 1], 1.0)
    g = g.inference() if simplified else g
    made = {
        "teacher_forced": lambda: g.teacher_forced({"o": "y"}),
        "scheduled": lambda: g.scheduled({"o": "y"}),
        "open_loop": lambda: g.open_loop({"o": "y"}, 2),
    }[mode]()
    other = "y" if mode == "teacher_forced" else "o_fed"
    net = made.compile("numpy", dtype="float64")
    more = {"epsilon": 0.5} if mode == "scheduled" else {}
    found = net.run({"w": 0.0}, [("o", 0), (other, 0)], y=np.zeros((3, 4)), seed=1, **more)
    np.testing.assert_array_equal(found["o", 0], found[other, 0])
    assert list(Model(made).random) == ["o[0]", "o"]
