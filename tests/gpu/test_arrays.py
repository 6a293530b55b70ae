"""The user's arrays and the backend "cupy": what it takes, what it returns, and what works with that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import fakecuda, fakecupy
from helpers.fakecuda import World
from laws.agreement import EXACT, same

from unroll import Template, t
from unroll.errors import ArrayError, BackendError
from unroll.optim import Adam, clip, global_norm

from .test_launch import PARAMS, back, made, net, run, small, there, want


class Tensor:
    """Another library's array on a GPU."""

    dtype = "tensor's own"

    def __init__(self, array: Any) -> None:
        self.array = fakecupy.asarray(array)
        self.shape = self.array.shape

    def __dlpack__(self, *, stream: int) -> Any:
        return self.array.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


def tensors(arrays: Any) -> Any:
    return {n: Tensor(v) for n, v in arrays.items()}


@pytest.mark.parametrize("params", [dict, there, tensors])
@pytest.mark.parametrize("inputs", [dict, there, tensors])
def test_arrays_of_every_kind(params: Any, inputs: Any, cuda: World) -> None:
    same(run(net(), params(PARAMS), inputs(made())), want(made()), EXACT, "NumPy")
    same(back(run(net(on_device=True), params(PARAMS), inputs(made()))), want(made()), EXACT, "CuPy")


def test_arrays_that_are_not_in_one_piece(cuda: World) -> None:
    inputs, one = made(), small().compile("cupy", dtype="float64", batch_first=True, on_device=True)
    turned = {n: fakecupy.asarray(v.swapaxes(0, 1).copy()) for n, v in inputs.items()}
    same(back(run(one, there(PARAMS), turned)), want(inputs), EXACT, "batch first")
    params = {n: fakecupy.asarray(v.T.copy()).transpose(1, 0) for n, v in PARAMS.items()}
    same(back(run(net(on_device=True), params, inputs)), want(inputs), EXACT, "turned")
    whole = fakecupy.asarray(np.repeat(inputs["x"], 2, axis=0))
    every = {**inputs, "x": whole[::2]}
    same(back(run(net(on_device=True), PARAMS, every)), want(inputs), EXACT, "every second step")


def test_inputs_of_another_precision_are_cast_where_they_lie(cuda: World) -> None:
    one, params = small().compile("cupy"), {n: v.astype(np.float32) for n, v in PARAMS.items()}
    inputs = made()
    narrow = {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in inputs.items()}
    wanted = run(one, params, narrow)
    for given in (inputs, there(inputs), tensors(inputs)):
        for _ in range(2):
            same(run(one, params, given), wanted, EXACT, "cast")
    with pytest.raises(ArrayError, match="param W is float64, and the net computes in float32"):
        run(one, there(PARAMS), inputs)


def test_labels_of_another_size_and_out_of_range(cuda: World) -> None:
    inputs = made()
    narrow = {**inputs, "y": fakecupy.asarray(inputs["y"].astype(np.int32))}
    same(run(net(), PARAMS, narrow), want(inputs), EXACT, "int32")
    wrong = {**inputs, "y": inputs["y"] + 3}
    with pytest.raises(ArrayError, match="labels run from 0 to 4"):
        run(net(), PARAMS, wrong)
    unchecked = run(net(), PARAMS, {**wrong, "y": fakecupy.asarray(wrong["y"])})
    assert all(np.isfinite(v).all() for v in unchecked.values())


def test_an_array_on_another_device(cuda: World) -> None:
    with fakecuda.Device(1):
        params = there(PARAMS)
    with pytest.raises(
        ArrayError,
        match="param W lies on GPU 1, and this net computes on GPU 0: move W there, or compile with device=1",
    ):
        run(net(), params, made())
    with fakecuda.Device(1):
        same(run(net(), params, made()), want(made()), EXACT, "the current device")


@pytest.mark.parametrize("backend", ["numpy", "native", "reference"])
def test_other_backends_and_devices(backend: str, cuda: World) -> None:
    one = small().compile(backend, dtype="float64")
    with pytest.raises(
        ArrayError,
        match=r"param W lies on GPU 0, .* on the CPU: pass W.get\(\), or compile with backend='cupy'",
    ):
        one.loss(there(PARAMS), **made())
    with pytest.raises(ArrayError, match=r"input x lies on GPU 0, .*: pass numpy.asarray\(x\), or"):
        one.loss(PARAMS, **{**made(), "x": Tensor(made()["x"])})
    with pytest.raises(BackendError, match=f"device=1: backend '{backend}' computes on the CPU; backend='cupy' has"):
        small().compile(backend, device=1)
    with pytest.raises(BackendError, match=f"on_device=True: backend '{backend}' computes on the CPU"):
        small().compile(backend, on_device=True)


