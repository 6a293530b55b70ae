"""Equations as mathematics, whatever the alphabet: which operations are signs, which are functions, what binds how.

`latex` and `unicode` say how each sign looks. The temporaries that are written out are those of `plain`, so that all
three show the same equations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ..ir.axes import Index, Range
from ..ir.system import Const, Equation, Extent, Label, Operand, Ref, System
from .plain import ATOM, EquationWriter, Tokens, bound, infix, shown_attributes

Part = tuple[Tokens, int]
TOTAL, ADD, ODOT, JUXTAPOSED, NEGATED, POWER, COTANGENT, SCRIPTED = 9, 10, 20, 22, 30, 40, 45, 50
"""What binds how, weakest first. A sum over time takes in whatever product follows it; what carries a superscript or a
subscript takes no other one."""


class MathWriter(EquationWriter):
    """Writes the equations of one system in the signs of mathematics; subclasses say which characters those are."""

    MINUS, DOT, ODOT, TIMES = "-", "*", "*", "*"
    SIGNS: ClassVar[Mapping[str, str]]
    """The signs of comparisons and logic, by operation."""

    def __init__(self, system: System) -> None:
        self._plain = EquationWriter(system)
        self.names = self._names()
        # Of second order there are several cotangents of a name: the others keep their plain names.
        pairs = [(str(d.of), n) for n, d in system.decls.items() if d.kind == "cotangent" and d.of in system.decls]
        self._first = dict(reversed(pairs))
        super().__init__(system)

    def fits(self, name: str, tokens: Tokens) -> bool:
        """The same temporaries as in plain text."""
        return name in self._plain.inlined

    def _names(self) -> dict[str, str]:
        """Every name as it is printed; where two would look the same, as the user wrote them."""
        spelt = {name: self._spelt(name) for name in self._plain.system.decls}
        seen = Counter(spelt.values())
        return {name: text if seen[text] == 1 else self.word(name) for name, text in spelt.items()}

    def _spelt(self, name: str) -> str:
        decls = self._plain.system.decls
        loss = self._plain.system.loss
        if name == loss and "L" not in decls:
            return "L"
        stem, dot, number = name.partition(".")
        if dot and stem in decls and number.isdecimal():  # a temporary that is too long, or read too often
            return self.numbered(stem, number)
        return self.name(name, len(decls[name].shape))

    # -- what an alphabet says -------------------------------------------------------------------------------------

    def name(self, name: str, rank: int) -> str:
        """A name as print has it."""
        raise NotImplementedError

    def word(self, text: str) -> str:
        """Any text, as it stands."""
        raise NotImplementedError

    def numbered(self, stem: str, number: str) -> str:
        """A temporary of a name."""
        raise NotImplementedError

    def at(self, name: str, index: Sequence[Index]) -> str:
        """A printed name at a step."""
        raise NotImplementedError

    def cotangent(self, of: str, loss: str) -> str:
        """The derivative of the loss by what is printed as `of`."""
        raise NotImplementedError

    def cotangent_of_cotangent(self, of: str) -> str:
        """The cotangent of what is a cotangent itself."""
        raise NotImplementedError

    def number(self, value: float | int | bool) -> str:
        """A number."""
        raise NotImplementedError

    def function(self, name: str, over: str = "") -> str:
        """The name of a function; `over` is the axis it runs along."""
        raise NotImplementedError

    def total(self, combine: str, r: Range) -> str:
        """The sign of a sum or maximum over a range."""
        raise NotImplementedError

    def transposed(self, part: Part) -> Part:
        """The transpose."""
        raise NotImplementedError

    def ratio(self, a: Part, b: Part) -> Part:
        """A quotient."""
        raise NotImplementedError

    def raised(self, base: Part, exponent: Part) -> Part:
        """A power."""
        raise NotImplementedError

    def sub(self, part: Part, below: Tokens) -> Part:
        """An element, a row or a slice of a value."""
        raise NotImplementedError

    def special(self, name: str, parts: list[Part]) -> Part | None:
        """An operation with a notation of its own, such as a root."""
        raise NotImplementedError

    # -- what all share --------------------------------------------------------------------------------------------

    def show(self, token: str | Operand) -> str:
        """A token as it is printed."""
        if isinstance(token, Ref):
            return self._ref(token.name, token.index)
        return self.number(token.value) if isinstance(token, Const) else str(token)

    def _ref(self, name: str, index: Sequence[Index]) -> str:
        system, depth = self.system, 0
        decl = system.decls[name]
        while system.loss is not None and self._first.get(decl.of or "") == decl.name:
            depth += 1
            decl = system.decls[str(decl.of)]
        if not depth:
            return self.at(self.names[name], index)
        made = self.cotangent(self.at(self.names[decl.name], index), self.names[str(system.loss)])
        for _ in range(depth - 1):
            made = self.cotangent_of_cotangent(made)
        return made

    def operand(self, operand: Operand) -> Part:
        """An operand as tokens with the strength by which they bind."""
        tokens, strength = super().operand(operand)
        if isinstance(operand, Ref) and tokens == (operand,) and self.system.decls[operand.name].kind == "cotangent":
            return tokens, COTANGENT
        return tokens, strength

    def rank(self, operand: Operand) -> int:
        """The number of axes of an operand."""
        return len(self.shape(operand))

    def several(self, operand: Operand) -> bool:
        """True for an operand of more than one element."""
        return any(n != 1 for n in self.shape(operand))

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """The shape of an operand."""
        return self.system.decls[operand.name].shape if isinstance(operand, Ref) else ()

    def operation(self, equation: Equation, parts: list[Part]) -> Part:
        """An operation on operands that are written already."""
        operation = equation.operation
        rule = RULES.get(operation.name)
        made = rule(self, equation, parts) if rule is not None else self.special(operation.name, parts)
        if made is not None:
            return made
        if operation.notation is not None:
            return infix(operation.notation, parts, self.word), operation.notation.strength
        return self.called(operation.name, parts, self.attributes(equation))

    def called(self, name: str, parts: Sequence[Part], attrs: Sequence[tuple[str, str]] = (), over: str = "") -> Part:
        """``name(parts, attributes)``."""
        listed: list[Tokens] = [inner for inner, _ in parts]
        listed += [(self.word(f"{key}={value}" if key else value),) for key, value in attrs]
        return (self.function(name, over), "(", *joined(listed), ")"), ATOM

    def labelled(self, label: Label, equation: Equation) -> Tokens:
        """What the user called an expression made of several operations."""
        listed: list[Tokens] = [self._argument(equation, a) for a in label.args]
        over = ""
        for key, value in label.attrs:
            if key == "over":
                over = str(value).strip("()")
            else:
                listed.append((self.word(f"{key}="), *self._argument(equation, value)))
        return (self.function(label.name, over), "(", *joined(listed), ")")

    def _argument(self, equation: Equation, value: Any) -> Tokens:
        shown = isinstance(value, Ref | Const | Extent)
        return self.read(equation, value)[0] if shown else (self.word(str(value)),)

    def reduced(self, equation: Equation, tokens: Tokens, strength: int) -> Part:
        """A sum or maximum over time axes."""
        signs = tuple(self.total(equation.combine, equation.range(a)) for a in equation.summed)
        if not signs:
            return (self.function(equation.combine), "(", *tokens, ")"), ATOM
        return (*signs, *bound((tokens, strength), ADD + 1)), TOTAL


def joined(listed: Sequence[Tokens]) -> Tokens:
    """Arguments with commas between."""
    tokens: list[str | Operand] = []
    for position, part in enumerate(listed):
        tokens.extend((", ", *part) if position else part)
    return tuple(tokens)


def _sum(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    a, b = parts
    sign = " + " if e.op == "add" else f" {w.MINUS} "
    right = bound(b, ADD + 1) if b[1] != NEGATED else ("(", *b[0], ")")
    return (*bound(a, ADD), sign, *right), ADD


def _negated(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    return (w.MINUS, *bound(parts[0], ODOT)), NEGATED


def _product(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    """Element by element where both have elements; else a multiple."""
    a, b = parts
    if b[1] == NEGATED:
        b = bound(b), ATOM
    numbers = [len(tokens) == 1 and isinstance(tokens[0], Const) for tokens, _ in (a, b)]
    several = all(map(w.several, e.args)) and not any(numbers)
    sign = w.ODOT if several else w.DOT if isinstance(b[0][0], Const) else w.TIMES
    return (*bound(a, ODOT), sign, *bound(b, ODOT + 1)), ODOT


def _matmul(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    a, b = parts
    ranks = tuple(map(w.rank, e.args))
    if ranks == (1, 1):
        a = w.transposed(a)
    elif ranks == (1, 2):
        a, b = w.transposed(b), a
    if b[1] == NEGATED:
        b = bound(b), ATOM
    return (*bound(a, JUXTAPOSED), w.TIMES, *bound(b, JUXTAPOSED + 1)), JUXTAPOSED


def _dot(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    a, b = parts
    return (*bound(w.transposed(a), SCRIPTED), w.TIMES, *bound(b, POWER)), JUXTAPOSED


def _outer(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    a, b = parts
    return (*bound(a, SCRIPTED), w.TIMES, *bound(w.transposed(b), SCRIPTED)), JUXTAPOSED


def _comparison(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    notation = e.operation.notation
    assert notation is not None
    (a, b), (least, more) = parts, notation.operands
    return (*bound(a, least), w.SIGNS[e.op], *bound(b, more)), notation.strength


def _not(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    return (w.SIGNS[e.op], *bound(parts[0], NEGATED)), NEGATED


def _copy(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    return parts[0]


def _cast(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    """Iverson's bracket: 1 where it is true."""
    (arg,) = e.args
    truth = isinstance(arg, Ref) and w.system.decls[arg.name].dtype == "bool"
    return (("[", *parts[0][0], "]"), ATOM) if truth else parts[0]


