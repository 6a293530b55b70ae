"""Check an installed `unroll` in a second: one recurrence, compiled on NumPy, its gradient against a closed form.

Run it with the interpreter under test, from a folder outside the checkout.
"""

import importlib.util

import numpy as np

import unroll
import unroll.backends.numpy
from unroll import T, Template, t


def check_names() -> None:
    """The folders `ops` and `backends` are installed inside `unroll` and nowhere else."""
    for name in ("ops", "backends"):
        assert importlib.util.find_spec(name) is None, f"a top-level package {name!r} is installed"
        assert importlib.util.find_spec(f"unroll.{name}") is not None, f"unroll.{name} is missing"


def check_gradient() -> None:
    """After the impulse u, 0, 0, … the recurrence x[t] = a*x[t-1] + u[t] ends at u * a**(T-1)."""
    g = Template("smoke")
    u = g.input("u")
    a = g.param("a")
    x = g.variable("x", ())
    x[0] = 0
    x[t] = a * x[t - 1] + u[t]
    g.loss = x[T]

    net = g.compile(backend="numpy")
    steps, rate = 5, 0.5
    impulse = np.zeros((steps, 2), np.float32)
    impulse[0] = 1, 3  # two examples; the loss is their mean
    loss, grads = net.value_and_grad({"a": np.array(rate, np.float32)}, u=impulse)
    np.testing.assert_allclose(loss, 2 * rate ** (steps - 1), rtol=1e-6)
    np.testing.assert_allclose(grads["a"], 2 * (steps - 1) * rate ** (steps - 2), rtol=1e-6)


if __name__ == "__main__":
    check_names()
    check_gradient()
    print(f"smoke: {unroll.__file__} computes the right gradient")
