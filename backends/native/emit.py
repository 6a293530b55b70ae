"""Program -> one LLVM function: loops, kernels and products in the order of the program."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...compiler.decompose import FORMS
from ...compiler.program import Program
from ...compiler.statements import Access, Compute, Fuse, Guard, Repeat, Step, access_shape, walk, zero_unless
from ...ir.axes import Axis, Range, running, whole
from ...ir.system import Ref, System
from ...ops.contract import PRODUCTS
from ...ops.shapes import elementwise
from ..common import statement_queries
from ..common.held_steps import held_steps
from ..common.memory_layout import Layout, LiveRanges, layouts, live_ranges, zeros
from ..common.symbolic_size import BATCH, BATCH_END, EXAMPLES, ONE, PART, Size, count, features
from . import runtime_library, tuning
from .ir_builder import Code, Point, Strided, can_be_wide, collapsed
from .jit import CompiledModule
from .kernel import Kernels
from .llvm_ir import I64, POINTER, TRUE, Value
from .loop_nest import Memory, Statements, Where, keys
from .nest_printer import Nests
from .parallel_nest import Spread
from .pointwise import NAMES
from .products import Products
from .tasks import Task, TaskBuilder


@dataclass(frozen=True)
class Emitted:
    """The text of a module, the hosts in the order of the table of pointers, and what the run needs to know of them.

    held  hosts that the function ``once(pointers, sizes)`` fills, which is to run before any ``run``; so are the first
          `once` of the packs
    carried outputs that are written to where the table points behind the hosts and the packs
    tasks what the module calls, being compiled
    """

    text: str
    hosts: tuple[str, ...]
    layouts: dict[str, Layout]
    live: LiveRanges
    packs: tuple[tuple[str, Size, int], ...]
    held: frozenset[str]
    once: int
    carried: tuple[str, ...]
    tasks: list[CompiledModule]


def unsupported(system: System) -> str:
    """The first operation that has no form here; "" if none."""
    return statement_queries.unsupported(system, NAMES | FORMS.keys())


def emit(
    program: Program,
    dtype: str,
    vector_bytes: int,
    helpers: int,
    panels: bool = True,
    held: Sequence[str] = (),
    carried: Sequence[str] = (),
) -> Emitted:
    """The function ``run(pointers, sizes, stop)``: a pointer per host; the batch size, the length of each axis; a word.

    Where the word is set while it runs it ends early, and nothing that it has written means anything.

    helpers  threads that may take a share of a product, a kernel or a loop
    panels   whether matrices that stay the same in a loop are packed before it
    held     given arrays that stay as they are from call to call: what needs only these is computed once
    carried  outputs that the next call is given by the same names
    """
    return _Emitter(program, dtype, vector_bytes, helpers, panels, held).emit(carried)


class _Emitter:
    def __init__(
        self, program: Program, dtype: str, vector_bytes: int, helpers: int, panels: bool, held: Sequence[str]
    ) -> None:
        self.program, self.system, self.panels = program, program.system, panels
        self.c = Code(dtype, vector_bytes)
        self.layouts = layouts(program)
        self.absent = statement_queries.local_names(program, rows=True)
        self.live = live_ranges(program, self.layouts, self.absent)
        hosts = tuple(dict.fromkeys(self.layouts[n].host for n in self.layouts if n not in self.absent))
        self.hosts = tuple(h for h in hosts if h in self.live.first)
        self.once, self.same = held_steps(program, held) if held else ({}, set())
        self.memory = Memory(self.c, self.layouts, {})
        self.packs: list[tuple[str, Size, int]] = []
        self.tasks: list[CompiledModule] = []
        self.examples, self.number = BATCH, 0
        self.statements = Statements(self.memory, self.sums)
        self.nests = Nests(self.statements)
        self.sharing = TaskBuilder(self.c, helpers)
        self.products = Products(self.statements, self.nests, self.sharing, self.room)
        self.kernels = Kernels(self.system, self.statements, Spread(self.c, self.sharing), self.scratch)

    def enter(self, table: Value, sizes: Value) -> None:
        """At the entry of a function: the lengths, and where everything lies."""
        self.table, c = table, self.c
        c.inputs = {}
        for number, end in enumerate((BATCH_END, *(a.end for a in self.system.axes))):
            c.inputs[end] = c.entry.load(c.entry.gep(sizes, c.i64(number), I64), I64)
        names = (*self.hosts, *(name for name, _, _ in self.packs))
        self.memory.pointers = {name: self.pointer(number) for number, name in enumerate(names)}

    def emit(self, carried: Sequence[str]) -> Emitted:
        """The whole program."""
        if self.same:
            with self.function("once"):
                self.steps(self.once)
                if self.panels:
                    self.prepare(self.program.steps, lambda r: r.name in self.same)
        once = len(self.packs)
        with self.function("run"):
            self.steps(n for n in range(len(self.program.steps)) if n not in self.once)
            for host in self.hosts:
                if self.live.first[host] >= len(self.program.steps):
                    self.clear(host)
            for number, name in enumerate(carried, len(self.hosts) + len(self.packs)):
                self.carry(self.system.outputs[name], self.pointer(number))
        written = (
            s.equation.out.name for n in self.once for _, s in walk((self.program.steps[n],)) if isinstance(s, Compute)
        )
        held = frozenset(self.layouts[n].host for n in written if n not in self.absent)
        return Emitted(
            self.c.text(),
            self.hosts,
            self.layouts,
            self.live,
            tuple(self.packs),
            held,
            once,
            tuple(carried),
            self.tasks,
        )

    @contextmanager
    def function(self, name: str) -> Iterator[None]:
        """Write a function that is called with the table of pointers, the sizes and the word of a stop."""
        with self.c.function_named(name, [POINTER, POINTER, POINTER], "external") as function:
            table, sizes, self.c.stop = function.args
            self.enter(table, sizes)
            self.sharing.begin()
            yield
            self.sharing.end()
        self.flush()

    def steps(self, numbers: Iterable[int]) -> None:
        """Steps of the program, each after what it counts on to be zero."""
        for number in numbers:
            self.number = number
            for host in self.hosts:
                if self.live.first[host] == number:
                    self.clear(host)
            with self.c.going():
                self.step(self.program.steps[number], ())
            self.flush()

    def carry(self, ref: Ref, target: Value) -> None:
        """Copy an output to where it is carried."""
        c, layout = self.c, self.layouts[ref.name]
        where = Where({}, tuple(map(whole, ref.running)), layout.batched)
        inside = features(layout.shape)
        source = self.memory.operand(Access(ref), where).strided(keys(inside), layout.shape)
        strides, step, dims = {}, ONE, where.dims + inside
        for key, extent in reversed(dims):
            strides[key], step = step, step * extent
        dims, operands = collapsed(dims, [source, Strided(target, strides, layout.kind, fresh=True)])

        def at(point: Point) -> None:
            c.store(c.value(operands, point, 0), point.pointers[1], layout.kind, point.width)

        c.nest(dims, operands, at, can_be_wide(dims, operands))

    def flush(self) -> None:
        """Let LLVM begin with what has been written beside the program itself."""
        runtime_library.flush()
        module = self.c.tasks()
        if module is not None:
            runtime_library.compile_beside(module, self.tasks)

    def clear(self, host: str) -> None:
        """Zeros where the program counts on them, in a host and its parts."""
        for layout, ranges, least in zeros(self.program, self.layouts, self.absent, host):
            if least is None:
                self.zero(layout.name, ranges)
                continue
            total = self.c.size(count(layout.axes[0]))
            with self.c.when(self.c.b.icmp_signed(">", total, self.c.i64(least))):
                self.zero(layout.name, ranges)

    def zero(self, name: str, ranges: tuple[Range, ...]) -> None:
        """Zeros over ranges of steps."""
        layout = self.layouts[name]
        where = Where({}, ranges, layout.batched)
        ref = Ref(name, tuple(running(a) for a in layout.brackets))
        self.statements.fill(self.memory.operand(Access(ref), where), where, 0)

    def step(self, step: Step, loops: tuple[tuple[Repeat, Value], ...]) -> None:
        """One step; loops nest no deeper than there are axes."""
        if isinstance(step, Compute):
            self.guarded([step], (), loops)
        elif isinstance(step, Fuse):
            self.guarded(step.body, step.inner, loops)
        elif loops:
            self.repeat(step, loops)
        else:
            if self.panels:
                self.prepare_loop(step)
            self.divided(step)

    def repeat(self, loop: Repeat, loops: tuple[tuple[Repeat, Value], ...]) -> None:
        """A loop over steps."""
        c = self.c
        lo, hi = (self.memory.step(i, Where({}, (), False)) for i in loop.steps)
        start, end = (lo, hi) if loop.direction > 0 else (hi, lo)
        steps = c.b.add(c.b.sub(hi, lo), c.i64(1))
        outside, c.bounded = c.bounded, True
        past, direction = c.b.add(end, c.i64(loop.direction)), loop.direction
        with self.sharing.loop(steps), c.loop(start, past, direction, long=True) as i:
            for inner in loop.body:
                self.step(inner, (*loops, (loop, i)))
        c.bounded = outside

    def divided(self, loop: Repeat) -> None:
        """A loop over steps, its examples divided between the threads where they are many and never meet in it."""
        c = self.c
        inside = [s for _, s in walk((loop,)) if isinstance(s, Compute)]
        meet = any(not (s.equation.batched and self.layouts[s.equation.out.name].batched) for s in inside)
        if meet or not self.sharing.helpers:
            self.repeat(loop, ())
            return
        threads = self.sharing.helpers + 1
        lo, hi = (self.memory.step(i, Where({}, (), False)) for i in loop.steps)
        work = c.b.mul(c.b.sub(hi, lo), c.b.mul(c.inputs[BATCH_END], c.i64(sum(map(self.work, inside)))))
        many = c.b.icmp_signed(">=", c.inputs[BATCH_END], c.i64(threads * tuning.EXAMPLES_PER_SHARE))
        large = c.b.and_(many, c.b.icmp_signed(">=", work, c.i64(tuning.MIN_FLOPS_LOOP_TASK)))
        shares = c.b.select(large, c.i64(threads), c.i64(1))
        helped = c.b.select(large, self.sharing.no_helpers(), self.sharing.helped)

        def write(task: Task) -> None:
            saved = self.table, self.memory.pointers, self.sharing.state
            table, sizes, helps = task.pointers
            (count,) = task.sizes
            self.enter(table, sizes)
            e = c.entry
            unit = e.mul(count, c.i64(tuning.EXAMPLES_PER_SHARE))
            each = e.mul(
                e.sdiv(e.add(c.inputs[BATCH_END], e.sub(unit, c.i64(1))), unit), c.i64(tuning.EXAMPLES_PER_SHARE)
            )
            start = c.least(e.mul(task.share, each), c.inputs[BATCH_END], e)
            c.inputs[PART] = c.least(e.sub(c.inputs[BATCH_END], start), each, e)
            for host in self.hosts:
                layout = self.layouts[host]
                if layout.batched:
                    step = e.mul(start, c.size(layout.strides[EXAMPLES]))
                    self.memory.pointers[host] = e.gep(self.memory.pointers[host], step, c.memory(layout.kind))
            alone = e.select(e.icmp_signed("==", count, c.i64(1)), c.i64(threads), c.i64(1))
            self.sharing.state = helps, alone, task.share
            self.examples = Size(1, ((PART, 0),))
            self.repeat(loop, ())
            self.examples = BATCH
            self.table, self.memory.pointers, self.sharing.state = saved

        table, sizes, _ = c.function.args
        self.sharing.run((table, sizes, helped), (shares,), shares, large, write)

    def work(self, step: Compute) -> int:
        """How long a statement takes for one example, in multiplications of a product."""
        shapes = [access_shape(self.system, a) for a in step.args if isinstance(a, Access)]
        most = max((math.prod(s) for s in (*shapes, self.layouts[step.equation.out.name].shape)), default=1)
        return most if step.equation.op in PRODUCTS else tuning.FLOPS_PER_POINTWISE * most

    def prepare_loop(self, loop: Repeat) -> None:
        """Before a loop: pack the matrices that stay the same in it."""
        inside = [s for _, s in walk((loop,))]
        axes = {s.axis for s in inside if isinstance(s, Repeat)}
        written = {self.layouts[s.equation.out.name].host for s in inside if isinstance(s, Compute)}
        self.prepare((loop,), lambda r: self.layouts[r.name].host not in written and not axes.intersection(r.running))

    def prepare(self, steps: Sequence[Step], same: Callable[[Ref], bool]) -> None:
        """Pack the matrices that stay the same and are not packed yet."""
        for step in steps:
            axes = [s.axis for _, s in walk((step,)) if isinstance(s, Repeat)]
            for s in (s for _, s in walk((step,)) if isinstance(s, Compute)):
                if s.equation.op not in PRODUCTS or self.products.is_packed(s):
                    continue
                refs = [a.ref for a in s.args if isinstance(a, Access)]
                invariant = [len(refs) == 2 and same(r) for r in refs]
                if any(invariant) and not all(invariant):
                    spans = statement_queries.spans(self.system, s.equation, axes)
                    where = Where(dict.fromkeys(axes, self.c.i64(0)), spans, s.equation.batched)
                    with self.c.when(self.holds(s.exists if refs[invariant.index(True)].index else (), {})):
                        self.products.prepare(s, where, invariant)

    def room(self, elements: int) -> str:
        """Memory for a product during one step of the program."""
        name = f"~pack {len(self.packs)}"  # no name of a user's begins with a tilde
        self.packs.append((name, Size(elements), self.number))
        self.memory.pointers[name] = self.pointer(len(self.hosts) + len(self.packs) - 1)
        return name

    def sums(self, elements: Size) -> Value:
        """Memory for a long sum during one step of the program, so many elements for each thread."""
        each = Size(elements.factor, tuple((BATCH_END if end == PART else end, k) for end, k in elements.symbols))
        self.packs.append((f"~sums {len(self.packs)}", each * Size(self.sharing.helpers + 1), self.number))
        memory = self.pointer(len(self.hosts) + len(self.packs) - 1)
        return self.c.moved(memory, "float", self.c.times(self.sharing.outer, each))

    def scratch(self, size: int) -> Value:
        """Memory for the rows of kernels during one step of the program, so many bytes for each thread."""
        name = f"~rows {self.number}"
        elements = -(-size * (self.sharing.helpers + 1) // self.c.bytes["float"])
        known = [n for n, (other, _, _) in enumerate(self.packs) if other == name]
        if known:
            self.packs[known[0]] = name, Size(max(elements, self.packs[known[0]][1].factor)), self.number
        else:
            self.packs.append((name, Size(elements), self.number))
        self.memory.pointers[name] = self.pointer(len(self.hosts) + (known[0] if known else len(self.packs) - 1))
        return self.memory.pointers[name]

    def pointer(self, number: int) -> Value:
        """An entry of the table of pointers."""
        return self.c.entry.load(self.c.entry.gep(self.table, self.c.i64(number), POINTER), POINTER)

    def guarded(self, body: Sequence[Compute], inner: Sequence[str], loops: tuple[tuple[Repeat, Value], ...]) -> None:
        """Statements over the same points, each left out at steps of a loop that lie outside its domain."""
        c, e, offsets = self.c, body[0].equation, dict(body[0].offsets)
        running = {loop.axis: i for loop, i in loops}
        steps = {a: c.b.add(i, c.i64(offsets[a])) if offsets[a] else i for a, i in running.items()}
        where = Where(steps, statement_queries.spans(self.system, e, steps), e.batched, self.examples)
        condition, always = statement_queries.conditional(body, [loop for loop, _ in loops])
        if not condition:
            self.settled(body, inner, where)
            return
        inside = self.holds(condition, running)
        if not always:
            with c.when(inside):
                self.settled(body, inner, where)
            return
        with c.b.if_else(inside) as (here, elsewhere):
            with here:
                self.settled(body, inner, where)
            with elsewhere:
                self.settled(always, inner, where)

    def settled(self, body: Sequence[Compute], inner: Sequence[str], where: Where) -> None:
        """A kernel or a statement; a sum that is one over no steps, at lengths that lack what it reads, is zero."""
        step = body[0]
        if not zero_unless(step):
            self.write(body, inner, where)
            return
        with self.c.b.if_else(self.holds(zero_unless(step), {})) as (there, gone):
            with there:
                self.write(body, inner, where)
            with gone:
                target = self.statements.left(step, where)
                self.statements.fill(target, where, statement_queries.of_nothing(step))

    def holds(self, conditions: Guard, running: Mapping[Axis, Value]) -> Value:
        """Whether all of a guard holds."""
        none, found = Where({}, (), False), TRUE
        for subject, sign, edge in conditions:
            step = running[subject] if isinstance(subject, Axis) else self.memory.step(subject, none)
            found = self.c.b.and_(found, self.c.b.icmp_signed(sign, step, self.memory.step(edge, none)))
        return found

    def write(self, body: Sequence[Compute], inner: Sequence[str], where: Where) -> None:
        """A kernel, or one statement by its operation."""
        step = body[0]
        e = step.equation
        layout = self.layouts[e.out.name]
        if len(body) > 1 or inner:
            self.kernels.write(body, inner, where)
        elif e.op in PRODUCTS:
            self.products.write(step, where)
        elif e.operation.family is elementwise and not (e.summed or e.batched != layout.batched or e.combine == "max"):
            self.kernels.write(body, inner, where)
        else:
            self.nests.write(step, where)
