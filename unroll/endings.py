"""Three ways in which a network ends the sequences that it makes."""

from .training.stopping import Length, bernoulli_stop, end_symbol, predicted_length

__all__ = ["Length", "bernoulli_stop", "end_symbol", "predicted_length"]
