"""Back-propagation through time is a recurrence too: it is printed, drawn, and differentiated a second time."""

from __future__ import annotations

import numpy as np

from unroll import Template, ops, t


def elman() -> Template:
    """The book's figure 10.3."""
    g = Template("elman")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4))
    b, c = g.param("b", 4), g.param("c", 5)
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def main() -> None:
    """Print the equations, draw them, and multiply by the Hessian."""
    g = elman()
    print(g.adjoint(), end="\n\n")
    g.adjoint().draw("adjoint.svg")

    net = g.compile(backend="numpy", dtype="float64")
    print(net.program(grad=True), end="\n\n")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2, 3)), rng.integers(0, 5, (20, 2))
    params = net.init(seed=0)
    direction = {name: rng.normal(size=value.shape) for name, value in params.items()}
    _, grads = net.value_and_grad(params, x=x, y=y)
    _, slope = net.jvp(params, direction, x=x, y=y)
    print(f"slope along a direction: forward {slope:.12f}, reverse {inner(grads, direction):.12f}")

    step = 1e-6
    ahead = {name: value + step * direction[name] for name, value in params.items()}
    back = {name: value - step * direction[name] for name, value in params.items()}
    difference = inner(net.value_and_grad(ahead, x=x, y=y)[1], direction)
    difference -= inner(net.value_and_grad(back, x=x, y=y)[1], direction)
    product = inner(net.hessian_vector(params, direction, x=x, y=y), direction)
    print(f"curvature along it: adjoint of the adjoint {product:.6f}, differences {difference / (2 * step):.6f}")


def inner(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The inner product of two dicts of arrays."""
    return float(sum((a[name] * b[name]).sum() for name in b))


if __name__ == "__main__":
    main()
