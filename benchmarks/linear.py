"""A diagonal linear recurrence against the machine's copy bandwidth: `python benchmarks/linear.py`.

``h[t] = a * h[t-1] + x[t]``, with `a` the same at all steps or read anew at each. No way of computing it moves fewer
bytes than reading the inputs and writing h once; the time that a copy of as many bytes takes, between arrays of the
same size, is the limit beside each time. Where few numbers make a step, a loop cannot reach it: a product and a sum
that wait for each other take some 3 ns a step, whatever the width. Every time is the fastest of several blocks that
take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unroll import T, Template, ops, t

WIDTHS = (1, 8, 64, 512)
COEFFICIENTS = ("constant", "varying")


def template(width: int, coefficient: str) -> Template:
    """The recurrence; its loss needs every step."""
    g = Template("linear")
    x, h = g.input("x", width), g.variable("h", width)
    h[0] = 0
    a = g.param("a", width) if coefficient == "constant" else g.input("a", width)[t]
    h[t] = a * h[t - 1] + x[t]
    g.output("last", h[T])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


def alternating(calls: Mapping[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, float]:
    """The fastest call of each, in blocks that take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            stop = time.perf_counter() + seconds
            while True:
                start = time.perf_counter()
                call()
                now = time.perf_counter()
                best[name] = min(best[name], now - start)
                if now > stop:
                    break
    return best


def row(steps: int, width: int, coefficient: str, backends: list[str], rounds: int, seconds: float) -> list[str]:
    """The cells of one line."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps, 1, width)).astype(np.float32)
    a = rng.uniform(0.5, 0.99, x.shape if coefficient == "varying" else width).astype(np.float32)
    params, given = ({}, {"x": x, "a": a}) if coefficient == "varying" else ({"a": a}, {"x": x})
    copied = np.empty_like(x)
    calls: dict[str, Callable[[], Any]] = {"copy": lambda: np.copyto(copied, x)}
    for name in backends:
        net = template(width, coefficient).compile(name)
        calls[name] = lambda net=net: net.run(params, "last", **given)
        calls[f"{name} gradient"] = lambda net=net: net.value_and_grad(params, **given)
    best = alternating(calls, rounds, seconds)
    streams = 3 if coefficient == "varying" else 2  # x, h and perhaps a
    moved, bandwidth = streams * x.nbytes, 2 * x.nbytes / best["copy"]
    limit = moved / bandwidth
    cells = [str(width), coefficient, f"{moved / 1e6:.3g}", f"{bandwidth / 1e9:.1f}", f"{1e3 * limit:.3g}"]
    for name in backends:
        value = best[name]
        cells += [f"{1e3 * value:.3g} ({value / limit:.1f})", f"{1e9 * value / steps:.3g}"]
        cells += [f"{1e3 * best[f'{name} gradient']:.3g}"]
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=65_536)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--backends", nargs="+", default=["native", "numpy"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="that a block has at least")
    args = parser.parse_args()
    heads = ["width", "coefficient", "MB moved", "copy, GB/s", "limit, ms"]
    for name in args.backends:
        heads += [f"{name}, ms (of the limit)", "ns a step", "with gradient, ms"]
    print(f"T = {args.steps}, B = 1, float32\n\n| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    for width in args.widths:
        for coefficient in COEFFICIENTS:
            cells = row(args.steps, width, coefficient, args.backends, args.rounds, args.seconds)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
