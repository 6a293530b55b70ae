"""Loop distribution of a kernel of rows: which statements share one loop along the row, and what is known between."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.system import Ref
from .statements import Access, Compute, Row

Stages = list[tuple[Compute, ...]]


def staged(body: Sequence[Compute], rows: Sequence[Row]) -> Stages:
    """The statements of a kernel of rows by stages: at even places numbers of the row, at odd ones a loop along it."""
    stage: list[int] = []
    after: list[set[int]] = [set() for _ in body]
    wrote: dict[Ref, int] = {}
    read: dict[Ref, set[int]] = {}
    vectors: list[int] = []
    for n, (step, r) in enumerate(zip(body, rows, strict=True)):
        out, refs = step.equation.out, [a.ref for a in step.args if isinstance(a, Access)]
        before = {wrote[ref] for ref in (*refs, out) if ref in wrote}
        vectors.append(sum(rows[m].writes > 1 for m in before))
        ends = [stage[m] + (rows[m].reads > rows[m].writes) for m in before]  # a reduction's value comes with the next
        ends += [stage[m] for m in read.get(out, ())]
        least = max(ends, default=0)
        stage.append(least + ((r.reads > 1) != least % 2))
        for m in before | read.get(out, set()):
            after[m].add(n)
        wrote[out] = n
        for ref in refs:
            read.setdefault(ref, set()).add(n)
    for n in reversed(range(len(body))):  # as late as it is wanted, where that leaves no more to keep between loops
        if rows[n].writes > 1 and after[n] and vectors[n] <= 1:
            stage[n] = max(stage[n], min(stage[m] - (stage[m] % 2 == 0) for m in after[n]))
    return [tuple(s for s, at in zip(body, stage, strict=True) if at == k) for k in range(max(stage) + 1)]
