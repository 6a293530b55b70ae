"""`unroll` on a GPU against its peers there, and against the GPU itself: `python benchmarks/gpu.py --help`.

Each contestant (`gpu_peers.py`) runs in a process of its own on the same weights and inputs, in each precision that it
has. Its gradients are first compared with those of the numpy backend in float64. The processes then take turns in
blocks; the tables give medians by events on the device (JAX: by the clock). The first process measures what the device
reaches at most: a copy, a large product, a node of a graph, a barrier of all blocks. From these follows the least time
that a row could take, and the row says its share of it. It has not run on a device yet.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import STACKS, TITLES, Arrays, Size, draw
from compare import Child, LeftOutError, errors, tell
from gpu_peers import CONTESTANTS, PRECISIONS
from peers import Case
from peers import by_unroll as on_host

SIZES: tuple[Size, ...] = ((512, 64, 1024, 1024), (1024, 16, 768, 768), (128, 32, 256, 256))
QUICK: tuple[Size, ...] = ((128, 32, 256, 256),)
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 2e-1, "float16": 5e-2}
"""Relative to the largest element of a gradient; beyond it a contestant computes something else."""
ITEM = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
RUNS = 100

Entry = tuple[str, str]
"""A contestant's name, and its precision."""


class Process(Child):
    """One contestant's process, with the GPU to itself while it is told to go."""

    program = "gpu_peers.py"

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """No library takes all memory, or results of an earlier compilation."""
        return {
            **os.environ,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        }


def obstacle() -> str:
    """Why there is nothing to measure; "" where there is a device."""
    from unroll.backends import load
    from unroll.errors import BackendError

    try:
        load("cupy")
    except BackendError as error:
        return str(error).partition(", or choose")[0]
    return ""


def least(cell: str, size: Size, precision: str, top: Mapping[str, float]) -> tuple[float, str] | None:
    """The least seconds that a loss with its gradients could take, and what binds; None without a ceiling.

    A product is done once forward and twice backward. What is written forward and read backward is the gates and the
    state; the input is read twice, the params twice, their gradients written. And 2 T steps follow one another, each
    no shorter than the cheaper of a node of a graph and a barrier.
    """
    if precision not in top:
        return None
    steps, batch, inputs, hidden = size
    gates, states = len(STACKS[cell]["W"]), 2 if cell in ("lstm", "odd") else 1
    weights = gates * hidden * (inputs + hidden)
    work = 3 * 2 * steps * batch * weights
    moved = steps * batch * (2 * inputs + 2 * (gates + states) * hidden) + 3 * weights
    bounds = {
        "products": work / top[precision],
        "memory": moved * ITEM[precision] / top["copy"],
        "steps": 2 * steps * min(top["node"], top["barrier"]),
    }
    binds = max(bounds, key=lambda name: bounds[name])
    return bounds[binds], binds


def expected(cell: str, params: Arrays, x: Any) -> Arrays:
    """The loss and its gradients by NumPy in float64."""
    call, result = on_host("numpy", "float64")(Case(cell, params, x, os.cpu_count() or 1))
    value, grads = result(call())
    return {**grads, "loss": np.asarray(value)}


def measure(cell: str, size: Size, entries: Sequence[Entry], rounds: int, limit: float, runs: int) -> dict[Entry, Any]:
    """For each contestant its median seconds and what else it said as a dict, or why it has none as a text."""
    found: dict[Entry, Any] = {}
    alive: dict[Entry, Process] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params, x = draw(cell, size)
        np.savez(folder / "arrays.npz", **params, x=x)
        exact = expected(cell, params, x)
        try:
            for entry in entries:
                who, precision = entry
                what = f"{cell} {','.join(map(str, size))} {label(entry)}"
                if cell not in CONTESTANTS[who].cells:
                    found[entry] = "has no such cell"
                    continue
                more = {"precision": precision, "runs": runs if who == "cupy" else 0}
                child = alive[entry] = Process(
                    (who, (precision,)), cell, folder, os.cpu_count() or 1, **more, without=()
                )
                try:
                    found[entry] = child.answer(limit)
                    with np.load(child.results) as file:
                        differ = errors(dict(file), exact)
                    found[entry]["error"] = max(differ.values())
                    if not found[entry]["error"] <= TOLERANCE[precision]:  # so that a nan is wrong
                        raise LeftOutError(f"wrong: relative error {found[entry]['error']:.0e}")
                    tell(f"{what}: first call {found[entry]['first']:.2f} s, error {found[entry]['error']:.0e}")
                except LeftOutError as reason:
                    tell(f"{what}: {reason}")
                    found[entry] = str(reason)
                    alive.pop(entry).close()
            times: dict[Entry, list[float]] = {entry: [] for entry in alive}
            for number in range(rounds):
                for entry in list(alive)[:: -1 if number % 2 else 1]:
                    try:
                        times[entry] += alive[entry].block()[0]
                    except LeftOutError as reason:
                        found[entry] = str(reason)
                        alive.pop(entry).close()
            for entry in alive:
                found[entry]["time"] = statistics.median(times[entry])
        finally:
            for child in alive.values():
                child.close()
    return found


