"""`python -m chunkwise …`: the command line."""

from ._command import main

if __name__ == "__main__":
    main()
