"""The list of packages; everything else about the distribution stands in pyproject.toml.

`ops/` and `backends/` are installed as `unroll.ops` and `unroll.backends`. Finding them here, and not naming them one
by one, means that a new sub-package cannot be forgotten.

An editable install is a path to `.editable/`, where type checkers and editors find the package too: from there a link
leads to `unroll/`, and from that two to `ops/` and `backends/`. Where git makes no links (on Windows) it is what
setuptools makes of such folders, and Python alone understands that.
"""

import sys
from pathlib import Path

from setuptools import find_packages, setup

inside = find_packages(include=["ops", "ops.*", "backends", "backends.*"])
own = find_packages(include=["unroll", "unroll.*"], exclude=["unroll.ops", "unroll.ops.*", "unroll.backends*"])
linked = "editable_wheel" in sys.argv and Path(".editable/unroll/ops").is_dir()
setup(
    packages=own + [f"unroll.{name}" for name in inside],
    package_dir={"": ".editable"} if linked else {"unroll.ops": "ops", "unroll.backends": "backends"},
)
