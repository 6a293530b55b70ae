"""How long a program takes to build, at several lengths: `python benchmarks/compile_time.py`.

The program does not depend on the length, so the times should be one number; each is the median over fresh nets, and
"first call" adds binding, memory and the run itself.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from elman import CLASSES, template

LENGTHS = (100, 1_000, 10_000, 100_000)


def main() -> None:
    """Print the table."""
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


if __name__ == "__main__":
    main()
