"""A Hypothesis strategy for templates: a few variables along one or two axes, all kinds of reads and operations.

Most of what it builds can be computed: within a component the offsets agree with one direction and with a phase per
variable. A few offsets are drawn without that care, so that the checks have something to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from unroll import T, Template, axis, ops, t

s, S = axis("s")

AXES = {"t": (t, T), "s": (s, S)}
Axes = frozenset[str]
Shape = tuple[int, ...]
SHAPES: tuple[Shape, ...] = ((), (2,), (2, 3))
NUMBERS = (0.0, 0.4, -0.7, 1.0, 1.3)
LABELS = 4
DEPTHS = (3, 2, 1, 2, 1)

UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "sin": ops.sin,
    "neg": lambda a: -a,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "exp": lambda a: ops.exp(ops.tanh(a)),
    "square": lambda a: 0.5 * a**2,
    "sqrt": lambda a: ops.sqrt(a * a + 0.3),
    "log1p": lambda a: ops.log1p(a * a),
    "copy": lambda a: a + 0,
    "gelu": ops.gelu,
    "relu": lambda a: ops.relu(a + 0.137),
    "abs": lambda a: abs(a - 0.219),
    "elu": lambda a: ops.elu(a + 0.071),
    "stop": lambda a: a * ops.stop_gradient(ops.cos(a)),
    "clip": lambda a: ops.clip(a, -0.61, 0.83),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / (1.5 + b * b),
    "maximum": lambda a, b: ops.maximum(a, b + 0.173),
    "minimum": lambda a, b: ops.minimum(a + 0.091, b),
}


@dataclass
class _Name:
    """A variable or an input, what may be read of it, and the steps outside 1..T that were read."""

    handle: Any
    axes: tuple[str, ...]
    shape: Shape
    shared: bool = False
    kind: str = "float"
    group: int = -1
    place: int = -1
    phase: int = 0
    outside: dict[str, set[int]] = field(default_factory=lambda: {"t": set(), "s": set()})
    """Per axis k for the boundary at step k <= 0, and k > 0 for the one at T+k."""


@dataclass
class _Site:
    """Where an expression stands: which variable it defines, and whether it may hold anything of an example."""

    target: _Name | None
    shared: bool


class Maker:
    """Builds one template from Hypothesis' draws."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.g = Template("random")
        self.variables: list[_Name] = []
        self.inputs: list[_Name] = []
        self.params: list[Any] = []
        self.groups: list[tuple[str, int]] = []  # of each component: the axis of its loop, and its direction
        self.serial = 0

    # -- draws -----------------------------------------------------------------------------------------------------

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options; failures shrink towards the first."""
        return self._draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred."""
        return bool(self._draw(st.integers(0, 99)) >= 100 - percent)

    def fresh(self, letter: str) -> str:
        """A new name."""
        self.serial += 1
        return f"{letter}{self.serial}"

    # -- the template ----------------------------------------------------------------------------------------------

    def make(self) -> Template:
        """The whole template."""
        both = self.chance(35)
        for group in range(self.pick((1, 2, 3))):
            loop = self.pick(("t", "s")) if both else "t"
            self.groups.append((loop, self.pick((1, -1))))
            shared = self.chance(20)
            for _ in range(self.pick((1, 1, 2))):
                axes = self.pick(((loop,), ("t", "s"), ("s", "t"))) if both else ("t",)
                name, shape = self.fresh("v"), self.pick(SHAPES)
                phase = self.pick((0, 0, 0, 1, 2))
                made = _Name(self.g.variable(name, shape), axes, shape, shared, "float", group, 0, phase)
                made.place = len(self.variables)
                self.variables.append(made)
        for v in self.variables:
            self.define(v)
        self.finish()
        for name in (*self.variables, *self.inputs):
            self.boundaries(name)
        return self.g

    def define(self, v: _Name) -> None:
        """The equation of one variable."""
        value = self.expression(v.shape, frozenset(v.axes), _Site(v, v.shared), self.pick(DEPTHS))
        value = self.pick((ops.tanh, ops.sin, lambda e: 0.5 * e))(value)
        v.handle[tuple(AXES[a][0] for a in v.axes)] = value

    def finish(self) -> None:
        """The loss, and perhaps an output."""
        site = _Site(None, False)
        total: Any = 0.0
        for v in self.variables:
            e = self.read(v, frozenset(v.axes), site)
            if self.chance(30):
                e = e * self.expression(v.shape, frozenset(v.axes), site, 1)
            if self.chance(25):
                self.g.output(self.fresh("o"), e)
            total = total + self.collected(ops.sum(e) if e.shape else e, v.axes)
        if self.chance(30):
            total = total + self.expression((), frozenset(), site, 2)
        self.g.loss = ops.sin(total) + 0.1 * total

    def collected(self, e: Any, axes: Sequence[str]) -> Any:
        """One number per example from an expression along axes."""
        for a in axes:
            here = AXES[a][0]
            if here.axis in e.axes:
                e = self.reduced(e, a)
        return e

    def reduced(self, e: Any, a: str) -> Any:
        """A reduction over an axis along which `e` runs; none of them is infinite over no steps."""
        here, _ = AXES[a]
        how = self.pick(("sum", "sum", "max", "softmax", "logsumexp", "mean"))
        if how == "sum":
            return ops.sum(e, over=here)
        if how == "softmax":
            return ops.sum(ops.softmax(e, over=here) * ops.sin(e), over=here)
        if how == "mean":
            return ops.sum(e, over=here) / (1 + ops.sum(0 * e + 1, over=here))
        top = (ops.max if how == "max" else ops.logsumexp)(e, over=here)
        return ops.where(ops.isfinite(top), top, 0)

    def boundaries(self, name: _Name) -> None:
        """A definition for every step outside 1..T at which `name` was read."""
        places: list[list[Any]] = []
        for a in name.axes:
            outside = [AXES[a][1] + k if k > 0 else k for k in sorted(name.outside[a])]
            places.append([AXES[a][0], *outside])
        site = _Site(name, name.shared)
        for index in product(*places):
            free = frozenset(a for a, i in zip(name.axes, index, strict=True) if i is AXES[a][0])
            if len(free) < len(name.axes) and not self.chance(1):
                name.handle[index] = self.boundary(name, free, site)

    def boundary(self, name: _Name, free: Axes, site: _Site) -> Any:
        """A number, a param, a context input, a label, or something read from elsewhere."""
        if name.kind == "int":
            return self.pick(range(LABELS))
        if name.kind == "bool":
            return self.pick((True, False))
        how = self.pick(("number", "param", "context", "param", "read"))
        if how == "number":
            return self.pick(NUMBERS)
        shape = self.pick(((), name.shape))
        if how == "context" and not name.shared:
            return self.g.input(self.fresh("c"), shape, over=None)
        earlier = [v for v in self.variables if v.group < name.group and v.shape in (shape, name.shape)]
        earlier = [v for v in earlier if v.shared or not name.shared]
        if how == "read" and earlier:
            return self.read(self.pick(earlier), free, site)
        return self.param(shape)

    # -- reads -----------------------------------------------------------------------------------------------------

    def param(self, shape: Shape) -> Any:
        """A param, new or used before."""
        known = [p for p in self.params if p.shape == shape]
        if known and self.chance(50):
            return self.pick(known)
        self.params.append(self.g.param(self.fresh("p"), shape))
        return self.params[-1]

    def input(self, shape: Shape, axes: Axes, kind: str = "float") -> _Name:
        """An input along some of the axes, new or used before."""
        known = [i for i in self.inputs if i.shape == shape and i.kind == kind and set(i.axes) <= axes]
        if known and self.chance(60):
            return self.pick(known)
        along = self.pick([o for o in (("t",), ("s",), ("t", "s"), ("s", "t"), ()) if set(o) <= axes])
        over = tuple(AXES[a][0] for a in along) or None
        made = _Name(self.g.input(self.fresh("x"), shape, over=over, dtype=kind), along, shape, False, kind)
        self.inputs.append(made)
        return made

    def read(self, name: _Name, axes: Axes, site: _Site) -> Any:
        """`name` at some step, running along no other axes than the given ones."""
        if not name.axes:
            return name.handle
        offsets = self.offsets(name, site)
        index = []
        for a in name.axes:
            here, end = AXES[a]
            if a in axes and not self.chance(8):
                k = offsets.get(a, 0)
                name.outside[a].update(range(k + 1, 1), range(1, k + 1))
                index.append(here + k)
            elif a in axes and site.target in (None, name) and name.outside[a] and self.chance(30):
                k = self.pick(sorted(name.outside[a]))
                index.append(end + k if k > 0 else k)
            else:
                k = self.pick((0, 0, -1, -2, 1))
                name.outside[a].update(range(k, 1), range(1, k + 1))
                index.append(end + k)
        return name.handle[tuple(index)]

    def offsets(self, name: _Name, site: _Site) -> dict[str, int]:
        """An offset per axis, such that an order of steps exists; now and then without that care."""
        found = {a: self.pick((0, 0, -1, 1, -2, 2, -3)) for a in name.axes}
        v = site.target
        if v is None or name.group < 0 or name.group != v.group or self.chance(2):
            return found
        loop, direction = self.groups[v.group]
        room = v.phase - name.phase  # direction * offset stays below this, or reaches it for an earlier variable
        allowed = [k for k in (-1, 0, 1, -2, 2, -3, 3) if direction * k < room]
        if name.place < v.place:
            allowed += [direction * room]
        elif name is v and len(v.axes) == 2 and self.chance(30):  # ordered along the other axis
            other = next(a for a in v.axes if a != loop)
            return {loop: 0, other: -1}
        if loop in found:
            found[loop] = self.pick(allowed)
        return found

    def variable(self, shape: Shape, site: _Site) -> _Name | None:
        """A variable of that shape which the target may read."""
        v = site.target
        options = [
            u
            for u in self.variables
            if u.shape == shape and (u.shared or not site.shared) and (v is None or u.group <= v.group)
        ]
        if v is not None:  # one defined along an axis that is not there must come from an earlier component
            loop = self.groups[v.group][0] if v.group >= 0 else ""
            options = [u for u in options if u.group < v.group or loop in u.axes]
        return self.pick(options[::-1]) if options else None

    # -- expressions -----------------------------------------------------------------------------------------------

    def leaf(self, shape: Shape, axes: Axes, site: _Site) -> Any:
        """Something read, or a number; of that shape, or one that broadcasts to it in a sum."""
        how = self.pick(("variable", "input", "variable", "param", "variable", "number", "constant", "lookup"))
        if how == "variable" and (found := self.variable(shape, site)) is not None:
            return self.read(found, axes, site)
        if how == "input" and not site.shared:
            return self.read(self.input(shape, axes), axes, site)
        if how == "number" and shape == ():
            return self.param(()) * self.pick(NUMBERS)
        if how == "constant":
            return self.param(shape) * np.linspace(-0.8, 1.1, int(np.prod(shape)) + 1)[1:].reshape(shape)
        if how == "lookup" and not site.shared:
            return self.param((LABELS, *shape))[self.label(axes, site)]
        return self.param(shape)

    def label(self, axes: Axes, site: _Site) -> Any:
        """A label read at some step."""
        return self.read(self.input((), axes, "int"), axes, site)

    def condition(self, shape: Shape, axes: Axes, site: _Site, depth: int) -> Any:
        """A mask, or a comparison."""
        if site.shared or self.chance(50):
            a, b = (self.expression(shape, axes, site, depth - 1) for _ in range(2))
            found = self.pick((lambda: a > b + 0.117, lambda: a <= b - 0.053))()
        else:
            found = self.read(self.input(self.pick(((), shape)), axes, "bool"), axes, site)
        return self.pick((lambda c: c, lambda c: ~c, lambda c: c | (c & ~c)))(found)

    def expression(self, shape: Shape, axes: Axes, site: _Site, depth: int) -> Any:
        """An expression of that shape that runs along no other axes than the given ones."""
        if depth <= 0:
            return self.leaf(shape, axes, site)

        def sub(of: Shape = shape, along: Axes = axes) -> Any:
            return self.expression(of, along, site, depth - 1)

        how = self.pick(("binary", "binary", "unary", "leaf", "shaped", "shaped", "where", "over", "narrow"))
        if how == "unary":
            return UNARY[self.pick(list(UNARY))](sub())
        if how == "binary":
            return BINARY[self.pick(list(BINARY))](sub(), sub())
        if how == "narrow" and shape:  # broadcast against the other operand
            small = self.pick(((), shape[1:], (1, *shape[1:])))
            return self.pick((lambda a, b: a * b, lambda a, b: b + a, lambda a, b: b - a))(sub(), sub(small))
        if how == "where":
            return ops.where(self.condition(self.pick(((), shape)), axes, site, depth), sub(), sub())
        if how == "over":
            return self.over(shape, axes, site, depth)
        if how == "shaped":
            return self.shaped(shape, axes, site, sub)
        return self.leaf(shape, axes, site)

    def over(self, shape: Shape, axes: Axes, site: _Site, depth: int) -> Any:
        """A reduction over an axis."""
        used = sorted({a for v in self.variables for a in v.axes})
        a = self.pick(used)
        inner = site
        if site.target is not None:
            loop = self.groups[site.target.group][0] if site.target.group >= 0 else a
            if a == loop:  # only what is known before the loop may be summed along it
                group = site.target.group if site.target.group >= 0 else 0
                inner = _Site(_Name(None, (), (), site.shared, group=group - 1, place=99), site.shared)
        e = self.expression(shape, axes | {a}, inner, depth - 1)
        return self.reduced(e, a) if AXES[a][0].axis in e.axes else e

    def shaped(self, shape: Shape, axes: Axes, site: _Site, sub: Callable[..., Any]) -> Any:
        """An operation that depends on the shape."""
        if shape == ():
            made = [
                lambda: ops.dot(sub((2,)), sub((2,))),
                lambda: ops.sum(sub((2, 3))) / 3,
                lambda: sub((2, 3))[1, 2] - sub((2,))[-1],
                lambda: ops.logsumexp(sub((2,))),
                lambda: ops.max(sub((2,)) + np.array([0.11, -0.23])),
                lambda: ops.mean(sub((2, 3))),
            ]
            if not site.shared:
                made.append(lambda: ops.cross_entropy(sub((LABELS,)), self.label(axes, site)))
                made.append(lambda: ops.pick(sub((LABELS,)), self.label(axes, site)))
        elif shape == (2,):
            made = [
                lambda: sub((2, 3)) @ self.param((3,)),
                lambda: self.param((2, 2)) @ sub((2,)),
                lambda: sub((2,)) @ self.param((2, 2)),
                lambda: ops.concat([sub((2, 3))[0, 1:2], ops.reshape(sub(()), (1,))]),
                lambda: ops.stack([sub(()), sub(())]),
                lambda: ops.softmax(sub((2,))),
                lambda: ops.sum(sub((2, 3)), axis=1) * 0.5,
                lambda: ops.layer_norm(sub((2,)), self.param((2,))),
                lambda: sub((2,))[::-1],
                lambda: sub((2, 3))[:, 1],
                lambda: ops.max(sub((2, 3)) + np.array([0.1, 0.27, -0.2]), axis=1),
                lambda: ops.einsum("ij,j->i", sub((2, 3)), self.param((3,))),
            ]
        elif shape == (2, 3):
            made = [
                lambda: ops.outer(sub((2,)), self.param((3,))),
                lambda: self.param((2, 2)) @ sub((2, 3)),
                lambda: sub((2, 3)) @ self.param((3, 3)),
                lambda: ops.reshape(sub((2, 3)), (3, 2)).T,
                lambda: ops.stack([sub((2,)), sub((2,)), self.param((2,))], axis=1),
                lambda: ops.softmax(sub((2, 3)), axis=0),
                lambda: ops.concat([sub((2, 3))[:, 1:], ops.reshape(sub((2,)), (2, 1))], axis=1),
                lambda: ops.einsum("ki,kj->ij", sub((2, 3))[:, :2], sub((2, 3))),
            ]
        else:
            return ops.broadcast_to(sub(()), shape) + self.param(shape)
        return self.pick(made)()


@st.composite
def templates(draw: Any) -> Template:
    """A template that may or may not pass the checks."""
    return Maker(draw).make()
