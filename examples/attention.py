"""An encoder over s, a decoder over t, and attention between them: two axes, no special layer."""

from __future__ import annotations

import numpy as np

import unroll
from unroll import Template, ops, t

s, S = unroll.axis("s")


def translator(inputs: int = 4, hidden: int = 6) -> Template:
    """Bahdanau et al. 2015, with plain recurrent cells (book section 12.4.5.1)."""
    g = Template("attention")
    x, y = g.input("x", inputs, over=s), g.input("y", hidden)
    W, U = g.param("W", (hidden, hidden)), g.param("U", (hidden, inputs))
    Q, K, v = g.param("Q", (hidden, hidden)), g.param("K", (hidden, hidden)), g.param("v", hidden, init="normal")
    D, C = g.param("D", (hidden, hidden)), g.param("C", (hidden, hidden))
    e, a, ctx, d = g.variable("e", hidden), g.variable("a"), g.variable("ctx"), g.variable("d", hidden)

    e[0] = 0
    e[s] = ops.tanh(W @ e[s - 1] + U @ x[s])
    d[0] = e[S]
    a[t, s] = v @ ops.tanh(Q @ d[t - 1] + K @ e[s])
    alpha = ops.softmax(a[t, s], over=s)
    ctx[t] = ops.sum(alpha * e[s], over=s)
    d[t] = ops.tanh(D @ d[t - 1] + C @ ctx[t])
    g.output("alpha", alpha)
    g.loss = ops.mean(ops.mse(d[t], y[t]), over=t)
    return g


def main() -> None:
    """Run both axes at lengths of their own, and look at where the decoder attends."""
    g = translator()
    print(g, end="\n\n")
    g.draw("attention.svg")
    net = g.compile(backend="numpy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 2, 4)).astype(np.float32)  # S = 7 steps, 2 examples
    y = rng.normal(size=(3, 2, 6)).astype(np.float32)  # T = 3 steps
    params = net.init(seed=0)
    alpha = net.run(params, "alpha", x=x, T=3)
    print("weights of the first example:", np.array2string(alpha[:, :, 0], precision=3), sep="\n")
    print("they sum to one:", bool(np.allclose(alpha.sum(axis=1), 1)))
    loss, grads = net.value_and_grad(params, x=x, y=y)
    print(f"loss {loss:.4f}; gradient of v: {np.array2string(grads['v'], precision=4)}")


if __name__ == "__main__":
    main()
