"""unroll: recurrent networks written as equations, drawn, unfolded, differentiated and run."""

import sys as _sys
from importlib import import_module as _import_module
from importlib.machinery import ModuleSpec as _ModuleSpec
from importlib.machinery import PathFinder as _PathFinder
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

_here = _Path(__file__).resolve().parent
__path__[:] = [str(_here)]  # of an editable install the folder itself, and not a link to it


class _Beside:
    """Finds ops/ and backends/ beside this folder, in a checkout whose links to them git could not make."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> _ModuleSpec | None:
        own = name in (f"{__name__}.ops", f"{__name__}.backends")
        return _PathFinder.find_spec(name, [str(_here.parent)]) if own else None


if not (_here / "ops").is_dir():
    _sys.meta_path.append(_Beside)

from . import cells, ops  # noqa: E402
from .errors import UnrollError  # noqa: E402
from .ir.axes import T, axis, t  # noqa: E402
from .language.variable import Variable  # noqa: E402
from .template import Template  # noqa: E402

if _TYPE_CHECKING:
    from . import analysis, endings, flow, initializers, optim, schedules
    from .backends.native.num_threads import get_num_threads, set_num_threads
    from .runtime.net import Net
    from .runtime.stream import Stream

__version__ = "0.1.0"
__all__ = [
    "Net",
    "Stream",
    "T",
    "Template",
    "UnrollError",
    "Variable",
    "__version__",
    "analysis",
    "axis",
    "cells",
    "endings",
    "flow",
    "get_num_threads",
    "initializers",
    "ops",
    "optim",
    "schedules",
    "set_num_threads",
    "t",
]
_LATE = {
    "Net": ".runtime.net",
    "Stream": ".runtime.stream",
    "get_num_threads": ".backends.native.num_threads",
    "set_num_threads": ".backends.native.num_threads",
}
_LATE |= dict.fromkeys(("analysis", "endings", "flow", "initializers", "optim", "schedules"), "")
"""Imported when first asked for: they take longer than the rest, or need NumPy."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _LATE[name]
    value = getattr(_import_module(home, __name__), name) if home else _import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__doc__", "__file__", "__name__", "__path__"})
