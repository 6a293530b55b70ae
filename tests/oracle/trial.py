"""What is done for one seed: a system, a few cases of it, and what is probed of each."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import names
from .compare import CHECKS
from .compare import probed as compared
from .data import LAYOUTS, Case, sample
from .laws_of_templates import LAWS
from .probes import Failure, Probe, Refused, Skip, normal
from .session import Session
from .systems import random_system
from .trees import System

CHECKS |= LAWS
STEPS, STEP_ODDS = [0, 1, 2, 3, 5, 9, 17, 40, 130, 200], [0.08, 0.15, 0.2, 0.24, 0.19, 0.09, 0.02, 0.015, 0.01, 0.005]
BATCHES = [None, 1, 2, 3, 4, 5, 8, 9, 17, 33]
BATCH_ODDS = [0.22, 0.14, 0.26, 0.17, 0.08, 0.04, 0.04, 0.03, 0.01, 0.01]
MORE = ["single", "single", "loss", "vjp", "jvp", "hessian"]


@dataclass(frozen=True)
class Options:
    """What to try."""

    backends: tuple[str, ...] = ("numpy", "reference", "native")
    laws: bool = False


@dataclass
class Outcome:
    """What came of one seed."""

    seed: int
    features: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[Case, Probe, list[Failure]]] = field(default_factory=list)


def random_sizes(system: System, rng: np.random.Generator) -> dict[str, int]:
    """Lengths of the axes: long ones where there is one axis alone."""
    sizes = {axis: int(rng.choice(STEPS, p=STEP_ODDS)) for axis in system.axes}
    if len(sizes) > 1 or sum(1 for root in system.roots for _ in root.walk()) > 60:
        sizes = {axis: min(n, int(rng.choice([3, 4, 5]))) for axis, n in sizes.items()}
    return sizes


def plan(seed: int, options: Options) -> tuple[System, System, list[tuple[Case, Probe]]]:
    """A system, the same under other names, and what to probe of it."""
    rng = np.random.default_rng(seed)
    system = random_system(rng, wild=rng.random() < 0.06)
    other = names.labelled(system, rng, float(rng.choice([0.3, 0.6, 1.0])))
    return system, other, probes(other, rng, options)


def probes(system: System, rng: np.random.Generator, options: Options) -> list[tuple[Case, Probe]]:
    """Two cases, each on some backends."""
    found: list[tuple[Case, Probe]] = []
    several = len(options.backends) > 1
    native = "native" in options.backends and rng.random() < (0.35 if several else 1.0)
    for number in range(2 if rng.random() < 0.4 else 1):
        batch = BATCHES[int(rng.choice(len(BATCHES), p=BATCH_ODDS))]
        case = sample(system, rng, random_sizes(system, rng), batch, rng.random() < 0.5)
        if any(n > 30 for n in case.sizes.values()) and (case.batch or 0) > 2:
            continue
        layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))] if rng.random() < 0.5 else "plain"
        first = batch is not None and rng.random() < 0.06
        for backend in options.backends:
            if (backend == "native" and not native) or (several and backend == "reference" and rng.random() > 0.3):
                continue
            dtype = "float32" if rng.random() < 0.15 else "float64"
            probe = Probe("run", backend, dtype, layout, int(rng.integers(1 << 30)), batch_first=first)
            found += [(case, probe), (case, replace(probe, check="grad", seed=probe.seed + 1))]
            if rng.random() < (0.45 if backend == "numpy" else 0.25):
                check = str(rng.choice(MORE))
                found.append((case, replace(probe, check=check)))
            if options.laws and number == 0 and rng.random() < 0.6:
                law = str(rng.choice(list(LAWS)))
                found.append((case, replace(probe, check=law, layout="plain", batch_first=False)))
    return found


def refusal(error: BaseException) -> str:
    """A refusal's reason."""
    return f"{type(error).__name__}: {normal(str(error))}"


