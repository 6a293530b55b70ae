"""Laws that hold whatever a system says: one call against another of the same backend."""

from __future__ import annotations

import functools
import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .compare import CHECKS, Check
from .data import Case, alone
from .names import NASTY, TOLD
from .probes import Failure, Probe, Refused, Skip
from .session import Session, arguments, called, floats, named
from .trees import System, renamed

Array = np.ndarray[Any, Any]


Results = dict[str, Array]


CLOSE = {"float64": 1e-10, "float32": 1e-4}


LAWS: dict[str, Check] = {}


def law(check: Check) -> Check:
    """Enter a law under its function's name."""
    LAWS[f"law {check.__name__}"] = check
    return check


def results(session: Session, case: Case, probe: Probe, net: Any = None, names: list[str] | None = None) -> Results:
    """Every output and variable, the loss and its gradients, of one call each. Raises Skip where a step is missing."""
    oracle = session.oracle(case)
    if not oracle.whole():
        raise Skip("a step is missing")
    asked = named(case) if names is None else names
    use = session.net(probe) if net is None else net
    params, keywords = arguments(case, probe)
    found: Results = {}
    if asked:
        found |= called(oracle, None, "run", lambda: use.run(params, asked, **keywords))
    if case.system.loss is not None and names is None:
        wrt = [d.name for d in case.system.of("param", "input") if d.kind == "float"]
        loss, grads = called(oracle, None, "value_and_grad", lambda: use.value_and_grad(params, wrt, **keywords))
        found |= {"the loss": loss, **{f"gradient by {name}": grad for name, grad in grads.items()}}
    return {name: np.array(value) for name, value in found.items()}


