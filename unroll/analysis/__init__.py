"""The unfolded graph as a directed graphical model (book section 10.2.3): independences, counts, likelihood, samples.

`Model` says which inputs of a template are random variables and how each is distributed; everything else is a
deterministic function of them, of the params and of the other inputs. `Model.unfold` gives the Bayesian network for
given lengths, of which questions are asked; `Model.compile` gives a net with `ModelNet.log_prob` and
`ModelNet.sample`.

>>> from unroll import Template, ops, t
>>> from unroll.analysis import Model
>>> g = Template("rnn")
>>> y = g.input("y", dtype="int")
>>> W, E, V = g.param("W", (4, 4)), g.param("E", (3, 4)), g.param("V", (3, 4))
>>> h, o = g.variable("h", 4), g.variable("o")
>>> y[0] = 0
>>> h[0] = 0
>>> h[t] = ops.tanh(W @ h[t-1] + E[y[t-1]])
>>> o[t] = V @ h[t]
>>> model = Model(g, {"y": ("categorical", "o")})
>>> bayes = model.unfold(4)
>>> bayes.independent(("y", 1), ("y", 3), given=("y", 2))
y[1] and y[3] are dependent given y[2]: y[1] -> h[2] -> h[3] -> o[3] -> y[3]
>>> bayes.independent(("y", 1), ("y", 3), given=("h", 2))
y[1] and y[3] are independent given h[2]: every path between them is blocked
>>> print(bayes)
P(y[1]) P(y[2] | y[1]) P(y[3] | y[1], y[2]) P(y[4] | y[1], y[2], y[3])
>>> bayes.parameters("joint"), bayes.parameters("recurrent")
(80, 40)
"""

from .bayesian_network import BayesianNetwork, Independence
from .model_net import ModelNet
from .probabilistic_model import Model
from .spec import Distribution

__all__ = ["BayesianNetwork", "Distribution", "Independence", "Model", "ModelNet"]
