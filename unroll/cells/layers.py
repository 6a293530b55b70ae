"""From a cell to variables with boundaries: one layer, a stack of layers, and two layers in opposite directions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from .. import ops
from ..errors import ShapeError, TemplateError, here, message
from ..ir.axes import Index, fixed, last, running, t
from ..ir.system import Ref
from ..language.expression import axes_of
from ..language.variable import Variable
from ..ops.core import Symbolic
from ..ops.integers import real
from ..template import Template
from .scope import Scope, now_of, ordered_axes

Cell = Callable[..., Any]
Layer = Variable | tuple[Variable, ...]


Making = TypeVar("Making", bound=Callable[..., Any])


def _all_or_nothing(make: Making) -> Making:
    """Have a function of a template leave it as it was where it raises."""

    @wraps(make)
    def call(g: Template, *args: Any, **options: Any) -> Any:
        with g._builder.all_or_nothing():
            return make(g, *args, **options)

    return call  # type: ignore[return-value]


@_all_or_nothing
def layer(
    g: Template,
    cell: Cell,
    x: Symbolic,
    size: int,
    *,
    name: str | None = None,
    over: Index = t,
    initial: Any = None,
    reverse: bool = False,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    zoneout: float = 0.0,
    **options: Any,
) -> Any:
    """A layer of a cell: declare its state, give it a boundary, and define it at every step.

    x        what it reads at each step, a vector: ``x[t]``, ``E[y[t-1]]``, ``ctx[t]``, or the same at every step
    size     the number of units
    name     of the state's first part, which is the output; the rest is named after it, ``c_h``, ``W_h``; by default
             the first letter of the cell's state
    over     the time axis along which it recurs; the state runs along the other axes of x too
    initial  the state before the first step: a number, an array or an expression, and a tuple of them where the state
             has several parts; by default 0. An encoder's ``h[S]`` makes a decoder (book section 10.4).
    reverse  from right to left: reads ``h[t+1]``, and `initial` stands at ``h[T+1]``
    dropout, recurrent_dropout
             rates at which elements of x, and of the output that is fed back through a matrix, are zeroed, the same
             ones at every step of a sequence (Gal and Ghahramani 2016); a cell of one's own says where it is by
             `Scope.dropped`
    zoneout  the rate at which elements of the state keep the value that they had, each part of the state by draws of
             its own; within the step the cell reads what it made, h being o * tanh(f * c + i * g) (Krueger et al. 2017)
    options  of the cell

    `Template.inference` takes these out. Returns the variable of the state, or a tuple where it has several parts. A
    cell may return ``(output, state)``, as in Keras, where its output is no part of its state: then the output comes
    first, ``y, h = layer(...)``, and is what a layer above reads. It has the name that the cell gives it, or ``out_h``.
    Raises ShapeError, AxisError, TemplateError.

    >>> from unroll import T, Template, cells, t
    >>> g = Template("summary")
    >>> x = g.input("x", 3)
    >>> h, c = cells.layer(g, cells.lstm, x[t], 4, reverse=True)
    >>> h, c, h[1]
    (<variable h (4,)>, <variable c_h (4,)>, h[1])

    A cell of one's own:

    >>> def mix(scope, x, h):
    ...     a = scope.define("a", ops.sigmoid(scope.param("A", (h.shape[0], x.shape[0])) @ x))
    ...     return a * h + (1 - a)
    >>> m = cells.layer(g, mix, x[t], 2, name="m", initial=0.5)
    >>> g.output("last", m[T])
    >>> print(g)
    template summary(...)
    ...
      m[0] = 0.5
      a_m[t] = sigmoid(A_m @ x[t])                                               t = 1..T
      m[t] = a_m[t] * m[t-1] + (1 - a_m[t])                                      t = 1..T
      last = m[T]

    One whose output is no state:

    >>> def read_out(scope, x, h):
    ...     h = scope.define("h", ops.tanh(scope.param("W", (4, 4)) @ h + scope.param("U", (4, 3)) @ x))
    ...     return scope.param("V", (2, 4)) @ h, h
    >>> g = Template("reader")
    >>> y, h = cells.layer(g, read_out, g.input("x", 3)[t], 4)
    >>> print(g)
    template reader(...)
      h[0] = 0
      h[t] = tanh(W_h @ h[t-1] + U_h @ x[t])    t = 1..T
      out_h[t] = V_h @ h[t]                     t = 1..T
    """
    (axis,) = axes_of(over)
    builder = g._builder
    builder.know([axis])
    x = _vector(builder.operand(x))
    letters = _states(cell)
    starts = _starts(cell, letters, initial)
    name = letters[0] if name is None else name
    axes = ordered_axes(g, x.axes | {axis})
    states = {k: g.variable(f"{k}_{name}" if n else name, size) for n, k in enumerate(letters)}
    edge, delay = (last(axis, 1), 1) if reverse else (fixed(0), -1)
    for variable, start in zip(states.values(), starts, strict=True):
        variable[tuple(edge if a == axis else running(a) for a in axes)] = start
    back = tuple(running(a, delay if a == axis else 0) for a in axes)
    before: dict[str, Any] = {letter: variable[back] for letter, variable in states.items()}

    rates: dict[str, Any] = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "zoneout": zoneout}
    for what, rate in rates.items():
        number = real(rate)
        if number is None or not 0 <= number < 1:
            raise TemplateError(
                message(
                    f"{what}={rate!r}: a rate is a number from 0 up to, and without, 1; at 1 nothing is left", here()
                )
            )
    mask = ops.keep(before[letters[0]], recurrent_dropout, over=None) if recurrent_dropout else None
    x = ops.dropout(x, dropout, over=None) if dropout else x
    scope = Scope(g, name, states, bool(zoneout), mask)
    made = cell(scope, x, *before.values(), **options)
    if recurrent_dropout and not scope._masked:
        raise TemplateError(
            message(
                f"recurrent_dropout={recurrent_dropout!r}, and {_called(cell)} does not say what it would drop",
                here(),
                fix=f"Write W @ scope.dropped({letters[0]}) where a matrix takes it.",
            )
        )
    output, values = _parted(cell, letters, made)
    now = tuple(running(a) for a in axes)
    for (letter, variable), value in zip(states.items(), map(builder.operand, values), strict=True):
        if value.operand != Ref(variable.name, now):  # else the cell has defined it itself
            old = before[letter]
            variable[now] = old + (1 - zoneout) * ops.keep(old, zoneout) * (value - old) if zoneout else value
    first = () if output is None else (_named(scope, output),)
    return (*first, *states.values()) if len(states) > 1 or first else states[letters[0]]


def _parted(cell: Cell, letters: Sequence[str], made: object) -> tuple[Any, Sequence[Any]]:
    """The output of a cell, None where that is its state, and its state. Raises TemplateError for another number."""
    values: Sequence[Any] = made if isinstance(made, (tuple, list)) else (made,)
    output = None
    if len(values) == 2 and (len(letters) == 1 or isinstance(values[1], (tuple, list))):
        output, state = values
        values = state if isinstance(state, (tuple, list)) else (state,)
    if len(values) == len(letters):
        return output, values
    state = ", ".join(letters)
    whole = state if len(letters) == 1 else f"({state})"
    raise TemplateError(
        message(
            f"{_called(cell)} takes a state of {len(letters)} ({state}), and returns {len(values)}",
            here(),
            fix="A cell returns its state at this step, in the order in which it takes it; where its output is no part "
            f"of that, return output, {whole}.",
        )
    )


def _named(scope: Scope, output: object) -> Variable:
    """The variable of a cell's output: the one that the cell has defined, or one of its own."""
    g = scope.template
    value = g._builder.operand(output)
    known = value.operand if isinstance(value.operand, Ref) else Ref("")
    decl = g._builder.decls.get(known.name)
    if decl is None or decl.kind != "variable" or known.index != tuple(map(running, decl.axes)):
        made = scope.define("out", value).operand
        assert isinstance(made, Ref)
        known = made
    return Variable(g._builder, known.name)


