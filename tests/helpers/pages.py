"""Templates of which pages are made, and the data that a page holds."""

from __future__ import annotations

import base64
import json
import re
import zlib

from unroll import Template, ops, t

HOSTILE = ('</script><b id="x">', "javascript:alert(1)", "it's \"\\\n\x00", "&amp;<!--")


def jordan() -> Template:
    g = Template("jordan")
    x, y = g.input("x", 3), g.input("y", 2)
    U, W, V = g.param("U", (4, 3)), g.param("W", (4, 2)), g.param("V", (2, 4))
    h, o = g.variable("h", 4), g.variable("o", 2)
    o[0] = 0
    h[t] = ops.tanh(W @ o[t - 1] + U @ x[t])
    o[t] = V @ h[t]
    g.loss = ops.sum(ops.mse(o[t], y[t]), over=t)
    return g


def hostile() -> Template:
    g = Template(HOSTILE[0])
    x = g.input(HOSTILE[1], 3)
    h = g.variable(HOSTILE[2], 3)
    W = g.param(HOSTILE[3], (3, 3))
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t])
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    return g


def unpacked(page: str) -> dict:
    """The data in a page."""
    found = re.search(r'<template id="data">([^<]*)</template>', page)
    assert found
    return json.loads(zlib.decompress(base64.b64decode(found[1])))
