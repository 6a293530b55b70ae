"""How params begin: named initialisers, and what makes one."""

from .runtime.initializers import NAMED, Initializer, constant, normal, uniform

__all__ = ["NAMED", "Initializer", "constant", "normal", "uniform"]
