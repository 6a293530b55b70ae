"""Operands on which every operation of the registry is tried: those of its family, and more where those are few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unroll.ops.core import OPS, Op

FULL = (None, None, None)


@dataclass(frozen=True)
class Case:
    """Operands: a shape is filled with random numbers from the operation's domain, anything else is taken as it is."""

    id: str
    operands: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)


def _ints(*values: Any) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 else values)


UNARY = {"vector": (3,), "scalar": (), "matrix": (2, 3), "size1": (1, 2, 1), "empty": (0,)}

# Shapes for the first, second and third operand of an elementwise operation.
BROADCAST = {
    "same": ((2, 3), (2, 3), (2, 3)),
    "scalar-vector": ((), (3,), (3,)),
    "vector-scalar": ((3,), (), (3,)),
    "row-column": ((3,), (2, 1), ()),
    "column-row": ((2, 1), (3,), (2, 3)),
    "size1": ((1, 3), (2, 1), (1, 1)),
    "ranks": ((2, 1, 3), (2, 1), (3,)),
    "empty": ((0, 1), (1, 2), (2,)),
}

# What a family cannot say: integer operands have bounds, and a few shapes are worth trying that it does not list.
MORE: dict[str, list[Case]] = {
    "pow": [
        *(Case(f"negative-to-{b:g}", (np.array([-1.5, -0.2, 0.7]), b)) for b in (0.0, 1.0, 2.0, 3.0, -1.0)),
        Case("zero-to-2", (np.zeros(2), 2.0)),
        Case("whole-exponents", (np.array([1.5, 0.2, 0.7]), np.array([3.0, 1.0, 0.0]))),
        Case("half", (np.array([0.25, 2.0]), 0.5)),
        Case("of-zero", (0.0, np.array([0.5, 2.0]))),
    ],
    **{
        name: [
            Case("signs", (np.array([-1.5, -0.2, 0.7, 1.9]), np.array([-0.8, 0.6, -0.45, -7.0]))),
            *([] if name == "fmod" else [Case("ints", (_ints(-7, 7, 0, -9), _ints(3, -3, 5, -1)))]),
        ]
        for name in ("floor_divide", "remainder", "fmod")
    },
    "erf": [Case("tails", (np.array([-5.0, -1.0, -0.0, 0.9, 3.0]),))],
    **{
        name: [
            Case("below-zero", (np.array([-0.3, -1.6, -7.25]),)),
            Case("roots", (np.array([1.0, 1.4616321449683622, 2.0]),)),
            Case("far", (np.array([7.5, 8.5, 30.0, 1e5]),)),
        ]
        for name in ("lgamma", "digamma")
    },
    "polygamma": [
        *(Case(f"order{k}", (np.array([0.4, 1.3, 14.0, 1e4, -0.6]),), {"order": k}) for k in (1, 2, 3)),
        Case("roots", (np.array([1.0, 2.0]),)),
    ],
    "floor": [Case("halves", (np.array([-1.5, -0.2, 0.7, 2.5]),))],
    "round": [Case("near-halves", (np.array([-1.4, -0.6, 0.7, 2.3]),))],
    "cumsum": [Case("long", ((9,),), {"axis": (-1,)}), Case("first", ((5, 2),), {"axis": (-2,)})],
    "matmul": [
        Case("size1", ((1, 1), (1,))),
        Case("empty-inner", ((2, 0), (0, 3))),
        Case("empty-outer", ((0, 2), (2,))),
    ],
    "einsum": [
        Case("full", ((2, 3), (3, 2)), {"spec": "ij,ji->"}),
        Case("scalar", ((), (2,)), {"spec": ",i->i"}),
        Case("rank3", ((2, 3, 2), (2, 2)), {"spec": "aib,ab->ai"}),
    ],
    "sum": [
        Case("first", ((2, 3),), {"axis": (-2,), "keepdims": False}),
        Case("size1", ((1, 3),), {"axis": (-2,), "keepdims": False}),
    ],
    "softmax": [Case("both-axes", ((2, 3),), {"axis": (-2, -1)}), Case("size1", ((2, 1),), {"axis": (-1,)})],
    "transpose": [Case("cycle", ((2, 3, 4),), {"axes": (-1, -3, -2)}), Case("rank3", ((2, 3, 4),))],
    "reshape": [Case("to-scalar", ((1, 1),), {"shape": ()}), Case("of-scalar", ((),), {"shape": (1,)})],
    "broadcast_to": [Case("inner-1", ((2, 1, 3),), {"shape": (4, 2, 2, 3)}), Case("none", ((2,),), {"shape": (2,)})],
    "sum_to": [Case("to-scalar", ((2, 3),), {"shape": ()}), Case("inner-1", ((4, 2, 2, 3),), {"shape": (2, 1, 3)})],
    "concat": [Case("three", ((2, 1), (2, 3), (2, 2)), {"axis": -1}), Case("empty-part", ((2,), (0,)), {"axis": -1})],
    "stack": [Case("scalars", ((), (), ()), {"axis": -1}), Case("middle", ((2, 3), (2, 3)), {"axis": -2})],
    "slice": [
        Case("reversed", ((4,),), {"parts": ((None, None, -1),)}),
        Case("from-the-end", ((5, 2),), {"parts": ((-2, None, None),)}),
        Case("backward-part", ((6,),), {"parts": ((4, 0, -3),)}),
        Case("beyond", ((3,),), {"parts": ((1, 99, None),)}),
        Case("empty", ((3,),), {"parts": ((2, 1, None),)}),
    ],
    "unslice": [
        Case("strided", ((3,),), {"parts": ((None, None, -2),), "shape": (5,)}),
        Case("row", ((4,),), {"parts": (1,), "shape": (3, 4)}),
        Case("column", ((3,),), {"parts": (FULL, -1), "shape": (3, 4)}),
    ],
    "take": [
        Case("one", ((4, 2), _ints(2))),
        Case("repeated", ((4, 2), _ints(1, 3, 1))),
        Case("of-vector", ((4,), _ints([[0, 3], [3, 3]]))),
        Case("none", ((4, 2), np.zeros(0, int))),
    ],
    "scatter": [
        Case("one", ((2,), _ints(1)), {"size": 3}),
        Case("repeated", ((3, 2), _ints(1, 0, 1)), {"size": 3}),
        Case("matrix", ((2, 2), _ints([[0, 2], [2, 2]])), {"size": 4}),
    ],
    "pick": [Case("vector", ((3,), _ints(2))), Case("matrix", ((2, 3), _ints(0, 2)))],
    "cross_entropy": [Case("vector", ((4,), _ints(1))), Case("matrix", ((2, 3), _ints(2, 0)))],
    "one_hot": [Case("one", (_ints(1),), {"size": 3}), Case("many", (_ints([[0, 2]]),), {"size": 3})],
    "cholesky": [
        Case("three", (np.array([[2.0, 0.3, -0.5], [0.3, 1.5, 0.4], [-0.5, 0.4, 1.1]]),)),
        Case("not-symmetric", (np.array([[2.0, 0.7, -0.5], [0.3, 1.5, 0.4], [-0.5, 0.9, 1.1]]),)),
        Case("one", (np.array([[0.7]]),)),
    ],
    "solve": [
        Case("pivots", (np.array([[0.0, 2.0, 1.0], [1.0, -0.5, 0.3], [3.0, 0.2, -1.0]]), (3, 2))),
        Case("one", (np.array([[-0.7]]), (1,))),
    ],
    "solve_triangular": [
        Case("lower", (np.array([[1.2, 9.0], [0.4, -0.8]]), (2, 3)), {"lower": True}),
        Case("upper", (np.array([[1.2, 0.3], [9.0, -0.8]]), (2,))),
        Case("one", (np.array([[-0.7]]), (1,))),
    ],
    "rank": [
        Case("ties", (np.array([[1.0, 0.0, 1.0, -2.0, 0.0]]),)),
        Case("ties-descending", (np.array([[1.0, 0.0, 1.0, -2.0, 0.0]]),), {"descending": True}),
        Case("nan", (np.array([np.nan, 1.0, np.inf, np.nan, -np.inf]),)),
        Case("nan-descending", (np.array([1.0, np.nan, np.inf, np.nan, -np.inf]),), {"descending": True}),
        Case("one", ((2, 1),)),
    ],
    "take_along": [
        Case("vector", ((4,), _ints(2, 0, 2))),
        Case("matrix", ((2, 3), _ints([[0, 2], [1, 1]]))),
        Case("of-one", ((2, 1), _ints([[0, 0], [0, 0]]))),
        Case("none", ((3,), np.zeros(0, int))),
    ],
    "put_along": [
        Case("vector", ((3,), _ints(2, 0, 2)), {"size": 4}),
        Case("matrix", ((2, 3), _ints([[0, 2, 1], [1, 1, 1]])), {"size": 3}),
        Case("none", ((0,), np.zeros(0, int)), {"size": 2}),
    ],
    "argmax": [Case("vector", ((4,),)), Case("matrix", ((2, 3),))],
    "copy": [Case("ints", (_ints(1, 2),)), Case("bools", (np.array([True, False]),))],
    "cast": [Case("ints", (_ints(-1, 0, 2),)), Case("bools", (np.array([True, False]),))],
}


