"""A linear dynamical system learned from sunspots; its eigenvalues tell their cycle (book section 10.8, eq. 10.36)."""

from __future__ import annotations

import numpy as np
from common import draw, options, progress, result
from data import sunspots

from unroll import Template, cells, ops, t
from unroll.optim import Adam, clip

TARGET = 22.0  # sunspots, one year ahead, in the years 1921 to 2008; "as many as last year" gives about 30
KNOWN = 221  # years to learn from: 1700 to 1920


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
    """Learn from the first years; run on through the rest, one year ahead."""
    args = options(__doc__, steps=3000)
    g = dynamics()
    print(g, end="\n\n")
    draw(g, args)
    years = sunspots().astype("float32")[:, None]  # one example: no batch axis
    x, y = years[:-1], years[1:]

    net, adam = g.compile(args.backend), Adam()
    params = net.init(args.seed)

    def error(params: dict[str, np.ndarray]) -> float:
        """Root mean square in sunspots over the held-out years."""
        return 50 * float(np.sqrt(np.mean((net.run(params, "o", x=x) - y)[KNOWN - 1 :] ** 2)))

    before = error(params)
    for step in (bar := progress(args, "sunspots")):
        loss, grads = net.value_and_grad(params, x=x[: KNOWN - 1], y=y[: KNOWN - 1])
        adam.rate = 1e-2 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 1.0))
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    A, B, C = (params[name].astype(float) for name in ("A_h", "B_h", "C"))
    print("left alone, x being its own prediction, the state goes on by A + B @ C, with the eigenvalues")
    for value in np.linalg.eigvals(A + B @ C):
        if value.imag >= 0:
            cycle = f", a cycle of {2 * np.pi / np.angle(value):.1f} years" if value.imag else ""
            print(f"  {value:.3f}: {abs(value):.3f} of it is left a year later{cycle}")
    trivial = 50 * float(np.sqrt(np.mean((x - y)[KNOWN - 1 :] ** 2)))
    result("sunspots, a year ahead", before, trivial, "last year", error(params), TARGET)


if __name__ == "__main__":
    main()
