"""Scalar expressions: the value of each operation at one point, as CUDA C++."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ...compiler.program import Access, Argument, Compute, View
from ...ir.system import Const, Equation
from ...ops.contract import PRODUCTS
from ...ops.shapes import as_slice, negative_axes
from ..common.contraction import subscripts
from ..common.stable_rows import element
from ..common.symbolic_size import Key, Size
from .cuda_source import TYPES, Kernel, Operand, Where, literal, operand, viewed

Typed = tuple[str, str]
"""An expression and its kind."""

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "greater": ">", "greater_equal": ">=", "less": "<",
    "less_equal": "<=", "equal": "==", "not_equal": "!=", "logical_and": "&&", "logical_or": "||",
}  # fmt: skip
FUNCTIONS = {
    "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos",
    "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus", "abs": "size", "sign": "sign", "maximum": "larger",
    "minimum": "smaller", "pow": "pow",
}  # fmt: skip
ALIKE = ("copy", "cast", "stop_gradient")
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
POINTWISE = {*SIGNS, *FUNCTIONS, *ALIKE, "neg", "relu", "where", "isfinite", "logical_not"}
OTHER = {
    "sum": "summed", "max": "summed", "sum_to": "shrunk", "broadcast_to": "stretched", "transpose": "rearranged",
    "slice": "rearranged", "reshape": "reshaped", "concat": "joined", "stack": "joined", "unslice": "unsliced",
    "take": "taken", "pick": "taken", "scatter": "scattered", "one_hot": "chosen", "argmax": "largest",
    "softmax": "row", "logsumexp": "row", "cross_entropy": "row",
    **dict.fromkeys(PRODUCTS, "contracted"),
}  # fmt: skip
"""Operations, and the method that writes each."""
KNOWN = POINTWISE | set(OTHER)


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


def power(base: str, exponent: float) -> str | None:
    """A power to a number that is a short product, as NumPy has it."""
    known = {1: base, 2: f"({base} * {base})", 3: f"({base} * {base} * {base})", 0.5: f"sqrt({base})"}
    return known.get(exponent, f"(1 / {base})" if exponent == -1 else None)


class StableRow:
    """A row as loops over its elements, see `stable_rows`.

    over    the sum, or the largest, of all elements, each of them changed
    picked  the element that the label names
    """

    def __init__(
        self, kernel: Kernel, dtype: str, over: Callable[[Callable[[str], str], bool], str], picked: Callable[[], str]
    ) -> None:
        self.k, self.dtype, self.over, self.picked = kernel, dtype, over, picked

    def reduced(self, op: str, change: Callable[[Typed], Typed]) -> Typed:
        return self.over(lambda x: change((x, "float"))[0], op == "max"), "float"

    def apply(self, op: str, *args: Typed | float) -> Typed:
        typed = [a if isinstance(a, tuple) else (literal(a, "float", self.dtype), "float") for a in args]
        return pointwise(op, typed, "float")

    def named(self, value: Typed) -> Typed:
        text, kind = value
        return (text if text.isidentifier() else self.k.new(kind, text)), kind

    def chosen(self) -> Typed:
        return self.picked(), "float"


class Values:
    """Writes the values of statements into one kernel.

    held  values that the kernel has computed already, and what it has read, at the point at hand
    """

    def __init__(self, kernel: Kernel, where: Where, dtype: str) -> None:
        self.k, self.where, self.dtype = kernel, where, dtype
        self.held: dict[Access, Typed] = {}

    def operand(self, arg: Argument) -> Operand:
        """An operand in memory."""
        assert isinstance(arg, Access)
        return operand(self.k.layouts, arg, self.where)

    def read(self, arg: Argument, lead: Mapping[Key, str], inner: Sequence[str]) -> Typed:
        """One element of an argument, at the places `inner` of its own axes; or a number."""
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
        """The value of a statement; `inner` are places in its result."""
        e = step.equation
        if e.op in POINTWISE:
            return self.pointwise(step, [self.read(a, lead, inner) for a in step.args])
        found: Typed = getattr(self, OTHER[e.op])(step, dict(e.attrs), lead, list(inner))
        return found

    def pointwise(self, step: Compute, args: Sequence[Typed]) -> Typed:
        """A pointwise operation."""
        e = step.equation
        kind = self.k.layouts[e.out.name].kind
        exponent = step.args[1] if e.op == "pow" else None
        if isinstance(exponent, Const):
            base = self.k.new(kind, convert(args[0], kind))
            if (short := power(base, float(exponent.value))) is not None:
                return short, kind
            args = [(base, kind), args[1]]
        return pointwise(e.op, args, kind)

    def shape(self, arg: Argument) -> tuple[int, ...]:
        """Per-example shape of an argument."""
        return self.operand(arg).shape if isinstance(arg, Access) else ()

    def result(self, e: Equation, step: Compute) -> tuple[int, ...]:
        """Per-example shape of a value."""
        return tuple(e.operation.family.shape([self.shape(a) for a in step.args], dict(e.attrs)))

    def join(self, before: str, value: str, largest: bool = False) -> str:
        """Two values of one left-hand side."""
        return f"larger({before}, {value})" if largest else f"{before} + {value}"

    # -- sums and maxima -------------------------------------------------------------------------------------------

    def over(
        self,
        arg: Argument,
        lead: Mapping[Key, str],
        inner: Sequence[str],
        gone: Sequence[int],
        change: Callable[[str], str],
        largest: bool,
    ) -> str:
        """``change`` of every element along the axes `gone`, joined."""
        total = self.k.new("float", "-ENDLESS" if largest else "0", "total")
        shape = self.shape(arg)

        def at(place: list[str], left: list[int]) -> None:
            if not left:
                value = change(convert(self.read(arg, lead, place), "float"))
                self.k.line(f"{total} = {self.join(total, value, largest)};")
                return
            with self.k.loop(Size(shape[left[0]])) as n:
                place[left[0]] = n
                at(place, left[1:])

        at(list(inner), list(gone))
        return total

    def summed(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A sum or a maximum over per-example axes."""
        gone, place = self.rows(step, attrs, inner)
        largest = step.equation.op == "max"
        return self.over(step.args[0], lead, place, gone, str, largest), "float"

    def rows(self, step: Compute, attrs: Mapping[str, object], inner: list[str]) -> tuple[list[int], list[str]]:
        """The axes that a reduction takes together, and the place in its operand of a place in its result."""
        rank = len(self.shape(step.args[0]))
        axis = attrs.get("axis", (-1,))
        gone = sorted(a + rank for a in negative_axes(axis, rank))  # type: ignore[arg-type]
        if attrs.get("keepdims") or step.equation.op == "softmax":
            return gone, inner[len(inner) - rank :]
        kept = iter(inner[len(inner) - (rank - len(gone)) :])
        return gone, ["0" if i in gone else next(kept) for i in range(rank)]

    def shrunk(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A sum to a smaller shape."""
        shape = self.shape(step.args[0])
        target = self.result(step.equation, step)
        padded = (1,) * (len(shape) - len(target)) + target
        place = ["0"] * (len(shape) - len(target)) + inner[len(inner) - len(target) :]
        gone = [i for i, (n, m) in enumerate(zip(shape, padded, strict=True)) if m == 1 and n != 1]
        if not gone:
            return self.read(step.args[0], lead, place)
        return self.over(step.args[0], lead, place, gone, str, False), "float"

    def row(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """Stable exponentials: logsumexp, softmax, cross_entropy."""
        arg, op = step.args[0], step.equation.op
        gone, place = self.rows(step, attrs, inner)

        def over(change: Callable[[str], str], largest: bool) -> str:
            return self.over(arg, lead, place, gone, change, largest)

        def chosen() -> str:
            label = self.index(step.args[1], lead, place[:-1], self.shape(arg)[-1])
            return convert(self.read(arg, lead, [*place[:-1], label]), "float")

        value = element(op, StableRow(self.k, self.dtype, over, chosen))
        return value((convert(self.read(arg, lead, place), "float") if op == "softmax" else "", "float"))

    def largest(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """The place of the first largest element; a nan counts as the largest."""
        arg = step.args[0]
        size = self.shape(arg)[-1]
        place = inner[len(inner) - len(self.shape(arg)) + 1 :]
        best = self.k.new("float", convert(self.read(arg, lead, [*place, "0"]), "float"), "best")
        found = self.k.new("int", "0", "found")
        with self.k.loop(Size(size), "1") as n:
            x = self.k.new("float", convert(self.read(arg, lead, [*place, n]), "float"))
            test = f"if ({best} == {best} && ({x} > {best} || {x} != {x}))"
            self.k.line(f"{test} {{ {best} = {x}; {found} = {n}; }}")
        return found, "int"

    def contracted(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A product, as one sum."""
        a, b = step.args
        left, right, out = subscripts(step.equation.op, [len(self.shape(a)), len(self.shape(b))], attrs)
        sizes = dict(zip((*left, *right), (*self.shape(a), *self.shape(b)), strict=True))
        places = dict(zip(out, inner[len(inner) - len(out) :], strict=True))
        total = self.k.new("float", "0", "total")

        def at(rest: list[str]) -> None:
            if rest:
                with self.k.loop(Size(sizes[rest[0]])) as n:
                    places[rest[0]] = n
                    at(rest[1:])
                return
            x = convert(self.read(a, lead, [places[i] for i in left]), "float")
            y = convert(self.read(b, lead, [places[i] for i in right]), "float")
            self.k.line(f"{total} += {x} * {y};")

        at(list(dict.fromkeys(i for i in left + right if i not in out)))
        return total, "float"

    # -- rearrangements and lookups ----------------------------------------------------------------------------------

    def stretched(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A broadcast."""
        return self.read(step.args[0], lead, inner)

    def rearranged(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A transpose or a slice that could not be read in place."""
        x = viewed(self.operand(step.args[0]), View(step.equation.op, step.equation.attrs))
        return self.k.element(x, lead, inner), x.kind

    def reshaped(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """The same elements in another shape."""
        shape, target = self.shape(step.args[0]), self.result(step.equation, step)
        flat = "0"
        for n, at in zip(target, inner[len(inner) - len(target) :], strict=True):
            flat = at if flat == "0" else f"({flat} * {n} + {at})"
        flat = self.k.new("index", flat, "flat")
        place = [f"({flat} / {math.prod(shape[i + 1 :])} % {n})" if n != 1 else "0" for i, n in enumerate(shape)]
        return self.read(step.args[0], lead, place)

    def joined(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """Concatenation and stacking: whichever operand the place lies in."""
        rank = len(self.result(step.equation, step))
        (axis,) = negative_axes(attrs["axis"], rank)  # type: ignore[arg-type]
        kind = self.k.layouts[step.equation.out.name].kind
        place = inner[len(inner) - rank :]
        value = self.k.new(kind, "0")
        start = 0
        for arg in step.args:
            stacked = step.equation.op == "stack"
            size = 1 if stacked else self.shape(arg)[axis]
            here = list(place)
            here[axis] = f"({place[axis]} - {start})"
            if stacked:
                del here[axis]
            test = f"if ({place[axis]} >= {start} && {place[axis]} < {start + size})"
            self.k.line(f"{test} {value} = {convert(self.read(arg, lead, here), kind)};")
            start += size
        return value, kind

    def unsliced(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """A slice put back into zeros."""
        target = self.result(step.equation, step)
        place = inner[len(inner) - len(target) :]
        parts = attrs["parts"]
        tests, here = [], []
        for part, n, at in zip(parts, target, place, strict=False):  # type: ignore[call-overload]
            chosen = as_slice(part)
            if isinstance(chosen, int):
                tests.append(f"{at} == {chosen % n}")
                continue
            taken = range(*chosen.indices(n))
            if not taken:
                tests.append("false")
                here.append("0")
                continue
            tests += [f"{at} >= {min(taken)}", f"{at} <= {max(taken)}"]
            if abs(taken.step) != 1:
                tests.append(f"({at} - {taken.start}) % {taken.step} == 0")
            here.append(f"(({at} - {taken.start}) / {taken.step})")
        here += place[len(parts) :]  # type: ignore[arg-type]
        value = self.k.new("float", "0")
        read = convert(self.read(step.args[0], lead, here), "float")
        self.k.line(f"if ({' && '.join(tests) or 'true'}) {value} = {read};")
        return value, "float"

    def index(self, arg: Argument, lead: Mapping[Key, str], inner: Sequence[str], size: int) -> str:
        """An index, held inside its table: given ones are checked before, a computed one may lie anywhere."""
        return self.k.new("index", f"within({convert(self.read(arg, lead, inner), 'int')}, {size})", "row")

    def taken(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """Rows of a table, or one element of each row, by integer index."""
        table, which = step.args
        shape, rank = self.shape(table), len(self.shape(which))
        place = inner[len(inner) - len(self.result(step.equation, step)) :]
        if step.equation.op == "pick":
            return self.read(table, lead, [*place, self.index(which, lead, place, shape[-1])])
        row = self.index(which, lead, place[:rank], shape[0])
        return self.read(table, lead, [row, *place[rank:]])

    def scattered(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """Values added up in the row that an index names: each row looks for its own, in one fixed order."""
        values, which = step.args
        shape = self.shape(which)
        target = self.result(step.equation, step)
        row, *rest = inner[len(inner) - len(target) :]
        total = self.k.new("float", "0", "total")

        def at(place: list[str]) -> None:
            if len(place) < len(shape):
                with self.k.loop(Size(shape[len(place)])) as n:
                    at([*place, n])
                return
            found = self.index(which, lead, place, target[0])
            value = convert(self.read(values, lead, [*place, *rest]), "float")
            self.k.line(f"if ({found} == {row}) {total} += {value};")

        at([])
        return total, "float"

    def chosen(self, step: Compute, attrs: dict[str, object], lead: Mapping[Key, str], inner: list[str]) -> Typed:
        """Unit vectors."""
        *place, last = inner[len(inner) - len(self.shape(step.args[0])) - 1 :]
        found = convert(self.read(step.args[0], lead, place), "int")
        return f"(real)({found} == {last})", "float"
