"""A vector into a sequence: the picture of a digit, spelt out letter by letter (book section 10.2.4, figure 10.9)."""

from __future__ import annotations

import numpy as np
from common import draw, need, options, progress, result

from unroll import Template, ops, t
from unroll.optim import Adam, clip

TARGET = 0.85  # of held-out digits spelt without a mistake, where the commonest word would be right for a tenth
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
END = "."
LETTERS = END + "".join(sorted(set("".join(WORDS))))
BEGIN = len(LETTERS)  # what is read in place of a letter before the first
HELD_OUT = 450  # the last pictures, by writers of their own
HIDDEN, BATCH = 64, 64


def speller(pixels: int = 64, hidden: int = HIDDEN) -> Template:
    """The picture v is read at every step, together with the letter written last; END ends the word."""
    g = Template("image_to_word")
    v, y, w = g.input("v", pixels, over=None), g.input("y", dtype="int"), g.input("w")
    W, R = g.param("W", (hidden, hidden), init="orthogonal"), g.param("R", (hidden, pixels))
    E, V = g.param("E", (len(LETTERS) + 1, hidden)), g.param("V", (len(LETTERS), hidden))
    b, c = g.param("b", hidden), g.param("c", len(LETTERS))
    h, o, p = g.variable("h", hidden), g.variable("o"), g.variable("p", (), dtype="int")
    h[0] = 0
    p[0] = BEGIN
    h[t] = ops.tanh(b + W @ h[t - 1] + R @ v + E[p[t - 1]])
    o[t] = c + V @ h[t]
    p[t] = ops.argmax(o[t])
    g.stop = ops.equal(p[t], LETTERS.index(END))
    g.loss = ops.sum(w[t] * ops.cross_entropy(o[t], y[t]), over=t)
    return g


def spelt() -> tuple[np.ndarray, np.ndarray]:
    """The letters of each word, (T, 10), and how much each counts: those after the first END nothing."""
    length = max(map(len, WORDS)) + 1
    letters = np.array([[LETTERS.index(c) for c in word.ljust(length, END)] for word in WORDS]).T
    counts = np.array([[k <= len(word) for word in WORDS] for k in range(length)])
    return letters, counts


def read(letters: np.ndarray) -> str:
    """What is spelt before the first END."""
    return "".join(LETTERS[k] for k in letters).partition(END)[0]


def main() -> None:
    """Train with the letters of the word, judge on what is written freely."""
    args = options(__doc__, steps=1000)
    g = speller()
    print(g, end="\n\n")
    draw(g, args)
    images, classes = need("sklearn.datasets").load_digits(return_X_y=True)
    images, known = images / 16, len(classes) - HELD_OUT
    letters, counts = spelt()

    free, forced = g.compile(args.backend), g.teacher_forced({"p": "y"}).compile(args.backend)
    params, adam, rng = free.init(args.seed), Adam(), np.random.default_rng(args.seed)

    def words(params: dict[str, np.ndarray]) -> list[str]:
        written, lengths = free.generate(params, "p", v=images[known:], max_steps=len(letters))
        return [read(row[:length]) for row, length in zip(written.T, lengths, strict=True)]

    def right(written: list[str]) -> float:
        return float(np.mean([word == WORDS[k] for word, k in zip(written, classes[known:], strict=True)]))

    before = right(words(params))
    for step in (bar := progress(args, "image to word")):
        batch = rng.integers(0, known, BATCH)
        named = classes[batch]
        loss, grads = forced.value_and_grad(params, v=images[batch], y=letters[:, named], w=counts[:, named])
        adam.rate = 3e-3 * (1 - step / args.steps)
        params = adam.update(params, clip(grads, 5.0))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    written = words(params)
    print("held-out digits, as written:", *written[:10])
    print("no word at all:", sorted({word for word in written if word not in WORDS}) or "none")
    commonest = WORDS[np.bincount(classes[:known]).argmax()]
    trivial = right([commonest] * HELD_OUT)
    result("words right", before, trivial, f"always {commonest}", right(written), TARGET)


if __name__ == "__main__":
    main()
