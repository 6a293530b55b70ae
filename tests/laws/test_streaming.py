"""Law: chunks one after another, each from the state that the one before left, are one run over all their steps."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for, s

from unroll import Template, cells, ops, t
from unroll.errors import CausalityError, LengthError
from unroll.ir.axes import TIME

BACKENDS = ("reference", "numpy", "native")
STEPS, BATCH = 7, 3
CHUNKS = (1, 3, 0, 2, 1)
AHEAD = {
    "bidirectional": {"r", "o"},
    "mixed_signs": {"h", "q"},
    "statistics_over_time": {"centred"},
    "reverse_axis_inside": {"h", "r", "k"},
    "masked_and_labelled_boundaries": {"h"},
    "two_axes_in_either_order": {"h", "k"},
    "sums_of_delays": {"q"},
    "zigzag": {"p", "q", "r"},
}
"""What reads a later step, or all of them: written down by reading the zoo."""
FEW = ("digital_filter", "grid", "vector_to_sequence", "params_alone")
"""Every way in which a state can be: several delays, of an input, over a second axis, of labels, for no example."""


@cache
def template(name: str) -> Template:
    return ZOO[name]()


def over_t(g: Template) -> list[str]:
    return [n for n, d in g.system.decls.items() if d.kind == "variable" and TIME in d.axes]


def in_chunks(net: Any, params: Any, names: list[str], arrays: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The results of a stream, put together along t."""
    decls = net.system.decls
    along = {n: decls[n].axes.index(TIME) for n in arrays if n in decls and TIME in decls[n].axes}
    once = {n: a for n, a in arrays.items() if n not in along and n != "T"}
    stream, found, at = net.stream(params, names, **once, **options), [], 0
    for steps in CHUNKS:
        part = {n: arrays[n].take(range(at, at + steps), axis=axis) for n, axis in along.items()}
        found.append(stream(T=steps, **part))
        at += steps
    assert stream.steps == at == STEPS
    return {n: np.concatenate([f[n] for f in found], axis=decls[n].axes.index(TIME)) for n in names}


@pytest.mark.parametrize("name", AHEAD)
def test_what_reads_later_steps_is_refused(name: str) -> None:
    net = template(name).compile("reference")
    for variable in AHEAD[name]:
        with pytest.raises(CausalityError, match=r"cannot be computed step by step: it (reads|sums)"):
            net.stream({}, variable)


@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "numpy") for name in ZOO), *((name, backend) for name in FEW for backend in ("native", "reference"))],
)
def test_chunks_are_one_run(name: str, backend: str) -> None:
    g, rng = template(name), np.random.default_rng(5)
    names = [n for n in over_t(g) if n not in AHEAD.get(name, ())]
    if names:
        params, arrays = params_for(g, rng), arrays_for(g, lengths_for(g, STEPS), BATCH, rng)
        equal(g.compile(backend, dtype="float64"), params, names, arrays)


def equal(net: Any, params: Any, names: list[str], arrays: dict[str, Any], **options: Any) -> None:
    """A stream and a run give the same."""
    want = net.run(params, names, **arrays, **options)
    batched = any(d.kind == "input" and d.batched and not d.automatic for d in net.system.decls.values())
    got = in_chunks(net, params, names, arrays, batch=BATCH if batched else None, **options)
    for n in names:
        np.testing.assert_allclose(got[n], want[n], rtol=1e-12, atol=1e-12, err_msg=n)


@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks_are_one_run_of_a_cell_that_draws(backend: str) -> None:
    """Each draw depends on the seed and the step alone; a mask over none of the steps is drawn once."""
    g = Template("noisy")
    x, w = g.input("x", 2), g.param("w", 3)
    h = cells.layer(g, cells.gru, x[t], 3, name="h", recurrent_dropout=0.3)
    y, z = g.variable("y", (), dtype="int"), g.variable("z", 3)
    y[0], z[0] = 0, ops.normal(w, 0.5, over=None)
    y[t] = ops.categorical(h[t] + w * ops.cast(y[t - 1]))
    z[t] = ops.dropout(z[t - 1], 0.2) + ops.normal(h[t], 0.1) * ops.cast(ops.bernoulli(ops.sigmoid(z[t - 1])))
    net, rng = g.compile(backend, dtype="float64"), np.random.default_rng(0)
    params = net.init(seed=0)
    equal(net, params, ["h", "y", "z"], {"x": rng.normal(size=(STEPS, BATCH, 2)), "T": STEPS}, seed=11)


@pytest.mark.parametrize("cell", [cells.lstm, cells.clockwork, cells.leaky])
def test_chunks_are_one_run_of_a_cell(cell: Any) -> None:
    g = Template("cell")
    options = {cells.clockwork: {"periods": (1, 2)}, cells.leaky: {"alpha": 0.5}}.get(cell, {})
    cells.layer(g, cell, g.input("x", 2)[t], 4, name="h", **options)
    net = g.compile("numpy", dtype="float64")
    x = np.random.default_rng(0).normal(size=(STEPS, BATCH, 2))
    equal(net, net.init(seed=0), ["h"], {"x": x, "T": STEPS})


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_input_along_two_axes_tells_the_other_length(backend: str) -> None:
    g = Template()
    x, h = g.input("x", over=(t, s)), g.variable("h", ())
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + ops.sum(x[t, s], over=s)
    g.output("h", h[t])
    g.output("y", x[t, s] * 2)
    net, x = g.compile(backend, dtype="float64"), np.arange(24.0).reshape(4, 3, 2)
    want = net.run({}, x=x)
    stream = net.stream({})
    parts = [stream(x=x[:1]), stream(x=x[1:])]
    for name in ("h", "y"):
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), want[name])
    with pytest.raises(LengthError, match="S = 3 was given, and input x has 2 steps"):
        stream(x=x[:, :2])
