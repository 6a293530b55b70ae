"""A digital filter identified from what went in and came out: two delays on the output, so a recurrence of its own."""

from __future__ import annotations

import numpy as np
from common import draw, options, progress, result, show

from unroll import Template, ops, t
from unroll.optim import Adam

TARGET = 0.02  # error on clean, unseen signals, as a share of their size; hearing nothing at all gives 1
TRUE = {"b0": 0.2, "b1": 0.1, "b2": 0.05, "a1": -1.1, "a2": 0.6}
NOISE = 0.1  # of what came out, where it was measured


def biquad() -> Template:
    """The difference equation as it is printed in a book on signals."""
    g = Template("filter")
    x, measured, y = g.input("x"), g.input("measured"), g.variable("y", ())
    b0, b1, b2, a1, a2 = (g.param(name) for name in TRUE)
    x[0], x[-1] = 0, 0
    y[0], y[-1] = 0, 0
    y[t] = b0 * x[t] + b1 * x[t - 1] + b2 * x[t - 2] - a1 * y[t - 1] - a2 * y[t - 2]
    g.output("y", y[t])
    g.loss = ops.mean((y[t] - measured[t]) ** 2, over=t)
    return g


def poles(params: dict[str, np.ndarray]) -> np.ndarray:
    """The roots of z**2 + a1 z + a2: the filter is stable where both lie within the unit circle."""
    return np.roots([1.0, float(params["a1"]), float(params["a2"])])


def main() -> None:
    """On the measured past, all steps at once; then on the filter's own past, by back-propagation through time."""
    args = options(__doc__, steps=1500)
    own = biquad()
    modes = {"measured past": own.teacher_forced({"y": "measured"}), "own past": own}
    show(measured_past=modes["measured past"], own_past=own)
    draw(own, args)

    net = own.compile(args.backend, dtype="float64")
    truth = {name: np.array(value) for name, value in TRUE.items()}
    rng = np.random.default_rng(args.seed)
    x, held_out = rng.normal(size=(2, 400, 16))  # (T, B) each
    clean = net.run(truth, "y", x=x)
    measured = clean + NOISE * clean.std() * rng.normal(size=clean.shape)
    expected = net.run(truth, "y", x=held_out)

    def error(params: dict[str, np.ndarray]) -> float:
        return float(np.sqrt(np.mean((net.run(params, "y", x=held_out) - expected) ** 2)) / expected.std())

    params = net.init(args.seed)  # all zero
    before = error(params)
    print(f"true poles {np.round(poles(truth), 4)}, modulus {abs(poles(truth)).max():.4f}")
    for name, mode in modes.items():
        trained, adam = mode.compile(args.backend, dtype="float64"), Adam()
        for step in (bar := progress(args, name)):
            loss, grads = trained.value_and_grad(params, x=x, measured=measured)
            adam.rate = 2e-2 * (1 - step / args.steps)
            params = adam.update(params, grads)
            bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
        found = ", ".join(f"{key} {float(params[key]):.4f}" for key in TRUE)
        print(f"from its {name}: {found}\n  poles {np.round(poles(params), 4)}, modulus {abs(poles(params)).max():.4f}")
        print(f"  error on clean, unseen signals {error(params):.4f}")
    result("relative error", before, 1.0, "silence", error(params), TARGET)


if __name__ == "__main__":
    main()
