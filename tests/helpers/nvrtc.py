"""NVIDIA's runtime compiler by ctypes: CUDA text to a binary for an architecture, with no GPU and no driver."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

REASON = "NVRTC is not installed: pip install -e '.[nvrtc]'"


def library() -> Any:
    """The library of NVIDIA's wheel, or None."""
    for package, pattern in (("nvidia.cuda_nvrtc", "lib/libnvrtc.so.*"), ("nvidia.cu13", "lib/libnvrtc.so.*")):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (found.submodule_search_locations or []) if found else []:
            for path in sorted(Path(folder).glob(pattern)):
                return ctypes.CDLL(str(path))
    return None


def compiled(nvrtc: Any, text: str, architecture: str, *macros: str) -> tuple[bytes, str]:
    """The binary and what the compiler reports of registers and spills. Raises ValueError with its messages."""
    image, log = _made(nvrtc, text, "CUBIN", architecture, "ptxas-options=-v", *(f"define-macro={m}" for m in macros))
    return image, log.rstrip(b"\0").decode()


def assembly(nvrtc: Any, text: str, architecture: str) -> str:
    """PTX: the instructions, before registers are given out. Raises ValueError with the compiler's messages."""
    return _made(nvrtc, text, "PTX", architecture)[0].rstrip(b"\0").decode()


def _made(nvrtc: Any, text: str, what: str, architecture: str, *options: str) -> tuple[bytes, bytes]:
    program = ctypes.c_void_p()
    given = [f"--{o}".encode() for o in (f"gpu-architecture={architecture}", "std=c++17", *options)]
    table = (ctypes.c_char_p * len(given))(*given)
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)

    def got(which: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(nvrtc, f"nvrtcGet{which}Size")(program, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{which}")(program, room)
        return room.raw

    status = nvrtc.nvrtcCompileProgram(program, len(given), table)
    log = got("ProgramLog")
    if status:
        raise ValueError(log.rstrip(b"\0").decode())
    image = got(what)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return image, log


def registers(report: str) -> dict[str, int]:
    """Registers of a thread, by kernel."""
    found = re.findall(r"Compiling entry function '(\w+)'.*?Used (\d+) registers", report, re.DOTALL)
    return {name: int(number) for name, number in found}


def spilled(report: str) -> int:
    """Bytes that did not fit into registers, over all kernels."""
    return sum(int(number) for number in re.findall(r"(\d+) bytes spill", report))
