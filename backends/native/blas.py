"""The BLAS that SciPy ships, as addresses of its functions; SciPy's own modules are not imported for it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

MODULE = "scipy.linalg.cython_blas"


@cache
def _published() -> dict[str, object]:
    """Capsules by name. The extension is loaded by its file: `scipy.linalg` itself takes 0.3 s to import."""
    path = _file()
    spec = spec_from_file_location(MODULE, path, loader=ExtensionFileLoader(MODULE, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.__pyx_capi__)


@cache
def _file() -> Path:
    scipy = find_spec("scipy")
    if scipy is None or not scipy.submodule_search_locations:
        raise ImportError("SciPy is not installed")
    folder = Path(scipy.submodule_search_locations[0]) / "linalg"
    for suffix in EXTENSION_SUFFIXES:
        if (folder / f"cython_blas{suffix}").exists():
            return folder / f"cython_blas{suffix}"
    raise ImportError(f"SciPy at {folder.parent} has no {MODULE}")


@cache
def address(name: str) -> int:
    """The address of a BLAS function such as "sgemm". Raises ImportError where SciPy is missing."""
    capsule = _published()[name]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found: int = pointer(capsule, name_of(capsule))
    return found


class Alone:
    """BLAS on one thread while programs run, whose own threads share the products; then as it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before = 0
        self._get, self._set = _threads()

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._before = self._get()
                self._set(1)
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._set(self._before)


@cache
def alone() -> Alone | None:
    """How to hold BLAS to one thread; None where it cannot be told."""
    try:
        return Alone()
    except AttributeError:
        return None


def _threads() -> tuple[Callable[[], int], Callable[[int], None]]:
    """The functions of OpenBLAS that tell and set how many threads it uses. Raises AttributeError for another BLAS."""
    address("sgemm")
    library = ctypes.CDLL(str(_file()))
    for prefix in ("scipy_openblas", "openblas"):
        if hasattr(library, f"{prefix}_set_num_threads"):
            return getattr(library, f"{prefix}_get_num_threads"), getattr(library, f"{prefix}_set_num_threads")
    raise AttributeError("this BLAS has no openblas_set_num_threads")
