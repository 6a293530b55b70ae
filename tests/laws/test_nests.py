"""Every operation as loop nests, run number by number, against what NumPy computes of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.cases import PRIMITIVE, Case, case_id, sample
from helpers.zoo import ZOO

from unroll import Template, ops
from unroll.backends.common.addressing import addressed
from unroll.backends.common.symbolic_size import Size, in_order
from unroll.backends.numpy.kernels import compute
from unroll.compiler.decompose import decomposed
from unroll.compiler.nests import (
    AffineIndex,
    Apply,
    Coordinate,
    Digit,
    Load,
    LoopVariable,
    Nest,
    Reduce,
    Scalar,
    children,
    free,
    parts,
    zeros,
)
from unroll.compiler.pipeline import compile_system
from unroll.compiler.statements import Access, Compute, View, walk
from unroll.ir.system import Const, Equation, Ref
from unroll.ops.core import Op

Numbers = Mapping[LoopVariable, int]

MORE = [
    ("sum", Case("of-no-axis", ((2, 3),), {"axis": (), "keepdims": False})),
    ("sum", Case("of-nothing", ((2, 0),), {"axis": (-1,), "keepdims": True})),
    ("reshape", Case("groups", ((2, 3, 1, 4),), {"shape": (6, 4)})),
    ("reshape", Case("groups-back", ((6, 4),), {"shape": (2, 3, 4, 1)})),
    ("reshape", Case("across", ((4, 6),), {"shape": (3, 8)})),
    ("reshape", Case("size1", ((1, 3),), {"shape": (3,)})),
    ("reshape", Case("empty", ((0, 3),), {"shape": (3, 0, 2)})),
    ("slice", Case("size1", ((5, 1),), {"parts": ((4, 0, -2), 0)})),
    ("slice", Case("of-one", ((1, 3),), {"parts": ((0, 1, None),)})),
    ("slice", Case("far-steps", ((3, 4),), {"parts": (-1, (None, None, 3))})),
    ("unslice", Case("backward", ((2,),), {"parts": ((4, 0, -2),), "shape": (5,)})),
    ("unslice", Case("nothing", ((0, 2),), {"parts": ((3, 1, None),), "shape": (4, 2)})),
    ("unslice", Case("of-one", ((1, 3),), {"parts": ((1, 2, None),), "shape": (4, 3)})),
    ("concat", Case("size1", ((2, 1), (1, 1)), {"axis": -2})),
    ("concat", Case("many", ((1,), (1,), (0,), (2,)), {"axis": -1})),
    ("stack", Case("one", ((1,),), {"axis": -2})),
    ("take", Case("row-of-one", ((3, 1, 2), np.array([2])))),
    ("take", Case("one-row", ((1, 2), np.zeros((2, 2), int)))),
    ("pick", Case("size1", ((1, 1), np.array([0])))),
    ("scatter", Case("size1", ((2, 2, 1), np.array([[0, 0], [0, 0]])), {"size": 1})),
    ("one_hot", Case("size1", (np.array([[0, 2]]),), {"size": 3})),
    ("argmax", Case("size1", ((2, 1),))),
]
ALL = [*PRIMITIVE, *((ops.OPS[name], case) for name, case in MORE)]


class Interpreter:
    """Runs nests over arrays, one number after the other."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def index(self, x: Coordinate, at: Numbers) -> int:
        if isinstance(x, AffineIndex):
            return x.start + sum(k * at[loop] for loop, k in x.terms)
        if isinstance(x, Digit):
            return self.index(x.number, at) // x.unit % x.size
        return min(max(int(self.value(x.number, at)), 0), x.size - 1)

    def value(self, x: Scalar, at: Numbers) -> Any:
        if isinstance(x, AffineIndex):
            return self.index(x, at)
        if isinstance(x, Load):
            if isinstance(x.arg, Const):
                return x.arg.value
            assert isinstance(x.arg, Access)
            array = self.arrays[x.arg.ref.name]
            for view in x.arg.views:
                array = compute(ops.OPS[view.op], [array], [array.ndim], dict(view.attrs), "float64")
            return array[tuple(self.index(i, at) for i in x.index)]
        if isinstance(x, Apply):
            args = [np.asarray(self.value(a, at)) for a in x.args]
            return np.asarray(compute(ops.OPS[x.op], args, [0] * len(args), {}, "float64"))[()] * (
                1.0 if x.op == "cast" else 1
            )
        assert isinstance(x, Reduce)
        values = [self.value(x.value, {**at, **here}) for here in points(x.loops)]
        if x.op == "argmax":
            return int(np.argmax(values))
        return sum(values) if x.op == "sum" else max(values)


