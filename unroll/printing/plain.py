"""Templates as text, one equation a line: temporaries are written out where they stand, as the user wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any

from ..ir.axes import Axis, Index, Range, running
from ..ir.names import is_hidden
from ..ir.system import Const, Equation, Extent, Label, Operand, Ref, System, visible
from ..ops.core import Notation

Tokens = tuple[str | Operand, ...]

LONGEST = 400
"""Tokens of an expression that is still written on one line."""
SHORT = 12
"""Tokens of a shared expression that is repeated at each use rather than named."""
WIDEST = 120
"""Characters of a line of declarations."""
ATOM = 99


class EquationWriter:
    """Writes the equations of one system."""

    def __init__(self, system: System, inline: bool = True) -> None:
        self.system = system
        self.named = inline
        writers = system.writers
        self.uses: dict[str, int] = {}
        for equation in system.equations:
            for ref in equation.refs:
                self.uses[ref.name] = self.uses.get(ref.name, 0) + 1
        self.inlined: dict[str, tuple[Tokens, int, Equation]] = {}
        if not inline:
            return
        for equation in ordered(system, writers):
            name = equation.out.name
            if not is_hidden(name) or len(writers[name]) != 1:
                continue
            if any(i.runs and i.shift for i in equation.out.index) or name in self._reserved():
                continue
            tokens, strength = self.tokens(equation)
            if self.fits(name, tokens):
                self.inlined[name] = (tokens, strength, equation)

    def fits(self, name: str, tokens: Tokens) -> bool:
        """True for a temporary short enough to be written out where it is read."""
        return len(tokens) <= (LONGEST if self.uses.get(name, 0) <= 1 else SHORT)

    def _reserved(self) -> set[str]:
        return {ref.name for ref in self.system.outputs.values()}

    def operand(self, operand: Operand) -> tuple[Tokens, int]:
        """An operand as tokens with the strength by which they bind."""
        if isinstance(operand, Ref) and operand.name in self.inlined:
            tokens, strength, equation = self.inlined[operand.name]
            steps: dict[Axis, Index] = {}
            for wrote, read in zip(equation.out.index, operand.index, strict=True):
                if wrote.axis is not None:
                    steps[wrote.axis] = read
            return tuple(t.substitute(steps) if isinstance(t, Ref) else t for t in tokens), strength
        if isinstance(operand, Ref) and self.named and self.system.decls[operand.name].kind == "constant":
            return self.constant(self.system.decls[operand.name].shape), ATOM
        if isinstance(operand, Const):
            return (operand,), 30 if operand.value < 0 else ATOM
        return (operand,), ATOM

    def constant(self, shape: Sequence[int]) -> Tokens:
        """An array that is written into an equation."""
        return (f"array({' x '.join(map(str, shape))})",)

    def tokens(self, equation: Equation) -> tuple[Tokens, int]:
        """The right-hand side of an equation with the strength by which it binds."""
        label = equation.label
        if label is not None and self.named and all(r.name in self.system.decls for r in label.refs):
            tokens, strength = self.labelled(label, equation), ATOM
        else:
            parts = [self.read(equation, a) for a in equation.args]
            tokens, strength = self._folded(equation, parts) or self.operation(equation, parts)
        if equation.summed or equation.combine == "max":
            return self.reduced(equation, tokens, strength)
        out = self.system.decls[equation.out.name]
        if equation.batched and not out.batched and (out.axes or out.kind == "temporary"):
            return self.called("batch_sum", [(tokens, strength)])
        return tokens, strength

    def _folded(self, equation: Equation, parts: list[tuple[Tokens, int]]) -> tuple[Tokens, int] | None:
        """A product with a cotangent that is one number, such as that of the loss: ``2 * 1 * h[t]`` is ``2 * h[t]``.

        Only in print: where the number is counted for every example, and h is the same for all, it is their number.
        """
        numbers = [
            tokens[0].value if len(tokens) == 1 and isinstance(tokens[0], Const) else None for tokens, _ in parts
        ]
        if equation.op in ("reshape", "broadcast_to") and isinstance(equation.args[0], Ref):
            return parts[0] if numbers[0] is not None else None
        if equation.op == "neg" and numbers[0] is not None:
            return self.operand(Const(-numbers[0]))
        if equation.op != "mul" or not any(isinstance(a, Ref) and a.name in self.inlined for a in equation.args):
            return None
        for (operand, number), other in zip(zip(equation.args, numbers, strict=True), reversed(parts), strict=True):
            if isinstance(operand, Ref) and number == 1:
                return other
        a, b = numbers
        if a is None or b is None or not isfinite(a * b) or Fraction(a) * Fraction(b) != Fraction(a * b):
            return None
        return self.operand(Const(a * b))

    def read(self, equation: Equation, operand: Operand) -> tuple[Tokens, int]:
        """An operand as an equation reads it: marked where a truncation may cut it."""
        part = self.operand(operand)
        if isinstance(operand, Ref) and self.system.truncations and self.system.truncates(equation, operand):
            return self.called("truncated", [part])
        return part

    def called(
        self, name: str, parts: Sequence[tuple[Tokens, int]], attrs: Sequence[tuple[str, str]] = (), over: str = ""
    ) -> tuple[Tokens, int]:
        """``name(parts, attributes)``."""
        tokens: list[str | Operand] = [f"{name}("]
        for position, (inner, _) in enumerate(parts):
            tokens.extend((", ", *inner) if position else inner)
        tokens.extend(f", {key}={value}" if key else f", {value}" for key, value in attrs)
        return (*tokens, ")"), ATOM

    def operation(self, equation: Equation, parts: list[tuple[Tokens, int]]) -> tuple[Tokens, int]:
        """An operation on operands that are written already."""
        operation = equation.operation
        if operation.notation is not None:
            strength = parts[0][1] if operation.name == "copy" else operation.notation.strength
            return infix(operation.notation, parts), strength
        attrs = dict(equation.attrs)
        if operation.name == "slice":
            return (*bound(parts[0]), f"[{parts_text(attrs['parts'])}]"), ATOM
        if operation.name == "transpose" and not attrs.get("axes"):
            return (*bound(parts[0]), ".T"), ATOM
        if operation.name == "take":
            return (*bound(parts[0]), "[", *parts[1][0], "]"), ATOM
        return self.called(operation.name, parts, self.attributes(equation))

    def attributes(self, equation: Equation) -> list[tuple[str, str]]:
        """The attributes of its operation that are worth printing: no axis that the operation takes anyway."""
        attrs = dict(equation.attrs)
        usual: list[object] = [(-1,), -1]
        made = len(self.system.decls[equation.out.name].shape)  # of operands a program may have made views
        if equation.op in ("sum", "max"):
            usual = [tuple(range(-made - len(attrs["axis"]) * (not attrs.get("keepdims")), 0))]
        elif equation.op == "stack":
            usual = [-made]
        return shown_attributes({k: v for k, v in attrs.items() if k != "axis" or v not in usual})

    def reduced(self, equation: Equation, tokens: Tokens, strength: int) -> tuple[Tokens, int]:
        """A sum or maximum over time axes."""
        axes = ", ".join(a.name for a in equation.summed)
        over = f", over={axes if len(equation.summed) == 1 else f'({axes})'}" if axes else ""
        return (f"{equation.combine}(", *tokens, over, ")"), ATOM

    def labelled(self, label: Label, equation: Equation) -> Tokens:
        """What the user called an expression made of several operations."""
        tokens: list[str | Operand] = [f"{label.name}("]
        for key, value in (*((None, a) for a in label.args), *label.attrs):
            if len(tokens) > 1:
                tokens.append(", ")
            if key is not None:
                tokens.append(f"{key}=")
            shown = isinstance(value, (Ref, Const, Extent))
            tokens.extend(self.read(equation, value)[0] if shown else (str(value),))
        return (*tokens, ")")

    def show(self, token: str | Operand) -> str:
        """A token as it is printed."""
        return str(token)

    def expression(self, operand: Operand) -> str:
        """An operand written out."""
        return "".join(map(self.show, self.operand(operand)[0]))

    def right(self, equation: Equation) -> str:
        """The right-hand side of an equation, written out."""
        return "".join(map(self.show, self.tokens(equation)[0]))

    def equation(self, equation: Equation, at: Mapping[Axis, Index] | None = None) -> str:
        """``h[t] = tanh(...)``; ``+=`` where other equations add to the same steps; at given steps, ``h[3] = ...``."""
        mark = "+=" if self.adds(equation) else "="
        out, (tokens, _) = equation.out, self.tokens(equation)
        if at:
            out, tokens = out.substitute(at), tuple(t.substitute(at) if isinstance(t, Ref) else t for t in tokens)
        return f"{self.show(out)} {mark} {''.join(map(self.show, tokens))}"

    def adds(self, equation: Equation) -> bool:
        """True where other equations add to the same steps."""
        decl = self.system.decls[equation.out.name]
        return decl.kind == "cotangent" and len(self.system.writers[decl.name]) > 1

    def shown(self) -> list[Equation]:
        """The equations that are not written out elsewhere."""
        rows = {id(e): e for e in self.system.equations if e.out.name not in self.inlined}
        writers = self.system.writers
        mentioned: set[str] = set()
        pending = [e for e in rows.values() if not is_hidden(e.out.name)]
        while pending:  # what stands only inside a labelled expression is not shown
            for token in self.tokens(pending.pop())[0]:
                if isinstance(token, Ref) and is_hidden(token.name) and token.name not in mentioned:
                    mentioned.add(token.name)
                    pending.extend(writers[token.name])
        return [e for e in rows.values() if not is_hidden(e.out.name) or e.out.name in mentioned]

    def lines(self) -> list[tuple[str, str]]:
        """Each equation that is not written out elsewhere, with its domain."""
        return [(self.equation(e), ", ".join(map(str, kept(e)))) for e in self.shown()]


def kept(equation: Equation) -> list[Range]:
    """The ranges of the domain that are not summed over."""
    return [r for r in equation.domain if r.axis not in equation.summed]


def bound(part: tuple[Tokens, int], least: int = ATOM) -> Tokens:
    """A part that binds at least as strongly as `least`, in parentheses where it must be."""
    return part[0] if part[1] >= least else ("(", *part[0], ")")


def infix(notation: Notation, parts: Sequence[tuple[Tokens, int]], sign: Callable[[str], str] = str) -> Tokens:
    """Operands in an operation's own notation, whose signs are printed by `sign`."""
    *signs, rest = notation.signs
    tokens: list[str | Operand] = []
    for before, least, part in zip(signs, notation.operands, parts, strict=True):
        if before:
            tokens.append(sign(before))
        tokens.extend(bound(part, least))
    if rest:
        tokens.append(sign(rest))
    return tuple(tokens)


