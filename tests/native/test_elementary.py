"""The native backend's elementary functions against wider arithmetic, special values included, at every width."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import llvmlite.binding as llvm

from unroll.backends.native import llvm_ir as ir
from unroll.backends.native.elementary import FUNCTIONS, emit
from unroll.backends.native.llvm_builder import InstructionBuilder
from unroll.backends.native.llvm_ir import constant

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
TYPES = [pytest.param(SINGLE, id="float32"), pytest.param(DOUBLE, id="float64")]
WIDE = {SINGLE: 16, DOUBLE: 8}
DIVISIONS = ("floor_divide", "fmod", "remainder")
UNARY = sorted(set(FUNCTIONS) - {"pow", *DIVISIONS})
EXPONENTS = (1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0, -2.0, -4.0)
LIMIT = 4.0
"""ULP."""
POINTS = 200_000
INF, NAN = np.inf, np.nan

Array = np.ndarray[Any, Any]
Apply = Callable[..., Array]


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


REFERENCE: dict[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos")},
    "sigmoid": sigmoid,
    "softplus": softplus,
    "pow": np.power,
    "round": np.rint,
    **{name: getattr(np, name) for name in ("floor", *DIVISIONS)},
}


def loop(name: str, dtype: np.dtype[Any], width: int, exponent: float | None) -> ir.Module:
    """A module with ``f(count, out, x, y)``: `name` over arrays, `width` numbers at a time."""
    element = ir.FLOAT if dtype == SINGLE else ir.DOUBLE
    kind = ir.vector(element, width)
    module = ir.Module()
    f = ir.Function(module, "f", ir.VOID, [ir.I64, ir.POINTER, ir.POINTER, ir.POINTER])
    entry, body, end = f.block(), f.block(), f.block()
    b = InstructionBuilder(entry)
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(ir.I64)
    i.add(constant(ir.I64, 0), entry)
    at = [b.gep(p, i, element) for p in f.args[1:]]
    args = [b.load(p, kind, dtype.itemsize) for p in at[1 : 2 if name in UNARY else 3]]
    if exponent is not None:
        args[1] = constant(kind, exponent)
    b.store(emit(name, b, *args), at[0], dtype.itemsize)
    following = b.add(i, constant(ir.I64, width))
    i.add(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, f.args[0]), body, end)
    b.position_at_end(end)
    b.ret_void()
    return module


@pytest.fixture(scope="module")
def apply() -> Iterator[Apply]:
    """Applies a function to arrays of one length, with code for the host's processor compiled once for each kind."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engines: dict[tuple[Any, ...], Any] = {}

    def engine(*key: Any) -> Any:
        if key not in engines:
            machine = llvm.Target.from_default_triple().create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
            )
            module = llvm.parse_assembly(str(loop(*key)))
            module.triple = llvm.get_process_triple()
            module.data_layout = str(machine.target_data)
            module.verify()
            passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
            passes.getModulePassManager().run(module, passes)
            engines[key] = llvm.create_mcjit_compiler(module, machine)
            engines[key].finalize_object()
        return engines[key]

    def apply(name: str, width: int, *arrays: Array, exponent: float | None = None) -> Array:
        n = len(arrays[0])
        padded = [np.concatenate([a, np.ones(-n % width, a.dtype)]) for a in arrays]
        out = np.empty_like(padded[0])
        pointers = [a.ctypes.data for a in (out, padded[0], padded[-1])]
        address = engine(name, out.dtype, width, exponent).get_function_address("f")
        ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 3)(address)(len(out), *pointers)
        return out[:n]

    yield apply
    engines.clear()


def special(dtype: np.dtype[Any]) -> Array:
    """Where functions end or turn: zeros, the smallest and largest numbers, powers of two, multiples of ½ and ln 2."""
    info = np.finfo(dtype)
    least, most = info.minexp - info.nmant, info.maxexp - 1
    positive = np.concatenate(
        [
            [0.0, info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, info.max, INF],
            np.ldexp(1.0, np.arange(least, most + 1)),
            np.arange(1, 4001) / 2,
            np.arange(1, 4001) * np.log(2) / 2,
            np.arange(1, 4001) * np.pi / 4,
            np.sqrt([0.5, 2.0]),
            np.abs(np.log(np.array([info.tiny, info.max, info.smallest_subnormal]).astype(np.longdouble))),
        ]
    ).astype(dtype)
    with np.errstate(all="ignore"):
        near = np.concatenate(
            [positive, np.nextafter(positive, dtype.type(0)), np.nextafter(positive, dtype.type(INF))]
        )
    return np.concatenate([near, -near, np.array([NAN], dtype)])


