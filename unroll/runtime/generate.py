"""Free running (generation): a template that feeds itself runs until each example has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..dependence.flows import collapsed
from ..errors import ArrayError, LengthError, UndefinedError, message
from ..ir.axes import TIME, running
from ..ir.system import Ref, System
from ..printing.plain import EquationWriter
from ..types import Array, Params
from ..unfold.lengths import length
from .stream import Stepper, Stream

AHEAD = 32
"""Steps that are taken before a look whether all examples have ended: one is cheap beside a call."""
MOST = 100_000
"""Steps after which a run is given up whose end was left to its stop."""


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


def stops(system: System) -> dict[Any, Ref]:
    """The output that says that a step is the last one of an example, where a template has one."""
    return {} if system.stop is None else {system.stop: Ref(system.stop, (running(TIME),))}


def generate(
    made: Stepper,
    params: Params | None,
    arrays: Mapping[str, Array],
    asked: list[Any],
    steps: int | None,
    **options: Any,
) -> Generated:
    """Run a template from its first step until each example has ended.

    asked    the outputs to return
    steps    the most steps to run, or None
    options  of the stream that runs it

    Raises UndefinedError where nothing ends it, ArrayError where it reads an input over t that is not given, and
    LengthError where no end comes.
    """
    step, stop = made.step, made.user.stop
    over = {n: a for n, a in arrays.items() if n in made.inputs.inputs}
    if TIME.end in arrays:
        raise LengthError(f"net.generate ends at its stop, and has no {TIME.end}=: max_steps= gives the most steps")
    rest = {n: a for n, a in arrays.items() if n not in over}
    others = {a.end for a in made.user.axes} - {TIME.end}
    if over and others:
        rest = {**{end: n for end, n in made.inputs.lengths_of(over).items() if end in others}, **rest}
    stream = Stream(made, params, rest, **options)
    _all_given(step, made.inputs.needed & set(made.inputs.inputs), over)
    if steps is not None:
        steps = length("max_steps", steps)
    values: Mapping[str, Any] = {}
    if over:
        bound = stream.bind(over)
        if steps is not None and steps != bound.lengths[TIME.end]:
            name = next(iter(over))
            raise LengthError(f"max_steps = {steps} was given, and input {name} has {bound.lengths[TIME.end]} steps")
        steps = bound.lengths[TIME.end]
        values = {n: a for n, a in bound.values.items() if n in step.decls}  # what is asked for may need fewer
    if stop is None and steps is None:
        raise UndefinedError(
            f"template {step.name!r} never stops: set g.stop = ..., which is true at the last step, or give max_steps="
        )
    stream.begin()
    return _Run(stream, values, stop, steps, asked).all()


class _Run:
    """One run.

    Beyond its end an example computes nothing of its own, for what it would read there need not even exist. Steps are
    taken some at once, and where that fails they are taken again, from the same state, one by one; and the place of
    an example that has ended computes what another does that has not. So each step that fails, fails one that counts.

    values   the inputs over t, as many steps as may run
    lengths  the steps of each example, 0 while it runs
    slowly   steps still to be taken one by one
    """

    def __init__(
        self, stream: Stream, values: Mapping[str, Any], stop: str | None, steps: int | None, asked: list[Any]
    ):
        self.stream, self.values, self.stop, self.steps = stream, values, stop, steps
        self.made = stream.stepper
        self.lengths: Any = self.made.backend.host(self.made.backend.asarray([0] * stream.batch, "int64"))
        self.parts: dict[Any, list[Any]] = {name: [] for name in asked}
        self.slowly = 0

    def all(self) -> Generated:
        """Every step, to the end of each example."""
        stream = self.stream
        while True:
            self._some(1 if self.slowly else AHEAD)
            if stream.steps == self.steps or (self.lengths > 0).all():
                break
            if self.steps is None and stream.steps >= MOST:
                raise self._endless()
        lengths = self.lengths + stream.steps * (self.lengths == 0)
        joined = {name: _joined(self.made, name, found, lengths) for name, found in self.parts.items()}
        return Generated(stream.shown(joined), lengths if stream.batched else int(lengths[0]))

    def _some(self, size: int) -> None:
        """The next steps, so many at most."""
        stream, step = self.stream, self.made.step
        size = size if self.steps is None else min(size, self.steps - stream.steps)
        now = {name: _part(step, name, array, stream.steps, size) for name, array in self.values.items()}
        try:
            results = stream.advance(now, size)
        except Exception:
            if size <= 1:
                raise
            self.slowly = size
            return
        self.slowly = max(self.slowly - size, 0)
        for name, found in self.parts.items():
            found.append(results[name])
        if self.stop is not None and size:
            self._ended(self.made.backend.host(results[self.stop]).reshape(size, -1))

    def _ended(self, stops: Array) -> None:
        """Note which examples have ended, and let their places follow one that has not."""
        first = stops.argmax(axis=0) + 1 + (self.stream.steps - len(stops))
        ends = stops.any(axis=0) & (self.lengths == 0)
        self.lengths = self.lengths + first * ends
        running = [b for b, n in enumerate(self.lengths) if not n]
        if running and ends.any():
            self.stream.follow([running[0] if n else b for b, n in enumerate(self.lengths)])

    def _endless(self) -> LengthError:
        late = [b for b, n in enumerate(self.lengths) if not n]
        which = f"example {late[0]}" + (f" and {len(late) - 1} more" if len(late) > 1 else "")
        system = self.made.user
        rows = [(EquationWriter(system).equation(e), e.source) for e in system.writers[str(self.stop)]]
        what = f"after {MOST:,} steps the stop of template {system.name!r} has not come for {which}"
        return LengthError(message(what, *rows, fix="Give max_steps=, the most steps to run."))


def _part(step: System, name: str, array: Array, start: int, size: int) -> Array:
    """The steps of an input that come next."""
    position = step.decls[name].axes.index(TIME)
    return array[(*[slice(None)] * position, slice(start, start + size))]


def _joined(made: Stepper, name: str, found: list[Array], lengths: Array) -> Array:
    """What the pieces make together, as far as the longest example goes."""
    ref = made.step.outputs[name]
    if TIME not in ref.running:
        return found[0]
    batched = made.step.decls[ref.name].batched
    return made.backend.joined(found, ref.running.index(TIME), len(ref.running) if batched else None, lengths)


def _all_given(step: System, needed: Collection[str], arrays: Mapping[str, Any]) -> None:
    """Raises ArrayError for inputs over t that free running reads, and that were not passed."""
    missing = [name for name in step.decls if name in needed and name not in arrays]
    if not missing:
        return
    found = [(flow, read.ref) for flow in collapsed(step) for read in flow.reads if read.ref.name in missing]
    writer = EquationWriter(step)
    rows = {str(flow.out): (writer.equation(flow.equation), flow.equation.source) for flow, _ in found}
    read = ", ".join(dict.fromkeys(str(ref) for _, ref in found)) or ", ".join(missing)
    fix = f"Have the template read what it makes itself, or give {missing[0]}=..., as many steps as may run."
    raise ArrayError(message(f"free running reads {read}, which was not passed", *rows.values(), fix=fix))
