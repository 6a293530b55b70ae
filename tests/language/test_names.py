"""What may be called how: one rule for inputs, params, variables, outputs and templates; all that passes it works."""

from __future__ import annotations

import enum
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unroll import Template, axis, ops, t
from unroll.analysis import Model
from unroll.errors import TemplateError

backends = pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
WRONG = ["", " ", "\n\t", "\u00a0", "a.b", "h~", 3, None, ["h"], b"h"]
AWKWARD = [
    "\ud800",
    "two\nlines",
    "nul\0",
    "a'b\"c",
    "\\",
    "{x}",
    "%s",
    "h[2]",
    "é",
    "漢",
    "🙂",
    " h ",
    "\u200b",
    "lambda",
]


@pytest.mark.parametrize("wrong", WRONG, ids=ascii)
def test_what_is_no_name(wrong: Any) -> None:
    g = Template("m")
    x = g.input("x")
    for declare in (
        lambda: g.input(wrong),
        lambda: g.param(wrong),
        lambda: g.variable(wrong),
        lambda: g.output(wrong, x[t]),
    ):
        with pytest.raises(TemplateError, match=r"a name is a text that can be seen without '\.' and '~', got"):
            declare()
    if wrong not in ("a.b", "h~"):
        with pytest.raises(TemplateError, match="the name of a template is a text that can be seen, got"):
            Template(wrong)
    assert list(g.system.decls) == ["x"]


def test_plain_text_alone_is_kept() -> None:
    class Color(enum.StrEnum):
        RED = "red"

    g = Template(np.str_("m"))
    x, w = g.input(np.str_("x")), g.param(Color.RED)
    y = g.variable(Color.RED + "_", ())
    y[t] = w * x[t]
    g.output(np.str_("o"), 2 * y[t])
    assert all(type(n) is str for n in (g.name, *g.system.decls, *g.system.outputs))
    assert "red" in str(g)


@backends
@pytest.mark.parametrize("name", AWKWARD, ids=ascii)
def test_every_name_works_everywhere(backend: str, name: str, tmp_path: Path) -> None:
    g = Template(name)
    x, p, h = g.input(f"x{name}", 2), g.param(f"p{name}", (2, 2), "normal"), g.variable(name, 2)
    h[0] = 0
    h[t] = ops.tanh(p @ h[t - 1] + x[t] + ops.dropout(x[t], 0.5))
    g.output(f"o{name}", h[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    net = g.compile(backend)
    params, data = net.init(seed=0), {f"x{name}": np.ones((3, 2, 2), np.float32)}
    found = net.run(params, [name, (name, 2), f"o{name}"], seed=1, **data)
    np.testing.assert_array_equal(found[name][1], found[name, 2])
    np.testing.assert_array_equal(found[name], found[f"o{name}"])
    _, grads = net.value_and_grad(params, [f"p{name}", (name, 2)], seed=1, **data)
    assert np.isfinite(grads[f"p{name}"]).all()
    stream = net.stream(params, name, seed=1)
    np.testing.assert_allclose(stream(**data), found[name], atol=1e-6)
    texts = [str(g), str(g.adjoint()), g.latex(), g.pretty(), repr(g), str(g.unfold(2)), str(net.program(grad=True))]
    texts.append(str(net.explain(T=3)))
    for text in texts:
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8").write(text)
    if backend == "numpy":
        g.draw(str(tmp_path / "a.svg"))
        g.unfold(2).draw(str(tmp_path / "b.dot"))
        g.explore(str(tmp_path / "c.html"), steps=1)


def test_a_name_like_the_end_of_its_own_axis() -> None:
    s, S = axis("s")
    g = Template("m")
    with pytest.raises(TemplateError, match="the name 'S' is taken by the template itself: S= is a number of steps"):
        g.input("S", over=s)
    x = g.input("x", over=s)  # nothing of what was refused stayed
    assert [*g.system.decls] == ["x"]
    with pytest.raises(TemplateError, match="the name 'S' is taken"):
        g.variable("S")
    with pytest.raises(TemplateError, match="the name 'S' is taken"):
        g.output("S", x[S])
    with pytest.raises(TemplateError, match="the name 'T' is taken"):
        g.param("T")
    r, _ = axis("r")
    late = Template("late")
    v = late.variable("R", ())
    with pytest.raises(TemplateError, match="the axis r ends in 'R'"):
        v[r] = 1.0
    with pytest.raises(TemplateError, match="the axis r ends in 'R'"):
        late.input("e", over=r)


def test_the_probability_of_a_coin_has_a_name_too() -> None:
    g = Template("m")
    y, o, w = g.input("y"), g.variable("o", ()), g.param("w")
    o[0] = 0
    o[t] = w * o[t - 1]
    g.loss = ops.sum((o[t] - y[t]) ** 2, over=t)
    for wrong in ("", "a.b", "lengths", "wrt"):
        with pytest.raises(TemplateError):
            g.scheduled({"o": "y"}, wrong)


@pytest.mark.parametrize("name", ["self", "args", "options", "arrays", "told"])
def test_an_input_may_be_called_like_an_argument_of_ours(name: str) -> None:
    g = Template()
    x, w, h = g.input(name), g.param("w"), g.variable("h", ())
    h[0] = 0
    h[t] = w * h[t - 1] + x[t]
    g.loss = ops.sum(h[t], over=t)
    net, params, ones = g.compile("numpy", dtype="float64"), {"w": np.array(0.5)}, {name: np.ones((3, 1))}
    want = np.array([[1.0], [1.5], [1.75]])
    assert np.array_equal(net.run(params, "h", **ones), want)
    assert np.array_equal(net.stream(params, "h")(**ones), want)
    assert net.loss(params, **ones) == net.value_and_grad(params, **ones)[0] == 4.25
    assert np.array_equal(net.jvp(params, ones, "h", **ones)[1], want)
    assert net.vjp(params, {"h": np.ones((3, 1))}, **ones)[1]["w"] == 3.0
    assert net.hessian_vector(params, {"w": np.array(1.0)}, **ones)["w"] == 2.0


@pytest.mark.parametrize("name", ["self", "params", "names", "wrt", "outputs"])
def test_what_is_drawn_may_be_called_like_an_argument(name: str) -> None:
    g = Template()
    y, m = g.variable(name, ()), g.param("m")
    y[t] = ops.normal(m, 1.0, over=t)
    net, params = Model(g).compile("numpy", dtype="float64"), {"m": np.array(0.5)}
    drawn = net.sample(params, T=3, batch=2)
    want = -0.5 * ((drawn[name] - 0.5) ** 2 + np.log(2 * np.pi)).sum(axis=0)
    np.testing.assert_allclose(net.log_prob(params, **drawn), want)
