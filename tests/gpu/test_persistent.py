"""Loops as one kernel, on a stand-in for a device: what fits, products with weights on chip, and one that is stuck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.emulator import EmulatedFrame, Emulator
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for
from laws.agreement import EXACT, Specimen, close, executables, frozen, same
from laws.test_zoo import specimen

from unroll import Template, ops, t
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy import tuning
from unroll.backends.cupy.emit import emit
from unroll.backends.cupy.persistent import fit, share
from unroll.backends.cupy.plan import Fit, Plan, StepLoop
from unroll.compiler.pipeline import compile_system
from unroll.errors import BackendError

APART = {"many_operations"}
"""Recurrences with a product of two operands that both change: a loop that stays as it is."""


def made(g: Template, grad: bool = True) -> Plan:
    """The plan of a template's adjoint."""
    return emit(compile_system((g.adjoint() if grad else g).system, without=("vectorize",)), "float64")


def elman(hidden: int) -> Template:
    """A recurrence of one product, nothing else in the way."""
    g = Template("elman")
    x, W, h = g.input("x", hidden), g.param("W", (hidden, hidden)), g.variable("h", hidden)
    h[0] = 0
    h[t] = ops.tanh(0.1 * (W @ h[t - 1]) + x[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


def gated(hidden: int) -> Template:
    """Two products that the compiler makes one, whose columns a kernel reads in pairs."""
    g = Template("gated")
    x, h = g.input("x", hidden), g.variable("h", hidden)
    W, V = g.param("W", (hidden, hidden)), g.param("V", (hidden, hidden))
    h[0] = 0
    h[t] = ops.tanh(0.1 * (W @ h[t - 1]) + x[t]) * ops.sigmoid(0.1 * (V @ h[t - 1]))
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g


def of(g: Template, steps: int, batch: int, rng: np.random.Generator) -> Specimen:
    """A template with arrays."""
    return Specimen(g, frozen(params_for(g, rng)), frozen(arrays_for(g, lengths_for(g, steps), batch, rng)))


def frames(net: Any) -> list[EmulatedFrame]:
    """The memory that a net keeps."""
    return [f for e in executables(net) for found in e._idle.values() for f in found]


@pytest.mark.parametrize("name", ZOO)
def test_every_loop_that_can_be_one_kernel_is(name: str) -> None:
    left = [action for action in made(ZOO[name]()).actions if isinstance(action, StepLoop)]
    assert bool(left) == (name in APART)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_products_that_may_be_less_than_strict_stay_with_cublas(precision: str) -> None:
    lstm, filter_ = (compile_system(ZOO[n]().system, without=("vectorize",)) for n in ("lstm_packed", "digital_filter"))
    assert not emit(lstm, "float32", precision).persistent
    assert emit(filter_, "float32", precision).persistent


@pytest.mark.parametrize(
    ("make", "hidden", "batch", "processors", "want"),
    [
        (elman, 5, 1, 8, {(2, 1)}),
        (elman, 130, 9, 8, {(8, 3)}),
        (elman, 130, 50, 3, {(3, 3)}),
        (elman, 37, 64, 1, {(1, 1)}),
        (elman, 8, 70, 5, {(5, 5)}),
        (gated, 13, 2, 8, {(4, 1)}),
        (gated, 24, 9, 8, {(8, 3)}),
    ],
)
def test_products_of_every_shape(
    make: Callable[[int], Template],
    hidden: int,
    batch: int,
    processors: int,
    want: set[tuple[int, int]],
    emulated: str,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    monkeypatch.setattr(Emulator, "processors", processors)
    it = of(make(hidden), 2, batch, rng)
    net = it.template.compile(emulated, dtype="float64")
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    expected, expected_grads = it.net().value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": value, **grads}, {"loss": expected, **expected_grads}, EXACT, "products")
    (frame,) = frames(net)
    assert {(f.blocks, f.down) for f in frame.fits.values()} == want
    assert len(frame.fits) == 2


def test_names_that_are_words_of_the_kernel(emulated: str, rng: np.random.Generator) -> None:
    g = Template("words")
    share, row = g.input("share", 4), g.variable("row", 4)
    panel, multiply = g.param("panel", (4, 4)), g.param("multiply", 4)
    first, barrier, flag = g.param("first", 4), g.param("barrier", 4), g.param("flag", 4)
    row[0] = 0
    row[t] = ops.tanh(panel @ row[t - 1] * first + share[t] * multiply + barrier * flag)
    g.loss = ops.sum(ops.sum(row[t]), over=t)
    it = of(g, 3, 2, rng)
    value, _ = g.compile(emulated, dtype="float64").value_and_grad(it.params, **it.arrays)
    close(value, it.net().loss(it.params, **it.arrays), EXACT, "words")


def test_a_product_and_what_follows_it_share_a_barrier() -> None:
    text = made(gated(12)).text
    loops = text.split('extern "C" __global__ void __launch_bounds__')[1:]
    assert [loop.count("if (arrive_and_wait(") for loop in loops] == [1, 1]
    gru = made(ZOO["gru"](), grad=False).text
    assert gru.count("if (arrive_and_wait(") == 2, "a step of two products, one after the other"


def test_what_a_device_has_room_for() -> None:
    plan = made(elman(256))
    loop = plan.persistent[0]
    numbers = {BATCH_END: 64, "T": 9}
    whole = fit(loop, numbers, 132, 227 * 1024, 4)
    assert whole is not None
    assert (whole.blocks, whole.down) == (132, 16)
    assert whole.shared == 4 * (tuning.STAGED_NUMBERS + 256 * share(256, 132 // 16))
    small = fit(loop, numbers, 132, 32 * 1024, 4)
    assert small is not None
    assert small.down < whole.down, "fewer parts of the rows, and so fewer columns for each"
    assert small.shared <= 32 * 1024
    assert fit(loop, numbers, 132, 20 * 1024, 4) is None, "no room for the weights"
    assert fit(loop, {BATCH_END: 20_000, "T": 9}, 132, 227 * 1024, 4) is None, "products that are large enough alone"
    (points,) = made(ZOO["digital_filter"](), grad=False).persistent
    assert fit(points, {BATCH_END: 9, "T": 9}, 132, 227 * 1024, 4) == Fit(1, 1, tuning.THREADS_PER_BLOCK * 8)
    assert fit(points, {BATCH_END: 2_000_000, "T": 9}, 132, 227 * 1024, 4) is None, "points that fill the device alone"


@pytest.mark.parametrize("room", [1_000, 227 * 1024])
def test_weights_that_do_not_fit_stay_in_memory(room: int, emulated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Emulator, "room", room)
    it = specimen("gru", 2)
    net = it.template.compile(emulated, dtype="float64")
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    expected, expected_grads = it.net().value_and_grad(it.params, it.floats, **it.arrays)
    same({"loss": value, **grads}, {"loss": expected, **expected_grads}, EXACT, "gru")
    (frame,) = frames(net)
    assert bool(frame.fits) == (room > 1_000)


def test_by_choice_no_loop_is_one_kernel(emulated: str) -> None:
    it = specimen("elman", 2)
    net = it.template.compile(emulated, dtype="float64", without=("persistent",))
    close(net.loss(it.params, **it.arrays), it.net().loss(it.params, **it.arrays), EXACT, "elman")
    (executable,) = executables(net)
    assert not executable.plan.persistent
    assert "one kernel" not in str(net.explain(T=2))
    assert "nanoseconds" not in executable.plan.text


def test_a_block_that_never_comes_is_an_error_and_the_next_run_works(
    emulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = specimen("lstm_eight_matrices", 2, 64)
    net = it.template.compile(emulated, dtype="float64")
    monkeypatch.setattr(Emulator, "absent", 1)
    with pytest.raises(BackendError, match=r'waited 10 s for the others.*without=\("persistent",\)'):
        net.loss(it.params, **it.arrays)
    monkeypatch.setattr(Emulator, "absent", 0)
    close(net.loss(it.params, **it.arrays), it.net().loss(it.params, **it.arrays), EXACT, "afterwards")


def test_what_explain_says(emulated: str) -> None:
    said = str(ZOO["elman"]().compile(emulated).explain(T=5, batch=3))
    assert "  loop t = 1, ..., T: one kernel, 64 B of weights kept on the chip, where that fits the device" in said
    assert "  loop t = T, ..., 1: one kernel, 64 B of weights kept on the chip, where that fits the device" in said


@pytest.mark.gpu
@pytest.mark.parametrize(("make", "hidden", "batch"), [(elman, 256, 64), (gated, 1024, 16), (gated, 130, 3)])
def test_on_a_device(
    make: Callable[[int], Template], hidden: int, batch: int, rng: np.random.Generator, device: str
) -> None:
    it = of(make(hidden), 64, batch, rng)
    nets = [it.template.compile(device, dtype="float64", without=without) for without in ((), ("persistent",))]
    found = [net.value_and_grad(it.params, it.floats, **it.arrays) for net in (nets[0], *nets, nets[0])]
    first, again, launches, graph = ({"loss": value, **grads} for value, grads in found)
    same(first, launches, 10 * EXACT, "a launch for every step")
    same(first, again, 0, "a second time")
    same(first, graph, 0, "as a graph")
