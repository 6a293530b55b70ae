"""Dropout and zoneout of layers: what is drawn, what it acts on, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import Template, UnrollError, cells, ops, t
from unroll.errors import TemplateError


def test_dropout_and_zoneout_of_any_cell():
    """A mask for the sequence on what is read and fed back, one for each step on what is held; none when inferring."""
    g = Template("noisy")
    x = g.input("x", 3)
    h, c = cells.layer(g, cells.lstm, x[t], 4, dropout=0.3, recurrent_dropout=0.4, zoneout=0.2)
    assert (h.name, c.name) == ("h", "c_h")
    net = g.compile("numpy", dtype="float64")
    params, data = net.init(seed=0), np.random.default_rng(0).normal(size=(6, 5, 3))
    noise = {n: d for n, d in g.system.decls.items() if d.automatic}
    assert sorted((len(d.axes), d.shape, d.detail.rate) for d in noise.values()) == [
        (0, (3,), 0.3),
        (0, (4,), 0.4),
        (1, (4,), 0.2),
        (1, (4,), 0.2),
    ]
    got = net.run(params, ["h", "c_h"], seed=1, x=data)
    held = (got["c_h"][1:] == got["c_h"][:-1]).mean()
    assert 0.05 < held < 0.4
    plain = Template("plain")
    cells.layer(plain, cells.lstm, plain.input("x", 3)[t], 4)
    quiet = plain.compile("numpy", dtype="float64").run(params, "h", x=data)
    mean = Template("mean")
    cells.layer(mean, cells.lstm, mean.input("x", 3)[t], 4, dropout=0.3, recurrent_dropout=0.4)
    inferred = mean.inference().compile("numpy", dtype="float64").run(params, "h", x=data)
    np.testing.assert_allclose(inferred, quiet, atol=1e-14)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (cells.gru, {}),
        (cells.gru, {"reset_after": True}),
        (cells.mgu, {}),
        (cells.leaky, {"alpha": 0.9}),
        (cells.clockwork, {"periods": [1, 2, 4, 8]}),
        (cells.lstm, {}),
        (cells.elman, {}),
    ],
    ids=["gru", "gru, reset after", "mgu", "leaky", "clockwork", "lstm", "elman"],
)
def test_recurrent_dropout_leaves_alone_what_a_cell_carries_on(cell, options):
    """A mean of an old state and of something between -1 and 1 stays between them, and runs are equal on average."""
    g = Template("carried")
    h = cells.layer(g, cell, g.input("x", 3)[t], 8, recurrent_dropout=0.5, **options)
    net = g.compile("numpy", dtype="float64")
    x = np.random.default_rng(0).normal(size=(200, 4, 3))
    found = net.run(net.init(seed=0), h[0].name if isinstance(h, tuple) else h.name, seed=0, x=x)
    assert 0.1 < abs(found).max() <= 1
    [mask] = [n for n, d in g.system.decls.items() if d.automatic]
    assert f"* {mask})" in str(g)


def test_a_cell_of_ones_own_says_what_is_dropped():
    def mix(scope, x, h):
        return 0.5 * h + ops.tanh(scope.param("W", (h.shape[0],) * 2) @ h)

    def dropping(scope, x, h):
        return 0.5 * h + ops.tanh(scope.param("W", (h.shape[0],) * 2) @ scope.dropped(h))

    g = Template("own")
    x = g.input("x", 3)
    with pytest.raises(TemplateError, match=r"mix does not say what it would drop(.|\n)*W @ scope.dropped\(h\)"):
        cells.layer(g, mix, x[t], 4, recurrent_dropout=np.float32(0.5))
    cells.layer(g, dropping, x[t], 4, recurrent_dropout=np.float32(0.5))
    assert "h[t] = 0.5 * h[t-1] + tanh(W_h @ (h[t-1] * noise1))" in str(g)


@pytest.mark.parametrize("zoneout", [0.1, 0.3])
def test_zoneout_leaves_a_clock_alone(zoneout):
    g = Template("clock")
    cells.layer(g, cells.clockwork, g.input("x", 2)[t], 3, periods=[1, 2, 4], zoneout=zoneout)
    net = g.inference().compile("numpy", dtype="float64")
    states = net.run(net.init(seed=0), "h", x=np.random.default_rng(0).normal(size=(12, 2)))
    moved = np.diff(states, axis=0, prepend=0) != 0
    for unit, period in enumerate([1, 2, 4]):
        np.testing.assert_array_equal(np.flatnonzero(moved[:, unit]) + 1, np.arange(period, 13, period))


def test_zoneout_holds_the_state_and_not_what_the_cell_reads_within_the_step():
    """Krueger et al. 2017: h is made from the new c, not from the one that was held."""
    g = Template("zoneout")
    cells.layer(g, cells.lstm, g.input("x", 3)[t], 4, zoneout=0.2)
    text = str(g.inference())
    new = "f_h[t] * c_h[t-1] + i_h[t] * g_h[t]"
    assert f"c_h[t] = c_h[t-1] + 0.8 * ({new} - c_h[t-1])" in text
    assert f"h[t] = h[t-1] + 0.8 * (o_h[t] * tanh({new}) - h[t-1])" in text


@pytest.mark.parametrize("option", ["dropout", "recurrent_dropout", "zoneout"])
def test_rates_that_are_none_are_named(option):
    g = Template("noisy")
    x = g.input("x", 3)
    for rate in (1, 1.0, -0.1, float("nan"), "a", True):
        with pytest.raises(UnrollError, match=rf"{option}=.* from 0 up to, and without, 1"):
            cells.layer(g, cells.elman, x[t], 4, **{option: rate})
