"""A program as loop nests, for people to read: every statement with the index of each number that it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..ir.system import System
from ..ops.core import called
from ..printing.plain import ATOM, infix, view_text
from .decompose import decomposed
from .nests import AffineIndex, Apply, Clamp, Coordinate, Digit, Load, Nest, Reduce, Scalar, children, parts
from .row_stages import staged
from .statements import Access, Compute, Fuse, Repeat, Step, by_points, row


def text(system: System, steps: tuple[Step, ...]) -> str:
    """One nest a line, loops indented."""
    lines, stack = list[str](), [(0, step) for step in reversed(steps)]
    while stack:
        depth, step = stack.pop()
        pad = "  " * depth
        if isinstance(step, Repeat):
            lines.append(f"{pad}{step}")
            stack += [(depth + 1, inner) for inner in reversed(step.body)]
        else:
            some = _kernel(system, step.body) if isinstance(step, Fuse) else _statement(system, step)
            lines += [pad + line for line in some]
    return "\n".join(lines)


def _kernel(system: System, body: Sequence[Compute]) -> list[str]:
    """A kernel: its points, or its rows by stages."""
    rows = [r for s in body if (r := row(system, s)) is not None]
    if by_points(rows):
        return ["at every point:", *(f"  {line}" for s in body for line in _statement(system, s))]
    lines = ["in every row:"]
    for number, stage in enumerate(staged(body, rows)):
        pad = "    " if number % 2 else "  "
        lines += ["  along it:"] if number % 2 and stage else []
        lines += [f"{pad}{line}" for s in stage for line in _statement(system, s)]
    return lines


def _statement(system: System, step: Compute) -> list[str]:
    e, decl = step.equation, system.decls[step.equation.out.name]
    sign = "+=" if step.mode == "add" or e.summed else "="
    sign = "max=" if e.combine == "max" else sign
    over = [] if step.offsets else [f"{r.axis.name} = {r.lo}, ..., {r.hi}" for r in e.domain]
    nests = decomposed(step, lambda name: system.decls[name].shape, decl.dtype)
    return [line for nest in nests for line in _nest(nest, str(e.out), sign, over)]


def _nest(nest: Nest, out: str, sign: str, over: Sequence[str]) -> list[str]:
    """A nest, and below it what it uses of each row."""
    uses = Counter(child for x in parts(nest.value) for child in children(x))
    rows = [x for x in nest.invariant() if x != nest.value and (isinstance(x, Reduce) or uses[x] > 1)]
    names: dict[Scalar | Coordinate, str] = {}
    below = []
    for x in rows:
        line = _written(x, names)
        names[x] = f"r{len(names) + 1}"
        below.append(f"    {names[x]} = {line}")
    loops = ", ".join([*over, *(f"{loop.name} < {loop.size}" for loop in nest.loops if loop.size != 1)])
    line = f"{out}{_brackets(nest.index, names)} {'+=' if nest.meets else sign} {_written(nest.value, names)}"
    return [f"{line}    for {loops}" if loops else line, *below]


def _written(x: Scalar | Coordinate, names: Mapping[Scalar | Coordinate, str]) -> str:
    """A scalar or an index; an operation has no more levels than its decomposition."""
    if x in names:
        return names[x]
    if isinstance(x, Load):
        if not isinstance(x.arg, Access):
            return str(x.arg)
        views = "".join(view_text(view.op, dict(view.attrs)) for view in x.arg.views)
        return f"{x.arg.ref}{views}{_brackets(x.index, names)}"
    if isinstance(x, AffineIndex):
        terms = [loop.name if k == 1 else f"{k} * {loop.name}" for loop, k in x.terms]
        return " + ".join([*terms, *([str(x.start)] if x.start or not terms else [])])
    if isinstance(x, Digit):
        return f"({_written(x.number, names)}) // {x.unit} % {x.size}"
    if isinstance(x, Clamp):
        return f"clamp({_written(x.number, names)}, 0, {x.size - 1})"
    if isinstance(x, Reduce):
        return f"{x.op}({', '.join(loop.name for loop in x.loops)}: {_written(x.value, names)})"
    parts = [_part(a, names) for a in x.args]
    notation = called(x.op).notation
    if notation is not None:
        return "".join(map(str, infix(notation, parts)))
    return f"{x.op}({', '.join(text for (text,), _ in parts)})"


def _part(x: Scalar, names: Mapping[Scalar | Coordinate, str]) -> tuple[tuple[str], int]:
    """A scalar as an operand: its text, and how strongly that binds."""
    notation = called(x.op).notation if isinstance(x, Apply) and x not in names else None
    return (_written(x, names),), ATOM if notation is None else notation.strength


def _brackets(index: Sequence[Coordinate], names: Mapping[Scalar | Coordinate, str]) -> str:
    return f"[{', '.join(_written(x, names) for x in index)}]" if index else ""
