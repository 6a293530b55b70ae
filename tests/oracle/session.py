"""A template, its nets and what PyTorch says of its cases; calls, and results that are compared."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .build import build
from .data import Case, handed
from .probes import LIMITS, LOOSE, NEAR, TIGHT, Array, Failure, Keys, Probe, Refused, Skip, Unexpected, normal
from .torch_eval import Circle, MissingStep


@dataclass
class Oracle:
    """What PyTorch says of a case, each thing computed once."""

    case: Case
    memo: dict[Any, Any] = field(default_factory=dict)

    def ask(self, key: Any, compute: Callable[[], Any]) -> Any:
        """A result, MissingStep where a step is missing; raises Skip for circles."""
        if key not in self.memo:
            try:
                with np.errstate(all="ignore"):
                    self.memo[key] = compute()
            except MissingStep as error:
                self.memo[key] = error
            except Circle as error:
                raise Skip("a circle at this length") from error
        return self.memo[key]

    def clear(self, run: Any, dtype: str) -> None:
        """Raise Skip where a decision in this run was too close to call."""
        if run.margin.least < NEAR[dtype]:
            raise Skip(f"a close call in {dtype}")

    def value(self, name: Any, dtype: str) -> Any:
        """An output, a variable or an instance: (in float64, in float32 or None)."""

        def compute() -> Any:
            results = []
            for kind in ["float64"] if dtype == "float64" else ["float64", "float32"]:
                run = self.case.run(getattr(torch, kind))
                with torch.no_grad():
                    got = run.instance(name[0], name[1:]) if isinstance(name, tuple) else run.value(name)
                    results.append(got)
                margin = run.margin.least
            return results, margin

        found = self.ask(("value", name, dtype), compute)
        return self.judged(found, dtype)

    def judged(self, found: Any, dtype: str) -> Any:
        """The results, once their margin is wide enough."""
        if isinstance(found, MissingStep):
            return found
        results, margin = found
        if margin < NEAR[dtype]:
            raise Skip(f"a close call in {dtype}")
        return results

    def whole(self) -> bool:
        """False if some step of the system is missing, needed or not: every operation runs over its own axes."""
        return self.ask("whole", lambda: everything(self.case.run())) is True

    def chaotic(self) -> bool:
        """True where a change in the last digits of what is given makes one that counts: rounding does too."""

        def compute() -> bool:
            def moved(arrays: dict[str, Array]) -> dict[str, Array]:
                return {n: a * (1 + 2e-15) if a.dtype.kind == "f" else a for n, a in arrays.items()}

            other = replace(self.case, params=moved(self.case.params), inputs=moved(self.case.inputs))
            first, second = self.case.run(), other.run()
            with torch.no_grad(), np.errstate(all="ignore"):
                pairs = [(first.value(n), second.value(n)) for n in named(self.case)]
            apart = [np.abs(a - b) / np.maximum(1, np.abs(a)) for a, b in pairs if a.dtype.kind == "f" and a.size]
            return any(bool(np.nanmax(d, initial=0.0) > 1e-11) for d in apart)

        return self.ask("chaotic", compute) is True

    def unbounded(self) -> bool:
        """True where all that the loss needs is finite, and not all that there is."""

        def compute() -> bool:
            needed, every = self.case.run(watch=True), self.case.run(watch=True)
            with torch.no_grad():
                needed.losses()
            everything(every)
            return every.infinite and not needed.infinite

        return self.case.system.loss is not None and self.ask("unbounded", compute) is True


def everything(run: Any) -> bool:
    """Compute every instance of every name and operation. Raises MissingStep."""
    with torch.no_grad():
        for name in [d.name for d in run.system.decls.values()]:
            run.tensors(name)
        for name, _ in run.system.outputs:
            run.tensors(name)
        roots = {id(root) for root in run.system.roots}
        for root in run.system.roots:
            for node in root.walk():
                for example in run.examples if node.args or id(node) in roots else ():
                    axes = sorted(node.axes)
                    for point in example.points(axes):
                        example.eval(node, dict(zip(axes, point, strict=True)))
        if run.system.loss is not None:
            run.losses()
    return True


class Session:
    """A template built once, its nets, and its oracles; what a trial or one probe works with."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.template = build(system)
        self.nets: dict[Any, Any] = {}
        self.oracles: dict[int, Oracle] = {}

    def net(self, probe: Probe) -> Any:
        """The net of a probe."""
        key = (probe.backend, probe.dtype, probe.without, probe.batch_first, probe.fewest)
        if key not in self.nets:
            more = {"without": probe.without} if probe.without else {}
            more |= {"batch_first": True} if probe.batch_first else {}
            self.nets[key] = self.template.compile(probe.backend, dtype=probe.dtype, **more)
        return self.nets[key]

    def oracle(self, case: Case) -> Oracle:
        """The oracle of a case."""
        if id(case) not in self.oracles:
            self.oracles[id(case)] = Oracle(case)
        return self.oracles[id(case)]


