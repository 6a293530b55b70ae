"""`unroll draw`, `explore`, `equations` and `explain` on a user's file: what they print, write and refuse."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import unroll
from unroll.cli import commands
from unroll.cli.main import main
from unroll.patience import Patience

MODEL = """
from unroll import Template, ops, t
from beside import WIDTH

def leak(units=WIDTH, name="leak"):
    g = Template(name)
    x, o, a, h = g.input("x", units), g.input("o", units), g.param("alpha"), g.variable("h", units)
    h[0] = 0
    h[t] = a * h[t-1] + x[t]
    g.loss = ops.sum(ops.mse(h[t], o[t]), over=t)
    return g

made = leak()

def needs(units, *, rate):
    return leak(units)

def number():
    return 3

def breaks():
    return {}["missing\\nkey"]

def leaves():
    raise SystemExit("enough")

def loops():
    g = Template("loops")
    h, s = g.variable("h", ()), g.variable("s", ())
    h[t] = ops.tanh(s[t])
    s[t] = h[t] * 2
    g.output("y", h[t])
    return g

def unfit():
    g = Template("unfit")
    W, x = g.param("W", (4, 4)), g.input("x", 3)
    g.output("y", W @ x[t])
    return g
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "beside.py").write_text("WIDTH = 2\n")
    yield tmp_path
    for name in ("model", "beside"):
        sys.modules.pop(name, None)


