"""Every example runs alone, from any folder, and leaves pictures that are not empty; so does the demo."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.py") if p.stem not in ("common", "data", "run_all"))
MEASURED = [p for p in EXAMPLES if "from common import" in p.read_text(encoding="utf-8")]
NEEDS = {"digits": "sklearn", "el_nino": "statsmodels", "sunspots": "statsmodels"}
SLOW = ("attention", "bidirectional", "encoder_decoder")  # large pictures
STRICT = ("attention", "encoder_decoder", "image_to_word")  # one symbol wrong is all wrong: none right so soon


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p not in MEASURED], ids=lambda p: p.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    for picture in tmp_path.glob("*.svg"):
        assert "<svg" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW)) for p in MEASURED],
    ids=[p.stem for p in MEASURED],
)
def test_example_measures_itself(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a script, but in this process, which has imported the large packages once; two updates."""
    pytest.importorskip("tqdm")
    for reader in re.findall(r"^from data import (\w+)", path.read_text(encoding="utf-8"), re.M):
        pytest.importorskip(NEEDS.get(reader, "numpy"))
    for package in re.findall(r'need\("(\w+)', path.read_text(encoding="utf-8")):
        pytest.importorskip(package)
    if path.stem == "attention":
        pytest.importorskip("babel")  # for the dates of encoder_decoder.py
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(
        sys, "argv", [str(path), "--steps", "2", "--backend", "numpy", "--quiet", "--out", str(tmp_path)]
    )
    runpy.run_path(str(path), run_name="__main__")
    row = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    name, _, before, trivial, after, target, _, _ = row
    assert name == path.stem
    assert float(before) != float(after) or name in STRICT  # two updates have changed something
    assert float(target) != float(trivial.split()[0])
    assert len(list(tmp_path.glob("*-unfolded.svg"))) == 1
    for picture in tmp_path.glob("*.svg"):
        assert "<svg" in picture.read_text(encoding="utf-8")


def test_example_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyphen.py").write_text("raise ImportError", encoding="utf-8")
    path = ROOT / "examples" / "bidirectional.py"
    run = (
        "import runpy, sys; *sys.path[:0], path = sys.argv[1:]; sys.argv = [path]; runpy.run_path(path, {}, '__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, tmp_path, path.parent, path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "bidirectional.py needs pyphen: pip install pyphen\n"


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
