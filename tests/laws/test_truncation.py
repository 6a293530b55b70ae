"""Truncated gradients are those of PyTorch with `detach` between the chunks, or at the end of each window."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st

from laws.agreement import Specimen, close
from laws.templates import s, templates
from laws.test_random_templates import PHASES, Wild, specimen, tame
from unroll import Template, t
from unroll.errors import LengthError, TemplateError

torch_graph = pytest.importorskip("laws.torch_graph", reason="PyTorch is not installed")
torch = pytest.importorskip("torch")

BACKENDS = ("reference", "numpy", "native")
NATIVE = int(os.environ.get("UNROLL_NATIVE_EXAMPLES", "15"))
CLOSE = 1e-9


def by_torch(it: Specimen, along: Any, wrt: list[Any], **how: int) -> dict[Any, Any]:
    """The gradient of the loss, averaged over the examples, by names and instances."""
    system = it.template.system
    given = torch_graph.leaves({n: v for n, v in {**it.params, **it.arrays}.items() if n not in it.lengths})
    lengths = {a.end: 0 for a in system.axes} | it.lengths
    for name, value in it.arrays.items():
        if name not in it.lengths:
            lengths.update({a.end: len(np.moveaxis(value, k, 0)) for k, a in enumerate(system.decls[name].axes)})
    inputs = [n for n, d in system.decls.items() if d.kind == "input"]
    sizes = [given[n].shape[len(system.decls[n].axes)] for n in inputs if system.decls[n].batched]
    graphs = []
    for b in range(max(sizes, default=1) if system.decls["loss"].batched else 1):
        own = {n: given[n].select(len(system.decls[n].axes), b) if n in inputs else given[n] for n in given}
        graphs.append(torch_graph.Graph(system, lengths, own, along, **how))
    loss = torch.stack([g.loss() for g in graphs]).mean()
    found: dict[Any, Any] = {}
    for asked in wrt:
        if asked in given:
            found[asked] = torch_graph.gradients(loss, [given[asked]])[0].numpy()
            continue
        name, *steps = asked
        shape = system.decls[name].shape
        each = [torch_graph.gradients(loss, g.parts(name, tuple(steps)) or [torch.zeros(shape)]) for g in graphs]
        total = np.stack([np.sum([p.numpy() for p in parts], axis=0) for parts in each])
        found[asked] = total if system.decls[name].batched else total.sum(0)
    return found


def asked_of(it: Specimen) -> list[Any]:
    """All params and inputs of kind float, and an instance of each variable that others read."""
    asked: list[Any] = list(it.floats)
    ends = {a.end: 0 for a in it.template.system.axes} | it.lengths
    for name, value in it.arrays.items():
        if name not in it.lengths:
            ends.update({a.end: value.shape[k] for k, a in enumerate(it.template.system.decls[name].axes)})
    for name, decl in it.template.system.decls.items():
        if decl.kind == "variable" and name.startswith("v") and decl.axes:
            steps = [(1 + ends[a.end]) // 2 for a in decl.axes]
            if all(k > 0 for k in steps):
                asked.append((name, *steps))
    return asked


def check(it: Specimen, steps: int, sliding: bool, along: Any, backend: str) -> None:
    """One template, truncated along one axis, on one backend."""
    cut = it.template.truncated(steps, sliding=sliding, over=along)
    asked = asked_of(it)
    value, got = cut.compile(backend, dtype="float64").value_and_grad(it.params, asked, **it.arrays)
    whole = it.net("reference").loss(it.params, **it.arrays)
    tame({"loss": whole, **got})
    close(value, whole, CLOSE, "the loss, which no truncation changes")
    want = by_torch(it, along.axis, asked, **{"window" if sliding else "chunk": steps})
    for name in asked:
        close(np.asarray(got[name]), np.asarray(want[name]), CLOSE, f"gradient by {name}")


def tried(g: Template, size: Any, seed: int, steps: int, sliding: bool, other: bool, backend: str) -> None:
    note(str(g))
    try:
        both = any(a.name == "s" for d in g.system.decls.values() for a in d.axes)
        along = s if other and both else t
        check(specimen(g, size, seed), steps, sliding, along, backend)
    except (TemplateError, LengthError, Wild) as error:
        event(type(error).__name__)
        assume(False)
    event("compared")


sizes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 2))
lengths = st.integers(1, 4)


@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=PHASES)
@given(templates(), sizes, st.integers(0, 2**16), lengths, st.booleans())
def test_chunks_of_any_template(g: Template, size: Any, seed: int, steps: int, other: bool) -> None:
    tried(g, size, seed, steps, False, other, "numpy")


@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=PHASES)
@given(templates(), sizes, st.integers(0, 2**16), lengths, st.booleans())
def test_windows_of_any_template(g: Template, size: Any, seed: int, steps: int, other: bool) -> None:
    tried(g, size, seed, steps - 1, True, other, "numpy")


@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=PHASES, max_examples=NATIVE)
@given(templates(), sizes, st.integers(0, 2**16), lengths, st.booleans())
def test_chunks_and_windows_natively(g: Template, size: Any, seed: int, steps: int, sliding: bool) -> None:
    tried(g, size, seed, steps, sliding, False, "native")
