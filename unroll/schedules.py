"""How the probability of the truth falls in scheduled sampling."""

from .training.sampling_schedules import exponential, inverse_sigmoid, linear

__all__ = ["exponential", "inverse_sigmoid", "linear"]
