"""Elementary functions as LLVM IR: the same instructions for one number and for a vector of them, lane by lane.

Each emitter takes a builder and values of one type (float, double, or a vector of either) and returns a value of that
type, within 4 ULP over the whole range, with IEEE's special values and gradual underflow. No instruction carries a
fast-math flag and the fused multiply-adds are explicit, so every lane of every width gets the same bits.

`sin`, `cos` and divisions end in another basic block than they began in, where the builder then stands; they and `pow`
add private helper functions and declarations of the C library's scalar functions to the builder's module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from .llvm_builder import InstructionBuilder
from .llvm_ir import I32, UNLIKELY, Function, Type, Value, constant, integer, undefined, vector
from .polynomials import DOUBLE, SINGLE, Coefficients, Precision

Emitter = Callable[..., Value]


class _Lanes:
    """A builder for values of one type: constants are spread over the lanes, arithmetic is as in C."""

    def __init__(self, b: InstructionBuilder, like: Type) -> None:
        self.b = b
        if like.kind != "float":
            raise TypeError(f"an elementary function of {like}: its values are float, double, or vectors of them")
        self.type, self.width = like, like.count
        self.precision: Precision = SINGLE if like.bits == 32 else DOUBLE
        self.integer = vector(integer(like.bits), like.count)

    def const(self, value: float) -> Value:
        return constant(self.type, value)

    def whole(self, value: int) -> Value:
        return constant(self.integer, value)

    def call(self, intrinsic: str, *args: Value) -> Value:
        return self.b.intrinsic(f"llvm.{intrinsic}", *args)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        return self.call("fma", x, y, z)

    def add(self, x: Value, y: Value) -> Value:
        return self.b.fadd(x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self.b.fsub(x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self.b.fmul(x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self.b.fdiv(x, y)

    def abs(self, x: Value) -> Value:
        return self.call("fabs", x)

    def copysign(self, size: Value, sign: Value) -> Value:
        return self.call("copysign", size, sign)

    def pick(self, x: Value, relation: str, bound: Value, yes: Value, no: Value) -> Value:
        """`yes` in the lanes where the relation holds; `no` where it does not, or x is nan."""
        return self.b.select(self.b.fcmp_ordered(relation, x, bound), yes, no)

    def at_least(self, x: Value, low: float) -> Value:
        """The larger one; nan stays nan. Written the way that is one instruction on x86."""
        return self.pick(self.const(low), ">", x, self.const(low), x)

    def at_most(self, x: Value, high: float) -> Value:
        """The smaller one; nan stays nan."""
        return self.pick(self.const(high), "<", x, self.const(high), x)

    def polynomial(self, x: Value, coefficients: Coefficients) -> Value:
        """Horner's scheme: lanes and loop turns, not terms, are what runs side by side."""
        total: Value = self.const(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = self.fma(total, x, self.const(c))
        return total

    def as_bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.integer)

    def as_number(self, i: Value) -> Value:
        return self.b.bitcast(i, self.type)

    def power_of_two(self, biased: Value) -> Value:
        """The number with this biased exponent; bits above the exponent and its sign must be harmless."""
        return self.as_number(self.b.shl(biased, self.whole(self.precision.mantissa)))

    def rounder(self, offset: int = 0) -> float:
        """Added to a small number, rounds it to an integer, found plus `offset` in the sum's lowest bits.

        Unlike a conversion to an integer, this is defined for nan too, and it is one fused multiply-add with the
        multiplication before it.
        """
        return 1.5 * 2.0**self.precision.mantissa + offset


def _exp_tail(o: _Lanes, r: Value) -> Value:
    """(exp(r) - 1 - r) / r² for a reduced r."""
    return o.polynomial(r, o.precision.exp)


def _reduced(o: _Lanes, x: Value, offset: int) -> tuple[Value, Value]:
    """The n nearest to x / ln 2 as the low bits (plus `offset`) of an integer, and r = x - n ln 2."""
    p = o.precision
    rounder = o.const(o.rounder(offset))
    shifted = o.fma(x, o.const(p.log2e), rounder)
    n = o.sub(shifted, rounder)
    r = o.fma(n, o.const(-p.ln2[0]), x)
    return o.as_bits(shifted), o.fma(n, o.const(-p.ln2[1]), r)


