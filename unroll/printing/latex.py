"""Equations as LaTeX: an ``align*`` environment for a document with amsmath, and the same for a notebook.

Vectors and matrices are bold, the step is a superscript in parentheses, and the cotangent of h is the gradient of L by
h (a nabla), as in Goodfellow, Bengio and Courville, *Deep Learning*. Every name and number is escaped: nothing of the
user's is read as a command.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..ir.axes import Index, Range
from ..ir.system import Equation, Operand, Ref, System, visible
from .notation import ODOT, POWER, SCRIPTED, TOTAL, MathWriter, Part
from .plain import ATOM, Tokens, bound, kept
from .symbols import GREEK, parts

WIDE = 86
"""Characters of an equation, as they print, after which it goes on in a new line at the next plus or minus."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    **{c: f"\\{c}" for c in "#$%&_"},
}
SIMPLE = re.compile(r"[A-Za-z0-9_]+")
FUNCTIONS = {
    **{name: f"\\{name}" for name in ("exp", "log", "sin", "cos", "tanh", "max", "min")},
    "maximum": r"\max",
    "minimum": r"\min",
    "sigmoid": r"\sigma",
    "argmax": r"\operatorname{arg\,max}",
    "argmin": r"\operatorname{arg\,min}",
    "logsigmoid": r"\log\sigma",
    "lgamma": r"\log\Gamma",
    "digamma": r"\psi",
}
MACROS = {
    **{letter: f"\\{name}" for name, letter in GREEK.items()},
    **{name: f"\\{name}" for name in GREEK},
    "epsilon": r"\varepsilon",
    "ε": r"\varepsilon",
    "phi": r"\varphi",
    "φ": r"\varphi",
}
BRACKETS = re.compile(r"\\begin(?={)|\\end(?={)|(?<!\\)[][(){}]")
OPENING = ("(", "[", "{", r"\begin")
UNPRINTED = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}^_ ]")


def word(text: str) -> str:
    """Any text, upright and escaped; what pdflatex has no letter for is written as its code."""
    text = visible(text)
    if SIMPLE.fullmatch(text):
        return r"\mathrm{" + text.replace("_", r"\_") + "}"
    return r"\text{" + "".join(map(_escaped, text)) + "}"


def _escaped(c: str) -> str:
    if c in SPECIAL:
        return SPECIAL[c]
    if c.isascii() or (c.isalpha() and "À" <= c <= "ÿ" and c not in "ÐðÞþ"):
        return c
    if c in MACROS:
        return f"${MACROS[c]}$"
    return rf"\textbackslash{{}}u{ord(c):04x}"


def _letter(base: str, rank: int) -> str:
    if base in MACROS:
        return rf"\boldsymbol{{{MACROS[base]}}}" if rank else MACROS[base]
    if len(base) == 1:
        return rf"\boldsymbol{{{base}}}" if rank else base
    return rf"\mathbf{{{base}}}" if rank else rf"\mathit{{{base}}}"


def _below(piece: str) -> str:
    return MACROS.get(piece) or (piece if piece.isdecimal() or len(piece) == 1 else rf"\mathrm{{{piece}}}")


def name(text: str, rank: int) -> str:
    """A name: letters and words with accents and subscripts, bold where it is a vector, a matrix, or larger."""
    found = parts(text)
    if found is None or not all(piece.isascii() or piece in MACROS for piece in (found.base, *found.below)):
        return word(text)
    made = _letter(found.base, rank)
    if found.mark:
        made = rf"\{found.mark}{{{made}}}"
    return f"{made}_{{{','.join(map(_below, found.below))}}}" if found.below else made


def _step(index: Index) -> str:
    shift = f"{index.shift:+d}" if index.shift or not index.anchor else ""
    if not index.anchor:
        return str(index.shift)
    return f"{name(index.anchor, 0)}{shift}"


