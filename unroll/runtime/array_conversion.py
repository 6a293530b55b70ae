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
SHORT = ("bfloat16", "float8_", "float6_", "float4_")
"""Dtypes of other libraries that NumPy does not have, by how their names begin."""


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
    """The array of the declared kind, in the net's precision; no copy where none is needed. Raises ArrayError.

    Data of any real dtype become the net's, as NumPy casts them: what is too large is infinite, with NumPy's warning,
    and what pandas holds for missing is a nan. Params had their dtype from the net, and are to have kept it.
    """
    wanted = precise(decl, dtype)
    if backend.fits(value, wanted):
        return value
    given = "None" if value is None else f"a {type(value).__name__}"
    own, kind = _dtype(value)
    try:
        if hasattr(value, "to_numpy") and hasattr(getattr(value, "dtypes", None), "items"):
            return _table(decl, value, wanted, given)
        array = _loaded(backend, decl, value, own, given)
        if not kind:  # a list, or an array of a library with names of its own
            kind, own = array.dtype.kind, own if own.startswith(SHORT) else own and array.dtype.name
        if decl.dtype == "float":
            _check_floats(decl, value, own, kind, dtype, given)
        elif decl.dtype == "int":
            _check_labels(backend, decl, own, kind, array)
        elif kind != "b" and (own or array.size):
            raise ArrayError(f"{called(decl)} was declared dtype='bool', and holds {own or array.dtype}")
        return backend.asarray(array, wanted)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        if isinstance(error, ArrayError):
            raise
        said = f" ({str(error).partition(chr(10))[0]})" if own or hasattr(value, "dtypes") else ""
        shape = expected(decl, False)
        raise ArrayError(f"{called(decl)} is {given} that makes no array{said}; {shape} was expected") from None


def _dtype(value: Array) -> tuple[str, str]:
    """The name of the dtype that a value has, and its kind by NumPy's letter; "" where only an array would tell."""
    own = getattr(value, "dtype", None)
    if own is None:
        return "", ""
    name, kind = str(getattr(own, "name", own)).removeprefix("torch."), str(getattr(own, "kind", ""))
    return name, "f" if kind == "V" and name.startswith(SHORT) else kind


def _table(decl: Decl, value: Array, wanted: str, given: str) -> Array:
    """A table of pandas, whose columns have a dtype each. Raises ArrayError, naming the column."""
    kinds = {"float": "fciub" if wanted == "complex128" else "fiub", "int": "iu", "bool": "b"}[decl.dtype]
    for column, own in value.dtypes.items():
        if getattr(own, "kind", "") not in kinds:
            one = {"float": "numbers were", "int": "integers were", "bool": "bools were"}[decl.dtype]
            raise ArrayError(f"{called(decl)} is {given} whose column {column!r} holds {own}; {one} expected")
    return value.to_numpy(dtype=wanted, na_value=float("nan"))


def _loaded(backend: AbstractBackend, decl: Decl, value: Array, own: str, given: str) -> Array:
    """A value as an array of the backend's or of a kind that it takes."""
    what, name = called(decl), direction(decl.name)[0]
    for lost, has, way in LOST:
        if has(value):
            raise ArrayError(f"{what} is {given}{lost}: pass {name}{way(value)}")
    if reason := backend.misplaced(value, name):
        raise ArrayError(f"{what} {reason}")
    known = hasattr(getattr(value, "dtype", None), "kind")
    if known and (hasattr(value, "__array__") or not hasattr(value, "__dlpack__")):
        return value
    return backend.asarray(value.float() if own.startswith(SHORT) and hasattr(value, "float") else value, None)


def _check_floats(decl: Decl, value: Array, own: str, kind: str, dtype: str, given: str) -> None:
    """Numbers that the net computes with; `own` is the dtype that the value had, if any."""
    what, (name, role) = called(decl), direction(decl.name)
    if kind not in "fiubc":
        raise ArrayError(f"{what} {f'holds {own}' if own else f'is {given}'}; an array of numbers was expected")
    if kind == "c" and dtype != "complex128":
        what = f"{what} is {own or 'complex'}, and the net computes in {dtype}"
        raise ArrayError(f"{what}: pass {name}.real, or compile with dtype='complex128'")
    fixed = decl.kind == "param" and not role and not (dtype == "complex128" and kind == "f")
    if fixed and kind in "fc" and own not in ("", dtype):
        way = f"{name}.astype({dtype!r})" if hasattr(value, "astype") else f"numpy.asarray({name}, {dtype!r})"
        other = f", or compile with dtype={own!r}" if own in FLOATS else ""
        raise ArrayError(f"{what} is {own}, and the net computes in {dtype}: pass {way}{other}")


def _check_labels(backend: AbstractBackend, decl: Decl, own: str, kind: str, array: Array) -> None:
    if kind not in "iu" and (own or array.size):
        raise ArrayError(f"{called(decl)} was declared dtype='int', and holds {own or array.dtype}")
    limits = backend.bounds(backend.asarray(array, "uint64")) if kind == "u" and array.size else None
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