def _exp(o: _Lanes, x: Value, high: float) -> Value:
    """exp, up to `high` and constant above it."""
    p = o.precision
    x = o.at_most(o.at_least(x, p.exp_low), high)
    # 2ⁿ leaves the range of the format at both ends, so it is two factors with half of n each; the last product
    # rounds, overflows or underflows as it should. Twice the bias as the offset gives each half its own.
    n, r = _reduced(o, x, 2 * p.bias)
    half = o.b.lshr(n, o.whole(1))
    e = o.fma(o.fma(_exp_tail(o, r), r, o.const(1.0)), r, o.const(1.0))
    e = o.mul(e, o.power_of_two(half))
    return o.mul(e, o.power_of_two(o.b.sub(n, half)))


def _emit_exp(o: _Lanes, x: Value) -> Value:
    return _exp(o, x, o.precision.exp_high)


def _emit_expm1(o: _Lanes, x: Value) -> Value:
    p = o.precision
    n, r = _reduced(o, o.at_most(o.at_least(x, -2 * p.one), p.exp_high), p.bias - 1)
    scale = o.power_of_two(n)  # of half the result: twice this overflows before the result does
    m = o.fma(o.mul(r, r), _exp_tail(o, r), r)
    half = o.fma(scale, m, o.sub(scale, o.const(0.5)))
    # Half of the smallest numbers is not a number, and the sum above loses the sign of -0.
    return o.pick(o.abs(x), "<", o.const(p.tiny), x, o.add(half, half))


def _emit_tanh(o: _Lanes, x: Value) -> Value:
    # With w = 1 - exp(-2|x|): tanh|x| = w/2 / (1 - w/2). And exp(-2|x|) = 2ⁿ exp(-2h), where n ≤ 0 is an integer and
    # h = |x| + n ln(2)/2 is small; the factors of two go into the constants. One term of ln 2 will do: its error grows
    # with n, but tanh flattens faster.
    p = o.precision
    size = o.at_most(o.abs(x), p.one)
    rounder = o.const(o.rounder(p.bias))
    shifted = o.fma(size, o.const(-2 * p.log2e), rounder)
    n = o.sub(shifted, rounder)
    h = o.fma(n, o.const(p.ln2[0] / 2), size)
    # (1 - exp(-2h)) / 2 = h - 2h² q(-2h), for q the tail of exp
    q = o.polynomial(h, tuple(-2 * c * (-2.0) ** i for i, c in enumerate(p.exp)))
    m = o.fma(o.mul(h, h), q, h)
    scale = o.power_of_two(o.as_bits(shifted))
    half_w = o.fma(scale, m, o.fma(scale, o.const(-0.5), o.const(0.5)))
    return o.copysign(o.div(half_w, o.sub(o.const(1.0), half_w)), x)


def _emit_sigmoid(o: _Lanes, x: Value) -> Value:
    # Of e / (1 + e) with e = exp(x), unlike 1 / (1 + exp(-x)), the left tail is right down to the subnormals.
    e = _exp(o, x, 2 * o.precision.one)
    return o.div(e, o.add(e, o.const(1.0)))


def _log_of(o: _Lanes, f: Value, k: Value) -> Value:
    """log(1 + f) + k ln 2 for a reduced f, through log(1 + f) = f - f²/2 + s (f²/2 + (2 artanh(s) / s - 2))."""
    p = o.precision
    s = o.div(f, o.add(f, o.const(2.0)))
    z = o.mul(s, s)
    half_square = o.mul(o.mul(f, o.const(0.5)), f)
    tail = o.add(half_square, o.mul(z, o.polynomial(z, p.log)))
    tail = o.fma(s, tail, o.mul(k, o.const(p.ln2[1])))
    return o.fma(k, o.const(p.ln2[0]), o.sub(f, o.sub(half_square, tail)))


