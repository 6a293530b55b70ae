"""``python -m tests.oracle``: random systems on every backend against PyTorch, for as long as one likes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

# Memory that nobody wrote holds 0x7f in every byte, which is huge as a float: a read of it is seen.
SURROUNDINGS = {"GLIBC_TUNABLES": "glibc.malloc.perturb=128", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SURROUNDINGS |= {"UNROLL_NUM_THREADS": "2"}
GUARD = "libc_malloc_debug.so.0"  # glibc's: a write past the end of an allocation ends the process when it is freed
if any(
    Path(folder, GUARD).exists() for folder in ("/lib/x86_64-linux-gnu", "/lib64", "/usr/lib", "/lib/aarch64-linux-gnu")
):
    SURROUNDINGS |= {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=128", "LD_PRELOAD": GUARD}


def lines(counter: Counter[str], unit: str = "") -> str:
    """A counter as text, the largest first."""
    return ", ".join(
        f"{name} {n:.1f}{unit}" if isinstance(n, float) else f"{name} {n}" for name, n in counter.most_common()
    )


def replayed(path: str, settle: bool) -> int:
    """Every case of a file again; 1 where one fails."""
    from . import keep, report, runner

    failed, lines = 0, []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        case, probe, said = keep.loaded(text)
        found = runner.safely(case, probe)
        lines.append(text if found else keep.line(case, probe, said["about"]))
        failed += bool(found)
        print(f"{'FAILS' if found else 'holds'}: {probe}: {said['about']}")
        for failure in found:
            print(f"    {failure.kind}: {failure.what}: {failure.text}")
        if found:
            print(report.script(case, probe) + "PyTorch:\n" + report.expected(case, probe) + "\n")
    runner.SERVER.stop()
    print(f"{failed} fail")
    if settle:
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failed else 0


def main() -> int:
    """Run trials and say what they found; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="the first seed; by default a new one each time")
    parser.add_argument("--only-seed", type=int, help="this seed alone")
    parser.add_argument("--backends", default="numpy,reference,native", help="default: %(default)s")
    parser.add_argument("--laws", action="store_true", help="metamorphic laws too")
    parser.add_argument("--shrink-seconds", type=float, default=40.0, help="for each failure (default: %(default)s)")
    parser.add_argument("--replay", help="the cases of such a file instead of new ones")
    parser.add_argument("--settle", action="store_true", help="and call those of them that hold no longer open")
    parser.add_argument("--skip", default="", help="a pattern for looks of failures that are not made small")
    parser.add_argument("--keep", help="append small failing cases to this file, a line of JSON each")
    args = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in SURROUNDINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", "tests.oracle", *sys.argv[1:]], {**os.environ, **SURROUNDINGS})

    import torch

    from . import keep, runner
    from .trial import Options

    torch.set_num_threads(1)
    if "emulated" in args.backends:  # the CUDA text, compiled by g++: a second for each template
        from ..helpers import emulator

        emulator.register("emulated")
    if args.replay:
        return replayed(args.replay, args.settle)
    options = Options(tuple(args.backends.split(",")), args.laws)
    first = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "little")
    if args.only_seed is not None:
        first, trials = args.only_seed, 1
    else:
        trials = None

    def kept(group: runner.Group) -> None:
        if args.keep:
            with open(args.keep, "a", encoding="utf-8") as file:
                file.write(keep.line(group.case, group.probe, group.cause[:200], open=True) + "\n")

    print(f"first seed {first}", flush=True)
    began = time.monotonic()
    tally = runner.run(
        first, args.seconds, options, small=args.shrink_seconds, trials=trials, skip=args.skip, found=kept
    )
    wall = time.monotonic() - began
    print(f"\nfirst seed {first}: {tally.trials} templates in {wall:.0f} s")
    print("features: " + lines(tally.features))
    print("probes: " + lines(tally.done))
    print("seconds of CPU: " + lines(Counter({k: round(v, 1) for k, v in tally.seconds.items()})))
    rates = {k: tally.done[f"templates on {k}"] / max(v, 1e-9) for k, v in tally.seconds.items() if k != "making"}
    print("templates a second of CPU: " + lines(Counter(rates)))
    print("decided nothing: " + lines(tally.skipped))
    print("refused: " + lines(tally.refused))
    print("failures by look: " + "\n  ".join(["", *(f"{n} {look}" for look, n in tally.looks.most_common())]))
    print(
        f"{len(tally.groups)} groups: "
        + "".join(f"\n  {len(g.seeds)} {g.cause[:150]!r}" for g in tally.groups.values())
    )
    many = tally.too_many_refused()
    if many:
        print("refused too often: " + "; ".join(many))
    return 1 if tally.groups or many else 0


if __name__ == "__main__":
    sys.exit(main())
