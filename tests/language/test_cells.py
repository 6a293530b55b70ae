"""Every cell against its equations as a plain loop in NumPy, and how layers and their names behave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, cells, ops, t

STEPS, BATCH, IN, UNITS = 10, 2, 3, 4
s, S = axis("s")
Arrays = dict[str, Any]


# -- each cell as a loop: complex numbers pass through it, so that its derivative along a direction is exact -----------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def relu(x: Any) -> Any:
    return np.where(np.real(x) > 0, x, 0)


def normal(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5) * gain + bias


def total(p: Arrays, k: str, x: Any, h: Any, norm: bool = False) -> Any:
    added = x @ p[f"U{k}"].T + h @ p[f"W{k}"].T
    return normal(added, p[f"s{k}"], p[f"b{k}"]) if norm else added + p[f"b{k}"]


def elman(p: Arrays, x: Any, h: Any, *, f: Any = np.tanh, norm: bool = False) -> Any:
    return (f(total(p, "", x, h, norm)),)


def jordan(p: Arrays, x: Any, o: Any) -> Any:
    return (p["c"] + np.tanh(total(p, "", x, o)) @ p["V"].T,)


def indrnn(p: Arrays, x: Any, h: Any) -> Any:
    return (relu(p["b"] + x @ p["U"].T + h * p["w"]),)


def leaky(p: Arrays, x: Any, h: Any, *, alpha: Any, norm: bool = False) -> Any:
    return (alpha * h + (1 - alpha) * np.tanh(total(p, "", x, h, norm)),)


def lstm(
    p: Arrays, x: Any, h: Any, c: Any, *, peepholes: bool = False, coupled: bool = False, norm: bool = False
) -> Any:
    def gate(k: str, seen: Any) -> Any:
        return sigmoid(total(p, k, x, h, norm) + (p[f"p{k}"] * seen if peepholes else 0))

    i = gate("i", c)
    f = 1 - i if coupled else gate("f", c)
    c = f * c + i * np.tanh(total(p, "g", x, h, norm))
    return gate("o", c) * np.tanh(normal(c, p["sc"], p["bc"]) if norm else c), c


def gru(p: Arrays, x: Any, h: Any, *, reset_after: bool = False, norm: bool = False) -> Any:
    r, z = sigmoid(total(p, "r", x, h, norm)), sigmoid(total(p, "z", x, h, norm))
    if reset_after and norm:
        new = normal(x @ p["Un"].T, p["sn"], p["bn"]) + r * normal(h @ p["Wn"].T, p["tn"], p["cn"])
    elif reset_after:
        new = x @ p["Un"].T + p["bn"] + r * (h @ p["Wn"].T + p["cn"])
    else:
        new = total(p, "n", x, r * h, norm)
    return (z * h + (1 - z) * np.tanh(new),)


def mgu(p: Arrays, x: Any, h: Any, *, norm: bool = False) -> Any:
    f = sigmoid(total(p, "f", x, h, norm))
    return ((1 - f) * h + f * np.tanh(total(p, "n", x, f * h, norm)),)


def clockwork(p: Arrays, x: Any, h: Any, k: Any, *, periods: list[int]) -> Any:
    """With one matrix whose blocks below the diagonal are zero, and the number of the step in place of clocks."""
    n = UNITS // len(periods)
    W = np.zeros((UNITS, UNITS), p["b"].dtype)
    for j in range(len(periods)):
        W[j * n : (j + 1) * n, j * n :] = p[f"W{j + 1}"]
    step, new = k + 1, np.tanh(p["b"] + x @ p["U"].T + h @ W.T)
    return np.where(step % np.repeat(periods, n) == 0, new, h), step


def lds(p: Arrays, x: Any, h: Any) -> Any:
    return (h @ p["A"].T + x @ p["B"].T,)


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Arrays, Arrays]] = {
    "elman": (cells.elman, elman, {}, {}),
    "elman, relu": (cells.elman, elman, {"activation": ops.relu}, {"f": relu}),
    "elman, norm": (cells.elman, elman, *2 * ({"norm": True},)),
    "jordan": (cells.jordan, jordan, {"hidden": 5}, {}),
    "indrnn": (cells.indrnn, indrnn, {}, {}),
    "leaky": (cells.leaky, leaky, *2 * ({"alpha": 0.8},)),
    "leaky, norm, one alpha a unit": (cells.leaky, leaky, *2 * ({"alpha": np.linspace(0, 1, UNITS), "norm": True},)),
    "lstm": (cells.lstm, lstm, {}, {}),
    "lstm, peepholes": (cells.lstm, lstm, *2 * ({"peepholes": True},)),
    "lstm, coupled": (cells.lstm, lstm, *2 * ({"coupled": True},)),
    "lstm, all": (cells.lstm, lstm, *2 * ({"peepholes": True, "coupled": True, "norm": True},)),
    "gru": (cells.gru, gru, {}, {}),
    "gru, norm": (cells.gru, gru, *2 * ({"norm": True},)),
    "gru, reset after": (cells.gru, gru, *2 * ({"reset_after": True},)),
    "gru, reset after, norm": (cells.gru, gru, *2 * ({"reset_after": True, "norm": True},)),
    "mgu": (cells.mgu, mgu, {}, {}),
    "mgu, norm": (cells.mgu, mgu, *2 * ({"norm": True},)),
    "clockwork": (cells.clockwork, clockwork, *2 * ({"periods": [1, 3]},)),
    "clockwork, one unit a period": (cells.clockwork, clockwork, *2 * ({"periods": [1, 2, 4, 5]},)),
    "lds": (cells.lds, lds, {}, {}),
}
every_cell = pytest.mark.parametrize("case", CASES)


def looped(step: Callable[..., Any], p: Arrays, x: Any, start: Any, options: Arrays, reverse: bool) -> Any:
    """The state's first part at every step."""
    state, shown = start, []
    for now in x[::-1] if reverse else x:
        state = step(p, now, *state, **options)
        shown.append(state[0])
    return np.stack(shown[::-1] if reverse else shown)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_a_layer_is_its_equations(case, reverse, rng):
    cell, step, options, same = CASES[case]
    g = Template("layer")
    x, w = g.input("x", IN), g.input("w", UNITS)
    made = cells.layer(g, cell, x[t], UNITS, name="h", reverse=reverse, **options)
    state = made if isinstance(made, tuple) else (made,)
    h = state[0]
    g.output("h", h[t])
    g.loss = ops.sum(ops.sum(w[t] * h[t]), over=t)

    net = g.compile("numpy", dtype="float64")
    params = {name: value + 0.4 * rng.normal(size=value.shape) for name, value in net.init(seed=0).items()}
    X, weights = rng.normal(size=(STEPS, BATCH, IN)), rng.normal(size=(STEPS, BATCH, UNITS))
    start = tuple(np.zeros((BATCH, UNITS)) for _ in state)

    def expected(p: Arrays) -> Any:
        return looped(step, {name.removesuffix("_h"): v for name, v in p.items()}, X, start, same, reverse)

    np.testing.assert_allclose(net.run(params, "h", x=X), expected(params), rtol=0, atol=1e-12)

    loss, grads = net.value_and_grad(params, x=X, w=weights)
    along = {name: rng.normal(size=value.shape) for name, value in params.items()}
    tiny = 1e-30
    moved = (weights * expected({n: v + 1j * tiny * along[n] for n, v in params.items()})).sum() / BATCH
    assert abs(loss - moved.real) < 1e-12
    assert abs(sum((grads[n] * along[n]).sum() for n in params) - moved.imag / tiny) < 1e-10
    assert all(np.abs(g).max() > 0 for g in grads.values())


