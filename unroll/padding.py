"""What the steps beyond an example's end hold: which names are zero there, and which are at least finite.

Such a step counts for nothing; but a sum over all steps reads it. A product with one factor that is zero there, and
the others finite, needs no mask. Params and inputs are taken to be finite, and sums and products of finite numbers.
"""

from __future__ import annotations

import math

from .ir import Const, Equation, Operand, Ref, System
from .simplify import hidden
from .timeindex import Axis

PRODUCTS = frozenset({"mul", "matmul", "dot", "outer", "einsum", "logical_and"})
"""Zero where one operand is and the others are finite."""
FIRST = frozenset({"pick", "scatter", "take"})
"""Zero where the first operand is."""
KEEPING = frozenset({
    "reshape", "transpose", "broadcast_to", "sum_to", "slice", "unslice", "concat", "stack", "copy", "add", "sub",
    "neg", "expm1", "log1p", "sqrt", "sin", "tanh", "relu", "abs", "sign", "stop_gradient", "cast", "maximum",
    "minimum", "logical_or", "sum", "max",
})  # fmt: skip
"""Zero where all operands are."""
FINITE = frozenset({
    *PRODUCTS, *FIRST, *KEEPING, "one_hot", "cos", "sigmoid", "softplus", "where", "logsumexp", "softmax",
    "cross_entropy",
}) - {"expm1", "log1p", "sqrt"}  # fmt: skip
"""Finite where all operands are."""
NEVER, ALWAYS = math.inf, -math.inf


class Padding:
    """The facts about one axis on which examples end at steps of their own.

    exact  the equations whose result is right at every step of the padded batch as it is
    """

    def __init__(self, system: System, axis: Axis, exact: frozenset[int]) -> None:
        self.system, self.axis, self._exact = system, axis, exact
        self.until: dict[str, float] = {}  # name -> k: it is zero at every step after n+k
        self._finite = dict.fromkeys(system.decls, True)
        for name, decl in system.decls.items():
            if axis in decl.axes:
                self.until[name] = self._reach(name)
            if decl.kind == "constant" and decl.dtype == "float":
                self._finite[name] = bool((decl.detail - decl.detail == 0).all())
        self.free = {e.out.name for e in system.equations if axis in e.out.running and self._free(e)}
        changed = True
        while changed:
            changed = any(self._revise(e) for e in system.equations)

    def _reach(self, name: str) -> float:
        """Counted from the end, the last step that anything but zero is written to."""
        decl = self.system.decls[name]
        found = [ALWAYS]
        if decl.given:
            found.append(0 if decl.batched and not decl.automatic else NEVER)
        for e in self.system.writers[name]:
            index = next(i for i, a in zip(e.out.index, decl.axes, strict=True) if a == self.axis)
            if index.runs:
                hi = e.range(self.axis).hi
                found.append(hi.shift + index.shift if hi.anchor else ALWAYS)
            elif index.anchor and not nothing(e):
                found.append(index.shift)
            elif not index.anchor and index.shift > 0:
                found.append(NEVER)  # a fixed step may lie after the last
        return max(found)

    def _free(self, e: Equation) -> bool:
        """True for a hidden name whose steps beyond the end nobody reads but at steps beyond the end."""
        name = e.out.name
        if not hidden(name) or len(self.system.writers[name]) != 1 or not self.system.exclusive(e):
            return False
        reach = self.until[name]
        for reader in self.system.equations:
            for ref in reader.refs:
                shift = ref.shift(self.axis) if ref.name == name else None
                if shift is not None and self.end(reader) + shift > reach:
                    return False
        return True

    def end(self, e: Equation) -> float:
        """K of the domain's last step ``T+k``."""
        hi = e.range(self.axis).hi
        return hi.shift if hi.anchor else ALWAYS

    def _revise(self, e: Equation) -> bool:
        """Give up what an equation contradicts; True if there was anything."""
        name = e.out.name
        changed = False
        if self._finite[name] and not self._gives_finite(e):
            self._finite[name], changed = False, True
        if name in self.free and self.until[name] != NEVER and id(e) not in self._exact and not self.zero(e):
            self.until[name], changed = NEVER, True
        return changed

    def zero(self, e: Equation) -> bool:
        """True if an equation that runs along the axis adds zero at every step beyond its end."""
        k = self.end(e)
        zeros = [self.zero_at(a, k) for a in e.args]
        if e.op in PRODUCTS:
            return any(zeros) and all(self.finite_at(a, k) for a in e.args)
        if e.op in FIRST:
            return zeros[0]
        if e.op == "where":
            return all(zeros[1:])
        if e.op in ("pow", "div"):
            by = e.args[1]
            return zeros[0] and isinstance(by, Const) and (by.value > 0 if e.op == "pow" else by.value != 0)
        return e.op in KEEPING and all(zeros)

    def zero_at(self, operand: Operand, k: float) -> bool:
        """True if an operand is zero at every step t > n+k."""
        if isinstance(operand, Ref):
            shift = operand.shift(self.axis)
            return shift is not None and self.until[operand.name] <= k + shift
        return isinstance(operand, Const) and operand.value == 0

    def finite_at(self, operand: Operand, k: float) -> bool:
        """True if an operand is finite at every step t > n+k."""
        if isinstance(operand, Ref):
            return self._finite[operand.name] or self.zero_at(operand, k)
        return not isinstance(operand, Const) or math.isfinite(operand.value)

    def settled(self, name: str) -> bool:
        """True if what a name holds beyond the end is zero or finite."""
        return self._finite[name] or self.until.get(name, ALWAYS) != NEVER

    def _gives_finite(self, e: Equation) -> bool:
        if self.system.decls[e.out.name].dtype != "float":
            return True
        k = self.end(e) if self.axis in e.axes else NEVER
        if e.combine == "max" or not all(self._finite_operand(a, k) for a in e.args):
            return False
        by = e.args[-1]
        if e.op == "pow":
            return isinstance(by, Const) and by.value >= 0 and by.value == int(by.value)
        if e.op == "div":
            return isinstance(by, Const) and by.value != 0
        return e.op in FINITE

    def _finite_operand(self, operand: Operand, k: float) -> bool:
        if k == NEVER:
            return self._finite[operand.name] if isinstance(operand, Ref) else self.finite_at(operand, k)
        return self.finite_at(operand, k)


def nothing(e: Equation) -> bool:
    """True for an equation that writes the number 0."""
    return e.op == "copy" and isinstance(e.args[0], Const) and e.args[0].value == 0
