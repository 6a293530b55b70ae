"""Scalar expressions: the value of each operation at one point, as CUDA C++."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ...compiler.decompose import FORMS, decomposed
from ...compiler.nests import AffineIndex, Apply, Clamp, Coordinate, Load, LoopVariable, Nest, Reduce, Scalar, at, zeros
from ...compiler.statements import Access, Argument, Compute
from ...ir.system import Const, Equation
from ..common.memory_layout import Layout
from ..common.symbolic_size import Key, Size
from .cuda_source import TYPES, Kernel, Operand, Where, literal, operand, times

Typed = tuple[str, str]
"""An expression and its kind."""
LoopValues = Mapping[LoopVariable, str]
"""The values of loop variables."""

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "greater": ">", "greater_equal": ">=", "less": "<",
    "less_equal": "<=", "equal": "==", "not_equal": "!=", "logical_and": "&&", "logical_or": "||",
}  # fmt: skip
FUNCTIONS = {
    "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos",
    "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus", "abs": "size", "sign": "sign", "maximum": "larger",
    "minimum": "smaller", "pow": "pow", "floor": "floor", "round": "rint", "fmod": "fmod", "remainder": "modulo",
    "floor_divide": "floored",
}  # fmt: skip
ALIKE = ("copy", "cast", "stop_gradient")
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
POINTWISE = {*SIGNS, *FUNCTIONS, *ALIKE, "neg", "relu", "where", "isfinite", "logical_not"}
KNOWN = POINTWISE | FORMS.keys()


def convert(value: Typed, kind: str) -> str:
    """A value in another kind."""
    text, had = value
    if had == kind:
        return text
    return f"({text} != 0)" if kind == "bool" else f"({TYPES[kind]})({text})"


def pointwise(op: str, args: Sequence[Typed], kind: str) -> Typed:
    """``op(*args)`` of a kind, or of a comparison's own."""
    if op in ALIKE:
        return convert(args[0], kind), kind
    if op in COMPARISONS:
        kinds = [k for _, k in args]
        common = next(k for k in ("float", "int", "bool") if k in kinds)
        return f"({convert(args[0], common)} {SIGNS[op]} {convert(args[1], common)})", "bool"
    if op.startswith("logical"):
        values = [convert(a, "bool") for a in args]
        return (f"(!{values[0]})" if op == "logical_not" else f"({values[0]} {SIGNS[op]} {values[1]})"), "bool"
    if op == "isfinite":
        return f"is_finite({convert(args[0], 'float')})", "bool"
    if op == "where":
        return f"({convert(args[0], 'bool')} ? {convert(args[1], kind)} : {convert(args[2], kind)})", kind
    values = [convert(a, kind) for a in args]
    if op in SIGNS:
        return f"({values[0]} {SIGNS[op]} {values[1]})", kind
    if op == "neg":
        return f"(-{values[0]})", kind
    if op == "relu":
        return f"larger({values[0]}, (real)0)", kind
    return f"{FUNCTIONS[op]}({', '.join(values)})", kind


