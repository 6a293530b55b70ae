"""One step of a cell, one example, beside ONNX Runtime and PyTorch: `python benchmarks/one_step.py --help`.

An LSTM with 16 inputs takes one sample a call and carries its state: `net.stream`, a session of ONNX Runtime that is
given the state and returns the next one, and `torch.nn.LSTMCell` without gradients. All have the same weights; their
states are compared after a few steps. The calls are in one process and take turns, a few calls each, for other programs
disturb short blocks less often than long ones; the table gives the fastest block and the median of all, in
microseconds. PyTorch and ONNX Runtime run with one thread and with one a core, and the better one counts.
The last row is a GRU of 8 units, where nearly all is the call from Python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from unroll import Template, cells, t

INPUTS, CALLS = 16, 5
TOLERANCE = 1e-4
Step = Callable[[], Any]
Weights = dict[str, Any]


def weights(units: int) -> Weights:
    """W of the state, U of the input and b, gates one below another in the order i, f, g, o."""
    rng = np.random.default_rng(0)
    scale = np.float32(units**-0.5)
    draw = {"W": (4 * units, units), "U": (4 * units, INPUTS), "b": (4 * units,)}
    return {n: rng.uniform(-scale, scale, shape).astype(np.float32) for n, shape in draw.items()}


def ours(cell: Any, units: int, given: Weights | None, x: Any, backend: str) -> Step:
    """A step of a stream."""
    g = Template("one step")
    cells.layer(g, cell, g.input("x", INPUTS)[t], units, name="h")
    net = g.compile(backend)
    params = net.init(seed=0)
    for place, gate in enumerate("ifgo" if given else ""):
        part = slice(place * units, (place + 1) * units)
        params |= {f"{n}{gate}_h": given[n][part] for n in given} if given else {}
    stream = net.stream(params, "h")
    return lambda: stream(x=x[None])[0]


def torch_step(units: int, given: Weights, x: Any, threads: int) -> Step:
    """A step of `torch.nn.LSTMCell`."""
    import torch

    cell = torch.nn.LSTMCell(INPUTS, units)
    with torch.no_grad():
        for name, value in (("weight_hh", given["W"]), ("weight_ih", given["U"]), ("bias_hh", given["b"])):
            getattr(cell, name).copy_(torch.from_numpy(value))
        cell.bias_ih.zero_()
    state, sample = [(torch.zeros(1, units), torch.zeros(1, units))], torch.from_numpy(x)[None]

    def step() -> Any:
        torch.set_num_threads(threads)
        with torch.no_grad():
            state[0] = cell(sample, state[0])
        return state[0][0][0].numpy()

    return step


def onnx_step(units: int, given: Weights, x: Any, threads: int) -> Step:
    """A step of ONNX Runtime."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    order = np.concatenate([np.arange(units) + units * k for k in (0, 3, 1, 2)])  # i, o, f, g
    both = np.concatenate([given["b"][order], np.zeros(4 * units, np.float32)])
    arrays = {"U": given["U"][order][None], "W": given["W"][order][None], "b": both[None]}
    node = helper.make_node("LSTM", ["x", "U", "W", "b", "", "h0", "c0"], ["", "h", "c"], hidden_size=units)
    shapes = {"x": [1, 1, INPUTS], **{n: [1, 1, units] for n in ("h0", "c0", "h", "c")}}
    info = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()}
    graph = helper.make_graph(
        [node],
        "step",
        [info["x"], info["h0"], info["c0"]],
        [info["h"], info["c"]],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run
    zero, sample = np.zeros((1, 1, units), np.float32), x[None, None]
    state = [zero, zero]

    def step() -> Any:
        state[:] = run(None, {"x": sample, "h0": state[0], "c0": state[1]})
        return state[0][0, 0]

    return step


def contestants(units: int, backend: str) -> dict[str, Step]:
    """All that are installed, on the same weights."""
    given, x = weights(units), np.random.default_rng(1).normal(size=INPUTS).astype(np.float32)
    found = {"unroll": ours(cells.lstm, units, given, x, backend)}
    several = os.cpu_count() or 1
    for name, make in (("ONNX Runtime", onnx_step), ("PyTorch", torch_step)):
        try:
            found |= {f"{name}, {n} thread{'s' * (n > 1)}": make(units, given, x, n) for n in (1, several)}
        except ImportError as missing:
            print(f"{name} is left out: {missing}")
    for _ in range(3):
        after = {name: step() for name, step in found.items()}
    for name, state in after.items():
        worst = float(np.abs(state - after["unroll"]).max())
        if not worst < TOLERANCE:
            raise SystemExit(f"{name} differs by {worst:.1e}")
    return found


def measured(steps: dict[str, Step], rounds: int) -> dict[str, tuple[float, float]]:
    """The fastest block and the median of all, in microseconds a call."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            start = time.perf_counter()
            for _ in range(CALLS):
                step()
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: (min(found), statistics.median(found)) for name, found in times.items()}


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="*", default=[32, 128, 256, 512])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--backend", default="native")
    args = parser.parse_args()
    for units in args.units:
        found = measured(contestants(units, args.backend), args.rounds)
        others = [times for name, times in found.items() if name != "unroll"]
        print(f"LSTM, {units} units", end="")
        if others:
            better = [min(times[k] for times in others) for k in range(2)]
            print(f": {found['unroll'][0] / better[0]:.2f} of the better fastest block,", end="")
            print(f" {found['unroll'][1] / better[1]:.2f} of the better median", end="")
        print("\n" + "\n".join(f"    {n:24} {a:9.1f} {b:9.1f}" for n, (a, b) in found.items()), flush=True)
    x = np.random.default_rng(1).normal(size=INPUTS).astype(np.float32)
    g = Template("one step")
    cells.layer(g, cells.gru, g.input("x", INPUTS)[t], 8, name="h")
    net, sample = g.compile(args.backend), x[None]
    stream = net.stream(net.init(seed=0), "h")
    fastest, median = measured({"unroll": lambda: stream(x=sample)}, 10 * args.rounds)["unroll"]
    print(f"GRU, 8 units: {fastest:.1f} {median:.1f}")


if __name__ == "__main__":
    main()
