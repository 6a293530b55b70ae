"""Equations as text: plain, Unicode and LaTeX."""
