"""``python -m sparsedsl``: the command line."""

from sparsedsl.cli import main

if __name__ == "__main__":
    main()
