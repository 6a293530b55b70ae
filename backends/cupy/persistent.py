"""Persistent kernels: a loop as one kernel whose blocks all run at once, with barriers between dependent phases.

A kernel of points that follows a product, and needs of it no more than what a block has computed itself, goes on with
that block's own rows and columns at once: an LSTM, an Elman network or either's backward pass has one barrier a step.

A loop can be one where every product in it has an operand that the loop does not change, the weights: each block keeps
its columns of them in shared memory from the first step to the last. Any other loop stays as it is, a launch for each
phase of each step; so does one whose weights do not fit the device at hand. See `grid_barrier` for the text
both rest on. It has been compiled for devices and run on an emulated one, not on a device yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ...compiler.report import amount
from ...ir.axes import Axis, Index
from ..common.memory_layout import Layout
from ..common.python_source import linear
from ..common.symbolic_size import BATCH, ONE, Size
from . import tuning
from .cuda_source import Kernel
from .grid_barrier import GRID, HARDWARE
from .plan import Action, Address, Fit, Launch, Panel, Persistent, Product, StepLoop, every, flat

Hosts = frozenset[str]
NONE: tuple[Hosts, Hosts] = (frozenset(), frozenset())
"""What phases have read and written since the last barrier: nothing."""


def persistent(
    actions: tuple[Action, ...],
    layouts: Mapping[str, Layout],
    kinds: Mapping[str, str],
    narrow: frozenset[str],
    precision: str,
) -> tuple[tuple[Action, ...], list[str]]:
    """The actions with every outermost loop that can be one kernel as such, and the text of these kernels.

    kinds      of the hosts that are no variable's
    narrow     the hosts kept in 16 bits
    precision  of products: those on chip are strict, so that any other than "float32" leaves them where they are
    """
    texts: list[str] = []

    def changed(action: Action) -> Action:
        if not isinstance(action, StepLoop):
            return action
        kernel = Kernel(f"loop{len(texts)}_{action.axis.name}", layouts, narrow)
        kernel.kinds.update(kinds)
        writer = _Loops(action, kernel)
        if (writer.products and precision != "float32") or not writer.possible():
            return replace(action, body=tuple(changed(a) for a in action.body))
        texts.append(writer.text())
        return writer.action()

    found = tuple(changed(a) for a in actions)
    return found, [HARDWARE + GRID, *texts] if texts else []


class _Loops:
    """Writes one loop, with those inside it, as a kernel."""

    def __init__(self, loop: StepLoop, kernel: Kernel) -> None:
        self.loop, self.k = loop, kernel
        self.axes = {a.axis for a in every([loop]) if isinstance(a, StepLoop)}
        self.phases = list(flat([loop]))
        self.written = frozenset(host for p in self.phases for host in _touched(p)[1])
        self.k.written.update(self.written)
        self.products = [p for p in self.phases if isinstance(p, Product)]
        self.panels: list[str] = []
        self.follows: dict[int, Launch] = {}
        for inner in every([loop]):
            body = inner.body if isinstance(inner, StepLoop) else ()
            for p, q in pairwise(body):
                if isinstance(p, Product) and isinstance(q, Launch) and self.own(p, q):
                    self.follows[id(p)] = q
        self.joined = {id(q) for q in self.follows.values()}
        self.barred: set[int] = set()
        self.hazards(loop, NONE)

    # -- whether it can be one kernel, and where it needs barriers -----------------------------------------------------

    def possible(self) -> bool:
        """True where every phase has a form here."""
        return all(not p.loops and (self.fixed(p.left) or self.fixed(p.right)) for p in self.products)

    def fixed(self, address: Address) -> bool:
        """True for an operand that is the same at every step."""
        return address.host not in self.written and not any(
            index.runs and index.axis in self.axes for index, _, _ in address.moves
        )

    def own(self, p: Product, q: Launch) -> bool:
        """True where a kernel reads of a product nothing but what its own block can compute, so that no block waits.

        Its blocks may be ahead of others that still compute: what it writes must not be what the product reads.
        """
        owner = q.owner
        if (
            owner is None
            or q.guards not in (p.guards, ())
            or not self.fixed(p.right)
            or p.rows != BATCH
            or 4 % owner.lanes
        ):
            return False
        whole = p.columns.known and p.columns.factor % owner.width == 0
        mine = owner.hosts.get(p.out.host) == (p.out.offset % owner.width, p.strides[4])
        ahead = (address for address in owner.stores if address.host == p.left.host)
        return whole and mine and p.left.host != p.out.host and all(self.apart(address, p.left) for address in ahead)

    def apart(self, a: Address, b: Address) -> bool:
        """True for two places at different steps of a loop here, in memory that has room for every step."""
        here, there = (
            {
                (i.axis, base, size): i.shift + dict(x.shifts)[i.axis]
                for i, base, size in x.moves
                if i.runs and i.axis in self.axes
            }
            for x in (a, b)
        )
        return any(key in there and there[key] != at for key, at in here.items())

    def hazards(self, loop: StepLoop, before: tuple[Hosts, Hosts]) -> tuple[Hosts, Hosts]:
        """Note the phases that must wait; what is read and written, with no barrier since, once the loop is done."""
        left = None
        while left != before:
            left = now = before
            for inner in loop.body:
                if isinstance(inner, StepLoop):
                    now = self.hazards(inner, now)
                elif isinstance(inner, (Launch, Product)) and id(inner) not in self.joined:
                    now = self.hazard(inner, now)
            before = _both(before, now)
        return before

    def hazard(self, action: Launch | Product, before: tuple[Hosts, Hosts]) -> tuple[Hosts, Hosts]:
        """The same of one phase: it waits where it meets what another has read or written."""
        reads, writes = _touched(action)
        if id(action) in self.follows:
            reads, writes = _both((reads, writes), _touched(self.follows[id(action)]))
        if reads & before[1] or writes & (before[0] | before[1]):
            self.barred.add(id(action))
        waits = id(action) in self.barred and not self.tests(self.follows.get(id(action), action))
        return (reads, writes) if waits else _both(before, (reads, writes))

    # -- its text ------------------------------------------------------------------------------------------------------

    def action(self) -> Persistent:
        """The loop as a part of a plan; after its text has been written."""
        launches = [p for p in self.phases if isinstance(p, Launch) and id(p) not in self.joined]
        tasks = tuple((p.points * Size(p.copies), p.each) for p in launches)
        given = tuple(n for n in self.k.arguments if not (n[0] == "step" and n[1] in self.axes))
        return Persistent(self.k.name, given, tuple(map(self.panel, self.products)), tasks, self.loop)

    def panel(self, p: Product) -> Panel:
        """A product with the weights as its right operand."""
        if not self.fixed(p.right):
            return Panel(p.deep, p.rows, 1, p.columns)
        after = self.follows.get(id(p))
        if after is None or after.owner is None:
            return Panel(p.deep, p.columns, 1, p.rows)
        return Panel(p.deep, Size(after.owner.width), p.columns.factor // after.owner.width, p.rows)

    def text(self) -> str:
        """The kernel."""
        k = self.k
        for axis in sorted(self.axes, key=lambda a: a.name):
            k.given("step", axis, axis.name)
        k.line("extern __shared__ Four room[];")
        k.line("unsigned target = 0;")
        k.line("if (look(barrier + 1)) return;")
        free = str(tuning.STAGED_NUMBERS)
        for p in self.products:
            self.panels.append(k.names.fresh("panel"))
            k.line(f"int {self.panels[-1]} = {free};")
            address, by_deep, by_column = (
                (p.right, p.strides[2], p.strides[3]) if self.fixed(p.right) else (p.left, p.strides[1], p.strides[0])
            )
            made = self.panel(p)
            sizes = ", ".join([*(k.size(s) for s in (by_deep, by_column, made.deep, made.units)), str(made.gates)])
            free = f"load({self.panels[-1]}, {self.start(address)}, {sizes}, down)"
        if self.products:
            k.line(f"{free};")
        k.line("__syncthreads();")
        self.loops(self.loop)
        steps = {("step", axis) for axis in self.axes}
        shown = [text for text, key in zip(k.parameters(), k.arguments, strict=True) if key not in steps]
        given = ", ".join(["unsigned* barrier", "unsigned* flag", "int down", *shown])
        head = f'extern "C" __global__ void __launch_bounds__({tuning.THREADS_PER_BLOCK}, 1) {k.name}({given}) {{'
        return "\n".join([head, *k.lines, "}", ""])

    def loops(self, loop: StepLoop) -> None:
        """A loop over its steps; they nest no deeper than there are axes."""
        k = self.k
        step = k.given("step", loop.axis, loop.axis.name)
        first, last = (self.index(i) for i in loop.steps[:: loop.direction])
        test, move = ("<=", "++") if loop.direction > 0 else (">=", "--")
        k.line("#pragma unroll 1")
        with k.block(f"for (index_t {step} = {first}; {step} {test} {last}; {step}{move})"):
            for action in loop.body:
                if isinstance(action, StepLoop):
                    self.loops(action)
                elif isinstance(action, (Launch, Product)) and id(action) not in self.joined:
                    tests = " && ".join(self.tests(self.follows.get(id(action), action)))
                    with k.block(f"if ({tests})") if tests else nullcontext():
                        self.phase(action)

    def phase(self, action: Launch | Product) -> None:
        """One kernel or one product, shared by all blocks."""
        k = self.k
        if id(action) in self.barred:
            k.line("if (arrive_and_wait(barrier, flag, target)) return;")
        if isinstance(action, Launch):
            self.launch(action)
        else:
            self.product(action)

    def launch(self, action: Launch) -> None:
        """A kernel: its function, for the points or the blocks that fall to a block here.

        A function of a block may be written for fewer threads than there are here. The others find no element of
        their own, and take part in its barriers.
        """
        k = self.k
        given = [self.given(what, which) for what, which in action.arguments]
        k.line("#pragma unroll 1")
        if action.alone:
            start, step = (
                f"(index_t)blockIdx.x * {tuning.THREADS_PER_BLOCK} + threadIdx.x",
                f"(index_t)gridDim.x * {tuning.THREADS_PER_BLOCK}",
            )
            with k.block(f"for (index_t point = {start}; point < {k.size(action.points)}; point += {step})"):
                k.line(f"{action.kernel}_body({', '.join(['point', *given])});")
            return
        part = [f"({action.part}*)room"] if action.part else []
        blocks = f"({k.size(action.points)} + {action.each - 1}) / {action.each}"
        blocks += f" * {action.copies}" if action.copies != 1 else ""
        with k.block(f"for (index_t block = blockIdx.x; block < {blocks}; block += gridDim.x)"):
            k.line(f"{action.kernel}_body({', '.join(['block', *part, *given])});")
            k.line("__syncthreads();")

    def product(self, p: Product) -> None:
        """A product of the state with the weights on chip."""
        k = self.k
        kept = next(name for name, other in zip(self.panels, self.products, strict=True) if other is p)
        left_row, left_deep, right_deep, right_column, out_row = p.strides
        address, state = p.left, (left_row, left_deep)
        out = (out_row, ONE)
        if not self.fixed(p.right):
            address, state, out = p.right, (right_column, right_deep), (ONE, out_row)
        given = [self.start(address), *(k.size(s) for s in state), kept, self.start(p.out)]
        made = self.panel(p)
        given += [*(k.size(s) for s in (*out, made.rows, made.units)), str(made.gates), k.size(made.deep), "down"]
        after = self.follows.get(id(p), p)
        called = f"multiply({', '.join(given)}, {'true' if p.adds else 'false'});"
        k.line(called if after.guards == p.guards else f"if ({' && '.join(self.tests(p))}) {called}")
        if isinstance(after, Launch):
            self.epilogue(p, after)

    def epilogue(self, p: Product, action: Launch) -> None:
        """What follows a product, for the rows and units that are this block's own."""
        k, owner = self.k, action.owner
        assert owner is not None
        units, rows = owner.width // owner.lanes, k.size(p.rows)
        wish = ("across", "some", "first", "each", "start", "n", "row", "unit")
        across, some, first, each, start, n, row, unit = map(k.names.fresh, wish)
        with k.block(""):
            k.line(f"int {across} = gridDim.x / down, {some} = share({owner.width}, {across}) / {owner.lanes};")
            k.line(f"int {first} = blockIdx.x % {across} * {some}, {each} = share({rows}, down);")
            k.line(f"int {start} = blockIdx.x / {across} * {each};")
            k.line("#pragma unroll 1")
            with k.block(f"for (int {n} = threadIdx.x; {n} < {each} * {some}; {n} += {tuning.THREADS_PER_BLOCK})"):
                k.line(f"index_t {row} = {start} + {n} / {some}, {unit} = {first} + {n} % {some};")
                given = ", ".join([f"{row} * {units} + {unit}", *(self.given(*what) for what in action.arguments)])
                k.line(f"if ({row} < {rows} && {unit} < {units}) {action.kernel}_body({given});")

    def start(self, address: Address) -> str:
        """The address at which an operand begins."""
        return " + ".join([self.k.given("host", address.host, address.host), *self.k.start(address)])

    def index(self, index: Index) -> str:
        """A fixed step, or one counted from an end."""
        return linear({self.k.end(index.anchor): 1} if index.anchor else {}, index.shift)

    def given(self, kind: str, which: Any) -> str:
        """What a kernel's function is given."""
        if kind == "count":
            return str(which)
        return self.k.given(kind, which, which.name if kind == "step" else which)

    def tests(self, action: Launch | Product) -> list[str]:
        """What must hold of the loops around a phase, and of sizes."""
        k = self.k
        found = []
        for of, sign, edge in action.guards:
            step = k.given("step", of, of.name) if isinstance(of, Axis) else self.index(of)
            found.append(f"{step} {sign} {self.index(edge)}")
        for need in action.needs if isinstance(action, Launch) else ():
            found += [f"{k.size(need.size)} > {need.above}"] if need.above >= 0 else []
            found += [f"{k.size(need.size)} <= {need.upto}"] if need.upto is not None else []
        return found


