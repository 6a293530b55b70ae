"""A page of generated NumPy source in the making: its lines, names, memory, and how operands are written on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir import Const, Equation
from ...program import Access, Argument, Buffer, Program
from ...text import Writer
from ...timeindex import Range, fixed, last
from ..source import Names, difference, linear
from .operand import BATCH, Operand, Where, viewed


class Page:
    """What the statements of one program share while they are written.

    lines    the body of `run` so far
    before   what is made once, before the outermost loop being written
    memory   (key, shape, dtype) of every array of the workspace
    scope    constants and kernels that the text names
    """

    def __init__(self, program: Program, dtype: str, debug: bool) -> None:
        self.system = program.system
        self.dtype, self.debug = dtype, debug
        ends = {a.end for a in self.system.axes}
        self.names = Names(
            {"np", "B", "given", "ws", "empty", "run", "allocate", "check", "scatter_sum", "at", "scan", *ends}
        )
        self.variables = {a: self.names.fresh(a.name) for a in self.system.axes}
        self.lines: list[str] = []
        self.before: list[str] = []
        self.depth = 1
        self.memory: list[tuple[str, str, str]] = []
        self.scope: dict[str, Any] = {}
        self.hoisted: dict[str, str] = {}
        self.buffers = dict(program.buffers)
        for name, decl in self.system.decls.items():
            if decl.kind == "cotangent" and name not in self.buffers:  # nobody writes it: zero
                ranges = tuple(Range(a, fixed(1), last(a)) for a in decl.axes)
                self.buffers[name] = Buffer(name, ranges, "all")
        self._writer = Writer(self.system, inline=False)

    def line(self, text: str, note: str = "") -> None:
        """Add a line of `run`, with a note in the margin."""
        pad = "    " * self.depth
        self.lines.append(f"{pad}{text:<{max(0, 76 - len(pad))}}  # {note}" if note else pad + text)

    def operand(self, argument: Argument, where: Where) -> Operand:
        """An argument of a statement as an operand."""
        if isinstance(argument, Const):
            return Operand(number(argument.value), number=True)
        if isinstance(argument, Access):
            return self.view(argument, where)
        return Operand(argument.axis.end, number=True)

    def view(self, access: Access, where: Where) -> Operand:
        """The instances that an access names, as a view of their buffer."""
        ref, decl = access.ref, self.system.decls[access.ref.name]
        buffer = self.buffers.get(ref.name)
        kept = {r.axis: r.lo for r in buffer.axes} if buffer else {a: fixed(1) for a in decl.axes}
        ends = {r.axis: r.hi for r in buffer.axes} if buffer else {a: last(a) for a in decl.axes}
        spans = {r.axis: r for r in where.spans}
        parts, lead, whole, present = [], [], set(), True
        moving = ref.name in where.changing
        for index, axis in zip(ref.index, decl.axes, strict=True):
            if axis not in kept:
                continue
            if index.runs and index.axis in spans:
                r = spans[index.axis]
                lo, hi = r.lo + index.shift, r.hi + index.shift
                if lo == kept[axis] and hi == ends[axis]:
                    parts.append(":")
                    whole.add(index.axis.name)
                else:
                    parts.append(span(difference(lo, kept[axis], {}), difference(hi + 1, kept[axis], {})))
                lead.append(index.axis.name)
            else:
                parts.append(linear(*difference(index, kept[axis], where.loops)))
                moving = moving or (index.runs and index.axis in where.loops)
                here = kept[axis].never_after(index) and index.never_after(ends[axis])
                present = present and (here or index.runs)
        if decl.batched:
            lead.append(BATCH)
            whole.add(BATCH)
        if buffer is not None and buffer.inside is not None:
            whole.clear()  # its neighbours' elements lie between its steps
        while parts and parts[-1] == ":":
            parts.pop()
        text = self.names(ref.name)
        if parts:
            dims = sum(":" in p for p in parts) + decl.batched + len(decl.shape) + (len(kept) - len(parts))
            key = f"{', '.join(parts)}{'' if dims else ', ...'}"
            text = f"at({text}, np.s_[{key}])" if where.spans and not present else f"{text}[{key}]"
        found = Operand(text, tuple(lead), decl.shape, moving, frozenset(whole))
        for view in access.views:
            found = viewed(found, view.op, dict(view.attrs))
        return found

    def sizes(self, where: Where) -> dict[str, str]:
        """The number of elements along each leading axis of a statement, as text."""
        return {**{r.axis.name: count(r) for r in where.spans}, BATCH: "B"}

    def hoist(self, text: str, repack: bool) -> str:
        """A name for an operand made once, before the loops; in one piece where it was rearranged."""
        if text not in self.hoisted:
            name = self.names.fresh("k")
            self.hoisted[text] = name
            self.before.append(f"    {name} = np.ascontiguousarray({text})" if repack else f"    {name} = {text}")
        return self.hoisted[text]

    def scratch(self, shape: list[str], dtype: str) -> str:
        """A name for memory that one statement needs."""
        name = self.names.fresh("s")
        self.memory.append((f" {name}", listed(shape), dtype))
        self.before.append(f"    {name} = ws[{f' {name}'!r}]")
        return name

    def note(self, e: Equation) -> str:
        """The equation, for the margin; one line whatever the user's names hold."""
        return ascii(self._writer.equation(e))[1:-1]

    def kernel(self, op: str, ranks: list[int], attrs: Mapping[str, Any]) -> str:
        """A name for an operation that has no form of its own here."""
        name = self.names.fresh(f"{''.join(c if c.isalnum() else '_' for c in op)}_")
        self.scope[name] = (op, tuple(ranks), dict(attrs))
        return name


def number(value: Any) -> str:
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
