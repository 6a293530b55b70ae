"""What `print` shows: one equation a line, in the user's notation, the same in every run."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.templates import elman
from helpers.zoo import ZOO

from unroll import T, Template, axis, ops, t

s, S = axis("s")
TESTS = Path(__file__).parents[1]

ELMAN = """\
template elman(x[t]: input, 3; y[t]: input, int, scalar; U: param, 4 x 3; W: param, 4 x 4; V: param, 5 x 4;
      b: param, 4; c: param, 5)
  h[0] = 0
  h[t] = tanh(b + W @ h[t-1] + U @ x[t])           t = 1..T
  o[t] = c + V @ h[t]                              t = 1..T
  loss = sum(cross_entropy(o[t], y[t]), over=t)
"""

ATTENTION = """\
template attention(x[t]: input, 3; e[s]: input, 4; W: param, 4 x 3)
  a[t, s] = dot(W @ x[t], e[s])             t = 1..T, s = 1..S
  alpha[t, s] = softmax(a[t, s], over=s)    t = 1..T, s = 1..S
  c[t] = sum(alpha[t, s] * e[s], over=s)    t = 1..T
  loss = sum(sum(c[t]**2), over=t)
"""

# Goodfellow, Bengio and Courville, Deep Learning, section 10.2.2, by equation number.
BOOK = {
    "10.18": "o~[t] = softmax(o[t]) - one_hot(y[t], size=5)",
    "10.19": "h~[t] += V.T @ o~[t]",  # at t = T this term stands alone, for the next one ends at T-1
    "10.20 and 10.21": "h~[t] += W.T @ (h~[t+1] * (1 - h[t+1]**2))",
    "10.22": "c~ = sum(o~[t], over=t)",
    "10.23": "b~ = sum(h~[t] * (1 - h[t]**2), over=t)",
    "10.24": "V~ = sum(outer(o~[t], h[t]), over=t)",
    "10.26": "W~ = sum(outer(h~[t] * (1 - h[t]**2), h[t-1]), over=t)",
    "10.28": "U~ = sum(outer(h~[t] * (1 - h[t]**2), x[t]), over=t)",
}

PROGRAM = """\
h.3[t] = U @ x[t]    for t = 1..T
h[0] = 0
h.2[t] = b + h.3[t]    for t = 1..T
for t = 1, ..., T:    # h.1 reads h[t-1]
  h.1[t] = W @ h[t-1]
  h.4[t] = h.1[t] + h.2[t]
  h[t] = tanh(h.4[t])
"""

UNFOLDED = """\
<Dag elman: 15 nodes, T = 2>
  x[1]  (input)
  x[2]  (input)
  y[1]  (input)
  y[2]  (input)
  U  (param)
  W  (param)
  V  (param)
  b  (param)
  c  (param)
  h[0] = 0
  h[1] = tanh(b + W @ h[0] + U @ x[1])
  h[2] = tanh(b + W @ h[1] + U @ x[2])
  o[1] = c + V @ h[1]
  o[2] = c + V @ h[2]
  loss = sum(cross_entropy(o[t], y[t]), over=t)
