"""Row dot products: adjacent threads share each long row, so that loads are coalesced."""

from __future__ import annotations

from ...compiler.statements import Access, Compute
from ...ops.contract import PRODUCTS
from ..common.symbolic_size import EXAMPLES, points_in
from . import tuning
from .cuda_source import operand
from .kernels import KernelWriter
from .plan import Launch
from .scalar_expressions import Values, convert

ROWS = tuning.THREADS_PER_BLOCK // tuning.WARP
"""Products of a block."""


def long(step: Compute, values: Values) -> bool:
    """True for the scalar product of two vectors with an element for every thread of a row at least."""
    e = step.equation
    if e.op not in PRODUCTS or not all(isinstance(a, Access) for a in step.args):
        return False
    first, second = (values.shape(a) for a in step.args)
    whole = values.k.layouts[e.out.name].shape
    return first == second and len(first) == 1 and first[0] >= tuning.WARP and not whole


def dots(w: KernelWriter, step: Compute) -> Launch:
    """A row of threads for every product; what they have met in a tree."""
    k, e = w.k, step.equation
    out, (width,) = w.layouts[e.out.name], w.values.shape(step.args[0])
    running = set(e.out.running)
    dims = [(key, size) for key, size in w.spans(out.batched) if key == EXAMPLES or key in running]
    k.shares("real", "part", tuning.THREADS_PER_BLOCK)
    k.line(f"int lane = threadIdx.x % {tuning.WARP}, slice = threadIdx.x / {tuning.WARP};")
    k.line(f"index_t point = block * {ROWS} + slice;")
    k.line(f"bool inside = point < {k.size(points_in(dims))};")
    found = k.coordinates("point", dims)
    total = k.new("float", "0", "sum")
    k.line("#pragma unroll 4")  # four loads on their way at once
    with k.block(f"for (index_t next = lane; inside && next < {width}; next += {tuning.WARP})"):
        x, y = (convert(w.values.read(a, found, ["next"]), "float") for a in step.args)
        k.line(f"{total} += {x} * {y};")
    k.line(f"part[threadIdx.x] = {total};")
    with k.block(f"for (int half = {tuning.WARP // 2}; half; half /= 2)"):
        k.line("__syncthreads();")
        k.line("if (lane < half) part[threadIdx.x] += part[threadIdx.x + half];")
    with k.block("if (inside && lane == 0)"):
        value = convert(("part[threadIdx.x]", "float"), out.kind)
        if step.mode == "add":
            value = w.joined(step, w.before(step, found, []), value)
        k.store(operand(w.layouts, Access(e.out), w.where), found, [], value)
    return w.launch(points_in(dims), ROWS, tuning.THREADS_PER_BLOCK)
