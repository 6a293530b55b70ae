"""A description evaluated by PyTorch: example by example, step by step, on demand; gradients by autograd."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from . import torch_ops
from .trees import END, RUN, Decl, Node, Statement, System, shared

Tensor = torch.Tensor
Point = tuple[int, ...]
Array = np.ndarray[Any, Any]
sys.setrecursionlimit(max(sys.getrecursionlimit(), 100_000))  # Python calls alone: they take no C stack


class MissingStep(Exception):
    """A step that neither the lengths nor a boundary give."""


class Circle(Exception):
    """A value that depends on itself."""


class Example:
    """All values of one example, each computed when it is first asked for."""

    def __init__(self, run: Run, number: int) -> None:
        self.run, self.number = run, number
        self.lengths = {axis: run.length(axis, number) for axis in run.system.axes}
        self.memo: dict[tuple[str, Point], Tensor] = {}
        self.shared: dict[Any, Any] = {}
        self.busy: set[tuple[str, Point]] = set()
        self.inputs: dict[str, Tensor] = {}

    def input(self, decl: Decl) -> Tensor:
        """Its own part of an input: as many steps as it has."""
        if decl.name not in self.inputs:
            array = self.run.inputs[decl.name]
            if self.run.batch is not None:
                array = np.take(array, self.number, axis=len(decl.axes))
            tensor = self.run.tensor(array[tuple(slice(0, self.lengths[a]) for a in decl.axes)], decl.kind)
            self.inputs[decl.name] = tensor
        return self.inputs[decl.name]

    def find(self, name: str, point: Point) -> tuple[Statement, dict[str, int]]:
        """The statement that defines a value at a point, and the steps that run there."""
        for statement, steps in self.run.writers.get(name, ()):
            env: dict[str, int] = {}
            for step, p in zip(steps, point, strict=True):
                length = self.lengths[step.axis]
                if step.anchor == RUN and 1 <= p <= length:
                    env[step.axis] = p
                elif step.anchor != RUN and p == step.shift + (length if step.anchor == END else 0):
                    env[f"set at {step.axis}"] = p
                else:
                    break
            else:
                return statement, env
        raise MissingStep(f"{name}{list(point)} with lengths {self.lengths}")

    def read(self, name: str, point: Point) -> Tensor:
        """The value of a name at a point."""
        key = (name, point)
        hit = self.memo.get(key)
        if hit is not None:
            return hit
        decl = self.run.system.decls[name]
        if decl.role == "param":
            return self.run.param(name)
        if decl.role == "input" and all(1 <= p <= self.lengths[a] for p, a in zip(point, decl.axes, strict=True)):
            value = self.input(decl)[tuple(p - 1 for p in point)]
        else:
            if key in self.busy:
                raise Circle(f"{name}{list(point)}")
            self.busy.add(key)
            statement, env = self.find(name, point)
            value = self.eval(statement.expr, env)
            if decl.kind == "float":
                value = torch_ops.number(value, self.run.dtype)
            value = torch.broadcast_to(value, decl.shape)
            self.busy.discard(key)
        if self.run.instances and decl.kind == "float":  # each instance is a value of its own, to differentiate by
            value = value.clone() if value.requires_grad else value.detach().clone().requires_grad_()
        self.memo[key] = value
        return value

    def eval(self, node: Node, env: dict[str, int]) -> Tensor:
        """The value of an expression where its axes stand at the steps `env`."""
        if node.op == "read":
            steps = node.attrs["steps"]
            name, point = node.attrs["name"], tuple(step.at(env, self.lengths) for step in steps)
            value = self.read(name, point)
            return value.detach() if self.crosses(self.run.system.decls[name], point, env) else value
        if node.op == "const":
            return self.run.constant(node)
        if node.attrs.get("over") is not None:
            return self.over(node, env)
        if id(node) not in self.run.shared:
            return self.apply(node, env)
        key = (id(node), self.place(env), *(env[axis] for axis in sorted(node.axes)))
        if key not in self.shared:
            self.shared[key] = self.apply(node, env)
        return self.shared[key]

    def apply(self, node: Node, env: dict[str, int]) -> Tensor:
        """One operation on evaluated operands."""
        if node.op == "batch_mean":
            (arg,) = node.args
            having = [e for e in self.run.examples if all(env[axis] <= e.lengths[axis] for axis in arg.axes)]
            value = torch.stack([torch_ops.number(e.eval(arg, env), self.run.dtype) for e in having]).mean(0)
            self.run.note(value)
            return value
        args = [self.eval(arg, env) for arg in node.args]
        if node.op in torch_ops.OPS:
            value = torch_ops.OPS[node.op](args, node.attrs, self.run.margin, self.exact(node), self.run.dtype)
        else:
            value = torch_ops.reduced(node.op, args[0], node.attrs, self.run.margin, self.exact(node))
        self.run.note(value)
        return value

    def over(self, node: Node, env: dict[str, int]) -> Tensor:
        """A reduction over time axes: the operand at all of this example's steps."""
        axes, arg = node.attrs["over"], node.args[0]
        key = (id(node), self.place(env), *(env[axis] for axis in sorted(arg.axes - set(axes))))
        if key not in self.shared:
            parts = [self.eval(arg, env | dict(zip(axes, p, strict=True))) for p in self.points(axes)]
            stacked = torch.stack(parts) if parts else torch.zeros((0, *arg.shape), dtype=self.run.dtype)
            stacked = torch_ops.number(stacked, self.run.dtype)
            self.shared[key] = torch_ops.over(node.op, stacked, self.run.margin, self.exact(node))
            self.run.note(self.shared[key])
        result = self.shared[key]
        if node.op in ("softmax", "log_softmax"):
            place = 0
            for axis in axes:
                place = place * self.lengths[axis] + env[axis] - 1
            return result[place]
        return result

    def points(self, axes: Sequence[str]) -> Iterator[Point]:
        """Every step of some axes, the last axis fastest."""
        return itertools.product(*(range(1, self.lengths[axis] + 1) for axis in axes))

    def exact(self, node: Node) -> bool:
        """True if an operation works on given values and numbers, which no two programs round differently."""
        plain = self.run.plain
        return all(a.op == "const" or (a.op == "read" and a.attrs["name"] in plain) for a in node.args)

    def place(self, env: dict[str, int]) -> int | None:
        """The step along t at which an expression stands, where that makes a difference."""
        return env.get("t", env.get("set at t")) if self.run.chunk else None

    def crosses(self, decl: Decl, point: Point, env: dict[str, int]) -> bool:
        """True where a step of a variable lies in another chunk than the step that reads it.

        What stands before step 1 belongs to the first chunk, what stands after the last step to the last.
        """
        here = self.place(env)
        if here is None or decl.role != "variable" or "t" not in decl.axes:
            return False
        there, steps = point[decl.axes.index("t")], max(self.lengths["t"], 1)
        first, second = ((min(max(p, 1), steps) - 1) // self.run.chunk for p in (here, there))
        return first != second


class Run:
    """One description with its arrays; every result is a NumPy array in the layout that a user gets.

    Padded steps are 0. `instances` makes each value of a variable something to differentiate by; where there is a
    `chunk`, what is read of another chunk of so many steps along t is detached. `watch` makes `infinite` true once an
    operation gives what is not finite.
    """

    def __init__(
        self,
        system: System,
        sizes: Mapping[str, int],
        params: Mapping[str, Array],
        inputs: Mapping[str, Array],
        *,
        batch: int | None = None,
        lengths: Mapping[str, Sequence[int]] | None = None,
        dtype: torch.dtype = torch.float64,
        instances: bool = False,
        chunk: int = 0,
        watch: bool = False,
    ) -> None:
        self.system, self.sizes, self.batch, self.lengths, self.dtype = system, sizes, batch, lengths, dtype
        self.arrays, self.inputs, self.instances = params, inputs, instances
        self.chunk, self.watch, self.infinite = chunk, watch, False
        self.margin = torch_ops.Margin()
        self.writers: dict[str, list[tuple[Statement, tuple[Any, ...]]]] = {}
        for statement in system.statements:
            for name, steps in statement.targets:
                self.writers.setdefault(name, []).append((statement, steps))
        self.plain = {d.name for d in system.of("input", "param") if d.name not in self.writers}
        self.unbatched = set(system.decls) - system.batched()
        self.shared = shared(system)
        self.params: dict[str, Tensor] = {}
        self.constants: dict[int, Tensor] = {}
        self.examples = [Example(self, b) for b in range(1 if batch is None else batch)]

    def note(self, value: Tensor) -> None:
        """See whether a result is finite."""
        if self.watch and value.is_floating_point():
            self.infinite |= not bool(torch.isfinite(value).all())

    def length(self, axis: str, number: int) -> int:
        """The steps of one example along an axis."""
        given = (self.lengths or {}).get(axis)
        return self.sizes[axis] if given is None else int(given[number])

    def tensor(self, array: Any, kind: str) -> Tensor:
        """An array as a leaf."""
        if kind != "float":
            return torch.tensor(np.asarray(array), dtype=torch.int64 if kind == "int" else torch.bool)
        return torch.tensor(np.asarray(array, float), dtype=self.dtype, requires_grad=True)

    def param(self, name: str) -> Tensor:
        """A param, the same leaf for every example."""
        if name not in self.params:
            self.params[name] = self.tensor(self.arrays[name], "float")
        return self.params[name]

    def constant(self, node: Node) -> Tensor:
        """A number as a tensor."""
        if id(node) not in self.constants:
            kinds = {"float": self.dtype, "int": torch.int64, "bool": torch.bool}
            self.constants[id(node)] = torch.tensor(node.attrs["value"], dtype=kinds[node.kind])
        return self.constants[id(node)]

    def losses(self) -> list[Tensor]:
        """The loss of each example."""
        assert self.system.loss is not None
        return [torch_ops.number(e.eval(self.system.loss, {}), self.dtype) for e in self.examples]

    def loss(self) -> Tensor:
        """The loss averaged over the batch."""
        return torch.stack(self.losses()).mean()

    def expression(self, name: str) -> tuple[Node | None, tuple[str, ...], str, tuple[int, ...], bool]:
        """Of an output or a name: expression, axes as they stand in its array, kind, shape, whether it has a batch."""
        for output, expr in self.system.outputs:
            if output == name:
                batched = not expr.own <= self.unbatched
                return expr, self.system.axis_order(expr.axes), expr.kind, expr.shape, batched
        if name == "loss":
            assert self.system.loss is not None
            return self.system.loss, (), "float", (), not self.system.loss.own <= self.unbatched
        decl = self.system.decls[name]
        return None, decl.axes, decl.kind, decl.shape, name not in self.unbatched

    def tensors(self, name: str) -> list[tuple[int, Point, Tensor]]:
        """(example, point, value) of an output or a variable, wherever it is."""
        expr, axes, _, _, _ = self.expression(name)
        found = []
        for example in self.examples:
            for point in example.points(axes):
                env = dict(zip(axes, point, strict=True))
                value = example.read(name, point) if expr is None else example.eval(expr, env)
                found.append((example.number, point, value))
        return found

    def value(self, name: str) -> Array:
        """An output or a variable, with a batch axis where the arrays have one."""
        _, axes, kind, shape, _ = self.expression(name)
        return self.gather(axes, shape, kind, self.tensors(name))

    def instance(self, name: str, point: Point) -> Array:
        """One instance of a variable, for every example."""
        decl = self.system.decls[name]
        return self.gather((), decl.shape, decl.kind, [(e.number, (), e.read(name, point)) for e in self.examples])

    def gather(self, axes: Sequence[str], shape: Point, kind: str, found: list[tuple[int, Point, Tensor]]) -> Array:
        """Values put in their places, zero elsewhere."""
        steps = tuple(self.sizes[axis] for axis in axes)
        kinds = {"float": np.float64, "int": np.int64, "bool": np.bool_}
        result = np.zeros((*steps, len(self.examples), *shape), kinds[kind])
        for b, point, value in found:
            result[(*(p - 1 for p in point), b)] = value.detach().numpy()
        return result if self.batch is not None else result[(slice(None),) * len(steps) + (0,)]

    def leaves(self, names: Sequence[Any]) -> list[tuple[Any, int, Point, Tensor]]:
        """(name, example, point, tensor) of everything that some names to differentiate by stand for."""
        found: list[tuple[Any, int, Point, Tensor]] = []
        for name in names:
            if isinstance(name, tuple):
                found += [(name, e.number, (), e.read(name[0], name[1:])) for e in self.examples]
                continue
            decl = self.system.decls[name]
            if decl.role == "param":
                found.append((name, 0, (), self.param(name)))
            elif decl.role == "input" and not self.instances:
                found += [(name, e.number, (), e.input(decl)) for e in self.examples]
            else:
                found += [(name, e.number, p, e.read(name, p)) for e in self.examples for p in e.points(decl.axes)]
        return found

    def gradients(self, of: Tensor, names: Sequence[Any], *, keep: bool = False) -> dict[Any, Array]:
        """The gradient of a number by each name, in the layout of what it is a gradient by."""
        leaves = self.leaves(names)
        if of.requires_grad and leaves:
            grads = torch.autograd.grad(of, [leaf for *_, leaf in leaves], allow_unused=True, retain_graph=keep)
        else:
            grads = (None,) * len(leaves)
        result: dict[Any, Array] = {}
        for name in names:
            decl = self.system.decls[name[0] if isinstance(name, tuple) else name]
            axes = () if isinstance(name, tuple) or decl.role == "param" else decl.axes
            steps = tuple(self.sizes[axis] for axis in axes)
            examples = () if decl.role == "param" else (len(self.examples),)
            result[name] = np.zeros((*steps, *examples, *decl.shape))
        for (name, b, point, leaf), grad in zip(leaves, grads, strict=True):
            if grad is None:
                continue
            decl = self.system.decls[name[0] if isinstance(name, tuple) else name]
            if decl.role == "param":
                result[name] += (grad + 0.0).numpy()
            elif decl.role == "input" and not self.instances:
                key = (*(slice(0, n) for n in leaf.shape[: len(decl.axes)]), b)
                result[name][key] += grad.numpy()
            else:
                result[name][(*(p - 1 for p in point), b)] += grad.numpy()
        for name in names:
            decl = self.system.decls[name[0] if isinstance(name, tuple) else name]
            axes = () if isinstance(name, tuple) else decl.axes
            if decl.role != "param" and self.batch is None:
                result[name] = result[name][(slice(None),) * len(axes) + (0,)]
        return result

    def zero(self) -> Tensor:
        """The number 0."""
        return torch.zeros((), dtype=self.dtype, requires_grad=True)

    def part(self, name: str, array: Array, number: int, like: Tensor) -> Tensor:
        """What one example has of an array that is laid out as a param or an input."""
        decl = self.system.decls[name]
        if decl.role == "input" and self.batch is not None:
            array = np.take(array, number, axis=len(decl.axes))
        return torch.tensor(array[tuple(slice(0, n) for n in like.shape)], dtype=self.dtype)

    def product(self, cotangents: Mapping[str, Array]) -> Tensor:
        """The sum of values times cotangents, over steps and examples."""
        total = torch.zeros((), dtype=self.dtype)
        for name, array in cotangents.items():
            for b, point, value in self.tensors(name):
                place = tuple(p - 1 for p in point)
                part = array[(*place, b)] if self.batch is not None else array[place]
                total = total + (value * torch.tensor(np.asarray(part), dtype=self.dtype)).sum()
        return total

    def hessian_vector(self, vector: Mapping[str, Array]) -> dict[str, Array]:
        """The Hessian of the loss by the params, times a vector."""
        loss, names = self.loss(), [decl.name for decl in self.system.of("param")]
        params = [self.param(name) for name in names]
        zero = {name: np.zeros(self.system.decls[name].shape) for name in names}
        if not loss.requires_grad:
            return zero
        first = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
        total = torch.zeros((), dtype=self.dtype)
        for name, grad in zip(names, first, strict=True):
            if grad is not None and name in vector:
                total = total + (grad * torch.tensor(vector[name], dtype=self.dtype)).sum()
        if not total.requires_grad:
            return zero
        second = torch.autograd.grad(total, params, allow_unused=True)
        return {n: zero[n] if h is None else (h + 0.0).numpy() for n, h in zip(names, second, strict=True)}


def derivative(run: Run, of: str, along: Mapping[str, Array]) -> tuple[Array, Array]:
    """A value and its derivative along tangents: the gradient by the seed of a product with the gradient by all."""
    if of == "loss":
        found, axes, shape = [(0, (), run.loss())], (), ()
    else:
        found = run.tensors(of)
        _, axes, _, shape, _ = run.expression(of)
    seeds = [torch.zeros_like(value, requires_grad=True) for *_, value in found]
    leaves = run.leaves(list(along))
    product = torch.stack(
        [(value * seed).sum() for (*_, value), seed in zip(found, seeds, strict=True)] or [run.zero()]
    )
    first = torch.autograd.grad(product.sum(), [leaf for *_, leaf in leaves], create_graph=True, allow_unused=True)
    total = run.zero()
    for (name, b, _, leaf), grad in zip(leaves, first, strict=True):
        if grad is not None:
            total = total + (grad * run.part(name, along[name], b, leaf)).sum()
    second: tuple[Any, ...] = (None,) * len(seeds)
    if total.requires_grad and seeds:
        second = torch.autograd.grad(total, seeds, allow_unused=True)
    tangents = [torch.zeros_like(s) if d is None else d for s, d in zip(seeds, second, strict=True)]
    if of == "loss":
        return found[0][2].detach().numpy(), tangents[0].numpy()
    values = run.gather(axes, shape, "float", found)
    return values, run.gather(axes, shape, "float", [(b, p, d) for (b, p, _), d in zip(found, tangents, strict=True)])
