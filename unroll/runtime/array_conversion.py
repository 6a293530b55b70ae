"""Conversion of one array to what a backend takes: its dtype, its axes, its device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends.base import FLOATS, AbstractBackend
from ..errors import ArrayError
from ..ir.names import direction
from ..ir.system import Decl
from ..types import Array

LOST: tuple[tuple[str, Callable[[Any], bool], Callable[[Any], str]], ...] = (
    (", and its mask would be lost", lambda v: hasattr(v, "mask") and hasattr(v, "filled"), lambda v: ".filled(0)"),
    (
        " that requires grad, and no gradient goes back to it from here",
        lambda v: getattr(v, "requires_grad", False) is True,
        lambda v: ".detach()",
    ),
    (
        ", which is sparse",
        lambda v: getattr(v, "is_sparse", False) is True or (hasattr(v, "nnz") and hasattr(v, "tocoo")),
        lambda v: ".to_dense()" if hasattr(v, "to_dense") else ".toarray()",
    ),
)
"""What an array would lose, how it is recognised, and the way out."""


def called(decl: Decl) -> str:
    """``input x``; a direction by what it is for: ``tangent of W``."""
    name, role = direction(decl.name)
    return f"{role} of {name}" if role else f"{decl.kind} {name}"


def expected(decl: Decl, batch_first: bool) -> str:
    """The shape of an input as the user gives it: ``(T, B, 27)``."""
    steps = [a.end for a in decl.axes]
    lead = ["B", *steps] if batch_first else [*steps, "B"]
    return "(" + ", ".join([*lead, *map(str, decl.shape)]) + ("," if len(lead) + len(decl.shape) == 1 else "") + ")"


def precise(decl: Decl, dtype: str) -> str:
    """The dtype of an array of the declared kind: the net's for floats, 64 bits for labels."""
    return {"float": dtype, "int": "int64"}.get(decl.dtype, decl.dtype)


def convert(backend: AbstractBackend, decl: Decl, value: Array, dtype: str) -> Array:
    """The array of the declared kind, in the net's precision; no copy where none is needed. Raises ArrayError."""
    if backend.fits(value, precise(decl, dtype)):
        return value
    given = "None" if value is None else f"a {type(value).__name__}"
    own = getattr(value, "dtype", None)
    value = _loaded(backend, decl, value, given)
    kind = own.kind if own is not None and hasattr(own, "kind") else None
    if kind is None:
        kind, own = value.dtype.kind, None
    own = getattr(own, "name", own)
    if decl.dtype == "float":
        _check_floats(decl, own, kind, dtype, given)
        return backend.asarray(value, dtype)
    if decl.dtype == "int":
        _check_labels(backend, decl, own, kind, value)
        return backend.asarray(value, "int64")
    if kind != "b" and (own or value.size):
        raise ArrayError(f"{called(decl)} was declared dtype='bool', and holds {own or value.dtype}")
    return backend.asarray(value, "bool")


def _loaded(backend: AbstractBackend, decl: Decl, value: Array, given: str) -> Array:
    """A value as an array of the backend's or of a kind that it takes."""
    what, name = called(decl), direction(decl.name)[0]
    for lost, has, way in LOST:
        if has(value):
            raise ArrayError(f"{what} is {given}{lost}: pass {name}{way(value)}")
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    try:
        if reason := backend.misplaced(value, name):
            raise ArrayError(f"{what} {reason}")
        if kind is None or (hasattr(value, "__dlpack__") and not hasattr(value, "__array__")):
            return backend.asarray(value, None)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        if isinstance(error, ArrayError):
            raise
        said = f" ({str(error).partition(chr(10))[0]})" if hasattr(value, "dtype") else ""
        wanted = expected(decl, False)
        raise ArrayError(f"{what} is {given} that makes no array{said}; {wanted} was expected") from None
    return value


def _check_floats(decl: Decl, own: object, kind: str, dtype: str, given: str) -> None:
    """Floats of another precision than the net's are refused; `own` is the dtype that the value had, if any."""
    what, name = called(decl), direction(decl.name)[0]
    if own is not None and kind in "fc" and str(own) != dtype and not (dtype == "complex128" and kind == "f"):
        other = f", or compile with dtype={str(own)!r}" if str(own) in FLOATS else ""
        raise ArrayError(f"{what} is {own}, and the net computes in {dtype}: pass {name}.astype({dtype!r}){other}")
    if kind not in "fiubc" or (kind == "c" and dtype != "complex128"):
        raise ArrayError(f"{what} {f'holds {own}' if own else f'is {given}'}; an array of numbers was expected")


def _check_labels(backend: AbstractBackend, decl: Decl, own: object, kind: str, value: Array) -> None:
    if kind not in "iu" and (own or value.size):
        raise ArrayError(f"{called(decl)} was declared dtype='int', and holds {own or value.dtype}")
    limits = backend.bounds(value) if kind == "u" and value.size else None
    if limits is not None and limits[1] >= 2**63:
        raise ArrayError(f"{called(decl)} holds {limits[1]}, which is no label")


def with_batch(
    decl: Decl, array: Array, batch_first: bool, found: dict[str, tuple[int, str]]
) -> tuple[Array, int | None]:
    """The array as (steps..., batch, *shape), and its batch size (None where it has no batch axis)."""
    axes, rank = len(decl.axes), len(decl.axes) + len(decl.shape)
    shape = tuple(array.shape)
    if array.ndim not in (rank, rank + 1) or shape[array.ndim - len(decl.shape) :] != decl.shape:
        single = expected(decl, batch_first).replace("B, ", "").replace(", B", "").replace("B", "")
        raise ArrayError(
            f"{called(decl)} has shape {shape}, expected {expected(decl, batch_first)}, or {single} for one example"
        )
    batch: int | None = None
    if not decl.batched:
        if array.ndim != rank:
            raise ArrayError(f"{called(decl)} has shape {shape}, and is one for all examples, {decl.shape}")
    elif array.ndim == rank + 1:
        if batch_first and axes:
            array = array.transpose(*range(1, axes + 1), 0, *range(axes + 1, rank + 1))
        batch = array.shape[axes]
    else:
        array = array.reshape((*shape[:axes], 1, *shape[axes:]))
    for axis, n in zip(decl.axes, array.shape, strict=False):
        known = found.setdefault(axis.end, (n, called(decl)))
        if known[0] != n:
            order = "(B, T, ...)" if batch_first else "(T, B, ...)"
            raise ArrayError(
                f"{called(decl)} has {n} steps along {axis.name}, and {known[1]} has {known[0]}; "
                f"arrays come as {order}, as compiled with batch_first={batch_first}"
                + ("" if batch_first else "; batch_first=True takes them as (B, T, ...)")
            )
    return array, batch