class Values:
    """Writes the values of statements into one kernel.

    held     values that the kernel has computed already, and what it has read, at the point at hand
    known    scalars of a nest that are computed already
    threads  those of a block, where they share every reduction; 0 where each thread has its own
    """

    def __init__(self, kernel: Kernel, where: Where, dtype: str) -> None:
        self.k, self.where, self.dtype = kernel, where, dtype
        self.held: dict[Access, Typed] = {}
        self.known: dict[Scalar, Typed] = {}
        self.threads = 0

    def operand(self, arg: Argument) -> Operand:
        """An operand in memory."""
        assert isinstance(arg, Access)
        return operand(self.k.layouts, arg, self.where)

    def read(self, arg: Argument, lead: Mapping[Key, str], inner: Sequence[str]) -> Typed:
        """One element of an argument, at the index `inner` of its own axes; or a number."""
        if isinstance(arg, Const):
            kind = "bool" if isinstance(arg.value, bool) else "int" if isinstance(arg.value, int) else "float"
            return literal(arg.value, kind, self.dtype), kind
        if not isinstance(arg, Access):
            return f"(whole){self.k.end(arg.axis.end)}", "int"
        if arg in self.held:
            return self.held[arg]
        x = self.operand(arg)
        return self.k.element(x, lead, inner), x.kind

    def value(self, step: Compute, lead: Mapping[Key, str], inner: Sequence[str]) -> Typed:
        """The value of a statement; `inner` is an index of its left-hand side, or ends with it."""
        layout = self.k.layouts[step.equation.out.name]
        nests, index = self.nests(step), inner[len(inner) - len(layout.shape) :]
        if nests[0].index == tuple(map(at, nests[0].loops)) and len(nests) == 1:
            return self.scalar(nests[0].value, dict(zip(nests[0].loops, index, strict=True)), lead)
        value = self.k.new(layout.kind, "0")
        for nest in nests:
            if not zeros(nest):
                self._gathered(nest, value, layout, lead, index)
        return value, layout.kind

    def nests(self, step: Compute) -> tuple[Nest, ...]:
        """What a statement is decomposed into."""
        self.known = {}
        layouts = self.k.layouts
        return decomposed(step, lambda name: layouts[name].shape, layouts[step.equation.out.name].kind)

    def shape(self, arg: Argument) -> tuple[int, ...]:
        """Per-example shape of an argument."""
        return self.operand(arg).shape if isinstance(arg, Access) else ()

    def result(self, e: Equation, step: Compute) -> tuple[int, ...]:
        """Per-example shape of a value."""
        return tuple(e.operation.family.shape([self.shape(a) for a in step.args], dict(e.attrs)))

    def join(self, before: str, value: str, largest: bool = False) -> str:
        """Two values of one left-hand side."""
        return f"larger({before}, {value})" if largest else f"{before} + {value}"

    # -- loop nests --------------------------------------------------------------------------------------------------

    def scalar(self, x: Scalar, here: LoopValues, lead: Mapping[Key, str]) -> Typed:
        """A scalar of a nest, at the values `here` of its loop variables."""
        if x in self.known:
            return self.known[x]
        if isinstance(x, AffineIndex):
            return self.index(x, here, lead), "int"
        if isinstance(x, Apply):
            return pointwise(x.op, [self.scalar(a, here, lead) for a in x.args], x.kind)
        if isinstance(x, Load):
            return self.read(x.arg, lead, [self.index(i, here, lead) for i in x.index])
        if x.op == "argmax":
            return self._first_largest(x, here, lead), "int"
        return self._reduced(x, here, lead), "float"

    def named(self, x: Scalar, here: LoopValues, lead: Mapping[Key, str]) -> None:
        """Compute a scalar once, for all that follows."""
        text, kind = self.scalar(x, here, lead)
        self.known[x] = (text if text.isidentifier() else self.k.new(kind, text)), kind

    def index(self, x: Coordinate, here: LoopValues, lead: Mapping[Key, str]) -> str:
        """An index as a number."""
        if isinstance(x, AffineIndex):
            terms = [times(here[loop], str(k)) for loop, k in x.terms if here[loop] != "0"]
            text = " + ".join([*terms, *([str(x.start)] if x.start or not terms else [])])
            return f"({text})" if len(terms) > 1 or (terms and x.start) else text
        if isinstance(x, Clamp):
            return self.within(self.scalar(x.number, here, lead), x.size)
        if x.number not in self.known:
            self.known[x.number] = self.k.new("index", self.index(x.number, here, lead), "flat"), "int"
        return f"({self.known[x.number][0]} / {x.unit} % {x.size})"

    def within(self, number: Typed, size: int) -> str:
        """An index, held inside its table: given ones are checked before, a computed one may lie anywhere."""
        return self.k.new("index", f"within({convert(number, 'int')}, {size})", "row")

    def _reduced(self, x: Reduce, here: LoopValues, lead: Mapping[Key, str]) -> str:
        """A sum or a maximum; with `threads`, each thread of the block takes every so-many-th element of a row."""
        k, largest = self.k, x.op == "max"
        total = k.new("float", "-ENDLESS" if largest else "0", "total")
        with ExitStack() as loops:
            deep = dict(here)
            for loop in x.loops:
                first, step = ("threadIdx.x", str(self.threads)) if self.threads else ("0", "1")
                deep[loop] = loops.enter_context(k.loop(Size(loop.size), first, step))
            value = convert(self.scalar(x.value, deep, lead), "float")
            k.line(f"{total} = {self.join(total, value, largest)};")
        if not self.threads:
            return total
        return k.new("float", self.gathered(total, self.threads, largest), "total")

    def gathered(self, own: str, threads: int, largest: bool) -> str:
        """What the threads of a block have of a row, together."""
        return f"gathered({own}, part, {threads}, {'true' if largest else 'false'})"

    def _first_largest(self, x: Reduce, here: LoopValues, lead: Mapping[Key, str]) -> str:
        """The index of the first largest element; a nan counts as the largest."""
        k, (loop,) = self.k, x.loops
        best = k.new("float", convert(self.scalar(x.value, {**here, loop: "0"}, lead), "float"), "best")
        found = k.new("int", "0", "found")
        with k.loop(Size(loop.size), "1") as n:
            value = k.new("float", convert(self.scalar(x.value, {**here, loop: n}, lead), "float"))
            test = f"if ({best} == {best} && ({value} > {best} || {value} != {value}))"
            k.line(f"{test} {{ {best} = {value}; {found} = {n}; }}")
        return found

    def _gathered(self, nest: Nest, value: str, layout: Layout, lead: Mapping[Key, str], index: Sequence[str]) -> None:
        """What a nest stores at an index: its index solved for the loop variables, those that it lacks gone through."""
        if not all(loop.size for loop in nest.loops):
            return
        tests, here = [], {}
        for x, n, text in zip(nest.index, layout.shape, index, strict=True):
            if not isinstance(x, AffineIndex):
                continue
            if not x.terms:
                tests += [f"{text} == {x.start}"] if n != 1 else []
                continue
            ((loop, k),) = x.terms
            ends = x.start, x.start + k * (loop.size - 1)
            tests += [f"{text} >= {min(ends)}"] if min(ends) else []
            tests += [f"{text} <= {max(ends)}"] if max(ends) != n - 1 else []
            tests += [f"({text} - {x.start}) % {k} == 0"] if abs(k) != 1 else []
            moved = f"({text} - {x.start})" if x.start else text
            here[loop] = moved if k == 1 else f"({moved} / {k})"
        with ExitStack() as loops:
            for loop in nest.loops:
                if loop not in here:
                    here[loop] = loops.enter_context(self.k.loop(Size(loop.size)))
            for x, text in zip(nest.index, index, strict=True):
                tests += [f"{self.index(x, here, lead)} == {text}"] if isinstance(x, Clamp) else []
            found = convert(self.scalar(nest.value, here, lead), layout.kind)
            self.k.line(f"if ({' && '.join(tests) or 'true'}) {value} {'+=' if nest.meets else '='} {found};")
