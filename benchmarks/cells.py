"""The cells that `compare.py` times: equations for `unroll`, weights and inputs, and the stacked weights of the peers.

The equations have the book's separate matrices, U of the input and W of the state, one of each a gate. A peer stores
them stacked, as its own experts would, and its gradients are taken apart again outside the time measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, Any]
Size = tuple[int, int, int, int]
"""T, B, D, H."""

STACKS: dict[str, dict[str, tuple[str, ...]]] = {
    "elman": {"U": ("Uh",), "W": ("Wh",), "b": ("bh",)},
    "lstm": {"U": ("Ui", "Uf", "Ug", "Uo"), "W": ("Wi", "Wf", "Wg", "Wo"), "b": ("bi", "bf", "bg", "bo")},
    "gru": {"U": ("Ur", "Uz", "Un"), "W": ("Wr", "Wz", "Wn"), "b": ("br", "bz", "bn"), "c": ("cn",)},
    "odd": {
        "U": ("Ui", "Uf", "Ug", "Uo"),
        "W": ("Wi", "Wf", "Wg", "Wo"),
        "s": ("si", "sf", "sg", "so"),
        "b": ("bi", "bf", "bg", "bo"),
        "p": ("pi", "pf", "po"),
        "sc": ("sc",),
        "bc": ("bc",),
    },
}
"""For each cell the peers' stacked arrays, and the separate params that each is made of (gates in PyTorch's order)."""
TITLES = {
    "elman": "Elman network (tanh)",
    "lstm": "LSTM",
    "gru": "GRU, reset after the product",
    "odd": "LSTM with peepholes, layer norm on each gate's pre-activation and on c before the output's tanh",
}
EPSILON = 1e-5


def draw(cell: str, size: Size, seed: int = 0) -> tuple[Arrays, Any]:
    """Float32 params by name and the input of shape (T, B, D); nothing is zero, so every gradient is tried."""
    steps, batch, inputs, hidden = size
    rng = np.random.default_rng(seed)
    params = {}
    for kind, names in STACKS[cell].items():
        for name in names:
            if kind in "UW":
                value = rng.uniform(-1, 1, (hidden, inputs if kind == "U" else hidden)) / np.sqrt(hidden)
            else:
                value = (kind[0] == "s") + 0.1 * rng.normal(size=hidden)  # gains about 1, the rest about 0
            params[name] = value.astype(np.float32)
    return params, rng.normal(size=(steps, batch, inputs)).astype(np.float32)


def stacked(cell: str, params: Arrays) -> Arrays:
    """The params as the peers store them."""
    return {kind: np.concatenate([params[n] for n in names]) for kind, names in STACKS[cell].items()}


def separate(cell: str, arrays: Arrays) -> Arrays:
    """Stacked gradients by the names of the separate params."""
    parts: Arrays = {}
    for kind, names in STACKS[cell].items():
        parts |= dict(zip(names, np.split(np.asarray(arrays[kind]), len(names)), strict=True))
    return parts


def template(cell: str, inputs: int, hidden: int) -> Any:
    """The cell's equations, with the squares of h summed over all steps as the loss."""
    from unroll import Template, ops, t  # here, so that the peers' processes are free of it

    g = Template(cell)
    x = g.input("x", inputs)
    widths = {"U": (hidden, inputs), "W": (hidden, hidden)}
    p = {n: g.param(n, widths.get(k, hidden)) for k, names in STACKS[cell].items() for n in names}
    h, c = g.variable("h", hidden), g.variable("c", hidden)
    h[0] = 0
    if cell == "elman":
        h[t] = ops.tanh(p["bh"] + p["Wh"] @ h[t - 1] + p["Uh"] @ x[t])
    elif cell == "lstm":
        c[0] = 0
        i = ops.sigmoid(p["bi"] + p["Ui"] @ x[t] + p["Wi"] @ h[t - 1])
        f = ops.sigmoid(p["bf"] + p["Uf"] @ x[t] + p["Wf"] @ h[t - 1])
        u = ops.tanh(p["bg"] + p["Ug"] @ x[t] + p["Wg"] @ h[t - 1])
        o = ops.sigmoid(p["bo"] + p["Uo"] @ x[t] + p["Wo"] @ h[t - 1])
        c[t] = f * c[t - 1] + i * u
        h[t] = o * ops.tanh(c[t])
    elif cell == "gru":
        r = ops.sigmoid(p["br"] + p["Ur"] @ x[t] + p["Wr"] @ h[t - 1])
        z = ops.sigmoid(p["bz"] + p["Uz"] @ x[t] + p["Wz"] @ h[t - 1])
        n = ops.tanh(p["bn"] + p["Un"] @ x[t] + r * (p["Wn"] @ h[t - 1] + p["cn"]))
        h[t] = (1 - z) * n + z * h[t - 1]
    else:
        c[0] = 0
        i = ops.layer_norm(p["Ui"] @ x[t] + p["Wi"] @ h[t - 1], p["si"], p["bi"], eps=EPSILON)
        f = ops.layer_norm(p["Uf"] @ x[t] + p["Wf"] @ h[t - 1], p["sf"], p["bf"], eps=EPSILON)
        u = ops.layer_norm(p["Ug"] @ x[t] + p["Wg"] @ h[t - 1], p["sg"], p["bg"], eps=EPSILON)
        o = ops.layer_norm(p["Uo"] @ x[t] + p["Wo"] @ h[t - 1], p["so"], p["bo"], eps=EPSILON)
        c[t] = ops.sigmoid(f + p["pf"] * c[t - 1]) * c[t - 1] + ops.sigmoid(i + p["pi"] * c[t - 1]) * ops.tanh(u)
        h[t] = ops.sigmoid(o + p["po"] * c[t]) * ops.tanh(ops.layer_norm(c[t], p["sc"], p["bc"], eps=EPSILON))
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


