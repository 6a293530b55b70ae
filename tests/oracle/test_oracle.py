"""The oracle under pytest: some seconds of new seeds, failures of the past, and faults planted for it to find."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("UNROLL_ORACLE_REQUIRED") == "1" and importlib.util.find_spec("torch") is None:
    raise ImportError("UNROLL_ORACLE_REQUIRED=1, and there is no torch")
torch = pytest.importorskip("torch")

import unroll  # noqa: E402 - after the skip
from unroll import ops  # noqa: E402

from . import keep, runner, torch_ops  # noqa: E402
from .compare import probed  # noqa: E402
from .data import Case, sample  # noqa: E402
from .isolate import Died, Server, isolated  # noqa: E402
from .probes import Failure, Probe, Skip, Unexpected  # noqa: E402
from .session import Session  # noqa: E402
from .shrink import shrunk  # noqa: E402
from .systems import random_system  # noqa: E402
from .trees import AT, RUN, Decl, Statement, Step, System, const, make, read  # noqa: E402
from .trial import Options, attempt, plan, trial  # noqa: E402

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("UNROLL_ORACLE_SECONDS", "30"))
SEED = int(os.environ.get("UNROLL_ORACLE_SEED", int.from_bytes(os.urandom(4), "little")))

# Public names that no expression is grown from, each with its reason.
NOT_GROWN = {
    **dict.fromkeys(
        ("bernoulli", "categorical", "dropout", "keep", "normal", "uniform"), "draws: their bits are unroll's"
    ),
    **dict.fromkeys(
        ("OPS", "Op", "Family", "Notation", "Symbolic", "elementwise", "infix", "undefined"), "for defining"
    ),
    **dict.fromkeys(("define", "composite"), "for defining"),
    "batch_norm": "batch_mean is grown; PyTorch's own is the judge in peers/test_torch_batch_norm",
    "observed": "data with gaps, which PyTorch judges in ops/test_observed",
    **dict.fromkeys(("UnrollError", "ShapeError", "DTypeError", "DifferentiationError"), "errors"),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are faster so, and a process forks safely."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- what it is for -------------------------------------------------------------------------------------------------


def test_random_systems_are_as_pytorch_has_them() -> None:
    command = [sys.executable, "-m", "tests.oracle", "--seconds", str(SECONDS), "--seed", str(SEED), "--laws"]
    backends = "numpy,reference,native" if importlib.util.find_spec("llvmlite") else "numpy,reference"
    done = subprocess.run([*command, "--backends", backends], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"UNROLL_ORACLE_SEED={SEED}\n{done.stdout[-20000:]}\n{done.stderr[-3000:]}"


KEPT = list(keep.every())


@pytest.mark.parametrize(("case", "probe", "said"), KEPT, ids=[f"{k}" for k in range(len(KEPT))])
def test_what_failed_once(case: Case, probe: Probe, said: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if said["open"]:
        request.applymarker(pytest.mark.xfail(reason=said["about"], strict=True))
    if probe.backend == "native":
        pytest.importorskip("llvmlite")
    try:
        found = isolated(lambda: attempt(case, probe), 120)
    except Died as error:
        pytest.fail(f"{said['about']}: {error}")
    assert not found, f"{said['about']}: {found}"


# ---- what it covers -------------------------------------------------------------------------------------------------


def test_every_public_operation_is_grown_or_has_a_reason() -> None:
    grown: Counter[str] = Counter()
    for seed in range(600):
        grown.update(op.split()[0] for op in random_system(np.random.default_rng(seed)).ops())
    public = set(ops.__all__) - set(NOT_GROWN)
    assert not public - set(grown), f"never grown: {sorted(public - set(grown))}"
    assert set(NOT_GROWN) <= set(ops.__all__), "a reason for nothing"


def test_every_name_is_public_only() -> None:
    paths = list(Path(__file__).parent.glob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("unroll"):
                assert node.module == "unroll", f"{path.name} imports {node.module}"


@pytest.mark.parametrize("seed", range(25))
def test_ranges_hold(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import torch_eval

    rng = np.random.default_rng(seed)
    system = random_system(rng)
    case = sample(system, rng, dict.fromkeys(system.axes, 3), 1, False)
    plain = torch_eval.Example.apply

    def watched(self: Any, node: Any, env: Any) -> Any:
        value = plain(self, node, env)
        low, high = value.double().min().item(), value.double().max().item()
        slack = 1e-9 * (1 + abs(node.low) + abs(node.high))
        assert node.low - slack <= low <= high <= node.high + slack, (node.op, low, high, node.low, node.high)
        assert tuple(value.shape) == node.shape
        return value

    monkeypatch.setattr(torch_eval.Example, "apply", watched)
    run = case.run()
    for decl in system.decls.values():
        with torch.no_grad():
            try:
                run.tensors(decl.name)
            except torch_eval.MissingStep:
                continue


# ---- the evaluator against PyTorch's own ----------------------------------------------------------------------------


def lstm(n: int, m: int) -> System:
    """PyTorch's LSTM as a description."""
    decls = {"x": Decl("x", "input", "float", (m,), ("t",))}
    now, before = Step(RUN, "t", 0), Step(RUN, "t", -1)
    for gate in "ifgo":
        decls |= {
            f"W{gate}": Decl(f"W{gate}", "param", "float", (n, m)),
            f"U{gate}": Decl(f"U{gate}", "param", "float", (n, n)),
        }
        decls |= {f"{k}{gate}": Decl(f"{k}{gate}", "param", "float", (n,)) for k in "bd"}
    decls |= {k: Decl(k, "variable", "float", (n,), ("t",), -2, 2) for k in "hc"}
    gates = {}
    for gate in "ifgo":
        e = make("matmul", read(decls[f"W{gate}"]), read(decls["x"], now))
        e = make("add", e, make("matmul", read(decls[f"U{gate}"]), read(decls["h"], before)))
        e = make("add", make("add", e, read(decls[f"b{gate}"])), read(decls[f"d{gate}"]))
        gates[gate] = make("tanh" if gate == "g" else "sigmoid", e)
    kept = make("mul", gates["f"], read(decls["c"], before))
    cell = make("add", kept, make("mul", gates["i"], gates["g"]))
    state = make("mul", gates["o"], make("tanh", read(decls["c"], now)))
    statements = [Statement(((k, (Step(AT, "t", 0),)),), const(0)) for k in "hc"]
    statements += [Statement((("c", (now,)),), cell), Statement((("h", (now,)),), state)]
    loss = make("sum", make("sum", make("mul", read(decls["h"], now), read(decls["h"], now)), axis=None), over=("t",))
    return System("lstm", ("t",), decls, tuple(statements), (("y", read(decls["h"], now)),), loss)


