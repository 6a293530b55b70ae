"""Every operation on every case of its operands: CUDA text on a stand-in and LLVM IR, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.cases import COMPILED, Case, sample
from helpers.composites import all_of_them
from laws.agreement import EXACT, same

from unroll import Template, t
from unroll.ops.core import Op

STEPS, BATCH = 2, 3
FAMILIES = sorted({op.family.name for op, _ in COMPILED})
KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool"}


def template(family: str, rng: np.random.Generator) -> tuple[Template, dict[str, Any]]:
    """All cases of a family's operations, every array an input over steps and examples."""
    g, arrays = Template(family), {}
    number = 0
    for op, case in COMPILED:
        if op.family.name != family:
            continue
        args: list[Any] = []
        for n, operand in enumerate(sample(op, case, rng)):
            if not isinstance(operand, np.ndarray):
                args.append(operand)
                continue
            name = f"x{number}_{n}"
            arrays[name] = many(op, case, n, operand, rng)
            value = g.input(name, arrays[name].shape[2:], dtype=KINDS[operand.dtype.kind])[t]
            args.append(value if operand.size else value[tuple(slice(0, n) for n in operand.shape)])
        g.output(f"y{number}", op(*args, **case.attrs))
        number += 1
    assert number
    return g, arrays


def many(op: Op, case: Case, n: int, operand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The operand for every step and example: other numbers where they are random; one along an axis that has none."""
    if not operand.size:
        return np.ones((STEPS, BATCH, *(max(n, 1) for n in operand.shape)), operand.dtype)
    whole = np.broadcast_to(operand, (STEPS, BATCH, *operand.shape)).copy()
    if operand.dtype.kind == "f" and isinstance(case.operands[n], tuple):
        for at in np.ndindex(STEPS, BATCH):
            whole[at] = sample(op, case, rng)[n]
    return whole


@pytest.mark.parametrize("family", FAMILIES)
def test_an_operation_computes_what_numpy_does(family: str, emulated: str, rng: np.random.Generator) -> None:
    g, arrays = template(family, rng)
    names = tuple(g.system.outputs)
    want = g.compile("numpy", dtype="float64").run({}, names, **arrays)
    assert len(want) == len(names) > 0
    for backend in (emulated, "native"):
        net = g.compile(backend, dtype="float64")
        same(net.run({}, names, **arrays), want, EXACT, backend)
        same(net.run({}, names, **arrays), want, EXACT, f"{backend} once more")


def test_functions_written_from_operations_do_too(emulated: str, rng: np.random.Generator) -> None:
    g, arrays = all_of_them(rng)
    names, floats = tuple(g.system.outputs), [n for n, a in arrays.items() if a.dtype.kind == "f"]
    reference = g.compile("numpy", dtype="float64")
    net = g.compile(emulated, dtype="float64")
    same(net.run({}, names, **arrays), reference.run({}, names, **arrays), EXACT, emulated)
    want = reference.value_and_grad({}, wrt=floats, **arrays)[1]
    same(net.value_and_grad({}, wrt=floats, **arrays)[1], want, EXACT, emulated)
