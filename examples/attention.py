"""An encoder-decoder that looks back at all it has read (book section 12.4.5.1; Bahdanau, Cho and Bengio 2015)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from common import options, result
from encoder_decoder import BEGIN, HIDDEN, LETTER, SYMBOLS, Dates, S, draw, learn, s, translator

from unroll import Template, cells, ops, t
from unroll.initializers import uniform

TARGET = 0.95  # of held-out dates written without a mistake, and more than the same network does without attention
ALIGNED = 32  # units that compare a state of the decoder with one of the encoder


def attending(letters: int, hidden: int = HIDDEN) -> Template:
    """The network of encoder_decoder.py, whose decoder also reads a mean of the encoder's states, weighted by alpha."""
    g = Template("attention")
    x, y = g.input("x", over=s, dtype="int"), g.input("y", dtype="int")
    E, D = g.param("E", (letters, LETTER)), g.param("D", (len(SYMBOLS) + 1, LETTER))
    Q, K = g.param("Q", (ALIGNED, hidden)), g.param("K", (ALIGNED, hidden))
    v = g.param("v", ALIGNED, init=uniform(-0.2, 0.2))
    V, c = g.param("V", (len(SYMBOLS), hidden)), g.param("c", len(SYMBOLS))
    d, o, p = g.variable("d", hidden), g.variable("o"), g.variable("p", (), dtype="int")
    a, alpha, ctx = g.variable("a"), g.variable("alpha"), g.variable("ctx")

    e = cells.layer(g, cells.gru, E[x[s]], hidden, name="e", over=s)
    p[0] = BEGIN
    d[0] = e[S]
    a[t, s] = ops.dot(v, ops.tanh(Q @ d[t - 1] + K @ e[s]))
    alpha[t, s] = ops.softmax(a[t, s], over=s)
    ctx[t] = ops.sum(alpha[t, s] * e[s], over=s)
    d[t] = cells.gru(cells.Scope(g, "d"), ops.concat([D[p[t - 1]], ctx[t]]), d[t - 1])
    o[t] = c + V @ d[t]
    p[t] = ops.argmax(o[t])
    g.loss = ops.mean(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def aligned(alpha: np.ndarray, text: str, written: str) -> str:
    """The weights as text, one row for each symbol written: blank below an eighth, # above a half."""
    rows = ["".join(" .+#"[int(np.searchsorted([1 / 8, 1 / 4, 1 / 2], weight))] for weight in row) for row in alpha]
    return "\n".join([f"    {text}", *(f"  {symbol} {row}" for symbol, row in zip(written, rows, strict=True))])


def picture(alpha: np.ndarray, text: str, written: str, path: Path) -> None:
    """The weights as a picture, where matplotlib is there."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.imshow(alpha, cmap="Greys", vmin=0, vmax=1)
    axes.set_xticks(range(len(text)), list(text))
    axes.set_yticks(range(len(written)), list(written))
    axes.set(xlabel="read", ylabel="written", title="weights alpha[t, s]")
    figure.savefig(path)
    plt.close(figure)
    print(f"drawn: {path}")


def main() -> None:
    """The same dates, seed and number of updates, with attention and without."""
    args = options(__doc__, steps=400)
    dates = Dates(np.random.default_rng(args.seed))
    g, without = attending(len(dates.letters)), translator(len(dates.letters))
    print(g, end="\n\n")
    draw(g, args)
    net = g.compile(args.backend)
    before = dates.right(net, net.init(args.seed))
    params = learn(g, dates, args, "attention")
    plain = dates.right(without.compile(args.backend), learn(without, dates, args, "without"))
    after = dates.right(net, params)

    run = net.run(params, ["p", "alpha"], x=dates.x[:, -1:], T=len(dates.y))
    text, written = dates.texts[-1], "".join(SYMBOLS[k] for k in run["p"][:, 0])
    alpha = run["alpha"][:, -len(text) :, 0]
    print(aligned(alpha, text, written))
    picture(alpha, text, written, args.out / "alignment.svg")
    print(f"dates right after as many updates: {after:.3f} with attention, {plain:.3f} without")
    result("dates right", before, dates.trivial(), "digits copied", after, TARGET)


if __name__ == "__main__":
    main()
