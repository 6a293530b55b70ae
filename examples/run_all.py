"""Run every example that measures itself, one after the other, and write the table of results into README.md."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = """| example | measure | before | trivial guess | after | target | reached | time | other seeds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
AFTER = 5  # the place of the figure in a row


def measuring() -> list[Path]:
    """The examples whose last line is a row of the table."""
    return [p for p in sorted(HERE.glob("*.py")) if re.search(r"^    result\(", p.read_text(encoding="utf-8"), re.M)]


def row(path: Path, out: Path, seed: int) -> str:
    """What an example prints last; where it fails, it has said why, and nothing more is run."""
    command = [sys.executable, str(path), "--out", str(out), "--seed", str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines()[-1]


def main() -> int:
    """The table goes between the two marks of README.md; 1 where a target is missed with the first seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("unroll-examples"), help="folder for the pictures")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 1 up (default: %(default)s)")
    args = parser.parse_args()
    rows = []
    print(HEAD, end="")
    for path in measuring():
        first, *others = (row(path, args.out, seed) for seed in range(1, args.seeds + 1))
        rows.append(f"{first} {', '.join(other.split('|')[AFTER].strip() for other in others)} |")
        print(rows[-1], flush=True)
    readme = HERE / "README.md"
    before, mark, rest = readme.read_text(encoding="utf-8").partition("<!-- results -->\n")
    after = rest.partition("<!-- end -->")[2]
    table = HEAD + "\n".join(rows)
    readme.write_text(f"{before}{mark}\n{table}\n\n<!-- end -->{after}", encoding="utf-8")
    return int(any("| no |" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
