"""Objectives: the loss that training lowers, and the stop criterion at which free running ends."""

from __future__ import annotations

from ..errors import AxisError, DoubleDefinitionError, DTypeError, ShapeError, here, message
from ..ir.axes import TIME, running, whole
from ..ir.system import Decl, Ref
from .builder import ANEW, Builder
from .reruns import rewritten


def set_loss(builder: Builder, expr: object) -> None:
    """Define the loss, one number per example. Raises DoubleDefinitionError, AxisError, ShapeError."""
    source = here()
    value = builder.operand(expr)
    if builder.loss and not rewritten(builder, builder.decls["loss"].source, source, value.operand):
        raise DoubleDefinitionError(
            message(
                "the loss is defined twice",
                builder.decls["loss"].source,
                source,
                fix=f"Add the terms up in one g.loss = ... {ANEW}",
            )
        )
    if value.axes:
        axis = min(a.name for a in value.axes)
        raise AxisError(
            message(
                f"the loss runs along {axis}: {value}",
                source,
                fix=f"Make it one number per example: ops.sum(..., over={axis}) or ops.mean(..., over={axis}).",
            )
        )
    if value.shape != ():
        raise ShapeError(
            message(f"the loss has shape {value.shape}: {value}", source, fix="Make it one number with ops.sum.")
        )
    builder.declare(Decl("loss", "variable", (), "float", source=source))
    builder.add(Ref("loss"), builder._as(value, "float"), (), False, source)
    builder.loss = "loss"


def set_stop(builder: Builder, expr: object) -> None:
    """Define what is true at the last step, one bool per example and step.

    Raises DoubleDefinitionError, AxisError, ShapeError, DTypeError.
    """
    source = here()
    value = builder.operand(expr)
    known = builder.decls["stop"].source if builder.stop else None
    if builder.stop and not rewritten(builder, known, source, value.operand):
        fix = f"Join conditions with | in one g.stop = ... {ANEW}"
        raise DoubleDefinitionError(message("the stop is defined twice", known, source, fix=fix))
    if value.dtype != "bool":
        fix = "Compare it, as in p[t] > 0.5 or ops.equal(y[t], END), or draw it, ops.bernoulli(p[t])."
        raise DTypeError(message(f"the stop is {value.dtype}: {value}", source, fix=fix))
    if value.axes != {TIME}:
        along = " and ".join(sorted(a.name for a in value.axes)) or "no axis"
        fix = "It is true or false at each step t, and nowhere else."
        raise AxisError(message(f"the stop runs along {along}: {value}", source, fix=fix))
    if value.shape != ():
        fix = "Take one element of what it compares, or compare one number, as in ops.max(p[t]) > 0.5."
        raise ShapeError(message(f"the stop has shape {value.shape}: {value}", source, fix=fix))
    steps = (running(TIME),)
    builder.declare(Decl("stop", "variable", (), "bool", (TIME,), source=source))
    builder.add(Ref("stop", steps), value, (whole(TIME),), False, source)
    builder.stop = "stop"
