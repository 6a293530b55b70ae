"""Products: matrix and vector, dot, outer, and einsum of two operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import Any
from typing import cast as typed

from .core import Binary, Operand, Symbolic, define, infix
from .shape_ops import transpose
from .shapes import dot_family, einsum_family, matmul_family, outer_family, parse_einsum


def _left(g: Symbolic, y: Symbolic, a: Symbolic, b: Symbolic) -> Symbolic:
    if b.ndim == 1:
        return g * b if a.ndim == 1 else outer(g, b)
    return b @ g if a.ndim == 1 else g @ transpose(b)


def _right(g: Symbolic, y: Symbolic, a: Symbolic, b: Symbolic) -> Symbolic:
    if a.ndim == 1:
        return g * a if b.ndim == 1 else outer(a, g)
    return transpose(a) @ g


def _einsum_left(g: Symbolic, y: Symbolic, a: Symbolic, b: Symbolic, spec: str) -> Symbolic:
    i, j, out = parse_einsum(spec, (a.shape, b.shape))
    return _einsum(g, b, spec=f"{out},{j}->{i}")


def _einsum_right(g: Symbolic, y: Symbolic, a: Symbolic, b: Symbolic, spec: str) -> Symbolic:
    i, j, out = parse_einsum(spec, (a.shape, b.shape))
    return _einsum(g, a, spec=f"{out},{i}->{j}")


MATMUL = """``a @ b``: the product of matrices, of a matrix and a vector, or the inner product of two vectors.

Shapes: (m, k), (k, n) -> (m, n); (m, k), (k,) -> (m,); (k,), (k, n) -> (n,); (k,), (k,) -> (). The batch and the steps
are none of them: a param multiplies every example. Raises ShapeError.

>>> from unroll import Template, ops, t
>>> g = Template(); W, x = g.param("W", (4, 3)), g.input("x", 3)
>>> ops.matmul(W, x[t]).shape
(4,)
"""
DOT = "Inner product of two vectors: (n,), (n,) -> ()."
OUTER = "All products of two vectors: (m,), (n,) -> (m, n)."

matmul = typed(Binary, define("matmul", matmul_family, _left, _right, notation=infix("@", 20), doc=MATMUL))
dot = typed(Binary, define("dot", dot_family, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, doc=DOT))
outer = typed(Binary, define("outer", outer_family, lambda g, y, a, b: g @ b, lambda g, y, a, b: a @ g, doc=OUTER))
_einsum = define("einsum", einsum_family, _einsum_left, _einsum_right)

PRODUCTS = frozenset({"matmul", "dot", "outer", "einsum"})


def einsum(spec: str, a: Operand, b: Operand) -> Symbolic:
    """Einstein summation of two operands over per-example axes, ``einsum("ij,j->i", A, x)``.

    Every letter stands in at least two of the three places, and no letter stands twice in one.
    Raises ShapeError where the letters do not fit the shapes.
    """
    return _einsum(a, b, spec=spec.replace(" ", ""))


def subscripts(op: str, ranks: Sequence[int], attrs: Mapping[str, Any]) -> tuple[str, str, str]:
    """A product as einsum subscripts of both operands and the result; raises KeyError for what is no product."""
    if op == "einsum":
        parts = parse_einsum(attrs["spec"], ((0,) * ranks[0], (0,) * ranks[1]))
        plain = {letter: ascii_letters[n] for n, letter in enumerate(dict.fromkeys("".join(parts)))}
        a, b, out = ("".join(plain[letter] for letter in part) for part in parts)  # NumPy's are those of ASCII
        return a, b, out
    if op == "matmul":
        a, b = "ik"[2 - ranks[0] :], "kj"[: ranks[1]]
        return a, b, a[:-1] + b[1:]
    return {"dot": ("i", "i", ""), "outer": ("i", "j", "ij")}[op]
