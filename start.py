"""Run the demo or the tests with nothing set up by hand: `python3 start.py demo`, `python3 start.py test`.

The first run makes an environment, `.venv`, beside this file and installs the project in it. Later runs go straight
to work, until pyproject.toml or setup.py changes. Whatever follows the command's name is passed on. Needs only
Python's standard library, and is kept readable to Python 3.6, so that an old one gets a sentence and no traceback.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
PYTHON = ENV.joinpath(*(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
UNFINISHED = ENV / "unroll-unfinished"  # there while a set-up runs, so still there after one that was cut short
READY = ENV / "unroll-ready.json"  # written last: what the environment was set up for
USUAL = {"bin", "scripts", "include", "lib", "lib64", "share", "pyvenv.cfg", ".gitignore"}  # names in an environment
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")  # would reach outside the environment

COMMANDS = {"demo": ["-m", "unroll", "demo"], "test": ["-m", "pytest"]}
EXTRAS = {"demo": ["demo"], "test": ["demo", "test"]}
USAGE = "usage: python3 start.py demo|test [arguments for the demo or for pytest]"
PARALLEL = ["-n", "auto", "--maxprocesses", "8", "-m", "not slow"]
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def failure(message: str) -> SystemExit:
    """What to raise after saying what is wrong and how to mend it."""
    print("start.py: " + message, file=sys.stderr)
    return SystemExit(2)


def environment() -> "dict[str, str]":
    """The user's environment variables without those that would reach outside `.venv`."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def run_quietly(arguments: "list[str]", what: str) -> None:
    """Run one step of the set-up; if it fails, show the end of what it said."""
    step = subprocess.run(
        arguments, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if step.returncode:
        said = [line.rstrip()[:200] for line in step.stdout.decode(errors="replace").splitlines() if line.strip()]
        raise failure("{} failed. Its last words:\n    {}".format(what, "\n    ".join(said[-6:])))


def interpreter() -> str:
    """What an environment is tied to for good: the Python that made it, and the folder it lies in."""
    return f"{sys.version} {ROOT}"


def project() -> str:
    """What decides which packages the environment holds."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "setup.py").read_bytes()).hexdigest()


def recorded() -> "dict[str, object]":
    """What `.venv` was last set up for; empty if that was never finished, or if it is not our work."""
    if UNFINISHED.exists() or not PYTHON.exists():
        return {}
    try:
        record = json.loads(READY.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def clear() -> None:
    """Remove what is left of an environment, but nothing that does not look like one."""
    if not ENV.exists():
        return
    if Path(sys.prefix).resolve() == ENV.resolve():
        raise failure(".venv must be made anew, but this Python runs from it: `deactivate` first.")
    names = {item.name.lower() for item in ENV.iterdir()} if ENV.is_dir() else {ENV.name}
    if not names & {"pyvenv.cfg", UNFINISHED.name} and names - USUAL:
        raise failure(f"{ENV} is no virtual environment: move it away.")
    shutil.rmtree(ENV)


def create() -> None:
    """Make an empty `.venv` with pip in it."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise failure(
                f"this Python has no `{module}` module. On Debian and Ubuntu: apt install python3-venv. "
                "Elsewhere: install Python from python.org."
            )
    clear()
    ENV.mkdir()
    UNFINISHED.touch()
    run_quietly([sys.executable, "-m", "venv", str(ENV)], "making a virtual environment")


def prepare(extras: "list[str]") -> None:
    """See to it that `.venv` holds the project as it is now, with the `extras`."""
    wanted = {"interpreter": interpreter(), "project": project()}
    record = recorded()
    here = record.pop("extras", [])
    if record == wanted and isinstance(here, list) and set(extras) <= set(here):
        return
    print("Setting up .venv, this once (about a minute) ...", file=sys.stderr, flush=True)
    if record.get("interpreter") != wanted["interpreter"]:
        create()
    UNFINISHED.touch()
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    run_quietly([*pip, "--editable", ".[{}]".format(",".join(extras))], "pip install")
    READY.write_text(json.dumps({**wanted, "extras": extras}), encoding="utf-8")
    UNFINISHED.unlink()


def run(command: str, arguments: "list[str]") -> int:
    """Run the command in `.venv`; its exit status."""
    variables = environment()
    if command == "test" and not arguments:  # a process per core, hence one BLAS thread in each
        arguments = PARALLEL
        variables = {**dict.fromkeys(ONE_THREAD, "1"), **variables}
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the command's to answer
    folder = ROOT if command == "test" else None  # pytest finds its tests from here; the demo may write where you are
    child = subprocess.run([str(PYTHON), *COMMANDS[command], *arguments], cwd=folder, env=variables, check=False)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main() -> int:
    """Read the command line, set up what is missing and run."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python gets to read
        raise failure("unroll needs Python 3.11 or newer; this is {}.{}.".format(*sys.version_info[:2]))
    command, arguments = (sys.argv[1] if sys.argv[1:] else ""), sys.argv[2:]
    if command in {"-h", "--help"}:
        print(USAGE)
        return 0
    if command not in COMMANDS:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        prepare(EXTRAS[command])
    except OSError as error:
        raise failure(f"cannot set up .venv: {error}") from None
    except KeyboardInterrupt:
        print("\nstart.py: interrupted; the next run begins the set-up again.", file=sys.stderr)
        return 130
    return run(command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