@_all_or_nothing
def bidirectional(
    g: Template,
    cell: Cell,
    x: Symbolic,
    size: int,
    *,
    name: str | None = None,
    initial: Any = None,
    **options: Any,
) -> tuple[Symbolic, tuple[Any, Any]]:
    """Two layers that read the same input in opposite directions (book section 10.3; Schuster and Paliwal 1997).

    h_fwd[t] = cell(x[t], h_fwd[t-1]);  h_bwd[t] = cell(x[t], h_bwd[t+1]);  output [h_fwd[t], h_bwd[t]]

    size     the number of units of each direction
    name     of the layers' states, which get the endings _fwd and _bwd
    initial  a pair: for the left end and for the right end, as `layer` takes them
    options  of `layer` and of the cell

    Returns the joined output at each step, of 2*size, and what the two layers returned. Raises TemplateError.

    >>> from unroll import Template, cells, t
    >>> g = Template("both")
    >>> x = g.input("x", 3)
    >>> y, (h, r) = cells.bidirectional(g, cells.elman, x[t], 2)
    >>> y, h[t-1], r[t+1]
    (concat(h_fwd[t], h_bwd[t]), h_fwd[t-1], h_bwd[t+1])
    """
    ends = (None, None) if initial is None else tuple(initial)
    if len(ends) != 2:
        raise TemplateError(message(f"two directions take a pair in initial=, got {len(ends)}", here()))
    base = _states(cell)[0] if name is None else name
    forward = layer(g, cell, x, size, name=f"{base}_fwd", initial=ends[0], **options)
    backward = layer(g, cell, x, size, name=f"{base}_bwd", initial=ends[1], reverse=True, **options)
    return ops.concat([_output(forward), _output(backward)]), (forward, backward)


