"""Operations decomposed into loop nests, once for all code generators: softmax, lookups, slices and products alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from ..ir.system import Const
from ..ops.contract import PRODUCTS, subscripts
from ..ops.shapes import Part, Shape, as_slice, elementwise, negative_axes
from .nests import ZERO, AffineIndex, Apply, Clamp, Coordinate, Digit, Load, LoopVariable, Nest, Reduce, Scalar, at
from .statements import Access, Compute, viewed_shape

LETTERS = "ijklmnpqrsuvwxyz"
Indices = tuple[Coordinate, ...]


def decomposed(step: Compute, shape: Callable[[str], Shape], kind: str) -> tuple[Nest, ...]:
    """The nests of a statement, one after the other; its loops over steps and examples go around each.

    shape  the per-example shape of a name
    kind   the dtype of the left-hand side
    """
    s = Decomposition(step, shape, kind)
    return _pointwise(s) if step.equation.operation.family is elementwise else FORMS[step.equation.op](s)


class Decomposition:
    """A statement that is being decomposed.

    shapes  of what it reads, by operand
    result  the shape of its value, which may be stretched to that of its left-hand side
    loops   over the left-hand side; `position` is where in the value an element of it comes from
    """

    def __init__(self, step: Compute, shape: Callable[[str], Shape], kind: str) -> None:
        e = step.equation
        self.args, self.op, self.kind, self.attrs = step.args, e.op, kind, dict(e.attrs)
        self.shapes = [viewed_shape(a, shape(a.ref.name)) if isinstance(a, Access) else () for a in step.args]
        self.result: Shape = tuple(e.operation.family.shape(self.shapes, self.attrs))
        self.out, self.used = shape(e.out.name), 0
        self.loops = tuple(self.loop(n) for n in self.out)
        self.position = self.stretched(self.result, tuple(map(at, self.loops)))

    def loop(self, size: int) -> LoopVariable:
        """A loop variable of its own."""
        self.used += 1
        letter, turn = LETTERS[(self.used - 1) % len(LETTERS)], (self.used - 1) // len(LETTERS)
        return LoopVariable(f"{letter}{turn or ''}", size)

    def stretched(self, shape: Shape, position: Indices) -> Indices:
        """The position in a value that is broadcast, of a position in what it is broadcast to: aligned at the right."""
        last = position[len(position) - len(shape) :]
        return tuple(ZERO if n == 1 else index for n, index in zip(shape, last, strict=True))

    def read(self, n: int, position: Indices) -> Scalar:
        """An operand at a position in what it is broadcast to."""
        return Load(self.args[n], self.stretched(self.shapes[n], position))

    def axes(self, n: int = 0) -> list[int]:
        """The axes of an operand that a reduction takes together, counted from the front."""
        rank = len(self.shapes[n])
        return [a + rank for a in negative_axes(self.attrs.get("axis", (-1,)), rank)]

    def stored(self, value: Scalar) -> tuple[Nest, ...]:
        """A nest over the left-hand side."""
        return (Nest(self.loops, tuple(map(at, self.loops)), value),)

    def part(self, taken: Sequence[range | int | None], value: Callable[[Indices], Scalar]) -> Nest:
        """A nest over a part of the left-hand side: of each of the value's axes a range, one index, or all of it."""
        lead = self.loops[: len(self.out) - len(self.result)]
        index: list[Coordinate] = list(map(at, lead))
        loops, position = list(lead), list[Coordinate]()
        for chosen, n, whole in zip(taken, self.result, self.loops[len(lead) :], strict=True):
            if isinstance(chosen, int):
                index.append(AffineIndex((), chosen) if n == whole.size else at(whole))
                loops += [whole] if n != whole.size else []
                continue
            loop, where = whole, at(whole)
            if chosen is not None and (n == whole.size or not chosen):
                loop = self.loop(len(chosen))
                where = at(loop).scaled(chosen.step, chosen.start)
            loops.append(loop)
            position.append(at(loop) if n == whole.size else ZERO)
            index.append(where)
        return Nest(tuple(loops), tuple(index), value(tuple(position)))


