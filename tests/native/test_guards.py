"""Native code touches nothing beyond its buffers and the arrays it reads: each lies at a page that nobody may touch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="pages are guarded by mprotect")

ROOT = Path(__file__).parents[2]
SIDES = ("end", "begin")


def guarded(side: str, source: str, start: int, stop: int) -> subprocess.CompletedProcess[str]:
    """A process that runs cases under guard."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.helpers.guarded", side, source, str(start), str(stop)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "UNROLL_NUM_THREADS": "2"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def clean(done: subprocess.CompletedProcess[str]) -> None:
    """It ran to its end, and it did guard something."""
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"{done.returncode} in {last}\n{done.stderr[-3000:]}"
    kind, buffers = last[0].split()
    assert kind == "done"
    assert int(buffers) > 0


@pytest.mark.parametrize("side", SIDES)
def test_a_page_that_is_touched_ends_the_process(side: str) -> None:
    """A step more than there is lies behind the end, or in what the allocation was rounded up by."""
    done = guarded(side, "beyond", 0, 1)
    assert done.returncode == (-11 if side == "end" else done.returncode)
    assert "0 one step more" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_the_zoo_under_guard(side: str) -> None:
    clean(guarded(side, "collection", 0, 10_000))


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_random_systems_under_guard(side: str, start: int) -> None:
    pytest.importorskip("torch")
    clean(guarded(side, "random", start, start + 100))
