"""The errors an operation can raise about its own operands; names and places are added above."""


class UnrollError(Exception):
    """Base of every error this package raises on purpose; its text can be written down, whatever a name in it holds."""

    def __str__(self) -> str:
        return super().__str__().encode(errors="backslashreplace").decode()


class ShapeError(UnrollError, ValueError):
    """Operands whose per-example shapes do not fit an operation."""


class DTypeError(UnrollError, TypeError):
    """Operands whose kinds (float, int, bool) do not fit an operation."""


class DifferentiationError(UnrollError):
    """A derivative was asked for where none is defined."""