def _pointwise(s: Decomposition) -> tuple[Nest, ...]:
    args = tuple(s.read(n, s.position) for n in range(len(s.args)))
    exponent = s.args[1] if s.op == "pow" else None
    short = _power(args[0], exponent.value, s.kind) if isinstance(exponent, Const) else None
    return s.stored(short or Apply(s.op, args, s.kind))


def _power(base: Scalar, exponent: float, kind: str) -> Apply | None:
    """Strength reduction: a power to a small number as products, a root or a quotient; None for another."""
    square = Apply("mul", (base, base), kind)
    known = {
        1.0: Apply("copy", (base,), kind),
        2.0: square,
        3.0: Apply("mul", (square, base), kind),
        4.0: Apply("mul", (square, square), kind),
        0.5: Apply("sqrt", (base,), kind),
        -1.0: Apply("div", (_number(1.0), base), kind),
    }
    return known.get(exponent)


# -- reductions ------------------------------------------------------------------------------------------------------


def _reduced(s: Decomposition) -> tuple[Nest, ...]:
    """A sum or a maximum over per-example axes."""
    position, gone = _row(s)
    return s.stored(Reduce(s.op, gone, s.read(0, position)))


def _row(s: Decomposition) -> tuple[Indices, tuple[LoopVariable, ...]]:
    """Where the operand of a reduction is read: at loops of its own along the axes that it takes together."""
    shape, axes = s.shapes[0], s.axes()
    own = {a: s.loop(shape[a]) for a in axes}
    kept = iter(s.position if len(s.position) < len(shape) else [x for i, x in enumerate(s.position) if i not in own])
    return tuple(at(own[i]) if i in own else next(kept) for i in range(len(shape))), tuple(own.values())


def _shrunk(s: Decomposition) -> tuple[Nest, ...]:
    """A sum to a shape that the operand's is a broadcast of."""
    shape, lead = s.shapes[0], len(s.shapes[0]) - len(s.result)
    position = [*([ZERO] * lead), *s.position]
    gone = {i: s.loop(n) for i, n in enumerate(shape) if n != 1 and (i < lead or s.result[i - lead] == 1)}
    for i, loop in gone.items():
        position[i] = at(loop)
    value = s.read(0, tuple(position))
    return s.stored(Reduce("sum", tuple(gone.values()), value) if gone else value)


def _argmax(s: Decomposition) -> tuple[Nest, ...]:
    """The position of the first largest element."""
    loop = s.loop(s.shapes[0][-1])
    return s.stored(Reduce("argmax", (loop,), s.read(0, (*s.position, at(loop)))))


def _product(s: Decomposition) -> tuple[Nest, ...]:
    """A product, as one sum of products."""
    a, b, out = subscripts(s.op, [len(shape) for shape in s.shapes], s.attrs)
    where = dict(zip(out, s.position, strict=True))
    sizes = dict(zip((*a, *b), (*s.shapes[0], *s.shapes[1]), strict=True))
    gone = {x: s.loop(sizes[x]) for x in dict.fromkeys(a + b) if x not in where}
    where |= {x: at(loop) for x, loop in gone.items()}
    both = tuple(s.read(n, tuple(where[x] for x in part)) for n, part in enumerate((a, b)))
    value = Apply("mul", both, "float")
    return s.stored(Reduce("sum", tuple(gone.values()), value) if gone else value)


def _stable(s: Decomposition) -> tuple[Nest, ...]:
    """logsumexp, softmax and cross-entropy of a row.

    The largest element is subtracted before anything is raised, so that nothing overflows (Goodfellow et al., section
    4.1). A row whose largest element is infinite is left unshifted, and a softmax is zero where the sum is: as NumPy
    has it.
    """
    position, gone = _row(s)
    x = s.read(0, position)
    top = Reduce("max", gone, x)
    shift = _apply("where", _apply("isfinite", top), top, _number(0.0))
    total = Reduce("sum", gone, _apply("exp", _apply("sub", x, shift)))
    if s.op == "softmax":
        divisor = _apply("where", _apply("equal", total, _number(0.0)), _number(1.0), total)
        return s.stored(_apply("div", _apply("exp", _apply("sub", s.read(0, s.position), shift)), divisor))
    logarithm = _apply("log", total)
    if s.op == "logsumexp":
        return s.stored(_apply("add", logarithm, shift))
    chosen = s.read(0, (*s.position, Clamp(s.read(1, s.position), s.shapes[0][-1])))
    return s.stored(_apply("sub", logarithm, _apply("sub", chosen, shift)))