def held(nest: Nest, machine: Interpreter) -> None:
    """What the printers count on: parts come in order, invariants need the loops around alone, addresses are right."""
    order = list(parts(nest.value, *nest.index))
    assert len(set(order)) == len(order)
    assert {nest.value, *nest.index} <= set(order)
    for n, x in enumerate(order):
        assert set(children(x)) <= set(order[:n])
        if isinstance(x, Load) and isinstance(x.arg, Access):
            addressed_alike(x.index, machine.arrays[x.arg.ref.name].shape, machine)
    around, along = nest.rows()
    one = {loop for loop in nest.loops if loop.size == 1}
    assert {*around, *along} == {*nest.loops} - (one - {*around})
    assert not {*around} & {*along}
    reductions = [x for x in order if isinstance(x, Reduce)]
    invariant = nest.invariant()
    assert set(reductions) <= set(invariant) if reductions else not invariant
    for at in points(around)[:3]:
        for x in invariant:
            machine.value(x, at)  # KeyError where it needs another loop


def addressed_alike(index: Sequence[Coordinate], shape: Sequence[int], machine: Interpreter) -> None:
    """Elements counted loop by loop are those of the whole index, in order and the other way round."""
    for steps in (in_order(shape), in_order(shape[::-1])[::-1], tuple(Size(1000**k) for k in range(len(shape)))):
        first, strides, computed = addressed(index, steps)
        assert not any(isinstance(x, AffineIndex) for x, _ in computed)
        for at in points(tuple(dict.fromkeys(loop for x in index for loop in free(x))))[:40]:
            named = {loop.name: i for loop, i in at.items()}
            want = sum(machine.index(x, at) * step.factor for x, step in zip(index, steps, strict=True))
            got = first + sum(named[str(key)] * step.factor for key, step in strides.items())
            assert want == got + sum(machine.index(x, at) * step.factor for x, step in computed)


def points(loops: tuple[LoopVariable, ...]) -> list[Numbers]:
    return [dict(zip(loops, at, strict=True)) for at in product(*(range(loop.size) for loop in loops))]


def run(step: Compute, arrays: Mapping[str, np.ndarray], out: np.ndarray, kind: str) -> np.ndarray:
    """What the nests of a statement store."""
    shapes = {**{name: a.shape for name, a in arrays.items()}, "out": out.shape}
    machine = Interpreter(arrays)
    for nest in decomposed(step, shapes.__getitem__, kind):
        held(nest, machine)
        for at in points(nest.loops):
            place, value = tuple(machine.index(i, at) for i in nest.index), machine.value(nest.value, at)
            out[place] = out[place] + value if nest.meets else value
    return out