_two_ways = bidirectional  # the option of `stack` hides the name


@_all_or_nothing
def stack(
    g: Template,
    cell: Cell,
    x: Symbolic,
    sizes: Sequence[int],
    *,
    name: str | None = None,
    initial: Any = None,
    residual: bool = False,
    bidirectional: bool = False,
    **options: Any,
) -> tuple[Symbolic, list[Any]]:
    """A deep recurrent network: each layer reads the output of the one below at the same step (book section 10.5).

    h1[t] = cell(x[t], h1[t-1]);  h2[t] = cell(h1[t], h2[t-1]);  ...

    sizes          the number of units of each layer, from below
    name           of the layers' states, which are numbered: h1, h2, ...
    initial        one for each layer, as `layer` (or `bidirectional`) takes it
    residual       add each layer's input to its output, y1[t] = h1[t] + x[t] (He et al. 2016; Wu et al. 2016)
    bidirectional  each layer runs in both directions, and the next reads both outputs
    options        of `layer` and of the cell

    Returns the last layer's output at each step and what each layer returned. Raises ShapeError where a residual
    connection joins two widths, TemplateError.

    >>> from unroll import Template, cells, t
    >>> g = Template("deep")
    >>> x = g.input("x", 2)
    >>> y, (h1, h2) = cells.stack(g, cells.elman, x[t], [2, 2], residual=True)
    >>> print(g)
    template deep(...)
      h1[0] = 0
      h1[t] = tanh(b_h1 + W_h1 @ h1[t-1] + U_h1 @ x[t])       t = 1..T
      y_h1[t] = h1[t] + x[t]                                  t = 1..T
      h2[0] = 0
      h2[t] = tanh(b_h2 + W_h2 @ h2[t-1] + U_h2 @ y_h1[t])    t = 1..T
      y_h2[t] = h2[t] + y_h1[t]                               t = 1..T
    >>> y
    y_h2[t]
    """
    if not sizes:
        raise TemplateError(message("a stack has at least one layer, got sizes=[]", here()))
    starts = [None] * len(sizes) if initial is None else list(initial)
    if len(starts) != len(sizes):
        raise TemplateError(message(f"a stack of {len(sizes)} layers got {len(starts)} in initial=", here()))
    base = _states(cell)[0] if name is None else name
    below, made = _vector(g._builder.operand(x)), []
    for number, (size, start) in enumerate(zip(sizes, starts, strict=True), start=1):
        above = f"{base}{number}"
        width = 2 * size if bidirectional else size
        if residual and below.shape != (width,):
            raise ShapeError(
                message(
                    f"a residual connection adds the {width} outputs of {above} to what it reads, {below}, which has "
                    f"{below.shape[0]}",
                    here(),
                    fix="Bring the input to that width first, U @ x[t], or with a layer that has no such connection.",
                )
            )
        if bidirectional:
            output, parts = _two_ways(g, cell, below, size, name=above, initial=start, **options)
        else:
            parts = layer(g, cell, below, size, name=above, initial=start, **options)
            output = _output(parts)
        below = Scope(g, above).define("y", output + below) if residual else output
        made.append(parts)
    return below, made


def _states(cell: Cell) -> list[str]:
    """What a cell calls its state: its positional arguments after the scope and the input."""
    names = [p.name for p in inspect.signature(cell).parameters.values() if p.kind in _POSITIONAL][2:]
    if not names:
        raise TemplateError(
            message(
                f"{_called(cell)} is no cell: it takes no state",
                here(),
                fix="A cell is a function (scope, x, h) -> h, or (scope, x, h, c) -> (h, c); options are keywords.",
            )
        )
    return names


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _called(cell: Cell) -> str:
    return getattr(cell, "__name__", None) or repr(cell)


def _starts(cell: Cell, letters: Sequence[str], initial: Any) -> Sequence[Any]:
    if initial is None:
        return [0] * len(letters)
    given = initial if isinstance(initial, (tuple, list)) else [initial]
    if len(given) != len(letters):
        raise TemplateError(
            message(
                f"the state of {_called(cell)} is ({', '.join(letters)}), and initial= has {len(given)}",
                here(),
                fix="Give one value for each: a number, an array or an expression.",
            )
        )
    return given


def _vector(x: Symbolic) -> Symbolic:
    if len(x.shape) != 1:
        label = "Look a label up with E[y[t]]." if x.dtype == "int" else "Make it one with ops.reshape."
        raise ShapeError(message(f"a cell reads a vector, and {x} has shape {x.shape}", here(), fix=label))
    return x


def _output(made: Layer) -> Symbolic:
    """The output of a layer at each step."""
    return now_of(made[0] if isinstance(made, tuple) else made)
