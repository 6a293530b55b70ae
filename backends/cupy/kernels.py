"""Kernels in two forms: a thread for every point, a block for every row. Those that sum over steps are in `sums`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ...compiler.row_stages import staged
from ...compiler.statements import Access, Compute, Row
from ...ops.shapes import negative_axes
from ..common.memory_layout import Layout
from ..common.symbolic_size import BATCH, EXAMPLES, ONE, Dims, Key, Size, count, features, points_in
from . import tuning
from .cuda_source import Kernel, Where, operand, times
from .plan import ITEM, Launch, Owner
from .scalar_expressions import POINTWISE, Values, convert
from .vectors import PLAIN, lanes, same


def block(width: int) -> int:
    """The threads for a row: a power of two."""
    return min(tuning.THREADS_PER_BLOCK, max(tuning.WARP, 1 << (width - 1).bit_length()))


def by_row(step: Compute, values: Values) -> bool:
    """True for a stable exponential along a last axis of more than one element, at every point of a left-hand side."""
    if step.equation.op not in ("softmax", "logsumexp", "cross_entropy") or not isinstance(step.args[0], Access):
        return False
    shape = values.shape(step.args[0])
    gone = negative_axes(dict(step.equation.attrs).get("axis", (-1,)), len(shape))
    whole = values.result(step.equation, step) == values.k.layouts[step.equation.out.name].shape
    return gone == (-1,) and shape[-1] > 1 and whole


class KernelWriter:
    """Writes one kernel for one or several statements."""

    def __init__(
        self, name: str, layouts: Mapping[str, Layout], where: Where, dtype: str, narrow: frozenset[str]
    ) -> None:
        self.k = Kernel(name, layouts, narrow)
        self.where, self.dtype, self.layouts = where, dtype, layouts
        self.values = Values(self.k, where, dtype)

    def spans(self, e_batched: bool) -> Dims:
        """The dimensions that statements span, as their domains have them."""
        lead: Dims = [(r.axis, count(r)) for r in self.where.spans]
        return [*lead, *([(EXAMPLES, BATCH)] if e_batched else [])]

    def launch(self, points: Size, each: int, threads: int) -> Launch:
        """The kernel as a part of a plan."""
        k = self.k
        written, sizes = tuple(sorted(k.written)), tuple(k.sizes)
        return Launch(
            k.name,
            tuple(k.arguments),
            points,
            each,
            threads,
            written,
            k.part[0] if k.part else "",
            bool(k.each),
            sizes=sizes,
        )

    # -- a thread for every point ------------------------------------------------------------------------------------

    def points(self, body: Sequence[Compute], inner: Sequence[str]) -> Launch:
        """All statements at one point in registers; `inner` are the names that need no memory."""
        k = self.k
        out = self.layouts[body[0].equation.out.name]
        shape = max((self.layouts[s.equation.out.name].shape for s in body), key=len)
        running = set(body[0].equation.out.running)
        lead = [(key, size) for key, size in self.spans(out.batched) if key == EXAMPLES or key in running]
        n = lanes(body, inner, shape[-1], self.item(body, inner), self.values.operand) if shape else 1
        groups = (*shape[:-1], shape[-1] // n) if shape else ()
        dims = [*lead, *features(groups)]
        threads = max(tuning.THREADS_PER_BLOCK // n, tuning.MIN_THREADS_VECTORIZED)
        k.each = threads
        k.line(f"if (point >= {k.size(points_in(dims))}) return;")
        found = k.coordinates("point", dims)
        index = [found[key] for key, _ in features(groups)]
        own = self.own(body, inner, shape) if lead == [(EXAMPLES, BATCH)] and len(shape) == 1 else {}
        if n > 1:
            self.together(body, inner, found, index, n)
        for step in body if n == 1 else ():
            value = self.at(step, found, index, keep=len(body) > 1)
            self.done(step, found, index, value, step.equation.out.name not in inner)
        owner = Owner(shape[0], n, own, tuple(k.stores)) if own else None
        return replace(self.launch(points_in(dims), threads, threads), owner=owner)

    def own(self, body: Sequence[Compute], inner: Sequence[str], shape: Sequence[int]) -> dict[str, tuple[int, Size]]:
        """The hosts of `Owner`, for statements about one axis of each example."""
        if not all(s.equation.op in PLAIN for s in body):
            return {}
        found: dict[str, set[tuple[int, Size] | None]] = {}
        for access in [a for s in body for a in (*s.args, Access(s.equation.out)) if isinstance(a, Access)]:
            if access.ref.name not in inner:
                x = self.values.operand(access)
                plain = x.lead.keys() == {EXAMPLES} and x.shape == tuple(shape) and x.steps == (ONE,)
                slot = (x.address.offset % shape[0], x.lead[EXAMPLES]) if plain else None
                found.setdefault(x.address.host, set()).add(slot)
        return {host: slot for host, (slot, *more) in found.items() if slot and not more}

    def item(self, body: Sequence[Compute], inner: Sequence[str]) -> int:
        """Bytes of the smallest float that statements have in memory."""
        names = {a.ref.name for s in body for a in (*s.args, Access(s.equation.out)) if isinstance(a, Access)}
        short = any(self.layouts[n].host in self.k.narrow for n in names if n not in inner)
        return 2 if short else ITEM[self.dtype]

    def together(
        self, body: Sequence[Compute], inner: Sequence[str], lead: Mapping[Key, str], index: list[str], n: int
    ) -> None:
        """All statements at `n` points side by side: what they read first, then each point, then what they store."""
        k, held = self.k, self.values.held
        if index[-1] != "0":
            index[-1] = times(index[-1], str(n))
        ready: set[Access] = set()
        for step in body:
            target = Access(step.equation.out)
            for arg in [*step.args, *([target] if step.mode == "add" else [])]:
                if isinstance(arg, Access) and arg not in ready and arg not in held:
                    x = self.values.operand(arg)
                    if same(x):
                        text, kind = self.values.read(arg, lead, index)
                        held[arg] = k.new(kind, text, "x"), kind
                    else:
                        name = k.together(x, lead, index, n)
                        held[arg] = k.read(x.address.host, f"{name}.at[lane]"), x.kind
            ready.add(target)
        kept = [s for s in body if s.equation.out.name not in inner]
        stores = [(self.values.operand(Access(s.equation.out)), k.names.fresh("y")) for s in kept]
        for x, name in stores:
            k.line(f"{k.lanes(x, n)} {name};")
        names = {id(s): name for s, (_, name) in zip(kept, stores, strict=True)}
        k.line("#pragma unroll")
        with k.block(f"for (int lane = 0; lane < {n}; lane++)"):
            for step in body:
                value = self.at(step, lead, index, keep=False)
                self.done(step, lead, index, value, stored=False)
                if id(step) in names:
                    host = self.layouts[step.equation.out.name].host
                    k.line(f"{names[id(step)]}.at[lane] = {k.kept(host, value)};")
        for x, name in stores:
            k.put(x, lead, index, n, name)

    def at(self, step: Compute, lead: Mapping[Key, str], index: Sequence[str], keep: bool) -> str:
        """The value of a statement at a point, as a variable; `keep` has what it reads read once."""
        kind = self.layouts[step.equation.out.name].kind
        if keep and step.equation.op in POINTWISE:
            for arg in step.args:
                if isinstance(arg, Access) and arg not in self.values.held:
                    text, had = self.values.read(arg, lead, index)
                    self.values.held[arg] = self.k.new(had, text, "x"), had
        value = convert(self.values.value(step, lead, index), kind)
        if step.mode == "add":
            value = self.joined(step, self.before(step, lead, index), value)
        return self.k.new(kind, value)

    def before(self, step: Compute, lead: Mapping[Key, str], index: Sequence[str]) -> str:
        """What a left-hand side holds."""
        return self.values.read(Access(step.equation.out), lead, index)[0]

    def joined(self, step: Compute, before: str, value: str) -> str:
        """Two values of a left-hand side."""
        return self.values.join(before, value, step.equation.combine == "max")

    def done(self, step: Compute, lead: Mapping[Key, str], index: Sequence[str], value: str, stored: bool) -> None:
        """Keep the value of a statement for those that follow, and put it into memory."""
        target = Access(step.equation.out)
        self.values.held[target] = value, self.layouts[target.ref.name].kind
        if stored:
            self.k.store(operand(self.layouts, target, self.where), lead, index, value)

    def narrowed(self, host: str, copy: str, elements: Size) -> Launch:
        """A host copied to one of 16 bits."""
        k = self.k
        n = 1 if elements.factor % tuning.HALVES_PER_STORE else tuning.HALVES_PER_STORE
        threads, points = (
            max(tuning.THREADS_PER_BLOCK // n, tuning.MIN_THREADS_VECTORIZED),
            Size(elements.factor // n, elements.symbols),
        )
        k.each = threads
        k.line(f"if (point >= {k.size(points)}) return;")
        source, target = k.given("host", host, host), k.scratch(copy, "brief", written=True)
        if n == 1:
            k.line(f"{target}[point] = narrowed({source}[point]);")
            return self.launch(points, threads, threads)
        x, y = k.names.fresh("x"), k.names.fresh("y")
        k.line(f"Lanes<real, {n}> {x} = *(const Lanes<real, {n}>*)&{source}[point * {n}];")
        k.line(f"Lanes<brief, {n}> {y};")
        k.line("#pragma unroll")
        k.line(f"for (int lane = 0; lane < {n}; lane++) {y}.at[lane] = narrowed({x}.at[lane]);")
        k.line(f"*(Lanes<brief, {n}>*)&{target}[point * {n}] = {y};")
        return self.launch(points, threads, threads)

    # -- a block for every row of one operation ----------------------------------------------------------------------

    def exponentials(self, step: Compute) -> Launch:
        """A stable exponential along the last axis: its largest element, then the sum, then what was asked for."""
        k, values = self.k, self.values
        out = self.layouts[step.equation.out.name]
        (nest,) = values.nests(step)
        width, (around, along) = values.shape(step.args[0])[-1], nest.rows()
        running = set(step.equation.out.running)
        spans = [(key, size) for key, size in self.spans(out.batched) if key == EXAMPLES or key in running]
        dims: Dims = [*spans, *((loop.name, Size(loop.size)) for loop in around)]
        threads = values.threads = block(width)
        k.shares("real", "part", threads)
        k.line("index_t point = block;")
        found = k.coordinates("point", dims)
        here = {loop: found[loop.name] for loop in around}
        for x in nest.invariant():
            values.named(x, here, found)
        with ExitStack() as stack:
            if along:
                (loop,) = along
                here[loop] = stack.enter_context(k.loop(Size(width), "threadIdx.x", str(threads)))
            else:
                stack.enter_context(k.block("if (threadIdx.x == 0)"))
            made = convert(values.scalar(nest.value, here, found), out.kind)
            index = [values.index(x, here, found) for x in nest.index]
            if step.mode == "add":
                made = self.joined(step, self.before(step, found, index), made)
            k.store(operand(self.layouts, Access(step.equation.out), self.where), found, index, made)
        return self.launch(points_in(dims), 1, threads)

    # -- a block for every row ---------------------------------------------------------------------------------------

    def rows(self, body: Sequence[Compute], rows: Sequence[Row], inner: Sequence[str]) -> Launch:
        """Whole rows: along each in loops, with numbers of the row and what its reductions gave between them."""
        k = self.k
        widest = max(rows, key=lambda r: r.reads)
        wide = {id(s): r for s, r in zip(body, rows, strict=True) if r.reads > 1}
        threads = block(widest.reads)
        dims = [*self.spans(body[0].equation.batched), *features(widest.lead)]
        k.shares("real", "part", threads)
        k.line("index_t point = block;")
        found = k.coordinates("point", dims)
        lead = [found[key] for key, _ in features(widest.lead)]
        plan = staged(body, rows)
        for number, stage in enumerate(plan):
            later = [s for rest in plan[number + 1 :] for s in rest]
            if number % 2:
                self.along(stage, wide, found, lead, inner, later, Size(widest.reads), threads)
                continue
            for n, step in enumerate(stage):
                value = self.at(step, found, [*lead, "0"], keep=False)
                self.number(step, value, found, lead, inner, [*stage[n + 1 :], *later])
        return self.launch(points_in(dims), 1, threads)

    def along(
        self,
        stage: Sequence[Compute],
        wide: Mapping[int, Row],
        found: Mapping[Key, str],
        lead: list[str],
        inner: Sequence[str],
        later: Sequence[Compute],
        width: Size,
        threads: int,
    ) -> None:
        """One loop along a row, and what its reductions give."""
        k = self.k
        reductions: list[tuple[Compute, str]] = []
        for step in stage:
            if wide[id(step)].writes == 1:
                empty = "-ENDLESS" if step.equation.op == "max" else "0"
                reductions.append((step, k.new("float", empty, "sum")))
        sums = {id(step): name for step, name in reductions}
        held = dict(self.values.held)
        with k.loop(width, "threadIdx.x", str(threads)) as n:
            index = [*lead, n]
            for step in stage:
                if id(step) in sums:
                    value = convert(self.values.read(step.args[0], found, index), "float")
                    name = sums[id(step)]
                    k.line(f"{name} = {self.values.join(name, value, step.equation.op == 'max')};")
                    continue
                value = self.at(step, found, index, keep=False)
                target = Access(step.equation.out)
                read = any(target.ref.name in (a.ref.name for a in s.args if isinstance(a, Access)) for s in later)
                apart = read or read_apart(target, stage)
                self.done(step, found, index, value, target.ref.name not in inner or apart)
        self.values.held = held
        k.line("__syncthreads();")
        for step, name in reductions:
            kind = self.layouts[step.equation.out.name].kind
            value = convert((self.values.gathered(name, threads, step.equation.op == "max"), "float"), kind)
            if step.mode == "add":
                value = self.joined(step, self.before(step, found, [*lead, "0"]), value)
            self.number(step, k.new(kind, value), found, lead, inner, later)

    def number(
        self,
        step: Compute,
        value: str,
        found: Mapping[Key, str],
        lead: list[str],
        inner: Sequence[str],
        later: Sequence[Compute],
    ) -> None:
        """A number of the row is known to every thread from here on; one of them stores it, where anything reads it."""
        k, target = self.k, Access(step.equation.out)
        self.values.held[target] = value, self.layouts[target.ref.name].kind
        if target.ref.name not in inner or read_apart(target, later):
            k.line("__syncthreads();")
            with k.block("if (threadIdx.x == 0)"):
                k.store(operand(self.layouts, target, self.where), found, [*lead, "0"], value)
            k.line("__syncthreads();")


def read_apart(target: Access, body: Sequence[Compute]) -> bool:
    """True where a name is read otherwise than as it was written."""
    return any(isinstance(a, Access) and a.ref.name == target.ref.name and a != target for s in body for a in s.args)
