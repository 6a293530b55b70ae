"""The contestants of `gpu.py` and the machine's own ceilings, in the process that each runs in: see `peers.py`."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cells import STACKS, template
from peers import WARM, Call, Case, Contestant, Result, by_jax, by_torch

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
OURS = ("cupy", "unroll", "unroll.runtime.net", "unroll.transform.adjoint")
INDUCTOR = ("torch", "torch._dynamo", "torch._inductor")
NODES, BARRIERS, SIDE, COPIED = 2000, 2000, 8192, 1 << 30

BARRIER = """\
extern "C" __global__ void meet(unsigned* counter, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(counter, 1);
            while (*(volatile unsigned*)counter < round * gridDim.x) {}
            __threadfence();
        }
        __syncthreads();
    }
}
"""
EMPTY = 'extern "C" __global__ void nothing() {}'


def by_unroll(case: Case) -> tuple[Call, Result]:
    """This project, arrays and results on the device."""
    import cupy

    hidden = len(case.params[STACKS[case.cell]["W"][0]])
    options = {} if case.precision == "float32" else {"precision": case.precision}
    g = template(case.cell, case.x.shape[-1], hidden)
    net = g.compile("cupy", on_device=True, without=case.without, **options)
    params, x = {n: cupy.asarray(v) for n, v in case.params.items()}, cupy.asarray(case.x)

    def result(raw: Any) -> tuple[Any, dict[str, Any]]:
        return raw[0].get(), {n: v.get() for n, v in raw[1].items()}

    return lambda: net.value_and_grad(params, x=x), result


CONTESTANTS = {
    "cupy": Contestant("unroll", OURS, by_unroll),
    "torch": Contestant("torch.nn (cuDNN)", ("torch",), by_torch("library"), ("elman", "lstm", "gru")),
    "loop": Contestant("PyTorch loop, by an expert", ("torch",), by_torch("expert")),
    "compile": Contestant("the expert's loop by torch.compile", INDUCTOR, by_torch("loop compiled")),
    "jax": Contestant("jax.lax.scan, jitted", ("jax", "jax.numpy"), by_jax),
}

Timer = Callable[[Callable[[], Any], int], float]


def timer(name: str) -> Timer:
    """Seconds of several calls one after another: by events, or by the clock for JAX, which waits for each."""
    if name == "cupy":
        import cupy

        begun, ended = cupy.cuda.Event(), cupy.cuda.Event()

        def taken() -> float:
            return float(cupy.cuda.get_elapsed_time(begun, ended))

    elif name == "jax":

        def clock(call: Callable[[], Any], calls: int) -> float:
            start = time.perf_counter()
            for _ in range(calls):
                call()
            return time.perf_counter() - start

        return clock
    else:
        import torch

        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def taken() -> float:
            return float(begun.elapsed_time(ended))

    def events(call: Callable[[], Any], calls: int) -> float:
        begun.record()
        for _ in range(calls):
            call()
        ended.record()
        ended.synchronize()
        return taken() / 1e3

    return events


def waiting(name: str) -> Callable[[], Any]:
    """What waits for the device."""
    if name == "cupy":
        import cupy

        return lambda: cupy.cuda.Device().synchronize()
    if name == "jax":
        return lambda: None  # its calls wait
    import torch

    return torch.cuda.synchronize


def host(call: Call, wait: Callable[[], Any], calls: int = 50) -> float:
    """Median seconds after which a call returns to the host, which waits for the device before each."""
    times = []
    for _ in range(calls):
        wait()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    wait()
    return statistics.median(times)


def alike(call: Call, result: Result, runs: int) -> int:
    """How many of several runs give the very bits of the first one."""
    value, grads = result(call())
    same = 0
    for _ in range(runs):
        again, others = result(call())
        same += bool(np.array_equal(again, value)) and all(np.array_equal(others[n], v) for n, v in grads.items())
    return same


def ceilings() -> dict[str, Any]:
    """What the device itself reaches: bytes a second copied, products by precision, seconds of a node and a barrier."""
    import cupy

    clock = timer("cupy")

    def best(call: Callable[[], Any], calls: int = 10) -> float:
        call()
        return min(clock(call, calls) for _ in range(5)) / calls

    pair = [cupy.empty(COPIED, np.uint8) for _ in range(2)]
    found: dict[str, Any] = {"copy": 2 * COPIED / best(lambda: cupy.copyto(*pair))}
    pair.clear()
    count = cupy.cuda.Device().attributes["MultiProcessorCount"]
    nothing = cupy.RawKernel(EMPTY, "nothing")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        nothing((1,), (32,), ())
        stream.begin_capture()
        for _ in range(NODES):
            nothing((1,), (32,), ())
        graph = stream.end_capture()
        found["node"] = best(graph.launch) / NODES
        meet = cupy.RawKernel(BARRIER, "meet", enable_cooperative_groups=True)
        counter = cupy.zeros(1, np.uint32)

        def barriers() -> None:
            counter.fill(0)
            meet((count,), (256,), (counter, np.int32(BARRIERS)))

        found["barrier"] = best(barriers, 1) / BARRIERS
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    found["device"] = f"{name}, {count} multiprocessors"
    try:
        import torch
    except ImportError:
        square = cupy.ones((SIDE, SIDE), np.float32)
        os.environ["CUPY_TF32"] = "0"
        found["float32"] = 2 * SIDE**3 / best(lambda: cupy.matmul(square, square))
        return found
    clock = timer("torch")
    for precision in PRECISIONS:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        kind = getattr(torch, precision.replace("tf32", "float32"))
        matrix: Any = torch.ones((SIDE, SIDE), device="cuda", dtype=kind)
        found[precision] = 2 * SIDE**3 / best(lambda matrix=matrix: matrix @ matrix)
    return found


def main() -> None:
    """Serve `gpu.py`: one line of JSON for the first result, then one for each "go SECONDS CALLS" on stdin."""
    spec = json.loads(sys.argv[1])
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def say(**values: Any) -> None:
        print(json.dumps(values), file=answer, flush=True)

    if spec["name"] == "ceilings":
        return say(**ceilings())
    contestant = CONTESTANTS[spec["name"]]
    try:
        for name in contestant.imports:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        return say(skip=f"{error.name} is not installed")
    if "torch" in contestant.imports and not importlib.import_module("torch").cuda.is_available():
        return say(skip="this PyTorch has no CUDA")
    if "jax" in contestant.imports and importlib.import_module("jax").default_backend() != "gpu":
        return say(skip="this JAX has no CUDA")
    with np.load(spec["arrays"]) as file:
        arrays = dict(file)
    x = arrays.pop("x")
    device, without = "cuda", tuple(spec["without"])
    case = Case(spec["cell"], arrays, x, spec["threads"], without, device, spec["precision"])
    start = time.perf_counter()
    call, result = contestant.make(case)
    value, grads = result(call())
    first = time.perf_counter() - start
    np.savez(spec["results"], **{**grads, "loss": np.asarray(value)})
    clock, wait = timer(spec["name"]), waiting(spec["name"])
    for _ in range(WARM):
        call()
    same = alike(call, result, spec["runs"]) if spec["runs"] else 0
    say(first=first, host=host(call, wait), same=same)
    for line in sys.stdin:
        _, seconds, calls = line.split()
        times: list[float] = []
        stop = time.perf_counter() + float(seconds)
        while len(times) < int(calls) or time.perf_counter() < stop:
            times.append(clock(call, 2) / 2)
        say(times=times, own=0)


if __name__ == "__main__":
    main()