@pytest.mark.parametrize("case", ["lstm, all", "gru, reset after, norm", "clockwork", "indrnn"])
def test_backends_agree(case, rng):
    pytest.importorskip("llvmlite")
    cell, _, options, _ = CASES[case]
    g = Template("layer")
    made = cells.layer(g, cell, g.input("x", IN)[t], UNITS, reverse=True, **options)
    h = made[0] if isinstance(made, tuple) else made
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    nets = [g.compile(backend, dtype="float64") for backend in ("reference", "numpy", "native")]
    params, X = nets[0].init(seed=1), rng.normal(size=(STEPS, BATCH, IN))
    (loss, grads), *others = (net.value_and_grad(params, x=X[:4]) for net in nets)
    for value, found in others:
        assert abs(value - loss) < 1e-12
        for name, grad in grads.items():
            np.testing.assert_allclose(found[name], grad, rtol=0, atol=1e-12)


def test_a_linear_system_is_a_sum_of_matrix_powers(rng):
    g = Template("lds")
    h = cells.layer(g, cells.lds, g.input("x", IN)[t], UNITS, initial=g.param("h0", UNITS, "ones"))
    g.output("last", h[T])
    net = g.compile("numpy", dtype="float64")
    params, X = net.init(seed=0), rng.normal(size=(STEPS, IN))
    A, B = params["A_h"], params["B_h"]
    power = np.linalg.matrix_power
    expected = power(A, STEPS) @ params["h0"] + sum(power(A, STEPS - k) @ B @ X[k - 1] for k in range(1, STEPS + 1))
    np.testing.assert_allclose(net.run(params, "last", x=X), expected, rtol=0, atol=1e-12)


