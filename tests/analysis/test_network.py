"""The graph of a model: what the book says of it, and what its sequences' probabilities say of it."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from unroll import T, Template, UnrollError, axis, ops, t
from unroll.analysis import Model
from unroll.errors import LengthError, TemplateError, UndefinedError

from .models import (
    K,
    conditional,
    dependence,
    hidden_markov,
    independent_steps,
    markov,
    model,
    params_of,
    rnn,
    sequences,
)

s, S = axis("s")


def y(*steps):
    return [("y", k) for k in steps]


def named(nodes):
    return [str(n) for n in nodes]


def edges(graph):
    return {(str(a), str(b)) for a, b in graph.edges}


# -- the book's facts -------------------------------------------------------------------------------------------------


def test_the_state_carries_the_past_past_the_last_output():
    bayes = rnn().unfold(4)
    answer = bayes.independent(("y", 1), ("y", 3), given=("y", 2))
    assert not answer
    assert named(answer.path) == ["y[1]", "h[2]", "h[3]", "o[3]", "y[3]"]
    assert str(answer) == "y[1] and y[3] are dependent given y[2]: y[1] -> h[2] -> h[3] -> o[3] -> y[3]"
    assert repr(answer) == str(answer)


def test_in_a_markov_chain_the_last_output_is_all():
    bayes = markov().unfold(4)
    assert bayes.independent(("y", 1), ("y", 3), given=("y", 2))
    assert not bayes.independent(("y", 1), ("y", 3))
    assert not markov(order=2).unfold(4).independent(("y", 1), ("y", 3), given=("y", 2))
    assert markov(order=2).unfold(4).independent(("y", 1), ("y", 4), given=y(2, 3))


@pytest.mark.parametrize("make", [rnn, hidden_markov], ids=["function", "random"])
def test_given_the_state_past_and_future_are_apart(make):
    bayes = make().unfold(5)
    state = "h" if make is rnn else "z"
    assert bayes.independent(y(1, 2), y(3, 4, 5), given=(state, 3))
    assert not bayes.independent(y(1, 2), y(3, 4, 5), given=(state, 5))


def test_a_state_that_is_a_function_is_known_with_what_it_reads_and_a_random_one_is_not():
    function, random = rnn().unfold(4), hidden_markov().unfold(4)
    answer = function.independent(("h", 3), ("y", 4), given=y(1, 2))
    assert str(answer) == "h[3] and y[4] are independent given y[1], y[2]: h[3] is determined by what is given"
    answer = random.independent(("z", 3), ("y", 4), given=y(1, 2))
    assert str(answer) == "z[3] and y[4] are dependent given y[1], y[2]: z[3] -> a[4] -> z[4] -> b[4] -> y[4]"
    assert not function.independent(("h", 3), ("y", 4), given=("y", 1))


def test_an_effect_that_is_known_joins_its_causes():
    g = Template("collider")
    u, v, m = g.input("u"), g.input("v"), g.variable("m")
    g.input("w")
    m[t] = u[t] * v[t]
    bayes = Model(g, {"u": ("normal", 0, 1), "v": ("normal", 0, 1), "w": ("normal", "m", 1)}).unfold(1)
    assert bayes.independent(("u", 1), ("v", 1))
    answer = bayes.independent(("u", 1), ("v", 1), given=("w", 1))
    assert str(answer) == "u[1] and v[1] are dependent given w[1]: u[1] -> m[1] <- v[1]"
    assert not bayes.independent(("u", 1), ("v", 1), given=("m", 1))


def test_given_the_inputs_outputs_that_are_not_fed_back_are_apart():
    apart, joined = conditional(feedback=False).unfold(4), conditional().unfold(4)
    answer = apart.independent(("y", 1), ("y", 4))
    assert str(answer) == "y[1] and y[4] are independent given the inputs x: every path between them is blocked"
    assert not joined.independent(("y", 1), ("y", 4))
    assert not joined.independent(("y", 1), ("y", 4), given=y(2, 3))


def test_a_later_input_tells_nothing_about_an_output_and_an_earlier_one_does():
    bayes = conditional().unfold(4)
    assert bayes.independent(("x", 3), y(1, 2))
    assert not bayes.independent(("x", 3), ("y", 3))
    assert not bayes.independent(("x", 1), ("y", 3), given=y(1, 2))
    assert bayes.independent(("x", 1), ("y", 3), given=[("h", 2)])
    with pytest.raises(TemplateError, match=r"x\[1\] and x\[2\] are inputs without a distribution.*Model\(g"):
        bayes.independent(("x", 1), ("x", 2))
    assert bayes.independent(("x", 1), ("x", 2), given=("x", 2))


def test_an_input_with_a_distribution_is_a_variable_like_others():
    g = Template("noisy")
    x, y, m, a = g.input("x"), g.input("y"), g.variable("m"), g.param("a")
    y[0] = 0
    m[t] = a * y[t - 1] + x[t]
    laws = {"y": ("normal", "m", 1.0)}
    given, drawn = Model(g, laws).unfold(3), Model(g, {"x": ("normal", 0.0, 1.0), **laws}).unfold(3)
    assert not given.independent(("x", 1), ("y", 3))
    assert drawn.independent(("x", 1), ("x", 2))
    assert not drawn.independent(("x", 1), ("x", 2), given=("y", 2))
    assert str(given) == "P(y[1] | x[1]) P(y[2] | x[2], y[1]) P(y[3] | x[3], y[2])"


def test_both_directions_of_the_input():
    g = Template("bidirectional")
    x, r, W, V = g.input("x", 2), g.variable("r", 2), g.param("W", (2, 2)), g.param("V", (K, 2))
    g.input("y", dtype="int")
    o = g.variable("o")
    r[T + 1] = 0
    r[t] = ops.tanh(W @ r[t + 1] + x[t])
    o[t] = V @ r[t]
    bayes = model(g).unfold(3)
    assert bayes.independent(("x", 1), ("y", 2))
    assert not bayes.independent(("x", 3), ("y", 2))


def test_two_axes_and_a_context():
    g = Template("translation")
    x, y, z = g.input("x", 2, over=s), g.input("y", dtype="int"), g.input("z", 2, over=None)
    e, d, o, E, V = g.variable("e", 2), g.variable("d", 2), g.variable("o"), g.param("E", (K, 2)), g.param("V", (K, 2))
    e[0] = z
    e[s] = ops.tanh(e[s - 1] + x[s])
    y[0] = 0
    d[0] = e[S]
    d[t] = ops.tanh(d[t - 1] + E[y[t - 1]])
    o[t] = V @ d[t]
    bayes = Model(g, {"y": ("categorical", "o"), "z": ("normal", 0, 1)}).unfold(T=3, S=2)
    assert not bayes.independent(("x", 1), ("y", 2))
    assert not bayes.independent("z", ("y", 2))
    assert bayes.independent("z", ("y", 2), given=("e", 2))
    assert str(bayes).startswith("P(z) P(y[1] | x[1], x[2], z) P(y[2] | x[1], x[2], z, y[1]) P(y[3] |")


# -- marginal graphs and counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_without_the_state_the_outputs_are_a_complete_graph(steps):
    graph = rnn().unfold(steps).marginalise("h", "o")
    assert isinstance(graph, nx.DiGraph)
    assert named(graph) == [f"y[{k}]" for k in range(1, steps + 1)]
    assert edges(graph) == {(f"y[{i}]", f"y[{j}]") for i, j in combinations(range(1, steps + 1), 2)}


def test_the_graph_of_a_markov_chain_is_a_chain():
    assert edges(markov().unfold(4).marginalise()) == {("y[1]", "y[2]"), ("y[2]", "y[3]"), ("y[3]", "y[4]")}
    second = {(f"y[{i}]", f"y[{j}]") for i, j in combinations(range(1, 5), 2) if j - i <= 2}
    assert edges(markov(order=2).unfold(4).marginalise()) == second
    assert edges(independent_steps().unfold(4).marginalise()) == set()


def test_a_random_state_marginalised_leaves_a_complete_graph_too():
    graph = hidden_markov().unfold(4).marginalise("z", "a", "b")
    assert edges(graph) == {(f"y[{i}]", f"y[{j}]") for i, j in combinations(range(1, 5), 2)}


def test_one_name_at_a_time():
    bayes = rnn().unfold(3)
    assert edges(bayes.to_networkx()) == {
        ("y[1]", "h[2]"), ("y[2]", "h[3]"), ("h[2]", "h[3]"), ("h[2]", "o[2]"), ("h[3]", "o[3]"),
        ("o[2]", "y[2]"), ("o[3]", "y[3]"),
    }  # fmt: skip
    assert edges(bayes.marginalise("o")) == {
        ("y[1]", "h[2]"), ("y[2]", "h[3]"), ("h[2]", "h[3]"), ("h[2]", "y[2]"), ("h[3]", "y[3]"),
    }  # fmt: skip
    assert edges(bayes.marginalise("h")) == {
        ("y[1]", "o[2]"), ("y[1]", "o[3]"), ("y[2]", "o[3]"), ("o[2]", "y[2]"), ("o[3]", "y[3]"),
    }  # fmt: skip


def test_the_joint_probability_as_a_product():
    assert str(rnn().unfold(3)) == "P(y[1]) P(y[2] | y[1]) P(y[3] | y[1], y[2])"
    assert str(markov().unfold(3)) == "P(y[1]) P(y[2] | y[1]) P(y[3] | y[2])"
    assert str(rnn().unfold(0)) == "1"
    assert str(markov().unfold(100)).endswith("P(y[60] | y[59]) ... 40 more")
    assert repr(rnn().unfold(4)) == "<BayesianNetwork rnn: 4 random, 6 deterministic, 0 given, T = 4>"


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
@pytest.mark.parametrize("k", [2, 3, 7])
def test_counts_of_parameters(steps, k):
    full, chain = rnn(k).unfold(steps), markov(k=k).unfold(steps)
    assert full.parameters("joint") == chain.parameters("joint") == k**steps - 1
    assert full.parameters("conditional") == k**steps - 1  # a table for each step of a complete graph saves nothing
    assert chain.parameters("conditional") == (k - 1) + (steps - 1) * k * (k - 1)
    assert full.parameters("recurrent") == 4 * 4 + 2 * 4 * k
    assert chain.parameters("recurrent") == 2 * 4 * k
    assert independent_steps(k).unfold(steps).parameters("conditional") == steps * (k - 1)


def test_counts_are_exact_and_few_where_there_are_no_steps():
    assert markov(k=2).unfold(200).parameters("joint") == 2**200 - 1
    assert isinstance(rnn().unfold(3).parameters("recurrent"), int)
    assert (rnn().unfold(0).parameters("joint"), rnn().unfold(0).parameters("conditional")) == (0, 0)


def test_elements_of_a_vector_count_as_one_table():
    g = Template("bits")
    z, p, W = g.input("z", 2, dtype="bool"), g.variable("p"), g.param("W", (2, 2))
    z[0] = False
    p[t] = ops.sigmoid(W @ ops.cast(z[t - 1]))
    bayes = Model(g, {"z": ("bernoulli", "p")}).unfold(3)
    assert bayes.parameters("joint") == 4**3 - 1
    assert bayes.parameters("conditional") == 3 + 2 * 4 * 3
    assert bayes.parameters("recurrent") == 4


# -- separators -------------------------------------------------------------------------------------------------------


def test_separators():
    bayes = rnn().unfold(5)
    assert named(bayes.separator(("y", 1), ("y", 4))) == ["h[2]"]
    assert bayes.separator(("y", 1), ("y", 4), among="y") is None
    assert named(bayes.separator(("h", 2), ("y", 4), among="y")) == ["y[1]"]  # it determines h[2]
    assert named(markov().unfold(5).separator(("y", 1), ("y", 4), among="y")) == ["y[2]"]
    assert independent_steps().unfold(4).separator(("y", 1), ("y", 4)) == ()


@pytest.mark.parametrize("make", [rnn, markov, hidden_markov, conditional])
def test_a_separator_separates_and_none_of_it_can_be_left_out(make):
    bayes = make().unfold(4)
    found = 0
    for a, b in combinations([n for n in bayes.parents if n not in bayes.inputs], 2):
        separator = bayes.separator(a, b)
        if separator is None:
            assert bayes.to_networkx().has_edge(a, b)
            continue
        found += 1
        assert bayes.independent(a, b, given=list(separator))
        for node in separator:
            assert not bayes.independent(a, b, given=[n for n in separator if n != node])
    assert found > 10


# -- against the probabilities of all sequences -----------------------------------------------------------------------

LENGTH = 4
MODELS = {"rnn": rnn, "markov": markov, "markov2": lambda: markov(order=2), "steps": independent_steps}


def joint(some, rng):
    """The probability of every sequence, an axis a step."""
    net = some.compile("numpy", dtype="float64")
    listed = sequences(K, LENGTH)
    return np.exp(net.log_prob(params_of(some, rng), y=listed)).reshape((K,) * LENGTH)


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_tells_what_the_probabilities_show(name, rng):
    some = MODELS[name]()
    table, bayes = joint(some, rng), some.unfold(LENGTH)
    for count in range(LENGTH - 1):
        for known in combinations(range(LENGTH), count):
            for a, b in combinations(sorted(set(range(LENGTH)) - set(known)), 2):
                apart = dependence(table, a, b, known)
                answer = bayes.independent(("y", a + 1), ("y", b + 1), given=y(*(k + 1 for k in known)))
                assert apart < 1e-14 if answer else apart > 1e-8, str(answer)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda b: b.independent(("y", 9), ("y", 1)), ["y[9]", "T = 3", "y[0], y[1]"]),
        (lambda b: b.independent(("y", 1), "y"), ["no node y at", "y[0]"]),
        (lambda b: b.independent(("y", 1), ("y", 2), given=("q", 1)), ["'q'", "'rnn'", "y, W, E, V, h, o"]),
        (lambda b: b.independent(("y", 1), ("y", 1.5)), ["y[1.5]", "number"]),
        (lambda b: b.independent(("y", 1), 3), ["3", "y, W, E, V, h, o"]),
        (lambda b: b.marginalise("q"), ["'q'"]),
        (lambda b: b.separator(("y", 1), ("y", 2), among=["y", "q"]), ["'q'"]),
    ],
    ids=lambda p: " ".join(p)[:12] if isinstance(p, list) else "",
)
def test_what_is_not_there(ask, words):
    with pytest.raises(UndefinedError) as caught:
        ask(rnn().unfold(3))
    text = str(caught.value)
    assert [w for w in words if w not in text] == []
    assert "test_network.py:" in text
    assert "noise" not in text


def test_fixed_and_given_variables_are_independent_of_all():
    bayes = rnn().unfold(3)
    assert str(bayes.independent("W", ("y", 3))) == "W and y[3] are independent: W is fixed"
    assert str(bayes.independent(("h", 1), ("y", 3))) == "h[1] and y[3] are independent: h[1] is fixed"
    assert str(bayes.independent(("y", 1), ("y", 3), given=("y", 1))).endswith(": y[1] is given")
    assert str(bayes.independent(("y", 1), y(1, 2))) == "y[1] and {y[1], y[2]} are dependent: y[1] is in both"


def test_counts_that_no_table_has():
    bayes = conditional().unfold(3)
    with pytest.raises(TemplateError, match="x is an input without a distribution"):
        bayes.parameters("joint")
    with pytest.raises(TemplateError, match="x is an input without a distribution"):
        bayes.marginalise("x")
    g = Template("walk")
    z, m = g.input("z"), g.variable("m")
    z[0] = 0
    m[t] = z[t - 1] * 1.0
    with pytest.raises(TemplateError, match=r"z ~ normal\(m, 1\) is continuous"):
        Model(g, {"z": ("normal", "m", 1)}).unfold(3).parameters("conditional")
    with pytest.raises(ValueError, match=r"'table'.*joint.*conditional.*recurrent"):
        bayes.parameters("table")


def test_lengths_are_checked():
    with pytest.raises(LengthError, match="T is missing"):
        rnn().unfold()
    with pytest.raises(LengthError, match="leave one out"):
        rnn().unfold(3, T=3)
    with pytest.raises(UnrollError, match="T = -1"):
        rnn().unfold(-1)
