"""The checks: values, loss, gradients, products with Jacobians and Hessians, of a backend and of PyTorch."""

from __future__ import annotations

import functools
import importlib
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .data import Case
from .probes import Array, Failure, Keys, Probe, Skip, Unexpected
from .session import (
    Oracle,
    Session,
    arguments,
    at_place,
    batch_place,
    called,
    chosen,
    differs,
    floats,
    kind_of,
    named,
    plain,
)
from .torch_eval import MissingStep, derivative
from .trees import RUN, shared


def check_run(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Outputs by default, and every variable by name."""
    oracle, net = session.oracle(case), session.net(probe)
    outputs = [name for name, _ in case.system.outputs]
    names = named(case) if probe.seed % 3 else outputs
    want: dict[str, Any] = {}
    for name in names:
        want[name] = oracle.value(name, probe.dtype)
    missing = next((w for w in want.values() if isinstance(w, MissingStep)), None)
    params, keywords = arguments(case, probe)
    got = called(oracle, missing, "run", lambda: net.run(params, names if probe.seed % 3 else None, **keywords))
    if set(got) != set(names):
        return [Failure("mismatch", "run", f"names {sorted(got)}, expected {sorted(names)}")]
    found = []
    for name in names:
        bad = at_place(probe, oracle, got[name], want[name], f"run, {kind_of(case, name)}", name)
        found += [bad] if bad else []
    return found


def check_single(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """One variable or one instance at a time."""
    oracle, net = session.oracle(case), session.net(probe)
    rng = np.random.default_rng(probe.seed)
    names: list[Any] = [min(named(case), key=lambda name: zlib.crc32(f"{name} {probe.seed}".encode()))]
    variables = case.system.of("variable")
    variables = [d for d in variables if d.axes]
    if variables and case.lengths is None:
        decl = variables[int(rng.integers(len(variables)))]
        names.append((decl.name, *(int(rng.integers(0, case.sizes[a] + 2)) for a in decl.axes)))
    found = []
    for name in names:
        want = oracle.value(name, probe.dtype)
        params, keywords = arguments(case, probe)
        if isinstance(want, MissingStep) and isinstance(name, tuple):
            continue
        got = called(oracle, want, "run", functools.partial(net.run, params, name, **keywords))
        bad = at_place(probe, oracle, got, want, f"run one, {kind_of(case, name)}", name)
        found += [bad] if bad else []
    return found


def differentiated(case: Case, probe: Probe) -> tuple[list[Any], bool]:
    """By what a loss is differentiated, and whether that is variables and instances."""
    names: list[Any] = [d.name for d in case.system.of("param")]
    if probe.seed % 4 == 1:
        names = [d.name for d in case.system.of("variable") if d.kind == "float"]
        if probe.seed % 64 != 1:
            names = [name for name in names if name not in twins(case)]
        rng = np.random.default_rng(probe.seed)
        for decl in case.system.of("variable"):
            if decl.name in names and case.lengths is None and len(decl.axes) == 1:
                names.append((decl.name, int(rng.integers(0, case.sizes[decl.axes[0]] + 1))))
    elif probe.seed % 4:
        names += [d.name for d in case.system.of("input") if d.kind == "float"]
    return names, probe.seed % 4 == 1


def vjp_arguments(case: Case, probe: Probe, shapes: Keys) -> tuple[dict[str, Array], list[str]]:
    """Cotangents of some values, and by what they are pulled back."""
    wrt = [d.name for d in case.system.of("param", "input") if d.kind == "float" and chosen(d.name, probe.seed)]
    rng = np.random.default_rng(probe.seed)
    return {n: rng.uniform(-1, 1, s).astype(np.float32).astype(float) for n, s in shapes.items()}, wrt


def vjp_names(case: Case, probe: Probe) -> list[str]:
    """The values whose cotangents are given."""
    return [n for n in floats(case) if chosen(n, probe.seed, 0.5)][:2]


def jvp_arguments(case: Case, probe: Probe) -> tuple[dict[str, Array], str]:
    """Tangents of some params and inputs, and of what the derivative is asked."""
    rng = np.random.default_rng(probe.seed)
    options = floats(case) + (["loss"] * 2 if case.system.loss is not None else [])
    given = [d for d in case.system.of("param", "input") if d.kind == "float" and chosen(d.name, probe.seed)]
    if not given or not options or probe.dtype != "float64" or probe.batch_first:
        raise Skip("nothing to differentiate")
    of = min(options, key=lambda name: zlib.crc32(f"{name} {probe.seed}".encode()))
    arrays = {**case.params, **case.inputs}
    return {d.name: np.round(rng.uniform(-1, 1, arrays[d.name].shape), 3) for d in given}, of


def hessian_arguments(case: Case, probe: Probe) -> dict[str, Array]:
    """The vector that a Hessian is multiplied with."""
    rng = np.random.default_rng(probe.seed)
    names = [n for n in case.params if chosen(n, probe.seed)]
    return {n: np.round(rng.uniform(-1, 1, case.params[n].shape), 3) for n in names}


def check_grad(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Loss and gradients by params and inputs; by variables and instances too where the seed says so."""
    if case.system.loss is None:
        raise Skip("no loss")
    oracle, net = session.oracle(case), session.net(probe)
    names, instances = differentiated(case, probe)
    want = gradients(oracle, names, probe.dtype, instances)
    if want is None:
        raise Skip("an instance is missing")
    params, keywords = arguments(case, probe)
    wrt = names if probe.seed % 4 else None
    missing = want if isinstance(want, MissingStep) else None
    loss, grads = called(oracle, missing, "value_and_grad", lambda: net.value_and_grad(params, wrt, **keywords))
    bad = differs(loss, [w[0] for w in want], probe, "loss")
    found = [bad] if bad else []
    if set(grads) != set(names):
        found.append(Failure("mismatch", "gradient", f"names {list(grads)}, expected {names}"))
        return found
    if not np.isfinite(want[0][0]) or not all(np.isfinite(w).all() for w in want[0][1].values()):
        if found:
            return found
        raise Skip("a gradient that is not finite")
    for name in names:
        found += compared_gradient(probe, oracle, grads[name], [w[1][name] for w in want], name, "gradient")
    return found


def twins(case: Case) -> set[str]:
    """Variables that are plain copies of something, or whose equation another has too."""
    from .build import source

    found: set[str] = set()
    seen: dict[str, str] = {}
    for statement in case.system.statements:
        alone = replace(
            case.system, statements=(), outputs=(("y", statement.expr),), loss=None, decls=case.system.decls
        )
        text = source(alone).splitlines()[-1] if not shared(alone) else source(alone)
        for name, steps in statement.targets:
            if all(step.anchor == RUN for step in steps):
                found |= {name, seen[text]} if text in seen else {name} if statement.expr.op == "read" else set()
                seen[text] = name
    return found


def compared_gradient(probe: Probe, oracle: Oracle, got: Any, want: list[Array], name: Any, what: str) -> list[Failure]:
    """A gradient against PyTorch's; one by what no example has to itself is summed over the batch, or is not."""
    case, label = oracle.case, f"{what} by {kind_of(oracle.case, name)}"
    if kind_of(case, name) == "param":
        bad = differs(got, want, probe, label)
        return [Failure(bad.kind, bad.what, f"{name!r}: {bad.text}")] if bad else []
    decl = case.system.decls[name[0] if isinstance(name, tuple) else name]
    place = 0 if isinstance(name, tuple) else len(decl.axes)
    if case.batch is not None and decl.name not in case.system.batched():
        if np.asarray(got).ndim == want[0].ndim - 1:
            want = [w.sum(place) for w in want]
        elif probe.batch_first:
            want = [np.moveaxis(w, place, 0) for w in want]
        bad = differs(got, want, plain(probe), label)
    elif case.batch is not None and probe.batch_first:
        bad = differs(got, [np.moveaxis(w, place, 0) for w in want], plain(probe), label)
    else:
        bad = differs(got, want, plain(probe), label)
    return [Failure(bad.kind, bad.what, f"{name!r}: {bad.text}")] if bad else []


def gradients(oracle: Oracle, names: list[Any], dtype: str, instances: bool) -> Any:
    """[(loss, gradients)] in float64, and in float32 where that is asked for."""

    def compute() -> Any:
        results = []
        for kind in ["float64"] if dtype == "float64" else ["float64", "float32"]:
            run = oracle.case.run(getattr(torch, kind), instances=instances)
            loss = run.loss()
            try:
                grads = run.gradients(loss, names)
            except MissingStep:
                return None, math.inf
            results.append((loss.detach().numpy().astype(np.float64), grads))
            margin = run.margin.least
        return results, margin

    found = oracle.ask(("grad", tuple(names), dtype, instances), compute)
    return oracle.judged(found, dtype)


def check_loss(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """The loss alone, and the loss of each example."""
    if case.system.loss is None:
        raise Skip("no loss")
    oracle, net = session.oracle(case), session.net(probe)
    want = oracle.value("loss", probe.dtype)
    params, keywords = arguments(case, probe)
    missing = want if isinstance(want, MissingStep) else None
    got = called(oracle, missing, "loss", lambda: net.loss(params, **keywords))
    each = called(oracle, missing, "run loss", lambda: net.run(params, "loss", **keywords))
    bad = [differs(got, [np.asarray(w.mean()) for w in want], probe, "loss")]
    bad.append(at_place(probe, oracle, each, want, "run, loss", "loss"))
    return [b for b in bad if b]


def check_vjp(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Products of cotangents with values, and their gradients."""
    oracle, net = session.oracle(case), session.net(probe)
    names = vjp_names(case, probe)
    if probe.batch_first:
        raise Skip("the batch first")
    values = {name: oracle.value(name, "float64") for name in names}
    if any(isinstance(v, MissingStep) for v in values.values()):
        raise Skip("a step is missing")
    cotangents, wrt = vjp_arguments(case, probe, {n: v[0].shape for n, v in values.items()})
    if not names or not wrt:
        raise Skip("nothing to differentiate")
    params, keywords = arguments(case, probe)
    given = {n: c.astype(probe.dtype) for n, c in cotangents.items()}
    for name in names:
        at = batch_place(oracle, name)
        if at is None:
            continue
        value = called(oracle, None, "run", functools.partial(net.run, params, name, **keywords))
        if value.shape != given[name].shape:  # one value for all examples, and so one cotangent
            given[name] = np.take(given[name], 0, at)
            cotangents[name][(slice(None),) * at + (slice(1, None),)] = 0

    def compute() -> Any:
        results = []
        for kind in ["float64"] if probe.dtype == "float64" else ["float64", "float32"]:
            run = case.run(getattr(torch, kind))
            results.append(run.gradients(run.product(cotangents), wrt))
        return results, run.margin.least

    shapes = tuple(c.shape for c in given.values())
    want = oracle.judged(oracle.ask(("vjp", probe.seed, probe.dtype, shapes), compute), probe.dtype)
    primals, grads = called(oracle, None, "vjp", lambda: net.vjp(params, given, wrt, **keywords))
    found = [at_place(probe, oracle, primals[n], oracle.value(n, probe.dtype), "vjp, value", n) for n in names]
    if not all(np.isfinite(w).all() for w in want[0].values()):
        raise Skip("a gradient that is not finite")
    bad = [b for b in found if b]
    for name in wrt:
        bad += compared_gradient(probe, oracle, grads[name], [w[name] for w in want], name, "vjp")
    return bad


def check_jvp(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A value and its derivative along tangents."""
    oracle, net = session.oracle(case), session.net(probe)
    tangents, of = jvp_arguments(case, probe)

    def compute() -> Any:
        run = case.run()
        return derivative(run, of, tangents), run.margin.least

    want = oracle.judged(oracle.ask(("jvp", probe.seed), compute), probe.dtype)
    missing = want if isinstance(want, MissingStep) else None
    params, keywords = arguments(case, probe)
    got = called(oracle, missing, "jvp", lambda: net.jvp(params, tangents, of, **keywords))
    if not all(np.isfinite(w).all() for w in want):
        raise Skip("a derivative that is not finite")
    place = None if of == "loss" else batch_place(oracle, of)
    labels = ("value", "tangent")
    found = [differs(g, [w], probe, f"jvp, {label}", place) for g, w, label in zip(got, want, labels, strict=True)]
    return [b for b in found if b]


def check_hessian(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """The Hessian of the loss times a vector."""
    if case.system.loss is None or probe.dtype != "float64" or not case.params:
        raise Skip("no loss or params")
    oracle, net = session.oracle(case), session.net(probe)
    vector = hessian_arguments(case, probe)

    def compute() -> Any:
        run = case.run()
        return [run.hessian_vector(vector)], run.margin.least

    want = oracle.judged(oracle.ask(("hessian", probe.seed), compute), probe.dtype)
    missing = want if isinstance(want, MissingStep) else None
    params, keywords = arguments(case, probe)
    got = called(oracle, missing, "hessian_vector", lambda: net.hessian_vector(params, vector, **keywords))
    if not all(np.isfinite(w).all() for w in want[0].values()):
        raise Skip("a derivative that is not finite")
    found = [differs(got[n], [want[0][n]], probe, "hessian_vector") for n in case.params]
    return [b for b in found if b]


Check = Callable[[Session, Case, Probe], list[Failure]]


CHECKS: dict[str, Check] = {
    "run": check_run,
    "single": check_single,
    "grad": check_grad,
    "loss": check_loss,
    "vjp": check_vjp,
    "jvp": check_jvp,
    "hessian": check_hessian,
}


def probed(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Everything in which a backend is not as PyTorch has it. Raises Skip."""
    tuning = importlib.import_module("unroll.backends.numpy.tuning")
    usual, tuning.MIN_SCAN_STEPS = tuning.MIN_SCAN_STEPS, probe.fewest  # a program is made when it is first called
    try:
        found = CHECKS[probe.check](session, case, probe)
    except Unexpected as error:
        return [error.failure]
    finally:
        tuning.MIN_SCAN_STEPS = usual
    if found and all(f.kind == "mismatch" for f in found) and session.oracle(case).chaotic():
        raise Skip("rounding grows from step to step")
    undefined = bool(found) and all(f.kind == "mismatch" and "nan" in f.text for f in found)
    if undefined and probe.check in ("grad", "vjp", "jvp", "hessian"):  # times a cotangent that is zero
        if session.oracle(case).unbounded():
            raise Skip("something is infinite that the loss does not need")
        if 0 in case.sizes.values() or any(0 in steps for steps in (case.lengths or {}).values()):
            raise Skip("a maximum of no steps may be infinite, and no step needs it")
    return found
