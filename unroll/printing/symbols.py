"""Plain names taken apart as mathematics reads them: ``alpha_1`` is α with subscript 1, ``y_hat`` is y under a hat."""

from __future__ import annotations

import re
from typing import NamedTuple

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "zeta": "ζ",
    "eta": "η",
    "theta": "θ",
    "iota": "ι",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "upsilon": "υ",
    "phi": "φ",
    "chi": "χ",
    "psi": "ψ",
    "omega": "ω",
    "Gamma": "Γ",
    "Delta": "Δ",
    "Theta": "Θ",
    "Lambda": "Λ",
    "Xi": "Ξ",
    "Pi": "Π",
    "Sigma": "Σ",
    "Phi": "Φ",
    "Psi": "Ψ",
    "Omega": "Ω",
}
"""Greek letters by their English names, which are also their names in LaTeX."""
MARKS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "dot": "\u0307"}
"""What stands over a letter: the name, which LaTeX shares, and the character that combines with the letter."""


class Parts(NamedTuple):
    """A name in parts: ``y_hat_1`` is ``Parts("y", "hat", ("1",))``; the words are as the user wrote them."""

    base: str
    mark: str = ""
    below: tuple[str, ...] = ()


def parts(name: str) -> Parts | None:
    """The base of a name, its mark and its subscripts; None for a name that is not made that way.

    >>> parts("y_hat"), parts("Uf_h1"), parts("<b>")
    (Parts(base='y', mark='hat', below=()), Parts(base='U', mark='', below=('f', 'h1')), None)
    """
    words = name.split("_")
    if not name.isidentifier() or not all(words):
        return None
    base, *rest = words
    split = re.fullmatch(r"(\D+?)(\d+)|([A-Z])([a-z])", base)
    if split and base not in GREEK:
        base, rest = (split[1], [split[2], *rest]) if split[1] else (split[3], [split[4], *rest])
    marks = [w for w in rest if w in MARKS]
    if len(marks) > 1 or (marks and len(GREEK.get(base, base)) > 1):
        return Parts(base, "", tuple(rest))
    return Parts(base, marks[0] if marks else "", tuple(w for w in rest if w not in MARKS))
