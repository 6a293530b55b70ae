"""Three ways in which a network ends the sequences that it makes (Goodfellow et al. 2016, *Deep Learning*, 10.2.4).

Each adds its trainable part to a template, sets ``g.stop``, at which `Net.generate` ends, and returns a term to add to
``g.loss``. A term counts an example's steps up to its own end, so that examples of several lengths train together.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import ops
from ..errors import DTypeError, here, message
from ..ir.axes import t
from ..ir.generated_inputs import Interval
from ..ir.system import Decl, Ref
from ..language.expression import Expr
from ..language.variable import Variable
from ..ops.core import Symbolic
from ..template import Template


def end_symbol(
    g: Template, logits: Symbolic, symbol: Symbolic, end: int, target: Symbolic, *, name: str = "end"
) -> Symbolic:
    """A symbol of the vocabulary that stands behind the last one: the sequence stops where it comes up.

    logits  what the symbols are drawn from, at t, one number a symbol
    symbol  the symbol that the template makes, at t
    end     the symbol that ends
    target  the symbol it should make, at t; in training each sequence has `end` behind its last symbol
    name    of the part

    Returns the cross-entropy of the targets up to and including the first `end`, one number per example. The trainable
    part is the row of that symbol in the matrix that makes the logits (Schmidhuber 2012). Raises DTypeError.

    >>> from unroll import Template, ops, t
    >>> from unroll.endings import end_symbol
    >>> g = Template(); o, y = g.input("o", 5), g.input("y", dtype="int")
    >>> g.loss = end_symbol(g, o[t], ops.argmax(o[t]), 4, y[t])
    >>> g.stop
    stop[t]
    """
    with g._builder.all_or_nothing():
        over = g.variable(f"{name}_over", (), dtype="bool")
        over[0] = False
        over[t] = over[t - 1] | ops.equal(target, end)
        term = ops.sum(ops.where(over[t - 1], 0.0, ops.cross_entropy(logits, target)), over=t)
        g.stop = ops.equal(symbol, end)
    return term


def bernoulli_stop(g: Template, h: Symbolic, end: Symbolic, *, name: str = "halt", draw: bool = True) -> Symbolic:
    """A unit that says at each step whether it is the last one.

    h     the state it reads, a vector at t
    end   where the end should be: a bool at t, true at the last step; or an int per example, the number of steps
    name  of the part, whose params are ``w_{name}`` and ``b_{name}``
    draw  True to stop with the unit's probability, False to stop where that is over one half

    Returns the binary cross-entropy of the unit's decisions up to the end, summed: minus the log-probability of going
    on that often and then stopping. Raises DTypeError, ShapeError.

    >>> from unroll import Template, ops, t
    >>> from unroll.endings import bernoulli_stop
    >>> g = Template(); h, n = g.input("h", 3), g.input("n", over=None, dtype="int")
    >>> g.loss = bernoulli_stop(g, h[t], n)
    """
    with g._builder.all_or_nothing():
        last, within = _place(g, end, name)
        w, b, z = g.param(f"w_{name}", h.shape), g.param(f"b_{name}"), g.variable(name, ())
        z[t] = ops.dot(w, h) + b
        decision = ops.bce_with_logits(z[t], ops.cast(last))
        term = ops.sum(ops.where(within, decision, 0.0), over=t)
        g.stop = ops.bernoulli(ops.sigmoid(z[t])) if draw else z[t] > 0
    return term


def _place(g: Template, end: Symbolic, name: str) -> tuple[Symbolic, Symbolic]:
    """Whether a step is the last one, and whether it comes no later."""
    if getattr(end, "dtype", None) == "bool":
        over = g.variable(f"{name}_over", (), dtype="bool")
        over[0] = False
        over[t] = over[t - 1] | end
        return end, ~over[t - 1]
    if getattr(end, "dtype", None) == "int" and isinstance(end, Expr) and not end.axes:
        count = g.variable(f"{name}_count", (), dtype="int")
        count[0] = 0
        count[t] = count[t - 1] + 1
        return ops.equal(count[t], end), count[t] <= end
    fix = 'Give g.input("last", dtype="bool")[t], true at the last step, or g.input("n", over=None, dtype="int").'
    what = f"end is a bool at each step or an int per example; got {end}"
    raise DTypeError(message(what, here(), fix=fix))


class Length(NamedTuple):
    """What `predicted_length` returns: the steps that are left, to read in the recurrence, and the term of the loss."""

    left: Variable
    term: Symbolic


def predicted_length(
    g: Template, context: Symbolic | None, longest: int, *, length: str = "length", name: str = "tau"
) -> Length:
    """The number of steps, drawn before the first one from a softmax over 1, ..., longest (Goodfellow et al. 2014).

    context  what it is predicted from, a vector per example; None for a distribution of its own
    longest  the largest number of steps
    length   the name of the input of kind int that holds the true number of steps
    name     of the part: params ``W_{name}`` and ``b_{name}``, and the variables below

    Read ``left[t-1]`` in the recurrence: the steps that are left, step t among them, so that the network knows of the
    end before it comes. It counts down from the number drawn. The truth is there as ``{name}_true``, to train with:
    ``g.teacher_forced({"tau_left": "tau_true"})``. The term is the cross-entropy of the true number.

    >>> from unroll import Template, ops, t
    >>> from unroll.endings import predicted_length
    >>> g = Template("count"); v, r, h = g.input("v", 3, over=None), g.param("r"), g.variable("h", ())
    >>> left, g.loss = predicted_length(g, v, 10)
    >>> h[0] = 0
    >>> h[t] = ops.tanh(h[t-1] + r * left[t-1])
    >>> net = g.compile("numpy")
    >>> net.generate(net.init(seed=0), "tau_left", v=[[0, 0, 0]] * 3, seed=1).lengths
    array([ 7, 10, 10])
    """
    with g._builder.all_or_nothing():
        logits: Symbolic = g.param(f"b_{name}", longest)
        if context is not None:
            logits = g.param(f"W_{name}", (longest, *context.shape)) @ context + logits
        g._declare(Decl(length, "input", (), "int", (), True, detail=Interval(1, longest), source=here()))
        true = g._builder.read(Ref(length))
        drawn, left, truth = (g.variable(n, ()) for n in (name, f"{name}_left", f"{name}_true"))
        drawn[()] = ops.cast(1 + ops.categorical(logits, over=None))
        left[0], truth[0] = drawn, ops.cast(true)
        left[t] = left[t - 1] - 1.0
        truth[t] = truth[t - 1] - 1.0
        term = ops.cross_entropy(logits, true - 1)
        g.stop = left[t] < 0.5
    return Length(left, term)
