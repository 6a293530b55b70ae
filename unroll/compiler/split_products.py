"""Products split where that takes work out of a loop: by parts of a concatenated vector, by the rows read.

``W @ concat([h[t-1], x[t]])`` becomes ``W[:, 0:n] @ h[t-1] + W[:, n:] @ x[t]``, and of ``(W.T @ g[t])[0:n]``, which is
what the adjoint makes of it, only those rows are computed. Here too is what `merge_products` needs to know of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Any

from ..dependence.analysis import analysis
from ..ir.axes import running
from ..ir.coverage import steps_of, within
from ..ir.names import is_cotangent, primal
from ..ir.rewrite import live, with_equations
from ..ir.system import Decl, Domain, Equation, Ref, System, exact
from ..ops.core import OPS

Attrs = tuple[tuple[str, Any], ...]
FEW = 4
"""Products that add up to one value, or slices read of it, beyond which they stay: their number is multiplied."""


class Loops:
    """Which equations depend on themselves, and how far each stands from what is given."""

    def __init__(self, system: System) -> None:
        known = analysis(system)
        edges, groups = [(d.producer, d.consumer) for d in known.edges], known.components
        self.component = {n: number for number, members in enumerate(groups) for n in members}
        before: dict[int, list[int]] = {}
        self.recurring: set[int] = set()
        for producer, consumer in edges:
            a, b = self.component[producer], self.component[consumer]
            before.setdefault(b, []).append(a)
            if a == b:
                self.recurring.add(a)
        depth = [0] * len(groups)
        for number in range(len(groups)):
            depth[number] = max((1 + depth[a] for a in before.get(number, ()) if a != number), default=0)
        self.depth = {n: depth[number] for n, number in self.component.items()}
        self.of: dict[str, set[int]] = {}  # a name with boundaries has equations in several components
        for n, e in enumerate(system.equations):
            if self.component[n] in self.recurring:
                self.of.setdefault(e.out.name, set()).add(self.component[n])

    def loop(self, n: int) -> int:
        """The number of the loop around equation `n`, or -1."""
        return self.component[n] if self.component[n] in self.recurring else -1


@dataclass(frozen=True)
class MatrixProduct:
    """``matrix @ vector`` (`left`) or ``vector @ matrix``, of a matrix that is the same at all steps and examples."""

    matrix: str
    vector: Ref
    left: bool


class Draft:
    """A system being rewritten.

    invariant  names that are the same at every step and for every example, each with the equation that makes it
    made   temporaries that may serve again, by what they hold
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.decls = dict(system.decls)
        self.ahead: dict[int, list[Equation]] = {}
        self.instead: dict[int, tuple[Equation, ...]] = {}
        self.invariant = _invariants(system)
        self.made: dict[object, Ref] = {
            (e.op, e.refs, e.attributes): Ref(name)
            for name, e in self.invariant.items()
            if e is not None and e.op in ("concat", "slice", "transpose")
        }
        self.count = 0

    def product(self, e: Equation) -> MatrixProduct | None:
        """An equation seen as the product with a loop-invariant matrix."""
        if e.op != "matmul" or e.combine != "sum":
            return None
        a, b = e.args
        if not isinstance(a, Ref) or not isinstance(b, Ref) or (a.name in self.invariant) == (b.name in self.invariant):
            return None
        matrix, vector = (a, b) if a.name in self.invariant else (b, a)
        if len(self.decls[matrix.name].shape) != 2:
            return None
        return MatrixProduct(matrix.name, vector, matrix is a)

    def declare(self, serves: str, mark: str, shape: tuple[int, ...], domain: Domain, batched: bool) -> Ref:
        """A new temporary over the axes of a domain, named after the variable it serves."""
        owner, _, rest = serves.partition(".")
        owner += "~" if is_cotangent(rest) and not owner.endswith("~") else ""
        name = f"{owner}.{mark}"
        while name in self.decls:
            self.count += 1
            name = f"{owner}.{mark}{self.count}"
        axes = tuple(a for a in self.system.axes if any(r.axis == a for r in domain))
        self.decls[name] = Decl(name, "temporary", shape, "float", axes, batched, primal(owner) or None)
        return Ref(name, tuple(running(a) for a in axes))

    def once(self, n: int, op: str, names: Sequence[str], attrs: Attrs) -> str:
        """A matrix made of loop-invariant ones, the same wherever it is needed; `n` is the equation that needs it."""
        args = tuple(map(Ref, names))
        key = (op, args, exact(attrs))
        if key not in self.made:
            e = self.system.equations[n]
            shape = OPS[op].family.shape([self.decls[name].shape for name in names], dict(attrs))
            out = self.made[key] = self.declare(names[0], "s", shape, (), False)
            self.invariant[out.name] = Equation(out, op, args, attrs, source=e.source)
            self.before(n, Equation(out, op, args, attrs, source=e.source))
        return self.made[key].name

    def rows(self, n: int, p: MatrixProduct, lo: int, hi: int, inner: bool) -> str:
        """The part of a product's matrix that makes the elements lo..hi of the result, or (`inner`) that meets them."""
        axis = int(p.left == inner)
        if (lo, hi) == (0, self.decls[p.matrix].shape[axis]):
            return p.matrix
        return self.once(n, "slice", (p.matrix,), (("parts", between(lo, hi, axis)),))

    def before(self, n: int, *equations: Equation) -> None:
        """Equations that stand before equation `n` or what replaces it."""
        self.ahead.setdefault(n, []).extend(equations)

    def replace(self, n: int, *equations: Equation) -> None:
        """Equations in the place of equation `n`; none to leave it out."""
        self.instead[n] = equations

    def result(self) -> System:
        """The system rewritten, without what nothing reads any more."""
        if not self.instead:
            return self.system
        equations: list[Equation] = []
        for n, e in enumerate(self.system.equations):
            equations += self.ahead.get(n, ())
            equations += self.instead.get(n, (e,))
        read = {r.name for e in self.system.equations for r in e.refs}
        kept = {n for n in self.system.decls if n not in read}
        kept |= {r.name for r in self.system.outputs.values()} | ({self.system.loss} if self.system.loss else set())
        drafted = replace(self.system, decls=self.decls, equations=tuple(equations))
        names = live(drafted, sorted(kept))
        decls = {n: d for n, d in self.decls.items() if n in names or d.kind not in ("temporary", "cotangent")}
        return replace(drafted, decls=decls, equations=tuple(e for e in equations if e.out.name in names))


