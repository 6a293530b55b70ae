"""What a machine may lack, said in one line; arrays carried by one kernel; the stand-in held to the real CuPy."""

from __future__ import annotations

import ctypes
import inspect
import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import fakecuda, fakecupy, nvrtc
from helpers.fakecuda import World

from unroll import Template, t
from unroll.backends.cupy import launch, staging, tuning
from unroll.backends.cupy.transfer import Carrier
from unroll.cli import info
from unroll.errors import BackendError

from .test_launch import EXACT, PARAMS, made, net, run, same, small, want


def said(error: pytest.ExceptionInfo[BackendError]) -> str:
    """The one line, which names a way out and is followed by the user's own line alone."""
    line, where = str(error.value).split("\n")
    assert "backend='native'" in line
    assert re.search(r"test_\w+\.py:\d+", where)
    return line


def without(call: Any) -> str:
    """What compiling, or the first call, says."""
    with pytest.raises(BackendError) as caught:
        call()
    return said(caught)


def test_two_packages(monkeypatch: pytest.MonkeyPatch, cuda: World) -> None:
    def version(name: str) -> str:
        if name in ("cupy-cuda12x", "cupy-cuda13x"):
            return "14.2.0"
        raise PackageNotFoundError

    monkeypatch.setattr(launch, "version", version)
    line = without(lambda: small().compile("cupy"))
    assert (
        "finds cupy-cuda12x and cupy-cuda13x installed, which overwrite each other: pip uninstall cupy-cuda12x" in line
    )


def test_a_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, cuda: World, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text('raise ImportError("=====\\nlibnvrtc.so.12: cannot open\\n=====")')
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path)
    line = without(lambda: small().compile("cupy"))
    assert "cannot import cupy (ImportError: libnvrtc.so.12: cannot open): reinstall it, pip install" in line


def test_no_cublas(monkeypatch: pytest.MonkeyPatch, cuda: World) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cupy", fakecupy.module())
    finder: Any = ModuleType("cuda.pathfinder")

    def missing(name: str) -> Any:
        raise RuntimeError(f'Failure finding "lib{name}.so": No such file: lib{name}.so*')

    finder.load_nvidia_dynamic_lib = missing
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finder)
    one = net()
    line = without(lambda: run(one, PARAMS, made()))
    assert 'finds no cuBLAS (RuntimeError: Failure finding "libcublas.so": No such file' in line
    assert "pip install 'cupy-cuda12x[ctk]<15'" in line
    monkeypatch.setattr(launch, "_cublas", fakecupy.Blas)
    same(run(one, PARAMS, made()), want(made()), EXACT, "once it is there")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open"),
            "could not be compiled",
        ),
        (ImportError("libnvrtc.so.12: cannot open shared object file"), "NVRTC and headers"),
        (fakecuda.CompileException('cannot open source file "cuda_fp16.h"'), "where a header is missing, pip install"),
        (fakecuda.CUDADriverError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION: PTX too new"), "UNSUPPORTED_PTX_VERSION"),
    ],
    ids=["NVRTC", "import", "headers", "driver"],
)
def test_kernels_that_cannot_be_compiled(error: Exception, line: str, cuda: World) -> None:
    one = net()
    cuda.fails["compile"] = [error]
    assert line in without(lambda: run(one, PARAMS, made()))
    cuda.fails.clear()
    same(run(one, PARAMS, made()), want(made()), EXACT, "once it can")


def test_info_names_the_devices(cuda: World) -> None:
    rows = dict(info.rows())
    assert re.fullmatch(
        r"cpu \(\d+ cores\), 0: Stand-in \(9\.0, 4\.0 GiB\), 1: Stand-in \(9\.0, 4\.0 GiB\), driver 12\.4",
        rows["devices"],
    )
    cuda.devices = 0
    assert dict(info.rows())["devices"].endswith(
        "; backend 'cupy' finds no CUDA device: see nvidia-smi and CUDA_VISIBLE_DEVICES"
    )


# -- one kernel for all arrays -----------------------------------------------------------------------------------------


