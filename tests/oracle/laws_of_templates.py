"""Laws of templates that are changed, cut into chunks or copied, and of what is made of them."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .data import Case
from .laws import CLOSE, LAWS, Array, arrays, decisive, kind, law, opened, results, unlike
from .probes import Failure, Probe, Refused, Skip
from .session import Session, arguments, called, named
from .trees import Node, Statement, read, rewrite_system


@law
def streamed(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A stream in any pieces gives what one run gives, and so does free running."""
    from unroll import UnrollError

    if "t" not in case.system.axes or case.lengths is not None:
        raise Skip("no stream")
    decisive(session, case, probe)
    net, (params, _) = session.net(probe), arguments(case, probe)
    timed = {d.name: d for d in case.system.of("input") if "t" in d.axes}
    still = {n: a for n, a in arguments(case, probe)[1].items() if n in case.inputs and n not in timed}
    others = {a.upper(): n for a, n in case.sizes.items() if a != "t"}
    wanted = {}
    for name in named(case):
        axes = case.run().expression(name)[1]
        if "t" not in axes:
            continue
        try:
            net.stream(params, [name], **still, **others)
            wanted[name] = axes.index("t")
        except UnrollError:
            continue
    if not wanted:
        raise Skip("no stream")
    oracle = session.oracle(case)
    whole = results(session, case, probe, names=list(wanted))
    stream = called(oracle, None, "stream", lambda: net.stream(params, list(wanted), **still, **others))
    rng, at, pieces = np.random.default_rng(probe.seed), 0, []

    def chunk(start: int, stop: int) -> dict[str, Array]:
        found = {}
        for name, d in timed.items():
            part = case.inputs[name][(slice(None),) * d.axes.index("t") + (slice(start, stop),)]
            found[name] = np.asarray(part, kind(d.kind, probe))
        return found

    while at < case.sizes["t"] or not pieces:
        n = min(int(rng.choice([0, 1, 1, 2, 3])), case.sizes["t"] - at)
        more = chunk(at, at + n) or {"T": n}
        pieces.append(called(oracle, None, "stream, a piece", functools.partial(stream, **more)))
        at += n
    joined = {name: np.concatenate([np.asarray(p[name]) for p in pieces], axis) for name, axis in wanted.items()}
    bad = unlike(arrays(joined), whole, "a stream", CLOSE[probe.dtype])
    told = others if rng.random() < 0.5 else {a: n for a, n in others.items() if not sized(case, a.lower())}
    more = {**told, **(chunk(0, at) or {"max_steps": at})}
    run = called(oracle, None, "free running", lambda: net.generate(params, list(wanted), **still, **more))
    return bad + unlike(arrays(run.values), whole, "free running", CLOSE[probe.dtype])


def sized(case: Case, axis: str) -> bool:
    """True where an input tells the length of an axis."""
    return any(axis in d.axes for d in case.system.of("input"))


