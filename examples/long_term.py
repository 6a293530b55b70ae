"""Gradients that vanish, explode and are held: remember the first symbol (book sections 10.7, 10.10 and 10.11)."""

from __future__ import annotations

import argparse
import importlib.util
import math

import numpy as np
from common import draw, options, progress, result

from unroll import Net, T, Template, cells, ops, t
from unroll.flow import Flow, flow
from unroll.optim import Adam, clip, global_norm

TARGET = 0.95  # of first symbols named rightly after 60 steps, by the LSTM; guessing names a quarter
KINDS, OTHERS, UNITS = 4, 4, 24  # symbols to remember, symbols that come after, hidden units
FAR, NEAR, ROWS = 60, 30, 64  # lengths of the sequences, examples at once


def memory(cell: cells.layers.Cell) -> Template:
    """Only the last step is asked, and only about the first."""
    g = Template(cell.__name__)
    x, y = g.input("x", dtype="int"), g.input("y", over=None, dtype="int")
    E, V, c = g.param("E", (KINDS + OTHERS, 8), "he"), g.param("V", (KINDS, UNITS)), g.param("c", KINDS)
    made = cells.layer(g, cell, E[x[t]], UNITS, name="h")
    h = made[0] if isinstance(made, tuple) else made
    o = g.variable("o")
    o[()] = c + V @ h[T]
    g.loss = ops.cross_entropy(o, y)
    return g


def symbols(rng: np.random.Generator, steps: int, rows: int = ROWS) -> dict[str, np.ndarray]:
    """A symbol to remember, then others that say nothing."""
    x = rng.integers(KINDS, KINDS + OTHERS, (steps, rows))
    x[0] = rng.integers(0, KINDS, rows)
    return {"x": x, "y": x[0]}


def begun(net: Net, args: argparse.Namespace, **factors: float) -> dict[str, np.ndarray]:
    """New params; `W_h` times a factor (it is orthogonal), or a bias at a number."""
    params = net.init(args.seed)
    for name, value in factors.items():
        params[name] = params[name] * np.float32(value) if name == "W_h" else np.full_like(params[name], value)
    return params


def train(
    net: Net,
    params: dict[str, np.ndarray],
    steps: int,
    args: argparse.Namespace,
    name: str,
    *,
    rate: float = 0.0,
    norm: float = math.inf,
) -> dict[str, np.ndarray]:
    """Plain gradient descent with a `rate`, Adam without; gradients clipped to `norm`."""
    rng, adam, largest = np.random.default_rng(args.seed), Adam(5e-3), 0.0
    for _ in (bar := progress(args, name)):
        loss, grads = net.value_and_grad(params, **symbols(rng, steps))
        largest = max(largest, global_norm(grads))
        grads = clip(grads, norm)
        params = {k: params[k] - rate * grads[k] for k in grads} if rate else adam.update(params, grads)
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    print(f"{name}: {right(net, params, steps):.2f} right after {steps} steps; largest gradient norm {largest:.3g}")
    return params


def right(net: Net, params: dict[str, np.ndarray], steps: int) -> float:
    """The share of sequences not seen before whose first symbol is named."""
    fresh = symbols(np.random.default_rng(10**6), steps, 500)
    return float((net.run(params, "o", x=fresh["x"]).argmax(-1) == fresh["y"]).mean())


def main() -> None:
    """The Jacobians of untrained networks first, and then what comes of them."""
    args = options(__doc__, steps=300)
    simple, gated = memory(cells.elman), memory(cells.lstm)
    print(simple, gated, sep="\n\n", end="\n\n")
    draw(gated, args)
    elman, lstm = simple.compile(args.backend), gated.compile(args.backend)
    one = symbols(np.random.default_rng(args.seed), FAR, 1)["x"][:, 0]

    vanishing, exploding = begun(elman, args, W_h=0.7), begun(elman, args, W_h=1.3)
    holding = begun(lstm, args, bf_h=4.0)
    flows = {
        "Elman, W of norm 0.7": flow(elman, vanishing, "h", x=one),
        "Elman, W of norm 2": flow(elman, begun(elman, args, W_h=2.0), "h", x=one),
        "LSTM, forget bias 4": flow(lstm, holding, "h", x=one),
    }
    for name, found in flows.items():
        print(f"{name}: dh[{FAR}]/dh[1] has norm {found.norms[0]:.3g}, {found.rate:.3f} times a step")
    plot(flows, args)

    print()
    train(elman, vanishing, FAR, args, "Elman, W of norm 0.7, Adam", norm=1.0)
    train(elman, exploding, NEAR, args, "Elman, W of norm 1.3, descent", rate=0.5)
    train(elman, exploding, NEAR, args, "Elman, W of norm 1.3, descent, clipped", rate=0.5, norm=1.0)
    before = right(lstm, holding, FAR)
    params = train(lstm, holding, FAR, args, "LSTM, forget bias 4, Adam", norm=1.0)
    result(f"share right, {FAR} steps on", before, 1 / KINDS, "guessing", right(lstm, params, FAR), TARGET)


def plot(flows: dict[str, Flow], args: argparse.Namespace) -> None:
    """Norms and spectral radii over the distance, where matplotlib is there to draw them."""
    if importlib.util.find_spec("matplotlib") is None:
        print("(no plot without matplotlib)")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, found) in enumerate(flows.items()):
        found.plot(axes, label=name, color=f"C{number}")
    figure.savefig(args.out / "long_term.svg")
    print(f"drawn: {args.out / 'long_term.svg'}")


if __name__ == "__main__":
    main()
