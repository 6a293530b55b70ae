"""unroll: recurrent networks written as equations, drawn, unfolded, differentiated and run."""

from pathlib import Path as _Path

_here = _Path(__file__).resolve().parent
if not (_here / "ops").is_dir():  # a source checkout: ops/ and backends/ lie beside this folder
    __path__.append(str(_here.parent))

from . import cells, ops  # noqa: E402
from .errors import UnrollError  # noqa: E402
from .template import Template  # noqa: E402
from .timeindex import T, axis, t  # noqa: E402
from .variable import Variable  # noqa: E402

__version__ = "0.1.0"
__all__ = ["T", "Template", "UnrollError", "Variable", "__version__", "axis", "cells", "ops", "t"]
