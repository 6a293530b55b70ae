"""Linear algebra of small matrices, one for each example and step: Cholesky's factor, systems of equations.

Each is written out over the rows of the matrix, in operations that every backend has, so a program grows with their
number; its derivative is a rule in solves. A matrix without an inverse, or one that is not positive definite, gives
infinities or nan, since a compiled net does not stop; ``debug_nans=True`` says where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .core import OPS, Op, Operand, Symbolic, define
from .errors import ShapeError
from .pointwise import abs, greater, sqrt, where
from .reduce import argmax
from .shape_ops import concat, getitem, one_hot, reshape, stack, take, transpose
from .shapes import Family, Part, Shape

Attrs = Mapping[str, Any]
ALL = slice(None)
TRIANGLE, COLUMNS = ((3, 3), (3,)), ((3, 3), (3, 2))


def _square(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a = shapes[0]
    if len(a) != 2 or a[0] != a[1] or not a[0]:
        raise ShapeError(f"a square matrix of one row or more is needed, got the shape {a}")
    return a


def _solved(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a, b = _square(shapes, attrs), shapes[1]
    if len(b) not in (1, 2) or b[0] != a[0]:
        raise ShapeError(f"a system of {a[0]} equations has a right side of shape ({a[0]},) or ({a[0]}, m), got {b}")
    return b


def _times(column: Symbolic, row: Symbolic) -> Symbolic:
    """All products; a row that is a number multiplies the column."""
    return OPS["outer"](column, row) if row.shape else column * row


# -- triangles -------------------------------------------------------------------------------------------------------


def _lower_part(x: Symbolic, k: int = 0) -> Symbolic:
    rows = []
    for i in range(x.shape[0]):
        part: tuple[Part, ...] = ((None, max(0, i + 1 + k), None),)
        rows.append(OPS["unslice"](getitem(x, (i, slice(0, max(0, i + 1 + k)))), parts=part, shape=x.shape[1:]))
    return stack(rows)


_tril: Op = define(
    "tril",
    Family("tril", _square, ((((3, 3),), {}), (((4, 4),), {"k": -1}))),
    lambda g, y, x, k=0: _tril(g, k=k),
    body=_lower_part,
)


def _substituted(a: Symbolic, b: Symbolic, lower: bool = False) -> Symbolic:
    """Forward substitution, or backward from the last row: what is known is taken off the equations that are left."""
    n = a.shape[0]
    found = []
    for i in range(n) if lower else reversed(range(n)):
        own, rest = (0, slice(1, None)) if lower else (-1, slice(None, -1))
        found.append(getitem(b, own) / getitem(a, (i, i)))
        column = getitem(a, (slice(i + 1, None) if lower else slice(None, i), i))
        b = getitem(b, rest) - _times(column, found[-1]) if len(found) < n else b
    return stack(found if lower else found[::-1])


def _triangular_rule(g: Symbolic, y: Symbolic, a: Symbolic, b: Symbolic, lower: bool = False) -> Symbolic:
    whole = -_across(_solve_triangular(transpose(a), g, lower=not lower), y)
    return _tril(whole) if lower else transpose(_tril(transpose(whole)))


def _across(g: Symbolic, y: Symbolic) -> Symbolic:
    return OPS["outer"](g, y) if len(y.shape) == 1 else g @ transpose(y)


_solve_triangular: Op = define(
    "solve_triangular",
    Family("solve_triangular", _solved, ((TRIANGLE, {"lower": True}), (COLUMNS, {"lower": False}))),
    _triangular_rule,
    lambda g, y, a, b, lower=False: _solve_triangular(transpose(a), g, lower=not lower),
    body=_substituted,
)


def solve_triangular(a: Operand, b: Operand, *, lower: bool = False) -> Symbolic:
    """The solution x of ``a @ x = b`` for a triangular matrix, of which only that triangle is read.

    Shapes: (n, n), (n,) -> (n,), or (n, n), (n, m) -> (n, m). A zero on the diagonal gives infinities or nan.
    Raises ShapeError (Golub and Van Loan 2013, section 3.1).

    >>> from unroll import Template, ops, t
    >>> g = Template(); L, x = g.param("L", (3, 3)), g.input("x", 3)
    >>> ops.solve_triangular(L, x[t], lower=True)
    solve_triangular(L, x[t], lower=True)
    """
    return _solve_triangular(a, b, lower=bool(lower))


# -- Cholesky --------------------------------------------------------------------------------------------------------


def _factored(a: Symbolic) -> Symbolic:
    """Column by column; what a column explains is taken off the rest."""
    n = a.shape[0]
    rest = (a + transpose(a)) / 2
    columns = []
    for k in range(n):
        column = getitem(rest, (ALL, 0)) / sqrt(getitem(rest, (0, 0)))
        columns.append(OPS["unslice"](column, parts=((k, None, None),), shape=(n,)) if k else column)
        below = getitem(column, slice(1, None))
        rest = getitem(rest, (slice(1, None), slice(1, None))) - OPS["outer"](below, below) if k < n - 1 else rest
    return stack(columns, axis=-1)


def _cholesky_rule(g: Symbolic, y: Symbolic, a: Symbolic) -> Symbolic:
    inner = transpose(y) @ g
    half = (_tril(inner) + _tril(inner, k=-1)) / 2
    left = _solve_triangular(transpose(y), half + transpose(half), lower=False)
    return _solve_triangular(transpose(y), transpose(left), lower=False) / 2


CHOLESKY = """The lower triangular L with ``L @ L.T = a``, for a symmetric positive definite matrix.