@pytest.mark.parametrize("device", [2, -1, True, "cuda:1"])
def test_a_device_that_is_not_there(device: Any, cuda: World) -> None:
    with pytest.raises(
        BackendError, match=r"device=.*: a device is chosen by its number, and there are 2 GPUs here, 0 to 1"
    ):
        net(device=device)
    cuda.devices = 1
    with pytest.raises(BackendError, match="there is one GPU here, device=0"):
        net(device=device)


# -- what works with results on the device -----------------------------------------------------------------------------


def test_training_on_the_device(cuda: World) -> None:
    one, host = net(on_device=True), small().compile("numpy", dtype="float64")
    params, expected = one.init(seed=1), host.init(seed=1)
    same(back(params), expected, 0, "init")
    adam, other = Adam(0.1), Adam(0.1)
    for step in range(3):
        inputs = made(seed=step)
        _, grads = one.value_and_grad(params, **inputs)
        _, wanted = host.value_and_grad(expected, **inputs)
        assert global_norm(grads) == pytest.approx(global_norm(wanted))
        params = adam.update(params, clip(grads, 0.01))
        expected = other.update(expected, clip(wanted, 0.01))
    assert {type(p) for p in params.values()} == {fakecupy.ndarray}
    same(back(params), expected, EXACT, "after three updates")


def test_lengths_of_their_own(cuda: World) -> None:
    one, inputs = net(on_device=True), made(5, 2)
    host = small().compile("numpy", dtype="float64")
    wanted = host.value_and_grad(PARAMS, lengths=[5, 3], **inputs)
    cut = {n: [v[:5, 0], v[:3, 1]] for n, v in inputs.items()}
    on_device = {n: [fakecupy.asarray(np.array(v)) for v in arrays] for n, arrays in cut.items()}
    for given in ({"lengths": [5, 3], **inputs}, {"lengths": [5, 3], **there(inputs)}, cut, on_device):
        value, grads = one.value_and_grad(PARAMS, **given)
        same({"loss": value.get(), **back(grads)}, {"loss": wanted[0], **wanted[1]}, EXACT, "lengths")


def test_a_stream_and_its_state(cuda: World) -> None:
    one, x = net(on_device=True), made(6)["x"]
    whole = small().compile("numpy", dtype="float64").run(PARAMS, "o", x=x)
    stream = one.stream(there(PARAMS), "o")
    parts = [stream(x=fakecupy.asarray(x[:2])).get()]
    state = stream.state
    assert isinstance(state["h[0]"], fakecupy.ndarray)
    parts.append(stream(x=x[2:]).get())
    same({"o": np.concatenate(parts)}, {"o": whole}, EXACT, "in pieces")
    stream.state = state
    same({"o": stream(x=x[2:]).get()}, {"o": whole[2:]}, EXACT, "from a state")


def test_generation(cuda: World) -> None:
    g = Template("doubling")
    start, y = g.input("start", over=None), g.variable("y", ())
    y[0] = start
    y[t] = 2 * y[t - 1]
    g.stop = y[t] > 10
    found = g.compile("cupy", on_device=True).generate({}, "y", start=np.float32([1, 5, 2]))
    values, lengths = g.compile("numpy").generate({}, "y", start=np.float32([1, 5, 2]))
    same({"y": found.values.get()}, {"y": values}, 0, "generated")
    assert found.lengths.tolist() == lengths.tolist()


def test_what_numpy_serves_instead(cuda: World) -> None:
    one = net(on_device=True, debug_nans=True)
    results = run(one, there(PARAMS), there(made()))
    assert {type(v) for v in results.values()} == {fakecupy.ndarray}
    same(back(results), want(made()), EXACT, "debug_nans")


def test_instances_and_derivatives(cuda: World) -> None:
    one, host, inputs = net(on_device=True), small().compile("numpy", dtype="float64"), made()
    direction = {"W": np.ones((4, 4))}
    value, tangent = one.jvp(there(PARAMS), there(direction), **there(inputs))
    wanted = host.jvp(PARAMS, direction, **inputs)
    same({"v": value.get(), "t": tangent.get()}, {"v": wanted[0], "t": wanted[1]}, EXACT, "jvp")
    got = one.hessian_vector(there(PARAMS), there(direction), **inputs)
    same(back(got), host.hessian_vector(PARAMS, direction, **inputs), EXACT, "hessian")
    _, grads = one.value_and_grad(PARAMS, ["W", ("h", 3)], clamp={("h", 2): np.zeros((3, 4))}, **inputs)
    _, expected = host.value_and_grad(PARAMS, ["W", ("h", 3)], clamp={("h", 2): np.zeros((3, 4))}, **inputs)
    same(back(grads), expected, EXACT, "clamped")