def started(seed: int, options: Options, outcome: Outcome) -> tuple[Session | None, list[tuple[Case, Probe]]]:
    """The template, under plain names where the others are refused; None where it can't be built."""
    from unroll import UnrollError

    system, other, todo = plan(seed, options)
    outcome.features.update(system.ops() | system.marks | marked(other, system))
    for candidate in (other, system) if other is not system else (system,):
        try:
            session = Session(candidate)
            _ = session.template.system
        except UnrollError as error:
            outcome.refused.append(refusal(error))
            if any(words in str(error) for words in names.REFUSED) and candidate is other:
                todo = [(moved(case, system, other), probe) for case, probe in todo]
                continue
            return None, []
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no refusal
            text = f"{type(error).__name__}: {error}"
            found = Failure("error", "build", text)
            outcome.failures.append((todo[0][0], replace(todo[0][1], check="build"), [found]))
            return None, []
        return session, todo
    return None, []


def marked(other: System, system: System) -> set[str]:
    """What is worth counting beyond operations."""
    found = {f"{len(system.axes)} axes"} | ({"other names"} if other is not system else set())
    found |= {
        "boundary of an input" for s in system.statements for n, _ in s.targets if system.decls[n].role == "input"
    }
    found |= {"several targets" for s in system.statements if len(s.targets) > 1}
    found |= {f"variable of kind {d.kind}" for d in system.of("variable")}
    return found | ({"no loss"} if system.loss is None else set())


def moved(case: Case, system: System, other: System) -> Case:
    """The case of a renamed system under the plain names."""
    back = dict(zip(other.decls, system.decls, strict=True))
    axes = {
        b: a
        for d, e in zip(system.decls.values(), other.decls.values(), strict=True)
        for a, b in zip(d.axes, e.axes, strict=True)
    }
    return replace(
        case,
        system=system,
        sizes={axes.get(a, a): n for a, n in case.sizes.items()},
        lengths={axes.get(a, a): n for a, n in case.lengths.items()} if case.lengths else None,
        params={back[n]: a for n, a in case.params.items()},
        inputs={back[n]: a for n, a in case.inputs.items()},
    )


def trial(seed: int, options: Options, tell: Callable[[Case, Probe], None]) -> Outcome:
    """Everything that is done for a seed; `tell` hears of each probe before it is made."""
    outcome = Outcome(seed)
    began = time.process_time()
    session, todo = started(seed, options, outcome)
    outcome.seconds["making"] += time.process_time() - began
    tried: set[str] = set()
    for case, probe in todo if session is not None else []:
        assert session is not None
        tell(case, probe)
        count(outcome.features, case)
        began = time.process_time()
        found = probed(session, case, probe, outcome)
        outcome.seconds[probe.backend] += time.process_time() - began
        tried.add(probe.backend)
        if found:
            outcome.failures.append((case, probe, found))
    outcome.done.update(f"templates on {backend}" for backend in tried)
    return outcome


def probed(session: Session, case: Case, probe: Probe, outcome: Outcome) -> list[Failure]:
    """One probe, whatever comes of it."""
    from unroll import UnrollError

    try:
        found = compared(session, case, probe)
    except Skip as reason:
        outcome.skipped[str(reason)] += 1
        return []
    except Refused as reason:
        outcome.refused.append(str(reason))
        return []
    except UnrollError as error:
        outcome.refused.append(f"{probe.backend}: {refusal(error)}")
        return []
    except Exception:  # noqa: BLE001 - said by name
        text = traceback.format_exc(limit=-4)
        return [Failure("error", "the oracle itself", text.splitlines()[-1] + "\n" + text)]
    outcome.done[f"{probe.check} on {probe.backend}"] += 1
    return found


def count(features: Counter[Any], case: Case) -> None:
    """Count lengths, batches and lengths of examples."""
    features[f"batch {case.batch}"] += 1
    if case.lengths:
        features[f"lengths of examples on {len(case.lengths)} axes"] += 1
        features["an example of no steps"] += any(0 in given for given in case.lengths.values())
    for n in case.sizes.values():
        features[f"T = {n}"] += 1


def attempt(case: Case, probe: Probe) -> list[Failure]:
    """A probe of a case from the start, for shrinking."""
    from unroll import UnrollError

    try:
        session = Session(case.system)
        _ = session.template.system
        return [] if probe.check == "build" else compared(session, case, probe)
    except (Skip, Refused):
        return []
    except UnrollError as error:
        return [Failure("refused", "compile", refusal(error))]
    except Exception as error:  # noqa: BLE001
        return [
            Failure(
                "error", "build" if probe.check == "build" else "the oracle itself", f"{type(error).__name__}: {error}"
            )
        ]
