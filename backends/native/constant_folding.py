"""Constant folding while LLVM IR is built: what is known is neither written, parsed nor compiled."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

Value = Any


def number(value: Value) -> int | None:
    """The whole number that a scalar value is known to be, or None."""
    if isinstance(value, ir.Constant) and isinstance(value.type, ir.IntType):
        return int(value.constant)
    return None


class Builder(ir.IRBuilder):  # type: ignore[misc]
    """As its base class, with scalar whole numbers folded."""

    def _folded(self, x: Value, y: Value, combine: Callable[[int, int], int]) -> Value | None:
        a, b = number(x), number(y)
        if a is None or b is None:
            return None
        half = 1 << x.type.width - 1 if x.type.width > 1 else 0  # of one bit it is 0 or 1
        return ir.Constant(x.type, (combine(a, b) + half) % (1 << x.type.width) - half)  # as the machine wraps around

    def add(self, x: Value, y: Value, *args: Any, **kwargs: Any) -> Value:
        if number(x) == 0:
            return y
        if number(y) == 0:
            return x
        return self._folded(x, y, operator.add) or super().add(x, y, *args, **kwargs)

    def sub(self, x: Value, y: Value, *args: Any, **kwargs: Any) -> Value:
        if number(y) == 0:
            return x
        return self._folded(x, y, operator.sub) or super().sub(x, y, *args, **kwargs)

    def mul(self, x: Value, y: Value, *args: Any, **kwargs: Any) -> Value:
        if number(x) == 0 or number(y) == 1:
            return x
        if number(y) == 0 or number(x) == 1:
            return y
        return self._folded(x, y, operator.mul) or super().mul(x, y, *args, **kwargs)

    def sdiv(self, x: Value, y: Value, *args: Any, **kwargs: Any) -> Value:
        if number(y) == 1:
            return x
        return super().sdiv(x, y, *args, **kwargs)

    def and_(self, x: Value, y: Value, *args: Any, **kwargs: Any) -> Value:
        if isinstance(x.type, ir.IntType) and x.type.width == 1:
            for one, other in ((x, y), (y, x)):
                if number(one) is not None:
                    return other if number(one) else one
        return self._folded(x, y, operator.and_) or super().and_(x, y, *args, **kwargs)

    def icmp_signed(self, cmpop: str, lhs: Value, rhs: Value, *args: Any, **kwargs: Any) -> Value:
        a, b = number(lhs), number(rhs)
        if a is None or b is None:
            return super().icmp_signed(cmpop, lhs, rhs, *args, **kwargs)
        return ir.Constant(ir.IntType(1), int(COMPARE[cmpop](a, b)))

    def select(self, cond: Value, lhs: Value, rhs: Value, *args: Any, **kwargs: Any) -> Value:
        known = number(cond)
        if known is None:
            return super().select(cond, lhs, rhs, *args, **kwargs)
        return lhs if known else rhs

    def gep(self, ptr: Value, indices: Sequence[Value], *args: Any, **kwargs: Any) -> Value:
        if all(number(i) == 0 for i in indices):
            return ptr
        return super().gep(ptr, indices, *args, **kwargs)


COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
