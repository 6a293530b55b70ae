"""Statistics over the examples of a batch, which an equation never writes otherwise: batch normalisation."""

from __future__ import annotations

from .core import Operand, Symbolic, composite
from .pointwise import sqrt
from .reduce import as_symbol
from .symbolic import BATCH


@composite
def batch_mean(x: Operand) -> Symbolic:
    """The mean over the examples of the batch, of each element and at each step: one value for all examples.

    Shapes: (...) -> (...). With `lengths=`, only examples that have the step count; at a step that none has it is nan.
    An example's value and derivative depend on all the others then. In a stream the batch is what is passed together.

    >>> import numpy as np
    >>> from unroll import Template, ops, t
    >>> g = Template(); x = g.input("x", 2)
    >>> g.output("mean", ops.batch_mean(x[t]))
    >>> net = g.compile(backend="numpy", dtype="float64")
    >>> net.run({}, "mean", x=np.array([[[1.0, 2.0], [3.0, 6.0]]]))  # one step of two examples
    array([[2., 4.]])
    """
    x = as_symbol(x)
    return x.__over__("sum", BATCH) / x.__extent__(BATCH)


@composite
def batch_norm(
    x: Operand,
    gain: Operand | None = None,
    bias: Operand | None = None,
    *,
    mean: Operand | None = None,
    var: Operand | None = None,
    eps: float = 1e-5,
) -> Symbolic:
    """Shift and scale each element to mean 0 and variance 1 over the batch, step by step, then times gain, plus bias.

    gain, bias  of x's shape, as a rule params; gain begins at 0.1 in a recurrence (Cooijmans et al. 2016, section 4)
    mean, var   statistics to use in place of the batch's own, as running means of theirs once trained
    eps         added to the variance

    Shapes: (...) -> (...). The variance is the batch's own, divided by the number of examples, as PyTorch normalises;
    its running variance is n / (n - 1) times as large. Raises TypeError where one of mean and var is there alone.
    (Ioffe and Szegedy 2015; in recurrent networks, with statistics of its own for each step, Cooijmans et al. 2016.)

    >>> from unroll import Template, ops, t
    >>> g = Template(); x, h = g.input("x", 3), g.variable("h", 4)
    >>> W, U, gain = g.param("W", (4, 4)), g.param("U", (4, 3)), g.param("gain", 4)
    >>> h[0] = 0
    >>> h[t] = ops.tanh(ops.batch_norm(W @ h[t-1], gain) + ops.batch_norm(U @ x[t], gain))
    """
    if (mean is None) != (var is None):
        given, lacking = ("mean", "var") if var is None else ("var", "mean")
        raise TypeError(f"batch_norm takes both statistics or none; {given}= is given, and {lacking}= is not")
    centred = as_symbol(x) - (batch_mean(x) if mean is None else mean)
    y = centred * (1 / sqrt((batch_mean(centred * centred) if var is None else as_symbol(var)) + eps))
    y = y if gain is None else y * gain
    return y if bias is None else y + bias
