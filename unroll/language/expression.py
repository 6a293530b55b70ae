"""A value of a template, as the user holds it: every operation on it goes to its builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..errors import AxisError, DTypeError, here, message
from ..ir.axes import Axis, Index
from ..ir.generated_inputs import Noise
from ..ir.names import settled, substitute_names
from ..ir.system import Const, Decl, Extent, Operand, Ref, System
from ..ops.core import BATCH, Op, Symbolic
from ..ops.kinds import Dtype
from ..ops.shape_ops import getitem
from ..printing.latex import in_line
from ..printing.plain import EquationWriter

Shape = tuple[int, ...]


class Recorder(Protocol):
    """What records the operations applied to an expression: see `Builder`."""

    name: str
    decls: dict[str, Decl]

    def draft(self) -> System: ...

    def apply(self, op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr: ...

    def over(self, combine: str, expr: Expr, over: object) -> Expr: ...

    def noise(self, detail: Noise, operands: Sequence[Any], over: object) -> Expr: ...

    def label(self, expr: Symbolic, name: str, args: Sequence[Any], attrs: Mapping[str, Any]) -> None: ...

    def guarded(self, make: Any) -> Any: ...


class Expr(Symbolic):
    """A value of a template: it knows its per-example shape, its kind, and the time axes along which it runs.

    Made by reading (``h[t-1]``) and by operations; never by its constructor.
    """

    __slots__ = ("_builder", "_dtype", "_shape", "axes", "operand")
    __hash__ = object.__hash__

    def __init__(self, builder: Recorder, operand: Operand, shape: Shape, dtype: Dtype, axes: frozenset[Axis]) -> None:
        self._builder = builder
        self.operand = operand
        self._shape = shape
        self._dtype = dtype
        self.axes = axes

    @property
    def shape(self) -> Shape:
        """Shape per example and step."""
        return self._shape

    @property
    def dtype(self) -> Dtype:
        """The kind: float, int or bool."""
        return self._dtype

    def __op__(self, op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr:
        return self._builder.apply(op, args, attrs)

    def __over__(self, combine: str, over: object) -> Expr:
        return self._builder.over(combine, self, over)

    def __extent__(self, over: object) -> Any:
        if over is BATCH:
            return self._builder.over("sum", Expr(self._builder, Const(1.0), (), "float", self.axes), BATCH)
        count: Any = 1
        for axis in axes_of(over):
            extent = Expr(self._builder, Extent(axis), (), "float", frozenset())
            count = extent if isinstance(count, int) else count * extent
        return count

    def __noise__(self, kind: str, operands: Sequence[Any], over: object, rate: float = 0.0) -> Expr:
        return self._builder.noise(Noise(kind, rate), operands, over)

    def __label__(self, name: str, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr:
        self._builder.label(self, name, args, attrs)
        return self

    def __getitem__(self, key: object) -> Expr:
        if isinstance(key, Index) or (isinstance(key, tuple) and any(isinstance(k, Index) for k in key)):
            raise AxisError(
                message(
                    f"{self} has no time axis to index with {key}",
                    here(),
                    fix="Only variables and inputs over time are read at a step, as in h[t-1].",
                )
            )
        made: Expr = self._builder.guarded(lambda: getitem(self, key))
        return made

    def __setitem__(self, key: object, value: object) -> None:
        kind = self._builder.decls[self.operand.name].kind if isinstance(self.operand, Ref) else "expression"
        shown = kind if kind in ("param", "input") else "expression"
        raise self.__refuse__(f"is {'a' if shown == 'param' else 'an'} {shown}; equations define variables, h[t] = ...")

    def __eq__(self, other: object) -> Any:
        raise self.__refuse__("is compared with ops.equal(a, b), and two objects with `is`")

    def __refuse__(self, text: str) -> Exception:
        return DTypeError(message(f"{self} {text}", here()))

    def __place__(self, error: Exception) -> Exception:
        return error if getattr(error, "placed", False) else type(error)(message(str(error), here()))

    def _printable(self) -> tuple[System, Operand]:
        """The template so far and this value in it, with a name for all that is shown."""
        draft = self._builder.draft()
        names = settled(draft.decls)
        operand = self.operand
        if isinstance(operand, Ref) and operand.name in names:
            operand = Ref(names[operand.name], operand.index)
        return substitute_names(draft, names) if names else draft, operand

    def __str__(self) -> str:
        system, operand = self._printable()
        return EquationWriter(system).expression(operand)

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return in_line(*self._printable())


def axes_of(over: object) -> tuple[Axis, ...]:
    """The axes named by ``over=t`` or ``over=(t, s)``; raises AxisError for anything else."""
    items = over if isinstance(over, tuple) else (over,)
    axes = []
    for item in items:
        if not (isinstance(item, Index) and item.runs and item.shift == 0 and item.axis is not None):
            raise AxisError(message(f"over= takes a time axis such as t, got {item!r}", here()))
        if item.axis in axes:
            raise AxisError(message(f"over= names {item} twice", here()))
        axes.append(item.axis)
    return tuple(axes)
