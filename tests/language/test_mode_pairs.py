"""Two changes of mode, one after the other: both orders give the same, or one is refused with the way out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, UnrollError, ops, t

BACKENDS = ("reference", "numpy", "native")
STEPS, BATCH = 7, 3
Mode = Callable[[Template], Template]


def network() -> Template:
    """Recurrences of the state and of the output, a second layer one step late, dropout, an output and a stop.

    The state has twins: of an equal equation, and variables of their own all the same.
    """
    g = Template("network")
    x, y, w = g.input("x", 2), g.input("y", 2), g.param("w", 2)
    W, R = g.param("W", (2, 2)), g.param("R", (2, 2))
    h, o, late = g.variable("h", 2), g.variable("o", 2), g.variable("late", 2)
    h[0], o[0] = w, 0.2
    before, after = g.variable("before", 2), g.variable("after", 2)
    before[t] = h[t] = after[t] = ops.tanh(W @ h[t - 1] + R @ o[t - 1] + ops.dropout(x[t], 0.4))
    o[t] = ops.sin(R @ h[t] + w)
    late[t] = h[t - 1] * h[0] + o[t]
    g.output("end", late[T])
    g.stop = ops.sum(late[t]) > 5
    g.loss = ops.sum(ops.mse(late[t], y[t]) + ops.sum(h[t] * w), over=t)
    return g


MODES: dict[str, Mode] = {
    "teacher_forced": lambda g: g.teacher_forced({"o": "y"}),
    "scheduled": lambda g: g.scheduled({"o": "y"}),
    "open_loop": lambda g: g.open_loop({"o": "y"}, 3),
    "truncated": lambda g: g.truncated(2),
    "window": lambda g: g.truncated(2, sliding=True),
    "longer": lambda g: g.truncated(3),
    "clamped": lambda g: g.clamped(("h", 3), ("o", 5), ("before", 2)),
    "start": lambda g: g.clamped(("h", 0), ("o", 0)),
    "inference": lambda g: g.inference(),
    "adjoint": lambda g: g.adjoint(["w", "W", "x"]),
}
SAME_READS = {"teacher_forced", "scheduled", "open_loop"}
"""Each takes the delayed reads of o: none is left for another."""
BEFORE_ADJOINT = {*MODES} - {"adjoint", "inference"}


def arrays(g: Template) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {"x": rng.normal(size=(STEPS, BATCH, 2)), "y": rng.normal(size=(STEPS, BATCH, 2))}
    more = {
        name: rng.normal(size=(BATCH, 2)) for name in ("do(h[3])", "do(o[5])", "do(before[2])", "do(h[0])", "do(o[0])")
    }
    made.update({name: value for name, value in more.items() if name in g.system.decls})
    if "epsilon" in g.system.decls:
        made["epsilon"] = 0.5
    return made


def params() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {"w": rng.normal(size=2), "W": rng.normal(size=(2, 2)), "R": rng.normal(size=(2, 2))}


def results(g: Template, backend: str = "numpy") -> dict[Any, Any]:
    """Values, gradients by params, an input, a variable and its instances, and derivatives along directions."""
    net, given = g.compile(backend, dtype="float64"), arrays(g)
    names = ["before", "h", "after", "o", "late", "loss", "end", "stop"]
    found: dict[Any, Any] = dict(net.run(params(), names, seed=4, **given))
    if any(d.kind == "cotangent" for d in g.system.decls.values()):
        return found | net.run(params(), seed=4, **given)
    value, grads = net.value_and_grad(params(), ["w", "W", "R", "x", "h", ("h", 2), ("h", 0)], seed=4, **given)
    found["value"] = value
    found.update({("grad", n): v for n, v in grads.items()})
    ones = np.ones((STEPS, BATCH, 2))
    found.update({("vjp", n): v for n, v in net.vjp(params(), {"h": ones}, ["W", "h"], seed=4, **given)[1].items()})
    found["jvp"] = net.jvp(params(), {"W": np.ones((2, 2))}, "h", seed=4, **given)[1]
    found["hessian"] = net.hessian_vector(params(), {"W": np.ones((2, 2))}, seed=4, **given)["w"]
    return found


def same(got: dict[Any, Any], want: dict[Any, Any]) -> None:
    assert set(got) == set(want)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-10, atol=1e-12, err_msg=str(name))


@pytest.mark.parametrize(("one", "other"), list(combinations(MODES, 2)))
def test_either_order_gives_the_same(one: str, other: str) -> None:
    made = []
    for first, second in ((one, other), (other, one)):
        g, mode = MODES[first](network()), MODES[second]
        if {one, other} <= SAME_READS:
            with pytest.raises(UnrollError, match="never read with a delay"):
                mode(g)
        elif first == "adjoint" and second in BEFORE_ADJOINT:
            with pytest.raises(UnrollError, match=r"template 'network~' holds cotangents, .*(\n.*)+\)\.adjoint\(\)"):
                mode(g)
        else:
            made.append(results(mode(g)))
    if len(made) == 2:
        same(*made)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("modes", [("window", "clamped"), ("truncated", "scheduled"), ("inference", "window", "start")])
def test_every_backend_gives_the_same(modes: tuple[str, ...], backend: str) -> None:
    g = network()
    for mode in modes:
        g = MODES[mode](g)
    same(results(g, backend), results(g, "reference"))


@pytest.mark.parametrize("mode", [m for m in MODES if m != "adjoint"])
def test_outputs_stop_and_loss_survive(mode: str) -> None:
    g = MODES[mode](network())
    system = g.system
    assert (system.stop, system.loss, list(system.outputs)) == ("stop", "loss", ["end"])
    net, given = g.compile("numpy", dtype="float64"), arrays(g)
    found = net.run(params(), seed=4, **given)
    assert list(found) == ["end"]
    np.testing.assert_array_equal(found["end"], net.run(params(), ("late", STEPS), seed=4, **given))
    if "clamped" not in mode:  # what is set at a step of its own is not run step by step
        needed = {n: v for n, v in given.items() if n != "y" or mode in SAME_READS}
        values, lengths = net.generate(params(), "late", seed=4, **needed)
        assert values.shape[1:] == (BATCH, 2)
        assert np.all((lengths > 0) & (lengths <= STEPS))


def test_a_mode_does_not_touch_its_template() -> None:
    g = network()
    before = str(g)
    for mode in MODES.values():
        mode(g)
    assert str(g) == before
