"""Names as they stand in a picture: hostile characters made visible, Greek letters, steps as superscripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ..ir.system import Ref, System
from ..printing.symbols import GREEK, MARKS, parts
from .rich_text import Lettering, Piece, line

LONGEST = 40
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    """The text with what cannot be seen, or cannot stand in XML, written as Python would escape it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_SHORT_ESCAPES.get(c) or _escape(c) if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _escape(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str) -> str:
    """At most so many characters that a picture stays a picture."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def letters(name: str) -> Lettering:
    """A plain name as it is printed: ``h_1`` with its subscript, ``alpha`` in Greek, ``y_hat`` under a hat."""
    found = parts(name) if len(name) <= LONGEST else None
    if found is None:
        return line(shortened(visible(name)))
    base = unicodedata.normalize("NFC", GREEK.get(found.base, found.base) + MARKS.get(found.mark, ""))
    below = ",".join(_word(w) for w in found.below)
    return line(base) + ([Piece(below, -1)] if below else [])


def _word(word: str) -> str:
    found = parts(word)
    return (
        GREEK.get(word, word)
        if found is None or not found.below
        else GREEK.get(found.base, found.base) + found.below[0]
    )


class PrintedNames:
    """How the names of one system are printed."""

    def __init__(self, system: System, short: Mapping[str, str] | None = None) -> None:
        self._decls = system.decls
        self._spelt = short or {}
        self._loss = system.loss
        self._short = "L" not in system.decls
        self._known: dict[str, Lettering] = {}

    def plain(self, name: str) -> str:
        """``h``; the loss is L, and the cotangent of h is ∂L/∂h."""
        return self.of(name).plain

    def of(self, name: str) -> Lettering:
        """``h``; the loss is L, and the cotangent of h is ∂L/∂h."""
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def _made(self, name: str) -> Lettering:
        if name == self._loss and self._short:
            return line("L")
        decl = self._decls.get(name)
        if decl is not None and decl.kind == "cotangent" and decl.of is not None and self._loss is not None:
            of = self._decls.get(decl.of)
            if of is not None and of.kind != "cotangent":
                return line("∂") + self.of(self._loss) + line("/∂") + self.of(decl.of)
        return letters(self._spelt.get(name, name))

    def at(self, name: str, steps: Sequence[int | str]) -> Lettering:
        """``h⁽²⁾``, with the steps as in print."""
        return self.of(name) + ([Piece(f"({','.join(map(_minus, steps))})", 1)] if steps else [])

    def ref(self, ref: Ref) -> Lettering:
        """``h⁽ᵗ⁻¹⁾``, ``e⁽ˢ⁾``."""
        return self.at(ref.name, [str(i) for i in ref.index])


def _minus(step: int | str) -> str:
    return str(step).replace("-", "−")


class Ids:
    """Identifiers of nodes in DOT: the plain name where it is harmless, else a number. Each is given out once."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._next: dict[str, int] = {}

    def of(self, wanted: str) -> str:
        """An identifier like `wanted`."""
        base = wanted if is_harmless(wanted) else "node"
        number = self._next.get(base, 1)
        made = base
        while made in self._given or not made:
            number += 1
            made = f"{base}#{number}"
        self._next[base] = number
        self._given.add(made)
        return made


def is_harmless(text: str) -> bool:
    """True for text that means itself in DOT, in its escapes, and in XML."""
    return 0 < len(text) <= LONGEST and all(c.isalnum() or c in "_~[](),.+- #'/^" for c in text) and text.isprintable()