class LatexWriter(MathWriter):
    """Writes the equations of one system as LaTeX."""

    MINUS, DOT, ODOT, TIMES = "-", r" \cdot ", r" \odot ", r"\,"
    SIGNS: ClassVar[Mapping[str, str]] = {
        "greater": " > ",
        "greater_equal": r" \ge ",
        "less": " < ",
        "less_equal": r" \le ",
        "equal": " = ",
        "not_equal": r" \ne ",
        "logical_and": r" \wedge ",
        "logical_or": r" \vee ",
        "logical_not": r"\neg ",
    }

    def name(self, text: str, rank: int) -> str:
        """A name in math mode."""
        return name(text, rank)

    def word(self, text: str) -> str:
        """Any text, upright."""
        return word(text)

    def numbered(self, stem: str, number: str) -> str:
        """A temporary has its number as a subscript in brackets."""
        return f"{{{self.name(stem, len(self._plain.system.decls[stem].shape))}}}_{{[{number}]}}"

    def at(self, name: str, index: Sequence[Index]) -> str:
        """The step as a superscript."""
        return f"{name}^{{({','.join(map(_step, index))})}}" if index else name

    def cotangent(self, of: str, loss: str) -> str:
        """The gradient of the loss."""
        return rf"\nabla_{{{of}}}{loss}"

    def cotangent_of_cotangent(self, of: str) -> str:
        """A bar above."""
        return rf"\overline{{{of}}}"

    def constant(self, shape: Sequence[int]) -> Tokens:
        """An array that is written into an equation."""
        return (r"\mathrm{array}_{" + r" \times ".join(map(str, shape)) + "}",)

    def number(self, value: float | int | bool) -> str:
        """A number; powers of ten as such."""
        if isinstance(value, bool):
            return rf"\mathrm{{{str(value).lower()}}}"
        if math.isinf(value):
            return r"\infty" if value > 0 else r"-\infty"
        if math.isnan(value):
            return r"\mathrm{nan}"
        digits, e, exponent = (f"{value:g}" if isinstance(value, float) else str(value)).partition("e")
        if not e:
            return digits
        power = rf"10^{{{int(exponent)}}}"
        return power if digits == "1" else f"-{power}" if digits == "-1" else rf"{digits} \cdot {power}"

    def function(self, name: str, over: str = "") -> str:
        """An operator's name."""
        made = FUNCTIONS.get(name) or rf"\operatorname{{{self._operator(name)}}}"
        return rf"{made}_{{{word(over) if len(over) > 1 else over}}}" if over else made

    def _operator(self, name: str) -> str:
        return name.replace("_", r"\_") if SIMPLE.fullmatch(name) else word(name)

    def total(self, combine: str, r: Range) -> str:
        """A sum sign with its limits."""
        step, lo, hi = name(r.axis.name, 0), _step(r.lo), _step(r.hi)
        return rf"\sum_{{{step}={lo}}}^{{{hi}}} " if combine == "sum" else rf"\max_{{{step}={lo},\dots,{hi}}} "

    def transposed(self, part: Part) -> Part:
        """The sign of the transpose, behind the step."""
        (first, *rest) = inner = part[0] if part[1] >= ATOM else ("(", *part[0], ")")
        indexed = not rest and isinstance(first, Ref) and bool(first.index)
        return (("{", *inner, r"}^{\top}") if indexed else (*inner, r"^{\top}")), SCRIPTED

    def ratio(self, a: Part, b: Part) -> Part:
        """A fraction."""
        return (r"\frac{", *a[0], "}{", *b[0], "}"), POWER

    def raised(self, base: Part, exponent: Part) -> Part:
        """A power; what has a step, or is a function's value, in parentheses."""
        (first, *rest) = base[0]
        simple = not rest and not (isinstance(first, Ref) and first.index) and base[1] >= ATOM
        return (*(base[0] if simple else ("(", *base[0], ")")), "^{", *exponent[0], "}"), POWER

    def sub(self, part: Part, below: Tokens) -> Part:
        """A subscript."""
        return ("{", *bound(part), "}_{", *below, "}"), SCRIPTED

    def special(self, name: str, parts: list[Part]) -> Part | None:
        """Roots, bars, brackets and cases."""
        if name == "sqrt":
            return (r"\sqrt{", *parts[0][0], "}"), ATOM
        if name == "abs":
            return (r"\lvert ", *parts[0][0], r"\rvert "), ATOM
        if name == "floor":
            return (r"\lfloor ", *parts[0][0], r"\rfloor "), ATOM
        if name == "floor_divide":
            return (r"\left\lfloor ", *self.ratio(*parts)[0], r"\right\rfloor "), ATOM
        if name == "remainder":
            return (*bound(parts[0], ODOT), r" \bmod ", *bound(parts[1], ODOT + 1)), ODOT
        if name == "where":
            (condition, _), (a, _), (b, _) = parts
            first = *a, r" & \text{if } ", *condition, r" \\ "
            return (r"\begin{cases} ", *first, *b, r" & \text{otherwise} \end{cases}"), TOTAL
        return None

    def rows(self, wide: int = WIDE) -> list[str]:
        """Each equation as a row of an ``align`` environment: left side, right side, domain."""
        return [self._row(e, wide) for e in self.shown()]

    def _row(self, equation: Equation, wide: int) -> str:
        mark = r"\mathrel{+}=" if self.adds(equation) else "="
        domain = r",\; ".join(self.domain(r) for r in kept(equation))
        texts = _tall(list(map(self.show, self.tokens(equation)[0])))
        right = "".join(_broken(texts, wide))
        return f"{self.show(equation.out)} &{mark} {right}" + (f" && {domain}" if domain else "")

    def domain(self, r: Range) -> str:
        """``t = 1, ..., T``."""
        return rf"{name(r.axis.name, 0)} = {_step(r.lo)}, \dots, {_step(r.hi)}"


def _tall(texts: list[str]) -> list[str]:
    """Tokens with the parentheses around fractions, cases and sums as tall as those."""
    made, starts = list(texts), []
    for n, text in enumerate(texts):
        if text == "(":
            starts.append(n)
        elif text == ")" and starts:
            start = starts.pop()
            if any(sign in inner for inner in texts[start:n] for sign in (r"\frac", r"\begin", r"\sum", r"\max_")):
                made[start], made[n] = r"\mathopen{}\left(", r"\right)"
    return made


def _broken(texts: list[str], wide: int) -> list[str]:
    """Tokens with a line break before each plus or minus outside all brackets that lies too far to the right."""
    made: list[str] = []
    depth = column = 0
    for text in texts:
        if depth == 0 and column > wide and text in (" + ", " - "):
            made.append(r" \\ &\qquad{}")
            column = 0
        made.append(text)
        for bracket in BRACKETS.findall(text):
            depth += 1 if bracket in OPENING else -1
        column += len(UNPRINTED.sub("", text))
    return made


def align(system: System) -> str:
    """The equations as an ``align*`` environment; the document needs amsmath."""
    rows = LatexWriter(system).rows()
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


def in_notebook(system: System) -> str:
    """The equations for MathJax and KaTeX, which a notebook has."""
    rows = LatexWriter(system).rows()
    return "$\\displaystyle\n\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$"


def in_line(system: System, operand: Operand) -> str:
    """One expression for a notebook."""
    return f"$\\displaystyle {LatexWriter(system).expression(operand)}$"
