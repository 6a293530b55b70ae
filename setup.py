"""The list of packages; everything else about the distribution stands in pyproject.toml.

`ops/` and `backends/` are installed as `unroll.ops` and `unroll.backends`. Finding them here, and not naming them
one by one, means that a new sub-package cannot be forgotten.
"""

from setuptools import find_packages, setup

inside = find_packages(include=["ops", "ops.*", "backends", "backends.*"])
setup(packages=find_packages(include=["unroll", "unroll.*"]) + [f"unroll.{name}" for name in inside])
