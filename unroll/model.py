"""`Net`: a template compiled for a backend, called with plain dicts of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import backends
from .adjoint import adjoint, suffix
from .backends.base import AbstractExecutable, Options
from .binding import FLOATS, PLAIN, Binder, Bound, Extras
from .builder import live
from .compiler import OPTIONAL, compile_system, expand
from .errors import BackendError, CausalityError, LengthError, UndefinedError, from_call, message
from .explain import Report, explain
from .initializers import initial
from .ir import Ref, System
from .lengths import Reader
from .program import Program
from .ragged import lifted, ragged
from .schedule.order import NoOrder
from .simplify import reduced
from .timeindex import TIME, Axis, Index, fixed, running
from .unfold import used_ends

Params = Mapping[str, Any]
LOSS = "loss~value"  # no name of a user's holds a tilde
Names = str | tuple[str | int, ...] | Sequence[Any] | None


@dataclass(frozen=True)
class _Built:
    """A program, and what checks its arrays."""

    system: System
    executable: AbstractExecutable
    binder: Binder

    def call(
        self,
        params: Params,
        arrays: Mapping[str, Any],
        directions: Mapping[str, Any] | None = None,
        extras: Extras = PLAIN,
    ) -> tuple[System, Bound, dict[str, Any]]:
        bound = self.binder(params, arrays, directions, extras)
        return self.system, bound, self.executable(bound.values, bound.lengths, bound.batch)


class Net:
    """A template ready to run; made by `Template.compile`.

    Arrays are time-first, ``(T, B, ...)``, or ``(B, T, ...)`` with ``batch_first=True``; the batch axis may be left
    out of all of them. Params are a plain dict of arrays, and nothing of the user's is changed in place.
    """

    @from_call
    def __init__(
        self,
        system: System,
        backend: str = "auto",
        *,
        dtype: str = "float32",
        batch_first: bool = False,
        debug_nans: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        dtype = str(getattr(dtype, "__name__", dtype))
        if dtype not in FLOATS:
            raise BackendError(f"dtype={dtype!r}: choose one of {', '.join(FLOATS)}")
        self.system = system
        self.backend = backends.load(backend)
        self.dtype = dtype
        self.batch_first = batch_first
        unknown = [name for name in without if name not in OPTIONAL]
        if unknown:
            raise BackendError(f"without={unknown[0]!r}: the passes that can be left out are {', '.join(OPTIONAL)}")
        self._options = Options(dtype, debug_nans, tuple(without))
        self._built: dict[Any, _Built] = {}
        self._simple = reduced(system, _roots(system))
        self._lengths = Reader(system, self.backend, dtype, batch_first)

    def __repr__(self) -> str:
        return f"<Net {self.system.name}: {self.backend.name}, {self.dtype}>"

    @from_call
    def init(self, seed: Any = 0) -> dict[str, Any]:
        """New params, drawn by their initialisers.

        seed  an int from 0 up (the same seed gives the same bits) or a numpy.random.Generator
        """
        return dict(initial(self.system, seed, self.dtype))

    @from_call
    def run(
        self, params: Params, names: Names = None, /, *, lengths: Any = None, seed: Any = None, **arrays: Any
    ) -> Any:
        """The outputs, or any variable by name.

        names   None for all outputs, as a dict; ``"h"`` for one array; ``("h", 3)`` for one instance; a list of such
                for a dict
        lengths the steps of each example, ``[3, 5]``, or ``{"T": [3, 5], "S": [2, 2]}`` with several axes
        seed    for what the template draws: an int, with which the draws are the same again, or a Generator
        arrays  the inputs by name; ``T=`` where no array tells the length

        A list with an array for each example, ``x=[x1, x2]``, is padded and tells the lengths. A variable over t comes
        as ``(T, B, *shape)``: row 0 is step 1, and steps that an example does not have are 0. Raises ArrayError,
        LengthError.
        """
        single = isinstance(names, str) or (
            isinstance(names, tuple) and len(names) > 1 and hasattr(names[1], "__index__")
        )
        wanted = self._wanted([names] if single else names)
        told = self._lengths(lengths, arrays, {})
        built = self._forward(wanted, told.short)
        system, bound, results = built.call(params, told.arrays, extras=Extras(seed, ends=told.ends))
        shown = {name: self._out(system, name, value, bound) for name, value in results.items()}
        return next(iter(shown.values())) if single else shown

    @from_call
    def loss(self, params: Params, /, *, lengths: Any = None, seed: Any = None, **arrays: Any) -> Any:
        """The loss averaged over the batch: one number."""
        self._need_loss()
        value = self.run(params, "loss", lengths=lengths, seed=seed, **arrays)
        return value.mean() if value.ndim else value[()]

    @from_call
    def value_and_grad(
        self,
        params: Params,
        wrt: Sequence[str] | str | None = None,
        outputs: Names = (),
        /,
        *,
        lengths: Any = None,
        seed: Any = None,
        **arrays: Any,
    ) -> Any:
        """The loss averaged over the batch, and its gradient by each param: ``(number, {name: array})``.

        wrt      names of params and inputs to differentiate by; by default (None) every param
        outputs  names as for `run`; where some are given, a third result holds their values as a dict

        A name that the loss does not depend on has gradient zero. Raises ArrayError, LengthError, DifferentiationError.
        """
        self._need_loss()
        names = self._wrt(wrt)
        wanted = self._wanted([outputs] if isinstance(outputs, str) else outputs) if outputs != () else {}

        told = self._lengths(lengths, arrays, {})
        built = self._gradient(names, wanted, told.short)
        system, bound, results = built.call(params, told.arrays, extras=Extras(seed, ends=told.ends))
        batched = self._per_example(told.short)
        grads = {name: self._mean(results[f"{name}~"], system, name, bound, batched) for name in names}
        value = results[LOSS]
        value = value.mean() if batched else value[()]
        if outputs == ():
            return value, grads
        return value, grads, {name: self._out(system, name, results[name], bound) for name in wanted}

    @from_call
    def jvp(
        self,
        params: Params,
        tangents: Mapping[str, Any],
        of: str = "loss",
        /,
        *,
        lengths: Any = None,
        seed: Any = None,
        **arrays: Any,
    ) -> Any:
        """The value of the loss (or of a variable `of`) and its derivative along `tangents`.

        tangents  arrays like the params or inputs they are directions of, by name; the rest stay fixed

        Forward mode, obtained as the adjoint of the adjoint by its seed (the adjoint is linear in it).
        """
        given = f"{of}~seed"
        names = tuple(sorted(tangents))

        def make() -> System:
            if of == "loss":
                self._need_loss()
            if of not in self._simple.decls:
                raise UndefinedError(f"there is no variable {of!r} in template {self.system.name!r}")
            first = adjoint(self._simple, names, {of: given})
            second = adjoint(first, (given,), {f"{n}~": f"{n}~tangent" for n in names})
            axes = self._simple.decls[of].axes
            ref = Ref(of, tuple(running(a) for a in axes))
            mark = suffix(first)
            return replace(second, outputs={of: ref, "tangent": second.outputs[given + mark]})

        self._need(names, "tangent")
        told = self._lengths(lengths, arrays, tangents)
        directions = {f"{n}~tangent": told.directions[n] for n in names}
        built = self._get(("jvp", of, *names), make, tuple(directions), told.short)
        system, bound, results = built.call(params, told.arrays, directions, Extras(seed, ends=told.ends))
        value = self._out(system, of, results[of], bound)
        tangent = self._out(system, of, results["tangent"], bound)
        if of == "loss" and value.ndim:
            return value.mean(), tangent.mean()
        return value, tangent

    @from_call
    def hessian_vector(
        self, params: Params, vector: Mapping[str, Any], /, *, lengths: Any = None, seed: Any = None, **arrays: Any
    ) -> dict[str, Any]:
        """The Hessian of the batch-averaged loss by the params, times `vector`: the adjoint of the adjoint.

        vector  arrays like the params, by name; names left out count as zero
        """
        self._need_loss()
        names = tuple(sorted(vector))
        every = tuple(n for n, d in self.system.decls.items() if d.kind == "param")

        def make() -> System:
            first = adjoint(self._simple, names)
            second = adjoint(first, every, {f"{n}~": f"{n}~vector" for n in names})
            mark = suffix(first)
            return replace(second, outputs={n: second.outputs[n + mark] for n in every})

        self._need(names, "vector")
        told = self._lengths(lengths, arrays, {})
        directions = {f"{n}~vector": vector[n] for n in names}
        built = self._get(("hessian", *names), make, tuple(directions), told.short)
        _, bound, results = built.call(params, told.arrays, directions, Extras(seed, ends=told.ends))
        scale = bound.batch if self._per_example(told.short) else 1
        return {name: results[name] / scale for name in every}

    @from_call
    def program(self, names: Names = None, *, grad: bool = False) -> Program:
        """The program that `run` (or, with ``grad=True``, `value_and_grad`) executes; ``print`` it to read it.

        It is built once and holds for every length. Nothing is run.
        """
        built = self._program(names, grad)
        return built.executable.program or compile_system(built.system)

    @from_call
    def explain(self, names: Names = None, *, grad: bool = True, batch: int = 1, **lengths: int) -> Report:
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
        title = f"{self.system.name} on {self.backend.name}, {self.dtype}: {'value_and_grad' if grad else 'run'}"
        program = built.executable.program
        if program is None:
            return Report(f"{title}\n  every node by itself, in any topological order", (), (), ())
        ends = used_ends(built.system)
        costs = built.executable.costs(lengths, batch) if lengths or not ends else None
        for end in ends if lengths else ():
            if end not in lengths:
                raise LengthError(f"the length {end} is missing: give {end}=..., the number of steps")
        at = ", ".join([f"B = {batch}", *(f"{end} = {n}" for end, n in lengths.items())])
        return explain(title, program, costs, at)

    def _program(self, names: Names, grad: bool) -> _Built:
        if grad:
            self._need_loss()
            return self._gradient(self._wrt(None), {})
        return self._forward(self._wanted([names] if isinstance(names, str) else names))

    def _forward(self, wanted: dict[str, Ref], short: tuple[Axis, ...] = ()) -> _Built:
        return self._get(("run", *wanted), lambda: replace(self._simple, outputs=wanted), (), short)

    def _gradient(self, names: tuple[str, ...], wanted: dict[str, Ref], short: tuple[Axis, ...] = ()) -> _Built:
        def make() -> System:
            system = adjoint(self._simple, names)
            grads = {f"{n}~": system.outputs[f"{n}~"] for n in names}
            return replace(system, outputs={LOSS: Ref("loss"), **grads, **wanted})

        return self._get(("grad", names, *wanted), make, (), short)

    def _get(
        self, key: Any, make: Callable[[], System], directions: tuple[str, ...], short: tuple[Axis, ...]
    ) -> _Built:
        key = (key, short)  # where no example is shorter than the arrays, the plain program serves
        if key not in self._built:
            system: System = ragged(make(), short) if short else make()
            roots = [r.name for r in system.outputs.values()]
            system = reduced(replace(system, loss=None), roots)
            kept = live(system, roots)
            system = expand(
                replace(system, name=self.system.name, decls={n: d for n, d in system.decls.items() if n in kept})
            )
            binder = Binder(self.system, system, self.backend, self.dtype, self.batch_first, directions)
            try:
                executable = self.backend.build(system, self._options)
            except NoOrder:
                if not short:
                    raise
                raise CausalityError(
                    f"with lengths of their own, no order of steps can compute template {self.system.name!r}: "
                    "what follows the last step depends on the last step"
                ) from None
            self._built[key] = _Built(system, executable, binder)
        return self._built[key]

    def _wanted(self, names: Any) -> dict[str, Ref]:
        """Outputs by the name under which they are returned."""
        if names is None:
            if not self.system.outputs:
                raise UndefinedError(
                    f"template {self.system.name!r} has no outputs: name what you want, net.run(params, 'h', ...), "
                    "or declare g.output(name, expr)"
                )
            return dict(self.system.outputs)
        if not isinstance(names, Iterable):
            raise UndefinedError(f"{names!r} is no name; ask for 'h', for ('h', 3), or for a list of such")
        wanted = {}
        for item in names:
            name, *steps = item if isinstance(item, tuple) else (item,)
            decl = self._simple.decls.get(name) if isinstance(name, str) else None
            if decl is None or decl.kind in ("temporary", "constant"):
                known = ", ".join(n for n, d in self._simple.decls.items() if d.kind == "variable")
                raise UndefinedError(f"there is no variable {name!r} in template {self.system.name!r}; it has {known}")
            if steps and len(steps) != len(decl.axes):
                count = f"{len(decl.axes)} ax{'is' if len(decl.axes) == 1 else 'es'}"
                raise UndefinedError(f"{name} runs along {count}, and {item!r} gives {len(steps)} steps")
            self._need_definition(name, bool(steps))
            index: tuple[Index, ...] = tuple(map(fixed, steps)) or tuple(running(a) for a in decl.axes)
            ref = Ref(name, index)
            wanted[str(ref) if steps else name] = ref
        return wanted

    def _need_definition(self, name: str, at_a_step: bool) -> None:
        decl = self.system.decls[name]
        written = [e for e in self.system.equations if e.out.name == name]
        if decl.kind == "variable" and not (
            written if at_a_step else any(len(e.out.running) == len(decl.axes) for e in written)
        ):
            ref = Ref(name, tuple(running(a) for a in decl.axes) or (running(TIME),))
            only = "only boundaries of it are defined" if written else "no equation defines it"
            raise UndefinedError(
                message(f"{name} is asked for, and {only}", (f"variable {name}", decl.source), fix=f"Add {ref} = ...")
            )

    def _wrt(self, wrt: Sequence[str] | str | None) -> tuple[str, ...]:
        if wrt is None:
            return tuple(n for n, d in self.system.decls.items() if d.kind == "param")
        names = (wrt,) if isinstance(wrt, str) or not isinstance(wrt, Iterable) else tuple(wrt)
        self._need(names, "wrt")
        return names

    def _need(self, names: Sequence[str], what: str) -> None:
        for name in names:
            decl = self.system.decls.get(name)
            if decl is None or not decl.given:
                known = ", ".join(n for n, d in self.system.decls.items() if d.given and d.dtype == "float")
                raise UndefinedError(f"{what} names {name!r}; choose among the params and inputs: {known}")

    def _per_example(self, short: tuple[Axis, ...]) -> bool:
        """True where the loss has a value for each example: it may depend on nothing of it but its length."""
        return self._simple.decls["loss"].batched or lifted(self._simple, short).decls["loss"].batched

    def _need_loss(self) -> None:
        if self.system.loss is None:
            raise UndefinedError(f"template {self.system.name!r} has no loss; set g.loss = ...")

    def _out(self, system: System, name: str, value: Any, bound: Bound) -> Any:
        """A result in the user's layout: batch where the inputs have it."""
        ref = system.outputs[name]
        decl = system.decls[ref.name]
        axes = sum(i.runs for i in ref.index)
        if not decl.batched:
            return value
        if bound.unbatched:
            return value.reshape(value.shape[:axes] + value.shape[axes + 1 :])
        if self.batch_first and axes:
            return value.transpose(axes, *range(axes), *range(axes + 1, value.ndim))
        return value

    def _mean(self, value: Any, system: System, name: str, bound: Bound, batched: bool) -> Any:
        value = value / bound.batch if batched and bound.batch != 1 else value
        return self._out(system, f"{name}~", value, bound)


def _roots(system: System) -> list[str]:
    return [n for n, d in system.decls.items() if d.kind != "temporary"]
