"""`Model`: a template, and which of its variables are random, each with its distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import ops
from ..binding import label_limit
from ..builder import Builder
from ..checks import check
from ..errors import DTypeError, LengthError, ShapeError, TemplateError, UndefinedError, from_call, here, message
from ..expr import Expr
from ..ir import Decl, Equation, Ref, System
from ..text import Writer
from ..timeindex import running, whole
from ..unfold import unfold
from .distributions import FAMILIES, Family

if TYPE_CHECKING:
    from ..template import Template
    from .likelihood import ModelNet
    from .network import BayesianNetwork

LOG_PROB = "log_prob~"  # no name of a user's holds a tilde


@dataclass(frozen=True, slots=True, repr=False)
class Distribution:
    """How a random variable is distributed given its parents.

    family      "categorical", "bernoulli", "normal" or "uniform"
    parameters  what it is told by: names, read at the step of the variable itself, numbers, or what an equation reads
    equation    the equation that draws the variable, where the template does
    shown       that equation's right side, as it is printed
    """

    family: str
    parameters: tuple[str | float | Ref, ...]
    equation: Equation | None = None
    shown: str = ""

    @property
    def record(self) -> Family:
        """The record of its family."""
        return FAMILIES[self.family]

    def __str__(self) -> str:
        return self.shown or f"{self.family}({', '.join(map(str, self.parameters))})"

    __repr__ = __str__


class Model:
    """A template read as a directed graphical model.

    distributions  ``{"y": ("categorical", "o")}`` says y[t] ~ softmax(o[t]). By name of an input: a family, then a name
                   or a number for each of its parameters, read at the step of the variable itself.
                   "categorical" takes logits, (..., k) for a variable of shape (...), dtype="int";
                   "bernoulli" a probability, dtype="bool"; "normal" mean and standard deviation; "uniform" both ends

    random  the random variables, each with its `Distribution`
    given   the other inputs

    What the template draws itself is random without being named: ``y[t] = ops.categorical(o[t])``. Otherwise it is in
    teacher-forced form, with y an input. Either way o[t] reads y at earlier steps only. An input without a distribution
    is not random: every statement and every probability holds given those inputs. Raises TemplateError, UndefinedError,
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
        self._draft = template._settled().draft()
        self._source = here()
        drawn = dict(_draws(self._draft))
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
        from .network import BayesianNetwork

        if steps is not None:
            if "T" in lengths:
                raise LengthError(f"T = {lengths['T']} and {steps} steps were given; leave one out")
            lengths = {"T": steps, **lengths}
        return BayesianNetwork(self, unfold(self.generative, lengths, "variables"))

    def compile(self, backend: str = "auto", **options: Any) -> ModelNet:
        """The template's net, which besides has the model's log-probabilities and samples.

        backend, options  as for `Template.compile`
        """
        from .likelihood import ModelNet

        return ModelNet(self, backend, **options)

    @cached_property
    def likelihood(self) -> System:
        """The template's system, with one more variable: the log-probability of the random variables, per example."""
        builder = Builder.extend(self._draft)
        for name, law in self.random.items():
            builder.decls[name] = replace(builder.decls[name], kind="input", batched=True)
            builder.equations = [e for e in builder.equations if e is not law.equation]
        terms: list[Any] = []
        with builder.within((), self._source):
            for name, law in self.random.items():
                ref = _ref(builder.decls[name])
                term = ops.sum(law.record.log_prob(builder.read(ref), *self._parameters(builder, law)))
                terms.append(ops.sum(term, over=ref.index) if ref.index else term)
            builder.declare(Decl(LOG_PROB, "variable", (), "float", batched=True, source=self._source))
            builder.add(Ref(LOG_PROB), sum(terms[1:], terms[0]), (), True, self._source)
        return check(builder.freeze())

    @cached_property
    def generative(self) -> System:
        """The template's system in closed loop: each random variable is drawn.

        A run of it is ancestral sampling; its unfolded graph is the graph of the model.
        """
        builder = Builder.extend(self._draft)
        _drop_loss(builder)
        for name, law in self.random.items():
            if law.equation is not None:
                continue
            decl = builder.decls[name] = replace(builder.decls[name], kind="variable")
            parameters = self._parameters(builder, law)
            with builder.within((), self._source):
                full = [p if law.family == "categorical" else ops.broadcast_to(p, decl.shape) for p in parameters]
                made = law.record.draw(*full, over=_ref(decl).index or None)
                builder.label(made, law.family, parameters, {})
                builder.add(_ref(decl), made, tuple(map(whole, decl.axes)), True, self._source)
        return check(builder.freeze())

    def _parameters(self, builder: Builder, law: Distribution) -> list[Expr]:
        refs = [_ref(builder.decls[p]) if isinstance(p, str) else p for p in law.parameters]
        return [builder.read(p) if isinstance(p, Ref) else builder.constant(p) for p in refs]

    def _distribution(self, name: Any, spec: Any) -> Distribution:
        """Raises an error that says what of ``name: spec`` makes no distribution."""
        decl = self._input(name)
        family, *parameters = (spec,) if isinstance(spec, str) or not isinstance(spec, Sequence) else spec or (None,)
        if not isinstance(family, str) or family not in FAMILIES:
            raise TemplateError(
                f"{name} ~ {spec!r}: a distribution is a family and its parameters, "
                f'as in ("categorical", "o"); the families are {", ".join(FAMILIES)}'
            )
        law = Distribution(family, tuple(parameters))
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

    def _input(self, name: Any) -> Decl:
        decl = self.system.decls.get(name) if isinstance(name, str) else None
        inputs = ", ".join(n for n, d in self.system.decls.items() if d.kind == "input") or "none"
        if decl is None or decl.kind in ("temporary", "constant"):
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

    def _check_parameter(self, law: str, decl: Decl, family: str, role: str, parameter: Any) -> None:
        if isinstance(parameter, (int, float)) and not isinstance(parameter, bool) and family != "categorical":
            return
        told = self.system.decls.get(parameter) if isinstance(parameter, str) else None
        if told is None or "." in told.name:
            kind = "a name" if family == "categorical" else "a name or a number"
            what = f"no name of template {self.system.name!r}" if isinstance(parameter, str) else f"not {kind}"
            raise UndefinedError(f"{law}: the {role} {parameter!r} is {what}")
        if told.dtype != "float":
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
        for name, law in self.random.items():
            if law.family != "categorical":
                continue
            logits = self.logits(law)
            for equation in self.system.equations:
                room = label_limit(self.system, equation, name)
                if room is not None and room < logits.shape[-1]:
                    raise ShapeError(
                        message(
                            f"{name} ~ {law}: {logits.name} has {logits.shape[-1]} logits, and {name} indexes {room}",
                            (Writer(self.system).equation(equation), equation.source),
                        )
                    )

    def logits(self, law: Distribution) -> Decl:
        """The declaration of what a categorical variable is drawn from."""
        told = law.parameters[0]
        return self._draft.decls[told.name if isinstance(told, Ref) else str(told)]

    def __repr__(self) -> str:
        laws = ", ".join(f"{name} ~ {law}" for name, law in self.random.items())
        return f"<Model {self.system.name}: {laws}{', given ' if self.given else ''}{', '.join(self.given)}>"


