"""Mistakes with arrays, lengths and names when a net is called: found before anything runs, alike on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import ArrayError, LengthError

from .mistakes import Mistakes, S, check_mistake, s

mistake = Mistakes()
STEPS, BATCH = 5, 2


def elman():
    g = Template("elman")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 4)), g.param("V", (5, 4))
    b, c = g.param("b", 4), g.param("c", 5)
    h, o = g.variable("h", 4), g.variable("o")
    h[0] = 0
    h[t] = ops.tanh(b + W @ h[t - 1] + U @ x[t])
    o[t] = c + V @ h[t]
    g.loss = ops.sum(ops.cross_entropy(o[t], y[t]), over=t)
    g.output("p", ops.softmax(o[t]))
    return g


def data(**more):
    rng = np.random.default_rng(0)
    return {
        "X": rng.normal(size=(STEPS, BATCH, 3)).astype("float32"),
        "Y": rng.integers(0, 5, (STEPS, BATCH)),
        **more,
    }


@pytest.fixture(params=["numpy", "reference", "numpy, called before"])
def names(request):
    """A net, new or with good calls behind it, whose names and shapes it remembers."""
    backend, _, before = request.param.partition(",")
    g = elman()
    net = g.compile(backend)
    found = data(g=g, net=net, P=net.init(seed=0))
    if before:
        X, Y = found["X"], found["Y"]
        net.run(found["P"], x=X)
        for x, y in ((X, Y), (X[:, 0], Y[:, 0])):
            net.value_and_grad(found["P"], x=x, y=y)
            net.run(found["P"], "loss", x=x, y=y)
    return found


# -- missing and unknown ----------------------------------------------------------------------------------------------


@mistake(ArrayError, "input x is missing", "x=...", "(T, B, 3)")
def an_input_missing(net, P):
    net.run(P)  # <-


@mistake(ArrayError, "input y is missing", "(T, B)")
def labels_missing(net, P, X):
    net.value_and_grad(P, x=X)  # <-


@mistake(ArrayError, "no input 'X'", "'elman'", "x, y")
def an_unknown_input(net, P, X, Y):
    net.value_and_grad(P, X=X, y=Y)  # <-


@mistake(ArrayError, "no input 'W'", "param")
def a_param_among_the_inputs(net, P, X):
    net.run(P, x=X, W=P["W"])  # <-


@mistake(ArrayError, "no input 'h'", "variable")
def a_variable_among_the_inputs(net, P, X):
    net.run(P, x=X, h=X)  # <-


@mistake(ArrayError, "no input 't'", "T=")
def a_length_in_lower_case(net, P):
    net.run(P, t=5)  # <-


@mistake(ArrayError, "no param 'w'", "'elman'", "U, W, V, b, c")
def a_misspelt_param(net, P, X):
    P["w"] = P.pop("W")
    net.run(P, x=X)  # <-


@mistake(ArrayError, "param W", "(4, 4)", "missing", "net.init")
def a_param_missing(net, P, X):
    del P["W"]
    net.run(P, x=X)  # <-


@mistake(ArrayError, "params", "net.init", "list")
def params_as_a_list(net, P, X):
    net.run(list(P.values()), x=X)  # <-


@mistake(ArrayError, "params", "net.init", "None")
def no_params(net, X):
    net.run(None, x=X)  # <-


@mistake(TypeError, "params")
def params_forgotten(net, X):
    net.run(x=X)


# -- shapes and lengths -----------------------------------------------------------------------------------------------


@mistake(ArrayError, "param W", "(3, 4)", "(4, 4)")
def a_param_of_another_shape(net, P, X):
    net.run({**P, "W": P["W"][:3]}, x=X)  # <-


@mistake(ArrayError, "input x", "(5, 2, 2)", "(T, B, 3)", "(T, 3)")
def an_input_of_another_size(net, P, X):
    net.run(P, x=X[:, :, :2])  # <-


@mistake(ArrayError, "input x", "()", "(T, B, 3)")
def a_number_for_a_sequence(net, P):
    net.run(P, x=3.0)  # <-


@mistake(ArrayError, "input x", "(1, 5, 2, 3)", "(T, B, 3)")
def an_input_with_an_axis_too_many(net, P, X):
    net.run(P, x=X[None])  # <-


@mistake(ArrayError, "y has 4 steps", "x has 5")
def lengths_that_differ(net, P, X, Y):
    net.value_and_grad(P, x=X, y=Y[:4])  # <-


@mistake(ArrayError, "steps", "batch_first=True")
def batch_before_time(net, P, X, Y):
    net.value_and_grad(P, x=X.transpose(1, 0, 2), y=Y)  # <-


@mistake(ArrayError, "batch sizes differ", "x has 2", "y has 1")
def batches_that_differ(net, P, X, Y):
    net.value_and_grad(P, x=X, y=Y[:, :1])  # <-


@mistake(ArrayError, "y", "batch axis", "x", "none")
def a_batch_on_one_side(net, P, X, Y):
    net.value_and_grad(P, x=X[:, 0], y=Y)  # <-


@mistake(ArrayError, "batch is empty", "x")
def an_empty_batch(net, P, X, Y):
    net.value_and_grad(P, x=X[:, :0], y=Y[:, :0])  # <-


@mistake(LengthError, "T = 4", "x has 5 steps")
def a_length_that_contradicts(net, P, X):
    net.run(P, x=X, T=4)  # <-


@mistake(LengthError, "T = 5.0", "integer")
def a_length_that_is_a_float(net, P, X):
    net.run(P, x=X, T=5.0)  # <-


@mistake(LengthError, "T = -1", "integer from 0 up")
def a_negative_length(net, P, X):
    net.run(P, x=X, T=-1)  # <-


@mistake(LengthError, "T = '5'", "integer from 0 up")
def a_length_that_is_a_text(net, P, X):
    net.run(P, x=X, T="5")  # <-


@mistake(LengthError, "T=...", "number of steps")
def no_length(g):
    a, q = g.param("a"), g.variable("q", ())
    q[0] = 1
    q[t] = a * q[t - 1]
    net = g.compile()
    net.run(net.init(), "q")  # <-


# -- kinds ------------------------------------------------------------------------------------------------------------


@mistake(ArrayError, "param W is float64", "float32", "W.astype('float32')")
def a_param_in_double_precision(net, P, X):
    net.run({**P, "W": P["W"].astype("float64")}, x=X)  # <-


@mistake(ArrayError, "param b is float16", "float32", "b.astype('float32')")
def a_param_in_half_precision(net, P, X):
    net.run({**P, "b": P["b"].astype("float16")}, x=X)  # <-


@mistake(ArrayError, "input x is complex128", "float32", "x.real", "dtype='complex128'")
def complex_numbers(net, P, X):
    net.run(P, x=X.astype(complex))  # <-


@mistake(ArrayError, "input x is complex", "float32", "x.real")
def complex_numbers_in_a_list(net, P, X):
    net.run(P, x=X.astype(complex).tolist())  # <-


@mistake(ArrayError, "input x", "datetime64", "numbers")
def times(net, P, X):
    net.run(P, x=X.astype("datetime64[s]"))  # <-


@mistake(ArrayError, "input x", "str", "numbers")
def numbers_as_texts(net, P, X):
    net.run(P, x=X.astype(str))  # <-


@mistake(ArrayError, "input x", "object", "numbers")
def an_array_of_objects(net, P, X):
    net.run(P, x=X.astype(object))  # <-


@mistake(ArrayError, "input x", "None", "numbers")
def nothing_at_all(net, P):
    net.run(P, x=None)  # <-


@mistake(ArrayError, "input x", "str", "numbers")
def a_text(net, P):
    net.run(P, x="abc")  # <-


@mistake(ArrayError, "input x", "(T, B, 3)")
def a_ragged_list(net, P):
    net.run(P, x=[[1.0, 2.0], [3.0]])  # <-


@mistake(ArrayError, "input x", "mask")
def a_masked_array(net, P, X):
    net.run(P, x=np.ma.masked_array(X, X > 0))  # <-


@mistake(ArrayError, "input y", "dtype='int'", "float32")
def labels_as_floats(net, P, X, Y):
    net.value_and_grad(P, x=X, y=Y.astype("float32"))  # <-


@mistake(ArrayError, "input y", "dtype='int'", "bool")
def labels_as_truths(net, P, X, Y):
    net.value_and_grad(P, x=X, y=Y > 2)  # <-


@mistake(ArrayError, "input y", "label 7", "0 to 4", "cross_entropy(o[t], y[t])")
def a_label_too_large(net, P, X, Y):
    net.value_and_grad(P, x=X, y=np.where(Y == 0, 7, Y))  # <-


@mistake(ArrayError, "input y", "label -1", "0 to 4")
def a_negative_label(net, P, X, Y):
    net.value_and_grad(P, x=X, y=np.where(Y == 0, -1, Y))  # <-


@mistake(ArrayError, "input y", str(2**63), "label")
def a_label_beyond_every_integer(net, P, X):
    net.value_and_grad(P, x=X, y=np.full((STEPS, BATCH), 2**63, np.uint64))  # <-


@mistake.each
def test_mistake(mistake, kind, words, names):
    check_mistake(mistake, kind, words, names)


# -- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.tolist(),
        np.asfortranarray,
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(a.dtype.newbyteorder(">")),
    ],
    ids=["list", "Fortran order", "negative stride", "other byte order"],
)
def test_arrays_of_any_layout(names, change):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    wanted, grads = net.value_and_grad(P, x=X, y=Y)
    value, same = net.value_and_grad({n: change(a) for n, a in P.items()}, x=change(X), y=change(Y))
    assert value == wanted
    assert all((same[n] == grads[n]).all() for n in grads)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_labels_of_any_integer_type(names, dtype):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    assert net.loss(P, x=X, y=Y.astype(dtype)) == net.loss(P, x=X, y=Y)


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_integers_and_truths_as_float_inputs(names, dtype):
    net, P, X = (names[n] for n in ("net", "P", "X"))
    whole = X.astype(dtype)
    assert (net.run(P, "h", x=whole) == net.run(P, "h", x=whole.astype("float32"))).all()


def test_no_steps(names):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    value, grads = net.value_and_grad(P, x=X[:0], y=Y[:0])
    assert value == 0
    assert not any(a.any() for a in grads.values())
    assert net.run(P, x=X[:0])["p"].shape == (0, BATCH, 5)


def test_one_example_without_batch(names):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    assert net.run(P, "h", x=X[:, 0]).shape == (STEPS, 4)
    assert net.run(P, ("h", np.int64(3)), x=X[:, 0]).shape == (4,)
    assert np.allclose(net.loss(P, x=X[:, 0], y=Y[:, 0]), net.loss(P, x=X[:, :1], y=Y[:, :1]))


def test_steps_and_names_that_are_there(names):
    net, P, X = (names[n] for n in ("net", "P", "X"))
    assert not net.run(P, ("h", 0), x=X).any()
    assert (net.run(P, ("h", 5), x=X) == net.run(P, "h", x=X)[-1]).all()
    assert list(net.run(P, ("h", "o"), x=X)) == ["h", "o"]
    assert (net.run(P, "x", x=X) == X).all()
    assert (net.run(P, "W", x=X) == P["W"]).all()
    assert net.run(P, [], x=X) == {}


def test_what_is_not_needed_need_not_be_given():
    """Neither the array nor the length of an axis that the result does not depend on."""
    g = elman()
    e = g.input("e", over=s)
    g.output("q", ops.sum(e[s], over=s))
    net = g.compile()
    P, X = net.init(), data()["X"]
    assert net.run(P, "h", x=X).shape == (STEPS, BATCH, 4)
    assert net.run(P, "q", e=np.ones(4, "float32")) == 4
    assert net.run(P, "W").shape == (4, 4)
    assert S.axis is s.axis


def test_nothing_of_the_users_is_changed(names):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    everything = {**P, "X": X, "Y": Y}
    before = {n: a.copy() for n, a in everything.items()}
    for a in everything.values():
        a.flags.writeable = False
    _, grads = net.value_and_grad(P, ["W", "x"], x=X, y=Y)
    grads["W"][:] = 0
    net.run(P, "x", x=X)[:] = 0
    net.run(P, "W", x=X)[:] = 0
    assert all((before[n] == a).all() for n, a in everything.items())


def test_a_refused_call_leaves_the_net_usable(names):
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    before = net.loss(P, x=X, y=Y)
    for wrong in ({"x": X[:, :, :2], "y": Y}, {"x": X, "y": Y + 9}, {"x": X}, {"x": X, "y": Y, "T": 3}):
        with pytest.raises((ArrayError, LengthError)):
            net.loss(P, **wrong)
    assert net.loss(P, x=X, y=Y) == before


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")], ids=repr)
def test_precision_by_name_or_type(dtype):
    net = elman().compile(dtype=dtype)
    assert {a.dtype for a in net.init().values()} == {np.dtype("float64")}
    assert net.loss(net.init(), x=data()["X"].astype("float64"), y=data()["Y"]).dtype == np.float64
