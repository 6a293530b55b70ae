"""The staging kernel: arrays gathered in and scattered out in one launch, the same for every plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from . import tuning
from .mixed_precision import CONVERSIONS

BRIEF = """\
struct brief { unsigned short bits; };
__device__ inline float widened(brief x) { return x.bits; }
"""
"""In place of conversions, where nothing is kept in 16 bits."""
THREADS = 256
CHUNK = THREADS * 16 * 4
"""Bytes that a block moves."""
FIELDS = 11

COPIED, SHARED, MEAN = 0, 1, 2
"""What becomes of an array on its way out: nothing, every element divided by the batch size, or one number."""

TEXT = """\
{conversions}
typedef {real} real;
typedef long long whole;
struct Many {{ char* at[{many}]; }};
struct alignas(16) Quad {{ unsigned long long part[2]; }};

__device__ inline whole away(const whole* piece, whole at) {{
    if (piece[4] * piece[5] == 1) return at;
    whole row = at / piece[6];
    return row / piece[5] * piece[7] + row % piece[5] * piece[8] + at % piece[6];
}}

template <class unit>
__device__ inline void moved(char* plain, char* there, const whole* piece, whole first, whole end, bool inwards) {{
    for (whole at = first + threadIdx.x * (whole)sizeof(unit); at < end; at += {threads} * (whole)sizeof(unit)) {{
        unit* outside = (unit*)(plain + at);
        unit* inside = (unit*)(there + away(piece, at));
        if (inwards) *inside = *outside;
        else *outside = *inside;
    }}
}}

extern "C" __global__ void carry(Many arrays, const whole* pieces, whole count, whole batch) {{
    __shared__ real part[{threads}];
    whole n = 0, block = blockIdx.x;
    while (n + 1 < count && pieces[(n + 1) * {fields}] <= block) n++;
    const whole* piece = pieces + n * {fields};
    char* plain = arrays.at[piece[1]] + piece[2];
    char* there = (char*)piece[3];
    whole total = piece[4] * piece[5] * piece[6], first = (block - piece[0]) * {chunk};
    whole end = first + {chunk} < total ? first + {chunk} : total;
    if (piece[9] == {mean}) {{
        real sum = 0;
        for (whole at = threadIdx.x * sizeof(real); at < total; at += {threads} * sizeof(real))
            sum += *(real*)(there + away(piece, at));
        part[threadIdx.x] = sum;
        __syncthreads();
        for (unsigned half = {threads} / 2; half; half /= 2) {{
            if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
            __syncthreads();
        }}
        if (threadIdx.x == 0) *(real*)plain = part[0] / batch;
        return;
    }}
    if (piece[10]) {{
        for (whole at = first + threadIdx.x * sizeof(brief); at < end; at += {threads} * sizeof(brief)) {{
            real value = widened(*(brief*)(there + away(piece, at)));
            *(real*)(plain + 2 * at) = piece[9] == {shared} ? value / batch : value;
        }}
        return;
    }}
    if (piece[9] == {shared}) {{
        for (whole at = first + threadIdx.x * sizeof(real); at < end; at += {threads} * sizeof(real))
            *(real*)(plain + at) = *(real*)(there + away(piece, at)) / batch;
        return;
    }}
    whole all = (whole)plain | piece[3] | piece[6] | piece[7] | piece[8];
    if (all % 16 == 0) moved<Quad>(plain, there, piece, first, end, !batch);
    else if (all % 8 == 0) moved<unsigned long long>(plain, there, piece, first, end, !batch);
    else if (all % 4 == 0) moved<unsigned>(plain, there, piece, first, end, !batch);
    else moved<char>(plain, there, piece, first, end, !batch);
}}
"""
"""Inwards `batch` is 0. A mean is summed in one fixed order, by one block."""


def text(dtype: str, precision: str = "float32") -> str:
    """The kernel `carry` for numbers of a dtype, of which some are kept in 16 bits."""
    real = {"float32": "float", "float64": "double"}[dtype]
    conversions = CONVERSIONS.get(precision, BRIEF)
    return TEXT.format(
        conversions=conversions,
        real=real,
        many=tuning.MAX_ARRAYS_PER_LAUNCH,
        threads=THREADS,
        fields=FIELDS,
        chunk=CHUNK,
        shared=SHARED,
        mean=MEAN,
    )


@dataclass(frozen=True)
class Part:
    """Where an array lies in the memory of a frame: an address, and sizes and strides in bytes along its axes."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    item: int
    how: int = COPIED
    brief: bool = False

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
    that lie together, the strides of rows and columns, what becomes of it, and whether it becomes wider.
    """
    found = []
    for start in range(0, len(parts), tuning.MAX_ARRAYS_PER_LAUNCH):
        rows, block = [], 0
        for n, part in enumerate(parts[start : start + tuning.MAX_ARRAYS_PER_LAUNCH]):
            for offset, address, sizes, strides in _pieces(part):
                rows.append(
                    (
                        block,
                        n,
                        2 * offset if part.brief else offset,
                        address,
                        *sizes,
                        *strides,
                        part.how,
                        int(part.brief),
                    )
                )
                block += 1 if part.how == MEAN else -(-math.prod(sizes) // CHUNK)
        if rows:
            found.append(Carried(tuple(rows), block, slice(start, start + tuning.MAX_ARRAYS_PER_LAUNCH)))
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