def between(lo: int, hi: int, axis: int) -> tuple[tuple[int | None, int | None, None], ...]:
    """The parts of a slice lo:hi along an axis counted from the front."""
    return (*((None, None, None),) * axis, (lo, hi, None))


def _invariants(system: System) -> dict[str, Equation | None]:
    """Names of floats that are the same at every step and for every example, computed from params and constants alone.

    With each the equation that makes it, None where it is given.
    """
    invariant: dict[str, Equation | None] = {
        n: None
        for n, d in system.decls.items()
        if d.kind in ("param", "constant") and d.dtype == "float" and not d.axes
    }
    readers: dict[str, list[Equation]] = {}
    missing: dict[str, int] = {}
    for name, writers in system.writers.items():
        e = writers[0] if len(writers) == 1 else None
        if e is None or name in invariant or e.domain or e.batched or system.decls[name].axes or e.combine != "sum":
            continue
        names = {r.name for r in e.refs}
        missing[name] = len(names)
        for read in names:
            readers.setdefault(read, []).append(e)
    pending = list(invariant)
    while pending:
        for e in readers.get(pending.pop(), ()):
            missing[e.out.name] -= 1
            if not missing[e.out.name] and system.decls[e.out.name].dtype == "float":
                invariant[e.out.name] = e
                pending.append(e.out.name)
    return invariant


def split(system: System) -> System:
    """The system with products taken apart, and einsum written as a product of a matrix where it is one."""
    system = with_equations(system, [_plain(e) if e.op == "einsum" else e for e in system.equations])
    return _narrow(_tile(_apart(system)))