def step_of(name: str, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Compute:
    """A statement of one operation, its arrays called x0, x1, ..."""
    args = [Ref(f"x{n}", ()) if isinstance(x, np.ndarray) else Const(x) for n, x in enumerate(operands)]
    e = Equation(Ref("out", ()), name, tuple(args), tuple(sorted(attrs.items())), (), False)
    return Compute(e, tuple(Access(a) if isinstance(a, Ref) else a for a in args), "set")


@pytest.mark.parametrize(("op", "case"), ALL, ids=case_id)
def test_nests_compute_what_the_operation_means(op: Op, case: Case) -> None:
    operands = sample(op, case, np.random.default_rng(3))
    arrays = {f"x{n}": x for n, x in enumerate(operands) if isinstance(x, np.ndarray)}
    ranks = [np.ndim(x) for x in operands]
    if op.family.name == "elementwise":  # as backends hand them over
        aligned = [np.reshape(x, (1,) * (max(ranks) - np.ndim(x)) + np.shape(x)) for x in operands]
        want = np.asarray(compute(op, aligned, [max(ranks)] * len(ranks), case.attrs, "float64"))
    else:
        want = np.asarray(compute(op, operands, ranks, case.attrs, "float64"))
    kind = {"b": "bool", "i": "int"}.get(want.dtype.kind, "float")
    nothing = np.full(want.shape, np.nan if kind == "float" else 77).astype(want.dtype)
    got = run(step_of(op.name, operands, case.attrs), arrays, nothing, kind)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_a_value_is_stretched_to_its_left_hand_side_and_read_through_views() -> None:
    x = np.arange(12.0).reshape(3, 4)
    access = Access(Ref("x", ()), (View("transpose", ()), View("slice", (("parts", ((1, 3, None),)),))))
    e = Equation(Ref("out", ()), "copy", (Ref("x", ()),), (), (), False)
    got = run(Compute(e, (access,), "set"), {"x": x}, np.zeros((2, 2, 3)), "float")
    np.testing.assert_array_equal(got, np.broadcast_to(x.T[1:3], (2, 2, 3)))
    e = Equation(Ref("out", ()), "concat", (Ref("a", ()), Ref("b", ())), (("axis", -1),), (), False)
    arrays = {"a": np.ones((2, 1)), "b": np.full((2, 2), 5.0)}
    got = run(Compute(e, (Access(Ref("a", ())), Access(Ref("b", ()))), "set"), arrays, np.zeros((3, 2, 3)), "float")
    np.testing.assert_array_equal(got, np.broadcast_to([1.0, 5.0, 5.0], (3, 2, 3)))


def test_a_row_in_one_piece_is_reshaped_without_arithmetic() -> None:
    i = LoopVariable("i", 24)
    digits = [Digit(AffineIndex(((i, 1),)), unit, size) for unit, size in ((12, 2), (4, 3), (1, 4))]
    assert addressed(digits, in_order((2, 3, 4))) == (0, {"i": Size(1)}, [])
    assert len(addressed(digits, in_order((3, 2, 4)))[2]) > 0
    assert len(addressed(digits[1:], in_order((3, 4)))[2]) == 1, "the first digit is left out: i % 12"
    assert AffineIndex(((i, 3),), 2).scaled(5, 1) == AffineIndex(((i, 15),), 11)


def test_zeros_alone_are_called_zeros() -> None:
    e = Equation(Ref("out", ()), "unslice", (Ref("x", ()),), (("parts", (1,)), ("shape", (3,))), (), False)
    first, second = decomposed(Compute(e, (Access(Ref("x", ())),), "set"), {"x": (), "out": (3,)}.__getitem__, "float")
    assert zeros(first)
    assert not zeros(second)
    one = Compute(replace(e, op="copy", attrs=()), (Const(1.0),), "set")
    assert not zeros(decomposed(one, {"out": ()}.__getitem__, "float")[0])


def test_values_of_one_are_stacked_into_a_wider_left_hand_side() -> None:
    e = Equation(Ref("out", ()), "stack", (Ref("a", ()),), (("axis", -2),), (), False)
    got = run(Compute(e, (Access(Ref("a", ())),), "set"), {"a": np.array([4.0, 5.0])}, np.zeros((2, 3, 2)), "float")
    np.testing.assert_array_equal(got, np.broadcast_to([4.0, 5.0], (2, 3, 2)))


def test_an_index_that_was_computed_stays_inside_its_table() -> None:
    arrays = {"x0": np.array([1.0, 2.0, 3.0]), "x1": np.array([-7, 0, 2, 99])}
    got = run(step_of("take", list(arrays.values()), {}), arrays, np.zeros(4), "float")
    np.testing.assert_array_equal(got, [1.0, 1.0, 3.0, 3.0])


@pytest.mark.parametrize("name", ZOO)
def test_a_program_is_printed_as_nests(name: str) -> None:
    g = ZOO[name]()
    program = compile_system(g.adjoint().system if g.loss is not None else g.system)
    text = program.nests()
    written = {s.equation.out for _, s in walk(program.steps) if isinstance(s, Compute)}
    assert written
    for out in written:
        assert f"{out}" in text
    assert all(" = " in line or "= " in line or line.strip().endswith(":") for line in text.splitlines())


@pytest.mark.parametrize(
    ("exponent", "written"),
    [
        (1.0, "x[i]"),
        (2.0, "x[i] * x[i]"),
        (3.0, "x[i] * x[i] * x[i]"),
        (4.0, "x[i] * x[i] * (x[i] * x[i])"),
        (0.5, "sqrt(x[i])"),
        (-1.0, "1 / x[i]"),
        (2.5, "x[i]**2.5"),
    ],
)
def test_a_power_to_a_small_number_is_a_short_product(exponent: float, written: str) -> None:
    x = np.array([0.25, 1.5, 3.0])
    e = Equation(Ref("out", ()), "pow", (Ref("x", ()), Const(exponent)), (), (), False)
    step = Compute(e, (Access(Ref("x", ())), Const(exponent)), "set")
    np.testing.assert_allclose(run(step, {"x": x}, np.zeros(3), "float"), x**exponent, rtol=1e-15)
    g = Template("powers")
    g.output("out", g.input("x", 3, over=None) ** exponent)
    assert f"= {written}    for i < 3" in compile_system(g.system).nests()
