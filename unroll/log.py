"""The logger "unroll": what was compiled, for what, how long it took, what runs elsewhere than asked and why.

``logging.basicConfig(level="INFO")`` shows it; ``logging.getLogger("unroll").setLevel("DEBUG")`` tells memory too.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger("unroll")
LOG.addHandler(logging.NullHandler())
