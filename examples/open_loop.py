"""Training for forecasts of several years: sunspots, open loop against teacher forcing (book section 10.2.1)."""

from __future__ import annotations

import numpy as np
from common import draw, options, progress, result
from data import sunspots

from unroll import Template, ops, t
from unroll.optim import Adam

TARGET = 40.0  # sunspots, over forecasts of 1 to 6 years from every year 1920 to 2002
KNOWN, AHEAD, PAST = 221, 6, 9  # years to learn from (1700 to 1920), years to forecast, years looked back on


def autoregression(past: int = PAST) -> Template:
    """Yule 1927: o holds the latest years, the newest first; a forecast comes in, the oldest drops out."""
    g = Template("autoregression")
    y, o0 = g.input("y", past), g.input("o0", past, over=None)
    W, c = g.param("W", (1, past)), g.param("c", 1)
    o = g.variable("o", past)
    o[0] = o0
    o[t] = ops.concat([c + W @ o[t - 1], o[t - 1][:-1]])
    g.loss = ops.mean((o[t][0] - y[t][0]) ** 2, over=t)
    return g


def main() -> None:
    """The truth every year, or every AHEAD years; judged by forecasts of AHEAD years from every held-out year."""
    args = options(__doc__, steps=1000)
    free = autoregression()
    modes = {"teacher forcing": free.teacher_forced({"o": "y"}), "open loop": free.open_loop({"o": "y"}, AHEAD)}
    print(free, *modes.values(), sep="\n\n", end="\n\n")
    draw(free, args)

    years = sunspots().astype("float32")
    latest = np.lib.stride_tricks.sliding_window_view(years, PAST)[:, ::-1]  # (301, 9): the years 1708 to 2008
    known = KNOWN - PAST  # the row of 1920
    origins = np.arange(known, len(latest) - AHEAD)
    truth = latest[origins + np.arange(1, AHEAD + 1)[:, None], 0]  # (AHEAD, origins)
    begun = np.arange(AHEAD)  # the series begun in each of six years, so that forecasts set out from every year
    arrays = {"o0": latest[begun], "y": latest[1 + begun + np.arange(known + 1 - AHEAD)[:, None]]}

    def errors(forecast: np.ndarray) -> np.ndarray:
        """Root mean square in sunspots, for each distance."""
        return 50 * np.sqrt(((forecast - truth) ** 2).mean(1))

    def errors_of(params: dict[str, np.ndarray]) -> np.ndarray:
        return errors(net.run(params, "o", o0=latest[origins], T=AHEAD)[..., 0])

    net, found = free.compile(args.backend), {}
    for name, mode in modes.items():
        trained, adam = mode.compile(args.backend), Adam()
        params = trained.init(args.seed)
        for step in (bar := progress(args, name)):
            loss, grads = trained.value_and_grad(params, **arrays)
            adam.rate = 1e-2 * (1 - step / args.steps)
            params = adam.update(params, grads)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        found[name] = errors_of(params)

    guesses = {"last value": latest[origins, 0], "mean": np.full(len(origins), years[:KNOWN].mean())}
    found |= {name: errors(guess) for name, guess in guesses.items()}
    print(f"sunspots off, 1 to {AHEAD} years ahead, and over all:")
    for name, each in found.items():
        print(f"  {name:>15}: " + " ".join(f"{e:5.1f}" for e in each) + f" {overall(each):7.1f}")
    guess = min(guesses, key=lambda name: overall(found[name]))
    before, trivial, after = map(overall, (errors_of(net.init(args.seed)), found[guess], found["open loop"]))
    result(f"sunspots, 1 to {AHEAD} years ahead", before, trivial, guess, after, TARGET)


def overall(errors: np.ndarray) -> float:
    """The root mean square over the distances."""
    return float(np.sqrt((errors**2).mean()))


if __name__ == "__main__":
    main()
