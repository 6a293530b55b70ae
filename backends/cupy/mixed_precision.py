"""Mixed precision: what is stored in 16 bits where that is asked for, and its conversion to and from float32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...compiler.program import Buffer, Program
from ...compiler.statements import Access, Compute, Fuse, Repeat, Step
from ...ir.axes import Axis, running
from ...ir.system import Equation, Ref
from ...ops.contract import PRODUCTS
from ...types import Array
from ..common.memory_layout import Layout
from ..common.memory_layout import layouts as layouts_of

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


def widened(array: Array, kind: str) -> Array:
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
    is taken over in float32, and so is what a loop carries on; products read a copy.
    """
    decls = program.system.decls
    everything = statements(program.steps)
    multiplied = {
        layouts[a.ref.name].host
        for step, _ in everything
        if step.equation.op in PRODUCTS
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
    return frozenset(found - carried(program, layouts))


def carried(program: Program, layouts: Mapping[str, Layout]) -> set[str]:
    """The hosts that a loop writes and reads at another step, but for what products alone read so.

    Rounded to 16 bits at every step, a state to which little is added would never change.
    """
    found: set[str] = set()
    for loop in program.steps:
        if not isinstance(loop, Repeat):
            continue
        inside = statements((loop,))
        writes: dict[str, set[Any]] = {}
        for step, axes in inside:
            writes.setdefault(layouts[step.equation.out.name].host, set()).add(_at(step, step.equation.out, axes))
        for step, axes in inside:
            for a in step.args if step.equation.op not in PRODUCTS else ():
                host = layouts[a.ref.name].host if isinstance(a, Access) else ""
                if isinstance(a, Access) and host in writes and _at(step, a.ref, axes) not in writes[host]:
                    found.add(host)
    return found


def _at(step: Compute, ref: Ref, axes: tuple[Axis, ...]) -> Any:
    """Where a ref stands, from the steps of the loops around; None along an axis that it does not run along."""
    offsets = dict(step.offsets)
    return tuple(None if (shift := ref.shift(a)) is None else shift + offsets[a] for a in axes)


def shortened(program: Program) -> Program:
    """The program in which products inside loops read copies of what these carry on, made before each of them."""
    found = layouts_of(program)
    kept, copies = carried(program, found), _Copies(program)
    steps: list[Step] = []
    for step in program.steps:
        hosts = kept & written(step, found) if isinstance(step, Repeat) else set()
        steps.append(copies.within(step, (), {n for n, x in found.items() if x.host in hosts}))
    system = replace(program.system, decls=copies.decls)
    return replace(program, system=system, buffers=copies.buffers, steps=tuple(steps))


class _Copies:
    """Adds them: each of the step at hand alone."""

    def __init__(self, program: Program) -> None:
        self.decls, self.buffers = dict(program.system.decls), dict(program.buffers)

    def within(self, step: Step, loops: tuple[Axis, ...], names: set[str]) -> Step:
        """A step, in whose loops products read copies of names."""
        if not isinstance(step, Repeat) or not names:
            return step
        loops, body = (*loops, step.axis), list[Step]()
        for inner in step.body:
            if isinstance(inner, Compute) and inner.equation.op in PRODUCTS:
                args = []
                for a in inner.args:
                    if isinstance(a, Access) and a.ref.name in names and set(loops) <= set(a.ref.running):
                        made = self.copy(inner, a.ref, loops)
                        body.append(made)
                        a = replace(a, ref=made.equation.out)
                    args.append(a)
                inner = replace(inner, args=tuple(args))
            body.append(self.within(inner, loops, names))
        return replace(step, body=tuple(body))

    def copy(self, product: Compute, ref: Ref, loops: tuple[Axis, ...]) -> Compute:
        """The statement that makes the copy of what a product reads."""
        decl, e = self.decls[ref.name], product.equation
        name = f"{ref.name}.brief{len(self.decls)}"
        axes = ref.running
        self.decls[name] = replace(decl, name=name, kind="temporary", axes=axes, detail=None)
        domain = tuple(r for r in e.domain if r.axis in axes)
        self.buffers[name] = Buffer(name, tuple(r for r in domain if r.axis not in loops))
        out = Ref(name, tuple(map(running, axes)))
        made = Equation(out, "copy", (ref,), (), domain, decl.batched, "sum", e.source)
        return Compute(made, (Access(ref),), "set", product.offsets)
