"""LLVM IR as text: types, values, and functions of basic blocks whose instructions are lines.

A program of some thousand instructions is written so in a fraction of the time that a graph of objects takes to make
and to print. See the LLVM Language Reference Manual.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, slots=True)
class Type:
    """A type; two of one text are the same.

    text    as LLVM writes it
    kind    "int", "float", "pointer", "void" or "array"
    bits    of an element
    count   elements of a vector; 1 for what is none
    symbol  as the names of intrinsics have it: "f32", "v8f32"
    """

    text: str
    kind: str = field(compare=False)
    bits: int = field(default=0, compare=False)
    count: int = field(default=1, compare=False)
    symbol: str = field(default="", compare=False)
    _element: Type | None = field(default=None, compare=False)

    @property
    def element(self) -> Type:
        """The type of an element of a vector; that of anything else is its own."""
        return self._element or self

    def __str__(self) -> str:
        return self.text


@cache
def integer(bits: int) -> Type:
    """Integers of so many bits."""
    return Type(f"i{bits}", "int", bits, symbol=f"i{bits}")


@cache
def vector(element: Type, count: int) -> Type:
    """Vectors; of one element, that itself."""
    if count == 1:
        return element
    return Type(f"<{count} x {element}>", element.kind, element.bits, count, f"v{count}{element.symbol}", element)


@cache
def array(element: Type, count: int) -> Type:
    """Arrays, which only global variables are."""
    return Type(f"[{count} x {element}]", "array")


I64, I32, I8, I1 = integer(64), integer(32), integer(8), integer(1)
FLOAT, DOUBLE = Type("float", "float", 32, symbol="f32"), Type("double", "float", 64, symbol="f64")
POINTER, VOID = Type("ptr", "pointer"), Type("void", "void")


class Value:
    """What an instruction is given: its type, and how it is written.

    known  the number that it is known to be, the same in every lane; None for anything else
    """

    __slots__ = ("known", "text", "type")

    def __init__(self, type: Type, text: str, known: float | None = None) -> None:
        self.type, self.text, self.known = type, text, known

    def __str__(self) -> str:
        return f"{self.type.text} {self.text}"


def constant(type: Type, value: float) -> Value:
    """A number, in every lane."""
    one = _digits(type, value)
    if type.count == 1:
        return Value(type, one, value)
    element = type.element.text
    return Value(type, f"<{', '.join([f'{element} {one}'] * type.count)}>", value)


def lanes(type: Type, values: Sequence[int]) -> Value:
    """A vector of integers."""
    element = type.element.text
    return Value(type, f"<{', '.join([f'{element} {n}' for n in values])}>")


TRUE, FALSE = Value(I1, "true", True), Value(I1, "false", False)


def undefined(type: Type) -> Value:
    """A value that may be anything."""
    return Value(type, "undef")


def zero(type: Type) -> Value:
    """Zero, whatever the type."""
    return Value(type, "null" if type == POINTER else "zeroinitializer")


def _digits(type: Type, value: float) -> str:
    if type.kind == "int":
        return str(int(value)) if type.bits > 1 else "true" if value else "false"
    if type.bits == 32:  # written as the double that it is, of which the last bits are zero
        try:
            (value,) = struct.unpack("<f", struct.pack("<f", value))
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and returns."""

    result: Type
    kinds: tuple[Type, ...]


UNLIKELY = "!0"
"""The mark of a branch that is seldom taken."""


class Block:
    """A basic block: its lines, the last of which leaves it."""

    __slots__ = ("ended", "function", "lines", "name")

    def __init__(self, function: Function, name: str) -> None:
        self.function, self.name = function, name
        self.lines: list[str | Phi] = []
        self.ended = False


class Phi(Value):
    """A value that depends on the block that came before."""

    __slots__ = ("incoming",)

    def __init__(self, type: Type, text: str) -> None:
        super().__init__(type, text)
        self.incoming: list[str] = []

    def add(self, value: Value, block: Block) -> None:
        """Its value where that block came before."""
        self.incoming.append(f"[ {value.text}, %{block.name} ]")

    @property
    def line(self) -> str:
        """The instruction."""
        return f"{self.text} = phi {self.type.text} {', '.join(self.incoming)}"


class Function(Value):
    """A function of a module: declared only, while it has no blocks."""

    __slots__ = ("args", "attributes", "blocks", "count", "linkage", "module", "name", "signature")

    def __init__(self, module: Module, name: str, result: Type, kinds: Sequence[Type]) -> None:
        super().__init__(POINTER, f'@"{name}"')
        self.module, self.name, self.signature = module, name, Signature(result, tuple(kinds))
        self.args = tuple(Value(kind, f"%a{n}") for n, kind in enumerate(kinds))
        self.blocks: list[Block] = []
        self.attributes: tuple[str, ...] = ()
        self.linkage = ""
        self.count = 0
        module.known[name] = self

    def fresh(self) -> int:
        """A number that no other value or block of the function has."""
        self.count += 1
        return self.count

    def block(self) -> Block:
        """A new block, behind the others."""
        made = Block(self, f"b{self.fresh()}")
        self.blocks.append(made)
        return made

    @property
    def definition(self) -> str:
        """Its text in the module."""
        result, marks = self.signature.result, "".join(f" {a}" for a in self.attributes)
        if not self.blocks:
            return f"declare {result} {self.text}({', '.join(map(str, self.signature.kinds))}){marks}"
        head = f"define {self.linkage + ' ' if self.linkage else ''}{result} {self.text}"
        lines = [f"{head}({', '.join(map(str, self.args))}){marks} {{"]
        for block in self.blocks:
            lines.append(f"{block.name}:")
            lines += [f"  {line.line if isinstance(line, Phi) else line}" for line in block.lines]
        return "\n".join([*lines, "}"])


@dataclass(eq=False)
class Module:
    """Functions and global variables by name.

    known  both, as values
    """

    known: dict[str, Value] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)

    @property
    def functions(self) -> list[Function]:
        """Its functions, those that are only declared too."""
        return [f for f in self.known.values() if isinstance(f, Function)]

    def declared(self, name: str, result: Type, kinds: Sequence[Type]) -> Function:
        """The function of that name, declared where the module has none."""
        found = self.known.get(name)
        return found if isinstance(found, Function) else Function(self, name, result, kinds)

    def variable(self, name: str, type: Type, text: str, constant: bool = False) -> Value:
        """A global variable of the module's own, made of a text where there is none of that name."""
        if name not in self.known:
            self.variables.append(f'@"{name}" = internal {"constant" if constant else "global"} {type} {text}')
            self.known[name] = Value(POINTER, f'@"{name}"')
        return self.known[name]

    def __str__(self) -> str:
        parts = [*self.variables, *(f.definition for f in self.functions)]
        return "\n\n".join([*parts, f'{UNLIKELY} = !{{!"branch_weights", i32 1, i32 99}}']) + "\n"


def number(value: Value) -> int | None:
    """The whole number that a scalar value is known to be, or None."""
    known, type = value.known, value.type
    return int(known) if known is not None and type.kind == "int" and type.count == 1 else None
