"""What ``sparsedsl compile`` writes."""

from __future__ import annotations

from pathlib import Path

from sparsedsl.aot import module_text, native
from sparsedsl.errors import NotationError, PlanError
from sparsedsl.lowered import Lowered


def write_files(lowered: Lowered, output: Path) -> tuple[list[str], str]:
    """Write ``output.py``, ``output.h`` and ``output.o``.

    Returns
    -------
    The paths written, and why the last two are missing, if they are.
    """
    if not output.name.isidentifier():
        raise NotationError(
            f"expected an output that is a name, such as kernel, found '{output.name}'",
            hint="endings are added: .py, .h and .o",
        )
    made = {".py": module_text(lowered).encode()}
    missing = ""
    try:
        files = native(lowered, output.name)
        made |= {".h": files.header.encode(), ".o": files.code}
    except PlanError as error:
        missing = error.message
    written: list[str] = []
    for ending, content in made.items():
        path = output.with_name(output.name + ending)
        path.write_bytes(content)
        written.append(str(path))
    return written, missing
