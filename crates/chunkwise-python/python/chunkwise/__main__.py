"""`python -m chunkwise …`: the command line."""

from ._command import main

main()