# -- starting values ---------------------------------------------------------------------------------------------------


def test_initial_params():
    g = Template("start")
    x = g.input("x", IN)[t]
    for cell, options in ((cells.lstm, {}), (cells.lstm, {"coupled": True, "norm": True}), (cells.indrnn, {})):
        cells.layer(g, cell, x, UNITS, name=f"{cell.__name__}{len(options)}", **options)
    params = g.compile("numpy", dtype="float64").init(seed=0)
    assert (params["bf_lstm0"] == 1).all()
    assert (params["bi_lstm2"] == -1).all()
    assert "bf_lstm2" not in params
    assert not params["bi_lstm0"].any()
    assert (params["sc_lstm2"] == 1).all()
    assert (params["w_indrnn0"] >= 0).all()
    assert (params["w_indrnn0"] <= 1).all()
    W = params["Wo_lstm0"]
    np.testing.assert_allclose(W @ W.T, np.eye(UNITS), atol=1e-12)


# -- layers ------------------------------------------------------------------------------------------------------------


def test_a_step_in_equations_of_ones_own_is_the_layer(rng):
    g, own = Template("layer"), Template("own")
    h, c = cells.layer(g, cells.lstm, g.input("x", IN)[t], UNITS, name="k")
    g.output("o", h[t] + c[t])
    x, h, c = own.input("x", IN), own.variable("h", UNITS), own.variable("c", UNITS)
    h[0], c[0] = 0, 0
    h[t], c[t] = cells.lstm(cells.Scope(own, "k"), x[t], h[t - 1], c[t - 1])
    own.output("o", h[t] + c[t])
    nets = [template.compile("numpy", dtype="float64") for template in (g, own)]
    params, X = nets[0].init(seed=0), rng.normal(size=(STEPS, BATCH, IN))
    first, second = (net.run(params, "o", x=X) for net in nets)
    np.testing.assert_array_equal(first, second)


def test_encoder_and_decoder_on_two_axes(rng):
    g = Template("translate")
    x, y = g.input("x", IN, over=s), g.input("y", IN)
    y[0] = 0
    e, c = cells.layer(g, cells.lstm, x[s], UNITS, name="e", over=s)
    d = cells.layer(g, cells.gru, y[t - 1], UNITS, name="d", initial=e[S] + c[S])
    g.output("d", d[t])
    net = g.compile("numpy", dtype="float64")
    params, X, Y = net.init(seed=0), rng.normal(size=(4, BATCH, IN)), rng.normal(size=(3, BATCH, IN))
    p = {n[:-2]: v for n, v in params.items() if n.endswith("_e")}
    h = c = np.zeros((BATCH, UNITS))
    for now in X:
        h, c = lstm(p, now, h, c)
    p = {n[:-2]: v for n, v in params.items() if n.endswith("_d")}
    before = np.concatenate([np.zeros((1, BATCH, IN)), Y[:-1]])
    expected = looped(gru, p, before, (h + c,), {}, reverse=False)
    np.testing.assert_allclose(net.run(params, "d", x=X, y=Y), expected, rtol=0, atol=1e-12)


