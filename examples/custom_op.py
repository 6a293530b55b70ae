"""An operation of one's own: a smooth step, defined from other operations with a derivative of its own choice."""

from __future__ import annotations

import numpy as np

from unroll import Template, ops, t

straight_through = ops.define(
    "straight_through_sign",
    ops.elementwise,
    lambda g, y, x: g * ops.where(ops.abs(x) <= 1, 1.0, 0.0),
    body=lambda x: ops.sign(x),
    analytic=False,
    doc="The sign of x; its derivative is that of x clipped to [-1, 1] (Bengio et al. 2013).",
)


def binary_memory(size: int = 4) -> Template:
    """A recurrent network whose units say yes or no."""
    g = Template("binary")
    x, y = g.input("x", 2), g.input("y", size)
    W, U, h = g.param("W", (size, size)), g.param("U", (size, 2)), g.variable("h", size)
    h[0] = 0
    h[t] = straight_through(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.mse(h[t], y[t]), over=t)
    return g


def main() -> None:
    """The hidden units are -1, 0 or 1, and yet there is a gradient."""
    g = binary_memory()
    print(g.adjoint(), end="\n\n")
    net = g.compile(backend="numpy")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3, 2)), np.ones((6, 3, 4))
    params = net.init(seed=0)
    print("values of h:", np.unique(net.run(params, "h", x=x)))
    _, grads = net.value_and_grad(params, x=x, y=y)
    print("gradient of U:", np.array2string(grads["U"], precision=3), sep="\n")


if __name__ == "__main__":
    main()
