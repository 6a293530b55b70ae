"""What a diagram is of: the names that get a node, who reads whom, and how each node and edge is to look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.axes import Axis, fixed
from ..ir.names import is_hidden
from ..ir.system import Const, Equation, Ref, System
from ..printing.plain import EquationWriter, declaration
from ..transform.feedback import teacher_forced
from . import style
from .arrows import Arrow, arrows, drawn_params, forced_arrows, op_arrows
from .cell_groups import cells, short_names
from .edge_marks import STOP, is_shown_input, switches
from .labels import PrintedNames, shortened, visible
from .layering import layers
from .rich_text import NOTHING, Lettering, Piece, joined, line
from .scene import Link, Picture

DETAILS = ("variables", "equations", "ops")
RANKDIRS = ("BT", "LR")
_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "matmul": "·", "sigmoid": "σ", "dot": "·"}
_WORD = re.compile(r"([^\W\d]\w*)(\[[^\[\]]*\])?(?![\w(])")


@dataclass(frozen=True, slots=True)
class DrawingOptions:
    """What may be asked of a diagram; `draw_folded` and `draw_unfolded` say what each means."""

    detail: str = "variables"
    shapes: bool = False
    forced: Mapping[str, str] | None = None
    primal: bool | None = None
    rankdir: str = "BT"
    theme: str = "light"
    transparent: bool = False

    def __post_init__(self) -> None:
        for name, known in (("detail", DETAILS), ("rankdir", RANKDIRS), ("theme", tuple(style.THEMES))):
            if (got := getattr(self, name)) not in known:
                raise ValueError(f"{name}={got!r}: choose {', '.join(map(repr, known))}")


class Subject:
    """A system as it is to be drawn."""

    def __init__(self, system: System, options: DrawingOptions) -> None:
        truths = options.forced or {}
        self.options = options
        self.system = teacher_forced(system, truths) if truths else system
        self.ops = options.detail == "ops"
        if self.ops:
            self.arrows = op_arrows(self.system)
        else:
            self.arrows = forced_arrows(system, self.system, truths) if truths else arrows(self.system)
        self.names = self._shown()
        variables = [n for n in self.names if self.system.decls[n].kind == "variable"]
        self.cells = {} if self.ops else cells(variables)
        self.print = PrintedNames(self.system, short_names(self.cells, self.system.decls))
        self.switches = {} if self.ops else switches(self.system)
        self._writer = EquationWriter(self.system)
        written = [e for e in reversed(self.system.equations) if e.out.running or not e.out.index]
        written.sort(key=lambda e: len(e.out.running))  # the last is taken: that of all steps, not of a boundary
        self._main = {e.out.name: e for e in written}

    def _shown(self) -> list[str]:
        """The names that get a node: all that the user named, params aside, and with detail "ops" the operations."""
        if self.ops:
            used = {a.source for a in self.arrows} | {a.target for a in self.arrows}
            return [n for n in self.system.decls if n in used]
        written = {e.out.name for e in self.system.equations}
        return [
            n
            for n, d in self.system.decls.items()
            if not is_hidden(n)
            and d.kind not in ("param", "constant")
            and ((d.kind == "input" and is_shown_input(d)) or n in written)
        ]

    def picture(self) -> Picture:
        """An empty picture with the colours of the params: the same in all pictures of a template."""
        made = Picture(shortened(visible(self.system.name)))
        made.theme = style.Theme(style.THEMES[self.options.theme], self.options.transparent)
        made.turned = self.options.rankdir == "LR"
        for number, param in enumerate(drawn_params(self.system, arrows(self.system) if self.ops else self.arrows)):
            made.colours[param] = style.colour(number)
            made.texts[param] = self.print.of(param)
            if self.options.shapes and (size := self._size(param)):
                made.texts[param] += [Piece(f" {size}", -1)]
        return made

    def kind(self, name: str) -> str:
        """The row of the style table for a name."""
        decl = self.system.decls[name]
        if is_hidden(name):
            return "op"
        if name == self.system.loss and self.options.detail != "equations":
            return "loss"
        if name in self.switches:
            return "switch"
        plain = decl.kind if decl.kind in ("input", "cotangent") else "variable"
        return "equation" if decl.kind in ("variable", "cotangent") and self.options.detail == "equations" else plain

    def letters(self, name: str, steps: tuple[int, ...] = ()) -> Lettering:
        """What is written in a node."""
        if is_hidden(name):
            return self._op(name)
        if self.options.detail == "equations" and name in self._main and self.system.decls[name].kind != "input":
            return self._equation(name, steps)
        return self.print.at(name, steps)

    def fit(self, name: str, steps: tuple[int, ...] = ()) -> tuple[float, float]:
        """Width of the node of a name, and size of its letters."""
        letters, kind = self.letters(name, steps), self.kind(name)
        if style.NODES[kind].shape == "box":
            return max(letters.width(style.BOX_SIZE) + 14, style.BOX), style.BOX_SIZE
        wide, size = style.fit(letters)
        if style.NODES[kind].shape == "diamond":
            wide = max(wide, letters.width(size) + 30)
        return wide, size

    def high(self, name: str) -> float:
        """Height of the node of a name."""
        return style.BOX if style.NODES[self.kind(name)].shape == "box" else style.DIAMETER

    def below(self, name: str) -> Lettering:
        """What is written small under the name: its shape where that was asked for."""
        if self.options.shapes and not is_hidden(name):
            return line(self._size(name))
        return NOTHING

    def _size(self, name: str) -> str:
        return "×".join(map(str, self.system.decls[name].shape))

    def _op(self, name: str) -> Lettering:
        """An operation as its sign, with the params and numbers that it takes in: ``W ·``, ``b +``, ``σ``."""
        writers = self.system.writers[name]
        equation = writers[0]
        sign = _SIGNS.get(equation.op, equation.op.replace("_", " "))
        if equation.op == "copy":
            sign = "Σ" if equation.summed else "="
        beside = []
        for position, arg in enumerate(equation.args):
            if isinstance(arg, Const):
                beside.append((position, line(str(arg), True)))
            elif isinstance(arg, Ref) and self.system.decls[arg.name].kind in ("param", "constant"):
                beside.append((position, self.print.of(arg.name)))
        if equation.op == "pow" and beside:
            return Lettering((Piece("·", 0, True), Piece(beside[0][1].plain, 1)))
        before = [text for position, text in beside if not position]
        after = [text for position, text in beside if position]
        return joined([*before, line(sign, True), *after], " ")

    def _equation(self, name: str, steps: tuple[int, ...]) -> Lettering:
        """The equation of a name, at its steps where these are given."""
        chosen = self._main[name]
        at = _solved(chosen, steps) if steps else {}
        if at is None:  # a boundary, or a loss drawn in terms
            return self.print.at(name, steps)
        text = visible(self._writer.equation(chosen, {axis: fixed(k) for axis, k in at.items()}))
        return self._set(text) if len(text) < 200 else self.print.at(name, steps)

    def _set(self, text: str) -> Lettering:
        """A plain equation in letters as print has them."""
        pieces: list[Piece] = []
        end = 0
        for word in _WORD.finditer(text):
            if word[1] not in self.system.decls:
                continue
            pieces += line(_signs(text[end : word.start()]), True)
            pieces += self.print.of(word[1])
            if word[2]:
                pieces.append(Piece(f"({word[2][1:-1].replace('-', '−').replace(' ', '')})", 1))
            end = word.end()
        return Lettering((*pieces, *line(_signs(text[end:]), True)))

    def tips(self) -> dict[str, str]:
        """What stands behind each name: its equations, or its declaration."""
        found: dict[str, list[str]] = {}
        for equation in self.system.equations:
            if not is_hidden(equation.out.name) or self.ops:
                found.setdefault(equation.out.name, []).append(visible(self._writer.equation(equation)))
        return {n: "\n".join(found[n]) if n in found else visible(declaration(self.system, n)) for n in self.names}

    def link_kind(self, arrow: Arrow) -> str:
        """The row of the style table for an arrow."""
        decls = self.system.decls
        if decls[arrow.target].kind == "cotangent" and decls[arrow.source].kind != "cotangent":
            return "primal"
        if arrow.mode:
            return arrow.mode
        if arrow.target in self.switches and not arrow.boundary:
            return "control" if arrow.source in self.switches[arrow.target] else "choice"
        if arrow.cut is not None and (arrow.cut == STOP or not arrow.cut.dead):
            return "stopped"
        if arrow.cut is not None:
            return "severed"
        return "once" if arrow.fixed or arrow.boundary else "flow"

    def rows(self) -> dict[str, int]:
        """The row of each name. A cotangent stands beside what it is the derivative by; those of params have none."""
        forward = [n for n in self.names if self.system.decls[n].kind != "cotangent"]
        inside = set(forward)
        here = [a for a in self.arrows if a.source in inside and a.target in inside and a.mode != "severed"]
        row = layers(
            forward,
            [(a.source, a.target) for a in here if not a.delays() and not a.boundary and not a.fixed],
            [(a.source, a.target) for a in here if a.boundary or a.fixed],
            [n for n in forward if self.system.decls[n].kind == "input"],
        )
        for name in self.names:
            beside = self.root(name)
            if name not in row and beside in row:
                row[name] = row[beside]
        return row

    def root(self, name: str) -> str:
        """The name at the root of a cotangent: h for ``h~`` and for the cotangent of that."""
        while self.system.decls[name].kind == "cotangent" and self.system.decls[name].of in self.system.decls:
            name = str(self.system.decls[name].of)
        return name

    def label_width(self, picture: Picture, params: Iterable[str]) -> float:
        """How wide a label of params is."""
        return picture.label(Link("", "", tuple(params))).width(style.LABEL_SIZE)


PLAIN = DrawingOptions()
FEW = 9
"""Reads of the forward pass by derivatives that are still drawn without asking."""


def _signs(text: str) -> str:
    """What stands between names: a product of matrices by nothing, one of elements by a dot."""
    return text.replace(" @ ", " ").replace(" * ", " · ").replace(" - ", " − ")


def _solved(equation: Equation, steps: tuple[int, ...]) -> dict[Axis, int] | None:
    """The running steps at which an equation writes these; None where it does not."""
    if len(equation.out.index) != len(steps):
        return None
    found = {i.axis: k - i.shift for i, k in zip(equation.out.index, steps, strict=True) if i.axis and i.runs}
    low = {r.axis: r.lo.shift for r in equation.domain}
    return found if all(k >= low[a] for a, k in found.items()) else None
