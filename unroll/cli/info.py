"""`unroll info`: what is installed and at hand, the first thing to put into a report of a fault."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys

from .. import __version__, backends
from ..errors import BackendError

PACKAGES = (
    "numpy",
    "networkx",
    "graphviz",
    "pygraphviz",
    "scipy",
    "llvmlite",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
THREADS = ("UNROLL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def rows() -> list[tuple[str, str]]:
    """Each fact as (what, value)."""
    found = [("unroll", __version__), ("python", sys.version.split()[0]), ("system", platform.platform())]
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    found.append(("backends", ", ".join(n for n in backends.NAMES if not backends.missing(n))))
    found.append(("devices", f"cpu ({cores} cores){_devices()}"))
    found.append(("threads", limits or f"up to {cores}"))
    found.append(("engines", ", ".join(_engines())))
    return found


def _devices() -> str:
    """The GPUs, or why there is none, where the backend for them is installed."""
    if backends.missing("cupy"):
        return ""
    try:
        return "".join(f", {device}" for device in backends.load("cupy").devices())
    except BackendError as error:
        why, _, _ = str(error).partition(", or choose")
        return f"; {why}"


def _engines() -> list[str]:
    engines = ["svg"]
    if importlib.util.find_spec("resvg_py"):
        engines.append("resvg_py (png)")
    if importlib.util.find_spec("pygraphviz"):
        engines.append("pygraphviz (png, pdf)")
    dot = os.environ.get("UNROLL_DOT") or shutil.which("dot")
    if dot:
        engines.append(f"{dot} (png, pdf)")
    return engines


def main(args: argparse.Namespace) -> int:
    """Print the table."""
    table = rows()
    width = max(len(name) for name, _ in table)
    for name, value in table:
        print(f"{name:<{width}}  {value}")
    return 0