def _transpose(w: MathWriter, e: Equation, parts: list[Part]) -> Part | None:
    return None if dict(e.attrs).get("axes") else w.transposed(parts[0])


def _reshape(w: MathWriter, e: Equation, parts: list[Part]) -> Part | None:
    """Nothing to be seen where only axes of size 1 come or go."""
    (arg,) = e.args
    old, new = w.shape(arg), dict(e.attrs)["shape"]
    return parts[0] if [n for n in old if n != 1] == [n for n in new if n != 1] else None


def _take(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    return w.sub(parts[0], parts[1][0])


def _pick(w: MathWriter, e: Equation, parts: list[Part]) -> Part | None:
    """An element of a vector; of a matrix it is one of each row, and a subscript would be a row."""
    return _take(w, e, parts) if w.rank(e.args[0]) == 1 else None


def _slice(w: MathWriter, e: Equation, parts: list[Part]) -> Part:
    ((_, text),) = shown_attributes(dict(e.attrs))
    return w.sub(parts[0], (w.word(text[1:-1]),))


def _concat(w: MathWriter, e: Equation, parts: list[Part]) -> Part | None:
    if dict(e.attrs).get("axis") != -1:
        return None
    tokens: list[str | Operand] = []
    for position, (inner, _) in enumerate(parts):
        tokens.extend(("; ", *inner) if position else inner)
    return ("[", *tokens, "]"), ATOM


RULES: Mapping[str, Callable[[MathWriter, Equation, list[Part]], Part | None]] = {
    "add": _sum,
    "sub": _sum,
    "neg": _negated,
    "mul": _product,
    "div": lambda w, e, parts: w.ratio(*parts),
    "pow": lambda w, e, parts: w.raised(*parts),
    "matmul": _matmul,
    "dot": _dot,
    "outer": _outer,
    "copy": _copy,
    "cast": _cast,
    "transpose": _transpose,
    "reshape": _reshape,
    "take": _take,
    "pick": _pick,
    "slice": _slice,
    "concat": _concat,
    "logical_not": _not,
    **dict.fromkeys(
        ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or"),
        _comparison,
    ),
}
"""Operations with signs of their own; all others are functions."""
