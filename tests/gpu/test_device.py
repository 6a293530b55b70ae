"""The backend "cupy": what it says where it cannot run, and, on a device, the zoo."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO
from laws.agreement import EXACT, everything, same
from laws.test_zoo import LENGTHS, specimen

from unroll import backends
from unroll.errors import BackendError


def missing() -> str:
    """Why nothing runs on a device here; "" where it can."""
    if backends.missing("cupy"):
        return "CuPy is not installed"
    from unroll.backends.cupy import launch

    return launch.obstacle()


class Refused(Exception):
    """Stands for CuPy's own error."""


def pretend(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """A CuPy that finds so many devices, or raises."""

    def count() -> int:
        if isinstance(answer, str):
            raise Refused(answer)
        found: int = answer
        return found

    module: Any = ModuleType("cupy")
    module.__spec__ = ModuleSpec("cupy", None)
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count, CUDARuntimeError=Refused))
    monkeypatch.setitem(sys.modules, "cupy", module)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy() -> None:
    with pytest.raises(BackendError, match=r"needs cupy: pip install 'unroll-graph\[cuda12\]' \(or \[cuda13\]\)"):
        specimen("elman", 0).template.compile("cupy")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("cudaErrorInsufficientDriver: CUDA driver version is insufficient", "needs an NVIDIA driver"),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", r"finds no CUDA device \(cudaErrorNoDevice\)"),
        (0, "finds no CUDA device: see nvidia-smi"),
    ],
)
def test_without_a_device(monkeypatch: pytest.MonkeyPatch, answer: Any, message: str) -> None:
    pretend(monkeypatch, answer)
    with pytest.raises(BackendError, match=message) as caught:
        specimen("elman", 0).template.compile("cupy")
    said, where = str(caught.value).split("\n")
    assert "backend='native'" in said
    assert "test_device.py" in where


@pytest.fixture
def device() -> str:
    """The backend, or no test."""
    if reason := missing():
        pytest.skip(reason)
    return "cupy"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_on_a_device(name: str, device: str) -> None:
    for steps in LENGTHS:
        it = specimen(name, steps)
        net = it.net(device)
        first = everything(net, it)
        same(first, everything(it.net(), it), 10 * EXACT, name)
        same(everything(net, it), first, 0, f"{name}, as a graph")


@pytest.mark.gpu
def test_a_graph_changes_no_bit_in_a_hundred_runs(device: str) -> None:
    it = specimen("lstm_eight_matrices", 7)
    eager = it.template.compile(device, dtype="float64", without=("graph",))
    net = it.net(device)
    want, want_grads = eager.value_and_grad(it.params, it.floats, **it.arrays)
    for _ in range(100):
        value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
        same({"loss": value, **grads}, {"loss": want, **want_grads}, 0, "graph")


@pytest.mark.gpu
def test_float32_over_many_steps(device: str) -> None:
    it = specimen("lstm_eight_matrices", 512)
    params = {n: v.astype(np.float32) for n, v in it.params.items()}
    arrays = {n: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for n, v in it.arrays.items()}
    got = it.net(device, "float32").run(params, it.variables, **arrays)
    same(got, it.net().run(it.params, it.variables, **it.arrays), 1e-5, "float32")
