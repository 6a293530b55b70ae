"""Two recurrences in opposite directions: where words may be hyphenated (book section 10.3, figure 10.11)."""

from __future__ import annotations

import argparse
import re
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from common import draw, need, options, progress, result

from unroll import T, Template, ops, t
from unroll.optim import Adam, clip

TARGET = 0.5  # of held-out words with every hyphen in its place; leaving all words whole is right for a fifth
HELD_OUT, BATCH, HIDDEN = 1500, 64, 64
BLANK, LETTERS = 0, 27  # a to z are 1 to 26


def tagger(hidden: int = HIDDEN) -> Template:
    """Figure 10.11: h runs forward and r backward, each with units of its own; every output reads both."""
    g = Template("bidirectional")
    x, y, w = g.input("x", dtype="int"), g.input("y"), g.input("w")
    W, U, b = g.param("W", (hidden, hidden), init="orthogonal"), g.param("U", (LETTERS, hidden)), g.param("b", hidden)
    R, Q, d = g.param("R", (hidden, hidden), init="orthogonal"), g.param("Q", (LETTERS, hidden)), g.param("d", hidden)
    V, c = g.param("V", (1, 2 * hidden)), g.param("c", 1)
    h, r, o = g.variable("h", hidden), g.variable("r", hidden), g.variable("o")
    h[0] = 0
    r[T + 1] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U[x[t]])
    r[t] = ops.tanh(d + R @ r[t + 1] + Q[x[t]])
    o[t] = c + V @ ops.concat([h[t], r[t]])
    g.loss = ops.sum(w[t] * ops.sum(ops.bce_with_logits(o[t], y[t])), over=t)
    return g


def forward(hidden: int = 2 * HIDDEN) -> Template:
    """As many units, which all run forward: no output sees the letters that follow."""
    g = Template("forward")
    x, y, w = g.input("x", dtype="int"), g.input("y"), g.input("w")
    W, U, b = g.param("W", (hidden, hidden), init="orthogonal"), g.param("U", (LETTERS, hidden)), g.param("b", hidden)
    V, c = g.param("V", (1, hidden)), g.param("c", 1)
    h, o = g.variable("h", hidden), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U[x[t]])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(w[t] * ops.sum(ops.bce_with_logits(o[t], y[t])), over=t)
    return g


class Words:
    """Words of Python's own library and manual, and where pyphen (the patterns of LibreOffice) hyphenates them.

    x  letters, (T, N), filled up with blanks
    y  1.0 where a hyphen may follow the letter, (T, N)
    w  1.0 at the letters after which there is a choice: all but the last, (T, N)
    """

    def __init__(self, rng: np.random.Generator) -> None:
        hyphens = need("pyphen").Pyphen(lang="en_US").positions
        pattern = re.compile(r"(?<![\w.])[a-z]{5,16}(?![\w(.=])")  # no names with dots, no calls
        files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        texts = [*topics.values(), *(path.read_text(encoding="utf-8", errors="replace") for path in files)]
        words = sorted({word for text in texts for word in pattern.findall(text)})
        self.words = [words[k] for k in rng.permutation(len(words))]
        self.known = len(words) - HELD_OUT
        shape = max(map(len, words)), len(words)
        self.x, self.y, self.w = np.full(shape, BLANK), np.zeros(shape, "float32"), np.zeros(shape, "float32")
        for n, word in enumerate(self.words):
            self.x[: len(word), n] = [1 + ord(letter) - ord("a") for letter in word]
            self.w[: len(word) - 1, n] = 1
            self.y[[k - 1 for k in hyphens(word)], n] = 1

    def batch(self, which: Any) -> dict[str, np.ndarray]:
        """The arrays of some of the words."""
        return {name: getattr(self, name)[:, which] for name in "xyw"}

    def scores(self, hyphens: np.ndarray) -> tuple[float, float]:
        """The share of held-out words right in every place, and F1 of the hyphens."""
        truth, choice = (a[:, self.known :] > 0 for a in (self.y, self.w))
        found = hyphens & choice
        f1 = 2 * (found & truth).sum() / max(1, found.sum() + truth.sum())
        return float((found == truth).all(0).mean()), float(f1)


def learn(g: Template, words: Words, args: argparse.Namespace) -> tuple[tuple[float, float], np.ndarray]:
    """Adam on words drawn at random; the scores before, and the hyphens of held-out words after."""
    net, adam, rng = g.compile(args.backend), Adam(), np.random.default_rng(args.seed)
    params, held_out = net.init(args.seed), words.x[:, words.known :]
    before = words.scores(net.run(params, "o", x=held_out)[..., 0] > 0)
    for step in (bar := progress(args, g.name)):
        loss, grads = net.value_and_grad(params, **words.batch(rng.integers(words.known, size=BATCH)))
        adam.rate = 5e-3 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 5.0))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return before, net.run(params, "o", x=held_out)[..., 0] > 0


def show(word: str, hyphens: np.ndarray) -> str:
    """The word with its hyphens."""
    return "".join(c + "-" * bool(k) for c, k in zip(word, hyphens[: len(word) - 1], strict=False)) + word[-1]


def main() -> None:
    """Train both on the same words, judge on words that they have not seen."""
    args = options(__doc__, steps=800)
    words, g = Words(np.random.default_rng(args.seed)), tagger()
    print(g, end="\n\n")
    draw(g, args)
    before, found = learn(g, words, args)
    _, one_way = learn(forward(), words, args)
    held_out = words.words[words.known :]
    print("held-out words:", *(show(word, found[:, n]) for n, word in enumerate(held_out[:12])))
    whole = words.scores(np.zeros_like(found))
    for name, (exact, f1) in {
        "both directions": words.scores(found),
        "forward only": words.scores(one_way),
        "no hyphen": whole,
    }.items():
        print(f"{name:>16}: {exact:.3f} of the words right, F1 {f1:.3f}")
    result("words right", before[0], whole[0], "no hyphen", words.scores(found)[0], TARGET)


if __name__ == "__main__":
    main()
