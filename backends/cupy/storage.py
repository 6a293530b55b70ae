"""What is kept in 16 bits, where that is asked for, and how such numbers become float32 and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...program import Access, Compute, Fuse, Program, Repeat, Step
from ...timeindex import Axis
from ..place import Layout
from .values import CONTRACTIONS

CONVERSIONS = {
    "bfloat16": """\
struct brief { unsigned short bits; };
__device__ inline float widened(brief x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ inline brief narrowed(float x) {
    brief y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
""",
    "float16": """\
struct brief { unsigned short bits; };
__device__ inline float widened(brief x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
__device__ inline brief narrowed(float x) {
    brief y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
""",
}
"""By precision: to the nearest, of two as near the even one; NVIDIA's headers may be missing where this is compiled."""


def widened(array: Any, kind: str) -> Any:
    """An array of 16 bits as float32; any other as it is."""
    if kind == "float16":
        return array.view("float16").astype("float32")
    return (array.astype("uint32") << 16).view("float32") if kind == "bfloat16" else array


def written(step: Step, layouts: Mapping[str, Layout]) -> set[str]:
    """The hosts that a step writes."""
    return {layouts[s.equation.out.name].host for s, _ in statements((step,))}


def statements(steps: tuple[Step, ...]) -> list[tuple[Compute, tuple[Axis, ...]]]:
    """Every statement, with the axes of the loops around it."""
    found: list[tuple[Compute, tuple[Axis, ...]]] = []
    pending: list[tuple[Step, tuple[Axis, ...]]] = [(step, ()) for step in reversed(steps)]
    while pending:
        step, loops = pending.pop()
        if isinstance(step, Compute):
            found.append((step, loops))
            continue
        inside = (*loops, step.axis) if isinstance(step, Repeat) else loops
        assert isinstance(step, Fuse | Repeat)
        pending.extend((inner, inside) for inner in reversed(step.body))
    return found


def narrow(program: Program, layouts: Mapping[str, Layout]) -> frozenset[str]:
    """The hosts kept in 16 bits: those that carry the batch, and whose elements no loop adds up step after step.

    What is one number for each example stays as it is unless products read it, and so does a loss. What the user gives
    is taken over in float32; products read a copy.
    """
    decls = program.system.decls
    everything = statements(program.steps)
    multiplied = {
        layouts[a.ref.name].host
        for step, _ in everything
        if step.equation.op in CONTRACTIONS
        for a in step.args
        if isinstance(a, Access)
    }
    found = {
        x.host
        for x in layouts.values()
        if x.kind == "float" and x.batched and (math.prod(decls[x.host].shape) > 1 or x.host in multiplied)
    }
    found -= {layouts[name].host for name, decl in decls.items() if name in layouts and decl.given}
    for step, loops in everything:
        if step.equation.combine == "sum" and set(step.equation.summed) & set(loops):
            found.discard(layouts[step.equation.out.name].host)
    return frozenset(found)
