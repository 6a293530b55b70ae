"""A stand-in for a GPU: the very CUDA text, compiled by g++, block after block on NumPy memory."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from unroll import backends
from unroll.backends.base import Options, averaged
from unroll.backends.common.symbolic_size import BATCH_END
from unroll.backends.cupy.backend import Cuda
from unroll.backends.cupy.cooperative_launch import Barrier
from unroll.backends.cupy.cublas import IN_32, IN_64, IN_TF32, TYPES, Cublas
from unroll.backends.cupy.cuda_source import WIDE
from unroll.backends.cupy.grid_barrier import HARDWARE
from unroll.backends.cupy.mixed_precision import CONVERSIONS, widened
from unroll.backends.cupy.persistent import fit
from unroll.backends.cupy.plan import Call, Plan, Whole, calls
from unroll.backends.cupy.run_buffers import RAW, AbstractFrame, AbstractMachine

COMPILER = shutil.which("g++")
ALIGNED = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")
"""A load of several elements at an address that is no multiple of their size ends the process, as on a device."""

ONE = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "fabs", "floor", "rint")
TWO = ("pow", "fmod", "copysign")


def _declared(name: str, arity: int) -> str:
    """A function of the C library and of the same name for floats."""
    types = [", ".join([kind] * arity) for kind in ("double", "float")]
    given, passed = ("float x", "x") if arity == 1 else ("float x, float y", "x, y")
    plain = f'extern "C" double {name}({types[0]}); extern "C" float {name}f({types[1]});'
    return f"{plain} inline float {name}({given}) {{ return {name}f({passed}); }}\n"


MATHS = "".join([*(_declared(f, 1) for f in ONE), *(_declared(f, 2) for f in TWO)])
"""Declared by hand: the header takes g++ as long as all else."""

SHIM = """\
#include <setjmp.h>
#include <ucontext.h>
#define __global__
#define __device__
#define __shared__ static
#define __ffs __builtin_ffs
static float __int_as_float(int bits) { float x; __builtin_memcpy(&x, &bits, 4); return x; }
static unsigned atomicOr(unsigned *at, unsigned bits) { unsigned old = *at; *at |= bits; return old; }
#define __noinline__
#define __launch_bounds__(...)
#define __threadfence()
static struct { unsigned x; } threadIdx, blockIdx, gridDim;
enum { BLOCKS = 8, MOST = 256, ROOM = 16384, READY = 0, WAITING, LOOKING, DONE, NEW };
static jmp_buf home, here[BLOCKS][MOST];
static ucontext_t begin[BLOCKS][MOST];
static char stacks[BLOCKS][MOST][ROOM], *rooms[BLOCKS];
static int state[BLOCKS][MOST], vote[BLOCKS][MOST], first;
static void **given;
static void (*body)();
static void leave(int as) {
    unsigned b = blockIdx.x - first, n = threadIdx.x;
    state[b][n] = as;
    if (!_setjmp(here[b][n])) _longjmp(home, 1);
}
static void enter() { body(); leave(DONE); }
static void resume(unsigned b, unsigned n) {
    blockIdx.x = first + b;
    threadIdx.x = n;
    int was = state[b][n];
    state[b][n] = READY;
    if (_setjmp(home)) return;
    if (was != NEW) _longjmp(here[b][n], 1);
    if (!begin[b][n].uc_stack.ss_sp) {
        getcontext(&begin[b][n]);
        begin[b][n].uc_stack.ss_sp = stacks[b][n];
        begin[b][n].uc_stack.ss_size = ROOM;
        makecontext(&begin[b][n], enter, 0);
    }
    setcontext(&begin[b][n]);
}
static void __syncthreads() { leave(WAITING); }
static int __syncthreads_or(int x) {
    unsigned b = blockIdx.x - first, n = threadIdx.x;
    vote[b][n] = x;
    leave(WAITING);
    int any = 0;
    for (int i = 0; i < MOST; i++) any |= vote[b][i];
    leave(WAITING);
    vote[b][n] = 0;
    return any;
}
static unsigned atomicAdd(unsigned *at, unsigned x) { *at += x; return *at - x; }
static void atomicExch(unsigned *at, unsigned x) { *at = x; }
static long long clock_now;
static long long nanoseconds() { return clock_now += 1000000000; }
static unsigned look(const unsigned *at) { leave(LOOKING); return *at; }
static int together(int blocks, int threads) {
    static unsigned turn;
    for (int b = 0; b < blocks; b++) for (int n = 0; n < threads; n++) state[b][n] = NEW;
    for (bool busy = true; busy;) {
        busy = false;
        bool backwards = (turn = turn * 1103515245 + 12345) >> 30 & 1;
        for (int i = 0; i < blocks; i++) {
            int b = backwards ? blocks - 1 - i : i, waiting, done, looking;
            do {
                waiting = done = looking = 0;
                for (int n = 0; n < threads; n++) {
                    if (state[b][n] != WAITING && state[b][n] != DONE) resume(b, n);
                    waiting += state[b][n] == WAITING;
                    done += state[b][n] == DONE;
                    looking += state[b][n] == LOOKING;
                }
                if (waiting && done && !looking) return 1;
                if (!looking) for (int n = 0; n < waiting; n++) state[b][n] = READY;
            } while (waiting && !looking);
            busy |= done != threads;
        }
    }
    return 0;
}
extern "C" int run(void (*kernel)(), long long blocks, int threads, int meets, void **arguments) {
    given = arguments;
    body = kernel;
    gridDim.x = blocks;
    for (long long block = 0; block < blocks; block++) {
        blockIdx.x = first = block;
        if (meets) {
            if (together(1, threads)) return 1;
        } else {
            for (int n = 0; n < threads; n++) { threadIdx.x = n; body(); }
        }
    }
    return 0;
}
extern "C" int run_together(
    void (*kernel)(), int blocks, int absent, char *shared, long long bytes, void **arguments
) {
    given = arguments;
    body = kernel;
    gridDim.x = blocks;
    first = 0;
    for (int b = 0; b < blocks; b++) rooms[b] = shared + b * bytes;
    return together(blocks - absent, MOST);
}
"""
"""Threads are fibres that stop where they meet, and wherever one looks whether the other blocks have come.

