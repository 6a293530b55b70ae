"""A grid barrier, and products with weights kept on chip: CUDA C++ text for a loop that is one kernel.

Memory order, as PTX has it. Every block ends a phase with __syncthreads, then one of its threads with __threadfence and
an atomic addition; it goes on once a volatile read shows that all have, with __threadfence and __syncthreads again. So
all that any block wrote before is ordered before all that any reads after it, plain loads included: the fence also
drops what the first-level cache still holds. What must never stand in these kernels is a load that bypasses this order
(`ld.global.nc`, from `const` with `__restrict__` or from `__ldg`) of memory that the loop changes.
"""

from __future__ import annotations

from . import tuning

HARDWARE = """\
__device__ inline whole nanoseconds() {
    whole now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}
__device__ inline unsigned look(const unsigned* word) { return *(const volatile unsigned*)word; }
"""
"""What an emulated device writes itself."""

GRID = f"""\
struct alignas(16) Four {{ real at[4]; }};

__device__ inline int share(index_t all, int parts) {{ return (all + 4 * parts - 1) / (4 * parts) * 4; }}

__device__ inline bool arrive_and_wait(unsigned* barrier, volatile unsigned* flag, unsigned& target) {{
    bool late = false;
    target += gridDim.x;
    __syncthreads();
    if (threadIdx.x == 0) {{
        __threadfence();
        atomicAdd(barrier, 1u);
        whole begin = 0;
        for (unsigned looks = 1; !late && (int)(look(barrier) - target) < 0; looks++) {{
            if (looks % 1024) continue;
            whole now = nanoseconds();
            if (!begin) begin = now;
            late = look(barrier + 1) || now - begin > {tuning.BARRIER_TIMEOUT_S}000000000ll;
        }}
        if (late) {{
            atomicExch(barrier + 1, 1u);
            *flag = 1;
        }}
        __threadfence();
    }}
    return __syncthreads_or(late);
}}

__device__ __noinline__ int load(
    int panel, const real* weights, whole by_deep, whole by_column, int deep, whole units, int gates, int down
) {{
    extern __shared__ Four room[];
    int across = gridDim.x / down, padded = share(deep, 1), some = share(units, across), wide = some * gates;
    whole first = (whole)(blockIdx.x % across) * some;
    for (int n = threadIdx.x; n < padded * wide; n += {tuning.THREADS_PER_BLOCK}) {{
        int k = n / wide, c = n % wide;
        whole unit = first + c % some, column = c / some * units + unit;
        ((real*)room)[panel + n] = k < deep && unit < units ? weights[k * by_deep + column * by_column] : (real)0;
    }}
    return panel + padded * wide;
}}

__device__ inline void fetch(
    real* ahead, const real* state, whole by_row, whole by_deep, whole rows, int from, int deep, int shift, int cells
) {{
    #pragma unroll
    for (int i = 0; i < 16; i++) {{
        int n = threadIdx.x + i * {tuning.THREADS_PER_BLOCK}, row = n >> shift, k = from + (n & ((1 << shift) - 1));
        ahead[i] = n < cells && row < rows && k < deep ? state[row * by_row + k * by_deep] : (real)0;
    }}
}}

__device__ __noinline__ void multiply(
    const real* state, whole by_row, whole by_deep, int panel, real* out, whole out_row, whole out_column,
    whole rows, whole units, int gates, int deep, int down, bool adds
) {{
    extern __shared__ Four room[];
    real* stage = (real*)room;
    const real* weights = stage + panel;
    int across = gridDim.x / down, padded = share(deep, 1), some = share(units, across), wide = some * gates;
    int groups = wide / 4;
    whole first = (whole)(blockIdx.x % across) * some, each = share(rows, down);
    whole row = blockIdx.x / across * each, end = smaller(rows, row + each);
    if (first >= units || row >= end) return;
    int tall = 4, shift = 2;
    while (tall < {tuning.MAX_TILE_ROWS} && tall < end - row && tall / 2 * groups <= {tuning.THREADS_PER_BLOCK})
        tall *= 2;
    while ((1 << shift) < padded && (tall << shift) < 16 * {tuning.THREADS_PER_BLOCK}) shift++;
    int chunk = 1 << shift, pitch = chunk + 4, tiles = tall / 4 * groups, slices = {tuning.THREADS_PER_BLOCK} / tiles;
    int tile = threadIdx.x % tiles, slice = threadIdx.x / tiles, up = tile / groups * 4, side = tile % groups * 4;
    bool works = slice < slices;
    for (; row < end; row += tall) {{
        Four total[4] = {{}};
        real ahead[16];
        const real* from = state + row * by_row;
        fetch(ahead, from, by_row, by_deep, end - row, 0, deep, shift, tall << shift);
        for (int start = 0; start < padded; start += chunk) {{
            __syncthreads();
            #pragma unroll
            for (int i = 0; i < 16; i++) {{
                int n = threadIdx.x + i * {tuning.THREADS_PER_BLOCK};
                if (n < tall << shift) stage[(n >> shift) * pitch + (n & (chunk - 1))] = ahead[i];
            }}
            __syncthreads();
            if (start + chunk < padded)
                fetch(ahead, from, by_row, by_deep, end - row, start + chunk, deep, shift, tall << shift);
            int size = chunk < padded - start ? chunk : padded - start;
            for (int k = slice * 4; works && k < size; k += slices * 4) {{
                Four x[4];
                #pragma unroll
                for (int r = 0; r < 4; r++) x[r] = *(const Four*)(stage + (up + r) * pitch + k);
                #pragma unroll
                for (int j = 0; j < 4; j++) {{
                    Four w = *(const Four*)(weights + (start + k + j) * wide + side);
                    #pragma unroll
                    for (int r = 0; r < 4; r++)
                        #pragma unroll
                        for (int c = 0; c < 4; c++) total[r].at[c] += x[r].at[j] * w.at[c];
                }}
            }}
        }}
        __syncthreads();
        if (works)
            #pragma unroll
            for (int r = 0; r < 4; r++) ((Four*)stage)[(slice * tiles + tile) * 4 + r] = total[r];
        __syncthreads();
        for (int n = threadIdx.x; n < tall * wide; n += {tuning.THREADS_PER_BLOCK}) {{
            int r = n / wide, c = n % wide;
            whole unit = first + c % some, column = c / some * units + unit;
            if (row + r >= end || unit >= units) continue;
            const real* part = stage + ((r / 4 * groups + c / 4) * 4 + r % 4) * 4 + c % 4;
            real sum = 0;
            for (int s = 0; s < slices; s++) sum += part[s * tiles * 16];
            real* to = out + (row + r) * out_row + column * out_column;
            *to = adds ? *to + sum : sum;
        }}
        __syncthreads();
    }}
}}
"""
"""Blocks share the columns of a product, and its rows in `down` parts; each keeps its columns of the weights.

The columns are those of several `gates`, of so many `units` each, one after another: a block has the same units of all
gates, so that what follows for a unit needs no other block.

Every thread has 4 x 4 results, over a slice of what is summed where there are more threads than that; the slices are
added up in order. The next part of the state is read while this one is multiplied.
"""