def fails(capsys, *arguments):
    """The lines on stderr of a command that ends with status 2 and prints nothing."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    lines = [line for line in err.splitlines() if not line.endswith(" ...")]  # progress, where the machine is slow
    assert lines[0].startswith("unroll: ")
    assert "Traceback" not in err
    return lines


def printed(capsys, *arguments):
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert not [line for line in err.splitlines() if not line.endswith(" ...")], "progress, and nothing else"
    return out


@pytest.mark.parametrize("target", ["model.py:leak", "model:leak", "model.py:made"])
def test_equations(capsys, model, target):
    assert [line.split("    ")[0] for line in printed(capsys, "equations", target).splitlines()] == [
        "template leak(x[t]: input, 2; o[t]: input, 2; alpha: param, scalar)",
        "  h[0] = 0",
        "  h[t] = alpha * h[t-1] + x[t]",
        "  loss = sum(mse(h[t], o[t]), over=t)",
    ]


def test_forms_of_equations(capsys, model):
    assert "h⁽ᵗ⁾ = α h⁽ᵗ⁻¹⁾ + x⁽ᵗ⁾" in printed(capsys, "equations", "model.py:leak", "--unicode")
    assert "∂L/∂α = ∑ₜ" in printed(capsys, "equations", "model.py:leak", "--unicode", "--backward")
    assert "o[t-1]" in printed(capsys, "equations", "model.py:leak", "--forced", "h=o")
    assert "h[2] = alpha * h[1] + x[2]" in printed(capsys, "equations", "model.py:leak", "-T", "2")
    assert printed(capsys, "equations", "model.py:leak", "--latex", "-o", "a.tex") == ""
    assert (model / "a.tex").read_text().startswith("\\begin{align*}\n\\boldsymbol{h}^{(0)} &= 0 \\\\\n")


def test_arguments_of_the_function(capsys, model):
    for arguments in (["units=5", "name=a b", "--unicode"], ["--unicode", "units=5", "name=a b"]):
        assert printed(capsys, "equations", "model.py:leak", *arguments).startswith("template a b(x⁽ᵗ⁾: input, 5;")


def test_draw(capsys, model):
    assert printed(capsys, "draw", "model.py:leak", "-T", "2", "-o", "a.svg") == ""
    ids = [e.text for e in ET.parse(model / "a.svg").iter("{http://www.w3.org/2000/svg}title")]
    assert any("h⁽²⁾" in (text or "") for text in ids)
    assert printed(capsys, "draw", "model.py:leak").startswith("<svg")
    looks = printed(capsys, "draw", "model.py:leak", "--rankdir", "LR", "--theme", "dark", "--transparent")
    assert "#E8E8E8" in looks
    assert '<rect width="100%"' not in looks
    assert printed(capsys, "draw", "model.py:leak", "--backward", "--format", "dot").startswith("digraph")
    assert "y" not in printed(capsys, "draw", "model.py:leak", "--forced", "h=o", "-o", "b.dot")
    assert (model / "b.dot").read_text().startswith("digraph")
    (told,) = fails(capsys, "draw", "model.py:leak", "-o", "c.svg", "--dpi", "300")
    assert told == "unroll: dpi=300.0 is the resolution of a PNG; svg has lines and no dots"


def test_explore(capsys, model):
    assert printed(capsys, "explore", "model.py:leak", "-T", "1") == "leak.html: open it in a browser\n"
    assert "leak, explored" in (model / "leak.html").read_text(encoding="utf-8")
    options = ["-T", "1", "--no-backward", "--forced", "h=o", "-o", "b.html"]
    assert printed(capsys, "explore", "model.py:made", *options) == "b.html: open it in a browser\n"


def test_explain(capsys, model):
    out = printed(capsys, "explain", "model.py:leak", "-T", "100", "--batch", "4", "--backend", "numpy")
    assert out.startswith("leak on numpy, float32: value_and_grad\n")
    assert "memory at batch size 4, T = 100" in out
    assert ": run\n" in printed(capsys, "explain", "model.py:leak", "--no-grad", "--backend", "numpy")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py:leak"], ["cannot read nowhere.py: no such file"]),
        ([".:leak"], ["'.' is neither a Python file nor the name of a module"]),
        (["nowhere:leak"], ["there is no module 'nowhere'"]),
        (["model.py"], ["'model.py' names no function: write FILE.py:FUNCTION"]),
        (["model.py:"], ["names no function"]),
        (["model.py:leek"], ["model.py has no function 'leek'. Did you mean model.py:leak?"]),
        (["model.py:zzz"], ["'zzz'; it has leak, made, needs, number, breaks, leaves, loops"]),
        (["model.py:number"], ["model.py:number returned a int, not a Template"]),
        (["model.py:WIDTH"], ["model.py:WIDTH is a int, neither a Template nor a function that returns one"]),
        (["model.py:needs"], ["model.py:needs(units, *, rate): missing a required argument: 'units'"]),
        (["model.py:leak", "size=3"], ["unexpected keyword argument 'size'"]),
        (["model.py:made", "size=3"], ["is a template already and takes no arguments, got 'size=3'"]),
        (["model.py:leak", "3"], ["'3' is no argument for the function: write name=value"]),
        (["model.py:breaks"], ["model.py:breaks raised KeyError: 'missing", 'model.py:22: return {}["missing']),
        (["model.py:leaves"], ["model.py:leaves raised SystemExit: enough", "model.py:25: raise"]),
        (["model.py:leak", "-T", "2", "--length", "S=2"], ["no axis that ends in S"]),
        (["model.py:leak", "--length", "T=x"], ["--length T=x: a length is an integer"]),
        (["model.py:leak", "--forced", "h=q"], ["q"]),
    ],
    ids=lambda value: " ".join(value),
)
@pytest.mark.parametrize("command", ["draw", "equations"])
def test_what_is_refused(capsys, model, command, arguments, words):
    lines = fails(capsys, command, *arguments)
    assert len(lines) <= 2 or "--forced" in arguments
    for word, line in zip(words, lines, strict=False):
        assert word in line


def test_a_file_that_does_not_load(capsys, model):
    (model / "bad.py").write_text("x = (1,\n")
    first, second = fails(capsys, "draw", "bad.py:f")
    assert first == "unroll: bad.py: '(' was never closed"
    assert "bad.py:1: x = (1," in second
    (model / "worse.py").write_text("import nothing_there\n")
    first, second = fails(capsys, "draw", "worse.py:f")
    assert first == "unroll: worse.py raised ModuleNotFoundError: No module named 'nothing_there'"
    assert "worse.py:1: import nothing_there" in second


def test_a_template_that_is_wrong_says_where(capsys, model):
    lines = fails(capsys, "draw", "model.py:loops")
    assert "h depends on itself within one step" in lines[0] or "s depends on itself" in lines[0]
    assert any("model.py:30" in line for line in lines)


def test_shapes_that_do_not_fit_say_where(capsys, model):
    lines = fails(capsys, "equations", "model.py:unfit")
    assert "the inner sizes 4 and 3 differ" in lines[0]
    assert any("W has shape (4, 4)" in line for line in lines)
    assert any('g.output("y", W @ x[t])' in line and "model.py:" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "out", "word"),
    [
        ("draw", "a.jpg", "a.jpg ends in .jpg; the suffix names the format: .svg, .png, .pdf, .dot, .gv"),
        ("draw", "nowhere/a.svg", "cannot write nowhere/a.svg: No such file or directory"),
        ("explore", "a.svg", "a.svg: a page is an .html file"),
        ("explore", "nowhere/a.html", "cannot write nowhere/a.html: No such file or directory"),
        ("equations", "nowhere/a.txt", "cannot write nowhere/a.txt: No such file or directory"),
    ],
)
def test_files_that_cannot_be_written(capsys, model, command, out, word):
    steps = ["-T", "1"] if command == "explore" else []
    assert fails(capsys, command, "model.py:leak", *steps, "-o", out) == [f"unroll: {word}"]
    assert not (model / out).exists()


@pytest.mark.parametrize("command", commands.SUMMARY)
def test_help_teaches(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:\n" in out
    assert out.count(f"unroll {command} model.py:") >= 3
    assert "FILE.py:FUNCTION or package.module:FUNCTION" in out


@pytest.mark.parametrize("arguments", [["-T", "-1"], ["-T", "many"], ["--forced", "o"], ["--bogus"]], ids=" ".join)
def test_options_that_are_refused(capsys, model, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["draw", "model.py:leak", *arguments])
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("unroll")


def test_progress_is_told_after_a_second(capsys):
    patience = Patience("drawing")
    with patience:
        patience.say("drawing picture 2 of 3")
        assert capsys.readouterr().err == ""
        patience._start()
        assert capsys.readouterr().err == "unroll: drawing picture 2 of 3 ...\n"


def test_from_a_shell(model):
    environment = {**os.environ, "PYTHONPATH": str(Path(unroll.__file__).parents[1])}
    command = [sys.executable, "-m", "unroll", "equations"]
    run = subprocess.run([*command, "model.py:leak"], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.splitlines()[1] == "  h[0] = 0"
    run = subprocess.run([*command, "model.py:leek"], capture_output=True, text=True, check=False, env=environment)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Did you mean model.py:leak?" in run.stderr
