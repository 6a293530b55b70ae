"""Several elements at once, where they provably lie together, and one by one everywhere else."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from helpers import nvrtc
from helpers.zoo import arrays_for, lengths_for, params_for
from laws.agreement import same
from laws.test_zoo import SINGLE

from unroll import T, Template, ops, t
from unroll.backends.cupy.emit import emit
from unroll.compiler.pipeline import compile_system

Build = Callable[[Template], object]


def wide(g: Template) -> object:
    return g.input("wide_x", (3, 8))[t] * g.param("wide_a", 8)


def broadcast(g: Template) -> object:
    return g.input("broadcast_x", (3, 8))[t] * g.param("broadcast_a", (3, 1)) + g.input("broadcast_z")[t]


def context(g: Template) -> object:
    return g.input("context_x", (2, 3, 8))[t] + g.input("context_v", (3, 8), over=None)


def labels(g: Template) -> object:
    return ops.where(g.input("labels_k", 4, dtype="int")[t] > 0, g.input("labels_x", 4)[t], g.param("labels_a", ()))


def shifted(g: Template) -> object:
    return g.input("shifted_x", 12)[t][4:12] + g.param("shifted_a", 8)


def odd(g: Template) -> object:
    return g.input("odd_x", 6)[t] + g.param("odd_a", 6)


def off_the_grid(g: Template) -> object:
    return g.input("off_the_grid_x", 12)[t][2:10] + g.param("off_the_grid_a", 8)


def rows_of_six(g: Template) -> object:
    return g.input("rows_of_six_x", 6)[t][0:4] + g.param("rows_of_six_a", 4)


def every_other(g: Template) -> object:
    return g.input("every_other_x", 8)[t][::2] + g.param("every_other_a", 4)


def backwards(g: Template) -> object:
    return g.input("backwards_x", 8)[t][::-1] + g.param("backwards_a", 8)


def turned(g: Template) -> object:
    return ops.transpose(g.input("turned_x", (8, 4))[t]) + g.param("turned_a", (4, 8))


TOGETHER = (wide, broadcast, context, labels, shifted)
APART = (odd, off_the_grid, rows_of_six, every_other, backwards, turned)


def template(*builds: Build) -> Template:
    """Their expressions at every step, in memory."""
    g = Template("expressions")
    for build in builds:
        g.output(f"{build.__name__}_out", ops.tanh(build(g)))  # type: ignore[attr-defined]
    return g


@pytest.mark.parametrize("build", [*TOGETHER, *APART], ids=lambda f: f.__name__)
def test_loads_follow_from_where_things_lie(build: Build) -> None:
    text = emit(compile_system(template(build).system, without=("vectorize",)), "float32").text
    assert ("for (int lane = 0; lane < 4; lane++)" in text) == (build in TOGETHER)


def test_both_forms_compute_the_same(emulated: str, rng: np.random.Generator) -> None:
    g = template(*TOGETHER, *APART)
    params = {n: np.float32(v) for n, v in params_for(g, rng).items()}
    arrays = arrays_for(g, lengths_for(g, 3), 2, rng)
    arrays = {n: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for n, v in arrays.items()}
    same(g.compile(emulated).run(params, **arrays), g.compile("numpy").run(params, **arrays), SINGLE, g.name)


@pytest.mark.parametrize(
    ("precision", "instructions"),
    [
        ("float32", ["ld.global.v4.f32", "st.global.v4.f32"]),
        ("bfloat16", ["ld.global.v4.u32", "st.global.v4.u32", "cvt.rn.bf16.f32"]),
        ("float16", ["ld.global.v4.u32", "st.global.v4.u32", "cvt.rn.f16.f32", "cvt.f32.f16"]),
    ],
)
def test_nvidias_compiler_makes_one_load_of_16_bytes(precision: str, instructions: list[str]) -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    g = Template("passed on")  # y is kept in 16 bits, and what the loops carry on is not
    x, h, y, r = g.input("x", 16), g.variable("h", 16), g.variable("y", 16), g.variable("r", 16)
    h[0], r[T + 1] = 0, 0
    h[t], y[t], r[t] = ops.tanh(x[t] + h[t - 1]), ops.tanh(h[t]), ops.tanh(y[t] + r[t + 1])
    g.output("r", r[t])
    g.output("y", y[t])
    text = emit(compile_system(g.system, without=("vectorize",)), "float32", precision).text
    made = nvrtc.assembly(library, text, "compute_90")
    found = re.findall(r"(?:ld|st)\.global\S*|cvt\.\S*", made)
    moves = {"ld", "st"}
    assert {i for i in found if i[:2] in moves and ".v4" not in i} == set()
    assert set(instructions) <= set(found)
