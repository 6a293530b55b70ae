"""Planted faults: each is a mistake that this package could make, and the laws of this folder must notice it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.agreement import DERIVED, Specimen, check_backend, check_gradient, close, complex_step, directions
from unroll import ops
from unroll.compiler import pipeline
from unroll.compiler.program import Buffer, Program
from unroll.compiler.statements import Access, Compute, Fuse, Repeat
from unroll.dependence.loop_order import NoOrder
from unroll.ir.axes import Range, running
from unroll.ops.core import OPS
from unroll.transform import adjoint as adjoint_module
from unroll.transform import simplify, verify
from unroll.transform.verify import VerificationError

CAUGHT = (AssertionError, IndexError, ValueError, NoOrder)
"""What a comparison raises; what arrays raise where a fault leads outside them; and where no order is left."""


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verifier between passes: the numbers alone must tell."""
    monkeypatch.setattr(verify, "enabled", False)


Step = Compute | Repeat
Fault = Callable[[Program], Program]


def specimen(name: str, steps: int = 5) -> Specimen:
    """A fresh template of the zoo, so that nothing compiled before is used."""
    rng = np.random.default_rng(7)
    g = ZOO[name]()
    return Specimen(g, params_for(g, rng), arrays_for(g, lengths_for(g, steps), 2, rng))


def check(it: Specimen) -> None:
    """The laws of this folder, in brief."""
    check_backend(it)
    _, gradient = it.net("numpy").value_and_grad(it.params, it.floats, **it.arrays)
    rng = np.random.default_rng(8)
    check_gradient(it, gradient, rng)
    direction = directions(it, it.floats, rng)
    _, tangent = it.net("numpy").jvp(it.params, direction, **it.arrays)
    close(tangent, complex_step(it.net("reference", "complex128"), it, direction), DERIVED, "jvp")


def edited(steps: tuple[Step, ...], change: Callable[[Step], Step]) -> tuple[Step, ...]:
    """Every step of a program changed, from the inside out."""
    return tuple(
        change(replace(step, body=edited(step.body, change)) if isinstance(step, Repeat) else step) for step in steps
    )


def loops(program: Program) -> Iterator[Repeat]:
    """The outermost loops."""
    return (step for step in program.steps if isinstance(step, Repeat))


def flipped(program: Program) -> Program:
    """Every loop runs the other way."""

    def change(step: Step) -> Step:
        return replace(step, direction=-step.direction) if isinstance(step, Repeat) else step

    return replace(program, steps=edited(program.steps, change))


def late(program: Program) -> Program:
    """The first statement of each loop computes the step before the one it should."""

    def change(step: Step) -> Step:
        if not isinstance(step, Repeat) or not isinstance(step.body[0], Compute):
            return step
        offsets = tuple((axis, k - 1 if axis == step.axis else k) for axis, k in step.body[0].offsets)
        return replace(step, body=(replace(step.body[0], offsets=offsets), *step.body[1:]))

    return replace(program, steps=edited(program.steps, change))


def swapped(program: Program) -> Program:
    """The body of every loop runs in the opposite order."""

    def change(step: Step) -> Step:
        return replace(step, body=step.body[::-1]) if isinstance(step, Repeat) else step

    return replace(program, steps=edited(program.steps, change))


def added(program: Program) -> Program:
    """What should be set is added to what the memory held."""

    def change(step: Step) -> Step:
        return replace(step, mode="add") if isinstance(step, Compute) else step

    return replace(program, steps=edited(program.steps, change))


def overwritten(program: Program) -> Program:
    """What should be added up is set."""

    def change(step: Step) -> Step:
        return replace(step, mode="set") if isinstance(step, Compute) else step

    return replace(program, steps=edited(program.steps, change))


def uncleared(program: Program) -> Program:
    """Sums begin with what the memory held."""
    return replace(program, buffers={n: replace(b, clear=None) for n, b in program.buffers.items()})


def recurrent(program: Program) -> list[str]:
    """Variables that a loop writes and that hold more than the steps 1..T."""
    names = {s.equation.out.name for loop in loops(program) for s in loop.body if isinstance(s, Compute)}
    return [n for n in names if any(r.lo.shift < 1 or r.hi.shift > 0 for r in program.buffers[n].axes)]


def short(program: Program) -> Program:
    """The buffer of every recurrent variable lacks the last step it should hold."""
    buffers = dict(program.buffers)
    for name in recurrent(program):
        first, *rest = buffers[name].axes
        buffers[name] = replace(buffers[name], axes=(Range(first.axis, first.lo, first.hi - 1), *rest))
    return replace(program, buffers=buffers)


def contracted(program: Program) -> Program:
    """One slot for all steps of what a loop writes, though statements after the loop read it."""
    buffers = dict(program.buffers)
    inside: set[str] = set()
    for step in program.steps:
        if isinstance(step, Repeat):
            inside |= {s.equation.out.name for s in step.body if isinstance(s, Compute)}
        else:
            reads = (a for s in (step.body if isinstance(step, Fuse) else (step,)) for a in s.args)
            for a in reads:
                if isinstance(a, Access) and a.ref.name in inside and a.ref.running:
                    buffers[a.ref.name] = Buffer(a.ref.name, buffers[a.ref.name].axes[1:])
    return replace(program, buffers=buffers)


