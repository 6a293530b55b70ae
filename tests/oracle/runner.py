"""Trials one after another in processes that may die, failures made small and sorted by cause."""

from __future__ import annotations

import os
import pickle
import re
import select
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import names, report
from .data import Case
from .isolate import Died, Server, isolated
from .probes import Failure, Probe
from .shrink import shrunk
from .trial import Options, Outcome, attempt, trial

TOGETHER = 8  # seeds that share a process
LONGEST = 120.0  # seconds that one probe may take
PATIENCE = 30.0  # the same while it is made small
SHRINKING = 0.4  # the share of time that goes into making failures small
SHRUNK_EACH = 3  # failures of one look that are made small
ALLOWED = 0.03  # the share of templates that may be refused for any one reason


Waiting = tuple[int, int, int, Case, Probe, list[Failure]]


@dataclass
class Group:
    """Failures that look alike once they are small."""

    cause: str
    case: Case
    probe: Probe
    failures: list[Failure]
    seeds: list[int] = field(default_factory=list)


@dataclass
class Tally:
    """Everything that a session of trials found."""

    first: int
    trials: int = 0
    features: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    looks: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, list[Waiting]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def note(self, seed: int, case: Case, probe: Probe, failures: list[Failure]) -> None:
        """Keep a failure, the smallest of each look first."""
        key = look(probe, failures)
        self.looks[key] += 1
        ones = self.waiting.setdefault(key, [])
        size = sum(1 for root in case.system.roots for _ in root.walk())
        ones.append((len(ones), size, seed, case, probe, failures))
        ones.sort(key=lambda one: one[1])
        self.waiting[key] = [(place, *one[1:]) for place, one in enumerate(ones[:SHRUNK_EACH])]

    def take(self, outcome: Outcome) -> None:
        """Add up one seed's counts."""
        self.trials += 1
        self.features.update(outcome.features)
        self.refused.update(set(outcome.refused))
        self.skipped.update(outcome.skipped)
        self.done.update(outcome.done)
        self.seconds.update(outcome.seconds)

    def too_many_refused(self) -> list[str]:
        """Reasons for which more than a small share of templates is refused; of names, plain ones are tried then."""
        return [
            f"{n} of {self.trials}: {why}"
            for why, n in self.refused.items()
            if n > max(3, ALLOWED * self.trials) and not any(words in why for words in names.REFUSED)
        ]


