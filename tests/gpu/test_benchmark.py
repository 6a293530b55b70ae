"""The comparison on a GPU, as far as it goes without one: the least times, the tables, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
CODE = """
import gpu
top = {"copy": 4e12, "float32": 6e13, "node": 1e-6, "barrier": 2e-6, "device": "Stand-in, 132 multiprocessors"}
size = (512, 64, 1024, 1024)
work = 3 * 2 * 512 * 64 * 4 * 1024 * 2048
assert gpu.least("lstm", size, "float32", top) == (work / 6e13, "products")
assert gpu.least("lstm", size, "float16", top) is None
assert gpu.least("gru", (1000, 1, 8, 8), "float32", top) == (2000e-6, "steps")
assert gpu.least("gru", size, "float32", {**top, "float32": 1e20, "node": 1e-9})[1] == "memory"
ours, peer, absent = ("cupy", "float32"), ("torch", "float32"), ("jax", "float32")
found = {
    ours: {"time": 0.04, "host": 9e-5, "error": 3e-6, "same": 99},
    peer: {"time": 0.05, "host": 8e-5, "error": 4e-6, "same": 0},
    absent: "jax is not installed",
}
print(gpu.machine(top))
print(gpu.table("lstm", {size: found}, [ours, peer, absent], top))
"""


def test_least_times_and_tables() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("products float32 60.0 TFLOP/s; 1.00 us a node of a graph; 2.00 us a barrier.")
    assert "| unroll, float32 | 40 (0.80), 69% of products |" in lines
    assert "| torch.nn (cuDNN), float32 | 50 (1.00), 55% of products |" in lines
    assert "| unroll, float32 | 90, 3e-06 |" in lines
    assert "* unroll, float32 at (512, 64, 1024, 1024): 99 of 100 runs alike bit for bit." in lines
    assert "* Left out: jax.lax.scan, jitted, float32: jax is not installed." in lines


def test_without_a_device_it_says_so_in_one_line() -> None:
    hidden = (
        "import sys, runpy; sys.modules['cupy'] = None; sys.argv = ['gpu.py']; runpy.run_path('gpu.py', {}, '__main__')"
    )
    done = subprocess.run([sys.executable, "-c", hidden], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("gpu.py measures nothing: backend 'cupy'")
