"""Data of any real dtype are cast to the net's, as NumPy casts them; params keep theirs, whatever trains them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.analysis import Model
from unroll.errors import ArrayError
from unroll.optim import Adam, clip
from unroll.schedules import exponential, inverse_sigmoid, linear

STEPS, BATCH = 4, 3
RNG = np.random.default_rng(0)
X, V = RNG.normal(size=(STEPS, BATCH, 2)) * 50, RNG.normal(size=(BATCH, 2))
Y = RNG.integers(0, 2, (STEPS, BATCH))
REAL = ["float16", "float64", "longdouble", "int8", "int64", "uint16", "uint64", "bool", ">f8"]


def elman() -> Template:
    g = Template("elman")
    x, y, v = g.input("x", 2), g.input("y", dtype="int"), g.input("v", 2, over=None)
    W, h = g.param("W", (2, 2)), g.variable("h", 2)
    h[0] = v
    h[t] = ops.tanh(W @ h[t - 1] + 0.01 * x[t])
    g.loss = ops.sum(ops.cross_entropy(h[t], y[t]), over=t)
    return g


@cache
def compiled(backend: str) -> Any:
    return elman().compile(backend)


@pytest.fixture(params=["reference", "numpy", "native"])
def net(request: pytest.FixtureRequest) -> Any:
    if request.param == "native":
        pytest.importorskip("llvmlite")
    return compiled(request.param)


def single(array: Any) -> Any:
    return np.asarray(array).astype(np.float32)


def alike(got: Any, want: Any) -> None:
    """The same bits, all of the net's precision."""
    if isinstance(want, (dict, list, tuple)):
        keys = want if isinstance(want, dict) else range(len(want))
        assert len(got) == len(want)
        for key in keys:
            alike(got[key], want[key])
        return
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", REAL)
def test_every_call(net: Any, kind: str) -> None:
    """Twice, since a call with names and shapes as before takes a shorter way."""
    P, x, v = net.init(seed=0), np.abs(X).astype(kind), V.astype(kind if kind != "uint64" else "int64")
    for _ in range(2):
        alike(net.run(P, ["h", "x"], x=x, v=v), net.run(P, ["h", "x"], x=single(x), v=single(v)))
        alike(
            net.value_and_grad(P, ["W", "x", "v"], x=x, y=Y, v=v),
            net.value_and_grad(P, ["W", "x", "v"], x=single(x), y=Y, v=single(v)),
        )
    short = {"y": [Y[:2, 0], Y[:, 1]], "v": v[:2]}
    alike(
        net.value_and_grad(P, x=[x[:2, 0], x[:, 1]], **short),
        net.value_and_grad(P, x=[single(x[:2, 0]), single(x[:, 1])], **short),
    )
    alike(net.run(P, "h", x=x, v=v, lengths=[2, 4, 3]), net.run(P, "h", x=single(x), v=single(v), lengths=[2, 4, 3]))
    alike(net.run(P, "h", x=x.tolist(), v=v.tolist()), net.run(P, "h", x=single(x), v=single(v)))
    alike(net.generate(P, "h", x=x, v=v)[0], net.generate(P, "h", x=single(x), v=single(v))[0])
    alike(
        net.run(P, "h", x=x, v=v, clamp={("h", 2): v}),
        net.run(P, "h", x=single(x), v=single(v), clamp={("h", 2): single(v)}),
    )


def test_streams(net: Any) -> None:
    """Chunks, what has no steps, and a state that was computed with."""
    P = net.init(seed=0)
    wide, narrow = net.stream(P, "h", v=V), net.stream(P, "h", v=single(V))
    for _ in range(2):
        alike(wide(x=X), narrow(x=single(X)))
    half = wide.state["h[0]"] * np.float64(0.3)
    wide.state = {**wide.state, "h[0]": half}
    narrow.state = {**narrow.state, "h[0]": single(half)}
    alike(wide.state["h[0]"], narrow.state["h[0]"])
    alike(wide(x=X), narrow(x=single(X)))
    with pytest.raises(ArrayError, match=r"state of h\[0\] is complex128"):
        wide.state = {**wide.state, "h[0]": half * 1j}


