"""How far a gradient flows through time: norms of cotangents, and the Jacobians between steps."""

from .analysis.gradient_flow import Flow, flow, gradient_norms

__all__ = ["Flow", "flow", "gradient_norms"]