def _split(o: _Lanes, x: Value, below: Value | None = None) -> tuple[Value, Value, Value]:
    """A positive normal x as m 2ᵏ, m from √½ to √2: m, k less `below`, and the biased exponent of 2ᵏ as an integer."""
    p = o.precision
    root = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[p.bits]  # √½
    one = p.bias << p.mantissa
    moved = o.b.add(o.as_bits(x), o.whole(one - root))
    biased = o.b.lshr(moved, o.whole(p.mantissa))
    m = o.as_number(o.b.add(o.b.and_(moved, o.whole((1 << p.mantissa) - 1)), o.whole(root)))
    # An integer in the low bits of 2^mantissa is that number plus the integer: no vector conversion is needed, which
    # AVX2 lacks for 64 bits.
    base = (p.bias + p.mantissa) << p.mantissa
    origin = o.const(2.0**p.mantissa + p.bias)
    return m, o.sub(o.sub(o.as_number(o.b.or_(biased, o.whole(base))), origin), below or o.const(0.0)), biased


def _log_ends(o: _Lanes, x: Value, zero: float, result: Value) -> Value:
    """A logarithm with its pole at `zero`: -inf there, nan below it, and infinity and nan as themselves."""
    pole = o.pick(x, "==", o.const(zero), o.const(-math.inf), o.const(math.nan))
    return o.pick(x, ">", o.const(zero), o.pick(x, "<", o.const(math.inf), result, x), pole)


def _emit_log(o: _Lanes, x: Value) -> Value:
    p = o.precision
    normal = o.b.fcmp_ordered(">=", x, o.const(2.0 ** (1 - p.bias)))
    shift = p.mantissa + 1
    scaled = o.b.select(normal, x, o.mul(x, o.const(2.0**shift)))
    m, k, _ = _split(o, scaled, o.b.select(normal, o.const(0.0), o.const(float(shift))))
    return _log_ends(o, x, 0.0, _log_of(o, o.sub(m, o.const(1.0)), k))


def _log1p_inside(o: _Lanes, x: Value, small: bool) -> Value:
    """log1p between its pole and infinity; `small` says that x is known to be from 0 to 1."""
    p = o.precision
    m, k, biased = _split(o, o.add(x, o.const(1.0)))
    # 1 + x = 2ᵏ(1 + f), and f straight from x has none of the rounding of 1 + x.
    scale = o.power_of_two(o.b.sub(o.whole(2 * p.bias), biased))
    f = o.fma(x, scale, o.sub(scale, o.const(1.0)))
    if not small:  # 1 is lost in a large x, and the inverse of the largest powers of two is not a normal number
        f = o.pick(x, "<", o.const(2.0 ** (2 * p.mantissa)), f, o.sub(m, o.const(1.0)))
    return _log_of(o, f, k)


def _emit_log1p(o: _Lanes, x: Value) -> Value:
    return o.copysign(_log_ends(o, x, -1.0, _log1p_inside(o, x, small=False)), x)


def _emit_softplus(o: _Lanes, x: Value) -> Value:
    e = _exp(o, o.b.fneg(o.abs(x)), 0.0)
    return o.add(o.at_least(x, 0.0), _log1p_inside(o, e, small=True))