FAULTS: dict[str, tuple[Fault, str]] = {
    "the loop runs the other way": (flipped, "linear elman digital_filter bidirectional mixed_signs grid"),
    "an offset is off by one": (late, "linear elman stacked mixed_signs three_delays_coupled grid"),
    "two equations of a loop are swapped": (swapped, "elman gru stacked mixed_signs digital_filter"),
    "set becomes add": (added, "linear elman no_recurrence grid shared_across_the_batch"),
    "add becomes set": (overwritten, "linear elman digital_filter stacked statistics_over_time"),
    "a sum does not begin at 0": (uncleared, "digital_filter three_delays_coupled last_but_one"),
    "a slot too few": (short, "linear elman bidirectional mixed_signs reverse_axis_inside"),
    "one slot for what is read later": (contracted, "linear elman bidirectional lstm_packed reverse_axis_inside"),
}


@pytest.mark.parametrize(("label", "name"), [(label, n) for label, (_, names) in FAULTS.items() for n in names.split()])
@pytest.mark.parametrize("by", ["numbers", "verifier"])
def test_fault_of_the_schedule(label: str, name: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "enabled", by == "verifier")
    fault = FAULTS[label][0]
    touched = []

    def plant(program: Program) -> Program:
        touched.append(changed := fault(program))
        return changed if changed != program else touched.pop()

    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES, ("planted", plant)))
    with pytest.raises(VerificationError if by == "verifier" else CAUGHT):
        check(specimen(name))
    assert touched, "the fault was not planted"


RULES: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "tanh without the square": ("tanh", (lambda g, y, x: g * (1 - y),), "elman stacked attention"),
    "sigmoid of the operand": ("sigmoid", (lambda g, y, x: g * (x * (1 - x)),), "gru lstm_packed"),
    "sin with the sign of cos": ("sin", (lambda g, y, x: -g * ops.cos(x),), "mixed_signs last_but_one"),
    "mul with operands exchanged": ("mul", (lambda g, y, a, b: g * a, lambda g, y, a, b: g * b), "linear gru"),
    "sub as add": ("sub", (lambda g, y, a, b: g, lambda g, y, a, b: g), "gru digital_filter"),
    "div without the square": ("div", (lambda g, y, a, b: g / b, lambda g, y, a, b: -g / b), "over_time attention"),
    "no derivative at all": ("matmul", (None, OPS["matmul"].vjp[1]), "elman bidirectional"),
    "one part in a million": ("exp", (lambda g, y, x: g * y * (1 + 1e-6),), "over_time attention"),
}


@pytest.mark.parametrize(("label", "name"), [(label, n) for label, (*_, names) in RULES.items() for n in names.split()])
@pytest.mark.usefixtures("unverified")
def test_wrong_derivative(label: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, rules, _ = RULES[label]
    monkeypatch.setitem(OPS, op, replace(OPS[op], vjp=rules))
    with pytest.raises(AssertionError, match=r"gradient by .*, complex step"):
        check(specimen(name))


def unshifted(builder: Any, out: Any, value: Any, equation: Any) -> None:
    """``h~[t-1] += ...`` becomes ``h~[t] += ...`` with nothing else moved."""
    out = replace(out, index=tuple(running(i.axis) if i.runs else i for i in out.index))
    made = replace(equation, out=out, op="copy", args=(value.operand,), attrs=(), combine="sum", label=None)
    builder.equations.append(made)


def unsummed(value: Any, shape: tuple[int, ...]) -> Any:
    """A cotangent broadcast to its operand's shape where it should be summed down to it."""
    return value if value.shape == shape else ops.sum(value) / ops.sum(0 * value + 1) + np.zeros(shape)


TRANSFORMS: dict[str, tuple[Any, str, Any, int, str]] = {
    "an adjoint without delays": (adjoint_module, "_accumulate", unshifted, 5, "linear grid statistics_over_time"),
    "an adjoint without broadcasting": (adjoint_module, "_fit", unsummed, 5, "over_time many_operations"),
    "every read is inside": (simplify, "within", lambda *_: True, 0, "last_without_recurrence"),
}


@pytest.mark.parametrize(
    ("label", "name"), [(label, n) for label, (*_, names) in TRANSFORMS.items() for n in names.split()]
)
@pytest.mark.usefixtures("unverified")
def test_fault_of_a_transform(label: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, fault, steps, _ = TRANSFORMS[label]
    monkeypatch.setattr(module, attribute, fault)
    with pytest.raises(CAUGHT):
        check(specimen(name, steps))


def test_nothing_planted_nothing_caught() -> None:
    for name in ("linear", "elman", "mixed_signs", "grid", "over_time", "statistics_over_time"):
        check(specimen(name))
