"""A second-order digital filter: two delays on the output, one on the input; checked against SciPy if it is there."""

from __future__ import annotations

import numpy as np

from unroll import Template, ops, t


def biquad() -> Template:
    """The difference equation as it is printed in a book on signals."""
    g = Template("filter")
    x, y = g.input("x"), g.variable("y", ())
    b0, b1, a1, a2 = g.param("b0"), g.param("b1"), g.param("a1"), g.param("a2")
    x[0] = 0
    y[0], y[-1] = 0, 0
    y[t] = b0 * x[t] + b1 * x[t - 1] - a1 * y[t - 1] - a2 * y[t - 2]
    g.output("y", y[t])
    g.loss = ops.sum(y[t] ** 2, over=t)
    return g


def main() -> None:
    """Filter a step, and ask how its energy depends on the coefficients."""
    g = biquad()
    print(g, end="\n\n")
    g.draw("filter.svg")
    net = g.compile(backend="numpy", dtype="float64")
    params = {name: np.array(value) for name, value in {"b0": 0.2, "b1": 0.1, "a1": -1.1, "a2": 0.4}.items()}
    step = np.ones(200)
    y = net.run(params, "y", x=step)
    print("response to a step:", np.array2string(y[:8], precision=4))
    try:
        from scipy.signal import lfilter
    except ImportError:
        print("(SciPy is not installed; nothing to compare with)")
    else:
        expected = lfilter([0.2, 0.1], [1, -1.1, 0.4], step)
        print(f"differs from scipy.signal.lfilter by {np.abs(y - expected).max():.1e}")
    _, grads = net.value_and_grad(params, x=step)
    print("slope of the energy:", {name: round(float(value), 3) for name, value in grads.items()})


if __name__ == "__main__":
    main()
