"""Kernels that are the same for every plan: arrays in and out of their places in one launch, and averages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

THREADS = 256
CHUNK = THREADS * 16 * 4
"""Bytes that a block moves."""
MANY = 64
"""Arrays that one launch takes: their addresses are an argument, and arguments have 4 KiB at most."""
FIELDS = 9

TEXT = """\
typedef {real} real;
typedef long long whole;
struct Many {{ char* at[{many}]; }};
struct Sizes {{ whole at[{many}]; }};
struct alignas(16) Quad {{ unsigned long long part[2]; }};

template <class unit>
__device__ inline void moved(char* plain, char* place, const whole* piece, whole first, whole end, whole inwards) {{
    for (whole at = first + threadIdx.x * (whole)sizeof(unit); at < end; at += {threads} * (whole)sizeof(unit)) {{
        whole offset = at;
        if (piece[4] * piece[5] > 1) {{
            whole row = at / piece[6];
            offset = row / piece[5] * piece[7] + row % piece[5] * piece[8] + at % piece[6];
        }}
        if (inwards) *(unit*)(place + offset) = *(unit*)(plain + at);
        else *(unit*)(plain + at) = *(unit*)(place + offset);
    }}
}}

extern "C" __global__ void carry(Many arrays, const whole* pieces, whole count, whole inwards) {{
    whole n = 0, block = blockIdx.x;
    while (n + 1 < count && pieces[(n + 1) * {fields}] <= block) n++;
    const whole* piece = pieces + n * {fields};
    char* plain = arrays.at[piece[1]] + piece[2];
    char* place = (char*)piece[3];
    whole total = piece[4] * piece[5] * piece[6], first = (block - piece[0]) * {chunk};
    whole end = first + {chunk} < total ? first + {chunk} : total;
    whole all = (whole)plain | piece[3] | piece[6] | piece[7] | piece[8];
    if (all % 16 == 0) moved<Quad>(plain, place, piece, first, end, inwards);
    else if (all % 8 == 0) moved<unsigned long long>(plain, place, piece, first, end, inwards);
    else if (all % 4 == 0) moved<unsigned>(plain, place, piece, first, end, inwards);
    else moved<char>(plain, place, piece, first, end, inwards);
}}

extern "C" __global__ void average(Many arrays, Sizes sizes, whole count, whole parts, const real* each, real* mean,
    whole batch) {{
    __shared__ real part[{threads}];
    whole n = blockIdx.x / parts, start = blockIdx.x % parts;
    if (n < count) {{
        real* array = (real*)arrays.at[n];
        for (whole at = start * {threads} + threadIdx.x; at < sizes.at[n]; at += parts * {threads}) array[at] /= batch;
        return;
    }}
    real sum = 0;
    for (whole at = threadIdx.x; at < batch; at += {threads}) sum += each[at];
    part[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = {threads} / 2; half; half /= 2) {{
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }}
    if (threadIdx.x == 0) *mean = part[0] / batch;
}}
"""


def text(dtype: str) -> str:
    """The kernels `carry` and `average` for numbers of a dtype."""
    real = {"float32": "float", "float64": "double"}[dtype]
    return TEXT.format(real=real, many=MANY, threads=THREADS, fields=FIELDS, chunk=CHUNK)


@dataclass(frozen=True)
class Part:
    """Where an array lies in the memory of a frame: an address, and sizes and strides in bytes along its axes."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    item: int

    @property
    def bytes(self) -> int:
        """Of the array, in one piece."""
        return math.prod(self.shape) * self.item


@dataclass(frozen=True)
class Carried:
    """One launch of `carry`: the rows of its table, its blocks, and which arrays it takes the addresses of."""

    rows: tuple[tuple[int, ...], ...]
    blocks: int
    arrays: slice


def carried(parts: Sequence[Part]) -> list[Carried]:
    """The launches that carry arrays, each in one piece of memory, to their parts of a frame, or back.

    A row: the first block, which array and the bytes into it, the address of the part, then rows, columns and bytes
    that lie together, and the strides of rows and columns.
    """
    found = []
    for start in range(0, len(parts), MANY):
        rows, block = [], 0
        for n, part in enumerate(parts[start : start + MANY]):
            for offset, address, sizes, strides in _pieces(part):
                rows.append((block, n, offset, address, *sizes, *strides))
                block += -(-math.prod(sizes) // CHUNK)
        if rows:
            found.append(Carried(tuple(rows), block, slice(start, start + MANY)))
    return found


def _pieces(part: Part) -> Iterator[tuple[int, int, tuple[int, int, int], tuple[int, int]]]:
    """A part as pieces of two dimensions of strides and one that lies together."""
    if not part.bytes:
        return
    dims = [(n, stride) for n, stride in zip(part.shape, part.strides, strict=True) if n != 1]
    width = part.item
    while dims and dims[-1][1] == width:
        width *= dims.pop()[0]
    merged: list[tuple[int, int]] = []
    for n, stride in dims:
        if merged and merged[-1][1] == n * stride:
            merged[-1] = merged[-1][0] * n, stride
        else:
            merged.append((n, stride))
    outer, (rows, columns) = merged[:-2], ([(1, 0), (1, 0), *merged])[-2:]
    together = rows[0] * columns[0] * width
    for number, at in enumerate(product(*(range(n) for n, _ in outer))):
        away = sum(k * stride for k, (_, stride) in zip(at, outer, strict=True))
        yield number * together, part.address + away, (rows[0], columns[0], width), (rows[1], columns[1])
