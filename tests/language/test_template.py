"""Names, shapes and kinds of a template; a refused statement leaves it as it was."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import T, Template, UnrollError, Variable, axis, ops, t
from unroll.errors import DTypeError, ShapeError, TemplateError, UndefinedError

from .mistakes import S, model, s

# -- names and shapes -------------------------------------------------------------------------------------------------

DECLARE = [
    lambda g, name: g.input(name),
    lambda g, name: g.param(name),
    lambda g, name: g.variable(name),
    lambda g, name: g.output(name, g.param("of")),
]
KINDS = ["input", "param", "variable", "output"]


@pytest.mark.parametrize("declare", DECLARE, ids=KINDS)
@pytest.mark.parametrize("name", ["", "a.b", ".1", "a~", "loss", "T", 3, None, ("a",), b"a"], ids=repr)
def test_names_that_are_refused(declare, name):
    g = Template("m")
    with pytest.raises(TemplateError, match="name") as caught:
        declare(g, name)
    assert repr(name) in str(caught.value)
    assert "test_template.py:" in str(caught.value)
    assert "input" not in str(g).partition("\n")[2]


@pytest.mark.parametrize("declare", DECLARE[:3], ids=KINDS[:3])
def test_a_taken_name_shows_both_places(declare):
    g = Template("m")
    g.input("a")
    with pytest.raises(TemplateError, match="'a' is declared twice") as caught:
        declare(g, "a")
    assert str(caught.value).count("test_template.py:") == 2


@pytest.mark.parametrize(
    "name", ['"', "'", "two\nlines", "a b", "{0}", "%s", "h[t]", "]", "é", "\u202e", "class", "\\"]
)
def test_a_hostile_name_stays_on_its_line(name):
    g = Template(name)
    h = g.variable(name, ())
    h[0] = 0
    h[t] = h[t - 1] + g.input(f"x{name}")[t]
    g.output(f"o{name}", h[t] * 2)
    for text in (str(g), str(g.unfold(2)), repr(g), repr(h)):
        assert "\u202e" not in text
    assert len(str(g).splitlines()) == 4
    result = g.compile().run({}, **{f"x{name}": np.ones(2, "f")})
    assert result[f"o{name}"].tolist() == [2, 4]


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_a_name_is_never_run_as_code(backend, capsys):
    g = Template("m'\n    print('run')")
    name = "q\n        print('run')  #"
    q = g.variable(name, ())
    q[0] = 0
    q[t] = q[t - 1] + 1
    net = g.compile(backend)
    assert net.run({}, name, T=2).tolist() == [1, 2]
    assert not capsys.readouterr().out


@pytest.mark.parametrize("first", ["name", "axis"])
def test_a_name_and_the_end_of_an_axis_do_not_meet(first):
    """Both would be the keyword ``S=``."""
    g = Template("m")
    steps = [lambda: g.input("S", 3), lambda: g.input("e", 3, over=s)]
    steps = steps if first == "name" else steps[::-1]
    steps[0]()
    with pytest.raises(TemplateError, match="'S'"):
        steps[1]()


@pytest.mark.parametrize("shape", [0, -1, 2.0, (3, 0), (2, 2.5), "3", None, True, (3, None), (2, (3,))], ids=repr)
@pytest.mark.parametrize("kind", ["input", "param"])
def test_shapes_that_are_refused(kind, shape):
    g = Template("m")
    with pytest.raises(ShapeError, match="positive integers") as caught:
        getattr(g, kind)("a", shape)
    assert repr(shape) in str(caught.value)
    assert "test_template.py:" in str(caught.value)
    assert str(getattr(g, kind)("a", 3)) == "a"  # the name is still free


@pytest.mark.parametrize("shape", [3, np.int64(3), (3,), [3], (np.int32(3),), np.array([3])], ids=repr)
def test_shapes_that_are_taken(shape):
    assert Template("m").param("a", shape).shape == (3,)


@pytest.mark.parametrize("dtype", ["float32", "int64", float, int, np.float32, None])
def test_kinds_that_are_refused(dtype):
    with pytest.raises(DTypeError, match=r"'float', 'int' and 'bool'.*(?s:.)*test_template.py:.*(?s:.)*g.compile"):
        Template("m").input("a", dtype=dtype)


# -- nothing is lost --------------------------------------------------------------------------------------------------

REFUSED = {
    "wrong axis on the left": lambda h, x, z, e, W, y: h.__setitem__(s, x[t]),
    "wrong axis on the right": lambda h, x, z, e, W, y: h.__setitem__(t, e[s]),
    "wrong axis read": lambda h, x, z, e, W, y: x[t] + h[s] + z[t],
    "bare": lambda h, x, z, e, W, y: h.__setitem__(t, x),
    "two brackets": lambda h, x, z, e, W, y: h.__setitem__((t, s), z[t]),
    "two brackets read": lambda h, x, z, e, W, y: h[t, s] + None,
    "boundary of two": lambda h, x, z, e, W, y: h.__setitem__((0, 0), z[1]),
    "wrong shape": lambda h, x, z, e, W, y: h.__setitem__(t, z[t]),
    "wrong boundary": lambda h, x, z, e, W, y: h.__setitem__(0, np.zeros(4)),
    "inside": lambda h, x, z, e, W, y: h.__setitem__(1, 0),
    "shifted": lambda h, x, z, e, W, y: h.__setitem__(t + 1, x[t]),
    "labels": lambda h, x, z, e, W, y: h.__setitem__(t, W @ y[t]),
    "list": lambda h, x, z, e, W, y: h.__setitem__(t, [1, 2, 3]),
}


def _good(h, x, W):
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t])


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_statement_leaves_no_trace(refused):
    expected, names = model(), model()
    with pytest.raises(UnrollError):
        refused(*(names[n] for n in "hxzeWy"))
    for m in (expected, names):
        _good(m["h"], m["x"], m["W"])
        m["g"].loss = ops.sum(m["h"][T])
    assert str(names["g"]) == str(expected["g"])
    assert names["g"].system == expected["g"].system


def test_a_refused_read_of_an_open_variable_leaves_no_trace():
    g = Template("m")
    x, h = g.input("x", 3), g.variable("h")
    with pytest.raises(UndefinedError):
        h[s - 1]
    h[t] = x[t]
    assert g.system.decls["h"].axes == (t.axis,)


def test_chained_assignment_defines_each_target():
    names = model()
    g, h, r, x = (names[n] for n in "ghrx")
    h[t] = r[t] = x[t] * 2
    assert str(g).splitlines()[-2:] == ["  h[t] = x[t] * 2    t = 1..T", "  r[t] = x[t] * 2    t = 1..T"]


@pytest.mark.parametrize("zero", [0, np.int64(0), np.uint8(0)], ids=lambda k: type(k).__name__)
def test_integers_of_numpy_are_steps(zero):
    names = model()
    g, h, x = (names[n] for n in "ghx")
    h[zero] = 0
    h[t] = h[t - np.int64(1)] + x[t + zero]
    assert "h[t] = h[t-1] + x[t]" in str(g)
    assert g.system


def test_a_constant_is_copied_when_it_is_written():
    names = model()
    g, h, x = (names[n] for n in "ghx")
    start = np.ones(3)
    h[0] = start
    h[t] = h[t - 1] + x[t]
    start[:] = 5
    assert g.compile().run({}, ("h", 0), x=np.ones((2, 3), "f")).tolist() == [1, 1, 1]


def test_two_axes_of_one_name_are_one_axis():
    assert axis("s") == (s, S)
    assert axis("t") == (t, T)


def test_steps_as_text():
    assert list(map(str, (t, t + 1, 1 + t, t - 2, T, T - 1, (T + 1) - 1, s, S + 3))) == [
        "t", "t+1", "t+1", "t-2", "T", "T-1", "T", "s", "S+3",
    ]  # fmt: skip


def test_no_name_is_run_as_code(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ('q"""\nprint("run")\n"""', "q'\nprint('run')#", "q\u2028print('run')", "q\\\nprint('run')"):
        g = Template(name)
        a, x = g.param(name + "a"), g.variable(name + "x", ())
        x[0] = a
        x[t] = x[t - 1] * a
        g.loss = x[T] * x[T]
        net = g.compile(backend="numpy", debug_nans=True)
        net.value_and_grad(net.init(seed=0), T=3)
    assert "run" not in capsys.readouterr().out


def test_a_finished_system_can_be_extended():
    g = Template("m")
    x, c, h = g.input("x"), g.param("c"), g.variable("h", ())
    h[0] = 2 * c
    h[t] = h[t - 1] * x[t] + 1
    longer = Template.of(g.system)
    again = Variable(longer._builder, "h")
    again[T + 1] = again[T] * 3 + 1  # temporaries of h beside those that h has
    assert str(longer) == f"{g}\n  h[T+1] = h[T] * 3 + 1"
    assert longer.compile("numpy").run({"c": np.float32(1)}, ("h", 3), x=np.ones(2, "f")) == 13
