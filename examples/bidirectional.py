"""Two recurrences in opposite directions, read together: each output sees the whole sequence (book section 10.3)."""

from __future__ import annotations

import numpy as np

from unroll import T, Template, ops, t


def tagger(inputs: int = 3, hidden: int = 5, tags: int = 4) -> Template:
    """The book's figure 10.11: h runs forward, r backward."""
    g = Template("bidirectional")
    x, y = g.input("x", inputs), g.input("y", dtype="int")
    W, U = g.param("W", (hidden, hidden)), g.param("U", (hidden, inputs))
    R, Q = g.param("R", (hidden, hidden)), g.param("Q", (hidden, inputs))
    V, c = g.param("V", (tags, 2 * hidden)), g.param("c", tags)
    h, r, o = g.variable("h", hidden), g.variable("r", hidden), g.variable("o")
    h[0] = 0
    r[T + 1] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    r[t] = ops.tanh(R @ r[t + 1] + Q @ x[t])
    o[t] = c + V @ ops.concat([h[t], r[t]])
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def main() -> None:
    """The first output depends on the last input, and the program has a loop each way."""
    g = tagger()
    g.draw("bidirectional.svg")
    g.unfold(4).draw("bidirectional-unfolded.svg")
    net = g.compile(backend="numpy", dtype="float64")
    print(net.program("o"), end="\n\n")
    params = net.init(seed=0)
    x = np.random.default_rng(0).normal(size=(6, 3))  # one example: the batch axis may be left out
    before = net.run(params, ("o", 1), x=x)
    x[-1] += 1.0
    after = net.run(params, ("o", 1), x=x)
    print("o[1] moved by", np.array2string(after - before, precision=5), "when x[6] did")


if __name__ == "__main__":
    main()
