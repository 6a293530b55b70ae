"""Who reads whom, and through which params: the collapsed flows of a system with the params beside each read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..dependence.flows import Flow, Read, collapsed, operations, through, trimmed
from ..ir.axes import Axis, Range
from ..ir.names import is_hidden
from ..ir.system import Equation, Ref, System
from .edge_marks import GradientStop, cuts, is_shown_input

PRODUCTS = frozenset({"matmul", "mul", "div", "take", "einsum", "outer", "dot"})
"""Operations that stand for "through W" in a diagram when one operand is a param."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """`flow` reads `read`; `params` multiply it on the way.

    cut   where no gradient passes it
    mode  "" or what a change of mode makes of it: "truth" read in place of an output, "severed" the read it replaces
    """

    flow: Flow
    read: Read
    params: tuple[str, ...]
    cut: GradientStop | None = None
    mode: str = ""

    @property
    def source(self) -> str:
        """The name that is read."""
        return self.read.ref.name

    @property
    def target(self) -> str:
        """The name that is written."""
        return self.flow.out.name

    def delays(self) -> dict[Axis, int]:
        """Steps back (negative: ahead) along each axis that both ends run along, where they are not 0."""
        back = {}
        for index in self.read.ref.index:
            if index.axis is not None and index.runs:
                wrote = self.flow.out.shift(index.axis)
                if wrote is not None and wrote != index.shift:
                    back[index.axis] = wrote - index.shift
        return back

    @property
    def fixed(self) -> bool:
        """True for a read at a step that does not run: ``h[T]``."""
        return any(not i.runs for i in self.read.ref.index)

    @property
    def boundary(self) -> bool:
        """True where a boundary is written: ``d[0] = ...``."""
        return any(not i.runs for i in self.flow.out.index)

    @property
    def spread(self) -> bool:
        """True where many instances are read for one: a sum over an axis."""
        return bool(self.read.over)


def arrows(system: System) -> list[Arrow]:
    """Every read of a declared name by a declared name; params are not sources but stand beside the others."""
    reader = _Reader(system)
    result: list[Arrow] = []
    for flow in collapsed(system):
        beside = reader.multipliers(flow)
        stops = cuts(system, flow)
        for read in () if _is_number(system, flow.equation) else flow.reads:
            decl = system.decls[read.ref.name]
            if decl.kind not in ("param", "constant") and is_shown_input(decl):
                result.append(Arrow(flow, read, tuple(beside.get(read, ())), stops.get(read)))
    return result


def _is_number(system: System, e: Equation) -> bool:
    """True for a boundary that is a number, or that of another name which is one."""
    while e.op == "copy" and e.out.index and not e.out.running and e.refs:
        same = [w for w in system.writers[e.refs[0].name] if w.out == e.refs[0]]
        if len(same) != 1 or system.decls[e.refs[0].name].kind == "cotangent":
            return False
        (e,) = same
    return e.op == "copy" and not e.refs


def op_arrows(system: System) -> list[Arrow]:
    """Every read by every operation; params and numbers are written into the operation that takes them in."""
    fixed = ("param", "constant")
    return [
        Arrow(flow, Read(read.ref, tuple(flow.equation.range(a) for a in flow.equation.summed)), ())
        for flow in operations(system)
        for read in flow.reads
        if system.decls[read.ref.name].kind not in fixed
    ]


def forced_arrows(system: System, forced: System, truths: Mapping[str, str]) -> list[Arrow]:
    """The arrows of a teacher-forced system, and those of `system` that it has severed."""
    known = {(a.flow.out, a.read) for a in arrows(system)}
    now = arrows(forced)
    kept = {(a.flow.out, a.read) for a in now}
    fresh = [replace(a, mode="truth") if (a.flow.out, a.read) not in known else a for a in now]
    gone = [a for a in arrows(system) if a.source in truths and (a.flow.out, a.read) not in kept]
    return [*fresh, *(replace(a, mode="severed") for a in gone)]


def drawn_params(system: System, found: list[Arrow]) -> list[str]:
    """The params that stand beside some arrow, as declared."""
    used = {p for arrow in found for p in arrow.params}
    return [n for n in system.decls if n in used]


def loss_terms(system: System, found: list[Arrow]) -> tuple[Range, ...]:
    """The steps over which the loss is a plain sum, if it is one: then each step has a term of its own to draw."""
    writers = system.writers
    pending = writers.get(system.loss or "", ())
    summing: Equation | None = None
    while len(pending) == 1:
        (equation,) = pending
        if equation.summed and equation.combine == "sum":
            summing = equation
            break
        refs = equation.refs
        linear = equation.op in ("copy", "neg", "div", "mul", "reshape") and len(refs) == 1 and is_hidden(refs[0].name)
        if equation.summed or not linear or (equation.op == "div" and equation.args[0] != refs[0]):
            break
        pending = writers[refs[0].name]
    reads = [a for a in found if a.target == system.loss]
    if summing is None or not reads or system.decls[summing.out.name].axes:
        return ()
    ends = {a.end for a in summing.summed}
    if any({r.axis.end for r in a.read.over} != ends or a.fixed or len(a.read.ref.index) != len(ends) for a in reads):
        return ()
    return tuple(map(summing.range, summing.summed))


def crossed(
    found: list[Arrow], axes: Mapping[str, tuple[Axis, ...]], order: Iterable[Axis]
) -> tuple[()] | tuple[Axis, Axis]:
    """The two axes along which what runs along both is read at other steps, where there are no more; else nothing.

    axes   those of each name
    order  in which they are declared
    """
    among = [a for a in found if len(axes[a.source]) > 1 and len(axes[a.target]) > 1]
    delayed = {axis for a in among for axis in a.delays()}
    if len(delayed) != 2 or delayed != {axis for several in axes.values() for axis in several}:
        return ()
    first, second = (axis for axis in order if axis in delayed)
    return first, second


class _Reader:
    def __init__(self, system: System) -> None:
        self._decls = system.decls
        self._writers = system.writers
        self._made: dict[str, tuple[str, ...]] = {}

    def multipliers(self, flow: Flow) -> dict[Read, dict[str, None]]:
        """The params that multiply each read of a flow; an inner product hides an outer one.

        A product is followed inwards through unnamed operations. In the equation of a cotangent it is followed to
        cotangents only: ``W.T @ (h~[t+1] * (1 - h[t+1]**2))`` takes h~ through W, not h.
        """
        equation = flow.equation
        over = tuple(equation.range(a) for a in equation.summed)
        derivative = self._decls[flow.out.name].kind == "cotangent"
        found: dict[Read, dict[str, None]] = {}
        pending = [(Read(ref, over), own, own) for ref, own in self._operands(equation)]
        seen = set(pending)
        while pending:
            read, params, direct = pending.pop()
            name = read.ref.name
            if not is_hidden(name):
                if params and (direct or not derivative or self._decls[name].kind == "cotangent"):
                    found.setdefault(trimmed(read), {}).update(dict.fromkeys(params))
                continue
            for writer in self._writers[name]:
                deeper = through(read, writer)
                for inner, (_, own) in zip(deeper, self._operands(writer), strict=True):
                    step = inner, own or params, own
                    if step not in seen:
                        seen.add(step)
                        pending.append(step)
        return found

    def _operands(self, equation: Equation) -> list[tuple[Ref, tuple[str, ...]]]:
        """Each ref that an equation reads, with the params it is multiplied by right there."""
        refs = equation.refs
        if equation.op not in PRODUCTS or len(refs) < 2:
            return [(ref, ()) for ref in refs]
        made = [self._made_of(ref.name) for ref in refs]
        return [
            (ref, tuple(p for j, other in enumerate(made) if j != i for p in other) if not made[i] else ())
            for i, ref in enumerate(refs)
        ]

    def _made_of(self, name: str) -> tuple[str, ...]:
        """The params a name is made of, where it is made of nothing else: ``W``, ``W.T``, ``W[0:3]``."""
        if name not in self._made:
            leaves: dict[str, None] = {}
            pending, seen = [name], {name}
            while pending:
                found = pending.pop()
                kind = self._decls[found].kind
                if kind == "param":
                    leaves[found] = None
                elif kind != "constant" and not is_hidden(found):
                    leaves.clear()
                    break
                else:
                    fresh = [r.name for w in self._writers[found] for r in w.refs if r.name not in seen]
                    seen.update(fresh)
                    pending.extend(reversed(fresh))
            self._made[name] = tuple(leaves)
        return self._made[name]
