"""Validation: the rules a template must satisfy; each names the equation, its place, what is wrong and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..dependence.analysis import Analysis
from ..dependence.boundaries import covered, plain
from ..dependence.flows import Dependence, Flow, collapsed
from ..dependence.loop_order import NoOrder
from ..errors import AxisError, CausalityError, DoubleDefinitionError, UndefinedError, code, message
from ..ir.axes import Axis, apart
from ..ir.system import Ref, System
from ..printing.plain import EquationWriter


def check(system: System) -> System:
    """The system itself, if every rule holds. Raises a TemplateError."""
    flows = collapsed(system)
    for rule in (defined, on_their_axes, once, covered, causal):
        rule(system, flows)
    return system


def _row(system: System, flow: Flow) -> tuple[str, object]:
    return _rows(system, [flow])[0]


def _rows(system: System, flows: Iterable[Flow]) -> list[tuple[str, object]]:
    writer = EquationWriter(system)
    return [(writer.equation(f.equation), f.equation.source) for f in flows]


def defined(system: System, flows: list[Flow]) -> None:
    """Every variable that is read is defined."""
    written = {f.out.name for f in flows}
    for flow in flows:
        for read in flow.reads:
            decl = system.decls[read.ref.name]
            if decl.kind == "variable" and decl.name not in written:
                step = ", ".join(a.name for a in decl.axes) or "t"
                raise UndefinedError(
                    message(
                        f"{decl.name} is read, and no equation defines it",
                        _row(system, flow),  # type: ignore[arg-type]
                        (f"variable {decl.name}", decl.source),
                        fix=f"Add {decl.name}[{step}] = ...",
                    )
                )
    for ref in system.outputs.values():
        decl = system.decls[ref.name]
        if decl.kind == "variable" and decl.name not in written:
            raise UndefinedError(
                message(
                    f"{decl.name} is an output, and no equation defines it",
                    (f"variable {decl.name}", decl.source),
                    fix=f"Add {ref} = ...",
                )
            )


def on_their_axes(system: System, flows: list[Flow]) -> None:
    """Every bracket holds a step of its own axis."""
    for flow in flows:
        for ref in (flow.out, *(r.ref for r in flow.reads)):
            decl = system.decls[ref.name]
            if len(ref.index) != len(decl.axes):
                raise AxisError(
                    message(
                        f"{ref} has {len(ref.index)} steps, {decl.name} runs along {len(decl.axes)} axes",
                        _row(system, flow),  # type: ignore[arg-type]
                    )
                )
            for index, axis in zip(ref.index, decl.axes, strict=True):
                if index.axis is not None and index.axis.end != axis.end:
                    raise AxisError(
                        message(
                            f"{ref}: {decl.name} runs along {axis.name}, and {index} is a step of {index.axis.name}",
                            _row(system, flow),  # type: ignore[arg-type]
                            fix=f"Use {axis.name} and {axis.end} there.",
                        )
                    )


def once(system: System, flows: list[Flow]) -> None:
    """No step of a variable is defined twice."""
    least = _least(system, flows)
    by_name: dict[str, list[Flow]] = {}
    for flow in flows:
        if system.decls[flow.out.name].kind != "cotangent":
            by_name.setdefault(flow.out.name, []).append(flow)
    for same in by_name.values():
        for a, b in _pairs(same):
            if not _apart(a, b, least[a.out.name]):
                raise DoubleDefinitionError(
                    message(
                        f"{a.out} and {b.out} define one step twice",
                        _row(system, a),  # type: ignore[arg-type]
                        _row(system, b),  # type: ignore[arg-type]
                    )
                )


def _pairs(flows: list[Flow]) -> Iterator[tuple[Flow, Flow]]:
    """Those that may write one step: single steps, of which there may be thousands, are apart unless the same."""
    single: dict[Ref, Flow] = {}
    many: list[Flow] = []
    for number, flow in enumerate(flows):
        if any(i.runs for i in flow.out.index):
            yield from ((other, flow) for other in flows[:number])
            many.append(flow)
        else:
            yield from ((other, flow) for other in (*many, single.get(flow.out)) if other is not None)
            single.setdefault(flow.out, flow)


def _least(system: System, flows: list[Flow]) -> dict[str, list[int]]:
    """By name, along each of its axes the least length: a step that is set by its number exists, as `check_reads` sees.

    So what is set at step 3 stands before T+1, whatever T is.
    """
    known: dict[Axis, int] = {}
    for flow in flows:
        for index, axis in zip(flow.out.index, system.decls[flow.out.name].axes, strict=True):
            known[axis] = max(known.get(axis, 0), index.shift if index.axis is None else 0)
    return {flow.out.name: [known[a] for a in system.decls[flow.out.name].axes] for flow in flows}


def _apart(a: Flow, b: Flow, least: list[int]) -> bool:
    return any(apart(a.written(n), b.written(n), length) for n, length in enumerate(least))


def causal(system: System, flows: list[Flow]) -> None:
    """Some order of steps computes everything: no cycle without delay, no component pulled both ways."""
    try:
        _ = Analysis(flows, system.axes).order
    except NoOrder as error:
        raise _causality(system, flows, error) from None


def _causality(system: System, flows: list[Flow], error: NoOrder) -> CausalityError:
    path = list(error.cycle)
    names = [str(flows[e.producer].out) for e in path]
    rows = list(dict.fromkeys(e.consumer for e in path))
    evidence = _rows(system, (flows[n] for n in rows))
    walk = " -> ".join([*names, names[0]])
    whole = [e for e in path if e.read.over or not all(i.runs for i in e.read.ref.index)]
    if error.instant and whole:
        return _needs_all(flows, whole[0], evidence)
    if error.instant:
        what = f"{flows[path[0].producer].out.name} depends on itself within one step: {walk}"
        if any(any(e.distance.values()) for e in path):
            what = f"{flows[path[0].producer].out.name} depends on itself: the delays along {walk} add up to 0"
        last = path[-1]
        delayed = _delayed(last)
        fix = f"A cycle must cross a delay. Did you mean {delayed} in {flows[last.consumer].out.name}?"
        if "+=" in code(flows[last.consumer].equation.source):
            fix += " += reads what it defines: write the whole right side once."
        return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]
    reads = []
    for e in error.edges:
        shown = f"{flows[e.consumer].out} reads {plain(e.read.ref)}"
        if shown not in reads:
            reads.append(shown)
    what = (
        f"{', '.join(dict.fromkeys(flows[e.producer].out.name for e in error.edges))}: no order of steps exists: "
        + ("; ".join(reads))
    )
    evidence = _rows(system, (flows[n] for n in dict.fromkeys(e.consumer for e in error.edges)))
    fix = (
        "Around one group of equations all delays must point the same way along some axis, and a sum or a fixed step "
        "cannot read what depends on it. Split the two directions into variables of their own."
    )
    return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]


def _needs_all(flows: list[Flow], edge: Dependence, evidence: list[tuple[str, object]]) -> CausalityError:
    """A sum over an axis, or a step counted from its end, that depends on itself."""
    out, read = flows[edge.consumer].out, plain(edge.read.ref)
    over = ", ".join(r.axis.name.rstrip("'") for r in edge.read.over)
    how = f"the sum over {over} of {read}" if over else read
    what = f"{edge.read.ref.name} depends on itself: {out} reads {how}, which needs every step before it"
    fix = "Read an earlier step, as in h[t-1], or split off a variable that what it reads does not depend on."
    return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]


def _delayed(edge: Dependence) -> str:
    index = edge.read.ref.index
    moved = tuple(i - 1 if i.runs and position == 0 else i for position, i in enumerate(index))
    return str(Ref(edge.read.ref.name, moved))
