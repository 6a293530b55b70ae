"""A mistake as a function: its parameters name what it needs of a template, ``# <-`` marks the line to be blamed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unroll import Template, axis

s, S = axis("s")

INTERNAL = re.compile(
    r"[A-Za-z_~]\.\d|(^|[\s(\[])\.\d+\b|~tangent|~seed|(?<!')\b[a-z]'(?!s\b)|\(\?|"
    r"\b(_builder|Builder|Index|Expr|Decl|Ref|Const|Extent|Equation|Flow|Node|NoneType)\b|__\w+__"
)
"""Hidden names (h.1, .4), renamed axes (t'), and the classes that a user never meets."""

LONGEST = 12
"""Lines of a message."""


def model(**more: Any) -> dict[str, Any]:
    """A template with a name of every kind declared, and nothing defined."""
    g = Template("m")
    return {
        "g": g,
        "x": g.input("x", 3),  # over t
        "y": g.input("y", dtype="int"),  # labels over t
        "z": g.input("z", 4),  # over t, of another size
        "e": g.input("e", 3, over=s),  # over s
        "v": g.input("v", 3, over=None),  # one per example
        "W": g.param("W", (3, 3)),
        "V": g.param("V", (5, 4)),
        "E": g.param("E", (5, 3)),
        "b": g.param("b", 3),
        "h": g.variable("h", 3),
        "r": g.variable("r", 3),
        "k": g.variable("k", (), dtype="int"),
        "o": g.variable("o"),
        "p": g.variable("p"),
        **more,
    }


class Mistakes:
    """A collection of mistakes, each with the error it must raise and the words that the message must hold."""

    def __init__(self) -> None:
        self.cases: list[Any] = []

    def __call__(self, kind: type[BaseException], *words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def enter(function: Callable[..., Any]) -> Callable[..., Any]:
            self.cases.append(pytest.param(function, kind, words, id=function.__name__))
            return function

        return enter

    @property
    def each(self) -> pytest.MarkDecorator:
        """Parametrises a test over them."""
        return pytest.mark.parametrize(("mistake", "kind", "words"), self.cases)


def blamed(function: Callable[..., Any]) -> list[str]:
    """``file:line`` of each marked line of a function."""
    lines, first = inspect.getsourcelines(function)
    name = Path(inspect.getsourcefile(function) or "").name
    return [f"{name}:{first + i}" for i, line in enumerate(lines) if line.rstrip().endswith("# <-")]


def made(function: Callable[..., Any], kind: type[BaseException], names: dict[str, Any]) -> BaseException:
    """The error that a mistake raises."""
    wanted = inspect.signature(function).parameters
    with pytest.raises(kind) as caught:
        function(*(names[n] for n in wanted))
    return caught.value


def explains(error: BaseException, words: tuple[str, ...], places: list[str]) -> None:
    """The message holds the words and the places, no internal name, and nothing trails behind it."""
    text = str(error)
    missing = [w for w in words if w not in text]
    assert not missing, f"{missing} not in:\n{text}"
    unplaced = [p for p in places if not re.search(rf"{re.escape(p)}(?!\d)", text)]
    assert not unplaced, f"{unplaced} not in:\n{text}"
    spoken = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    hidden = INTERNAL.search(spoken)
    assert hidden is None, f"{hidden.group()!r} in:\n{text}"
    assert len(text.splitlines()) <= LONGEST, text
    assert error.__suppress_context__ or error.__context__ is None, f"raised while handling {error.__context__!r}"


def check_mistake(
    mistake: Callable[..., Any], kind: type[BaseException], words: tuple[str, ...], names: dict[str, Any]
) -> None:
    """The mistake is refused with one clear message."""
    explains(made(mistake, kind, names), words, blamed(mistake))
