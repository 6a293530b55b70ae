"""A template's instances as PyTorch tensors, one by one, its gradients by PyTorch's autograd, truncated by `detach`.

It shares with the package what a template says, and nothing of how that is differentiated: an instance of a variable is
computed by following its equations, and a read that a truncation cuts reads the detached tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch

from unroll.ir.axes import Axis
from unroll.ir.system import Const, Decl, Equation, Extent, Operand, System

Tensor = torch.Tensor
Steps = tuple[int, ...]


def _axes(t: Tensor, axis: Sequence[int]) -> list[int]:
    return [a % t.ndim for a in axis]


def _slice(x: Tensor, parts: Any) -> Tensor:
    """Slices as NumPy has them, negative steps included, which PyTorch has not."""
    position = 0
    for part in parts:
        places = list(range(x.shape[position]))[part if isinstance(part, int) else slice(*part)]
        if isinstance(part, int):
            x = x.select(position, places)  # type: ignore[arg-type]
        else:
            x = x.index_select(position, torch.tensor(places, dtype=torch.long))
            position += 1
    return x


def _transpose(x: Tensor, axes: Any = None) -> Tensor:
    return x.permute(*reversed(range(x.ndim))) if axes is None else x.permute(*(a % x.ndim for a in axes))


def _reduced(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, axis, keepdims: f(x, dim=_axes(x, axis), keepdim=keepdims)


def _softmax(x: Tensor, axis: Any) -> Tensor:
    return torch.exp(x - torch.logsumexp(x, _axes(x, axis), keepdim=True))


def _cross_entropy(o: Tensor, i: Tensor) -> Tensor:
    return torch.logsumexp(o, -1) - o.gather(-1, i.long()[..., None])[..., 0]


OPS: dict[str, Callable[..., Any]] = {
    "copy": lambda x: x, "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b, "neg": lambda x: -x, "pow": lambda a, b: a**b, "exp": torch.exp, "expm1": torch.expm1,
    "log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)), "relu": torch.relu,
    "abs": torch.abs, "sign": torch.sign, "stop_gradient": lambda x: x.detach(), "isfinite": torch.isfinite,
    "cast": lambda x: x.double(), "maximum": torch.maximum, "minimum": torch.minimum, "where": torch.where,
    "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le, "equal": torch.eq,
    "not_equal": torch.ne, "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_not": torch.logical_not, "sum": _reduced(torch.sum), "max": _reduced(torch.amax),
    "logsumexp": _reduced(torch.logsumexp), "softmax": _softmax, "cross_entropy": _cross_entropy,
    "argmax": lambda x: torch.argmax(x, -1), "matmul": torch.matmul, "dot": torch.dot, "outer": torch.outer,
    "einsum": lambda a, b, spec: torch.einsum(spec, a, b), "reshape": lambda x, shape: x.reshape(shape),
    "transpose": _transpose, "broadcast_to": lambda x, shape: x.broadcast_to(shape), "slice": _slice,
    "concat": lambda *xs, axis: torch.cat(xs, axis), "stack": lambda *xs, axis: torch.stack(xs, axis),
    "take": lambda x, i: x[i.long()], "pick": lambda x, i: x.gather(-1, i.long()[..., None])[..., 0],
    "one_hot": lambda i, size: torch.nn.functional.one_hot(i.long(), size).double(),
}  # fmt: skip


class Graph:
    """The instances of one example.

    given   a tensor per param, and per input with its steps first
    chunk   cut between chunks of so many steps along `axis`; None for not at all
    window  cut beyond so many steps of delay along `axis`
    """

    def __init__(
        self,
        system: System,
        lengths: Mapping[str, int],
        given: Mapping[str, Tensor],
        axis: Axis,
        chunk: int | None = None,
        window: int | None = None,
    ) -> None:
        self.system, self.lengths, self.given = system, lengths, given
        self.axis, self.chunk, self.window = axis, chunk, window
        self.made: dict[Any, Tensor] = {}

    def loss(self) -> Tensor:
        """The loss of the example."""
        return self.instance("loss", (), None, self.window)

    def parts(self, name: str, steps: Steps) -> list[Tensor]:
        """The tensors that an instance was computed as: one, or one for each number of steps of a window left."""
        return [v for (n, s, *_), v in self.made.items() if (n, s) == (name, steps)]

    def instance(self, name: str, steps: Steps, reader: int | None, left: int | None) -> Tensor:
        """An instance; of a part of an expression, as it stands in what is computed at the step `reader`."""
        decl = self.system.decls[name]
        if self.axis in decl.axes:
            reader = steps[decl.axes.index(self.axis)]
        elif "." not in name:
            reader = None
        key = name, steps, reader if "." in name else None, left
        if key not in self.made:
            value = self._computed(decl, steps, reader, left)
            if decl.dtype == "float" and "." not in name and not decl.given:  # a tensor of its own, to differentiate by
                value = value.clone() if value.requires_grad else value.clone().requires_grad_()
            self.made[key] = value
        return self.made[key]

    def _computed(self, decl: Decl, steps: Steps, reader: int | None, left: int | None) -> Tensor:
        if decl.kind == "constant":
            return torch.as_tensor(decl.array)
        terms, largest = [], False
        for e in self.system.writers[decl.name]:
            for at in self._points(e, steps):
                terms.append(self._term(e, at, at.get(self.axis, reader), left).broadcast_to(decl.shape))
                largest = e.combine == "max"
        if decl.given and not terms:
            return self.given[decl.name][tuple(k - 1 for k in steps)]
        if not terms:
            reduces_by_max = any(e.combine == "max" for e in self.system.writers[decl.name])
            return torch.full(decl.shape, -torch.inf if reduces_by_max else 0.0, dtype=torch.float64)
        if largest:
            return torch.stack(terms).amax(0)
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum(0)

    def _points(self, e: Equation, steps: Steps) -> Iterator[dict[Axis, int]]:
        """The running steps at which an equation adds to an instance."""
        at: dict[Axis, int] = {}
        for index, step in zip(e.out.index, steps, strict=True):
            if index.runs and index.axis is not None:
                at[index.axis] = step - index.shift
            elif index.at({}, self.lengths) != step:
                return
        if any(at[r.axis] not in r.steps(self.lengths) for r in e.domain if r.axis in at):
            return
        summed = [r for r in e.domain if r.axis not in at]
        for values in product(*(r.steps(self.lengths) for r in summed)):
            yield {**at, **dict(zip((r.axis for r in summed), values, strict=True))}

    def _term(self, e: Equation, at: Mapping[Axis, int], reader: int | None, left: int | None) -> Tensor:
        args = [self._operand(a, at, reader, left) for a in e.args]
        result: Tensor = OPS[e.op](*args, **dict(e.attrs))
        return result

    def _operand(self, operand: Operand, at: Mapping[Axis, int], reader: int | None, left: int | None) -> Tensor:
        if isinstance(operand, Const):
            value = operand.value
            return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
        if isinstance(operand, Extent):
            return torch.tensor(float(self.lengths[operand.axis.end]), dtype=torch.float64)
        decl, steps = self.system.decls[operand.name], tuple(i.at(at, self.lengths) for i in operand.index)
        if decl.given or "." in decl.name or self.axis not in decl.axes or reader is None:
            return self.instance(operand.name, steps, reader, left)
        position = decl.axes.index(self.axis)
        if left is not None:
            left -= abs(operand.index[position].shift) if operand.index[position].runs else 0
        beyond = self.chunk is not None and self._chunk(reader) != self._chunk(steps[position])
        if beyond or (left is not None and left < 0):
            return self.instance(operand.name, steps, reader, self.window).detach()
        return self.instance(operand.name, steps, reader, left)

    def _chunk(self, step: int) -> int:
        assert self.chunk is not None
        return (min(max(step, 1), self.lengths[self.axis.end]) - 1) // self.chunk


def leaves(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays as tensors, those of floats with gradients."""
    made = {n: torch.as_tensor(v) for n, v in arrays.items()}
    return {n: v.double().requires_grad_() if v.is_floating_point() else v for n, v in made.items()}


def gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The derivative of a loss by each, zero where it does not depend on it."""
    able = [t for t in tensors if t.requires_grad] if loss.requires_grad else []
    found = torch.autograd.grad(loss, able, allow_unused=True, retain_graph=True) if able else ()
    known = {id(t): g for t, g in zip(able, found, strict=True) if g is not None}
    return [known.get(id(t), torch.zeros_like(t)) for t in tensors]
