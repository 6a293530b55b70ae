"""A name with one instance per step: what ``h[t] = ...``, ``h[0] = ...`` and ``h[t-1]`` mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import (
    AxisError,
    DoubleDefinitionError,
    DTypeError,
    ShapeError,
    Source,
    TemplateError,
    UndefinedError,
    code,
    here,
    message,
)
from ..ir.axes import TIME, Axis, Index, bracket, fixed, whole
from ..ir.details import Open
from ..ir.system import Const, Decl, Ref, visible
from ..ops.core import Symbolic
from ..ops.integers import integer
from .builder import ANEW, Builder
from .expression import Expr
from .reruns import rewritten

Shape = tuple[int, ...]


class Variable(Symbolic):
    """A name with one instance per step: written ``h[t] = ...`` and ``h[0] = ...``, read ``h[t-1]``, ``h[T]``.

    Made by `Template.variable` and `Template.input`.
    """

    __slots__ = ("_builder", "name")
    __hash__ = object.__hash__

    def __init__(self, builder: Builder, name: str) -> None:
        self._builder = builder
        self.name = name

    @property
    def shape(self) -> Shape:
        """Shape per example and step. Raises UndefinedError where it is not known yet."""
        decl = self._builder.decls[self.name]
        if isinstance(decl.detail, Open):
            raise UndefinedError(
                message(
                    f"{self.name} is read before its definition, and its shape is not known yet",
                    here(),
                    fix=f'Declare it: g.variable("{self.name}", shape), or define {self.name}[t] first.',
                )
            )
        return decl.shape

    @property
    def dtype(self) -> str:
        """The kind: float, int or bool."""
        return self._builder.decls[self.name].dtype

    def as_expression(self) -> Expr:
        """The variable without brackets: an expression only where it has no time axis."""
        decl = self._builder.decls[self.name]
        if decl.axes or not self._defined_once():
            step = ", ".join(a.name for a in decl.axes) or "t"
            raise AxisError(
                message(f"{self.name} has one value per step", here(), fix=f"Read it at a step: {self.name}[{step}].")
            )
        return self._builder.read(Ref(self.name))

    def _defined_once(self) -> bool:
        return Ref(self.name) in self._builder.defined

    def __op__(self, op: Any, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr:
        return self._builder.apply(op, args, attrs)

    def __over__(self, combine: str, over: object) -> Expr:
        return self.as_expression().__over__(combine, over)

    def __noise__(self, kind: str, operands: Sequence[Any], over: object, rate: float = 0.0) -> Expr:
        return self.as_expression().__noise__(kind, operands, over, rate)

    def __refuse__(self, text: str) -> Exception:
        return DTypeError(message(f"{self} {text}", here(), fix=f"Read it at a step: {self.name}[t]."))

    def __place__(self, error: Exception) -> Exception:
        return error if getattr(error, "placed", False) else type(error)(message(str(error), here()))

    def __eq__(self, other: object) -> Any:
        if other is None or isinstance(other, Variable):
            return NotImplemented  # by identity, so that a variable can be looked for in a list
        raise self.__refuse__("is compared with ops.equal(a, b), and two objects with `is`")

    def _index(self, key: object) -> tuple[Index, ...]:
        """Brackets as steps, which fit the axes of the variable as far as these are known. Raises AxisError."""
        keys = key if isinstance(key, tuple) else (key,)
        index = []
        for k in keys:
            if isinstance(k, Index):
                index.append(k)
            elif (step := integer(k)) is not None:
                index.append(fixed(step))
            else:
                raise AxisError(
                    message(
                        f"{self.name}[{bracket(key)}]: a step is t+k, T+k or a number, one per time axis",
                        here(),
                        fix=f"Parts of a value are taken after the step: {self.name}[t][0:3].",
                    )
                )
        decl = self._builder.decls[self.name]
        axes = [i.axis for i in index]
        if decl.given or decl.axes:
            if len(axes) != len(decl.axes):
                known = ", ".join((TIME if a.name == "?" else a).name for a in decl.axes)
                has = f"{len(decl.axes)} time ax{'is' if len(decl.axes) == 1 else 'es'} ({known})"
                raise AxisError(
                    message(
                        f"{self.name} has {has}, and {self.name}[{bracket(key)}] gives {len(axes)} steps",
                        here(),
                        fix=f"Give one step for each: {self.name}[{known}].",
                    )
                )
            for found, known_axis in zip(axes, decl.axes, strict=True):
                if found is not None and found != known_axis and known_axis.name != "?":
                    raise AxisError(
                        message(
                            f"{self.name} runs along {known_axis.name}, and is indexed along {found.name}",
                            here(),
                            fix=f"Use {known_axis.name} and {known_axis.end} there.",
                        )
                    )
        return tuple(index)

    def _with_axes(self, index: tuple[Index, ...]) -> Decl:
        """The declaration with the axes that a definition at `index` settles; a read settles none."""
        decl = self._builder.decls[self.name]
        axes = tuple(i.axis or (decl.axes[n] if decl.axes else Axis("?", "?")) for n, i in enumerate(index))
        return decl if axes == decl.axes else replace(decl, axes=axes)

    def __getitem__(self, key: object) -> Expr:
        index = self._index(key)
        _ = self.shape
        self._builder.know([i.axis for i in index if i.axis is not None])
        return self._builder.read(Ref(self.name, index))

    def __setitem__(self, key: object, value: object) -> None:
        builder, source = self._builder, here()
        index = () if isinstance(key, tuple) and not key else self._index(key)
        main = all(i.runs for i in index)
        expr = builder.operand(value)
        self._check_left(index, source, expr)
        ref = Ref(self.name, index)
        for axis in sorted(expr.axes - set(ref.running), key=lambda a: a.name):
            raise AxisError(
                message(
                    f"{ref} = {expr}: the right side runs along {axis.name}, the left side does not",
                    source,
                    fix=f"Reduce it, ops.sum(..., over={axis.name}), or read it at one step, {axis.end} for the last.",
                )
            )
        decl = self._with_axes(index)
        if isinstance(decl.detail, Open) and (main or expr.shape):
            kind = expr.dtype if decl.dtype == "float" else decl.dtype
            decl = replace(decl, shape=expr.shape, dtype=kind, detail=None)
        if not _holds(decl.dtype, expr):
            raise DTypeError(message(f"{ref} is {decl.dtype}, and {expr} is {expr.dtype}", source))
        if not isinstance(decl.detail, Open) and expr.shape not in ((), decl.shape):
            raise ShapeError(
                message(f"{ref} has shape {decl.shape}, and the right side has shape {expr.shape}: {expr}", source)
            )
        expr = builder._as(expr, decl.dtype)
        builder.know([i.axis for i in index if i.axis is not None])
        builder.decls[self.name] = decl
        builder.add(ref, expr, tuple(whole(a) for a in ref.running), decl.batched, source)

    def _check_left(self, index: tuple[Index, ...], source: Source | None, value: Expr) -> None:
        decl, ref = self._with_axes(index), Ref(self.name, index)
        for i, known in zip(index, decl.axes, strict=True):
            if i.runs and i.shift:
                back = f"{-i.shift:+d}" if i.shift else ""
                raise TemplateError(
                    message(
                        f"{ref} = ...: a definition is written at {i.anchor}, not at {i}",
                        source,
                        fix=f"Shift the whole equation by {back}: {self.name}[{i.anchor}] = ...",
                    )
                )
            if not i.runs and (i.shift < 1 if i.axis is not None else i.shift > 0):
                axis = TIME if known.name == "?" else known
                main = ", ".join((TIME if a.name == "?" else a).name for a in decl.axes)
                raise DoubleDefinitionError(
                    message(
                        f"{ref} = ...: step {i} lies inside 1..{axis.end}, where {self.name}[{main}] is defined",
                        source,
                        fix=f"A boundary stands at step 0, -1, ... or at {axis.end}+1, {axis.end}+2, ...",
                    )
                )
        if decl.kind == "input" and ref.index and all(i.runs for i in ref.index):
            raise DoubleDefinitionError(
                message(f"{self.name} is an input: its steps 1..T come from an array", source, fix="Use a variable.")
            )
        known_source = self._builder.defined.get(ref)
        if ref in self._builder.defined and not rewritten(self._builder, known_source, source, value.operand):
            raise DoubleDefinitionError(
                message(
                    f"{ref} is defined twice",
                    known_source,
                    source,
                    fix="Each step of a variable has one definition; merge the two right sides. "
                    + ("+= is a second definition too." if "+=" in code(source) else ANEW),
                )
            )

    def __written__(self) -> str:
        decl = self._builder.decls[self.name]
        step = ", ".join(a.name for a in decl.axes if a.name != "?") or "t"
        return str(self) if not decl.axes and self._defined_once() else f"{self}[{step}]"

    def __str__(self) -> str:
        return visible(self.name)

    def __repr__(self) -> str:
        decl = self._builder.decls[self.name]
        return f"<{decl.kind} {self} {decl.shape}>"


def _holds(kind: str, expr: Expr) -> bool:
    """Whether a variable of a kind can be given this expression; a number counts by its value."""
    if kind in (expr.dtype, "float"):
        return True
    operand = expr.operand
    return isinstance(operand, Const) and {"int": int, "bool": bool}[kind](operand.value) == operand.value
