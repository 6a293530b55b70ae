"""Losses, normalisation and missing data, written from the other operations; no derivative rule stands here."""

from __future__ import annotations

from collections.abc import Sequence

from .core import Array, Operand, Symbolic, composite
from .errors import DTypeError, ShapeError
from .pointwise import clip, isfinite, softplus, sqrt, where
from .reduce import as_symbol, cross_entropy_op, log_softmax, mean, sum
from .shape_ops import pick


@composite
def cross_entropy(logits: Symbolic, target: Symbolic | Array) -> Symbolic:
    """Minus the log-probability that softmax(logits) gives to the target (book sections 6.2.2.3 and 10.2.2).

    Shapes: logits (..., n); target an integer index (...), or probabilities (..., n) -> (...). In nats.
    Raises ShapeError.

    >>> from unroll import Template, ops, t
    >>> g = Template(); o, y = g.input("o", 5), g.input("y", dtype="int")
    >>> ops.cross_entropy(o[t], y[t])
    cross_entropy(o[t], y[t])
    """
    if not hasattr(target, "dtype"):
        raise TypeError(f"cross_entropy: the target is an expression, y[t], or an array; got {type(target).__name__}")
    logits = as_symbol(logits)
    if logits.dtype != "float":
        raise DTypeError(f"cross_entropy takes the logits first and then the target; the logits are {logits.dtype}")
    if target.dtype == "int":
        return cross_entropy_op(logits, target)
    if target.shape != logits.shape:
        raise ShapeError(f"cross_entropy: target probabilities {target.shape} need the logits' shape {logits.shape}")
    return -sum(target * log_softmax(logits), axis=-1)


@composite
def nll(log_probability: Operand, target: Operand) -> Symbolic:
    """Minus the log-probability of an integer target, from log-probabilities. Shapes: (..., n), (...) -> (...)."""
    return -pick(log_probability, target)


@composite
def bce_with_logits(logit: Operand, target: Operand) -> Symbolic:
    """Binary cross-entropy of sigmoid(logit), element by element, without overflow. In nats.

    The target is a probability, of kind float, or bool.
    """
    return target * softplus(-logit) + (1.0 - target) * softplus(logit)  # a difference would cancel


@composite
def mse(prediction: Operand, target: Operand) -> Symbolic:
    """Mean squared difference over the per-example axes -> one number."""
    return mean(as_symbol((prediction - target) ** 2))


@composite
def huber(prediction: Operand, target: Operand, delta: float = 1.0) -> Symbolic:
    """Half the squared difference up to `delta`, from there on linear; its mean over the per-example axes (Huber 1964).

    Shapes: two that broadcast -> (). As `mse`, one number for each example and step.

    >>> from unroll import Template, ops, t
    >>> g = Template(); o, y = g.input("o", 3), g.input("y", 3); ops.huber(o[t], y[t], delta=0.5)
    huber(o[t], y[t], delta=0.5)
    """
    apart = as_symbol(prediction - target)
    held = clip(apart, -delta, delta)
    return mean(held * (apart - 0.5 * held))


@composite
def layer_norm(
    x: Symbolic,
    gain: Operand | None = None,
    bias: Operand | None = None,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> Symbolic:
    """Shift and scale x to mean 0 and variance 1 over `axis`, then times gain, plus bias (Ba et al. 2016)."""
    centred = x - mean(x, axis, keepdims=True)
    y = centred * (1 / sqrt(mean(centred * centred, axis, keepdims=True) + eps))
    y = y if gain is None else y * gain
    return y if bias is None else y + bias


@composite
def observed(value: Operand, otherwise: Operand) -> Symbolic:
    """The value where it is finite, `otherwise` where it is missing: nan or infinite, element by element.

    Shapes as for `where`. What is computed from the result has no nan in it, and neither have gradients, since missing
    numbers go no further: give it the data themselves. (The gradient of ``where(isfinite(y), (y - m)**2, 0)`` by m is
    0 * nan.) With a prediction for `otherwise` the residual ``observed(y, m) - m`` is 0 where y is missing, and so is
    its gradient: a loss of residuals leaves these out. With a draw for it missing values are drawn.

    Raises DTypeError for labels, of which none is nan.

    >>> from unroll import Template, ops, t
    >>> g = Template("gaps"); y, a, z = g.input("y"), g.param("a"), g.variable("z", ())
    >>> z[0] = 0
    >>> z[t] = ops.observed(y[t], a * z[t-1])
    >>> g.loss = ops.sum((z[t] - a * z[t-1])**2, over=t)
    >>> loss, grads = g.compile("numpy").value_and_grad({"a": 0.5}, y=[1.0, float("nan"), 1.25])
    >>> float(loss), float(grads["a"])      # 1, 0 and 1 for the steps; a counts twice in the last
    (2.0, -2.0)
    """
    value = as_symbol(value)
    if value.dtype != "float":
        what = f"observed takes numbers, which may be nan, and these are {value.dtype}"
        raise DTypeError(f"{what}; say which are there yourself, where(seen, value, otherwise)")
    return where(isfinite(value), value, otherwise)
