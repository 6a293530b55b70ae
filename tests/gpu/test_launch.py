"""What launches plans, run on a stand-in for CuPy: eager, captured, replayed, in streams and threads, and failing."""

from __future__ import annotations

import gc
import threading
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers import fakecuda, fakecupy
from helpers.fakecuda import World
from laws.agreement import EXACT, Arrays, Specimen, executables, poison, same
from laws.test_zoo import specimen

from unroll import Net, Template, ops, t
from unroll.backends.cupy import launch, tuning
from unroll.errors import BackendError, MemoryLimitError


@cache
def small(inputs: int = 3, hidden: int = 4, classes: int = 5) -> Template:
    """A recurrence with labels, products and fused kernels."""
    g = Template("small")
    x, y = g.input("x", inputs), g.input("y", dtype="int")
    W, U, V = g.param("W", (hidden, hidden)), g.param("U", (hidden, inputs)), g.param("V", (classes, hidden))
    h, o = g.variable("h", hidden), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.output("o", o[t])
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    return g


def made(steps: int = 5, batch: int = 3, seed: int = 0) -> dict[str, Any]:
    """Inputs."""
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((steps, batch, 3)), "y": rng.integers(0, 5, (steps, batch))}


def net(**options: Any) -> Net:
    """The small net on the stand-in."""
    return small().compile("cupy", dtype="float64", **options)


PARAMS = small().compile("numpy", dtype="float64").init(seed=1)


def want(inputs: Any) -> Arrays:
    """What NumPy makes of it."""
    value, grads = small().compile("numpy", dtype="float64").value_and_grad(PARAMS, **inputs)
    return {"loss": value, **grads}


def there(arrays: Any) -> Any:
    """The arrays on the current device."""
    return {n: fakecupy.asarray(v) for n, v in arrays.items()}


def back(arrays: Any) -> Arrays:
    """The arrays on the host."""
    return {n: fakecupy.asnumpy(v) for n, v in arrays.items()}


def run(made_net: Net, params: Any, inputs: Any) -> Arrays:
    """The value with its gradients, wherever they are."""
    value, grads = made_net.value_and_grad(params, **inputs)
    return {"loss": value, **grads}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", ["lstm_eight_matrices", "attention"])
def test_eager_captured_and_replayed(name: str, early: bool, cuda: World) -> None:
    cuda.early = early
    it = specimen(name, 7)
    compiled = it.template.compile("cupy", dtype="float64")

    def both(one: Net) -> Arrays:
        value, grads = one.value_and_grad(it.params, it.floats, **it.arrays)
        return {"loss": value, **grads}

    first = both(compiled)
    same(first, both(it.net()), EXACT, "eager")
    assert cuda.calls["graph"] == 0
    for how in ("captured", "replayed", "replayed again"):
        poison(compiled)
        same(both(compiled), first, 0, how)
    assert (cuda.calls["begin_capture"], cuda.calls["graph"]) == (1, 3)


def test_without_a_graph_nothing_changes(cuda: World) -> None:
    inputs, plain = made(), net(without=("graph",))
    for _ in range(3):
        same(run(plain, PARAMS, inputs), run(net(), PARAMS, inputs), 0, "eager")
    assert cuda.calls["graph"] == 0


