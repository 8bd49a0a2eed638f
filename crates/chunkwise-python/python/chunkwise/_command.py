"""The command line, as the wheel installs it: `chunkwise …` and `python -m chunkwise …`."""

from __future__ import annotations

import sys

from . import _chunkwise


def main() -> None:
    """Runs the command of this process and exits with its code."""
    sys.exit(_chunkwise.main(sys.argv[1:]))
