"""A user's own operation, by the same call as the package's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.cases import cases, sample
from helpers.eager import Eager, eager, pullback
from helpers.gradcheck import check_function, check_op, check_second_order

from unroll import Template, ops, t
from unroll.errors import ShapeError, TemplateError
from unroll.ops.core import OPS
from unroll.ops.kinds import result_kind


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a test defines is gone after it."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)


def check(op: ops.Op, rng: np.random.Generator) -> None:
    """All that the package's own operations must pass."""
    assert cases(op)
    for case in cases(op):
        args = sample(op, case, rng)
        check_op(op, args, case.attrs)
        check_second_order(op, args, case.attrs, rng)


def test_by_an_expression(rng: np.random.Generator) -> None:
    cube = ops.define("cube", ops.elementwise, lambda g, y, x: 3 * g * x * x, body=lambda x: x * x * x)
    assert OPS["cube"] is cube
    assert repr(cube) == "<op cube>"
    np.testing.assert_array_equal(cube(Eager(np.array([-2.0, 3.0]))).value, [-8, 27])
    check(cube, rng)


def test_by_an_array_function(rng: np.random.Generator) -> None:
    def hypotenuse(xp: Any, a: Any, b: Any) -> Any:
        return xp.sqrt(a * a + b * b)

    op = ops.define(
        "hypotenuse", ops.elementwise, lambda g, y, a, b: g * a / y, lambda g, y, a, b: g * b / y, compute=hypotenuse
    )
    np.testing.assert_allclose(op(Eager(np.array([3.0, 5.0])), np.array([4.0, 12.0])).value, [5, 13])
    check(op, rng)


def test_with_attributes(rng: np.random.Generator) -> None:
    op = ops.define(
        "scaled_sine",
        ops.elementwise,
        lambda g, y, x, rate: g * rate * ops.cos(rate * x),
        compute=lambda xp, x, rate: xp.sin(rate * x),
    )
    args = [rng.uniform(-2, 2, (2, 3))]
    np.testing.assert_array_equal(op(*eager(*args), rate=3.0).value, np.sin(3.0 * args[0]))
    check_op(op, args, {"rate": 3.0})


def test_with_a_family_of_its_own(rng: np.random.Generator) -> None:
    """The family brings the shape rule and the cases; the per-example axes of `compute` come last."""
    family = ops.Family("norm", lambda shapes, attrs: shapes[0][:-1], ((((4,),), {}), (((2, 3),), {})))
    norm = ops.define(
        "norm",
        family,
        lambda g, y, x: ops.reshape(g / y, (*y.shape, 1)) * x,
        compute=lambda xp, x: xp.sqrt(xp.sum(x * x, axis=-1)),
    )
    assert norm(Eager(np.ones((2, 3)))).shape == (2,)
    check(norm, rng)


def test_variadic(rng: np.random.Generator) -> None:
    """Kinds that end in * take any number of operands; they share one rule, which is told the position."""
    total = ops.define(
        "total", ops.elementwise, lambda k, g, y, *xs: (k + 1) * g, kinds="n*->n",
        compute=lambda xp, *xs: sum((k + 1) * x for k, x in enumerate(xs)),
    )  # fmt: skip
    for count in (1, 2, 4):
        check_op(total, [rng.standard_normal(3) for _ in range(count)])


def test_used_inside_an_expression(rng: np.random.Generator) -> None:
    cube = ops.define("cube", ops.elementwise, lambda g, y, x: 3 * g * x * x, body=lambda x: x * x * x)
    check_function(
        "around cube", lambda w, x: ops.tanh(cube(w @ x)), [rng.standard_normal((2, 3)), rng.standard_normal(3)]
    )


def test_single_precision_stays() -> None:
    cube = ops.define("cube", ops.elementwise, lambda g, y, x: 3 * g * x * x, body=lambda x: x * x * x)
    x = Eager(np.ones(2, np.float32))
    y = cube(x)
    assert y.value.dtype == pullback(y, np.ones(2, np.float32), [x])[0].value.dtype == np.float32


def test_a_wrong_rule_is_caught(rng: np.random.Generator) -> None:
    wrong = ops.define("wrong_cube", ops.elementwise, lambda g, y, x: 2 * g * x * x, body=lambda x: x * x * x)
    with pytest.raises(AssertionError, match=r"wrong_cube, operand 1.*largest error"):
        check(wrong, rng)


def test_undefined_derivative_raises_when_asked() -> None:
    op = ops.define("steps", ops.elementwise, ops.undefined("steps has no derivative"), body=lambda x: ops.sign(x))
    x = Eager(np.array([0.5]))
    y = op(x)
    assert y.value == 1
    with pytest.raises(ops.DifferentiationError, match="steps has no derivative"):
        pullback(y, np.ones(1), [x])


def test_no_derivative_is_zero() -> None:
    op = ops.define("fixed", ops.elementwise, None, lambda g, y, a, b: g, body=lambda a, b: a + b)
    a, b = eager(np.ones(2), np.ones(2))
    got = pullback(op(a, b), np.ones(2), [a, b])
    assert [v.value.tolist() for v in got] == [[0, 0], [1, 1]]