def test_a_run_of_too_many_calls_is_no_graph(cuda: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, few, many = net(), made(2), made(40)
    run(one, PARAMS, many)
    monkeypatch.setattr(tuning, "MAX_GRAPH_NODES", 100)
    for inputs in (few, few, many, many):
        same(run(one, PARAMS, inputs), want(inputs), EXACT, "few or many")
    assert cuda.calls["graph"] == 1


def test_shapes_that_come_and_go(cuda: World) -> None:
    one = net()
    for steps in (5, 0, 1, 5, 5, 9, 2, 5, 5):
        inputs = made(steps, 1 + steps % 3, steps)
        same(run(one, PARAMS, inputs), want(inputs), EXACT, f"{steps} steps")


# -- arrays on the device ----------------------------------------------------------------------------------------------


def test_what_stays_on_the_device_is_not_waited_for(cuda: World) -> None:
    one, params, inputs = net(on_device=True), there(PARAMS), there(made())
    for _ in range(2):
        same(back(run(one, params, inputs)), want(made()), EXACT, "on the device")
    cuda.calls.clear()
    results = run(one, params, inputs)
    assert {type(v) for v in results.values()} == {fakecupy.ndarray}
    calls = {"wait_event": 1, "launch": 2, "graph": 1, "empty": 4, "alloc": 4, "record": 1}
    assert dict(cuda.calls) == calls
    same(back(results), want(made()), EXACT, "on the device")


def test_runs_on_several_streams_follow_each_other(cuda: World) -> None:
    one, left, right = net(on_device=True), fakecuda.Stream(non_blocking=True), fakecuda.Stream(non_blocking=True)
    for number in range(6):
        with (left, right)[number % 2]:
            inputs = made(seed=number)
            results = run(one, there(PARAMS), there(inputs))
            if number in (2, 3, 5):  # of the others nobody has waited for anything yet
                same(back(results), want(inputs), EXACT, f"run {number}")


def test_numpy_arrays_that_change_after_the_call(cuda: World) -> None:
    one, inputs = net(on_device=True), made()
    results = []
    for number in range(4):
        inputs["x"][...] = number
        results.append(run(one, PARAMS, inputs))
    for number, found in enumerate(results):
        inputs["x"][...] = number
        same(back(found), want(inputs), EXACT, f"call {number}")


def test_results_are_their_own(cuda: World) -> None:
    one, first, second = net(on_device=True), made(), made(seed=1)
    before = run(one, PARAMS, first)
    run(one, PARAMS, second)
    same(back(before), want(first), EXACT, "kept")
    host = net()
    kept = run(host, PARAMS, first)
    run(host, PARAMS, second)
    same(kept, want(first), EXACT, "kept")


def test_threads_call_one_net_at_once(cuda: World) -> None:
    one, failed = net(on_device=True), []

    def calls(seed: int) -> None:
        inputs = made(seed=seed)
        with fakecuda.Stream(non_blocking=True):
            for _ in range(5):
                try:
                    same(back(run(one, there(PARAMS), inputs)), want(inputs), EXACT, f"thread {seed}")
                except BaseException as error:  # noqa: BLE001 - reported below
                    failed.append(error)

    threads = [threading.Thread(target=calls, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_another_device(cuda: World) -> None:
    one = net(device=1, on_device=True)
    params = one.init(seed=1)
    assert {p.data.device_id for p in params.values()} == {1}
    for _ in range(2):
        value, _ = one.value_and_grad(params, **made())
        assert value.data.device_id == 1
        with fakecuda.Device(1):
            same({"loss": value.get()}, {"loss": want(made())["loss"]}, EXACT, "device 1")


# -- failures ----------------------------------------------------------------------------------------------------------


def test_memory_is_predicted(cuda: World) -> None:
    one, inputs = net(), made()
    run(one, PARAMS, inputs)
    cuda.memory = cuda.allocated + 2**20
    with pytest.raises(
        MemoryLimitError, match=r"at batch size 3, T = 100,000 this run needs .* on the device, and .* is"
    ):
        one.run(PARAMS, "o", x=np.zeros((100_000, 3, 3)))
    same(run(one, PARAMS, inputs), want(inputs), EXACT, "afterwards")


def test_idle_memory_is_freed_for_others(cuda: World) -> None:
    first, second = net(), net()
    run(first, PARAMS, made())
    cuda.memory = cuda.allocated + 2**20  # the second wants 32 MiB for products
    same(run(second, PARAMS, made()), want(made()), EXACT, "in the place of the first")
    same(run(first, PARAMS, made()), want(made()), EXACT, "and the other way round")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("call", ["malloc", "alloc", "graph"])
def test_an_allocation_that_fails_all_the_same(call: str, times: int, cuda: World) -> None:
    one, inputs = net(), made()
    for _ in range(3):
        run(one, PARAMS, inputs)
    fault: Exception = fakecuda.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
    if call == "alloc":
        fault = fakecuda.OutOfMemoryError("Out of memory allocating 1,024 bytes (allocated so far: 7 bytes).")
    if call == "malloc":
        executables(one)[0].idle()
    cuda.fails[call] = [fault] * times
    if times == 1 or call == "graph":  # the second try is eager
        same(run(one, PARAMS, inputs), want(inputs), EXACT, "tried once more")
    else:
        with pytest.raises(MemoryLimitError, match="the device has no memory left for this run") as caught:
            run(one, PARAMS, inputs)
        assert len(str(caught.value).splitlines()) == 2
    cuda.fails.clear()
    for _ in range(3):
        same(run(one, PARAMS, inputs), want(inputs), EXACT, "afterwards")


@pytest.mark.parametrize("call", ["launch", "graph", "begin_capture", "end_capture", "record", "memcpyAsync"])
def test_a_call_that_fails(call: str, cuda: World) -> None:
    one, inputs = net(), made()
    run(one, PARAMS, inputs)
    if call == "graph":
        run(one, PARAMS, inputs)
    cuda.fails[call] = [None, fakecuda.CUDADriverError("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure")]
    del cuda.fails[call][: call not in ("launch", "record")]
    with pytest.raises(
        BackendError, match=r"a run failed on the device \(CUDADriverError: CUDA_ERROR_LAUNCH"
    ) as caught:
        run(one, PARAMS, inputs)
    said, where = str(caught.value).split("\n")
    assert "backend='native'" in said
    assert "test_launch.py" in where
    cuda.fails.clear()
    assert not any(s.is_capturing() for s in cuda.streams)
    for _ in range(3):
        same(run(one, PARAMS, inputs), want(inputs), EXACT, "afterwards")


def test_nothing_is_freed_while_a_stream_captures(cuda: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the collector nor by another thread that lets a handle go: to free waits, which ends a capture."""
    other, issue = net(), launch.Frame._enqueue
    run(other, PARAMS, made())
    (executable,) = executables(other)
    machine = executable._machine
    handles, seen = [machine.multiply], []
    thread = threading.Thread(target=handles.clear)

    def watched(frame: launch.Frame) -> None:
        seen.append(gc.isenabled())
        if cuda.calls["begin_capture"] > cuda.calls["end_capture"]:
            machine.multiply = None
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
        issue(frame)

    monkeypatch.setattr(launch.Frame, "_enqueue", watched)
    made_net = net()
    for _ in range(2):
        run(made_net, PARAMS, made())
    assert seen == [True, False]
    assert gc.isenabled()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("broken", [1, 2, 5])
@pytest.mark.parametrize("at", ["the beginning", "the end"])
@pytest.mark.parametrize("processors", [0, 4], ids=["launches", "loops"])
def test_whoever_waits_for_the_device_breaks_a_capture_for_once(
    processors: int, at: str, broken: int, cuda: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That run is eager, and a later one a graph; who waited meets an error of the driver's."""
    cuda.processors = processors
    issue, left, refused = launch.Frame._enqueue, [broken], []

    def wait() -> None:
        if cuda.calls["begin_capture"] == cuda.calls["end_capture"] or not left[0]:
            return
        left[0] -= 1
        thread = threading.Thread(target=lambda: refused.append(failure(fakecuda.Device(0).synchronize)))
        thread.start()
        thread.join()

    def watched(frame: launch.Frame) -> None:
        if at == "the beginning":
            wait()
        issue(frame)
        if at == "the end":
            wait()

    monkeypatch.setattr(launch.Frame, "_enqueue", watched)
    one, inputs = net(), made()
    for number in range(45):
        same(run(one, PARAMS, inputs), want(inputs), EXACT, f"call {number}")
    assert len(refused) == broken
    assert all("StreamCaptureUnsupported" in text for text in refused)
    assert cuda.calls["begin_capture"] == broken + 1
    assert cuda.calls["graph"] == 45 - 1 - (2**broken - 1), "eager at first, and 1, 2, 4, ... runs after each try"
    assert not any(s.is_capturing() for s in cuda.streams)


def failure(call: Any) -> str:
    try:
        call()
    except fakecuda.CUDARuntimeError as error:
        return str(error)
    return ""


def test_an_interrupt_within_a_capture(cuda: World) -> None:
    one, inputs = net(), made()
    run(one, PARAMS, inputs)
    cuda.fails["cublas"] = [None, None, None, KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        run(one, PARAMS, inputs)
    cuda.fails.clear()
    assert not any(s.is_capturing() for s in cuda.streams)
    assert fakecuda.get_current_stream() is fakecuda.Stream.null
    for _ in range(3):
        same(run(one, PARAMS, inputs), want(inputs), EXACT, "afterwards")


def test_specimens_run_in_float32_too(cuda: World) -> None:
    it: Specimen = specimen("lstm_eight_matrices", 3)
    params = {n: np.float32(v) for n, v in it.params.items()}
    arrays = {n: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for n, v in it.arrays.items()}
    one = it.template.compile("cupy")
    first = one.value_and_grad(params, **arrays)
    again = one.value_and_grad(params, **arrays)
    exact = it.net().value_and_grad(it.params, **it.arrays)
    same({"loss": first[0], **first[1]}, {"loss": exact[0], **exact[1]}, 1e-4, "float32")
    same({"loss": again[0], **again[1]}, {"loss": first[0], **first[1]}, 0, "float32")


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_results_of_16_bits_come_in_float32(precision: str, cuda: World) -> None:
    inputs, params = made(), {n: np.float32(v) for n, v in PARAMS.items()}
    inputs["x"] = np.float32(inputs["x"])
    wrt = (["W", "x", ("h", 2)], ["h", "o"])
    value, grads, others = small().compile("numpy").value_and_grad(params, *wrt, **inputs)
    expected = {"loss": value, **grads, **others}
    one = small().compile("cupy", precision=precision, on_device=True)
    for _ in range(2):
        value, grads, others = one.value_and_grad(params, *wrt, **inputs)
        got = back({"loss": value, **grads, **others})
        assert {v.dtype.name for v in got.values()} == {"float32"}
        same(got, expected, 2e-2, precision)
