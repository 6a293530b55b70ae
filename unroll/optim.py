"""Adam, and clipping of gradients by their global norm."""

from .training.optim import Adam, clip, global_norm

__all__ = ["Adam", "clip", "global_norm"]