def test_the_evaluator_agrees_with_torch_lstm() -> None:
    n, m, steps, batch = 4, 3, 6, 2
    system, rng = lstm(n, m), np.random.default_rng(0)
    case = sample(system, rng, {"t": steps}, batch, False)
    cell = torch.nn.LSTM(m, n, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in (("W", "weight_ih_l0"), ("U", "weight_hh_l0"), ("b", "bias_ih_l0"), ("d", "bias_hh_l0")):
            joined = np.concatenate([case.params[f"{ours}{gate}"] for gate in "ifgo"])
            getattr(cell, theirs).copy_(torch.tensor(joined))
    x = torch.tensor(case.inputs["x"], requires_grad=True)
    h, _ = cell(x)
    (h * h).sum((0, 2)).mean().backward()
    run = case.run()
    assert np.allclose(run.value("y"), h.detach().numpy(), rtol=0, atol=1e-14)
    grads = run.gradients(run.loss(), ["x", "Wf", "Uo"])
    assert np.allclose(grads["x"], x.grad.numpy(), rtol=0, atol=1e-14)
    assert np.allclose(grads["Wf"], cell.weight_ih_l0.grad.numpy()[n : 2 * n], rtol=0, atol=1e-14)
    assert np.allclose(grads["Uo"], cell.weight_hh_l0.grad.numpy()[3 * n :], rtol=0, atol=1e-14)


# ---- planted faults -------------------------------------------------------------------------------------------------


def looks(seed: int) -> set[str]:
    """What a seed's failures on `reference` look like."""
    found = trial(seed, Options(("reference",)), lambda case, probe: None).failures
    return {runner.look(probe, failures) for _, probe, failures in found}


def uses(op: str, most: int) -> list[int]:
    """Seeds whose systems have an operation."""
    found = (seed for seed in range(1000) if op in plan(seed, Options(("reference",)))[0].ops())
    return list(itertools.islice(found, most))


def noticed(seeds: list[int], plant: Callable[[], Any]) -> bool:
    """True if some seed fails with the planted fault as it does not fail without."""
    for seed in seeds:
        before = looks(seed)
        with plant():
            if looks(seed) - before:
                return True
    return False


@pytest.mark.parametrize("op", ["tanh", "sigmoid", "mul", "matmul", "max", "softmax", "take"])
def test_a_wrong_derivative_is_caught(op: str) -> None:
    known = ops.OPS[op]
    first = known.vjp[0]
    assert first is not None
    wrong = (lambda g, y, *args, **attrs: 1.001 * first(g, y, *args, **attrs), *known.vjp[1:])

    @contextlib.contextmanager
    def plant() -> Iterator[None]:
        had = known.vjp
        object.__setattr__(known, "vjp", wrong)
        try:
            yield
        finally:
            object.__setattr__(known, "vjp", had)

    assert noticed(uses(op, 40), plant)


@pytest.mark.parametrize("fault", ["value", "delay", "kernel", "kind"])
def test_a_wrong_value_is_caught(fault: str) -> None:
    net = type(unroll.Template().compile("reference"))
    run, at, tanh = net.run, Step.at, torch_ops.OPS["tanh"]

    def wrong_run(self: Any, *args: Any, **more: Any) -> Any:
        found = run(self, *args, **more)
        turn = (lambda v: v * (1 + 1e-6)) if fault == "value" else (lambda v: v.astype(np.float32))
        return {k: turn(v) if np.asarray(v).dtype.kind == "f" else v for k, v in found.items()}

    def wrong_at(self: Step, env: dict[str, int], lengths: dict[str, int]) -> int:
        found = at(self, env, lengths)
        return max(found - 1, 0) if self.anchor == RUN and self.shift == -1 else found

    @contextlib.contextmanager
    def plant() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if fault == "delay":
                patch.setattr(Step, "at", wrong_at)
            elif fault == "kernel":
                patch.setitem(torch_ops.OPS, "tanh", lambda *args: tanh(*args) + 1e-7)
            else:
                patch.setattr(net, "run", wrong_run)
            yield

    assert noticed(uses("tanh", 25), plant)


def test_what_fails_is_made_small() -> None:
    def wrong(case: Case, probe: Probe) -> list[Any]:
        """Anything with a softmax in it."""
        return [Failure("mismatch", "run", "")] if "softmax" in case.system.ops() else []

    seeds = ((s, plan(s, Options(("numpy",)))[0].ops()) for s in range(100))
    around = {"cross_entropy", "pick", "take"}  # they take what nothing simpler has the shape of, and would stay
    seed = next(s for s, found in seeds if "softmax" in found and not around & found)
    system, _, todo = plan(seed, Options(("numpy",)))
    case = next(case for case, _ in todo if case.system.ops() == system.ops())
    small, _, found = shrunk(case, Probe("run"), wrong(case, Probe("run")), wrong, 20)
    assert found
    assert sum(1 for root in small.system.roots for _ in root.walk()) <= 4


def test_a_crash_is_a_result() -> None:
    with pytest.raises(Died, match="SIGABRT"):
        isolated(os.abort, 10)
    with pytest.raises(Died, match="no answer"):
        isolated(lambda: [0 for _ in iter(int, 1)], 0.3)
    server = Server(lambda task: os.abort() if task == "die" else task)
    with pytest.raises(Died):
        server("die", 10)
    assert server("live", 10) == "live"
    server.stop()


def test_a_crash_is_put_down_to_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(seed: int, options: Options, tell: Callable[..., None]) -> Any:
        _, _, todo = plan(seed, options)
        tell(*todo[0])
        if seed == 3:
            os.abort()
        return trial(seed, Options(()), tell)

    monkeypatch.setattr(runner, "trial", dies)
    monkeypatch.setattr(runner, "judge", lambda tally, *args: runner.Group("", *args[1:4], [0, 1]))
    tally = runner.run(0, 60, Options(("numpy",)), trials=6)
    assert tally.trials == 6
    assert [one[2] for ones in tally.waiting.values() for one in ones] == [3]


def test_cases_are_kept_as_they_were() -> None:
    plans = [plan(seed, Options(("numpy",))) for seed in range(30)]
    plans = [found for found in plans if found[2]]  # many steps of many examples are left out
    assert len(plans) > 25
    for _, other, todo in plans:
        case, probe = todo[0]
        again, same, _ = keep.loaded(keep.line(case, probe, "about"))
        assert same == probe
        from .build import source

        assert source(again.system) == source(other)
        assert all(np.array_equal(again.inputs[n], a, equal_nan=a.dtype.kind == "f") for n, a in case.inputs.items())


def test_the_same_seed_gives_the_same_trial() -> None:
    from .build import source

    first, second = (source(plan(7, Options())[1]) for _ in range(2))
    assert first == second


def test_an_error_of_another_kind_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    net = type(unroll.Template().compile("reference"))
    monkeypatch.setattr(net, "run", lambda *args, **more: {}["nothing"])
    _, other, todo = plan(1, Options(("reference",)))
    case, probe = todo[0]
    found: list[Any] = []
    try:
        found = probed(Session(other), case, dataclasses.replace(probe, check="run", backend="reference"))
    except (Skip, Unexpected) as error:
        pytest.fail(f"not a failure: {error!r}")
    assert "KeyError" in found[0].text