def carrier(parts: list[Any], batch: int, how: dict[int, int]) -> Carrier:
    """Carries parts of arrays of the stand-in."""
    kernel = fakecupy.RawModule(code=staging.text("float32")).get_function("carry")
    return Carrier(fakecupy.module(), kernel, parts, batch, how)


def test_arrays_of_every_layout_and_kind(cuda: World, rng: np.random.Generator) -> None:
    parts, plain = [], []
    for kind in ("float32", "int64", "bool", "float64"):
        for shape, place in [
            ((6, 5, 4), (slice(1, 5), slice(None), slice(1, 3))),
            ((6, 5, 4, 3), (slice(1, 5), slice(1, 4), slice(0, 2), slice(1, 2))),
            ((3, 4, 5, 6, 2), (slice(0, 2), slice(1, 3), slice(2, 4), slice(1, 4), slice(0, 1))),
            ((7, 3000), (slice(1, 6), slice(None))),
            ((2, 0), (slice(None), slice(None))),
            ((), ()),
        ]:
            whole = fakecupy.made((rng.standard_normal(shape) * 9).astype(kind))
            parts.append(whole[(*place, ...)])
            plain.append(fakecupy.made((rng.standard_normal(parts[-1].shape) * 9).astype(kind)))
    while len(parts) < tuning.MAX_ARRAYS_PER_LAUNCH + 3:  # two launches
        parts.append(fakecupy.made(rng.standard_normal(2)))
        plain.append(fakecupy.made(rng.standard_normal(2)))
    carrier(parts, 0, {})([p.data.ptr for p in plain])
    for part, array in zip(parts, plain, strict=True):
        np.testing.assert_array_equal(part.get(), array.get())
    back = [fakecupy.empty(p.shape, p.dtype) for p in parts]
    carrier(parts, 1, {})([b.data.ptr for b in back])
    for one, array in zip(back, plain, strict=True):
        np.testing.assert_array_equal(one.get(), array.get())
    assert cuda.calls["launch"] == 4


def test_averages_on_the_way_out(cuda: World, rng: np.random.Generator) -> None:
    loss, grad = np.float32(rng.standard_normal(1000)), np.float32(rng.standard_normal((70, 90)))
    parts = [fakecupy.made(loss), fakecupy.made(grad)[:, 3:80]]
    mean, shared = fakecupy.empty((), "float32"), fakecupy.empty((70, 77), "float32")
    carrier(parts, 1000, {0: staging.MEAN, 1: staging.SHARED})([mean.data.ptr, shared.data.ptr])
    assert mean.get() == pytest.approx(loss.mean(), rel=1e-5)
    np.testing.assert_array_equal(shared.get(), grad[:, 3:80] / np.float32(1000))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_nvidias_compiler_takes_the_kernel(architecture: str) -> None:
    library = nvrtc.library()
    if library is None:
        pytest.skip(nvrtc.REASON)
    _, report = nvrtc.compiled(library, staging.text("float32"), architecture)
    assert nvrtc.spilled(report) == 0
    assert nvrtc.registers(report)["carry"] <= 64


# -- the stand-in and the real package ---------------------------------------------------------------------------------


def signature(function: Any) -> list[str] | None:
    """The names of the arguments, from Python or from the first line of what a compiled function says of itself."""
    try:
        listed = [n for n in inspect.signature(function).parameters if n != "self"]
        if listed != ["args", "kwargs"]:
            return listed
    except (TypeError, ValueError):
        pass
    said = re.search(r"\((.*)\)", (function.__doc__ or "").strip().split("\n")[0])
    if said is None:
        return None
    parts = [part.partition("=")[0].strip().rpartition(" ")[2] for part in said[1].split(",")]
    return [part.lstrip("*") for part in parts if part not in ("", "self", "*", "/")]