def written(cell: str, m: Any, p: Arrays, x: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """One step as the equations are written, a product for every matrix: from the input and (h, c) to the next (h, c).

    m  the library's functions: sigmoid, tanh, normal(array, gain, shift) over the last axis
    p  separate params, by the names of the equations
    """

    def sums(gate: str) -> Any:
        return x @ p[f"U{gate}"].T + h @ p[f"W{gate}"].T

    h, *rest = state
    if cell == "elman":
        return (m.tanh(p["bh"] + sums("h")),)
    if cell == "gru":
        r, z = m.sigmoid(p["br"] + sums("r")), m.sigmoid(p["bz"] + sums("z"))
        n = m.tanh(p["bn"] + x @ p["Un"].T + r * (h @ p["Wn"].T + p["cn"]))
        return ((1 - z) * n + z * h,)
    c = rest[0]
    if cell == "lstm":
        i, f, o = (m.sigmoid(p[f"b{gate}"] + sums(gate)) for gate in "ifo")
        c = f * c + i * m.tanh(p["bg"] + sums("g"))
        return o * m.tanh(c), c
    i, f, g, o = (m.normal(sums(gate), p[f"s{gate}"], p[f"b{gate}"]) for gate in "ifgo")
    c = m.sigmoid(f + p["pf"] * c) * c + m.sigmoid(i + p["pi"] * c) * m.tanh(g)
    return m.sigmoid(o + p["po"] * c) * m.tanh(m.normal(c, p["sc"], p["bc"])), c


def step(cell: str, m: Any, p: Arrays, a: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """One step as an expert writes it: from the input's share `a` of the products and (h, c) to the next (h, c).

    m  the library's functions: sigmoid, tanh, split(array, n), norm(array) over the last axis, product(a, h, W)
    """
    h, *rest = state
    if cell == "elman":
        return (m.tanh(m.product(a, h, p["W"])),)
    if cell == "gru":
        (ar, az, an), (wr, wz, wn) = m.split(a, 3), m.split(m.product(None, h, p["W"]), 3)
        z = m.sigmoid(az + wz)
        n = m.tanh(an + m.sigmoid(ar + wr) * (wn + p["c"]))
        return (n + z * (h - n),)
    c = rest[0]
    sums = m.product(a, h, p["W"])
    if cell == "lstm":
        i, f, g, o = m.split(sums, 4)
        c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
        return m.sigmoid(o) * m.tanh(c), c
    normal = m.norm(sums.reshape(len(sums), 4, -1)).reshape(sums.shape) * p["s"] + p["b"]
    i, f, g, o = m.split(normal, 4)
    pi, pf, po = m.split(p["p"], 3)
    c = m.sigmoid(f + pf * c) * c + m.sigmoid(i + pi * c) * m.tanh(g)
    return m.sigmoid(o + po * c) * m.tanh(m.norm(c) * p["sc"] + p["bc"]), c
