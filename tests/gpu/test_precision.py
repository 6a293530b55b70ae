"""precision=: conversions to 16 bits and back, what is kept in them, and how far results then are from exact ones."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import nvrtc
from helpers.emulator import Emulator
from helpers.zoo import ZOO
from laws.agreement import executables, poison, same
from laws.test_zoo import specimen

from gpu.test_text import leaky, plan
from unroll import Template, ops, t
from unroll.backends.base import PRECISIONS, Options
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy.cuda_source import prelude
from unroll.backends.cupy.emit import emit
from unroll.backends.cupy.mixed_precision import CONVERSIONS
from unroll.backends.cupy.plan import Plan, Product, StepLoop, flat
from unroll.compiler.pipeline import compile_system
from unroll.errors import BackendError

ROUNDING = {"tf32": 2.0**-11, "bfloat16": 2.0**-8, "float16": 2.0**-11}
"""Half the distance from 1 to the next number: what one rounding changes at most, in proportion."""
SHORT = tuple(CONVERSIONS)
KERNELS = """
extern "C" __global__ void widen(const brief* x, real* y) {
    y[blockIdx.x * 256 + threadIdx.x] = widened(x[blockIdx.x * 256 + threadIdx.x]);
}
extern "C" __global__ void narrow(const real* x, brief* y) {
    y[blockIdx.x * 256 + threadIdx.x] = narrowed(x[blockIdx.x * 256 + threadIdx.x]);
}
"""

Convert = Callable[[str, np.ndarray, str], np.ndarray]


def short(g: Template, precision: str = "bfloat16") -> Plan:
    """The plan of a template's adjoint."""
    return emit(compile_system(g.adjoint().system, without=("vectorize",)), "float32", precision)


# -- conversions -----------------------------------------------------------------------------------------------------


def text(precision: str) -> str:
    """Both conversions, in a kernel each."""
    return prelude("float32") + CONVERSIONS[precision] + KERNELS