"""


def attention():
    g = Template("attention")
    x, e, W = g.input("x", 3), g.input("e", 4, over=s), g.param("W", (4, 3))
    a, alpha, c = g.variable("a"), g.variable("alpha"), g.variable("c")
    a[t, s] = ops.dot(W @ x[t], e[s])
    alpha[t, s] = ops.softmax(a[t, s], over=s)
    c[t] = ops.sum(alpha[t, s] * e[s], over=s)
    g.loss = ops.sum(ops.sum(c[t] ** 2), over=t)
    return g


def equations(text):
    """The lines of a template without its head and its domains."""
    return [re.split(r" {3,}", line.strip())[0] for line in text.splitlines()[1:] if not line.startswith(" " * 6)]


def test_elman():
    assert f"{elman()}\n" == ELMAN


def test_elman_after_it_was_checked():
    g = elman()
    before = str(g)
    assert g.system
    assert str(g) == before


def test_the_adjoint_of_elman_is_the_books():
    text = str(elman().adjoint())
    assert text.splitlines()[0].startswith("template elman~(x[t]: input, 3;")
    assert equations(text)[:4] == equations(ELMAN)
    assert sorted(equations(text)[4:]) == sorted(BOOK.values())


def test_the_cotangent_of_the_last_step_has_one_term():
    """Equation 10.19: the term that reads h~[t+1] ends before T."""
    lines = [line for line in str(elman().adjoint()).splitlines() if "h~[t] +=" in line]
    assert [line.split()[-1] for line in lines] == ["1..T", "1..T-1"]


@pytest.mark.parametrize("shape", [(), 3])
def test_a_product_of_numbers_in_an_adjoint_is_one_number(shape):
    """Where h is the same for all examples and the loss is not, the loss's cotangent stays an equation of its own."""
    g = Template("decay")
    x, a, h = g.input("x", shape), g.param("a", shape), g.variable("h", shape)
    h[0] = 1
    h[t] = a * h[t - 1]
    g.loss = 3 * ops.sum(ops.sum(h[t] ** 2), over=t) + ops.sum(x[T] * a) - 0.5 * (0.5 * ops.sum(h[T]))
    text = str(g.adjoint())
    assert "h~[t] += 6 * h[t] " in text
    assert "h~[T] += -0.25\n" in text
    assert " 6 h⁽ᵗ⁾ " in g.adjoint().pretty()
    assert r" 6\,\boldsymbol{h}^{(t)} " in g.adjoint().latex() or not shape


def test_what_the_user_multiplies_by_one_is_printed_as_written():
    g = Template("plain")
    x, y = g.input("x"), g.variable("y")
    y[t] = 1 * x[t] * (2 * 3.0)
    assert "y[t] = 1 * x[t] * 6 " in str(g)


def test_an_adjoint_by_one_name_leaves_the_others_out():
    text = str(elman().adjoint(["V"]))
    assert re.search(r"V~ = sum\(outer\(.*, h\[t\]\), over=t\)", text)
    assert not re.search(r"[WUbch]~", text)


def test_attention():
    assert f"{attention()}\n" == ATTENTION


def test_an_array_prints_as_one():
    g = Template("m")
    h = g.variable("h", (2, 3))
    h[0] = np.zeros((2, 3))
    h[t] = h[t - 1] * np.ones(3)
    assert equations(str(g)) == ["h[0] = array(2 x 3)", "h[t] = h[t-1] * array(3)"]


def test_program():
    assert f"{elman().compile('numpy').program('h')}\n" == PROGRAM


def test_the_program_of_a_gradient():
    lines = str(elman().compile().program(grad=True)).splitlines()
    forward, backward = (n for n, line in enumerate(lines) if line.startswith("for t = "))
    assert lines[forward].startswith("for t = 1, ..., T:")
    assert lines[backward].startswith("for t = T, ..., 1:")
    inside = [line for line in lines if line.startswith("  ")]
    assert sum("@" in line for line in inside) == 2  # W @ h[t-1] and W.T @ ...: all other products left the loops
    assert [line.split()[0] for line in lines[-3:]] == ["U~", "b~", "W~"]


def test_unfolded():
    assert f"{elman().unfold(2)}\n" == UNFOLDED


def test_a_long_unfolded_graph_is_cut():
    text = str(elman().unfold(1000))
    assert len(text.splitlines()) < 100
    assert "more" in text.splitlines()[-1]


# -- laws -------------------------------------------------------------------------------------------------------------

LEVELS = {
    "template": str,
    "adjoint": lambda g: str(g.adjoint()),
    "program": lambda g: str(g.compile().program([n for n, d in g.system.decls.items() if d.kind == "variable"])),
    "gradient": lambda g: str(g.compile().program(grad=True)),
    "dag": lambda g: str(g.unfold(**{a.end: 2 for a in g.system.axes})),
}


HIDDEN = re.compile(r"[^\W\d]\w*~?\d*\.\d+(?:~\d*(?:\.\d+)?)?")


def undefined(text):
    """Hidden names that some line of a text reads, and no line defines."""
    lines = [line.strip() for line in text.splitlines()]
    left = {re.split(r"[\[ ]", line)[0] for line in lines}
    right = {name for line in lines for name in HIDDEN.findall(line.partition("=")[2].partition("#")[0])}
    return sorted(right - left)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [elman, attention], ids=lambda f: f.__name__)
