"""A name with one instance per step: what ``h[t] = ...``, ``h[0] = ...`` and ``h[t-1]`` mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .builder import Builder
from .errors import (
    AxisError,
    DoubleDefinitionError,
    DTypeError,
    ShapeError,
    TemplateError,
    UndefinedError,
    here,
    message,
)
from .expr import Expr
from .ir import Const, Ref, Source
from .ops.core import Symbolic
from .timeindex import Axis, Index, fixed, whole

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
        if decl.detail == "open":
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
        return any(e.out == Ref(self.name) for e in self._builder.equations)

    def __op__(self, op: Any, args: Sequence[Any], attrs: Mapping[str, Any]) -> Expr:
        return self._builder.apply(op, args, attrs)

    def __over__(self, combine: str, over: Any) -> Expr:
        return self.as_expression().__over__(combine, over)

    def _index(self, key: Any) -> tuple[Index, ...]:
        """Brackets as steps; settles which axes the variable has. Raises AxisError."""
        keys = key if isinstance(key, tuple) else (key,)
        index = []
        for k in keys:
            if isinstance(k, Index):
                index.append(k)
            elif hasattr(k, "__index__") and not isinstance(k, bool):
                index.append(fixed(k.__index__()))
            else:
                raise AxisError(
                    message(
                        f"{self.name}[{key!r}]: a step is t+k, T+k or a number, one per time axis",
                        here(),
                        fix=f"Parts of a value are taken after the step: {self.name}[t][0:3].",
                    )
                )
        builder, decl = self._builder, self._builder.decls[self.name]
        axes = [i.axis for i in index]
        if decl.given or decl.axes:
            if len(axes) != len(decl.axes):
                known = ", ".join(a.name for a in decl.axes)
                raise AxisError(
                    message(f"{self.name} has {len(decl.axes)} time axes ({known}), got {len(axes)} steps", here())
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
        merged = tuple(found or (decl.axes[i] if decl.axes else Axis("?", "?")) for i, found in enumerate(axes))
        builder.know([a for a in merged if a.name != "?"])
        builder.decls[self.name] = replace(decl, axes=merged)
        return tuple(index)

    def __getitem__(self, key: Any) -> Expr:
        index = self._index(key)
        _ = self.shape
        return self._builder.read(Ref(self.name, index))

    def __setitem__(self, key: Any, value: Any) -> None:
        builder, source = self._builder, here()
        index = () if key == () else self._index(key)
        main = all(i.runs for i in index)
        self._check_left(index, source)
        builder.know([i.axis for i in index if i.axis is not None])
        expr = builder.operand(value)
        ref = Ref(self.name, index)
        for axis in sorted(expr.axes - set(ref.running), key=lambda a: a.name):
            raise AxisError(
                message(
                    f"{ref} = {expr}: the right side runs along {axis.name}, the left side does not",
                    source,
                    fix=f"Reduce it, ops.sum(..., over={axis.name}), or read it at one step, {axis.end} for the last.",
                )
            )
        decl = builder.decls[self.name]
        if decl.detail == "open" and (main or expr.shape):
            builder.decls[self.name] = decl = replace(decl, shape=expr.shape, dtype=expr.dtype, detail=None)
        if expr.dtype != decl.dtype and not (decl.dtype == "float" or isinstance(expr.operand, Const)):
            raise DTypeError(message(f"{ref} is {decl.dtype}, and {expr} is {expr.dtype}", source))
        if decl.detail != "open" and expr.shape not in ((), decl.shape):
            raise ShapeError(
                message(f"{ref} has shape {decl.shape}, and the right side has shape {expr.shape}: {expr}", source)
            )
        expr = builder._as(expr, decl.dtype)
        builder.add(ref, expr, tuple(whole(a) for a in ref.running), decl.batched, source)

    def _check_left(self, index: tuple[Index, ...], source: Source | None) -> None:
        decl, ref = self._builder.decls[self.name], Ref(self.name, index)
        for i in index:
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
                raise DoubleDefinitionError(
                    message(
                        f"{ref} = ...: step {i} lies inside 1..T, where {self.name}[t] is defined",
                        source,
                        fix="A boundary stands at step 0, -1, ... or at T+1, T+2, ...",
                    )
                )
        if decl.kind == "input" and index and all(i.runs for i in index):
            raise DoubleDefinitionError(
                message(f"{self.name} is an input: its steps 1..T come from an array", source, fix="Use a variable.")
            )
        for equation in self._builder.equations:
            if equation.out == ref:
                raise DoubleDefinitionError(
                    message(
                        f"{ref} is defined twice",
                        (str(ref), equation.source),
                        (str(ref), source),
                        fix="Each step of a variable has one definition; merge the two right sides.",
                    )
                )

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        decl = self._builder.decls[self.name]
        return f"<{decl.kind} {self.name} {decl.shape}>"