def label(entry: Entry) -> str:
    """The name of a row."""
    return f"{CONTESTANTS[entry[0]].label}, {entry[1]}"


def table(
    cell: str, results: Mapping[Size, Mapping[Entry, Any]], entries: Sequence[Entry], top: Mapping[str, float]
) -> str:
    """The Markdown of one cell."""
    sizes = list(results)
    head = "| T, B, D, H | " + " | ".join(", ".join(map(str, s)) for s in sizes) + " |\n" + "| --- " * (len(sizes) + 1)
    lines, hosts, notes = [], [], []
    for entry in entries:
        row, cost = [label(entry)], [label(entry)]
        for size, found in results.items():
            mine, base = found[entry], found.get(("torch", entry[1]))
            if isinstance(mine, str):
                row.append("-")
                cost.append("-")
                continue
            text = f"{1e3 * mine['time']:.3g}"
            if isinstance(base, dict):
                text += f" ({mine['time'] / base['time']:.2f})"
            if (bound := least(cell, size, entry[1], top)) is not None:
                text += f", {100 * bound[0] / mine['time']:.0f}% of {bound[1]}"
            row.append(text)
            cost.append(f"{1e6 * mine['host']:.0f}, {mine['error']:.0e}")
            if entry[0] == "cupy" and mine["same"] < RUNS:
                notes.append(f"* {label(entry)} at {size}: {mine['same']} of {RUNS} runs alike bit for bit.")
        reasons: dict[str, list[Size]] = {}
        for size, found in results.items():
            if isinstance(found[entry], str):
                reasons.setdefault(found[entry], []).append(size)
        for reason, where in reasons.items():
            place = "" if len(where) == len(sizes) else f" at {where}"
            notes.append(f"* Left out: {label(entry)}{place}: {reason}.")
        if any(not isinstance(found[entry], str) for found in results.values()):
            lines.append("| " + " | ".join(row) + " |")
            hosts.append("| " + " | ".join(cost) + " |")
    about = (
        "Milliseconds for the loss and all gradients, median; in brackets the ratio to cuDNN in the same precision; "
        "the share of the least time that the device could take, and what that is bound by.\n"
    )
    parts = [f"## {TITLES[cell]}\n", about, f"{head}|", *lines]
    parts += ["\nMicroseconds until a call returns to the host; the largest relative error against float64.\n"]
    return "\n".join([*parts, f"{head}|", *hosts, "", *notes, ""])


def machine(top: Mapping[str, Any]) -> str:
    """The ceilings, in a few lines."""
    rates = ", ".join(f"{p} {top[p] / 1e12:.1f}" for p in PRECISIONS if p in top)
    return (
        f"{top['device']}. Measured in this run: copying {top['copy'] / 1e9:.0f} GB/s read and written; products "
        f"{rates} TFLOP/s; {1e6 * top['node']:.2f} us a node of a graph; {1e6 * top['barrier']:.2f} us a barrier.\n"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=tuple(STACKS), default=("lstm", "gru", "odd"))
    parser.add_argument("--contestants", nargs="+", choices=tuple(CONTESTANTS), default=tuple(CONTESTANTS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each contestant")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a first call may take, or is left out")
    parser.add_argument("--quick", action="store_true", help="the smallest size, two rounds, float32 alone")
    parser.add_argument("--write", type=Path, help="write the tables to this file too")
    args = parser.parse_args()
    if reason := obstacle():
        print(f"gpu.py measures nothing: {reason}", file=sys.stderr)
        raise SystemExit(2)
    if args.quick:
        args.rounds, args.precisions = 2, ("float32",)
    entries = [(name, precision) for name in args.contestants for precision in args.precisions]
    with tempfile.TemporaryDirectory() as folder:
        child = Process(("ceilings", ()), "", Path(folder), 1)
        try:
            top = child.answer(args.limit)
        except LeftOutError as why:
            raise SystemExit(f"the device's own ceilings were not measured: {why}") from None
        finally:
            child.close()
    text = machine(top)
    print(text, flush=True)
    for cell in args.cells:
        sizes = QUICK if args.quick else SIZES
        results = {size: measure(cell, size, entries, args.rounds, args.limit, RUNS) for size in sizes}
        part = table(cell, results, entries, top)
        print(part, flush=True)
        text += "\n" + part
    if args.write:
        args.write.write_text(f"# Benchmarks on a GPU\n\nMade by `python benchmarks/gpu.py`, which says how.\n\n{text}")


if __name__ == "__main__":
    main()
