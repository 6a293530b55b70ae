"""Templates as text, one equation a line: temporaries are written out where they stand, as the user wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .ir import Const, Equation, Extent, Label, Operand, Ref, System, visible
from .timeindex import Axis, Index, running

Tokens = tuple[str | Operand, ...]

LONGEST = 400
"""Tokens of an expression that is still written on one line."""
SHORT = 12
"""Tokens of a shared expression that is repeated at each use rather than named."""
ATOM = 99


class Writer:
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
            if "." not in name or len(writers[name]) != 1:
                continue
            if any(i.runs and i.shift for i in equation.out.index) or name in self._reserved():
                continue
            tokens, strength = self._right(equation)
            once = self.uses.get(name, 0) <= 1
            if len(tokens) <= (LONGEST if once else SHORT):
                self.inlined[name] = (tokens, strength, equation)

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
            shape = " x ".join(map(str, self.system.decls[operand.name].shape))
            return (f"array({shape})",), ATOM
        if isinstance(operand, Const):
            return (operand,), 30 if operand.value < 0 else ATOM
        return (operand,), ATOM

    def _right(self, equation: Equation) -> tuple[Tokens, int]:
        operation, attrs = equation.operation, dict(equation.attrs)
        label = equation.label
        parts = [self.operand(a) for a in equation.args]
        if label is not None and self.named and all(r.name in self.system.decls for r in label.refs):
            tokens, strength = self._labelled(label), ATOM
        elif operation.notation is not None:
            tokens, strength = _infix(operation.notation, parts), operation.notation.strength
            if operation.name == "copy":
                strength = parts[0][1]
        elif operation.name == "slice":
            ((inner, bound),) = parts
            if bound < ATOM:
                inner = ("(", *inner, ")")
            tokens, strength = (*inner, f"[{_parts(attrs['parts'])}]"), ATOM
        elif operation.name == "transpose" and not attrs.get("axes"):
            ((inner, bound),) = parts
            tokens, strength = ((*inner, ".T") if bound == ATOM else ("(", *inner, ").T")), ATOM
        elif operation.name == "take":
            (table, bound), (index, _) = parts
            if bound < ATOM:
                table = ("(", *table, ")")
            tokens, strength = (*table, "[", *index, "]"), ATOM
        else:
            tokens, strength = _call(operation.name, parts, attrs), ATOM
        if equation.summed or equation.combine == "max":
            axes = ", ".join(a.name for a in equation.summed)
            over = f", over={axes if len(equation.summed) == 1 else f'({axes})'}" if axes else ""
            tokens, strength = (f"{equation.combine}(", *tokens, over, ")"), ATOM
        return tokens, strength

    def _labelled(self, label: Label) -> Tokens:
        tokens: list[str | Operand] = [f"{label.name}("]
        for key, value in (*((None, a) for a in label.args), *label.attrs):
            if len(tokens) > 1:
                tokens.append(", ")
            if key is not None:
                tokens.append(f"{key}=")
            shown = isinstance(value, (Ref, Const, Extent))
            tokens.extend(self.operand(value)[0] if shown else (str(value),))
        return (*tokens, ")")

    def expression(self, operand: Operand) -> str:
        """An operand written out."""
        return "".join(map(str, self.operand(operand)[0]))

    def right(self, equation: Equation) -> str:
        """The right-hand side of an equation, written out."""
        return "".join(map(str, self._right(equation)[0]))

    def equation(self, equation: Equation, at: Mapping[Axis, Index] | None = None) -> str:
        """``h[t] = tanh(...)``; ``+=`` where other equations add to the same steps; at given steps, ``h[3] = ...``."""
        mark = "+=" if self._adds(equation) else "="
        tokens, _ = self._right(equation)
        right = (t.substitute(at) if at and isinstance(t, Ref) else t for t in tokens)
        return f"{equation.out.substitute(at or {})} {mark} {''.join(map(str, right))}"

    def _adds(self, equation: Equation) -> bool:
        decl = self.system.decls[equation.out.name]
        return decl.kind == "cotangent" and len(self.system.writers[decl.name]) > 1

    def lines(self) -> list[tuple[str, str]]:
        """Each equation that is not written out elsewhere, with its domain."""
        rows = {id(e): e for e in self.system.equations if e.out.name not in self.inlined}
        writers = self.system.writers
        mentioned: set[str] = set()
        pending = [e for e in rows.values() if "." not in e.out.name]
        while pending:  # what stands only inside a labelled expression is not shown
            for token in self._right(pending.pop())[0]:
                if isinstance(token, Ref) and "." in token.name and token.name not in mentioned:
                    mentioned.add(token.name)
                    pending.extend(writers[token.name])
        return [
            (self.equation(e), ", ".join(map(str, e.domain if not e.summed else _kept(e))))
            for e in rows.values()
            if "." not in e.out.name or e.out.name in mentioned
        ]


def _kept(equation: Equation) -> Iterable[Any]:
    return (r for r in equation.domain if r.axis not in equation.summed)


def _infix(notation: Any, parts: list[tuple[Tokens, int]]) -> Tokens:
    tokens: list[str | Operand] = []
    rest = notation.text
    for position, ((inner, bound), least) in enumerate(zip(parts, notation.operands, strict=True)):
        before, _, rest = rest.partition(f"{{{position}}}")
        if before:
            tokens.append(before)
        tokens.extend(inner if bound >= least else ("(", *inner, ")"))
    if rest:
        tokens.append(rest)
    return tuple(tokens)


def _parts(parts: Any) -> str:
    def one(part: Any) -> str:
        if isinstance(part, int):
            return str(part)
        start, stop, step = ("" if p is None else str(p) for p in part)
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"

    return ", ".join(map(one, parts))


def view_text(op: str, attrs: Mapping[str, Any]) -> str:
    """A rearrangement as it stands behind what it rearranges: ``.T``, ``[0:3]``."""
    if op == "slice":
        return f"[{_parts(attrs['parts'])}]"
    return ".T" if not attrs.get("axes") else f".transpose{attrs['axes']}"


def _call(name: str, parts: list[tuple[Tokens, int]], attrs: Mapping[str, Any]) -> Tokens:
    tokens: list[str | Operand] = [f"{name}("]
    for position, (inner, _) in enumerate(parts):
        tokens.extend((", ", *inner) if position else inner)
    for key, value in attrs.items():
        if value is False or value is None or (key == "axis" and value in ((-1,), -1)):
            continue
        if key == "parts":
            tokens.append(f", [{_parts(value)}]")
            continue
        shown = value[0] if isinstance(value, tuple) and len(value) == 1 and key == "axis" else value
        tokens.append(f", {key}={shown!r}")
    return (*tokens, ")")


def ordered(system: System, writers: Mapping[str, list[Equation]]) -> list[Equation]:
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
                if "." in ref.name:
                    stack.extend((w, False) for w in writers[ref.name] if id(w) not in done)
    return result


def declaration(system: System, name: str) -> str:
    """``x[t]: input (27,)``."""
    decl = system.decls[name]
    ref = Ref(name, tuple(running(a) for a in decl.axes))
    shape = " x ".join(map(str, decl.shape)) or "scalar"
    kind = (f"{decl.detail}" if decl.automatic else decl.kind) + ("" if decl.dtype == "float" else f", {decl.dtype}")
    return f"{ref}: {kind}, {shape}"


def system_text(system: System) -> str:
    """The whole system: its name and what it is given, then one equation a line with its domain."""
    given = [declaration(system, n) for n, d in system.decls.items() if d.kind in ("input", "param")]
    head = f"template {visible(system.name)}({'; '.join(given)})"
    rows = Writer(system).lines()
    width = min(max((len(text) for text, _ in rows), default=0), 88)
    return "\n".join([head, *(f"  {text:<{width}}    {domain}".rstrip() for text, domain in rows)])
