"""The CUDA text itself: one kernel letter by letter, and all of it accepted by NVIDIA's compiler, without a GPU."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import nvrtc
from helpers.zoo import ZOO

from unroll import Template, ops, t
from unroll.backends.cupy.cuda_source import literal, prelude
from unroll.backends.cupy.emit import emit
from unroll.backends.cupy.plan import Plan
from unroll.backends.cupy.scalar_expressions import KNOWN
from unroll.compiler.pipeline import compile_system

GOLDEN = """\
__device__ inline void k2_h_1_body(index_t point, index_t v_batch_size_end, const real* v_x, index_t v_t_step, \
real* v_h) {
    if (point >= 3 * v_batch_size_end) return;
    index_t v_at = point % 3;
    point /= 3;
    real v_x_2 = v_x[(v_t_step - 1) * (3 * v_batch_size_end) + point * 3 + v_at];
    real v_x_3 = v_h[(v_t_step - 1) * (3 * v_batch_size_end) + point * 3 + v_at];
    real v_v = (v_x_2 + v_x_3);
    real v_v_2 = tanh(v_v);
    real v_v_3 = v_v_2;
    v_h[v_t_step * (3 * v_batch_size_end) + point * 3 + v_at] = v_v_3;
}
extern "C" __global__ void k2_h_1(index_t v_batch_size_end, const real* v_x, index_t v_t_step, real* v_h) {
    k2_h_1_body((index_t)blockIdx.x * 256 + threadIdx.x, v_batch_size_end, v_x, v_t_step, v_h);
}
"""
FOUR_AT_ONCE = """\
__device__ inline void k2_h_1_body(index_t point, index_t v_batch_size_end, const real* v_x, index_t v_t_step, \
real* v_h) {
    if (point >= 3 * v_batch_size_end) return;
    index_t v_at = point % 3;
    point /= 3;
    Lanes<real, 4> v_x_2 = *(const Lanes<real, 4>*)&v_x[(v_t_step - 1) * (12 * v_batch_size_end) \
+ point * 12 + (v_at * 4)];
    Lanes<real, 4> v_x_3 = *(const Lanes<real, 4>*)&v_h[(v_t_step - 1) * (12 * v_batch_size_end) \
+ point * 12 + (v_at * 4)];
    Lanes<real, 4> v_y;
    #pragma unroll
    for (int lane = 0; lane < 4; lane++) {
        real v_v = (v_x_2.at[lane] + v_x_3.at[lane]);
        real v_v_2 = tanh(v_v);
        real v_v_3 = v_v_2;
        v_y.at[lane] = v_v_3;
    }
    *(Lanes<real, 4>*)&v_h[v_t_step * (12 * v_batch_size_end) + point * 12 + (v_at * 4)] = v_y;
}
extern "C" __global__ void k2_h_1(index_t v_batch_size_end, const real* v_x, index_t v_t_step, real* v_h) {
    k2_h_1_body((index_t)blockIdx.x * 64 + threadIdx.x, v_batch_size_end, v_x, v_t_step, v_h);
}
"""
LOOP = """\
extern "C" __global__ void __launch_bounds__(256, 1) loop0_t(unsigned* barrier, unsigned* flag, int down, \
index_t v_T_end, index_t v_batch_size_end, const real* v_x, real* v_h) {
    extern __shared__ Four room[];
    unsigned target = 0;
    if (look(barrier + 1)) return;
    __syncthreads();
    #pragma unroll 1
    for (index_t v_t_step = 1; v_t_step <= v_T_end; v_t_step++) {
        if (arrive_and_wait(barrier, flag, target)) return;
        #pragma unroll 1
        for (index_t point = (index_t)blockIdx.x * 256 + threadIdx.x; point < 3 * v_batch_size_end; \
point += (index_t)gridDim.x * 256) {
            k2_h_1_body(point, v_batch_size_end, v_x, v_t_step, v_h);
        }
    }
}
"""


def leaky(width: int) -> Template:
    """A recurrence of one fused kernel a step."""
    g = Template("leaky")
    x, h = g.input("x", width), g.variable("h", width)
    h[0] = 0
    h[t] = ops.tanh(x[t] + h[t - 1])
    g.output("h", h[t])
    return g


def plan(g: Template, dtype: str = "float32", grad: bool = False, whole: bool = True) -> Plan:
    """The plan of a template, or of its adjoint."""
    system = (g.adjoint() if grad else g).system
    return emit(compile_system(system, without=("vectorize",)), dtype, whole=whole)


def test_one_kernel_letter_by_letter() -> None:
    text = plan(leaky(3), whole=False).text
    assert text.startswith(prelude("float32"))
    assert text.split("\n\n")[-1] == GOLDEN
    assert plan(leaky(12), whole=False).text.split("\n\n")[-1] == FOUR_AT_ONCE


def test_a_loop_as_one_kernel_letter_by_letter() -> None:
    text = plan(leaky(3)).text
    assert text.startswith(plan(leaky(3), whole=False).text)
    assert text.split("\n\n")[-1] == LOOP


def test_every_operation_has_a_form() -> None:
    primitive = {op.name for op in ops.OPS.values() if op.compute is None and op.body is None}
    assert primitive == KNOWN


def test_the_same_text_every_time() -> None:
    assert plan(ZOO["attention"]()).text == plan(ZOO["attention"]()).text


WORDS = {
    "alignas", "alignof", "and_eq", "bitand", "bitor", "char16_t", "char32_t", "compl", "const_cast", "constexpr",
    "decltype", "double", "dynamic_cast", "export", "goto", "mutable", "noexcept", "not_eq", "nullptr", "or_eq",
    "reinterpret_cast", "register", "static_assert", "static_cast", "thread_local", "typename", "virtual", "wchar_t",
    "xor_eq", "NULL", "NAN", "threadIdx",
}  # fmt: skip


def test_no_name_of_a_users_is_a_word_of_the_language_or_of_ours() -> None:
    own = set(re.findall(r"\b[A-Za-z_]\w*", plan(ZOO["lstm_eight_matrices"](), grad=True).text)) | WORDS
    g = Template("words")
    for word in own - {"loss", "stop"}:
        x, h = g.input(word), g.variable(f"{word} of h", ())
        h[0] = 0
        h[t] = ops.tanh(x[t] + h[t - 1])
        g.output(f"{word} out", ops.exp(h[t]))
    given = re.findall(r"__global__ void (?:__\w+\(.*?\) )?\w+\((.*?)\) \{", plan(g).text)
    assert len(given) > len(own)
    for name in (parameter.split()[-1] for parameters in given for parameter in parameters.split(", ")):
        assert name.startswith("v_") or name in ("barrier", "flag", "down"), name


@pytest.mark.parametrize("value", [0.1, -2.5, -0.0, 1e-40, 7.1e-46, 1e-60, -1e-60, 3.4028235e38, 1e39, -1e300, np.inf])
def test_a_number_is_what_its_type_has_of_it(value: float) -> None:
    for dtype in (np.float32, np.float64):
        text = literal(value, "float", dtype.__name__)
        with np.errstate(over="ignore"):
            want, got = dtype(value), dtype(eval(text.replace("f)", ")").removesuffix("f"), {"ENDLESS": np.inf}))
        assert (got, np.signbit(got)) == (want, np.signbit(want))
        if "ENDLESS" not in text:
            held = float(text.strip("()").removesuffix("f"))
            assert held == 0 or (dtype(held) != 0 and np.isfinite(dtype(held))), "compilers refuse what does not fit"


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("lstm_eight_matrices", "sm_80"), ("lstm_eight_matrices", "sm_90"), ("attention", "sm_90"), ("grid", "sm_80")],
)
def test_nvidias_compiler_takes_it_without_spilling(name: str, architecture: str) -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    made = plan(ZOO[name](), grad=True)
    image, report = nvrtc.compiled(library, made.text, architecture)
    assert image[:4] == b"\x7fELF"
    used = nvrtc.registers(report)
    assert set(used) == set(made.kernels)
    loops = {loop.kernel for loop in made.persistent}
    rest = [n for name, n in used.items() if name not in loops]
    assert max(rest) <= 64, "more would leave less than four blocks of 256 threads on a multiprocessor"
    assert {used[name] <= 255 for name in loops} == {True}, "more would leave no block of 256 threads"
    assert nvrtc.spilled(report) == 0


def test_float32_is_all_there_is_in_float32() -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    made = nvrtc.assembly(library, plan(ZOO["attention"](), grad=True).text, "compute_90")
    assert set(re.findall(r"\S*\.f64|(?:div|rem)\.s64", made)) == set()
