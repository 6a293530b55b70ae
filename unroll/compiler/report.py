"""What a compiled program does: what left the loops, what stayed and why, and what it costs. Read by people."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import LengthError
from ..ir.system import visible
from ..ops.contract import PRODUCTS
from ..printing.plain import EquationWriter
from .linear_recurrence import affine
from .program import Program
from .statements import Access, Compute, Fuse, Repeat, Step, shown, walk

LISTED = 8


@dataclass(frozen=True, repr=False)
class Report:
    """The account of one program; ``print`` it.

    products, kernels, others  statements of each sort: [outside all loops, in the first loop, in the second, ...]
    kept                       bytes that one loop leaves for another, at the lengths given
    memory                     bytes that a run takes at most, its results included; None where no lengths were given
    """

    text: str
    products: tuple[int, ...]
    kernels: tuple[int, ...]
    others: tuple[int, ...]
    kept: int | None = None
    memory: int | None = None

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


@dataclass(frozen=True)
class Costs:
    """Bytes at given lengths: of each name with memory of its own, of all at once, and of the results.

    remarks  what else a backend does, a line each
    """

    names: Mapping[str, int]
    arena: int
    results: int
    remarks: tuple[str, ...] = ()


Estimate = Callable[[Mapping[str, int], int], Costs | None]


def explain(
    title: str, program: Program | None, cost: Estimate, ends: Sequence[str], lengths: Mapping[str, int], batch: int
) -> Report:
    """The report of a program.

    program  None where nothing is scheduled
    cost     tells what a run takes at given lengths and batch size
    ends     the lengths that the program has

    Raises LengthError where some lengths are given and not all of them.
    """
    if program is None:
        return Report(f"{title}\n  every node by itself, in any topological order", (), (), ())
    costs = cost(lengths, batch) if lengths or not ends else None
    for end in ends if lengths else ():
        if end not in lengths:
            raise LengthError(f"the length {end} is missing: give {end}=..., the number of steps")
    at = ", ".join([f"batch size {batch}", *(f"{end} = {n}" for end, n in lengths.items())])
    writer = EquationWriter(program.system, inline=False)
    lines = [title]
    counts: list[tuple[int, int, int]] = []
    outside = [s for s in program.steps if not isinstance(s, Repeat)]
    loops = [s for s in program.steps if isinstance(s, Repeat)]
    counts.append(_count(outside))
    lines.append(f"  outside all loops, at once over all steps: {_sorts(counts[0])}")
    lines += [f"    {text}" for text in _products(writer, outside)]
    for loop in loops:
        counts.append(_count(loop.body))
        lo, hi = loop.steps if loop.direction > 0 else loop.steps[::-1]
        lines.append(f"  loop {loop.axis.name} = {lo}, ..., {hi}: {_sorts(counts[-1])} a step")
        lines.append(f"    it is a loop because {'; '.join(loop.through) or 'nothing is hoisted'}")
        if affine(program, loop):
            lines.append("    affine in its own past, element by element: may run as a blocked scan, ")
            lines[-1] += "equal to the loop within rounding"
        lines += [f"    {text}" for text in _products(writer, loop.body)]
    kept = None
    if costs is not None:
        names = _crossing(program)
        kept = sum(costs.names.get(n, 0) for n in names)
        lines.append(f"  memory at {at}: {amount(costs.arena + costs.results)} at most")
        lines.append(f"    buffers {amount(costs.arena)}, results {amount(costs.results)}")
        lines.append(f"    kept from one loop to another {amount(kept)}: {', '.join(map(visible, names)) or 'nothing'}")
        largest = sorted(costs.names.items(), key=lambda item: (-item[1], item[0]))[:LISTED]
        shown = (f"{visible(name.removeprefix('~'))} {amount(n)}" for name, n in largest)
        lines.append(f"    largest: {', '.join(shown)}")
        lines += [f"  {remark}" for remark in costs.remarks]
    products, kernels, others = zip(*counts, strict=True)
    memory = None if costs is None else costs.arena + costs.results
    return Report("\n".join(lines), products, kernels, others, kept, memory)


def _count(steps: Sequence[Step]) -> tuple[int, int, int]:
    products = kernels = others = 0
    fused: set[int] = set()
    for _, step in walk(tuple(steps)):
        if isinstance(step, Fuse):
            kernels += 1
            fused.update(map(id, step.body))
        elif isinstance(step, Compute) and id(step) not in fused:
            products += step.equation.op in PRODUCTS
            others += step.equation.op not in PRODUCTS
    return products, kernels, others


def _sorts(counts: tuple[int, int, int]) -> str:
    names = ("product", "kernel", "other statement")
    parts = [f"{n} {name}{'' if n == 1 else 's'}" for n, name in zip(counts, names, strict=True) if n]
    return ", ".join(parts) or "nothing"


def _products(writer: EquationWriter, steps: Sequence[Step]) -> list[str]:
    return [
        f"{s.equation.out} {'+=' if s.mode == 'add' else '='} {writer.right(shown(s))}"
        for _, s in walk(tuple(steps))
        if isinstance(s, Compute) and s.equation.op in PRODUCTS
    ]


def _crossing(program: Program) -> list[str]:
    """Names that one loop writes and another needs: what the backward pass keeps of the forward pass.

    Whether it reads them itself, or what was computed of them in between, at once over all steps.
    """
    wrote: dict[str, set[int]] = {}
    reads: dict[int, dict[str, None]] = {}
    for number, step in enumerate(program.steps):
        inside = [s for _, s in walk((step,)) if isinstance(s, Compute)]
        reads[number] = dict.fromkeys(a.ref.name for s in inside for a in s.args if isinstance(a, Access))
        for s in inside:
            wrote.setdefault(s.equation.out.name, set()).add(number)
    loops = {number for number, step in enumerate(program.steps) if isinstance(step, Repeat)}
    found: dict[str, None] = {}
    for loop in sorted(loops):
        seen, pending = {loop}, deque(reads[loop])
        while pending:
            name = pending.popleft()
            writers = wrote.get(name, set()) - seen
            if writers & loops and loop not in wrote[name]:
                found[name] = None
            for between in writers - loops:
                seen.add(between)
                pending.extend(reads[between])
    return list(found)


def amount(n: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:,.0f} {unit}" if unit == "B" else f"{n:,.1f} {unit}"
        n /= 1024
    return f"{n:,.1f} GiB"
