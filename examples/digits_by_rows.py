"""A sequence read into one output: a digit's picture, row by row (book section 10.2, figure 10.5)."""

from __future__ import annotations

import numpy as np
from common import draw, options, progress, result
from data import digits

from unroll import T, Template, cells, ops, t
from unroll.optim import Adam, clip

TARGET = 0.9  # of held-out digits named rightly, where the commonest digit would be right for a tenth
HELD_OUT = 450  # the last ones, by writers of their own
BATCH = 64


def reader(cell: cells.layers.Cell = cells.elman, hidden: int = 64) -> Template:
    """The loss stands at the last step alone; the network has to remember what it read."""
    g = Template("digits")
    x, y = g.input("x", 8), g.input("y", over=None, dtype="int")
    V, c = g.param("V", (10, hidden)), g.param("c", 10)
    h = cells.layer(g, cell, x[t], hidden, name="h")
    o = g.variable("o")
    o[()] = c + V @ h[T]
    g.loss = ops.cross_entropy(o, y)
    return g


def main() -> None:
    """Train on digits in random order, judge on writers it has not seen."""
    args = options(__doc__, steps=1500)
    g = reader()
    print(g, end="\n\n")
    draw(g, args)
    images, classes = digits()
    rows = images.swapaxes(0, 1)  # (8 steps, 1797 examples, 8 pixels)
    known = len(classes) - HELD_OUT

    net, adam = g.compile(args.backend), Adam()
    params = net.init(args.seed)

    def right(params: dict[str, np.ndarray]) -> float:
        scores = net.run(params, "o", x=rows[:, known:])
        return float((scores.argmax(-1) == classes[known:]).mean())

    before = right(params)
    rng = np.random.default_rng(args.seed)
    for step in (bar := progress(args, "digits")):
        batch = rng.integers(0, known, BATCH)
        loss, grads = net.value_and_grad(params, x=rows[:, batch], y=classes[batch])
        adam.rate = 5e-3 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 1.0))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    commonest = np.bincount(classes[:known]).argmax()
    trivial = float((classes[known:] == commonest).mean())
    result("share right", before, trivial, "commonest digit", right(params), TARGET)


if __name__ == "__main__":
    main()
