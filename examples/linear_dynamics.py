"""A linear dynamical system learned from sunspots; its eigenvalues tell their cycle (book section 10.8, eq. 10.36)."""

from __future__ import annotations

import argparse

import numpy as np
from common import draw, options, progress, result
from data import sunspots

from unroll import Net, Template, cells, ops, t
from unroll.optim import Adam, clip

TARGET = 22.0  # sunspots, one year ahead, in the years 1921 to 2008; "as many as last year" gives about 30
TRIED = (2, 4, 6)  # numbers of states to choose from, by the error in the last years before those held out
KNOWN, CHOOSING = 221, 40  # years to learn from: 1700 to 1920; the last of them tell the number of states


def dynamics(states: int = 4) -> Template:
    """The state hears of each year's value x, and predicts the next one, o."""
    g = Template("lds")
    x, y = g.input("x", 1), g.input("y", 1)
    h = cells.layer(g, cells.lds, x[t], states)
    C, c = g.param("C", (1, states)), g.param("c", 1)
    o = g.variable("o")
    o[t] = c + C @ h[t]
    g.loss = ops.mean(ops.mse(o[t], y[t]), over=t)
    return g


def main() -> None:
    """Choose the number of states on years of their own, learn from all before 1921, run on through the rest."""
    args = options(__doc__, steps=3000)
    g = dynamics()
    print(g, end="\n\n")
    draw(g, args)
    years = sunspots().astype("float32")[:, None]  # one example: no batch axis
    x, y = years[:-1], years[1:]

    def error(net: Net, params: dict[str, np.ndarray], first: int, last: int | None = None) -> float:
        """Root mean square in sunspots of the predictions for some years, after all years before them."""
        return 50 * float(np.sqrt(np.mean((net.run(params, "o", x=x) - y)[first - 1 : last] ** 2)))

    found = {}
    for states in TRIED:
        net = dynamics(states).compile(args.backend)
        params = learn(net, x[: KNOWN - CHOOSING - 1], y[: KNOWN - CHOOSING - 1], args, f"{states} states")
        found[states] = error(net, params, KNOWN - CHOOSING, KNOWN - 1)
        print(f"{states} states: {found[states]:.1f} sunspots off in 1881 to 1920")
    chosen = min(TRIED, key=lambda states: found[states])
    net = dynamics(chosen).compile(args.backend)
    before = error(net, net.init(args.seed), KNOWN)
    params = learn(net, x[: KNOWN - 1], y[: KNOWN - 1], args, f"{chosen} states")

    A, B, C = (params[name].astype(float) for name in ("A_h", "B_h", "C"))
    print("left alone, x being its own prediction, the state goes on by A + B @ C, with the eigenvalues")
    for value in np.linalg.eigvals(A + B @ C):
        if value.imag >= 0:
            cycle = f", a cycle of {2 * np.pi / np.angle(value):.1f} years" if value.imag else ""
            print(f"  {value:.3f}: {abs(value):.3f} of it is left a year later{cycle}")
    trivial = 50 * float(np.sqrt(np.mean((x - y)[KNOWN - 1 :] ** 2)))
    result("sunspots, a year ahead", before, trivial, "last year", error(net, params, KNOWN), TARGET)


def learn(net: Net, x: np.ndarray, y: np.ndarray, args: argparse.Namespace, what: str) -> dict[str, np.ndarray]:
    """Adam on the whole series, with gradients clipped."""
    params, adam = net.init(args.seed), Adam()
    for step in (bar := progress(args, what)):
        loss, grads = net.value_and_grad(params, x=x, y=y)
        adam.rate = 1e-2 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 1.0))
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
    return params


if __name__ == "__main__":
    main()
