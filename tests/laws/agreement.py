"""The comparisons that the laws are made of: two backends, and derivatives against the complex step of the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from unroll import Net, Template

Array = Any
Arrays = Mapping[str, Any]

STEP = 1e-20
EXACT = 1e-12  # two backends, one rounding apart
DERIVED = 1e-10  # a derivative and the complex step
DIFFERENCE = 1e-6  # a derivative and a central difference


@lru_cache(maxsize=200)
def compiled(template: Template, backend: str, dtype: str = "float64", batch_first: bool = False) -> Net:
    """A template compiled, once: every test of it runs the same program, and uses its memory again."""
    return template.compile(backend, dtype=dtype, batch_first=batch_first)


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    """The same shape and kind, and values equal to `tolerance`, relative to the largest where that is over 1."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype.kind == want.dtype.kind, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    finite = np.abs(want[np.isfinite(want)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale, equal_nan=True, err_msg=what)


def frozen(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same with arrays that cannot be written to."""
    for value in arrays.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return dict(arrays)


def same(got: Mapping[Any, Any], want: Mapping[Any, Any], tolerance: float, what: str) -> None:
    """Two dicts of results, name by name."""
    assert list(got) == list(want), f"{what}: {list(got)}, expected {list(want)}"
    for name in want:
        close(got[name], want[name], tolerance, f"{what}, {name}")


@dataclass(frozen=True)
class Specimen:
    """A template with arrays to run it on."""

    template: Template
    params: Mapping[str, Array]
    arrays: Mapping[str, Any]

    @property
    def lengths(self) -> dict[str, int]:
        """The steps of every axis, by the name of its end."""
        return {n: v for n, v in self.arrays.items() if isinstance(v, int)}

    @cached_property
    def floats(self) -> list[str]:
        """Every name that has a derivative: the params and the inputs that are floats."""
        decls = self.template.system.decls
        return [n for n, d in decls.items() if d.kind in ("param", "input") and d.dtype == "float"]

    @cached_property
    def variables(self) -> list[Any]:
        """Every variable, and every instance of one that stands at a fixed step."""
        system = self.template.system
        names: list[Any] = [n for n, d in system.decls.items() if d.kind == "variable"]
        for e in system.equations:
            if e.out.name in names and e.out.index and not any(i.axis for i in e.out.index):
                names.append((e.out.name, *(i.shift for i in e.out.index)))
        return names

    @cached_property
    def has_loss(self) -> bool:
        """True where there is something to differentiate."""
        return self.template.system.loss is not None

    def net(self, backend: str = "numpy", dtype: str = "float64", batch_first: bool = False) -> Net:
        """The template compiled."""
        return compiled(self.template, backend, dtype, batch_first)

    def value(self, name: str) -> Array:
        """The array of a param or an input."""
        return self.params[name] if name in self.params else self.arrays[name]

    def moved(self, directions: Arrays, by: complex) -> tuple[dict[str, Array], dict[str, Any]]:
        """Params and arrays, moved along the directions."""
        params = {n: v + by * directions[n] if n in directions else v for n, v in self.params.items()}
        arrays = {n: v + by * directions[n] if n in directions else v for n, v in self.arrays.items()}
        return params, arrays


def everything(net: Net, it: Specimen) -> dict[str, Any]:
    """All that a net computes: every variable, alone and with the others; outputs, loss and gradients."""
    found: dict[str, Any] = {}
    for name, value in net.run(it.params, it.variables, **it.arrays).items():
        found[f"with the others, {name}"] = value
    for name in it.variables:
        found[f"alone, {name}"] = net.run(it.params, name, **it.arrays)
    if it.template.system.outputs:
        found.update({f"output {n}": v for n, v in net.run(it.params, **it.arrays).items()})
    if it.has_loss:
        found["loss"], grads = net.value_and_grad(it.params, it.floats, **it.arrays)
        found.update({f"gradient by {n}": v for n, v in grads.items()})
        _, grads = net.value_and_grad(it.params, **it.arrays)
        found.update({f"gradient by params alone, {n}": v for n, v in grads.items()})
    return found


def executables(net: Net) -> list[Any]:
    """What a net has compiled so far, in the backend's own form."""
    return [built.executable for built in net._programs.compiled.values()]


def poison(net: Net) -> None:
    """Fill the memory that a net keeps with what no result may depend on."""
    for executable in executables(net):
        for workspaces in executable._idle.values():
            for workspace in workspaces:
                for array in workspace.arrays.values() if hasattr(workspace, "arrays") else [workspace.arena]:
                    array.fill(
                        {"f": np.nan, "c": np.nan, "i": -9, "b": True, "u": (1 << 8 * array.itemsize) - 1}[
                            array.dtype.kind
                        ]
                    )


def check_backend(it: Specimen, backend: str = "numpy") -> None:
    """A backend gives what `reference` gives, and gives it again whatever its memory held before."""
    net, reference = it.net(backend), it.net("reference")
    first = everything(net, it)
    same(first, everything(reference, it), EXACT, backend)
    poison(net)
    same(everything(net, it), first, 0, f"{backend}, second call")


def directions(it: Specimen, names: list[str], rng: np.random.Generator) -> dict[str, Array]:
    """A random direction for each name."""
    return {n: rng.standard_normal(np.shape(it.value(n))) for n in names}


def along(gradient: Arrays, direction: Arrays) -> float:
    """The derivative along a direction, from a gradient."""
    return float(sum(np.sum(gradient[n] * v) for n, v in direction.items()))


def complex_step(net: Net, it: Specimen, direction: Arrays) -> float:
    """The derivative of the averaged loss along a direction, from its values; `net` computes in complex128."""
    params, arrays = it.moved(direction, STEP * 1j)
    return float(np.imag(net.loss(params, **arrays)) / STEP)


def central_difference(net: Net, it: Specimen, direction: Arrays, h: float = 1e-6) -> float:
    """The same by two real evaluations."""
    ends = []
    for by in (h, -h):
        params, arrays = it.moved(direction, by)
        ends.append(net.loss(params, **arrays))
    return float((ends[0] - ends[1]) / (2 * h))


def check_gradient(it: Specimen, gradient: Arrays, rng: np.random.Generator, analytic: bool = True) -> None:
    """A gradient of the averaged loss against the values of `reference`, along a random direction for each name."""
    exact, real = it.net("reference", "complex128"), it.net("reference")
    for name in it.floats:
        direction = directions(it, [name], rng)
        got = along(gradient, direction)
        close(got, complex_step(exact, it, direction), DERIVED, f"gradient by {name}, complex step")
        if not analytic:
            close(got, central_difference(real, it, direction), DIFFERENCE, f"gradient by {name}, central difference")


def nonsmooth(template: Template) -> list[str]:
    """The operations of a template to which the complex step applies only as their kernels continue it."""
    return sorted({e.op for e in template.system.equations if not e.operation.analytic and e.op != "cast"})
