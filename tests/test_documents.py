"""What is written for readers holds: the README runs, docstring examples run, figures are those of the code."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
from pathlib import Path

import pytest

import unroll

ROOT = Path(__file__).resolve().parent.parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules() -> list[str]:
    """Every module of the package, by the name under which it is imported."""
    found = []
    for layer in ("ops", "unroll", "backends"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts if layer == "unroll" else ("unroll", *parts)).removesuffix(".__init__"))
    return [name for name in found if not name.endswith("__main__")]


def test_readme_runs() -> None:
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried >= 20
    assert failed == 0


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=FLAGS).failed == 0


def own_docstring(thing: object) -> str:
    """The docstring of a thing itself, where an instance would show that of its class."""
    return "" if thing.__doc__ == type(thing).__doc__ else (thing.__doc__ or "").strip()


@pytest.mark.parametrize("name", unroll.ops.__all__)
def test_every_public_operation_says_what_it_is(name: str) -> None:
    thing = getattr(unroll.ops, name)
    if name not in ("OPS", "elementwise"):  # a table and a rule, which their modules describe
        assert own_docstring(thing), f"ops.{name} has no docstring"


def test_operations_show_their_operands() -> None:
    shown = {
        name: str(inspect.signature(getattr(unroll.ops, name))) for name in ("tanh", "maximum", "where", "softmax")
    }
    assert shown["tanh"] == "(x, /)"
    assert shown["maximum"] == "(a, b, /)"
    assert shown["where"] == "(condition, a, b, /)"
    assert shown["softmax"].startswith("(x: 'Symbolic', axis: 'Axis' = -1, *, over:")


def test_an_operation_without_a_docstring_is_noticed() -> None:
    bare = unroll.ops.Op("bare", unroll.ops.elementwise, (None,))
    assert bare.__doc__
    assert not own_docstring(bare)


@pytest.mark.parametrize(
    "name", sorted(n for n in unroll.ops.__all__ if isinstance(getattr(unroll.ops, n), unroll.ops.Op))
)
def test_examples_of_operations_run(name: str) -> None:
    text = own_docstring(getattr(unroll.ops, name))
    test = doctest.DocTestParser().get_doctest(text, {}, f"ops.{name}", None, None)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test).failed == 0


@pytest.mark.parametrize("figure", ["folded.svg", "unfolded.svg"])
def test_readme_figures_are_those_of_the_code(figure: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec
    assert spec.loader
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    g = figures.readme_template()
    made = (g if figure == "folded.svg" else g.unfold(4)).draw(tmp_path / figure)
    assert made.dot
    drawn = (tmp_path / figure).read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "figures" / figure).read_text(encoding="utf-8")
    assert drawn == kept, "run `python docs/figures.py`"