def _apply(op: str, *args: Scalar) -> Scalar:
    return Apply(op, args, "float")


def _number(value: float) -> Scalar:
    return Load(Const(value))


# -- rearrangements --------------------------------------------------------------------------------------------------


def _broadcast(s: Decomposition) -> tuple[Nest, ...]:
    return s.stored(s.read(0, s.position))


def _transposed(s: Decomposition) -> tuple[Nest, ...]:
    rank, axes = len(s.position), s.attrs.get("axes")
    order = range(rank)[::-1] if axes is None else [a + rank for a in axes]
    where = dict(zip(order, s.position, strict=True))
    return s.stored(s.read(0, tuple(where[i] for i in range(rank))))


def _taken(parts: Sequence[Part], shape: Shape) -> list[range | int | None]:
    """What a slice takes of each axis."""
    found = [as_slice(part) for part in parts]
    ranges = [x % n if isinstance(x, int) else range(*x.indices(n)) for x, n in zip(found, shape, strict=False)]
    return [*ranges, *([None] * (len(shape) - len(ranges)))]


def _sliced(s: Decomposition) -> tuple[Nest, ...]:
    result, position = iter(s.position), list[Coordinate]()
    for taken in _taken(s.attrs["parts"], s.shapes[0]):
        if isinstance(taken, int):
            position.append(AffineIndex((), taken))
            continue
        index = next(result)
        assert isinstance(index, AffineIndex)
        position.append(index if taken is None else index.scaled(taken.step, taken.start))
    return s.stored(Load(s.args[0], tuple(position)))


def _unsliced(s: Decomposition) -> tuple[Nest, ...]:
    """A slice put back into zeros."""
    taken = _taken(s.attrs["parts"], s.result)
    return (*s.stored(_number(0.0)), s.part(taken, lambda position: s.read(0, position)))


def _joined(s: Decomposition) -> tuple[Nest, ...]:
    """Concatenation and stacking: each operand into its part."""
    rank = len(s.result)
    (axis,) = negative_axes(s.attrs["axis"], rank)
    sizes = [shape[axis] for shape in s.shapes] if s.op == "concat" else []
    starts = [0, *accumulate(sizes)]
    found = []
    for n in range(len(s.args)):
        taken: list[range | int | None] = [None] * rank
        taken[axis] = n if s.op == "stack" else range(starts[n], starts[n + 1])
        found.append(s.part(taken, lambda position, n=n: s.read(n, position)))  # type: ignore[misc]
    return tuple(found)


def _reshaped(s: Decomposition) -> tuple[Nest, ...]:
    """The same elements in another shape: axes are matched in groups of as many elements, each counted through."""
    old = [n for n in s.shapes[0] if n != 1]
    new = [(n, x) for n, x in zip(s.result, s.position, strict=True) if n != 1]
    found: list[Coordinate] = []
    while old and 0 not in old:
        n, m, i, j = old[0], new[0][0], 1, 1
        while n != m:
            if n < m:
                n, i = n * old[i], i + 1
            else:
                m, j = m * new[j][0], j + 1
        found += _digits(old[:i], new[:j])
        old, new = old[i:], new[j:]
    digits = iter(found)
    return s.stored(Load(s.args[0], tuple(ZERO if n == 1 else next(digits, ZERO) for n in s.shapes[0])))


def _digits(old: Sequence[int], new: Sequence[tuple[int, Coordinate]]) -> list[Coordinate]:
    """The axes of a group, from those of the other shape with as many elements."""
    terms: list[tuple[LoopVariable, int]] = []
    for k, (_, x) in enumerate(new):
        assert isinstance(x, AffineIndex)
        terms += x.scaled(math.prod(n for n, _ in new[k + 1 :]), 0).terms
    number = AffineIndex(tuple(terms))
    return [number if len(old) == 1 else Digit(number, math.prod(old[k + 1 :]), n) for k, n in enumerate(old)]


