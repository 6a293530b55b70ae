"""A recurrent network as a directed graphical model (book section 10.2.3): what depends on what, and what it costs."""

from __future__ import annotations

from itertools import product

import numpy as np

from unroll import Template, ops, t
from unroll.analysis import Model

K, LENGTH = 3, 4


def network(recurrent: bool) -> Model:
    """y[t] ~ softmax(o[t]), with a state that remembers (book figure 10.8), or one that sees the last y alone."""
    g = Template("recurrent" if recurrent else "markov")
    y = g.input("y", dtype="int")
    W, E, V = g.param("W", (8, 8), "normal"), g.param("E", (K, 8), "glorot"), g.param("V", (K, 8))
    h, o = g.variable("h", 8), g.variable("o")
    y[0] = 0
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + E[y[t - 1]]) if recurrent else ops.tanh(W @ E[y[t - 1]])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return Model(g, {"y": ("categorical", "o")})


def information(joint: np.ndarray) -> float:
    """I(y[1]; y[3] | y[2]) in nats: 0 just where they are independent given y[2]."""
    p = joint.sum(3)
    return float(
        (p * np.log(p * p.sum((0, 2), keepdims=True) / p.sum(2, keepdims=True) / p.sum(0, keepdims=True))).sum()
    )


def main() -> None:
    """Ask the graphs, fit both to a source that looks two steps back, and compare the answers with probabilities."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, K, (LENGTH, 500))
    for step in range(2, LENGTH):
        copied = rng.random(500) < 0.8
        source[step, copied] = source[step - 2, copied]
    listed = np.array(list(product(range(K), repeat=LENGTH))).T
    for recurrent in (True, False):
        model = network(recurrent)
        bayes = model.unfold(LENGTH)
        print(model, bayes, sep="\n  P(y) = ")
        for given in (("y", 2), ("h", 2)):
            print(" ", bayes.independent(("y", 1), ("y", 3), given=given))
        edges = ", ".join(f"{a} -> {b}" for a, b in bayes.marginalise().edges)
        print(f"  without its deterministic variables: {edges}")
        for steps in (2, 10, 100):
            counts = [model.unfold(steps).parameters(form) for form in ("joint", "conditional", "recurrent")]
            joint, tables, shared = (str(n) if n < 10**9 else f"{n:.1e}" for n in counts)
            print(
                f"  T = {steps:3}: {joint} numbers as one table, {tables} as one for each y[t], {shared} as a network"
            )
        net = model.compile("numpy", dtype="float64")
        params = net.init(seed=0)
        for _ in range(250):
            _, grads = net.value_and_grad(params, y=source)
            params = {name: value - 0.3 * grads[name] for name, value in params.items()}
        p = np.exp(net.log_prob(params, y=listed))
        drawn = net.sample(params, seed=1, T=LENGTH, batch=20_000)["y"]
        often = np.bincount(K ** np.arange(LENGTH)[::-1] @ drawn, minlength=K**LENGTH) / drawn.shape[1]
        print(
            f"  fitted: {net.loss(params, y=source) / LENGTH:.3f} nats a step; probabilities add up to {p.sum():.12f}"
        )
        print(f"  I(y[1]; y[3] | y[2]) = {information(p.reshape((K,) * LENGTH)):.1e} nats")
        for k in np.argsort(-p)[:3]:
            print(f"  y = {listed[:, k]}: probability {p[k]:.4f}, drawn {often[k]:.4f} of the time")
        print()


if __name__ == "__main__":
    main()