def cases(op: Op) -> list[Case]:
    """Every case of one operation; none says that nobody has thought of how to test it."""
    found = [Case(f"family{k}", shapes, attrs) for k, (shapes, attrs) in enumerate(op.family.cases)]
    if op.family.name == "elementwise":
        found += _elementwise(op)
    return found + MORE.get(op.name, [])


def _elementwise(op: Op) -> list[Case]:
    count = len(op.vjp)
    if count == 1:
        return [Case(name, (shape,)) for name, shape in UNARY.items()]
    found = [Case(name, shapes[:count]) for name, shapes in BROADCAST.items() if count <= len(shapes)]
    letters = op.operand_kinds(count)
    for position, letter in enumerate(letters):
        low, high = _domain(op, position)
        number = True if letter == "b" else low + 0.8 * (high - low)
        constant: list[Any] = [(2, 3)] * count
        constant[position] = number
        found.append(Case(f"constant{position + 1}", tuple(constant)))
        if letter == "n":
            constant[position] = _ints(1, 2, 1)
            found.append(Case(f"ints{position + 1}", tuple(constant)))
    return found


def _domain(op: Op, position: int) -> tuple[float, float]:
    return op.draw[min(position, len(op.draw) - 1)]


def sample(op: Op, case: Case, rng: np.random.Generator) -> list[Any]:
    """The operands of a case as arrays and numbers."""
    letters = op.operand_kinds(len(case.operands))
    result: list[Any] = []
    for position, (operand, letter) in enumerate(zip(case.operands, letters, strict=True)):
        if not isinstance(operand, tuple):
            result.append(operand)
        elif letter == "b":
            result.append(rng.random(operand) < 0.5)
        else:
            assert letter != "i", f"{op.name}: give operand {position + 1} as integers, in range"
            result.append(np.asarray(rng.uniform(*_domain(op, position), operand)))
    return [np.asarray(r) if isinstance(r, np.generic) else r for r in result]


CASES = [(op, case) for op in OPS.values() for case in cases(op)]
"""The registry as it stands at import: operations that tests define later are theirs to try."""
PRIMITIVE = [(op, case) for op, case in CASES if op.compute is None and op.body is None]
"""Those that code generators have a form of."""
COMPILED = [(op, case) for op, case in CASES if op.compute is None]
"""Those, and what is written out in them."""


def case_id(value: Any) -> str | None:
    """Test ids such as ``matmul-family2``."""
    return value.name if isinstance(value, Op) else value.id if isinstance(value, Case) else None
