"""The main job, `unroll demo`: an Elman network learns to predict the next character of a text."""

from __future__ import annotations

import argparse
import importlib.util
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import Template, ops, t
from ..errors import UnrollError
from ..files import write_atomically
from ..runtime.net import Net
from ..training.optim import Adam, clip
from ..types import Array

HIDDEN, LENGTH, BATCH = 192, 48, 32
DRAWN = 4  # steps of the unfolded picture


class DemoError(UnrollError):
    """Something about the user's files that ends the demo: one line."""


def elman(symbols: int, hidden: int = HIDDEN) -> Template:
    """The network of the book's figure 10.3, which reads a character a step and predicts the next one."""
    g = Template("elman")
    x = g.input("x", symbols)
    y = g.input("y", dtype="int")
    h0 = g.input("h0", hidden, over=None)
    U, V = g.param("U", (hidden, symbols)), g.param("V", (symbols, hidden))
    W = g.param("W", (hidden, hidden), init="orthogonal")
    b, c = g.param("b", hidden), g.param("c", symbols)
    h, o = g.variable("h", hidden), g.variable("o")

    h[0] = h0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `unroll demo`."""
    parser.add_argument("--text", type=Path, metavar="FILE", help="a UTF-8 text to learn (default: Python's own help)")
    parser.add_argument("-o", "--out", type=Path, default=Path("unroll-demo"), help="folder for the pictures")
    parser.add_argument("--steps", type=_positive, default=1200, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same run (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="reference, numpy or auto (default: %(default)s)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _positive(text: str) -> int:
    if not text.lstrip("-").isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer, at least 1; got {text!r}")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """Train, measure, sample, draw."""
    for package in ("tqdm", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise DemoError(f"the demo needs {package}: pip install {package}")
    import numpy as np

    text = _read(args.text)
    folder = _folder(args.out)
    symbols = sorted(set(text))
    codes = np.searchsorted(symbols, list(text))
    split = len(codes) * 9 // 10
    train, held_out = codes[:split], codes[split:]
    if len(train) <= BATCH * 2 or len(held_out) < 2:
        raise DemoError(f"{args.text or 'the text'} has {len(text)} characters; a few hundred are needed")

    g = elman(len(symbols))
    print(g, end="\n\n")
    net = g.compile(backend=args.backend)
    params = net.init(seed=args.seed)
    _draw(g, folder)
    before = bits_per_character(net, params, held_out)
    params, curve = _train(net, params, train, args)
    after = bits_per_character(net, params, held_out)

    print(f"held-out bits per character: {before:.3f} before, {after:.3f} after {args.steps} steps")
    print(f"a sample: {sample(net, params, symbols, 200, args.seed)!r}")
    _plot(curve, folder / "loss.svg")
    print(f"folded.svg, unfolded.svg, adjoint.svg and loss.svg are in {folder.resolve()}")
    return 0


def _read(path: Path | None) -> str:
    if path is None:
        from pydoc_data.topics import topics

        return "\n".join(topics[name] for name in sorted(topics))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DemoError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from None
    except OSError as error:
        raise DemoError(f"cannot read {path}: {error.strerror}") from None
    if not text:
        raise DemoError(f"{path} is empty")
    return text


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".unroll-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DemoError(f"cannot write into {path}: {error.strerror}") from None
    return path


def windows(codes: Array, length: int, rows: int) -> Iterator[tuple[Any, Any]]:
    """Consecutive windows ``(read, predicted)`` of shape (length, rows): each row goes on where it stopped."""
    rows = max(1, min(rows, (len(codes) - 1) // 2))
    span = (len(codes) - 1) // rows
    read = codes[: rows * span].reshape(rows, span).T
    predicted = codes[1 : rows * span + 1].reshape(rows, span).T
    for start in range(0, span, length):
        yield read[start : start + length], predicted[start : start + length]


def _one_hot(codes: Array, size: int, dtype: str) -> Array:
    import numpy as np

    return np.eye(size, dtype=dtype)[codes]


def bits_per_character(net: Net, params: dict[str, Any], codes: Array) -> float:
    """The cross-entropy on a text in bits, the state carried along."""
    import numpy as np

    symbols, hidden = params["U"].shape[1], params["W"].shape[0]
    nats, count, h = 0.0, 0, None
    for x, y in windows(codes, LENGTH, BATCH):
        h = np.zeros((x.shape[1], hidden), net.dtype) if h is None else h
        result = net.run(params, ["loss", "h"], x=_one_hot(x, symbols, net.dtype), y=y, h0=h)
        nats, count, h = nats + float(result["loss"].sum()), count + x.size, result["h"][-1]
    return nats / count / math.log(2)


def _train(
    net: Net, params: dict[str, Any], codes: Array, args: argparse.Namespace
) -> tuple[dict[str, Any], list[float]]:
    import numpy as np
    from tqdm import tqdm

    symbols, hidden = params["U"].shape[1], params["W"].shape[0]
    adam, curve = Adam(2e-3), list[float]()
    rows, h = windows(codes, LENGTH, BATCH), None
    with tqdm(total=args.steps, unit="step", disable=args.quiet or None, mininterval=0.2) as bar:
        while len(curve) < args.steps:
            pair = next(rows, None)
            if pair is None:
                rows, h = windows(codes, LENGTH, BATCH), None
                continue
            x, y = pair
            h = np.zeros((x.shape[1], hidden), net.dtype) if h is None else h
            arrays = {"x": _one_hot(x, symbols, net.dtype), "y": y, "h0": h}
            loss, grads, values = net.value_and_grad(params, None, "h", **arrays)
            h = values["h"][-1]
            adam.rate = 2e-3 * (1 - len(curve) / args.steps)
            params = adam.update(params, clip(grads, 10.0))
            curve.append(float(loss) / len(x) / math.log(2))
            bar.set_postfix_str(f"{curve[-1]:.2f} bits per character", refresh=False)
            bar.update()
    return params, curve


def sample(net: Net, params: dict[str, Any], symbols: list[str], count: int, seed: int) -> str:
    """Characters drawn one after the other, each fed back as the next input."""
    import numpy as np

    rng = np.random.default_rng(seed)
    h = np.zeros((1, params["W"].shape[0]), net.dtype)
    code, drawn = symbols.index(" ") if " " in symbols else 0, []
    for _ in range(count):
        step = net.run(params, ["o", "h"], x=_one_hot(np.array([[code]]), len(symbols), net.dtype), h0=h)
        h, logits = step["h"][-1], step["o"][0, 0].astype(float)
        weights = np.exp(logits - logits.max())
        code = int(rng.choice(len(symbols), p=weights / weights.sum()))
        drawn.append(symbols[code])
    return "".join(drawn)


def _draw(g: Template, folder: Path) -> None:
    g.draw(folder / "folded.svg")
    g.adjoint().draw(folder / "adjoint.svg")
    g.unfold(DRAWN).draw(folder / "unfolded.svg")


def _plot(curve: list[float], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(range(1, len(curve) + 1), curve, linewidth=1)
    axes.set(xlabel="step", ylabel="bits per character", title="training")
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())
