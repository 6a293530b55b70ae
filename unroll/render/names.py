"""Names as they stand in a picture: hostile characters made visible, steps as superscripts, cotangents as in print."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from ..ir import System

LONGEST = 40
_SUPERSCRIPT = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
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


class Names:
    """How the names of one system are printed."""

    def __init__(self, system: System) -> None:
        self._decls = system.decls
        self._loss = system.loss
        self._short = "L" not in system.decls

    def plain(self, name: str) -> str:
        """``h``; the loss is L, and the cotangent of h is ∂L/∂h."""
        if name == self._loss and self._short:
            return "L"
        decl = self._decls.get(name)
        if decl is not None and decl.kind == "cotangent" and decl.of is not None and self._loss is not None:
            of = self._decls.get(decl.of)
            if of is not None and of.kind != "cotangent":
                return f"∂{self.plain(self._loss)}/∂{self.plain(decl.of)}"
        return shortened(visible(name))

    def at(self, name: str, steps: Sequence[int]) -> str:
        """``h⁽²⁾``, with the step as in print; ``a[1,2]`` where there are several, since there is no raised comma."""
        text = self.plain(name)
        if not steps:
            return text
        if len(steps) > 1:
            return f"{text}[{','.join(map(str, steps))}]"
        return f"{text}⁽{str(steps[0]).translate(_SUPERSCRIPT)}⁾"


class Ids:
    """Identifiers of nodes in DOT: the plain name where it is harmless, else a number. Each is given out once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def of(self, wanted: str) -> str:
        """An identifier like `wanted`."""
        base = wanted if is_harmless(wanted) else "node"
        number, made = 1, base
        while made in self._given or not made:
            number += 1
            made = f"{base}#{number}"
        self._given.add(made)
        return made


def is_harmless(text: str) -> bool:
    """True for text that means itself in DOT, in its escapes, and in XML."""
    return 0 < len(text) <= LONGEST and all(c.isalnum() or c in "_~[](),.+- #'/^" for c in text) and text.isprintable()


def joined(texts: Iterable[str]) -> str:
    """Several params on one edge."""
    return ", ".join(texts)
