"""Scripts that run in a Python of their own, and say what they found as JSON."""

import json
import os
import subprocess
import sys
import textwrap

import chunkwise as cw
import numpy as np


def start(script, *words, env=None):
    """A Python of its own that runs a script."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})},
    )  # fmt: skip


def told(script, *words, env=None):
    """What a script prints, as JSON."""
    process = start(script, *words, env=env)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"exit {process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
    return json.loads(out.splitlines()[-1])


def small_cube(path):
    """Makes 12 x 200 x 200 cells in 192 chunks; the path and the values."""
    values = np.random.default_rng(1).integers(0, 9000, (12, 200, 200)).astype("int16")
    cube = cw.create(
        path, {"time": 12, "y": 200, "x": 200}, var="dn", dtype="int16", missing=-1,
        chunks={"time": 1, "y": 50, "x": 50},
    )  # fmt: skip
    cube["dn"][...] = values
    return path, values
