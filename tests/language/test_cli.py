"""The command line: what it prints, and plain failures, one line and exit status 2."""

from __future__ import annotations

import subprocess
import sys

import numpy
import pytest

import unroll
from unroll.cli.main import main

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


def fails(capsys, *arguments):
    """The one line on stderr of a command that ends with status 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1, err
    assert err.startswith("unroll: ")
    assert "Traceback" not in out + err
    return err


def refused(capsys, *arguments):
    """The last line of argparse's complaint."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_info(capsys):
    assert main(["info"]) == 0
    out, err = capsys.readouterr()
    table = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert table["unroll"] == unroll.__version__
    assert table["numpy"] == numpy.__version__
    assert {"python", "system", "networkx", "graphviz", "backends", "devices", "threads", "engines"} <= set(table)
    assert {"reference", "numpy"} <= set(table["backends"].split(", "))
    assert not err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["info", "--help"]], ids=" ".join)
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: unroll")
    if arguments[0] == "demo":
        assert all(option in out for option in ("--text", "--out", "--steps", "--seed", "--backend", "--quiet"))


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"unroll {unroll.__version__}\n"


def test_as_a_module():
    command = [sys.executable, "-m", "unroll", "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("unroll ")
    assert not result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["bogus"], "bogus"),
        (["demo", "--steps", "0"], "at least 1"),
        (["demo", "--steps", "-3"], "at least 1"),
        (["demo", "--steps", "many"], "many"),
        (["demo", "--seed", "x"], "'x'"),
        (["demo", "extra"], "extra"),
    ],
    ids=" ".join,
)
def test_arguments_that_are_refused(capsys, arguments, word):
    line = refused(capsys, *arguments)
    assert word in line
    assert "_positive" not in line


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_missing_file(capsys, folder):
    assert "cannot read nowhere.txt: No such file" in fails(capsys, "demo", "--text", "nowhere.txt")
    assert list(folder.iterdir()) == []


def test_a_folder_for_a_file(capsys, folder):
    assert "cannot read" in fails(capsys, "demo", "--text", str(folder))


def test_an_empty_file(capsys, folder):
    (folder / "a.txt").touch()
    assert "a.txt is empty" in fails(capsys, "demo", "--text", "a.txt")
    assert [p.name for p in folder.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("data", "byte"), [(b"\xff\xfe", 0), (b"abc\x80", 3), (TEXT.encode() + b"\xc3", len(TEXT))])
def test_an_undecodable_file(capsys, folder, data, byte):
    (folder / "a.txt").write_bytes(data)
    line = fails(capsys, "demo", "--text", "a.txt")
    assert "a.txt is not UTF-8 text" in line
    assert f"byte {byte} " in line


@pytest.mark.parametrize("length", [1, 2, 20, 70])
def test_a_file_too_short_to_learn_from(capsys, folder, length):
    (folder / "a.txt").write_text(TEXT[:length])
    line = fails(capsys, "demo", "--text", "a.txt")
    assert f"a.txt has {length} character" in line


@pytest.mark.parametrize("out", ["a.txt", "a.txt/below"])
def test_a_folder_that_cannot_be_written(capsys, folder, out):
    (folder / "a.txt").write_text(TEXT)
    assert f"cannot write into {out}: " in fails(capsys, "demo", "--text", "a.txt", "--out", out)
    assert (folder / "a.txt").read_text() == TEXT


@pytest.mark.parametrize(("option", "value", "word"), [("--backend", "torch", "'torch'"), ("--seed", "-1", "-1")])
def test_options_that_nothing_can_be_done_with(capsys, folder, option, value, word):
    (folder / "a.txt").write_text(TEXT)
    assert word in fails(capsys, "demo", "--text", "a.txt", "--steps", "1", option, value)


def test_a_tiny_run(capsys, folder):
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    assert main(["demo", "--text", "a.txt", "--out", "made/here", "--steps", "2", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "h[t] = tanh(b + W @ h[t-1] + U @ x[t])" in out
    assert "bits per character" in out
    assert str(folder / "made" / "here") in out
    made = {p.name for p in (folder / "made" / "here").iterdir()}
    assert made == {"folded.svg", "unfolded.svg", "adjoint.svg", "loss.svg"}
