"""A cell of a notebook that is run again: where it writes again what it wrote, all that it wrote before goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import Source, TemplateError, message
from ..ir.details import Open
from ..ir.generated_inputs import Noise
from ..ir.names import is_hidden, numbered
from ..ir.system import Decl, Equation, Operand, Ref, visible
from ..ops.notebook import Run
from ..printing.plain import EquationWriter
from .builder import ANEW, UNASKED, Builder


def rewritten(builder: Builder, known: Source | None, source: Source | None, reads: Operand | None = None) -> bool:
    """True where a cell writes again, at `source`, what an earlier run of it wrote: all of that is withdrawn then.

    reads  what is written now reads this
    """
    run = None if source is None else source.run
    if run is None or not _earlier(run, known):
        return False
    _withdraw(builder, run, reads)
    return True


def _earlier(run: Run, source: Source | None) -> bool:
    """True for what an earlier run of the cell wrote."""
    return source is not None and run.repeats(source.run)


def _withdraw(builder: Builder, run: Run, reads: Operand | None) -> None:
    """Take out what earlier runs of a cell defined, and free the names that they declared."""
    gone = {ref for ref, source in builder.defined.items() if _earlier(run, source) and not is_hidden(ref.name)}
    builder.defined = {ref: source for ref, source in builder.defined.items() if ref not in gone}
    builder.equations = [e for e in builder.equations if e.out not in gone]
    builder.outputs = {n: ref for n, ref in builder.outputs.items() if not _earlier(run, builder.named.get(n))}
    builder.loss = None if Ref("loss") in gone else builder.loss
    builder.stop = None if any(ref.name == "stop" for ref in gone) else builder.stop
    declared = [d for d in builder.decls.values() if d.kind not in UNASKED and _earlier(run, d.source)]
    builder.withdrawn |= {d.name for d in declared if not d.automatic}
    others = [e for e in builder.equations if not is_hidden(e.out.name) or not _earlier(run, e.source)]
    used = _read(builder, others) | _held(builder) | ({reads.name} if isinstance(reads, Ref) else set())
    for name in {ref.name for ref in gone} - used:
        if isinstance(builder.opened.get(name, builder.decls[name]).detail, Open):
            _replace(builder, builder.opened[name])
    for decl in declared:
        if decl.automatic and decl.name not in used:
            _replace(builder, decl)
            del builder.decls[decl.name]
    _number_draws(builder, run)
    builder.revision += 1


def _read(builder: Builder, equations: Iterable[Equation]) -> set[str]:
    """The names that equations read, by way of temporaries too."""
    writers: dict[str, list[Equation]] = {}
    for e in builder.equations:
        writers.setdefault(e.out.name, []).append(e)
    pending, found = list(equations), set[str]()
    while pending:
        for ref in _refs(pending.pop()):
            if ref.name not in found:
                found.add(ref.name)
                pending.extend(writers.get(ref.name, ()) if is_hidden(ref.name) else ())
    return found


def _held(builder: Builder) -> set[str]:
    """The names that the user's equations define, and outputs."""
    return {ref.name for ref in (*builder.defined, *builder.outputs.values())}


def _refs(e: Equation) -> tuple[Ref, ...]:
    return (*e.refs, *(e.label.refs if e.label else ()))


def _replace(builder: Builder, decl: Decl) -> None:
    """Declare a name as something else. What was computed of it, and stands in no equation of the user's, goes."""
    builder.decls[decl.name] = decl
    lost = {decl.name}
    for e in builder.equations:  # each stands behind those of what it reads
        if is_hidden(e.out.name) and any(ref.name in lost for ref in _refs(e)):
            lost.add(e.out.name)
            del builder.decls[e.out.name]
    builder.equations = [e for e in builder.equations if e.out.name not in lost or not is_hidden(e.out.name)]


def _number_draws(builder: Builder, run: Run) -> None:
    """The draws of a run get the numbers that they would have had, had it been the first one."""
    noise = {n: d for n, d in builder.decls.items() if isinstance(d.detail, Noise)}
    own = [n for n, d in noise.items() if d.source is not None and d.source.run == run]
    taken = {d.detail.stream for n, d in noise.items() if n not in own and isinstance(d.detail, Noise)}
    for name in own:
        detail = noise[name].detail
        assert isinstance(detail, Noise)
        stream = numbered(detail.stream.rstrip("0123456789"), taken)
        taken.add(stream)
        builder.decls[name] = replace(noise[name], detail=replace(detail, stream=stream))


def redeclared(builder: Builder, decl: Decl) -> Decl:
    """The declaration of a name: where a cell declares it again and equations of other cells use it, as they know it.

    Raises TemplateError where the name is taken, or they know it as something else.
    """
    known = builder.decls.get(decl.name)
    if known is None:
        return decl
    again = rewritten(builder, known.source, decl.source)
    known = builder.decls[decl.name]
    users = [e for e in builder.equations if not is_hidden(e.out.name)]
    used = decl.name in _read(builder, users) | _held(builder)
    if used and not again:
        builder.withdrawn.discard(decl.name)
    if decl.name not in builder.withdrawn:
        return decl  # which the builder refuses
    if not used:
        _replace(builder, decl)
        return decl
    first = builder.opened.get(decl.name, known)
    sizes = isinstance(decl.detail, Open) or isinstance(known.detail, Open) or decl.shape == known.shape
    axes = decl.kind == "variable" or decl.axes == known.axes
    if not (decl.kind == known.kind and decl.dtype == first.dtype and sizes and axes):
        writer = EquationWriter(builder.draft())
        rows = [
            (writer.equation(e), e.source) for e in users if e.out.name == decl.name or decl.name in _read(builder, [e])
        ]
        was, now = _described(known), _described(decl)
        what = f"{visible(decl.name)} was a {was}, which equations of other cells use, and is a {now} now"
        raise TemplateError(message(what, *rows[:3], decl.source, fix=ANEW))
    if decl.kind != "variable":
        return decl
    detail = decl.detail if isinstance(known.detail, Open) else None
    shape = decl.shape if isinstance(known.detail, Open) else known.shape
    return replace(decl, shape=shape, dtype=known.dtype, axes=known.axes, detail=detail)


def _described(decl: Decl) -> str:
    along = f" along {', '.join(a.name for a in decl.axes)}" if decl.axes else ""
    return f"{decl.kind} of shape {decl.shape}{along}{'' if decl.dtype == 'float' else f', {decl.dtype}'}"
