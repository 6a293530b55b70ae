"""Program -> NumPy source: two functions, `allocate` and `run`, one line per equation with the equation beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...ir import Const, Equation, Ref
from ...ops.shapes import as_slice
from ...program import Access, Argument, Buffer, Compute, Program, Repeat, walk
from ...text import Writer
from ...timeindex import Axis, Range, fixed, last
from ..source import Names, difference, linear
from .kernels import COMPLEX, ELEMENTWISE, letters
from .operand import BATCH, Operand
from .products import Factor, flipped, plan_product

UFUNCS = {
    name: f"np.{function.__name__}"
    for name, function in ELEMENTWISE.items()
    if type(function).__name__ == "ufunc" and name not in ("copy", "cast", "stop_gradient", "sign")
}
"""Operations that NumPy computes into a given array."""

PRODUCTS = ("matmul", "dot", "outer", "einsum")
POWERS = {2: "np.square", 0.5: "np.sqrt", -1: "np.reciprocal"}


@dataclass(frozen=True)
class Source:
    """Generated text, and the functions and constants it names."""

    text: str
    scope: Mapping[str, Any]


@dataclass(frozen=True)
class _Where:
    """The place of one statement: loop variables around it, the axes it spans at once, and names that change there."""

    loops: Mapping[Axis, tuple[str, int]]
    spans: tuple[Range, ...]
    batched: bool
    changing: frozenset[str]

    @property
    def lead(self) -> tuple[str, ...]:
        return (*(r.axis.name for r in self.spans), *([BATCH] if self.batched else []))


class Emitter:
    """Writes the source of one program."""

    def __init__(self, program: Program, dtype: str, debug: bool) -> None:
        self.program, self.system = program, program.system
        self.dtype, self.debug = dtype, debug
        ends = {a.end for a in self.system.axes}
        self.names = Names({"np", "B", "given", "ws", "empty", "run", "allocate", "check", "kernel", *ends})
        self.variables = {a: self.names.fresh(a.name) for a in self.system.axes}
        self.writer = Writer(self.system, inline=False)
        self.lines: list[str] = []
        self.before: list[str] = []  # what is made once, before the outermost loop being written
        self.depth = 1
        self.memory: list[str] = []
        self.scope: dict[str, Any] = {}
        self.hoisted: dict[str, str] = {}
        self.own = dict(program.buffers)
        for name, decl in self.system.decls.items():
            if decl.kind == "cotangent" and name not in self.own:  # nobody writes it: zero
                ranges = tuple(Range(a, fixed(1), last(a)) for a in decl.axes)
                self.own[name] = Buffer(name, ranges, "all")

    def emit(self) -> Source:
        """The whole text."""
        head = self._head()
        for buffer in self.own.values():
            self._allocate(buffer)
        for step in self.program.steps:
            self.before = []
            self.hoisted = {}
            mark = len(self.lines)
            self._step(step, {}, frozenset())
            self.lines[mark:mark] = self.before
        results = [f"        {name!r}: {self._result(ref)}," for name, ref in self.system.outputs.items()]
        ends = "".join(f", {a.end}" for a in self.system.axes)
        made = [f"    ws[{key!r}] = empty(({shape}), {kind!r})" for key, shape, kind in self.memory]
        text = [
            f'"""{self.system.name!a}: generated for NumPy, {self.dtype}."""',
            "",
            f"def allocate(empty, B{ends}):",
            "    ws = {}",
            *made,
            "    return ws",
            "",
            f"def run(ws, given, B{ends}):",
            *head,
            *self.lines,
            "    return {",
            *results,
            "    }",
        ]
        return Source("\n".join(text) + "\n", self.scope)

    # -- what stands before the steps ------------------------------------------------------------------------------

    def _head(self) -> list[str]:
        lines = []
        for name, decl in self.system.decls.items():
            local = self.names(name)
            if decl.kind == "constant":
                key = self.names.fresh(f"const_{local}")
                self.scope[key] = decl.detail.astype(self.dtype) if decl.dtype == "float" else decl.detail
                lines.append(f"    {local} = {key}")
            elif decl.given and name not in self.own:
                lines.append(f"    {local} = given[{name!r}]")
            elif name in self.own:
                lines.append(f"    {local} = ws[{name!r}]")
                lines += self._cleared(self.own[name], local)
        return lines

    def _cleared(self, buffer: Buffer, local: str) -> list[str]:
        decl = self.system.decls[buffer.name]
        lines = []
        if decl.given:
            inside = ", ".join(
                _slice(difference(fixed(1), r.lo, {}), difference(last(r.axis, 1), r.lo, {})) for r in buffer.axes
            )
            lines.append(f"    {local}[{inside}] = given[{buffer.name!r}]")
        elif buffer.clear == "all":
            lines.append(f"    {local}[...] = 0")
        elif buffer.clear is not None:
            first, final = buffer.clear
            if first > 0:
                lines.append(f"    {local}[:{first}] = 0")
            if final > 0:
                lines.append(f"    {local}[-{final}:] = 0")
        return lines

    def _allocate(self, buffer: Buffer) -> None:
        decl = self.system.decls[buffer.name]
        kind = {"float": self.dtype, "int": "int64", "bool": "bool"}[decl.dtype]
        shape = [_count(r) for r in buffer.axes] + (["B"] if decl.batched else []) + [str(n) for n in decl.shape]
        self.memory.append((buffer.name, _tuple(shape), kind))

    def _result(self, ref: Ref) -> str:
        decl = self.system.decls[ref.name]
        spans = tuple(Range(i.axis, fixed(1), last(i.axis)) for i in ref.index if i.runs and i.axis is not None)
        order = tuple(r for a in decl.axes for r in spans if r.axis == a)
        return f"{self._view(Access(ref), _Where({}, order, decl.batched, frozenset())).text}.copy()"

    # -- steps -----------------------------------------------------------------------------------------------------

    def _line(self, text: str, note: str = "") -> None:
        pad = "    " * self.depth
        self.lines.append(f"{pad}{text:<{max(0, 76 - len(pad))}}  # {note}" if note else pad + text)

    def _step(
        self, step: Compute | Repeat, loops: Mapping[Axis, tuple[str, Repeat]], changing: frozenset[str]
    ) -> None:
        """One step; loops nest no deeper than there are axes."""
        if isinstance(step, Compute):
            self._compute(step, loops, changing)
            return
        variable = self.variables[step.axis]
        lo, hi = (linear(*difference(i, fixed(0), {})) for i in step.steps)
        after, under = (linear(*difference(i, fixed(0), {})) for i in (step.steps[1] + 1, step.steps[0] - 1))
        span = f"range({lo}, {after})" if step.direction > 0 else f"range({hi}, {under}, -1)"
        self._line(f"for {variable} in {span}:", "; ".join(step.through))
        inside = frozenset(s.equation.out.name for _, s in walk(step.body) if isinstance(s, Compute))
        self.depth += 1
        for inner in step.body:
            self._step(inner, {**loops, step.axis: (variable, step)}, changing | inside)
        self.depth -= 1

    def _compute(self, step: Compute, loops: Mapping[Axis, tuple[str, Repeat]], changing: frozenset[str]) -> None:
        e, offsets = step.equation, dict(step.offsets)
        where = _Where(
            {axis: (name, offsets[axis]) for axis, (name, _) in loops.items()},
            tuple(r for a in self.system.axes for r in e.domain if r.axis == a and a not in loops),
            e.batched,
            changing,
        )
        outside = []  # a loop may run over more steps than this statement's own domain
        for axis, (name, loop) in loops.items():
            r = e.range(axis).shifted(-offsets[axis])
            if r.lo != loop.steps[0]:
                outside.append(f"{name} >= {linear(*difference(r.lo, fixed(0), {}))}")
            if r.hi != loop.steps[1]:
                outside.append(f"{name} <= {linear(*difference(r.hi, fixed(0), {}))}")
        if outside:
            self._line(f"if {' and '.join(outside)}:")
        self.depth += bool(outside)
        _Statement(self, step, where).write()
        self.depth -= bool(outside)

    # -- operands --------------------------------------------------------------------------------------------------

    def operand(self, argument: Argument, where: _Where) -> Operand:
        """An argument of a statement as an operand."""
        if isinstance(argument, Const):
            return Operand(_number(argument.value), number=True)
        if isinstance(argument, Access):
            return self._view(argument, where)
        return Operand(argument.axis.end, number=True)

    def _view(self, access: Access, where: _Where) -> Operand:
        ref, decl = access.ref, self.system.decls[access.ref.name]
        buffer = self.own.get(ref.name)
        kept = {r.axis: r.lo for r in buffer.axes} if buffer else {a: fixed(1) for a in decl.axes}
        ends = {r.axis: r.hi for r in buffer.axes} if buffer else {a: last(a) for a in decl.axes}
        spans = {r.axis: r for r in where.spans}
        parts, lead, whole = [], [], set()
        moving = ref.name in where.changing
        for index, axis in zip(ref.index, decl.axes, strict=True):
            if axis not in kept:
                continue
            if index.runs and index.axis in spans:
                r = spans[index.axis]
                lo, hi = r.lo + index.shift, r.hi + index.shift
                if lo == kept[axis] and hi == ends[axis]:
                    parts.append(":")
                    whole.add(index.axis.name)
                else:
                    parts.append(_slice(difference(lo, kept[axis], {}), difference(hi + 1, kept[axis], {})))
                lead.append(index.axis.name)
            else:
                parts.append(linear(*difference(index, kept[axis], where.loops)))
                moving = moving or (index.runs and index.axis in where.loops)
        if decl.batched:
            lead.append(BATCH)
            whole.add(BATCH)
        while parts and parts[-1] == ":":
            parts.pop()
        text = self.names(ref.name)
        if parts:
            dims = sum(":" in p for p in parts) + decl.batched + len(decl.shape) + (len(kept) - len(parts))
            text += f"[{', '.join(parts)}{'' if dims else ', ...'}]"
        found = Operand(text, tuple(lead), decl.shape, moving, frozenset(whole))
        for view in access.views:
            found = _viewed(found, view.op, dict(view.attrs))
        return found

    def sizes(self, where: _Where) -> dict[str, str]:
        """The number of elements along each leading axis of a statement, as text."""
        return {**{r.axis.name: _count(r) for r in where.spans}, BATCH: "B"}

    def hoist(self, text: str, repack: bool) -> str:
        """A name for an operand made once, before the loops; in one piece where it was rearranged."""
        if text not in self.hoisted:
            name = self.names.fresh("k")
            self.hoisted[text] = name
            self.before.append(f"    {name} = np.ascontiguousarray({text})" if repack else f"    {name} = {text}")
        return self.hoisted[text]

    def scratch(self, shape: list[str], dtype: str) -> str:
        """A name for memory that one statement needs."""
        name = self.names.fresh("s")
        self.memory.append((f" {name}", _tuple(shape), dtype))
        self.before.append(f"    {name} = ws[{f' {name}'!r}]")
        return name

    def note(self, e: Equation) -> str:
        """The equation, for the margin; one line whatever the user's names hold."""
        return ascii(self.writer.equation(e))[1:-1]

    def kernel(self, op: str, ranks: list[int], attrs: Mapping[str, Any]) -> str:
        """A name for an operation that has no form of its own here."""
        name = self.names.fresh(f"{_word(op)}_")
        self.scope[name] = (op, tuple(ranks), dict(attrs))
        return name