def _plain(e: Equation) -> Equation:
    a, b = e.args
    if not isinstance(a, Ref) or not isinstance(b, Ref):
        return e
    spec = str(dict(e.attrs)["spec"]).replace(" ", "")
    one, _, out = spec.partition("->")
    i, _, j = one.partition(",")
    forms = {
        (len(i) == 2 and len(j) == 1 and i[1] == j and out == i[0]): ("matmul", a, b),
        (len(i) == 2 and len(j) == 1 and i[0] == j and out == i[1]): ("matmul", b, a),
        (len(i) == 1 and len(j) == 2 and j[0] == i and out == j[1]): ("matmul", a, b),
        (len(i) == 1 and len(j) == 2 and j[1] == i and out == j[0]): ("matmul", b, a),
        (len(i) == len(j) == 1 and i != j and out == i + j): ("outer", a, b),
        (len(i) == len(j) == 1 and i != j and out == j + i): ("outer", b, a),
    }
    form = forms.get(True)
    return replace(e, op=form[0], args=form[1:], attrs=()) if form else e


def _apart(system: System) -> System:
    """Products with a joined vector, some parts of which recur and others do not."""
    concats = [e.out.name for e in system.equations if e.op == "concat" and len(system.decls[e.out.name].shape) == 1]
    joined = {name: e for name in concats if (e := system.sole(name)) is not None}
    if not joined:
        return system
    draft = Draft(system)
    found = [
        (n, p)
        for n, e in enumerate(system.equations)
        if (p := draft.product(e)) is not None
        and p.vector.name in joined
        and within(system, e, p.vector, joined[p.vector.name])
    ]
    if not found:
        return system
    loops = Loops(system)
    for n, p in found:
        e, whole = system.equations[n], joined[p.vector.name]
        steps = steps_of(whole.out, p.vector)
        parts = [r.substitute(steps) for r in whole.refs]
        recurs = [loops.loop(n) in loops.of.get(r.name, ()) for r in parts]
        if all(recurs) or not any(recurs):
            continue
        ends = list(accumulate((draft.decls[r.name].shape[0] for r in parts), initial=0))
        terms = []
        for _, run in groupby(range(len(parts)), key=recurs.__getitem__):
            first, *rest = run
            last = rest[-1] if rest else first
            matrix = draft.rows(n, p, ends[first], ends[last + 1], inner=True)
            vector = _joined(draft, n, parts[first : last + 1])
            terms.append(_term(draft, n, replace(p, matrix=matrix, vector=vector)))
        total = terms[0]
        for term in terms[1:-1]:
            total = _new(draft, n, "add", (total, term), draft.decls[e.out.name].shape)
        draft.replace(n, replace(e, op="add", args=(total, terms[-1]), attrs=(), label=None))
    return draft.result()


def _new(draft: Draft, n: int, op: str, args: Sequence[Ref], shape: tuple[int, ...], attrs: Attrs = ()) -> Ref:
    """A temporary of its own before equation `n`, over those axes of the domain that the operands run along."""
    e = draft.system.equations[n]
    key = (op, tuple(args), e.domain, exact(attrs))
    if key not in draft.made:
        domain = tuple(r for r in e.domain if any(r.axis in a.running for a in args))
        batched = any(draft.decls[a.name].batched for a in args)
        out = draft.made[key] = draft.declare(e.out.name, "p", shape, domain, batched)
        draft.before(n, Equation(out, op, tuple(args), attrs, domain, batched, source=e.source))
    return draft.made[key]


def _joined(draft: Draft, n: int, parts: Sequence[Ref]) -> Ref:
    size = sum(draft.decls[r.name].shape[0] for r in parts)
    return parts[0] if len(parts) == 1 else _new(draft, n, "concat", parts, (size,), (("axis", -1),))


def _term(draft: Draft, n: int, p: MatrixProduct) -> Ref:
    args = (Ref(p.matrix), p.vector) if p.left else (p.vector, Ref(p.matrix))
    return _new(draft, n, "matmul", args, draft.decls[draft.system.equations[n].out.name].shape)


def _tile(system: System) -> System:
    """A cotangent put together of slices that tile it is their concatenation."""
    if not any(e.op == "unslice" for e in system.equations):
        return system
    draft = Draft(system)
    numbers = _numbers(system)
    for name, writers in system.writers.items():
        e = writers[0] if writers else None
        if e is None or e.op != "unslice" or len(system.decls[name].shape) != 1 or e.summed:
            continue
        batched = system.decls[name].batched
        alike = all(
            (w.op, w.out, w.domain, w.batched, w.combine) == ("unslice", e.out, e.domain, batched, "sum")
            and system.decls[w.refs[0].name].batched == batched
            for w in writers
        )
        if not alike:
            continue
        pieces = sorted((bounds(system, w) or (-1, -1), n) for w, n in zip(writers, numbers[name], strict=True))
        ends = [0, *(hi for (_, hi), _ in pieces)]
        if [lo for (lo, _), _ in pieces] != ends[:-1] or ends[-1] != system.decls[name].shape[0]:
            continue
        for n in numbers[name][1:]:
            draft.replace(n)
        args = tuple(system.equations[n].args[0] for _, n in pieces)
        draft.replace(numbers[name][0], replace(e, op="concat", args=args, attrs=(("axis", -1),), label=None))
    return draft.result()


