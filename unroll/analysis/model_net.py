"""`ModelNet`: a compiled template that knows the probabilities of its random variables, and draws them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..errors import ArrayError, BackendError, from_call
from ..runtime.net import Net
from ..types import Array, ExampleLengths, Params, Seed
from .conditioning import ConditionedSampler, conditioned
from .past import Past, Setting
from .spec import ModelSpec


class ModelNet(Net):
    """The net of a model's template, with the probabilities of the model; made by `Model.compile`.

    model  whose random variables they are

    >>> import numpy as np
    >>> from unroll import Template, ops, t
    >>> from unroll.analysis import Model
    >>> g = Template("walk"); y, m = g.input("y"), g.variable("m")
    >>> y[0] = 0
    >>> m[t] = y[t-1] + 0.5
    >>> net = Model(g, {"y": ("normal", "m", 1.0)}).compile("numpy", dtype="float64")
    >>> round(float(net.log_prob({}, y=np.array([0.5, 1.0]))), 3)       # two steps of 0.5, as expected
    -1.838
    >>> net.sample({}, seed=0, T=3, batch=2)["y"].shape
    (3, 2)
    """

    def __init__(self, model: ModelSpec, backend: str = "auto", **options: Any) -> None:
        super().__init__(model.system, backend, **options)
        self.model = model
        self._told: dict[tuple[str, ...], tuple[Net, ConditionedSampler]] = {}

    @property
    def _of(self) -> object:
        return self.model

    @from_call
    def log_prob(
        self, params: Params, /, *, lengths: ExampleLengths = None, seed: Seed = None, **arrays: Array
    ) -> Array:
        """The log-probability (density, where continuous) of the random variables given the other inputs, in nats.

        lengths  the steps of each example, as for `run`
        seed     for what else the template draws, such as dropout: the log-probability given those draws
        arrays   all inputs and all random variables by name, as for `run`, and what is drawn at a boundary by that:
                 ``**{"y[0]": value}``; as `sample` returns them

        One number per example, (B,). Raises ArrayError, LengthError.
        """
        (value,) = self._likelihood.run_on(arrays, params, lengths=lengths, seed=seed).values()
        return value if value.ndim else value[()]

    @from_call
    def sample(
        self,
        params: Params,
        /,
        *,
        seed: Seed = 0,
        batch: int | None = None,
        observed: Mapping[Any, Array] | None = None,
        **arrays: Array,
    ) -> dict[str, Array]:
        """Draw the random variables by ancestral sampling: each given its parents, step by step.

        seed      an int from 0 up (the same seed gives the same sample) or a numpy.random.Generator
        batch     how many examples to draw at once; None for one without a batch axis, or as many as the inputs have
        observed  values that are known, such as a past to forecast from: by name the first steps, ``{"y": Y[:20]}``,
                  laid out as those of `run` or as a list with an array for each example; or an instance,
                  ``{("y", 3): value}``. A nan is not observed. Without a batch axis they hold for all examples
        arrays    the inputs that have no distribution, and ``T=`` where none of them tells the length

        Arrays by name, laid out as those of `run`; a boundary that is drawn is called ``"y[0]"``. One compiled run
        draws them all, feeding each back; a shorter sample is the beginning of a longer one.

        What is observed is in the sample as it is, and the rest is drawn from its distribution given that. This is
        exact and takes no inference, since nothing observed may depend on anything random that is not: where it does,
        as a future does on the present, ArrayError names both. Raises ArrayError, LengthError, UndefinedError.
        """
        if self.dtype == "complex128":
            raise BackendError("a sample is drawn in real numbers: compile the net with dtype='float32' or 'float64'")
        if observed is not None and "observed" in self.model.given:  # an input of that name goes before
            arrays, observed = {**arrays, "observed": observed}, None
        for name in self.model.random:
            if name in arrays:
                given = ", ".join(self.model.given) or "none"
                raise ArrayError(
                    f"{name} is drawn, and was given too; the inputs to give: {given}. What is known of it goes into "
                    f"observed={{{name!r}: ...}}"
                )
        if observed is None:
            return dict(self._sampler.run_on(arrays, params, seed=seed, batch=batch))
        past = Past(self.model, Setting(self.backend, self.dtype, self.batch_first), observed)
        if not past.keys:
            return dict(self._sampler.run_on(arrays, params, seed=seed, batch=batch))
        net, sampler = self._conditioned(past.keys)
        told = past.arrays(sampler, self._lengths(None, arrays, {}).arrays, batch)
        drawn = dict(net.run_on({**arrays, **told}, params, seed=seed, batch=batch))
        past.check(drawn.pop(sampler.fault), sampler.own)
        return drawn

    def _conditioned(self, keys: tuple[str, ...]) -> tuple[Net, ConditionedSampler]:
        """The net that samples given values of these random variables."""
        if keys not in self._told:
            sampler = conditioned(self.model, keys)
            self._told[keys] = self._alike(sampler.system), sampler
        return self._told[keys]

    @cached_property
    def _likelihood(self) -> Net:
        return self._alike(self.model.likelihood)

    @cached_property
    def _sampler(self) -> Net:
        return self._alike(self.model.sampler)