def unlike(a: Results, b: Results, what: str, tolerance: float | None = None) -> list[Failure]:
    """Where two calls differ: in any bit, or by more than a tolerance."""
    found = []
    for name in a:
        x, y = a[name], b[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            found.append(Failure("shape", what, f"{name!r}: {x.shape} {x.dtype} and {y.shape} {y.dtype}"))
        elif tolerance is None and x.tobytes() != y.tobytes():
            if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                found.append(Failure("changed", what, f"{name!r}: {text(x)} and {text(y)}"))
        elif tolerance is not None and x.dtype.kind == "f":
            finite = np.isfinite(x)
            scale = max(1.0, float(np.abs(x[finite]).max())) if finite.any() else 1.0
            if not np.allclose(x, y, rtol=0, atol=tolerance * scale, equal_nan=True):
                found.append(Failure("mismatch", what, f"{name!r}: {text(x)} and {text(y)}"))
        elif tolerance is not None and not np.array_equal(x, y):
            found.append(Failure("mismatch", what, f"{name!r}: {text(x)} and {text(y)}"))
    return found


def text(array: Array) -> str:
    """An array on a line."""
    return str(array.tolist())[:300]


def decisive(session: Session, case: Case, probe: Probe) -> None:
    """Raise Skip where rounding may decide."""
    oracle = session.oracle(case)
    for name in named(case):
        oracle.value(name, probe.dtype)
    if case.system.loss is not None:
        oracle.value("loss", probe.dtype)


@law
def again(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """The same call twice, another length in between, gives the same bits; and changes nothing that it is given."""
    first = results(session, case, probe)
    if case.batch is not None and case.lengths is None:
        other = alone(case, 0)
        session.oracle(other)
        results(session, other, probe)
    before = pickle.dumps((case.params, case.inputs))
    second = results(session, case, probe)
    touched = pickle.dumps((case.params, case.inputs)) != before
    return unlike(first, second, "the same call again") + ([Failure("changed", "arguments", "")] if touched else [])


@law
def names(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Other names change no bit."""
    rng = np.random.default_rng(probe.seed)
    pool = [n for n in NASTY if n not in TOLD and n not in {"t", "s", "u", "clamp"}]
    free = [*case.system.decls, *(name for name, _ in case.system.outputs)]
    picked = [pool[int(k)] for k in rng.permutation(len(pool))[: len(free)]]
    turn = {old: new for old, new in zip(free, picked, strict=True) if probe.seed % 2 or rng.random() < 0.3}
    if len({turn.get(n, n) for n in free}) < len(free):
        raise Skip("names that clash")
    other = replace(
        case,
        system=renamed(case.system, turn),
        params={turn.get(n, n): a for n, a in case.params.items()},
        inputs={turn.get(n, n): a for n, a in case.inputs.items()},
    )
    first = results(session, case, probe)
    second = results(opened(other.system), other, probe)
    back = {turn.get(n, n): n for n in free}

    def plain(key: str) -> str:
        stem = "gradient by " if key.startswith("gradient by ") and key not in back else ""
        return stem + back.get(key.removeprefix(stem), key.removeprefix(stem))

    return unlike(first, {plain(key): value for key, value in second.items()}, "other names")


def opened(system: System) -> Session:
    """A session of a changed system, which must build as the first did."""
    from unroll import UnrollError

    try:
        return Session(system)
    except UnrollError as error:
        raise Refused(f"a changed system: {type(error).__name__}") from error


@law
def outputs(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Fewer outputs, in another order, have the values they have among all."""
    decisive(session, case, probe)
    rng = np.random.default_rng(probe.seed)
    everything = named(case)
    some = [everything[int(k)] for k in rng.permutation(len(everything))[: int(rng.integers(1, len(everything) + 1))]]
    if not some:
        raise Skip("no outputs")
    whole = results(session, case, probe, names=everything)
    part = results(session, case, probe, names=some)
    return unlike(part, whole, "fewer outputs", CLOSE[probe.dtype])


@law
def examples(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A batch gives what its examples give one by one."""
    if case.batch is None:
        raise Skip("no batch")
    if "batch_mean" in case.system.ops():
        raise Skip("examples depend on one another")
    decisive(session, case, probe)
    whole = results(session, case, probe)
    found: list[Failure] = []
    gradient: Results = {}
    for b in range(case.batch):
        single = alone(case, b)
        part = results(session, single, probe)
        for decl in case.system.of("param"):
            key = f"gradient by {decl.name}"
            if key in part:
                gradient[key] = gradient.get(key, np.zeros_like(part[key])) + part[key] / case.batch
        for name in named(case):
            _, axes, _, _, batched = case.run().expression(name)
            if batched:
                cut = np.take(whole[name], b, axis=len(axes))
                cut = cut[tuple(slice(0, single.sizes[a]) for a in axes)]
                found += unlike({name: part[name]}, {name: cut}, "an example alone", CLOSE[probe.dtype])
    gradient = {key: np.asarray(value, whole[key].dtype) for key, value in gradient.items()}
    finite = {
        key: value for key, value in gradient.items() if np.isfinite(value).all() and np.isfinite(whole[key]).all()
    }
    return found + unlike(finite, whole, "gradients of examples", CLOSE[probe.dtype])


@law
def permuted(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Examples in another order give results in that order."""
    if case.batch is None or case.batch < 2:
        raise Skip("no batch")
    decisive(session, case, probe)
    order = [int(k) for k in np.random.default_rng(probe.seed).permutation(case.batch)]
    inputs = {d.name: np.take(case.inputs[d.name], order, axis=len(d.axes)) for d in case.system.of("input")}
    lengths = {a: tuple(n[k] for k in order) for a, n in case.lengths.items()} if case.lengths else None
    other = replace(case, inputs=inputs, lengths=lengths)
    first, second = results(session, case, probe), results(session, other, probe)
    for name in list(first):
        if name.startswith("gradient by ") and name.removeprefix("gradient by ") in case.inputs:
            place = len(case.system.decls[name.removeprefix("gradient by ")].axes)
        elif name in named(case):
            _, axes, _, shape, _ = case.run().expression(name)
            place = len(axes)
            if first[name].ndim == len(axes) + len(shape):
                continue
        else:
            continue
        first[name] = np.take(first[name], order, axis=place)
    return unlike(first, second, "examples in another order", CLOSE[probe.dtype])


@law
def without(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Left-out passes of the compiler change nothing."""
    from unroll import UnrollError

    try:
        session.template.compile(probe.backend, without=("no such pass",))
        return [Failure("no error", "without", "an unknown pass is taken")]
    except UnrollError as error:
        passes = re.sub(r".* can do without is ", "", str(error).splitlines()[0]).split(", ")
    rng = np.random.default_rng(probe.seed)
    left = [str(p) for p in rng.permutation(passes)[: int(rng.choice([1, 1, 1, 2, len(passes)]))]]
    other = replace(probe, without=tuple(left))
    found = CHECKS["run"](session, case, other)
    return found + CHECKS["grad"](session, case, other)


@law
def integers(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A length may be any integer."""
    oracle, net = session.oracle(case), session.net(probe)
    if not oracle.whole() or not case.system.axes or not named(case):
        raise Skip("a step is missing")
    params, keywords = arguments(case, replace(probe, seed=1))
    first = called(oracle, None, "run", lambda: net.run(params, named(case), **keywords))
    for kind in (np.int64, np.int32, np.uint8, np.array):
        given = {k: kind(v) if k in {a.upper() for a in case.system.axes} else v for k, v in keywords.items()}
        second = called(
            oracle, None, f"run, T as {kind.__name__}", functools.partial(net.run, params, named(case), **given)
        )
        found = unlike(arrays(first), arrays(second), f"T as {kind.__name__}")
        if found:
            return found
    return []


def arrays(values: dict[str, Any]) -> Results:
    """Results as arrays."""
    return {name: np.array(value) for name, value in values.items()}


def kind(name: str, probe: Probe) -> Any:
    """The dtype of an argument."""
    return {"float": probe.dtype, "int": "int64", "bool": "bool"}[name]


@law
def shapes(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """Shapes of results depend on shapes of arguments alone, not on the numbers in `lengths`."""
    if case.lengths is None:
        raise Skip("no lengths")
    full = {a: tuple(case.sizes[a] for _ in n) for a, n in case.lengths.items()}
    first = results(session, case, probe)
    inputs = {n: np.nan_to_num(a, posinf=1.0, neginf=1.0) if a.dtype.kind == "f" else a for n, a in case.inputs.items()}
    other = replace(case, lengths=full, inputs=inputs)
    second = results(session, other, probe)
    return [
        Failure("shape", "lengths", f"{n!r}: {first[n].shape} with {case.lengths}, {second[n].shape} with {full}")
        for n in first
        if first[n].shape != second[n].shape
    ]


@law
def lists(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """A list with an array for each example is a padded batch with lengths."""
    if (
        case.lengths is None
        or case.batch is None
        or set(case.lengths) != set(case.system.axes)
        or probe.layout != "plain"
    ):
        raise Skip("no lengths")
    if (
        any(len(d.axes) != 1 for d in case.system.of("input") if d.axes)
        or len(case.system.axes) != 1
        or not case.inputs
    ):
        raise Skip("several axes")
    axis = case.system.axes[0]
    if not any(d.axes for d in case.system.of("input")) or max(case.lengths[axis]) != case.sizes[axis]:
        raise Skip("the longest is shorter than the array")
    decisive(session, case, probe)
    whole = results(session, case, probe)
    params, keywords = arguments(case, probe)
    keywords.pop("lengths")
    keywords.pop(axis.upper(), None)
    for decl in case.system.of("input"):
        if decl.axes:
            parts = [case.inputs[decl.name][:n, b] for b, n in enumerate(case.lengths[axis])]
            keywords[decl.name] = [np.asarray(part, kind(decl.kind, probe)) for part in parts]
    oracle, net = session.oracle(case), session.net(probe)
    got = called(oracle, None, "run on lists", lambda: net.run(params, named(case), **keywords))
    return unlike(arrays(got), whole, "lists", CLOSE[probe.dtype])


@law
def watched(session: Session, case: Case, probe: Probe) -> list[Failure]:
    """With `debug_nans` a run whose numbers are finite is as without."""
    first = results(session, case, probe)
    if not all(np.isfinite(v).all() for v in first.values() if v.dtype.kind == "f") or not floats(case):
        raise Skip("numbers that are not finite")
    with torch.no_grad():
        run = case.run()
        if not all(np.isfinite(run.value(d.name)).all() for d in case.system.of("variable") if d.kind == "float"):
            raise Skip("numbers that are not finite")
    net = session.template.compile(probe.backend, dtype=probe.dtype, debug_nans=True)
    try:
        second = results(session, case, probe, net=net)
    except Exception as error:
        if "FloatingPointError" in repr(error) or "NonFinite" in repr(error):
            raise Skip("something in between is not finite") from error
        raise
    return unlike(first, second, "debug_nans", CLOSE[probe.dtype])
