"""A command run on a terminal of its own, of a given width."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(*words, columns=60):
    """Return the exit status of ``python -m WORDS`` and what it wrote, colours included."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen([sys.executable, "-m", *words], env=environment, **streams)
    os.close(theirs)
    written = bytearray()
    with suppress(OSError):  # the end of a terminal is an error on Linux
        while piece := os.read(ours, 1 << 16):
            written += piece
    os.close(ours)
    return process.wait(60), written.decode().replace("\r\n", "\n")


def plain(text):
    """The text without colours and the moves of progress bars."""
    return COLOURS.sub("", text)