def parts_text(parts: Iterable[object]) -> str:
    """What stands in the brackets of a slice."""

    def one(part: Any) -> str:
        if isinstance(part, int):
            return str(part)
        start, stop, step = ("" if p is None else str(p) for p in part)
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"

    return ", ".join(map(one, parts))


def view_text(op: str, attrs: Mapping[str, Any]) -> str:
    """A rearrangement as it stands behind what it rearranges: ``.T``, ``[0:3]``."""
    if op == "slice":
        return f"[{parts_text(attrs['parts'])}]"
    return ".T" if not attrs.get("axes") else f".transpose{attrs['axes']}"


def shown_attributes(attrs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The attributes of an operation that are worth printing, each as (name, value); a slice has no name."""
    shown = []
    for key, value in attrs.items():
        if value is False or value is None:
            continue
        if key == "parts":
            shown.append(("", f"[{parts_text(value)}]"))
            continue
        single = isinstance(value, tuple) and len(value) == 1 and key == "axis"
        shown.append((key, repr(value[0] if single else value)))
    return shown


def ordered(system: System, writers: Mapping[str, Sequence[Equation]]) -> list[Equation]:
    """The equations of temporaries, each after those it reads; the rest where they stand."""
    done: set[int] = set()
    result: list[Equation] = []
    for start in system.equations:
        stack: list[tuple[Equation, bool]] = [(start, False)]
        while stack:
            equation, ready = stack.pop()
            if ready:
                result.append(equation)
                continue
            if id(equation) in done:
                continue
            done.add(id(equation))
            stack.append((equation, True))
            for ref in equation.refs:
                if is_hidden(ref.name):
                    stack.extend((w, False) for w in writers[ref.name] if id(w) not in done)
    return result


def declaration(system: System, name: str, show: Callable[[Ref], str] = str) -> str:
    """``x[t]: input, 27``."""
    decl = system.decls[name]
    ref = Ref(name, tuple(running(a) for a in decl.axes))
    shape = " x ".join(map(str, decl.shape)) or "scalar"
    kind = (f"{decl.detail}" if decl.automatic else decl.kind) + ("" if decl.dtype == "float" else f", {decl.dtype}")
    return f"{show(ref)}: {kind}, {shape}"


def declarations(system: System, show: Callable[[Ref], str] = str) -> list[str]:
    """What a template is given, and how far its cotangents reach."""
    given = [declaration(system, n, show) for n, d in system.decls.items() if d.kind in ("input", "param")]
    return [*given, *map(str, system.truncations)]


def system_text(system: System) -> str:
    """The whole system: its name and what it is given, then one equation a line with its domain."""
    return "\n".join([*head(system.name, declarations(system)), *table(EquationWriter(system).lines())])


def head(name: str, given: Sequence[str]) -> list[str]:
    """The name of a template and the declarations of what it is given, on as many lines as that takes."""
    lines = [f"template {visible(name)}("]
    for n, text in enumerate(given):
        text += ")" if n == len(given) - 1 else "; "
        if len(lines[-1] + text) > WIDEST and not lines[-1].endswith("("):
            lines[-1] = lines[-1].rstrip()
            lines.append("      ")
        lines[-1] += text
    return lines if given else [f"{lines[0]})"]


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Equations as lines, their domains in a column."""
    width = min(max((len(text) for text, _ in rows), default=0), 88)
    return [f"  {text:<{width}}    {domain}".rstrip() for text, domain in rows]
