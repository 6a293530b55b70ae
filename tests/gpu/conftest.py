"""A backend that runs plans on the stand-in for a GPU, under the name "emulated"."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from helpers.emulator import COMPILER, Emulator

from unroll import backends
from unroll.backends.cupy.backend import Cuda


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of that backend."""
    if COMPILER is None:
        pytest.skip("there is no g++ to compile kernels with")
    module = ModuleType("unroll.backends.emulated")
    module.BACKEND = Cuda(Emulator, lambda: "")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(backends.NAMES, "emulated", "emulated")
    return "emulated"
