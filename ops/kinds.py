"""What kinds of numbers an operation takes and gives: the rule by which Python numbers and integers are promoted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from .core import Op
from .errors import DTypeError

Dtype = Literal["float", "int", "bool"]
"""Of elements; how many bits a float has is said when a template is compiled."""
KIND_OF: dict[str, Dtype] = {"f": "float", "i": "int", "b": "bool"}


def result_kind(op: Op, kinds: Sequence[Dtype], weak: Sequence[bool]) -> tuple[Dtype, tuple[Dtype, ...]]:
    """The kind of the result, and the kind each operand is to be cast to.

    `kinds` are the operands' kinds; `weak` marks Python numbers, which take the kind of what they meet.
    Raises DTypeError, naming the operand by position.
    """
    return _result_kind(op, tuple(kinds), tuple(weak))


@lru_cache(1024)  # the same few for thousands of operations
def _result_kind(op: Op, kinds: tuple[Dtype, ...], weak: tuple[bool, ...]) -> tuple[Dtype, tuple[Dtype, ...]]:
    letters = op.operand_kinds(len(kinds))
    if len(letters) != len(kinds):
        raise DTypeError(f"{op.name} takes {len(letters)} operands, got {len(kinds)}")
    strong = [k for k, w, c in zip(kinds, weak, letters, strict=True) if c == "n" and not w]
    every = [k for k, c in zip(kinds, letters, strict=True) if c in "na"]
    number: Dtype = "int" if set(every) == {"int"} else "float"  # a bool in arithmetic is 0.0 or 1.0
    if "float" in strong:
        number = "float"
    same: Dtype = next((k for k, w, c in zip(kinds, weak, letters, strict=True) if c == "a" and not w), "float")
    cast: list[Dtype] = []
    for position, (kind, soft, letter) in enumerate(zip(kinds, weak, letters, strict=True)):
        want = {"n": number, "a": same}.get(letter) or KIND_OF[letter]
        fits = letter == "n" or kind == want or (soft and want == "float")
        if not fits:
            raise DTypeError(f"operand {position + 1} of {op.name} must be {want}, and is {kind}")
        cast.append(want)
    result = op.kinds.split("->")[1]
    return {"n": number, "a": same}.get(result) or KIND_OF[result], tuple(cast)
