"""Every name of the list in every role, and of an axis: a small network gives its numbers whatever names it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unroll
from unroll import ops

from . import names


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_any_name_that_is_taken_works(backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    pool = names.NASTY if backend != "native" else names.NASTY[::12]
    wrong = {}
    for start, name in enumerate(pool):  # each name in each role, together with others of its kind
        together = {role: pool[(start + k) % len(pool)] for k, role in enumerate(ROLES)}
        for called in [together, *({role: name} for role in ROLES)]:
            try:
                found = tiny(backend, called)
            except unroll.UnrollError as error:
                refused = any(words in str(error) for words in names.REFUSED)
                if called is together:
                    continue  # one by one, to see which it is
                if not refused:
                    wrong[name] = str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is
                wrong[name] = f"{type(error).__name__}: {error}"
            else:
                if found:
                    wrong[name] = found
                if called is together:
                    break
    assert not wrong


ROLES = ("input", "param", "variable", "output", "template")


def tiny(backend: str, names: dict[str, str]) -> str:
    """A network in which some things have such names, beside plain ones; what is wrong with it, or nothing."""
    from unroll import Template, t

    x, w = np.array([0.5, -0.25, 1.0]), np.array(0.5)
    want = np.tanh(0.5 * x)
    called = {role: f"{role}_0" for role in ROLES} | names
    g = Template(called["template"])
    a, b, v = g.input(called["input"]), g.param(called["param"]), g.variable(called["variable"], ())
    v[0] = 0
    v[t] = ops.tanh(b * a[t] + 0 * v[t - 1])
    g.output(called["output"], v[t] * 1.0)
    g.loss = ops.sum(v[t], over=t)
    net = g.compile(backend, dtype="float64")
    got = net.run({called["param"]: w}, [called["output"], called["variable"]], **{called["input"]: x})
    grads = net.value_and_grad({called["param"]: w}, **{called["input"]: x})[1]
    values = [got[called["output"]], got[called["variable"]]]
    if not all(np.allclose(value, want) for value in values):
        return f"as {names}: {got}"
    if not np.allclose(grads[called["param"]], ((1 - want**2) * x).sum()):
        return f"as {names}: gradient {grads}"
    return ""


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_any_axis_name_works(backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    pool = names.AXES if backend != "native" else [*names.AXES[::8], "b", "batch"]
    want, wrong = along(backend, "s"), {}
    for name in pool:
        try:
            got = along(backend, name)
        except unroll.UnrollError as error:
            if not any(words in str(error) for words in names.REFUSED):
                wrong[name] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            wrong[name] = f"{type(error).__name__}: {error}"
        else:
            if not np.allclose(got, want, rtol=0, atol=1e-12):
                wrong[name] = f"{got}"
    assert not wrong


def along(backend: str, name: str) -> Any:
    """All numbers of a network along an axis of some name."""
    from unroll import Template, t

    k, _ = unroll.axis(name)
    g = Template()
    a, w, v, y = g.input("q_in", over=k), g.param("q_w"), g.variable("q_v", ()), g.input("q_t")
    v[0] = 0
    v[k] = ops.tanh(w * a[k] + 0.5 * v[k - 1])
    g.output("q_o", v[k] * ops.softmax(a[k], over=k))
    g.output("q_m", ops.sum(v[k] * y[t], over=k))
    g.loss = ops.sum(v[k], over=k) + ops.sum(y[t], over=t)
    net, params = g.compile(backend, dtype="float64"), {"q_w": np.array(0.5)}
    arrays = {"q_in": np.arange(6.0).reshape(3, 2) / 5, "q_t": np.ones((2, 2))}
    values = net.run(params, ["q_o", "q_v", "q_m"], **arrays)
    loss, grads = net.value_and_grad(params, ["q_w", "q_in"], **arrays)
    ragged = net.loss(params, lengths={name.upper(): [2, 1]}, **arrays)
    found = [values["q_o"], values["q_v"], values["q_m"], loss, ragged, grads["q_w"], grads["q_in"]]
    return np.concatenate([np.ravel(value) for value in found])
