"""What ``sparsedsl compile`` writes."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from sparsedsl.aot import module_text, native
from sparsedsl.errors import NotationError, PlanError
from sparsedsl.lowered import Lowered

OF_C = re.compile(
    "auto|bool|break|case|catch|char|class|const|continue|default|delete|do|double|else|enum|"
    "explicit|extern|float|for|friend|goto|if|inline|int|long|main|mutable|namespace|new|operator|"
    "private|protected|public|register|restrict|return|short|signed|sizeof|static|struct|switch|"
    "template|this|throw|try|typedef|typename|union|unsigned|using|virtual|void|volatile|while"
)
"""Names that no function of C or C++ may have."""


def write_files(lowered: Lowered, output: Path) -> tuple[list[str], str]:
    """Write ``output.py``, ``output.h`` and ``output.o``.

    Returns
    -------
    The paths written, and why the last two are missing, if they are.
    """
    name = output.name
    if not _is_name(name):
        raise NotationError(
            f"expected an output that is a name in Python and C, such as kernel, found '{name}'",
            hint="endings are added: .py, .h and .o",
        )
    made = {".py": module_text(lowered).encode()}
    missing = ""
    try:
        files = native(lowered, name)
        made |= {".h": files.header.encode(), ".o": files.code}
    except PlanError as error:
        missing = error.message
    written: list[str] = []
    for ending, content in made.items():
        path = output.with_name(name + ending)
        path.write_bytes(content)
        written.append(str(path))
    return written, missing


def _is_name(text: str) -> bool:
    """Whether modules and functions may be called so."""
    plain = text.isidentifier() and text.isascii()
    return plain and not keyword.iskeyword(text) and OF_C.fullmatch(text) is None
