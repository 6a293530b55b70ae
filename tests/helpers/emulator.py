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
from unroll.backends.cupy.cublas import IN_32, IN_64, IN_TF32, TYPES, Cublas
from unroll.backends.cupy.frame import RAW, AbstractFrame, AbstractMachine
from unroll.backends.cupy.plan import Call, Plan, calls
from unroll.backends.cupy.storage import CONVERSIONS, widened
from unroll.backends.cupy.text import WIDE

COMPILER = shutil.which("g++")
ALIGNED = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")
"""A load of several elements at an address that is no multiple of their size ends the process, as on a device."""

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
#define __ffs __builtin_ffs
static unsigned atomicOr(unsigned *at, unsigned bits) { unsigned old = *at; *at |= bits; return old; }
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

SHORTS = {
    "float16": """\
struct brief { unsigned short bits; };
inline float widened(brief x) { _Float16 y; __builtin_memcpy(&y, &x, 2); return y; }
inline brief narrowed(float x) { _Float16 y = x; brief z; __builtin_memcpy(&z, &y, 2); return z; }
""",
    "bfloat16": """\
struct brief { unsigned short bits; };
inline float widened(brief x) {
    unsigned whole = (unsigned)x.bits << 16;
    float y;
    __builtin_memcpy(&y, &whole, 4);
    return y;
}
inline brief narrowed(float x) {
    unsigned whole;
    __builtin_memcpy(&whole, &x, 4);
    if (x != x) return {0x7fff};
    return {(unsigned short)((whole + 0x7fff + (whole >> 16 & 1)) >> 16)};
}
""",
}
"""What stands here for the conversions of a device."""


def wrapped(text: str) -> str:
    """The text with, for each kernel, a function that takes its arguments out of `given`."""
    for precision, conversions in CONVERSIONS.items():
        text = text.replace(conversions, SHORTS[precision])
    parts = [MATHS, SHIM, text]
    for name, arguments in re.findall(r"__global__ void (\w+)\(([^)]*)\) \{", text):
        types = [a.rpartition(" ")[0] for a in re.split(r",\s*", arguments)]
        values = ", ".join(f"*({kind}*)given[{n}]" for n, kind in enumerate(types))
        parts.append(f'extern "C" void call_{name}() {{ {name}({values}); }}')
    return "\n".join(parts)


def compiled(text: str, options: tuple[str, ...] = ()) -> Any:
    """The kernels of a text as a library."""
    assert COMPILER is not None
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
        source.write_text(wrapped(text))
        flags = ["-O0", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-std=c++17", *ALIGNED]
        done = subprocess.run([COMPILER, *flags, *options, "-o", built, source], capture_output=True, text=True)
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
        self.options = machine.options
        self.library = machine.library(machine.plan.wide(numbers))
        self.multiply = Cublas(Blas(), machine.plan)

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for host, part in self.given.items():
            decl = self.plan.system.decls[host]
            part[...] = decl.detail if decl.kind == "constant" else values[host]
        self.run()
        found = {name: widened(np.array(x), self.plan.kind(self.hosts[name])) for name, x in self.results.items()}
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

    def __init__(self) -> None:
        calls = ("cublasCreate_v2", "cublasDestroy_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2")
        for name in (*calls, "cublasSetMathMode"):
            setattr(self, name, lambda *_: 0)

    def cublasGemmStridedBatchedEx(
        self, handle: Any, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: Any, kind_a: int, lda: int, sa: Any,
        b: Any, kind_b: int, ldb: int, sb: Any, beta: Any, c: Any, kind_c: int, ldc: int, sc: Any, count: int,
        compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        """``c = alpha * op(a) @ op(b) + beta * c``, `count` times."""
        kinds = [KINDS[kind] for kind in (kind_a, kind_b, kind_c)]
        if (compute, *kinds) not in COMBINATIONS:
            return 15  # CUBLAS_STATUS_NOT_SUPPORTED
        left = self.matrices(a, lda, sa, (k, m) if ta else (m, k), count, kinds[0])
        right = self.matrices(b, ldb, sb, (n, k) if tb else (k, n), count, kinds[1])
        out = self.matrices(c, ldc, sc, (m, n), count, kinds[2])
        ahead = np.float32 if compute != IN_64 else np.float64
        for x, y, z in zip(left, right, out, strict=True):
            x, y = (widened(v, kind) for v, kind in zip((x, y), kinds, strict=False))
            if compute == IN_TF32:
                x, y = rounded(x, 13), rounded(y, 13)
            made = ahead(alpha._obj.value) * (x.T if ta else x) @ (y.T if tb else y)
            made = made + ahead(beta._obj.value) * widened(z, kinds[2]) if beta._obj.value else made
            z[...] = narrowed(made, kinds[2])
        return 0

    def matrices(
        self, pointer: Any, leading: int, apart: Any, shape: tuple[int, int], count: int, kind: str
    ) -> np.ndarray[Any, Any]:
        """Arrays of columns."""
        rows, columns = shape
        dtype = np.dtype(RAW.get(kind, kind))
        if leading < max(rows, 1) or min(rows, columns) < 0:
            raise AssertionError(f"a leading dimension of {leading} for {rows} rows")
        span = (count - 1) * apart.value + max(columns - 1, 0) * leading + rows
        if not rows * columns:
            return np.zeros((count, rows, columns), dtype)
        item = dtype.itemsize
        raw = (ctypes.c_char * (span * item)).from_address(pointer.value)
        flat = np.frombuffer(raw, dtype)
        return as_strided(flat, (count, rows, columns), (apart.value * item, item, leading * item))


KINDS = {number: kind for kind, number in TYPES.items()}
COMBINATIONS = {
    (IN_64, "float64", "float64", "float64"),
    *((how, "float32", "float32", "float32") for how in (IN_32, IN_TF32)),
    *((IN_32, kind, kind, out) for kind in ("float16", "bfloat16") for out in (kind, "float32")),
}
"""What the documentation lists, of what a plan may want."""


def rounded(x: Any, bits: int) -> Any:
    """float32 with the last bits of the significand rounded away, to nearest even; no nan."""
    whole = np.ascontiguousarray(x, np.float32).view(np.uint32)
    half = np.uint32((1 << (bits - 1)) - 1)
    up = whole + half + (whole >> bits & 1)
    return (up >> bits << bits).view(np.float32)


def narrowed(x: Any, kind: str) -> Any:
    """float32 in 16 bits."""
    if kind == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).view(np.uint16)
    return (rounded(x, 16).view(np.uint32) >> 16).astype(np.uint16) if kind == "bfloat16" else x


class Emulator(AbstractMachine):
    """Compiles a plan with g++."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options
        self._libraries: dict[bool, ctypes.CDLL] = {}

    def library(self, wide: bool) -> ctypes.CDLL:
        """The kernels, with indices of 64 bits or of 32."""
        if wide not in self._libraries:
            self._libraries[wide] = compiled(self.plan.text, (f"-D{WIDE}",) if wide else ())
        return self._libraries[wide]

    def frame(self, numbers: Mapping[str, int]) -> EmulatedFrame:
        return EmulatedFrame(self, numbers)
