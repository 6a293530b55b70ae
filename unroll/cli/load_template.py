"""What a command works on, ``model.py:elman`` or ``package.module:elman``: found, called, and refused in one line."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UnrollError
from ..template import Template

KIND = "FILE.py:FUNCTION or package.module:FUNCTION"


class TargetError(UnrollError):
    """Something about the file, the function or its arguments that ends a command: one or two lines."""


def load(target: str, arguments: Iterable[str] = ()) -> Template:
    """The template that a target names, or that the function it names returns.

    arguments  ``name=value`` for the function; a value that is no Python literal is text

    Raises TargetError.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name or name.endswith((".py", "\\")) or "/" in name:
        raise TargetError(f"{target!r} names no function: write {KIND}")
    module = _file(Path(where)) if where.endswith(".py") else _module(where)
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(_missing(where, name, module))
        found = getattr(found, part)
    if isinstance(found, Template):
        if given := list(arguments):
            raise TargetError(f"{target} is a template already and takes no arguments, got {given[0]!r}")
        return found
    if not callable(found):
        raise TargetError(f"{target} is a {type(found).__name__}, neither a Template nor a function that returns one")
    options = dict(map(_argument, arguments))
    _fits(target, found, options)
    made = _guarded(lambda: found(**options), target)
    if not isinstance(made, Template):
        raise TargetError(f"{target} returned a {type(made).__name__}, not a Template")
    return made


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetError(f"cannot read {path}: {'it is a folder' if path.is_dir() else 'no such file'}")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"cannot read {path}: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)  # as `python FILE.py` does, so that it finds the files beside it
    sys.path.insert(0, folder)
    known = sys.modules.get(name)
    sys.modules[name] = module
    try:
        _guarded(lambda: spec.loader.exec_module(module), str(path))  # type: ignore[union-attr]
    finally:
        sys.path.remove(folder)
        if known is not None:
            sys.modules[name] = known
    return module


def _module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{name!r} is neither a Python file nor the name of a module: write {KIND}")
    sys.path.insert(0, "")  # as `python -m` does
    try:
        module: ModuleType = _guarded(lambda: importlib.import_module(name), name)
        return module
    except ModuleNotFoundError as error:
        raise TargetError(f"there is no module {error.name!r}; a file is named with its suffix, {KIND}") from None
    finally:
        sys.path.remove("")


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """What a call into the user's code returns; an exception in one line, and where it was raised in another."""
    try:
        return call()
    except UnrollError:
        raise
    except ModuleNotFoundError as error:
        if error.name == what or what.startswith(f"{error.name}."):
            raise
        raise TargetError(_told(what, error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        raise TargetError(_told(what, error)) from None


def _told(what: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{what}: {error.msg}\n    {error.filename}:{error.lineno}: {(error.text or '').strip()}"
    said = str(error).partition("\n")[0]
    head = f"{what} raised {type(error).__name__}{f': {said}' if said else ''}"
    own = str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((own, "<frozen"))]
    return f"{head}\n    {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else head


def _missing(where: str, name: str, module: ModuleType) -> str:
    own = [n for n, value in vars(module).items() if _usable(n, value, module)]
    near = get_close_matches(name, own, 1, 0.5)
    if near:
        return f"{where} has no function {name!r}. Did you mean {where}:{near[0]}?"
    return f"{where} has no function {name!r}; it has {', '.join(own) or 'none'}"


def _usable(name: str, value: Any, module: ModuleType) -> bool:
    own = inspect.isfunction(value) and value.__module__ == module.__name__
    return not name.startswith("_") and (own or isinstance(value, Template))


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise TargetError(f"{text!r} is no argument for the function: write name=value, as in units=64")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value


def _fits(target: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        shown = signature.replace(parameters=bare, return_annotation=signature.empty)
        raise TargetError(f"{target}{shown}: {error}; arguments follow the target as name=value") from None
