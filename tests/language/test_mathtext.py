"""Equations as LaTeX and as Unicode: every operation, every recurrence of the zoo, and names that mean harm."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata

import pytest
from helpers.cases import cases
from helpers.templates import elman
from helpers.zoo import ZOO

from unroll import T, Template, axis, cells, ops, t
from unroll.ir.system import Ref
from unroll.ops.core import OPS
from unroll.printing.latex import LatexWriter, align, in_notebook
from unroll.printing.unicode import PrettyWriter
from unroll.transform.higher_order import hessian_system

s, S = axis("s")
HOSTILE = [
    "\\input{/etc/passwd}",
    "a}b",
    "$x$",
    "%",
    "#1&",
    "^^41",
    "<b>\n</script>",
    "\x00",
    "猫",
    '"',
    "-_-",
    "é|",
    "h(",
]
COMMANDS = re.compile(
    r"\\(begin|end|text|text(backslash|asciicircum|asciitilde|less|greater|bar)|mathrm|mathbf|mathit|boldsymbol|top|"
    r"operatorname|mathrel|mathopen|left|right|[lr](vert|floor)|bmod|frac|sqrt|sum|max|min|exp|log|sin|cos|tanh|sigma|nabla|overline|"
    r"infty|displaystyle|odot|cdot|times|dots|qquad|[gl]e|ne|neg|wedge|vee|hat|bar|tilde|dot|(var)?(epsilon|phi)|alpha|beta|gamma|Gamma|psi|"
    r"delta|eta|theta|lambda|mu|rho)(?![A-Za-z])|\\[,;{}#$%&_\\]"
)


def assert_sound(text: str) -> None:
    """Known commands, braces and environments that close what they open, and no character LaTeX would stumble on."""
    open_: list[str] = []
    rest, place = text, 0
    while place < len(rest):
        if rest[place] == "\\":
            found = COMMANDS.match(rest, place)
            assert found, rest[place : place + 40]
            if found[1] in ("begin", "left"):
                open_.append(found[1])
            elif found[1] in ("end", "right"):
                assert open_.pop() == {"end": "begin", "right": "left"}[found[1]]
            place = found.end()
            continue
        if rest[place] == "{":
            open_.append("{")
        elif rest[place] == "}":
            assert open_.pop() == "{", rest[:place]
        else:
            assert rest[place] not in '#%~"|$', rest[place]
            assert rest[place].isascii() or rest[place] in "éγ", rest[place]
        place += 1
    assert not open_


def hostile() -> Template:
    g = Template("\n\\end{align*}")
    inputs = [g.input(name, 3) for name in HOSTILE]
    h = g.variable("\\h{", 3)
    h[0] = 0
    h[t] = ops.tanh(h[t - 1])
    total = inputs[0][t]
    for x in inputs[1:]:
        total = total * x[t] + h[t].T
    g.loss = ops.sum(ops.mean(total**2), over=t)
    return g


def _shape(operand):
    return operand if isinstance(operand, tuple) else getattr(operand, "shape", ())


def every_operation() -> list[Template]:
    """Each operation of the registry on operands that run along t."""
    made = []
    for op in OPS.values():
        case = next(case for case in cases(op) if not any(0 in _shape(operand) for operand in case.operands))
        g = Template(op.name)
        letters = op.operand_kinds(len(case.operands))
        args = []
        for position, (operand, letter) in enumerate(zip(case.operands, letters, strict=True)):
            kind = getattr(getattr(operand, "dtype", None), "kind", "f")
            dtype = "int" if kind == "i" else "bool" if kind == "b" or letter == "b" else "float"
            args.append(g.input(f"x_{position}", _shape(operand), dtype=dtype)[t])
        g.output("y", op(*args, **case.attrs))
        made.append(g)
    return made


@pytest.mark.parametrize("name", ZOO)
def test_all_three_texts_show_the_same_equations(name):
    for g in (ZOO[name](), ZOO[name]().adjoint()) if ZOO[name]().loss is not None else (ZOO[name](),):
        plain, pretty = (sum(not line.startswith(" " * 6) for line in x.splitlines()[1:]) for x in (f"{g}", g.pretty()))
        assert plain == pretty == len(LatexWriter(g.system).rows())
        assert_sound(g.latex())


def test_every_operation_has_a_form():
    found = list(every_operation())
    assert len(found) > 50
    for g in found:
        assert_sound(g.latex())
        (row,) = [r for r in LatexWriter(g.system).rows() if r.startswith(("\\boldsymbol{y}", "y"))]
        assert all(f"_{{{k}}}" in row for k in range(len(g.system.decls)) if f"x_{k}" in g.system.decls), row


def test_an_operation_of_ones_own():
    ops.define("half_x", ops.elementwise, lambda g, y, x: g / 2, body=lambda x: x / 2)
    sign = ops.Notation("{0} %\\ {1}", 20, (20, 21))
    ops.define("mod_", ops.elementwise, None, None, kinds="f,f->f", notation=sign, body=lambda a, b: a - b)
    try:
        g = Template()
        x = g.input("x")
        g.output("y", OPS["mod_"](OPS["half_x"](x[t]), 2.0))
        assert_sound(g.latex())
        assert r"\operatorname{half\_x}(x^{(t)})" in g.latex()
        assert r"\%" in g.latex()
        assert "half_x(x⁽ᵗ⁾) %\\ 2" in g.pretty()
    finally:
        del OPS["half_x"], OPS["mod_"]


def test_hostile_names_are_text():
    g = hostile()
    for text in (g.latex(), g.adjoint().latex(), in_notebook(g.system).strip("$")):
        assert_sound(text)
    assert all(unicodedata.category(c) != "Cc" for c in g.pretty().replace("\n", ""))


def test_names_that_would_print_alike_stay_apart():
    g = Template()
    a, b, c, d = (g.input(name) for name in ("h_1", "h1", "alpha", "α"))
    g.output("y", a[t] + b[t] * c[t] - d[t])
    for writer in (LatexWriter(g.system), PrettyWriter(g.system)):
        assert len(set(writer.names.values())) == len(writer.names)


def test_second_order_has_one_form_for_each_name():
    system = hessian_system(elman().system, ["W"])
    for writer in (LatexWriter(system), PrettyWriter(system)):
        shown = [writer.show(Ref(name)) for name in system.decls]
        assert len(set(shown)) == len(shown)
    assert_sound(align(system))


def test_the_book_in_latex():
    g = elman()
    rows = LatexWriter(g.system).rows()
    assert rows[1] == (
        r"\boldsymbol{h}^{(t)} &= \tanh(\boldsymbol{b} + \boldsymbol{W}\,\boldsymbol{h}^{(t-1)} + "
        r"\boldsymbol{U}\,\boldsymbol{x}^{(t)}) && t = 1, \dots, T"
    )
    assert rows[3].startswith(r"L &= \sum_{t=1}^{T} \operatorname{cross\_entropy}(")
    back = align(g.adjoint().system)
    assert (
        r"\nabla_{\boldsymbol{V}}L &= \sum_{t=1}^{T} (\nabla_{\boldsymbol{o}^{(t)}}L)\,{\boldsymbol{h}^{(t)}}^{\top}"
        in back
    )
    assert r"\boldsymbol{W}^{\top}\," in back


def test_the_book_in_unicode():
    lines = [re.sub(" {2,}", "  ", line.strip()) for line in elman().adjoint().pretty().splitlines()]
    assert "h⁽ᵗ⁾ = tanh(b + W h⁽ᵗ⁻¹⁾ + U x⁽ᵗ⁾)  t = 1…T" in lines
    assert "∂L/∂V = ∑ₜ (∂L/∂o⁽ᵗ⁾) h⁽ᵗ⁾ᵀ" in lines
    assert "∂L/∂h⁽ᵗ⁾ += Wᵀ (∂L/∂h⁽ᵗ⁺¹⁾ ⊙ (1 − (h⁽ᵗ⁺¹⁾)²))  t = 1…T−1" in lines


def test_parentheses_follow_the_meaning():
    g = Template()
    x, a, W = g.input("x", 3), g.param("alpha"), g.param("W", (3, 3))
    shown = {
        "W (x⁽ᵗ⁾ ⊙ x⁽ᵗ⁾)": W @ (x[t] * x[t]),
        "W x⁽ᵗ⁾ ⊙ x⁽ᵗ⁾": (W @ x[t]) * x[t],
        "(α + 1) x⁽ᵗ⁾": (a + 1) * x[t],
        "α (−x⁽ᵗ⁾)": a * -x[t],
        "x⁽ᵗ⁾ − (α − x⁽ᵗ⁾)": x[t] - (a - x[t]),
        "(x⁽ᵗ⁾)² / (α x⁽ᵗ⁾)": x[t] ** 2 / (a * x[t]),
        "(∑ₜ x⁽ᵗ⁾) + x⁽ᵀ⁾": ops.sum(x[t], over=t) + x[T],
        "∑ₜ (x⁽ᵗ⁾ + 1)": ops.sum(x[t] + 1, over=t),
        "Wᵀ x⁽ᵗ⁾": x[t] @ W,
        "x⁽ᵗ⁾ᵀ x⁽ᵗ⁾": x[t] @ x[t],
        "(W x⁽ᵗ⁾)[0:2]": (W @ x[t])[0:2],
    }
    for text, value in shown.items():
        writer = PrettyWriter(value._builder.draft())
        assert writer.expression(value.operand) == text
    assert W.T._repr_latex_() == r"$\displaystyle \boldsymbol{W}^{\top}$"


def test_an_element_of_each_row_is_not_written_as_a_row():
    g = Template("picked")
    A, o, k, y = g.param("A", (3, 4)), g.input("o", 4), g.input("k", 3, dtype="int"), g.input("y", dtype="int")
    for name, value in {"a": ops.pick(A, k[t]), "b": ops.take(A, k[t]), "c": ops.pick(o[t], y[t])}.items():
        g.output(name, value)
    text = g.pretty()
    assert "pick(A, k⁽ᵗ⁾)" in text
    assert "A[k⁽ᵗ⁾]" in text
    assert "o⁽ᵗ⁾[y⁽ᵗ⁾]" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_it_compiles(tmp_path):
    lstm = Template("lstm")
    cells.layer(lstm, cells.lstm, lstm.input("x_hat", 3)[t], 4)
    some = [ZOO[name]() for name in list(ZOO)[::3]]
    all_ = [lstm, hostile(), hostile().adjoint(), elman().adjoint()]
    all_ += [*some, *every_operation()]
    body = "\n".join(g.latex() for g in all_) + "\n" + in_notebook(elman().system)
    head = "\\documentclass{article}\\usepackage{amsmath}\\begin{document}\\allowdisplaybreaks\n"
    (tmp_path / "a.tex").write_text(f"{head}{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, [line for line in said.splitlines() if line.startswith(("!", "l."))]