@pytest.fixture(params=["stand-in", pytest.param("device", marks=pytest.mark.gpu)])
def convert(request: pytest.FixtureRequest) -> Convert:
    """Runs one of the kernels."""
    if request.param == "device":
        request.getfixturevalue("device")
        return on_a_device
    request.getfixturevalue("compiler")
    libraries: dict[str, Any] = {}

    def run(kernel: str, x: np.ndarray, precision: str) -> np.ndarray:
        if precision not in libraries:
            libraries[precision] = Emulator(replace(plan(leaky(3)), text=text(precision)), Options()).library(False)
        y = np.empty(x.shape, {"widen": np.float32, "narrow": np.uint16}[kernel])
        held = [ctypes.c_void_p(a.ctypes.data) for a in (x, y)]
        table = (ctypes.c_void_p * 2)(*map(ctypes.addressof, held))
        function = getattr(libraries[precision], f"call_{kernel}")
        assert libraries[precision].run(function, ctypes.c_longlong(x.size // 256), 256, 0, table) == 0
        return y

    return run


def on_a_device(kernel: str, x: np.ndarray, precision: str) -> np.ndarray:
    """The same on a GPU."""
    import cupy

    function = cupy.RawModule(code=text(precision), options=("--std=c++17",)).get_function(kernel)
    y = cupy.empty(x.shape, {"widen": np.float32, "narrow": np.uint16}[kernel])
    function((x.size // 256,), (256,), (cupy.asarray(x), y))
    return np.asarray(cupy.asnumpy(y))


def formats(precision: str) -> Any:
    """The dtype of someone else's."""
    return np.float16 if precision == "float16" else pytest.importorskip("ml_dtypes").bfloat16


def alike(got: np.ndarray, want: np.ndarray) -> None:
    """Equal bits, but for those of a nan."""
    with np.errstate(all="ignore"):
        assert np.array_equal(np.isnan(got.astype(np.float32)), np.isnan(want.astype(np.float32)))
    sure = ~np.isnan(want.astype(np.float32))
    bits = f"u{want.dtype.itemsize}"
    assert np.array_equal(got.view(bits)[sure], want.view(bits)[sure])


@pytest.mark.parametrize("precision", SHORT)
def test_every_pattern_of_16_bits_is_widened(precision: str, convert: Convert) -> None:
    every = np.arange(2**16, dtype=np.uint16)
    alike(convert("widen", every, precision), every.view(formats(precision)).astype(np.float32))


@pytest.mark.parametrize("precision", SHORT)
def test_rounding_is_to_the_nearest_even(precision: str, convert: Convert) -> None:
    kind = formats(precision)
    exact = np.arange(2**16, dtype=np.uint16).view(kind).astype(np.float32)
    halfway = exact.view(np.uint32) + np.uint32(2**12 if precision == "float16" else 2**15)
    around = [(halfway + np.uint32(k)).view(np.float32) for k in (-1 % 2**32, 0, 1)]
    sweep = (np.arange(2**20, dtype=np.uint32) * np.uint32(4099)).view(np.float32)  # every exponent, either sign
    x = np.concatenate([exact, *around, sweep])
    with np.errstate(all="ignore"):
        want = x.astype(kind)
    alike(convert("narrow", x, precision).view(kind), want)


@pytest.mark.parametrize(
    ("precision", "name", "architecture"),
    [("bfloat16", "lstm_eight_matrices", "sm_80"), ("float16", "attention", "sm_90")],
)
def test_nvidias_compiler_takes_the_conversions(precision: str, name: str, architecture: str) -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    image, report = nvrtc.compiled(library, short(ZOO[name](), precision).text, architecture)
    assert image[:4] == b"\x7fELF"
    assert max(nvrtc.registers(report).values()) <= 64
    assert nvrtc.spilled(report) == 0


# -- what is kept in 16 bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_products_take_16_bits_and_sums_stay_in_32(name: str) -> None:
    g = ZOO[name]()
    if g.system.loss is None:
        return
    made, strict = short(g), emit(compile_system(g.adjoint().system, without=("vectorize",)), "float32")
    products = [[p for p in flat(x.actions) if isinstance(p, Product)] for x in (made, strict)]
    assert len(products[0]) == len(products[1])
    for p in products[0]:
        left, right, out = (made.kind(host) for host in (p.left.host, p.right.host, p.out.host))
        assert left == right
        assert left == "bfloat16" or out == "float32"
    for name_, decl in g.system.decls.items():
        if decl.kind == "param" and f"{name_}~" in made.layouts:
            assert made.kind(made.layouts[f"{name_}~"].host) == "float32"
    assert made.kind(made.layouts["loss"].host) == "float32"


def test_what_a_loop_adds_up_stays_in_32_bits() -> None:
    g = Template("shared")
    M, x, h = g.input("M", (6, 6), over=None), g.input("x", 6), g.variable("h", 6)
    h[0] = 0
    h[t] = ops.tanh(M @ h[t - 1] + x[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    # M~ in one product, or in one a step
    for left_out, kind in ((), "bfloat16"), (("hoist", "rematerialize"), "float32"):
        system = compile_system(g.adjoint(wrt=["M"]).system, without=("vectorize", *left_out))
        made = emit(system, "float32", "bfloat16")
        assert made.kind("h") == "bfloat16"
        assert made.kind("M~") == kind
        assert made.kind("M") == made.kind("x") == "float32"


def test_memory_is_foreseen() -> None:
    g = ZOO["lstm_eight_matrices"]()
    numbers = {"T": 1000, BATCH_END: 64}
    half, whole = (short(g, precision).arena(numbers)[1] for precision in ("bfloat16", "float32"))
    assert 0.5 * whole <= half < 0.6 * whole


def test_float32_is_as_it_was() -> None:
    g = ZOO["attention"]()
    assert short(g, "float32").text == plan(g, grad=True).text
    assert short(g, "tf32").text.startswith(plan(g, grad=True, whole=False).text)
    assert "brief" not in plan(g, grad=True).text


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *(("lstm_eight_matrices", precision) for precision in ROUNDING),
        ("gru", "float16"),
        ("attention", "bfloat16"),
    ],
)
def test_results_are_a_few_roundings_from_exact_ones(name: str, precision: str, emulated: str) -> None:
    distance(emulated, name, precision, 3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("name", ["lstm_eight_matrices", "gru", "attention"])
def test_results_on_a_device(name: str, precision: str, device: str) -> None:
    distance(device, name, precision, 7)


def distance(backend: str, name: str, precision: str, steps: int) -> None:
    """A step of a path rounds a product's factors and its result, forwards and once more backwards: 4 roundings."""
    it = specimen(name, steps)
    exact = {n: v.astype(np.float32).astype(np.float64) for n, v in it.params.items()}
    given = {n: np.float64(np.float32(v)) if np.asarray(v).dtype.kind == "f" else v for n, v in it.arrays.items()}
    want, want_grads = it.net().value_and_grad(exact, **given)
    params = {n: v.astype(np.float32) for n, v in exact.items()}
    arrays = {n: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for n, v in given.items()}
    net = it.template.compile(backend, precision=precision)
    value, grads = net.value_and_grad(params, **arrays)
    assert {a.dtype for a in grads.values()} == {np.dtype(np.float32)}
    same({"loss": value, **grads}, {"loss": want, **want_grads}, 4 * steps * ROUNDING[precision], precision)
    off = max(np.max(np.abs(grads[n] - g)) / np.max(np.abs(g)) for n, g in want_grads.items())
    assert off > ROUNDING[precision] / 16, "nothing was rounded"
    if backend == "emulated":
        poison(net)
    again, again_grads = net.value_and_grad(params, **arrays)
    same({"loss": again, **again_grads}, {"loss": value, **grads}, 0, "once more")


@pytest.mark.parametrize("precision", SHORT)
def test_what_one_gets_is_float32(precision: str, emulated: str) -> None:
    net = leaky(4).compile(emulated, precision=precision)
    X = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    got = net.run({}, x=X)["h"]
    assert got.dtype == np.float32
    (executable,) = executables(net)
    assert executable.plan.kind("h") == "float32"  # it is carried on
    net = passed().compile(emulated, precision=precision)
    got = net.run({}, x=X)["h"]
    assert got.dtype == np.float32
    assert np.array_equal(got, got.astype(formats(precision)).astype(np.float32))
    (executable,) = executables(net)
    assert executable.plan.kind("h") == precision


def passed() -> Template:
    """Nothing that is carried on."""
    g = Template("passed")
    x, h = g.input("x", 4), g.variable("h", 4)
    h[t] = ops.tanh(x[t])
    g.output("h", h[t])
    return g


def gated() -> Template:
    """Three states to which little is added: of a filter, of a unit that products read too, and of a leaky one."""
    g = Template("gated")
    x, W = g.input("x", 4), g.param("W", (4, 4))
    c, h, p = g.variable("c", 4), g.variable("h", 4), g.variable("p", 4)
    c[0], h[0], p[0] = 0, 0, 0
    c[t] = c[t - 1] + 0.001 * x[t]
    h[t] = h[t - 1] + 0.001 * (x[t] + W @ h[t - 1])
    p[t] = 0.999 * p[t - 1] + 0.001 * ops.tanh(W @ p[t - 1] + W @ h[t - 1] + x[t])
    g.loss = ops.sum(ops.sum(c[t] + h[t] * p[t]), over=t) * 1e-3
    return g


@pytest.mark.parametrize("precision", SHORT)
def test_small_steps_add_up(precision: str, emulated: str) -> None:
    g, steps = gated(), 4096
    params = {"W": np.diag(np.float32([0.01, 0.02, -0.01, 0.0])) + np.float32(0.001)}
    X = np.ones((steps, 1, 4), np.float32)
    exact = g.compile("numpy", dtype="float64")
    wide = {"W": params["W"].astype(float)}
    want = exact.run(wide, ["c", "h", "p"], x=X.astype(float))
    net = g.compile(emulated, precision=precision)
    found = net.run(params, ["c", "h", "p"], x=X)
    np.testing.assert_allclose(found["c"][-1], 4.096, rtol=1e-4)
    for name, value in want.items():
        np.testing.assert_allclose(found[name][-1], value[-1], rtol=4 * ROUNDING[precision], err_msg=name)
    _, grads = net.value_and_grad(params, ["W", "x"], x=X[:256])
    _, others = exact.value_and_grad(wide, ["W", "x"], x=X[:256].astype(float))
    for name, value in others.items():
        np.testing.assert_allclose(grads[name], value, atol=8 * ROUNDING[precision] * np.abs(value).max())


@pytest.mark.parametrize("name", ["gru", "lstm_eight_matrices", "elman"])
def test_what_a_loop_carries_on_stays_in_32_bits(name: str) -> None:
    """And products inside the loop have factors of 16 bits all the same."""
    made = short(ZOO[name]())
    carried = {"gru": ("h", "h~"), "lstm_eight_matrices": ("c", "c~"), "elman": ()}[name]
    for state in carried:
        assert made.kind(made.layouts[state].host) == "float32"
    products = [p for action in made.actions if isinstance(action, StepLoop) for p in flat((action,))]
    factors = {made.kind(part.host) for p in products if isinstance(p, Product) for part in (p.left, p.right)}
    assert factors == {"bfloat16"}


# -- messages --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_had_is_said(emulated: str) -> None:
    g = leaky(3)
    with pytest.raises(BackendError, match=r"precision='half': choose one of float32, tf32, bfloat16, float16"):
        g.compile(emulated, precision="half")
    for precision in PRECISIONS[1:]:
        with pytest.raises(BackendError, match=r"backend 'numpy' rounds nothing .* choose\s+backend='cupy'"):
            g.compile("numpy", precision=precision)
        with pytest.raises(BackendError, match="dtype='float32', got 'float64'"):
            g.compile(emulated, dtype="float64", precision=precision)
    with pytest.raises(BackendError, match=r"debug_nans=True .* leave precision= out"):
        g.compile(emulated, debug_nans=True, precision="tf32").run({}, x=np.zeros((1, 3), np.float32))
    assert g.compile("numpy", precision="float32").dtype == "float32"
