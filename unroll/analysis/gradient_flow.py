"""How far a gradient flows through time (book sections 8.2.5 and 10.7): norms of cotangents and of Jacobians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LengthError, UndefinedError
from ..runtime.net import Net
from ..types import Params, Seed

Array = Any


def gradient_norms(net: Net, params: Params, name: str, /, *, seed: Seed = None, **arrays: Array) -> Array:
    """The Euclidean norm of ``dL/dh[t]`` for every step, of each example's own loss: ``(T, B)``, or ``(T,)``.

    name    a variable that runs along one axis
    arrays  as for `Net.run`, lengths= and lists with an array for each example included; 0 beyond an example's end

    Everything h[t] has a part in counts, later steps included. Raises UndefinedError.

    >>> from unroll import Template, ops, t
    >>> g = Template("decay"); x, h = g.input("x"), g.variable("h", ())
    >>> h[0] = 0
    >>> h[t] = 0.5 * h[t-1] + x[t]
    >>> g.loss = ops.sum(h[t], over=t)
    >>> gradient_norms(g.compile("numpy"), {}, "h", x=[0.0, 0.0, 0.0])
    array([1.75, 1.5 , 1.  ], dtype=float32)
    """
    rank = len(_decl(net, name).shape)
    losses = net.run(params, "loss", seed=None if seed is None else 0, **arrays)  # for its shape alone
    grads = net.vjp(params, {"loss": np.ones_like(losses)}, [name], seed=seed, **arrays)[1][name]
    grads = np.moveaxis(grads, 1, 0) if net.batch_first and grads.ndim == rank + 2 else grads
    with np.errstate(all="ignore"):
        return np.sqrt((np.abs(grads) ** 2).sum(axis=tuple(range(grads.ndim - rank, grads.ndim))))


@dataclass(frozen=True, repr=False)
class Flow:
    """The Jacobians ``dh[end]/dh[s]`` of one example for s = 1..end, and what they do to a gradient.

    end        the step that is differentiated
    jacobians  (end, n, n): row i of the matrix at s-1 is the derivative of element i of h[end] by h[s]
    """

    name: str
    end: int
    jacobians: Array

    @property
    def norms(self) -> Array:
        """The largest singular value of each: how much the gradient by h[end] can grow on its way to h[s]."""
        return np.linalg.norm(self.jacobians, 2, axis=(1, 2))

    @property
    def radii(self) -> Array:
        """The spectral radius of each: the largest modulus of an eigenvalue."""
        return np.abs(np.linalg.eigvals(self.jacobians)).max(axis=-1)

    @property
    def rate(self) -> float:
        """The factor per step by which the norm changes on the way back, a geometric mean; 1 keeps it.

        A norm too small for the floating-point type counts as its smallest number.
        """
        norms = np.maximum(self.norms, np.finfo(self.jacobians.dtype).tiny)
        return float((norms[0] / norms[-1]) ** (1 / (self.end - 1))) if self.end > 1 else 1.0

    def plot(self, axes: Any = None, **options: Any) -> Any:
        """Norms and radii over the distance ``end - s``, on matplotlib axes (new ones where none are given).

        options  for ``axes.semilogy``

        Needs matplotlib, of the extra "demo".
        """
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.figure(figsize=(5, 3), layout="constrained").add_subplot()
        distance = np.arange(self.end)[::-1]
        label = options.pop("label", self.name)
        axes.semilogy(distance, self.norms, label=f"{label}: norm", **options)
        axes.semilogy(distance, self.radii, "--", label=f"{label}: spectral radius", **options)
        axes.set_xlabel(f"steps back from step {self.end}")
        axes.set_ylabel(f"d{self.name}[{self.end}] / d{self.name}[s]")
        axes.legend()
        return axes

    def __str__(self) -> str:
        """One line for every distance that is a power of two."""
        rows = [f"{self.name}: d{self.name}[{self.end}]/d{self.name}[s], {self.rate:.3f} times a step"]
        norms, radii = self.norms, self.radii
        distances = [0, *(2**k for k in range(self.end.bit_length()) if 2**k < self.end)]
        rows += [
            f"  {d:4d} steps back: norm {norms[-1 - d]:9.3g}, spectral radius {radii[-1 - d]:9.3g}" for d in distances
        ]
        return "\n".join(rows)

    __repr__ = __str__


def flow(net: Net, params: Params, name: str, end: int | None = None, /, **arrays: Array) -> Flow:
    """The Jacobians of a vector variable at one step by itself at every step before, for one example.

    name    a variable that runs along one axis, with one axis of its own
    end     the step to differentiate; the last one where nothing is said
    arrays  the inputs of one example, without a batch axis

    One pass backwards with a batch of n, one row of every Jacobian each (n passes, where it depends on no example); so
    nothing may be drawn (`Template.inference` takes dropout out). Raises UndefinedError, LengthError.
    """
    decl = _decl(net, name)
    if len(decl.shape) != 1:
        raise UndefinedError(f"{name} has shape {decl.shape}; a Jacobian is taken of a variable that is a vector")
    size = decl.shape[0]
    inputs = {n: d for n, d in net.system.decls.items() if d.kind == "input" and n in arrays}
    many: dict[str, Any] = {
        n: np.stack([np.asarray(v)] * size, len(inputs[n].axes)) if n in inputs else v for n, v in arrays.items()
    }
    if net.batch_first:
        many = {n: np.moveaxis(v, len(inputs[n].axes), 0) if n in inputs else v for n, v in many.items()}
    value = net.run(params, name, **arrays)
    steps = len(value)
    end = steps if end is None else end
    if not 1 <= end <= steps:
        raise LengthError(f"{name}[{end}] is to be differentiated, and the steps run from 1 to {steps}")
    if not decl.batched:  # it depends on no example, and is one for all of them
        rows = []
        for k in range(size):
            one = np.zeros((steps, size), value.dtype)
            one[end - 1, k] = 1
            rows.append(net.vjp(params, {name: one}, [name], **arrays)[1][name])
        return Flow(name, end, np.stack(rows, axis=1)[:end])
    chosen = np.zeros((steps, size, size), value.dtype)
    chosen[end - 1] = np.eye(size)
    chosen = np.moveaxis(chosen, 1, 0) if net.batch_first else chosen
    jacobians = net.vjp(params, {name: chosen}, [name], **many)[1][name]
    jacobians = np.moveaxis(jacobians, 1, 0) if net.batch_first else jacobians
    return Flow(name, end, jacobians[:end])


def _decl(net: Net, name: str) -> Any:
    decl = net.system.decls.get(name)
    if decl is None or decl.kind != "variable" or len(decl.axes) != 1:
        known = ", ".join(n for n, d in net.system.decls.items() if d.kind == "variable" and len(d.axes) == 1)
        raise UndefinedError(f"{name!r} is no variable along one axis of template {net.system.name!r}; it has {known}")
    return decl