def _touched(action: Launch | Product) -> tuple[Hosts, Hosts]:
    """The hosts that a phase reads, and those that it writes."""
    if isinstance(action, Product):
        reads = {action.left.host, action.right.host, *([action.out.host] if action.adds else [])}
        return frozenset(reads), frozenset({action.out.host})
    return frozenset(str(which) for kind, which in action.arguments if kind == "host"), frozenset(action.writes)


def _both(a: tuple[Hosts, Hosts], b: tuple[Hosts, Hosts]) -> tuple[Hosts, Hosts]:
    return a[0] | b[0], a[1] | b[1]


def fit(loop: Persistent, numbers: Mapping[str, int], processors: int, room: int, item: int) -> Fit | None:
    """The blocks of a loop at one shape; None where it is better off as launches, or its weights find no room.

    processors  how many blocks run at once, one on each
    room        bytes of shared memory for a block
    item        bytes of a number

    The rows are shared as far as the room allows, since every block reads its rows of the state again at each step. A
    block with more rows than `tuning.MAX_TILE_ROWS`, or more turns than `tuning.MAX_TURNS_PER_PHASE` in a phase, would
    have so much to do that a launch costs next to nothing, while kernels of their own fill a device better.
    """
    panels = [(p.deep.at(numbers), p.units.at(numbers), p.gates, p.rows.at(numbers)) for p in loop.panels]
    turns = [-(-points.at(numbers) // each) for points, each in loop.tasks]
    if max(turns, default=0) > tuning.MAX_TURNS_PER_PHASE * processors:
        return None
    blocks = min(processors, max([1, *turns, *(-(-rows // 4) * -(-units // 4) for _, units, _, rows in panels)]))
    base = max(tuning.STAGED_NUMBERS * item if panels else 0, tuning.THREADS_PER_BLOCK * 8)
    down = min([blocks, max([1, *(-(-rows // 4) for *_, rows in panels)])])
    while True:
        across = blocks // down
        shares = [(share(deep, 1), share(units, across) * gates) for deep, units, gates, _ in panels]
        shared = base + sum(deep * wide * item for deep, wide in shares)
        if shared <= room and all(wide <= tuning.MAX_TILE_COLUMNS for _, wide in shares):
            break
        if down == 1:
            return None
        down //= 2
    low = all(share(rows, down) <= tuning.MAX_TILE_ROWS for *_, rows in panels)
    return Fit(blocks, down, shared) if low else None


def share(whole: int, parts: int) -> int:
    """The part of a whole that one of several takes at most, in fours; the kernel counts as this does."""
    return -(-whole // (4 * parts)) * 4


def remark(loop: Persistent, numbers: Mapping[str, int], item: int) -> str:
    """What `explain` says of a loop."""
    first, last = loop.loop.steps[:: loop.loop.direction]
    bytes_ = sum(p.deep.at(numbers) * p.units.at(numbers) * p.gates * item for p in loop.panels)
    weights = f", {amount(bytes_)} of weights kept on the chip," if bytes_ else ""
    return f"loop {loop.loop.axis.name} = {first}, ..., {last}: one kernel{weights} where that fits the device"
