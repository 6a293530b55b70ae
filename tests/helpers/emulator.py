"""A stand-in for a GPU: the very CUDA text, compiled by g++, block after block on NumPy memory."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from unroll.backends.base import Options, averaged
from unroll.backends.cupy.cublas import Cublas
from unroll.backends.cupy.frame import AbstractFrame, AbstractMachine
from unroll.backends.cupy.plan import Call, Plan, calls

COMPILER = shutil.which("g++")

ONE = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "fabs")
MATHS = "".join(
    f'extern "C" double {f}(double); extern "C" float {f}f(float); inline float {f}(float x) {{ return {f}f(x); }}\n'
    for f in ONE
)
"""Declared by hand: the header takes g++ as long as all else."""

SHIM = """\
#include <ucontext.h>
extern "C" double pow(double, double); extern "C" float powf(float, float);
inline float pow(float x, float y) { return powf(x, y); }
#define __global__
#define __device__
#define __shared__ static
static struct { unsigned x; } threadIdx, blockIdx, blockDim;
enum { MOST = 256, ROOM = 16384 };
static ucontext_t home, fibre[MOST];
static char stacks[MOST][ROOM];
static bool waits[MOST];
static void **given;
static void (*body)();
static void __syncthreads() {
    unsigned me = threadIdx.x;
    waits[me] = true;
    swapcontext(&fibre[me], &home);
}
static int run_block(unsigned threads) {
    for (unsigned n = 0; n < threads; n++) {
        getcontext(&fibre[n]);
        fibre[n].uc_stack.ss_sp = stacks[n];
        fibre[n].uc_stack.ss_size = ROOM;
        fibre[n].uc_link = &home;
        makecontext(&fibre[n], body, 0);
    }
    for (unsigned waiting = threads; waiting;) {
        waiting = 0;
        for (unsigned n = 0; n < threads; n++) {
            threadIdx.x = n;
            waits[n] = false;
            swapcontext(&home, &fibre[n]);
            waiting += waits[n];
        }
        if (waiting && waiting != threads) return 1;
    }
    return 0;
}
extern "C" int run(void (*kernel)(), long long blocks, int threads, int meets, void **arguments) {
    given = arguments;
    body = kernel;
    blockDim.x = threads;
    for (long long block = 0; block < blocks; block++) {
        blockIdx.x = block;
        if (meets) {
            if (run_block(threads)) return 1;
        } else {
            for (int n = 0; n < threads; n++) { threadIdx.x = n; body(); }
        }
    }
    return 0;
}
"""
"""Threads that meet at __syncthreads are fibres; a block of which only some arrive there is an error."""


def wrapped(text: str) -> str:
    """The text with, for each kernel, a function that takes its arguments out of `given`."""
    parts = [MATHS, SHIM, text]
    for name, arguments in re.findall(r"__global__ void (\w+)\(([^)]*)\) \{", text):
        types = [a.rpartition(" ")[0] for a in re.split(r",\s*", arguments)]
        values = ", ".join(f"*({kind}*)given[{n}]" for n, kind in enumerate(types))
        parts.append(f'extern "C" void call_{name}() {{ {name}({values}); }}')
    return "\n".join(parts)


def compiled(text: str) -> Any:
    """The kernels of a text as a library."""
    assert COMPILER is not None
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
        source.write_text(wrapped(text))
        flags = ["-O0", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-std=c++17"]
        done = subprocess.run([COMPILER, *flags, "-o", built, source], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:3000] + text
        return ctypes.CDLL(str(built))


def launch(library: Any, text: str, kernel: str, blocks: int, threads: int, held: Sequence[Any]) -> None:
    """Run one kernel of a text on the values of its arguments, which ctypes holds."""
    table = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))
    own = text.partition(f"void {kernel}(")[2].partition("\n}\n")[0]
    meets = "__syncthreads" in own or "gathered" in own
    status = library.run(getattr(library, f"call_{kernel}"), ctypes.c_longlong(blocks), threads, int(meets), table)
    assert status == 0, f"{kernel}: only some threads of a block arrive at a barrier"


class EmulatedFrame(AbstractFrame):
    """A run on NumPy memory."""

    def __init__(self, machine: Emulator, numbers: Mapping[str, int]) -> None:
        where, size = machine.plan.arena(numbers)
        raw = np.full(size + 64, 255, np.uint8)  # nan, and no index
        start = -raw.ctypes.data % 64
        super().__init__(machine.plan, numbers, raw[start : start + size], where)
        self.library, self.options = machine.library, machine.options
        self.multiply = Cublas(Blas(machine.plan.dtype), machine.plan.dtype)

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for host, part in self.given.items():
            decl = self.plan.system.decls[host]
            part[...] = decl.detail if decl.kind == "constant" else values[host]
        self.run()
        found = {name: np.array(part) for name, part in self.results.items()}
        return averaged(found, self.options, self.numbers["B"])

    def run(self) -> None:
        for call in calls(self.plan, self.numbers):
            if isinstance(call, Call):
                self.launch(call)
            else:
                left, right, out = (self.address(host) for host in call.hosts)
                self.multiply(call, (left, right, out))

    def launch(self, call: Call) -> None:
        values = [self.address(x) if isinstance(x, str) else x for x in call.arguments]
        held = [ctypes.c_longlong(x) for x in values]
        launch(self.library, self.plan.text, call.launch.kernel, call.blocks, call.launch.threads, held)

    def address(self, host: str) -> int:
        """Where a host begins."""
        found: int = self.arrays[host].__array_interface__["data"][0]
        return found


class Blas:
    """The part of cuBLAS that is called, by its documentation: column by column, on NumPy memory."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        calls = ("cublasCreate_v2", "cublasDestroy_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2")
        for name in (*calls, "cublasSetMathMode"):
            setattr(self, name, lambda *_: 0)
        self.cublasSgemmStridedBatched = self.cublasDgemmStridedBatched = self.multiply

    def multiply(
        self, handle: Any, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: Any, lda: int, sa: Any,
        b: Any, ldb: int, sb: Any, beta: Any, c: Any, ldc: int, sc: Any, count: int,
    ) -> int:  # fmt: skip
        """``c = alpha * op(a) @ op(b) + beta * c``, `count` times."""
        left = self.matrices(a, lda, sa, (k, m) if ta else (m, k), count)
        right = self.matrices(b, ldb, sb, (n, k) if tb else (k, n), count)
        out = self.matrices(c, ldc, sc, (m, n), count)
        for x, y, z in zip(left, right, out, strict=True):
            made = alpha._obj.value * (x.T if ta else x) @ (y.T if tb else y)
            z[...] = made + beta._obj.value * z if beta._obj.value else made
        return 0

    def matrices(self, pointer: Any, leading: int, apart: Any, shape: tuple[int, int], count: int) -> Any:
        """Arrays of columns."""
        rows, columns = shape
        if leading < max(rows, 1) or min(rows, columns) < 0:
            raise AssertionError(f"a leading dimension of {leading} for {rows} rows")
        span = (count - 1) * apart.value + max(columns - 1, 0) * leading + rows
        if not rows * columns:
            return np.zeros((count, rows, columns), self.dtype)
        raw = (ctypes.c_char * (span * self.dtype.itemsize)).from_address(pointer.value)
        item = self.dtype.itemsize
        flat = np.frombuffer(raw, self.dtype)
        return as_strided(flat, (count, rows, columns), (apart.value * item, item, leading * item))


class Emulator(AbstractMachine):
    """Compiles a plan with g++."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options, self.library = plan, options, compiled(plan.text)

    def frame(self, numbers: Mapping[str, int]) -> EmulatedFrame:
        return EmulatedFrame(self, numbers)
