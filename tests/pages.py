"""Pages of prose with code: what their blocks print, beside what they show.

``python tests/pages.py`` writes the output that blocks have now into README.md and docs.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from sparsedsl.cli import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("tutorial", "kernel", "slow", "errors", "custom_layout", "pictures", "rdu")
"""The pages under docs whose blocks are run."""


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of each block, in order."""
    return FENCE.findall(path.read_text())


def plain(text: str) -> list[str]:
    """Lines without their times, which differ from run to run."""
    timeless = re.sub(r"\d[\d.e+-]* (?:ns|us|ms|s)\b", "TIME", text)
    timeless = re.sub(r"estimated [\d.]+x", "estimated RATIO", timeless)
    timeless = re.sub(r"\[\s*TIME\]", "[TIME]", timeless)
    timeless = re.sub(r"[\d.e+-]+ times the estimate", "RATIO times the estimate", timeless)
    timeless = re.sub(r"[\d.e+-]+ times the plan's", "RATIO times the plan's", timeless)
    timeless = re.sub(r"on \d+ threads", "on several threads", timeless)
    return [line.rstrip() for line in timeless.strip().splitlines()]


def printed(path: Path) -> Iterator[tuple[str, str, str]]:
    """(code, what it prints, what the page shows) of each python block, run in order."""
    found = blocks(path)
    names = {"__name__": path.stem}
    for place, (language, text) in enumerate(found):
        if language == "python":
            out, place_of = io.StringIO(), f"{path.name} block {place}"
            # as a file has it: the source of a function can be read
            linecache.cache[place_of] = (len(text), None, text.splitlines(True), place_of)
            with contextlib.redirect_stdout(out):
                exec(compile(text, place_of, "exec"), names)
            following = found[place + 1] if place + 1 < len(found) else ("", "")
            yield text, out.getvalue(), following[1] if following[0] == "text" else ""


def output(command: str) -> str:
    """What a command of sparsedsl prints."""
    out = io.StringIO()
    with patch.object(sys, "argv", shlex.split(command)), contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as done:
            if done.code:
                raise
    return out.getvalue()


def shown_commands(path: Path) -> list[tuple[str, str]]:
    """(command, what the page shows that it prints) of each block of a console."""
    found: list[tuple[str, str]] = []
    for language, text in blocks(path):
        first, _, rest = text.partition("\n")
        if language == "console" and first.startswith("$ sparsedsl"):
            found.append((first.removeprefix("$ "), rest))
    return found


def renewed(path: Path) -> str:
    """The page with the output that its blocks have now."""
    outputs = iter([out for _, out, _ in printed(path) if out.strip()])

    def replace(found: re.Match[str]) -> str:
        block = found[0]
        if found[1] == "text":
            block = f"```text\n{next(outputs).rstrip()}\n```"
        elif found[1] == "console" and found[2].count("\n") > 1:
            command = found[2].partition("\n")[0]
            block = f"```console\n{command}\n{output(command.removeprefix('$ '))}```"
        return found[0] if plain(block) == plain(found[0]) else block

    return FENCE.sub(replace, path.read_text())


if __name__ == "__main__":
    for page in (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in RUN)):
        page.write_text(renewed(page))
