"""Every example runs alone, from any folder, and leaves pictures that are not empty; so does the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    for picture in tmp_path.glob("*.svg"):
        assert "<svg" in picture.read_text(encoding="utf-8")


def test_demo_trains_samples_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog, " * 200, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "unroll", "demo", "--text", str(text), "--steps", "60", "-q", "-o", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(row for row in done.stdout.splitlines() if row.startswith("held-out"))
    before, after = float(line.split()[4]), float(line.split()[6])
    assert after < 0.7 * before
    assert "h[t] = tanh(b + W @ h[t-1] + U @ x[t])" in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"folded.svg", "unfolded.svg", "adjoint.svg", "loss.svg"}
