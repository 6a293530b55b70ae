"""`BayesianNetwork`: a model unfolded for given lengths, and the questions that its graph answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..dependence.scc import to_networkx
from ..errors import TemplateError, UndefinedError, from_call
from ..ir.generated_inputs import Noise
from ..ir.rewrite import live
from ..unfold.dag import Dag, Node
from .d_separation import active_path, ancestors, children_of, determined, without
from .spec import Distribution, ModelSpec

Instance = Node | str | tuple[str | int, ...]
"""``("h", 3)``, as everywhere; a name alone for what has no time axis."""
Instances = Instance | Sequence[Instance]
"""One, or a list of them."""
FACTORS = 60
"""Factors that are printed."""


@dataclass(frozen=True, slots=True, repr=False)
class Independence:
    """The answer to "are `a` and `b` independent given `given`?": true or false, and printed as a sentence.

    path     where they are not: an active path from a to b
    arrows   between the nodes of the path, "->" or "<-"
    reason   where they are: why
    inputs   inputs that have no distribution, and are given besides
    """

    a: tuple[Node, ...]
    b: tuple[Node, ...]
    given: tuple[Node, ...] = ()
    path: tuple[Node, ...] = ()
    arrows: tuple[str, ...] = ()
    reason: str = ""
    inputs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.path

    def __str__(self) -> str:
        given = [", ".join(map(str, self.given))] if self.given else []
        given += [f"the inputs {', '.join(self.inputs)}"] if self.inputs else []
        text = f"{_set(self.a)} and {_set(self.b)} are {'independent' if self else 'dependent'}"
        text += f" given {' and '.join(given)}" if given else ""
        return f"{text}: {self.reason or _path(self.path, self.arrows)}"

    __repr__ = __str__


class BayesianNetwork:
    """The directed graphical model of a template unfolded for given lengths; made by `Model.unfold`.

    A random variable has a distribution given its parents. A deterministic variable (a hidden state) is a function of
    its parents. What is computed from params and numbers alone, such as ``h[0] = 0``, is fixed, and no variable.

    parents   each variable's parents; parents come before children
    random    the random variables among them
    inputs    inputs without a distribution: roots that are not random
    fixed     what is no variable: params, and what is computed from them alone
    """

    def __init__(self, model: ModelSpec, dag: Dag) -> None:
        self.model, self.dag = model, dag
        above = {node: dag.predecessors(node) for node in dag.topological()}
        readers = Counter(p for reads in above.values() for p in reads if self._draws(p.name))
        own = {p for p, count in readers.items() if count == 1}  # the noise of one variable is no variable by itself
        drawn = {node for node, reads in above.items() if readers[node] > 1 or not own.isdisjoint(reads)}
        inputs = {n for n in above if n.name in model.given and not any(True for _ in dag.writers(n))}
        whole = {node: [p for p in above[node] if p not in own] for node in above if node not in own}
        self.fixed = frozenset(determined(whole, drawn | inputs, ()))
        self.parents: Mapping[Node, tuple[Node, ...]] = {
            node: tuple(p for p in reads if p not in self.fixed)
            for node, reads in whole.items()
            if node not in self.fixed
        }
        self.random, self.inputs = frozenset(drawn), frozenset(inputs)
        self._children = children_of(self.parents)

    @from_call
    def independent(self, a: Instances, b: Instances, given: Instances = ()) -> Independence:
        """Whether `a` and `b` are independent given `given`, for every value of the params.

        Each is an instance, ``("y", 3)``, or several: a list, a tuple, a set. The criterion is D-separation (Geiger,
        Verma and Pearl 1990): d-separation given all that the given variables determine, a deterministic variable being
        known where its parents are. It is exact for the graph: what it calls independent is so for all params and all
        functions in the equations; what it calls dependent depends by way of the path it shows, unless special values
        undo it.

        Inputs that have no distribution count as given, except where they are asked about: then the answer says whether
        the conditional distribution of the other variable changes with them. Raises UndefinedError for an unknown
        variable or step, TemplateError where `a` and `b` both hold such inputs.
        """
        left, right, known = self._nodes(a), self._nodes(b), self._nodes(given)
        asked = self.inputs & {*left, *right}
        if asked & {*left} - {*known} and asked & {*right} - {*known}:
            one, other = next(n for n in left if n in asked), next(n for n in right if n in asked)
            raise TemplateError(
                f"{one} and {other} are inputs without a distribution: the model does not say how they hang together. "
                f'Give {one.name} one, as in Model(g, {{"{one.name}": ("normal", 0, 1)}})'
            )
        found, settled = self._search(left, right, known)
        inputs = tuple(n for n in self.model.given if any(i.name == n and i not in asked for i in self.inputs))
        arrows = tuple("->" if p in self.parents[q] else "<-" for p, q in pairwise(found))
        reason = "" if found else self._reason(left, right, known, settled)
        return Independence(left, right, known, tuple(found), arrows, reason, inputs)

    def _search(
        self, left: Sequence[Node], right: Sequence[Node], known: Sequence[Node]
    ) -> tuple[list[Node], set[Node]]:
        """An active path, and what is settled: determined by what is given."""
        given = {*known, *(self.inputs - {*left, *right})} - self.fixed
        settled = determined(self.parents, self.random | self.inputs, given)
        starts, ends = (dict.fromkeys(n for n in side if n not in self.fixed) for side in (left, right))
        return active_path(self.parents, self._children, starts, ends, settled), settled

    def _reason(
        self, left: Sequence[Node], right: Sequence[Node], known: Sequence[Node], settled: Collection[Node]
    ) -> str:
        """Why two sets are independent: one of them is known, or nothing leads from one to the other."""
        for side in (left, right):
            unknown = [n for n in side if n not in self.fixed and n not in known]
            if any(n not in settled for n in unknown):
                continue
            are = "is" if len(unknown or side) == 1 else "are"
            if unknown:
                return f"{_set(unknown)} {are} determined by what is given"
            return f"{_set(side)} {are} {'fixed' if self.fixed.issuperset(side) else 'given'}"
        return "every path between them is blocked"

    @from_call
    def separator(
        self, a: Instances, b: Instances, among: str | Sequence[str] | None = None
    ) -> tuple[Node, ...] | None:
        """A minimal set of variables given which `a` and `b` are independent; None where there is none.

        among  names of variables to choose from; by default all. None of the set can be left out
        """
        left, right = self._nodes(a), self._nodes(b)
        names = self._names(among) if among is not None else {n.name for n in self.parents}
        lineage = ancestors(self.parents, [n for n in (*left, *right) if n not in self.fixed])
        # If any set among the names separates, all ancestors of a and b among them do, and so does every set between.
        chosen = [n for n in self.parents if n in lineage - self.inputs - {*left, *right} and n.name in names]
        if self._search(left, right, chosen)[0]:
            return None
        for node in reversed(chosen):
            rest = [n for n in chosen if n != node]
            if not self._search(left, right, rest)[0]:
                chosen = rest
        return tuple(chosen)

    @from_call
    def marginalise(self, *names: str) -> Any:
        """The graph over the variables that are left when those of some names are marginalised; a networkx.DiGraph.

        names  of deterministic or random variables; by default all deterministic ones

        The children of a deterministic variable read its parents instead. Those of a random one are linked to each
        other besides (Shachter 1988), so that the graph implies no independence that does not hold. With the hidden
        state marginalised the outputs of a recurrent network are a complete graph (book figure 10.7).
        """
        return self._digraph(self._marginal(names))

    def to_networkx(self) -> Any:
        """The graph over all variables, from parent to child."""
        return self._digraph(self.parents)

    def _digraph(self, parents: Mapping[Node, Iterable[Node]]) -> Any:
        edges = [(p, node) for node, above in parents.items() for p in above]
        return to_networkx(parents, edges, name=self.model.system.name)

    def _marginal(self, names: Sequence[str] = ()) -> dict[Node, list[Node]]:
        removed = {n for n in self.parents if n.name in self._names(names)}
        if not names:
            removed = set(self.parents) - self.random - self.inputs
        for node in removed & self.inputs:
            raise TemplateError(f"{node.name} is an input without a distribution: there is nothing to average over")
        return without(self.parents, removed, self.random)

    @from_call
    def parameters(self, form: str) -> int:
        """How many numbers the distribution of the random variables takes, exactly.

        form  "joint": one table over all of them; k**T - 1 for T variables of k values.
              "conditional": a table per variable, given its parents once the deterministic variables are marginalised;
              as many as the joint table in a complete graph, linear in T in a Markov chain of bounded order.
              "recurrent": the params of the template that the distributions depend on, shared by all steps: the same
              for every T (book section 10.2.3)

        Raises TemplateError where no table can hold a variable: it is continuous, or depends on inputs.
        """
        if form == "recurrent":
            decls = self.model.generative.decls
            used = live(self.model.generative, [law.out.name for law in self.model.random.values()])
            return sum(math.prod(d.shape) for n, d in decls.items() if d.kind == "param" and n in used)
        if form not in ("joint", "conditional"):
            raise ValueError(f'form={form!r}: choose "joint", "conditional" or "recurrent"')
        tables = {n: above for n, above in self._marginal().items() if n in self.random}
        for node in {n for above in tables.values() for n in above} & self.inputs:
            raise TemplateError(
                f"{node.name} is an input without a distribution: a table would need a row for each of its values"
            )
        sizes = {node: self._values(node) for node in tables}
        if form == "joint":
            return math.prod(sizes.values()) - 1
        return sum((sizes[n] - 1) * math.prod(sizes[p] for p in above) for n, above in tables.items())

    def _values(self, node: Node) -> int:
        """How many values an instance has. Raises TemplateError where they cannot be counted."""
        law = self.law(node)
        if law is None:
            raise TemplateError(
                f"{node.name} depends on numbers that are drawn, and has no distribution to make a table of"
            )
        if law.record.dtype == "float":
            raise TemplateError(f"{node.name} ~ {law} is continuous: no table holds it")
        count = self.model.labels(law) if law.family == "categorical" else 2
        return int(count ** math.prod(self.model.system.decls[node.name].shape))

    def law(self, node: Node) -> Distribution | None:
        """The distribution of a random variable given its parents, where it has a known one."""
        written = {flow.out for flow, _ in self.dag.writers(node)}
        return next((law for law in self.model.random.values() if law.out in written), None)

    def _draws(self, name: str) -> bool:
        """True for numbers that an op draws."""
        return isinstance(self.dag.system.decls[name].detail, Noise)

    def _nodes(self, keys: Any) -> tuple[Node, ...]:
        """Instances as nodes, each once. Raises UndefinedError where there is no such instance."""
        found: dict[Node, None] = {}
        one = isinstance(keys, (str, Node)) or not isinstance(keys, Iterable)
        one = one or (isinstance(keys, tuple) and keys != () and not all(isinstance(k, tuple) for k in keys))
        for key in [keys] if one else sorted(keys, key=str) if isinstance(keys, (set, frozenset)) else keys:
            name = key[0] if isinstance(key, tuple) and key else key
            self._names(name)
            found[self.dag[key]] = None
        return tuple(found)

    def _names(self, names: object) -> tuple[str, ...]:
        """Names of variables. Raises UndefinedError for another."""
        listed = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
        kept = {n.name for n in self.parents}
        shown = [n for n in self.dag.names() if n in kept or not self._draws(n)]
        for name in listed:
            if name not in shown:
                raise UndefinedError(
                    f"there is no variable {name!r} in template {self.model.system.name!r}; it has {', '.join(shown)}"
                )
        return listed

    def __str__(self) -> str:
        """The joint probability of the random variables as a product, one factor each (book (10.31))."""
        factors = []
        for node, above in self._marginal().items():
            if node in self.random:
                factors.append(f"P({node} | {', '.join(map(str, above))})" if above else f"P({node})")
        more = [f"... {len(factors) - FACTORS} more"] if len(factors) > FACTORS else []
        return " ".join(factors[:FACTORS] + more) or "1"

    def __repr__(self) -> str:
        at = ", ".join(f"{end} = {n}" for end, n in self.dag.lengths.items())
        hidden = len(self.parents) - len(self.random) - len(self.inputs)
        return (
            f"<BayesianNetwork {self.model.system.name}: {len(self.random)} random, {hidden} deterministic, "
            f"{len(self.inputs)} given, {at or 'no axes'}>"
        )


def _set(nodes: Sequence[Node]) -> str:
    return str(nodes[0]) if len(nodes) == 1 else f"{{{', '.join(map(str, nodes))}}}"


def _path(path: Sequence[Node], arrows: Sequence[str]) -> str:
    if len(path) == 1:
        return f"{path[0]} is in both"
    return " ".join([str(path[0]), *(f"{arrow} {node}" for arrow, node in zip(arrows, path[1:], strict=True))])
