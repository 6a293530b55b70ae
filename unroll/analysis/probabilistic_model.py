"""`Model`: a template, and which of its variables are random, each with its distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from .. import ops
from ..errors import DTypeError, LengthError, ShapeError, TemplateError, UndefinedError, from_call, here, message
from ..ir.axes import running, whole
from ..ir.names import is_hidden, substitute_names, unused
from ..ir.system import Const, Decl, Domain, Equation, Operand, Ref, System
from ..language.builder import Builder
from ..language.expression import Expr
from ..language.validate import check
from ..ops.core import Symbolic
from ..ops.integers import real
from ..printing.plain import EquationWriter
from ..runtime.arguments import label_limit
from ..template import Template
from ..unfold.lengths import unfold
from .bayesian_network import BayesianNetwork
from .distributions import FAMILIES
from .draws import draws, named, whole_ref
from .model_net import ModelNet
from .spec import Distribution


class Model:
    """A template read as a directed graphical model.

    distributions  ``{"y": ("categorical", "o")}`` says y[t] ~ softmax(o[t]). By name of an input: a family, then a name
                   or a number for each of its parameters, read at the step of the variable itself.
                   "categorical" takes logits, (..., k) for a variable of shape (...), dtype="int";
                   "bernoulli" a probability, dtype="bool"; "normal" mean and standard deviation; "uniform" both ends

    random  the random variables, each with its `Distribution`
    given   the other inputs

    What the template draws itself is random without being named: ``y[t] = ops.categorical(o[t])``; a boundary that it
    draws is called "y[0]". Otherwise it is in teacher-forced form, with y an input. Either way o[t] reads y at earlier
    steps only. An input without a distribution is not random: every statement and every probability holds given those
    inputs, and given what is drawn inside an equation, such as dropout. Raises TemplateError, UndefinedError,
    ShapeError, DTypeError for what is no distribution, CausalityError where a variable depends on itself.

    >>> from unroll import Template, ops, t
    >>> g = Template("walk")
    >>> x, y, a = g.input("x"), g.input("y"), g.param("a")
    >>> y[0] = 0
    >>> m = g.variable("m")
    >>> m[t] = a * y[t-1] + x[t]
    >>> Model(g, {"y": ("normal", "m", 1.0)})
    <Model walk: y ~ normal(m, 1.0), given x>
    """

    @from_call
    def __init__(self, template: Template, distributions: Mapping[str, Sequence[Any]] | None = None) -> None:
        self.template, self.system = template, template.system
        self._named = named(self.system)
        self._source = here()
        drawn = dict(_laws(self._named))
        told = _items(distributions) if distributions or not drawn else []
        self.random = {**{name: self._distribution(name, spec) for name, spec in told}, **drawn}
        self.given = tuple(
            n for n, d in self.system.decls.items() if d.kind == "input" and n not in self.random and not d.automatic
        )
        _ = self.likelihood, self.generative  # both are checked at once
        self._check_labels()

    @from_call
    def unfold(self, steps: int | None = None, **lengths: int) -> BayesianNetwork:
        """The Bayesian network for given lengths: ``model.unfold(5)``, or ``model.unfold(T=5, S=3)``."""
        if steps is not None:
            if "T" in lengths:
                raise LengthError(f"T = {lengths['T']} and {steps} steps were given; leave one out")
            lengths = {"T": steps, **lengths}
        return BayesianNetwork(self, unfold(self.generative, lengths, "variables"))

    def compile(self, backend: str = "auto", **options: Any) -> ModelNet:
        """The template's net, which besides has the model's log-probabilities and samples.

        backend, options  as for `Template.compile`
        """
        return ModelNet(self, backend, **options)

    @cached_property
    def likelihood(self) -> System:
        """The template's system, whose one output is the log-probability of the random variables, per example.

        What the template draws is given instead, by an input of the variable's name; the variable takes its values at
        the steps at which it is drawn, and goes by another name.
        """
        taken = {**self._named.decls, **self.random}
        names = {law.out.name: unused(f"{key}'", taken) for key, law in self.random.items() if key == law.out.name}
        names = {name: other for name, other in names.items() if self.random[name].equations}
        system = substitute_names(self._named, names)
        places = {id(e): n for n, e in enumerate(self._named.equations)}
        builder = Builder.extend(replace(system, outputs={}))
        terms: list[Any] = []
        for key, law in self.random.items():
            if not law.equations:
                terms.append(self._term(builder, law, self._parameters(builder, law), law.out, ()))
                continue
            decl = self._named.decls[law.out.name]
            builder.declare(replace(decl, name=key, kind="input", axes=law.out.running, batched=True, of=None))
            told = Ref(key, tuple(map(running, law.out.running)))
            for e in law.equations:
                drawn = system.equations[places[id(e)]]
                terms.append(self._term(builder, law, [_read(builder, a) for a in drawn.args[:-1]], told, e.domain))
                given = replace(drawn, op="copy", args=(told,), attrs=(), batched=True, label=None)
                builder.equations = [given if other is drawn else other for other in builder.equations]
        with builder.within((), self._source):
            name = builder.declare(Decl(builder.unused("log_prob"), "variable", (), "float", source=self._source)).name
            builder.add(Ref(name), sum(terms[1:], terms[0]), (), True, self._source)
        builder.outputs = {name: Ref(name)}
        return check(builder.freeze())

    def _term(
        self, builder: Builder, law: Distribution, parameters: list[Symbolic], value: Ref, domain: Domain
    ) -> Symbolic:
        """The log-probability of the values of one variable over a range of steps, by default all of them."""
        with builder.within(domain, self._source):
            term = ops.sum(law.record.log_prob(builder.read(value), *parameters))
            return ops.sum(term, over=value.index) if value.index else term

    @cached_property
    def generative(self) -> System:
        """The template's system in closed loop: each random variable is drawn. Unfolded, it is the model's graph."""
        builder = Builder.extend(self._named)
        _drop_loss(builder)
        for name, law in self.random.items():
            if law.equations:
                continue
            decl = builder.decls[name] = replace(builder.decls[name], kind="variable")
            parameters = self._parameters(builder, law)
            with builder.within((), self._source):
                full = [p if law.family == "categorical" else ops.broadcast_to(p, decl.shape) for p in parameters]
                made = law.record.draw(*full, over=law.out.index or None)
                shown = zip(law.parameters, parameters, strict=True)
                builder.label(made, law.family, [p if isinstance(told, str) else told for told, p in shown], {})
                builder.add(law.out, made, tuple(map(whole, decl.axes)), True, self._source)
        return check(builder.freeze())

    @cached_property
    def sampler(self) -> System:
        """The same with each random variable as an output of its name: a run of it is ancestral sampling."""
        builder = Builder.extend(self.generative)
        for key, law in self.random.items():
            if key != law.out.name:
                decl, out = builder.decls[law.out.name], Ref(key, tuple(map(running, law.out.running)))
                builder.declare(replace(decl, name=key, axes=law.out.running))
                domain = tuple(map(whole, law.out.running))
                builder.add(out, builder.read(law.out), domain, decl.batched, self._source)
            builder.outputs[key] = whole_ref(builder.decls[key])
        return check(builder.freeze())

    def _parameters(self, builder: Builder, law: Distribution) -> list[Symbolic]:
        """What a variable that is told of is distributed by."""
        return [
            _read(builder, whole_ref(builder.decls[p])) if isinstance(p, str) else builder.constant(float(p))  # type: ignore[arg-type]
            for p in law.parameters
        ]

    def _distribution(self, name: object, spec: object) -> Distribution:
        """Raises an error that says what of ``name: spec`` makes no distribution."""
        decl = self._input(name)
        family, *parameters = (spec,) if isinstance(spec, str) or not isinstance(spec, Sequence) else spec or (None,)
        if not isinstance(family, str) or family not in FAMILIES:
            raise TemplateError(
                f"{name} ~ {spec!r}: a distribution is a family and its parameters, "
                f'as in ("categorical", "o"); the families are {", ".join(FAMILIES)}'
            )
        law = Distribution(family, tuple(parameters), whole_ref(decl))
        if len(parameters) != len(law.record.parameters):
            told = " and ".join(law.record.parameters)
            raise TemplateError(f"{name} ~ {law}: {family} takes {told}, and {len(parameters)} were given")
        if decl.dtype != law.record.dtype:
            raise DTypeError(
                message(
                    f"{name} ~ {law}: its values are {law.record.dtype}, and {name} is {decl.dtype}",
                    (f"input {name}", decl.source),
                    fix=f'Declare it with dtype="{law.record.dtype}".',
                )
            )
        for role, parameter in zip(law.record.parameters, parameters, strict=True):
            self._check_parameter(f"{name} ~ {law}", decl, family, role, parameter)
        return law

    def _input(self, name: object) -> Decl:
        decl = self.system.decls.get(name) if isinstance(name, str) else None
        known = self.system.decls.items()
        inputs = ", ".join(n for n, d in known if d.kind == "input" and not d.automatic) or "none"
        if decl is None or decl.automatic or decl.kind in ("temporary", "constant"):
            raise UndefinedError(f"there is no input {name!r} in template {self.system.name!r}; its inputs: {inputs}")
        if decl.kind != "input":
            why = "is trained" if decl.kind == "param" else "is computed by its equations"
            raise TemplateError(
                message(
                    f"{name} is a {decl.kind}, which {why}; a random variable is an input; the inputs: {inputs}",
                    (f"{decl.kind} {name}", decl.source),
                )
            )
        return decl

    def _check_parameter(self, law: str, decl: Decl, family: str, role: str, parameter: object) -> None:
        if real(parameter) is not None and family != "categorical":
            return
        told = self.system.decls.get(parameter) if isinstance(parameter, str) else None
        if told is None or is_hidden(told.name):
            kind = "a name" if family == "categorical" else "a name or a number"
            what = f"no name of template {self.system.name!r}" if isinstance(parameter, str) else f"not {kind}"
            raise UndefinedError(f"{law}: the {role} {parameter!r} is {what}")
        if told.dtype == "bool" or (told.dtype == "int" and family == "categorical"):
            raise DTypeError(f"{law}: the {role} is made of numbers, and {told.name} is {told.dtype}")
        if not set(told.axes) <= set(decl.axes):
            over = ", ".join(a.name for a in told.axes)
            along = ", ".join(a.name for a in decl.axes) or "no axis"
            raise ShapeError(f"{law}: {told.name} runs along {over}, and {decl.name} along {along}")
        ranked = told.shape[:-1] == decl.shape and len(told.shape) > len(decl.shape)
        if family == "categorical" and not ranked:
            raise ShapeError(
                f"{law}: {decl.name} has shape {decl.shape}, so its logits have shape "
                f"({', '.join([*map(str, decl.shape), 'k'])}), one for each of k values; {told.name} has {told.shape}"
            )
        if family != "categorical" and told.shape not in ((), decl.shape):
            raise ShapeError(f"{law}: {decl.name} has shape {decl.shape}, and {told.name} has {told.shape}")

    def _check_labels(self) -> None:
        """Whatever is looked up by a drawn label has room for all of them."""
        writer = EquationWriter(self._named)
        for name, law in self.random.items():
            if law.family != "categorical":
                continue
            count = self.labels(law)
            for equation in self.system.equations:
                room = label_limit(self.system, equation, law.out.name)
                if room is not None and room < count:
                    told = law.parameters[0]
                    logits = writer.expression(told) if isinstance(told, Ref) else told
                    raise ShapeError(
                        message(
                            f"{name} ~ {law}: {logits} has {count} logits, and {law.out.name} indexes {room}",
                            (EquationWriter(self.system).equation(equation), equation.source),
                        )
                    )

    def labels(self, law: Distribution) -> int:
        """How many values a categorical variable has."""
        told = law.parameters[0]
        return self._named.decls[told.name if isinstance(told, Ref) else str(told)].shape[-1]

    def __repr__(self) -> str:
        laws = ", ".join(f"{name} ~ {law}" for name, law in self.random.items())
        return f"<Model {self.system.name}: {laws}{', given ' if self.given else ''}{', '.join(self.given)}>"


def _items(distributions: object) -> list[tuple[Any, Any]]:
    if not isinstance(distributions, Mapping) or not distributions:
        raise TemplateError(
            'a model names its random variables, Model(g, {"y": ("categorical", "o")}), or its template draws them, '
            f"y[t] = ops.categorical(o[t]); this one draws none, and got {distributions!r}"
        )
    return list(distributions.items())


def _laws(system: System) -> Iterator[tuple[str, Distribution]]:
    """The variables that the template draws itself, as in ``y[t] = ops.categorical(o[t])``, and boundaries."""
    writer = EquationWriter(system)
    found: dict[Ref, list[Equation]] = {}
    for e in draws(system):
        if not is_hidden(e.out.name) and system.exclusive(e):
            found.setdefault(e.out, []).append(e)
    order = list(system.decls)
    taken = dict.fromkeys(order)
    for out in sorted(found, key=lambda ref: order.index(ref.name)):
        shown = writer.equation(found[out][0]).partition(" = ")[2]
        main = out == whole_ref(system.decls[out.name])
        key = out.name if main else unused(str(out), taken)
        taken[key] = None
        yield key, Distribution(found[out][0].op, found[out][0].args[:-1], out, tuple(found[out]), shown)


def _read(builder: Builder, operand: Operand) -> Symbolic:
    """A parameter of a draw as an expression."""
    if isinstance(operand, Const):
        return builder.constant(float(operand.value))
    if not isinstance(operand, Ref):
        return Expr(builder, operand, (), "float", frozenset())
    expr = builder.read(operand)
    return ops.cast(expr) if expr.dtype == "int" else expr


def _drop_loss(builder: Builder) -> None:
    """Without the loss, where nothing but an output reads it: it is no part of the model."""
    builder.outputs = {}
    if builder.loss and not any(r.name == builder.loss for e in builder.equations for r in e.refs):
        builder.equations = [e for e in builder.equations if e.out.name != builder.loss]
        del builder.decls[builder.loss]
    builder.loss = None
