"""Generated Python source: names that are safe in it, arithmetic on lengths, and loading with whole tracebacks."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from itertools import count
from typing import Any

from ...errors import GENERATED
from ...ir.axes import Axis, Index

_SERIAL = count(1)


class Names:
    """Unique identifiers for arbitrary names: ``h~`` becomes ``v_d_h``, ``h.4`` becomes ``v_h_4``.

    All begin with ``v_``, and nothing else in generated text does: neither words of the language, nor functions, nor
    the ends of axes, which are in upper case. So no name of a user's can stand for anything of ours.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self.fresh(_plain(name))
        return self._known[name]

    def fresh(self, wish: str) -> str:
        """An identifier like `wish` that nothing else has."""
        plain = f"v_{wish.removeprefix('v_')}"
        made, number = plain, 2
        while made in self._taken:
            made, number = f"{plain}_{number}", number + 1
        self._taken.add(made)
        return made


DERIVATIVE = re.compile(r"(.*?)~(\d*)(\.\d+)?$")
OTHERS = re.compile(r"[^A-Za-z0-9]+")


def _plain(name: str) -> str:
    base, marks = name, ""
    while "~" in base and (match := DERIVATIVE.match(base)):
        marks = f"d{match[2]}_{marks}"
        base = match[1] + (match[3] or "")
    return OTHERS.sub("_", marks + base).strip("_")


def linear(terms: Mapping[str, int], constant: int) -> str:
    """A sum such as ``T - 1`` or ``t``, written as a person would."""
    parts = [name if factor == 1 else f"{factor} * {name}" for name, factor in terms.items() if factor > 0]
    if not parts:
        parts, constant = [str(constant)], 0
    text = " + ".join(parts)
    for name, factor in terms.items():
        if factor < 0:
            text += f" - {name}" if factor == -1 else f" - {-factor} * {name}"
    if constant:
        text += f" + {constant}" if constant > 0 else f" - {-constant}"
    return text


def difference(index: Index, base: Index, running: Mapping[Axis, tuple[str, int]]) -> tuple[dict[str, int], int]:
    """``index - base`` as a sum; `running` says which loop variable, and offset, a running step is."""
    name, constant = index.anchor, index.shift - base.shift
    if index.axis is not None and index.runs:
        name, offset = running[index.axis]
        constant += offset
    if name == base.anchor:
        return {}, constant
    terms = {name: 1} if name else {}
    if base.anchor:
        terms[base.anchor] = -1
    return terms, constant


def load(text: str, name: str, scope: dict[str, Any]) -> dict[str, Any]:
    """Run generated text in `scope`; its lines then show in tracebacks and debuggers."""
    filename = f"{GENERATED}{name} {next(_SERIAL)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), scope)
    return scope