def sweep(dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    """Dense where the functions bend, evenly over all the bit patterns besides, and the special values."""
    bits = rng.integers(0, 2 ** (8 * dtype.itemsize), POINTS, dtype=f"u{dtype.itemsize}").view(dtype)
    ranges = [rng.uniform(-r, r, POINTS) for r in (1.0, 20.0, 110.0 if dtype == SINGLE else 750.0, 1e4)]
    about_zero = rng.choice([-1.0, 1.0], POINTS) * np.exp2(rng.uniform(-60, 1, POINTS))
    about_one = 1 + rng.choice([-1.0, 1.0], POINTS) * np.exp2(rng.uniform(-54, -1, POINTS))
    dense = np.concatenate([*ranges, about_zero, about_one, -about_one]).astype(dtype)
    return np.concatenate([dense, bits, special(dtype)])


def ulps(got: Array, exact: Array) -> Array:
    """How far `got` is from `exact`, in ULP of its type; infinite where one is nan or infinite and not the other."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(got.dtype).max)).astype(exact.dtype)
        off = np.abs(got.astype(exact.dtype) - exact) / unit
    agree = (got == rounded) | (np.isnan(got) & np.isnan(exact))
    return np.where(np.isfinite(got) & np.isfinite(rounded), off, np.where(agree, 0.0, INF)).astype(float)


def exact(name: str, *arrays: Array) -> Array:
    with np.errstate(all="ignore"):
        return REFERENCE[name](*(a.astype(np.float64 if a.dtype == SINGLE else np.longdouble) for a in arrays))


def check(name: str, got: Array, *arrays: Array) -> None:
    off = ulps(got, exact(name, *arrays))
    at = int(np.argmax(off))
    values = ", ".join(float(a[at]).hex() for a in arrays)
    assert off[at] <= LIMIT, f"{name}({values}) = {float(got[at]).hex()} is {off[at]:.2f} ULP off"


def same_bits(a: Array, b: Array) -> bool:
    """Whether all bits agree; any nan is as good as another."""
    unsigned = f"u{a.dtype.itemsize}"
    return bool(np.all((a.view(unsigned) == b.view(unsigned)) | (np.isnan(a) & np.isnan(b))))


def extended() -> bool:
    return np.finfo(np.longdouble).nmant > np.finfo(DOUBLE).nmant


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", UNARY)
def test_within_the_limit_and_the_same_at_every_width(
    name: str, dtype: np.dtype[Any], apply: Apply, rng: np.random.Generator
) -> None:
    x = sweep(dtype, rng)
    got = apply(name, WIDE[dtype], x)
    assert same_bits(got, apply(name, 1, x))
    if dtype == DOUBLE and not extended():
        pytest.skip("no wider type to measure against")
    check(name, got, x)


@pytest.mark.parametrize("width", [2, 3, 4, 32])
@pytest.mark.parametrize("name", ["tanh", "log1p", "cos"])
def test_other_widths(name: str, width: int, apply: Apply) -> None:
    x = special(SINGLE)
    assert same_bits(apply(name, width, x), apply(name, 1, x))


@pytest.mark.parametrize("dtype", TYPES)
def test_pow(dtype: np.dtype[Any], apply: Apply, rng: np.random.Generator) -> None:
    values = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 2.5, 1e-30, 1e30, INF, -INF, NAN], dtype)
    x = np.concatenate([rng.uniform(0, 20, 10_000).astype(dtype), np.repeat(values, len(values))])
    y = np.concatenate([rng.uniform(-20, 20, 10_000).astype(dtype), np.tile(values, len(values))])
    got = apply("pow", WIDE[dtype], x, y)
    assert same_bits(got, apply("pow", 1, x, y))
    check("pow", got, x, y)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", DIVISIONS)
def test_division_by_whole_multiples(name: str, dtype: np.dtype[Any], apply: Apply, rng: np.random.Generator) -> None:
    """As NumPy has it in the same precision, bit by bit, signs of zeros included."""
    values = np.array([0.0, -0.0, 1, -1, 0.1, -0.1, 2, -2, 3, -3, 2.5, 1e-30, 1e30, INF, -INF, NAN], dtype)
    x = np.concatenate([rng.uniform(-20, 20, 10_000).astype(dtype), np.repeat(values, len(values))])
    y = np.concatenate([rng.uniform(-3, 3, 10_000).astype(dtype), np.tile(values, len(values))])
    units = rng.uniform(-3, 3, 10_000).astype(dtype)  # and quotients that round to a whole number, from either side
    whole = (units * np.round(2.0 ** rng.uniform(0, 60, 10_000)).astype(dtype)).astype(dtype)
    near = [whole, np.nextafter(whole, dtype.type(0)), np.nextafter(whole, dtype.type(INF))]
    x, y = np.concatenate([x, *near]), np.concatenate([y, *[units] * 3])
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    for width in (1, WIDE[dtype]):
        assert same_bits(apply(name, width, x, y), want)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_pow_of_a_constant_exponent(
    exponent: float, dtype: np.dtype[Any], apply: Apply, rng: np.random.Generator
) -> None:
    x = sweep(dtype, rng)[::8]  # the references in extended precision are slow
    got = apply("pow", WIDE[dtype], x, exponent=exponent)
    assert same_bits(got, apply("pow", 1, x, exponent=exponent))
    check("pow", got, x, np.full_like(x, exponent))


EXACT = [
    ("exp", [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)]),
    ("expm1", [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (1e4, INF), (-1e4, -1.0), (1e-30, 1e-30)]),
    ("log", [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-INF, NAN), (-1e-40, NAN)]),
    ("log1p", [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN), (-1e-30, -1e-30)]),
    ("tanh", [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0), (-30.0, -1.0), (1e-30, 1e-30)]),
    ("sigmoid", [(0.0, 0.5), (INF, 1.0), (-INF, 0.0), (1e4, 1.0), (-1e4, 0.0)]),
    ("softplus", [(INF, INF), (-INF, 0.0), (1e4, 1e4), (-1e4, 0.0)]),
    ("sin", [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e-30, 1e-30)]),
    ("cos", [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)]),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "values"), EXACT, ids=[name for name, _ in EXACT])
def test_exact_values(name: str, values: list[tuple[float, float]], dtype: np.dtype[Any], apply: Apply) -> None:
    x, wanted = np.array([*values, (NAN, NAN)], dtype).T.copy()
    assert same_bits(apply(name, WIDE[dtype], x), wanted)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin"])
def test_the_smallest_numbers_are_kept(name: str, dtype: np.dtype[Any], apply: Apply) -> None:
    x = (np.finfo(dtype).smallest_subnormal * np.arange(1000)).astype(dtype)
    assert same_bits(apply(name, WIDE[dtype], x), x)
    assert same_bits(apply(name, WIDE[dtype], -x), -x)


@pytest.mark.parametrize("dtype", TYPES)
def test_gates_stay_within_their_bounds(dtype: np.dtype[Any], apply: Apply, rng: np.random.Generator) -> None:
    x = sweep(dtype, rng)
    x = x[~np.isnan(x)]
    assert np.all(np.abs(apply("tanh", WIDE[dtype], x)) <= 1)
    assert np.all(np.abs(apply("sigmoid", WIDE[dtype], x) - dtype.type(0.5)) <= 0.5)


def test_arguments_are_checked() -> None:
    b = InstructionBuilder(ir.Function(ir.Module(), "f", ir.VOID, []).block())
    one, other = constant(ir.FLOAT, 1.0), constant(ir.DOUBLE, 1.0)
    with pytest.raises(TypeError, match="one type"):
        emit("pow", b, one, other)
    with pytest.raises(TypeError, match="wanted 1"):
        emit("exp", b, one, one)
    with pytest.raises(TypeError, match="float, double"):
        emit("exp", b, constant(ir.I32, 1))
