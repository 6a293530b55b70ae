"""A symbol that computes at once, so that derivative rules can be evaluated as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unroll import ops
from unroll.backends.numpy.kernels import compute
from unroll.ops.core import Op, Symbolic
from unroll.ops.kinds import result_kind
from unroll.ops.shape_ops import getitem
from unroll.ops.shapes import Shape

Array = Any
KINDS = {"f": "float", "c": "float", "i": "int", "u": "int", "b": "bool"}


class Eager(Symbolic):
    """An array as a symbol: no steps and no batch, so its shape is the per-example shape.

    It keeps the operation it came from, which makes it its own tape (see `pullback`). `floats` is the precision of
    what is computed from it where no operand is a float, as in a one-hot vector.
    """

    __slots__ = ("args", "attrs", "floats", "op", "value")
    __hash__ = object.__hash__

    def __init__(
        self,
        value: Array,
        op: Op | None = None,
        args: Sequence[Any] = (),
        attrs: Mapping[str, Any] | None = None,
        floats: Any = np.float64,
    ) -> None:
        self.value = np.asarray(value)
        self.op, self.args, self.attrs = op, tuple(args), dict(attrs or {})
        self.floats = self.value.dtype if self.dtype == "float" else np.dtype(floats)

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def dtype(self) -> str:
        return KINDS[self.value.dtype.kind]

    def __op__(self, op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Eager:
        floats = _precision([a for a in args if isinstance(a, Eager)])
        operands = [_operand(a, floats) for a in args]
        weak = [not isinstance(a, Eager) for a in operands]
        kind, wanted = result_kind(op, [_kind(a) for a in operands], weak)
        operands = [_cast(a, want) for a, want in zip(operands, wanted, strict=True)]
        floats = _precision([a for a in operands if isinstance(a, Eager)])  # once more: a cast may have widened it
        shape = op.family.shape([np.shape(a) if not isinstance(a, Eager) else a.shape for a in operands], attrs)
        if op.body is not None and op.compute is None:
            value = ops.OPS["copy"](op.body(*operands, **attrs)).value
        else:
            arrays = [_array(a, floats) for a in operands]
            value = np.asarray(compute(op, arrays, [a.ndim for a in arrays], attrs, floats))
        result = Eager(value, op, operands, attrs, floats)
        assert (result.shape, result.dtype) == (shape, kind), (
            f"{op.name}: the rules promise {kind} {shape}, the kernel gives {result.dtype} {result.shape}"
        )
        return result

    def __getitem__(self, key: Any) -> Eager:
        return getitem(self, key)

    def __eq__(self, other: object) -> Any:
        raise TypeError("symbols are not compared with ==")  # as the template's own expressions

    def __repr__(self) -> str:
        return f"Eager({self.value!r})"


def eager(*values: Any) -> list[Any]:
    """Arrays as symbols of one precision; Python numbers stay constants."""
    floats = _precision([Eager(v) for v in values if isinstance(v, np.ndarray)])
    return [Eager(v, floats=floats) if isinstance(v, np.ndarray) else v for v in values]


def _precision(symbols: Sequence[Eager]) -> np.dtype[Any]:
    real = {s.value.dtype for s in symbols if s.value.dtype.kind == "f"}
    if len(real) > 1:
        raise TypeError(f"precisions are never mixed in silence: {sorted(map(str, real))}")
    floats = [s.value.dtype for s in symbols if s.dtype == "float"] or [s.floats for s in symbols]
    return np.result_type(*floats) if floats else np.dtype(np.float64)


def _operand(value: Any, floats: Any) -> Any:
    if isinstance(value, (Eager, bool, int, float)):
        return value
    array = np.asarray(value)
    if array.ndim == 0:
        return array.item()
    return Eager(array.astype(floats) if array.dtype.kind == "f" else array, floats=floats)


def _kind(value: Any) -> str:
    if isinstance(value, Eager):
        return value.dtype
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"


def _cast(value: Any, want: str) -> Any:
    if _kind(value) == want:
        return value
    if not isinstance(value, Eager):
        return {"float": float, "int": int, "bool": bool}[want](value)
    if want == "float":
        return ops.OPS["cast"](value)
    raise ops.DTypeError(f"{want} expected, got {value.dtype}")


def _array(value: Any, floats: Any) -> Array:
    if isinstance(value, Eager):
        return value.value.astype(floats) if value.dtype == "float" else value.value
    return np.asarray(value, floats if isinstance(value, float) else None)


def fit(value: Any, shape: Shape, floats: Any = np.float64) -> Eager:
    """A cotangent brought to its operand's shape: broadcasting undone by a sum, a kept axis stretched."""
    value = value if isinstance(value, Eager) else Eager(np.asarray(value, floats))
    if value.shape == shape:
        return value
    pairs = zip(value.shape[::-1], shape[::-1], strict=False)
    if value.ndim <= len(shape) and all(n in (1, m) for n, m in pairs):
        return ops.broadcast_to(value, shape)
    return ops.OPS["sum_to"](value, shape=shape)


def cotangents(node: Eager, g: Eager) -> list[Eager | None]:
    """One derivative rule per operand of `node`, evaluated at the cotangent `g` and fitted; None is zero."""
    assert node.op is not None
    result: list[Eager | None] = []
    for position, arg in enumerate(node.args):
        rule = node.op.rule(position) if isinstance(arg, Eager) and arg.dtype == "float" else None
        value = 0 if rule is None else rule(g, node, *node.args, **node.attrs)
        zero = isinstance(value, (int, float)) and value == 0
        result.append(None if zero else fit(value, arg.shape, node.floats))
    return result


def pullback(y: Eager, g: Array, wrt: Sequence[Eager]) -> list[Eager]:
    """The cotangents of `wrt` for the cotangent `g` of `y`, by the rules alone; they can be pulled back again."""
    found: dict[int, Eager] = {id(y): g if isinstance(g, Eager) else Eager(g)}
    for node in reversed(_in_order(y)):
        if node.op is None or id(node) not in found:
            continue
        for arg, value in zip(node.args, cotangents(node, found[id(node)]), strict=True):
            if value is not None:
                found[id(arg)] = found[id(arg)] + value if id(arg) in found else value
    return [found[id(x)] if id(x) in found else Eager(np.zeros(x.shape, x.floats)) for x in wrt]


def _in_order(y: Eager) -> list[Eager]:
    """Everything that `y` was computed from, operands first; without recursion."""
    order: list[Eager] = []
    seen: set[int] = set()
    pending = [(y, False)]
    while pending:
        node, ready = pending.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            pending.append((node, True))
            pending += [(a, False) for a in node.args if isinstance(a, Eager)]
    return order
