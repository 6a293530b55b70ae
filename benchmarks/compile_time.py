"""How long a program takes to build, at several lengths: `python benchmarks/compile_time.py`.

The program does not depend on the length, so the times should be one number; each is the median over fresh nets, and
"first call" adds binding, memory and the run itself. Then what declaring and building two templates takes in CPU time,
at best.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from cells import template as cell
from elman import CLASSES, template

from unroll import Template, ops, t

LENGTHS = (100, 1_000, 10_000, 100_000)


def scalars(count: int) -> Template:
    """A chain of so many equations of one number each, every one of them a recurrence."""
    g = Template("scalars")
    x, a = g.input("x"), g.param("a")
    below = x
    for number in range(count):
        h = g.variable(f"h{number}", ())
        h[0] = 0
        h[t] = ops.tanh(a * h[t - 1] + below[t])
        below = h
    g.loss = ops.sum(below[t], over=t)
    return g


def main() -> None:
    """Print the tables."""
    g = template(8, 16)
    rng = np.random.default_rng(0)
    params = g.compile(backend="numpy").init(seed=0)
    print("| T | build, ms | first call, ms | second call, ms |")
    print("| --- | --- | --- | --- |")
    for steps in LENGTHS:
        x = rng.normal(size=(steps, 1, 8)).astype(np.float32)
        y = rng.integers(0, CLASSES, (steps, 1))
        rows = []
        for _ in range(5):
            start = time.perf_counter()
            net = g.compile(backend="numpy")
            net.program(grad=True)
            built = time.perf_counter()
            net.value_and_grad(params, x=x, y=y)
            first = time.perf_counter()
            net.value_and_grad(params, x=x, y=y)
            rows.append((built - start, first - built, time.perf_counter() - first))
        medians = [1e3 * statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"| {steps} | " + " | ".join(f"{m:.2f}" for m in medians) + " |", flush=True)
    print("\n| template | with its gradient, ms of CPU |")
    print("| --- | --- |")
    for name, make in (("LSTM", lambda: cell("lstm", 32, 32)), ("40 scalars", lambda: scalars(40))):
        best = float("inf")
        for _ in range(20):
            start = time.process_time()
            make().compile(backend="numpy").program(grad=True)
            best = min(best, time.process_time() - start)
        print(f"| {name} | {1e3 * best:.1f} |", flush=True)


if __name__ == "__main__":
    main()