def test_what_a_line_reads_some_line_defines(make, level):
    g = make()
    assert undefined(LEVELS[level](g)) == []


@pytest.mark.parametrize("name", ZOO)
def test_each_line_is_one_equation(name):
    g = ZOO[name]()
    for system in (g, g.adjoint()) if g.system.loss else (g,):
        text = str(system)
        assert text == str(system)
        for line in equations(text):
            assert re.match(r"\S.*? \+?= \S", line), line
            assert "None" not in line
            assert "object at 0x" not in line
        assert undefined(text) == []


def test_the_text_of_a_template_can_be_written_again():
    """Precedence and associativity survive: each right side, evaluated as Python, prints as itself."""
    g = Template("m")
    a, b, c = (g.input(n, (2, 2)) for n in "abc")
    h = g.variable("h", (2, 2))
    names = {"a": a, "b": b, "c": c, "h": h, "t": t, "T": T, "tanh": ops.tanh, "where": ops.where}
    for text in (
        "a[t] - (b[t] - c[t])",
        "a[t] - b[t] - c[t]",
        "a[t] / (b[t] * c[t])",
        "(a[t] + b[t]) @ c[t]",
        "a[t] @ (b[t] @ c[t])",
        "(-a[t])**2",
        "-a[t]**2",
        "(a[t]**2)**3",
        "a[t]**(-2)",
        "2**a[t]",
        "a[t].T @ b[t]",
        "(a[t] @ b[t]).T",
        "where((a[t] > 0) & (b[t] > 0), a[t], -b[t])",
        "where(~(a[t] > 0) | (b[t] <= -1), 0, 1.5 * tanh(a[t]))",
        "a[t - 1] * a[T] + a[3]",
        "(a[t] + b[t])[0:1]",
        "a[t][:, 0]",
    ):
        assert str(eval(text, names)).replace("t-1", "t - 1") == text


STABLE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from language.test_text import digest
print(digest())
"""


def digest():
    """A hash of every text that the zoo and the two templates of this file print."""
    total = hashlib.sha256()
    for make in (elman, attention, *ZOO.values()):
        g = make()
        total.update(str(g).encode() + repr(g).encode())
        if g.system.loss:
            total.update(str(g.adjoint()).encode())
    for make in (elman, attention):
        net = make().compile()
        total.update(
            f"{net.program(grad=True)}{make().unfold(T=2, **({'S': 3} if make is attention else {}))}".encode()
        )
    return total.hexdigest()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_same_text_in_every_process(seed):
    env = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", STABLE, str(TESTS)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest()


def test_reprs():
    g = elman()
    h = g.variable("extra", (2, 3))
    assert repr(g) == "<Template elman: 2 inputs, 5 params, 4 variables>"
    assert repr(h) == "<variable extra (2, 3)>"
    assert str(h) == "extra"
    assert repr(g.unfold(2)) == "<Dag elman: 15 nodes, T = 2>"
    assert repr(g.compile("numpy")) == "<Net elman: numpy, float32>"


def test_an_axis_is_printed_unless_the_operation_takes_it_anyway() -> None:
    g = Template()
    A, x, made = g.param("A", (3, 3)), g.input("x", 3), {}
    made["max(A, axis=-1)"] = ops.max(A, axis=1)
    made["sum(A, axis=-1)"] = ops.sum(A, axis=-1)
    made["sum(A, axis=-2)"] = ops.sum(A, axis=0)
    made["sum(A)"] = ops.sum(A)
    made["sum(A, axis=-1, keepdims=True)"] = ops.sum(A, axis=1, keepdims=True)
    made["sum(A, keepdims=True)"] = ops.sum(A, keepdims=True)
    made["sum(x[t])"] = ops.sum(x[t])
    made["softmax(A)"] = ops.softmax(A)
    made["softmax(A, axis=-2)"] = ops.softmax(A, axis=0)
    made["stack(x[t], x[t])"] = ops.stack([x[t], x[t]])
    made["stack(x[t], x[t], axis=-1)"] = ops.stack([x[t], x[t]], axis=1)
    for text, value in made.items():
        assert str(value) == text
