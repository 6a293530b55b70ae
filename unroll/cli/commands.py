"""The commands that show a template of the user's: `unroll draw`, `explore`, `equations` and `explain`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RenderError
from ..files import write_atomically
from ..patience import Patience
from ..template import Template
from ..unfold.lengths import used_ends
from .load_template import TargetError, load

TARGET = """\
TARGET is FILE.py:FUNCTION or package.module:FUNCTION. The function returns a Template; arguments follow as KEY=VALUE.
The name of a Template that the file makes will do too. Loading a file runs it.
"""
EXAMPLES = {
    "draw": """\
examples:
  unroll draw model.py:elman -o folded.svg                 the folded graph, a black square on every delay
  unroll draw model.py:elman -T 5 -o unfolded.png          five steps of it
  unroll draw model.py:lstm units=64 --backward -T 3 -o bptt.pdf
  unroll draw model.py:seq2seq -T 4 --length S=6 -o both.svg
  unroll draw model.py:elman -T 5 --forced o=y -o forced.svg
  unroll draw model.py:elman -T 5 --rankdir LR --theme dark --dpi 300 -o dark.png
  unroll draw model.py:elman --format dot                  DOT text on the standard output""",
    "explore": """\
examples:
  unroll explore model.py:elman                            writes elman.html: open it in a browser
  unroll explore model.py:elman -T 12 -o page.html         the slider goes up to twelve steps
  unroll explore model.py:jordan --forced o=y              with a switch for teacher forcing""",
    "equations": """\
examples:
  unroll equations model.py:elman                          as they were written
  unroll equations model.py:elman --unicode --backward     back-propagation through time, in Unicode
  unroll equations model.py:elman --latex -o elman.tex     an align* environment; the document needs amsmath
  unroll equations model.py:elman -T 3                     one line for every instance""",
    "explain": """\
