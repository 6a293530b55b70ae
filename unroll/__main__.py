"""The command line: `unroll demo` and `unroll info`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__, demo, info
from .errors import UnrollError


def parser() -> argparse.ArgumentParser:
    """The arguments of every sub-command."""
    top = argparse.ArgumentParser(prog="unroll", description="Recurrent networks written as equations.")
    top.add_argument("--version", action="version", version=f"unroll {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    training = commands.add_parser("demo", help="train an Elman network on a text and draw it")
    demo.add_arguments(training)
    training.set_defaults(run=demo.main)
    report = commands.add_parser("info", help="versions, backends, devices, threads and drawing engines")
    report.set_defaults(run=info.main)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; a plain failure is one line and exit status 2."""
    args = parser().parse_args(arguments)
    try:
        status: int = args.run(args)
    except UnrollError as error:
        print(f"unroll: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("unroll: interrupted", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    raise SystemExit(main())
