"""Whether every step that a program reads exists at the lengths of a call, and for each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cache import BoundedCache
from ..errors import LengthError
from ..ir.axes import Lengths
from ..ir.names import primal
from ..ir.system import Ref, System
from ..transform.no_steps import without_steps
from ..unfold.existence import check_reads, exists

REMEMBERED = 1000
"""Lengths that have been looked at and are remembered, at most."""


class StepChecks:
    """Looks the steps that are read up at given lengths; what it found is remembered.

    user   the template as the user declared it
    own    the program's own system
    asked  instances that are requested
    """

    def __init__(self, user: System, own: System, asked: Sequence[Ref]) -> None:
        self.user, self.own, self.asked = user, own, asked
        self.roots = [r.name for r in own.outputs.values()]
        refs = [r for e in user.equations for r in (e.out, *e.refs)]
        shifts = [i.shift for r in (*refs, *asked) for i in r.index]
        self.enough = 2 + 2 * max(map(abs, shifts), default=0)
        self._found: BoundedCache[bool] = BoundedCache(REMEMBERED)

    def plain(self, lengths: Lengths) -> bool:
        """False where the system needs what does not exist, unless it is specialised to axes without steps."""
        return 0 not in lengths.values() or self.check(lengths)

    def check(self, lengths: Lengths) -> bool:
        """As `plain`. Raises LengthError where a step that is needed or requested does not exist at these lengths."""
        key = tuple(sorted(lengths.items()))
        if (known := self._found.get(key)) is not None:
            return known
        check_reads(self.user, lengths)
        plain = True
        try:
            check_reads(self.own, lengths, self.roots)
        except LengthError:
            if 0 not in lengths.values():
                raise
            check_reads(without_steps(self.own, lengths), lengths, self.roots)
            plain = False
        for ref in self.asked:
            steps = [i.shift for i in ref.index if i.axis is None]
            name = primal(ref.name)  # of the gradient by an instance, which exists where that does
            one = bool(steps) and len(steps) == len(ref.index)
            if one and name in self.user.decls and not exists(self.user, name, steps, lengths):
                at = ", ".join(f"{end} = {n}" for end, n in lengths.items())
                asked = f"{name}{str(ref).removeprefix(ref.name)}"
                raise LengthError(f"{asked} is requested, and at {at} that step does not exist")
        self._found.put(key, plain)
        return plain

    def check_each(self, lengths: Lengths, ends: Mapping[str, Sequence[int]]) -> None:
        """Every step that is read exists for every example; beyond `enough` steps a few more make no difference.

        An example of no steps among longer ones runs with them, by a program that is not specialised: what it would
        multiply by zero is made of padding, and need not be finite. Raises LengthError.
        """
        seen = set()
        for b, steps in enumerate(zip(*ends.values(), strict=True)):
            key = tuple(min(n, self.enough) for n in steps)
            if key in seen:
                continue
            seen.add(key)
            each = {**lengths, **dict(zip(ends, key, strict=True))}
            try:
                if not self.check(each) and self.plain(lengths):
                    check_reads(self.own, each, self.roots)
            except LengthError as error:
                raise LengthError(f"example {b}: {error}") from None