class _Statement:
    """Writes one equation."""

    def __init__(self, emitter: Emitter, step: Compute, where: _Where) -> None:
        self.out, self.step, self.where = emitter, step, where
        self.e = step.equation
        self.attrs = dict(self.e.attrs)
        self.decl = emitter.system.decls[self.e.out.name]
        self.args = [emitter.operand(a, where) for a in step.args]
        self.summed = tuple(x for x in where.lead if not self._kept(x))
        target = replace(where, batched=self.decl.batched)
        self.target = emitter._view(Access(self.e.out), target).ordered(where.lead)
        self.lead = tuple(x for x in where.lead if x not in self.summed)

    def _kept(self, axis: str) -> bool:
        if axis == BATCH:
            return self.decl.batched
        return any(a.name == axis for a in self.e.out.running)

    def write(self) -> None:
        """The lines of the statement."""
        op = self.e.op
        if op in PRODUCTS or (op == "mul" and self.summed and self._as_product()):
            self._product()
        elif op == "scatter" and not self.lead and set(self.summed) <= set(self.args[0].lead):
            rank = self.args[0].rank - self.args[1].rank
            call = f"scatter_sum({self.args[0].text}, {self.args[1].text}, {self.attrs['size']}, {rank})"
            self._store(call, fresh=True)
        elif self.summed or self.e.combine == "max":
            self._reduced()
        else:
            self._plain()
        if self.out.debug and self.decl.dtype == "float":
            self._check()

    def _store(self, value: str, fresh: bool = False) -> None:
        """Put a value that is an expression into the left-hand side."""
        note = self.out.note(self.e)
        target = self.target.text
        if self.step.mode == "add":
            self.out._line(f"np.add({target}, {value}, out={target})", note)
        else:
            self.out._line(f"{self._all(target)} = {value}", note)

    def _all(self, target: str) -> str:
        return f"{target}[...]" if not target.endswith("]") or not self.target.lead and not self.target.shape else target

    def _into(self, write: Any) -> None:
        """Call ``write(target)`` so that the result lands in the left-hand side, added where the mode says so."""
        note = self.out.note(self.e)
        if self.step.mode == "set":
            self.out._line(write(self.target.text), note)
            return
        sizes = self.out.sizes(self.where)
        shape = [sizes[x] for x in self.target.lead] + [str(n) for n in self.decl.shape]
        scratch = self.out.scratch(shape, self.out.dtype)
        self.out._line(write(scratch), note)
        self.out._line(f"np.add({self.target.text}, {scratch}, out={self.target.text})")

    def _placed(self, rank: int | None = None) -> list[str]:
        rank = max([len(self.decl.shape), *(a.rank for a in self.args)]) if rank is None else rank
        return [a.placed(self.where.lead, rank) for a in self.args]

    def _plain(self) -> None:
        """One value per point of the left-hand side."""
        op = self.e.op
        if op in ("copy", "cast") or (op == "stop_gradient" and self.out.dtype != "complex128"):
            self._store(self._placed()[0])
            return
        ufunc = self._ufunc()
        if ufunc is not None:
            name, texts = ufunc
            if all(a.number for a in self.args):
                self._store(f"{name}({', '.join(texts)})")
            else:
                self._into(lambda target: f"{name}({', '.join(texts)}, out={target})")
            return
        self._store(self._call())

    def _ufunc(self) -> tuple[str, list[str]] | None:
        op = self.e.op
        if self.out.dtype == "complex128" and op in COMPLEX:
            return None
        texts = self._placed()
        if op == "pow" and self.args[1].number and isinstance(self.step.args[1], Const):
            power = POWERS.get(self.step.args[1].value)
            if power is not None:
                return power, texts[:1]
        if op == "relu":
            return "np.maximum", [*texts, "0"]
        return (UFUNCS[op], texts) if op in UFUNCS else None

    def _call(self) -> str:
        """An expression for the value, made by the operation's kernel."""
        ranks = [a.rank for a in self.args]
        elementwise = self.e.operation.family.name == "elementwise"
        if elementwise:
            texts, ranks = self._placed(max(ranks)), [max(ranks)] * len(ranks)
        else:
            texts = [a.placed(self.where.lead, a.rank) for a in self.args]
        name = self.out.kernel(self.e.op, ranks, self.attrs)
        value = f"{name}({', '.join(texts)})"
        missing = len(self.decl.shape) - len(self._shape())
        if missing > 0 and self._shape_lead():
            value += f"[{', '.join([':'] * len(self._shape_lead()) + ['None'] * missing)}, ...]"
        return value

    def _shape(self) -> tuple[int, ...]:
        shapes = [a.shape for a in self.args]
        return tuple(self.e.operation.family.shape(shapes, self.attrs))

    def _shape_lead(self) -> list[str]:
        """The leading axes of the operation's own result."""
        have = {x for a in self.args for x in a.lead}
        lead = list(self.where.lead)
        while lead and lead[0] not in have:
            lead.pop(0)
        return lead

    def _reduced(self) -> None:
        """Computed over the whole domain, then summed (or maximised) over the axes the left-hand side lacks."""
        shape = self._shape()
        if self.e.op in ("copy", "cast"):
            value = self._placed(len(shape))[0]
        else:
            ufunc = self._ufunc()
            value = f"{ufunc[0]}({', '.join(ufunc[1])})" if ufunc else self._call()
        have = {x for a in self.args for x in a.lead}
        lead = list(self.where.lead)
        if not set(lead) <= have:
            sizes = self.out.sizes(self.where)
            full = _tuple([sizes[x] for x in lead] + [str(n) for n in shape])
            value = f"np.broadcast_to({value}, ({full}))"
        axes = tuple(lead.index(x) for x in self.summed)
        axis = axes[0] if len(axes) == 1 else axes
        exact = shape == self.decl.shape
        if self.e.combine == "max":
            self._store(f"np.max({value}, axis={axis}, initial=-np.inf)")
        elif exact and self.step.mode == "set":
            self.out._line(f"np.sum({value}, axis={axis}, out={self.target.text})", self.out.note(self.e))
        else:
            total = f"np.sum({value}, axis={axis})"
            missing = len(self.decl.shape) - len(shape)
            if missing and self.lead:
                total += f"[{', '.join([':'] * len(self.lead) + ['None'] * missing)}, ...]"
            self._store(total)

    def _as_product(self) -> bool:
        """True where an elementwise product under a sum is a contraction: no axis of size 1 is stretched."""
        if any(a.number for a in self.args):
            return False
        for a in self.args:
            for n, m in zip(a.shape[::-1], self.decl.shape[::-1], strict=False):
                if n != m:
                    return False
        return len(self._shape()) == len(self.decl.shape)

    def _product(self) -> None:
        a, b = self.args
        if self.e.op == "mul":
            full = [f"m{i}" for i in range(len(self.decl.shape))]
            inner = [full[len(full) - x.rank :] for x in (a, b)]
            result = full
        else:
            la, lb, lo = letters(self.e.op, [a.rank, b.rank], self.attrs)
            inner, result = [list(la), list(lb)], list(lo)
        sizes = self.out.sizes(self.where)
        factors = []
        for x, names in zip((a, b), inner, strict=True):
            x = x.ordered(self.where.lead)
            factors.append(Factor(x.text, (*x.lead, *names), x.moving, x.whole | set(names)))
            sizes.update({n: str(size) for n, size in zip(names, x.shape, strict=True)})
        want = (*self.lead, *result)
        product = plan_product(*factors, want, sizes)
        left, right = product.left, product.right
        if self.where.loops and product.kind == "matmul":
            left = self.out.hoist(left, product.repack[0]) if product.hoist[0] else left
            right = self.out.hoist(right, product.repack[1]) if product.hoist[1] else right
        absent = [x for x in self.summed if x not in a.lead and x not in b.lead]
        factor = "".join(f" * {sizes[x]}" for x in absent)
        call = f"np.{product.kind}({left}, {right}"
        into = self._matrix_target(product.groups, want, sizes)
        if into is not None and product.axes == want and not factor:
            if self.step.mode == "set":
                self.out._line(f"{call}, out={into(self.target.text)})", self.out.note(self.e))
            else:
                self._into(lambda target: f"{call}, out={into(target)})")
            return
        shape = _tuple([sizes[x] for x in product.axes])
        value = f"{call}).reshape(({shape})){factor}"
        have = tuple(x for x in want if x in product.axes)
        if product.axes != have:
            value += f".transpose({', '.join(str(product.axes.index(x)) for x in have)})"
        if have != want and have:
            marks = [":" if x in have else "None" for x in want[want.index(have[0]) :]]
            value = f"({value})[{', '.join(marks)}]"
        self._store(value)

    def _matrix_target(self, groups: Any, want: tuple[str, ...], sizes: Mapping[str, str]) -> Any:
        """How the left-hand side is seen as the product's matrix without a copy; None where it cannot be."""
        if all(len(g) == 1 for g in groups):
            return lambda text: text
        mergeable = self.target.whole | {x for x in want if x not in self.where.lead}
        if self.target.text.endswith(")") or any(x not in mergeable for g in groups for x in g[1:]):
            return None
        shape = ", ".join(" * ".join(sizes[x] for x in g) or "1" for g in groups)
        return lambda text: f"{text}.reshape({shape})"

    def _check(self) -> None:
        steps = []
        spans = {r.axis: r for r in self.where.spans}
        for index in self.e.out.index:
            if index.runs and index.axis in spans:
                steps.append(f"({linear(*difference(spans[index.axis].lo + index.shift, fixed(0), {}))}, True)")
            else:
                steps.append(f"({linear(*difference(index, fixed(0), self.where.loops))}, False)")
        view = self.out._view(Access(self.e.out), replace(self.where, batched=self.decl.batched))
        self.out._line(f"check({self.e.out.name!r}, {view.text}, [{', '.join(steps)}])")


