"""`unroll` against its peers, the time of a loss with its gradients: `python benchmarks/compare.py --help`.

Every contestant (`peers.py`) runs in a process of its own on the same weights and inputs (`cells.py`), with as many
threads as every other. Its gradients are first compared with those of the numpy backend in float64. The processes then
take turns, in blocks of at least half a second with a pause between, so that no one's BLAS threads still spin while
another is measured; the tables give medians of the calls. Where the system tells (Linux), a block waits until other
programs leave the cores alone, and is measured again when they did not. Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import STACKS, TITLES, Arrays, Size, draw
from peers import CONTESTANTS, WARM

SIZES: tuple[Size, ...] = ((128, 1, 32, 32), (128, 16, 64, 64), (128, 32, 128, 256), (64, 64, 512, 512))
NAMES = tuple(name for name in CONTESTANTS if name != "exact")
BLOCK, CALLS, PAUSE = 0.5, 5, 0.2
"""Seconds and calls that a block has at least, and the seconds of rest before it."""
NOISE, TRIES = 0.15, 3
"""Cores, beyond those to spare, in use by others where a block counts as disturbed; how often it is measured then."""
TOLERANCE = 1e-3
PACKAGES = ("numpy", "scipy", "llvmlite", "torch", "jax")

Entry = tuple[str, tuple[str, ...]]
"""A contestant's name, and the passes of the compiler that it goes without."""


class LeftOutError(Exception):
    """Why a contestant has no result."""


def tell(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def label(entry: Entry) -> str:
    """The name of a row."""
    name, without = entry
    return CONTESTANTS[name].label + (f" without {', '.join(without)}" if without else "")


def environment(threads: int) -> dict[str, str]:
    """The same number of threads for every library, and no result of an earlier compilation."""
    number = str(threads)
    return {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), number),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "NPROC": number,  # the size of XLA's pool of threads
        "JAX_PLATFORMS": "cpu",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no processes that outlive the compilation
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def used() -> float:
    """Seconds of processor time that all programs together have had; 0 where the system does not tell."""
    try:
        ticks = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=9)[1:9]
    except OSError:
        return 0.0
    return (sum(map(int, ticks)) - int(ticks[3]) - int(ticks[4])) / os.sysconf("SC_CLK_TCK")  # less idle and waiting


class Rest:
    """The pause before a block, how much longer it may get in one run, and how much others may use of the cores."""

    def __init__(self, patience: float, threads: int) -> None:
        self.left = patience
        self.noise = NOISE + max(0, _cores() - threads)

    def __call__(self) -> None:
        """Pause until the cores are idle, or patience ends."""
        while True:
            before = used()
            time.sleep(PAUSE)
            if used() - before <= self.noise * PAUSE or self.left <= 0:
                return
            self.left -= PAUSE


