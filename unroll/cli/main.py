"""The command line: `unroll draw`, `explore`, `equations`, `explain`, `demo` and `info`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from .. import __version__
from ..errors import DifferentiationError, DTypeError, ShapeError, TemplateError, UnrollError
from . import commands, demo, info
from .load_template import TargetError

EXAMPLES = """\
examples:
  unroll demo                                     train a network on a text, and draw it
  unroll draw model.py:elman -T 5 -o elman.svg    draw what a function of yours returns, over five steps
  unroll explore model.py:elman                   make a page to explore it with
  unroll equations model.py:elman --backward      print back-propagation through time
`unroll COMMAND --help` has more."""

OWN = ("<frozen", sys.argv[0] or "<frozen")
"""Where a line of code is not the user's, but of the program itself."""


def parser() -> argparse.ArgumentParser:
    """The arguments of every sub-command."""
    top = argparse.ArgumentParser(
        prog="unroll",
        description="Recurrent networks written as equations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"unroll {__version__}")
    listed = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_commands(listed)
    training = listed.add_parser("demo", help="train an Elman network on a text and draw it")
    demo.add_arguments(training)
    training.set_defaults(run=demo.main)
    report = listed.add_parser("info", help="versions, backends, devices, threads and drawing engines")
    report.set_defaults(run=info.main)
    return top


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; those for the user's function may also stand after options."""
    top = parser()
    args, rest = top.parse_known_args(arguments)
    stray = [text for text in rest if text.startswith("-") or "=" not in text or "arguments" not in args]
    if stray:
        top.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        args.arguments += rest
    return args


OF_TEMPLATES = TemplateError, TargetError, ShapeError, DTypeError, DifferentiationError
"""What is wrong with the user's own file, whose lines are shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; a plain failure is a line or two, or what is wrong with a template, and exit status 2."""
    try:
        try:
            return _run(_parsed(arguments))
        finally:  # after --help too, which exits: what cannot be written is met here, not when Python ends
            if sys.stdout is not None:  # it is closed where a shell says >&-
                sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has enough, as in `unroll equations ... | head`
        _silence()
        return 0
    except OSError as error:
        _silence()
        print(f"unroll: {error.filename or 'the standard output'}: {error.strerror or error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    """Run a sub-command; its exit status."""
    try:
        status: int = args.run(args)
    except UnrollError as error:
        whole = "target" in args and isinstance(error, OF_TEMPLATES)
        first, *more = str(error).splitlines()
        told = [first, *(line for line in more if whole and not line.rpartition("  ")[2].startswith(OWN))]
        print(f"unroll: {chr(10).join(told)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("unroll: interrupted", file=sys.stderr)
        return 130
    except (MemoryError, OverflowError) as error:
        print(f"unroll: that does not fit into memory ({type(error).__name__}): give smaller numbers", file=sys.stderr)
        return 2
    return status


def _silence() -> None:
    """Let what is still to be written go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