def _viewed(x: Operand, op: str, attrs: Mapping[str, Any]) -> Operand:
    lead = len(x.lead)
    if op == "transpose":
        axes = attrs.get("axes")
        order = list(range(x.rank - 1, -1, -1)) if axes is None else [a + x.rank for a in axes]
        if order == list(range(x.rank)):
            return x
        shape = tuple(x.shape[i] for i in order)
        if not lead and order == [1, 0]:
            text = flipped(x.text)
        else:
            text = f"{x.text}.transpose({', '.join(map(str, [*range(lead), *(lead + i for i in order)]))})"
        return replace(x, text=text, shape=shape, whole=frozenset())
    parts = attrs["parts"]
    shape = tuple(
        len(range(*as_slice(p).indices(n)))  # type: ignore[union-attr]
        for p, n in zip(parts, x.shape, strict=False)
        if not isinstance(p, int)
    ) + x.shape[len(parts) :]
    shown = [str(p) if isinstance(p, int) else ":".join("" if v is None else str(v) for v in p[: 2 + (p[2] is not None)]) for p in parts]
    text = f"{x.text}[{', '.join([':'] * lead + shown)}{'' if lead or shape else ', ...'}]"
    return replace(x, text=text, shape=shape, whole=frozenset())


def _number(value: Any) -> str:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"inf": "np.inf", "-inf": "-np.inf"}.get(str(value), "np.nan")
    return repr(value)


def _slice(start: tuple[Mapping[str, int], int], stop: tuple[Mapping[str, int], int]) -> str:
    """``start:stop`` that never turns negative, which Python would count from the other end."""
    texts = []
    for terms, constant in (start, stop):
        text = linear(terms, constant)
        texts.append(f"max({text}, 0)" if constant < 0 and terms else text)
    return f"{'' if texts[0] == '0' else texts[0]}:{texts[1]}"


def _count(r: Range) -> str:
    terms, constant = difference(r.hi + 1, r.lo, {})
    text = linear(terms, constant)
    if not terms:
        return text
    return f"max({text}, 0)" if constant < 0 else f"({text})" if constant else text


def _tuple(parts: list[str]) -> str:
    return ", ".join(parts) + ("," if len(parts) == 1 else "")


def _word(op: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in op)

