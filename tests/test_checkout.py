"""The package in a checkout: ops/ and backends/ are found inside it, and nothing else of the checkout is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import unroll
from unroll import backends
from unroll.render.dot import GET_ENGINE

ROOT = Path(__file__).resolve().parent.parent
WALK = """
import pkgutil, sys
import unroll
before = set(sys.modules)
names = [m.name for m in pkgutil.walk_packages(unroll.__path__, "unroll.")]
print(*names)
own = {"ops", "backends", "tests", "tools", "examples", "benchmarks", "setup", "start"}
print(*{n.partition(".")[0] for n in set(sys.modules) - before} & own)
print(*dir(unroll))
import unroll.ops, unroll.backends.numpy
"""


def walked(root: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", WALK],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root)},
    )
    return done.stdout.splitlines()


def test_walking_the_packages_finds_them_and_runs_nothing_else() -> None:
    names, foreign, public = walked(ROOT)
    assert foreign == ""
    assert not {n for n in names.split() if n.split(".")[1] in ("setup", "start", "tests", "tools", "examples")}
    if (ROOT / "unroll" / "ops").is_symlink():
        assert {"unroll.ops.core", "unroll.backends.numpy.backend", "unroll.template"} <= set(names.split())
    assert {n for n in public.split() if not n.startswith("__")} == {n for n in unroll.__all__ if n != "__version__"}


def test_without_links_it_is_found_as_well(tmp_path: Path) -> None:
    """As git leaves a checkout on Windows: a text in place of each link."""
    shutil.copytree(
        ROOT / "unroll", tmp_path / "unroll", ignore=shutil.ignore_patterns("ops", "backends", "__pycache__")
    )
    for name in ("ops", "backends"):
        (tmp_path / name).symlink_to(ROOT / name)
        (tmp_path / "unroll" / name).write_text(f"../{name}")
    (tmp_path / "setup.py").write_text("raise SystemExit('setup.py was run')")
    names, foreign, _ = walked(tmp_path)
    assert foreign == ""
    assert "unroll.setup" not in names


@pytest.mark.skipif(not (ROOT / "unroll" / "ops").is_symlink(), reason="git made no links here")
def test_the_folder_of_an_editable_install_holds_the_package_alone() -> None:
    assert [p.name for p in (ROOT / ".editable").iterdir() if p.suffix != ".egg-info"] == ["unroll"]
    for place, target in (("unroll/ops", "ops"), ("unroll/backends", "backends"), (".editable/unroll", "unroll")):
        assert (ROOT / place).resolve() == ROOT / target
    assert (ROOT / ".editable" / "unroll" / "ops" / "core.py").is_file()
    assert (ROOT / ".editable" / "unroll" / "py.typed").is_file()


def test_messages_name_packages_that_an_extra_has() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for extra, text in (
        ("native", backends.EXTRAS["native"]),
        ("cuda12", backends.EXTRAS["cupy"].partition(" (or ")[0]),
        ("draw", GET_ENGINE),
    ):
        told = {re.split(r"[<>=;\[]", package.strip("'"))[0] for package in text.removeprefix("pip install ").split()}
        assert told == {re.split(r"[<>=;\[]", package)[0] for package in extras[extra]}
