"""Free running: a template that feeds itself is run until each example has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from .errors import ArrayError, UndefinedError, message
from .flow import collapsed
from .ir import Ref, System
from .stepping import Stepper, Stream
from .text import Writer
from .timeindex import TIME, running
from .unfold import check_length


class Generated(NamedTuple):
    """What `Net.generate` returns.

    values   one array or a dict of them, as `Net.run` returns them, zero beyond the end of each example
    lengths  the number of steps of each example, the one at which it stops included, (B,); an int without a batch

    >>> from unroll import Template, t
    >>> g = Template(); start, y = g.input("start", over=None), g.variable("y", ())
    >>> y[0] = start
    >>> y[t] = 2 * y[t-1]
    >>> g.stop = y[t] > 10
    >>> values, lengths = g.compile("numpy").generate({}, "y", start=[1.0, 5.0, 2.0])
    >>> print(values.T, lengths)
    [[ 2.  4.  8. 16.]
     [10. 20.  0.  0.]
     [ 4.  8. 16.  0.]] [4 2 3]
    """

    values: Any
    lengths: Any


def stops(system: System) -> dict[str, Ref]:
    """The output that says that a step is the last one of an example, where a template has one."""
    return {} if system.stop is None else {system.stop: Ref(system.stop, (running(TIME),))}


def generate(
    made: Stepper, params: Mapping[str, Any], arrays: Mapping[str, Any], asked: list[str], steps: Any, **options: Any
) -> Generated:
    """Run a template from its first step until each example has ended.

    asked    the outputs to return
    steps    the most steps to run, or None
    options  of the stream that runs it

    Raises UndefinedError where nothing ends it, ArrayError where it reads an input over t that is not given.
    """
    step, stop = made.step, made.user.stop
    over = {n: a for n, a in arrays.items() if n in made.inputs.inputs}
    stream = Stream(made, params, {n: a for n, a in arrays.items() if n not in over}, **options)
    _all_given(step, made.inputs.needed & set(made.inputs.inputs), over)
    if steps is not None:
        check_length("max_steps", steps)
    values: Mapping[str, Any] = {}
    if over:
        bound = stream.bind(over if steps is None else {**over, TIME.end: steps})
        steps, values = bound.lengths[TIME.end], bound.values
    if stop is None and steps is None:
        raise UndefinedError(
            f"template {step.name!r} never stops: set g.stop = ..., which is true at the last step, or give max_steps="
        )
    stream.begin()
    lengths = made.backend.asarray([0] * stream.batch, "int64")
    parts: dict[str, list[Any]] = {name: [] for name in asked}
    while True:
        size = made.ahead if steps is None else min(made.ahead, steps - stream.steps)
        now = {name: _part(step, name, array, stream.steps, size) for name, array in values.items()}
        results = stream.advance(now, size)
        for name, found in parts.items():
            found.append(results[name])
        if stop is not None and size:
            ended = made.backend.host(results[stop]).reshape(size, -1)
            first = ended.argmax(axis=0) + 1 + (stream.steps - size)
            lengths = lengths + first * (ended.any(axis=0) & (lengths == 0))
        if stream.steps == steps or (lengths > 0).all():
            break
    lengths = lengths + stream.steps * (lengths == 0)
    joined = {name: _joined(made, name, found, lengths) for name, found in parts.items()}
    return Generated(stream.shown(joined), lengths if stream.batched else int(lengths[0]))


def _part(step: System, name: str, array: Any, start: int, size: int) -> Any:
    """The steps of an input that come next."""
    place = step.decls[name].axes.index(TIME)
    return array[(*[slice(None)] * place, slice(start, start + size))]


def _joined(made: Stepper, name: str, found: list[Any], lengths: Any) -> Any:
    """What the pieces make together, as far as the longest example goes."""
    ref = made.step.outputs[name]
    if TIME not in ref.running:
        return found[0]
    batched = made.step.decls[ref.name].batched
    return made.backend.joined(found, ref.running.index(TIME), len(ref.running) if batched else None, lengths)


def _all_given(step: System, needed: Collection[str], arrays: Mapping[str, Any]) -> None:
    """Raises ArrayError for inputs over t that free running reads, and that nobody hands over."""
    missing = [name for name in step.decls if name in needed and name not in arrays]
    if not missing:
        return
    found = [(flow, read.ref) for flow in collapsed(step) for read in flow.reads if read.ref.name in missing]
    writer = Writer(step)
    rows = {str(flow.out): (writer.equation(flow.equation), flow.equation.source) for flow, _ in found}
    read = ", ".join(dict.fromkeys(str(ref) for _, ref in found)) or ", ".join(missing)
    fix = f"Have the template read what it makes itself, or give {missing[0]}=..., as many steps as may run."
    raise ArrayError(message(f"free running reads {read}, which nobody hands over", *rows.values(), fix=fix))