def _numbers(system: System) -> dict[str, list[int]]:
    """By name, the numbers of the equations that write it."""
    numbers: dict[str, list[int]] = {n: [] for n in system.decls}
    for n, e in enumerate(system.equations):
        numbers[e.out.name].append(n)
    return numbers


def bounds(system: System, e: Equation) -> tuple[int, int] | None:
    """lo, hi of a slice, or of an unslice, along the only axis of a vector."""
    attrs = dict(e.attrs)
    size = attrs["shape"][0] if e.op == "unslice" else system.decls[e.refs[0].name].shape[0]
    (part, *rest) = attrs["parts"]
    if isinstance(part, int) or rest or part[2] not in (None, 1):
        return None
    chosen = range(*slice(*part).indices(size))
    return (chosen.start, chosen.stop) if chosen else None


def _narrow(system: System) -> System:
    """Slices of a product that leave its loop, or that are not all of it, become products with slices of the matrix."""
    if not any(e.op == "slice" for e in system.equations):
        return system
    draft = Draft(system)
    readers: dict[str, list[int]] = {}
    for n, e in enumerate(system.equations):
        for ref in e.refs:
            readers.setdefault(ref.name, []).append(n)
    numbers = _numbers(system)
    kept = {r.name for r in system.outputs.values()} | {system.loss}
    found = {}
    for name, reading in readers.items():
        writing = [system.equations[n] for n in numbers[name]]
        if name in kept or not _sliced(system, name, writing, [system.equations[n] for n in reading]):
            continue
        products = [draft.product(e) for e in writing]
        if all(p is not None for p in products) and min(len(writing), len(reading)) <= FEW:
            found[name] = products
    if not found:
        return system
    loops = Loops(system)
    for name, products in found.items():
        reading = readers[name]
        around = {loops.loop(n) for n in numbers[name]}
        pieces = sorted(bounds(system, system.equations[n]) or (0, 0) for n in reading)
        if _all_of(pieces, system.decls[name].shape[0]):
            inside = {loops.loop(n) for n in reading}
            if around == {-1} or inside == around:
                continue
        for n in reading:
            e = system.equations[n]
            lo, hi = bounds(system, e) or (0, 0)
            terms = []
            for p, writer in zip(products, system.writers[name], strict=True):
                matrix = Ref(draft.rows(n, p, lo, hi, inner=False))  # type: ignore[arg-type]
                vector = p.vector.substitute(steps_of(writer.out, e.refs[0]))  # type: ignore[union-attr]
                args = (matrix, vector) if p.left else (vector, matrix)  # type: ignore[union-attr]
                terms.append(replace(e, op="matmul", args=args, attrs=(), label=None))
            draft.replace(n, *terms)
    return draft.result()


def _sliced(system: System, name: str, writing: list[Equation], reading: list[Equation]) -> bool:
    """True where a vector is written over one domain, by nothing summed, and read in slices alone."""
    decl = system.decls[name]
    if not writing or len(decl.shape) != 1 or decl.kind not in ("temporary", "cotangent"):
        return False
    first = writing[0]
    if any((w.out, w.domain, w.batched, w.combine) != (first.out, first.domain, decl.batched, "sum") for w in writing):
        return False
    if first.summed or not all(i.runs and not i.shift for i in first.out.index):
        return False
    return all(
        e.op == "slice"
        and e.combine == "sum"
        and not e.summed
        and bounds(system, e) is not None
        and (len(writing) == 1 or system.decls[e.out.name].kind == "cotangent")
        and within(system, e, e.refs[0], first)
        for e in reading
    )


def _all_of(pieces: Sequence[tuple[int, int]], size: int) -> bool:
    end = 0
    for lo, hi in pieces:
        if lo > end:
            return False
        end = max(end, hi)
    return end == size