def arguments(case: Case, probe: Probe) -> tuple[Keys, Keys]:
    """Params and keyword arguments of a call, in the probe's layout."""
    kinds = {decl.name: decl for decl in case.system.decls.values()}
    rng = np.random.default_rng(probe.seed)

    def give(name: str, array: Array) -> Any:
        layout = probe.layout if rng.random() < 0.7 else "plain"
        if layout == "list" and (probe.dtype != "float64" or (kinds[name].kind == "bool" and array.size == 0)):
            layout = "plain"
        return handed(array, kinds[name].kind, probe.dtype, layout)

    params = {name: give(name, array) for name, array in case.params.items()}
    inputs = {}
    for name, array in case.inputs.items():
        count = len(kinds[name].axes)
        first = probe.batch_first and case.batch is not None
        inputs[name] = give(name, np.moveaxis(array, count, 0) if first else array)
    return params, case.keywords(inputs, always=probe.seed % 5 == 1)


def called(oracle: Oracle, missing: Any, what: str, call: Callable[[], Any]) -> Any:
    """The result of a call that should fail exactly where PyTorch finds that a step is missing."""
    from unroll import UnrollError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = call()
    except UnrollError as error:
        name = type(error).__name__
        if name == "LengthError" and (isinstance(missing, MissingStep) or not oracle.whole()):
            raise Skip("a step is missing at this length, and said so") from None
        padded = oracle.case.lengths and len(oracle.case.system.axes) > 1
        if name == "LengthError" and padded and not Oracle(replace(oracle.case, lengths=None)).whole():
            raise Refused("lengths on one of several axes, and the padded arrays lack a step") from None
        if any(name == kind and words in str(error) for kind, words in LIMITS):
            raise Refused(f"{name}: {normal(str(error))}") from None
        raise Unexpected(Failure("error", what, f"{name}: {error}")) from error
    except MemoryError:
        raise
    except Exception as error:
        raise Unexpected(Failure("error", what, f"{type(error).__name__}: {error}")) from error
    if isinstance(missing, MissingStep):
        raise Unexpected(Failure("no error", what, f"{missing} is missing, and the call gives {str(result)[:200]}"))
    return result


