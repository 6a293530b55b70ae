"""Indices of 32 bits where everything is small enough, of 64 bits otherwise, and the same results with both."""

from __future__ import annotations

import pytest
from helpers import nvrtc
from helpers.zoo import ZOO
from laws.agreement import executables, same
from laws.test_zoo import specimen

from unroll import Template, axis, ops, t
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy import tuning
from unroll.backends.cupy.cuda_source import WIDE
from unroll.backends.cupy.emit import emit
from unroll.backends.cupy.plan import Plan
from unroll.compiler.pipeline import compile_system

s, S = axis("s")


def plan(g: Template) -> Plan:
    """The plan of a template."""
    return emit(compile_system(g.system, without=("vectorize",)), "float32")


def test_both_widths_give_the_same_bits(emulated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    it = specimen("many_operations", 3)
    net = it.template.compile(emulated, dtype="float64")
    narrow, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    monkeypatch.setattr(tuning, "MAX_INT32_INDEX", 0)
    (executable,) = executables(net)
    executable._idle.clear()
    wide, wide_grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": wide, **wide_grads}, {"loss": narrow, **grads}, 0, "widths")
    assert executable._machine._libraries.keys() == {False, True}


def test_a_host_beyond_32_bits() -> None:
    g = Template("sums")
    x, h = g.input("x", 1024), g.variable("h", 1024)
    h[0] = 0
    h[t] = h[t - 1] + x[t]
    g.output("h", h[t])
    most = tuning.MAX_INT32_INDEX // 1024
    assert not plan(g).wide({BATCH_END: 1, "T": most - 1})
    assert plan(g).wide({BATCH_END: 1, "T": most})  # its slot for step 0 is one more
    assert plan(g).wide({BATCH_END: most, "T": 1})


def test_more_points_than_any_host_has_elements() -> None:
    g = Template("pairs")
    x, y = g.input("x"), g.input("y", over=s)
    g.output("z", ops.sum(ops.sum(ops.exp(x[t] * y[s]), over=s), over=t))
    made = plan(g)
    sizes = made.sizes({BATCH_END: 1, "T": 2**15, "S": 2**15})
    assert made.wide({BATCH_END: 1, "T": 2**16, "S": 2**16})
    assert not made.wide({BATCH_END: 1, "T": 2**15, "S": 2**15}), sizes


def test_nvidias_compiler_takes_64_bits() -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    image, _ = nvrtc.compiled(library, plan(ZOO["many_operations"]()).text, "sm_80", WIDE)
    assert image[:4] == b"\x7fELF"
