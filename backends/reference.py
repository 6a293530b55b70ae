"""The definition of meaning: the unfolded graph walked node by node, with no schedule at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from ..dependence.analysis import analysis
from ..errors import NonFiniteError
from ..ir.axes import Axis
from ..ir.system import Const, Equation, Operand, Ref, System
from ..unfold.dag import Dag, Node
from ..unfold.existence import needed
from .base import AbstractBackend, AbstractExecutable, Options, averaged
from .common.host_arrays import NumpyArrays
from .numpy.debug import checked, describe
from .numpy.kernels import compute

Array = Any


class ReferenceExecutable(AbstractExecutable):
    """Evaluates each node from its predecessors' values, in any topological order.

    Raises NoOrder for what no program can compute, as the other backends do: a walk of it has no end.
    """

    def __init__(self, system: System, options: Options) -> None:
        _ = analysis(system).order
        self.system = system
        self.options = options
        self.dtype = np.dtype(options.dtype)

    def __call__(self, values: Mapping[str, Array], lengths: Mapping[str, int], batch: int) -> dict[str, Array]:
        equations = needed(self.system, [r.name for r in self.system.outputs.values()], lengths)
        dag = Dag(replace(self.system, equations=tuple(equations)), lengths, "ops")
        walk = _Walk(self, dag, values, batch)
        with np.errstate(all="ignore"):
            for node in dag.topological():
                walk.evaluate(node)
        found = {name: walk.gather(ref) for name, ref in self.system.outputs.items()}
        return averaged(found, self.options, batch)

    def __str__(self) -> str:
        return str(self.system.name)


class _Walk:
    def __init__(self, run: ReferenceExecutable, dag: Dag, values: Mapping[str, Array], batch: int) -> None:
        self.system, self.dtype, self.options = run.system, run.dtype, run.options
        self.dag, self.given, self.batch = dag, values, batch
        self.known: dict[Node, Array] = {}

    def evaluate(self, node: Node) -> None:
        decl = self.system.decls[node.name]
        written = list(self.dag.writers(node))
        if not written:
            value = self._given(node)
        else:
            parts = [self._contribution(flow.equation, steps) for flow, steps in written]
            value = parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])
        finite = decl.dtype != "float" or np.all(np.isfinite(value))
        if self.options.debug_nans and not finite and checked(self.system, node.name):
            raise NonFiniteError(describe(self.system, node.name, node.steps, value))
        self.known[node] = value

    def _given(self, node: Node) -> Array:
        decl = self.system.decls[node.name]
        value = decl.array if decl.kind == "constant" else self.given[node.name]
        if decl.kind == "constant" and decl.dtype == "float":
            value = value.astype(self.dtype)
        return value[tuple(k - 1 for k in node.steps)]

    def _contribution(self, equation: Equation, steps: Mapping[Axis, int]) -> Array:
        """What one equation adds to one instance of its left-hand side."""
        decl = self.system.decls[equation.out.name]
        lead = (self.batch,) if equation.batched else ()
        empty = -np.inf if equation.combine == "max" else 0
        total = None
        for running in product(*(equation.range(a).steps(self.dag.lengths) for a in equation.summed)):
            at = {**steps, **dict(zip(equation.summed, running, strict=True))}
            value = np.asarray(self._operation(equation, at))
            shape = self._result_shape(equation)
            value = np.broadcast_to(value, lead + shape)
            value = value.reshape(lead + (1,) * (len(decl.shape) - len(shape)) + shape)
            if equation.batched and not decl.batched:
                value = value.sum(axis=0)
            join = np.maximum if equation.combine == "max" else np.add
            total = value if total is None else join(total, value)
        if total is None:
            lead = (self.batch,) if decl.batched else ()
            return np.full(lead + decl.shape, empty, self._dtype(decl.dtype))
        lead = (self.batch,) if decl.batched else ()
        return np.broadcast_to(total, lead + decl.shape).astype(self._dtype(decl.dtype), copy=True)

    def _result_shape(self, equation: Equation) -> tuple[int, ...]:
        shapes = [self._shape(a) for a in equation.args]
        return tuple(equation.operation.family.shape(shapes, dict(equation.attrs)))

    def _shape(self, operand: Operand) -> tuple[int, ...]:
        return self.system.decls[operand.name].shape if isinstance(operand, Ref) else ()

    def _dtype(self, kind: str) -> Any:
        return self.dtype if kind == "float" else np.dtype({"int": np.int64, "bool": np.bool_}[kind])

    def _operation(self, equation: Equation, at: Mapping[Axis, int]) -> Array:
        args = [self._read(a, at) for a in equation.args]
        ranks = [len(self._shape(a)) for a in equation.args]
        return compute(equation.operation, args, ranks, dict(equation.attrs), self.dtype)

    def _read(self, operand: Operand, at: Mapping[Axis, int]) -> Array:
        if isinstance(operand, Const):
            floats = isinstance(operand.value, float)
            return np.asarray(operand.value, self.dtype if floats else None)
        if not isinstance(operand, Ref):
            return np.asarray(self.dag.lengths[operand.axis.end], self.dtype)
        node = Node(operand.name, tuple(i.at(at, self.dag.lengths) for i in operand.index))
        if node in self.known:
            return self.known[node]
        decl = self.system.decls[operand.name]
        assert decl.kind == "cotangent", f"{node} has no value"
        return np.zeros(((self.batch,) if decl.batched else ()) + decl.shape, self._dtype(decl.dtype))

    def gather(self, ref: Ref) -> Array:
        """The values of an output, steps first; steps at which it has no node are zero."""
        ranges = [range(1, self.dag.lengths[i.axis.end] + 1) for i in ref.index if i.axis is not None and i.runs]
        decl = self.system.decls[ref.name]
        lead = (self.batch,) if decl.batched else ()
        result = np.zeros((*map(len, ranges), *lead, *decl.shape), self._dtype(decl.dtype))
        for where in product(*map(range, map(len, ranges))):
            at = dict(zip(ref.running, (k + 1 for k in where), strict=True))
            node = Node(ref.name, tuple(i.at(at, self.dag.lengths) for i in ref.index))
            if node in self.known:
                result[where] = self.known[node]
        return result


class Reference(NumpyArrays, AbstractBackend):
    """Slow, and right by inspection."""

    name = "reference"

    def build(self, system: System, options: Options) -> ReferenceExecutable:
        """Nothing to compile."""
        return ReferenceExecutable(system, options)


BACKEND = Reference()
