"""A description with arrays for it: lengths of axes and of each example, and how arrays are handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .torch_eval import Run
from .trees import Decl, System

Array = np.ndarray[Any, Any]
LAYOUTS = ["plain"] * 6 + ["reversed", "strided", "fortran", "swapped", "readonly", "list", "integer"]


@dataclass(frozen=True)
class Case:
    """One call: a system, its arrays (whose numbers are float32 numbers), and lengths."""

    system: System
    sizes: dict[str, int]
    batch: int | None
    lengths: dict[str, tuple[int, ...]] | None
    params: dict[str, Array]
    inputs: dict[str, Array]

    def run(self, dtype: torch.dtype = torch.float64, **more: Any) -> Run:
        """The same in PyTorch."""
        return Run(
            self.system,
            self.sizes,
            self.params,
            self.inputs,
            batch=self.batch,
            lengths=self.lengths,
            dtype=dtype,
            **more,
        )

    def keywords(self, arrays: Mapping[str, Any], always: bool = False) -> dict[str, Any]:
        """The keyword arguments of a call: arrays, and the lengths that no array tells."""
        told = {axis for decl in self.system.of("input") for axis in decl.axes}
        silent = {axis.upper(): self.sizes[axis] for axis in self.system.axes if always or axis not in told}
        ragged = {}
        if self.lengths is not None:
            ends = {axis.upper(): list(given) for axis, given in self.lengths.items()}
            ragged = {"lengths": ends if len(self.system.axes) > 1 else next(iter(ends.values()))}
        return {**arrays, **silent, **ragged}


def sample(system: System, rng: np.random.Generator, sizes: dict[str, int], batch: int | None, ragged: bool) -> Case:
    """A case with random arrays."""
    lengths = None
    if ragged and batch is not None and system.axes:
        lengths = {}
        for axis in system.axes:
            if rng.random() < 0.75 or not lengths:
                n = sizes[axis]
                lengths[axis] = tuple(
                    int(k) for k in rng.integers(0 if rng.random() < 0.3 else min(1, n), n + 1, batch)
                )
    if lengths is None and not system.of("input"):
        batch = None  # nothing tells how many
    params = {decl.name: values(decl, decl.shape, rng) for decl in system.of("param")}
    inputs = {}
    for decl in system.of("input"):
        shape = (*(sizes[a] for a in decl.axes), *(() if batch is None else (batch,)), *decl.shape)
        inputs[decl.name] = values(decl, shape, rng)
    case = Case(system, sizes, batch, lengths, params, inputs)
    return padded(case, rng) if lengths else case


def values(decl: Decl, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random values of a declaration, in its range."""
    if decl.kind == "int":
        return rng.integers(int(decl.low), int(decl.high) + 1, shape)
    if decl.kind == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    array = np.asarray(rng.uniform(decl.low, decl.high, shape)).astype(np.float32).astype(np.float64)
    if decl.wild:
        hits = rng.random(shape)
        array = np.where(hits < 0.12, np.inf, np.where(hits < 0.24, -np.inf, np.where(hits < 0.4, np.nan, array)))
    return np.asarray(array)


def padded(case: Case, rng: np.random.Generator) -> Case:
    """The case with something else where an example has no step: zeros, large numbers, or no numbers at all."""
    filler = float(rng.choice([0.0, 7.0, -1e3, np.nan, np.inf]))
    inputs = {}
    for decl in case.system.of("input"):
        array = case.inputs[decl.name].copy()
        for b in range(case.batch or 0):
            inside = np.zeros(tuple(case.sizes[a] for a in decl.axes), bool)
            inside[tuple(slice(0, (case.lengths or {}).get(a, (case.sizes[a],) * (b + 1))[b]) for a in decl.axes)] = (
                True
            )
            part = array[(slice(None),) * len(decl.axes) + (b,)]
            if decl.kind == "float" and decl.axes:
                part[~inside] = filler
        inputs[decl.name] = array
    return replace(case, inputs=inputs)


def alone(case: Case, b: int) -> Case:
    """One example without the batch, with the steps it has."""
    sizes = {a: case.sizes[a] if a not in (case.lengths or {}) else (case.lengths or {})[a][b] for a in case.sizes}
    inputs = {}
    for decl in case.system.of("input"):
        part = np.take(case.inputs[decl.name], b, axis=len(decl.axes))
        inputs[decl.name] = part[tuple(slice(0, sizes[a]) for a in decl.axes)]
    return replace(case, sizes=sizes, batch=None, lengths=None, inputs=inputs)


def handed(array: Array, kind: str, dtype: Any, layout: str) -> Any:
    """An array as a caller may have it: of other strides, order, endianness, read-only, or a list."""
    wanted = {"float": np.dtype(dtype), "int": np.dtype(np.int64), "bool": np.dtype(bool)}[kind]
    plain = np.ascontiguousarray(array, wanted).reshape(array.shape)
    if layout == "reversed" and plain.ndim:
        return np.ascontiguousarray(plain[::-1])[::-1]
    if layout == "strided" and plain.ndim:
        wide = np.zeros((*plain.shape[:-1], plain.shape[-1] * 2), wanted)
        wide[..., ::2] = plain
        return wide[..., ::2]
    if layout == "fortran":
        return np.asfortranarray(plain).reshape(array.shape, order="F")
    if layout == "swapped":
        return plain.astype(wanted.newbyteorder(">"))
    if layout == "readonly":
        plain.flags.writeable = False
        return plain
    if layout == "list" and plain.size and (plain.ndim or kind != "float"):
        return plain.tolist()
    if layout == "integer" and kind == "int":
        return plain.astype([np.int8, np.uint8, np.int32, np.uint64][plain.size % 4])
    return plain