def differs(got: Any, want: list[Array], probe: Probe, what: str, batch_at: int | None = None) -> Failure | None:
    """A failure where an array is not what PyTorch says; `batch_at` is the axis of the batch, which may be left out."""
    array, exact = np.asarray(got), want[0]
    if probe.batch_first and batch_at:
        exact = np.moveaxis(exact, batch_at, 0)
        want = [np.moveaxis(w, batch_at, 0) for w in want]
        batch_at = 0
    if exact.dtype.kind != array.dtype.kind:
        return Failure("dtype", what, f"dtype {array.dtype}, expected kind {exact.dtype}")
    if array.dtype.kind == "f" and array.dtype != np.dtype(probe.dtype):
        return Failure("dtype", what, f"dtype {array.dtype}, expected {probe.dtype}")
    if array.shape != exact.shape and batch_at is not None:
        dropped = exact.shape[:batch_at] + exact.shape[batch_at + 1 :]
        if array.shape == dropped:
            array = np.broadcast_to(np.expand_dims(array, batch_at), exact.shape)
    if array.shape != exact.shape:
        return Failure("shape", what, f"shape {array.shape}, expected {exact.shape}")
    if array.dtype.kind != "f":
        wrong = array != exact
    else:
        finite = np.abs(exact[np.isfinite(exact)])
        scale = max(1.0, float(finite.max())) if finite.size else 1.0
        tolerance = TIGHT * scale
        if probe.dtype == "float32":
            with np.errstate(all="ignore"):
                apart = np.abs(want[1] - exact)
            apart = apart[np.isfinite(apart)]
            tolerance = LOOSE * scale + 30 * (float(apart.max()) if apart.size else 0.0)
        with np.errstate(all="ignore"):
            near = np.abs(array.astype(np.float64) - exact) <= tolerance
        wrong = ~(near | (array == exact) | (np.isnan(array) & np.isnan(exact)))
    if not wrong.any():
        return None
    place = tuple(int(k) for k in np.argwhere(wrong)[0])
    text = f"{int(wrong.sum())} of {wrong.size} differ; at {place} {array[place]!r}, expected {exact[place]!r}"
    if exact.size <= 12:
        text += f"\n  got      {array.tolist()}\n  expected {exact.tolist()}"
    return Failure("mismatch", what, text)


def kind_of(case: Case, name: Any) -> str:
    """What a name is, for a signature."""
    if isinstance(name, tuple):
        return "instance"
    if name == "loss" or any(name == output for output, _ in case.system.outputs):
        return "loss" if name == "loss" else "output"
    return case.system.decls[name].role


def named(case: Case) -> list[str]:
    """Outputs and variables."""
    return [name for name, _ in case.system.outputs] + [d.name for d in case.system.of("variable")]


def batch_place(oracle: Oracle, name: Any) -> int | None:
    """The axis of the batch in a result, where it may be missing since nothing depends on an example."""
    if oracle.case.batch is None:
        return None
    if isinstance(name, tuple):
        return 0 if name[0] not in oracle.case.system.batched() else None
    _, axes, _, _, batched = oracle.case.run().expression(name)
    return None if batched else len(axes)


def at_place(probe: Probe, oracle: Oracle, got: Any, want: list[Array], what: str, name: Any) -> Failure | None:
    """`differs`, knowing where the batch stands."""
    optional = batch_place(oracle, name)
    if probe.batch_first and oracle.case.batch is not None and not isinstance(name, tuple):
        _, axes, _, _, batched = oracle.case.run().expression(name)
        if not batched and np.asarray(got).shape == want[0].shape[: len(axes)] + want[0].shape[len(axes) + 1 :]:
            return differs(np.expand_dims(got, 0), [np.moveaxis(w, len(axes), 0)[:1] for w in want], plain(probe), what)
        return differs(got, [np.moveaxis(w, len(axes), 0) for w in want], plain(probe), what)
    bad = differs(got, want, plain(probe), what, optional)
    return bad and Failure(bad.kind, bad.what, f"{name!r}: {bad.text}")


def plain(probe: Probe) -> Probe:
    """The probe as it is where the batch stands last."""
    return Probe(probe.check, probe.backend, probe.dtype) if probe.batch_first else probe


def chosen(name: str, seed: int, share: float = 0.7) -> bool:
    """True for a share of names, each for itself, so that it stays as it is when others go."""
    return zlib.crc32(f"{seed} {name}".encode()) % 1000 < share * 1000


def floats(case: Case) -> list[str]:
    """Float outputs and variables."""
    kinds = {name: expr.kind for name, expr in case.system.outputs}
    return [n for n in named(case) if (kinds[n] if n in kinds else case.system.decls[n].kind) == "float"]
