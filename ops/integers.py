"""What counts as one number: an integer where steps, a size or a seed are asked for, or any real one."""

from __future__ import annotations

from numbers import Real
from operator import index


def _no_number(value: object) -> bool:
    return (
        isinstance(value, bool) or getattr(value, "ndim", 0) != 0 or str(getattr(value, "dtype", "")).endswith("bool")
    )


def real(value: object) -> float | None:
    """A value as a Python float: NumPy's numbers, arrays and tensors without axes too; None for what is no number."""
    if _no_number(value):
        return None
    if isinstance(value, Real):
        return float(value)
    return float(value.item()) if hasattr(value, "item") and hasattr(value, "ndim") else None


def integer(value: object) -> int | None:
    """A value as a Python int, whose arithmetic has no edge: NumPy's integers, arrays and tensors without axes too.

    None for what is no single integer: a bool, a float, an array with axes, one of a single element included.
    """
    if type(value) is int:
        return value
    if _no_number(value):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
