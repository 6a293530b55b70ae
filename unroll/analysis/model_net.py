"""`ModelNet`: a compiled template that knows the probabilities of its random variables, and draws them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..errors import ArrayError, BackendError, from_call
from ..runtime.net import Net
from ..types import Array, ExampleLengths, Params, Seed
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
        self, params: Params, /, *, seed: Seed = 0, batch: int | None = None, **arrays: Array
    ) -> dict[str, Array]:
        """Draw the random variables by ancestral sampling: each given its parents, step by step.

        seed    an int from 0 up (the same seed gives the same sample) or a numpy.random.Generator
        batch   how many examples to draw at once; None for one without a batch axis, or as many as the inputs have
        arrays  the inputs that have no distribution, and ``T=`` where none of them tells the length

        Arrays by name, laid out as those of `run`; a boundary that is drawn is called ``"y[0]"``. One compiled run
        draws them all, feeding each back; a shorter sample is the beginning of a longer one. Raises ArrayError.
        """
        if self.dtype == "complex128":
            raise BackendError("a sample is drawn in real numbers: compile the net with dtype='float32' or 'float64'")
        for name in self.model.random:
            if name in arrays:
                given = ", ".join(self.model.given) or "none"
                raise ArrayError(f"{name} is drawn, and was given too; the inputs to give: {given}")
        return dict(self._sampler.run_on(arrays, params, seed=seed, batch=batch))

    @cached_property
    def _likelihood(self) -> Net:
        return self._alike(self.model.likelihood)

    @cached_property
    def _sampler(self) -> Net:
        return self._alike(self.model.sampler)
