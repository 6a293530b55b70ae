"""A failing case as a script that anyone can run, with the numbers that PyTorch and every backend give."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from .build import HEAD, source
from .compare import differentiated, hessian_arguments, jvp_arguments, vjp_arguments, vjp_names
from .data import Case
from .probes import FEWEST, Failure, Probe
from .torch_eval import derivative


def array_text(array: Any) -> str:
    """An array as Python has it."""
    array = np.asarray(array)
    text = (
        f"np.array({array.tolist()!r}, {array.dtype.name!r})"
        if array.size
        else f"np.zeros({array.shape}, {array.dtype.name!r})"
    )
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


def call_text(case: Case, probe: Probe) -> list[str]:
    """The lines that make the arrays and call the net."""
    params = ", ".join(f"{n!r}: {array_text(a.astype(probe.dtype))}" for n, a in case.params.items())
    arrays = []
    for decl in case.system.of("input"):
        array = case.inputs[decl.name]
        arrays.append(f"    {decl.name!r}: {array_text(array.astype(probe.dtype) if decl.kind == 'float' else array)},")
    more = case.keywords({})
    without = f", without={probe.without!r}" if probe.without else ""
    first = ", batch_first=True" if probe.batch_first else ""
    lines = [f"net = g.compile({probe.backend!r}, dtype={probe.dtype!r}{without}{first})"]
    lines += [f"params = {{{params}}}", "arrays = {", *arrays, "}"]
    lines += [f"arrays |= {more!r}"] if more else []
    lines.append(f"print({call(case, probe)})")
    if probe.check.startswith("law"):
        lines.append(f"# the check: {probe}, seed {probe.seed}")
    return lines


def call(case: Case, probe: Probe) -> str:
    """The call of the check."""
    names = [name for name, _ in case.system.outputs] + [d.name for d in case.system.of("variable")]
    if probe.check == "vjp":
        with torch.no_grad():
            shapes = {n: case.run().value(n).shape for n in vjp_names(case, probe)}
        cotangents, wrt = vjp_arguments(case, probe, shapes)
        return f"net.vjp(params, {arrays_text(cotangents)}, {wrt!r}, **arrays)"
    if probe.check == "jvp":
        tangents, of = jvp_arguments(case, probe)
        return f"net.jvp(params, {arrays_text(tangents)}, {of!r}, **arrays)"
    if probe.check == "hessian":
        return f"net.hessian_vector(params, {arrays_text(hessian_arguments(case, probe))}, **arrays)"
    if probe.check == "grad":
        wrt = differentiated(case, probe)[0] if probe.seed % 4 else None
        return f"net.value_and_grad(params, {wrt!r}, **arrays)"
    return (
        "net.loss(params, **arrays)" if probe.check == "loss" or not names else f"net.run(params, {names!r}, **arrays)"
    )


def arrays_text(arrays: dict[str, Any]) -> str:
    """Arrays by name."""
    return "{" + ", ".join(f"{n!r}: {array_text(a)}" for n, a in arrays.items()) + "}"


def script(case: Case, probe: Probe) -> str:
    """All of it."""
    few = f"from unroll.backends.numpy import tuning\ntuning.MIN_SCAN_STEPS = {probe.fewest}\n"
    few = few if probe.fewest != FEWEST else ""
    return HEAD + few + source(case.system) + "\n".join(call_text(case, probe)) + "\n"


def rounded(array: Any) -> Any:
    """An array as a list; floats to 12 places."""
    return (np.round(array, 12) if array.dtype.kind == "f" else array).tolist()


def expected(case: Case, probe: Probe) -> str:
    """PyTorch's numbers."""
    lines = []
    try:
        with torch.no_grad():
            run = case.run()
            names = [name for name, _ in case.system.outputs] + [d.name for d in case.system.of("variable")]
            lines += [f"{name!r}: {rounded(run.value(name))}" for name in names]
        if case.system.loss is not None:
            names, instances = differentiated(case, probe)
            run = case.run(instances=instances and probe.check == "grad")
            loss = run.loss()
            lines.append(f"loss: {loss.item():.12g}")
            if probe.check == "grad":
                grads = run.gradients(loss, names)
                lines += [f"gradient by {n!r}: {rounded(a)}" for n, a in grads.items()]
        if probe.check == "jvp":
            tangents, of = jvp_arguments(case, probe)
            lines.append(f"jvp of {of!r}: {[a.tolist() for a in derivative(case.run(), of, tangents)]}")
        if probe.check == "hessian":
            product = case.run().hessian_vector(hessian_arguments(case, probe))
            lines.append(f"hessian_vector: { {n: a.tolist() for n, a in product.items()} }")
    except Exception as error:  # noqa: BLE001 - said instead of numbers
        lines.append(f"{type(error).__name__}: {error}")
    return "\n".join("# " + line[:600] for line in lines)


def cause(case: Case, probe: Probe, failures: list[Failure]) -> str:
    """What failures of one cause have in common: the backend, the kind, and the small script without its numbers."""
    kinds = ", ".join(sorted({f.signature if f.kind == "error" else f.kind for f in failures}))
    if "error" in {f.kind for f in failures}:
        return f"{probe.backend if 'LLVM' in kinds or 'ptr' in kinds else ''}: {kinds}"
    body = "\n".join(line for line in source(case.system).splitlines() if not re.match(r"\w+ = g\.|from|g = ", line))
    body = re.sub(r"\b[a-z]+\d+\b", "N", re.sub(r"\d+\.\d+", "1", body))
    body = re.sub(r"\d+", "1", body)
    return f"{probe.backend}: {kinds}: {body}"
