"""How params begin: seeds, streams, and what an initialiser may be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from unroll import Template, UnrollError
from unroll.errors import ArrayError, ShapeError, TemplateError
from unroll.initializers import NAMED, normal, uniform

PRINT = """
import hashlib
from unroll import Template
g = Template("m")
for kind in ("uniform", "normal", "glorot", "he", "orthogonal"):
    g.param(kind, (5, 3), init=kind)
net = g.compile(dtype="float64")
print(hashlib.sha256(b"".join(a.tobytes() for a in net.init(seed=7).values())).hexdigest())
"""


def drawn(seed=0, dtype="float64", **params):
    """The initial params of a template with the given (shape, init) each."""
    g = Template("m")
    for name, (shape, init) in params.items():
        g.param(name, shape, init)
    return g.compile(dtype=dtype).init(seed=seed)


@pytest.mark.parametrize("kind", NAMED)
def test_the_same_seed_gives_the_same_bits(kind):
    a, b, c = (drawn(seed, W=((4, 3), kind))["W"] for seed in (3, 3, 4))
    assert a.tobytes() == b.tobytes()
    assert kind in ("zeros", "ones") or a.tobytes() != c.tobytes()


def test_the_same_bits_in_every_process():
    out = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(out) == 1


def test_another_param_changes_none():
    few = drawn(W=((4, 3), "glorot"), V=((2, 4), "normal"))
    more = drawn(A=((9, 9), "he"), V=((2, 4), "normal"), W=((4, 3), "glorot"), Z=(3, "uniform"))
    assert {n: few[n].tobytes() for n in few} == {n: more[n].tobytes() for n in few}


def test_two_params_of_one_shape_differ():
    both = drawn(W=((4, 3), "glorot"), V=((4, 3), "glorot"))
    assert (both["W"] != both["V"]).all()


@pytest.mark.parametrize(("one", "other"), [("codding", "gnu"), ("plumless", "buckeroo"), ("w", "w\0"), ("w", "w ")])
def test_params_of_any_two_names_start_apart(one, other):
    """The first two pairs have the same 32-bit checksum."""
    both = drawn(**{one: ((4, 3), "normal"), other: ((4, 3), "normal")})
    assert (both[one] != both[other]).all()


@pytest.mark.parametrize(("one", "other"), [((1, "1 w"), (11, " w")), ((0, "w"), (2**32, "w")), ((5, "ab"), (5, "ba"))])
def test_a_seed_and_a_name_are_told_apart(one, other):
    first, second = (drawn(seed, **{name: (5, "normal")})[name] for seed, name in (one, other))
    assert (first != second).all()


@pytest.mark.parametrize("seed", [5, np.int64(5), np.uint8(5)], ids=lambda s: type(s).__name__)
def test_integers_of_numpy_are_seeds(seed):
    assert drawn(seed, W=((4, 3), None))["W"].tobytes() == drawn(5, W=((4, 3), None))["W"].tobytes()


def test_large_seeds_count_in_full():
    assert drawn(2**70, W=(3, "normal"))["W"].tobytes() != drawn(0, W=(3, "normal"))["W"].tobytes()


def test_a_generator_is_drawn_from_in_order():
    rng = np.random.default_rng(1)
    first, second = drawn(rng, W=((4, 3), "normal")), drawn(rng, W=((4, 3), "normal"))
    again = np.random.default_rng(1)
    assert first["W"].tobytes() == drawn(again, W=((4, 3), "normal"))["W"].tobytes()
    assert second["W"].tobytes() == drawn(again, W=((4, 3), "normal"))["W"].tobytes()
    assert first["W"].tobytes() != second["W"].tobytes()


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True, [1], np.random.RandomState(0)], ids=lambda s: str(s)[:11])
def test_seeds_that_are_refused(seed):
    g = Template("m")
    g.param("W", 3)
    with pytest.raises(UnrollError, match=r"seed= takes an integer from 0 up or a numpy.random.Generator") as caught:
        g.compile().init(seed=seed)
    assert repr(seed) in str(caught.value)
    assert "test_initializers.py:" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_params_have_the_dtype_of_the_net(dtype):
    made = drawn(dtype=dtype, W=((4, 3), None), b=(3, None), c=((), 2))
    assert {a.dtype for a in made.values()} == {np.dtype(dtype)}
    assert {n: a.shape for n, a in made.items()} == {"W": (4, 3), "b": (3,), "c": ()}


def test_precision_changes_only_the_rounding():
    wide, narrow = drawn(W=((4, 3), None))["W"], drawn(dtype="float32", W=((4, 3), None))["W"]
    assert (wide.astype("float32") == narrow).all()


def test_params_are_made_anew():
    g = Template("m")
    start = np.arange(3.0)
    g.param("b", 3, start)
    net = g.compile(dtype="float64")
    first = net.init()
    first["b"] += 1
    start += 10
    assert net.init()["b"].tolist() == [0, 1, 2]
    assert all(a.flags.writeable and a.flags.c_contiguous for a in net.init().values())


# -- what they draw ---------------------------------------------------------------------------------------------------


def test_the_defaults_are_glorot_for_matrices_and_zeros_for_the_rest():
    made = drawn(W=((4, 3), None), b=(3, None), c=((), None))
    assert made["W"].tobytes() == drawn(W=((4, 3), "glorot"))["W"].tobytes()
    assert not made["b"].any()
    assert made["c"] == 0


@pytest.mark.parametrize("shape", [(300, 100), (100, 300)])
def test_scales(shape):
    """Glorot and Bengio 2010, eq. 16; He et al. 2015, eq. 10, with the fan-in of W @ x."""
    made = drawn(G=(shape, "glorot"), H=(shape, "he"), u=(shape, uniform(2, 3)), n=(shape, normal(0.5, mean=4)))
    limit = np.sqrt(6 / 400)
    assert abs(made["G"]).max() <= limit
    assert made["G"].std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert made["H"].std() == pytest.approx(np.sqrt(2 / shape[1]), rel=0.02)
    assert (2 <= made["u"].min() <= made["u"].max() < 3, made["n"].mean().round(1), made["n"].std().round(1)) == (
        True, 4.0, 0.5,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (1, 5)])
def test_orthogonal(shape):
    W = drawn(W=(shape, "orthogonal"))["W"]
    product = W @ W.T if shape[0] < shape[1] else W.T @ W
    assert np.allclose(product, np.eye(min(shape)), atol=1e-12)


@pytest.mark.parametrize(
    ("init", "value"),
    [
        ("zeros", [0, 0]),
        ("ones", [1, 1]),
        (3, [3, 3]),
        (0.5, [0.5, 0.5]),
        ([1, 2], [1, 2]),
        (np.array([1, 2]), [1, 2]),
        (lambda rng, shape: np.full(shape, 7), [7, 7]),
    ],
    ids=["zeros", "ones", "int", "float", "list", "array", "function"],
)
def test_values_and_functions(init, value):
    assert drawn(b=(2, init))["b"].tolist() == value


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "init", "words"),
    [
        ((2, 3), "xavier", ["'xavier'", "glorot", "orthogonal"]),
        (3, "orthogonal", ["orthogonal", "matrix", "(3,)"]),
        ((2, 3, 4), "orthogonal", ["orthogonal", "matrix", "(2, 3, 4)"]),
        ((2, 3), np.zeros((3, 2)), ["(3, 2)", "(2, 3)"]),
        ((2, 3), np.zeros((1, 3)), ["(1, 3)", "(2, 3)"]),
        ((2, 3), [[1, 2, 3], [4, 5]], ["init", "W", "numbers"]),
        (2, ["a", "b"], ["init", "W", "numbers"]),
        (2, 1 + 2j, ["init", "W", "numbers"]),
        (2, object(), ["init", "W", "numbers"]),
        (2, b"x", ["init", "W", "numbers"]),
        (2, {}, ["init", "W", "numbers"]),
    ],
    ids=["unknown", "vector", "cube", "transposed", "row", "ragged", "texts", "complex", "object", "bytes", "dict"],
)
def test_initialisers_that_are_refused(shape, init, words):
    """At the declaration, where the mistake stands, and not when the params are drawn."""
    g = Template("m")
    with pytest.raises((TemplateError, ShapeError)) as caught:
        g.param("W", shape, init)
    assert [w for w in words if w not in str(caught.value)] == []
    assert "test_initializers.py:" in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert g.param("W", shape).shape == ((shape,) if isinstance(shape, int) else shape)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (lambda rng, shape: np.zeros(4), ["W", "(4,)", "(2,)"]),
        (lambda rng, shape: "ab", ["W"]),
        (lambda rng, shape: np.zeros(shape, complex), ["W", "complex128"]),
        (lambda rng, shape: np.array(["a", "b"]), ["W"]),
        (lambda rng, shape: None, ["W"]),
    ],
    ids=["shape", "text", "complex", "texts", "nothing"],
)
def test_functions_that_make_something_else(init, words):
    with pytest.raises((ShapeError, ArrayError)) as caught:
        drawn(W=(2, init))
    assert [w for w in [*words, "test_initializers.py:"] if w not in str(caught.value)] == []


def test_a_fault_inside_a_function_is_its_own():
    """The user's own exception comes through with its traceback."""
    with pytest.raises(ZeroDivisionError):
        drawn(W=(2, lambda rng, shape: 1 / 0))
