"""Backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from ..errors import BackendError
from .base import AbstractBackend

NAMES = {"reference": "reference", "numpy": "numpy.backend"}
"""Name -> module; each module has one `BACKEND`."""

FASTEST = ("numpy",)
"""What "auto" tries, in order."""


def load(name: str) -> AbstractBackend:
    """The backend of that name. Raises BackendError where it is unknown or cannot be imported."""
    if name == "auto":
        name = FASTEST[0]
    if name not in NAMES:
        raise BackendError(f"there is no backend {name!r}; choose one of {', '.join(sorted(NAMES))}, or auto")
    module = import_module(f".{NAMES[name]}", __name__)
    backend: AbstractBackend = module.BACKEND
    return backend
