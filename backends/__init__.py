"""Backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from ..errors import BackendError
from ..log import LOG
from .base import AbstractBackend

NAMES = {"reference": "reference", "numpy": "numpy.backend", "native": "native.backend", "cupy": "cupy.launch"}
"""Name -> module; each module has one `BACKEND`."""

NEEDS = {"native": ("llvmlite",), "cupy": ("cupy",)}
"""Packages beyond the core that a backend is made of."""

EXTRAS = {"native": "pip install llvmlite", "cupy": "pip install 'cupy-cuda12x[ctk]<15' (or cupy-cuda13x)"}
"""How to have them: packages of the index, for the project itself need not have come from there."""

FASTEST = ("native", "numpy")
"""What "auto" tries, in order."""


def missing(name: str) -> list[str]:
    """The packages that a backend needs and that are not installed."""
    return [package for package in NEEDS.get(name, ()) if find_spec(package) is None]


def load(name: str) -> AbstractBackend:
    """The backend of that name. Raises BackendError where it is unknown or cannot be imported."""
    if name == "auto":
        name = next(n for n in FASTEST if not missing(n))
        if name != FASTEST[0]:
            LOG.info("backend auto is %s: %s needs %s", name, FASTEST[0], " and ".join(missing(FASTEST[0])))
    if name not in NAMES:
        raise BackendError(f"there is no backend {name!r}; choose one of {', '.join(sorted(NAMES))}, or auto")
    if lacks := missing(name):
        raise BackendError(f"backend {name!r} needs {' and '.join(lacks)}: {EXTRAS[name]}, or choose numpy")
    module = import_module(f".{NAMES[name]}", __name__)
    backend: AbstractBackend = module.BACKEND
    if obstacle := backend.obstacle():
        raise BackendError(obstacle)
    return backend
