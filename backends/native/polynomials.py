"""The constants behind the native elementary functions: polynomials, reductions and ranges, for each precision.

Each polynomial is a minimax fit of the named function: Lawson's reweighted least squares or Remez exchange in 60-digit
arithmetic, weighted so that the error of the final result is relative. The coefficients are then rounded one at a time,
lowest power first, each time fitting the ones not yet rounded again. The error left is noted beside each set; 1 ULP is
between 2⁻²⁴ and 2⁻²³ in float32, 2⁻⁵³ and 2⁻⁵² in float64. Coefficients stand lowest power first.
"""

from __future__ import annotations

from dataclasses import dataclass

Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class Precision:
    """One floating-point format, with the constants that the functions need in it."""

    bits: int
    """Width of the format."""
    mantissa: int
    """Stored bits of the significand."""
    bias: int
    """Bias of the exponent."""
    suffix: str
    """What the C library's function names end in."""
    log2e: float
    ln2: tuple[float, float]
    """ln 2 as a sum of two numbers of the format."""
    two_over_pi: float
    half_pi: tuple[float, float, float]
    """π/2 as a sum of three numbers of the format."""
    trig_limit: float
    """Below it, three terms of π/2 leave a reduced argument that is right to half an ULP."""
    exp_low: float
    """exp rounds to zero from here down."""
    exp_high: float
    """exp overflows before here, and its exponent still fits the two factors that make it."""
    one: float
    """From here up tanh rounds to 1; from twice here up so does sigmoid, and expm1 of minus twice here is -1."""
    tiny: float
    """Below it, expm1(x) rounds to x."""
    exp: Coefficients
    """(eʳ - 1 - r) / r² for |r| ≤ ln 2 / 2, by the relative error of eʳ - 1."""
    log: Coefficients
    """(2 artanh(s) / s - 2) / s² in s², for s = f / (2 + f) and 1 + f from √½ to √2."""
    sin: Coefficients
    """(sin(r) / r - 1) / r² in r², for |r| ≤ π/4."""
    cos: Coefficients
    """(cos(r) - 1 + r²/2) / r⁴ in r², for |r| ≤ π/4."""


_hex = float.fromhex

SINGLE = Precision(
    bits=32,
    mantissa=23,
    bias=127,
    suffix="f",
    log2e=_hex("0x1.715476p+0"),
    ln2=(_hex("0x1.62e43p-1"), _hex("-0x1.05c61p-29")),
    two_over_pi=_hex("0x1.45f306p-1"),
    half_pi=(_hex("0x1.921fb6p+0"), _hex("-0x1.777a5cp-25"), _hex("-0x1.ee59dap-50")),
    trig_limit=2.0**16,
    exp_low=-104.0,
    exp_high=89.0,
    one=9.25,
    tiny=2.0**-26,
    exp=tuple(  # 2^-26.1
        map(_hex, ("0x1.fffffep-2", "0x1.5554b0p-3", "0x1.55572ap-5", "0x1.122792p-7", "0x1.6b5c1ap-10"))
    ),
    log=tuple(map(_hex, ("0x1.55557ap-1", "0x1.995eccp-2", "0x1.31e23ep-2"))),  # 2^-30.2
    sin=tuple(map(_hex, ("-0x1.555546p-3", "0x1.110776p-7", "-0x1.9952fap-13"))),  # 2^-27.9
    cos=tuple(map(_hex, ("0x1.55554ap-5", "-0x1.6c0c28p-10", "0x1.99e80cp-16"))),  # 2^-33.0
)

DOUBLE = Precision(
    bits=64,
    mantissa=52,
    bias=1023,
    suffix="",
    log2e=_hex("0x1.71547652b82fep+0"),
    ln2=(_hex("0x1.62e42fefa39efp-1"), _hex("0x1.abc9e3b39803fp-56")),
    two_over_pi=_hex("0x1.45f306dc9c883p-1"),
    half_pi=(_hex("0x1.921fb54442d18p+0"), _hex("0x1.1a62633145c07p-54"), _hex("-0x1.f1976b7ed8fbcp-110")),
    trig_limit=2.0**28,
    exp_low=-746.0,
    exp_high=710.0,
    one=19.25,
    tiny=2.0**-55,
    exp=tuple(  # 2^-55.5
        map(
            _hex,
            (
                "0x1.0000000000003p-1",
                "0x1.555555555553bp-3",
                "0x1.5555555552afcp-5",
                "0x1.1111111118eb1p-7",
                "0x1.6c16c17d3fda8p-10",
                "0x1.a01a0173fb0bbp-13",
                "0x1.a019ab659bdd1p-16",
                "0x1.71de8d171f616p-19",
                "0x1.289e8111c726fp-22",
                "0x1.ae603d61517e7p-26",
            ),
        )
    ),
    log=tuple(  # 2^-59.5
        map(
            _hex,
            (
                "0x1.5555555555593p-1",
                "0x1.999999997f9fbp-2",
                "0x1.249249422a096p-2",
                "0x1.c71c51d809b60p-3",
                "0x1.746649a207501p-3",
                "0x1.39a09707dc15ap-3",
                "0x1.2f116f5c70a24p-3",
            ),
        )
    ),
    sin=tuple(  # 2^-57.9
        map(
            _hex,
            (
                "-0x1.5555555555548p-3",
                "0x1.111111110f730p-7",
                "-0x1.a01a019be9211p-13",
                "0x1.71de35552ab63p-19",
                "-0x1.ae5e4b833b5a8p-26",
                "0x1.5d8b5558870d1p-33",
            ),
        )
    ),
    cos=tuple(  # 2^-63.9
        map(
            _hex,
            (
                "0x1.555555555554bp-5",
                "-0x1.6c16c16c1500dp-10",
                "0x1.a01a019c8dd1dp-16",
                "-0x1.27e4f7f0500b7p-22",
                "0x1.1ee9dacb73125p-29",
                "-0x1.8fa5ec761ec6bp-37",
            ),
        )
    ),
)