examples:
  unroll explain model.py:lstm                             what left the loops, what stayed and why
  unroll explain model.py:lstm -T 1000 --batch 32          and what a run takes in memory
  unroll explain model.py:lstm --backend numpy --no-grad   the program of a run without gradients""",
}
SUMMARY = {
    "draw": "draw a template, folded or over some steps, as SVG, PNG, PDF or DOT",
    "explore": "make a page to explore a template with: one HTML file",
    "equations": "print a template's equations as text, Unicode or LaTeX",
    "explain": "say what the compiled program of a template does",
}


def add_commands(commands: Any) -> None:
    """Add the four commands to those of `unroll`."""
    run = {"draw": draw, "explore": explore, "equations": equations, "explain": explain}
    made = {}
    for name, summary in SUMMARY.items():
        made[name] = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.\n\n{TARGET}",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made[name].add_argument("target", metavar="TARGET", help="FILE.py:FUNCTION or package.module:FUNCTION")
        made[name].add_argument("arguments", metavar="KEY=VALUE", nargs="*", help="arguments of the function")
        made[name].add_argument("-T", type=_steps, metavar="N", help=STEPS[name])
        made[name].add_argument(
            "--length", type=_pair, action="append", default=[], metavar="S=N", help="the length of another axis"
        )
        made[name].set_defaults(run=run[name], command=name)
    for name, default in (("draw", "-"), ("explore", None), ("equations", "-")):
        told = "FUNCTION.html" if default is None else "-, the standard output"
        made[name].add_argument("-o", "--out", default=default, metavar="FILE", help=f"where to (default: {told})")
    for name in ("draw", "equations"):
        made[name].add_argument("--backward", action="store_true", help="the template's adjoint: its backward pass too")
    for name in ("draw", "explore", "equations"):
        made[name].add_argument(
            "--forced", type=_pair, action="append", default=[], metavar="o=y", help="teacher forcing: y in place of o"
        )
    made["draw"].add_argument("--format", choices=("svg", "dot"), default="svg", help="for the standard output")
    made["draw"].add_argument(
        "--detail", choices=("variables", "equations", "ops"), default="variables", help="default: %(default)s"
    )
    made["draw"].add_argument(
        "--rankdir",
        choices=("BT", "LR"),
        default="BT",
        help="data flow upwards, or to the right (default: %(default)s)",
    )
    made["draw"].add_argument("--theme", choices=("light", "dark"), default="light", help="default: %(default)s")
    made["draw"].add_argument("--transparent", action="store_true", help="no page behind the picture")
    made["draw"].add_argument("--dpi", type=float, metavar="N", help="of a PNG, dots per inch (default: 192)")
    made["explore"].add_argument("--no-backward", action="store_true", help="leave the backward pass out")
    forms = made["equations"].add_mutually_exclusive_group()
    forms.add_argument("--unicode", action="store_true", help="with superscripts, Greek letters and signs")
    forms.add_argument("--latex", action="store_true", help="an align* environment")
    made["explain"].add_argument("--backend", default="auto", help="default: the fastest one installed")
    made["explain"].add_argument("--batch", type=_steps, default=1, metavar="N", help="examples at once (default: 1)")
    made["explain"].add_argument("--no-grad", action="store_true", help="the program of a run, without gradients")


LOOKS = ("detail", "rankdir", "theme", "transparent")
"""The options of `unroll draw` that are those of `Template.draw`."""
DIGITS = 15
"""Of a number of steps or examples."""
STEPS = {
    "draw": "unfold over N steps; without it the picture is folded",
    "explore": "the longest length of the slider",
    "equations": "unfold over N steps: one line for every instance",
    "explain": "the number of steps of a run, for its memory",
}


def _steps(text: str) -> int:
    if not text.isdecimal() or len(text) > DIGITS:
        raise argparse.ArgumentTypeError(f"must be a number of up to {DIGITS} digits, got {_short(text)!r}")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"must be two names with = between, got {text!r}")
    return name, value


def _lengths(args: argparse.Namespace) -> dict[str, Any]:
    """The lengths given; ``-T`` is short for ``--length T=``."""
    lengths: dict[str, Any] = {} if args.T is None else {"T": args.T}
    for end, value in args.length:
        if not value.isdecimal() or len(value) > DIGITS:
            raise TargetError(f"--length {end}={_short(value)}: a length is an integer of up to {DIGITS} digits")
        lengths[end] = int(value)
    return lengths


def _all_given(g: Template, lengths: dict[str, int]) -> None:
    """Raises TargetError where some lengths are given and not all."""
    for end in used_ends(g.system) if lengths else ():
        if end not in lengths:
            raise TargetError(
                f"{g.name!r} has the axis {end} too: give {'-T N' if end == 'T' else f'--length {end}=N'}"
            )


def draw(args: argparse.Namespace) -> int:
    """`unroll draw`."""
    from ..render.drawing import Output  # the other commands are quicker without

    Output(None if args.out == "-" else args.out, None, args.dpi)
    lengths = _lengths(args)
    with Patience("drawing") as patience:
        g = load(args.target, args.arguments)
        forced = dict(args.forced) or None
        if args.backward:
            g, forced = (g.teacher_forced(forced) if forced else g).adjoint(), None
        _all_given(g, lengths)
        patience.say(f"drawing {g.name!r}")
        options = {"forced": forced, **{name: getattr(args, name) for name in LOOKS}}
        drawing = g.unfold(None, **lengths).draw(**options) if lengths else g.draw(**options)
        if args.out == "-":
            _write("-", drawing.dot if args.format == "dot" else drawing.svg())
        else:
            _guarded(args.out, lambda: drawing.save(args.out, dpi=args.dpi))
    return 0


def explore(args: argparse.Namespace) -> int:
    """`unroll explore`."""
    out = args.out or f"{args.target.rpartition(':')[2].rpartition('.')[2]}.html"
    if Path(out).suffix.lower() not in (".html", ".htm"):
        raise RenderError(f"{out}: a page is an .html file")
    lengths = _lengths(args)
    options: dict[str, Any] = {"steps": lengths.pop("T", None), "forced": dict(args.forced) or None}
    if args.no_backward:
        options["backward"] = False
    with Patience("drawing") as patience:
        g = load(args.target, args.arguments)
        told = lambda done, of: patience.say(f"drawing picture {done + 1} of {of}")  # noqa: E731
        _guarded(out, lambda: g.explore(out, progress=told, **options, **lengths))
    print(f"{out}: open it in a browser")
    return 0


def equations(args: argparse.Namespace) -> int:
    """`unroll equations`."""
    lengths = _lengths(args)
    if lengths and (args.unicode or args.latex):
        raise TargetError("-T lists instances as plain text; leave --unicode or --latex out")
    with Patience("reading"):
        g = load(args.target, args.arguments)
        g = g.teacher_forced(dict(args.forced)) if args.forced else g
        g = g.adjoint() if args.backward else g
        _all_given(g, lengths)
        if lengths:
            text = str(g.unfold(None, **lengths))
        elif args.latex or args.unicode:
            text = g.latex() if args.latex else g.pretty()
        else:
            text = str(Template.of(g.system))
    _write(args.out, f"{text}\n")
    return 0


def explain(args: argparse.Namespace) -> int:
    """`unroll explain`."""
    lengths = _lengths(args)
    with Patience("compiling"):
        g = load(args.target, args.arguments)
        _all_given(g, lengths)
        net = g.compile(backend=args.backend)
        names = None
        if g.loss is None or args.no_grad:
            names = list(g.system.outputs) or [n for n, d in g.system.decls.items() if d.kind == "variable"]
        print(net.explain(names, grad=names is None, batch=args.batch, **lengths))
    return 0


def _write(out: str, text: str) -> None:
    if out == "-":
        sys.stdout.write(text)
    else:
        _guarded(out, lambda: write_atomically(out, text))


def _guarded(out: str, write: Callable[[], Any]) -> None:
    try:
        write()
    except OSError as error:
        raise TargetError(f"cannot write {out}: {error.strerror or error}") from None
