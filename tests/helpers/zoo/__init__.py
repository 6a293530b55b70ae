"""The zoo: recurrences of every kind the language has, each a function that returns a small template."""

from . import recurrences, shapes
from .specimens import ZOO, S, arrays_for, lengths_for, params_for, s, zoo

__all__ = ["ZOO", "S", "arrays_for", "lengths_for", "params_for", "recurrences", "s", "shapes", "zoo"]