@law
def brackets(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """``v[s, t]`` and ``v[t, s]`` are two ways to write one thing."""
    turned = {d.name for d in case.system.decls.values() if len(d.axes) > 1}
    if not turned:
        raise Skip("one axis")
    decisive(session, case, probe)
    decls = {n: replace(d, axes=d.axes[::-1]) if n in turned else d for n, d in case.system.decls.items()}

    def change(node: Node) -> Node:
        if node.op == "read" and node.attrs["name"] in turned:
            return read(decls[node.attrs["name"]], *node.attrs["steps"][::-1])
        return node

    system = rewrite_system(replace(case.system, decls=decls), change)
    statements = tuple(
        Statement(tuple((n, st[::-1] if n in turned else st) for n, st in s.targets), s.expr) for s in system.statements
    )
    system = replace(system, statements=statements)

    def flip(name: str, array: Array) -> Array:
        if name not in turned:
            return array
        count = len(decls[name].axes)
        return np.transpose(array, (*reversed(range(count)), *range(count, array.ndim)))

    other = replace(case, system=system, inputs={n: flip(n, a) for n, a in case.inputs.items()})
    first = results(session, case, probe)
    second = results(opened(system), other, probe)
    wanted = [
        n
        for n in first
        if n in case.system.decls or n.removeprefix("gradient by ") in case.system.decls or n == "the loss"
    ]
    back = {n: flip(n.removeprefix("gradient by "), second[n]) for n in wanted}
    return unlike({n: first[n] for n in wanted}, back, "brackets in another order", CLOSE[probe.dtype])


@law
def truncated(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Truncated gradients are those of chunks, what comes from the chunk before taken as it is."""
    if case.system.loss is None or "t" not in case.system.axes or not case.params:
        raise Skip("no loss")
    decisive(session, case, probe)
    n = 1 + probe.seed % 3
    names, oracle = [d.name for d in case.system.of("param")], session.oracle(case)
    if not oracle.whole():
        raise Skip("a step is missing")
    run = case.run(chunk=n)
    want = run.gradients(run.loss(), names)
    if run.margin.least < 1e-8 or not all(np.isfinite(w).all() for w in want.values()) or probe.dtype != "float64":
        raise Skip("a close call")
    net = called(
        oracle, None, "truncated", lambda: session.template.truncated(n).compile(probe.backend, dtype="float64")
    )
    params, keywords = arguments(case, probe)
    loss, grads = called(oracle, None, "truncated", lambda: net.value_and_grad(params, **keywords))
    with torch.no_grad():
        plain = case.run().loss().numpy()
    first = {"the loss": np.asarray(plain), **want}
    second = {"the loss": np.asarray(loss), **{k: np.asarray(g) for k, g in grads.items()}}
    return unlike(first, second, f"truncated({n})", 1e-9)


@law
def adjoint(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """The adjoint is a template like any other, and its cotangents are the gradients."""
    if case.system.loss is None or not case.params or probe.dtype != "float64":
        raise Skip("no loss")
    decisive(session, case, probe)
    oracle = session.oracle(case)
    if not oracle.whole() or not case.run().expression("loss")[4]:
        raise Skip("a step is missing, or no loss of examples")
    names = [d.name for d in case.system.of("param")]
    run = case.run()
    want = run.gradients(run.loss() * (case.batch or 1), names)
    if run.margin.least < 1e-8 or not all(np.isfinite(w).all() for w in want.values()):
        raise Skip("a close call")
    net = called(oracle, None, "adjoint", lambda: session.template.adjoint().compile(probe.backend, dtype="float64"))
    params, keywords = arguments(case, probe)
    has = [n for n in names if f"{n}~" in str(session.template.adjoint())]
    if not has or case.system.wild:
        raise Skip("no cotangents")
    got = called(oracle, None, "adjoint", lambda: net.run(params, [f"{n}~" for n in has], **keywords))
    return unlike({n: want[n] for n in has}, {n: np.asarray(got[f"{n}~"]) for n in has}, "the adjoint", 1e-9)


@law
def transforms(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Two changes of a template in either order give the same values and gradients, or are refused."""
    from unroll import UnrollError

    decisive(session, case, probe)
    if case.lengths is not None or "t" not in case.system.axes:
        raise Skip("no steps")
    rng = np.random.default_rng(probe.seed)
    variables = [d for d in case.system.of("variable") if d.kind == "float" and d.axes == ("t",)]
    ways: list[tuple[str, Callable[[Any], Any]]] = [
        ("truncated", lambda g: g.truncated(2)),
        ("inference", lambda g: g.inference()),
    ]
    clamps: dict[str, Any] = {}
    if variables and case.sizes["t"] >= 1:
        decl = variables[int(rng.integers(len(variables)))]
        step = int(rng.integers(1, case.sizes["t"] + 1))
        shape = (*(() if case.batch is None else (case.batch,)), *decl.shape)
        clamps = {f"do({decl.name}[{step}])": np.asarray(rng.uniform(-1, 1, shape), probe.dtype)}
        ways.append(("clamped", lambda g: g.clamped((decl.name, step))))
        for other in case.system.of("input"):
            if other.kind == "float" and other.axes == ("t",) and other.shape == decl.shape:
                ways.append(("forced", lambda g, o=other: g.teacher_forced({decl.name: o.name})))
                break
    picked = [ways[int(k)] for k in rng.permutation(len(ways))[:2]]
    found = []
    for order in (picked, picked[::-1]):
        try:
            g = session.template
            for _, way in order:
                g = way(g)
            net = g.compile(probe.backend, dtype=probe.dtype)
        except UnrollError as error:
            raise Refused(f"{' then '.join(n for n, _ in order)}: {type(error).__name__}") from None
        params, keywords = arguments(case, probe)
        if any(n == "clamped" for n, _ in picked):
            keywords |= clamps
        oracle = session.oracle(case)
        what = " then ".join(n for n, _ in order)
        one = arrays(called(oracle, None, what, lambda n=net, p=params, k=keywords: n.run(p, named(case), **k)))
        if case.system.loss is not None and case.params:
            loss, grads = called(oracle, None, what, lambda n=net, p=params, k=keywords: n.value_and_grad(p, **k))
            one |= {"the loss": np.asarray(loss), **arrays({f"gradient by {k}": v for k, v in grads.items()})}
        found.append(one)
    return unlike(found[0], found[1], " and ".join(n for n, _ in picked), CLOSE[probe.dtype])


@law
def copies(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A template that was pickled or copied says the same."""
    first = results(session, case, probe)
    for how, g in (("pickle", lambda g: pickle.loads(pickle.dumps(g))), ("deepcopy", copy.deepcopy)):
        try:
            net = g(session.template).compile(probe.backend, dtype=probe.dtype)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return [Failure("error", how, f"{type(error).__name__}: {error}")]
        found = unlike(first, results(session, case, probe, net=net), f"a template after {how}")
        if found:
            return found
    return []


@law
def written(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Whatever can be printed, drawn as text or explained can be."""
    g = session.template
    ways: dict[str, Callable[[], Any]] = {"str": lambda: str(g), "pretty": g.pretty, "latex": g.latex}
    if session.oracle(case).whole():  # every step that is read exists at these lengths
        at = {a.upper(): case.sizes[a] for a in case.system.axes if a in case.sizes}
        ways |= {"unfold": lambda: list(g.unfold(**at).nodes())[:5]}
    ways |= {"explain": lambda: str(session.net(probe).explain(grad=case.system.loss is not None))}
    ways |= {"program": lambda: str(session.net(probe).program(grad=case.system.loss is not None))}
    if case.system.loss is not None:
        ways |= {"adjoint": lambda: str(g.adjoint()), "latex of the adjoint": lambda: g.adjoint().latex()}
    oracle = session.oracle(case)
    for what, way in ways.items():
        try:
            called(oracle, None, what, way)
        except Skip:
            continue
    return []


__all__ = ["LAWS"]