def messages(seeds: list[int], options: Options) -> Iterator[tuple[str, Any]]:
    """What a process says while it tries some seeds; at last ("died", why) where it did."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "wb", 0) as pipe:

            def say(kind: str, value: Any) -> None:
                data = pickle.dumps((kind, value))
                pipe.write(struct.pack("<Q", len(data)) + data)

            try:
                for seed in seeds:
                    say("seed", seed)
                    say("outcome", trial(seed, options, lambda case, probe: say("probe", (case, probe))))
            except BaseException as error:  # noqa: BLE001 - the oracle's own
                say("broken", repr(error))
        os._exit(0)
    os.close(writer)
    buffer, late = b"", False
    try:
        while True:
            if not select.select([reader], [], [], LONGEST)[0]:
                late = True
                os.kill(pid, signal.SIGKILL)
                break
            chunk = os.read(reader, 1 << 20)
            if not chunk:
                break
            buffer += chunk
            while len(buffer) >= 8 and len(buffer) >= 8 + struct.unpack("<Q", buffer[:8])[0]:
                size = struct.unpack("<Q", buffer[:8])[0]
                yield pickle.loads(buffer[8 : 8 + size])
                buffer = buffer[8 + size :]
    finally:
        os.close(reader)
        _, status = os.waitpid(pid, 0)
    if late:
        yield "died", f"no answer in {LONGEST:.0f} s"
    elif os.WIFSIGNALED(status):
        yield "died", f"killed by {signal.Signals(os.WTERMSIG(status)).name}"


SERVER = Server(lambda task: attempt(*task))


def safely(case: Case, probe: Probe) -> list[Failure]:
    """A probe from the start, in another process; what may write where it should not has one to itself."""
    try:
        if probe.backend == "native":
            return isolated(lambda: attempt(case, probe), PATIENCE)
        return SERVER((case, probe), PATIENCE)
    except Died as error:
        return [Failure("crash", "process", str(error))]
    except RuntimeError as error:
        return [Failure("error", "the oracle itself", str(error).strip().splitlines()[-1])]


def run(
    first: int,
    seconds: float,
    options: Options,
    *,
    small: float = 40.0,
    trials: int | None = None,
    skip: str = "",
    found: Callable[[Group], None] = lambda group: None,
) -> Tally:
    """Trials from one seed on for some seconds, the last of which make failures small; `found` hears of each group.

    What looks like the pattern `skip` is counted alone.
    """
    tally = Tally(first)
    began, seed = time.monotonic(), first
    while time.monotonic() < began + seconds * (1 - SHRINKING) and (trials is None or seed < first + trials):
        seeds = list(range(seed, min(seed + TOGETHER, first + trials if trials else seed + TOGETHER)))
        now: tuple[int, Case | None, Probe | None] = (seed, None, None)
        for kind, value in messages(seeds, options):
            if kind == "seed":
                now = (value, None, None)
            elif kind == "probe":
                now = (now[0], *value)
            elif kind == "outcome":
                tally.take(value)
                seed = value.seed + 1
                for case, probe, failures in value.failures:
                    tally.note(value.seed, case, probe, failures)
            else:
                failure = Failure("crash" if kind == "died" else "error", "process", str(value))
                tally.trials += 1
                seed = now[0] + 1
                if now[1] is not None and now[2] is not None:
                    tally.note(now[0], now[1], now[2], [failure])
                else:
                    print(f"seed {now[0]}: {failure}")
    waiting = [one for key, ones in tally.waiting.items() if not skip or not re.search(skip, key) for one in ones]
    waiting.sort(key=lambda one: (one[0] > 0, one[1]))
    for count, (_, _, seed, case, probe, failures) in enumerate(waiting):
        left = began + seconds - time.monotonic()
        group = judge(tally, seed, case, probe, failures, max(3.0, min(small, left / (len(waiting) - count) * 2)))
        if len(group.seeds) == 1:
            found(group)
    SERVER.stop()
    return tally


def judge(tally: Tally, seed: int, case: Case, probe: Probe, failures: list[Failure], seconds: float) -> Group:
    """Make a failure small, and put it with its kin."""
    again = [f for f in safely(case, probe) if f.kind != "refused"]
    if not again:
        failures = [Failure(f.kind, f.what, f"{f.text} (not when tried alone)") for f in failures]
        cause = f"not alone: {look(probe, failures)}"
    else:
        case, probe, failures = shrunk(case, probe, again, safely, seconds)
        cause = report.cause(case, probe, failures)
    group = tally.groups.setdefault(cause, Group(cause, case, probe, failures))
    group.seeds.append(seed)
    if len(group.seeds) == 1:
        print(f"\n### seed {seed}: {probe}\n" + shown(group), flush=True)
    return group


def look(probe: Probe, failures: list[Failure]) -> str:
    """What a failure looks like before it is small."""
    errors = sorted({f.signature for f in failures if f.kind == "error"})
    if errors:
        return " ".join(errors)
    return f"{probe.backend} " + " ".join(sorted({f.signature for f in failures}))


def shown(group: Group) -> str:
    """A failure as text."""
    texts = "\n".join(f"{f.kind}: {f.what}: {f.text}" for f in group.failures[:3])
    script, numbers = report.script(group.case, group.probe), report.expected(group.case, group.probe)
    return f"{texts}\n```python\n{script}```\nPyTorch:\n{numbers}\n"