def _circular(o: _Lanes, x: Value, sine: bool) -> Value:
    """Sine or cosine by Cody and Waite's reduction, right for |x| below the precision's limit."""
    p = o.precision
    size = o.abs(x)
    rounder = o.const(o.rounder())
    shifted = o.fma(size, o.const(p.two_over_pi), rounder)
    n = o.sub(shifted, rounder)
    r = size
    for term in p.half_pi:
        r = o.fma(n, o.const(-term), r)
    z = o.mul(r, r)
    sin = o.fma(o.mul(r, z), o.polynomial(z, p.sin), r)
    cos = o.fma(o.mul(z, z), o.polynomial(z, p.cos), o.fma(z, o.const(-0.5), o.const(1.0)))
    quadrant = o.as_bits(shifted)
    odd = o.b.icmp_unsigned("!=", o.b.and_(quadrant, o.whole(1)), o.whole(0))
    value = o.as_bits(o.b.select(odd, cos, sin) if sine else o.b.select(odd, sin, cos))
    # The sine is negative in quadrants 2 and 3, the cosine in 1 and 2; the sine also takes the sign of x.
    turned = quadrant if sine else o.b.add(quadrant, o.whole(1))
    sign = o.b.shl(turned, o.whole(p.bits - 2))
    if sine:
        sign = o.b.xor(sign, o.as_bits(x))
    return o.as_number(o.b.xor(value, o.b.and_(sign, o.whole(-1 << (p.bits - 1)))))


def _scalar_calls(o: _Lanes, name: str, *args: Value) -> Value:
    """The C library's function of each lane."""
    element = o.type.element
    function = o.b.module.declared(name + o.precision.suffix, element, [element] * len(args))
    function.attributes = ("nounwind",)
    if o.width == 1:
        return o.b.call(function, args)
    result = undefined(o.type)
    for lane in range(o.width):
        at = constant(I32, lane)
        one = o.b.call(function, [o.b.extract_element(a, at) for a in args])
        result = o.b.insert_element(result, one, at)
    return result


def _helper(o: _Lanes, name: str, arity: int, body: Callable[[_Lanes, Function], Value]) -> Function:
    """A private function of the module, written once for each type: a slow path that should stay out of line."""
    function = o.b.module.declared(f"unroll.{name}.{o.type.symbol}", o.type, [o.type] * arity)
    if not function.blocks:
        function.linkage, function.attributes = "internal", ("noinline", "nounwind")
        inside = _Lanes(InstructionBuilder(function.block()), o.type)
        inside.b.ret(body(inside, function))
    return function


def _or_library(name: str, arity: int, near: Emitter, fast: Emitter) -> Emitter:
    """`fast` in the lanes that are `near`, in the others the C library's function, out of line."""

    def slow(o: _Lanes, function: Function) -> Value:
        # Near lanes keep what they had: no lane's value depends on its neighbours.
        x, *more, known = function.args
        held = near(o, x, *more)
        return o.b.select(held, known, _scalar_calls(o, name, o.b.select(held, o.const(0.0), x), *more))

    def emit_either(o: _Lanes, *args: Value) -> Value:
        b = o.b
        known, far = fast(o, *args), b.not_(near(o, *args))
        if o.width > 1:
            far = b.icmp_unsigned("!=", b.bitcast(far, integer(o.width)), constant(integer(o.width), 0))
        before = b.block
        with b.if_then(far, UNLIKELY):
            helped, helping = b.call(_helper(o, name, arity + 1, slow), [*args, known]), b.block
        result = b.phi(o.type)
        result.add(known, before)
        result.add(helped, helping)
        return result

    return emit_either


def _emit_circular(name: str) -> Emitter:
    def near(o: _Lanes, x: Value) -> Value:
        return o.b.fcmp_ordered("<", o.abs(x), o.const(o.precision.trig_limit))

    return _or_library(name, 1, near, lambda o, x: _circular(o, x, sine=name == "sin"))


def _emit_pow(o: _Lanes, x: Value, y: Value) -> Value:
    exponent = y.known
    if exponent in (1.0, 2.0, 4.0, -1.0, -2.0):  # at -4 the roundings would add up to more than 4 ULP
        # The inverse first: the square of a large number overflows before the square of its inverse underflows.
        power = x if exponent > 0 else o.div(o.const(1.0), x)
        for _ in range(int(math.log2(abs(exponent)))):
            power = o.mul(power, power)
        return power
    if exponent == 3.0:
        return o.mul(o.mul(x, x), x)
    if exponent == 0.5:  # unlike sqrt, pow maps -0 to 0 and -inf to inf
        root = o.add(o.call("sqrt", x), o.const(0.0))
        return o.pick(x, "==", o.const(-math.inf), o.const(math.inf), root)
    return o.b.call(_helper(o, "pow", 2, lambda inside, f: _scalar_calls(inside, "pow", *f.args)), [x, y])