def test_a_layer_runs_along_the_other_axes_of_its_input(rng):
    """Letters over t make words over s, words make a sentence."""
    g = Template("words")
    letters = g.input("x", IN, over=(s, t))
    word = cells.layer(g, cells.elman, letters[s, t], UNITS, name="word")
    text = cells.layer(g, cells.elman, word[T, s], UNITS, name="text", over=s)
    g.output("end", text[S])
    net = g.compile("numpy", dtype="float64")
    params, X = net.init(seed=0), rng.normal(size=(3, 5, BATCH, IN))
    of = [{n.partition("_")[0]: v for n, v in params.items() if n.endswith(k)} for k in ("word", "text")]
    zero = (np.zeros((BATCH, UNITS)),)
    words = np.stack([looped(elman, of[0], now, zero, {}, False)[-1] for now in X])
    expected = looped(elman, of[1], words, zero, {}, False)[-1]
    np.testing.assert_allclose(net.run(params, "end", x=X), expected, rtol=0, atol=1e-12)


def test_the_clock_goes_on_from_where_it_stood(rng):
    g = Template("clockwork")
    start = g.input("h0", UNITS, over=None), g.input("k0", UNITS, over=None)
    h, k = cells.layer(g, cells.clockwork, g.input("x", IN)[t], UNITS, periods=[1, 3], initial=start)
    g.output("h", h[t])
    g.output("last", h[T])
    g.output("clock", k[T])
    net = g.compile("numpy", dtype="float64")
    params, X, zero = net.init(seed=0), rng.normal(size=(STEPS, BATCH, IN)), np.zeros((BATCH, UNITS))
    whole = net.run(params, "h", x=X, h0=zero, k0=zero)
    first = net.run(params, x=X[:2], h0=zero, k0=zero)
    rest = net.run(params, "h", x=X[2:], h0=first["last"], k0=np.broadcast_to(first["clock"], zero.shape))
    np.testing.assert_array_equal(np.concatenate([first["h"], rest]), whole)


def test_names_hold_for_several_layers_in_one_template():
    g = Template("several")
    x = g.input("x", IN)[t]
    cells.layer(g, cells.gru, x, UNITS)
    cells.layer(g, cells.gru, x, UNITS, name="k")
    cells.stack(g, cells.lstm, x, [UNITS, IN])
    cells.bidirectional(g, cells.lstm, x, UNITS, name="e")
    names = set(g.system.decls)
    assert {"h", "k", "z_h", "Wz_h", "z_k", "h1", "c_h1", "h2", "Wf_h2", "e_fwd", "c_e_bwd", "Uo_e_bwd"} <= names


def test_a_stack_adds_each_input_to_its_output():
    g = Template("deep")
    x, U = g.input("x", 3), g.param("U", (4, 3))
    y, layers = cells.stack(g, cells.lstm, U @ x[t], [2, 2], residual=True, bidirectional=True, name="d")
    assert str(y) == "y_d2[t]"
    assert y.shape == (4,)
    assert "y_d2[t] = concat(d2_fwd[t], d2_bwd[t]) + y_d1[t]" in str(g)
    assert "y_d1[t] = concat(d1_fwd[t], d1_bwd[t]) + U @ x[t]" in str(g)
    assert str(layers[1][1][0]) == "d2_bwd"


def test_a_deep_network_in_both_directions_with_states_to_start_from(rng):
    g = Template("deep")
    starts = [[g.param(f"{end}{k}", 2, "normal") for end in "lr"] for k in (1, 2)]
    x = g.input("x", 4)
    y, _ = cells.stack(g, cells.elman, x[t], [2, 2], bidirectional=True, residual=True, initial=starts)
    g.output("y", y)
    net = g.compile("numpy", dtype="float64")
    params, below = net.init(seed=0), rng.normal(size=(STEPS, BATCH, 4))
    found = net.run(params, "y", x=below)
    for k in (1, 2):
        ways = []
        for end, way in (("l", "fwd"), ("r", "bwd")):
            p = {letter: params[f"{letter}_h{k}_{way}"] for letter in "WUb"}
            ways.append(looped(elman, p, below, (params[f"{end}{k}"],), {}, way == "bwd"))
        below = below + np.concatenate(ways, axis=-1)
    np.testing.assert_allclose(found, below, rtol=0, atol=1e-12)


@every_cell
def test_a_folded_drawing_has_the_delay_of_every_state(case):
    cell, _, options, _ = CASES[case]
    g = Template("drawn")
    made = cells.layer(g, cell, g.input("x", IN)[t], UNITS, name="h", **options)
    picture = g.draw().picture
    marked = {k.source for k in picture.links if k.mark == "delay"}
    for state in made if isinstance(made, tuple) else (made,):
        assert str(state) in marked or f"{state}[t-1]" in picture.circles
