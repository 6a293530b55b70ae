"""Mutants: small mistakes made in the code of the packages one by one, to see which of them the tests notice.

    python tools/mutants.py --number 240 --seed 12 --results mutants.jsonl tests/laws tests/native -m "not slow"
    python tools/mutants.py --list > keys.txt
    python tools/mutants.py --keys keys.txt tests/laws

`mutations` says what a mutant is. Tests are collected once. For each mutant the process forks, the child puts the
mutated code into the function, and runs the tests; whichever noticed a mutant comes first for the next. Killed is what
makes a test fail, crash, or take ten times its time. Tests that start a process of their own do not see the mutant
there. What follows the options goes to pytest. Results are added to the file as they come, one line of JSON each, and
are not computed a second time. It needs the extra `test` alone, and a system that forks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import typetree
from mutations import ROOT, mutants, named, plant

FILES = (
    "unroll/transform/simplify.py",
    "unroll/compiler/*.py",
    "backends/common/memory_layout.py",
    "backends/native/kernel.py",
    "backends/native/loop_nest.py",
)
MEMORY = 12 << 30
"""Bytes that the tests of one mutant may take."""


class Session:
    """A pytest plugin that runs the tests collected once for every mutant."""

    def __init__(self, keys: list[str], results: Path, slack: float) -> None:
        self.keys, self.results, self.slack = keys, results, slack
        self.items: list[pytest.Item] = []
        self.usual: dict[str, float] = {}
        self.shared = memoryview(b"").cast("d")  # the number of the test that runs, and how long each took

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """First without a mutant, then with each."""
        self.items = list(session.items)
        self.shared = memoryview(mmap.mmap(-1, 8 * (1 + len(self.items)))).cast("d")
        known = {json.loads(line)["key"] for line in self.results.read_text().splitlines()}
        said = self.child(session, None)
        if said != "survived":
            raise pytest.UsageError(f"without a mutant: {said}")
        for number, key in enumerate(key for key in self.keys if key not in known):
            change, began = self.words(key), time.monotonic()
            verdict = self.child(session, key)
            line = {"key": key, "change": change, "verdict": verdict, "seconds": round(time.monotonic() - began, 1)}
            with self.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(number, json.dumps(line), flush=True)
        return True

    def words(self, key: str) -> str:
        """The change, applied to a tree that nobody runs."""
        return next(m for m in mutants(key.partition(":")[0])[1] if m.key == key).apply()

    def child(self, session: pytest.Session, key: str | None) -> str:
        """All tests in a process of their own, until one fails."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            os._exit(self.run(session, key))
        status = os.waitpid(pid, 0)[1]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it may have left behind
        at, *times = self.shared
        item = self.items[int(at)]
        if key is None:
            self.usual = {item.nodeid: seconds for item, seconds in zip(self.items, times, strict=True)}
        if not status:
            return "survived"
        self.items.remove(item)
        self.items.insert(0, item)
        how = {signal.SIGALRM: "too long", 0: "failed"}.get(os.WTERMSIG(status), "crashed")
        return f"{how}: {item.nodeid}"

    def run(self, session: pytest.Session, key: str | None) -> int:
        """In the child: 0 if all tests pass."""
        try:
            if key is not None:
                plant(key)
            for n, item in enumerate(self.items):
                self.shared[0] = n
                following = self.items[n + 1] if n + 1 < len(self.items) else None
                signal.setitimer(signal.ITIMER_REAL, self.slack + 10 * self.usual.get(item.nodeid, 60))
                began = time.monotonic()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self.shared[n + 1] = time.monotonic() - began
                if session.testsfailed:
                    return 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            return 0
        except BaseException:  # noqa: BLE001 - whatever it is, it was noticed
            return 1


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", nargs="+", default=FILES, help="patterns; by default what this was written for")
    parser.add_argument("--number", type=int, help="so many, chosen at random; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", type=Path, help="a file of those to take, as --list writes them")
    parser.add_argument("--results", type=Path, default=Path(os.devnull))
    parser.add_argument("--slack", type=float, default=5.0, help="seconds beyond ten times its own for a test")
    parser.add_argument("--list", action="store_true", help="only list them")
    arguments, rest = parser.parse_known_args()
    keys = arguments.keys.read_text().split() if arguments.keys else named(arguments.files)
    if arguments.number and arguments.number < len(keys):
        keys = random.Random(arguments.seed).sample(keys, arguments.number)
    if arguments.list:
        print(*keys, sep="\n")
        return 0
    typetree.make()
    sys.path[:] = [str(typetree.TREE), *sys.path]
    if not arguments.results.exists():
        arguments.results.touch()
    session = Session(keys, arguments.results, arguments.slack)
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *rest], plugins=[session]))


if __name__ == "__main__":
    raise SystemExit(main())
