"""Validation of what a declaration says: its name, its shape, its kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import DTypeError, ShapeError, Source, TemplateError, here, message
from ..ops.integers import integer
from ..ops.kinds import KIND_OF, Dtype
from .axes import Axis, Index

RESERVED = ("loss", "stop", "seed", "lengths", "clamp", "batch", "max_steps")
"""What a template or a call of a net has for its own, and nothing else may be called."""
ARGUMENTS = ("params", "names", "wrt", "outputs", *RESERVED[2:])
"""Arguments of `Net`'s calls: an input, which is given by its name, cannot be called like one."""


def text(name: object, what: str, source: Source | None, without: str = "") -> str:
    """A name as plain text, in which there is something to see. Raises TemplateError.

    without  characters that mark the names made from it, of cotangents (``h~``) and operations (``h.1``)
    """
    if not isinstance(name, str) or not name.strip() or any(c in name for c in without):
        marks = f" without {' and '.join(map(repr, without))}" if without else ""
        raise TemplateError(message(f"{what} is a text that can be seen{marks}, got {name!r}", source))
    return "".join(name)  # of NumPy's text, or of an enumeration's, the characters alone


def valid(given: object, kind: str, source: Source | None, axes: Iterable[Axis]) -> str:
    """The name of a declaration as plain text. Raises TemplateError for what is none, or is taken.

    axes  those of the template and of the declaration
    """
    name = text(given, "a name", source, ".~")
    if name in [a.end for a in axes]:
        what = f"the name {name!r} is taken by the template itself: {name}= is a number of steps"
        raise TemplateError(message(what, source, fix="Choose another name."))
    if name in RESERVED[:2] or (name in RESERVED and kind != "input"):
        raise TemplateError(message(f"the name {name!r} is taken by the template itself", source))
    if name in ARGUMENTS and kind == "input":
        what = f"{name}= is an argument of net.run and of the other calls, and an input is given by its name"
        raise TemplateError(message(what, source, fix="Choose another name."))
    return name


def sizes_of(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape as a tuple; an int is a vector's length, and sizes are positive. Raises ShapeError."""
    sizes = []
    for n in shape if isinstance(shape, Iterable) and getattr(shape, "ndim", 1) != 0 else (shape,):
        size = integer(n)
        if size is None or size < 1:
            raise ShapeError(message(f"a shape is made of positive integers, got {shape!r}", here()))
        sizes.append(size)
    return tuple(sizes)


def kind(dtype: str) -> Dtype:
    """The kind itself. Raises DTypeError for another."""
    found = next((known for known in KIND_OF.values() if known == dtype), None)
    if found is None:
        raise DTypeError(
            message(
                f"dtype={dtype!r}: a template knows the kinds 'float', 'int' and 'bool'",
                here(),
                fix='The precision is chosen when compiling: g.compile(dtype="float64").',
            )
        )
    return found


def numpys_own(value: object) -> bool:
    """True for NumPy's own arrays and numbers."""
    plain = any(c.__module__ == "numpy" and c.__name__ in ("ndarray", "generic") for c in type(value).__mro__)
    return plain and not hasattr(value, "mask")


def unusable(value: object) -> tuple[str, str]:
    """What cannot stand in an equation is called, and what to write in its place."""
    fix = "Use numbers, arrays, params, and variables or inputs read at a step, as in x[t]."
    if isinstance(value, Index):
        fix = "A step stands in brackets, as in x[t]; ops.mean(..., over=t) divides by the number of steps."
        return f"the step {value}", fix
    if numpys_own(value):
        return f"an array of {getattr(value, 'dtype', None)}", fix
    if hasattr(value, "shape"):
        fix = "Pass it as a NumPy array: of a tensor .detach().numpy(), of a sparse matrix .toarray()."
    return ("None" if value is None else f"a {type(value).__name__}"), fix
