"""Cells whose output is no part of their state: what `layer` declares for them, and what a layer above reads."""

import numpy as np
import pytest

from unroll import Template, cells, ops, t
from unroll.errors import TemplateError

T, B = 4, 3
BACKENDS = ["reference", "numpy", "native"]


def reader(scope, x, h):
    """An Elman network with a linear output, which puts more out than it keeps."""
    n, m = h.shape[0], x.shape[0]
    h = scope.define("h", ops.tanh(scope.param("W", (n, n)) @ scope.dropped(h) + scope.param("U", (n, m)) @ x))
    return scope.param("V", (2 * n, n)) @ h, h


def projected(scope, x, h, c):
    """Two parts of a state and an output that is neither (Sak et al. 2014 project an LSTM's h)."""
    h, c = cells.lstm(scope, x, h, c)
    return ops.concat([h, ops.tanh(c)]), (h, c)


def arrays(g, seed=0):
    rng = np.random.default_rng(seed)
    net = {b: g.compile(b, dtype="float64") for b in BACKENDS}
    params = {n: rng.normal(size=d.shape) for n, d in g.system.decls.items() if d.kind == "param"}
    return net, params, rng.normal(size=(T, B, 3))


def by_hand(params, x, name, reverse=False):
    """The reader in NumPy, one step after the other."""
    W, U, V = (params[f"{letter}_{name}"] for letter in "WUV")
    h, made = np.zeros((x.shape[1], W.shape[0])), []
    for step in x[::-1] if reverse else x:
        h = np.tanh(h @ W.T + step @ U.T)
        made.append((h @ V.T, h))
    made = made[::-1] if reverse else made
    return np.array([y for y, _ in made]), np.array([h for _, h in made])


@pytest.mark.parametrize("reverse", [False, True])
def test_the_output_comes_first(reverse):
    g = Template("reader")
    y, h = cells.layer(g, reader, g.input("x", 3)[t], 4, reverse=reverse)
    assert (y.name, y.shape, h.name, h.shape) == ("out_h", (8,), "h", (4,))
    nets, params, x = arrays(g)
    wanted = by_hand(params, x, "h", reverse)
    for net in nets.values():
        found = net.run(params, ["out_h", "h"], x=x)
        np.testing.assert_allclose(found["out_h"], wanted[0], rtol=1e-13)
        np.testing.assert_allclose(found["h"], wanted[1], rtol=1e-13)


def test_a_stack_and_two_directions_read_outputs():
    g = Template("deep")
    top, (first, second) = cells.stack(g, reader, g.input("x", 3)[t], [2, 3])
    assert [v.name for v in (*first, *second)] == ["out_h1", "h1", "out_h2", "h2"]
    assert str(top) == "out_h2[t]"
    nets, params, x = arrays(g)
    wanted = by_hand(params, by_hand(params, x, "h1")[0], "h2")[0]
    for net in nets.values():
        np.testing.assert_allclose(net.run(params, "out_h2", x=x), wanted, rtol=1e-13)

    g = Template("both")
    joined, _ = cells.bidirectional(g, reader, g.input("x", 3)[t], 2)
    g.output("joined", joined)
    nets, params, x = arrays(g)
    ways = by_hand(params, x, "h_fwd")[0], by_hand(params, x, "h_bwd", reverse=True)[0]
    for net in nets.values():
        np.testing.assert_allclose(net.run(params, x=x)["joined"], np.concatenate(ways, -1), rtol=1e-13)


def test_an_output_beside_a_state_of_several_parts():
    g = Template("projected")
    y, h, c = cells.layer(g, projected, g.input("x", 3)[t], 4)
    plain = Template("plain")
    cells.layer(plain, cells.lstm, plain.input("x", 3)[t], 4)
    nets, params, x = arrays(g)
    states = plain.compile("reference", dtype="float64").run(params, ["h", "c_h"], x=x)
    wanted = np.concatenate([states["h"], np.tanh(states["c_h"])], -1)
    for net in nets.values():
        np.testing.assert_allclose(net.run(params, y.name, x=x), wanted, rtol=1e-12)
    assert (h.name, c.name) == ("h", "c_h")


def packed(pack):
    return lambda scope, x, h: pack(*reader(scope, x, h))


def test_lists_and_pairs_say_the_same():
    """``output, [h]`` and ``output, (h,)`` are ``output, h``; a list of states, as Keras returns them, is a state."""
    texts = set()
    for pack in (lambda y, h: (y, h), lambda y, h: (y, (h,)), lambda y, h: [y, [h]]):
        g = Template("m")
        cells.layer(g, packed(pack), g.input("x", 3)[t], 4)
        texts.add(str(g))
    assert len(texts) == 1
    g = Template("m")
    states = cells.layer(g, lambda scope, x, h, c: list(cells.lstm(scope, x, h, c)), g.input("x", 3)[t], 4)
    assert [v.name for v in states] == ["h", "c_h"]


def test_the_name_that_the_cell_gives_its_output_stays():
    def named(scope, x, h):
        h = ops.tanh(h + x)
        return scope.define("y", 2 * h), h

    g = Template("m")
    y, _ = cells.layer(g, named, g.input("x", 3)[t], 3)
    assert y.name == "y_h"
    assert "out" not in str(g)


def test_an_output_that_is_the_state_is_not_declared_again():
    def same(scope, x, h):
        h = scope.define("h", ops.tanh(h + x))
        return h, h

    g = Template("m")
    y, h = cells.layer(g, same, g.input("x", 3)[t], 3)
    assert (y.name, h.name) == ("h", "h")


def test_what_a_layer_does_to_its_state_it_does_not_do_to_the_output():
    """Dropout reaches the input and what is fed back, zoneout the state; at rate 0 of a trained network all are out."""
    g = Template("m")
    cells.layer(g, reader, g.input("x", 3)[t], 4, dropout=0.3, recurrent_dropout=0.2, zoneout=0.1)
    plain = Template("m")
    cells.layer(plain, reader, plain.input("x", 3)[t], 4)
    nets, params, x = arrays(g)
    drawn = nets["numpy"].run(params, "out_h", x=x, seed=1)
    again = nets["native"].run(params, "out_h", x=x, seed=1)
    np.testing.assert_allclose(drawn, again, rtol=1e-12)
    assert not np.allclose(drawn, by_hand(params, x, "h")[0])
    trained = g.inference().compile("numpy", dtype="float64")
    assert trained.run(params, "out_h", x=x).shape == (T, B, 8)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (lambda scope, x, h: (h, h, h), r"takes a state of 1 \(h\), and returns 3\n[^\n]*\n.*return output, h\.$"),
        (
            lambda scope, x, h, c: (h, h, c),
            r"takes a state of 2 \(h, c\), and returns 3\n[^\n]*\n.*output, \(h, c\)\.$",
        ),
        (lambda scope, x, h, c: (h, (c,)), r"takes a state of 2 \(h, c\), and returns 1\n"),
        (lambda scope, x, h: (h, ()), r"takes a state of 1 \(h\), and returns 0\n"),
    ],
)
def test_another_number_is_refused(cell, told):
    g = Template("m")
    with pytest.raises(TemplateError, match=told):
        cells.layer(g, cell, g.input("x", 3)[t], 3)
    assert list(g.system.decls) == ["x"]
