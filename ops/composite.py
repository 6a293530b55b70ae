"""Losses and normalisation, written from the other operations; no derivative rule stands here."""

from __future__ import annotations

from collections.abc import Sequence

from .core import Array, Operand, Symbolic, composite
from .errors import DTypeError, ShapeError
from .pointwise import clip, softplus, sqrt
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
