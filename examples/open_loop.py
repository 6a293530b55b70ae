"""Training for forecasts of several years: sunspots, open loop against teacher forcing (book section 10.2.1)."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from common import draw, options, progress, result, show
from data import sunspots

from unroll import Template, ops, t
from unroll.optim import Adam

TARGET = 40.0  # sunspots, over forecasts of 1 to 6 years from every year 1920 to 2002
KNOWN, CHOOSING, AHEAD = 221, 40, 6  # years to learn from (1700 to 1920), the last of them to choose by; years ahead
TRIED = (2, 6, 9, 12)  # years looked back on, to choose from


def autoregression(past: int) -> Template:
    """Yule 1927: o holds the latest years, the newest first; a forecast comes in, the oldest drops out."""
    g = Template("autoregression")
    y, o0 = g.input("y", past), g.input("o0", past, over=None)
    W, c = g.param("W", (1, past)), g.param("c", 1)
    o = g.variable("o", past)
    o[0] = o0
    o[t] = ops.concat([c + W @ o[t - 1], o[t - 1][:-1]])
    g.loss = ops.mean((o[t][0] - y[t][0]) ** 2, over=t)
    return g


class Forecasts:
    """The sunspots of every year, and forecasts of AHEAD years that set out from every year in turn."""

    def __init__(self, past: int, args: argparse.Namespace) -> None:
        self.past, self.args = past, args
        self.years = sunspots().astype("float32")
        self.latest = np.lib.stride_tricks.sliding_window_view(self.years, past)[:, ::-1]  # a row for 1699 + past, ...
        self.free = autoregression(past)
        forced, open_loop = self.free.teacher_forced({"o": "y"}), self.free.open_loop({"o": "y"}, AHEAD)
        self.modes = {"teacher forcing": forced, "open loop": open_loop}
        self.net = self.free.compile(args.backend)

    def learned(self, mode: str, known: int) -> dict[str, np.ndarray]:
        """Params learned from the first `known` years, the series begun in each of AHEAD years."""
        begun = np.arange(AHEAD)
        years = 1 + begun + np.arange(known + 1 - self.past - AHEAD)[:, None]
        net, adam = self.modes[mode].compile(self.args.backend), Adam()
        params = net.init(self.args.seed)
        for step in (bar := progress(self.args, f"{mode}, {self.past} years")):
            loss, grads = net.value_and_grad(params, o0=self.latest[begun], y=self.latest[years])
            adam.rate = 1e-2 * (1 - step / self.args.steps)
            params = adam.update(params, grads)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        return params

    def errors(self, forecast: Any, known: int, last: int | None = None) -> np.ndarray:
        """Root mean square in sunspots for each distance; `forecast` maps the latest years to (AHEAD, origins)."""
        origins = np.arange(known, (len(self.years) if last is None else last) - AHEAD + 1)  # years gone by
        truth = self.years[origins + np.arange(AHEAD)[:, None]]
        return 50 * np.sqrt(((forecast(self.latest[origins - self.past]) - truth) ** 2).mean(1))

    def of(self, params: dict[str, np.ndarray]) -> Any:
        """The forecast of the network with some params."""
        return lambda latest: self.net.run(params, "o", o0=latest, T=AHEAD)[..., 0]


def main() -> None:
    """The truth every year, or every AHEAD years; judged by forecasts of AHEAD years from every held-out year."""
    args = options(__doc__, steps=1000)
    tried = {past: Forecasts(past, args) for past in TRIED}
    found = {}
    for past, some in tried.items():
        params = some.learned("open loop", KNOWN - CHOOSING)
        found[past] = overall(some.errors(some.of(params), KNOWN - CHOOSING, KNOWN))
    chosen = tried[min(TRIED, key=lambda past: found[past])]
    show(free_running=chosen.free, **{name.replace(" ", "_"): mode for name, mode in chosen.modes.items()})
    draw(chosen.free, args)
    for past in TRIED:
        print(f"looking back on {past} years: {found[past]:.1f} sunspots off in 1881 to 1920")

    mean = chosen.years[:KNOWN].mean()
    forecasts = {mode: chosen.of(chosen.learned(mode, KNOWN)) for mode in chosen.modes}
    guesses = {"last value": lambda latest: latest[:, 0], "mean": lambda latest: np.full(len(latest), mean)}
    errors = {name: chosen.errors(forecast, KNOWN) for name, forecast in {**forecasts, **guesses}.items()}
    print(f"sunspots off, 1 to {AHEAD} years ahead, and over all:")
    for name, each in errors.items():
        print(f"  {name:>15}: " + " ".join(f"{e:5.1f}" for e in each) + f" {overall(each):7.1f}")
    guess = min(guesses, key=lambda name: overall(errors[name]))
    before = overall(chosen.errors(chosen.of(chosen.net.init(args.seed)), KNOWN))
    result(
        f"sunspots, 1 to {AHEAD} years ahead",
        before,
        overall(errors[guess]),
        guess,
        overall(errors["open loop"]),
        TARGET,
    )


def overall(errors: np.ndarray) -> float:
    """The root mean square over the distances."""
    return float(np.sqrt((errors**2).mean()))


if __name__ == "__main__":
    main()