def test_directions(net: Any) -> None:
    P, given, single_given = net.init(seed=0), {"x": X, "v": V}, {"x": single(X), "v": single(V)}
    D, H = RNG.normal(size=(2, 2)), RNG.normal(size=(STEPS, BATCH, 2))
    alike(net.jvp(P, {"W": D, "x": X}, y=Y, **given), net.jvp(P, {"W": single(D), "x": single(X)}, y=Y, **single_given))
    alike(net.vjp(P, {"h": H}, ["W", "x"], **given), net.vjp(P, {"h": single(H)}, ["W", "x"], **single_given))
    alike(net.hessian_vector(P, {"W": D}, y=Y, **given), net.hessian_vector(P, {"W": single(D)}, y=Y, **single_given))


@pytest.mark.parametrize("kind", ["float64", "float16", "longdouble"])
def test_a_param_of_another_precision_is_refused(net: Any, kind: str) -> None:
    P = net.init(seed=0)
    for before in (False, True):
        if before:
            net.run(P, "h", x=X, v=V)
        with pytest.raises(ArrayError, match=r"param W is float\d+, and the net computes in float32: pass W.astype"):
            net.run({"W": P["W"].astype(kind)}, "h", x=X, v=V)


def test_labels_and_bools_stay_strict(net: Any) -> None:
    P = net.init(seed=0)
    for wrong in (Y.astype("float64"), Y.astype(bool), Y.astype(float).tolist()):
        with pytest.raises(ArrayError, match="input y was declared dtype='int', and holds"):
            net.loss(P, x=X, y=wrong, v=V)
    g = Template("m")
    k, h = g.input("k", dtype="bool"), g.variable("h", ())
    h[t] = ops.where(k[t], 1.0, 2.0)
    for wrong in ([0, 1], [0.0, 1.0]):
        with pytest.raises(ArrayError, match="input k was declared dtype='bool', and holds"):
            g.compile(net.backend.name).run({}, "h", k=np.array(wrong))


def test_a_wider_and_a_complex_net() -> None:
    g = elman()
    wide, steps = g.compile("numpy", dtype="float64"), g.compile("numpy", dtype="complex128")
    P = wide.init(seed=0)
    x = single(X)
    np.testing.assert_array_equal(
        wide.run(P, "h", x=x, v=V.astype("float16")),
        wide.run(P, "h", x=x.astype(float), v=V.astype("float16").astype(float)),
    )
    turned = (x + 1j * x).astype("complex64")
    np.testing.assert_array_equal(
        steps.run(P, "h", x=turned, v=V), steps.run(P, "h", x=turned.astype(complex), v=V.astype(complex))
    )


def test_what_the_precision_does_not_hold() -> None:
    """As NumPy: integers are rounded and nans pass in silence, too small is zero, too large infinite and warned of."""
    g = Template("m")
    x, h = g.input("x"), g.variable("h", ())
    h[t] = 1.0 * x[t]
    net = g.compile("numpy")
    assert net.run({}, "h", x=np.array([2**24 + 1, 2**53 + 1])).tolist() == [2**24, 2**53]
    assert np.isnan(net.run({}, "h", x=np.array([np.nan, 1.0]))).tolist() == [True, False]
    assert net.run({}, "h", x=np.array([1e-300, -np.inf])).tolist() == [0, -np.inf]
    for x_ in (np.array([1e300, 1.0]), [1e300, 1.0]):
        with pytest.warns(RuntimeWarning, match="overflow encountered in cast"):
            assert net.run({}, "h", x=x_).tolist() == [np.inf, 1]
        with np.errstate(over="ignore"):
            assert net.run({}, "h", x=x_).tolist() == [np.inf, 1]


