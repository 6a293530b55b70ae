"""CUDA C++ source: names, sizes and steps as expressions, and device functions for what CUDA has none for."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...compiler.statements import Access
from ...ir.axes import Axis, Range
from ..common.addressing import located
from ..common.memory_layout import Layout
from ..common.python_source import Names, difference, linear
from ..common.symbolic_size import ONE, Dims, Key, Size
from .plan import Address, Number

TYPES = {"float": "real", "int": "whole", "bool": "bool", "index": "index_t", "brief": "brief"}
"""Of values, of indices of elements, and of floats kept in 16 bits."""
WIDE = "WIDE"
"""The macro with which the text counts in 64 bits."""

PRELUDE = """\
typedef {real} real;
typedef long long whole;
#ifdef {wide}
typedef long long index_t;
#else
typedef int index_t;
#endif
#define ENDLESS ((real)__int_as_float(0x7f800000))

template <class X, int n> struct alignas(sizeof(X) * n < 16 ? sizeof(X) * n : 16) Lanes {{ X at[n]; }};

__device__ inline index_t steps(index_t n) {{ return n > 0 ? n : 0; }}
__device__ inline index_t within(whole n, index_t size) {{ return n < 0 ? 0 : n < size ? n : size - 1; }}
__device__ inline int fitting(index_t n) {{
    int lanes = 32;
    while (lanes > 1 && lanes / 2 >= n) lanes /= 2;
    return lanes;
}}
__device__ inline bool is_finite(real x) {{ return fabs(x) < ENDLESS; }}
__device__ inline real larger(real x, real y) {{ return x > y || x != x ? x : y; }}
__device__ inline real smaller(real x, real y) {{ return x < y || x != x ? x : y; }}
__device__ inline whole larger(whole x, whole y) {{ return x > y ? x : y; }}
__device__ inline whole smaller(whole x, whole y) {{ return x < y ? x : y; }}
__device__ inline real size(real x) {{ return fabs(x); }}
__device__ inline whole size(whole x) {{ return x < 0 ? -x : x; }}
__device__ inline real sign(real x) {{ return x > 0 ? (real)1 : x < 0 ? (real)-1 : x; }}
__device__ inline whole sign(whole x) {{ return (x > 0) - (x < 0); }}
__device__ inline real sigmoid(real x) {{ real e = exp(-fabs(x)); return (x >= 0 ? (real)1 : e) / (1 + e); }}
__device__ inline real softplus(real x) {{ return larger(x, (real)0) + log1p(exp(-fabs(x))); }}
__device__ inline bool past(real rest, real y) {{ return rest != 0 && (rest < 0) != (y < 0); }}
__device__ inline real modulo(real x, real y) {{
    real rest = fmod(x, y);
    return rest == 0 ? copysign(rest, y) : past(rest, y) ? rest + y : rest;
}}
__device__ inline real floored(real x, real y) {{
    real rest = fmod(x, y), times = (x - rest) / y - (past(rest, y) ? 1 : 0), below = floor(times);
    times = times - below > (real)0.5 ? below + 1 : below;
    return y == 0 ? x / y : times == 0 ? copysign(times, x / y) : times;
}}
__device__ inline whole modulo(whole x, whole y) {{
    if (y == 0 || y == -1) return 0;
    whole rest = x % y;
    return rest != 0 && (rest ^ y) < 0 ? rest + y : rest;
}}
__device__ inline whole floored(whole x, whole y) {{
    if (y == 0) return 0;
    if (y == -1) return (whole)(0 - (unsigned long long)x);
    return x / y - (x % y != 0 && ((x % y) ^ y) < 0);
}}

__device__ inline real gathered(real x, real* part, unsigned threads, bool largest) {{
    part[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = threads / 2; half; half /= 2) {{
        if (threadIdx.x < half) {{
            real other = part[threadIdx.x + half];
            part[threadIdx.x] = largest ? larger(part[threadIdx.x], other) : part[threadIdx.x] + other;
        }}
        __syncthreads();
    }}
    x = part[0];
    __syncthreads();
    return x;
}}
"""
"""A nan wins every comparison of sizes; an index that was computed is held inside its table."""


def prelude(dtype: str) -> str:
    """What stands before the kernels, and before what converts to 16 bits."""
    return PRELUDE.format(real={"float32": "float", "float64": "double"}[dtype], wide=WIDE)


@dataclass(frozen=True)
class Operand:
    """A view of a name's memory where a statement reads it: strides by dimension, per-example axes in order."""

    access: Access
    kind: str
    address: Address
    lead: Mapping[Key, Size]
    shape: tuple[int, ...]
    steps: tuple[Size, ...]


