"""Derivatives besides the gradient of a loss: directional ones, those of products with cotangents, and second order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..backends.base import AbstractBackend
from ..errors import ArrayError, UndefinedError, from_call
from ..ir.names import TANGENT, direction
from ..transform.higher_order import hessian_system, tangent_system
from ..types import Array, ExampleLengths, Outputs, Params, Seed
from .arguments import Extras
from .programs import CompiledHalves, Programs
from .queries import Key, Names, Queries, one, second
from .results import Results
from .sequence_lengths import LengthReader


class Derivatives:
    """What a net computes besides values and the gradient of its loss."""

    backend: AbstractBackend
    _programs: Programs
    _names: Queries
    _lengths: LengthReader

    @from_call
    def jvp(
        self,
        params: Params | None,
        tangents: Mapping[str, Any] | None = None,
        of: str = "loss",
        /,
        *,
        lengths: ExampleLengths = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> Outputs:
        """The value of the loss (or of a variable `of`) and its derivative along `tangents`.

        tangents  arrays like the params or inputs they are directions of, by name; the rest stay fixed

        Forward mode, obtained as the adjoint of the adjoint by its seed (the adjoint is linear in it).
        """
        tangents = second(tangents, "jvp", "tangents")
        names = tuple(sorted(tangents))
        if one(of, "jvp") == "loss":
            self._programs.need_loss()
        self._names.need(names, "tangent")
        given = self._lengths(lengths, arrays, tangents)
        directions = {f"{n}~tangent": given.directions[n] for n in names}
        key, made = ("jvp", of, *names), lambda: tangent_system(self._programs.simple, names, of)
        built = self._programs.get(key, made, tuple(directions), given.along)
        results = built.call(params, given.arrays, directions, Extras(seed, ends=given.ends))
        value, tangent = results[of], results[TANGENT]
        if of == "loss" and value.ndim:
            return self.backend.mean(value), self.backend.mean(tangent)
        return value, tangent

    @from_call
    def vjp(
        self,
        params: Params | None,
        cotangents: Mapping[str, Any] | None = None,
        /,
        wrt: Names = None,
        *,
        lengths: ExampleLengths = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> tuple[dict[str, Any], dict[Any, Any]]:
        """The values of variables, and the gradient of their products with `cotangents`, added up.

        cotangents  arrays like the variables, by name
        wrt         as for `value_and_grad`; a param's gradient is a sum over the batch, not an average

        With a cotangent of one 1 and else 0 it is a row of a Jacobian: ``dh[t]/dh[s]`` for every s at once.
        """
        cotangents = second(cotangents, "vjp", "cotangents")
        names, of = self._names.wrt(wrt), self._names.whole(cotangents)
        wanted = self._names.wanted(of)
        seeds = {n: f"{n}~seed" for n in of}
        given = self._lengths(lengths, arrays, cotangents)
        directions = {seeds[n]: given.directions[n] for n in of}
        key, made = ("vjp", of, names), lambda: self._programs.adjoint(names, wanted, seeds)
        built = self._programs.get(key, made, tuple(directions), given.along)
        results = built.call(params, given.arrays, directions, Extras(seed, ends=given.ends))
        return results.asked(of, single=False), results.gradients(names)

    @from_call
    def hessian_vector(
        self,
        params: Params | None,
        vector: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: ExampleLengths = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> dict[str, Any]:
        """The Hessian of the batch-averaged loss by the params, times `vector`: the adjoint of the adjoint.

        vector  arrays like the params, by name; names left out count as zero
        """
        self._programs.need_loss()
        vector = second(vector, "hessian_vector", "vector")
        names = tuple(sorted(vector))
        self._names.need(names, "vector")
        given = self._lengths(lengths, arrays, vector)
        directions = {f"{n}~vector": given.directions[n] for n in names}
        key, made = ("hessian", *names), lambda: hessian_system(self._programs.simple, names)
        built = self._programs.get(key, made, tuple(directions), given.along)
        results = built.call(params, given.arrays, directions, Extras(seed, ends=given.ends))
        scale = results.bound.batch if self._programs.per_example(given.along) else 1
        with self.backend.quiet():
            return {name: value / scale for name, value in results.values.items()}

    @from_call
    def forward(
        self,
        /,
        params: Params | None = None,
        names: Names = None,
        wrt: Names = None,
        *,
        lengths: ExampleLengths = None,
        seed: Seed = None,
        **arrays: Array,
    ) -> tuple[Outputs, Pullback]:
        """The values of variables, and the backward pass from there: ``backward(cotangents)`` gives the gradients.

        names   of whole variables, as for `run`; by default all outputs
        wrt     as for `value_and_grad`

        What the backward pass reads of the forward pass is kept as long as `backward` lives, which may be called as
        often as is wanted; arrays that were passed may change meanwhile. Together both are what `vjp` does in one.

        >>> from unroll import Template
        >>> g = Template(); w, x = g.param("w", 2), g.input("x", 2, over=None)
        >>> g.output("y", w * x)
        >>> y, backward = g.compile("numpy").forward({"w": [3.0, 4.0]}, "y", x=[1.0, 2.0])
        >>> print(y, backward([1.0, 10.0]))
        [3. 8.] {'w': array([ 1., 20.], dtype=float32)}
        """
        single, wanted = self._names.asked(names)
        decls = self._programs.simple.decls
        of = tuple(n for n in self._names.whole(wanted) if decls[wanted[n].name].dtype == "float")
        by, given = self._names.wrt(wrt), self._lengths(lengths, arrays, {})
        made = self._programs.two_halves(of, wanted, by, given.along)
        extras = Extras(None if seed is None else self.backend.key(seed), ends=given.ends)
        results = made.first.call(params, given.arrays, extras=extras)
        values = results.asked(wanted, single=False)
        return next(iter(values.values())) if single else values, Pullback(made, results, extras, self._lengths, of, by)


class Pullback:
    """The backward pass of one `Net.forward`: cotangents to gradients, as often as is wanted."""

    def __init__(
        self,
        made: CompiledHalves,
        results: Results,
        extras: Extras,
        reader: LengthReader,
        of: tuple[str, ...],
        by: tuple[Key, ...],
    ) -> None:
        self._then, self._results, self._extras, self._reader = made.then, results, extras, reader
        self._of, self._by = of, by
        self._binder = made.then.binder.only(lambda d: direction(d.name)[1] == "seed")
        read = made.then.system.decls
        given = {n: a.copy() for n, a in results.bound.values.items() if n in read}
        self._values = {**given, **{n: results.values[key] for n, key in made.kept.items()}}

    @from_call
    def __call__(self, cotangents: Mapping[str, Array] | Array) -> dict[Any, Any]:
        """The gradient, by each name that `forward` was asked for, of the products of the values with `cotangents`.

        cotangents  arrays like the values, by name, those left out being 0; where there is one value, its alone will do

        A param's gradient is a sum over the batch, not an average. Raises ArrayError, LengthError, UndefinedError.
        """
        given = cotangents if isinstance(cotangents, Mapping) else self._alone(cotangents)
        for name in given:
            if name not in self._of:
                raise UndefinedError(
                    f"there is no cotangent of {name!r}: the forward pass returned {', '.join(self._of)}"
                )
        bound, ends = self._results.bound, self._extras.ends
        seeds = self._reader(dict(ends) or None, {}, given).directions if given else {}
        every = {n: seeds[n] if n in seeds else _zero(self._results[n]) for n in self._of}
        batch = Extras(ends=ends, batch=None if bound.unbatched else bound.batch)
        made = self._binder({}, bound.lengths, {f"{n}~seed": a for n, a in every.items()}, batch)
        drawn = self._then.binder.drawn(bound.lengths, bound.batch, self._extras)
        return self._then.run(replace(bound, values={**self._values, **drawn, **made.values})).gradients(self._by)

    def _alone(self, cotangent: Array) -> dict[str, Array]:
        if len(self._of) != 1:
            raise ArrayError(f"cotangents are a dict by name, of {', '.join(self._of) or 'nothing'}")
        return {self._of[0]: cotangent}

    def __repr__(self) -> str:
        return f"<Pullback of {', '.join(self._of)} by {', '.join(map(str, self._by))}>"


def _zero(like: Array) -> Array:
    made = like.copy()
    made[...] = 0
    return made