def _items(distributions: Any) -> list[tuple[Any, Any]]:
    if not isinstance(distributions, Mapping) or not distributions:
        raise TemplateError(
            'a model names its random variables, Model(g, {"y": ("categorical", "o")}), or its template draws them, '
            f"y[t] = ops.categorical(o[t]); this one draws none, and got {distributions!r}"
        )
    return list(distributions.items())


def _draws(system: System) -> Iterator[tuple[str, Distribution]]:
    """The variables that the template draws itself, as in ``y[t] = ops.categorical(o[t])``."""
    writer = Writer(system)
    for name, decl in system.decls.items():
        writers = [e for e in system.writers[name] if e.out == _ref(decl)] if decl.kind == "variable" else []
        for e in writers:
            told = e.args[0] if e.op == "copy" and len(writers) == 1 else None
            made = system.writers[told.name] if isinstance(told, Ref) and "." in told.name else ()
            for label in (m.label for m in made if m.label is not None and m.label.name in FAMILIES):
                more = [value for key, value in label.attrs if key != "over"]
                shown = writer.equation(e).partition(" = ")[2]
                yield name, Distribution(label.name, (*label.args, *more), e, shown)


def _ref(decl: Decl) -> Ref:
    return Ref(decl.name, tuple(map(running, decl.axes)))


def _drop_loss(builder: Builder) -> None:
    """Without the loss, where nothing but an output reads it: it is no part of the model."""
    builder.outputs = {}
    if builder.loss and not any(r.name == builder.loss for e in builder.equations for r in e.refs):
        builder.equations = [e for e in builder.equations if e.out.name != builder.loss]
        del builder.decls[builder.loss]
    builder.loss = None
