"""Running step by step: `Stream`, which carries the state from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..backends.base import Session
from ..errors import ArrayError, LabelError, LengthError, NonFiniteError, from_call, told
from ..ir.axes import TIME
from ..ir.generated_inputs import Noise
from ..ir.system import System, visible
from ..ops.integers import integer
from ..transform.simplify import reduced
from ..transform.step_split import cut
from ..types import Array, Outputs, Params, Seed
from .arguments import Bound, Extras
from .array_conversion import called, convert, precise
from .programs import Programs
from .results import layout

STEPS = "steps"
"""The entry of a state that counts the steps so far."""


class Stepper:
    """A template cut between its steps and compiled; it holds no state.

    system  the template with the outputs asked for
    origin  what makes it again, a function and its arguments, which alone is pickled
    """

    def __init__(
        self, system: System, programs: Programs, origin: tuple[Callable[..., Stepper], tuple[Any, ...]]
    ) -> None:
        self.origin = origin
        parts = cut(reduced(system, [r.name for r in system.outputs.values()]))
        context, step = programs.needed(parts.context), programs.needed(parts.step)
        made = {n: r for n, r in context.outputs.items() if n not in parts.given}
        self.user, self.backend, self.batch_first = programs.system, programs.backend, programs.batch_first
        self.step, self.states, self.dtype = step, parts.states, programs.options.dtype
        self.first = programs.build(programs.needed(replace(context, outputs=made))) if made else None
        carried = tuple(parts.states.values())
        held = [n for n, d in step.decls.items() if d.given and TIME not in d.axes and n not in carried]
        self.run = programs.build(step, held, carried)
        self.once = programs.binder(self.user, context).only(lambda d: TIME not in d.axes)
        along = {n: d for n, d in self.user.decls.items() if d.kind == "input" and TIME in d.axes and not d.automatic}
        chunk = replace(step, decls={**along, **step.decls})
        every = programs.binder(chunk, chunk)
        self.inputs = every.only(lambda d: TIME in d.axes and not d.automatic)
        self.noise = every.only(lambda d: TIME in d.axes and d.automatic)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.origin


@dataclass(frozen=True)
class Form:
    """What calls with arrays of the same names and shapes have in common.

    arrays  of each its name, its type, its dtype, its shape as given, and the shape that the program takes it in
    steps   that they have
    """

    arrays: tuple[tuple[str, type[Any], Any, tuple[int, ...], tuple[int, ...]], ...]
    steps: int

    @staticmethod
    def of(arrays: Mapping[str, Any], bound: Bound, made: Stepper) -> Form | None:
        """That of a call; None where the values must be looked at, or an array lies otherwise than it is read."""
        found = []
        for name, array in arrays.items():
            decl, value = made.inputs.inputs.get(name), bound.values.get(name)
            if decl is None or value is None or made.inputs.looks_at(decl):
                return None
            kind = precise(decl, made.inputs.dtype)
            if not made.backend.fits(array, kind) or not made.backend.fits(value, kind):
                return None
            found.append((name, type(array), array.dtype, array.shape, value.shape))
        return Form(tuple(found), bound.lengths[TIME.end])

    def values(self, arrays: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arrays of a call as the program takes them; None where it has another form."""
        if len(arrays) != len(self.arrays):
            return None
        values = {}
        for name, kind, dtype, given, shape in self.arrays:
            if name not in arrays:
                return None
            array = arrays[name]
            if type(array) is not kind or array.dtype != dtype or array.shape != given or not array.flags.c_contiguous:
                return None
            values[name] = array if given == shape else array.reshape(shape)
        return values


