"""Files are written whole or not at all, and what a shell does with output ends in a line and an exit status."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unroll import Template, files, ops, t
from unroll.files import write_atomically

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX systems")


def leak() -> Template:
    g = Template("leak")
    x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    g.loss = ops.sum(h[t], over=t)
    return g


def alone(folder: Path, *names: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


def test_text_and_bytes(tmp_path: Path) -> None:
    for data in ("é\n", "é\r\n".encode(), b"", ""):
        write_atomically(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == (data.encode() if isinstance(data, str) else data)
    write_atomically(str(tmp_path / "b"), "x")
    alone(tmp_path, "a", "b")


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    path = tmp_path / "a.svg"
    path.write_text("before")

    def fails(*args: Any, **options: Any) -> Any:
        raise error

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *raised: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            raise error

    real = os.fdopen
    if call == "write":
        monkeypatch.setattr(files.os, "fdopen", lambda *args: Full(real(*args)))
    else:
        monkeypatch.setattr(files.os, call, fails)
    with pytest.raises(type(error)) as caught:
        leak().draw(path)
    monkeypatch.undo()
    assert path.read_text() == "before"
    alone(tmp_path, "a.svg")
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)


@posix
def test_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    code = (
        "import os, signal, sys; from unroll import files; "
        "files.os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL); "
        "files.write_atomically(sys.argv[1], 'after' * 10**6)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment(), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "before"


@posix
def test_a_file_of_limited_size(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("before")
    code = (
        "import resource, signal, sys; from unroll import files; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); files.write_atomically(sys.argv[1], 'x' * 5000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment(),
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "File too large" in done.stderr
    assert str(path) in done.stderr
    assert path.read_text() == "before"
    alone(tmp_path, "a.html")


@posix
def test_permissions_and_links(tmp_path: Path) -> None:
    os.umask(0o022)
    path, link, far = tmp_path / "a.svg", tmp_path / "link.svg", tmp_path / "far.svg"
    write_atomically(path, "1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o640)
    write_atomically(path, "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    link.symlink_to("a.svg")
    far.symlink_to("link.svg")
    write_atomically(far, "3")
    assert path.read_text() == "3"
    assert far.is_symlink()
    assert link.is_symlink()
    nowhere = tmp_path / "nowhere.svg"
    nowhere.symlink_to("new.svg")
    write_atomically(nowhere, "4")
    assert (tmp_path / "new.svg").read_text() == "4"
    alone(tmp_path, "a.svg", "link.svg", "far.svg", "nowhere.svg", "new.svg")
    with pytest.raises(FileNotFoundError, match=r"missing/a\.svg"):
        write_atomically(tmp_path / "missing" / "a.svg", "5")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.svg"):
        leak().draw(tmp_path / "folder.svg")


@posix
def test_what_is_no_file_of_its_own(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = "import sys; from unroll.files import write_atomically; write_atomically(sys.argv[1], 'through')"
    with subprocess.Popen([sys.executable, "-c", code, str(pipe)], env=environment()) as writer:
        assert pipe.read_text() == "through"
        assert writer.wait(60) == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", f"print('a', flush=True); {code}; print('b')", "/dev/stdout"],
                       env=environment(), stdout=out, timeout=60, check=True)  # fmt: skip
    assert (tmp_path / "out").read_text() == "a\nthroughb\n"
    write_atomically("/dev/null", "x")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="/dev/full"):
            write_atomically("/dev/full", "x")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


# -- the shell -------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(
        "from unroll import Template, t, ops\n"
        "def leak():\n"
        "    g = Template('leak'); x, a, h = g.input('x'), g.param('a'), g.variable('h', ())\n"
        "    h[0] = 0\n"
        "    h[t] = a * h[t-1] + x[t]\n"
        "    g.loss = ops.sum(h[t], over=t)\n"
        "    return g\n"
    )
    return tmp_path


def shell(folder: Path, command: str) -> tuple[int, str]:
    """The exit status of the first command of a pipe, and what is on stderr."""
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}".replace("unroll", f"{sys.executable} -m unroll", 1)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    patience = re.compile(r"unroll: .* \.\.\.\n")  # said of what takes longer than a second
    return done.returncode, patience.sub("", done.stderr)


HUGE = "99999999999999999999"


@posix
@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (f"unroll draw m.py:leak -T {HUGE}", 2, "must be a number of up to 15 digits"),
        (f"unroll equations m.py:leak -T {HUGE}", 2, "must be a number of up to 15 digits"),
        (f"unroll explain m.py:leak -T {HUGE}", 2, "must be a number of up to 15 digits"),
        (f"unroll explain m.py:leak --batch {HUGE}", 2, "must be a number of up to 15 digits"),
        (f"unroll draw m.py:leak --length S={HUGE}", 2, "a length is an integer of up to 15 digits"),
        (f"unroll draw m.py:leak -T {'9' * 5000}", 2, "must be a number of up to 15 digits"),
        ("unroll draw m.py:leak -T 999999999999999", 2, "T = 999999999999999: a length is at most 281,474,976,710,656"),
        ("unroll explore m.py:leak -T 1000000000", 2, "a page has a picture for each length, 1,000 at most"),
        ("unroll equations m.py:leak > /dev/full", 2, "the standard output: No space left on device"),
        ("unroll draw m.py:leak > /dev/full", 2, "the standard output: No space left on device"),
        ("unroll info > /dev/full", 2, "the standard output: No space left on device"),
        ("unroll equations m.py:leak -o /dev/full", 2, "cannot write /dev/full: No space left on device"),
        ("unroll equations m.py:leak -o nowhere/a.tex", 2, "cannot write nowhere/a.tex: No such file or directory"),
    ],
)
def test_one_line_and_an_exit_status(model: Path, command: str, status: int, words: str) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    found, said = shell(model, command)
    assert (found, "Traceback" in said) == (status, False), said
    assert words in said
    last = said.strip().splitlines()[-1]
    assert words in last
    assert len(last) < 250


@posix
@pytest.mark.parametrize("command", ["draw m.py:leak -T 40", "equations m.py:leak", "--help", "info"])
def test_whoever_has_read_enough(model: Path, command: str) -> None:
    assert shell(model, f"unroll {command} | true") == (0, "")
    assert shell(model, f"unroll {command} | head -1 > /dev/null") == (0, "")


@posix
def test_large_numbers_that_fit(model: Path) -> None:
    assert shell(model, "unroll explain m.py:leak -T 1000000000000 > /dev/null") == (0, "")
    assert shell(model, "unroll equations m.py:leak -T 1000000000000 > /dev/null") == (0, "")
