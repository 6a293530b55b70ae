"""The `numpy` backend against a hand-written NumPy BPTT of the Elman network: `python benchmarks/elman.py`.

Gradients are compared first. The two then run in turn, in blocks of about half a second with a pause between, so that
neither is measured while the other's BLAS threads still spin; the table gives medians of the calls and their ratio.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from unroll import Template, ops, t

SIZES = ((128, 32, 128, 128), (128, 1, 32, 32), (128, 16, 64, 64), (128, 32, 128, 256))
"""T, B, D, H; the first is the one that the target of 1.3 is about."""
CLASSES = 64


def template(inputs: int, hidden: int) -> Template:
    """The book's equations (10.8) to (10.11)."""
    g = Template("elman")
    x, y = g.input("x", inputs), g.input("y", dtype="int")
    U, W, V = g.param("U", (hidden, inputs)), g.param("W", (hidden, hidden)), g.param("V", (CLASSES, hidden))
    b, c = g.param("b", hidden), g.param("c", CLASSES)
    h, o = g.variable("h", hidden), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def by_hand(p: dict[str, Any], x: Any, y: Any) -> tuple[float, dict[str, Any]]:
    """What a careful person writes: products batched over time, weight gradients as one product, W packed once."""
    steps, batch, inputs = x.shape
    hidden = len(p["W"])
    packed = np.ascontiguousarray(p["W"].T)
    a = (x.reshape(-1, inputs) @ p["U"].T).reshape(steps, batch, hidden) + p["b"]
    h = np.zeros((steps + 1, batch, hidden), x.dtype)
    for i in range(steps):
        h[i + 1] = np.tanh(h[i] @ packed + a[i])
    flat = h[1:].reshape(-1, hidden)
    o = flat @ p["V"].T + p["c"]
    shifted = o - o.max(axis=1, keepdims=True)
    weight = np.exp(shifted)
    total = weight.sum(axis=1, keepdims=True)
    rows, labels = np.arange(len(o)), y.reshape(-1)
    loss = (np.log(total[:, 0]) - shifted[rows, labels]).sum() / batch
    do = weight / total
    do[rows, labels] -= 1
    do /= batch
    dh = (do @ p["V"]).reshape(steps, batch, hidden)
    da = np.empty_like(dh)
    later = np.zeros((batch, hidden), x.dtype)
    for i in range(steps - 1, -1, -1):
        da[i] = (dh[i] + later) * (1 - h[i + 1] ** 2)
        later = da[i] @ p["W"]
    da2 = da.reshape(-1, hidden)
    grads = {"V": do.T @ flat, "c": do.sum(axis=0), "b": da2.sum(axis=0)}
    grads |= {"U": da2.T @ x.reshape(-1, inputs), "W": da2.T @ h[:-1].reshape(-1, hidden)}
    return float(loss), grads


def block(call: Callable[[], Any], seconds: float) -> list[float]:
    """Times of single calls, one after the other for about that long."""
    times, stop = [], time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def compare(size: tuple[int, int, int, int], blocks: int, seconds: float) -> tuple[float, float, float]:
    """Median seconds of the backend, of the hand-written form, and the largest relative difference of a gradient."""
    steps, batch, inputs, hidden = size
    rng = np.random.default_rng(0)
    net = template(inputs, hidden).compile(backend="numpy")
    params = net.init(seed=0)
    x = rng.normal(size=(steps, batch, inputs)).astype(np.float32)
    y = rng.integers(0, CLASSES, (steps, batch))
    _, grads = net.value_and_grad(params, x=x, y=y)
    _, expected = by_hand(params, x, y)
    error = max(float(np.abs(grads[n] - expected[n]).max() / np.abs(expected[n]).max()) for n in grads)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(blocks):
        ours += block(lambda: net.value_and_grad(params, x=x, y=y), seconds)
        time.sleep(0.3)
        theirs += block(lambda: by_hand(params, x, y), seconds)
        time.sleep(0.3)
    return statistics.median(ours), statistics.median(theirs), error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    print(f"numpy {np.__version__}, python {platform.python_version()}, {platform.machine()}, float32\n")
    print("| T, B, D, H | unroll, ms | by hand, ms | ratio | gradients differ by |")
    print("| --- | --- | --- | --- | --- |")
    for size in SIZES:
        ours, theirs, error = compare(size, args.blocks, args.seconds)
        name = ", ".join(map(str, size))
        print(f"| {name} | {1e3 * ours:.2f} | {1e3 * theirs:.2f} | {ours / theirs:.2f} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    main()