def _few_times(o: _Lanes, x: Value, y: Value) -> Value:
    few = o.b.fcmp_ordered("<", o.div(o.abs(x), o.abs(y)), o.const(2.0**o.precision.mantissa))
    return o.b.and_(few, o.b.fcmp_ordered("<", o.abs(y), o.const(math.inf)))


def _left_over(o: _Lanes, x: Value, y: Value) -> Value:
    # The rounded quotient is at most one too large, and what is left is a number of the format in either case.
    size, unit = o.abs(x), o.abs(y)
    rest = o.fma(o.b.fneg(o.call("floor", o.div(size, unit))), unit, size)
    return o.copysign(o.pick(rest, "<", o.const(0.0), o.add(rest, unit), rest), x)


_emit_fmod = _or_library("fmod", 2, _few_times, _left_over)


def _past(o: _Lanes, rest: Value, y: Value, step: Value) -> Value:
    """`step` where a remainder as C has it, with the sign of the dividend, has the other sign than the divisor."""
    zero = o.const(0.0)
    other = o.pick(o.mul(o.copysign(o.const(1.0), rest), y), "<", zero, step, zero)
    return o.pick(rest, "==", zero, zero, other)


def _emit_remainder(o: _Lanes, x: Value, y: Value) -> Value:
    rest = _emit_fmod(o, x, y)
    return o.pick(rest, "==", o.const(0.0), o.copysign(rest, y), o.add(rest, _past(o, rest, y, y)))


def _emit_floor_divide(o: _Lanes, x: Value, y: Value) -> Value:
    # What the exact remainder leaves is a whole multiple of y, but for the rounding of the quotient: as NumPy has it.
    rest, quotient, zero, one = _emit_fmod(o, x, y), o.div(x, y), o.const(0.0), o.const(1.0)
    times = o.sub(o.div(o.sub(x, rest), y), _past(o, rest, y, one))
    below = o.call("floor", times)
    whole = o.pick(o.sub(times, below), ">", o.const(0.5), o.add(below, one), below)
    return o.pick(y, "==", zero, quotient, o.pick(whole, "==", zero, o.copysign(whole, quotient), whole))


def _emitter(arity: int, body: Emitter) -> Emitter:
    def emitter(b: InstructionBuilder, *args: Value) -> Value:
        if len(args) != arity or any(a.type != args[0].type for a in args):
            raise TypeError(f"wanted {arity} value(s) of one type, not ({', '.join(str(a.type) for a in args)})")
        return body(_Lanes(b, args[0].type), *args)

    return emitter


FUNCTIONS: Mapping[str, Emitter] = MappingProxyType(
    {
        "exp": _emitter(1, _emit_exp),
        "expm1": _emitter(1, _emit_expm1),
        "log": _emitter(1, _emit_log),
        "log1p": _emitter(1, _emit_log1p),
        "tanh": _emitter(1, _emit_tanh),
        "sigmoid": _emitter(1, _emit_sigmoid),
        "softplus": _emitter(1, _emit_softplus),
        "sin": _emitter(1, _emit_circular("sin")),
        "cos": _emitter(1, _emit_circular("cos")),
        "pow": _emitter(2, _emit_pow),
        "floor": _emitter(1, lambda o, x: o.call("floor", x)),
        "round": _emitter(1, lambda o, x: o.call("rint", x)),
        "fmod": _emitter(2, _emit_fmod),
        "remainder": _emitter(2, _emit_remainder),
        "floor_divide": _emitter(2, _emit_floor_divide),
    }
)
"""Each function's emitter: the builder, then one value for each argument."""


def emit(name: str, b: InstructionBuilder, *args: Value) -> Value:
    """Emit the named function of values of one type at the builder's position.

    A `pow` whose exponent is a constant with the same small power in every lane becomes products.
    """
    return FUNCTIONS[name](b, *args)
