"""Log-probabilities and samples of a model, computed by a compiled net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArrayError, BackendError, LengthError, TemplateError, from_call
from ..initializers import generator
from ..ir import System
from ..model import Net
from ..unfold import check_length
from .model import LOG_PROB, NOISE, Model


@from_call
def log_prob(net: Net, model: Model, params: Mapping[str, Any], /, **arrays: Any) -> Any:
    """The log-probability (density, where continuous) of the random variables given the other inputs, in nats.

    net     of the model's template; its backend, dtype and layout are used
    arrays  all inputs, the random variables among them, as for `Net.run`

    One number per example, (B,). Raises ArrayError, LengthError.

    >>> import numpy as np
    >>> from unroll import Template, ops, t
    >>> from unroll.analysis import Model, log_prob, sample
    >>> g = Template("walk"); y, m = g.input("y"), g.variable("m")
    >>> y[0] = 0
    >>> m[t] = y[t-1] + 0.5
    >>> model = Model(g, {"y": ("normal", "m", 1.0)})
    >>> net = g.compile("numpy", dtype="float64")
    >>> round(float(log_prob(net, model, {}, y=np.array([0.5, 1.0]))), 3)       # two steps of 0.5, as expected
    -1.838
    >>> sample(net, model, {}, seed=0, T=3, batch=2)["y"].shape
    (3, 2)
    """
    value = _compiled(net, model, model.likelihood).run(params, LOG_PROB, **arrays)
    return value if value.ndim else value[()]


@from_call
def sample(
    net: Net, model: Model, params: Mapping[str, Any], /, *, seed: Any = 0, batch: int | None = None, **arrays: Any
) -> dict[str, Any]:
    """Draw the random variables by ancestral sampling: each given its parents, step by step.

    seed    an int from 0 up (the same seed gives the same sample) or a numpy.random.Generator
    batch   how many examples to draw at once; None for one without a batch axis, or as many as the inputs have
    arrays  the inputs that have no distribution, and ``T=`` where none of them tells the length

    Arrays by name, laid out as those of `Net.run`. The noise is drawn beforehand, and one compiled run turns it into
    samples, feeding each back; with an int as the seed, a shorter sample is the beginning of a longer one. Raises
    ArrayError, LengthError.
    """
    if net.dtype == "complex128":
        raise BackendError("a sample is drawn in real numbers: compile the net with dtype='float32' or 'float64'")
    for name in model.random:
        if name in arrays:
            raise ArrayError(
                f"{name} is drawn, and was given too; the inputs to give: {', '.join(model.given) or 'none'}"
            )
    runner = _compiled(net, model, model.generative)
    lengths, found = _sizes(net, model.system, arrays)
    if batch is not None and (isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1):
        raise ArrayError(f"batch={batch!r}: the number of examples is an integer from 1 up")
    if batch is not None and batch != found and any(n in arrays for n in model.given):
        raise ArrayError(f"batch={batch} was given, and the inputs have {found or 'no batch axis'}")
    size = found or batch
    noise = {}
    for name, law in model.random.items():
        decl = model.generative.decls[f"{name}{NOISE}"]
        for axis in decl.axes:
            if axis.end not in lengths:
                raise LengthError(f"no array tells the length {axis.end}: pass {axis.end}=..., the number of steps")
            check_length(axis.end, lengths[axis.end])
        rank = len(decl.axes)
        shape = (*(lengths[a.end] for a in decl.axes), *([size] if size else []), *decl.shape)
        drawn = getattr(generator(seed, decl.name), law.record.noise)(size=shape)
        if net.batch_first and size and rank:
            drawn = drawn.transpose(rank, *range(rank), *range(rank + 1, drawn.ndim))
        noise[decl.name] = drawn.astype(net.dtype)
    return dict(runner.run(params, list(model.random), **noise, **arrays))


def _compiled(net: Net, model: Model, system: System) -> Net:
    """A net like `net` for another system of the model; made once."""
    if net.system is not model.system and net.system != model.system:
        raise TemplateError(
            f"the net was compiled from template {net.system.name!r} as it is not, or no longer is, in the model: "
            "make the model and the net from the same finished template"
        )
    key = (system is model.generative, net.backend.name, net.dtype, net.batch_first)
    if key not in model.nets:
        model.nets[key] = Net(system, net.backend.name, dtype=net.dtype, batch_first=net.batch_first)
    made: Net = model.nets[key]
    return made


def _sizes(net: Net, system: System, arrays: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    """The lengths, and the batch size of the inputs given (None where they have no batch axis)."""
    ends = {a.end for a in system.axes}
    found: dict[str, int] = {}
    batch = None
    for name, value in arrays.items():
        decl = system.decls.get(name)
        if decl is None or decl.kind != "input":
            continue
        shape = tuple(net.backend.asarray(value, None).shape)
        steps = len(decl.axes)
        if len(shape) == steps + len(decl.shape) + 1:
            first = net.batch_first or not steps
            batch = shape[0] if first else shape[steps]
            shape = shape[1:] if first else shape
        for axis, n in zip(decl.axes, shape, strict=False):
            found.setdefault(axis.end, n)
    return {**{end: n for end, n in arrays.items() if end in ends}, **found}, batch
