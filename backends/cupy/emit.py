"""Program -> plan: every statement a kernel or a product of matrices, loops and memory as the program has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...compiler.program import Program
from ...compiler.statements import Access, Compute, Fuse, Guard, Repeat, Step, by_points, row, zero_unless
from ...ir.axes import Axis, Range, running
from ...ir.system import Const, Equation, Ref, System
from ...ops.contract import PRODUCTS
from ..common import statement_queries
from ..common.contraction import contraction
from ..common.gemm_grouping import NOTHING, Group, transposed
from ..common.memory_layout import Layout, LiveRanges, layouts, live_ranges, zeros
from ..common.symbolic_size import BATCH, EXAMPLES, ONE, ZERO, Size, count
from . import sums, tuning
from .cuda_source import Operand, Where, operand, prelude
from .kernels import KernelWriter, by_row
from .mixed_precision import CONVERSIONS, narrow, shortened, written
from .persistent import persistent
from .plan import Action, Launch, Need, Plan, Product, Scratch, StepLoop, touched
from .row_dots import dots, long
from .scalar_expressions import KNOWN


def unsupported(system: System) -> str:
    """The first operation that has no form here; "" if none."""
    return statement_queries.unsupported(system, KNOWN)


def emit(program: Program, dtype: str, precision: str = "float32", whole: bool = True) -> Plan:
    """The plan of a program in float32 or float64; `precision` as in `unroll.backends.base.Options`.

    whole  has loops as one kernel where they can be
    """
    return _Emitter(program, dtype, precision).emit(whole)


class _Emitter:
    def __init__(self, program: Program, dtype: str, precision: str) -> None:
        self.short = precision in CONVERSIONS
        program = shortened(program) if self.short else program
        self.program, self.system, self.dtype, self.precision = program, program.system, dtype, precision
        self.layouts = layouts(program)
        self.absent = statement_queries.local_names(program, rows=False)
        found = live_ranges(program, self.layouts, self.absent)
        given = {self.layouts[n].host for n in self.layouts if self.system.decls[n].given}
        first = {**found.first, **{h: -1 for h in given if h in found.first}}  # filled before the run
        self.live = LiveRanges(first, found.final)
        hosts = dict.fromkeys(self.layouts[n].host for n in self.layouts if n not in self.absent)
        self.hosts = tuple(h for h in hosts if h in first)
        self.scratch: dict[str, Scratch] = {}
        self.number = 0
        self.narrow = narrow(program, self.layouts) if self.short else frozenset()
        self.copies: dict[str, str] = {}
        self.first: list[Action] = []
        self.writes: set[str] = set()
        self.texts: list[str] = [prelude(dtype) + ("\n" + CONVERSIONS[precision] if self.short else "")]

    def emit(self, whole: bool) -> Plan:
        """The whole plan."""
        actions: list[Action] = []
        used: dict[str, int] = {}
        end = len(self.program.steps)
        for number in range(-1, end + 1):
            self.number = number
            for host in self.hosts:
                if min(self.live.first[host], end) == number:
                    actions += self.cleared(host)
            if 0 <= number < end:
                step = self.program.steps[number]
                self.first, self.writes = [], written(step, self.layouts)
                made = self.step(step, ())
                actions += [*self.first, *made]
                used.update(dict.fromkeys(touched([*self.first, *made]), number))
                self.copies = {host: copy for host, copy in self.copies.items() if host not in self.writes}
        final = {h: at if at == end else used.get(h, self.live.first[h]) for h, at in self.live.final.items()}
        self.live = LiveRanges(self.live.first, final)  # of what has a copy, products read that alone
        done = tuple(actions)
        if whole:
            kinds = {name: scratch.kind for name, scratch in self.scratch.items()}
            done, texts = persistent(done, self.layouts, kinds, self.narrow, self.precision)
            self.texts += texts
        text, hosts = "\n".join(self.texts), (*self.hosts, *self.scratch)
        return Plan(
            text,
            done,
            self.system,
            hosts,
            self.layouts,
            self.live,
            self.dtype,
            self.scratch,
            self.precision,
            self.narrow,
        )

    def room(self, name: str, scratch: Scratch) -> None:
        """Memory for the top-level step at hand."""
        self.scratch[name] = scratch
        first = min(self.number, self.live.first.get(name, self.number))
        self.live = LiveRanges({**self.live.first, name: first}, {**self.live.final, name: self.number})

    def writer(self, name: str, where: Where) -> KernelWriter:
        """A new kernel."""
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
        return KernelWriter(f"k{len(self.texts)}_{plain}", self.layouts, where, self.dtype, self.narrow)

    # -- memory that begins as zeros ---------------------------------------------------------------------------------

    def cleared(self, host: str) -> list[Action]:
        """Zeros where the program counts on them, in a host and its parts."""
        found: list[Action] = []
        for layout, ranges, k in zeros(self.program, self.layouts, self.absent, host):
            launch = self.zero(layout, ranges)
            found.append(launch if k is None else replace(launch, needs=(Need(count(layout.axes[0]), k),)))
        return found

    def zero(self, layout: Layout, ranges: tuple[Range, ...]) -> Launch:
        """Zeros over ranges of steps."""
        ref = Ref(layout.name, tuple(running(a) for a in layout.brackets))
        return self.fill(ref, Where({}, ranges, layout.batched))

    def fill(self, ref: Ref, where: Where, number: float = 0.0) -> Launch:
        """One number wherever a left-hand side goes."""
        writer = self.writer(f"zero_{ref.name}", where)
        step = Compute(Equation(ref, "copy", (Const(number),), (), where.spans, where.batched), (Const(number),), "set")
        launch = writer.points([step], ())
        self.texts.append(writer.k.text())
        return launch

    # -- steps -------------------------------------------------------------------------------------------------------

    def step(self, step: Step, loops: tuple[Repeat, ...]) -> list[Action]:
        """One step; loops nest no deeper than there are axes."""
        if isinstance(step, Compute):
            return self.guarded([step], (), loops)
        if isinstance(step, Fuse):
            return self.guarded(step.body, step.inner, loops)
        body = [a for inner in step.body for a in self.step(inner, (*loops, step))]
        return [StepLoop(step.axis, step.direction, step.steps, tuple(body))]

    def guarded(self, body: Sequence[Compute], inner: Sequence[str], loops: tuple[Repeat, ...]) -> list[Action]:
        """Statements over the same points, each left out at steps of a loop that lie outside its domain."""
        e, shifts = body[0].equation, dict(body[0].offsets)
        axes: dict[Axis, int] = {loop.axis: shifts[loop.axis] for loop in loops}
        where = Where(axes, statement_queries.spans(self.system, e, axes), e.batched)
        inside, always = statement_queries.conditional(body, loops)
        if exists := zero_unless(body[0]):
            return self.or_zero(body[0], inner, where, inside, exists)
        if not inside:
            return self.write(body, inner, where)
        found = [replace(a, guards=inside) for a in self.write(body, inner, where) if isinstance(a, (Launch, Product))]
        if not always:
            return list(found)
        rest = [a for a in self.write(always, inner, where) if isinstance(a, (Launch, Product))]
        return [*found, *(replace(a, guards=outside) for a in rest for outside in _outside(inside))]

    def or_zero(self, step: Compute, inner: Sequence[str], where: Where, inside: Guard, exists: Guard) -> list[Action]:
        """A sum that may be one over no steps, at lengths at which what it reads does not exist."""
        sums = [a for a in self.write([step], inner, where) if isinstance(a, (Launch, Product))]
        kept = tuple(r for r in where.spans if r.axis in step.equation.out.running)
        e, out = step.equation, self.layouts[step.equation.out.name]
        zero = self.fill(e.out, replace(where, spans=kept, batched=out.batched), statement_queries.of_nothing(step))
        found: list[Action] = [replace(a, guards=(*inside, *exists)) for a in sums]
        return [*found, *(replace(zero, guards=(*inside, *outside)) for outside in _outside(exists))]

    def write(self, body: Sequence[Compute], inner: Sequence[str], where: Where) -> list[Action]:
        """A kernel, or a product."""
        step = body[0]
        e = step.equation
        layout = self.layouts[e.out.name]
        if len(body) == 1 and not inner and e.op in PRODUCTS and (made := self.product(step, where)) is not None:
            return made
        writer = self.writer(e.out.name, where)
        rows = [r for r in (row(self.system, s) for s in body) if r is not None]
        if len(rows) == len(body) > 1 and not by_points(rows):
            launch = writer.rows(body, rows, inner)
        elif e.summed or (e.batched and not layout.batched):
            return self.summed(step, where)
        elif len(body) == 1 and by_row(step, writer.values):
            launch = writer.exponentials(step)
        elif len(body) == 1 and long(step, writer.values):
            launch = dots(writer, step)
        else:
            launch = writer.points(body, inner)
        self.texts.append(writer.k.text())
        return [launch]

    def summed(self, step: Compute, where: Where) -> list[Action]:
        """Sums over steps and examples, which blocks share where they are long and few."""
        name = step.equation.out.name
        first, second = self.writer(name, where), self.writer(f"{name}_joined", where)
        shared = sums.shared(first, step)
        scratch = f"~{name} in pieces {len(self.texts)}" if shared is not None else ""
        launch = sums.added(first, step, scratch)
        self.texts.append(first.k.text())
        if shared is None:
            return [launch]
        self.room(scratch, shared)
        alone, several = sums.times_over(launch, 1), sums.times_over(launch, tuning.BLOCKS_PER_SUM)
        joined = sums.joined(second, step, scratch)
        self.texts.append(second.k.text())
        long, few = shared.needs
        return [
            replace(alone, needs=(replace(long, above=-1, upto=long.above),)),
            replace(alone, needs=(long, replace(few, above=tuning.MAX_SHARED_SUMS, upto=None))),
            replace(several, needs=shared.needs),
            replace(joined, needs=shared.needs),
        ]

    # -- products ----------------------------------------------------------------------------------------------------

    def product(self, step: Compute, where: Where) -> list[Action] | None:
        """A contraction as products of matrices; None where it is none."""
        e = step.equation
        accesses = [x for x in step.args if isinstance(x, Access)]
        if e.combine == "max" or len(accesses) != 2:
            return None
        a, b = (operand(self.layouts, x, where) for x in accesses)
        c = operand(self.layouts, Access(e.out), where)
        if {a.kind, b.kind, c.kind} != {"float"}:
            return None
        span = [*((r.axis, count(r)) for r in where.spans), *([(EXAMPLES, BATCH)] if where.batched else [])]
        found = contraction(step, span, a, b, c)
        plan = found.matrices(together=True)
        if plan is None or (c.lead.keys() - {key for key, _ in span}):
            return None
        loops, rows, columns, deep = plan
        first, second, third = found.left, found.right, found.out
        if (columns.out != ONE and columns is not NOTHING) or (columns is NOTHING and rows.out == ONE):
            a, b, first, second = b, a, second, first
            rows, columns, deep = transposed(rows, columns, deep)
        if not (_lies(rows.left, deep.left, rows, deep) and _lies(deep.right, columns.right, deep, columns)):
            return None
        again = any(third.get(key, ZERO) == ZERO for key, _ in loops)
        if self.short:
            chosen = self.operands(a, b, c.address.host, again)
            if chosen is None:
                return None
            a, b = chosen
        moves = tuple((n, first.get(key, ZERO), second.get(key, ZERO), third.get(key, ZERO)) for key, n in loops)
        adds = step.mode == "add"
        strides = rows.left, deep.left, deep.right, columns.right, rows.out
        extents = rows.extent, columns.extent, deep.extent
        made = Product(a.address, b.address, c.address, *extents, strides, moves, adds or again)
        kept = tuple(r for r in where.spans if r.axis in e.out.running)
        clear = replace(where, spans=kept, batched=EXAMPLES in c.lead)
        nothing = () if again else (Need(deep.extent, upto=0),)  # to add up, which is no product
        before = not adds and (again or bool(deep.extent.symbols) or not deep.extent.factor)
        return [*([replace(self.fill(e.out, clear), needs=nothing)] if before else []), made]

    def operands(self, a: Operand, b: Operand, out: str, again: bool) -> tuple[Operand, Operand] | None:
        """Both factors in 16 bits, or, where one is written too often for a copy, in float32; None where they differ.

        again  several products meet in one result, which is therefore not kept in 16 bits
        """
        hosts = a.address.host, b.address.host
        if again and out in self.narrow:
            return None
        if any(host not in self.narrow and host in self.writes for host in hosts):
            return None if self.narrow & {*hosts, out} else (a, b)
        return self.copied(a), self.copied(b)

    def copied(self, x: Operand) -> Operand:
        """An operand in 16 bits; its copy is made before the top-level step at hand."""
        host = x.address.host
        if host in self.narrow:
            return x
        elements = self.layouts[host].elements
        if host not in self.copies:
            self.copies[host] = f"~{host} in 16 bits {len(self.texts)}"
            writer = self.writer(f"narrow_{host}", Where({}, (), False))
            self.first.append(writer.narrowed(host, self.copies[host], elements))
            self.texts.append(writer.k.text())
        self.room(self.copies[host], Scratch(elements, "brief"))
        return replace(x, address=replace(x.address, host=self.copies[host]))


def _lies(by_row: Size, by_column: Size, rows: Group, columns: Group) -> bool:
    """True for a matrix that a product reads as it is, by rows or by columns."""
    return ONE in (by_row, by_column, rows.extent, columns.extent)


def _outside(inside: Guard) -> list[Guard]:
    """Where one of several tests fails, as guards of which at most one holds."""
    other = {">=": "<=", "<=": ">="}
    found = []
    for n, (axis, sign, edge) in enumerate(inside):
        found.append((*inside[:n], (axis, other[sign], edge + (-1 if sign == ">=" else 1))))
    return found
