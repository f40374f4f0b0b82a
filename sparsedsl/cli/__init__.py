"""The command line ``sparsedsl``; ``app`` holds the commands, ``arguments`` reads their text."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def main() -> None:
    """Run the command line; the user's mistakes end in one message and exit status 2."""
    from sparsedsl.errors import SparseDSLError

    try:
        from sparsedsl.cli.app import app  # takes a while, in which Ctrl-C may come

        with warnings.catch_warnings():
            warnings.showwarning = _warn
            app()
    except MemoryError:
        print("error: this does not fit into memory", file=sys.stderr)
        print("hint: give smaller extents, or sparse layouts", file=sys.stderr)
        sys.exit(2)
    except SparseDSLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _warn(message: Warning | str, *rest: Any) -> None:
    """Print a warning as one line, without the place in this package that it comes from."""
    del rest
    print(f"warning: {message}", file=sys.stderr)
