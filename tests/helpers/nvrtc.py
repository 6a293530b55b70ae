"""NVIDIA's runtime compiler by ctypes: CUDA text to a binary for an architecture, with no GPU and no driver."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

REASON = "NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12"


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
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17", b"--ptxas-options=-v"]
    options += [f"-D{macro}".encode() for macro in macros]
    table = (ctypes.c_char_p * len(options))(*options)
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    status = nvrtc.nvrtcCompileProgram(program, len(options), table)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if status:
        raise ValueError(log.value.decode())
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, image)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return image.raw, log.value.decode()


def registers(report: str) -> dict[str, int]:
    """Registers of a thread, by kernel."""
    found = re.findall(r"Compiling entry function '(\w+)'.*?Used (\d+) registers", report, re.DOTALL)
    return {name: int(number) for name, number in found}


def spilled(report: str) -> int:
    """Bytes that did not fit into registers, over all kernels."""
    return sum(int(number) for number in re.findall(r"(\d+) bytes spill", report))
