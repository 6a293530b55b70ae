"""Recurrence between hidden units, one output a step: characters of source code (book section 10.2, figure 10.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from common import draw, options, progress, result
from data import SYMBOLS, entropies, sources, windows

from unroll import Net, Template, ops, t
from unroll.optim import Adam, clip

TARGET = 2.6  # bits per character of files it has not seen, well below what counts of pairs give
HIDDEN, LENGTH, ROWS = 192, 48, 32


def elman(symbols: int, hidden: int) -> Template:
    """Equations 10.8 to 10.10 and 10.14: x reads a character, o predicts the next one."""
    g = Template("characters")
    x, y = g.input("x", dtype="int"), g.input("y", dtype="int")
    h0 = g.input("h0", hidden, over=None)
    U, V = g.param("U", (symbols, hidden)), g.param("V", (symbols, hidden))
    W = g.param("W", (hidden, hidden), init="orthogonal")
    b, c = g.param("b", hidden), g.param("c", symbols)
    h, o = g.variable("h", hidden), g.variable("o")
    h[0] = h0
    h[t] = ops.tanh(b + W @ h[t - 1] + U[x[t]])
    o[t] = c + V @ h[t]
    g.loss = ops.mean(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def bits(net: Net, params: dict[str, np.ndarray], codes: np.ndarray) -> float:
    """Cross-entropy in bits per character; each row's state goes on from window to window."""
    losses, h0 = [], np.zeros((ROWS, HIDDEN), "float32")
    for x, y in windows(codes, LENGTH, ROWS):
        run = net.run(params, ["loss", "h"], x=x, y=y, h0=h0)
        losses.append(run["loss"].mean())
        h0 = run["h"][-1]
    return float(np.mean(losses)) / math.log(2)


def main() -> None:
    """Train over and over on the one text, judge on the other."""
    args = options(__doc__, steps=2500)
    g = elman(len(SYMBOLS), HIDDEN)
    print(g, end="\n\n")
    draw(g, args)
    train, held_out = sources(2_000_000, args.seed)
    unigram, bigram = entropies(train, held_out)
    print(f"held-out bits per character: counts of characters {unigram:.2f}, of pairs {bigram:.2f}")

    net, adam = g.compile(args.backend), Adam()
    params = net.init(args.seed)
    before = bits(net, params, held_out)
    rows: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
    for step in (bar := progress(args, "elman")):
        if (pair := next(rows, None)) is None:  # the text again from its beginning
            rows, h0 = windows(train, LENGTH, ROWS), np.zeros((ROWS, HIDDEN), "float32")
            pair = next(rows)
        loss, grads, values = net.value_and_grad(params, None, "h", x=pair[0], y=pair[1], h0=h0)
        h0 = values["h"][-1]
        adam.rate = 3e-3 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 1.0))
        bar.set_postfix(bits=f"{loss / math.log(2):.2f}", refresh=False)
    result("bits per character", before, bigram, "pairs", bits(net, params, held_out), TARGET)


if __name__ == "__main__":
    main()
