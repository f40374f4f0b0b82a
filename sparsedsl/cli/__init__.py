"""The command line ``sparsedsl``; ``app`` holds the commands, ``arguments`` reads their text."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the user's mistakes end in one message and exit status 2."""
    from sparsedsl.cli.app import app
    from sparsedsl.errors import SparseDSLError

    try:
        app()
    except SparseDSLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
