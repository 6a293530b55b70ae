"""How a recurrence enters the zoo, and arrays, params and lengths for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unroll import Template, axis
from unroll.runtime.arguments import label_limit

ZOO: dict[str, Callable[[], Template]] = {}

s, S = axis("s")


def zoo(make: Callable[[], Template]) -> Callable[[], Template]:
    """Enter a recurrence into the zoo under its function's name."""
    ZOO[make.__name__] = make
    return make


def arrays_for(g: Template, lengths: dict[str, int], batch: int | None, rng: np.random.Generator) -> dict[str, object]:
    """Random inputs for a template, labels within their range, and the lengths."""
    system = g.system
    arrays: dict[str, object] = dict(lengths)
    for name, decl in system.decls.items():
        if decl.kind != "input":
            continue
        lead = tuple(lengths[a.end] for a in decl.axes) + (() if batch is None else (batch,))
        if decl.dtype == "int":
            limits = [n for e in system.equations if (n := label_limit(system, e, name)) is not None]
            arrays[name] = rng.integers(0, min(limits, default=4), lead + decl.shape)
        elif decl.dtype == "bool":
            arrays[name] = rng.random(lead + decl.shape) < 0.6
        else:
            arrays[name] = rng.normal(size=lead + decl.shape)
    return arrays


def params_for(g: Template, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random params in float64, of a size at which nothing saturates."""
    return {n: 0.5 * rng.normal(size=d.shape) for n, d in g.system.decls.items() if d.kind == "param"}


def lengths_for(g: Template, steps: int) -> dict[str, int]:
    """Every axis of the template with `steps` steps, the second axis with one more."""
    used = {a for d in g.system.decls.values() for a in d.axes}
    used |= {r.axis for e in g.system.equations for r in e.domain}
    return {a.end: steps + (a.end == "S") for a in used}