Shapes: (n, n) -> (n, n). As in JAX the symmetric part (a + a.T) / 2 is factored, and the derivative is symmetric
(Murray 2016, section 3). Where a matrix is not positive definite nan begins with the first column that shows it. Raises
ShapeError.

>>> from unroll import Template, ops, t
>>> g = Template(); S, x = g.param("S", (3, 3)), g.input("x", 3)
>>> g.output("white", ops.solve_triangular(ops.cholesky(S), x[t], lower=True))
"""
cholesky = define("cholesky", Family("cholesky", _square), _cholesky_rule, doc=CHOLESKY, body=_factored)


# -- any matrix ------------------------------------------------------------------------------------------------------


def _eliminated(a: Symbolic, b: Symbolic) -> Symbolic:
    """Gaussian elimination with partial pivoting, then backward substitution."""
    n, vector = a.shape[0], len(b.shape) == 1
    rest = concat([a, reshape(b, (n, 1)) if vector else b])
    rows = []
    for k in range(n):
        pivot = argmax(abs(getitem(rest, (ALL, 0))))
        row, first = take(rest, pivot), getitem(rest, 0)
        rows.append(row)
        if k < n - 1:
            moved = getitem(reshape(greater(one_hot(pivot, n - k), 0.5), (n - k, 1)), slice(1, None))
            rest = where(moved, first, getitem(rest, slice(1, None)))
            factor = getitem(rest, (ALL, 0)) / getitem(row, 0)
            rest = getitem(rest, (ALL, slice(1, None))) - OPS["outer"](factor, getitem(row, slice(1, None)))
    found = getitem(rows[-1], slice(1, None)) / getitem(rows[-1], 0)
    solution = reshape(found, (1, found.shape[0]))
    for k in reversed(range(n - 1)):
        known = getitem(rows[k], slice(1, n - k)) @ solution
        found = (getitem(rows[k], slice(n - k, None)) - known) / getitem(rows[k], 0)
        solution = concat([reshape(found, (1, found.shape[0])), solution], axis=0)
    return reshape(solution, n) if vector else solution


SOLVE = """The solution x of ``a @ x = b``, by Gaussian elimination with partial pivoting.

Shapes: (n, n), (n,) -> (n,), or (n, n), (n, m) -> (n, m). A matrix without an inverse gives infinities or nan. Raises
ShapeError (Golub and Van Loan 2013, section 3.4).

>>> from unroll import Template, ops, t
>>> g = Template(); A, x = g.input("A", (3, 3)), g.input("x", 3); ops.solve(A[t], x[t])
solve(A[t], x[t])
"""
solve: Op = define(
    "solve",
    Family("solve", _solved, ((TRIANGLE, {}), (COLUMNS, {}))),
    lambda g, y, a, b: -_across(solve(transpose(a), g), y),
    lambda g, y, a, b: solve(transpose(a), g),
    doc=SOLVE,
    body=_eliminated,
)
