"""Backends without a GPU: plans on a stand-in for it ("emulated"), and "cupy" on a stand-in for CuPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from helpers import emulator, fakecuda, fakecupy
from helpers.emulator import COMPILER

from unroll import backends
from unroll.backends.cupy import launch


@pytest.fixture
def compiler() -> None:
    """What kernels are compiled with for a stand-in, or no test."""
    if COMPILER is None:
        pytest.skip("there is no g++ to compile kernels with")


@pytest.fixture
def device() -> str:
    """The backend on a device, or no test."""
    reason = "CuPy is not installed" if backends.missing("cupy") else launch.obstacle()
    if reason:
        pytest.skip(reason)
    return "cupy"


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, compiler: None) -> str:
    """The name of that backend."""
    made = emulator.module("emulated")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(backends.NAMES, "emulated", "emulated")
    return "emulated"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, compiler: None) -> Iterator[fakecuda.World]:
    """A machine with two GPUs, on which the backend "cupy" runs."""
    monkeypatch.setitem(sys.modules, "cupy", fakecupy.module())
    monkeypatch.setattr(launch, "_cublas", fakecupy.Blas)
    with fakecuda.world() as made:
        yield made
