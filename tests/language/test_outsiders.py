"""What other libraries would compute at once, and arrays of theirs that a net cannot take: said with the way out."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, axis, ops, t
from unroll.errors import (
    ArrayError,
    BoundaryError,
    DTypeError,
    MissingError,
    TemplateError,
    UndefinedError,
    UnknownAttributeError,
)

from .mistakes import Mistakes, blamed, check_mistake, model

mistake = Mistakes()
s, S = axis("s")
torch = pytest.importorskip("torch")
sparse = pytest.importorskip("scipy.sparse")

# -- values that are no numbers ---------------------------------------------------------------------------------------


@mistake(DTypeError, "x[t] is not a number", "ops.exp")
def a_function_of_math(x):
    math.exp(x[t])  # <-


@mistake(DTypeError, "x is not a number", "ops.exp", "x[t]")
def a_function_of_math_without_brackets(x):
    math.sqrt(x)  # <-


@mistake(DTypeError, "b is not a number")
def a_float(b):
    float(b)  # <-


@mistake(DTypeError, "k[t] is not a number")
def a_step_as_a_number_of_loops(k):
    for _ in range(k[t]):  # <-
        pass


@mistake(DTypeError, "T is a step of every length, and no number", "h[t] = ...")
def a_loop_over_steps():
    for _ in range(T):  # <-
        pass


@mistake(DTypeError, "t is a step of every length")
def a_list_at_a_step():
    [1, 2, 3][t]  # <-


@mistake(DTypeError, "x[t] has no length", "shape")
def the_length_of_a_value(x):
    len(x[t])  # <-


@mistake(DTypeError, "x[t] is not an array", "np.tanh", "ops.tanh")
def a_function_of_numpy(x):
    np.tanh(x[t])  # <-


@mistake(DTypeError, "x[t] is not a tensor", "torch.tanh", "ops.tanh")
def a_function_of_torch(x):
    torch.tanh(x[t])  # <-


@mistake(DTypeError, "x[t] is not a tensor", "torch.linear", "unroll.ops")
def a_layer_of_torch(x):
    torch.nn.Linear(3, 3)(x[t])  # <-


@mistake(DTypeError, "x[t] is not a tensor", "torch.stack", "ops.stack")
def a_list_for_torch(x):
    torch.stack([x[t], x[t]])  # <-


@mistake(DTypeError, "a Tensor cannot stand in an equation", ".detach().numpy()")
def a_tensor_in_an_equation(x):
    x[t] + torch.ones(3)  # <-


@mistake(DTypeError, "a Tensor cannot stand in an equation", ".detach().numpy()")
def a_tensor_on_the_left(x):
    torch.ones(3, 3) @ x[t]  # <-


@mistake(DTypeError, "a csr_array cannot stand in an equation", ".toarray()")
def a_sparse_matrix_in_an_equation(x):
    x[t] @ sparse.csr_array(np.eye(3))  # <-


@mistake(DTypeError, "x[t] is not an array", ".toarray()")
def a_sparse_matrix_on_the_left(x):
    sparse.csr_array(np.eye(3)) @ x[t]  # <-


@mistake(DTypeError, "a MaskedArray cannot stand in an equation")
def a_masked_array_in_an_equation(x):
    x[t] + np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])  # <-


# -- attributes -------------------------------------------------------------------------------------------------------


@mistake(UnknownAttributeError, "no 'lose'", "g.loss = ...")
def a_misspelt_loss(g):
    g.lose = 3  # <-


@mistake(UnknownAttributeError, "no 'outputs'", "g.loss and g.stop")
def an_attribute_of_ones_own(g):
    g.outputs = []  # <-


@mistake(UnknownAttributeError, "'system' cannot be set")
def a_system_set(g):
    g.system = None  # <-


@mistake(TemplateError, "init of M", "csr_array", "(3, 3)")
def a_sparse_initial_value(g):
    g.param("M", (3, 3), sparse.csr_array(np.eye(3)))  # <-


@mistake(TemplateError, "init of M", "Tensor", "requires grad")
def an_initial_value_that_requires_grad(g):
    g.param("M", 3, torch.ones(3, requires_grad=True))  # <-


@mistake.each
def test_mistake(mistake: Any, kind: type[BaseException], words: tuple[str, ...]) -> None:
    check_mistake(mistake, kind, words, model())


# -- arrays of others -------------------------------------------------------------------------------------------------

call = Mistakes()


def net_of() -> dict[str, Any]:
    g = Template("elman")
    x, y, W, h = g.input("x", 3), g.input("y", dtype="int"), g.param("W", (3, 3)), g.variable("h", 3)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t])
    g.loss = ops.sum(ops.cross_entropy(h[t], y[t]), over=t)
    net = g.compile("numpy")
    X, Y = np.ones((4, 2, 3), np.float32), np.zeros((4, 2), int)
    return {"net": net, "P": net.init(), "X": X, "Y": Y}


@call(ArrayError, "param W is a Tensor that requires grad", "W.detach()")
def a_param_that_requires_grad(net, X, Y):
    net.loss({"W": torch.zeros(3, 3, requires_grad=True)}, x=X, y=Y)  # <-


@call(ArrayError, "input x is a Tensor that requires grad", "x.detach()")
def a_list_that_requires_grad(net, P, Y):
    net.loss(P, x=[torch.ones(4, 3, requires_grad=True)], y=Y[:, :1])  # <-


@call(ArrayError, "input x is complex64", "float32", "x.real")
def a_complex_tensor(net, P, Y):
    net.loss(P, x=torch.ones(4, 2, 3, dtype=torch.complex64), y=Y)  # <-


@call(ArrayError, "param W is bfloat16", "float32", "numpy.asarray(W, 'float32')")
def a_param_of_a_kind_numpy_lacks(net, X, Y):
    net.loss({"W": torch.zeros(3, 3, dtype=torch.bfloat16)}, x=X, y=Y)  # <-


@call(ArrayError, "param W is float64", "float32", "numpy.asarray(W, 'float32')", "dtype='float64'")
def a_tensor_of_another_precision_as_a_param(net, X, Y):
    net.loss({"W": torch.zeros(3, 3, dtype=torch.float64)}, x=X, y=Y)  # <-


@call(ArrayError, "input x is a Tensor that makes no array", "(T, B, 3)")
def a_tensor_without_data(net, P, Y):
    net.loss(P, x=torch.ones(4, 2, 3, device="meta"), y=Y)  # <-


@call(ArrayError, "param W is a csr_array, which is sparse", "W.toarray()")
def a_sparse_param(net, X, Y):
    net.loss({"W": sparse.csr_array(np.eye(3, dtype=np.float32))}, x=X, y=Y)  # <-


@call(ArrayError, "param W is a Tensor, which is sparse", "W.to_dense()")
def a_sparse_tensor(net, X, Y):
    net.loss({"W": torch.zeros(3, 3).to_sparse()}, x=X, y=Y)  # <-


@call(ArrayError, "input y is a csr_matrix, which is sparse", "y.toarray()")
def sparse_labels(net, P, X):
    net.loss(P, x=X, y=sparse.csr_matrix(np.zeros((4, 2), int)))  # <-


@call(ArrayError, "tangent of W is a Tensor that requires grad", "W.detach()")
def a_direction_that_requires_grad(net, P, X, Y):
    net.jvp(P, {"W": torch.zeros(3, 3, requires_grad=True)}, x=X, y=Y)  # <-


@call(MissingError, "params, a dict of arrays by name, was left out", "net.init(seed=0)")
def params_left_out(net, X, Y):
    net.loss(x=X, y=Y)  # <-


@call(MissingError, "params", "net.init(seed=0)")
def params_left_out_of_a_stream(net):
    net.stream(names="h")  # <-


@call(MissingError, "cotangents", "second", "net.vjp(params, cotangents, x=...)")
def cotangents_by_name(net, P, X, Y):
    net.vjp(P, cotangents={"h": X}, x=X, y=Y)  # <-


@call(MissingError, "tangents", "second", "net.jvp(params, tangents, x=...)")
def tangents_left_out(net, P, X, Y):
    net.jvp(P, x=X, y=Y)  # <-


@call(UndefinedError, "jvp is of one whole variable, by its name", "got ['h']")
def several_variables_along_a_direction(net, P, X, Y):
    net.jvp(P, {"W": P["W"]}, ["h"], x=X, y=Y)  # <-


@call(UndefinedError, "wrt names ['W']", "the params and inputs", "the variables")
def names_in_lists_of_lists(net, P, X, Y):
    net.value_and_grad(P, [["W"]], x=X, y=Y)  # <-


@call(ArrayError, "vector", "second", "got a list")
def a_list_of_vectors(net, P, X, Y):
    net.hessian_vector(P, list(P.values()), x=X, y=Y)  # <-


@call.each
def test_call(mistake: Any, kind: type[BaseException], words: tuple[str, ...]) -> None:
    check_mistake(mistake, kind, words, net_of())


def test_tensors_of_plain_numbers_are_taken() -> None:
    names = net_of()
    net, P, X, Y = (names[n] for n in ("net", "P", "X", "Y"))
    want = net.loss(P, x=X, y=Y)
    assert (
        net.loss({n: torch.from_numpy(v) for n, v in P.items()}, x=torch.ones(4, 2, 3), y=torch.from_numpy(Y)) == want
    )


# -- boundaries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [100_000, 10**9])
def test_very_many_boundaries_are_counted(delay: int) -> None:
    g = Template("m")
    h = g.variable("h", ())
    h[-5] = 1
    h[t] = 0.5 * h[t - delay] + h[t - 3]
    start = time.perf_counter()
    with pytest.raises(BoundaryError) as error:
        _ = g.system
    assert time.perf_counter() - start < 2
    text = str(error.value)
    assert f"h[{1 - delay}], h[{2 - delay}], h[{3 - delay}] and {delay - 4:,} more steps are read" in text
    assert f"(as h[t-{delay}], h[t-3]), and nothing defines them" in text
    assert "test_outsiders.py" in text
    assert len(text) < 600


@pytest.mark.parametrize(("count", "listed"), [(8, "h[-7] = 0; h[-6] = 0"), (9, "for k in range(-8, 1): h[k] = 0")])
def test_a_few_are_listed(count: int, listed: str) -> None:
    g = Template("m")
    h = g.variable("h", ())
    h[t] = h[t - count]
    with pytest.raises(BoundaryError) as error:
        _ = g.system
    assert listed in str(error.value)


def test_along_two_axes() -> None:
    g = Template("m")
    x, h = g.input("x", over=(t, s)), g.variable("h", ())
    h[t, s] = 0.5 * h[t - 1000, s - 2] + x[t, s]
    with pytest.raises(BoundaryError, match=r"h\[-999, -1\], h\[-999, 0\], .* more steps are read"):
        _ = g.system
    g = Template("m")
    h = g.variable("h", ())
    h[t] = h[t + 20]
    with pytest.raises(BoundaryError, match=r"h\[T\+1\], h\[T\+2\], h\[T\+3\] and 17 more steps"):
        _ = g.system


def test_every_line_to_be_blamed_is_marked() -> None:
    assert all(blamed(case.values[0]) for cases in (mistake, call) for case in cases.cases)
