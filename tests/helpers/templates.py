"""Templates that many tests read, written once."""

from __future__ import annotations

from unroll import Template, ops, t


def elman(inputs: int = 3, hidden: int = 4, outputs: int = 5) -> Template:
    """The book's recurrent network (10.8) to (10.11) and its loss, with labels as targets."""
    g = Template("elman")
    x, y = g.input("x", inputs), g.input("y", dtype="int")
    U, W, V = g.param("U", (hidden, inputs)), g.param("W", (hidden, hidden)), g.param("V", (outputs, hidden))
    b, c = g.param("b", hidden), g.param("c", outputs)
    h, o = g.variable("h", hidden), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g
