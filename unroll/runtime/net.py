"""`Net`: a template compiled for a backend, called with plain dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from .. import backends
from ..backends.base import checked_dtype
from ..cache import BoundedCache
from ..compiler.pipeline import compile_system
from ..compiler.program import Program
from ..compiler.report import Report, explain
from ..errors import from_call
from ..ir.names import LOSS
from ..ir.system import Ref, System, visible
from ..transform.intervention import clamped
from ..types import Array, ExampleLengths, Outputs, Params, Seed
from ..unfold.lengths import batch_size, length, used_ends
from .arguments import Extras
from .derivatives import Derivatives
from .described import Described
from .generate import Generated, generate, stops
from .initializers import check_picklable, initial
from .programs import Compiled, Programs
from .queries import Key, Names, Queries, instances
from .sequence_lengths import LengthReader
from .stream import Stepper, Stream

CLAMPED = 64
"""Sets of instances to clamp for which a net keeps what it compiled."""


class Net(Derivatives, Described):
    """A template ready to run; made by `Template.compile`.

    Arrays are time-first, ``(T, B, ...)``, or ``(B, T, ...)`` with ``batch_first=True``; the batch axis may be left
    out of all of them. Data of any real dtype are cast to the net's, labels are integers, and params, a plain dict of
    arrays, have its dtype. Nothing of the user's is changed in place.
    """

    @from_call
    def __init__(
        self,
        system: System,
        backend: str = "auto",
        *,
        dtype: str | type = "float32",
        batch_first: bool = False,
        debug_nans: bool = False,
        without: Sequence[str] = (),
        precision: str = "float32",
        device: int | None = None,
        on_device: bool = False,
    ) -> None:
        self.dtype = checked_dtype(dtype)
        self.backend = backends.load(backend).at(device, on_device)
        self._options = self.backend.options(self.dtype, debug_nans, without, precision)
        self.backend.anticipate(system, self._options)
        self.system, self.batch_first, self._devices = system, batch_first, {"device": device, "on_device": on_device}
        self._programs = Programs(system, self.backend, self._options, batch_first)
        self._names = Queries(system, self._programs.simple)
        self._steppers: dict[Any, Stepper] = {}
        self._set: BoundedCache[tuple[Net, tuple[str, ...]]] = BoundedCache(CLAMPED)
        self._lengths = LengthReader(system, self.backend, self.dtype, batch_first)

    @property
    def _of(self) -> object:
        """What the net was made of."""
        return self.system

    def __reduce__(self) -> tuple[Any, ...]:
        """What it was made of and how: its programs are compiled again where it arrives."""
        check_picklable(self.system.decls.values())
        return _made, (type(self), self._of, self.backend.name, self._how())

    def __copy__(self) -> Net:
        """Itself: nothing of a net ever changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Net:
        return self

    @from_call
    def init(self, seed: Seed = 0) -> dict[str, Array]:
        """New params, drawn by their initialisers.

        seed  an int from 0 up (the same seed gives the same bits) or a numpy.random.Generator
        """
        return {name: self.backend.as_result(value) for name, value in initial(self.system, seed, self.dtype).items()}

    @from_call
    def run(
        self,
        /,
        params: Params | None = None,
        names: Names = None,
        *,
        lengths: ExampleLengths = None,
        batch: int | None = None,
        seed: Seed = None,
        clamp: Mapping[tuple[Any, ...], Array] | None = None,
        **arrays: Array,
    ) -> Outputs:
        """The outputs, or any variable by name.

        names   None for all outputs, as a dict; ``"h"`` for one array; ``("h", 3)`` for one instance; a list of such
                for a dict, whose keys are what was asked for
        lengths the steps of each example, ``[3, 5]``, or ``{"T": [3, 5], "S": [2, 2]}`` with several axes
        batch   the number of examples, where no array tells it
        seed    for what the template draws: an int, with which the draws are the same again, or a Generator
        clamp   instances to set, such as ``{("h", 3): value}``, one value per example: the edges into them are cut
        arrays  the inputs by name; ``T=`` where no array tells the length

        A list with an array for each example, ``x=[x1, x2]``, is padded and tells the lengths. A variable over t comes
        as ``(T, B, *shape)``: row 0 is step 1, and steps that an example does not have are 0. Raises ArrayError,
        LengthError.
        """
        if clamp:
            net, values = self._clamped(clamp)
            return net.run_on({**values, **arrays}, params, names, lengths=lengths, batch=batch, seed=seed)
        return self.run_on(arrays, params, names, lengths=lengths, batch=batch, seed=seed)

    def run_on(
        self,
        arrays: Mapping[str, Any],
        params: Params | None,
        names: Names = None,
        *,
        lengths: ExampleLengths = None,
        batch: int | None = None,
        seed: Seed = None,
    ) -> Outputs:
        """The same, with the inputs in a mapping, whatever they are called."""
        single, wanted = self._names.asked(names)
        given = self._lengths(lengths, arrays, {})
        built = self._programs.forward(wanted, given.along)
        results = built.call(params, given.arrays, extras=Extras(seed, ends=given.ends, batch=batch))
        return results.asked(wanted, single)

    @from_call
    def stream(
        self,
        /,
        params: Params | None = None,
        names: Names = None,
        *,
        batch: int | None = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> Stream:
        """A run in pieces, ``stream(x=chunk)``, which carries its state: see `unroll.runtime.stream.Stream`.

        names   as for `run`; none may depend on later steps (CausalityError)
        batch   the number of examples, where no array tells it
        arrays  the inputs that have no steps, by name
        """
        single, wanted = self._names.asked(names)
        return Stream(self._stepper(wanted), params, arrays, batch=batch, seed=seed, single=single)

    @from_call
    def generate(
        self,
        /,
        params: Params | None = None,
        names: Names = None,
        *,
        max_steps: int | None = None,
        batch: int | None = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> Generated:
        """Values and lengths of a template that feeds itself, each example up to where its ``g.stop`` is true.

        names      as for `stream`
        max_steps  the most steps to run; needed where the template has no stop, or where that may be far off: without
                   it a run that has not ended after 100,000 steps is given up
        batch      the number of examples, where no array tells it
        arrays     inputs by name; those over t for every step that may run

        See `runtime.generate.Generated`. Raises UndefinedError where nothing ends it, ArrayError, CausalityError,
        LengthError.
        """
        single, wanted = self._names.asked(names)
        made = self._stepper(stops(self.system) | wanted)
        return generate(made, params, arrays, list(wanted), max_steps, batch=batch, seed=seed, single=single)

    @from_call
    def loss(
        self, /, params: Params | None = None, *, lengths: ExampleLengths = None, seed: Seed = None, **arrays: Array
    ) -> Outputs:
        """The loss averaged over the batch: one number."""
        self._programs.need_loss()
        value = self.run(params, "loss", lengths=lengths, seed=seed, **arrays)
        return self.backend.mean(value) if value.ndim else value[()]

    @from_call
    def value_and_grad(
        self,
        /,
        params: Params | None = None,
        wrt: Names = None,
        outputs: Names = (),
        *,
        lengths: ExampleLengths = None,
        seed: Seed = None,
        clamp: Mapping[tuple[Any, ...], Array] | None = None,
        **arrays: Array,
    ) -> Outputs:
        """The loss averaged over the batch, and its gradient by each param: ``(number, {name: array})``.

        wrt      names to differentiate by, of params, inputs, variables and instances (``("h", 3)``); by default (None)
                 every param
        outputs  names as for `run`; where some are given, a third result holds their values as a dict

        A name that the loss does not depend on has gradient zero. Raises ArrayError, LengthError, DifferentiationError.
        """
        self._programs.need_loss()
        if clamp:
            net, values = self._clamped(clamp)
            return net.value_and_grad(params, wrt, outputs, lengths=lengths, seed=seed, **values, **arrays)
        names = self._names.wrt(wrt)
        wanted = self._names.asked(outputs)[1] if outputs != () else {}
        given = self._lengths(lengths, arrays, {})
        built = self._programs.gradient(names, wanted, given.along)
        results = built.call(params, given.arrays, extras=Extras(seed, ends=given.ends))
        value, grads = results.values[LOSS][()], results.gradients(names)
        return (value, grads) if outputs == () else (value, grads, results.asked(wanted, single=False))

    @from_call
    def program(self, names: Names = None, *, grad: bool = False) -> Program:
        """The program that `run` (or, with ``grad=True``, `value_and_grad`) executes; ``print`` it to read it.

        It is built once and holds for every length. Nothing is run.
        """
        built = self._program(names, grad)
        return built.executable.program or compile_system(built.system)

    @from_call
    def explain(self, /, names: Names = None, *, grad: bool = True, batch: int = 1, **lengths: int) -> Report:
        """What the compiled program does: what left the loops, what stayed and why, products and kernels, memory.

        names    of outputs, as for `run`; by default (``grad=True``) the program of `value_and_grad`
        batch    examples at once, for the account of memory
        lengths  ``T=128``: with them the report tells the memory of a run in bytes, without running or allocating

        >>> from unroll import Template, ops, t
        >>> g = Template("leak"); x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
        >>> h[0] = 0
        >>> h[t] = a * h[t-1] + x[t]
        >>> g.loss = ops.sum(h[t], over=t)
        >>> report = g.compile("numpy").explain(T=1000)
        >>> report.products, report.memory < 100_000
        ((0, 0, 0), True)
        """
        grad = grad and names is None and self.system.loss is not None
        built = self._program(names, grad)
        what = "value_and_grad" if grad else "run"
        title = f"{visible(self.system.name)} on {self.backend.name}, {self._options}: {what}"
        run, ends = built.executable, used_ends(built.system)
        given = {end: length(end, n) for end, n in lengths.items()}
        return explain(title, run.program, run.costs, ends, given, batch_size(batch))

    def _program(self, names: Names, grad: bool) -> Compiled:
        if grad:
            self._programs.need_loss()
            return self._programs.gradient(self._names.wrt(None), {})
        return self._programs.forward(self._names.asked(names)[1])

    def _stepper(self, wanted: dict[Key, Ref]) -> Stepper:
        """What streams of these outputs share; made once for all."""
        key = tuple(wanted)
        if key not in self._steppers:
            system = replace(self._programs.simple, outputs=wanted)
            self._steppers[key] = Stepper(system, self._programs, (_stepper, (self, wanted)))
        return self._steppers[key]

    def _clamped(self, clamp: Mapping[tuple[Any, ...], Array]) -> tuple[Net, dict[str, Any]]:
        """The net in which some instances are inputs, and the arrays of these."""
        asked = instances(clamp)
        found = self._set.get(asked)
        if found is None:
            system, inputs = clamped(self.system, asked)
            found = self._alike(system), inputs
            self._set.put(asked, found)
        net, inputs = found
        return net, dict(zip(inputs, clamp.values(), strict=True))

    def _alike(self, system: System) -> Net:
        """A net for another system, made with the same options."""
        return Net(system, self.backend.name, **self._how())

    def _how(self) -> dict[str, Any]:
        """The options that it was made with."""
        how = {n: v for n, v in asdict(self._options).items() if n not in ("averaged", "held", "carried")}
        return {**how, "batch_first": self.batch_first, **self._devices}


def _made(kind: type[Net], of: Any, backend: str, how: Mapping[str, Any]) -> Net:
    """A net that was pickled."""
    return kind(of, backend, **how)


def _stepper(net: Net, wanted: dict[Key, Ref]) -> Stepper:
    """What the streams of a net that was pickled share."""
    return net._stepper(wanted)