CALLS = [
    "empty",
    "zeros",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "from_dlpack",
    "get_default_memory_pool",
    "RawModule.get_function",
    "cuda.Stream",
    "cuda.Stream.synchronize",
    "cuda.Stream.record",
    "cuda.Stream.wait_event",
    "cuda.Stream.begin_capture",
    "cuda.Stream.end_capture",
    "cuda.Stream.is_capturing",
    "cuda.Event",
    "cuda.Event.record",
    "cuda.Event.synchronize",
    "cuda.Graph.launch",
    "cuda.Graph.upload",
    "cuda.Device",
    "cuda.Memory",
    "cuda.MemoryPointer",
    "cuda.alloc_pinned_memory",
    "cuda.get_current_stream",
    "cuda.MemoryPool.malloc",
    "cuda.MemoryPool.free_bytes",
    "cuda.MemoryPool.free_all_blocks",
    "cuda.runtime.getDeviceCount",
    "cuda.runtime.memGetInfo",
    "cuda.runtime.memcpyAsync",
    "cuda.runtime.memsetAsync",
    "cuda.runtime.getDeviceProperties",
    "cuda.runtime.deviceGetAttribute",
    "cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor",
    "cuda.driver.launchCooperativeKernel",
    "ndarray.get",
    "ndarray.reshape",
    "ndarray.transpose",
    "ndarray.copy",
    "ndarray.fill",
]
CLASSES = {"cuda.Stream": "__init__", "cuda.Event": "__init__"}


def found(package: Any, path: str) -> Any:
    """A thing by its dotted name; of a class its constructor."""
    for part in path.split("."):
        package = getattr(package, part)
    return getattr(package, CLASSES[path]) if path in CLASSES else package


@pytest.mark.parametrize("path", CALLS)
def test_the_stand_in_has_the_names_of_the_real_package(path: str) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    real, mine = found(cupy, path), found(fakecupy.module(), path)
    names, own = signature(real), signature(mine)
    assert names is not None
    assert own is not None
    assert own == names[: len(own)], f"{path}: the stand-in has {own}, CuPy {names}"


def test_the_real_package_has_its_constants_and_errors() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    fake = fakecupy.module()
    loops = ("CooperativeLaunch", "MultiProcessorCount", "MaxSharedMemoryPerBlockOptin")
    for name in ("memcpyHostToDevice", "memcpyDeviceToHost", *(f"cudaDevAttr{loop}" for loop in loops)):
        assert getattr(fake.cuda.runtime, name) == getattr(cupy.cuda.runtime, name)
    for path in ("runtime.CUDARuntimeError", "driver.CUDADriverError", "compiler.CompileException"):
        real, mine = found(cupy.cuda, path), found(fake.cuda, path)
        assert issubclass(real, next(c for c in mine.__mro__[1:] if c.__module__ == "builtins"))
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert {"ptr", "device_id", "mem"} <= set(dir(cupy.cuda.MemoryPointer))
    assert {"kernel", "max_dynamic_shared_size_bytes"} <= set(dir(cupy.RawKernel)) & set(dir(fakecupy.RawKernel))
    assert "ptr" in dir(cupy.cuda.Function)
    assert {"shape", "dtype", "strides", "size", "ndim", "data", "flags", "nbytes", "itemsize"} <= set(
        dir(cupy.ndarray)
    )


def test_the_real_packages_memory_of_the_host_is_a_buffer() -> None:
    """What a loop tells the host is written to it in place."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    raw = ctypes.create_string_buffer(8)
    pointer = cupy.cuda.PinnedMemoryPointer(SimpleNamespace(ptr=ctypes.addressof(raw), size=8), 4)
    told = (ctypes.c_uint * 1).from_buffer(pointer)
    told[0] = 7
    assert ctypes.addressof(told) == pointer.ptr
    assert raw.raw == bytes((0, 0, 0, 0, 7, 0, 0, 0))


def test_a_template_that_multiplies_nothing_needs_no_cublas(monkeypatch: pytest.MonkeyPatch, cuda: World) -> None:
    g = Template("leak")
    x, h = g.input("x", 4), g.variable("h", 4)
    h[0] = 0
    h[t] = 0.5 * h[t - 1] + x[t]
    monkeypatch.setattr(launch, "_cublas", None)
    inputs = np.ones((3, 2, 4), np.float32)
    expected = g.compile("numpy").run({}, "h", x=inputs)
    same({"h": g.compile("cupy").run({}, "h", x=inputs)}, {"h": expected}, 1e-6, "leak")
    assert cuda.allocated < 2**20
