"""Products as matrix products: any einsum of two operands, with or without sums over steps and batch."""

from __future__ import annotations

from collections.abc import Mapping

from ...records import record
from ..common.symbolic_size import Key

Letters = tuple[Key, ...]


@record
class EinsumOperand:
    """One operand: its text, the name of each of its axes in order, and whether it changes in the loops around."""

    text: str
    axes: Letters
    moving: bool


@record
class ProductSource:
    """Source of one product.

    left, right  the two matrices (or broadcast operands), as text; with `hoist`, whether each may be made once before
                 the loops, and whether it should be copied into one piece
    kind         "matmul" or "multiply"
    axes         the axes of the result, merged groups apart, in the order in which it comes
    groups       how the result's axes are merged: its matrix shape
    """

    kind: str
    left: str
    right: str
    hoist: tuple[bool, bool]
    repack: tuple[bool, bool]
    axes: Letters
    groups: tuple[Letters, ...]


def plan_product(a: EinsumOperand, b: EinsumOperand, out: Letters, sizes: Mapping[Key, str]) -> ProductSource:
    """How to compute ``out = sum of a * b`` over the axes that `out` lacks. Axes of `out` that both lack stay away.

    Either has no axis that the other and `out` lack: see `lonely`.
    """
    both = [x for x in a.axes if x in b.axes]
    inner = tuple(x for x in both if x not in out)
    if not inner:
        have = tuple(x for x in out if x in a.axes or x in b.axes)
        left, right = _spread(a, have), _spread(b, have)
        return ProductSource("multiply", left, right, (False, False), (False, False), have, tuple((x,) for x in have))
    natural = tuple(x for x in out if x in a.axes or x in b.axes)
    shared = tuple(x for x in natural if x in both)
    rows = tuple(x for x in natural if x not in b.axes)
    columns = tuple(x for x in natural if x not in a.axes)
    if natural == shared + columns + rows and natural != shared + rows + columns:
        a, b, rows, columns = b, a, columns, rows
    inner = tuple(x for x in a.axes if x in inner)
    left, left_moved = _matrix(a, shared, rows, inner, sizes)
    right, right_moved = _matrix(b, shared, inner, columns, sizes)
    if shared and not rows:
        left += "[..., None, :]"
    if shared and not columns:
        right += "[..., None]"
    groups = [*((x,) for x in shared), *(group for group in (rows, columns) if group or shared)]
    return ProductSource(
        "matmul",
        left,
        right,
        (not a.moving, not b.moving),
        (left_moved, right_moved),
        shared + rows + columns,
        tuple(groups),
    )


def lonely(a: EinsumOperand, b: EinsumOperand, out: Letters) -> list[int]:
    """The positions of axes that neither `b` nor the result has: `a` may be summed over them before the product."""
    return [i for i, x in enumerate(a.axes) if x not in b.axes and x not in out]


def einsum(a: EinsumOperand, b: EinsumOperand, out: Letters) -> str:
    """The product element by element, then added up: `numpy.einsum` would add up before it multiplies, at times."""
    have = tuple(x for x in out if x in a.axes or x in b.axes)
    every = (*have, *dict.fromkeys(x for x in (*a.axes, *b.axes) if x not in have))
    axes = tuple(range(len(have), len(every)))
    return f"total(np.multiply({_spread(a, every)}, {_spread(b, every)}), {axes})"


def _spread(a: EinsumOperand, out: Letters) -> str:
    """`a` with its axes in the order of `out`, and size-1 axes where it has none."""
    want = tuple(x for x in out if x in a.axes)
    text = _transposed(a.text, a.axes, want)
    if not want:
        return text
    marks = [":" if x in a.axes else "None" for x in out[out.index(want[0]) :]]
    return f"{text}[{', '.join(marks)}]" if "None" in marks else text


def _matrix(
    a: EinsumOperand, shared: Letters, first: Letters, second: Letters, sizes: Mapping[Key, str]
) -> tuple[str, bool]:
    """`a` as a stack of matrices (shared..., first, second), merged groups reshaped; and whether it is rearranged."""
    if not shared and tuple(a.axes) == second + first and len(first) >= 1 and len(second) >= 1:
        merged = _merged(a.text, (), second, first, sizes)
        return flipped(merged), True
    text = _transposed(a.text, a.axes, shared + first + second)
    moved = text != a.text
    return _merged(text, shared, first, second, sizes), moved


def _merged(text: str, shared: Letters, first: Letters, second: Letters, sizes: Mapping[Key, str]) -> str:
    if len(first) <= 1 and len(second) <= 1:
        return text
    groups = [g for g in (first, second) if g]
    shape = [sizes[x] for x in shared] + [" * ".join(sizes[x] for x in g) for g in groups]
    return f"{text}.reshape({', '.join(shape)})"


def flipped(text: str) -> str:
    """The transpose of a matrix; of a transpose, the matrix."""
    return text[:-2] if text.endswith(".T") else f"{text}.T"


def _transposed(text: str, have: Letters, want: Letters) -> str:
    if have == want:
        return text
    if len(have) == 2:
        return flipped(text)
    return f"{text}.transpose({', '.join(str(have.index(x)) for x in want)})"
