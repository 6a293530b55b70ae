"""Recurrence from output to hidden units, and teacher forcing: sea temperatures (book section 10.2.1, figure 10.4)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import draw, options, progress, result, show
from data import el_nino

from unroll import Net, Template, ops, schedules, t
from unroll.optim import Adam, clip

TARGET = 1.15  # degrees, over the 12 months after any month; the mean of each month of the year gives more
AHEAD, YEARS = 12, 45  # months forecast, years learned from


def jordan(inputs: int = 2, outputs: int = 1, hidden: int = 32) -> Template:
    """The only thing that the network carries along is its own output."""
    g = Template("jordan")
    x, y, o0 = g.input("x", inputs), g.input("y", outputs), g.input("o0", outputs, over=None)
    U, W, V = g.param("U", (hidden, inputs)), g.param("W", (hidden, outputs)), g.param("V", (outputs, hidden))
    b, c = g.param("b", hidden), g.param("c", outputs)
    h, o = g.variable("h", hidden), g.variable("o", outputs)
    o[0] = o0
    h[t] = ops.tanh(b + W @ o[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.mean(ops.mse(o[t], y[t]), over=t)
    return g


def series(first: np.ndarray, months: int, degrees: np.ndarray) -> dict[str, np.ndarray]:
    """Examples of so many months, each beginning at one of `first`; x is the season, o0 the month before."""
    when = first + np.arange(months)[:, None]
    angle = 2 * np.pi * when / 12
    arrays = {"x": np.stack([np.sin(angle), np.cos(angle)], -1), "y": degrees[when][..., None]}
    return {name: a.astype("float32") for name, a in {**arrays, "o0": degrees[first - 1][:, None]}.items()}


def speed_up(forced: Template, free: Template, backend: str, **arrays: Any) -> str:
    """Value and gradient of both, call by call in turns; the fastest of each."""
    nets, fastest = [forced.compile(backend), free.compile(backend)], [float("inf")] * 2
    params = nets[0].init(0)
    for _ in range(8):
        for k, net in enumerate(nets):
            start = time.perf_counter()
            net.value_and_grad(params, **arrays)
            fastest[k] = min(fastest[k], time.perf_counter() - start)
    a, b = (1e3 * seconds for seconds in fastest)
    return f"{nets[0].backend.name}: {a:.2f} ms forced, {b:.2f} ms free: {b / a:.1f} times as fast"


def main() -> None:
    """One template, trained in three modes, judged by forecasts in which it reads its own outputs."""
    args = options(__doc__, steps=2000)
    free = jordan()
    forced, coin = free.teacher_forced({"o": "y"}), free.scheduled({"o": "y"})
    show(free_running=free, teacher_forced=forced, scheduled=coin)
    draw(free, args)

    known = 12 * YEARS
    months = el_nino().ravel()
    mean, std = months[:known].mean(), months[:known].std()
    degrees = (months - mean) / std
    train = series(np.array([1]), known - 1, degrees)
    starts = np.arange(known + 1, len(months) - AHEAD + 1)
    held_out = series(starts, AHEAD, degrees)

    net = free.compile(args.backend)

    def error(params: dict[str, np.ndarray]) -> float:
        """Root mean square over all forecasts and months, in degrees."""
        run = net.run(params, "o", x=held_out["x"], o0=held_out["o0"])
        return float(np.sqrt(np.mean((run - held_out["y"]) ** 2)) * std)

    climate = degrees[:known].reshape(YEARS, 12).mean(0)
    when = starts + np.arange(AHEAD)[:, None]
    trivial = float(np.sqrt(np.mean((climate[when % 12] - degrees[when]) ** 2)) * std)

    print("where nothing recurs, nothing is left in a loop:")
    print(forced.compile(args.backend).explain(T=known), free.compile(args.backend).explain(T=known), sep="\n")
    arrays = {name: np.repeat(a, 64, -1) if name != "x" else a for name, a in train.items()}
    for hidden, outputs, inputs in ((32, 1, train), (256, 64, arrays)):
        wide = jordan(2, outputs, hidden)
        for backend in dict.fromkeys(["numpy", net.backend.name]):
            at = speed_up(wide.teacher_forced({"o": "y"}), wide, backend, **inputs)
            print(f"{known - 1} steps, {hidden} hidden units, {outputs} outputs, {at}")

    errors = {}
    for name, mode in (("free-running", free), ("teacher-forced", forced), ("scheduled", coin)):
        errors[name] = error(learn(mode.compile(args.backend), name, args, train))
        print(f"{name:>15}: {errors[name]:.3f} degrees free-running on held-out years")
    before = error(net.init(args.seed))
    result(f"degrees, {AHEAD} months ahead", before, trivial, "mean of month", errors["scheduled"], TARGET)


def learn(net: Net, name: str, args: Any, train: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adam on the whole series; a scheduled net reads the truth less and less often."""
    params, adam = net.init(args.seed), Adam()
    for step in (bar := progress(args, name)):
        own = {}
        if name == "scheduled":
            own = {"epsilon": schedules.inverse_sigmoid(step, max(1, args.steps / 10)), "seed": step}
        loss, grads = net.value_and_grad(params, **train, **own)
        adam.rate = 1e-2 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 1.0))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return params


if __name__ == "__main__":
    main()
