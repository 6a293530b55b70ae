"""The backend "cupy": what it says where it cannot run, and, on a device, the zoo."""

from __future__ import annotations

import runpy
import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO
from laws.agreement import EXACT, Arrays, everything, same
from laws.test_zoo import LENGTHS, specimen

from gpu.test_launch import small
from unroll import Template
from unroll.errors import BackendError


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
    with pytest.raises(BackendError, match=r"needs cupy: pip install 'cupy-cuda12x\[ctk\]<15' \(or cupy-cuda13x\)"):
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


EXAMPLES = sorted(
    p for p in Path(__file__).parents[2].joinpath("examples").glob("*.py") if "from common import" in p.read_text()
)


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
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_first_steps_of_an_example(
    path: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.syspath_prepend(path.parent)
    rows = []
    for backend in ("numpy", device):
        options = ["--steps", "2", "--backend", backend, "--quiet", "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [str(path), *options])
        runpy.run_path(str(path), run_name="__main__")
        rows.append(capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | "))
    (name, _, before, *_), (other, _, found, *_) = rows
    assert name == other == path.stem
    assert float(found) == pytest.approx(float(before), rel=0.05)


def labelled() -> Template:
    """A recurrence with labels."""
    return small(16, 32, 8)


def made(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {"x": np.float32(rng.standard_normal((20, 4, 16))), "y": rng.integers(0, 8, (20, 4))}


def check(value: Any, grads: Any, params: Any, seed: int) -> None:
    """Results on the device against NumPy's."""
    want, expected = labelled().compile("numpy").value_and_grad(params, **made(seed))
    got = {n: v.get() for n, v in {"loss": value, **grads}.items()}
    same(got, {"loss": want, **expected}, 1e-4, f"seed {seed}")


@pytest.mark.gpu
def test_streams_and_arrays_on_the_device(device: str) -> None:
    cupy = pytest.importorskip("cupy")
    net = labelled().compile(device, on_device=True)
    host = labelled().compile("numpy").init(seed=0)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(3)]
    found = []
    for seed in range(12):
        with streams[seed % 3]:
            params, inputs = ({n: cupy.asarray(v) for n, v in arrays.items()} for arrays in (host, made(seed)))
            found.append(net.value_and_grad(params, **inputs))
    cupy.cuda.Device().synchronize()
    for seed, (value, grads) in enumerate(found):
        check(value, grads, host, seed)


@pytest.mark.gpu
def test_threads(device: str) -> None:
    net, host = labelled().compile(device, on_device=True), labelled().compile("numpy").init(seed=0)
    failed: list[BaseException] = []

    def calls(seed: int) -> None:
        try:
            for _ in range(20):
                value, grads = net.value_and_grad(host, **made(seed))
            check(value, grads, host, seed)
        except BaseException as error:  # noqa: BLE001 - reported below
            failed.append(error)

    threads = [threading.Thread(target=calls, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.gpu
def test_tensors_of_pytorch(device: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    net, host = labelled().compile(device, on_device=True), labelled().compile("numpy").init(seed=0)
    params = {n: torch.from_numpy(v).cuda() for n, v in host.items()}
    for _ in range(3):
        value, grads = net.value_and_grad(params, **{n: torch.from_numpy(v).cuda() for n, v in made(0).items()})
        assert torch.from_dlpack(grads["W"]).is_cuda
        check(value, grads, host, 0)


@pytest.mark.gpu
def test_other_shapes_free_their_memory(device: str) -> None:
    cupy = pytest.importorskip("cupy")
    net, host = labelled().compile(device), labelled().compile("numpy").init(seed=0)
    left = []
    for steps in range(1, 41):
        inputs = {n: v[:1].repeat(steps, axis=0) for n, v in made(0).items()}
        for _ in range(2):
            net.value_and_grad(host, **inputs)
        left.append(cupy.cuda.runtime.memGetInfo()[0])
    assert left[5] - left[-1] < 2**28, "frames of shapes that are gone hold memory"


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
