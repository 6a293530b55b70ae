"""The contestants of `compare.py`, and the process that each runs in: told to go, it times its calls and answers.

Each is made from the same arrays and computes the loss (the squares of h summed over all steps, averaged over the
batch) and its gradient by every param.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from cells import EPSILON, STACKS, Arrays, separate, stacked, step, template, written

WARM = 3
"""Calls before any that is timed."""
Call = Callable[[], Any]
Result = Callable[[Any], tuple[Any, Arrays]]


@dataclass(frozen=True)
class Case:
    """What a contestant is to compute."""

    cell: str
    params: Arrays
    x: Any
    threads: int
    without: tuple[str, ...] = ()
    device: str = "cpu"
    precision: str = "float32"


def by_unroll(backend: str, dtype: str = "float32") -> Callable[[Case], tuple[Call, Result]]:
    """The maker for one backend of this project."""

    def make(case: Case) -> tuple[Call, Result]:
        hidden = len(case.params[STACKS[case.cell]["W"][0]])
        g = template(case.cell, case.x.shape[-1], hidden)
        net = g.compile(backend, dtype=dtype, without=case.without)
        params = {n: v.astype(dtype) for n, v in case.params.items()}
        x = case.x.astype(dtype)
        return lambda: net.value_and_grad(params, x=x), lambda raw: raw

    return make


def by_torch(kind: str) -> Callable[[Case], tuple[Call, Result]]:
    """The maker for PyTorch: `library` (torch.nn), a loop over steps as `written` in the equations or by an `expert`.

    The expert stacks the gates' matrices and takes the input's products out of the loop; of the expert's loop one step
    (`step compiled`) or all of it (`loop compiled`) goes through torch.compile.
    """

    def make(case: Case) -> tuple[Call, Result]:
        import torch

        torch.set_num_threads(case.threads)
        cell, (_, batch, inputs) = case.cell, case.x.shape
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
        how: Any = {"device": case.device, "dtype": getattr(torch, case.precision.replace("tf32", "float32"))}
        x = torch.from_numpy(case.x).to(**how)
        stacks = stacked(cell, case.params)
        hidden = stacks["W"].shape[1]
        given = case.params if kind == "written" else stacks
        p = {n: torch.from_numpy(v).to(**how).requires_grad_() for n, v in given.items()}
        start = tuple(torch.zeros(batch, hidden, **how) for _ in range(2 if cell in ("lstm", "odd") else 1))
        normal = partial(torch.nn.functional.layer_norm, normalized_shape=(hidden,), eps=EPSILON)
        run: Callable[[], Any]
        if kind == "library":
            module = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](inputs, hidden).to(**how)
            second = np.zeros_like(stacks["b"])
            if cell == "gru":
                second[2 * hidden :] = stacks["c"]
            own = {"U": "weight_ih_l0", "W": "weight_hh_l0", "b": "bias_ih_l0", "c": "bias_hh_l0"}
            for name, theirs in own.items():
                getattr(module, theirs).data.copy_(torch.from_numpy({**stacks, "c": second}[name]))
            p = {name: getattr(module, theirs) for name, theirs in own.items()}

            def run() -> Any:
                return module(x)[0]
        elif kind == "written":
            plain = SimpleNamespace(
                sigmoid=torch.sigmoid,
                tanh=torch.tanh,
                normal=lambda v, gain, shift: normal(v, weight=gain, bias=shift),
            )

            def run() -> Any:
                state, seen = start, []
                for now in x:
                    state = written(cell, plain, p, now, state)
                    seen.append(state[0])
                return torch.stack(seen)
        else:
            m = SimpleNamespace(
                sigmoid=torch.sigmoid,
                tanh=torch.tanh,
                split=lambda v, n: v.chunk(n, -1),
                norm=normal,
                product=lambda a, h, W: h @ W.T if a is None else torch.addmm(a, h, W.T),
            )

            def one(weights: Any, a: Any, state: Any) -> Any:
                return step(cell, m, weights, a, state)

            if kind == "step compiled":
                one = torch.compile(one, fullgraph=True, dynamic=False)

            def run() -> Any:
                state, seen = start, []
                for a in torch.nn.functional.linear(x, p["U"], None if cell == "odd" else p["b"]).unbind(0):
                    state = one(p, a, state)
                    seen.append(state[0])
                return torch.stack(seen)

            if kind == "loop compiled":
                run = torch.compile(run, fullgraph=True, dynamic=False)
        leaves = tuple(p.values())

        def call() -> Any:
            loss = run().float().square().sum() / batch
            return loss.detach(), torch.autograd.grad(loss, leaves)

        def result(raw: Any) -> tuple[Any, Arrays]:
            grads = {n: v.float().cpu().numpy() for n, v in zip(p, raw[1], strict=True)}
            if kind == "library" and cell == "gru":
                grads["c"] = grads["c"][2 * hidden :]
            return raw[0].cpu().numpy(), grads if kind == "written" else separate(cell, grads)

        return call, result

    return make


def by_jax(case: Case) -> tuple[Call, Result]:
    """`jax.lax.scan` under `jax.jit(jax.value_and_grad(...))`, the input's product ahead of the scan."""
    import jax
    import jax.numpy as jnp

    def norm(v: Any) -> Any:
        centred = v - v.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)

    m = SimpleNamespace(
        sigmoid=jax.nn.sigmoid,
        tanh=jnp.tanh,
        split=lambda v, n: jnp.split(v, n, -1),
        norm=norm,
        product=lambda a, h, W: h @ W.T if a is None else a + h @ W.T,
    )
    cell, batch = case.cell, case.x.shape[1]
    kind = jnp.dtype(case.precision.replace("tf32", "float32"))
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if case.precision == "tf32" else "highest")
    p = {n: jnp.asarray(v, kind) for n, v in stacked(cell, case.params).items()}
    x = jnp.asarray(case.x, kind)
    start = tuple(jnp.zeros((batch, p["W"].shape[1]), kind) for _ in range(2 if cell in ("lstm", "odd") else 1))

    def loss(p: Arrays, x: Any) -> Any:
        def one(state: Any, a: Any) -> Any:
            state = step(cell, m, p, a, state)
            return state, state[0]

        a = x @ p["U"].T
        _, h = jax.lax.scan(one, start, a if cell == "odd" else a + p["b"])
        return jnp.square(h.astype(jnp.float32)).sum() / batch

    both = jax.jit(jax.value_and_grad(loss))
    ready: Any = jax.block_until_ready

    def call() -> Any:
        return ready(both(p, x))

    return call, lambda raw: (np.asarray(raw[0]), separate(cell, {n: np.float32(v) for n, v in raw[1].items()}))