def test_a_model() -> None:
    g = Template("walk")
    y, m = g.input("y"), g.variable("m")
    y[0] = 0
    m[t] = 0.5 * y[t - 1]
    net = Model(g, {"y": ("normal", "m", np.float64(1.0))}).compile("numpy")
    series = RNG.normal(size=9)
    alike(net.log_prob({}, y=series), net.log_prob({}, y=single(series)))
    assert net.sample({}, T=3)["y"].dtype == np.float32


# -- what other libraries hand over -----------------------------------------------------------------------------------


def test_tensors(net: Any) -> None:
    torch = pytest.importorskip("torch")
    P = net.init(seed=0)
    for kind in ("float16", "bfloat16", "float64", "int32", "bool"):
        x = torch.as_tensor(X).to(getattr(torch, kind))
        for given in (x, list(x.unbind(1))):
            alike(net.run(P, "h", x=given, v=torch.as_tensor(V)), net.run(P, "h", x=x.float().numpy(), v=single(V)))


def pandas_cases() -> list[Any]:
    pandas = pytest.importorskip("pandas")
    frame, missing = pandas.DataFrame(X[:, 0]), pandas.DataFrame(X[:, 0]).astype("Float64")
    missing.iloc[1, 0] = pandas.NA
    mixed = frame.assign(**{"1": [True, False, True, True]}).iloc[:, [0, 2]]
    holes = X[:, 0].copy()
    holes[1, 0] = np.nan
    half = pandas.concat([missing.iloc[:, 0], frame.iloc[:, 1]], axis=1)
    truths = np.stack([X[:, 0, 0], [1, 0, 1, 1]], axis=1)
    whole = frame.astype("int64").astype("Int64")
    return [
        (frame, X[:, 0]), (missing, holes), (half, holes), (mixed, truths), (whole, X[:, 0].astype(int))
    ]  # fmt: skip


def test_tables_of_pandas(net: Any) -> None:
    """What is missing is a nan, as in pandas' own conversion."""
    P = net.init(seed=0)
    for _ in range(2):
        for frame, array in pandas_cases():
            alike(net.run(P, "h", x=frame, v=V[0]), net.run(P, "h", x=single(array), v=single(V[0])))
    frame, array = pandas_cases()[0]
    alike(
        net.run(P, "h", x=[frame, frame[:2]], v=V[:2]),
        net.run(P, "h", x=[single(array), single(array[:2])], v=single(V[:2])),
    )


def test_columns_of_pandas(net: Any) -> None:
    pandas = pytest.importorskip("pandas")
    g = Template("m")
    x, y, k, h = g.input("x"), g.input("y", dtype="int"), g.input("k", dtype="bool"), g.variable("h", ())
    h[t] = ops.where(k[t], x[t], ops.cast(y[t]))
    made = g.compile(net.backend.name)
    y, k = pandas.Series([1, 2, 3], dtype="Int64"), pandas.Series([True, False, True], dtype="boolean")
    for x, want in (
        (pandas.Series([0.1, 2.5, 3.5]), [0.1, 2, 3.5]),
        (pandas.Series([0.1, None, 3.5], dtype="Float64"), [0.1, 2, 3.5]),
        (pandas.Series([True, False, None], dtype="boolean"), [1, 2, np.nan]),
        (pandas.Series([7, 8, 9], dtype="UInt8"), [7, 2, 9]),
        (pandas.array([0.1, None, 3.5], dtype="Float64"), [0.1, 2, 3.5]),
        (pandas.Index([7, 8, 9]), [7, 2, 9]),
    ):
        for _ in range(2):
            alike(made.run({}, "h", x=x, y=y, k=k), single(want))
    x, none = [1.0, 2.0, 3.0], pandas.Series([1, None, 3], dtype="Int64")
    with pytest.raises(ArrayError, match=r"input y is a Series .*missing values"):
        made.run({}, "h", x=x, y=none, k=k)
    with pytest.raises(ArrayError, match=r"input k is a Series .*missing values"):
        made.run({}, "h", x=x, y=y, k=none.astype("boolean"))
    with pytest.raises(ArrayError, match="input y was declared dtype='int', and holds float64"):
        made.run({}, "h", x=x, y=pandas.Series(x), k=k)
    for words in (["1", "2", "3"], pandas.to_datetime(["2020-01-01"] * 3)):
        with pytest.raises(ArrayError, match=r"input x holds .*; an array of numbers was expected"):
            made.run({}, "h", x=pandas.Series(words), y=y, k=k)


