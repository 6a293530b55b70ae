"""Draws the figures of the README and of the gallery anew: `python docs/figures.py`.

With ``--golden`` the DOT of each figure of the gallery is kept too, for `tests/render/test_gallery.py` to compare with.
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures"
GOLDEN = ROOT / "tests" / "render" / "golden"


def readme_template() -> Any:
    """The template that the README declares, made by running its first block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = text.split("```pycon\n", 1)[1].split("```", 1)[0]
    scope: dict[str, Any] = {}
    exec("".join(example.source for example in doctest.DocTestParser().get_examples(first)), scope)
    return scope["g"]


def gallery() -> dict[str, Any]:
    """Every drawing of the gallery by the name of its file, made by running the page from top to bottom."""
    from unroll.render import Drawing

    drawn: dict[str, Any] = {}
    kept = Drawing.save
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    try:
        Drawing.save = lambda drawing, path, **_: drawn.update({str(path): drawing})  # type: ignore[method-assign,assignment]
        for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
            exec(compile(block, "docs/gallery.md", "exec"), scope)
    finally:
        Drawing.save = kept  # type: ignore[method-assign]
    return drawn


def main(arguments: list[str]) -> None:
    """Write every figure."""
    g = readme_template()
    g.draw(FIGURES / "folded.svg")
    g.unfold(4).draw(FIGURES / "unfolded.svg")
    for name, drawing in gallery().items():
        drawing.save(FIGURES / name)
        if "--golden" in arguments:
            GOLDEN.mkdir(exist_ok=True)
            drawing.save(GOLDEN / Path(name).with_suffix(".dot"))


if __name__ == "__main__":
    main(sys.argv[1:])