def by_hand(case: Case) -> tuple[Call, Result]:
    """NumPy as an expert writes it."""
    made: Any = {"elman": HandElman, "lstm": HandLSTM}[case.cell](stacked(case.cell, case.params), case.x)
    return made, lambda raw: (raw[0], separate(case.cell, raw[1]))


class HandElman:
    """Forward and back-propagation through time of the Elman network, in buffers made once."""

    def __init__(self, p: Arrays, x: Any) -> None:
        (steps, batch, inputs), hidden = x.shape, len(p["b"])
        self.p, self.x = p, x.reshape(-1, inputs)
        self.h, self.packed = np.zeros((steps + 1, batch, hidden), x.dtype), np.empty((hidden, hidden), x.dtype)
        self.a, self.slope, self.part = (np.empty((n, batch, hidden), x.dtype) for n in (steps, steps, 1))

    def __call__(self) -> tuple[float, Arrays]:
        p, h, a, slope, part = self.p, self.h, self.a, self.slope, self.part[0]
        (steps, batch, hidden), late = a.shape, h[1:]
        np.matmul(self.x, p["U"].T, out=a.reshape(-1, hidden))
        np.add(a, p["b"], out=a)
        np.copyto(self.packed, p["W"].T)
        for i in range(steps):
            np.matmul(h[i], self.packed, out=part)
            np.add(part, a[i], out=part)
            np.tanh(part, out=h[i + 1])
        loss = float(np.vdot(late, late)) / batch
        np.multiply(late, late, out=slope)
        np.subtract(1, slope, out=slope)
        np.multiply(late, 2 / batch, out=a)  # from here on the cotangents
        for i in range(steps - 1, -1, -1):
            if i < steps - 1:
                np.matmul(a[i + 1], p["W"], out=part)
                np.add(a[i], part, out=a[i])
            np.multiply(a[i], slope[i], out=a[i])
        da = a.reshape(-1, hidden)
        return loss, {"U": da.T @ self.x, "W": da.T @ h[:-1].reshape(-1, hidden), "b": da.sum(axis=0)}


