"""An encoder reads one sequence, a decoder writes another: dates as people write them (book 10.4, figure 10.12)."""

from __future__ import annotations

import argparse
import datetime
import re
from typing import Any

import numpy as np
from common import need, options, progress, result

import unroll
from unroll import Net, Template, cells, ops, t
from unroll.optim import Adam, clip

TARGET = 0.8  # of held-out dates written without a mistake; copying their digits is right for an eighth
LOCALES = ("en_US", "fr", "de", "it", "nl", "pl", "hu", "sv")
STYLES = ("medium", "long")
FIRST, LAST = datetime.date(2000, 1, 1), datetime.date(2039, 12, 31)
HELD_OUT, BATCH, HIDDEN, LETTER = 500, 64, 96, 24
SYMBOLS = "0123456789-"  # of the dates written
BEGIN = len(SYMBOLS)  # what the decoder reads in place of a symbol before the first

s, S = unroll.axis("s")


def translator(letters: int, hidden: int = HIDDEN) -> Template:
    """All that the decoder learns of what was read is the encoder's last state, which it sees at every step."""
    g = Template("encoder_decoder")
    x, y = g.input("x", over=s, dtype="int"), g.input("y", dtype="int")
    E, D = g.param("E", (letters, LETTER)), g.param("D", (len(SYMBOLS) + 1, LETTER))
    V, c = g.param("V", (len(SYMBOLS), hidden)), g.param("c", len(SYMBOLS))
    o, p = g.variable("o"), g.variable("p", (), dtype="int")
    e = cells.layer(g, cells.gru, E[x[s]], hidden, name="e", over=s)
    p[0] = BEGIN
    d = cells.layer(g, cells.gru, ops.concat([D[p[t - 1]], e[S]]), hidden, name="d", initial=e[S])
    o[t] = c + V @ d[t]
    p[t] = ops.argmax(o[t])
    g.loss = ops.mean(ops.cross_entropy(o[t], y[t]), over=t)
    return g


class Dates:
    """Dates in the words of several languages (babel), and as the standard has them: 2026-11-20.

    x  letters, (S, N), filled up on the left, so that the last one read belongs to the date
    y  symbols, (10, N)
    """

    def __init__(self, rng: np.random.Generator) -> None:
        write = need("babel.dates").format_date
        span = (LAST - FIRST).days + 1
        self.days = [FIRST + datetime.timedelta(days=int(n)) for n in rng.permutation(span)]
        self.texts = [write(day, str(rng.choice(STYLES)), str(rng.choice(LOCALES))) for day in self.days]
        self.letters = ["", *sorted(set("".join(self.texts)))]
        code = {letter: k for k, letter in enumerate(self.letters)}
        self.x = np.zeros((max(map(len, self.texts)), span), int)
        for n, text in enumerate(self.texts):
            self.x[-len(text) :, n] = [code[letter] for letter in text]
        self.y = np.array([[SYMBOLS.index(c) for c in day.isoformat()] for day in self.days]).T
        self.known = span - HELD_OUT

    def right(self, net: Net, params: dict[str, Any]) -> float:
        """The share of held-out dates that the decoder writes without a mistake, each symbol read from its own."""
        written = net.run(params, "p", x=self.x[:, self.known :], T=len(self.y))
        return float((written == self.y[:, self.known :]).all(0).mean())

    def trivial(self) -> float:
        """The share right of copying the digits, and naming the commonest month where it is a word."""
        months = [day.month for day in self.days[: self.known]]
        commonest = str(max(range(1, 13), key=months.count))

        def guess(text: str) -> str:
            numbers = re.findall(r"\d+", text)
            year = max(numbers, key=len)
            day, month = [*(n for n in numbers if n != year), commonest][:2]
            return f"{year}-{month:0>2}-{day:0>2}"

        pairs = zip(self.texts[self.known :], self.days[self.known :], strict=True)
        return float(np.mean([guess(text) == day.isoformat() for text, day in pairs]))


def learn(g: Template, dates: Dates, args: argparse.Namespace, what: str) -> dict[str, Any]:
    """Adam, teacher forcing; every update reads dates that are drawn anew."""
    net, adam, rng = g.teacher_forced({"p": "y"}).compile(args.backend), Adam(), np.random.default_rng(args.seed)
    params = net.init(args.seed)
    for step in (bar := progress(args, what)):
        batch = rng.integers(dates.known, size=BATCH)
        loss, grads = net.value_and_grad(params, x=dates.x[:, batch], y=dates.y[:, batch])
        adam.rate = 1e-2 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 5.0))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return params


def draw(g: Template, args: argparse.Namespace) -> None:
    """Write the folded and the unfolded diagram, both axes at lengths of their own."""
    args.out.mkdir(parents=True, exist_ok=True)
    for picture, name in ((g, g.name), (g.unfold(T=2, S=3), f"{g.name}-unfolded")):
        picture.draw(args.out / f"{name}.svg")
        print(f"drawn: {args.out / name}.svg")


def main() -> None:
    """Train on most days of forty years, judge on the others, decoding freely."""
    args = options(__doc__, steps=1500)
    dates = Dates(np.random.default_rng(args.seed))
    g = translator(len(dates.letters))
    print(g, end="\n\n")
    draw(g, args)
    net = g.compile(args.backend)
    before = dates.right(net, net.init(args.seed))
    params = learn(g, dates, args, g.name)
    written = net.run(params, "p", x=dates.x[:, -5:], T=len(dates.y))
    for text, row in zip(dates.texts[-5:], written.T, strict=True):
        print(f"{text:>28} -> {''.join(SYMBOLS[k] for k in row)}")
    result("dates right", before, dates.trivial(), "digits copied", dates.right(net, params), TARGET)


if __name__ == "__main__":
    main()
