"""Real data for the examples, none of it downloaded: from the standard library, scikit-learn and statsmodels."""

from __future__ import annotations

import string
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import need

SYMBOLS = [*sorted(string.printable[:97]), "\ufffd"]
"""Letters, digits, punctuation, blank, tab and newline, and one for every byte of anything else."""


def sources(train: int, seed: int, files: int = 32, excerpt: int = 1600) -> tuple[np.ndarray, np.ndarray]:
    """Two texts as codes of `SYMBOLS`: source files of the standard library, no file in both.

    train           characters to learn from, at most
    files, excerpt  the held-out text is a piece out of the middle of so many files, one after the other
    """
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    np.random.default_rng(seed).shuffle(paths)
    code = np.full(256, len(SYMBOLS) - 1)
    code[[ord(c) for c in SYMBOLS[:-1]]] = range(len(SYMBOLS) - 1)
    texts = [code[np.frombuffer(path.read_bytes().replace(b"\r\n", b"\n"), np.uint8)] for path in paths]
    texts = [text for text in texts if len(text) >= 2 * excerpt]
    middles = [text[len(text) // 2 :][:excerpt] for text in texts[:files]]
    return np.concatenate(texts[files:])[:train], np.concatenate(middles)


def entropies(train: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """Bits per character of the held-out text under counts of single characters and of pairs in the other.

    Every count starts at 1 (Laplace).
    """
    n = len(SYMBOLS)
    single, pairs = np.ones(n), np.ones((n, n))
    np.add.at(single, train, 1)
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    before, after = held_out[:-1], held_out[1:]
    unigram = -np.log2(single / single.sum())[after].mean()
    bigram = -np.log2(pairs / pairs.sum(1, keepdims=True))[before, after].mean()
    return float(unigram), float(bigram)


def windows(codes: np.ndarray, length: int, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A text read side by side in `rows` places: ``(read, predicted)`` of shape (length, rows), one after the other."""
    span = (len(codes) - 1) // rows
    read, predicted = (codes[k : k + rows * span].reshape(rows, span).T for k in (0, 1))
    for start in range(0, span - length + 1, length):
        yield read[start : start + length], predicted[start : start + length]


def sunspots() -> np.ndarray:
    """Sunspot numbers of the years 1700 to 2008 (statsmodels), in units of 50 spots."""
    return need("statsmodels.datasets").sunspots.load_pandas().data["SUNACTIVITY"].to_numpy() / 50


def el_nino() -> np.ndarray:
    """Sea surface temperatures off Peru, months of the years 1950 to 2010 (statsmodels), in degrees: (61, 12)."""
    return need("statsmodels.datasets").elnino.load_pandas().data.to_numpy()[:, 1:]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits (scikit-learn): images (1797, 8, 8) between 0 and 1, and classes (1797,)."""
    images, classes = need("sklearn.datasets").load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8) / 16, classes