class HandLSTM:
    """The same for the LSTM: the gates in one buffer, their logistic functions by one tanh for all four."""

    def __init__(self, p: Arrays, x: Any) -> None:
        (steps, batch, inputs), hidden = x.shape, p["W"].shape[1]
        self.p, self.x = p, x.reshape(-1, inputs)
        self.half = np.repeat(np.array([0.5, 0.5, 1, 0.5], x.dtype), hidden)  # logistic(v) = (1 + tanh(v / 2)) / 2
        self.shift = np.repeat(np.array([0.5, 0.5, 0, 0.5], x.dtype), hidden)
        self.gates, self.slope = (np.empty((steps, batch, 4 * hidden), x.dtype) for _ in range(2))
        self.h, self.c = (np.zeros((steps + 1, batch, hidden), x.dtype) for _ in range(2))
        self.curve, self.inner = (np.empty((steps, batch, hidden), x.dtype) for _ in range(2))
        self.part = np.empty((3, batch, hidden), x.dtype)
        self.wide = np.empty((batch, 4 * hidden), x.dtype)
        self.U, self.W = (np.empty(p[n].shape[::-1], x.dtype) for n in "UW")

    def forward(self) -> None:
        """Fill h, c, the gates and tanh(c) (`curve`)."""
        p, gates, half, wide, product = self.p, self.gates, self.half, self.wide, self.part[0]
        size = self.part.shape[-1]
        np.multiply(p["U"].T, half, out=self.U)
        np.multiply(p["W"].T, half, out=self.W)
        np.matmul(self.x, self.U, out=gates.reshape(-1, 4 * size))
        np.add(gates, p["b"] * half, out=gates)
        for n, g in enumerate(gates):
            np.matmul(self.h[n], self.W, out=wide)
            np.add(g, wide, out=g)
            np.tanh(g, out=g)
            np.multiply(g, half, out=g)
            np.add(g, self.shift, out=g)
            i, f, u, o = (g[:, k * size : (k + 1) * size] for k in range(4))
            np.multiply(f, self.c[n], out=self.c[n + 1])
            np.multiply(i, u, out=product)
            np.add(self.c[n + 1], product, out=self.c[n + 1])
            np.tanh(self.c[n + 1], out=self.curve[n])
            np.multiply(o, self.curve[n], out=self.h[n + 1])

    def __call__(self) -> tuple[float, Arrays]:
        self.forward()
        p, h, c, gates, slope, curve, inner = self.p, self.h, self.c, self.gates, self.slope, self.curve, self.inner
        (steps, batch, size), late = curve.shape, h[1:]
        dh, dc, product = self.part
        loss = float(np.vdot(late, late)) / batch
        np.multiply(gates, gates, out=slope)  # slopes of all gates and steps at once
        np.subtract(gates[..., : 2 * size], slope[..., : 2 * size], out=slope[..., : 2 * size])
        np.subtract(1, slope[..., 2 * size : 3 * size], out=slope[..., 2 * size : 3 * size])
        np.subtract(gates[..., 3 * size :], slope[..., 3 * size :], out=slope[..., 3 * size :])
        np.multiply(curve, curve, out=inner)
        np.subtract(1, inner, out=inner)
        np.multiply(inner, gates[..., 3 * size :], out=inner)
        dc.fill(0)
        for n in range(steps - 1, -1, -1):
            np.multiply(late[n], 2 / batch, out=dh)
            if n < steps - 1:
                np.matmul(slope[n + 1], p["W"], out=product)
                np.add(dh, product, out=dh)
            np.multiply(dh, inner[n], out=product)
            np.add(dc, product, out=dc)
            i, f, u, _ = (gates[n, :, k * size : (k + 1) * size] for k in range(4))
            for k, (left, right) in enumerate(((dc, u), (dc, c[n]), (dc, i), (dh, curve[n]))):
                np.multiply(left, right, out=self.wide[:, k * size : (k + 1) * size])
            np.multiply(slope[n], self.wide, out=slope[n])  # from here on the gates' cotangents
            np.multiply(dc, f, out=dc)
        dz = slope.reshape(-1, 4 * size)
        return loss, {"U": dz.T @ self.x, "W": dz.T @ h[:-1].reshape(-1, size), "b": dz.sum(axis=0)}


