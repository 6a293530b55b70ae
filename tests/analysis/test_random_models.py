"""The law of a model: its log-probability is the sum of its graph's factors, whatever its template went through."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unroll import Template
from unroll.analysis import BayesianNetwork, Model
from unroll.ir.generated_inputs import Noise
from unroll.unfold.dag import Dag

from .random_models import Drawn, lengths_of, random_template, values_of

STEPS, OTHER, BATCH = 3, 2, 4
Instances = list[tuple[Any, ...]]


def setting(g: Template, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Params and arrays of a template."""
    decls = g.system.decls
    params = {n: rng.normal(size=d.shape) for n, d in decls.items() if d.kind == "param"}
    arrays: dict[str, Any] = {"x": rng.normal(size=(STEPS, BATCH))}
    if any(a.end == "S" for d in decls.values() for a in d.axes):
        arrays["S"] = OTHER
    for name, decl in decls.items():
        if name.startswith("do("):
            value = {"float": rng.normal(size=(BATCH, *decl.shape)), "int": rng.integers(0, 3, (BATCH, *decl.shape))}
            arrays[name] = value.get(decl.dtype, rng.random((BATCH, *decl.shape)) < 0.5)
    return params, arrays


def instances(made: Drawn, rng: np.random.Generator) -> Instances:
    """A few random variables to set, boundaries among them."""
    found: Instances = []
    for name, start in made.laws:
        axes = made.template.system.decls[name].axes
        if axes and rng.random() < 0.7:
            rest = [int(rng.integers(1, OTHER + 1)) for _ in axes[:-1]]
            found.append((name, *rest, 0 if start else int(rng.integers(1, STEPS + 1))))
    return found


def numbers_drawn(model: Model, bayes: BayesianNetwork) -> int:
    """How many numbers a sample is made of, for each example."""
    dag = Dag(model.generative, bayes.dag.lengths, "ops")
    nodes = [n for n in dag.nodes() if isinstance(model.generative.decls[n.name].detail, Noise) and dag.successors(n)]
    return sum(math.prod(model.generative.decls[n.name].shape) for n in nodes)


def elements(model: Model, bayes: BayesianNetwork) -> int:
    """How many numbers are random, each label counted as often as it has values."""
    count = 0
    for node in bayes.random:
        law = bayes.law(node)
        assert law is not None, f"{node} has no distribution"
        labels = model.labels(law) if law.family == "categorical" else 1
        count += math.prod(model.system.decls[node.name].shape) * labels
    return count


def check(made: Drawn, g: Template, rng: np.random.Generator, backend: str) -> None:
    model, (params, arrays) = Model(g), setting(g, rng)
    net, bayes = model.compile(backend, dtype="float64"), model.unfold(**lengths_of(g, arrays))
    drawn = net.sample(params, seed=3, batch=BATCH, **arrays)
    assert list(drawn) == list(model.random)
    values = values_of(g, net, params, seed=3, batch=BATCH, **arrays)
    factors: Any = sum((made.log_density(node, values) for node in bayes.random), np.zeros(BATCH))
    np.testing.assert_allclose(net.log_prob(params, **arrays, **drawn), factors, rtol=1e-11, atol=1e-11)
    assert str(bayes).count("P(") == len(bayes.random)
    assert numbers_drawn(model, bayes) == elements(model, bayes)


@pytest.mark.parametrize("seed", range(40))
def test_log_prob_is_the_sum_of_the_factors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = random_template(rng)
    check(made, made.template, rng, {0: "reference", 1: "native"}.get(seed % 5, "numpy"))


@pytest.mark.parametrize("mode", ["inference", "truncated", "clamped", "all"])
@pytest.mark.parametrize("seed", range(15))
def test_it_is_after_a_transform(seed: int, mode: str) -> None:
    rng = np.random.default_rng(1000 + seed)
    made = random_template(rng, dropout=mode in ("inference", "all"))
    g = made.template
    if mode in ("truncated", "all"):
        g = g.truncated(2)
    if mode in ("clamped", "all"):
        g = g.clamped(*instances(made, rng))
    if mode in ("inference", "all"):
        g = g.inference()
    check(made, g, rng, {0: "reference", 1: "native"}.get(seed % 5, "numpy"))