class Child:
    """One contestant's process; leaving the `with` block ends it and all that it started."""

    program = "peers.py"

    def __init__(self, entry: Entry, cell: str, folder: Path, threads: int, **more: Any) -> None:
        self.entry, self.results = entry, folder / f"{entry[0]}-{'-'.join(entry[1])}.npz"
        spec = {"name": entry[0], "without": entry[1], "cell": cell, "threads": threads}
        spec |= {**more, "arrays": str(folder / "arrays.npz"), "results": str(self.results)}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (see close)
        program = [sys.executable, str(Path(__file__).with_name(self.program)), json.dumps(spec)]
        self._process = subprocess.Popen(
            _pinned(program, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=self.environment(threads),
            start_new_session=True,
        )

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """What the process finds in its environment."""
        return environment(threads)

    def answer(self, seconds: float | None = None) -> dict[str, Any]:
        """The next line that the process writes. Raises LeftOutError when it ends first, is silent, or declines."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise LeftOutError(f"no first result, compilation included, within {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = [text.strip() for text in self._errors if text.strip()]
            raise LeftOutError(f"failed: {said[-1][:160] if said else 'it ended without a word'}")
        values: dict[str, Any] = json.loads(line)
        if "skip" in values:
            raise LeftOutError(values["skip"])
        return values

    def block(self) -> tuple[list[float], float]:
        """Times of the calls of one block, and the cores that other programs had meanwhile."""
        assert self._process.stdin is not None
        before, start = used(), time.perf_counter()
        self._process.stdin.write(f"go {BLOCK} {CALLS}\n")
        self._process.stdin.flush()
        said = self.answer()
        return said["times"], (used() - before - said["own"]) / (time.perf_counter() - start)

    def close(self) -> None:
        """End the process and its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session is its own
        self._process.communicate()
        self._errors.close()


def _pinned(program: list[str], threads: int) -> list[str]:
    """The command, held to that many of the cores where the system can."""
    if not hasattr(os, "sched_setaffinity") or threads >= len(os.sched_getaffinity(0)):
        return program
    cores = sorted(os.sched_getaffinity(0))[:threads]
    code = f"import os, sys; os.sched_setaffinity(0, {cores}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code, *program]


def errors(found: Arrays, expected: Arrays) -> dict[str, float]:
    """The largest difference in each array, relative to the largest element expected."""
    return {n: float(np.abs(found[n] - v).max() / np.abs(v).max()) for n, v in expected.items()}


def measure(
    cell: str, size: Size, entries: Sequence[Entry], rounds: int, threads: int, rest: Rest, limit: float
) -> dict[Entry, Any]:
    """For each contestant its median seconds, first call, memory and error as a dict, or why it has none as a text."""
    found: dict[Entry, Any] = {}
    alive: dict[Entry, Child] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params, x = draw(cell, size)
        np.savez(folder / "arrays.npz", **params, x=x)
        try:
            expected: Arrays = {}
            for entry in (("exact", ()), *entries):
                what = f"{cell} {','.join(map(str, size))} {label(entry)}"
                if cell not in CONTESTANTS[entry[0]].cells:
                    found[entry] = "has no such cell"
                    continue
                child = alive[entry] = Child(entry, cell, folder, threads)
                try:
                    found[entry] = child.answer(limit)
                    with np.load(child.results) as file:
                        differ = errors(dict(file), expected) if expected else {}
                        expected = expected or dict(file)
                    found[entry]["error"] = max(differ.values(), default=0.0)
                    if not all(value <= TOLERANCE for value in differ.values()):  # so that a nan is wrong
                        raise LeftOutError(f"wrong: relative errors {_numbers(differ)}")
                    tell(f"{what}: first call {found[entry]['first']:.2f} s; relative errors {_numbers(differ)}")
                except LeftOutError as reason:
                    tell(f"{what}: {reason}")
                    found[entry] = str(reason)
                if entry[0] == "exact" or isinstance(found[entry], str):
                    alive.pop(entry).close()
                if not expected:
                    raise SystemExit(f"nothing to compare with: {found[entry]}")
            _rounds(alive, found, rounds, rest)
        finally:
            for child in alive.values():
                child.close()
    return found


def _numbers(differ: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.0e}" for name, value in differ.items())


def _rounds(alive: dict[Entry, Child], found: dict[Entry, Any], rounds: int, rest: Rest) -> None:
    """Let the processes take turns, every other round in the opposite order."""
    times: dict[Entry, list[float]] = {entry: [] for entry in alive}
    noise: dict[Entry, list[float]] = {entry: [] for entry in alive}
    for number in range(rounds):
        for entry in list(alive)[:: -1 if number % 2 else 1]:
            best: tuple[list[float], float] = [], float("inf")
            try:
                for _ in range(TRIES):
                    rest()
                    best = min(best, alive[entry].block(), key=lambda pair: pair[1])
                    if best[1] <= rest.noise or rest.left <= 0:
                        break
            except LeftOutError as reason:
                found[entry] = str(reason)
                alive.pop(entry).close()
            times[entry] += best[0]
            noise[entry].append(best[1])
    for entry in alive:
        values = times[entry]
        found[entry] |= {
            "time": statistics.median(values),
            "fastest": min(values),
            "noise": noise[entry],
            "limit": rest.noise,
        }
        tell(
            f"  {label(entry)}: {1e3 * statistics.median(values):.3g} ms, median of {len(values)} calls; "
            f"others had {max(noise[entry]):.2f} cores at most"
        )


def tables(cell: str, results: Mapping[Size, Mapping[Entry, Any]], entries: Sequence[Entry], base: Entry) -> str:
    """The Markdown of one cell."""
    sizes = list(results)
    head = "| T, B, D, H | " + " | ".join(", ".join(map(str, s)) for s in sizes) + " |\n" + "| --- " * (len(sizes) + 1)
    rows = [e for e in entries if any(not isinstance(found[e], str) for found in results.values())]
    times: list[str] = []
    fastest: list[str] = []
    costs: list[str] = []
    notes: list[str] = []
    for entry in entries:
        reasons: dict[str, list[str]] = {}
        for size, found in results.items():
            if isinstance(found[entry], str):
                reasons.setdefault(found[entry], []).append(", ".join(map(str, size)))
        for reason, where in reasons.items():
            place = "" if len(where) == len(sizes) else f" at {'; '.join(where)}"
            notes.append(f"* Left out: {label(entry)}{place}: {reason}.")
    for entry in rows:
        line, quick, cost = [label(entry)], [label(entry)], [label(entry)]
        for found in results.values():
            mine, theirs = found[entry], found.get(base)
            if isinstance(mine, str):
                for row in (line, quick, cost):
                    row.append("-")
                continue
            for row, key in ((line, "time"), (quick, "fastest")):
                ratio = f" ({mine[key] / theirs[key]:.2f})" if isinstance(theirs, dict) else ""
                row.append(f"{1e3 * mine[key]:.3g}{ratio}")
            cost.append(f"{mine['first']:.2f} s, {mine['memory']:.0f} MiB")
        for table, row in ((times, line), (fastest, quick), (costs, cost)):
            table.append("| " + " | ".join(row) + " |")
    kept = [found[e] for found in results.values() for e in entries if isinstance(found[e], dict)]
    disturbed = [value for entry in kept for value in entry["noise"] if value > entry["limit"]]
    if disturbed:
        notes.append(
            f"* Disturbed: in {len(disturbed)} of {sum(len(entry['noise']) for entry in kept)} blocks other programs "
            f"had {min(disturbed):.2f} to {max(disturbed):.2f} cores; what needs all threads at once suffers most, "
            "and the fastest calls least."
        )
    worst = max((entry["error"] for entry in kept), default=0)
    notes.append(f"* Every gradient and the loss agree with float64 to {worst:.0e} of their largest element.")
    return "\n".join(
        [
            f"## {TITLES[cell]}\n",
            f"Milliseconds for the loss and all gradients, median; in brackets the ratio to {label(base)}.\n",
            f"{head}|",
            *times,
            "\nThe same for the fastest call of each.\n",
            f"{head}|",
            *fastest,
            f"\nFirst call, after imports; memory: the peak over {WARM + 1} calls less the peak after imports.\n",
            f"{head}|",
            *costs,
            "",
            *notes,
            "",
        ]
    )


def machine(threads: int) -> str:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((r.partition(":")[2].strip() for r in lines if r.startswith("model name")), platform.machine())
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    load = f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{today}; {model}, {_cores()} cores, {threads} threads{load}; float32; {', '.join(versions)}.\n"


def _several(known: Sequence[str]) -> Any:
    """A parser of names with commas between, out of those known."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(n for n in text.split(",") if n)
        if unknown := [n for n in names if n not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def _size(text: str) -> Size:
    try:
        steps, batch, inputs, hidden = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a size is T,B,D,H, four integers; got {text!r}") from None
    return steps, batch, inputs, hidden


def _baseline(entries: Sequence[Entry], cell: str) -> Entry:
    """The contestant that the ratios are to: torch.nn, the PyTorch loop where there is no such cell, or the first."""
    wanted = [e for name in ("torch", "loop") for e in entries if e[0] == name and cell in CONTESTANTS[name].cells]
    return (wanted or list(entries))[0]


def main() -> None:
    """Measure and print."""
    from unroll.backends import load
    from unroll.compiler.pipeline import OPTIONAL

    parts = (*OPTIONAL, *load("native").optional)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=_several(tuple(STACKS)), default=("elman", "lstm", "gru", "odd"))
    parser.add_argument("--sizes", type=_size, nargs="+", default=SIZES, metavar="T,B,D,H")
    parser.add_argument("--contestants", type=_several(NAMES), default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each contestant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait for idle cores, in all")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a first call may take, or is left out")
    parser.add_argument("--without", type=_several(OPTIONAL), default=(), help=f"unroll without {','.join(OPTIONAL)}")
    parser.add_argument("--ablation", action="store_true", help=f"the native LSTM without each of {', '.join(parts)}")
    parser.add_argument("--write", type=Path, help="write the tables to this file too")
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    cells, entries = args.cells, [(n, args.without if n in ("native", "numpy") else ()) for n in args.contestants]
    if args.ablation:
        cells, entries = ("lstm",), [("native", ()), *(("native", (name,)) for name in parts), ("native", parts)]
    text, rest = machine(args.threads), Rest(args.patience, args.threads)
    print(text, flush=True)
    for cell in cells:
        how = (entries, args.rounds, args.threads, rest, args.limit)
        results = {size: measure(cell, size, *how) for size in args.sizes}
        part = tables(cell, results, entries, _baseline(entries, cell))
        print(part, flush=True)
        text += "\n" + part
    if args.write:
        title = "# Benchmarks\n\nMade by `python benchmarks/compare.py`, which says how.\n\n"
        args.write.write_text(title + text, encoding="utf-8")


if __name__ == "__main__":
    main()
