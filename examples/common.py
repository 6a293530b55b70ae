"""What the examples share: their options, the progress bar, the pictures of a template, and the line of results."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

from unroll import Template

START = time.perf_counter()


def options(about: str | None, steps: int) -> argparse.Namespace:
    """The command line of an example: how many updates, which seed, where the pictures go."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--steps", type=int, default=steps, help="updates of the params (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same run (default: %(default)s)")
    parser.add_argument(
        "--backend", default="auto", help="reference, numpy, native, cupy or auto (default: %(default)s)"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("unroll-examples"), help="folder for the pictures")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()
    need("tqdm")
    return args


def need(module: str) -> Any:
    """The module, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("sklearn", "scikit-learn")
        sys.exit(f"{Path(sys.argv[0]).name} needs {package}: pip install {package}")


def progress(args: argparse.Namespace, what: str, steps: int | None = None) -> Any:
    """The numbers of the updates, with a bar that also shows what ``bar.set_postfix(...)`` is given."""
    return need("tqdm").trange(
        args.steps if steps is None else steps, desc=what, disable=args.quiet or None, mininterval=0.2
    )


def show(**templates: Template) -> None:
    """Print each template under a heading."""
    for name, g in templates.items():
        print(f"{name.replace('_', ' ')}:\n{g}\n")


def draw(g: Template, args: argparse.Namespace, steps: int = 3) -> None:
    """Write the template's folded and unfolded diagrams."""
    args.out.mkdir(parents=True, exist_ok=True)
    for picture, path in ((g, f"{g.name}.svg"), (g.unfold(steps), f"{g.name}-unfolded.svg")):
        picture.draw(args.out / path)
        print(f"drawn: {args.out / path}")


def result(measure: str, before: float, trivial: float, guess: str, after: float, target: float) -> None:
    """Print the last line of an example, a row of the table that run_all.py makes.

    A measure that improves upwards has a target above the trivial guess.
    """
    seconds = time.perf_counter() - START
    reached = after >= target if target > trivial else after <= target
    cells = [
        Path(sys.argv[0]).stem,
        measure,
        f"{before:.3g}",
        f"{trivial:.3g} ({guess})",
        f"{after:.3g}",
        f"{target:.3g}",
        "yes" if reached else "no",
        f"{seconds:.0f} s",
    ]
    print("| " + " | ".join(cells) + " |")