REFUSED: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "taken": ({"name": "tanh"}, [None], "'tanh' is defined already"),
    "space": ({"name": "my op"}, [None], "identifier; got 'my op'"),
    "digit": ({"name": "2x"}, [None], "identifier; got '2x'"),
    "empty": ({"name": ""}, [None], "identifier; got ''"),
    "keyword": ({"name": "lambda"}, [None], "identifier; got 'lambda'"),
    "too few rules": ({"name": "few", "kinds": "f,f->f"}, [None], "'few' takes 2 operands but has 1 derivative rules"),
    "too many rules": ({"name": "many", "kinds": "f->f"}, [None, None], "takes 1 operands but has 2 derivative rules"),
    "no operands": ({"name": "none"}, [], "'none'"),
}


@pytest.mark.parametrize(("options", "rules", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(options: dict[str, Any], rules: list[Any], message: str) -> None:
    before = dict(OPS)
    with pytest.raises(ValueError, match=message):
        ops.define(options.pop("name"), ops.elementwise, *rules, **options, body=lambda x: x)
    assert before == OPS


@pytest.mark.parametrize("kinds", ["f", "f->", "->f", "x->f", "f->q", "f,->f", "f*,f->f"])
def test_kinds_that_mean_nothing_are_refused(kinds: str) -> None:
    rules = [None] * (1 + kinds.count(","))
    with pytest.raises(ValueError, match="kinds"):
        ops.define("odd", ops.elementwise, *rules, kinds=kinds, body=lambda *x: x[0])


def test_neither_body_nor_compute() -> None:
    op = ops.define("nothing", ops.elementwise, None)
    with pytest.raises(TemplateError, match="nothing has neither compute= nor body="):
        op(Eager(np.ones(2)))


def test_integer_operands() -> None:
    op = ops.define(
        "shifted", ops.elementwise, lambda g, y, x, k: g, None, kinds="f,i->f", compute=lambda xp, x, k: x + k
    )
    assert result_kind(op, ["float", "int"], [False, False]) == ("float", ("float", "int"))
    check_op(op, [np.array([0.5, 1.5]), np.array([1, 2])])
    with pytest.raises(ops.DTypeError, match="operand 2 of shifted must be int, and is float"):
        op(Eager(np.ones(2)), Eager(np.ones(2)))


BACKENDS = ["reference", "numpy", "native"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_body_may_make_a_smaller_shape_and_no_larger_one(backend: str) -> None:
    total = ops.define("total_of_all", ops.elementwise, None, kinds="f->f", body=lambda x: ops.sum(x))
    twice = ops.define("twice_as_long", ops.elementwise, None, kinds="f->f", body=lambda x: ops.concat([x, x]))
    g = Template()
    x = g.input("x", 9)
    g.output("y", total(x[t]))
    np.testing.assert_array_equal(g.compile(backend).run({}, "y", x=np.ones((1, 9), np.float32)), np.full((1, 9), 9))
    with pytest.raises(ShapeError, match=r"twice_as_long makes shape \(18,\), and its family elementwise says \(9,\)"):
        twice(x[t])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["body", "compute"])
def test_a_constant_reaches_an_operation_in_its_own_shape(backend: str, way: str) -> None:
    made = {
        "body": lambda a, b: a / ops.sum(a) * b,
        "compute": lambda xp, a, b: a / xp.sum(a, axis=-1, keepdims=True) * b,
    }
    share = ops.define(f"share_by_{way}", ops.elementwise, None, None, kinds="f,f->f", **{way: made[way]})
    g = Template()
    x, p = g.input("x", 3), g.variable("p", 3)
    p[t] = 0.3
    g.output("y", share(p[t], x[t]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = g.compile(backend, dtype="float64").run({}, "y", x=np.ones((1, 3)))
    np.testing.assert_allclose(found, np.full((1, 3), 1 / 3))


def test_a_derivative_of_the_wrong_shape_is_no_sum() -> None:
    tripled = ops.define("tripled", ops.elementwise, lambda g, y, x: ops.outer(g, x), compute=lambda xp, x: 3 * x)
    g = Template()
    g.loss = ops.sum(tripled(g.param("w", 3)))
    with pytest.raises(
        ShapeError, match=r"tripled by an operand of shape \(3,\) has shape \(3, 3\)(.|\n)*tripled\(w\)"
    ):
        g.adjoint()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((ops.elementwise,), "has no derivative rules: give one for each operand"),
        (("elementwise", lambda g, y, x: g), "a family such as ops.elementwise says its shapes; got 'elementwise'"),
        ((ops.elementwise, lambda g, x: g), r"lambda g, y, x: ...; one takes \(g, x\)"),
        ((ops.elementwise, lambda g, y, a: g, lambda g, y, b: g), r"lambda g, y, a, b: ...; one takes \(g, y, a\)"),
    ],
    ids=["no rules", "a family's name", "no result", "one operand of two"],
)
def test_what_a_definition_lacks_is_said_at_once(given: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ops.define("lacking", *given, body=lambda *x: x[0])  # type: ignore[arg-type]
    assert "lacking" not in ops.OPS
