"""The number of threads: as the environment says, as was set, and as threadpoolctl asks; it changes no bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import unroll

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="one thread computes elsewhere")

HEAD = """
import threading, time
from pathlib import Path
import numpy as np
import unroll
from unroll import Template, cells, ops, t

g = Template("lstm")
x = g.input("x", 128)
h, _ = cells.layer(g, cells.lstm, x[t], 128)
g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
net = g.compile("native")
params, x = net.init(seed=0), np.random.default_rng(0).normal(size=(60, 64, 128))
want = net.value_and_grad(params, x=x)

def busy():
    "Nanoseconds that each helper has computed."
    helpers = [thread.native_id for thread in threading.enumerate() if thread.name == "unroll helper"]
    return [int(Path(f"/proc/self/task/{n}/schedstat").read_text().split()[0]) for n in helpers]

def come(calls=5):
    "How many helpers take part in calls."
    net.loss(params, x=x)
    time.sleep(0.1)  # those who came before fall asleep
    before = busy()
    for _ in range(calls):
        value, grads = net.value_and_grad(params, x=x)
        assert value == want[0] and all((grads[n] == want[1][n]).all() for n in grads)
    return sum(now > then for now, then in zip(busy(), before))
"""

SET = """
assert unroll.get_num_threads() == 3
assert come() > 0
unroll.set_num_threads(1)
assert unroll.get_num_threads() == 1 and come() == 0
unroll.set_num_threads(2)
assert unroll.get_num_threads() == 2 and come(1) <= 1
unroll.set_num_threads(np.int64(5))
assert unroll.get_num_threads() == 5 and len(busy()) == 4
again = g.compile("native").value_and_grad(params, x=x)
np.testing.assert_allclose(again[0], want[0], rtol=1e-5)
unroll.set_num_threads(1000)
assert unroll.get_num_threads() == 8
"""

POOLS = """
threadpoolctl = __import__("threadpoolctl")
mine = lambda: [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "unroll"]
assert mine() == [3]
with threadpoolctl.threadpool_limits(1):
    assert unroll.get_num_threads() == 1 and mine() == [1] and come() == 0
with threadpoolctl.threadpool_limits({"unroll": 2}):
    assert unroll.get_num_threads() == 2
assert unroll.get_num_threads() == 3
"""


def succeeds(script: str) -> None:
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "UNROLL_NUM_THREADS": "3", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script], capture_output=True, text=True, timeout=120, check=False, env=env
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_set_holds_from_the_next_call_on() -> None:
    succeeds(SET)


def test_threadpoolctl_knows_the_pool() -> None:
    pytest.importorskip("threadpoolctl")
    succeeds(POOLS)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, True, np.ones(2)])
def test_what_is_no_number_of_threads(wrong: object) -> None:
    with pytest.raises(ValueError, match="a number of threads is an integer from 1 up; got"):
        unroll.set_num_threads(wrong)  # type: ignore[arg-type]