class Stream:
    """A template that runs in pieces: each call takes the next steps and returns what `Net.run` would, for these.

    Made by `Net.stream`. Memory does not grow with the steps so far. Params, and the inputs that have no steps, are
    read when the stream is made: what becomes of the arrays later is nothing to it.

    >>> from unroll import Template, t
    >>> g = Template(); x, y = g.input("x"), g.variable("y", ())
    >>> y[0] = 0
    >>> y[t] = 0.5 * y[t-1] + x[t]
    >>> stream = g.compile("numpy").stream({}, "y")
    >>> print(stream(x=[1.0, 0.0]), stream(x=[0.0]))
    [1.  0.5] [0.25]
    >>> stream.state
    {'y[0]': array([0.25], dtype=float32), 'steps': 3}
    """

    def __init__(
        self,
        stepper: Stepper,
        params: Params | None,
        arrays: Mapping[str, Any],
        *,
        batch: int | None,
        seed: Seed,
        single: bool,
    ) -> None:
        self.stepper, self._single = stepper, single
        known = stepper.user.decls
        for name in arrays:
            if name in known and TIME in known[name].axes:
                raise ArrayError(f"input {name} has a value at each step: pass it to the stream, stream({name}=...)")
        if TIME.end in arrays:
            raise LengthError(f"a stream has no length {TIME.end}: each call runs as many steps as it is given")
        draws = any(isinstance(d.detail, Noise) for d in stepper.noise.automatic.values())
        self._seed = stepper.backend.key(seed) if seed is not None else None
        if draws:
            stepper.noise.drawn({a.end: 0 for a in stepper.step.axes}, 1, Extras(self._seed))  # asks for a seed
        bound = stepper.once(params, arrays, None, Extras(self._seed, batch=batch))
        self._context = replace(bound, values={name: array.copy() for name, array in bound.values.items()})
        given = [d for n, d in stepper.once.inputs.items() if n in bound.values]
        self._layouts: dict[Any, Callable[[Array], Array]] = {}
        self.batched = batch is not None or not bound.unbatched
        self._fixed: dict[str, Any] = {}
        self._initial: dict[str, Any] = {}
        self._session: Session | None = None
        self._rows: Sequence[int] | None = None
        self._form: Form | None = None
        self._lengths: Mapping[str, int] = {}
        self.steps = 0
        if self.batched or any(d.batched for d in given):
            self.begin()

    def __copy__(self) -> Stream:
        """One that goes on from where this one is."""
        made = Stream.__new__(Stream)
        made.__dict__.update(self.__dict__)
        made._session = self._session and self._session.copy()
        return made

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the state, and not how a backend keeps it."""
        return {**self.__dict__, "_session": None if self._session is None else self._session.read()}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        if kept["_session"] is not None:
            self._session = self.stepper.run.session(self._fixed, kept["_session"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.__copy__()

    def begin(self) -> None:
        """Compute what no step changes and the initial state, once."""
        if self._session is not None:
            return
        made, bound = self.stepper, self._context
        shown = {n: r for n, r in made.step.outputs.items() if n not in made.states.values()}
        self._layouts = {n: layout(made.step, r, not self.batched, made.batch_first) for n, r in shown.items()}
        values = {**bound.values, **made.once.drawn(bound.lengths, bound.batch, Extras(self._seed))}
        if made.first is not None:
            values.update(made.first(values, bound.lengths, bound.batch))
        self._initial = {name: values.pop(name) for name in made.states.values()}
        self._fixed, self._session = values, made.run.session(values, self._initial)

    @property
    def batch(self) -> int:
        """The number of examples."""
        return self._context.batch

    def bind(self, arrays: Mapping[str, Any]) -> Bound:
        """Inputs over t as the backend takes them; they may tell the number of examples, and other lengths."""
        made, context = self.stepper, self._context
        for name in arrays:
            decl = made.user.decls.get(name)
            if decl is not None and decl.kind == "input" and TIME not in decl.axes:
                raise ArrayError(f"input {name} has no steps: pass it once, net.stream(params, {name}=...)")
        size = context.batch if self._session is not None else None
        bound = made.inputs({}, {**context.lengths, **arrays}, None, Extras(batch=size))
        others = {end: steps for end, steps in bound.lengths.items() if end != TIME.end}
        if self._session is None:
            self.batched = not bound.unbatched
            self._context, self._lengths = replace(context, batch=bound.batch, lengths=others), {}
        elif others != context.lengths:
            self._context, self._lengths = replace(context, lengths=others), {}
        return bound

    def __call__(self, /, **arrays: Array) -> Outputs:
        """The next steps.

        arrays  the inputs over t by name, with as many steps as are to run; ``T=`` where there are none

        Returns a dict of arrays by name, or one array where the stream was made for one name: ``(T, B, *shape)``.
        Raises ArrayError, LengthError.
        """
        try:  # as `from_call` does, which a short step would feel
            form = self._form
            values = form.values(arrays) if form is not None else None
            if form is None or values is None:
                bound = self.bind(arrays)
                self.begin()
                self._form = Form.of(arrays, bound, self.stepper)
                return self.shown(self.advance(bound.values, bound.lengths[TIME.end]))
            return self.shown(self.advance(values, form.steps))
        except BaseException as error:
            told(error)
            raise

    def advance(self, values: Mapping[str, Any], steps: int) -> dict[str, Any]:
        """Run `steps` steps on arrays in the backend's own layout; returns the outputs in that layout."""
        made, context, session = self.stepper, self._context, self._session
        assert session is not None, "begin first"
        lengths = self._lengths
        if lengths.get(TIME.end) != steps:
            lengths = self._lengths = {**context.lengths, TIME.end: steps}
        if made.noise.automatic:
            values = {**values, **made.noise.drawn(lengths, context.batch, Extras(self._seed, self.steps))}
        if self._rows is not None:
            values = self._followed(values)
        try:
            results = session(values, lengths, context.batch)
        except NonFiniteError as error:
            since = f"\nSteps are counted from the start of this call, before which {self.steps} had run."
            raise NonFiniteError(f"{error}{since if self.steps else ''}") from None
        except LabelError as error:
            raise error.found.moved(TIME, self.steps, self._rows).error() from None
        self.steps += steps
        return results

    def follow(self, rows: Sequence[int]) -> None:
        """From here on the place of each example computes what the place ``rows[b]`` does, which keeps its own."""
        self._rows = rows
        state = self._followed(self.carried)
        self._fixed = self._followed(self._fixed)
        self._session = self.stepper.run.session(self._fixed, state)

    def _followed(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays that the steps read, with the rows that are followed."""
        rows, made = self._rows, self.stepper
        if rows is None:
            return dict(arrays)
        decls = {name: made.step.decls.get(name) for name in arrays}
        batched = {name: len(d.axes) for name, d in decls.items() if d is not None and d.batched}
        return {n: made.backend.rows(a, batched[n], rows) if n in batched else a for n, a in arrays.items()}

    def shown(self, results: Mapping[str, Any]) -> Outputs:
        """Outputs in the user's layout."""
        places = self._layouts
        if self._single:
            ((name, array),) = results.items()
            return places[name](array)
        return {name: places[name](array) for name, array in results.items()}

    @property
    def carried(self) -> Mapping[str, Any]:
        """The arrays that the next call starts from. Raises ArrayError before the batch size is known."""
        if self._session is None:
            raise ArrayError("the number of examples is not known yet: give net.stream(..., batch=), or run a step")
        return self._session.read()

    @property
    def state(self) -> dict[str, Any]:
        """All that the stream carries: ``h[0]`` is h at the last step so far, ``h[-1]`` before that; and the steps.

        The arrays are copies, ``(B, *shape)``. What was read here can be assigned later, to this stream or to another
        of the same template, params and seed, which then goes on from there; numbers of another precision are cast.
        """
        carried = self.carried
        return {**{key: carried[name].copy() for key, name in self.stepper.states.items()}, STEPS: self.steps}

    @state.setter
    @from_call
    def state(self, state: Mapping[str, Any]) -> None:
        made, carried = self.stepper, self.carried
        if set(state) != {*made.states, STEPS}:
            want, got = ", ".join((*made.states, STEPS)), ", ".join(map(str, state)) or "nothing"
            raise ArrayError(f"the state of this stream holds {want}; got {got}")
        new = {}
        for key, name in made.states.items():
            decl = replace(made.step.decls[name], name=f"{key}~state")
            array = convert(made.backend, decl, state[key], made.dtype)
            if tuple(array.shape) != tuple(carried[name].shape):
                want = f"expected {tuple(carried[name].shape)}"
                raise ArrayError(f"{called(decl)} has shape {tuple(array.shape)}, {want}")
            new[name] = array.copy()
        steps = integer(state[STEPS])
        if steps is None or steps < 0:
            raise ArrayError(f"state {STEPS!r} is {state[STEPS]!r}: steps are counted by an integer from 0 up")
        assert self._session is not None
        self._session.write(new)
        self.steps = steps

    def reset(self) -> None:
        """Back to the initial state, before step 1."""
        if self._session is not None:
            self._session.write(self._initial)
        self.steps = 0

    def __repr__(self) -> str:
        carried = ", ".join(self.stepper.states) or "nothing"
        return f"<Stream {visible(self.stepper.step.name)}: {self.steps} steps, carries {visible(carried)}>"
