"""Calls, compilation and import of the cells that most users write, timed by asv."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

import unroll
from unroll import Template, cells, ops, t

CELLS = {"elman": cells.elman, "lstm": cells.lstm, "gru": cells.gru}
BACKENDS = ("numpy", "native")


def network(cell: str, inputs: int = 64, hidden: int = 128) -> Template:
    """One layer of a cell under a mean square error."""
    g = Template(cell)
    x, y = g.input("x", inputs), g.input("y", hidden)
    made = cells.layer(g, CELLS[cell], x[t], hidden)
    h = made[0] if isinstance(made, tuple) else made
    g.loss = ops.sum(ops.mse(h[t], y[t]), over=t)
    return g


def scalars(count: int = 40) -> Template:
    """A chain of scalar recurrences, each its own equation and param."""
    g = Template("scalars")
    value = g.input("x")
    for n in range(count):
        v, a = g.variable(f"v{n}", ()), g.param(f"a{n}")
        v[0] = 0
        v[t] = ops.tanh(a * v[t - 1] + value[t])
        value = v
    g.loss = ops.sum(value[t], over=t)
    return g


class Call:
    """A training step: the loss and all gradients, T = 100, B = 32."""

    params = (tuple(CELLS), BACKENDS)
    param_names = ("cell", "backend")

    def setup(self, cell: str, backend: str) -> None:
        """Compile, and run once."""
        g, rng = network(cell), np.random.default_rng(0)
        self.net = g.compile(backend)
        self.weights = self.net.init(seed=0)
        self.arrays = {n: rng.normal(size=(100, 32, size)).astype("float32") for n, size in (("x", 64), ("y", 128))}
        self.net.value_and_grad(self.weights, **self.arrays)

    def time_value_and_grad(self, cell: str, backend: str) -> None:
        """One call."""
        self.net.value_and_grad(self.weights, **self.arrays)

    def peakmem_value_and_grad(self, cell: str, backend: str) -> None:
        """The memory of the process in one call."""
        self.net.value_and_grad(self.weights, **self.arrays)


class Compile:
    """From a template to its first gradients."""

    params = (("lstm", "scalars"), BACKENDS)
    param_names = ("template", "backend")
    timeout = 120

    def setup(self, name: str, backend: str) -> None:
        """Import what compiling needs."""
        self.arrays: dict[str, Any] = {"x": np.zeros((3, 1), "float32")}
        if name == "lstm":
            self.arrays = {n: np.zeros((3, 1, size), "float32") for n, size in (("x", 64), ("y", 128))}
        self.first(scalars(1), backend, {"x": np.zeros((3, 1), "float32")})

    def first(self, g: Template, backend: str, arrays: dict[str, Any]) -> None:
        """Compile for gradients, and call once."""
        net = g.compile(backend)
        net.value_and_grad(net.init(seed=0), **arrays)

    def time_first_gradients(self, name: str, backend: str) -> None:
        """Declared, compiled and called."""
        self.first(network("lstm") if name == "lstm" else scalars(), backend, self.arrays)


class Rest:
    """What is neither a call nor compiling."""

    def time_import(self) -> None:
        """`import unroll` in a new process."""
        subprocess.run([sys.executable, "-c", f"import {unroll.__name__}"], check=True)

    def time_draw(self) -> None:
        """The unfolded diagram of an LSTM over five steps, as SVG."""
        network("lstm").unfold(5).draw().svg()