A block of which only some threads arrive at a barrier is an error. Blocks take turns, in one order or the other,
each until it looks for the others. The clock goes on by a second whenever it is read.
"""

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
    text = text.replace(HARDWARE, "").replace(
        "extern __shared__ Four room[];", "Four* room = (Four*)rooms[blockIdx.x];"
    )
    parts = [MATHS, SHIM, text]
    for name, types in parameters(text).items():
        values = ", ".join(f"*({kind}*)given[{n}]" for n, kind in enumerate(types))
        parts.append(f'extern "C" void call_{name}() {{ {name}({values}); }}')
    return "\n".join(parts)


def parameters(text: str) -> dict[str, list[str]]:
    """The types of what each kernel of a text is given."""
    found = re.findall(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(([^)]*)\) \{", text)
    return {name: [a.rpartition(" ")[0] for a in re.split(r",\s*", given)] for name, given in found}


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
    meets = "__syncthreads" in own or "__shared__" in own
    status = library.run(getattr(library, f"call_{kernel}"), ctypes.c_longlong(blocks), threads, int(meets), table)
    assert status == 0, f"{kernel}: only some threads of a block arrive at a barrier"


class EmulatedFrame(AbstractFrame):
    """A run on NumPy memory."""

    def __init__(self, machine: Emulator, numbers: Mapping[str, int]) -> None:
        plan = machine.plan
        where, size = plan.arena(numbers)
        item = np.dtype(plan.dtype).itemsize
        found = {loop.kernel: fit(loop, numbers, machine.processors, machine.room, item) for loop in plan.persistent}
        super().__init__(plan, numbers, aligned(size), where)
        self.fits = {n: f for n, f in found.items() if f is not None}
        self.barrier = Barrier(np.zeros(2, np.uint32), (ctypes.c_uint * 1)())
        self.library = machine.library(plan.wide(numbers))
        self.options, self.absent = machine.options, machine.absent
        self.multiply = Cublas(Blas(), plan)

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for host, part in self.given.items():
            decl = self.plan.system.decls[host]
            part[...] = decl.array if decl.kind == "constant" else values[host]
        self.run()
        self.barrier.check("this run")
        found = {name: widened(np.array(x), self.plan.kind(self.hosts[name])) for name, x in self.results.items()}
        return averaged(found, self.options, self.numbers[BATCH_END])

    def run(self) -> None:
        for call in calls(self.plan, self.numbers, self.fits):
            if isinstance(call, Call):
                meets, values = bool(call.launch.part), self.values(call.arguments)
                kernel = getattr(self.library, f"call_{call.launch.kernel}")
                blocks = ctypes.c_longlong(call.blocks)
                status = self.library.run(kernel, blocks, call.launch.threads, int(meets), values)
                assert status == 0, f"{call.launch.kernel}: only some threads of a block arrive at a barrier"
            elif isinstance(call, Whole):
                self.together(call)
            else:
                left, right, out = (self.address(host) for host in call.hosts)
                self.multiply(call, (left, right, out))

    def values(self, arguments: Sequence[str | int]) -> Any:
        """A table of addresses of what a kernel is given."""
        held = [ctypes.c_longlong(self.address(x) if isinstance(x, str) else x) for x in arguments]
        table = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))
        table.held = held
        return table

    def together(self, call: Whole) -> None:
        """All blocks of a loop at once."""
        self.barrier.words[0] = 0
        words, flag = self.barrier.words.ctypes.data, ctypes.addressof(self.barrier.flag)
        table = self.values((words, flag, call.fit.down, *call.arguments))
        at_once(self.library, call.kernel, call.fit.blocks, call.fit.shared, table, self.absent)

    def address(self, host: str) -> int:
        """Where a host begins."""
        found: int = self.arrays[host].__array_interface__["data"][0]
        return found


def at_once(library: Any, kernel: str, blocks: int, shared: int, table: Any, absent: int = 0) -> None:
    """A cooperative launch, at which some blocks never arrive; the end of the memory that each shares is watched."""
    fence = shared + 64
    memory = aligned(blocks * fence)
    room, each = ctypes.c_void_p(memory.ctypes.data), ctypes.c_longlong(fence)
    status = library.run_together(getattr(library, f"call_{kernel}"), blocks, absent, room, each, table)
    assert status == 0, f"{kernel}: only some threads of a block arrive at a barrier"
    assert (memory.reshape(-1, fence)[:, -64:] == 255).all(), f"{kernel}: beyond its shared memory"


def aligned(size: int) -> Any:
    """Memory full of nan, and of no index."""
    raw = np.full(size + 64, 255, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


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
        assert min(m, n, k, count) > 0, "what a library does with empty matrices is nothing to rely on"
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
    """Compiles a plan with g++; a loop as one kernel has as many blocks as there are `processors`, up to 8.

    absent  blocks of such a loop that never arrive
    """

    processors, room, absent = 3, 227 * 1024, 0

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


def module(name: str) -> ModuleType:
    """A module of a backend on it."""
    made = ModuleType(f"unroll.backends.{name}")
    made.BACKEND = Cuda(Emulator, lambda: "")  # type: ignore[attr-defined]
    return made


def register(name: str) -> None:
    """Make it a backend that goes by a name, for a whole process."""
    made = module(name)
    sys.modules[made.__name__] = made
    backends.NAMES[name] = name
