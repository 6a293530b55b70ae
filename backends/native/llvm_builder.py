"""Builder: instructions of LLVM IR, written at the end of a block; what is known beforehand is folded."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .llvm_ir import I1, I64, POINTER, VOID, Block, Phi, Signature, Type, Value, constant, number, vector

COMPARE: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "<": ("lt", operator.lt), "<=": ("le", operator.le), ">": ("gt", operator.gt), ">=": ("ge", operator.ge),
    "==": ("eq", operator.eq), "!=": ("ne", operator.ne),
}  # fmt: skip


def _plain(name: str) -> Callable[[InstructionBuilder, Value, Value], Value]:
    def write(b: InstructionBuilder, x: Value, y: Value) -> Value:
        return b.made(x.type, f"{name} {x.type.text} {x.text}, {y.text}")

    return write


def _cast(name: str) -> Callable[[InstructionBuilder, Value, Type], Value]:
    def write(b: InstructionBuilder, x: Value, type: Type) -> Value:
        return x if x.type == type else b.made(type, f"{name} {x.type.text} {x.text} to {type.text}")

    return write


class InstructionBuilder:
    """Writes instructions at the end of a block; what is known beforehand is neither written nor compiled."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.function, self.module = block.function, block.function.module

    def put(self, line: str) -> None:
        """An instruction without a value."""
        self.block.lines.append(line)

    def made(self, type: Type, text: str) -> Value:
        """An instruction with a value."""
        function = self.function
        function.count += 1
        name = f"%v{function.count}"
        self.block.lines.append(f"{name} = {text}")
        return Value(type, name)

    # -- whole numbers -----------------------------------------------------------------------------------------------

    def _folded(self, x: Value, y: Value, combine: Callable[[int, int], int]) -> Value | None:
        a, b = number(x), number(y)
        if a is None or b is None:
            return None
        bits = x.type.bits
        half = 1 << bits - 1 if bits > 1 else 0  # of one bit it is 0 or 1
        return constant(x.type, (combine(a, b) + half) % (1 << bits) - half)  # as the machine wraps around

    def add(self, x: Value, y: Value) -> Value:
        if x.known is not None or y.known is not None:
            if number(x) == 0:
                return y
            if number(y) == 0:
                return x
            if (known := self._folded(x, y, operator.add)) is not None:
                return known
        return self.made(x.type, f"add {x.type.text} {x.text}, {y.text}")

    def sub(self, x: Value, y: Value) -> Value:
        if y.known is not None:
            if number(y) == 0:
                return x
            if (known := self._folded(x, y, operator.sub)) is not None:
                return known
        return self.made(x.type, f"sub {x.type.text} {x.text}, {y.text}")

    def mul(self, x: Value, y: Value) -> Value:
        if x.known is not None or y.known is not None:
            a, b = number(x), number(y)
            if a == 0 or b == 1:
                return x
            if b == 0 or a == 1:
                return y
            if (known := self._folded(x, y, operator.mul)) is not None:
                return known
        return self.made(x.type, f"mul {x.type.text} {x.text}, {y.text}")

    def sdiv(self, x: Value, y: Value) -> Value:
        return x if number(y) == 1 else self.made(x.type, f"sdiv {x.type.text} {x.text}, {y.text}")

    def and_(self, x: Value, y: Value) -> Value:
        if x.known is not None or y.known is not None:
            if x.type == I1:
                for one, other in ((x, y), (y, x)):
                    if one.known is not None:
                        return other if one.known else one
            if (known := self._folded(x, y, operator.and_)) is not None:
                return known
        return self.made(x.type, f"and {x.type.text} {x.text}, {y.text}")

    def neg(self, x: Value) -> Value:
        return self.made(x.type, f"sub {x.type.text} {constant(x.type, 0).text}, {x.text}")

    def not_(self, x: Value) -> Value:
        return self.made(x.type, f"xor {x.type.text} {x.text}, {constant(x.type, -1).text}")

    def icmp_signed(self, relation: str, x: Value, y: Value) -> Value:
        a, b = number(x), number(y)
        code, compare = COMPARE[relation]
        if a is not None and b is not None:
            return constant(I1, int(compare(a, b)))
        sign = "" if relation in ("==", "!=") else "s"
        return self.made(_truth(x), f"icmp {sign}{code} {x.type.text} {x.text}, {y.text}")

    def icmp_unsigned(self, relation: str, x: Value, y: Value) -> Value:
        sign = "" if relation in ("==", "!=") else "u"
        return self.made(_truth(x), f"icmp {sign}{COMPARE[relation][0]} {x.type.text} {x.text}, {y.text}")

    srem, urem, udiv = _plain("srem"), _plain("urem"), _plain("udiv")
    shl, lshr, or_, xor = _plain("shl"), _plain("lshr"), _plain("or"), _plain("xor")

    # -- numbers -----------------------------------------------------------------------------------------------------

    fadd, fsub, fmul, fdiv = _plain("fadd"), _plain("fsub"), _plain("fmul"), _plain("fdiv")
    zext, sitofp, uitofp, fptosi = _cast("zext"), _cast("sitofp"), _cast("uitofp"), _cast("fptosi")
    bitcast, ptrtoint = _cast("bitcast"), _cast("ptrtoint")

    def fcmp_ordered(self, relation: str, x: Value, y: Value) -> Value:
        return self.made(_truth(x), f"fcmp o{COMPARE[relation][0]} {x.type.text} {x.text}, {y.text}")

    def fcmp_unordered(self, relation: str, x: Value, y: Value) -> Value:
        code = "uno" if relation == "uno" else f"u{COMPARE[relation][0]}"
        return self.made(_truth(x), f"fcmp {code} {x.type.text} {x.text}, {y.text}")

    def fneg(self, x: Value) -> Value:
        return self.made(x.type, f"fneg {x.type.text} {x.text}")

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        known = number(condition)
        if known is not None:
            return x if known else y
        return self.made(x.type, f"select {condition}, {x}, {y}")

    def extract_element(self, x: Value, lane: Value) -> Value:
        return self.made(x.type.element, f"extractelement {x}, {lane}")

    def insert_element(self, x: Value, value: Value, lane: Value) -> Value:
        return self.made(x.type, f"insertelement {x}, {value}, {lane}")

    def shuffle_vector(self, x: Value, y: Value, mask: Value) -> Value:
        return self.made(vector(x.type.element, mask.type.count), f"shufflevector {x}, {y}, {mask}")

    # -- memory ------------------------------------------------------------------------------------------------------

    def alloca(self, type: Type, count: int = 1) -> Value:
        """Memory of the function for so many elements."""
        return self.made(POINTER, f"alloca {type}" + (f", i32 {count}" if count != 1 else ""))

    def gep(self, pointer: Value, at: Value, type: Type) -> Value:
        """The pointer so many elements of a type on."""
        if at.known == 0:
            return pointer
        return self.made(POINTER, f"getelementptr {type.text}, ptr {pointer.text}, {at.type.text} {at.text}")

    def load(self, pointer: Value, type: Type, align: int = 0) -> Value:
        return self.made(type, f"load {type.text}, ptr {pointer.text}" + (f", align {align}" if align else ""))

    def unset(self, pointer: Value) -> Value:
        """Whether no other thread has set a word, looked up anew each time."""
        word = self.made(I64, f"load atomic i64, ptr {pointer.text} monotonic, align 8")
        return self.icmp_signed("==", word, constant(I64, 0))

    def store(self, value: Value, pointer: Value, align: int = 0) -> None:
        self.put(f"store {value.type.text} {value.text}, ptr {pointer.text}" + (f", align {align}" if align else ""))

    # -- control -----------------------------------------------------------------------------------------------------

    def call(self, function: Value, args: Sequence[Value], signature: Signature | None = None) -> Value:
        """Call a function, or what a pointer points to, of that signature."""
        result = (signature or function.signature).result  # type: ignore[attr-defined]
        text = f"call {result.text} {function.text}({', '.join(map(str, args))})"
        if result != VOID:
            return self.made(result, text)
        self.put(text)
        return Value(VOID, "")

    def intrinsic(self, name: str, *args: Value) -> Value:
        """Call an intrinsic of LLVM's, such as "llvm.fabs", on values of one type, which its own result has."""
        kind = args[0].type
        return self.call(self.module.declared(f"{name}.{kind.symbol}", kind, [kind] * len(args)), args)

    def phi(self, type: Type) -> Phi:
        """A value that is told later for each block before."""
        found = Phi(type, f"%v{self.function.fresh()}")
        self.block.lines.append(found)
        return found

    def position_at_end(self, block: Block) -> None:
        """Go on there."""
        self.block = block

    def branch(self, block: Block) -> None:
        self.put(f"br label %{block.name}")
        self.block.ended = True

    def cbranch(self, condition: Value, yes: Block, no: Block, mark: str = "") -> None:
        self.put(f"br {condition}, label %{yes.name}, label %{no.name}" + (f", !prof {mark}" if mark else ""))
        self.block.ended = True

    def ret(self, value: Value) -> None:
        self.put(f"ret {value}")
        self.block.ended = True

    def ret_void(self) -> None:
        self.put("ret void")
        self.block.ended = True

    @contextmanager
    def if_then(self, condition: Value, mark: str = "") -> Iterator[None]:
        """What is written inside happens where the condition holds."""
        yes, after = self.function.block(), self.function.block()
        self.cbranch(condition, yes, after, mark)
        with self._inside(yes, after):
            yield
        self.position_at_end(after)

    @contextmanager
    def if_else(self, condition: Value) -> Iterator[tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
        """Two places to write in: where the condition holds, and where it does not."""
        yes, no, after = self.function.block(), self.function.block(), self.function.block()
        self.cbranch(condition, yes, no)
        yield self._inside(yes, after), self._inside(no, after)
        self.position_at_end(after)

    @contextmanager
    def _inside(self, block: Block, after: Block) -> Iterator[None]:
        self.position_at_end(block)
        yield
        if not self.block.ended:
            self.branch(after)


def _truth(x: Value) -> Type:
    return vector(I1, x.type.count)
