"""Which steps exist at given lengths: instances of a name, and what equations that matter read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import LengthError, message
from ..ir.axes import Lengths, fixed, last
from ..ir.boxes import Box, Ends, meet, numbers, uncovered
from ..ir.system import Equation, Ref, System, visible
from ..printing.plain import EquationWriter


def instances(system: System, name: str, lengths: Lengths) -> list[Box]:
    """Where a name has values: one box for each equation, and one for an array of the user's."""
    decl = system.decls[name]
    found: list[tuple[Ends, ...]] = [tuple(map(e.written, range(len(decl.axes)))) for e in system.writers[name]]
    if decl.given:
        found.append(tuple((fixed(1), last(a)) for a in decl.axes))
    return [tuple(numbers(ends, lengths) for ends in box) for box in found]


def exists(system: System, name: str, steps: Sequence[int], lengths: Lengths) -> bool:
    """True where a name has an instance at these steps."""
    return any(all(k in r for k, r in zip(steps, box, strict=True)) for box in instances(system, name, lengths))


def runs(equation: Equation, lengths: Lengths) -> bool:
    """True where an equation has a point at all: over no steps it reads nothing."""
    return all(r.steps(lengths) for r in equation.domain)


def needed(system: System, roots: Iterable[str], lengths: Lengths) -> list[Equation]:
    """The equations, in their order, from which the roots are computed at these lengths.

    What is moved out of a loop, or of a sum, is computed at lengths at which the loop has no step, and not needed then.
    """
    seen = set(roots)
    pending = list(seen)
    chosen: set[int] = set()
    while pending:
        for e in system.writers.get(pending.pop(), ()):
            if _lone(system, e) and not _read(system, e, lengths):
                continue
            chosen.add(id(e))
            for ref in e.refs if runs(e, lengths) else ():
                if ref.name not in seen:
                    seen.add(ref.name)
                    pending.append(ref.name)
    return [e for e in system.equations if id(e) in chosen]


def _lone(system: System, e: Equation) -> bool:
    """True for an addition to the cotangent of a fixed step, which may not exist at some lengths."""
    return system.decls[e.out.name].kind == "cotangent" and not all(i.runs for i in e.out.index)


def _read(system: System, e: Equation, lengths: Lengths) -> bool:
    """True if anything reads the steps that an equation writes, at these lengths.

    A step that does not exist is read by nothing. One that an example of a padded batch has beyond its own last step is
    read under a mask, whether or not the padded arrays have it.
    """
    name = e.out.name
    axes = system.decls[name].axes
    written = tuple(numbers(e.written(n), lengths) for n in range(len(axes)))
    reads: list[tuple[Ends, ...]] = [
        system.reads(reader, ref)
        for reader in system.readers.get(name, ())
        for ref in reader.refs
        if ref.name == name and runs(reader, lengths)
    ]
    shown = (ref.index for ref in system.outputs.values() if ref.name == name)
    reads += [tuple((fixed(1), last(a)) if i.runs else (i, i) for i, a in zip(at, axes, strict=True)) for at in shown]
    return any(meet(written, tuple(numbers(ends, lengths) for ends in box)) for box in reads)


def check_reads(system: System, lengths: Mapping[str, int], roots: Iterable[str] | None = None) -> None:
    """Every step read or set at a fixed place, or counted from the end, exists at these lengths. Raises LengthError.

    roots  the names that matter; by default all that have a name of their own
    """
    for e in system.equations:
        for index, axis in zip(e.out.index, system.decls[e.out.name].axes, strict=True):
            sets = system.decls[e.out.name].kind != "cotangent" and index.axis is None
            if sets and index.shift > lengths.get(axis.end, index.shift):
                raise LengthError(
                    f"{e.out} is set, and at {axis.end} = {lengths[axis.end]} it lies after the last step"
                )
    every = {a.end: 1 for a in system.axes} | dict(lengths)  # of what nothing asked for depends on, no length is told
    for e in needed(system, asked(system) if roots is None else roots, every):
        if not _ends(system, e) <= set(lengths) or not runs(e, lengths):
            continue
        for ref in e.refs:
            if system.decls[ref.name].kind in ("cotangent", "temporary") or all(i.runs for i in ref.index):
                continue
            read = tuple(numbers(ends, lengths) for ends in system.reads(e, ref))
            left = uncovered(read, instances(system, ref.name, lengths))
            if left is not None:
                at = ", ".join(f"{end} = {n}" for end, n in lengths.items())
                steps = ", ".join(str(r.start) for r in left)
                raise LengthError(
                    message(
                        f"{ref} is {visible(ref.name)}[{steps}] at {at}, and that step does not exist",
                        (EquationWriter(system).equation(e), e.source),
                        fix="Give longer sequences, or add a boundary for that step.",
                    )
                )


def _ends(system: System, e: Equation) -> set[str]:
    """The ends of all axes that an equation has to do with."""
    indices = (i for r in e.refs for i in r.index)
    return {
        *(a.end for a in e.axes),
        *(i.axis.end for i in indices if i.axis),
        *(a.end for r in e.refs for a in system.decls[r.name].axes),
    }


def asked(system: System) -> list[str]:
    """The names that a system is there for: outputs, the loss, the stop, and whatever has a name of its own."""
    special: list[Ref | str | None] = [system.loss, system.stop]
    names = [n for n in special if isinstance(n, str)]
    variables = (n for n, d in system.decls.items() if d.kind == "variable")
    return [*names, *(r.name for r in system.outputs.values()), *variables]