@dataclass(frozen=True)
class Contestant:
    """A name for the tables, what has to be imported, what computes it, and the cells it is there for."""

    label: str
    imports: tuple[str, ...]
    make: Callable[[Case], tuple[Call, Result]]
    cells: tuple[str, ...] = tuple(STACKS)


OURS = ("unroll", "unroll.runtime.net", "unroll.transform.adjoint", "unroll.backends.numpy.backend")
INDUCTOR = ("torch", "torch._dynamo", "torch._inductor")
CONTESTANTS = {
    "native": Contestant("unroll, native", (*OURS, "unroll.backends.native.backend"), by_unroll("native")),
    "numpy": Contestant("unroll, numpy", OURS, by_unroll("numpy")),
    "torch": Contestant("torch.nn", ("torch",), by_torch("library"), ("elman", "lstm", "gru")),
    "written": Contestant("PyTorch loop, as written", ("torch",), by_torch("written")),
    "loop": Contestant("PyTorch loop, by an expert", ("torch",), by_torch("expert")),
    "step": Contestant("the expert's loop, its step by torch.compile", INDUCTOR, by_torch("step compiled")),
    "compile": Contestant("the expert's loop by torch.compile", INDUCTOR, by_torch("loop compiled")),
    "jax": Contestant("jax.lax.scan, jitted", ("jax", "jax.numpy"), by_jax),
    "hand": Contestant("NumPy by hand", (), by_hand, ("elman", "lstm")),
    "exact": Contestant("unroll, numpy, float64", OURS, by_unroll("numpy", "float64")),
}


def peak() -> float:
    """The most memory this process has had resident, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent had resident when it started this process
        line = next(r for r in status.read_text(encoding="utf-8").splitlines() if r.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def block(call: Call, seconds: float, calls: int) -> list[float]:
    """Times of single calls, one after the other for at least that long and that often."""
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while len(times) < calls or time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Serve `compare.py`: one line of JSON for the first result, then one for each "go SECONDS CALLS" on stdin."""
    spec = json.loads(sys.argv[1])
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def say(**values: Any) -> None:
        print(json.dumps(values), file=answer, flush=True)

    contestant = CONTESTANTS[spec["name"]]
    try:
        for name in contestant.imports:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        return say(skip=f"{error.name} is not installed")
    with np.load(spec["arrays"]) as file:
        arrays = dict(file)
    x = arrays.pop("x")
    before, start = peak(), time.perf_counter()
    call, result = contestant.make(Case(spec["cell"], arrays, x, spec["threads"], tuple(spec["without"])))
    raw = call()
    first = time.perf_counter() - start
    for _ in range(WARM):
        raw = call()
    memory = peak() - before
    value, grads = result(raw)
    np.savez(spec["results"], **{**grads, "loss": np.asarray(value)})
    say(first=first, memory=memory)
    for line in sys.stdin:
        _, seconds, calls = line.split()
        own = time.process_time()
        times = block(call, float(seconds), int(calls))
        say(times=times, own=time.process_time() - own)


if __name__ == "__main__":
    main()
