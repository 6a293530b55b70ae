"""Make `.typetree/unroll`, the package as it looks once installed, out of links; with `--mypy`, check it too.

Type checkers know nothing of setuptools' mapping of folders to packages, so in a checkout they cannot tell that
`ops/` is `unroll.ops`. In this tree it is.

    python tools/typetree.py             make the tree
    python tools/typetree.py --mypy      make it, then run mypy on the packages and on the scripts
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".typetree"
SCRIPTS = ("start.py", "tools")  # outside the packages, and checked as strictly


def link(place: Path, target: Path) -> None:
    """Put `target` at `place`: a link, or a copy where the system does not grant links (Windows, by default)."""
    try:
        place.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        if target.is_dir():
            shutil.copytree(target, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(target, place)


def make() -> None:
    """Make the tree anew. mypy's cache lies beside the package and stays, so that a second run is quick."""
    package = TREE / "unroll"
    shutil.rmtree(package, ignore_errors=True)  # removes the links, never what they point to
    package.mkdir(parents=True)
    for item in sorted((ROOT / "unroll").iterdir()):
        if item.name not in ("__pycache__", "ops", "backends"):
            link(package / item.name, item)
    for name in ("ops", "backends"):
        link(package / name, ROOT / name)


def mypy() -> int:
    """Run mypy on the packages and on the scripts; 0 if both are clean."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    environment = {**os.environ, "MYPYPATH": str(TREE)}
    # From inside the tree: in the checkout's root mypy would find the folder unroll/, which has no ops, first.
    for what in (["-p", "unroll"], [str(ROOT / name) for name in SCRIPTS]):
        code = subprocess.run([*command, *what], cwd=TREE, env=environment, check=False).returncode
        if code:
            return code
    return 0


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mypy", action="store_true", help="check the tree and the scripts with mypy")
    arguments = parser.parse_args()
    make()
    return mypy() if arguments.mypy else 0


if __name__ == "__main__":
    raise SystemExit(main())
