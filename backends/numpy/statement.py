"""One statement of a program as NumPy source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...compiler.statements import Access, Compute
from ...ir.axes import fixed
from ...ir.system import Const
from ...ops.contract import PRODUCTS, subscripts
from ..common.python_source import difference, linear
from ..common.symbolic_size import Key
from .kernels import COMPLEX, ELEMENTWISE
from .operand import BATCH, FEATURES, GATES, Where, viewed
from .products import EinsumOperand, einsum, lonely, plan_product
from .source_writer import SourceWriter, listed

UFUNCS = {
    name: function.__name__
    for name, function in ELEMENTWISE.items()
    if type(function).__name__ == "ufunc" and name not in ("copy", "cast", "stop_gradient", "sign")
}
"""Operations that NumPy computes into a given array."""

POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}


class StatementWriter:
    """Writes one equation."""

    def __init__(self, writer: SourceWriter, step: Compute, where: Where) -> None:
        self.writer, self.step, self.where = writer, step, where
        self.e = step.equation
        self.attrs = dict(self.e.attrs)
        self.decl = writer.system.decls[self.e.out.name]
        if where.gates:
            self.decl = replace(self.decl, shape=where.gates[1:])
        self.args = [writer.operand(a, where) for a in step.args]
        self.summed = tuple([x for x in where.lead if not self._kept(x)])
        target = where if where.batched == self.decl.batched else replace(where, batched=self.decl.batched)
        self.target = writer.view(Access(self.e.out), target).ordered(where.lead)
        self.lead = tuple([x for x in where.lead if x not in self.summed])

    def _kept(self, axis: Key) -> bool:
        if axis == BATCH:
            return self.decl.batched
        if axis == GATES:
            return True
        return axis in self.e.out.running

    def write(self) -> None:
        """The lines of the statement."""
        op = self.e.op
        contracts = op in PRODUCTS or (op == "mul" and bool(self.summed) and self._as_product())
        if contracts and self.e.combine == "sum":
            self._product()
        elif op == "scatter" and not self.lead and set(self.summed) <= set(self.args[0].lead):
            values, index = (a.aligned(self.where.lead, a.rank) for a in self.args)
            rank = self.args[0].rank - self.args[1].rank
            self._store(f"scatter_sum({values}, {index}, {self.attrs['size']}, {rank})")
        elif self.summed or self.e.combine == "max":
            self._reduced()
        else:
            self._plain()
        if self.writer.debug and self.decl.dtype == "float":
            self._check()

    def empty(self) -> None:
        """The line of a sum over no steps."""
        self._store("-np.inf" if self.e.combine == "max" else "0")

    def _store(self, value: str) -> None:
        """Put a value that is an expression into the left-hand side."""
        note = self.writer.note(self.e)
        target = self.target.text
        if self.step.mode == "add":
            self.writer.line(f"{self.writer.function('add')}({target}, {value}, {target})", note)
        elif target.endswith("]") and not self.writer.stays(target):
            self.writer.line(f"{target} = {value}", note)
        else:
            self.writer.line(f"{target}[...] = {value}", note)

    def _into(self, write: Any) -> None:
        """Call ``write(target)`` so that the result lands in the left-hand side, added where the mode says so."""
        note = self.writer.note(self.e)
        if self.step.mode == "set":
            self.writer.line(write(self.target.text), note)
            return
        sizes = self.writer.sizes(self.where)
        shape = [sizes[x] for x in self.target.lead] + [str(n) for n in self.decl.shape]
        scratch = self.writer.scratch(shape, self.writer.kind(self.decl.dtype))
        self.writer.line(write(scratch), note)
        self.writer.line(f"{self.writer.function('add')}({self.target.text}, {scratch}, {self.target.text})")

    def _aligned(self, rank: int | None = None) -> list[str]:
        rank = max([len(self.decl.shape), *(a.rank for a in self.args)]) if rank is None else rank
        return [a.aligned(self.where.lead, rank) for a in self.args]

    def _plain(self) -> None:
        """One value per point of the left-hand side."""
        op = self.e.op
        if op == "slice":
            x = viewed(self.args[0], op, self.attrs)
            self._store(x.aligned(self.where.lead, x.rank))
            return
        if op in ("copy", "cast") or (op == "stop_gradient" and self.writer.dtype != "complex128"):
            self._store(self._aligned()[0])
            return
        if (
            op == "sigmoid"
            and self.writer.dtype != "complex128"
            and self.step.mode == "set"
            and not self.args[0].number
        ):
            self._sigmoid(self._aligned()[0])
            return
        ufunc = self._ufunc()
        if ufunc is not None:
            name, texts = ufunc
            if all(a.number for a in self.args):
                self._store(f"{name}({', '.join(texts)})")
            else:
                out = (
                    "out=" if name in ("maximum", "minimum") else ""
                )  # the others take it by position, which is quicker
                self._into(lambda target: f"{name}({', '.join(texts)}, {out}{target})")
            return
        self._store(self._call())

    def _sigmoid(self, x: str) -> None:
        """1 / (1 + exp(-x)) in place; where the exponential overflows, the quotient is 0 as it should be."""
        target, one = self.target.text, self.writer.constant("1.0") if self.where.loops else "1"
        negative, exp, add, reciprocal = map(self.writer.function, ("negative", "exp", "add", "reciprocal"))
        self.writer.line(f"{negative}({x}, {target})", self.writer.note(self.e))
        self.writer.line(f"{exp}({target}, {target})")
        self.writer.line(f"{add}({target}, {one}, {target})")
        self.writer.line(f"{reciprocal}({target}, {target})")

    def _ufunc(self) -> tuple[str, list[str]] | None:
        op = self.e.op
        if self.writer.dtype == "complex128" and op in COMPLEX:
            return None
        texts = self._aligned()
        if op == "pow" and self.args[1].number and isinstance(self.step.args[1], Const):
            power = POWERS.get(self.step.args[1].value)
            if power is not None:
                return self.writer.function(power), texts[:1]
        if self.where.loops and not all(a.number for a in self.args):
            known = [isinstance(a, Const) and isinstance(a.value, float) for a in self.step.args]
            texts = [self.writer.constant(x) if k else x for x, k in zip(texts, known, strict=True)]
        if op == "relu":
            return self.writer.function("maximum"), [*texts, "0"]
        return (self.writer.function(UFUNCS[op]), texts) if op in UFUNCS else None

    def _call(self) -> str:
        """An expression for the value, made by the operation's kernel."""
        ranks = [a.rank for a in self.args]
        elementwise = self.e.operation.family.name == "elementwise"
        if elementwise:
            texts, ranks = self._aligned(max(ranks)), [max(ranks)] * len(ranks)
        else:
            texts = [a.aligned(self.where.lead, a.rank) for a in self.args]
        name = self.writer.kernel(self.e.op, ranks, self.attrs)
        value = f"{name}({', '.join(texts)})"
        missing = len(self.decl.shape) - len(self._shape())
        if missing > 0 and self._shape_lead():
            value += f"[{', '.join([':'] * len(self._shape_lead()) + ['None'] * missing)}, ...]"
        return value

    def _shape(self) -> tuple[int, ...]:
        shapes = [a.shape for a in self.args]
        return tuple(self.e.operation.family.shape(shapes, self.attrs))

    def _shape_lead(self) -> list[Key]:
        """The leading axes of the operation's own result."""
        have = {x for a in self.args for x in a.lead}
        lead = list(self.where.lead)
        while lead and lead[0] not in have:
            lead.pop(0)
        return lead

    def _reduced(self) -> None:
        """Computed over the whole domain, then summed (or maximised) over the axes the left-hand side lacks."""
        shape = self._shape()
        if self.e.op == "sum" and self.e.combine == "sum" and self._whole_sum():
            return
        if self.e.op in ("copy", "cast"):
            value = self._aligned(len(shape))[0]
        else:
            ufunc = self._ufunc()
            value = f"{ufunc[0]}({', '.join(ufunc[1])})" if ufunc else self._call()
        have = {x for a in self.args for x in a.lead}
        lead = list(self.where.lead)
        if not set(lead) <= have:
            sizes = self.writer.sizes(self.where)
            full = listed([sizes[x] for x in lead] + [str(n) for n in shape])
            value = f"np.broadcast_to({value}, ({full}))"
        axes = tuple(lead.index(x) for x in self.summed)
        axis = axes[0] if len(axes) == 1 else axes
        exact = shape == self.decl.shape
        if self.e.combine == "max":
            self._store(f"np.max({value}, axis={axis}, initial=-np.inf)")
        elif self.decl.dtype == "bool":  # bools add up to whether any is true
            self._store(f"np.any({value}, axis={axis})")
        elif exact and self.step.mode == "set":
            self.writer.line(f"total({value}, {axis}, {self.target.text})", self.writer.note(self.e))
        else:
            total = f"total({value}, {axis})"
            missing = len(self.decl.shape) - len(shape)
            if missing and self.lead:
                total += f"[{', '.join([':'] * len(self.lead) + ['None'] * missing)}, ...]"
            self._store(total)

    def _whole_sum(self) -> bool:
        """A sum over its own axes and over steps or examples, in one go where it has all of them."""
        (x,) = self.args
        if set(x.lead) != set(self.where.lead) or self.attrs.get("keepdims") or self.step.mode != "set":
            return False
        axes = (*(self.where.lead.index(a) for a in self.summed), *self.attrs["axis"])
        value = x.aligned(self.where.lead, x.rank)
        self.writer.line(f"total({value}, {axes}, {self.target.text})", self.writer.note(self.e))
        return True

    def _as_product(self) -> bool:
        """True where an elementwise product under a sum is a contraction: no axis of size 1 is stretched."""
        if any(a.number for a in self.args):
            return False
        for a in self.args:
            for n, m in zip(a.shape[::-1], self.decl.shape[::-1], strict=False):
                if n != m:
                    return False
        return len(self._shape()) == len(self.decl.shape)

    def _product(self) -> None:
        a, b = self.args
        if self.e.op == "mul":
            full = [f"m{i}" for i in range(len(self.decl.shape))]
            inner = [full[len(full) - x.rank :] for x in (a, b)]
            result = full
        else:
            la, lb, lo = subscripts(self.e.op, [a.rank, b.rank], self.attrs)
            inner, result = [list(la), list(lb)], list(lo)
        sizes = self.writer.sizes(self.where)
        factors = []
        for x, names in zip((a, b), inner, strict=True):
            x = x.ordered(self.where.lead)
            factors.append(EinsumOperand(x.text, (*x.lead, *names), x.moving))
            sizes.update({n: str(size) for n, size in zip(names, x.shape, strict=True)})
        want = (*self.lead, *result)
        first, second = factors
        shorter = [self._presummed(first, second, want), self._presummed(second, first, want)]
        if shorter == factors:
            self._planned(factors, want, sizes)
            return
        finite = " and ".join(f"isfinite({s.text}).all()" for s in shorter)
        self.writer.line(f"if {finite}:")
        self.writer.function("isfinite")
        self.writer.depth += 1
        self._planned(shorter, want, sizes)
        self.writer.depth -= 1
        self.writer.line("else:")  # a sum overflows where that of the products may not
        self.writer.depth += 1
        axes = tuple(x for x in want if x in first.axes + second.axes)
        self._finished(einsum(first, second, want), axes, want, sizes)
        self.writer.depth -= 1

    def _presummed(self, a: EinsumOperand, b: EinsumOperand, out: tuple[Key, ...]) -> EinsumOperand:
        """A factor summed over the axes that neither the other nor the result has, in a variable of its own."""
        alone = lonely(a, b, out)
        if not alone:
            return a
        name = self.writer.names.fresh("p")
        self.writer.line(f"{name} = total({a.text}, {tuple(alone)})")
        return EinsumOperand(name, tuple(x for i, x in enumerate(a.axes) if i not in alone), True)

    def _planned(self, factors: Sequence[EinsumOperand], want: tuple[Key, ...], sizes: Mapping[Key, str]) -> None:
        """A product of two factors as a matrix product, or element by element."""
        product = plan_product(factors[0], factors[1], want, sizes)
        left, right = product.left, product.right
        if self.where.loops and self.where.exists and product.kind == "matmul":
            left = self.writer.hoist(left, product.repack[0]) if product.hoist[0] else left
            right = self.writer.hoist(right, product.repack[1]) if product.hoist[1] else right
        call = f"{self.writer.function(product.kind)}({left}, {right}"
        into = self._matrix_target(product.groups, want, sizes)
        if into is not None and product.axes == want and not self._apart():
            if product.kind == "matmul" and self._alone(factors, want):
                self._into(lambda target: f"{left}.dot({right}, {into(target)})")  # takes half the time to begin
            else:
                self._into(lambda target: f"{call}, {into(target)})")
            return
        shape = listed([sizes[x] for x in product.axes])
        self._finished(f"{call}).reshape(({shape}))", product.axes, want, sizes)

    def _apart(self) -> list[Key]:
        """The axes summed over that one of two operands stands outside of."""
        a, b = self.args
        return [x for x in self.summed if x != BATCH and (x not in a.lead or x not in b.lead)]

    def _finished(self, value: str, axes: tuple[Key, ...], want: tuple[Key, ...], sizes: Mapping[Key, str]) -> None:
        """Store a product that has some axes in some order, times the length of those summed that it never had."""
        a, b = self.args
        apart = self._apart()
        value += "".join(f" * {sizes[x]}" for x in self.summed if x not in a.lead and x not in b.lead)
        have = tuple(x for x in want if x in axes)
        if axes != have:
            value += f".transpose({', '.join(str(axes.index(x)) for x in have)})"
        if have != want and have:
            marks = [":" if x in have else "None" for x in want[want.index(have[0]) :]]
            value = f"({value})[{', '.join(marks)}]"
        if apart:  # one operand stands outside the sum, and is not to be touched where the sum is empty
            value = f"{value} if {' and '.join(sizes[x] for x in apart)} else 0"
        self._store(value)

    def _alone(self, factors: Sequence[EinsumOperand], want: tuple[Key, ...]) -> bool:
        """True in a loop for one product of two matrices, the result of which lies in one piece."""
        stack = any(x in factors[0].axes and x in factors[1].axes for x in want)
        strip = self.writer.buffers[self.e.out.name].inside is not None and self.step.mode == "set"
        return bool(self.where.loops) and not self.where.spans and not stack and not strip

    def _matrix_target(self, groups: Any, want: tuple[Key, ...], sizes: Mapping[Key, str]) -> Any:
        """How the left-hand side is seen as the product's matrix without a copy; None where it cannot be."""
        if all(len(g) == 1 for g in groups):
            return lambda text: text
        inner = [x for x in want if x not in self.where.lead]
        mergeable = self.target.whole | set(inner[0 if FEATURES in self.target.whole else 1 :])
        apart = self.writer.buffers[self.e.out.name].inside is not None
        if apart or self.target.text.endswith(")") or any(x not in mergeable for g in groups for x in g[1:]):
            return None
        shape = ", ".join(" * ".join(sizes[x] for x in g) or "1" for g in groups)
        return lambda text: f"{text}.reshape({shape}, copy=False)"  # written to: a copy would be lost

    def _check(self) -> None:
        steps = []
        spans = {r.axis: r for r in self.where.spans}
        for index in self.e.out.index:
            if index.runs and index.axis in spans:
                steps.append(f"({linear(*difference(spans[index.axis].lo + index.shift, fixed(0), {}))}, True)")
            else:
                steps.append(f"({linear(*difference(index, fixed(0), self.where.loops))}, False)")
        view = self.writer.view(Access(self.e.out), replace(self.where, batched=self.decl.batched))
        self.writer.line(f"check({self.e.out.name!r}, {view.text}, [{', '.join(steps)}])")
