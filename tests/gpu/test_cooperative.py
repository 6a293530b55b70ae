"""Loops as one kernel on a stand-in for CuPy: in graphs, where they do not fit or are refused, stuck, in threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from helpers import fakecuda
from helpers.fakecuda import CUDADriverError, CUDARuntimeError, World
from laws.agreement import EXACT, Arrays, Specimen, executables, poison, same
from laws.test_zoo import specimen

from unroll import Net, Template, ops, t
from unroll.backends.cupy import tuning
from unroll.errors import BackendError

from .test_launch import back, there
from .test_persistent import elman, of


@pytest.fixture
def cuda(cuda: World) -> World:
    """A machine whose devices take cooperative launches."""
    cuda.processors = 3
    return cuda


def run(net: Net, it: Specimen) -> Arrays:
    """The loss with all its gradients, on the host."""
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    return back({"loss": value, **grads})


def made(it: Specimen, **options: Any) -> Net:
    """A net on the device."""
    return it.template.compile("cupy", dtype="float64", **options)


def loops(net: Net) -> list[dict[str, int]]:
    """The blocks of every loop that is one kernel, for each frame that the net keeps."""
    frames = [f for e in executables(net) for kept in e._idle.values() for f in kept]
    return [{name: fit.blocks for name, fit in f.loops.fits.items()} for f in frames]


def leak() -> Specimen:
    """An integrator that leaks: a recurrence that multiplies no matrices."""
    g = Template("leak")
    x, h = g.input("x", 4), g.variable("h", 4)
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + x[t]
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return Specimen(g, {}, {"x": np.random.default_rng(0).standard_normal((5, 200, 4))})


@pytest.mark.parametrize(
    ("name", "early"),
    [
        ("elman", False),
        ("lstm_packed", True),
        ("lstm_packed", False),
        ("gru", False),
        ("attention", True),
        ("leak", True),
    ],
)
def test_eager_captured_and_replayed(name: str, early: bool, cuda: World) -> None:
    cuda.early = early
    it = leak() if name == "leak" else specimen(name, 4, 9)
    net = made(it)
    first = run(net, it)
    (kept,) = loops(net)
    assert set(kept) == {loop.kernel for loop in executables(net)[0].plan.persistent}
    assert 3 in kept.values()
    same(first, run(it.net(), it), EXACT, "eager")
    for how in ("captured", "replayed", "replayed again"):
        poison(net)
        same(run(net, it), first, 0, how)
    assert (cuda.calls["begin_capture"], cuda.calls["graph"]) == (1, 3)
    assert cuda.calls["launchCooperativeKernel"] == cuda.calls["memsetAsync"] == 2 * len(kept)
    cuda.processors = 0
    same(first, run(made(it), it), EXACT, "a launch for every step")


def test_weights_that_are_more_than_a_kernel_may_share_unasked(cuda: World, rng: np.random.Generator) -> None:
    it = of(elman(64), 2, 9, rng)
    net = made(it)
    first = run(net, it)
    (kept,) = loops(net)
    assert set(kept.values()) == {3}
    same(first, run(it.net(), it), EXACT, "eager")
    same(run(net, it), first, 0, "as a graph")


def test_loops_that_count_in_64_bits(cuda: World, monkeypatch: pytest.MonkeyPatch) -> None:
    it = specimen("elman", 4, 9)
    narrow = run(made(it), it)
    monkeypatch.setattr(tuning, "MAX_INT32_INDEX", 0)
    wide = made(it)
    for _ in range(2):
        same(run(wide, it), narrow, 0, "widths")
    assert loops(wide) != [{}]


def test_by_choice_every_step_is_a_launch(cuda: World) -> None:
    it = specimen("elman", 4, 9)
    net = made(it, without=("persistent",))
    for _ in range(2):
        same(run(net, it), run(it.net(), it), EXACT, "launches")
    assert not cuda.calls["launchCooperativeKernel"]


@pytest.mark.parametrize("lacks", [{"processors": 0}, {"room": 20_000}, {"resident": 0}], ids=lambda x: next(iter(x)))
def test_a_device_that_a_loop_does_not_fit(lacks: dict[str, int], cuda: World) -> None:
    vars(cuda).update(lacks)
    it = specimen("elman", 4, 9)
    net = made(it)
    first = run(net, it)
    same(first, run(it.net(), it), EXACT, "launches")
    same(run(net, it), first, 0, "as a graph")
    assert loops(net) == [{}]
    assert (cuda.calls["graph"], cuda.calls["launchCooperativeKernel"]) == (1, 0)


@pytest.mark.parametrize("when", ["at the launch", "at the end of the capture"])
def test_a_driver_that_takes_no_loop_into_a_graph(when: str, cuda: World) -> None:
    it = specimen("elman", 4, 9)
    net = made(it)
    if when == "at the launch":
        cuda.refuses = True
    else:
        cuda.fails["end_capture"] = [CUDARuntimeError("cudaErrorNotSupported: operation not supported")]
    first = run(net, it)
    for _ in range(2):
        same(run(net, it), first, 0, "eager")
    assert (cuda.calls["begin_capture"], cuda.calls["graph"]) == (1, 0)
    assert not any(s.is_capturing() for s in cuda.streams)


def test_a_driver_that_takes_no_loop(cuda: World) -> None:
    it = specimen("elman", 4, 9)
    net = made(it)
    error = CUDADriverError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: too many blocks in cooperative launch")
    cuda.fails["launchCooperativeKernel"] = [None, error]
    with pytest.raises(BackendError, match=r"refuses a loop as one kernel \(CUDA_ERROR_COOP.*without=\(.persistent"):
        run(net, it)
    same(run(net, it), run(it.net(), it), EXACT, "afterwards")


STUCK = r"some of its blocks waited 10 s for the others\. The results of {} are lost.*without=\(.persistent"


@pytest.mark.parametrize("calls", [0, 2])
def test_a_block_that_never_arrives(calls: int, cuda: World) -> None:
    it = specimen("elman", 4, 9)
    net, want = made(it), run(it.net(), it)
    for _ in range(calls):
        run(net, it)
    cuda.absent = True
    with pytest.raises(BackendError, match=STUCK.format("this run")) as caught:
        run(net, it)
    assert "test_cooperative.py" in str(caught.value)
    cuda.absent = False
    for _ in range(3):
        same(run(net, it), want, EXACT, "afterwards")


@pytest.mark.parametrize("calls", [0, 2])
def test_a_block_that_never_arrives_where_nobody_waits(calls: int, cuda: World) -> None:
    it = specimen("elman", 4, 9)
    net, want = made(it, on_device=True), run(it.net(), it)
    params, arrays = there(it.params), there({n: v for n, v in it.arrays.items() if n not in it.lengths})

    def issued() -> Arrays:
        value, grads = net.value_and_grad(params, it.floats, **it.lengths, **arrays)
        return {"loss": value, **grads}

    for _ in range(calls):
        issued()
    fakecuda.get_current_stream().synchronize()
    cuda.absent = True
    cuda.calls.clear()
    issued()
    issued()  # the host does not know yet, and this run finds that it is in vain
    assert not calls or not {"synchronize", "event.synchronize", "get"} & set(cuda.calls)
    fakecuda.get_current_stream().synchronize()
    cuda.absent = False
    with pytest.raises(BackendError, match=STUCK.format("the last runs, which stayed on the device,")):
        issued()
    for _ in range(3):
        same(back(issued()), want, EXACT, "afterwards")


def test_threads_call_one_net_at_once(cuda: World) -> None:
    nets = made(specimen("elman", 4, 9)), made(specimen("elman", 4, 9), on_device=True)
    failed: list[BaseException] = []

    def calls(number: int) -> None:
        it = specimen("elman", 4 + number // 2, 9)
        want = run(it.net(), it)
        with fakecuda.Stream(non_blocking=True):
            for _ in range(3):
                try:
                    same(run(nets[number % 2], it), want, EXACT, f"thread {number}")
                except BaseException as error:  # noqa: BLE001 - reported below
                    failed.append(error)

    threads = [threading.Thread(target=calls, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert cuda.calls["launchCooperativeKernel"]
