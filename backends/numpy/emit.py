"""Program -> NumPy source: `allocate`, `prepare` and `run`, one line per equation with the equation beside it.

`allocate` makes the arrays of a workspace, `prepare` all views of them that loops need, and returns the `run` on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...compiler.program import Buffer, Program
from ...compiler.statements import Access, Compute, Fuse, Repeat, Step, View, guard, walk, zero_unless
from ...ir.axes import Axis, Index, Range, fixed, last
from ...ir.system import Ref
from ..common.python_source import difference, linear
from ..common.statement_queries import spans
from .blocks import blocks, local
from .operand import Where
from .scan import call, recurrence
from .source_writer import COUNT, SourceWriter, count, listed, span
from .statement import StatementWriter


@dataclass(frozen=True)
class GeneratedSource:
    """Generated text, and the functions and constants it names."""

    text: str
    scope: Mapping[str, Any]


class Emitter:
    """Writes the source of one program."""

    def __init__(self, program: Program, dtype: str, debug: bool, scan: bool = True) -> None:
        self.program, self.system, self.scan = program, program.system, scan and not debug
        self.writer = SourceWriter(program, dtype, debug)
        self.direct = {} if debug else _direct(program)

    def emit(self) -> GeneratedSource:
        """The whole text."""
        for name in self.direct:
            del self.writer.buffers[name]
        for step in self.program.steps:
            if isinstance(step, Fuse):
                self.writer.local.update(local(self.writer, step))
        prepared, head = self._head()
        for buffer in self.writer.buffers.values():
            if buffer.inside is None:
                self._allocate(buffer)
        for step in self.program.steps:
            self.writer.before = []
            self.writer.hoisted = {}
            mark = len(self.writer.lines)
            self._step(step, {}, frozenset())
            self.writer.lines[mark:mark] = self.writer.before
        results = [f"            {name!r}: {self._result(ref)}," for name, ref in self.system.outputs.items()]
        ends = "".join(f", {a.end}" for a in self.system.axes)
        made = [f"    ws[{key!r}] = empty(({shape}), {kind!r})" for key, shape, kind in self.writer.memory]
        text = [
            f"# {self.system.name!a}: generated for NumPy, {self.writer.dtype}",
            *([f"from numpy import {', '.join(sorted(self.writer.functions))}"] if self.writer.functions else []),
            "",
            f"def allocate(empty, {COUNT}{ends}):",
            "    ws = {}",
            *made,
            "    return ws",
            "",
            f"def prepare(ws, {COUNT}{ends}):",
            *prepared,
            *self.writer.views,
            "",
            "    def run(given):",
            *head,
            *self.writer.lines,
            "        return {",
            *results,
            "        }",
            "",
            "    return run",
        ]
        return GeneratedSource("\n".join(text) + "\n", self.writer.scope)

    # -- what stands before the steps ------------------------------------------------------------------------------

    def _head(self) -> tuple[list[str], list[str]]:
        """The lines that name the arrays of a workspace, and those that begin a run."""
        arrays, parts, run = [], [], []
        for name, decl in self.system.decls.items():
            local = self.writer.names(name)
            buffer = self.writer.buffers.get(name)
            if buffer is not None and buffer.inside is not None:
                parts.append(self._part(buffer, local))
            elif decl.kind == "constant":
                key = self.writer.names.fresh(f"const_{local}")
                self.writer.scope[key] = decl.array.astype(self.writer.dtype) if decl.dtype == "float" else decl.array
                arrays.append(f"    {local} = {key}")
            elif buffer is not None:
                arrays.append(f"    {local} = ws[{name!r}]")
            elif decl.given:
                run.append(f"        {local} = given[{name!r}]")
            if buffer is not None and name not in self.writer.local:
                run += self._cleared(buffer, local)
        return arrays + parts, run

    def _part(self, buffer: Buffer, local: str) -> str:
        """A buffer inside another, as a view of that."""
        host, start = buffer.inside or ("", 0)
        end, unit = start + self.system.decls[buffer.name].shape[-1], self.writer.units.get(host)
        part = f"{start}:{end}"
        if unit:
            part = f"{start // unit}{f':{end // unit}' if end - start > unit else ''}, :, :"
        return f"    {local} = {self.writer.names(host)}[..., {part}]"

    def _cleared(self, buffer: Buffer, local: str) -> list[str]:
        decl = self.system.decls[buffer.name]
        lines = []
        if decl.given:
            inside = ", ".join(
                span(difference(fixed(1), r.lo, {}), difference(last(r.axis, 1), r.lo, {})) for r in buffer.axes
            )
            lines.append(f"        {local}[{inside}] = given[{buffer.name!r}]")
        elif buffer.clear == "all":
            lines.append(f"        {local}[...] = 0")
        elif buffer.clear is not None:
            first, final = buffer.clear
            if first > 0:
                lines.append(f"        {local}[:{first}] = 0")
            if final > 0:
                lines.append(f"        {local}[-{final}:] = 0")
        return lines

    def _allocate(self, buffer: Buffer) -> None:
        decl = self.system.decls[buffer.name]
        kind = self.writer.kind(decl.dtype)
        unit = self.writer.units.get(buffer.name)
        sizes = [str(n) for n in decl.shape] if not unit else [str(unit)]
        gates = [str(decl.shape[0] // unit)] if unit else []
        steps = [count(r) for r in buffer.axes]
        if buffer.name in self.writer.local:
            steps[0] = f"min({steps[0]}, {self.writer.local[buffer.name]})"
        shape = steps + gates + ([COUNT] if decl.batched else []) + sizes
        self.writer.memory.append((buffer.name, listed(shape), kind))

    def _result(self, ref: Ref) -> str:
        decl = self.system.decls[ref.name]
        spans = tuple(Range(i.axis, fixed(1), last(i.axis)) for i in ref.index if i.runs and i.axis is not None)
        order = tuple(r for a in decl.axes for r in spans if r.axis == a)
        access = self.direct.get(ref.name, Access(ref))
        return f"{self.writer.view(access, Where({}, order, decl.batched, frozenset())).text}.copy()"

    # -- steps -----------------------------------------------------------------------------------------------------

    def _step(self, step: Step, loops: Mapping[Axis, tuple[str, Repeat]], changing: frozenset[str]) -> None:
        """One step; loops nest no deeper than there are axes."""
        if isinstance(step, Compute):
            if step.equation.out.name not in self.direct:
                self._compute(step, loops, changing)
            return
        if isinstance(step, Fuse):
            self._kernel(step)
            return
        inside = self._written(s.equation.out.name for _, s in walk(step.body) if isinstance(s, Compute))
        found = recurrence(self.program, step) if self.scan and not loops else None
        scanned = call(self.writer, found) if found else None
        if found is None or scanned is None:
            self._loop(step, loops, changing | inside)
            return
        self.writer.line(f"if {scanned}:")
        self.writer.depth += 1
        for after in found.after:
            self._compute(replace(after, offsets=()), loops, changing | inside)
        self.writer.line("pass") if not found.after else None
        self.writer.depth -= 1
        self.writer.line("else:")
        self.writer.depth += 1
        self._loop(step, loops, changing | inside)
        self.writer.depth -= 1

    def _kernel(self, step: Fuse) -> None:
        """Statements outside loops, block by block, so that what one leaves is in the cache when the next reads it."""
        found = blocks(self.writer, step)
        if found is None:
            for statement in step.body:
                self._compute(statement, {}, frozenset())
            return
        total, size = count(found[0]), self.writer.prepare(found[1], "steps")
        first, past = (self.writer.names.fresh(wish) for wish in ("first", "past"))
        self.writer.line(f"for {first} in range(0, {total}, {size}):")
        self.writer.depth += 1
        self.writer.line(f"{past} = min({first} + {size}, {total})")
        for statement in step.body:
            self._compute(statement, {}, frozenset(), (first, past))
        self.writer.depth -= 1

    def _loop(self, step: Repeat, loops: Mapping[Axis, tuple[str, Repeat]], changing: frozenset[str]) -> None:
        variable = self.writer.variables[step.axis]
        lo, hi = (linear(*difference(i, fixed(0), {})) for i in step.steps)
        after, under = (linear(*difference(i, fixed(0), {})) for i in (step.steps[1] + 1, step.steps[0] - 1))
        span = f"range({lo}, {after})" if step.direction > 0 else f"range({hi}, {under}, -1)"
        self.writer.line(f"for {variable} in {span}:", "; ".join(step.through))
        self.writer.depth += 1
        for inner in step.body:
            self._step(inner, {**loops, step.axis: (variable, step)}, changing)
        self.writer.depth -= 1

    def _written(self, names: Iterable[str]) -> frozenset[str]:
        """The names, and what lies in the same memory as they do."""
        found = set(names)
        hosts = {b.inside[0] for n in found if (b := self.writer.buffers[n]).inside is not None}
        if not hosts:
            return frozenset(found)
        return frozenset(
            found | hosts | {n for n, b in self.writer.buffers.items() if b.inside and b.inside[0] in hosts}
        )

    def _compute(
        self,
        step: Compute,
        loops: Mapping[Axis, tuple[str, Repeat]],
        changing: frozenset[str],
        block: tuple[str, str] | None = None,
    ) -> None:
        e, offsets = step.equation, dict(step.offsets)
        where = Where(
            {axis: (name, offsets[axis]) for axis, (name, _) in loops.items()},
            spans(self.system, e, loops),
            e.batched,
            changing,
            self.writer.gates(step),
            block,
            not step.exists,
        )
        outside = [
            f"{loops[of][0] if isinstance(of, Axis) else linear(*difference(of, fixed(0), {}))} {sign} "
            f"{linear(*difference(edge, fixed(0), {}))}"
            for of, sign, edge in guard(step, [loop for _, loop in loops.values()])
        ]
        if outside:
            self.writer.guard(" and ".join(outside))
        self.writer.depth += bool(outside)
        exists = " and ".join(map(self._condition, zero_unless(step)))
        statement = StatementWriter(self.writer, step, where)
        if exists:
            self.writer.line(f"if {exists}:")
            self.writer.depth += 1
        statement.write()
        if exists:
            self.writer.depth -= 1
            self.writer.line("else:")
            self.writer.depth += 1
            statement.empty()
            self.writer.depth -= 1
        self.writer.depth -= bool(outside)

    def _condition(self, condition: tuple[Axis | Index, str, Index]) -> str:
        """A test of lengths alone."""
        of, sign, edge = condition
        assert isinstance(of, Index)
        return f"{linear(*difference(of, fixed(0), {}))} {sign} {linear(*difference(edge, fixed(0), {}))}"


def _direct(program: Program) -> dict[str, Access]:
    """What is asked for and is a part of something else: copied out of that, without memory of its own."""
    slices = [s for s in program.steps if isinstance(s, Compute) and s.equation.op == "slice"]
    if not slices:
        return {}
    asked = [r.name for r in program.system.outputs.values()]
    read = {
        a.ref.name for _, s in walk(program.steps) if isinstance(s, Compute) for a in s.args if isinstance(a, Access)
    }
    found = {}
    for step in slices:
        if step.equation.out.index:
            continue  # of one with steps, a slice may be one of them
        name, arg = step.equation.out.name, step.args[0]
        alone = len(program.system.writers[name]) == 1 and asked.count(name) == 1 and name not in read
        e, decl = step.equation, program.system.decls[name]
        alone = alone and not e.summed and e.batched == decl.batched  # else steps or examples add up
        if not isinstance(arg, Access) or program.system.decls[arg.ref.name].batched != decl.batched:
            continue
        if alone and program.buffers[name].inside is None:
            found[name] = Access(arg.ref, (*arg.views, View("slice", step.equation.attrs)))
    return found
