"""Draws the figures of the README anew: `python docs/figures.py`."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def readme_template() -> Any:
    """The template that the README declares, made by running its first block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = text.split("```pycon\n", 1)[1].split("```", 1)[0]
    scope: dict[str, Any] = {}
    exec("".join(example.source for example in doctest.DocTestParser().get_examples(first)), scope)
    return scope["g"]


def main() -> None:
    """Write both figures."""
    folder = ROOT / "docs" / "figures"
    g = readme_template()
    g.draw(folder / "folded.svg")
    g.unfold(4).draw(folder / "unfolded.svg")


if __name__ == "__main__":
    main()
