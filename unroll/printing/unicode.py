"""Equations in Unicode: steps as superscripts, Greek letters, transposes and sums as in print, one equation a line."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..ir.axes import Index, Range, whole
from ..ir.system import Const, Equation, System, visible
from .notation import ODOT, POWER, SCRIPTED, MathWriter, Part
from .plain import ATOM, Tokens, bound, declarations, head, kept, table
from .symbols import GREEK, MARKS, parts

RAISED = dict(
    zip(
        "0123456789+-()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ",
        strict=True,
    )
)
"""Every character that has a superscript."""
LOWERED = dict(zip("0123456789+-aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
"""Every character that has a subscript."""
FUNCTIONS = {
    "sigmoid": "σ", "maximum": "max", "minimum": "min", "logsigmoid": "log σ", "lgamma": "log Γ", "digamma": "ψ",
}  # fmt: skip


def name(text: str) -> str:
    """A name with Greek letters, a mark above and a subscript, as far as Unicode has them."""
    found = parts(text)
    if found is None:
        return visible(text)
    word, *below = text.split("_")
    stem = word.rstrip("0123456789")
    below = [word[len(stem) :], *(piece for piece in below if piece != found.mark)]
    below = [piece for piece in below if piece]
    if len(below) > 1 or not set("".join(below)) <= set(LOWERED):
        return visible(text)
    return unicodedata.normalize("NFC", GREEK.get(stem, stem) + MARKS.get(found.mark, "")) + lowered("".join(below))


def raised(text: str) -> str | None:
    """The text as a superscript; None where a character has none."""
    return "".join(RAISED[c] for c in text) if set(text) <= set(RAISED) else None


def lowered(text: str) -> str:
    """The text as a subscript; in brackets where a character has none."""
    return "".join(LOWERED[c] for c in text) if set(text) <= set(LOWERED) else f"[{text}]"


class PrettyWriter(MathWriter):
    """Writes the equations of one system in Unicode."""

    MINUS, DOT, ODOT, TIMES = "−", "·", " ⊙ ", " "
    SIGNS: ClassVar[Mapping[str, str]] = {
        "greater": " > ",
        "greater_equal": " ≥ ",
        "less": " < ",
        "less_equal": " ≤ ",
        "equal": " = ",
        "not_equal": " ≠ ",
        "logical_and": " ∧ ",
        "logical_or": " ∨ ",  # noqa: RUF001
        "logical_not": "¬",
    }

    def name(self, text: str, rank: int) -> str:
        """A name."""
        return name(text)

    def word(self, text: str) -> str:
        """Any text, as it stands."""
        return visible(text)

    def numbered(self, stem: str, number: str) -> str:
        """A temporary keeps its dot."""
        return f"{self.name(stem, 0)}.{number}"

    def at(self, name: str, index: Sequence[Index]) -> str:
        """The step as a superscript, in brackets where there are several."""
        if not index:
            return name
        text = ", ".join(map(str, index))
        return f"{name}{raised(f'({text})') or f'[{text}]'}"

    def cotangent(self, of: str, loss: str) -> str:
        """The derivative of the loss, as in the pictures."""
        return f"∂{loss}/∂{of}"

    def cotangent_of_cotangent(self, of: str) -> str:
        """A tilde, as in plain text."""
        return f"({of})~"

    def number(self, value: float | int | bool) -> str:
        """A number."""
        return str(Const(value)).replace("inf", "∞").replace("-", "−")

    def function(self, name: str, over: str = "") -> str:
        """A function's name."""
        return FUNCTIONS.get(name, visible(name)) + (lowered(over) if over else "")

    def total(self, combine: str, r: Range) -> str:
        """A sum sign with its axis; with the steps too where they are not 1..T."""
        sign = "∑" if combine == "sum" else "max"
        return f"{sign}{lowered(r.axis.name)} " if r == whole(r.axis) else f"{sign}[{r}] "

    def transposed(self, part: Part) -> Part:
        """The sign of the transpose."""
        return (*bound(part), "ᵀ"), SCRIPTED

    def ratio(self, a: Part, b: Part) -> Part:
        """A quotient, on one line."""
        return (*bound(a, ODOT), " / ", *bound(b, POWER)), ODOT

    def raised(self, base: Part, exponent: Part) -> Part:
        """A power, in small digits where it can be."""
        (first, *rest) = base[0]
        simple = not rest and not getattr(first, "index", ()) and base[1] >= ATOM
        (power, *more) = exponent[0]
        digits = raised(str(power)) if isinstance(power, Const) and not more else None
        up: Tokens = (digits,) if digits else ("^", *bound(exponent))
        return (*(base[0] if simple else ("(", *base[0], ")")), *up), POWER

    def sub(self, part: Part, below: Tokens) -> Part:
        """What is taken stands in brackets."""
        return (*bound(part), "[", *below, "]"), SCRIPTED

    def special(self, name: str, parts: list[Part]) -> Part | None:
        """Roots, bars and brackets."""
        if name == "sqrt":
            return ("√(", *parts[0][0], ")"), ATOM
        if name == "floor":
            return ("⌊", *parts[0][0], "⌋"), ATOM
        if name == "floor_divide":
            return ("⌊", *self.ratio(*parts)[0], "⌋"), ATOM
        if name == "remainder":
            return (*bound(parts[0], ODOT), " mod ", *bound(parts[1], ODOT + 1)), ODOT
        return (("|", *parts[0][0], "|"), ATOM) if name == "abs" else None

    def domain(self, equation: Equation) -> str:
        """``t = 1…T``."""
        return ", ".join(f"{r.axis.name} = {r.lo}…{r.hi}" for r in kept(equation)).replace("-", "−")


def system_pretty(system: System) -> str:
    """The whole system, laid out as plain text is."""
    writer = PrettyWriter(system)
    rows = [(writer.equation(e), writer.domain(e)) for e in writer.shown()]
    return "\n".join([*head(system.name, declarations(system, writer.show)), *table(rows)])
