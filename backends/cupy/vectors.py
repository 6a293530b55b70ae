"""Vector loads: several elements of a last axis at once, where they are proved to lie at a multiple of 16 bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...compiler.statements import Access, Compute
from ..common.memory_layout import ALIGNED
from ..common.symbolic_size import ONE, ZERO
from . import tuning
from .cuda_source import Operand
from .scalar_expressions import POINTWISE

assert ALIGNED % tuning.VECTOR_BYTES == 0

See = Callable[[Access], Operand]
PLAIN = {*POINTWISE, "broadcast_to"}
"""Operations that read every argument at the point at hand."""


def lanes(body: Sequence[Compute], inner: Sequence[str], width: int, item: int, see: See) -> int:
    """How many elements of a last axis of `width` a thread takes; 1 where one by one is all that is safe.

    item  bytes of the smallest float in memory
    see   the operand of an access
    """
    return next((n for n in widths(item) if width % n == 0 and _together(body, inner, width, n, see)), 1)


def widths(item: int) -> tuple[int, ...]:
    """The numbers of elements to try: 16 bytes of the smallest float, or half as many where it has but two bytes."""
    return (
        (tuning.VECTOR_BYTES // item,) if item > 2 else (tuning.VECTOR_BYTES // item, tuning.VECTOR_BYTES // item // 2)
    )


def same(x: Operand) -> bool:
    """True for an operand that is the same along the last axis."""
    return not x.shape or x.shape[-1] == 1 or x.steps[-1] == ZERO


def _together(body: Sequence[Compute], inner: Sequence[str], width: int, n: int, see: See) -> bool:
    held: set[Access] = set()
    written: list[Operand] = []
    for step in body:
        target = Access(step.equation.out)
        if step.equation.op not in PLAIN:
            return False
        read = [a for a in step.args if isinstance(a, Access)] + ([target] if step.mode == "add" else [])
        for access in read:
            x = see(access)
            if access not in held and (_touched(x, written) or not (same(x) or _lies(x, width, n))):
                return False
            held.add(access)
        if target.ref.name not in inner:
            x = see(target)
            if not _lies(x, width, n):
                return False
            written.append(x)
        held.add(target)
    return True


def _lies(x: Operand, width: int, n: int) -> bool:
    """True where every group of `n` along the last axis begins at a multiple of `n` elements into the host."""
    if not x.shape or x.shape[-1] != width or x.steps[-1] != ONE:
        return False
    moves = [stride for _, _, stride in x.address.moves]
    inner = [stride for size, stride in zip(x.shape[:-1], x.steps, strict=False) if size != 1]
    return not any(stride.factor % n for stride in (*moves, *x.lead.values(), *inner)) and x.address.offset % n == 0


def _touched(x: Operand, written: Sequence[Operand]) -> bool:
    """True where an earlier statement may have written what is now read first: all is loaded before any is stored."""
    host = x.address.host
    name = x.access.ref.name
    names = {w.access.ref.name for w in written if w.address.host == host}
    return bool(names) and (name in names or name == host or host in names)