@dataclass(frozen=True)
class Where:
    """The loops around a statement, with the step that each is at here, and the ranges that it spans at once."""

    loops: Mapping[Axis, int]
    spans: tuple[Range, ...]
    batched: bool


def operand(layouts: Mapping[str, Layout], access: Access, where: Where) -> Operand:
    """What an access reads, such as ``h[t-1]``, as an address and strides."""
    layout = layouts[access.ref.name]
    x = located(layout, access, where.spans)
    address = Address(layout.host, x.offset, x.moves, tuple(where.loops.items()))
    return Operand(access, layout.kind, address, x.lead, x.shape, x.steps)


class Kernel:
    """The text of one kernel as it grows, and what it is given.

    narrow  hosts kept in 16 bits
    part    type, name and number of the elements that the threads of a block share
    each    points of a block, where its text is that of one point; 0 where it is that of a whole block
    """

    def __init__(self, name: str, layouts: Mapping[str, Layout], narrow: frozenset[str] = frozenset()) -> None:
        self.name, self.layouts, self.narrow = name, layouts, narrow
        self.lines: list[str] = []
        self.names = Names()
        self.arguments: dict[Number, str] = {}
        self.sizes: dict[Size, None] = {}
        self.written: set[str] = set()
        self.kinds: dict[str, str] = {}
        self.stores: list[Address] = []
        self.part: tuple[str, str, int] | None = None
        self.each = 0
        self.depth = 1

    def shares(self, type_: str, name: str, elements: int) -> None:
        """Have the threads of a block share so many elements."""
        self.part = type_, name, elements

    def line(self, text: str) -> None:
        """One more line."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines within braces."""
        self.line(f"{head} {{".lstrip())
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    def new(self, kind: str, value: str, wish: str = "v") -> str:
        """A variable with a value."""
        name = self.names.fresh(wish)
        self.line(f"{TYPES[kind]} {name} = {value};")
        return name

    @contextmanager
    def loop(self, size: Size, start: str = "0", step: str = "1") -> Iterator[str]:
        """A loop over a dimension; one of a single step is no loop."""
        if size == ONE and start == "0":
            yield "0"
            return
        name = self.names.fresh("n")
        with self.block(f"for (index_t {name} = {start}; {name} < {self.size(size)}; {name} += {step})"):
            yield name

    def given(self, kind: str, which: object, wish: str) -> str:
        """The name of an argument."""
        key = (kind, which)
        if key not in self.arguments:
            self.arguments[key] = self.names(f"{wish}\0{kind}") if kind != "host" else self.names(wish)
        return self.arguments[key]

    def scratch(self, host: str, kind: str, written: bool = False) -> str:
        """The name of a host that is no variable's."""
        self.kinds[host] = kind
        self.written |= {host} if written else set()
        return self.given("host", host, host)

    def end(self, end: str) -> str:
        """The length of an axis, or the batch size."""
        return self.given("end", end, end)

    def size(self, size: Size) -> str:
        """A size as an expression."""
        self.sizes[size] = None
        parts = [str(size.factor)] if size.factor != 1 or not size.symbols else []
        for end, k in size.symbols:
            parts.append(f"steps({self.end(end)} {'+-'[k < 0]} {abs(k)})" if k else self.end(end))
        return " * ".join(parts)

    def start(self, address: Address) -> list[str]:
        """Where an operand begins, as terms of a sum."""
        found = [str(address.offset)] if address.offset else []
        running = {axis: (axis.name, k) for axis, k in address.shifts}
        for index, base, stride in address.moves:
            terms, constant = difference(index, base, running)
            named = {}
            for term, factor in terms.items():
                loop = next((axis for axis in running if axis.name == term), None)
                named[self.given("step", loop, term) if loop else self.end(term)] = factor
            text = linear(named, constant)
            if text != "0" and stride.factor:
                found.append(times(text, self.size(stride)))
        return found

    def kind(self, host: str) -> str:
        """The kind of a host in memory."""
        return "brief" if host in self.narrow else self.kinds.get(host) or self.layouts[host].kind

    def read(self, host: str, text: str) -> str:
        """What lies in a host, as a value."""
        return f"widened({text})" if self.kind(host) == "brief" else text

    def kept(self, host: str, value: str) -> str:
        """A value as it lies in a host."""
        return f"narrowed({value})" if self.kind(host) == "brief" else value

    def lanes(self, x: Operand, n: int) -> str:
        """The type of `n` elements of an operand side by side."""
        return f"Lanes<{TYPES[self.kind(x.address.host)]}, {n}>"

    def together(self, x: Operand, lead: Mapping[Key, str], inner: Sequence[str], n: int) -> str:
        """The name of `n` elements read at once."""
        first, kind = self.at(x, lead, inner), self.lanes(x, n)
        name = self.names.fresh("x")
        self.line(f"{kind} {name} = *(const {kind}*)&{first};")
        return name

    def put(self, x: Operand, lead: Mapping[Key, str], inner: Sequence[str], n: int, name: str) -> None:
        """Store `n` elements at once."""
        self.written.add(x.address.host)
        self.stores.append(x.address)
        self.line(f"*({self.lanes(x, n)}*)&{self.at(x, lead, inner)} = {name};")

    def element(self, x: Operand, lead: Mapping[Key, str], inner: Sequence[str]) -> str:
        """One element; `inner` is its index along its per-example axes, the last ones where there are more."""
        return self.read(x.address.host, self.at(x, lead, inner))

    def at(self, x: Operand, lead: Mapping[Key, str], inner: Sequence[str]) -> str:
        """Where that element lies."""
        host = self.given("host", x.address.host, x.address.host)
        terms = self.start(x.address)
        terms += [times(lead[key], self.size(s)) for key, s in x.lead.items() if lead.get(key, "0") != "0"]
        texts = list(inner)[len(inner) - len(x.shape) :]
        for at, n, stride in zip(texts, x.shape, x.steps, strict=True):
            if n != 1 and at != "0":
                terms.append(times(at, self.size(stride)))
        return f"{host}[{' + '.join(terms) or '0'}]"

    def store(self, x: Operand, lead: Mapping[Key, str], inner: Sequence[str], value: str) -> None:
        """Put a value into memory."""
        self.written.add(x.address.host)
        self.stores.append(x.address)
        self.line(f"{self.at(x, lead, inner)} = {self.kept(x.address.host, value)};")

    def coordinates(self, flat: str, dims: Dims) -> dict[Key, str]:
        """The index along each dimension, from the number of a point, which is used up."""
        found: dict[Key, str] = {}
        wide = [(key, size) for key, size in dims if size != ONE]
        for key, size in reversed(wide):
            if (key, size) == wide[0]:
                found[key] = flat
            else:
                found[key] = self.new("index", f"{flat} % {times('', self.size(size))}", "at")
                self.line(f"{flat} /= {times('', self.size(size))};")
        return {key: found.get(key, "0") for key, _ in dims}

    def parameters(self) -> list[str]:
        """What it is given, with types."""
        shown = []
        for (kind, which), name in self.arguments.items():
            if kind == "host":
                const = "" if which in self.written else "const "
                shown.append(f"{const}{TYPES[self.kind(str(which))]}* {name}")
            else:
                shown.append(f"index_t {name}")
        return shown

    def text(self) -> str:
        """The whole kernel: what a point or a block does, as a function that other kernels can call, and the kernel."""
        given, parts = self.parameters(), [self.part] if self.part else []
        mine, here = (
            ("point", f"(index_t)blockIdx.x * {self.each} + threadIdx.x") if self.each else ("block", "blockIdx.x")
        )
        takes = [f"index_t {mine}", *(f"{type_}* {name}" for type_, name, _ in parts), *given]
        head = f"__device__ inline void {self.name}_body({', '.join(takes)}) {{"
        kernel = [f'extern "C" __global__ void {self.name}({", ".join(given)}) {{']
        kernel += [f"    __shared__ {type_} {name}[{elements}];" for type_, name, elements in parts]
        passed = [here, *(name for _, name, _ in parts), *self.arguments.values()]
        kernel.append(f"    {self.name}_body({', '.join(passed)});")
        return "\n".join([head, *self.lines, "}", *kernel, "}", ""])


def times(left: str, right: str) -> str:
    """A product, in brackets where they are needed."""
    left, right = (f"({x})" if any(c in x for c in " ?") else x for x in (left, right))
    if right == "1" or not left:
        return left or right
    return right if left == "1" else f"{left} * {right}"


def literal(value: float | int | bool, kind: str, dtype: str) -> str:
    """A number written in an equation."""
    if isinstance(value, bool) and kind == "bool":
        return "true" if value else "false"
    if kind == "int":
        return bracketed(str(int(value)))
    number = ctypes.c_float(value).value if dtype == "float32" else float(value)
    if math.isinf(number):
        return "ENDLESS" if number > 0 else "(-ENDLESS)"
    if math.isnan(number):
        return "(ENDLESS - ENDLESS)"
    return bracketed(f"{float(value) if number else number!r}{'f' if dtype == 'float32' else ''}")


def bracketed(text: str) -> str:
    """A number, in brackets where it has a sign, which another before it would join to one of another meaning."""
    return f"({text})" if text.startswith("-") else text
