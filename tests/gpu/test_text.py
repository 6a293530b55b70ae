"""The CUDA text itself: one kernel letter by letter, and all of it accepted by NVIDIA's compiler, without a GPU."""

from __future__ import annotations

import pytest
from helpers import nvrtc
from helpers.zoo import ZOO

from unroll import Template, ops, t
from unroll.backends.cupy.emit import emit
from unroll.backends.cupy.plan import Plan
from unroll.backends.cupy.text import prelude
from unroll.backends.cupy.values import KNOWN
from unroll.compiler import compile_system

GOLDEN = """\
__device__ inline void k2_h_1_body(place point, place B_end, const real* x, place t_step, real* h) {
    if (point >= 3 * B_end) return;
    place at = point % 3;
    point /= 3;
    real x_2 = x[(t_step - 1) * (3 * B_end) + point * 3 + at];
    real x_3 = h[(t_step - 1) * (3 * B_end) + point * 3 + at];
    real v = (x_2 + x_3);
    real v_2 = tanh(v);
    real v_3 = v_2;
    h[t_step * (3 * B_end) + point * 3 + at] = v_3;
}
extern "C" __global__ void k2_h_1(place B_end, const real* x, place t_step, real* h) {
    k2_h_1_body((place)blockIdx.x * 256 + threadIdx.x, B_end, x, t_step, h);
}
"""
FOUR_AT_ONCE = """\
__device__ inline void k2_h_1_body(place point, place B_end, const real* x, place t_step, real* h) {
    if (point >= 3 * B_end) return;
    place at = point % 3;
    point /= 3;
    Lanes<real, 4> x_2 = *(const Lanes<real, 4>*)&x[(t_step - 1) * (12 * B_end) + point * 12 + (at * 4)];
    Lanes<real, 4> x_3 = *(const Lanes<real, 4>*)&h[(t_step - 1) * (12 * B_end) + point * 12 + (at * 4)];
    Lanes<real, 4> y;
    #pragma unroll
    for (int lane = 0; lane < 4; lane++) {
        real v = (x_2.at[lane] + x_3.at[lane]);
        real v_2 = tanh(v);
        real v_3 = v_2;
        y.at[lane] = v_3;
    }
    *(Lanes<real, 4>*)&h[t_step * (12 * B_end) + point * 12 + (at * 4)] = y;
}
extern "C" __global__ void k2_h_1(place B_end, const real* x, place t_step, real* h) {
    k2_h_1_body((place)blockIdx.x * 64 + threadIdx.x, B_end, x, t_step, h);
}
"""
LOOP = """\
extern "C" __global__ void __launch_bounds__(256, 1) loop0_t(unsigned* meeting, unsigned* told, int down, \
place T_end, place B_end, const real* x, real* h) {
    extern __shared__ Four room[];
    unsigned target = 0;
    if (look(meeting + 1)) return;
    __syncthreads();
    #pragma unroll 1
    for (place t_step = 1; t_step <= T_end; t_step++) {
        if (meet(meeting, told, target)) return;
        #pragma unroll 1
        for (place point = (place)blockIdx.x * 256 + threadIdx.x; point < 3 * B_end; \
point += (place)gridDim.x * 256) {
            k2_h_1_body(point, B_end, x, t_step, h);
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
    return emit(compile_system(system, without=("pack",)), dtype, whole=whole)


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


def test_names_that_are_words_of_the_language() -> None:
    g = Template("words")
    x, h = g.input("float", 4), g.variable("tanh", 4)
    h[0] = 0
    h[t] = ops.tanh(x[t] + h[t - 1])
    g.output("exp", h[t])
    assert "const real* float_2" in plan(g).text
    assert "real* tanh_2" in plan(g).text


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
