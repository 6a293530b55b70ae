"""The BLAS that SciPy ships, as addresses of its functions; SciPy's own modules are not imported for it."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

MODULE = "scipy.linalg.cython_blas"


@cache
def _published() -> dict[str, object]:
    """Capsules by name. The extension is loaded by its file: `scipy.linalg` itself takes 0.3 s to import."""
    scipy = find_spec("scipy")
    if scipy is None or not scipy.submodule_search_locations:
        raise ImportError("SciPy is not installed")
    folder = Path(scipy.submodule_search_locations[0]) / "linalg"
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"cython_blas{suffix}"
        if path.exists():
            spec = spec_from_file_location(MODULE, path, loader=ExtensionFileLoader(MODULE, str(path)))
            if spec is not None and spec.loader is not None:
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                return dict(module.__pyx_capi__)
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