def test_a_column_that_holds_no_numbers(net: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "name": ["1", "2"]})
    with pytest.raises(ArrayError, match=r"input x is a DataFrame whose column 'name' holds \w+; numbers"):
        net.run(net.init(), "h", x=frame, v=V[0])


# -- training ---------------------------------------------------------------------------------------------------------


def trained(rate: Any, norm: Any, grads_as: Any = np.asarray, **options: Any) -> Any:
    net = compiled("numpy")
    P, adam = net.init(seed=0), Adam(rate, **options)
    for step in range(3):
        adam.rate = rate * (1 - step / 10)
        _, grads = net.value_and_grad(P, x=X, y=Y, v=V)
        P = adam.update(P, clip({n: grads_as(g) for n, g in grads.items()}, norm))
    return P


@pytest.mark.parametrize("number", [np.float64, np.float32, np.longdouble, np.asarray], ids=lambda n: n.__name__)
def test_a_rate_of_numpys_changes_no_dtype(number: Any) -> None:
    betas = {"beta1": number(0.5), "beta2": number(0.75), "eps": number(2.0**-20)}
    plain = {n: float(b) for n, b in betas.items()}
    alike(trained(number(0.125), number(0.5), **betas), trained(0.125, 0.5, **plain))


def test_gradients_of_another_precision_change_no_params() -> None:
    alike(trained(0.1, 0.5, lambda g: g * np.float64(1)), trained(0.1, 0.5))
    adam, wide = Adam(0.1), {"W": np.ones(2)}
    assert adam.update(wide, {"W": np.ones(2, "float32")})["W"].dtype == np.float64
    adam.v = {"W": np.ones(2)}
    assert adam.update({"W": np.ones(2, "float32")}, wide)["W"].dtype == np.float32
    assert Adam(0.5).update({"W": np.ones(2, int)}, wide)["W"].tolist() == pytest.approx([0.5, 0.5])


def test_a_rate_that_is_no_number() -> None:
    for wrong in ("0.1", None, np.ones(2), True):
        with pytest.raises(ValueError, match="rate is a number; got"):
            Adam(wrong).update({}, {})
        with pytest.raises(ValueError, match="norm is a number; got"):
            clip({}, wrong)


def test_schedules_give_numbers_of_pythons() -> None:
    for value, plain in (
        (linear(np.int64(3), np.float64(0.1), np.float32(0.5), np.float64(0.1)), linear(3, 0.1, 0.5, 0.1)),
        (exponential(np.int64(3), np.float64(0.5)), exponential(3, 0.5)),
        (inverse_sigmoid(np.int64(3), np.float64(10)), inverse_sigmoid(3, 10)),
    ):
        assert type(value) is float
        assert value == plain


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_a_wide_net_loses_nothing_of_wide_data(backend: str, dtype: str) -> None:
    """1/3, and what float32 holds as infinite: tensors, arrays, lists and columns alike, inputs and params."""
    if backend == "native" and dtype != "float64":
        return
    g = Template("wide")
    x, w = g.input("x"), g.param("w")
    g.output("y", w * x[t])
    net, exact = g.compile(backend, dtype=dtype), np.array([1 / 3, 16777217.0, 1e300])
    forms: list[Any] = [exact, exact.tolist(), list(exact)]
    try:
        import torch
    except ImportError:
        torch = None  # type: ignore[assignment]
    if torch is not None:
        forms += [torch.from_numpy(exact), list(torch.from_numpy(exact))]
        assert net.run({"w": torch.tensor(1 / 3, dtype=torch.float64)}, "y", x=[1.0])[0] == 1 / 3
    for given in forms:
        np.testing.assert_array_equal(net.run({"w": 1.0}, "y", x=given), exact)
