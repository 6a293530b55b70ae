"""A deep recurrent network against a shallow one of as many params: characters (book section 10.5, figure 10.13)."""

from __future__ import annotations

import math

import numpy as np
from common import draw, options, progress, result
from data import SYMBOLS, entropies, sources, windows

from unroll import Net, Template, cells, ops, t
from unroll.optim import Adam, clip

TARGET = 2.6  # bits per character of files it has not seen
LENGTH, ROWS = 48, 32


def deep(sizes: list[int], symbols: int = len(SYMBOLS)) -> Template:
    """Each layer reads the layer below at the same step; the states of all go on from window to window."""
    g = Template(f"deep{len(sizes)}")
    x, y = g.input("x", dtype="int"), g.input("y", dtype="int")
    start = [g.input(f"start{k}", size, over=None) for k, size in enumerate(sizes, 1)]
    E, V, c = g.param("E", (symbols, 32), "he"), g.param("V", (symbols, sizes[-1])), g.param("c", symbols)
    top, _ = cells.stack(g, cells.gru, E[x[t]], sizes, initial=start)
    g.loss = ops.mean(ops.cross_entropy(c + V @ top, y[t]), over=t)
    return g


def states(net: Net) -> list[str]:
    """The names of the layers' states."""
    return [f"h{k}" for k, _ in enumerate((d for d in net.system.decls if d.startswith("start")), 1)]


def bits(net: Net, params: dict[str, np.ndarray], codes: np.ndarray) -> float:
    """Cross-entropy in bits per character."""
    losses, carried = [], zeros(net, params)
    for x, y in windows(codes, LENGTH, ROWS):
        run = net.run(params, ["loss", *states(net)], x=x, y=y, **carried)
        carried = {f"start{k}": run[f"h{k}"][-1] for k, _ in enumerate(carried, 1)}
        losses.append(run["loss"].mean())
    return float(np.mean(losses)) / math.log(2)


def zeros(net: Net, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The states before the first window."""
    return {f"start{h[1:]}": np.zeros((ROWS, len(params[f"bz_{h}"])), net.dtype) for h in states(net)}


def main() -> None:
    """The same updates on the same windows, for one layer and for two."""
    args = options(__doc__, steps=500)
    train, held_out = sources(2_000_000, args.seed)
    _, bigram = entropies(train, held_out)
    print(deep([96, 96]), end="\n\n")
    draw(deep([96, 96]), args)
    found = {}
    for name, sizes in (("one layer", [160]), ("two layers", [96, 96])):
        net, adam = deep(sizes).compile(args.backend), Adam()
        params = net.init(args.seed)
        if name == "two layers":
            before = bits(net, params, held_out)
        rows = windows(train, LENGTH, ROWS)
        carried = zeros(net, params)
        for step, (x, y) in zip(bar := progress(args, name), rows, strict=False):
            loss, grads, now = net.value_and_grad(params, None, states(net), x=x, y=y, **carried)
            carried = {f"start{k}": now[f"h{k}"][-1] for k, _ in enumerate(carried, 1)}
            adam.rate = 5e-3 * (1 - step / args.steps)
            params = adam.update(params, clip(grads, 1.0))
            bar.set_postfix(bits=f"{loss / math.log(2):.2f}", refresh=False)
        found[name] = bits(net, params, held_out)
        count = sum(p.size for p in params.values())
        print(f"{name}: {count} params, {found[name]:.3f} bits per held-out character")
    result("bits per character", before, bigram, "pairs", found["two layers"], TARGET)


if __name__ == "__main__":
    main()