# -- lookups ---------------------------------------------------------------------------------------------------------


def _looked_up(s: Decomposition) -> tuple[Nest, ...]:
    """Rows of a table, or one element of each row, by integer index."""
    table = s.shapes[0]
    if s.op == "pick":
        return s.stored(
            Load(s.args[0], (*s.stretched(table[:-1], s.position), Clamp(s.read(1, s.position), table[-1])))
        )
    rows, rest = s.position[: len(s.shapes[1])], s.position[len(s.shapes[1]) :]
    return s.stored(Load(s.args[0], (Clamp(s.read(1, rows), table[0]), *rest)))


def _scattered(s: Decomposition) -> tuple[Nest, ...]:
    """Values added up in the rows that an index names."""
    values, rank = s.shapes[0], len(s.shapes[1])
    loops = tuple(s.loop(n) for n in values)
    position = tuple(map(at, loops))
    row = Clamp(s.read(1, position[:rank]), s.out[0])
    return (*s.stored(_number(0.0)), Nest(loops, (row, *position[rank:]), s.read(0, position), meets=True))


def _one_hot(s: Decomposition) -> tuple[Nest, ...]:
    """Unit vectors."""
    *rows, last = s.position
    assert isinstance(last, AffineIndex)
    return s.stored(_apply("cast", _apply("equal", s.read(0, tuple(rows)), last)))


def _along(s: Decomposition) -> tuple[Nest, ...]:
    """Elements of each row by integer index."""
    *rows, _ = s.position
    return s.stored(Load(s.args[0], (*rows, Clamp(s.read(1, s.position), s.shapes[0][-1]))))


def _put_along(s: Decomposition) -> tuple[Nest, ...]:
    """Values added up where the indices of their row say."""
    loops = tuple(s.loop(n) for n in s.shapes[0])
    position = tuple(map(at, loops))
    lead = tuple(at(loop) for loop in s.loops[: len(s.out) - len(s.result)])
    index: Indices = (*lead, *position[:-1], Clamp(s.read(1, position), s.result[-1]))
    around = s.loops[: len(lead)]
    return (*s.stored(_number(0.0)), Nest((*around, *loops), index, s.read(0, position), meets=True))


def _ranked(s: Decomposition) -> tuple[Nest, ...]:
    """How many of a row come before each; a nan comes after all numbers, and of equals the first comes first."""
    *rows, own = s.position
    loop = s.loop(s.shapes[0][-1])
    other = at(loop)
    assert isinstance(own, AffineIndex)
    x, y = s.read(0, s.position), s.read(0, (*rows, other))
    x_nan, y_nan = _apply("not_equal", x, x), _apply("not_equal", y, y)
    descending = bool(s.attrs.get("descending"))
    apart = _apply("greater" if descending else "less", y, x)
    one_nan = (y_nan, _apply("equal", x, x)) if descending else (x_nan, _apply("equal", y, y))
    alike = _apply("logical_or", _apply("equal", x, y), _apply("logical_and", x_nan, y_nan))
    before = _apply("logical_or", apart, _apply("logical_and", *one_nan))
    before = _apply("logical_or", before, _apply("logical_and", alike, _apply("less", other, own)))
    return s.stored(Reduce("sum", (loop,), _apply("cast", before)))


FORMS: dict[str, Callable[[Decomposition], tuple[Nest, ...]]] = {
    "sum": _reduced, "max": _reduced, "sum_to": _shrunk, "argmax": _argmax, "softmax": _stable, "logsumexp": _stable,
    "cross_entropy": _stable, "broadcast_to": _broadcast, "transpose": _transposed, "slice": _sliced,
    "unslice": _unsliced, "reshape": _reshaped, "concat": _joined, "stack": _joined, "take": _looked_up,
    "pick": _looked_up, "scatter": _scattered, "one_hot": _one_hot,
    "take_along": _along, "put_along": _put_along, "rank": _ranked,
    **dict.fromkeys(PRODUCTS, _product),
}  # fmt: skip
"""The operations that are not pointwise."""
