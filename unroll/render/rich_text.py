"""Text as it is set in a picture: pieces on the line, raised or lowered, and how wide they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SMALL = 0.68
"""Size of raised and lowered letters, as a part of the others."""
_RAISED = str.maketrans("0123456789+-()−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾⁻")
_LOWERED = str.maketrans("0123456789+-()−", "₀₁₂₃₄₅₆₇₈₉₊₋₍₎₋")

_WIDTHS = {
    **dict.fromkeys("fijlt/:;I'|!", 0.29),
    **dict.fromkeys("()", 0.34),
    **dict.fromkeys(" ,.·", 0.25),
    **dict.fromkeys("rs[]-J", 0.39),
    **dict.fromkeys("cekvxyzJ", 0.445),
    **dict.fromkeys("ABEFGPRXSLTY", 0.6),
    **dict.fromkeys("CDGHKNOQUVZ∂α", 0.71),
    **dict.fromkeys("wω", 0.67),
    **dict.fromkeys("mMW@%", 0.83),
    **dict.fromkeys("→⋯—", 1.0),
    **dict.fromkeys("+=<>−", 0.675),
}


class Piece(NamedTuple):
    """A run of letters; level is 0 on the line, 1 for a superscript and -1 for a subscript.

    upright  True for signs, numbers and names of functions
    """

    text: str
    level: int = 0
    upright: bool = False


class Lettering(tuple[Piece, ...]):
    """Pieces in order; a superscript right after a subscript stands above it."""

    __slots__ = ()

    @property
    def plain(self) -> str:
        """One line of text: ``h₁⁽³⁾``, and ``h_fwd⁽³⁾``, ``a[1,2]`` where there are no such characters."""
        return "".join(_flat(piece) for piece in self)

    def __add__(self, other: Iterable[Piece]) -> Lettering:  # type: ignore[override]
        return Lettering((*self, *other))

    def width(self, size: float) -> float:
        """How wide it is in points, roughly: Times, without a font at hand."""
        total, below = 0.0, 0.0
        for text, level, _ in self:
            wide = sum(map(_width, text)) * size * (SMALL if level else 1.0)
            if level > 0 and below:
                total += max(0.0, wide - below)
                below = 0.0
            else:
                total += wide
                below = wide if level < 0 else 0.0
        return total


NOTHING = Lettering()


def line(text: str, upright: bool = False) -> Lettering:
    """Text on the line."""
    return Lettering((Piece(text, 0, upright),)) if text else NOTHING


def joined(letterings: Iterable[Lettering], between: str = ", ") -> Lettering:
    """Several, one after the other."""
    pieces: list[Piece] = []
    for one in letterings:
        if pieces:
            pieces.append(Piece(between, 0, True))
        pieces.extend(one)
    return Lettering(pieces)


def _flat(piece: Piece) -> str:
    text, level, _ = piece
    if not level:
        return text
    shifted = text.translate(_RAISED if level > 0 else _LOWERED)
    if level > 0:
        inner = text.removeprefix("(").removesuffix(")")
        return f"[{inner}]" if _ascii(shifted) else shifted
    return f"_{text}" if _ascii(shifted) else shifted


def _ascii(text: str) -> bool:
    return any(c.isascii() or c.isalpha() for c in text)


def _width(c: str) -> float:
    found = _WIDTHS.get(c)
    if found is not None:
        return found
    return 1.0 if ord(c) > 0x2E7F else 0.0 if 0x300 <= ord(c) < 0x370 else 0.6 if ord(c) > 0x7F else 0.51
