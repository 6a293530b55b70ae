"""Shape rules as pure functions on tuples, gathered in families; each family also carries its test cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from .errors import DTypeError, ShapeError

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
Case = tuple[tuple[Shape, ...], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """Operations that share a shape rule.

    shape   ``(shapes, attrs) -> shape`` of the result, per example; raises ShapeError
    cases   operand shapes and attributes on which tests try every member
    """

    name: str
    shape: Callable[[Sequence[Shape], Attrs], Shape]
    cases: tuple[Case, ...] = ()


def size(shape: Shape) -> int:
    """Number of elements."""
    return math.prod(shape)


def broadcast(shapes: Sequence[Shape], attrs: Attrs | None = None) -> Shape:
    """The common shape under NumPy's rule: aligned at the right, size 1 stretches."""
    if shapes and all(s == shapes[0] for s in shapes):
        return tuple(shapes[0])
    rank = max((len(s) for s in shapes), default=0)
    result = []
    for position in range(rank):
        sizes = {s[position - rank] for s in shapes if rank - position <= len(s)} - {1}
        if len(sizes) > 1:
            raise ShapeError(f"shapes {' and '.join(map(str, shapes))} do not broadcast together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def stretches(shape: Shape, to: Shape) -> bool:
    """True if a value of one shape can stand where another is wanted: size 1 stretches, and axes come in front."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def negative_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the end, sorted; None is all of them. Raises ShapeError outside the rank."""
    if axis is None:
        return tuple(range(-rank, 0))
    try:
        axes = tuple(index(a) for a in axis) if isinstance(axis, Sequence) else (index(axis),)
    except TypeError:
        raise DTypeError(f"axis= counts per-example axes and takes integers; a time axis is over={axis}") from None
    for a in axes:
        if not -rank <= a < rank:
            raise ShapeError(f"axis {a} is out of range for a value of {rank} per-example axes")
    result = tuple(sorted(a - rank if a >= 0 else a for a in axes))
    if len(set(result)) != len(result):
        raise ShapeError(f"axis {axis} names one axis twice")
    return result


def _reduced(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,) = shapes
    axes = {a + len(shape) for a in negative_axes(attrs["axis"], len(shape))}
    if attrs.get("keepdims"):
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _some(shape: Shape, axis: int | Sequence[int] | None) -> None:
    """Raises ShapeError where there is no element along an axis."""
    if any(not shape[a] for a in negative_axes(axis, len(shape))):
        raise ShapeError(f"a value of shape {shape} has no element along axis {axis}, and so no largest one")


def _extreme(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    _some(shapes[0], attrs["axis"])
    return _reduced(shapes, attrs)


def _along(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    _some(shapes[0], attrs["axis"])
    return shapes[0]


def _matmul(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a, b = shapes
    if not (1 <= len(a) <= 2 and 1 <= len(b) <= 2):
        raise ShapeError(f"@ takes matrices and vectors, got {a} @ {b}; einsum takes other ranks")
    if a[-1] != b[0]:
        raise ShapeError(f"{a} @ {b}: the inner sizes {a[-1]} and {b[0]} differ")
    return a[:-1] + b[1:]


def _dot(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a, b = shapes
    if len(a) != 1 or a != b:
        raise ShapeError(f"dot takes two vectors of one length, got {a} and {b}")
    return ()


def _outer(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a, b = shapes
    if len(a) != 1 or len(b) != 1:
        raise ShapeError(f"outer takes two vectors, got {a} and {b}")
    return a + b


def parse_einsum(spec: str, shapes: Sequence[Shape]) -> tuple[str, str, str]:
    """The letters of both operands and the result; raises ShapeError where they do not fit."""
    inputs, arrow, out = spec.replace(" ", "").partition("->")
    a, comma, b = inputs.partition(",")
    if not (arrow and comma and all(letter.isalpha() for letter in a + b + out)):
        raise ShapeError(f"einsum takes two operands as in 'ij,j->i', got {spec!r}")
    sizes: dict[str, int] = {}
    for letters, shape in zip((a, b), shapes, strict=True):
        if len(letters) != len(shape):
            raise ShapeError(f"einsum {spec!r}: {letters!r} names {len(letters)} axes of an operand of shape {shape}")
        if len(set(letters)) != len(letters):
            raise ShapeError(f"einsum {spec!r}: a letter stands twice in {letters!r}; diagonals are not supported")
        for letter, n in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(f"einsum {spec!r}: {letter!r} is {sizes[letter]} in one operand and {n} in the other")
    if len(set(out)) != len(out):
        raise ShapeError(f"einsum {spec!r}: a letter stands twice in the result")
    for letter in set(a + b + out):
        if sum(letter in part for part in (a, b, out)) < 2:
            raise ShapeError(f"einsum {spec!r}: {letter!r} stands in one place only; sum that axis beforehand")
    return a, b, out


def _einsum(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    a, b, out = parse_einsum(attrs["spec"], shapes)
    sizes = dict(zip(a + b, (*shapes[0], *shapes[1]), strict=True))
    return tuple(sizes[letter] for letter in out)


def _reshape(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,), new = shapes, tuple(attrs["shape"])
    if any(n < 0 for n in new):
        raise ShapeError(f"cannot reshape {shape} to {new}: one size may be -1, and the others are not negative")
    if size(shape) != size(new):
        raise ShapeError(f"cannot reshape {shape} ({size(shape)} elements) to {new} ({size(new)} elements)")
    return new


def _transpose(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,), axes = shapes, attrs.get("axes")
    if axes is None:
        return shape[::-1]
    if sorted(negative_axes(axes, len(shape))) != list(range(-len(shape), 0)):
        raise ShapeError(f"transpose axes {axes} are not a permutation of the {len(shape)} axes of {shape}")
    return tuple(shape[a] for a in axes)


def _broadcast_to(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,), new = shapes, tuple(attrs["shape"])
    if any(n < 0 for n in new) or broadcast([shape, new]) != new:
        raise ShapeError(f"{shape} does not broadcast to {new}")
    return new


def _sum_to(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,), new = shapes, tuple(attrs["shape"])
    if broadcast([shape, new]) != shape:
        raise ShapeError(f"{shape} is not {new} broadcast")
    return new


def _concat(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    first = shapes[0]
    if not first:
        raise ShapeError("concat joins values that have axes; use stack for scalars")
    (axis,) = negative_axes(attrs["axis"], len(first))
    for shape in shapes[1:]:
        rest, want = list(shape), list(first)
        if len(rest) == len(want):
            rest[axis] = want[axis]
        if rest != want:
            raise ShapeError(f"concat along axis {attrs['axis']}: {first} and {shape} differ elsewhere")
    result = list(first)
    result[axis] = sum(shape[axis] for shape in shapes)
    return tuple(result)


def _stack(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    if any(shape != shapes[0] for shape in shapes):
        raise ShapeError(f"stack takes values of one shape, got {', '.join(map(str, shapes))}")
    (axis,) = negative_axes(attrs["axis"], len(shapes[0]) + 1)
    result = list(shapes[0])
    result.insert(len(result) + 1 + axis, len(shapes))
    return tuple(result)


Part = int | tuple[int | None, int | None, int | None]


def as_slice(part: Part) -> int | slice:
    """Undo the hashable form in which attributes keep a slice."""
    return part if isinstance(part, int) else slice(*part)


def _slice(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    (shape,), parts = shapes, attrs["parts"]
    if len(parts) > len(shape):
        raise ShapeError(f"{len(parts)} indices for a value of shape {shape}")
    result = []
    for part, n in zip(parts, shape, strict=False):
        if isinstance(part, int):
            if not -n <= part < n:
                raise ShapeError(f"index {part} is out of range for an axis of size {n}")
        else:
            if part[2] == 0:
                raise ShapeError("the step of a slice is not 0")
            result.append(len(range(*slice(*part).indices(n))))
    return (*result, *shape[len(parts) :])


def _unslice(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    inner = _slice([tuple(attrs["shape"])], attrs)
    if shapes[0] != inner:
        raise ShapeError(f"unslice of {shapes[0]}: the slice has shape {inner}")
    return tuple(attrs["shape"])


def _take(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    table, rows = shapes
    if not table or not table[0]:
        raise ShapeError(f"a lookup needs a table with a row at least, got the shape {table}")
    return rows + table[1:]


def _scatter(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    values, rows = shapes
    if values[: len(rows)] != rows:
        raise ShapeError(f"scatter: values {values} do not begin with the shape {rows} of the indices")
    return (attrs["size"], *values[len(rows) :])


def _pick(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    values, rows = shapes
    if not values:
        raise ShapeError("an index picks one of the last axis, and a value of shape () has none")
    if not values[-1]:
        raise ShapeError(f"an index picks one of several numbers, and a value of shape {values} has none")
    if values[:-1] != rows:
        raise ShapeError(f"one index per row: values of shape {values} need indices {values[:-1]}, got {rows}")
    return rows


def _one_hot(shapes: Sequence[Shape], attrs: Attrs) -> Shape:
    return (*shapes[0], attrs["size"])


def _cases(*cases: Any) -> tuple[Case, ...]:
    return tuple((tuple(shapes), attrs) for *shapes, attrs in cases)


elementwise = Family("elementwise", broadcast)
matmul_family = Family(
    "matmul", _matmul, _cases(((3, 2), (2,), {}), ((2,), (2, 3), {}), ((2,), (2,), {}), ((3, 2), (2, 4), {}))
)
dot_family = Family("dot", _dot, _cases(((3,), (3,), {})))
outer_family = Family("outer", _outer, _cases(((3,), (2,), {})))
einsum_family = Family(
    "einsum",
    _einsum,
    _cases(
        ((3, 2), (2,), {"spec": "ij,j->i"}),
        ((2, 3), (2, 3), {"spec": "ij,ij->j"}),
        ((2, 3), (3, 2, 4), {"spec": "ij,jik->ki"}),
        ((2,), (3,), {"spec": "i,j->ji"}),
    ),
)
reduction = Family(
    "reduction",
    _reduced,
    _cases(
        ((3,), {"axis": (-1,), "keepdims": False}),
        ((2, 3), {"axis": (-2, -1), "keepdims": False}),
        ((2, 3), {"axis": (-2,), "keepdims": True}),
        ((2, 3, 2), {"axis": (-3, -1), "keepdims": False}),
    ),
)
extreme = Family("extreme", _extreme, reduction.cases)
along = Family("along", _along, _cases(((3,), {"axis": (-1,)}), ((2, 3), {"axis": (-2,)})))
reshape_family = Family("reshape", _reshape, _cases(((2, 3), {"shape": (3, 2)}), ((4,), {"shape": (2, 1, 2)})))
transpose_family = Family("transpose", _transpose, _cases(((2, 3), {}), ((2, 3, 4), {"axes": (-2, -1, -3)})))
broadcast_family = Family(
    "broadcast_to", _broadcast_to, _cases(((3,), {"shape": (2, 3)}), ((2, 1), {"shape": (2, 3)}), ((), {"shape": (2,)}))
)
sum_to_family = Family("sum_to", _sum_to, _cases(((2, 3), {"shape": (3,)}), ((2, 3), {"shape": (2, 1)})))
concat_family = Family(
    "concat",
    _concat,
    _cases(((2,), (3,), {"axis": -1}), ((2, 2), (3, 2), {"axis": -2}), ((2, 2), (2, 1), {"axis": -1})),
)
stack_family = Family("stack", _stack, _cases(((2,), (2,), {"axis": -2}), ((2,), (2,), {"axis": -1})))
slice_family = Family(
    "slice",
    _slice,
    _cases(
        ((4,), {"parts": ((1, 3, None),)}),
        ((3, 4), {"parts": (1,)}),
        ((3, 4), {"parts": ((None, None, None), -1)}),
        ((5,), {"parts": ((None, None, -2),)}),
    ),
)
unslice_family = Family("unslice", _unslice, _cases(((2,), {"parts": ((1, 3, None),), "shape": (4,)})))
take_family = Family("take", _take)
scatter_family = Family("scatter", _scatter)
pick_family = Family("pick", _pick)
one_hot_family = Family("one_hot", _one_hot)
