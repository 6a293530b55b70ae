"""Pointwise operations on LLVM values, scalar or vector alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...compiler.nests import Apply, Scalar
from .elementary import FUNCTIONS, emit
from .ir_builder import Code
from .llvm_ir import I64, Value, vector

COMPARISONS = {
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
ARITHMETIC = {"add": "add", "sub": "sub", "mul": "mul"}
NAMES = frozenset({
    *COMPARISONS, *ARITHMETIC, *FUNCTIONS, "copy", "cast", "stop_gradient", "div", "neg", "sqrt", "relu", "abs",
    "sign", "maximum", "minimum", "where", "logical_and", "logical_or", "logical_not", "isfinite",
})  # fmt: skip

Typed = tuple[Value, str]
"""A value and its kind."""


def width_of(value: Value) -> int:
    """Its lanes."""
    return value.type.count


def convert(c: Code, typed: Typed, kind: str) -> Value:
    """The value as another kind."""
    value, own = typed
    width = width_of(value)
    if own == kind:
        return value
    to = c.type(kind, width)
    if kind == "float":
        return c.b.sitofp(value, to) if own == "int" else c.b.uitofp(value, to)
    if kind == "int":
        return c.b.zext(value, to) if own == "bool" else c.b.fptosi(value, to)
    none = c.constant(own, 0, width)
    return c.b.fcmp_unordered("!=", value, none) if own == "float" else c.b.icmp_signed("!=", value, none)


def evaluated(c: Code, x: Scalar, given: Callable[[Scalar], Typed | None]) -> Typed:
    """The value of a scalar of a nest, where `given` has loads, indices and reductions, and all that is known."""
    found = given(x)
    if found is None:
        assert isinstance(x, Apply)
        found = pointwise(c, x.op, [evaluated(c, a, given) for a in x.args], x.kind)
    return found


def pointwise(c: Code, op: str, args: Sequence[Typed], result: str) -> Typed:
    """``op(*args)`` of the kind `result`, or of a comparison's own."""
    b = c.b
    if op in ("copy", "cast", "stop_gradient"):
        return convert(c, args[0], result), result
    if op in COMPARISONS:
        return _compared(c, COMPARISONS[op], args), "bool"
    if op.startswith("logical"):
        values = [convert(c, a, "bool") for a in args]
        if op == "logical_not":
            return b.not_(values[0]), "bool"
        return (b.and_ if op == "logical_and" else b.or_)(*values), "bool"
    if op == "isfinite":
        size = b.intrinsic("llvm.fabs", convert(c, args[0], "float"))
        return b.fcmp_ordered("<", size, c.constant("float", float("inf"), width_of(size))), "bool"
    if op == "where":
        chosen = convert(c, args[0], "bool")
        return b.select(chosen, convert(c, args[1], result), convert(c, args[2], result)), result
    values = [convert(c, a, result) for a in args]
    width = width_of(values[0])
    if result == "bool":  # bools add up to whether any is true
        return {"add": b.or_, "mul": b.and_}[op](*values), result
    if result == "int":
        return _whole(c, op, values, width), result
    if op in ARITHMETIC:
        return getattr(b, f"f{ARITHMETIC[op]}")(*values), result
    if op == "div":
        return b.fdiv(*values), result
    if op == "neg":
        return b.fneg(values[0]), result
    if op == "sqrt":
        return b.intrinsic("llvm.sqrt", values[0]), result
    if op == "abs":
        return b.intrinsic("llvm.fabs", values[0]), result
    if op == "relu":
        return larger(c, values[0], c.constant("float", 0, width)), result
    if op == "maximum":
        return larger(c, *values), result
    if op == "minimum":
        return smaller(c, *values), result
    if op == "sign":
        x, zero = values[0], c.constant("float", 0, width)
        one = b.intrinsic("llvm.copysign", c.constant("float", 1, width), x)
        apart = b.fcmp_ordered("!=", x, zero)
        return b.select(apart, one, b.fadd(x, zero)), result  # nan is its own sign, and so is 0, with that of -0 gone
    return emit(op, b, *values), result


def _compared(c: Code, sign: str, args: Sequence[Typed]) -> Value:
    kinds = {k for _, k in args}
    kind = "float" if "float" in kinds else "int" if "int" in kinds else "bool"
    values = [convert(c, a, kind) for a in args]
    if kind == "float":
        return (c.b.fcmp_unordered if sign == "!=" else c.b.fcmp_ordered)(sign, *values)
    return (c.b.icmp_signed if kind == "int" else c.b.icmp_unsigned)(sign, *values)


def _whole(c: Code, op: str, values: Sequence[Value], width: int) -> Value:
    """Integer arithmetic."""
    b, zero = c.b, c.constant("int", 0, width)
    if op in ARITHMETIC:
        whole: Value = getattr(b, ARITHMETIC[op])(*values)
        return whole
    if op == "neg":
        return b.neg(values[0])
    if op == "abs":
        return b.select(b.icmp_signed("<", values[0], zero), b.neg(values[0]), values[0])
    if op == "sign":
        positive, negative = b.icmp_signed(">", values[0], zero), b.icmp_signed("<", values[0], zero)
        kind = vector(I64, width)
        return b.sub(b.zext(positive, kind), b.zext(negative, kind))
    first, second = values
    if op in ("floor_divide", "remainder"):
        return _divided(c, op, first, second, width)
    greater = b.icmp_signed(">", first, second)
    return b.select(greater, first, second) if op == "maximum" else b.select(greater, second, first)


def _divided(c: Code, op: str, x: Value, y: Value, width: int) -> Value:
    """Division of integers towards minus infinity; by 0 it gives 0, as in NumPy."""
    b, zero, one = c.b, c.constant("int", 0, width), c.constant("int", 1, width)
    negated = b.icmp_signed("==", y, c.constant("int", -1, width))  # by which the least number overflows
    none = b.or_(b.icmp_signed("==", y, zero), negated)
    divisor = b.select(none, one, y)
    rest, quotient = b.srem(x, divisor), b.sdiv(x, divisor)
    past = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, divisor), zero))
    if op == "remainder":
        return b.select(none, zero, b.select(past, b.add(rest, divisor), rest))
    floored = b.select(past, b.sub(quotient, one), quotient)
    return b.select(none, b.select(negated, b.neg(x), zero), floored)


def larger(c: Code, x: Value, y: Value) -> Value:
    """The larger; a nan wins."""
    wins = c.b.or_(c.b.fcmp_ordered(">", x, y), c.b.fcmp_unordered("uno", x, x))
    return c.b.select(wins, x, y)


def smaller(c: Code, x: Value, y: Value) -> Value:
    """The smaller; a nan wins."""
    wins = c.b.or_(c.b.fcmp_ordered("<", x, y), c.b.fcmp_unordered("uno", x, x))
    return c.b.select(wins, x, y)
