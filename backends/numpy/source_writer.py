"""Source writer: lines, names, memory and operands of generated NumPy source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...compiler.program import Program
from ...compiler.statements import Access, Argument, Compute
from ...ir.axes import Range, whole
from ...ir.system import Const, Decl, Equation, Ref
from ...printing.plain import EquationWriter
from ...records import record
from ..common.python_source import Names, difference, linear
from ..common.symbolic_size import Key
from .gate_major import piece, units
from .operand import BATCH, FEATURES, GATES, Operand, Where, gated, viewed

ROW: Key = "row"
"""The time axis of a buffer that is read row by row in a loop."""
WORDS, SIGNS = re.compile(r"[^\W\d]\w*|\d+"), re.compile(r"[^0-9a-z]")
COUNT = "examples"
"""The batch size in generated text: in lower case, as no end of an axis is."""


@record
class _Stored:
    """A name's array as text sees it.

    held      True for a buffer, False for what a user gives
    steps     the positions of the brackets along which there are several steps in memory, and which those are
    unit      of what is stored gate by gate, the size of a gate
    enclosed  True where a neighbour's elements lie between its steps
    """

    decl: Decl
    held: bool
    steps: Sequence[tuple[int, Range]]
    unit: int | None
    enclosed: bool


class _Brackets:
    """The inside of the brackets behind a buffer's name.

    parts  one for each axis
    lead   the axes of the result
    whole  those that lie in memory as they are, with nothing between what is shown
    apart  whether something lies between the last axis and the next
    looped how many parts are a step of a loop, and whether the first is one
    """

    def __init__(self, moving: bool) -> None:
        self.moving, self.apart, self.looped, self.first = moving, False, 0, False
        self.parts: list[str] = []
        self.lead: list[Key] = []
        self.whole: set[Key] = set()

    def end(self, key: Key) -> None:
        """An axis that is shown as it is."""
        if not self.apart:
            self.whole.add(key)
        self.apart = False

    def text(self, name: str, shape: bool) -> str:
        """The name and its brackets; `shape` tells whether per-example axes follow."""
        while self.parts and self.parts[-1] == ":":
            self.parts.pop()
        return f"{name}[{', '.join(self.parts)}{'' if self.lead or shape else ', ...'}]" if self.parts else name


class SourceWriter:
    """What the statements of one program share while they are written.

    lines    the body of `run` so far
    views    what is made once for each workspace: its arrays and how they are looked at
    before   what is made once, before the outermost loop being written
    memory   (key, shape, dtype) of every array of the workspace
    scope    constants and kernels that the text names
    local    names of which memory holds one block of steps at a time, and how many those are
    """

    def __init__(self, program: Program, dtype: str, debug: bool) -> None:
        self.system = program.system
        self.dtype, self.debug = dtype, debug
        self.names = Names()
        self.variables = {a: self.names.fresh(a.name) for a in self.system.axes}
        self.lines: list[str] = []
        self.before: list[str] = []
        self.views: list[str] = []
        self.prepared: dict[str, str] = {}
        self.beforehand: set[str] = set()
        self.functions: set[str] = set()
        self.depth = 2
        self.memory: list[tuple[str, str, str]] = []
        self.scope: dict[str, Any] = {}
        self.hoisted: dict[str, str] = {}
        self.buffers = dict(program.buffers)
        self.units = {} if debug else units(program)
        self.local: dict[str, str] = {}
        self._stored: dict[str, _Stored] = {}
        self._writer = EquationWriter(self.system, inline=False)

    def kind(self, dtype: str) -> str:
        """NumPy's name for a kind."""
        return {"float": self.dtype, "int": "int64", "bool": "bool"}[dtype]

    def line(self, text: str, note: str = "") -> None:
        """Add a line of `run`, with a note in the margin."""
        pad = "    " * self.depth
        self.lines.append(f"{pad}{text:<{max(0, 76 - len(pad))}}  # {note}" if note else pad + text)

    def guard(self, condition: str) -> None:
        """Begin a block under a condition, or go on with the last one under the same."""
        mine = "    " * self.depth
        for line in reversed(self.lines):
            if not line.startswith(mine + "    "):
                if line == f"{mine}if {condition}:":
                    return
                break
        self.line(f"if {condition}:")

    def operand(self, argument: Argument, where: Where) -> Operand:
        """An argument of a statement as an operand."""
        if isinstance(argument, Const):
            return Operand(number(argument.value), number=True)
        if isinstance(argument, Access):
            return self.view(argument, where)
        return Operand(argument.axis.end, number=True)

    def view(self, access: Access, where: Where) -> Operand:
        """The instances that an access names, as a view of their buffer."""
        x = self.stored(access.ref.name)
        decl, unit, kept = x.decl, x.unit, x.held and where.exists
        at = self._steps(access.ref, x, where)
        row, varies = None, at.looped > 0
        if kept and at.looped == 1 and at.first and (decl.batched or decl.shape or at.lead):
            row, at.parts[0] = at.parts[0], ":"
            at.lead.insert(0, ROW)
        views, shape = access.views, decl.shape
        if unit:
            start, stop = piece(access, shape[0]) or (0, shape[0])
            shape, views = (unit,), views[1:]
            if stop - start == unit:
                at.parts.append(str(start // unit))
            else:
                at.parts.append(":" if stop - start == decl.shape[0] else f"{start // unit}:{stop // unit}")
                at.lead.append(GATES)
        if decl.batched:
            at.lead.append(BATCH)
            at.end(BATCH)
        at.end(FEATURES)
        merges = () if x.enclosed else at.whole
        found = Operand(
            at.text(self.names(access.ref.name), bool(shape)), tuple(at.lead), shape, at.moving, frozenset(merges)
        )
        for view in views:
            found = viewed(found, view.op, dict(view.attrs))
        if where.gates and not unit and found.shape == (where.gates[0] * where.gates[1],):
            sizes = self.sizes(where)
            if row is not None:
                sizes[ROW] = count(x.steps[0][1])
            found = gated(found, *where.gates, sizes)
        return self._in_loop(found, row, varies) if where.loops and kept else found

    def stored(self, name: str) -> _Stored:
        """The array of a name."""
        found = self._stored.get(name)
        if found is None:
            decl, buffer, unit = self.system.decls[name], self.buffers.get(name), self.units.get(name)
            steps = [(decl.axes.index(r.axis), r) for r in (buffer.axes if buffer else map(whole, decl.axes))]
            enclosed = unit is not None or (buffer is not None and buffer.inside is not None)
            found = self._stored[name] = _Stored(decl, buffer is not None, steps, unit, enclosed)
        return found

    def _steps(self, ref: Ref, x: _Stored, where: Where) -> _Brackets:
        """The steps that a ref names, along the time axes that its buffer keeps."""
        at = _Brackets(ref.name in where.changing)
        for position, held in x.steps:
            index, axis, first = ref.index[position], held.axis, held.lo
            r = where.ranges.get(axis) if index.runs else None
            if r is None:
                at.apart = bool(at.lead)  # other steps lie between those of the axis before and what follows
                if index.runs and axis in where.loops:
                    at.first, at.looped, at.moving = at.first or not at.parts, at.looped + 1, True
                at.parts.append(linear(*difference(index, first, where.loops)))
                continue
            lo, hi = r.lo + index.shift, r.hi + index.shift
            if where.block and axis == where.spans[0].axis:
                at.parts.append(self._block(ref.name, where.block, linear(*difference(lo, first, {}))))
            elif lo == first and hi == held.hi:
                at.parts.append(":")
                at.end(axis)
            else:
                at.parts.append(span(difference(lo, first, {}), difference(hi + 1, first, {})))
            at.lead.append(axis)
            at.apart = False
        return at

    def _block(self, name: str, block: tuple[str, str], offset: str) -> str:
        """The steps of a block in a buffer whose own first step lies `offset` before the statement's."""
        start, stop = block
        if name in self.local:
            return f":{stop} - {start}"
        return f"{start}:{stop}" if offset == "0" else f"{start} + {offset}:{stop} + {offset}"

    def _in_loop(self, x: Operand, row: str | None, varies: bool) -> Operand:
        """An operand in a loop, its views made once for each workspace: what they show changes, they do not.

        row     the step of the loop, where the operand is one array of many
        varies  whether its text has the step of a loop
        """
        if row is not None:
            text = f"{self._viewed(f'rows({x.text})', x.text, 't')}[{row}]"
            return Operand(text, x.lead[1:], x.shape, x.moving, x.whole)
        if varies or x.text.isidentifier() or not (x.moving or x.rank < 2):
            return x
        return replace(x, text=self._viewed(x.text, x.text, "v"))

    def _viewed(self, text: str, shown: str, mark: str) -> str:
        """A name for a view made once for each workspace, like what it shows."""
        if text in self.prepared:
            return self.prepared[text]
        return self.prepare(text, "_".join([*WORDS.findall(shown.partition(".")[0]), mark]))

    def stays(self, text: str) -> bool:
        """True for a view made beforehand: an assignment goes into it, and must not take its place."""
        return text.partition("[")[0] in self.beforehand

    def prepare(self, text: str, wish: str) -> str:
        """A name for what is made once for each workspace."""
        if text not in self.prepared:
            name = self.prepared[text] = self.names.fresh(wish)
            self.beforehand.add(name)
            self.views.append(f"    {name} = {text}")
        return self.prepared[text]

    def gates(self, step: Compute) -> tuple[int, int] | None:
        """Number and size of the gates in a statement that computes several."""
        if not self.units:
            return None
        for access in (Access(step.equation.out), *(a for a in step.args if isinstance(a, Access))):
            unit, shape = self.units.get(access.ref.name), self.system.decls[access.ref.name].shape
            if unit:
                lo, hi = piece(access, shape[0]) or (0, 0)
                if hi - lo > unit:
                    return (hi - lo) // unit, unit
        return None

    def function(self, name: str) -> str:
        """A function of NumPy's by its bare name, imported at the top: looked up once."""
        self.functions.add(name)
        return name

    def constant(self, text: str) -> str:
        """A number as an array, which saves its conversion at every call."""
        return self.prepare(f"np.array({text}, {self.dtype!r})", f"n{SIGNS.sub('_', text)}")

    def sizes(self, where: Where) -> dict[Key, str]:
        """The number of elements along each leading axis of a statement, as text."""
        gates = {GATES: str(where.gates[0])} if where.gates else {}
        found: dict[Key, str] = {**{r.axis: count(r) for r in where.spans}, **gates, BATCH: COUNT}
        return {**found, where.spans[0].axis: "({1} - {0})".format(*where.block)} if where.block else found

    def hoist(self, text: str, repack: bool) -> str:
        """A name for an operand made once, before the loops; in one piece where it was rearranged."""
        if text not in self.hoisted:
            name = self.names.fresh("k")
            self.hoisted[text] = name
            self.before.append(
                f"        {name} = np.ascontiguousarray({text})" if repack else f"        {name} = {text}"
            )
        return self.hoisted[text]

    def scratch(self, shape: list[str], dtype: str) -> str:
        """A name for memory that one statement needs."""
        name = self.names.fresh("s")
        key = f"~{name}"  # no name of a user's begins with a tilde
        self.memory.append((key, listed(shape), dtype))
        self.views.append(f"    {name} = ws[{key!r}]")
        return name

    def note(self, e: Equation) -> str:
        """The equation, for the margin; one line whatever the user's names hold."""
        return ascii(self._writer.equation(e))[1:-1]

    def kernel(self, op: str, ranks: list[int], attrs: Mapping[str, Any]) -> str:
        """A name for an operation that has no form of its own here."""
        name = self.names.fresh(f"{''.join(c if c.isalnum() else '_' for c in op)}_")
        self.scope[name] = (op, tuple(ranks), dict(attrs))
        return name


def number(value: float | bool) -> str:
    """A Python number as source."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"inf": "np.inf", "-inf": "-np.inf"}.get(str(value), "np.nan")
    return repr(value)


def span(start: tuple[Mapping[str, int], int], stop: tuple[Mapping[str, int], int]) -> str:
    """``start:stop`` that never turns negative, which Python would count from the other end."""
    texts = []
    for terms, constant in (start, stop):
        text = linear(terms, constant)
        texts.append(f"max({text}, 0)" if constant < 0 and terms else text)
    return f"{'' if texts[0] == '0' else texts[0]}:{texts[1]}"


def count(r: Range) -> str:
    """The number of steps of a range, as source."""
    terms, constant = difference(r.hi + 1, r.lo, {})
    text = linear(terms, constant)
    if not terms:
        return text
    return f"max({text}, 0)" if constant < 0 else f"({text})" if constant else text


def listed(parts: list[str]) -> str:
    """The inside of a tuple."""
    return ", ".join(parts) + ("," if len(parts) == 1 else "")
